"""Pictures show each shadow where it is, as wide and as deep as it prints, in the view that they are named for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd.report.sensor_picture import braille_picture, crop_span_px, drawn, sensor_picture, where_from_front


def test_the_sensor_picture_shows_each_shadow_where_it_is_and_nothing_else(particle):
    picture = sensor_picture([particle(mx=-1500.0, my=1000.0, at_16=0.5)], 6000, 4000)
    assert picture.shape == (1000, 1500, 3)
    assert picture.dtype == np.uint8
    plain = picture[0, 0, 0]
    dark = np.argwhere(picture[:, :, 0] < plain)
    assert np.abs(dark.mean(axis=0) - (750, 375)).max() < 1
    assert len(dark) < 300
    assert (picture[:, :, 0] <= plain).all()


@pytest.mark.parametrize(("mx", "my", "inside"), [(0.0, 0.0, 1.0), (-700.0, 0.0, 0.5), (-700.0, -500.0, 0.25)])
def test_the_sensor_picture_takes_as_much_light_as_the_particle(particle, mx, my, inside):
    picture = sensor_picture([particle(at_16=0.4, mx=mx, my=my)], 1400, 1000).astype(float)[:, :, 0]
    light = (picture / 255) ** 2.2
    lost = (1 - light / light.max()).sum()
    assert lost == pytest.approx(inside * 0.4 * math.pi / 4 * (409 / 16) ** 2, rel=0.1)


def test_a_particle_outside_the_sensor_leaves_no_mark(particle):
    outside = [particle(mx=9000.0), particle(my=-9000.0), particle(mx=-9000.0, my=9000.0)]
    assert len(np.unique(sensor_picture(outside, 1400, 1000))) == 1


def seen_by_a_swab(u, v):
    """Where a grain prints in the upright picture, both from -1 to 1, right and down.

    (u, v) is its place on the sensor as you look into the camera, u to your right, v upwards. Traced by hand: the
    world has X to the photographer's right and Y up; the camera looks along Z, its pinhole at the origin, the sensor at
    Z = -1. You stand before the camera and look along -Z, so that your right is -X. The grain hides what its ray
    through the pinhole comes from, at Z = 1; the upright picture shows that with X to the right and Y up.
    """
    grain = np.array([-u, v, -1.0])
    hidden = -grain
    return hidden[0], -hidden[1]


@given(u=st.floats(-0.9, 0.9), v=st.floats(-0.9, 0.9))
def test_from_the_front_a_grain_lies_where_the_swab_finds_it(particle, u, v):
    width, height = 300, 200
    x, y = seen_by_a_swab(u, v)
    grain = particle(mx=x * width / 2, my=y * height / 2, at_16=1.0)
    picture = sensor_picture([grain], width, height, from_front=True)[:, :, 0]
    rows, columns = np.nonzero(picture == picture.min())
    assert (columns.mean() + 0.5) / width == pytest.approx((1 + u) / 2, abs=0.03)
    assert (rows.mean() + 0.5) / height == pytest.approx((1 - v) / 2, abs=0.03)


@pytest.mark.parametrize(
    ("u", "v", "words"),
    [
        (-0.8, 0.8, "upper left"),
        (0.8, -0.8, "lower right"),
        (0.0, 0.0, "centre"),
        (0.0, 0.8, "top"),
        (0.0, -0.8, "bottom"),
        (0.8, 0.0, "right"),
    ],
)
def test_words_say_where_the_swab_finds_it(particle, u, v, words):
    x, y = seen_by_a_swab(u, v)
    assert where_from_front(particle(mx=x * 3000, my=y * 2000), 6000, 4000) == words


def test_the_braille_picture_puts_each_particle_in_its_place(particle):
    picture = braille_picture([particle(mx=-2999.5, my=-1999.5), particle(mx=2999, my=1999)], 6000, 4000)
    lines = picture.splitlines()
    assert lines[1][1] == "⠁"
    assert lines[-2][-2] == "⢀"
    assert sum(character not in "⠀│┌┐└┘─\n" for character in picture) == 2


def test_braille_from_the_front_has_the_photographs_top_at_the_bottom_and_names_the_camera_s_top(particle):
    lines = braille_picture([particle(mx=-2999.5, my=-1999.5)], 6000, 4000, from_front=True).splitlines()
    assert "top of the camera" in lines[0]
    assert lines[-2][1] == "⡀"
    assert len({len(line) for line in lines}) == 1


def test_what_is_only_suspected_is_not_drawn(particle):
    suspected = [particle(confirmed=False, at_16=1.0)]
    assert set(braille_picture(suspected, 600, 400)) <= set("⠀│┌┐└┘─\n")
    assert len(np.unique(sensor_picture(suspected, 600, 400))) == 1


@pytest.mark.parametrize("at_16", [0.2, 0.4, 1.0])
def test_a_drawn_particle_is_as_wide_and_deep_as_it_prints(particle, at_16):
    one = particle(at_16=at_16)
    crop = drawn(one)
    light = (crop.picture[:, :, 0] / 255) ** 2.2
    loss = 1 - light / light[0, 0]
    assert loss.max() == pytest.approx(at_16, abs=0.02)
    scale = crop.picture.shape[0] / crop_span_px(one, 16)
    width = 2 * math.sqrt((loss > loss.max() / 2).sum() / math.pi)
    assert width / scale == pytest.approx(one.diameter_px_at(16), rel=0.1)
    assert "drawn" in crop.caption
