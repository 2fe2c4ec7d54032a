"""Which spot is which particle: what a frame is expected to show, and how well each spot fits.

A pair is judged by place, depth and width, against anything else that may lie there (facts/optics-and-evidence.md §4).
Pure; what follows from a pair for the map is `dustd.dustmap.update`'s, for the frame `dustd.dustmap.decide`'s.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dustd.dustmap import lenses
from dustd.dustmap.cleaning import Cleaning
from dustd.dustmap.lenses import BodyOptics, focal_bin_mm
from dustd.dustmap.particle import (
    Particle,
    Prediction,
    Sighting,
    View,
    predict,
)
from dustd.raw.frame import centred
from dustd.spots import optics
from dustd.spots.calibration import SPOTS_PER_MP
from dustd.spots.spot import Spot

SPOTS_PER_PX2 = 1e-6 * SPOTS_PER_MP  # dust at which a calibrated score is the probability that it is dust
TYPICAL_DETECTION = 0.6  # Pd of such dust on average: recall at .05 to .1 false spots per megapixel (model.yaml)
UNBELIEVABLE = 0.05  # our choice: Pd below which no suspicion begins, and no lens is judged by what shows
PROVES_NOTHING = 0.3  # Pd below which a miss does not count
STRENGTH_RATIO = 5.0  # our choice: measured strengths of one particle agree within this factor, however badly
# How far ln E of one particle differs between frames, and that of any two spots: the first agrees to within .5 (facts).
STRENGTH_ERROR, STRENGTH_SPREAD = 0.4, 1.2
# Of the change of ln A and ln width between two sightings of one thing: each measured to some 25 % and 20 %; and what
# is added, for each factor e between their f-numbers, by the change not being as foretold (our choice).
DEPTH_CHANGE_ERROR, WIDTH_CHANGE_ERROR, FORETOLD_ERROR = 0.35, 0.28, 0.25
# Between spots that have nothing to do with each other (our choice): ln A of the spots in generated frames spreads by
# 1.2, but a scene has specks of any width.
DEPTH_CHANGE_SPREAD, WIDTH_CHANGE_SPREAD = 1.7, 0.6
MISMEASURED = 0.05  # our choice: sightings whose depth or width may be anything, by busy ground or a wrong f-number
BLUR_DOMINATES = 0.5  # attenuation below which a spot's width is its blur, not the particle's own size


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is known of one body in one epoch; `State()` is the empty map. *particles* are in order of their ids."""

    particles: tuple[Particle, ...] = ()
    optics: BodyOptics = field(default_factory=BodyOptics)
    cleaning: Cleaning = field(default_factory=Cleaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the map expects of one frame: the body's optics as its spots tell them, what each particle (by id) must
    look like, and how thick spots lie that could be taken for any particle, per px²."""

    body: BodyOptics
    predictions: Mapping[str, Prediction]
    crowd: float


def expect(spots: Sequence[Spot], state: State, view: View) -> Expected:
    """Work out once per frame what everything that follows asks for."""
    body = align(spots, state, view)
    predictions = {particle.id: predict(particle, view, body) for particle in state.particles}
    return Expected(body=body, predictions=predictions, crowd=crowd_of(spots, view))


def align(spots: Sequence[Spot], state: State, view: View) -> BodyOptics:
    """Give the body's optics for this frame: where its lens's scale is not known well, as most of the spots tell it.

    For a lens that was never used, dust may lie 100 px from where others show it; so the scale is sought that explains
    most of the known particles at once, before anything is taken for new.
    """
    body, key = state.optics, (view.lens, focal_bin_mm(view.focal_length_mm))
    log_scale, sigma = body.scale(*key)
    if sigma <= lenses.FOCUS_SPREAD:
        return body
    known = [p for p in state.particles if view.lens is None or key not in {(q.lens, q.focal_mm) for q in p.places}]
    at = [predict(particle, view, body) for particle in known]
    at = [place for place in at if place.p_visible >= UNBELIEVABLE]
    found, scale_sigma, particles = lenses.vote(
        log_scale,
        sigma,
        np.array([centred(p.x, p.y, width=view.width, height=view.height) for p in at]),
        np.array([p.radius_px for p in at]),
        np.array([p.p_visible for p in at]),
        np.array([centred(s.x, s.y, width=view.width, height=view.height) for s in spots if speaks(s, view)]),
    )
    if not particles:
        return body
    return body.with_scale(*key, log_scale=found, sigma=scale_sigma, particles=particles)


def match(
    spots: Sequence[Spot], particles: Sequence[Particle], predictions: Mapping[str, Prediction], view: View
) -> dict[int, Particle]:
    """Pair spots with particles one to one, nearest first: {index of the spot: particle}.

    A pair must be likelier one thing, if a badly measured one, than two; whether it proves something is another matter.
    """
    if not spots or not particles:
        return {}
    # Most particles are far from most spots.
    where = np.array([(at.x, at.y, at.radius_px + at.radial_px) for at in (predictions[p.id] for p in particles)])
    seen = np.array([(spot.x, spot.y) for spot in spots])
    near = np.hypot(*(seen[:, None, :] - where[None, :, :2]).transpose(2, 0, 1)) <= where[:, 2]
    crowd = crowd_of(spots, view)
    pairs = []
    for index, number in np.argwhere(near).tolist():
        spot, particle = spots[index], particles[number]
        at = predictions[particle.id]
        away = at.away(spot.x, spot.y)
        if away > 1 or abs(_strength_residual(spot, particle, view)) > math.log(STRENGTH_RATIO):
            continue
        looks = max(_agreement(particle, at, spot, view), math.log(MISMEASURED))
        if at.log_density(spot.x, spot.y) + looks > math.log(crowd):
            pairs.append((away, -spot.score, spot.x, spot.y, particle.id, index, particle))
    matched: dict[int, Particle] = {}
    taken: set[str] = set()
    for *_, particle_id, index, particle in sorted(pairs, key=lambda pair: pair[:-1]):
        if index not in matched and particle_id not in taken:
            matched[index] = particle
            taken.add(particle_id)
    return matched


def match_gain(particle: Particle, at: Prediction, spot: Spot, view: View, crowd: float) -> float:
    """Say how much likelier this spot is the particle's than any other's, as a natural logarithm.

    The particle is expected near the predicted place and as it looked before; others lie anywhere, *crowd* per px²,
    and look anyhow. A calibrated score is the probability that the spot is dust at all. Dust that shows well here is
    found more often than the average that is in the score.
    """
    if at.p_visible <= 0:
        return -math.inf
    place = at.log_density(spot.x, spot.y) - math.log(crowd)
    found = math.log(max(spot.score, 1e-4) * at.p_visible / TYPICAL_DETECTION)
    return found + place + _agreement(particle, at, spot, view)


def crowd_of(spots: Sequence[Spot], view: View) -> float:
    """Say how thick spots lie that could be taken for any particle, per px²: as dust does, or more in a frame full."""
    return max(SPOTS_PER_PX2, sum(speaks(spot, view) for spot in spots) / (view.width * view.height))


def _agreement(particle: Particle, at: Prediction, spot: Spot, view: View) -> float:
    """Say how much likelier a spot's depth and width are if it is the particle than if it is another thing, as ln.

    It is compared with how the particle looked at the nearest f-number, so that little rests on what is foretold.
    """
    known = [earlier for earlier in particle.sightings if earlier.f_number]
    if not (view.f_number and known):
        return _told(_strength_residual(spot, particle, view), STRENGTH_ERROR, STRENGTH_SPREAD)
    steps = [abs(math.log(view.f_number / earlier.f_number)) for earlier in known if earlier.f_number]
    nearest = [earlier for earlier, step in zip(known, steps, strict=True) if step <= min(steps)]
    changes = [changes_since(particle, earlier, at, spot) for earlier in nearest]
    depth, width = (
        statistics.median(seen - foretold for seen, foretold in each) for each in zip(*changes, strict=True)
    )
    slack = FORETOLD_ERROR * min(steps)
    return _told(depth, math.hypot(DEPTH_CHANGE_ERROR, slack), DEPTH_CHANGE_SPREAD) + _told(
        width, math.hypot(WIDTH_CHANGE_ERROR, slack), WIDTH_CHANGE_SPREAD
    )


def _told(residual: float, error: float, spread: float) -> float:
    """Say how much likelier a residual is if only *error* makes it than if things differ by *spread*, as ln."""
    return math.log(spread / error) - residual**2 / 2 * (error**-2 - spread**-2)


def changes_since(
    particle: Particle, earlier: Sighting, at: Prediction, spot: Spot
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Give the change of ln A and of ln width since an earlier sighting, each as seen and as the apertures foretell."""
    assert at.attenuation and earlier.f_number, "nothing is foretold of an unknown aperture"
    depth = math.log(at.attenuation / particle.attenuation_at(earlier.f_number))
    width = math.log(at.diameter_px / particle.diameter_px_at(earlier.f_number))
    return (
        (math.log(spot.attenuation / earlier.attenuation), depth),
        (math.log(spot.diameter_px / earlier.diameter_px), width),
    )


def speaks(spot: Spot, view: View) -> bool:
    """Ask whether a spot speaks by itself: sure enough, and measured to be there."""
    return spot.score >= view.evidence_score and spot.attenuation > 0 and spot.diameter_px > 0


def spot_strength_px2(attenuation: float, diameter_px: float, f_number: float | None, blur_constant: float) -> float:
    """Measure the light that a spot takes; where its width is its blur, by what is known of that, too."""
    if f_number and attenuation < BLUR_DOMINATES:
        foretold = optics.blur_px(f_number, blur_constant)
        # Half and half: the spot's own width errs by a fifth, but a large grain is wider than its blur.
        diameter_px = math.sqrt(diameter_px * foretold)
    return optics.strength_px2(attenuation, diameter_px)


def _strength_residual(spot: Spot, particle: Particle, view: View) -> float:
    """Compare a spot's strength with the particle's: ln(E of the frame / E of the map)."""
    strength = spot_strength_px2(spot.attenuation, spot.diameter_px, view.f_number, particle.blur_constant)
    return math.log(strength) - math.log(particle.strength_px2) if strength > 0 else math.inf
