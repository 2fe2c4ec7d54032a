"""Outlines of what a picture shows, beside which dust and look-alikes are laid: products stand there."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dustd.detector.encoding import LIGHT_FLOOR
from dustd.detector.encoding_torch import log_luma

# An outline changes light by this much (ln) over so many pixels.
OUTLINE_STEP, OUTLINE_PX = 0.22, 4
# Share of spots, and of things that look like them, that are laid beside an outline where there is one. The same for
# both: if only dust were, whatever lies there would be dust [J].
BESIDE_OUTLINES = 0.3


def outlines(light: Tensor) -> Tensor:
    """Tell where the light (B, 3, S, S) of crops changes as at an outline: (B, S, S) bool."""
    log = F.avg_pool2d(log_luma(light).clamp_min(math.log(LIGHT_FLOOR)), 3, 1, 1, count_include_pad=False)[:, 0]
    found = torch.zeros_like(log, dtype=torch.bool)
    half = OUTLINE_PX // 2
    found[:, :, half:-half] |= (log[:, :, OUTLINE_PX:] - log[:, :, :-OUTLINE_PX]).abs() > OUTLINE_STEP
    found[:, half:-half] |= (log[:, OUTLINE_PX:] - log[:, :-OUTLINE_PX]).abs() > OUTLINE_STEP
    return found


@dataclass(frozen=True)
class Scene:
    """A crop that look-alikes are drawn into: *light* (3, H, W) float32, linear, is changed in place."""

    light: np.ndarray

    @cached_property
    def outline_places(self) -> np.ndarray:
        """Rows and columns (n, 2) of what was an outline before anything was drawn."""
        return np.argwhere(outlines(torch.from_numpy(np.ascontiguousarray(self.light))[None])[0].numpy())
