"""Order among places: what rows, grids and strings have, and what is strewn has not."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.spots.order import FEWEST, orders


def strewn(count, seed):
    return np.random.default_rng(seed).uniform((0, 0), (6000, 4000), (count, 2))


def turned(places, angle):
    c, s = math.cos(angle), math.sin(angle)
    return places @ np.array([[c, s], [-s, c]])


def grid(side, step_px, *, angle=0.4, jitter=0.02, seed=0):
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    places = step_px * np.stack([across.ravel(), down.ravel()], 1).astype(float)
    return turned(places + jitter * step_px * np.random.default_rng(seed).normal(size=places.shape), angle) + 1500


def string(count, step_px):
    """Beads: one distance from each to the next, in directions that turn slowly."""
    turns = np.cumsum(np.full(count, 0.11))
    return 1000 + step_px * np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1), 0)


def support(places):
    """How much likelier (ln) all places are in the best order, its own price paid."""
    ratios, log_steps = orders(places)
    return float((np.log(ratios).sum(0) + log_steps).max())


@pytest.mark.parametrize("places", [grid(4, 110), grid(6, 60), string(25, 70), grid(6, 90, angle=0)[:6]])
def test_grids_rows_and_strings_are_likelier_in_order(places):
    assert support(places) > 5


def test_a_grid_of_which_every_third_is_missing_is_still_in_order():
    kept = np.random.default_rng(1).random(49) > 1 / 3
    assert support(grid(7, 80)[kept]) > 5


@given(count=st.integers(FEWEST, 60), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_what_is_strewn_is_likelier_without_order(count, seed):
    assert support(strewn(count, seed)) < 1


@given(seed=st.integers(0, 1000), angle=st.floats(0, 2 * math.pi), x=st.floats(-3000, 3000), scale=st.floats(1, 3))
@settings(max_examples=30, deadline=None)
def test_where_on_the_sensor_and_how_turned_makes_no_difference(seed, angle, x, scale):
    places = np.concatenate([grid(4, 90, seed=seed), strewn(5, seed)])
    here, there = orders(places)[0], orders(turned(scale * places, angle) + x)[0]
    assert np.allclose(here, there, rtol=0.05, atol=0.05)


def test_a_mark_beside_the_grid_is_less_likely_in_its_order_than_without_and_most_of_the_grid_likelier():
    ratios, _ = orders(np.concatenate([grid(5, 80), [[150.0, 2300.0]]]))
    assert ratios[-1, 0] < 1
    assert np.mean(ratios[:-1, 0] > 3) > 0.9


@pytest.mark.parametrize("places", [np.zeros((0, 2)), strewn(FEWEST - 1, 1), np.full((5, 2), np.nan)])
def test_too_few_places_have_no_order(places):
    ratios, log_steps = orders(places)
    assert ratios.shape == (len(places), 0)
    assert log_steps.shape == (0,)


def test_marks_without_a_place_count_neither_way():
    ratios, _ = orders(np.concatenate([[[np.nan, np.nan]], grid(3, 80)]))
    assert (ratios[0] == 1).all()


def test_marks_in_one_place_do_not_break_it():
    assert np.isfinite(orders(np.zeros((6, 2)))[0]).all()
