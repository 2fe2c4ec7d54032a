"""What a person is shown: the order, the pictures, their size."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.demo.virtual import frame_of
from dustd.dustmap import evidence
from dustd.output.developed import orient
from dustd.pipeline import exhibit
from dustd.pipeline.exhibit import ZOOMS, in_order, risk, show
from dustd.raw.frame import upright
from dustd.spots.spot import Spot


def spot(number, **changes):
    usual = {"x": 500.0, "y": 360.0, "diameter_px": 25.0, "edge_px": 8.0, "attenuation": 0.1, "score": 0.9}
    return Spot(id=number, **{**usual, "wanted": True, "action": "divided", **changes})


@pytest.fixture(scope="module")
def half_textured():
    """Evidence of a frame that is plain on the left and textured on the right."""
    rng = np.random.default_rng(1)
    light = np.full((90, 125), 0.4, np.float32)
    light[:, 62:] *= np.exp(0.3 * rng.normal(size=(90, 63))).astype(np.float32)
    return evidence.look(light, 8)


@pytest.fixture(scope="module")
def frame(dusty_shot):
    return frame_of(dusty_shot[0])


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"score": 0.6}, {"score": 0.9}),
        ({"attenuation": 0.3}, {"attenuation": 0.1}),
        ({"diameter_px": 60.0}, {"diameter_px": 20.0}),
        ({"x": 800.0}, {"x": 200.0}),
        ({"action": "inpainted"}, {"action": "divided"}),
        ({"confidence": None}, {"confidence": 0.99}),
    ],
    ids=["unlikelier", "deeper", "wider", "on texture", "painted over", "not on the map"],
)
def test_the_correction_that_would_do_most_harm_comes_first(half_textured, worse, better):
    ordered = in_order([spot(1, **better), spot(2, **worse)], half_textured)
    assert [each.id for each in ordered] == [2, 1]


def test_corrected_spots_come_before_refused_ones_and_these_before_the_doubtful(half_textured):
    left = {"action": "left", "score": 0.99}
    spots = [spot(1, **left, wanted=False), spot(2, **left), spot(3, attenuation=0.01)]
    assert [each.id for each in in_order(spots, half_textured)] == [3, 2, 1]
    assert risk(spots[0], half_textured) == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), st.integers(0, 6), st.integers(0, 4))
def test_a_place_turns_with_the_picture(orientation, x, y):
    picture = np.zeros((5, 7), np.uint8)
    picture[y, x] = 1
    ux, uy = upright(x, y, width=7, height=5, orientation=orientation)
    assert orient(picture, orientation)[int(uy), int(ux)] == 1


@pytest.mark.parametrize(("diameter_px", "zoom"), [(10.0, 200), (60.0, 100), (150.0, 50), (400.0, 50)])
def test_a_crop_shows_the_spot_and_its_surroundings_at_a_stated_scale(frame, diameter_px, zoom):
    pair = show(frame, frame.raw, [spot(1, diameter_px=diameter_px)], 10**6).pairs[0]
    picture = cv2.imdecode(np.frombuffer(pair.before, np.uint8), cv2.IMREAD_COLOR)
    assert pair.zoom_percent == zoom
    side = next(side for side, percent in ZOOMS.items() if percent == zoom)
    assert picture.shape[:2] == (min(side, exhibit.CROP_PX),) * 2


def test_before_is_the_original_and_after_what_was_corrected(frame):
    raw = frame.raw.copy()
    frame_part = raw[340:380, 480:520]
    frame_part[:] = (frame_part * 0.5).astype(np.uint16)
    pair = show(frame, raw, [spot(1)], 10**6).pairs[0]
    before, after = (cv2.imdecode(np.frombuffer(data, np.uint8), 0).astype(float) for data in (pair.before, pair.after))
    middle = (slice(50, 70),) * 2
    assert after[middle].mean() < 0.85 * before[middle].mean()
    assert np.abs(after[:20] - before[:20]).mean() < 2


def test_a_spot_at_the_frames_edge_is_shown_too(frame):
    spots = [spot(1, x=1.0, y=1.0), spot(2, x=frame.width - 1.0, y=frame.height - 1.0)]
    assert len(show(frame, frame.raw, spots, 10**6).pairs) == 2


def test_the_pictures_of_a_frame_take_no_more_room_than_they_may(frame):
    spots = [spot(n, x=20.0 * n, y=300.0) for n in range(1, 40)]
    room = 60_000
    exhibit = show(frame, frame.raw, spots, room)
    assert 1 < len(exhibit.pairs) < len(spots)
    assert [pair.spot_id for pair in exhibit.pairs] == list(range(1, len(exhibit.pairs) + 1))
    assert len(exhibit.overview) + sum(len(pair.before) + len(pair.after) for pair in exhibit.pairs) <= room
