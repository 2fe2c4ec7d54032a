"""The marks of a frame judged together: grains on one sensor, or things in the scene."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.spots.company import judge
from dustd.spots.likeness import Blur
from dustd.spots.marks import Look, look_of
from dustd.spots.measure import MEASURED_FROM
from dustd.spots.spot import Candidate

SURE = 0.9
F11 = Blur(f_number=11.0, pixel_pitch_um=4.8)


def mark(width=40.0, depth=0.08, edge=None, gain=200.0, at=(math.nan, math.nan), tint=None):
    """A measured candidate; its edge is a grain's of that depth unless said otherwise. *tint* is red and blue."""
    grain_edge = 0.8 * math.sqrt(depth) * width
    return Candidate(
        x=at[0],
        y=at[1],
        width_px=1.1 * width,
        height_px=1.1 * width,
        score=0.9,
        shadow_x=at[0],
        shadow_y=at[1],
        diameter_px=width,
        edge_px=math.hypot(grain_edge, 4.0) if edge is None else edge,
        attenuation=depth,
        gain=gain,
        red=tint and tint[0],
        blue=tint and tint[1],
        tint_error=tint and 0.04,
    )


def grains(count, blur_px=40.0, seed=1):
    """Shadows of one lens: one width, depths over a factor of ten."""
    rng = np.random.default_rng(seed)
    depths = np.exp(rng.uniform(math.log(0.02), math.log(0.2), count))
    return [mark(width=blur_px * math.exp(rng.normal(0, 0.04)), depth=float(depth)) for depth in depths]


def discs_of_bokeh(count, seed=1):
    """Discs that a subject makes: any width, one sharp edge."""
    rng = np.random.default_rng(seed)
    widths = rng.uniform(18, 50, count)
    return [mark(width=float(w), depth=float(rng.uniform(0.04, 0.2)), edge=float(0.2 * w)) for w in widths]


def probabilities(marks, alone, blur=F11, megapixels=16.0, **more):
    alone = [alone] * len(marks) if isinstance(alone, float) else alone
    return [verdict.probability for verdict in judge(marks, alone, blur, megapixels=megapixels, sure_from=SURE, **more)]


def test_a_mark_without_company_keeps_its_own_probability():
    assert probabilities([mark()], 0.93) == [0.93]
    assert probabilities([], [], witnesses=5) == []


@pytest.mark.parametrize("count", [2, 5, 15, 40])
def test_shadows_of_one_lens_keep_what_they_have(count):
    assert min(probabilities(grains(count), 0.95)) >= SURE


@pytest.mark.parametrize("blur", [F11, Blur()])
def test_discs_of_many_widths_are_taken_for_the_subjects(blur):
    taken_for_dust = [sum(p >= SURE for p in probabilities(discs_of_bokeh(25, seed), 0.97, blur)) for seed in range(8)]
    assert np.mean(taken_for_dust) <= 2


def test_dots_alike_in_width_and_depth_are_taken_for_the_subjects():
    rng = np.random.default_rng(2)
    dots = [
        mark(width=24 * math.exp(rng.normal(0, 0.02)), depth=0.3 * math.exp(rng.normal(0, 0.03))) for _ in range(30)
    ]
    assert max(probabilities(dots, 0.95)) < SURE


def board(places, seed=3):
    """Marks of one width and softness, any depth, as like the shadows of one lens as marks can be, at *places*."""
    rng = np.random.default_rng(seed)
    return [
        mark(
            width=40 * math.exp(rng.normal(0, 0.04)),
            depth=float(np.exp(rng.uniform(math.log(0.02), math.log(0.2)))),
            edge=12 * math.exp(rng.normal(0, 0.2)),
            at=tuple(place),
        )
        for place in places
    ]


def test_marks_as_like_dust_as_can_be_are_the_subjects_where_they_lie_in_rows():
    across, down = np.meshgrid(np.arange(5) * 120.0, np.arange(4) * 120.0)
    in_rows = board(np.stack([across.ravel(), down.ravel()], 1))
    verdicts = judge(in_rows, [0.95] * 20, F11, megapixels=16.0, sure_from=SURE)
    assert max(verdict.probability for verdict in verdicts) < SURE
    assert verdicts[0].why == "20 marks in rows, as a subject's are"
    anywhere = board(np.random.default_rng(1).uniform((0, 0), (3000, 2000), (20, 2)))
    assert np.mean([value >= SURE for value in probabilities(anywhere, 0.95)]) > 0.9


def test_coloured_marks_are_the_subjects_and_what_fits_among_them_waits_for_the_map():
    marks = [*board(np.random.default_rng(1).uniform((0, 0), (3000, 2000), (14, 2)))]
    coloured = [replace(each, red=-0.5, blue=0.3, tint_error=0.05) for each in marks[:10]]
    grey = [replace(each, red=0.0, blue=0.0, tint_error=0.05) for each in marks[10:]]
    judged = probabilities([*coloured, *grey], 0.93)
    assert max(judged[:10]) <= 0.5
    assert judged[10:] == [0.5] * 4


def test_grey_shadows_lose_nothing_by_being_grey():
    dust = [replace(each, red=0.02, blue=-0.03, tint_error=0.05) for each in grains(12)]
    assert min(probabilities(dust, 0.95)) >= SURE


def test_a_doubtful_mark_as_wide_as_the_dust_of_the_frame_is_raised():
    judged = probabilities([*grains(8), mark(width=40.0, depth=0.03)], [0.97] * 8 + [0.4])
    assert judged[-1] >= SURE


def test_marks_that_are_not_sure_by_themselves_are_no_witnesses_however_many():
    assert probabilities([*grains(6), mark(depth=0.03)], [0.8] * 6 + [0.4])[-1] <= 0.4
    assert probabilities([*grains(6), mark(depth=0.03)], [0.92] * 6 + [0.4])[-1] >= SURE


@pytest.mark.parametrize("sure_from", [0.2, 0.44, 0.73, 0.95])
def test_what_waits_for_the_map_is_not_sure_whatever_that_takes(sure_from):
    """A network whose scores are low is sure below one half, where a half was once thought to be waiting."""
    coloured = [replace(each, red=-0.5, blue=0.3, tint_error=0.05) for each in grains(10)]
    judged = judge([*coloured, *grains(4, seed=2)], [0.97] * 14, F11, megapixels=16.0, sure_from=sure_from)
    assert max(each.probability for each in judged) < sure_from


def test_a_sure_mark_waits_where_the_company_takes_doubtful_ones_for_the_subjects():
    """Dark clouds before stars: some of many widths fit one blur, as shadows would, the others fit none."""
    widths = [60.0, 38.7, 55.4, 37.5, 31.9, 68.4, 47.6, 45.0, 39.0, 25.4]
    clouds = [mark(width=width, depth=0.4, edge=0.45 * width) for width in widths]
    assert max(probabilities(clouds, [0.97, 0.85, 0.85, 0.76, 0.68, 0.65, 0.6, 0.44, 0.41, 0.09])) < SURE


def test_too_few_witnesses_raise_nothing():
    assert probabilities([*grains(2), mark()], [0.97, 0.97, 0.4])[-1] <= 0.4


def test_confirmed_particles_are_witnesses():
    learnt = Blur(f_number=11.0, constant=440.0, sigma=0.03)
    assert probabilities([mark(depth=0.03)], 0.4, learnt) == [0.4]
    assert probabilities([mark(depth=0.03)], 0.4, learnt, megapixels=6.0, witnesses=5)[0] > 0.6


@pytest.mark.parametrize("width_px", [6.0, 12.0])
def test_a_point_among_wide_shadows_is_lowered_and_told_why(width_px):
    marks = [*grains(12), mark(width=width_px, depth=0.1)]
    verdict = judge(marks, [0.97] * 12 + [0.93], F11, megapixels=16.0, sure_from=SURE)[-1]
    assert verdict.probability < SURE
    assert "px wide in this frame" in verdict.why


def test_dust_among_discs_of_bokeh_costs_no_correction_of_the_discs():
    discs = discs_of_bokeh(20)
    judged = probabilities([*discs, *grains(3)], 0.96)
    assert sum(value >= SURE for value in judged[:20]) <= 4


def test_what_looks_as_a_person_rejected_is_lowered_and_what_does_not_is_not():
    like, unlike = mark(width=24.0, depth=0.3), mark(width=44.0, depth=0.06)
    rejected = Look(diameter_px=24.5, edge_px=like.edge_px, attenuation=0.29, gain=MEASURED_FROM, box_px=27.0)
    same, other = probabilities([like, unlike], 0.95, rejected=[rejected])
    assert same < SURE
    assert other > same


def test_where_only_the_box_is_known_the_width_still_counts():
    unmeasured = mark(width=40.0, gain=0.5)
    assert probabilities([*grains(10), unmeasured], [0.97] * 10 + [0.5])[-1] > 0.8


def test_marks_of_one_lens_wait_where_they_are_more_than_sensors_have_grains():
    """Poppy seeds: each could be a grain somewhat wider than the blur, but forty per megapixel are the scene's."""
    rng = np.random.default_rng(1)
    seeds = [
        mark(width=float(width), depth=float(depth), edge=4.5)
        for width, depth in zip(rng.uniform(7, 12, 32), rng.uniform(0.3, 0.8, 32), strict=True)
    ]
    alone = rng.uniform(0.2, 0.97, 32).tolist()
    assert max(probabilities(seeds, alone, Blur(f_number=11), megapixels=0.8)) < SURE


@pytest.mark.parametrize("megapixels", [0.6, 6.0, 45.0])
def test_shadows_of_one_lens_keep_what_they_have_on_any_sensor(megapixels):
    assert min(probabilities(grains(30), 0.95, megapixels=megapixels)) >= SURE


@given(
    count=st.integers(0, 12),
    seed=st.integers(0, 5),
    alone=st.floats(0, 1),
    megapixels=st.floats(0.005, 150),
    f_number=st.one_of(st.none(), st.floats(1.4, 32)),
)
@settings(max_examples=40, deadline=None)
def test_probabilities_stay_probabilities_whatever_is_asked(count, seed, alone, megapixels, f_number):
    judged = probabilities(discs_of_bokeh(count, seed), alone, Blur(f_number=f_number), megapixels)
    assert all(0 <= value <= 1 and math.isfinite(value) for value in judged)


@given(seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_marks_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    marks = [*grains(5), *discs_of_bokeh(6)]
    alone = rng.uniform(0.3, 0.99, len(marks))
    order = rng.permutation(len(marks))
    plain = probabilities(marks, alone.tolist())
    mixed = probabilities([marks[i] for i in order], alone[order].tolist())
    assert np.allclose(np.array(plain)[order], mixed, atol=1e-5)


def test_a_lone_mark_with_an_edge_too_sharp_for_its_depth_is_no_dust_and_says_why():
    [verdict] = judge([mark(depth=0.16, edge=4.0)], [0.99], F11, megapixels=16.0, sure_from=SURE)
    assert verdict.probability < 0.01
    assert verdict.why == "its edge is too sharp for its depth"


def test_what_is_like_two_marks_that_are_too_sharp_waits_with_them():
    sharp = [mark(width=30.0, depth=0.155, edge=4.2), mark(width=30.0, depth=0.124, edge=4.4)]
    third = mark(width=30.0, depth=0.09, edge=6.1)
    assert probabilities([*sharp, third], 0.99)[2] < SURE
    assert probabilities([third], 0.99) == [0.99]


def refused(widths, seed=1):
    """Marks too narrow for the aperture that the network took for dust."""
    rng = np.random.default_rng(seed)
    marks = [mark(width=float(w), depth=float(rng.uniform(0.1, 0.5)), edge=0.55 * float(w)) for w in widths]
    return [(replace(look_of(each), refused=True), 0.8) for each in marks]


def test_the_widest_of_marks_that_mostly_are_too_narrow_are_no_dust_either():
    """Of a flock of 6 to 16 px, what is over 12.5 px looks like the shadows of one lens."""
    rng = np.random.default_rng(4)
    widest = [mark(width=w, depth=float(rng.uniform(0.1, 0.4)), edge=0.55 * w) for w in (12.8, 13.4, 14.6, 15.2, 14.1)]
    at = Blur(f_number=11.0, pixel_pitch_um=4.4)
    assert max(probabilities(widest, 0.95, at, 1.0, refused=refused(rng.uniform(7, 12, 8)))) < 0.5


def test_dust_keeps_what_it_has_where_what_was_refused_is_of_another_kind():
    rng = np.random.default_rng(5)
    assert min(probabilities(grains(5), 0.97, refused=refused(rng.uniform(7, 12, 4)))) >= SURE


@given(depth=st.floats(0.02, 0.95), width=st.floats(15, 120), opacity=st.floats(0.3, 1.0), gain=st.floats(6, 1e4))
def test_an_edge_as_the_optics_make_it_is_never_too_sharp(depth, width, opacity, gain):
    grain = width * math.sqrt(min(depth / opacity, 1.0))  # a disc's; irregular ones are softer
    assert probabilities([mark(width=width, depth=depth, edge=0.61 * grain, gain=gain)], 0.93) == [0.93]
