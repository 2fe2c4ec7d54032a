"""The dust map: what dustd believes about the particles on one sensor, and how each frame changes it.

A particle is a hypothesis with log-odds (facts/optics-and-evidence.md §4). A spot where it is predicted raises them by
how much likelier such a spot is with the particle than without; none there, where it should be visible, lowers them;
any other frame proves nothing. Sightings count only as far as they could not be the same piece of the scene again,
misses likewise. Everything here is a pure step over values: the map is a fold over frames in capture order.
"""

import hashlib
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dustd.dustmap import cleaning, lenses
from dustd.dustmap.cleaning import Cleaning
from dustd.dustmap.evidence import INDEPENDENCE_FLOOR, independences, visible_from
from dustd.dustmap.lenses import BodyOptics, focal_bin_mm
from dustd.dustmap.particle import (
    Particle,
    Prediction,
    Scene,
    Sighting,
    View,
    places_of,
    predict,
    reference_place,
    visibility,
    with_sighting,
)
from dustd.raw.frame import centred
from dustd.spots import optics
from dustd.spots.shape import pooled
from dustd.spots.spot import Spot

# Facts §4 unless said otherwise.
LOG_ODDS_MIN, LOG_ODDS_MAX = -9.0, 5.0
CONFIRM, RETIRE = 2.2, -1.0  # becomes confirmed at p ≥ .9, stays so down to p = .27
ONE_SCENE_MAX = 1.3  # what one sighting is worth at best (prior .44 spots/MP, .1 false), however often repeated
INDEPENDENT = 0.5  # weight from which a frame counts as an independent one
# Our choice: weight from which a sighting is kept and counts as a part of one. A fixed camera's frames weigh the floor,
# .05, in generated and in drawn sessions alike, and what weighs so little must not add up.
PARTLY_INDEPENDENT = 0.25
FRAMES_TO_CONFIRM = 2
# Our choice: what a sighting below the evidence score counts among those frames, unless place, depth and width make it
# so much likelier to be the particle's than not (natural logarithm: one in a thousand).
WEAK_FRAME, PLAIN_GAIN = 0.5, math.log(1000)
HIT_RATE = 0.25  # our choice (LSST .7 of visits): sightings per eligible frame without which nothing is confirmed
FALSE_PER_PX2 = 0.1e-6  # false spots: .1 per megapixel at the evidence score
SPOTS_PER_PX2 = 0.44e-6  # dust at which a calibrated score is the probability that it is dust (`dustd.detector.model`)
TYPICAL_DETECTION = 0.6  # Pd of such dust on average: recall at .05 to .1 false spots per megapixel (model.yaml)
PROVES_NOTHING = 0.3  # Pd below which a miss does not count
UNBELIEVABLE = 0.05  # our choice: Pd below which no suspicion begins, and no lens is judged by what shows
FORGOTTEN = -4.0  # our choice: a suspicion never confirmed and contradicted this far (p < .02) leaves the map
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
# Log-likelihood ratio of dust against a repeated speck at which a change of aperture begins to tell, and at which it
# tells as much as it can; our choice: two thirds of a stop say nothing, two stops nearly all. Even then a speck far out
# of focus could do the same.
TELLS_FROM, TELLS_ALL, TELLS_MOST = 4.0, 8.0, 0.8
BLUR_DOMINATES = 0.5  # attenuation below which a spot's width is its blur, not the particle's own size
NARROWEST_F_NUMBER = 32.0  # that lenses have
REPLACED_PX = 0.25  # a particle's place follows better-known lenses in steps no finer than this
SAME_PLACE_PX = 6.0  # our choice: two particles this near for the reference lens are one, if never seen side by side
SURVIVES = math.log(0.15 / 0.85)  # log-odds that a cleaning leaves a particle: two swabs took .79 and .91 (facts §1.2)
SCENES_KEPT, MISSES_KEPT = 8, 4  # scenes of sightings and of misses, per particle
# Where texture hides spots shallower than BUSY_FROM, the odds that an unknown spot must show grow with the excess to
# this power. In 24 generated frames 53 of 59 false spots lay where .11 and more was hidden, of 329 true ones 75.
BUSY_FROM, BUSY_POWER = 0.05, 0.5


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
        np.array([centred(s.x, s.y, width=view.width, height=view.height) for s in spots if _speaks(s, view)]),
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


def reconcile(spots: Sequence[Spot], state: State, view: View, thresholds: Thresholds) -> tuple[Spot, ...]:
    """Decide which spots to correct, from their scores and what the map knows, and say why."""
    body = align(spots, state, view)
    predictions = {particle.id: predict(particle, view, body) for particle in state.particles}
    matched = match(spots, state.particles, predictions, view)
    crowd = crowd_of(spots, view)
    return tuple(
        _decided(spot, matched.get(index), predictions, view, thresholds, body, crowd)
        for index, spot in enumerate(spots)
    )


def observe(state: State, view: View, spots: Sequence[Spot]) -> State:
    """Fold one frame into the map: sightings, misses, new suspicions, what they teach of the optics, a cleaning.

    Neither the order of *spots* matters nor, for any but the ids of new suspicions, their own ids.
    """
    state = replace(state, optics=_with_reference(state.optics, view))
    body = align(spots, state, view)
    predictions = {particle.id: predict(particle, view, body) for particle in state.particles}
    matched = match(spots, state.particles, predictions, view)
    spot_of = {particle.id: spots[index] for index, particle in matched.items()}
    noticed = cleaning.step(state.cleaning, state.particles, predictions, spot_of.keys(), view)
    crowd = crowd_of(spots, view)
    updated = [_updated(p, predictions[p.id], spot_of.get(p.id), view, body, crowd) for p in state.particles]
    kept = [particle for particle in updated if _worth_keeping(particle)]
    born = [
        _suspicion(spot, view, body) for i, spot in enumerate(spots) if i not in matched and _credible(spot, view, body)
    ]
    learnt = _learnt(state.optics, kept, view)
    placed = [_placed(particle, learnt) for particle in kept]
    together = frozenset(particle.id for particle in born) | spot_of.keys()
    particles = _merged([*placed, *(_placed(particle, learnt) for particle in born)], together, learnt)
    return State(particles=tuple(sorted(particles, key=lambda particle: particle.id)), optics=learnt, cleaning=noticed)


def confirms(particle: Particle, at: Prediction, spot: Spot, view: View, body: BodyOptics, crowd: float) -> bool:
    """Ask whether a spot at its place confirms a suspicion; *crowd* as `crowd_of` gives it."""
    return _updated(particle, at, spot, view, body, crowd).confirmed


def after_cleaning(state: State) -> State:
    """Begin the next epoch: the optics stay, and dust once confirmed is remembered, to be confirmed when it is seen."""
    remembered = (
        replace(particle, log_odds=min(particle.log_odds, SURVIVES), confirmed=False, remembered=True, missed_in=())
        for particle in state.particles
        if particle.ever_confirmed
    )
    return State(particles=tuple(remembered), optics=state.optics)


def _with_reference(body: BodyOptics, view: View) -> BodyOptics:
    """Let the first lens that is known by name be the reference."""
    if body.lenses or view.lens is None:
        return body
    return body.with_scale(view.lens, focal_bin_mm(view.focal_length_mm))


def _updated(
    particle: Particle, at: Prediction, spot: Spot | None, view: View, body: BodyOptics, crowd: float
) -> Particle:
    """Let the frame speak for or against a particle; a spot that is hardly its own does neither."""
    if spot is None:
        proves = at.p_visible >= PROVES_NOTHING and at.attenuation is not None
        return _missed(particle, at, view) if proves else particle
    gain = _hit(particle, at, spot, view, crowd)
    return _seen(particle, at, spot, gain, view, body) if gain > 0 else particle


def _seen(particle: Particle, at: Prediction, spot: Spot, gain: float, view: View, body: BodyOptics) -> Particle:
    """Count a sighting, as far as it is not the scene again; only an independent one refines the particle."""
    others = _otherness([each.scene for each in particle.sightings], at, view)
    news = (_newness(particle, e, w, at, spot, view) for e, w in zip(particle.sightings, others, strict=True))
    weight = min(news, default=1.0)
    independent = weight >= PARTLY_INDEPENDENT
    sightings = particle.sightings
    if independent:
        worth = 1.0 if spot.score >= view.evidence_score or gain >= PLAIN_GAIN else WEAK_FRAME
        sightings = (*sightings, replace(_sighting(spot, view), independence=weight, worth=worth))[-SCENES_KEPT:]
    surroundings = sum(_frames_worth(each) for each in sightings)
    ceiling = LOG_ODDS_MAX if surroundings >= FRAMES_TO_CONFIRM else max(ONE_SCENE_MAX, particle.log_odds)
    log_odds = min(particle.log_odds + weight * gain, ceiling)
    often_enough = particle.frames_seen + 1 >= HIT_RATE * (particle.frames_eligible + 1)
    sure = sum(_frames_worth(each) * each.worth for each in sightings)
    seen = replace(
        particle,
        log_odds=log_odds,
        confirmed=particle.confirmed or (log_odds >= CONFIRM and sure >= FRAMES_TO_CONFIRM and often_enough),
        last_seen=_latest(particle.last_seen, view.taken_at),
        frames_seen=particle.frames_seen + 1,
        frames_eligible=particle.frames_eligible + 1,
        independent_frames=particle.independent_frames + independent,
        f_numbers=_with(particle.f_numbers, view.f_number),
    )
    seen = replace(seen, ever_confirmed=seen.ever_confirmed or seen.confirmed)
    if not independent:
        return seen
    known_lens = view.lens is not None or not particle.places
    places = with_sighting(particle.places, sightings[-1]) if known_lens else particle.places
    seen = replace(seen, sightings=sightings, places=places, outline=pooled(particle.outline, spot.outline))
    return _refined(seen, body, view.pixel_pitch_um)


def _frames_worth(sighting: Sighting) -> float:
    """Say what a sighting counts among the frames in new surroundings: 1 or, if they are partly known, less."""
    return min(sighting.independence / INDEPENDENT, 1.0)


def _missed(particle: Particle, at: Prediction, view: View) -> Particle:
    """Count a miss: it would have been visible. What hid it from the detector may repeat, so scenes count here too."""
    weight = min(_otherness(particle.missed_in, at, view), default=1.0)
    weight = weight if weight > INDEPENDENCE_FLOOR else 0.0
    loss = weight * math.log((1 - at.p_visible) / (1 - min(FALSE_PER_PX2 * at.area_px2, 0.5)))
    log_odds = max(particle.log_odds + min(loss, 0.0), LOG_ODDS_MIN)
    missed_in = particle.missed_in
    if weight >= INDEPENDENT:
        missed_in = (*missed_in, Scene(frame_id=view.frame_id, evidence=view.evidence))[-MISSES_KEPT:]
    return replace(
        particle,
        log_odds=log_odds,
        confirmed=particle.confirmed and log_odds > RETIRE,
        frames_eligible=particle.frames_eligible + 1,
        missed_in=missed_in,
    )


def _hit(particle: Particle, at: Prediction, spot: Spot, view: View, crowd: float) -> float:
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
    return max(SPOTS_PER_PX2, sum(_speaks(spot, view) for spot in spots) / (view.width * view.height))


def _agreement(particle: Particle, at: Prediction, spot: Spot, view: View) -> float:
    """Say how much likelier a spot's depth and width are if it is the particle than if it is another thing, as ln.

    It is compared with how the particle looked at the nearest f-number, so that little rests on what is foretold.
    """
    known = [earlier for earlier in particle.sightings if earlier.f_number]
    if not (view.f_number and known):
        return _told(_strength_residual(spot, particle, view), STRENGTH_ERROR, STRENGTH_SPREAD)
    steps = [abs(math.log(view.f_number / earlier.f_number)) for earlier in known if earlier.f_number]
    nearest = [earlier for earlier, step in zip(known, steps, strict=True) if step <= min(steps)]
    changes = [_changes(particle, earlier, at, spot) for earlier in nearest]
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


def _changes(
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


def _newness(particle: Particle, earlier: Sighting, weight: float, at: Prediction, spot: Spot, view: View) -> float:
    """Weigh a sighting after an earlier one: 1 if it cannot be the same piece of the scene, towards 0 if it may be.

    Either the surroundings are others (*weight*); or another focal length would have moved a thing, and did not move
    the spot; or the spot changed with the aperture as a shadow does and a thing does not.
    """
    if view.focal_length_mm and earlier.focal_length_mm:
        moved_px = math.hypot(earlier.mx, earlier.my) * abs(math.log(view.focal_length_mm / earlier.focal_length_mm))
        weight = max(weight, min(max(moved_px / (at.radius_px + at.radial_px) - 1.0, 0.0), 1.0))
    if weight >= 1 or not (view.f_number and earlier.f_number):
        return weight

    def tells(change: float, foretold: float, error: float) -> float:
        return (change**2 - (change - foretold) ** 2) / (2 * error**2)

    depth, width = _changes(particle, earlier, at, spot)
    ratio = tells(*depth, DEPTH_CHANGE_ERROR) + tells(*width, WIDTH_CHANGE_ERROR)
    return max(weight, TELLS_MOST * min(max((ratio - TELLS_FROM) / (TELLS_ALL - TELLS_FROM), 0.0), 1.0))


def _otherness(scenes: Sequence[Scene], at: Prediction, view: View) -> list[float]:
    """Weigh a frame by how far the surroundings of the predicted place differ from those of each earlier frame."""
    earlier = [scene.evidence for scene in scenes]
    return independences(view.evidence, earlier, at.x, at.y, at.diameter_px).tolist()


def _speaks(spot: Spot, view: View) -> bool:
    """Ask whether a spot speaks by itself: sure enough for the ground it lies on, and measured to be there."""
    sure = spot.score >= lone_limit(view.evidence_score, view, spot.x, spot.y)
    return sure and spot.attenuation > 0 and spot.diameter_px > 0


def _credible(spot: Spot, view: View, body: BodyOptics) -> bool:
    """Ask whether a spot may begin a particle: sure enough, visible where it lies, as wide as dust must be."""
    if not _speaks(spot, view) or visibility(spot.attenuation, view, spot.x, spot.y) < UNBELIEVABLE:
        return False
    narrowest = optics.STACK_RANGE[0] * optics.blur_constant_px(view.pixel_pitch_um)
    if body.blur_constant:
        slack = 2 * math.hypot(body.blur_sigma, lenses.BLUR_SCATTER, lenses.BLUR_ERROR)
        narrowest = max(narrowest, body.blur_constant * math.exp(-slack))
    return spot.diameter_px >= optics.blur_px(view.f_number or NARROWEST_F_NUMBER, narrowest)


def _suspicion(spot: Spot, view: View, body: BodyOptics) -> Particle:
    """Begin a particle with a first sighting, worth what the detector's score says."""
    score = min(max(spot.score, 1e-3), 1 - 1e-3)
    sighting = _sighting(spot, view)
    begun = Particle(
        id="p" + hashlib.sha256(f"{view.frame_id}:{spot.id}".encode()).hexdigest()[:12],
        mx=sighting.mx,
        my=sighting.my,
        strength_px2=optics.strength_px2(spot.attenuation, spot.diameter_px),
        blur_constant=body.blur(view.pixel_pitch_um),
        opacity=1.0,
        log_odds=min(math.log(score / (1 - score)), ONE_SCENE_MAX),
        first_seen=view.taken_at,
        last_seen=view.taken_at,
        f_numbers=_with((), view.f_number),
        places=places_of((sighting,)),
        sightings=(sighting,),
        outline=spot.outline,
    )
    return _refined(begun, body, view.pixel_pitch_um)


def _refined(particle: Particle, body: BodyOptics, pixel_pitch_um: float | None) -> Particle:
    """Take strength, blur and opacity from the latest independent sightings and from what is known of the body."""
    known = [each for each in particle.sightings if each.f_number]
    prior, opacity = optics.blur_constant_px(pixel_pitch_um), 1.0
    blur = body.blur(pixel_pitch_um)
    for each in known:
        opacity = min(opacity, optics.observed_opacity(each.attenuation, each.diameter_px, each.f_number, prior))
    log_blurs = _log_blurs(particle.sightings)
    if log_blurs:
        spread = math.hypot(body.blur_sigma, lenses.BLUR_SCATTER)
        mean = statistics.median(log_blurs)
        own = math.exp(lenses.shrink(mean, len(log_blurs), lenses.BLUR_ERROR, math.log(blur), spread))
        low, high = optics.STACK_RANGE
        blur = min(max(own, low * prior), high * prior)
    strengths = [math.log(_strength(e.attenuation, e.diameter_px, e.f_number, blur)) for e in particle.sightings]
    return replace(particle, strength_px2=math.exp(statistics.median(strengths)), blur_constant=blur, opacity=opacity)


def _strength(attenuation: float, diameter_px: float, f_number: float | None, blur_constant: float) -> float:
    """Measure the light that a spot takes; where its width is its blur, by what is known of that, too."""
    if f_number and attenuation < BLUR_DOMINATES:
        foretold = optics.blur_px(f_number, blur_constant)
        # Half and half: the spot's own width errs by a fifth, but a large grain is wider than its blur.
        diameter_px = math.sqrt(diameter_px * foretold)
    return optics.strength_px2(attenuation, diameter_px)


def _strength_residual(spot: Spot, particle: Particle, view: View) -> float:
    """Compare a spot's strength with the particle's: ln(E of the frame / E of the map)."""
    strength = _strength(spot.attenuation, spot.diameter_px, view.f_number, particle.blur_constant)
    return math.log(strength) - math.log(particle.strength_px2) if strength > 0 else math.inf


def _log_blurs(sightings: Iterable[Sighting]) -> list[float]:
    """Read ln k off the spots whose width is their blur."""
    return [math.log(e.diameter_px * e.f_number) for e in sightings if e.f_number and e.attenuation < BLUR_DOMINATES]


def _learnt(body: BodyOptics, particles: Sequence[Particle], view: View) -> BodyOptics:
    """Fit what this frame can teach: the scale of its lens, from particles seen through others too, and the blur."""
    key = (view.lens, focal_bin_mm(view.focal_length_mm))
    if view.lens is not None and key != (body.lenses[0].lens, body.lenses[0].focal_mm):
        body = _with_fitted_scale(body, particles, key)
    told = [_log_blurs(p.sightings) for p in particles if p.independent_frames >= FRAMES_TO_CONFIRM]
    told = [each for each in told if each]
    if len(told) < lenses.ENOUGH:
        return body
    means, counts = np.array([statistics.median(each) for each in told]), np.array([len(each) for each in told])
    blur, sigma = lenses.fit_blur(means, counts, optics.blur_constant_px(view.pixel_pitch_um))
    return replace(body, blur_constant=blur, blur_sigma=sigma)


def _with_fitted_scale(
    body: BodyOptics, particles: Sequence[Particle], key: tuple[str | None, float | None]
) -> BodyOptics:
    """Fit one lens's scale again, unless fewer particles than before could tell it."""
    rows = []
    for particle in particles:
        here = [place for place in particle.places if (place.lens, place.focal_mm) == key]
        others = [place for place in particle.places if (place.lens, place.focal_mm) != key and place.lens is not None]
        if here and others and particle.independent_frames >= FRAMES_TO_CONFIRM:
            mx, my, _ = reference_place(others, body)
            count = sum(place.count for place in others)
            chain = min(body.scale(place.lens, place.focal_mm)[1] for place in others)
            rows.append((here[0].mx, here[0].my, here[0].count, mx, my, count, chain))
    known = max((e.particles for e in body.lenses if (e.lens, e.focal_mm) == key), default=0)
    if len(rows) < max(lenses.ENOUGH, known):
        return body
    data = np.array(rows)
    error = lenses.PLACE_ERROR_PX**2
    log_scale, sigma = lenses.fit_scale(
        data[:, 0:2], error / data[:, 2], data[:, 3:5], error / data[:, 5], data[:, 6] ** 2
    )
    return body.with_scale(*key, log_scale=log_scale, sigma=sigma, particles=len(rows))


def _placed(particle: Particle, body: BodyOptics) -> Particle:
    """Move a particle to where its places put it, now that the lenses are known better."""
    mx, my, _ = reference_place(particle.places, body)
    if math.hypot(mx - particle.mx, my - particle.my) < REPLACED_PX:
        return particle
    return replace(particle, mx=mx, my=my)


def _merged(particles: Sequence[Particle], together: frozenset[str], body: BodyOptics) -> list[Particle]:
    """Join particles that turn out to be one: in the same place, as strong, and never both seen in one frame.

    *together* are those seen in the present frame.
    """
    x, y = (np.array([getattr(p, name) for p in particles]) for name in ("mx", "my"))
    near = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2 <= SAME_PLACE_PX**2
    left = {particle.id: particle for particle in particles}
    for one, other in np.argwhere(np.triu(near, 1)).tolist():
        ids = sorted((particles[one].id, particles[other].id))
        if not all(each in left for each in ids) or all(each in together for each in ids):
            continue
        a, b = (left[each] for each in ids)
        if _may_be_one(a, b, body):
            del left[ids[0]], left[ids[1]]
            joined = _joined(a, b)
            left[joined.id] = joined
    return list(left.values())


def _may_be_one(a: Particle, b: Particle, body: BodyOptics) -> bool:
    frames_a, frames_b = ({each.scene.frame_id for each in p.sightings} for p in (a, b))
    sure = all(reference_place(p.places, body)[2] <= SAME_PLACE_PX**2 for p in (a, b))
    alike = abs(math.log(a.strength_px2 / b.strength_px2)) <= math.log(STRENGTH_RATIO)
    return sure and alike and frames_a.isdisjoint(frames_b)


def _joined(a: Particle, b: Particle) -> Particle:
    """Make one particle of two; the one that more frames speak for keeps its name and its looks."""
    main, rest = sorted((a, b), key=lambda p: (-p.independent_frames, -p.frames_seen, p.id))
    places = main.places
    for place in rest.places:
        if (place.lens, place.focal_mm) not in {(each.lens, each.focal_mm) for each in places}:
            places = (*places, place)
    return replace(
        main,
        log_odds=max(main.log_odds, rest.log_odds),
        confirmed=main.confirmed or rest.confirmed,
        ever_confirmed=main.ever_confirmed or rest.ever_confirmed,
        remembered=main.remembered or rest.remembered,
        first_seen=_earliest(main.first_seen, rest.first_seen),
        last_seen=_latest(main.last_seen, rest.last_seen),
        frames_seen=main.frames_seen + rest.frames_seen,
        frames_eligible=max(main.frames_eligible, rest.frames_eligible, main.frames_seen + rest.frames_seen),
        f_numbers=tuple(sorted({*main.f_numbers, *rest.f_numbers})),
        places=places,
        outline=pooled(main.outline, rest.outline),
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


def _worth_keeping(particle: Particle) -> bool:
    """Ask whether a particle may stay: once confirmed always; what a cleaning may have left, as long as it may."""
    return (particle.ever_confirmed and not particle.remembered) or particle.confirmed or particle.log_odds > FORGOTTEN


def _decided(
    spot: Spot,
    particle: Particle | None,
    predictions: Mapping[str, Prediction],
    view: View,
    limits: Thresholds,
    body: BodyOptics,
    crowd: float,
) -> Spot:
    """Apply the score limit that holds for this spot, and put the rule into words."""
    lone = lone_limit(limits.lone, view, spot.x, spot.y)
    ground = "" if lone - limits.lone < 0.005 else f" (busy ground: {limits.lone:.2f} is not enough)"
    if particle is None:
        wanted = spot.score >= lone
        known = "" if wanted else " and not known: left alone"
        return replace(spot, wanted=wanted, reason=_compared(spot.score, lone) + ground + known)
    at = predictions[particle.id]
    # However unlikely the detector was to see it here: now that something is seen, whose is it?
    belief = particle.log_odds + _hit(particle, at, spot, view, crowd)
    believed = belief >= math.log(limits.lone / max(1 - limits.lone, 1e-6))
    by_this = believed and not particle.confirmed and confirms(particle, at, spot, view, body, crowd)
    expected = believed and (particle.confirmed or by_this)
    limit = min(limits.known, limits.lone) if expected else lone
    seen = f"seen in {particle.frames_seen} frame{'s' if particle.frames_seen != 1 else ''}"
    if by_this:
        where = " where dust was suspected, which confirms it"
    elif not particle.confirmed:
        where = ", not yet confirmed"
    elif expected:
        where = " where dust is known" + ("" if at.p_visible >= PROVES_NOTHING else ", hard to see as it is here")
    elif at.p_visible > 0:
        where = ": dust is known here but does not look like this"
    else:
        where = ": dust is known here but would not show in this frame"
    if at.attenuation is None:
        where += "; aperture unknown, so not used"
    wanted = spot.score >= limit
    return replace(
        spot,
        wanted=wanted,
        particle_id=particle.id,
        confidence=particle.confidence,
        frames_seen=particle.frames_seen,
        reason=f"{seen}; {_compared(spot.score, limit)}{'' if expected else ground}{where}"
        + ("" if wanted else ": left alone"),
    )


def lone_limit(limit: float, view: View, x: float, y: float) -> float:
    """Raise the score limit *limit* for a spot that the map does not vouch for, as far as the ground at (x, y) is busy.

    The odds that a score must give grow with the depth that the texture hides, so the rule follows sensitivity.
    """
    hidden = min(visible_from(view.evidence, x, y), 1.0)
    odds = limit / max(1 - limit, 1e-6) * max(hidden / BUSY_FROM, 1.0) ** BUSY_POWER
    return odds / (1 + odds)


def _compared(score: float, limit: float) -> str:
    return f"score {score:.2f} {'≥' if score >= limit else 'below'} {limit:.2f}"


def _with(f_numbers: tuple[float, ...], f_number: float | None) -> tuple[float, ...]:
    return tuple(sorted({*f_numbers, f_number})) if f_number else f_numbers


def _latest(a: str | None, b: str | None) -> str | None:
    return max((at for at in (a, b) if at is not None), default=None)


def _earliest(a: str | None, b: str | None) -> str | None:
    return min((at for at in (a, b) if at is not None), default=None)
