"""Measuring: known shadows on known backgrounds, on every kind of sensor."""

import numpy as np
import pytest

from dustd.raw.frame import Camera, Frame
from dustd.spots.candidates import candidate_in, measure
from dustd.spots.spot import Detection

PATTERNS = {
    "bayer": ((0, 1), (1, 2)),
    "xtrans": (
        (1, 1, 0, 1, 1, 2),
        (1, 1, 2, 1, 1, 0),
        (2, 0, 1, 0, 2, 1),
        (1, 1, 2, 1, 1, 0),
        (1, 1, 0, 1, 1, 2),
        (0, 2, 1, 2, 0, 1),
    ),
    "mono": ((1,),),
    "linear": ((1,),),
}
BLACK, WHITE = 512, 16383


def shadow_frame(
    kind="bayer", *, x=100.3, y=90.6, diameter=24.0, ramp=10.0, attenuation=0.1, level=0.3, size=200, tints=(0, 0, 0)
):
    """A gradient with one ideal shadow on it, and its noise at 20000 electrons full well.

    *tints* say how much deeper it is in red, green and blue.
    """
    rng = np.random.default_rng(3)
    ys, xs = np.mgrid[:size, :size]
    t = np.clip((np.hypot(xs - x, ys - y) - (diameter - ramp) / 2) / ramp, 0, 1)
    shade = attenuation * (1 - t * t * (3 - 2 * t))
    scene = level * (1 + 0.3 * xs / size - 0.2 * (ys / size) ** 2)
    colours = scene[..., None] * np.array([0.6, 1.0, 0.8]) * (1 - shade[..., None] * (1 + np.array(tints)))
    if kind == "linear":
        light = colours
        black = np.full(3, BLACK, np.float32)
    else:
        pattern = np.array(PATTERNS[kind])
        of_sample = pattern[np.ix_(ys[:, 0] % len(pattern), xs[0] % len(pattern))]
        light = np.take_along_axis(colours, of_sample[..., None], 2)[..., 0]
        black = np.full(pattern.shape, BLACK, np.float32)
    electrons = rng.poisson(light * 20000) + rng.normal(0, 4, light.shape)
    raw = np.clip(np.rint(BLACK + (WHITE - BLACK) * electrons / 20000), 0, WHITE).astype(np.uint16)
    visible = (0, 0, size, size)
    return Frame(
        raw=raw, visible=visible, kind=kind, cfa=PATTERNS[kind], black=black, white=WHITE, wb=(1, 1, 1),
        xyz_to_camera=None, camera=Camera(),
    )  # fmt: skip


def box(x=100.3, y=90.6, size=34.0):
    return Detection(x=x + 1.5, y=y - 1.0, width_px=size, height_px=size * 1.1, score=0.8)


@pytest.mark.parametrize("kind", PATTERNS)
def test_a_shadow_on_a_gradient_is_measured_on_every_kind_of_sensor(kind):
    spot = measure(shadow_frame(kind), box(), 7)
    assert spot.id == 7
    assert spot.score == 0.8
    assert np.hypot(spot.x - 100.3, spot.y - 90.6) < 0.8
    assert spot.diameter_px == pytest.approx(24, rel=0.06)
    assert spot.attenuation == pytest.approx(0.1, rel=0.08)


@pytest.mark.parametrize(("diameter", "attenuation"), [(12, 0.2), (24, 0.04), (60, 0.1), (110, 0.03), (30, 0.6)])
def test_sizes_and_depths_of_real_dust_are_measured(diameter, attenuation):
    frame = shadow_frame(x=200, y=200, diameter=diameter, ramp=0.5 * diameter, attenuation=attenuation, size=400)
    spot = measure(frame, box(200, 200, 1.4 * diameter), 0)
    assert spot.diameter_px == pytest.approx(diameter, rel=0.1)
    assert spot.attenuation == pytest.approx(attenuation, rel=0.12)


def test_a_spot_at_the_border_is_measured_from_what_is_there():
    spot = measure(shadow_frame(x=10, y=95, attenuation=0.2), box(10, 95), 0)
    assert spot.attenuation == pytest.approx(0.2, rel=0.15)
    assert abs(spot.x - 10) < 1.5


def with_raw(frame, raw):
    return Frame(**{n: getattr(frame, n) for n in Frame.__slots__} | {"raw": raw})


@pytest.mark.parametrize("kind", PATTERNS)
@pytest.mark.parametrize("beyond", [0.1, 0.5, 2.5])
@pytest.mark.parametrize("from_px", [122, 132])
def test_beside_an_outline_a_shadow_is_measured_as_on_plain_ground(kind, beyond, from_px):
    frame = shadow_frame(kind, attenuation=0.2, level=0.25)
    raw = frame.raw.copy()
    raw[:, from_px:] = np.clip(BLACK + (raw[:, from_px:] - BLACK) * beyond, 0, WHITE)
    plain, beside = (candidate_in(each, box()) for each in (frame, with_raw(frame, raw)))
    assert beside.attenuation == pytest.approx(0.2, rel=0.1)
    assert np.hypot(beside.shadow_x - 100.3, beside.shadow_y - 90.6) < 1
    assert beside.gain > plain.gain / 4


def test_dark_things_all_around_a_spot_count_as_what_the_scene_does():
    frame = shadow_frame(attenuation=0.1)
    raw = frame.raw.copy()
    for left in range(46, 156, 14):
        for top in range(36, 146, 14):
            if np.hypot(left + 2 - 100, top + 2 - 90) > 26:
                raw[top : top + 5, left : left + 5] = BLACK + (raw[top : top + 5, left : left + 5] - BLACK) // 5
    assert candidate_in(with_raw(frame, raw), box()).gain < candidate_in(frame, box()).gain / 10


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_black_and_clipped_places_fall_back_to_the_box(level):
    spot = measure(shadow_frame(level=level), box(), 0)
    assert 3 <= spot.diameter_px <= 160
    assert 0 <= spot.attenuation < 1
    assert (spot.x, spot.y) == pytest.approx((101.8, 89.6), abs=17)


@pytest.mark.parametrize("kind", ["bayer", "xtrans", "linear"])
@pytest.mark.parametrize("attenuation", [0.03, 0.1, 0.3])
@pytest.mark.parametrize("tints", [(0, 0, 0), (0.1, 0, -0.1), (0.3, 0, -0.4)])
def test_the_colour_of_a_shadow_is_measured_however_deep_and_coloured_it_is(kind, attenuation, tints):
    candidate = candidate_in(shadow_frame(kind, attenuation=attenuation, tints=tints), box())
    near = {"rel": 0.25, "abs": 2.5 * candidate.tint_error}
    assert candidate.tint_error < 0.2
    assert candidate.red == pytest.approx(tints[0], **near)
    assert candidate.blue == pytest.approx(tints[2], **near)


def test_where_the_sensor_knows_no_colour_or_the_light_tells_nothing_no_colour_is_told():
    assert candidate_in(shadow_frame("mono"), box()).red is None
    assert candidate_in(shadow_frame(attenuation=0.0), box()).tint_error is None
