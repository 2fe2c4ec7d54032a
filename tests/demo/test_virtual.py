import cv2
import numpy as np
import pytest

from dustd.demo import scenes, virtual
from dustd.demo.virtual import Lens, dusted, expose, frame_of, make_body, shadow_of, wiped
from tests.framing import framed, specked

NEAR = Lens(name="35 mm F2", focal_length_mm=35, exit_pupil_mm=50)
FAR = Lens(name="85 mm F2", focal_length_mm=85, exit_pupil_mm=90)


@pytest.fixture(scope="module")
def body():
    return make_body("V6-1", seed=3, width=900, height=600)


@pytest.fixture(scope="module")
def taken(body):
    return shoot(body)


def shoot(body, f_number=11.0, lens=NEAR, seed=5, light=0.4):
    scene = np.full((body.height, body.width, 3), light, np.float32)
    return expose(body, scene, f_number=f_number, lens=lens, seed=seed, taken_at="2026-11-01T10:00:00", exposure_s=0.01)


def width_px(covered):
    return 2 * np.sqrt((covered > covered.max() / 2).sum() / np.pi)


def test_a_grain_takes_the_same_light_at_every_aperture(body):
    for grain in body.grains[:4]:
        area_px = cv2.contourArea(grain.outline_um.astype(np.float32)) / body.pitch_um**2
        for f_number in (4, 8, 11, 16, 22):
            covered, _, _ = shadow_of(body, grain, f_number=f_number, lens=NEAR)
            assert covered.sum() == pytest.approx(area_px, rel=0.03)


def test_a_shadow_is_as_wide_as_the_pupil_image_and_shrinks_with_the_aperture(body):
    small = min(body.grains, key=lambda grain: np.abs(grain.outline_um).max())
    for f_number in (5.6, 8, 16):
        covered, _, _ = shadow_of(body, small, f_number=f_number, lens=NEAR)
        assert width_px(covered) == pytest.approx(1800 / f_number / 6, rel=0.04)


def test_a_large_grain_at_a_small_aperture_stops_all_light_at_its_centre(body):
    large = max(body.grains, key=lambda grain: np.abs(grain.outline_um).max())
    f_number = 1800 / (0.3 * np.abs(large.outline_um).max())
    covered, _, _ = shadow_of(body, large, f_number=f_number, lens=NEAR)
    assert covered.max() == pytest.approx(1, abs=0.01)


def test_the_truth_says_where_the_shadow_is(body):
    for grain in body.grains[:4]:
        covered, top, left = shadow_of(body, grain, f_number=11, lens=NEAR)
        rows, cols = np.mgrid[: covered.shape[0], : covered.shape[1]]
        x, y = virtual.place_px(body, grain, NEAR)
        assert left + (cols * covered).sum() / covered.sum() == pytest.approx(x, abs=0.15)
        assert top + (rows * covered).sum() / covered.sum() == pytest.approx(y, abs=0.15)


def test_an_exposure_differs_from_its_clean_twin_only_in_shadows(taken):
    rows, cols = np.mgrid[: taken.mosaic.shape[0], : taken.mosaic.shape[1]]
    reach = np.zeros(taken.mosaic.shape, bool)
    for shadow in taken.shadows:
        reach |= np.hypot(cols - shadow.x, rows - shadow.y) < 2 * shadow.diameter_px
    differs = taken.mosaic != taken.clean
    assert differs.any()
    assert not (differs & ~reach).any()


def test_the_deepest_shadow_takes_the_light_that_the_truth_says(body):
    exposure = shoot(body)
    deepest = max(exposure.shadows, key=lambda shadow: shadow.attenuation)
    core = np.s_[round(deepest.y) - 3 : round(deepest.y) + 4, round(deepest.x) - 3 : round(deepest.x) + 4]
    left_over = (exposure.mosaic[core] - 512.0).mean() / (exposure.clean[core] - 512.0).mean()
    assert 1 - left_over == pytest.approx(deepest.attenuation, abs=0.04)


def test_the_noise_is_that_of_the_light_that_arrives():
    body = make_body("V6-1", seed=3, grains=0, width=400, height=300)
    first, second = (
        (shoot(body, light=0.25, seed=seed).mosaic[0::2, 1::2] - 512.0) * 42_000 / (15871 - 512) for seed in (1, 2)
    )
    assert (first - second).var() / 2 == pytest.approx(first.mean(), rel=0.05)


def test_a_seed_gives_the_same_exposure_again(body, taken):
    again = shoot(make_body("V6-1", seed=3, width=900, height=600))
    assert np.array_equal(again.mosaic, taken.mosaic)
    assert again.shadows == taken.shadows
    assert not np.array_equal(shoot(body, seed=6).mosaic, taken.mosaic)


def test_another_lens_moves_the_dust_along_the_radius_only(body):
    centre = np.array([(body.width - 1) / 2, (body.height - 1) / 2])
    near = np.array([(s.x, s.y) for s in shoot(body, lens=NEAR).shadows]) - centre
    far = np.array([(s.x, s.y) for s in shoot(body, lens=FAR).shadows]) - centre
    assert np.allclose(near / far, (1 + 1.8 / 50) / (1 + 1.8 / 90))


def test_white_light_is_grey_after_white_balance(taken):
    frame = frame_of(taken)
    light = taken.clean.astype(float) - 512
    red, green, blue = light[0::2, 0::2].mean(), light[0::2, 1::2].mean(), light[1::2, 1::2].mean()
    assert red * frame.wb[0] == pytest.approx(green, rel=0.01)
    assert blue * frame.wb[2] == pytest.approx(green, rel=0.01)


def test_samples_keep_between_black_and_white(body):
    dark, bright = shoot(body, light=0.0).mosaic, shoot(body, light=3.0).mosaic
    assert dark.mean() == pytest.approx(512, abs=2)
    assert bright.max() == 15871


@pytest.mark.parametrize("scene", sorted(set(scenes.SESSION), key=lambda scene: scene.__name__))
def test_every_scene_is_light_that_the_sensor_can_hold(scene):
    light = scene(np.random.default_rng(1), 200, 300)
    assert light.shape == (200, 300, 3)
    assert light.dtype == np.float32
    assert light.min() >= 0
    assert np.quantile(light, 0.98) < 1.0
    assert np.array_equal(light, scene(np.random.default_rng(1), 200, 300))


def test_a_cleaning_takes_its_share_and_leaves_the_rest_as_it_was(body):
    clean = wiped(body, 0.85, seed=2)
    assert len(clean.grains) == len(body.grains) - round(0.85 * len(body.grains))
    assert {id(grain) for grain in clean.grains} <= {id(grain) for grain in body.grains}


def test_new_dust_bears_a_new_number_even_after_a_cleaning(body):
    numbers = [grain.number for grain in body.grains]
    assert len(set(numbers)) == len(numbers)
    later = dusted(wiped(body, 0.85, seed=2), 3, seed=8)
    new = [grain for grain in later.grains if grain not in body.grains]
    assert len(new) == 3
    assert not {grain.number for grain in new} & set(numbers)


def test_shadows_bear_the_numbers_of_their_grains(body):
    clean = wiped(body, 0.5, seed=2)
    assert [shadow.grain for shadow in shoot(clean).shadows] == [grain.number for grain in clean.grains]


def test_a_camera_sees_the_part_of_a_set_that_it_points_at():
    rng = np.random.default_rng(1)
    wide = rng.random((60, 80, 3), np.float32)
    assert np.array_equal(framed(wide, 31, 41, centre=(50.0, 25.0)), wide[10:41, 30:71])


def test_zooming_in_shows_a_smaller_part_of_the_set():
    x = np.broadcast_to(np.arange(80, dtype=np.float32)[None, :, None], (60, 80, 3)).copy()
    seen = framed(x, 31, 41, centre=(40.0, 30.0), zoom=2.0)
    assert seen[15, 20] == pytest.approx(40)
    assert seen[15, 40] == pytest.approx(50)


def test_a_speck_takes_its_light_within_its_width_and_nothing_beyond():
    plain = np.full((100, 120, 3), 0.5, np.float32)
    scene = specked(plain, np.array([(70.0, 40.0)]), np.array([20.0]), np.array([0.3]), np.array([0.4]))
    assert scene[40, 70] == pytest.approx(0.35)
    assert scene[40, 70 + 10] == pytest.approx(0.5 * (1 - 0.15))  # half as deep at half its width
    beyond = np.hypot(*np.mgrid[-40:60, -70:50]) > 10 * 1.4 + 1
    assert (scene[beyond] == plain[beyond]).all()
    assert (plain == 0.5).all()
