"""Tiles cover the frame, and every spot is seen whole by exactly the windows that should report it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd.detector.tiles import keep_whole, merge, merge_looks, to_frame, windows
from dustd.raw.light import Window


def box(x: float, y: float, side: float, score: float = 0.5) -> np.ndarray:
    return np.array([[x, y, side, side, score]])


def boxes_of(values) -> np.ndarray:
    return np.array([[x, y, side, side, score] for x, y, side, score in values]).reshape(-1, 5)


sizes = st.integers(1, 3000)


@given(width=sizes, height=sizes)
def test_every_pixel_lies_in_a_window(width, height):
    rows, columns = set(), set()
    for window in windows(width, height, side_px=512, overlap_px=82):
        columns.update(range(window.left, window.left + window.side_px))
        rows.update(range(window.top, window.top + window.side_px))
    assert set(range(width)) <= columns
    assert set(range(height)) <= rows


@given(width=st.integers(512, 3000), height=st.integers(512, 3000))
def test_windows_stay_inside_a_frame_that_can_hold_them(width, height):
    for window in windows(width, height, side_px=512, overlap_px=82):
        assert 0 <= window.left <= width - 512
        assert 0 <= window.top <= height - 512


@given(
    width=st.integers(300, 2000),
    height=st.integers(300, 2000),
    side=st.floats(3, 80),
    u=st.floats(0, 1),
    v=st.floats(0, 1),
)
def test_a_spot_up_to_the_overlap_is_seen_whole_by_some_window(width, height, side, u, v):
    x, y = u * (width - 1), v * (height - 1)
    x = min(max(x, side / 2), width - side / 2)
    y = min(max(y, side / 2), height - side / 2)
    assert any(
        side / 2 - 1e-6 <= x - w.left <= w.side_px - side / 2 + 1e-6
        and side / 2 - 1e-6 <= y - w.top <= w.side_px - side / 2 + 1e-6
        and len(keep_whole(box(x - w.left, y - w.top, side), w, width, height))
        for w in windows(width, height, side_px=256, overlap_px=82)
    )


def test_a_box_that_touches_an_inner_edge_is_left_to_the_neighbour():
    window = Window(left=400, top=0, side_px=512)
    assert len(keep_whole(box(5, 200, 12), window, 2000, 512)) == 0


def test_a_box_that_touches_the_frame_edge_is_kept():
    window = Window(left=0, top=0, side_px=512)
    assert len(keep_whole(box(5, 200, 12), window, 2000, 512)) == 1


@given(x=st.floats(0, 511), scale=st.sampled_from([1, 2]), left=st.integers(0, 900))
def test_frame_coordinates_keep_the_place_of_a_pixel_centre(x, scale, left):
    placed = to_frame(box(x, 7, 10), Window(left=left, top=3, side_px=512), scale)
    # The centre of shrunk pixel i lies in the middle of the frame pixels that it averages.
    assert placed[0, 0] == pytest.approx((left + x) * scale + (scale - 1) / 2)
    assert placed[0, 2] == 10 * scale


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 600), st.floats(3, 160), st.floats(0, 1)), max_size=40))
def test_merged_detections_never_mean_the_same_spot(values):
    kept = merge(boxes_of(values)).tolist()
    for i, (ax, ay, a_px, _, _) in enumerate(kept):
        for bx, by, b_px, _, _ in kept[i + 1 :]:
            assert math.hypot(ax - bx, ay - by) >= max(max(a_px, b_px) / 2, 4)


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 600), st.floats(3, 160), st.floats(0, 1)), max_size=40))
def test_what_is_merged_away_is_near_something_better(values):
    boxes = boxes_of(values)
    kept = merge(boxes)
    for x, y, side, _, score in boxes:
        near = np.hypot(kept[:, 0] - x, kept[:, 1] - y) <= np.maximum(np.maximum(kept[:, 2], side) / 2, 4)
        assert (kept[near, 4] >= score).any()


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300), st.floats(3, 60), st.floats(0, 1)), max_size=20))
def test_merging_does_not_depend_on_the_order_of_tiles(values):
    boxes = boxes_of(values)
    assert np.array_equal(merge(boxes), merge(boxes[::-1]))


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300), st.floats(3, 60), st.floats(0, 1)), max_size=20))
def test_looks_merge_to_the_same_spots_as_all_their_boxes_together(values):
    boxes = boxes_of(values)
    assert np.array_equal(merge_looks([boxes[::2], boxes[1::2]])[:, :5], merge(boxes))


def test_a_spot_has_the_best_score_that_the_other_look_gave_it():
    first = np.concatenate([box(100, 100, 20, score=0.9), box(103, 100, 20, score=0.8), box(300, 300, 20, score=0.7)])
    second = np.concatenate([box(102, 101, 24, score=0.4), box(101, 99, 30, score=0.6), box(500, 300, 20, score=0.5)])
    assert merge_looks([first, second])[:, 4:].tolist() == [[0.9, 0.6], [0.7, 0.0], [0.5, 0.0]]


def test_an_overlap_as_large_as_the_window_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        windows(1000, 1000, side_px=512, overlap_px=512)
