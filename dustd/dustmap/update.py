"""How a frame changes what is believed: sightings, misses, new suspicions, and what they teach of the optics.

A particle is a hypothesis with log-odds (facts/optics-and-evidence.md §4). A spot where it is predicted raises them by
how much likelier such a spot is with the particle than without; none there, where it should be visible, lowers them;
any other frame proves nothing. Sightings count only as far as they could not be the same piece of the scene again,
misses likewise. Everything here is a pure step over values: the map is a fold over frames in capture order.
"""

import hashlib
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from dustd.dustmap import cleaning, lenses
from dustd.dustmap.lenses import BodyOptics, focal_bin_mm
from dustd.dustmap.match import (
    BLUR_DOMINATES,
    PROVES_NOTHING,
    STRENGTH_RATIO,
    UNBELIEVABLE,
    State,
    align,
    crowd_of,
    match,
    match_gain,
    speaks,
    spot_strength_px2,
)
from dustd.dustmap.newness import against, newness, otherness
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
from dustd.dustmap.scene import INDEPENDENCE_FLOOR
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
FORGOTTEN = -4.0  # our choice: a suspicion never confirmed and contradicted this far (p < .02) leaves the map
NARROWEST_F_NUMBER = 32.0  # that lenses have
REPLACED_PX = 0.25  # a particle's place follows better-known lenses in steps no finer than this
SAME_PLACE_PX = 6.0  # our choice: two particles this near for the reference lens are one, if never seen side by side
SURVIVES = math.log(0.15 / 0.85)  # log-odds that a cleaning leaves a particle: two swabs took .79 and .91 (facts §1.2)
SCENES_KEPT, MISSES_KEPT = 8, 4  # scenes of sightings and of misses, per particle


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
    gain = match_gain(particle, at, spot, view, crowd)
    return _seen(particle, at, spot, gain, view, body) if gain > 0 else particle


def _seen(particle: Particle, at: Prediction, spot: Spot, gain: float, view: View, body: BodyOptics) -> Particle:
    """Count a sighting, as far as it is not the scene again; only an independent one refines the particle."""
    others = otherness([each.scene for each in particle.sightings], at, view)
    news = (newness(particle, e, w, at, spot, view) for e, w in zip(particle.sightings, others, strict=True))
    weight = min(news, default=1.0)
    independent = weight >= PARTLY_INDEPENDENT
    sightings = particle.sightings
    if independent:
        worth = 1.0 if spot.score >= view.evidence_score or gain >= PLAIN_GAIN else WEAK_FRAME
        sightings = (*sightings, replace(_sighting(spot, view), independence=weight, worth=worth))[-SCENES_KEPT:]
    surroundings = sum(_frames_worth(each) for each in sightings)
    ceiling = LOG_ODDS_MAX if surroundings >= FRAMES_TO_CONFIRM else max(ONE_SCENE_MAX, particle.log_odds)
    log_odds = min(particle.log_odds + weight * gain + against(particle, others, at, spot, view), ceiling)
    log_odds = max(log_odds, LOG_ODDS_MIN)
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
    weight = min(otherness(particle.missed_in, at, view), default=1.0)
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


def _credible(spot: Spot, view: View, body: BodyOptics) -> bool:
    """Ask whether a spot may begin a particle: sure enough, visible where it lies, as wide as dust must be."""
    seen = spot.asked or visibility(spot.attenuation, view, spot.x, spot.y) >= UNBELIEVABLE
    if not (speaks(spot, view) and seen):
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
    prior, blur, opacity = optics.blur_constant_px(pixel_pitch_um), body.blur(pixel_pitch_um), 1.0
    for each in particle.sightings:
        if each.f_number:
            opacity = min(opacity, optics.observed_opacity(each.attenuation, each.diameter_px, each.f_number, prior))
    log_blurs = _log_blurs(particle.sightings)
    if log_blurs:
        spread = math.hypot(body.blur_sigma, lenses.BLUR_SCATTER)
        mean = statistics.median(log_blurs)
        own = math.exp(lenses.shrink(mean, len(log_blurs), lenses.BLUR_ERROR, math.log(blur), spread))
        low, high = optics.STACK_RANGE
        blur = min(max(own, low * prior), high * prior)
    strengths = [
        math.log(spot_strength_px2(e.attenuation, e.diameter_px, e.f_number, blur)) for e in particle.sightings
    ]
    return replace(particle, strength_px2=math.exp(statistics.median(strengths)), blur_constant=blur, opacity=opacity)


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


def _with(f_numbers: tuple[float, ...], f_number: float | None) -> tuple[float, ...]:
    return tuple(sorted({*f_numbers, f_number})) if f_number else f_numbers


def _latest(a: str | None, b: str | None) -> str | None:
    return max((at for at in (a, b) if at is not None), default=None)


def _earliest(a: str | None, b: str | None) -> str | None:
    return min((at for at in (a, b) if at is not None), default=None)
