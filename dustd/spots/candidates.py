"""From a detector's box to a candidate, and from a candidate to a spot."""

import math
from collections.abc import Sequence

import numpy as np

from dustd.raw.frame import Frame
from dustd.spots.calibration import Calibration
from dustd.spots.measure import EDGE_SHARE, MEASURED_FROM, Shadow, shadow_in
from dustd.spots.spot import Candidate, Detection, Spot
from dustd.spots.surroundings import Patch
from dustd.spots.tint import tints_of

AS_IT_IS = Calibration()


def candidate_in(frame: Frame, detection: Detection, avoid: np.ndarray | None = None) -> Candidate:
    """Measure the light inside a detector's box: centre, width at half depth, 10-90 % edge, attenuation, gain, colour.

    *avoid* (n, 3) are x, y, radius of other spots. Numbers have six digits, more than network or light know, so that a
    sidecar keeps them as they are.
    """
    shadow, patch = shadow_in(frame, detection, avoid)
    numbers = {
        "x": detection.x,
        "y": detection.y,
        "width_px": detection.width_px,
        "height_px": detection.height_px,
        "score": detection.score,
        "shadow_x": shadow.x,
        "shadow_y": shadow.y,
        "diameter_px": shadow.diameter_px,
        "edge_px": EDGE_SHARE * shadow.ramp_px,
        "attenuation": shadow.attenuation,
        "gain": shadow.gain,
        "second_score": detection.second_score,
    }
    return Candidate(**{name: _six(number) for name, number in (numbers | _colour(patch, shadow)).items()})


def candidates_in(frame: Frame, detections: Sequence[Detection]) -> tuple[Candidate, ...]:
    """Measure what lies in several boxes of a frame; see `candidate_in`."""
    return tuple(candidate_in(frame, each) for each in detections)


def _six(number: float) -> float:
    return float(f"{number:.6g}")


def _colour(patch: Patch | None, shadow: Shadow) -> dict[str, float]:
    """Tell how much deeper the shadow is in red and in blue than in green; nothing where the light does not tell."""
    if patch is None or len(patch.planes) != 3 or shadow.gain < MEASURED_FROM:
        return {}
    (red, green, blue), errors = tints_of(patch, shadow)
    # In the log of light a share of a deep shadow's depth weighs more: ln(1 - A(1 + t)) = ln(1 - A) (1 + share · t).
    depth = min(max(shadow.attenuation, 1e-3), 0.97)
    share = depth / ((1 - depth) * -math.log1p(-depth))
    error = math.hypot(errors[1], max(errors[0], errors[2])) / share
    if not math.isfinite(error):
        return {}
    return {"red": (red - green) / share, "blue": (blue - green) / share, "tint_error": error}


def as_spot(candidate: Candidate, spot_id: int, calibration: Calibration) -> Spot:
    """Make a spot of a candidate, scored by the probability that *calibration* makes of what network and light say."""
    return Spot(
        id=spot_id,
        x=candidate.shadow_x,
        y=candidate.shadow_y,
        diameter_px=candidate.diameter_px,
        edge_px=candidate.edge_px,
        attenuation=candidate.attenuation,
        score=calibration.probability(candidate.score, candidate.gain, candidate.second_score),
    )


def measure(frame: Frame, detection: Detection, spot_id: int, calibration: Calibration = AS_IT_IS) -> Spot:
    """Measure the spot inside a detector's box; by default its score is the detection's as it is."""
    return as_spot(candidate_in(frame, detection), spot_id, calibration)
