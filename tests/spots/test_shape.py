"""What outlines mean, and what several of them say together."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd import codec
from dustd.spots.shape import Outline, pooled, shape_of

THREAD = Outline(slenderness=9.0, angle_deg=170.0, error=0.5, feigned=0.5, hollow=0.0, hollow_error=0.1)
ROUND = replace(THREAD, slenderness=0.5)

outlines = st.builds(
    Outline,
    slenderness=st.floats(0, 50),
    angle_deg=st.floats(0, 180),
    error=st.floats(0.01, 20),
    feigned=st.floats(0.1, 20),
    hollow=st.floats(-0.5, 1),
    hollow_error=st.floats(0.01, 1),
)


def test_a_long_thin_grain_is_a_fibre():
    assert shape_of(THREAD) == "fibre"


def test_a_round_one_is_a_speck():
    assert shape_of(ROUND) == "speck"


def test_a_round_and_hollow_one_is_a_ring():
    assert shape_of(replace(ROUND, hollow=0.9)) == "ring"


@pytest.mark.parametrize(
    "unsure",
    [
        None,
        replace(THREAD, error=4.0),
        replace(THREAD, feigned=4.0),
        replace(ROUND, feigned=4.0),
        replace(ROUND, hollow=0.6),
        replace(ROUND, slenderness=2.0, hollow=0.9),  # a curled fibre, perhaps
    ],
)
def test_what_may_be_this_or_that_is_left_open(unsure):
    assert shape_of(unsure) is None


@given(outlines, outlines)
def test_the_order_of_frames_does_not_matter(a, b):
    one, other = pooled(a, b), pooled(b, a)
    assert one.slenderness == pytest.approx(other.slenderness, abs=1e-9)
    assert one.error == pytest.approx(other.error)


def test_a_frame_without_an_outline_says_nothing():
    assert pooled(None, THREAD) == pooled(THREAD, None) == THREAD
    assert pooled(None, None) is None


def test_directions_at_odds_cancel_and_directions_across_the_zero_do_not():
    assert pooled(THREAD, replace(THREAD, angle_deg=80.0)).slenderness == pytest.approx(0, abs=1e-9)
    near = pooled(THREAD, replace(THREAD, angle_deg=4.0))
    assert near.angle_deg == pytest.approx(177)
    assert near.slenderness > 8


def test_the_lights_errors_average_out_but_the_pupils_do_not():
    both = pooled(THREAD, THREAD)
    assert both.error == pytest.approx(0.5 / 2**0.5)
    assert both.feigned == pytest.approx(0.5)


def test_a_hollow_that_blur_filled_in_one_frame_stays():
    ring = replace(ROUND, hollow=0.9)
    assert shape_of(pooled(ring, ROUND)) == shape_of(pooled(ROUND, ring)) == "ring"


@given(outlines)
def test_an_outline_survives_json(outline):
    assert codec.DEFAULT.read(Outline, codec.DEFAULT.plain(outline)) == outline


@pytest.mark.parametrize("garbled", [{}, {"error": None}, {"error": 0}, {"hollow": "none"}])
def test_what_is_no_outline_is_refused(garbled):
    with pytest.raises(ValueError):
        codec.DEFAULT.read(Outline, {**codec.DEFAULT.plain(THREAD), **garbled} if garbled else {})
