"""Which spots to correct, from their scores and what the map knows, and why, in words for a person."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dustd.dustmap.match import PROVES_NOTHING, Expected, State, expect, match, match_gain
from dustd.dustmap.particle import (
    Particle,
    View,
)
from dustd.dustmap.update import confirms
from dustd.spots.spot import Spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Score limits: *lone* for a spot the map does not know, *known* where a confirmed particle is predicted.

    *trust_alone* (0 to 1) says how far a mark's own score counts against what its company says; with *only_known* no
    spot is wanted that the map does not confirm.
    """

    lone: float
    known: float
    trust_alone: float = 0.0
    only_known: bool = False


def reconcile(
    spots: Sequence[Spot], state: State, view: View, thresholds: Thresholds, expected: Expected | None = None
) -> tuple[Spot, ...]:
    """Decide which spots to correct, from their scores and what the map knows, and say why.

    *expected* is `match.expect` of the same arguments, where the caller needs it too.
    """
    expected = expected or expect(spots, state, view)
    matched = match(spots, state.particles, expected.predictions, view)
    return tuple(_decided(spot, matched.get(index), expected, view, thresholds) for index, spot in enumerate(spots))


def _decided(
    spot: Spot,
    particle: Particle | None,
    expected: Expected,
    view: View,
    limits: Thresholds,
) -> Spot:
    """Apply the score limit that holds for this spot, and put the rule into words."""
    score = _trusted(spot, limits.trust_alone)
    beside = f" ({spot.score_alone:.2f} alone; {spot.company})" if spot.score_alone is not None and spot.company else ""
    if limits.only_known:
        beside += " (at sensitivity 0 only what the map has confirmed is corrected)"
    if particle is None:
        wanted = score >= limits.lone and not limits.only_known
        known = "" if wanted else " and not known: left alone"
        return replace(spot, wanted=wanted, reason=_compared(score, limits.lone) + beside + known)
    at = expected.predictions[particle.id]
    # However unlikely the detector was to see it here: now that something is seen, whose is it?
    belief = particle.log_odds + match_gain(particle, at, spot, view, expected.crowd)
    believed = belief >= math.log(limits.lone / max(1 - limits.lone, 1e-6))
    by_this = believed and not particle.confirmed and confirms(particle, at, spot, view, expected.body, expected.crowd)
    as_expected = believed and (particle.confirmed or by_this)
    limit = min(limits.known, limits.lone) if as_expected else limits.lone
    seen = f"seen in {particle.frames_seen} frame{'s' if particle.frames_seen != 1 else ''}"
    if by_this:
        where = " where dust was suspected, which confirms it"
    elif not particle.confirmed:
        where = ", not yet confirmed"
    elif as_expected:
        where = " where dust is known" + ("" if at.p_visible >= PROVES_NOTHING else ", hard to see as it is here")
    elif at.p_visible > 0:
        where = ": dust is known here but does not look like this"
    else:
        where = ": dust is known here but would not show in this frame"
    if at.attenuation is None:
        where += "; aperture unknown, so not used"
    wanted = score >= limit and (as_expected or not limits.only_known)
    return replace(
        spot,
        wanted=wanted,
        particle_id=particle.id,
        confidence=particle.confidence,
        frames_seen=particle.frames_seen,
        reason=f"{seen}; {_compared(score, limit)}{'' if as_expected else beside}{where}"
        + ("" if wanted else ": left alone"),
    )


def _compared(score: float, limit: float) -> str:
    return f"score {score:.2f} {'≥' if score >= limit else 'below'} {limit:.2f}"


def _trusted(spot: Spot, trust_alone: float) -> float:
    """Give the score that is held against the limit: where the company lowered it, *trust_alone* of the way back."""
    if spot.score_alone is None or spot.score_alone <= spot.score:
        return spot.score
    low, high = (math.log(max(each, 1e-9) / max(1 - each, 1e-9)) for each in (spot.score, spot.score_alone))
    return 1 / (1 + math.exp(-(low + trust_alone * (high - low))))
