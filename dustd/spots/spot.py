"""The values that travel from detector to sidecar: detection, measured spot, decided spot.

Positions and sizes are in the frame coordinates of `dustd.raw.frame`; attenuation is the share of light lost at the
spot's centre, 0 to 1, in linear light.
"""

from dataclasses import dataclass
from typing import Literal

from dustd.spots.shape import Outline

Action = Literal["divided", "inpainted", "left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What the model says: a box by centre and size (px), and a score in 0..1 (a probability once calibrated)."""

    x: float
    y: float
    width_px: float
    height_px: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Dust in one frame.

    *diameter_px* is the width at half depth. *edge_px* is the width of the soft edge (10 to 90 %).
    *particle_id*, *confidence* (a probability) and *frames_seen* come from the dust map, None when it knows nothing.
    *wanted* says whether the evidence asks for a correction; *action* what correction did; *reason* which rule
    decided, in words for a person. *outline* says what the light tells of the grain's shape, None where it was not
    asked or tells nothing. *rejected* says that a person took the correction back (`dustd.pipeline.reject`).
    """

    id: int
    x: float
    y: float
    diameter_px: float
    edge_px: float
    attenuation: float
    score: float
    particle_id: str | None = None
    confidence: float | None = None
    frames_seen: int | None = None
    wanted: bool = False
    action: Action = "left"
    reason: str = ""
    outline: Outline | None = None
    rejected: bool = False
