"""Deciding anew on a frame that is done: whether anything that matters has changed, and what comes of it.

The map knows more in the evening than in the morning. What was seen of a frame is in its sidecar, so that deciding
again needs no network. The frame's own sighting is in the map then, among the others: it counts there as one, and a
second decision adds nothing to it, for before its own surroundings no frame is independent. Pure values; reading and
writing are `dustd.pipeline.frame_pipeline`'s.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dustd.dustmap.match import State
from dustd.dustmap.particle import View, predict
from dustd.dustmap.rejection import Rejection
from dustd.output.sidecar import Record
from dustd.pipeline.decide import Scale, limits_for
from dustd.spots import optics
from dustd.spots.spot import Spot

DECIDED_WITH = "decided_with"  # key of `what_matters` in a sidecar's evidence
CHANGED = "another program has changed its cleaned file since"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What deciding anew on a frame came to.

    *record* is its sidecar as it stands now, None if there is none. *more* counts the spots that are corrected now
    (or would be) and were not, *fewer* those that were. *left_alone* says why the frame stays as it is although a
    decision would differ, or cannot be made; *undone* that this is because it has to be cleaned first.
    """

    record: Record | None
    more: int = 0
    fewer: int = 0
    left_alone: str = ""
    undone: bool = False

    @property
    def differs(self) -> bool:
        """Tell whether the decision is another one."""
        return bool(self.more or self.fewer)


def difference(before: Iterable[Spot], after: Iterable[Spot]) -> tuple[int, int]:
    """Count the corrected spots that are new, and those that are no longer corrected."""
    old, new = ([spot for spot in spots if spot.action != "left"] for spots in (before, after))
    return sum(not _among(spot, old) for spot in new), sum(not _among(spot, new) for spot in old)


def what_matters(state: State, view: View, verdicts: Iterable[Rejection], sensitivity: float) -> str:
    """Sum up in a hash what a decision on a frame hangs on besides the frame itself.

    That is the sensitivity, the confirmed particles that may show in the frame, and what a person has rejected. As
    long as it stays the same, another decision would hardly be another one.
    """
    confirmed = (particle for particle in state.particles if particle.confirmed)
    shown = sorted(particle.id for particle in confirmed if predict(particle, view, state.optics).p_visible > 0)
    rejected = sorted((each.frame_id, each.mx, each.my) for each in verdicts)
    return hashlib.sha256(repr((float(sensitivity), shown, rejected)).encode()).hexdigest()[:16]


def marked(record: Record, matters: str) -> Record:
    """Note in a record what it was decided with."""
    return replace(record, evidence={**(record.evidence or {}), DECIDED_WITH: matters})


def at_sensitivity(record: Record, sensitivity: float, scale: Scale) -> Record:
    """Note in a record that its decision holds at another sensitivity, too."""
    if record.detector is None:
        return record
    limit = limits_for(sensitivity, scale.false_positive_scores).lone
    return replace(record, detector=replace(record.detector, sensitivity=sensitivity, threshold=limit))


def _among(spot: Spot, others: Iterable[Spot]) -> bool:
    """Ask whether one of the others is at the same place."""
    radius_px = optics.match_radius_px(spot.diameter_px)
    return any(math.hypot(spot.x - other.x, spot.y - other.y) <= radius_px for other in others)
