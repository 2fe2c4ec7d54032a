"""Faint dust from many frames: what no frame shows, their average does; what the scene repeats, it does not."""

import dataclasses

import cv2
import numpy as np
import pytest

from dustd.dustmap import evidence, stack_cache
from dustd.dustmap.decide import State, observe
from dustd.dustmap.lenses import BodyOptics
from dustd.dustmap.particle import View
from dustd.dustmap.stack import ONE_FRAME, Stack, add, decode, encode, reveal
from dustd.dustmap.store import Store

STEP, ROWS, COLUMNS = 8, 120, 180
WIDTH, HEIGHT = COLUMNS * STEP, ROWS * STEP
BLUR = 440.0  # 40 px at f/11
PLACE = (50, 90)  # row and column of the dust
BODY = BodyOptics(blur_constant=BLUR).with_scale("50 mm", 50.0)
FRAMES = 14


def scene(seed):
    """Smooth light above rough ground, which tells one scene from another; another for each seed."""
    rng = np.random.default_rng(seed)
    rough = sum(s * cv2.GaussianBlur(rng.normal(size=(ROWS, COLUMNS)), (0, 0), s) for s in (1, 3, 9, 27))
    contrast = np.where(np.arange(ROWS)[:, None] > 80, 0.5, 0.006)
    return (rng.uniform(0.15, 0.6) * np.exp(contrast * rough / rough.std())).astype(np.float32)


def shadowed(light, attenuation, f_number, place=PLACE, scale=1.0):
    """Throw the shadow of dust that takes *attenuation* at f/11; *scale* is the lens's."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    y, x = (n / 2 - 0.5 + scale * (p - n / 2 + 0.5) for n, p in zip((ROWS, COLUMNS), place, strict=True))
    inside = np.clip(BLUR / f_number / STEP / 2 + 0.5 - np.hypot(rows - y, columns - x), 0, 1)
    return (light * (1 - attenuation * (f_number / 11) ** 2 * inside)).astype(np.float32)


def view_of(light, number, f_number=11.0, lens="50 mm"):
    return View(
        frame_id=f"frame {number}", width=WIDTH, height=HEIGHT, f_number=f_number, focal_length_mm=50.0, lens=lens,
        evidence=evidence.look(light, STEP),
    )  # fmt: skip


def session(attenuation, *, frames=FRAMES, f_numbers=(11.0, 16.0, 8.0), scene_of=scene, body=BODY):
    """Average a session; return the stack and the last frame's view."""
    stack, view = Stack(), None
    for number in range(frames):
        f_number = f_numbers[number % len(f_numbers)]
        light = shadowed(scene_of(number), attenuation, f_number)
        view = view_of(light, number, f_number)
        stack = add(stack, light, STEP, view, body)
    return stack, view


def revealed(stack, view, spots=(), state=State()):  # noqa: B008 - the empty map is a value
    return reveal(stack, spots, state, view, BODY)


def test_dust_too_faint_for_a_frame_is_revealed_where_it_lies_and_as_deep_as_it_is():
    stack, view = session(0.012, f_numbers=(16.0, 11.0))
    (spot,) = revealed(stack, view)
    assert np.hypot(spot.x - (PLACE[1] + 0.5) * STEP, spot.y - (PLACE[0] + 0.5) * STEP) < 1.5 * STEP
    assert spot.diameter_px == pytest.approx(BLUR / view.f_number)
    assert spot.attenuation == pytest.approx(0.012 * (view.f_number / 11) ** 2, rel=0.4)
    assert not spot.wanted
    assert "frames together show it" in spot.reason


def test_few_frames_reveal_nothing():
    assert revealed(*session(0.012, frames=2)) == ()


@pytest.mark.parametrize("seed", range(3))
def test_frames_without_dust_reveal_nothing(seed):
    assert revealed(*session(0.0, scene_of=lambda number: scene(100 * seed + number))) == ()


def test_what_a_fixed_camera_repeats_is_not_revealed():
    light = shadowed(scene(1), 0.012, 11.0, place=(40, 40))
    assert revealed(*session(0.0, f_numbers=(11.0,), scene_of=lambda _: light)) == ()


def test_what_was_revealed_becomes_a_suspicion_and_is_told_once():
    stack, view = session(0.012, f_numbers=(16.0, 11.0))
    state = observe(State(optics=BODY), view, revealed(stack, view))
    (particle,) = state.particles
    assert not particle.confirmed
    assert revealed(stack, view, state=state) == ()


def test_spots_that_the_frame_shows_already_are_not_told_again():
    stack, view = session(0.012)
    assert revealed(stack, view, spots=revealed(stack, view)) == ()


def test_a_frame_counts_once():
    stack, _ = session(0.012, frames=3)
    light = scene(2)
    assert add(stack, light, STEP, view_of(light, 2), BODY) is stack


@pytest.mark.parametrize("changes", [{"f_number": None}, {"f_number": 2.8}, {"lens": "never seen"}])
def test_a_frame_that_cannot_be_placed_or_shows_nothing_is_left_out(changes):
    stack, _ = session(0.0, frames=2)
    light = scene(9)
    assert add(stack, light, STEP, dataclasses.replace(view_of(light, 9), **changes), BODY) is stack


def test_a_lens_whose_scale_is_known_shows_the_same_place():
    body = BODY.with_scale("wide", 50.0, log_scale=0.03, sigma=0.0005, particles=9)
    place = (20, 30)
    stack = Stack()
    for number in range(FRAMES):
        wide = number % 2 == 1
        light = shadowed(scene(number), 0.012, 11.0, place=place, scale=np.exp(0.03) if wide else 1.0)
        view = view_of(light, number, lens="wide" if wide else "50 mm")
        stack = add(stack, light, STEP, view, body)
    (spot,) = reveal(stack, (), State(), view, body)
    centre = np.array((COLUMNS, ROWS)) / 2 * STEP
    there = centre + np.exp(0.03) * ((np.array(place[::-1]) + 0.5) * STEP - centre)
    assert np.hypot(spot.x - there[0], spot.y - there[1]) < 2 * STEP


def test_one_frame_alone_weighs_no_more_than_its_share():
    light = shadowed(scene(0), 0.9, 11.0)
    stack = add(Stack(), light, STEP, view_of(light, 0), BODY)
    assert (stack.votes / np.sqrt(np.maximum(stack.certainty, 1e-9))).max() <= ONE_FRAME * 1.001


def test_a_stack_survives_its_file_and_damage_is_an_empty_one(tmp_path):
    stack, view = session(0.012)
    stack_cache.save(tmp_path / "stacks", "body", stack)
    kept = stack_cache.load(tmp_path / "stacks", "body")
    assert (kept.frame_ids, kept.scenes, kept.epoch) == (stack.frame_ids, stack.scenes, stack.epoch)
    assert revealed(kept, view) == revealed(stack, view)
    (file,) = (tmp_path / "stacks").iterdir()
    file.write_bytes(encode(stack)[:1000])
    assert stack_cache.load(tmp_path / "stacks", "body").frame_ids == ()
    with pytest.raises(ValueError, match="not a stack"):
        decode(b"")


def test_a_body_that_nobody_knows_is_in_its_first_epoch():
    with Store.open(":memory:") as store:
        assert store.epoch("nobody") == store.epoch("nobody", "2026-11-23T10:00:00")
