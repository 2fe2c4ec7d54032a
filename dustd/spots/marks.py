"""The marks of a frame as numbers: how wide, deep, soft and coloured each is, and where it lies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from dustd.spots.measure import EDGE_OF_SPECK, EDGE_SHARE, MEASURED_FROM
from dustd.spots.physics import sharpest_edge_px
from dustd.spots.spot import Candidate, Refused

# Shadows of one frame differ in width by so much (sd of ln): grains that are not small against the blur, pupils that
# change over the field. On four real bodies .04 to .055 (Sony A57, Pentax *ist DL, Canon 6D, Panasonic LX100).
WIDTH_SPREAD = 0.05
# A measured width errs by this over the root of the light's gain (sd of ln): 60 shadows of generated frames.
WIDTH_ERROR = 0.35
# Where the light tells nothing (`measure.MEASURED_FROM`) the network's box tells the width, to BOX_ERROR, and is so
# much wider than the shadow (285 shadows of generated frames, 121 of real ones).
BOX_ERROR, BOX_SHARE = 0.15, 0.92
LENS_EDGE_PX = 4.0  # the lens's own blur, 10 to 90 %
# What a frame's marks may be, px.
WIDTHS_PX = (3.0, 170.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a mark looks like, as far as it counts among others: width at half depth and soft edge (10 to 90 %), px,
    attenuation, and the light's *gain* (`spots.spot.Candidate`); *box_px* is the side of the network's box, *x* and *y*
    its place, not a number where it is that of another frame; *tint* is red, blue and their error, as a candidate has
    them, None where they are not known; *refused* says that physics rules dust out (`spots.physics.impossible`)."""

    diameter_px: float
    edge_px: float
    attenuation: float
    gain: float
    box_px: float
    x: float = math.nan
    y: float = math.nan
    tint: tuple[float, float, float] | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """n candidates as numbers, arrays (n,): ln width px and its error, ln depth, edge px, and ln of the edge over what
    a grain's would be; *measured* tells where light and not only the network's box was asked, *sharp* where the edge is
    sharper than any grain's of that depth, *impossible* what is so or was refused. *places* (n, 2), px; *tints* (n, 3),
    not numbers where they are not known.
    """

    log_width: np.ndarray
    error: np.ndarray
    depth: np.ndarray
    edge_px: np.ndarray
    softness: np.ndarray
    measured: np.ndarray
    sharp: np.ndarray
    impossible: np.ndarray
    places: np.ndarray
    tints: np.ndarray

    @classmethod
    def of(cls, candidates: Sequence[Look]) -> "Marks":
        """Turn looks into numbers."""
        gain = np.array([max(each.gain, 0.01) for each in candidates])
        measured = gain >= MEASURED_FROM
        box_px = np.array([each.box_px for each in candidates])
        width_px = np.where(measured, [each.diameter_px for each in candidates], BOX_SHARE * box_px)
        width_px = np.clip(width_px, *WIDTHS_PX)
        depth = np.clip([each.attenuation for each in candidates], 0.003, 1.0)
        edge_px = np.maximum([each.edge_px for each in candidates], 0.5)
        grain_edge_px = EDGE_OF_SPECK * EDGE_SHARE * np.sqrt(depth) * width_px
        sharp = measured & (edge_px < sharpest_edge_px(width_px, depth, gain))
        return cls(
            log_width=np.log(width_px),
            error=np.where(measured, np.hypot(WIDTH_SPREAD, WIDTH_ERROR / np.sqrt(gain)), BOX_ERROR),
            depth=depth,
            edge_px=edge_px,
            softness=np.log(edge_px / np.hypot(grain_edge_px, LENS_EDGE_PX)),
            measured=measured,
            sharp=sharp,
            impossible=sharp | np.array([each.refused for each in candidates], bool),
            places=np.array([(each.x, each.y) for each in candidates]),
            tints=np.array([each.tint or (math.nan,) * 3 for each in candidates]),
        )

    @property
    def log_depth(self) -> np.ndarray:
        """Natural log of the depth."""
        return np.log(self.depth)

    def part(self, some: slice) -> "Marks":
        """Take some of them."""
        return Marks(**{field.name: getattr(self, field.name)[some] for field in fields(self)})


def look_of(candidate: Candidate) -> Look:
    """Take of a candidate what counts among others."""
    return Look(
        diameter_px=candidate.diameter_px,
        edge_px=candidate.edge_px,
        attenuation=candidate.attenuation,
        gain=candidate.gain,
        box_px=math.sqrt(candidate.width_px * candidate.height_px),
        x=candidate.shadow_x,
        y=candidate.shadow_y,
        tint=None
        if candidate.red is None or candidate.blue is None or candidate.tint_error is None
        else (candidate.red, candidate.blue, candidate.tint_error),
    )


def look_of_refused(mark: Refused) -> Look:
    """Take of what physics rules out what counts among others."""
    return Look(
        diameter_px=mark.diameter_px,
        edge_px=mark.edge_px,
        attenuation=mark.attenuation,
        gain=mark.gain,
        box_px=mark.box_px,
        x=mark.x,
        y=mark.y,
        refused=True,
    )
