"""A stand-in for the detector: takes the darkest place of every tile for dust, in no time and without torch.

For campaigns that put the daemon through its paces and not the model (`tests/soak`). Only a model folder whose card
says `output: darkest-place` brings it; no such folder is shipped, and every sidecar names it as the model.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dustd.spots.calibration import Calibration
from dustd.spots.spot import Detection

if TYPE_CHECKING:
    from dustd.detector.model import ModelCard

OUTPUT = "darkest-place"
CELL_PX = 8
BOX_PX = 24.0
SCORE = 0.9


class DarkestPlace:
    """Follows `dustd.detector.detect.Detector`."""

    device = "cpu"
    context_px = 0
    batch_tiles = 8

    def __init__(self, card: "ModelCard") -> None:
        self.model_id = card.id
        self.sha256 = card.sha256
        self.tile_px = card.tile_px
        self.max_spot_px = card.max_spot_px
        self.calibration: Calibration = card.calibration
        self.false_positive_scores: Mapping[float, float] = card.false_positive_scores

    def __call__(self, tiles: np.ndarray) -> Sequence[Sequence[Detection]]:
        """See one spot per tile; see `dustd.detector.detect.Detector`."""
        return [(_darkest(tile),) for tile in tiles]


def _darkest(tile: np.ndarray) -> Detection:
    cells = cv2.resize(tile[..., 1], None, fx=1 / CELL_PX, fy=1 / CELL_PX, interpolation=cv2.INTER_AREA)
    row, column = np.unravel_index(np.argmin(cells), cells.shape)
    x, y = ((place + 0.5) * CELL_PX - 0.5 for place in (column, row))
    return Detection(x=float(x), y=float(y), width_px=BOX_PX, height_px=BOX_PX, score=SCORE)
