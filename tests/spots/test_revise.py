"""Changing the correction of some spots: theirs changes, nothing else does, wherever they lie."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.raw.frame import Camera, Frame
from dustd.spots.correct import correct
from dustd.spots.measure import KnownShadow, Shadow
from dustd.spots.revise import known_from_dict, known_to_dict, revise
from dustd.spots.spot import Spot
from tests.later import with_news

SIDE = 420
BLACK, WHITE = 512, 16383


def shadow(x, y, attenuation=0.2):
    return Shadow(x=x, y=y, diameter_px=28.0, ramp_px=14.0, attenuation=attenuation)


def dusty(*shadows):
    """An even frame with these shadows on it, (Frame, spots as they are measured)."""
    ys, xs = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    light = 4000 + 2 * xs + np.random.default_rng(1).normal(0, 25, (SIDE, SIDE))
    for each in shadows:
        light = light * (1 - each.attenuation * each.depth(xs, ys))
    frame = Frame(
        raw=np.clip(light + BLACK, 0, WHITE).astype(np.uint16),
        visible=(0, 0, SIDE, SIDE),
        kind="bayer",
        cfa=((0, 1), (1, 2)),
        black=np.full((2, 2), BLACK, np.float32),
        white=WHITE,
        wb=(2.0, 1.0, 1.5),
        xyz_to_camera=None,
        camera=Camera(),
    )
    spots = [
        Spot(
            id=number,
            x=each.x,
            y=each.y,
            diameter_px=each.diameter_px,
            edge_px=8.5,
            attenuation=each.attenuation,
            score=0.9,
            wanted=True,
            reason="score 0.90 ≥ 0.50",
        )
        for number, each in enumerate(shadows, start=1)
    ]
    return frame, spots


def rejected(spots, *numbers):
    return [replace(spot, wanted=False, rejected=True) if spot.id in numbers else spot for spot in spots]


def within(spot, reach_px):
    ys, xs = np.mgrid[:SIDE, :SIDE]
    return np.hypot(xs - spot.x, ys - spot.y) <= reach_px


@settings(max_examples=8, deadline=None)
@given(st.floats(60, 360), st.floats(60, 360))
def test_a_spot_alone_becomes_the_original_again_and_the_other_stays(x, y):
    other = (120.0, 300.0) if math.hypot(x - 120, y - 300) > 110 else (330.0, 90.0)
    if math.hypot(x - other[0], y - other[1]) <= 110:
        return
    frame, spots = dusty(shadow(x, y), shadow(*other))
    first = correct(frame, spots, {})
    assert [spot.action for spot in first.spots] == ["divided", "divided"]
    revised = revise(frame, first.raw, rejected(first.spots, 1), {}, {1})
    here = within(spots[0], 50)
    assert np.array_equal(revised.raw[here], frame.raw[here])
    assert np.array_equal(revised.raw[~here], first.raw[~here])
    assert [spot.action for spot in revised.spots] == ["left", "divided"]
    assert revised.spots[1] == first.spots[1]


def test_of_two_that_overlap_the_one_that_stays_is_corrected_alone():
    frame, spots = dusty(shadow(200, 200, 0.3), shadow(222, 205, 0.15), shadow(80, 330))
    first = correct(frame, spots, {})
    judged = rejected(first.spots, 1)
    revised = revise(frame, first.raw, judged, {}, {1})
    alone = correct(frame, rejected(spots, 1), {})
    here = within(spots[0], 80)
    assert np.array_equal(revised.raw[here], alone.raw[here])
    assert np.array_equal(revised.raw[~here], first.raw[~here])


def test_there_and_back_is_the_very_same_also_where_spots_overlap():
    frame, spots = dusty(shadow(200, 200, 0.3), shadow(222, 205, 0.15))
    first = correct(frame, spots, {})
    gone = revise(frame, first.raw, rejected(first.spots, 1), {}, {1})
    assert not np.array_equal(gone.raw, first.raw)
    back = [after if after.id != 1 else before for before, after in zip(first.spots, gone.spots, strict=True)]
    again = revise(frame, gone.raw, back, {}, {1})
    assert np.array_equal(again.raw, first.raw)
    assert [spot.action for spot in again.spots] == [spot.action for spot in first.spots]


def test_what_another_dustd_corrected_elsewhere_stays_as_it_was():
    frame, spots = dusty(shadow(120, 120), shadow(300, 300))
    first = correct(frame, spots, {})
    theirs = first.raw.copy()
    part = theirs[290:310, 290:310]
    part += 7
    revised = revise(frame, theirs, rejected(first.spots, 1), {}, {1})
    away = ~within(spots[0], 50)
    assert np.array_equal(revised.raw[away], theirs[away])


def test_what_the_map_knew_is_read_back_as_it_was_written():
    known = {1: KnownShadow(shadow=shadow(5, 6), place_error_px=1.0, width_error=0.05, depth_error=0.1)}
    _, spots = dusty(shadow(5, 6), shadow(300, 300))
    assert known_from_dict(known_to_dict(known, spots)) == known
    assert known_from_dict({"1": with_news(known_to_dict(known, spots)["1"])}) == known
    assert known_to_dict(known, rejected(spots, 1)) == {}
