"""The DNG's preview: LibRaw's colours, the camera's look, the size that culling needs."""

import dataclasses

import cv2
import numpy as np
import pytest

from dustd.output import preview
from dustd.raw.frame import Camera, Frame
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera

CFA = {
    "bayer": ((1, 0), (2, 1)),
    "xtrans": tuple(tuple(map(int, row)) for row in ("110112", "112110", "201021", "112110", "110112", "021201")),
    "mono": ((1,),),
    "linear": ((1,),),
}


def flat(kind, rgb, *, height=60, width=84, **changes):
    """A frame that sees one camera colour everywhere, *rgb* of the white level."""
    rows, columns = np.mgrid[:height, :width]
    pattern = np.array(CFA[kind])
    colour = pattern[rows % len(pattern), columns % len(pattern)]
    light = np.broadcast_to(rgb, (height, width, 3)) if kind == "linear" else np.array(rgb)[colour]
    values = {
        "raw": (1000 + light * 10000).astype(np.uint16),
        "visible": (0, 0, height, width),
        "kind": kind,
        "cfa": CFA[kind],
        "black": np.full(3 if kind == "linear" else pattern.shape, 1000, np.float32),
        "white": 11000,
        "wb": (2.0, 1.0, 1.5),
        "xyz_to_camera": None,
        "camera": Camera(),
    }
    return Frame(**values | changes)


def gradient():
    x, y = np.meshgrid(np.linspace(0, 1, 300), np.linspace(0, 1, 200))
    return np.round(255 * np.stack([x * y, 0.5 * x + 0.3 * y, 1 - x], -1)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["bayer", "xtrans", "linear"])
def test_what_the_white_balance_calls_grey_is_grey(kind):
    frame = flat(kind, (0.1, 0.2, 0.2 / 1.5))
    picture = preview.develop(frame, frame.raw)
    assert np.ptp(picture.astype(int)) <= 1
    assert picture.mean() == pytest.approx(255 * (1.055 * 0.2 ** (1 / 2.4) - 0.055), abs=1)  # IEC 61966-2-1


def test_clipped_light_is_white_not_magenta():
    frame = flat("bayer", (1.0, 1.0, 1.0))
    assert (preview.develop(frame, frame.raw) == 255).all()


def test_a_monochrome_sensor_gives_a_grey_picture():
    frame = flat("mono", (0.0, 0.2, 0.0))
    picture = preview.develop(frame, frame.raw)
    assert picture.shape == (60, 84, 3)
    assert np.ptp(picture) == 0


@pytest.mark.parametrize(
    ("kind", "sensor", "shown"),
    [
        ("bayer", (5504, 8256), (1376, 2064)),
        ("bayer", (4000, 6000), (2000, 3000)),
        ("xtrans", (4160, 6240), (1386, 2080)),
        ("mono", (4000, 6000), (2000, 3000)),
        ("bayer", (60, 84), (30, 42)),
    ],
)
def test_previews_are_2048_px_or_wider_where_the_sensor_allows(kind, sensor, shown):
    frame = dataclasses.replace(
        flat(kind, (0.1, 0.2, 0.1)), raw=np.full(sensor, 1000, np.uint16), visible=(0, 0, *sensor)
    )
    assert preview.develop(frame, frame.raw).shape == (*shown, 3)


@pytest.mark.parametrize("name", ["canon-eos-kiss-x4_magiclantern_colorchart.dng", "canon-eos-6d_lossy-linear.dng"])
def test_colours_are_those_that_libraw_develops(shared_data, name):
    path = shared_data / "raw" / name
    with open_raw(path, read_camera(path)) as opened:
        ours = preview.develop(opened.frame, opened.frame.raw)
        theirs = opened.develop(opened.frame.raw, half_size=opened.frame.kind == "bayer")
    difference = np.abs(cv2.resize(theirs, ours.shape[1::-1], interpolation=cv2.INTER_AREA).astype(int) - ours)
    assert difference.mean() < 0.5
    assert np.percentile(difference, 99) <= 1


def test_the_cameras_own_tones_are_taken_over():
    picture = gradient()
    camera = np.round(255 * (picture / 255.0) ** (0.6, 0.7, 0.8)).astype(np.uint8)
    matched = preview.in_the_look_of(camera[10:-10, 10:-10], picture)  # cameras crop
    assert np.abs(matched.astype(int) - camera).mean() < 5
    assert np.abs(picture.astype(int) - camera).mean() > 25


def test_a_black_and_white_look_gives_a_black_and_white_picture():
    grey = np.repeat(cv2.cvtColor(gradient(), cv2.COLOR_RGB2GRAY)[..., None], 3, -1)
    matched = preview.in_the_look_of(grey, gradient())
    assert np.ptp(matched.astype(int), axis=-1).max() == 0
    assert np.abs(matched.astype(int) - grey).mean() < 2


@pytest.mark.parametrize("other", [np.zeros((120, 160, 3), np.uint8), gradient()[::-1, ::-1]])
def test_a_picture_of_something_else_lends_no_look(other):
    base = flat("linear", (0.2, 0.2, 0.2), height=200, width=300)
    frame = dataclasses.replace(base, raw=(1000 + gradient().astype(np.uint16) * 39))
    assert np.array_equal(preview.develop(frame, frame.raw, other), preview.develop(frame, frame.raw))


def test_the_preview_of_a_real_frame_looks_like_the_sources_own(shared_data):
    path = shared_data / "raw" / "canon-eos-6d_lossy-linear.dng"
    with open_raw(path, read_camera(path)) as opened:
        look = opened.embedded_preview()
        plain, matched = (preview.develop(opened.frame, opened.frame.raw, each) for each in (None, look))

    def distance(picture):
        smaller = cv2.resize(picture, look.shape[1::-1], interpolation=cv2.INTER_AREA)
        return np.abs(smaller.astype(int) - look).mean()

    assert distance(matched) < 4 < 9 < distance(plain)
