"""Whole sessions with a simulated detector: lenses, tripods, cleanings. The optics are those of facts §1.1."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from dustd.dustmap.decide import State, Thresholds, after_cleaning, observe, reconcile
from dustd.dustmap.evidence import look, visible_from
from dustd.dustmap.particle import View, predict
from dustd.raw.frame import centred, from_centre
from dustd.spots.spot import Spot

STEP = 16
WIDTH, HEIGHT = 4800, 3200
STACK_MM, PITCH_MM = 2.0, 0.0075  # the sensor is 36 mm wide
LIMITS = Thresholds(lone=0.78, known=0.2)


@dataclass(frozen=True)
class Lens:
    name: str
    focal_length_mm: float
    exit_pupil_mm: float


NORMAL, TELE = Lens("50 mm", 50.0, 45.0), Lens("90 mm", 90.0, 90.0)


def landscape(seed, width=WIDTH):
    """Blocks of linear light with a plain sky of some brightness over structured ground."""
    rng = np.random.default_rng(seed)
    columns, rows = width // STEP, HEIGHT // STEP
    rough = sum(
        0.15 * cv2.resize(rng.normal(size=(rows // c + 2, columns // c + 2)), (columns, rows), interpolation=2)
        for c in (4, 16, 60)
    )
    slope = np.linspace(0.7, 1, rows)[:, None] if seed % 2 else np.linspace(1, 0.7, columns)[None, :]
    horizon = np.linspace(0, 1, rows)[:, None] > rng.uniform(0.6, 0.8)
    return np.where(horizon, 0.2 * np.exp(2 * rough), rng.uniform(0.12, 0.8) * slope).astype(np.float32)


SEEN = {}


def seen(light, number):
    """The evidence of a scene, noise and all; a scene has three kinds of noise, so that this costs little."""
    key = (id(light), number % 3)
    if key not in SEEN:
        noise = np.random.default_rng(number).normal(1, 0.003, light.shape)
        SEEN[key] = light, look((light * noise).astype(np.float32), STEP)
    return SEEN[key][1]


def view(number, light, *, f_number=11.0, lens=NORMAL, day=1, shown_f_number=None):
    return View(
        frame_id=f"frame{number}",
        width=WIDTH,
        height=HEIGHT,
        f_number=shown_f_number or f_number,
        focal_length_mm=lens.focal_length_mm,
        lens=lens.name,
        pixel_pitch_um=1000 * PITCH_MM,
        taken_at=f"2026-11-{day:02d}T{10 + number % 3600 // 600:02d}:{number % 600 // 10:02d}:{number % 10:02d}",
        evidence=seen(light, number),
        evidence_score=0.36,
    )


LANDSCAPES = [landscape(seed) for seed in range(40)]


class Dusty:
    """A sensor with dust, seen by a detector that finds most of what stands out and a little that is not there."""

    def __init__(self, seed, count, *, strong=False):
        self.rng = np.random.default_rng(seed)
        grid = [(x, y) for x in range(-2100, 2200, 350) for y in range(-1400, 1000, 350)]
        chosen = self.rng.choice(len(grid), count, replace=False)
        self.places = np.array(grid, float)[chosen] + self.rng.uniform(-110, 110, (count, 2))
        self.diameters = self.rng.uniform(10, 18, count) if strong else self.rng.lognormal(math.log(8), 0.5, count)
        self.there = np.ones(count, bool)

    def shown(self, lens, f_number):
        """Frame coordinates, attenuations and widths of all grains."""
        x, y = from_centre(*(self.places * (1 + STACK_MM / lens.exit_pupil_mm)).T, width=WIDTH, height=HEIGHT)
        blur = STACK_MM / f_number / PITCH_MM
        return x, y, np.minimum(1, (self.diameters / blur) ** 2), np.maximum(self.diameters, blur)

    def spots(self, each, lens=NORMAL, f_number=None, others=(), false=2):
        rng, found = self.rng, []
        for x, y, depth, width, there in zip(*self.shown(lens, f_number or each.f_number), self.there, strict=True):
            if not (0 <= x < WIDTH and 0 <= y < HEIGHT and there):
                continue
            clear = depth / max(visible_from(each.evidence, x, y), 0.015)
            if rng.random() * (1 + clear**2.5) < 0.93 * clear**2.5:
                found.append((x, y, depth, width, rng.beta(4, 1)))
        found += [(x, y, 0.15, 30.0, rng.beta(4, 1)) for x, y in others if rng.random() < 0.9]
        for _ in range(false):
            place = rng.uniform((0, 0), (WIDTH, HEIGHT))
            found.append((*place, rng.uniform(0.03, 0.3), rng.uniform(20, 60), 0.05 + 0.9 * rng.beta(1, 5)))
        return tuple(
            Spot(
                id=number,
                x=float(x + rng.normal(0, 1)),
                y=float(y + rng.normal(0, 1)),
                diameter_px=float(width * rng.lognormal(0, 0.1)),
                edge_px=8.0,
                attenuation=float(min(depth * rng.lognormal(0, 0.2), 0.97)),
                score=float(min(max(score, 0.03), 0.99)),
            )
            for number, (x, y, depth, width, score) in enumerate(found)
        )

    def which(self, particle, state, each, lens):
        """The grain that a particle is, None if none, and how far its prediction is off."""
        at = predict(particle, each, state.optics)
        x, y, *_ = self.shown(lens, each.f_number)
        away = np.hypot(x - at.x, y - at.y)
        nearest = int(away.argmin())
        return (nearest if away[nearest] < 15 else None), float(away[nearest])


def played(dusty, takes, state=None):
    """Fold frames (view, lens) into a map."""
    state = state or State()
    for each, lens in takes:
        state = observe(state, each, dusty.spots(each, lens))
    return state


def test_ten_different_scenes_confirm_95_percent_of_what_shows_at_f_11_and_nothing_false():
    confirmed = due = 0
    for seed in range(6):
        dusty, state = Dusty(seed, 25), State()
        for n in range(10):
            each = view(n, LANDSCAPES[4 * n + seed % 4], f_number=(8.0, 11.0, 16.0)[n % 3])
            state = observe(state, each, dusty.spots(each, false=3))
        last = view(30, LANDSCAPES[30])
        grains = [dusty.which(p, state, last, NORMAL)[0] for p in state.particles if p.confirmed]
        assert None not in grains
        x, y, depths, _ = dusty.shown(NORMAL, 11.0)
        strong = {i for i in range(25) if depths[i] >= 0.03 and 0 <= x[i] < WIDTH and 0 <= y[i] < HEIGHT}
        due, confirmed = due + len(strong), confirmed + len(strong & set(grains))
    print(f"{confirmed} of {due} confirmed")
    assert confirmed >= 0.95 * due > 50


@pytest.mark.parametrize("seed", range(4))
def test_two_lenses_and_five_apertures_make_one_map(seed):
    dusty, rng = Dusty(seed, 25), np.random.default_rng(seed)
    takes = []
    for n in range(30):
        lens = (NORMAL, TELE)[int(rng.integers(2))]
        f_number = (5.6, 8.0, 11.0, 16.0, 22.0)[int(rng.integers(5))]
        takes.append((view(n, LANDSCAPES[n], f_number=f_number, lens=lens), lens))
    state = played(dusty, takes)
    confirmed = [particle for particle in state.particles if particle.confirmed]
    for lens in (NORMAL, TELE):
        each = view(99, LANDSCAPES[39], f_number=11.0, lens=lens)
        grains, errors = zip(*(dusty.which(particle, state, each, lens) for particle in confirmed), strict=True)
        assert None not in grains
        assert len(set(grains)) == len(grains)
        assert max(errors) <= 3
    everyone = [dusty.which(p, state, each, lens)[0] for p in state.particles]
    assert len({g for g in everyone if g is not None}) == len([g for g in everyone if g is not None])
    assert len(confirmed) >= 12
    k = STACK_MM / PITCH_MM
    assert state.optics.blur_constant == pytest.approx(k, rel=0.15)
    between = state.optics.scale(NORMAL.name, 50.797)[0] - state.optics.scale(TELE.name, 90.51)[0]
    assert between == pytest.approx(math.log((1 + STACK_MM / 45) / (1 + STACK_MM / 90)), abs=0.001)


@pytest.mark.parametrize("seed", range(4))
def test_the_first_frame_of_a_new_lens_finds_the_dust_60_px_away_at_the_corners(seed):
    dusty = Dusty(seed, 20, strong=True)
    before = played(dusty, [(view(n, LANDSCAPES[n]), NORMAL) for n in range(4)])
    each = view(9, LANDSCAPES[9], lens=TELE)
    x, y, *_ = dusty.shown(NORMAL, 11.0)
    assert np.hypot(*(np.array(dusty.shown(TELE, 11.0)[:2]) - (x, y))).max() > 45
    spots = dusty.spots(each, TELE, false=0)
    after = observe(before, each, spots)
    known = {dusty.which(p, before, each, NORMAL)[0] for p in before.particles}
    grains = [dusty.which(p, after, each, TELE)[0] for p in after.particles if each.frame_id in frames_of(p)]
    assert len(set(grains)) == len(grains) == len(spots)
    new = {p.id for p in after.particles} - {p.id for p in before.particles}
    assert len(new) == len(set(grains) - known)


def frames_of(particle):
    return {sighting.scene.frame_id for sighting in particle.sightings}


def test_two_particles_that_turn_out_to_be_one_are_joined():
    dusty = Dusty(3, 12, strong=True)
    state = played(dusty, [(view(n, LANDSCAPES[n]), NORMAL) for n in range(3)])
    assert state.particles[0].confirmed
    twin = replace(state.particles[0], id="pzzz", frames_seen=1, independent_frames=1, confirmed=False, sightings=())
    other = replace(state.particles[0].sightings[0], scene=replace(state.particles[0].sightings[0].scene, frame_id="x"))
    doubled = replace(state, particles=(*state.particles, replace(twin, sightings=(other,))))
    after = observe(doubled, view(5, LANDSCAPES[5]), dusty.spots(view(5, LANDSCAPES[5]), false=0))
    assert {p.id for p in after.particles} >= {p.id for p in state.particles if p.confirmed}
    assert "pzzz" not in {p.id for p in after.particles}


def test_neighbours_seen_in_one_frame_stay_two():
    each = [view(n, LANDSCAPES[n]) for n in range(3)]
    near = Dusty(3, 1, strong=True).spots(each[0], false=0)[0]
    pair = (replace(near, id=1, x=2000.0, y=900.0), replace(near, id=2, x=2005.0, y=900.0))
    state = State()
    for one in each:
        state = observe(state, one, pair)
    assert len(state.particles) == 2


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_spots_changes_nothing(seed):
    dusty, rng = Dusty(seed, 15), np.random.default_rng(seed)
    one = other = State()
    for n in range(5):
        lens = (NORMAL, TELE)[n % 2]
        each = view(n, LANDSCAPES[n], lens=lens)
        spots = dusty.spots(each, lens)
        one, other = observe(one, each, spots), observe(other, each, [spots[i] for i in rng.permutation(len(spots))])
    assert one == other
    assert reconcile(spots, one, each, LIMITS) == reconcile(spots[::-1], one, each, LIMITS)[::-1]


@pytest.mark.parametrize("seed", range(4))
def test_a_tripod_whose_aperture_changes_confirms_dust_and_no_speck_of_the_scene(seed):
    dusty, scene = Dusty(seed, 10, strong=True), landscape(seed + 100)
    specks = np.random.default_rng(seed).uniform((200, 200), (WIDTH - 200, 1600), (25, 2))
    state, f_numbers = State(), (8.0, 16.0, 8.0, 16.0, 11.0, 22.0, 8.0, 22.0)
    for n in range(24):
        each = view(n, scene, f_number=f_numbers[n % 8])
        state = observe(state, each, dusty.spots(each, others=specks, false=0))
    last = view(30, scene)
    grains = [dusty.which(p, state, last, NORMAL)[0] for p in state.particles if p.confirmed]
    assert None not in grains
    assert len(grains) >= 4


# --- cleanings ----------------------------------------------------------------------------------------------------


def mixed(rng, numbers, *, day=1):
    """Frames as they come: other scenes, two lenses, mostly stopped down."""
    for n in numbers:
        lens = (NORMAL, TELE)[int(rng.integers(2))]
        f_number = float(rng.choice([2.8, 8.0, 11.0, 11.0, 16.0]))
        yield view(n, LANDSCAPES[int(rng.integers(40))], f_number=f_number, lens=lens, day=day), lens


@pytest.mark.parametrize("seed", range(6))
def test_a_cleaning_that_takes_85_percent_is_noticed_within_six_eligible_frames(seed):
    dusty, rng = Dusty(seed, 20, strong=True), np.random.default_rng(seed)
    state = played(dusty, mixed(rng, range(25)))
    assert sum(particle.confirmed for particle in state.particles) >= 12
    assert state.cleaning.noticed_at is None
    dusty.there[:] = False
    dusty.there[rng.choice(20, 3, replace=False)] = True
    eligible, ids = 0, []
    for each, lens in mixed(rng, range(100, 140), day=1):
        asked = [predict(p, each, state.optics).p_visible > 0.5 for p in state.particles if p.confirmed]
        eligible += sum(asked) >= 3
        ids.append(each.frame_id)
        state = observe(state, each, dusty.spots(each, lens, false=1))
        if state.cleaning.noticed_at:
            break
    assert state.cleaning.noticed_at is not None
    assert eligible <= 6
    assert state.cleaning.noticed_at[0] in ids


def test_after_a_cleaning_no_ghost_is_corrected_a_survivor_is_back_at_once_and_new_dust_is_new():
    dusty = Dusty(1, 12, strong=True)
    state = after_cleaning(played(dusty, [(view(n, LANDSCAPES[n]), NORMAL) for n in range(6)]))
    assert len(state.particles) >= 8
    assert all(p.remembered and not p.confirmed for p in state.particles)
    each = view(10, LANDSCAPES[10])
    at = predict(state.particles[0], each, state.optics)
    survivor = Spot(id=1, x=at.x, y=at.y, diameter_px=at.diameter_px, edge_px=8, attenuation=at.attenuation, score=0.9)
    beside = replace(survivor, x=at.x + 16, score=LIMITS.known)
    unlike = replace(survivor, x=at.x + 8, attenuation=at.attenuation / 4, score=LIMITS.known)
    assert not any(reconcile([ghost], state, each, LIMITS)[0].wanted for ghost in (beside, unlike))
    new = replace(survivor, id=2, x=at.x + 400 if at.x < WIDTH / 2 else at.x - 400)
    after = observe(state, each, [survivor, new])
    assert [p.id for p in after.particles if p.confirmed] == [state.particles[0].id]
    assert len([p for p in after.particles if not p.remembered]) == 1


def test_no_cleaning_is_noticed_in_500_frames_without_one():
    dusty, rng = Dusty(7, 20, strong=True), np.random.default_rng(7)
    state, n = State(), 0
    while n < 500:
        kind, length = rng.choice(["mixed", "wide open", "tripod"], p=[0.6, 0.2, 0.2]), int(rng.integers(5, 25))
        scene = LANDSCAPES[int(rng.integers(40))]
        series = list(mixed(rng, range(n, n + length)))
        if kind == "wide open":
            series = [(view(i, LANDSCAPES[i % 40], f_number=2.0), NORMAL) for i in range(n, n + length)]
        elif kind == "tripod":
            series = [(view(i, scene, f_number=11.0), NORMAL) for i in range(n, n + length)]
        for each, lens in series:
            state = observe(state, each, dusty.spots(each, lens))
            assert state.cleaning.noticed_at is None, each.frame_id
        n += length
    assert sum(particle.confirmed for particle in state.particles) >= 12


def test_a_lens_that_tells_a_wrong_f_number_makes_no_cleaning():
    dusty, rng = Dusty(2, 20, strong=True), np.random.default_rng(2)
    state = played(dusty, mixed(rng, range(20)))
    old = Lens("adapted", 50.0, 60.0)
    for n in range(50, 90):
        each = view(n, LANDSCAPES[n % 40], f_number=2.0, lens=old, shown_f_number=16.0)
        state = observe(state, each, dusty.spots(each, old, f_number=2.0, false=1))
    assert state.cleaning.noticed_at is None


def test_two_frames_in_which_nothing_shows_are_no_cleaning():
    dusty, rng = Dusty(4, 20, strong=True), np.random.default_rng(4)
    state = played(dusty, mixed(rng, range(20)))
    for n in (30, 31):
        state = observe(state, view(n, LANDSCAPES[n], f_number=16.0), ())
    assert state.cleaning.noticed_at is None
    assert state.cleaning.log_ratio > 0
    each = view(32, LANDSCAPES[32], f_number=16.0)
    assert observe(state, each, dusty.spots(each)).cleaning.log_ratio == 0


def test_one_scene_that_hides_the_dust_again_and_again_is_no_cleaning():
    dusty, rng = Dusty(4, 20, strong=True), np.random.default_rng(4)
    state = played(dusty, mixed(rng, range(20)))
    for n in range(30, 60):
        state = observe(state, view(n, LANDSCAPES[30], f_number=16.0), ())
    assert state.cleaning.noticed_at is None


def test_places_are_from_the_centre():
    each = view(0, LANDSCAPES[0])
    (particle,) = observe(State(), each, Dusty(3, 1, strong=True).spots(each, false=0)).particles
    spot = particle.sightings[0]
    assert (particle.mx, particle.my) == (spot.mx, spot.my)
    x, y = from_centre(spot.mx, spot.my, width=WIDTH, height=HEIGHT)
    assert centred(x, y, width=WIDTH, height=HEIGHT) == pytest.approx((spot.mx, spot.my))
