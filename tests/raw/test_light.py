"""Linear light keeps what the sensor recorded, whatever its colour pattern."""

import numpy as np
import pytest

from dustd.raw.frame import Camera, Frame
from dustd.raw.light import Window, linear_rgb, overview

XTRANS = (
    (1, 0, 1, 1, 2, 1),
    (2, 1, 2, 0, 1, 0),
    (1, 0, 1, 1, 2, 1),
    (1, 2, 1, 1, 0, 1),
    (0, 1, 0, 2, 1, 2),
    (1, 2, 1, 1, 0, 1),
)
BAYER = ((0, 1), (1, 2))


def flat_frame(kind: str, cfa=((1,),), *, light=(0.4, 0.2, 0.1), height=96, width=120) -> Frame:
    """A frame of one colour: black 512, white 15872."""
    if kind == "linear":
        raw = np.broadcast_to(np.array(light), (height, width, 3)) * 15360 + 512
        black = np.full(3, 512, np.float32)
    else:
        colours = np.tile(np.array(cfa), (height, width))[:height, :width]
        raw = np.array(light)[colours] * 15360 + 512
        black = np.full((len(cfa), len(cfa)), 512, np.float32)
    return Frame(
        raw=raw.round().astype(np.uint16),
        visible=(0, 0, height, width),
        kind=kind,
        cfa=cfa,
        black=black,
        white=15872,
        wb=(2.0, 1.0, 1.5),
        xyz_to_camera=None,
        camera=Camera(),
    )


@pytest.mark.parametrize(("kind", "cfa"), [("bayer", BAYER), ("xtrans", XTRANS), ("linear", ((1,),))])
def test_a_plain_colour_comes_back_white_balanced(kind, cfa):
    light = linear_rgb(flat_frame(kind, cfa), Window(left=10, top=7, side_px=40))
    assert light.shape == (40, 40, 3)
    assert light == pytest.approx(np.broadcast_to([0.8, 0.2, 0.15], (40, 40, 3)), abs=2e-4)


def test_a_monochrome_sensor_gives_the_same_light_in_all_channels():
    light = linear_rgb(flat_frame("mono"), Window(left=0, top=0, side_px=32))
    assert light == pytest.approx(np.full((32, 32, 3), 0.2), abs=1e-4)


def test_a_window_beyond_the_frame_repeats_its_border():
    light = linear_rgb(flat_frame("bayer", BAYER), Window(left=-20, top=80, side_px=64))
    assert light == pytest.approx(np.broadcast_to([0.8, 0.2, 0.15], (64, 64, 3)), abs=2e-4)


def test_any_window_of_a_frame_shows_the_same_light():
    rng = np.random.default_rng(3)
    frame = flat_frame("bayer", BAYER)
    noisy = (frame.raw + rng.integers(0, 500, frame.raw.shape)).astype(np.uint16)
    frame = Frame(**{name: getattr(frame, name) for name in frame.__slots__} | {"raw": noisy})
    whole = linear_rgb(frame, Window(left=0, top=0, side_px=90))
    part = linear_rgb(frame, Window(left=23, top=31, side_px=40))
    assert part == pytest.approx(whole[31:71, 23:63], abs=1e-6)


def test_the_overview_is_the_mean_of_whole_colour_patterns():
    assert overview(flat_frame("bayer", BAYER), 8) == pytest.approx(np.full((12, 15), 0.225), abs=1e-4)


def test_an_overview_that_cuts_colour_patterns_is_refused():
    with pytest.raises(ValueError, match="colour pattern"):
        overview(flat_frame("xtrans", XTRANS), 8)
