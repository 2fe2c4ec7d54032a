"""The dust map: what dustd believes about the particles on one sensor, and how each frame changes it.

A particle is a hypothesis with log-odds. A frame in which it should be visible raises them by ln(Pd/Pf) when a spot
lies where it is predicted and lowers them by ln((1−Pd)/(1−Pf)) when none does; any other frame proves nothing
(facts/optics-and-evidence.md §4). Sightings count only as far as the surroundings differ from those of earlier ones,
misses likewise. Everything here is a pure step over values: the map is a fold over frames in capture order.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dustd import optics
from dustd.cleaning import Cleaning
from dustd.evidence import independence
from dustd.frame import centred
from dustd.lenses import BodyOptics
from dustd.particle import Particle, Prediction, Scene, Sighting, View, places_of, predict, visibility, with_sighting
from dustd.spot import Spot

# Facts §4 unless said otherwise.
LOG_ODDS_MIN, LOG_ODDS_MAX = -9.0, 5.0
CONFIRM, RETIRE = 2.2, -1.0  # becomes confirmed at p ≥ .9, stays so down to p = .27
ONE_SCENE_MAX = 1.3  # what one sighting is worth at best (prior .44 spots/MP, .1 false), however often repeated
INDEPENDENT = 0.5  # weight from which a sighting counts as an independent frame
FRAMES_TO_CONFIRM = 2
HIT_RATE = 0.25  # our choice (LSST .7 of visits): sightings per eligible frame without which nothing is confirmed
FALSE_PER_PX2 = 0.1e-6  # false spots: .1 per megapixel at the evidence score
PROVES_NOTHING = 0.3  # Pd below which neither a sighting nor a miss counts
FORGOTTEN = -4.0  # our choice: a suspicion never confirmed and contradicted this far (p < .02) leaves the map
STRENGTH_RATIO = 5.0  # our choice: measured strengths of one particle agree within this factor
NARROWEST_F_NUMBER = 32.0  # that lenses have
SURVIVES = math.log(0.15 / 0.85)  # log-odds that a cleaning leaves a particle: two swabs took .79 and .91 (facts §1.2)
SCENES_KEPT = 8  # of sightings and of misses, per particle


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Score limits: *lone* for a spot the map does not know, *known* where a confirmed particle is predicted."""

    lone: float
    known: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is known of one body in one epoch; `State()` is the empty map. *particles* are in order of their ids."""

    particles: tuple[Particle, ...] = ()
    optics: BodyOptics = field(default_factory=BodyOptics)
    cleaning: Cleaning = field(default_factory=Cleaning)


def match(
    spots: Sequence[Spot], particles: Sequence[Particle], predictions: Mapping[str, Prediction]
) -> dict[int, Particle]:
    """Pair spots with particles one to one, nearest first: {index of the spot: particle}."""
    pairs = []
    for particle in particles:
        at = predictions[particle.id]
        for index, spot in enumerate(spots):
            away = math.hypot(spot.x - at.x, spot.y - at.y)
            if away <= at.radius_px and _as_strong(spot, particle):
                pairs.append((away / at.radius_px, index, particle.id, particle))
    matched: dict[int, Particle] = {}
    taken: set[str] = set()
    for _, index, particle_id, particle in sorted(pairs, key=lambda pair: pair[:3]):
        if index not in matched and particle_id not in taken:
            matched[index] = particle
            taken.add(particle_id)
    return matched


def reconcile(spots: Sequence[Spot], state: State, view: View, thresholds: Thresholds) -> tuple[Spot, ...]:
    """Decide which spots to correct, from their scores and what the map knows, and say why."""
    predictions = {particle.id: predict(particle, view, state.optics) for particle in state.particles}
    matched = match(spots, state.particles, predictions)
    return tuple(_decided(spot, matched.get(index), predictions, thresholds) for index, spot in enumerate(spots))


def observe(state: State, view: View, spots: Sequence[Spot]) -> State:
    """Fold one frame into the map: sightings, misses, new suspicions.

    A spot below the evidence score speaks neither for its particle nor against it, and begins nothing.
    """
    predictions = {particle.id: predict(particle, view, state.optics) for particle in state.particles}
    matched = match(spots, state.particles, predictions)
    spot_of = {particle.id: spots[index] for index, particle in matched.items()}
    updated = [
        _updated(particle, predictions[particle.id], spot_of.get(particle.id), view) for particle in state.particles
    ]
    kept = [particle for particle in updated if particle.ever_confirmed or particle.log_odds > FORGOTTEN]
    born = [_suspicion(spot, view) for i, spot in enumerate(spots) if i not in matched and _credible(spot, view)]
    return dataclasses.replace(state, particles=tuple(sorted(kept + born, key=lambda particle: particle.id)))


def after_cleaning(state: State) -> State:
    """Begin the next epoch: the optics stay, and dust once confirmed is remembered, to be confirmed when it is seen."""
    remembered = (
        dataclasses.replace(
            particle,
            log_odds=min(particle.log_odds, SURVIVES),
            confirmed=False,
            remembered=True,
            missed_in=(),
        )
        for particle in state.particles
        if particle.ever_confirmed
    )
    return State(particles=tuple(remembered), optics=state.optics)


def _updated(particle: Particle, at: Prediction, spot: Spot | None, view: View) -> Particle:
    if at.p_visible < PROVES_NOTHING:
        return particle
    if spot is None:
        return _missed(particle, at, view) if at.attenuation is not None else particle
    return _seen(particle, at, spot, view) if spot.score >= view.evidence_score else particle


def _seen(particle: Particle, at: Prediction, spot: Spot, view: View) -> Particle:
    """Count a sighting, as far as its surroundings are new; only an independent one refines the particle."""
    weight = _weight((sighting.scene for sighting in particle.sightings), at, view)
    independent = weight >= INDEPENDENT
    count = particle.independent_frames + independent
    ceiling = LOG_ODDS_MAX if count >= FRAMES_TO_CONFIRM else max(ONE_SCENE_MAX, particle.log_odds)
    gain = weight * math.log(at.p_visible / _false_alarm(at))
    log_odds = min(particle.log_odds + max(gain, 0.0), ceiling)
    often_enough = particle.frames_seen + 1 >= HIT_RATE * (particle.frames_eligible + 1)
    seen = dataclasses.replace(
        particle,
        log_odds=log_odds,
        confirmed=particle.confirmed or (log_odds >= CONFIRM and count >= FRAMES_TO_CONFIRM and often_enough),
        last_seen=_latest(particle.last_seen, view.taken_at),
        frames_seen=particle.frames_seen + 1,
        frames_eligible=particle.frames_eligible + 1,
        independent_frames=count,
        f_numbers=_with(particle.f_numbers, view.f_number),
    )
    seen = dataclasses.replace(seen, ever_confirmed=seen.ever_confirmed or seen.confirmed)
    return _refined(seen, spot, view) if independent else seen


def _missed(particle: Particle, at: Prediction, view: View) -> Particle:
    """Count a miss: it would have been visible. What hid it from the detector may repeat, so scenes count here too."""
    weight = _weight(particle.missed_in, at, view)
    loss = weight * math.log((1 - at.p_visible) / (1 - _false_alarm(at)))
    log_odds = max(particle.log_odds + min(loss, 0.0), LOG_ODDS_MIN)
    missed_in = particle.missed_in
    if weight >= INDEPENDENT:
        missed_in = (*missed_in, Scene(frame_id=view.frame_id, evidence=view.evidence))[-SCENES_KEPT:]
    return dataclasses.replace(
        particle,
        log_odds=log_odds,
        confirmed=particle.confirmed and log_odds > RETIRE,
        frames_eligible=particle.frames_eligible + 1,
        missed_in=missed_in,
    )


def _credible(spot: Spot, view: View) -> bool:
    """Ask whether a spot may begin a particle: sure enough, visible where it lies, as wide as dust must be."""
    if spot.score < view.evidence_score or spot.attenuation <= 0 or spot.diameter_px <= 0:
        return False
    if visibility(spot.attenuation, view, spot.x, spot.y) < PROVES_NOTHING:
        return False
    prior = optics.blur_constant_px(view.pixel_pitch_um)
    return optics.wide_enough(spot.diameter_px, view.f_number or NARROWEST_F_NUMBER, prior)


def _suspicion(spot: Spot, view: View) -> Particle:
    """Begin a particle with a first sighting, worth what the detector's score says."""
    mx, my = centred(spot.x, spot.y, width=view.width, height=view.height)
    prior = optics.blur_constant_px(view.pixel_pitch_um)
    score = min(max(spot.score, 1e-3), 1 - 1e-3)
    opacity, blur_constant = 1.0, prior
    if view.f_number:
        opacity = optics.observed_opacity(spot.attenuation, spot.diameter_px, view.f_number, prior)
        blur_constant = optics.observed_blur_constant(spot.diameter_px, view.f_number, prior)
    return Particle(
        id="p" + hashlib.sha256(f"{view.frame_id}:{spot.id}".encode()).hexdigest()[:12],
        mx=mx,
        my=my,
        strength_px2=optics.strength_px2(spot.attenuation, spot.diameter_px),
        blur_constant=blur_constant,
        opacity=opacity,
        log_odds=min(math.log(score / (1 - score)), ONE_SCENE_MAX),
        first_seen=view.taken_at,
        last_seen=view.taken_at,
        f_numbers=_with((), view.f_number),
        places=places_of((_sighting(spot, view),)),
        sightings=(_sighting(spot, view),),
    )


def _refined(particle: Particle, spot: Spot, view: View) -> Particle:
    """Average place, strength and blur over the latest independent sightings (strength and blur by their logarithm)."""
    sightings = (*particle.sightings, _sighting(spot, view))[-SCENES_KEPT:]
    share = 1 / min(particle.independent_frames, SCENES_KEPT)

    def towards(old: float, new: float) -> float:
        return old * (new / old) ** share

    prior = optics.blur_constant_px(view.pixel_pitch_um)
    opacity, blur = particle.opacity, particle.blur_constant
    if view.f_number:
        opacity = min(opacity, optics.observed_opacity(spot.attenuation, spot.diameter_px, view.f_number, prior))
        blur = towards(blur, optics.observed_blur_constant(spot.diameter_px, view.f_number, prior))
    return dataclasses.replace(
        particle,
        mx=particle.mx + share * (sightings[-1].mx - particle.mx),
        my=particle.my + share * (sightings[-1].my - particle.my),
        strength_px2=towards(particle.strength_px2, optics.strength_px2(spot.attenuation, spot.diameter_px)),
        blur_constant=blur,
        opacity=opacity,
        places=with_sighting(particle.places, sightings[-1]),
        sightings=sightings,
    )


def _sighting(spot: Spot, view: View) -> Sighting:
    mx, my = centred(spot.x, spot.y, width=view.width, height=view.height)
    return Sighting(
        scene=Scene(frame_id=view.frame_id, evidence=view.evidence),
        mx=mx,
        my=my,
        diameter_px=spot.diameter_px,
        attenuation=spot.attenuation,
        f_number=view.f_number,
        focal_length_mm=view.focal_length_mm,
        lens=view.lens,
    )


def _weight(scenes: Iterable[Scene], at: Prediction, view: View) -> float:
    """Weigh a frame by the most similar of the scenes that have already spoken; 1 if none has."""
    return min((independence(view.evidence, s.evidence, at.x, at.y, at.diameter_px) for s in scenes), default=1.0)


def _false_alarm(at: Prediction) -> float:
    """Probability Pf that a false spot lies within the match radius by chance."""
    return min(FALSE_PER_PX2 * math.pi * at.radius_px**2, 0.5)


def _as_strong(spot: Spot, particle: Particle) -> bool:
    strength = optics.strength_px2(spot.attenuation, spot.diameter_px)
    return 1 / STRENGTH_RATIO <= strength / particle.strength_px2 <= STRENGTH_RATIO


def _decided(spot: Spot, particle: Particle | None, predictions: Mapping[str, Prediction], limits: Thresholds) -> Spot:
    """Apply the score limit that holds for this spot, and put the rule into words."""
    if particle is None:
        wanted = spot.score >= limits.lone
        known = "" if wanted else " and not known: left alone"
        return dataclasses.replace(spot, wanted=wanted, reason=_compared(spot.score, limits.lone) + known)
    at = predictions[particle.id]
    expected = particle.confirmed and at.p_visible >= PROVES_NOTHING
    limit = min(limits.known, limits.lone) if expected else limits.lone
    seen = f"seen in {particle.frames_seen} frame{'s' if particle.frames_seen != 1 else ''}"
    where = {
        (True, True): " where dust is known",
        (True, False): ": dust is known here but would not show in this frame",
        (False, True): ", not yet confirmed",
        (False, False): ", not yet confirmed",
    }[particle.confirmed, expected]
    if at.attenuation is None:
        where += "; aperture unknown, so not used"
    wanted = spot.score >= limit
    return dataclasses.replace(
        spot,
        wanted=wanted,
        particle_id=particle.id,
        confidence=particle.confidence,
        frames_seen=particle.frames_seen,
        reason=f"{seen}; {_compared(spot.score, limit)}{where}" + ("" if wanted else ": left alone"),
    )


def _compared(score: float, limit: float) -> str:
    return f"score {score:.2f} {'≥' if score >= limit else 'below'} {limit:.2f}"


def _with(f_numbers: tuple[float, ...], f_number: float | None) -> tuple[float, ...]:
    return tuple(sorted({*f_numbers, f_number})) if f_number else f_numbers


def _latest(a: str | None, b: str | None) -> str | None:
    return max((at for at in (a, b) if at is not None), default=None)
