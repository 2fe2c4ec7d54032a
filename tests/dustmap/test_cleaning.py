from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.dustmap import cleaning
from dustd.dustmap.cleaning import Cleaning, step
from dustd.dustmap.evidence import look
from dustd.dustmap.particle import Particle, Place, Prediction, View

SCENES = [look(np.random.default_rng(n).lognormal(-1.5, 0.5, (60, 90)).astype(np.float32), 16) for n in range(8)]


def view(number, *, at="2026-11-23T10:00:00", lens="50 mm", scene=None):
    evidence = SCENES[number % 8 if scene is None else scene]
    return View(
        frame_id=f"frame{number}", width=1440, height=960, f_number=11.0, lens=lens, taken_at=at, evidence=evidence
    )


def particle(number, **change):
    place = Place(lens="50 mm", focal_mm=None, mx=0.0, my=0.0, count=3)
    known = Particle(
        id=f"p{number}",
        mx=0.0,
        my=0.0,
        strength_px2=100.0,
        blur_constant=400.0,
        opacity=1.0,
        log_odds=5.0,
        confirmed=True,
        first_seen=None,
        last_seen=None,
        frames_seen=10,
        frames_eligible=10,
        places=(place,),
        sightings=(),
    )
    return replace(known, **change)


def prediction(number, p_visible=0.9):
    return Prediction(
        x=200.0 + 100 * (number % 10),
        y=300.0 + 50 * (number // 10),
        outwards=(1.0, 0.0),
        radius_px=11.0,
        radial_px=0.0,
        diameter_px=30.0,
        attenuation=0.2,
        p_visible=p_visible,
    )


def played(frames, particles, *, p_visible=0.9, start=None):
    """Fold frames (view, ids seen) into the test."""
    state = start or Cleaning()
    at = {each.id: prediction(number, p_visible) for number, each in enumerate(particles)}
    for each, seen in frames:
        state = step(state, particles, at, seen, each)
    return state


MANY = [particle(n) for n in range(10)]
NOTHING = [(view(n), ()) for n in range(6)]


def test_three_different_frames_without_any_dust_are_a_cleaning_before_the_first_of_them():
    noticed = [played(NOTHING[:n], MANY).noticed_at for n in (1, 2, 3)]
    assert noticed == [None, None, ("frame0", "2026-11-23T10:00:00")]


def test_frames_of_one_scene_are_one_frame():
    assert played([(view(n, scene=0), ()) for n in range(12)], MANY).noticed_at is None


def test_a_survivor_among_many_that_are_gone_speaks_for_a_cleaning():
    assert played([(view(n), {"p3"}) for n in range(3)], MANY).noticed_at is not None


def test_dust_that_is_still_there_ends_the_run():
    state = played([*NOTHING[:2], (view(3), {each.id for each in MANY})], MANY)
    assert (state.log_ratio, state.since) == (0.0, None)


@pytest.mark.parametrize(
    ("particles", "p_visible"),
    [
        (MANY[:2], 0.9),
        (MANY, 0.5),
        ([replace(each, confirmed=False) for each in MANY], 0.9),
        ([replace(each, frames_seen=4) for each in MANY], 0.9),
    ],
    ids=["too few", "hardly visible", "not confirmed", "seldom found although visible"],
)
def test_particles_that_prove_nothing_are_not_asked(particles, p_visible):
    assert played(NOTHING, particles, p_visible=p_visible).since is None


def test_all_frames_of_a_lens_that_never_showed_the_dust_are_worth_one():
    strange = [(view(n, lens="adapted"), ()) for n in range(8)]
    assert played(strange, MANY).noticed_at is None
    assert played([*strange, *NOTHING[1:3]], MANY).noticed_at is not None


def test_after_a_night_two_frames_are_enough():
    evening = (view(7, at="2026-11-22T18:00:00"), {each.id for each in MANY})
    assert played([evening, *NOTHING[:2]], MANY).noticed_at is not None


def test_once_noticed_nothing_changes_any_more():
    noticed = played(NOTHING, MANY)
    assert played([(view(9), {each.id for each in MANY})], MANY, start=noticed) == noticed


@given(st.sets(st.integers(0, 9), min_size=2), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_beyond_what_a_cleaning_leaves_one_more_particle_found_speaks_against_it(found, more):
    chance = np.full(10, 0.8)

    def ratio(numbers):
        return cleaning.cleaned_log_ratio(np.isin(np.arange(10), list(numbers)), chance)

    assert ratio(found | {more}) <= ratio(found) + 1e-9


@given(st.permutations(range(10)), st.sets(st.integers(0, 9)))
@settings(max_examples=30, deadline=None)
def test_the_order_of_particles_does_not_matter(order, seen):
    at = {f"p{n}": prediction(n) for n in range(10)}
    ids = {f"p{n}" for n in seen}
    one, other = (step(Cleaning(), particles, at, ids, view(0)) for particles in (MANY, [MANY[n] for n in order]))
    assert one.log_ratio == pytest.approx(other.log_ratio)


@pytest.mark.parametrize(
    ("later", "after_pause"),
    [("2026-11-23T20:00:00+09:00", False), ("2026-11-23T17:30:00+01:00", True), ("2026-11-23T18:00:00+09:00", False)],
)
def test_a_pause_is_counted_in_hours_that_passed_whatever_the_time_zones(later, after_pause):
    particles = [particle(number) for number in range(4)]
    begun = Cleaning(last_at="2026-11-23T11:00:00+01:00")
    assert played([(view(1, at=later), ())], particles, start=begun).after_pause == after_pause
