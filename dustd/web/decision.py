"""What another sensitivity would correct: decided anew from what a sidecar keeps, in milliseconds, without its light.

Without the light, places where only a second look shows dust are not judged; what was found there is corrected at every
sensitivity and stays. So both decisions are made without it, and what differs between them comes or goes.
"""

import math
from collections.abc import Sequence

from dustd.codec import Json
from dustd.dustmap.match import State
from dustd.dustmap.rejection import Rejection
from dustd.output.sidecar import Record
from dustd.pipeline.decide import Scale, decide
from dustd.pipeline.look import look_of
from dustd.spots import optics
from dustd.spots.spot import Spot


def decision_json(
    record: Record, state: State, verdicts: Sequence[Rejection], scale: Scale, sensitivity: float
) -> dict[str, Json] | None:
    """Lay out `GET frames/{id}/decision`, the spots by their ids in the sidecar; None if that keeps no candidates."""
    look, detector = look_of(record), record.detector
    if look is None or detector is None:
        return None

    def wanted(at: float) -> list[Spot]:
        decided = decide(look, state, scale=scale, sensitivity=at, verdicts=verdicts)
        return [spot for spot in decided.spots if spot.wanted]

    before, after = wanted(detector.sensitivity), wanted(sensitivity)
    corrected = {spot.id for spot in record.spots if spot.action != "left"}
    comes = {each.id for each in record.spots if each.id not in corrected and _is_new(each, after, before)}
    goes = {each.id for each in record.spots if each.id in corrected and _is_new(each, before, after)}
    return {
        "sensitivity": sensitivity,
        "corrected": sorted((corrected | comes) - goes),
        "comes": sorted(comes),
        "goes": sorted(goes),
    }


def _is_new(spot: Spot, now: list[Spot], then: list[Spot]) -> bool:
    """Tell whether something is wanted at a spot now that was not then."""
    if spot.rejected:
        return False
    return _is_among(spot, now) and not _is_among(spot, then)


def _is_among(spot: Spot, others: list[Spot]) -> bool:
    radius_px = optics.match_radius_px(spot.diameter_px)
    return any(math.hypot(spot.x - other.x, spot.y - other.y) <= radius_px for other in others)
