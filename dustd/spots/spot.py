"""The values that travel from detector to sidecar: detection, candidate, spot.

Positions and sizes are in the frame coordinates of `dustd.raw.frame`; attenuation is the share of light lost at the
spot's centre, 0 to 1, in linear light.
"""

from dataclasses import dataclass
from typing import Literal

from dustd.spots.shape import Outline

Action = Literal["divided", "inpainted", "left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What the model says: a box by centre and size (px), and a score in 0..1 (a probability once calibrated).

    *second_score* is its best score there at the other of the two sizes that a frame is looked at, 0 where it said
    nothing.
    """

    x: float
    y: float
    width_px: float
    height_px: float
    score: float
    second_score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What the network saw at one place, and the shadow that was measured there: enough to decide again without it.

    Centre and size of the network's box and its scores (`Detection`); centre, width at half depth, soft edge (10 to
    90 %) and attenuation of the shadow; *gain* says by how much the light is likelier with it than without (natural
    log). *red* and *blue* say how much deeper it is in these colours than in green, as a share of its depth,
    *tint_error* the standard error of either; None where the light does not tell, and in sidecars that did not
    keep it.
    """

    x: float
    y: float
    width_px: float
    height_px: float
    score: float
    shadow_x: float
    shadow_y: float
    diameter_px: float
    edge_px: float
    attenuation: float
    gain: float
    second_score: float = 0.0
    red: float | None = None
    blue: float | None = None
    tint_error: float | None = None

    @property
    def box(self) -> Detection:
        """The network's box."""
        return Detection(
            x=self.x,
            y=self.y,
            width_px=self.width_px,
            height_px=self.height_px,
            score=self.score,
            second_score=self.second_score,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What the network took for dust and physics rules out: centre and width, px, and why, in words.

    The other numbers are a `Candidate`'s, 0 where a defective pixel was refused or a sidecar did not keep them.
    """

    x: float
    y: float
    diameter_px: float
    reason: str
    edge_px: float = 0.0
    attenuation: float = 0.0
    gain: float = 0.0
    box_px: float = 0.0
    score: float = 0.0
    second_score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Dust in one frame.

    *diameter_px* is the width at half depth. *edge_px* is the width of the soft edge (10 to 90 %),
    0 where a sidecar did not keep it.
    *particle_id*, *confidence* (a probability) and *frames_seen* come from the dust map, None when it knows nothing.
    *wanted* says whether the evidence asks for a correction, *asked* whether a person does (`spots.asked`); *action*
    what correction did; *reason* which rule decided, in words for a person. *score* is the probability that it is dust,
    judged with the frame's other marks; *score_alone* what it was by itself, None where the company changed nothing,
    and *company* why it did, in words. *outline* says what the light tells of the grain's shape, None where it was not
    asked or tells nothing. *rejected* says that a person took the correction back (`dustd.pipeline.reject`).
    """

    id: int
    x: float
    y: float
    diameter_px: float
    edge_px: float = 0.0
    attenuation: float
    score: float
    score_alone: float | None = None
    company: str = ""
    particle_id: str | None = None
    confidence: float | None = None
    frames_seen: int | None = None
    wanted: bool = False
    action: Action = "left"
    reason: str = ""
    outline: Outline | None = None
    rejected: bool = False
    asked: bool = False

    @property
    def due(self) -> bool:
        """Tell whether it is to be corrected."""
        return self.wanted or (self.asked and not self.rejected)
