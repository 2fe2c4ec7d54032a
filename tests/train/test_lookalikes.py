"""Lookalikes: drawn again from a seed, and each of them something that dust cannot be."""

import math

import cv2
import numpy as np
import pytest

from dustd.train.lookalikes import KINDS, add_lookalikes
from dustd.train.outlines import Scene

LEVEL = 0.4
LEAST_DUST_PX = 6  # facts §7: resulting width 6 to 120 px


def blank(side=240):
    return np.full((3, side, side), LEVEL, np.float32)


def could_be_dust(light):
    """Tell of each thing drawn on a blank whether it is dark, nearly grey, and as soft as dust of its size would be."""
    depth = 1 - light / LEVEL
    touched = (np.abs(depth) > 0.015).any(0).astype(np.uint8)
    # A shadow's edge rises over min(b, d) px, d being the grain, b >= 6 px the pupil's image; the steepest slope of two
    # discs convolved is 4/π of the average one. For small grains d = b·sqrt(A) at least (§1: A = κ(d/b)²).
    steps = np.maximum(np.abs(np.diff(depth[1], axis=0, append=0)), np.abs(np.diff(depth[1], axis=1, append=0)))
    answers = []
    count, parts = cv2.connectedComponents(cv2.dilate(touched, np.ones((3, 3), np.uint8)))
    for part in (parts == index for index in range(1, count)):
        peaks = depth[:, part].max(1)
        width = 2 * math.sqrt((depth[1][part] > 0.5 * peaks[1]).sum() / math.pi)
        bright = depth[:, part].min() < -0.08
        coloured = peaks.max() > 1.5 * peaks.min()
        limit = 4 / math.pi * max(math.sqrt(max(peaks[1], 0)) / max(width, LEAST_DUST_PX), peaks[1] / LEAST_DUST_PX)
        sharp = steps[part].max() > 1.3 * limit
        answers.append(not (bright or coloured or sharp))
    return answers


@pytest.mark.parametrize(("grain_px", "pupil_px", "opacity"), [(3, 20, 1), (6, 30, 1), (12, 12, 0.4), (20, 6, 0.9)])
def test_the_judge_of_this_file_knows_dust(grain_px, pupil_px, opacity):
    ys, xs = np.mgrid[-60:60, -60:60].astype(np.float32)
    grain, pupil = (np.clip(0.5 + size / 2 - np.hypot(xs, ys), 0, 1) for size in (grain_px, pupil_px))
    shadow = opacity * cv2.filter2D(grain, -1, pupil / pupil.sum())
    colours = np.array([1.1, 1, 0.9])[:, None, None]
    assert could_be_dust(LEVEL * (1 - shadow * colours)) == [True]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_nothing_drawn_could_be_dust(kind):
    for seed in range(25):
        light = blank()
        kind(np.random.default_rng(seed), Scene(light))
        # A thing cut by the border shows only part of what gives it away.
        light[:, :6] = light[:, -6:] = light[:, :, :6] = light[:, :, -6:] = LEVEL
        assert not any(could_be_dust(light)), seed


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_seed_draws_the_same_thing_again(kind):
    first, second = blank(), blank()
    kind(np.random.default_rng(3), Scene(first))
    kind(np.random.default_rng(3), Scene(second))
    assert np.array_equal(first, second)
    assert np.isfinite(first).all()


def test_things_may_reach_beyond_a_small_picture():
    for seed in range(60):
        light = blank(24)
        add_lookalikes(np.random.default_rng(seed), light)
        assert light.dtype == np.float32
        assert np.isfinite(light).all()
        assert light.min() >= 0
