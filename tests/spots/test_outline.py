"""Reading outlines off the light: threads, specks and rings of known shape, blurred as pupils blur them."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.raw.frame import Camera, Frame
from dustd.spots.candidates import measure
from dustd.spots.outline import outline_in
from dustd.spots.shape import shape_of
from dustd.spots.spot import Detection, Spot

BLACK, WHITE, SIZE = 512, 16383, 241
MIDDLE = SIZE // 2


def disc(diameter):
    ys, xs = np.mgrid[:SIZE, :SIZE] - MIDDLE
    return np.clip(diameter / 2 - np.hypot(xs, ys) + 0.5, 0, 1).astype(np.float32)


def thread(length, width, angle_deg):
    ys, xs = np.mgrid[:SIZE, :SIZE] - MIDDLE
    turn = np.deg2rad(angle_deg)
    along, aside = xs * np.cos(turn) + ys * np.sin(turn), ys * np.cos(turn) - xs * np.sin(turn)
    away = np.hypot(np.maximum(np.abs(along) - (length - width) / 2, 0), aside)
    return np.clip(width / 2 - away + 0.5, 0, 1).astype(np.float32)


def frame(grain, blur, *, opacity=0.9, light=0.3, turns=0):
    """Grey paper with a grain's shadow on it; the whole mosaic, noise and all, turned by quarters."""
    pupil = disc(blur)
    shadow = opacity * cv2.filter2D(grain, -1, pupil / pupil.sum(), borderType=cv2.BORDER_CONSTANT)
    electrons = np.random.default_rng(5).poisson(light * (1 - shadow) * 30000)
    raw = np.clip(np.rint(BLACK + (WHITE - BLACK) * electrons / 30000), 0, WHITE).astype(np.uint16)
    return Frame(
        raw=np.ascontiguousarray(np.rot90(raw, -turns)), visible=(0, 0, SIZE, SIZE), kind="mono", cfa=((1,),),
        black=np.full((1, 1), BLACK, np.float32), white=WHITE, wb=(1, 1, 1), xyz_to_camera=None, camera=Camera(),
    )  # fmt: skip


def seen(grain, blur, box, **how):
    """Read the outline of a spot in the middle of a frame, in a box of *box* px."""
    detection = Detection(x=MIDDLE, y=MIDDLE, width_px=box, height_px=box, score=0.9)
    dusty = frame(grain, blur, **how)
    return outline_in(dusty, measure(dusty, detection, 1), detection)


def turned(a, b):
    """Give the angle between two undirected lines."""
    return abs((a - b + 90) % 180 - 90)


@given(angle=st.floats(0, 180), light=st.floats(0.1, 0.8))
@settings(max_examples=12, deadline=None)
def test_a_turned_thread_turns_the_angle_and_keeps_its_slenderness_in_any_light(angle, light):
    upright, other = (seen(thread(40, 5, a), 15, 48, light=at) for a, at in ((0, 0.3), (angle, light)))
    assert turned(other.angle_deg, angle) < 2
    assert other.slenderness == pytest.approx(upright.slenderness, rel=0.1)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_frame_turned_by_quarters_says_the_same(turns):
    straight, other = (seen(thread(40, 5, 25), 15, 48, turns=each) for each in (0, turns))
    assert turned(other.angle_deg, 25 + 90 * turns) < 2
    assert other.slenderness == pytest.approx(straight.slenderness, rel=0.06)


def test_a_thread_has_the_same_slenderness_at_every_aperture():
    found = [seen(thread(40, 5, 70), blur, max(40, blur) + 8).slenderness for blur in (10, 15, 22, 30)]
    assert found == pytest.approx([40 / 5 / 0.9] * 4, rel=0.2)


@pytest.mark.parametrize(
    ("grain", "blur", "opacity", "shape"),
    [
        (thread(60, 5, 30), 20, 0.9, "fibre"),
        (thread(80, 4, 100), 8, 0.9, "fibre"),  # so thin that a disc takes hardly any light
        (disc(20), 14, 0.9, "speck"),
        (disc(44) - disc(24), 10, 0.15, "ring"),
        (thread(9, 2, 30), 40, 0.9, None),  # far shorter than its blur
    ],
)
def test_shapes_that_show_are_named(grain, blur, opacity, shape):
    extent = np.ptp(np.nonzero(grain.any(0))[0])
    assert shape_of(seen(grain, blur, extent + 0.6 * blur, opacity=opacity)) == shape


def test_clipped_light_tells_nothing():
    assert seen(disc(20), 14, 30, light=40.0) is None


@given(
    x=st.floats(-0.5, SIZE - 0.5),
    y=st.floats(-0.5, SIZE - 0.5),
    at_edge=st.sampled_from(["x", "y", ""]),
    box=st.floats(20, 60),
)
@settings(max_examples=25, deadline=None)
def test_a_spot_anywhere_in_the_frame_has_a_finite_outline_or_none(x, y, at_edge, box):
    """A thread across a box on the frame's edge may lie outside of it."""
    x, y = (SIZE - 0.52 if at_edge == "x" else x), (SIZE - 0.52 if at_edge == "y" else y)
    spot = Spot(id=1, x=x, y=y, diameter_px=0.9 * box, edge_px=0.25 * box, attenuation=0.06, score=0.97)
    read = outline_in(frame(disc(30), 10), spot, Detection(x=x, y=y, width_px=box, height_px=box, score=0.97))
    assert read is None or read.error > 0
