"""The synthetic validation set: the same every time, physically consistent, and fair about what can be seen."""

import cv2
import numpy as np
import pytest

from dustd.train.testset import (
    APART_DIAMETERS,
    SPOTS_PER_MP,
    PlacedSpot,
    Twins,
    disc_less_ring,
    draw_lens,
    draw_twins,
    lay_dust,
    measure_spots,
    record,
)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """Sky in the left half, gravel in the right one."""
    height, width = 500, 900
    rng = np.random.default_rng(1)
    gravel = cv2.GaussianBlur(rng.normal(0, 200, (height, width)), (0, 0), 2.5)
    picture = 150 + 20 * np.linspace(-1, 1, height)[:, None] + gravel * (np.arange(width) > width / 2)
    path = tmp_path_factory.mktemp("photos") / "half and half.png"
    cv2.imwrite(str(path), np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, -1))
    return path


@pytest.fixture(scope="module")
def twins(photo):
    return draw_twins(photo)


def with_disc(light: float | np.ndarray, attenuation: float, *, electrons: float = 10_000.0) -> PlacedSpot:
    """Measure a hard disc of 24 px in the middle of a grey scene of 400 px."""
    ys, xs = np.mgrid[:400, :400]
    shadow = attenuation * (np.hypot(xs - 200, ys - 200) < 12)
    scene = np.broadcast_to(np.asarray(light, np.float32), (400, 400))
    noise = np.random.default_rng(2).standard_normal((400, 400), np.float32)

    def frame(signal, amount=1.0):
        return record(signal.astype(np.float32), amount * noise, electrons=electrons, read=1e-4, gains=(1.0, 1.0, 1.0))

    spot = PlacedSpot(x=200, y=200, diameter_px=24, attenuation=attenuation)
    (measured,) = measure_spots(
        Twins(clean=frame(scene), dusty=frame(scene * (1 - shadow)), noiseless=frame(scene, 0.0), spots=(spot,))
    )
    return measured


@pytest.mark.parametrize(("way_px", "near"), [(40, True), (120, False)])
def test_a_spot_within_three_widths_of_a_step_of_light_is_near_an_edge(way_px, near):
    light = np.full((400, 400), 0.4, np.float32)
    light[:, 200 + way_px :] = 0.1
    spot = with_disc(light, 0.1)
    assert spot.near_edge is near
    assert spot.edge_px == pytest.approx(way_px, abs=5)
    assert not with_disc(0.4, 0.1).near_edge


def test_a_photograph_gives_the_same_twins_every_time(photo, twins):
    again = draw_twins(photo)
    assert (again.clean.raw == twins.clean.raw).all()
    assert (again.dusty.raw == twins.dusty.raw).all()
    assert again.spots == twins.spots


def test_the_twins_differ_only_where_there_is_dust(twins):
    changed = twins.clean.raw != twins.dusty.raw
    ys, xs = np.mgrid[: twins.clean.height, : twins.clean.width]
    far = np.all([np.hypot(xs - s.x, ys - s.y) > 120 + s.diameter_px for s in twins.spots], axis=0)
    assert changed.any()
    assert far.any()
    assert not changed[far].any()


def test_spots_are_many_well_apart_and_of_all_widths(twins):
    spots = twins.spots
    assert 0.6 * SPOTS_PER_MP * twins.megapixels < len(spots) <= SPOTS_PER_MP * twins.megapixels + 1
    for i, one in enumerate(spots):
        for other in spots[:i]:
            away = np.hypot(one.x - other.x, one.y - other.y)
            assert away >= APART_DIAMETERS * max(one.diameter_px, other.diameter_px)


def test_one_lens_makes_all_dust_of_a_photograph_and_its_file_says_so(photo):
    lens = draw_lens(photo)
    through = draw_twins(photo, lens)
    blur_px = float(lens.stack_um / lens.f_number * lens.scale / lens.pitch_um)
    assert through.clean.camera.f_number == through.dusty.camera.f_number == pytest.approx(float(lens.f_number))
    assert through.clean.camera.pixel_pitch_um == pytest.approx(float(lens.pitch_um / lens.scale))
    assert len(through.spots) > 3
    # A shadow is its pupil's image at least; irregular grains and fibres are half as wide here and there.
    assert np.median([s.diameter_px for s in through.spots]) > 0.8 * blur_px
    assert (draw_twins(photo, draw_lens(photo)).dusty.raw == through.dusty.raw).all()


def test_each_colour_loses_its_own_share_of_light():
    signal = np.ones((300, 300), np.float32)
    shadow = np.zeros((3, 60, 60), np.float32)
    shadow[:, 20:40, 20:40] = np.array([0.1, 0.2, 0.3], np.float32)[:, None, None]
    (spot,) = lay_dust(signal, [shadow], np.random.default_rng(0))
    x, y = int(spot.x) // 2 * 2, int(spot.y) // 2 * 2
    assert signal[y, x] == pytest.approx(0.9)
    assert signal[y, x + 1] == signal[y + 1, x] == pytest.approx(0.8)
    assert signal[y + 1, x + 1] == pytest.approx(0.7)
    assert spot.attenuation == pytest.approx(0.2)
    assert spot.diameter_px == pytest.approx(2 * 20 / np.sqrt(np.pi))


def test_a_template_ignores_level_and_slope():
    template = disc_less_ring(20)
    ys, xs = np.indices(template.shape)
    assert float((template * (3 + 0.1 * xs - 0.2 * ys)).sum()) == pytest.approx(0, abs=1e-4)


def test_snr_grows_with_depth_and_with_light():
    shallow, deep = with_disc(0.3, 0.02), with_disc(0.3, 0.04)
    assert deep.snr_sensor / shallow.snr_sensor == pytest.approx(2, rel=0.1)
    bright = with_disc(0.3, 0.02, electrons=40_000)
    assert bright.snr_sensor / shallow.snr_sensor == pytest.approx(2, rel=0.15)


def test_on_a_plain_ground_only_the_sensors_noise_hides_dust():
    spot = with_disc(0.3, 0.04)
    assert spot.snr == pytest.approx(spot.snr_sensor, rel=0.4)
    assert spot.smooth
    assert not spot.truth().ignore


def test_texture_hides_dust_unless_only_the_sensors_noise_is_asked_for():
    gravel = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 1, (400, 400)), (0, 0), 3)
    spot = with_disc(0.3 * np.exp(0.2 * gravel / gravel.std()), 0.04)
    assert not spot.smooth
    assert spot.truth().ignore
    assert not spot.truth(sensor_noise_only=True).ignore


def test_clipping_hides_dust():
    assert with_disc(3.0, 0.2).truth(sensor_noise_only=True).ignore


def test_dust_too_faint_to_matter_never_counts():
    assert with_disc(0.8, 0.008, electrons=1e6).truth().ignore


def test_the_ground_decides_what_counts_as_smooth(twins):
    middle = twins.clean.width / 2
    for spot in measure_spots(twins):
        if abs(spot.x - middle) > 170:
            assert spot.smooth == (spot.x < middle)
