import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.dustmap import match, update
from dustd.dustmap.decide import Thresholds, reconcile
from dustd.dustmap.evidence import look, visible_from
from dustd.dustmap.lenses import BodyOptics
from dustd.dustmap.match import State
from dustd.dustmap.particle import View, is_told, predict
from dustd.dustmap.scene import independence
from dustd.dustmap.update import observe
from dustd.raw.frame import centred, from_centre
from dustd.spots import optics
from dustd.spots.shape import Outline
from dustd.spots.spot import Spot

STEP = 16
WIDTH, HEIGHT = 6000, 4000
LIMITS = Thresholds(lone=0.63, known=0.2)


def blocks(seed, width=WIDTH, height=HEIGHT):
    """A scene in blocks of linear light: plain above a rough horizon, structure of every size below."""
    rng = np.random.default_rng(seed)
    columns, rows = width // STEP, height // STEP
    rough = np.zeros((rows, columns), np.float32)
    for cell in (2, 8, 32, 90):
        noise = rng.normal(size=(rows // cell + 2, columns // cell + 2)).astype(np.float32)
        rough += 0.12 * cv2.resize(noise, (columns, rows), interpolation=cv2.INTER_CUBIC)
    horizon = rng.uniform(0.3, 0.6) + rng.uniform(-0.3, 0.3) * np.linspace(-0.5, 0.5, columns)
    ground = np.linspace(0, 1, rows)[:, None] > horizon
    sky = rng.uniform(0.3, 0.7) * np.linspace(rng.uniform(0.5, 1), 1, rows)[:, None]
    return np.where(ground, 0.2 * np.exp(2 * rough), sky).astype(np.float32)


def view(name, light, f_number=16.0, lens="50 mm", noise=0):
    draw = np.random.default_rng(noise).normal(1, 0.003, light.shape)
    return View(
        frame_id=str(name),
        width=light.shape[1] * STEP,
        height=light.shape[0] * STEP,
        f_number=f_number,
        focal_length_mm=50.0,
        lens=lens,
        taken_at=f"2026-11-23T10:00:{int(name) % 60:02d}" if str(name).isdigit() else None,
        evidence=look((light * draw).astype(np.float32), STEP),
    )


def plain(level, seed=0):
    """A backdrop with structure enough to tell that the camera moved, none where the tests put their spots."""
    light = blocks(100 + seed)
    light[60:140, 100:300] = level
    return light


def spot(x=3000.0, y=1500.0, score=0.8, attenuation=0.2, diameter=28.0, number=0):
    return Spot(id=number, x=x, y=y, diameter_px=diameter, edge_px=8.0, attenuation=attenuation, score=score)


def fold(views_and_spots):
    return fold_on(State(), views_and_spots)


def scenes(count, f_number=16.0, **options):
    levels = (0.2, 0.5, 0.35, 0.7, 0.15, 0.6)
    return [view(n, plain(levels[n % 6] * 0.97**n, n), f_number, **options) for n in range(count)]


def test_one_sighting_is_a_suspicion():
    (particle,) = fold([(scenes(1)[0], [spot()])]).particles
    assert not particle.confirmed
    assert 0.5 < particle.confidence < 0.8


def test_two_independent_sightings_confirm():
    (particle,) = fold([(each, [spot()]) for each in scenes(2)]).particles
    assert particle.confirmed
    assert particle.independent_frames == 2
    assert particle.confidence > 0.9


def test_new_surroundings_make_surer_of_a_shape_and_one_scene_repeated_does_not():
    thread = Outline(slenderness=9.0, angle_deg=30.0, error=2.0, feigned=0.5, hollow=0.0, hollow_error=0.1)
    fibre = dataclasses.replace(spot(), outline=thread)
    (moved,) = fold([(each, [fibre]) for each in scenes(4)]).particles
    light = plain(0.4)
    (fixed,) = fold([(view(n, light, noise=n), [fibre]) for n in range(4)]).particles
    assert (moved.shape, fixed.shape) == ("fibre", None)
    assert fixed.outline == thread


def test_a_shape_is_asked_again_only_by_frames_that_are_stopped_down_further():
    thread = Outline(slenderness=9.0, angle_deg=30.0, error=0.5, feigned=0.5, hollow=0.0, hollow_error=0.1)
    (fibre,) = fold([(each, [dataclasses.replace(spot(), outline=thread)]) for each in scenes(2)]).particles
    (unknown,) = fold([(each, [spot()]) for each in scenes(2)]).particles
    same, narrower = (view(9, plain(0.4), f_number) for f_number in (16.0, 22.0))
    assert is_told(fibre, same)
    assert not is_told(fibre, narrower)
    assert not is_told(unknown, same)


def test_thirty_sightings_of_one_scene_are_worth_one():
    light = plain(0.4)
    (particle,) = fold([(view(n, light, noise=n), [spot()]) for n in range(30)]).particles
    assert particle.frames_seen == 30
    assert particle.independent_frames == 1
    assert not particle.confirmed
    assert particle.log_odds <= update.ONE_SCENE_MAX


def test_surroundings_that_are_partly_new_add_up():
    """The camera stands still, but the light on the backdrop changes by a third, to either side."""
    views = [view(n, plain(0.3 * math.exp(change), 7)) for n, change in enumerate((0.0, 0.31, -0.31))]
    weights = [independence(views[n].evidence, views[0].evidence, 3000, 1500, 28) for n in (1, 2)]
    assert all(update.PARTLY_INDEPENDENT < weight < update.INDEPENDENT for weight in weights)
    states = [fold([(each, [spot()]) for each in views[: n + 1]]) for n in range(3)]
    assert [state.particles[0].confirmed for state in states] == [False, False, True]


def test_the_same_partly_new_surroundings_again_and_again_add_up_to_nothing():
    lights = [plain(0.3 * math.exp(0.31 * (n % 2)), 7) for n in range(30)]
    (particle,) = fold([(view(n, light, noise=n), [spot()]) for n, light in enumerate(lights)]).particles
    assert (particle.frames_seen, particle.independent_frames) == (30, 2)
    assert not particle.confirmed
    assert particle.log_odds <= update.ONE_SCENE_MAX


def marks_at(f_numbers, change):
    """One mark of a fixed scene at these apertures; *change* makes its width and depth of the f-number."""
    state = State()
    for n, f_number in enumerate(f_numbers):
        width, depth = change(f_number)
        state = observe(state, view(n, plain(0.4), f_number, noise=n), [spot(attenuation=depth, diameter=width)])
    return state.particles


def test_a_mark_that_keeps_width_and_depth_at_another_aperture_speaks_against_dust():
    kept = marks_at((8.0, 11.0, 8.0, 11.0, 8.0, 11.0), lambda _: (36.0, 0.1))
    assert all(particle.log_odds < 0 and not particle.confirmed for particle in kept)


def test_a_shadow_that_follows_the_aperture_loses_nothing_in_a_fixed_scene():
    (dust,) = marks_at((8.0, 11.0, 8.0, 11.0), lambda n: (36.0 * 8 / n, 0.1 * (n / 8) ** 2))
    assert dust.log_odds > 1


def test_wide_open_frames_prove_nothing():
    before = fold([(each, [spot()]) for each in scenes(2)])
    assert before.particles[0].attenuation_at(2.8) < 0.01
    after = fold_on(before, [(each, []) for each in scenes(6, f_number=2.8)])
    assert after.particles == before.particles


def test_a_spot_of_a_wide_open_frame_does_not_count_for_a_particle_that_cannot_show():
    before = fold([(each, [spot()]) for each in scenes(2)])
    (after,) = fold_on(before, [(view(9, plain(0.33), 2.8), [spot(diameter=20, attenuation=0.3)])]).particles
    assert after == before.particles[0]


def fold_on(particles, views_and_spots):
    for each, spots in views_and_spots:
        particles = observe(particles, each, spots)
    return particles


def test_a_frame_in_which_it_would_have_shown_counts_as_a_miss():
    before = fold([(each, [spot()]) for each in scenes(2)])
    each = view(9, plain(0.33))
    seen_at = predict(before.particles[0], each, before.optics).p_visible
    (after,) = observe(before, each, []).particles
    assert after.frames_eligible == before.particles[0].frames_eligible + 1
    assert after.log_odds == pytest.approx(before.particles[0].log_odds + math.log(1 - seen_at), abs=0.02)


def test_misses_of_one_scene_are_worth_one():
    before = fold([(each, [spot()]) for each in scenes(2)])
    light = plain(0.33)
    (after,) = fold_on(before, [(view(n, light, noise=n), []) for n in range(20)]).particles
    assert after.log_odds > before.particles[0].log_odds - 3.5


def test_a_burnt_out_or_textured_place_is_no_miss():
    before = fold([(each, [spot()]) for each in scenes(2)])
    rough = plain(0.3)
    rough[60:140, 100:300] *= np.random.default_rng(0).lognormal(0, 0.8, (80, 200)).astype(np.float32)
    after = fold_on(before, [(view(8, plain(1.0)), []), (view(9, rough), [])])
    assert after.particles == before.particles


def test_outside_a_crop_is_no_miss():
    before = fold([(each, [spot(x=300)]) for each in scenes(2)])
    assert observe(before, view(9, plain(0.33)[:, 60:-60]), []).particles == before.particles


def test_a_crop_sees_the_particle_at_the_same_place_from_the_centre():
    before = fold([(each, [spot()]) for each in scenes(2)])
    (after,) = observe(before, view(9, plain(0.33)[30:-30, 60:-60]), [spot(x=3000 - 960, y=1500 - 480)]).particles
    assert after.frames_seen == 3


def test_an_unknown_aperture_makes_no_miss_but_may_make_a_sighting():
    before = fold([(each, [spot()]) for each in scenes(1)])
    unknown = view(9, plain(0.33, 5), None)
    assert observe(before, unknown, []).particles == before.particles
    (seen,) = observe(before, unknown, [spot()]).particles
    assert seen.confirmed
    assert seen.f_numbers == (16.0,)


def test_a_weak_sighting_speaks_as_far_as_its_score():
    before = fold([(scenes(1)[0], [spot()])])
    gains = []
    for score in (0.001, 0.01, 0.05, 0.9):
        (after,) = observe(before, view(9, plain(0.7, 9)), [spot(x=3006, score=score)]).particles
        assert after.frames_seen == 2
        assert after.confirmed == (score >= 0.05)
        gains.append(after.log_odds - before.particles[0].log_odds)
    assert 0 < gains[0] <= gains[1] <= gains[2] <= gains[3]


def test_a_weak_sighting_counts_as_a_frame_only_if_it_looks_just_like_the_particle():
    before = fold([(scenes(1)[0], [spot()])])
    confirmed = []
    for depth in (0.2, 0.25, 0.5):
        seen = [spot(x=3004, score=0.1, attenuation=depth)]
        confirmed += [p.confirmed for p in observe(before, view(9, plain(0.7, 9)), seen).particles]
    assert confirmed == [True, True, False]


def test_two_weak_sightings_count_as_one_frame():
    state = fold([(scenes(1)[0], [spot()])])
    confirmed = []
    for each in scenes(4)[1:3]:
        state = observe(state, each, [spot(x=3008, score=0.02)])
        confirmed.append(state.particles[0].confirmed)
    assert confirmed == [False, True]


def test_a_confirmed_particle_stays_in_the_map_however_often_it_is_missed():
    before = fold([(each, [spot()]) for each in scenes(2)])
    afterwards = fold_on(before, [(each, []) for each in scenes(18)])
    (after,) = afterwards.particles
    assert not after.confirmed
    assert after.log_odds >= update.LOG_ODDS_MIN
    (back,) = observe(afterwards, view(50, plain(0.8, 77)), [spot()]).particles
    assert back.log_odds > after.log_odds


def test_a_suspicion_that_nothing_supports_leaves_the_map():
    assert fold([(scenes(1)[0], [spot()]), *((each, []) for each in scenes(12)[1:])]).particles == ()


def test_weak_scores_begin_nothing():
    assert fold([(scenes(1)[0], [spot(score=0.19)])]).particles == ()


def test_a_pinpoint_at_an_open_aperture_begins_nothing():
    assert fold([(view(0, plain(0.4), 2.8), [spot(diameter=12, attenuation=0.4)])]).particles == ()


def test_the_aperture_predicts_depth_and_width():
    (particle,) = fold([(each, [spot()]) for each in scenes(2)]).particles
    at_8, at_16 = (predict(particle, view(9, plain(0.33), n), BodyOptics()) for n in (8.0, 16.0))
    assert at_16.attenuation == pytest.approx(0.2, rel=0.03)
    assert at_8.attenuation == pytest.approx(at_16.attenuation / 4)
    assert at_8.diameter_px == pytest.approx(2 * at_16.diameter_px)


def test_another_lens_widens_the_search_along_the_radius_only():
    state = fold([(each, [spot(x=5800)]) for each in scenes(2)])
    views = [view(9, plain(0.33), lens=lens) for lens in ("50 mm", "90 mm")]
    same, other = (predict(state.particles[0], each, state.optics) for each in views)
    assert other.radius_px == same.radius_px
    assert other.radial_px > same.radial_px + 100
    outwards, aside = ((5800 + 98, 1500 - 17), (5800 - 17, 1500 - 98))
    assert other.away(*outwards) < 1 < other.away(*aside)
    assert same.away(*outwards) > 1


def test_a_lens_seen_before_finds_the_particle_where_it_saw_it():
    views = [view(n, plain(0.2 + 0.1 * n, n), lens=lens) for n, lens in enumerate(["50 mm", "90 mm", "50 mm", "90 mm"])]
    state = fold([(each, [spot(x=4000 + 20 * (n % 2))]) for n, each in enumerate(views)])
    (particle,) = state.particles
    at = [predict(particle, view(9, plain(0.33), lens=lens), state.optics).x for lens in ("50 mm", "90 mm")]
    assert at == pytest.approx([4000, 4020], abs=1)


def test_matching_is_one_to_one_and_nearest_first():
    views = scenes(2)
    particles = fold([(each, [spot(x=3000, number=1), spot(x=3020, number=2)]) for each in views])
    after = observe(particles, view(9, plain(0.33)), [spot(x=3016, number=1)])
    by_x = sorted(after.particles, key=lambda particle: particle.mx)
    assert [particle.frames_seen for particle in by_x] == [2, 3]


def test_a_much_stronger_spot_is_another_particle():
    before = fold([(each, [spot(attenuation=0.04)]) for each in scenes(2)])
    assert len(observe(before, view(9, plain(0.33)), [spot(attenuation=0.6, diameter=40)]).particles) == 2


def test_two_specks_of_a_scene_near_one_place_are_no_particle():
    """13 px and 7.7 times the depth apart at one aperture, among 25 specks: as a moved camera once showed them."""
    views = scenes(2)
    others = [spot(x=500.0 * n, y=3000.0 + 40 * n, number=n) for n in range(1, 12)]
    state = fold([(views[0], [spot(attenuation=0.067, diameter=30), *others])])
    state = observe(state, views[1], [spot(x=3012, y=1494, attenuation=0.516, diameter=22, score=0.99)])
    assert not any(particle.confirmed for particle in state.particles)


@given(
    st.floats(0, 3),
    st.floats(0, 3),
    st.floats(0, 2 * math.pi),
    st.floats(0, 2),
    st.floats(0, 2),
    st.sampled_from([-1, 1]),
)
@settings(max_examples=60, deadline=None)
def test_the_farther_and_the_less_alike_the_less_a_sighting_says(near, farther, way, alike, less, sign):
    """Depth differs by factors e^*alike*, places by *near* px, measured at one aperture; nothing jumps."""
    before = SEEN_TWICE.particles[0]
    at = predict(before, VIEWS[3], SEEN_TWICE.optics)

    def gain(away, depth):
        x, y = at.x + away * math.cos(way), at.y + away * math.sin(way)
        seen = spot(x=x, y=y, attenuation=0.2 * math.exp(sign * depth))
        return match.match_gain(before, at, seen, VIEWS[3], match.SPOTS_PER_PX2)

    assert gain(near, alike) >= gain(near + farther, alike) - 1e-9
    assert gain(near, alike) >= gain(near, alike + less) - 1e-9
    assert gain(near, alike) - gain(near + 0.001, alike + 0.001) < 0.03


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.4, 1.5])
def test_dust_measured_half_as_deep_or_half_again_on_busy_ground_is_recognized(factor):
    state = fold([(scenes(1)[0], [spot()])])
    after = observe(state, scenes(2)[1], [spot(x=3003, attenuation=0.2 * factor)])
    assert [particle.confirmed for particle in after.particles] == [True]


def test_a_spot_that_is_hardly_the_particle_s_proves_nothing():
    before = fold([(each, [spot()]) for each in scenes(2)])
    assert observe(before, view(9, plain(0.33)), [spot(x=3008, attenuation=0.045)]).particles == before.particles


def test_ids_come_from_the_first_frame_and_spot_alone():
    one, other = (fold([(each, [spot(score=score)])]) for each, score in zip(scenes(1) * 2, (0.5, 0.9), strict=True))
    assert one.particles[0].id == other.particles[0].id


def test_a_known_particle_lowers_the_limit_and_says_so():
    particles = fold([(each, [spot()]) for each in scenes(4)])
    weak, strong, elsewhere = reconcile(
        [spot(score=0.31), spot(x=1700, score=0.81), spot(x=4500, score=0.2)], particles, scenes(5)[4], LIMITS
    )
    assert (weak.wanted, weak.reason) == (True, "seen in 4 frames; score 0.31 ≥ 0.20 where dust is known")
    assert (weak.particle_id, weak.frames_seen) == (particles.particles[0].id, 4)
    assert weak.confidence == pytest.approx(particles.particles[0].confidence)
    assert (strong.wanted, strong.reason) == (True, "score 0.81 ≥ 0.63")
    assert (elsewhere.wanted, elsewhere.reason) == (False, "score 0.20 below 0.63 and not known: left alone")


def test_a_suspicion_that_stays_one_does_not_lower_the_limit():
    light = plain(0.4)
    particles = fold([(view(1, light), [spot()])])
    (weak,) = reconcile([spot(score=0.31)], particles, view(2, light, noise=2), LIMITS)
    assert (weak.wanted, weak.reason) == (
        False,
        "seen in 1 frame; score 0.31 below 0.63, not yet confirmed: left alone",
    )


def test_a_spot_that_confirms_a_suspicion_counts_as_known_at_once_and_says_so():
    before = fold([(scenes(1)[0], [spot()])])
    (weak,) = reconcile([spot(score=0.31)], before, scenes(2)[1], LIMITS)
    assert (weak.wanted, weak.reason) == (
        True,
        "seen in 1 frame; score 0.31 ≥ 0.20 where dust was suspected, which confirms it",
    )
    assert observe(before, scenes(2)[1], [weak]).particles[0].confirmed


def test_dust_that_cannot_show_at_this_aperture_does_not_lower_the_limit():
    particles = fold([(each, [spot()]) for each in scenes(4)])
    shadow = spot(score=0.31, attenuation=0.006, diameter=160)
    (weak,) = reconcile([shadow], particles, view(9, plain(0.33), 2.8), LIMITS)
    assert not weak.wanted
    assert "would not show" in weak.reason


def test_what_is_seen_where_known_dust_is_hard_to_see_is_taken_for_it():
    state = fold([(each, [spot()]) for each in scenes(4)])
    hard = view(9, busy())
    assert 0 < predict(state.particles[0], hard, state.optics).p_visible < match.PROVES_NOTHING
    spots = (spot(score=0.31), spot(x=3008, score=0.22, attenuation=0.95))
    as_foretold, deeper = (reconcile([each], state, hard, LIMITS)[0] for each in spots)
    assert (as_foretold.wanted, as_foretold.reason) == (
        True,
        "seen in 4 frames; score 0.31 ≥ 0.20 where dust is known, hard to see as it is here",
    )
    assert not deeper.wanted
    assert "does not look like this" in deeper.reason


def test_a_suspicion_that_is_hard_to_see_lowers_no_limit_for_what_looks_otherwise():
    state = fold([(scenes(1)[0], [spot()])])
    assert not reconcile([spot(x=3010, score=0.31, attenuation=0.4)], state, view(9, busy()), LIMITS)[0].wanted


def busy(seed=1):
    """The backdrop of `plain`, but rough where the tests put their spots."""
    light = plain(0.3, seed)
    light[60:140, 100:300] *= np.random.default_rng(seed).lognormal(0, 0.4, (80, 200)).astype(np.float32)
    return light


def test_known_dust_is_told_on_busy_ground_by_a_lower_score():
    state = fold([(each, [spot(attenuation=0.6)]) for each in scenes(4)])
    (weak,) = reconcile([spot(score=0.31, attenuation=0.6)], state, view(9, busy()), LIMITS)
    assert (weak.wanted, weak.reason) == (True, "seen in 4 frames; score 0.31 ≥ 0.20 where dust is known")


def test_an_unknown_aperture_is_stated():
    particles = fold([(each, [spot()]) for each in scenes(4)])
    (weak,) = reconcile([spot(score=0.31)], particles, view(9, plain(0.33), None), LIMITS)
    assert weak.wanted
    assert "aperture unknown" in weak.reason


def test_reconcile_keeps_everything_else_of_every_spot():
    spots = [spot(number=4), spot(x=100, number=7, score=0.1)]
    decided = reconcile(spots, fold([(each, [spot()]) for each in scenes(2)]), scenes(3)[2], LIMITS)
    for before, after in zip(spots, decided, strict=True):
        said = {
            name: getattr(before, name) for name in ("wanted", "reason", "particle_id", "confidence", "frames_seen")
        }
        assert dataclasses.replace(after, **said) == before


VIEWS = scenes(4) + scenes(2, f_number=8.0) + [view("x", plain(0.3, 8), None)]
SEEN_TWICE = fold([(each, [spot()]) for each in scenes(2)])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(VIEWS),
            st.lists(
                st.builds(
                    spot,
                    x=st.floats(0, WIDTH),
                    y=st.floats(0, HEIGHT),
                    score=st.floats(0, 1),
                    attenuation=st.floats(0, 1),
                    diameter=st.floats(0, 300),
                    number=st.integers(0, 99),
                ),
                max_size=6,
                unique_by=lambda each: each.id,
            ),
        ),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_seen_the_map_stays_sane(story):
    particles = fold(story).particles
    for particle in particles:
        assert update.LOG_ODDS_MIN <= particle.log_odds <= update.LOG_ODDS_MAX
        assert particle.frames_seen <= particle.frames_eligible
        assert not particle.confirmed or particle.independent_frames >= 2
        assert particle.strength_px2 > 0
        assert 0 < particle.opacity <= 1
        assert len(particle.sightings) <= update.SCENES_KEPT
    assert [particle.id for particle in particles] == sorted(particle.id for particle in particles)


# --- simulated sessions with known truth --------------------------------------------------------------------------


class Sensor:
    """Dust with known places and strengths, over a stack half as thick again as the prior."""

    def __init__(self, seed, count, constant=600.0, strength=None):
        self.rng = np.random.default_rng(seed)
        places = [(x, y) for x in range(600, 5600, 700) for y in range(500, 3700, 600)]
        chosen = self.rng.choice(len(places), count, replace=False)
        self.places = np.array(places, float)[chosen] + self.rng.uniform(-150, 150, (count, 2))
        self.strengths = strength or math.pi / 4 * self.rng.lognormal(math.log(8), 0.5, count) ** 2
        self.strengths = np.broadcast_to(self.strengths, count)
        self.constant = constant

    def shows(self, each, number):
        """Attenuation and width of a particle in a frame, and the share of frames like it in which it is found."""
        blur = optics.blur_px(each.f_number, self.constant)
        attenuation = optics.predict_attenuation(self.strengths[number], blur)
        limit = visible_from(each.evidence, *self.places[number])
        return (
            attenuation,
            optics.predict_diameter_px(self.strengths[number], blur),
            0.9 / (1 + (limit / attenuation) ** 3),
        )

    def spots(self, each, others=(), false=0):
        """What a detector reports: particles by their visibility, *others* (x, y) mostly, and *false* ones anywhere."""
        rng, found = self.rng, []
        for number, (x, y) in enumerate(self.places):
            attenuation, diameter, share = self.shows(each, number)
            if rng.random() < share:
                found.append((x, y, attenuation, diameter))
        found += [(x, y, 0.15, 30.0) for x, y in others if rng.random() < 0.85]
        found += [
            (rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(0.03, 0.3), rng.uniform(20, 60))
            for _ in range(false)
        ]
        return tuple(
            spot(
                x + rng.normal(0, 2),
                y + rng.normal(0, 2),
                score=rng.uniform(0.3, 0.95),
                attenuation=min(attenuation * rng.lognormal(0, 0.2), 1.0),
                diameter=diameter * rng.lognormal(0, 0.1),
                number=number,
            )
            for number, (x, y, attenuation, diameter) in enumerate(found)
        )

    def confirmed(self, particles):
        """Tell which particles the map has confirmed, and how many of its confirmations are none."""
        right, wrong = set(), 0
        for particle in (p for p in particles if p.confirmed):
            x, y = from_centre(particle.mx, particle.my, width=WIDTH, height=HEIGHT)
            away = np.hypot(*(self.places - (x, y)).T)
            right |= {int(away.argmin())} if away.min() < 15 else set()
            wrong += away.min() >= 15
        return right, wrong


@pytest.mark.parametrize("seed", range(5))
def test_ten_different_scenes_confirm_what_is_well_visible_and_nothing_false(seed):
    sensor = Sensor(seed, 20)
    views = [view(n, blocks(1000 * seed + n), (8.0, 11.0, 16.0)[n % 3], noise=n) for n in range(10)]
    particles = fold([(each, sensor.spots(each, false=4)) for each in views])
    well_visible = {number for number in range(20) if sum(sensor.shows(each, number)[2] > 0.75 for each in views) >= 4}
    right, wrong = sensor.confirmed(particles.particles)
    print(f"{len(well_visible)} well visible, {len(right & well_visible)} of them confirmed, false {wrong}")
    assert well_visible <= right
    assert wrong == 0
    assert len(well_visible) >= 4


@pytest.mark.parametrize("seed", range(5))
def test_a_tripod_confirms_no_speck_of_the_scene_and_three_moved_frames_confirm_the_dust(seed):
    sensor = Sensor(seed, 10, strength=math.pi / 4 * 14**2)
    wide = blocks(seed, width=WIDTH + 4000)
    specks = np.random.default_rng(seed + 50).uniform((200, 200), (WIDTH - 200, HEIGHT - 200), (25, 2))
    lamps = np.random.default_rng(seed + 60).uniform(0.9, 1.1, 33)
    still = wide[:, : WIDTH // STEP]
    tripod = [view(n, still * lamps[n], 16.0, noise=n) for n in range(30)]
    particles = fold([(each, sensor.spots(each, specks, false=3)) for each in tripod])
    on_tripod = sensor.confirmed(particles.particles)
    visible = {number for number in range(10) if sensor.shows(tripod[0], number)[2] > 0.75}
    for n, moved_px in enumerate((1200, 2400, 3600), start=30):
        start = moved_px // STEP
        each = view(n, wide[:, start : start + WIDTH // STEP] * lamps[n], 16.0, noise=n)
        inside = [(x - moved_px, y) for x, y in specks if x > moved_px]
        particles = observe(particles, each, sensor.spots(each, inside, false=3))
        visible -= {number for number in visible if sensor.shows(each, number)[2] < 0.75}
    right, wrong = sensor.confirmed(particles.particles)
    print(f"tripod {on_tripod}, then {len(right & visible)} of {len(visible)} well visible, false {wrong}")
    assert on_tripod == (set(), 0)
    assert wrong == 0
    assert visible <= right


def test_map_coordinates_are_from_the_centre():
    (particle,) = fold([(scenes(1)[0], [spot(x=3000, y=1500)])]).particles
    assert (particle.mx, particle.my) == centred(3000, 1500, width=WIDTH, height=HEIGHT)
