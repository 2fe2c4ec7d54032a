import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.dustmap import evidence
from dustd.dustmap.evidence import Evidence, from_dict, look, to_dict, visible_from
from dustd.dustmap.scene import independence, independences, similarities
from dustd.raw.frame import Camera

STEP = 8
HEIGHT, WIDTH = 320, 480  # blocks: 2560 × 3840 px
POSITIONS = [(x, y) for x in range(300, 3600, 400) for y in range(300, 2300, 400)]


def landscape(seed, height=HEIGHT, width=WIDTH):
    """A scene with structure of every size, as blocks of linear light."""
    rng = np.random.default_rng(seed)
    light = np.zeros((height, width), np.float32)
    for cell in (4, 16, 64, 200):
        noise = rng.normal(size=(height // cell + 2, width // cell + 2)).astype(np.float32)
        light += 0.25 * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.2 * np.exp(light), 0.004, 0.9).astype(np.float32)


def noisy(light, seed=0, share=0.002):
    draw = np.random.default_rng(seed).normal(1, share, light.shape)
    return (light * draw).astype(np.float32)


def weights(one, other):
    return np.array([independence(one, other, x, y, 30) for x, y in POSITIONS])


def photos(shared_data):
    """Real photographs as landscape-format blocks of linear light."""
    for path in sorted((shared_data / "photos").glob("eos_*.jpg"))[:10]:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            continue
        image = image if image.shape[1] > image.shape[0] else image.T
        light = 0.9 * (cv2.resize(image, (720, 480), interpolation=cv2.INTER_AREA).astype(np.float32) / 255) ** 2.2
        yield light


def test_the_same_scene_is_the_same_however_noisy_and_exposed():
    scene = landscape(1)
    again = noisy(scene * 0.5, 2)
    assert weights(look(noisy(scene), STEP), look(again, STEP)).max() < 0.3


def test_different_scenes_are_independent():
    assert weights(look(landscape(1), STEP), look(landscape(2), STEP)).mean() > 0.8


def test_a_moved_camera_makes_surroundings_new():
    wide = landscape(3, width=WIDTH + 60)
    assert weights(look(wide[:, :WIDTH], STEP), look(wide[:, 60:], STEP)).mean() > 0.8


def test_a_plain_backdrop_stays_the_same_while_the_subject_before_it_changes():
    plain = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    frames = []
    for seed in (1, 2):
        frame = plain.copy()
        frame[60:260, 180:300] = landscape(seed)[60:260, 180:300]
        frames.append(look(noisy(frame, seed), STEP))
    assert independence(*frames, 400, 1200, 30) == pytest.approx(0.05, abs=0.05)
    assert independence(*frames, 1920, 1280, 30) > 0.8


def test_moved_lamps_alone_do_not_make_a_fixed_camera_independent():
    scene = landscape(4)
    lamps = np.linspace(0.7, 1.1, WIDTH, dtype=np.float32)[None, :]
    assert weights(look(scene, STEP), look(scene * lamps, STEP)).max() < 0.3


def test_two_blank_frames_prove_nothing_new():
    blank = np.full((HEIGHT, WIDTH), 0.4, np.float32)
    assert weights(look(noisy(blank, 1), STEP), look(noisy(blank, 2), STEP)).max() < 0.1


def test_a_plain_place_that_kept_its_light_is_the_same_even_when_all_else_changed():
    fall_off = 1 - 0.5 * np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :] ** 2
    frames = []
    for seed in (6, 7):
        frame = landscape(seed) * fall_off
        frame[100:180, 380:460] = (0.2 * fall_off * np.ones((HEIGHT, 1), np.float32))[100:180, 380:460]
        frames.append(look(noisy(frame, seed), STEP))
    assert independence(*frames, 420 * STEP, 140 * STEP, 30) < 0.1


@pytest.mark.parametrize("stops", [0, -1])
@pytest.mark.parametrize("flash", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_backdrop_is_not_new_because_a_product_that_fills_the_frame_is(seed, flash, stops):
    frames = []
    for product in (seed, seed + 10):
        frame = np.linspace(0.55, 0.45, HEIGHT, dtype=np.float32)[:, None] * np.ones((1, WIDTH), np.float32)
        frame[40:300, 90:390] = landscape(product)[40:300, 90:390]
        frames.append(frame)
    before = Camera(f_number=8.0, iso=400, exposure_s=0.01)
    # Flash does not care for the shutter.
    after = replace(before, iso=400 * 2**stops, exposure_s=0.002 if flash else 0.01)
    one, other = look(noisy(frames[0], 1), STEP, before), look(noisy(frames[1] * 2.0**stops, 2), STEP, after)
    assert independence(one, other, 35 * STEP, 160 * STEP, 30) < 0.1
    assert independence(one, other, 240 * STEP, 160 * STEP, 30) > 0.8


def test_a_board_is_not_new_because_a_product_comes_near_without_hiding_the_place():
    frames = []
    for seed, (left, top) in enumerate([(40, 40), (256, 120), (190, 176)]):  # 16 blocks away from the place
        light = np.full((HEIGHT, WIDTH), 0.4, np.float32)
        light[top : top + 90, left : left + 90] = landscape(seed)[:90, :90]
        frames.append(look(noisy(light, seed), STEP))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert independence(frames[other], frames[one], 240 * STEP, 160 * STEP, 30) < 0.3


def test_a_product_of_another_contrast_elsewhere_is_no_moved_camera():
    frames = []
    for number, (left, tone) in enumerate([(60, 0.1), (180, 0.3)]):
        light = np.full((HEIGHT, WIDTH), 0.4, np.float32)
        light[40:280, left : left + 240] = tone
        frames.append(look(noisy(light, number), STEP))
    assert independence(frames[1], frames[0], 24 * STEP, 160 * STEP, 30) < 0.3


def test_cloth_that_shifts_by_a_few_pixels_is_the_same():
    cloth = np.full((HEIGHT * STEP, WIDTH * STEP), 0.45, np.float32)
    for y in range(40, HEIGHT * STEP, 72):
        for x in range(40, WIDTH * STEP, 72):
            cv2.circle(cloth, (x, y), 12, 0.3, -1, cv2.LINE_AA)
    shifted = np.roll(cloth, (2, 3), (0, 1))
    blocks = [cv2.resize(each, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for each in (cloth, shifted)]
    assert weights(*(look(noisy(each, seed), STEP) for seed, each in enumerate(blocks))).max() < 0.3


def with_horizon(light, sky=0.5, sea=0.2):
    """The scene with a band of sky above sea laid over it, a straight edge between the two."""
    light = light.copy()
    light[90:140], light[140:190] = sky, sea
    return light


def test_a_horizon_alone_does_not_make_two_scenes_alike_when_all_else_changed():
    days = [with_horizon(landscape(6)), with_horizon(landscape(7), sky=0.42, sea=0.26)]
    frames = [look(noisy(day, seed), STEP) for seed, day in enumerate(days)]
    assert independence(*frames, 1900, 125 * STEP, 30) > 0.8


def test_a_place_that_kept_its_light_is_the_same_whatever_changed_elsewhere():
    frames = [look(noisy(with_horizon(landscape(seed)), seed), STEP) for seed in (6, 7)]
    assert independence(*frames, 1900, 125 * STEP, 30) < 0.3


def test_a_horizon_is_the_same_where_nothing_says_that_the_camera_moved():
    calm = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    frames = [look(noisy(with_horizon(calm), seed), STEP) for seed in (6, 7)]
    assert independence(*frames, 1900, 125 * STEP, 30) < 0.1


def test_structure_of_another_contrast_is_not_the_same():
    slope = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :] ** 3 * np.ones((HEIGHT, 1), np.float32)
    bumps = 0.2 * np.exp(0.5 * np.sin(40 * slope))
    deep, shallow = (look((bumps / 0.2) ** power * np.float32(0.2), STEP) for power in (3.0, 0.6))
    assert independence(deep, shallow, 2600, 1200, 30) > 0.6


def test_a_plain_patch_beside_an_edge_is_not_taken_for_structure():
    frame = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    frame[180:] = landscape(3)[180:]
    still = [look(noisy(frame * lamp, seed), STEP) for seed, lamp in ((1, 1.0), (2, 0.93))]
    assert max(independence(*still, x, 150 * STEP, 30) for x in range(400, 3500, 200)) < 0.2


def test_many_comparisons_are_the_single_ones():
    frames = [look(landscape(seed), STEP) for seed in range(4)]
    many = independences(frames[0], frames[1:], 1500, 900, 30)
    assert many.tolist() == [independence(frames[0], each, 1500, 900, 30) for each in frames[1:]]
    assert independences(frames[0], [], 1500, 900, 30).size == 0


def test_the_dust_itself_does_not_make_two_scenes_alike():
    frames = []
    for level in (0.2, 0.6):
        frame = landscape(int(level * 10)) if level == 0.2 else np.full((HEIGHT, WIDTH), level, np.float32)
        frame[150:155, 200:205] *= 0.5
        frames.append(look(frame, STEP))
    assert independence(*frames, 202 * STEP, 152 * STEP, 40) > 0.8


def test_a_crop_of_the_same_scene_is_recognised():
    scene = landscape(5)
    crop = scene[40 : HEIGHT - 40, 60 : WIDTH - 60]
    whole, part = look(scene, STEP), look(crop, STEP)
    x, y = whole.width / 2, whole.height / 2
    assert similarities(whole, (part,), x, y, 30)[0] > 0.8


def test_real_photographs_are_told_from_each_other_and_from_themselves(shared_data):
    frames = list(photos(shared_data))
    seen = [look(frame, STEP) for frame in frames]
    different = np.mean([weights(a, b).mean() for i, a in enumerate(seen) for b in seen[:i]])
    same = np.mean([weights(a, look(noisy(frame, 5), STEP)).mean() for a, frame in zip(seen, frames, strict=True)])
    assert different > 0.9
    assert same < 0.1


@given(st.integers(0, 5), st.integers(0, 5), st.floats(-500, 5000), st.floats(-500, 5000), st.floats(0, 900))
@settings(max_examples=50, deadline=None)
def test_similarity_is_a_share_anywhere(one, other, x, y, spot_px):
    a, b = (look(landscape(seed, 60 + 7 * seed, 90), STEP) for seed in (one, other))
    assert 0 <= similarities(a, (b,), x, y, spot_px)[0] <= 1


def test_faint_dust_shows_in_the_sky_and_hides_in_the_leaves():
    frame = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    frame[160:] *= np.random.default_rng(0).lognormal(0, 0.6, (160, WIDTH)).astype(np.float32)
    seen = look(frame, STEP)
    assert visible_from(seen, 1900, 400) < 0.02
    assert visible_from(seen, 1900, 2200) > 0.2


@pytest.mark.parametrize("light", [0.0, 0.001, 0.99, 1.5])
def test_nothing_shows_in_the_black_or_the_burnt_out(light):
    assert visible_from(look(np.full((HEIGHT, WIDTH), light, np.float32), STEP), 1000, 1000) == math.inf


@pytest.mark.parametrize("step", [8, 16])
def test_a_spot_does_not_hide_itself(step):
    frame = np.full((2048 // step, 2048 // step), 0.5, np.float32)
    spot = 40 // step
    frame[600 // step : 600 // step + spot, 600 // step : 600 // step + spot] *= 0.7
    assert visible_from(look(frame, step), 620, 620) < 0.1


def test_limits_are_rounded_towards_caution_and_by_little():
    frame = noisy(np.full((HEIGHT, WIDTH), 0.5, np.float32), share=0.2)
    codes = np.frombuffer(look(frame, STEP).limits, np.uint8)
    assert codes.max() < evidence.BLIND
    assert 2 ** (1 / evidence.CODES_PER_OCTAVE) < 1.03


@given(st.integers(2, 70), st.integers(2, 90), st.sampled_from([2, 8, 16]), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_evidence_survives_the_sidecar(height, width, step, seed):
    seen = look(landscape(seed, height, width), step)
    assert from_dict(json.loads(json.dumps(to_dict(seen)))) == seen


def test_evidence_of_a_full_frame_is_small():
    assert len(json.dumps(to_dict(look(noisy(landscape(1, 690, 1030)), STEP)))) < 12_000


@pytest.mark.parametrize("damage", [{}, {"width": 1}, {"scene": 3}, {"scene": {"px": 8, "shape": [1, 1], "data": "!"}}])
def test_what_is_not_evidence_is_refused(damage):
    whole = to_dict(look(landscape(1), STEP))
    with pytest.raises(ValueError, match=r"evidence|base64"):
        from_dict({**whole, **damage} if "scene" in damage else damage)


def test_evidence_can_be_compared_and_hashed():
    assert isinstance(hash(look(landscape(1), STEP)), int)
    assert look(landscape(1), STEP) == look(landscape(1), STEP)
    assert isinstance(look(landscape(1), STEP), Evidence)
