"""Procedural grounds: light, repeatable, and what their names say."""

import numpy as np
import pytest

from dustd.train import fields
from dustd.train.fields import KINDS, draw_field


def rng(seed):
    return np.random.default_rng(seed)


def names(kind):
    return kind.__name__


def contrast(light):
    return float((light.std((1, 2)) / light.mean((1, 2))).max())


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_a_seed_draws_the_same_ground_again_and_another_draws_another(kind):
    first, second, other = (kind(rng(seed), 96) for seed in (4, 4, 5))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_a_ground_is_light_in_three_colours(kind):
    for seed in range(6):
        light = kind(rng(seed), 75)
        assert light.shape == (3, 75, 75)
        assert light.dtype == np.float32
        assert np.isfinite(light).all()
        assert light.mean() > 0.005


def test_drawn_grounds_stay_between_black_and_white_and_are_of_many_kinds():
    drawn = [draw_field(rng(seed), 64) for seed in range(60)]
    assert all(light.min() >= 0 and light.max() <= 1 and light.dtype == np.float32 for light in drawn)
    contrasts = [contrast(light) for light in drawn]
    assert min(contrasts) == pytest.approx(0, abs=1e-6)
    assert max(contrasts) > 0.3


def test_flat_is_flat():
    assert contrast(fields.flat(rng(1), 64)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", [fields.sky, fields.gradient, fields.backdrop], ids=names)
def test_smooth_grounds_have_no_small_detail(kind):
    for seed in range(8):
        light = kind(rng(seed), 320)
        steps = np.abs(np.diff(light, axis=2)).mean() / light.mean()
        assert steps < 0.02


@pytest.mark.parametrize("kind", [fields.halftone, fields.weave, fields.knit], ids=names)
def test_print_and_cloth_repeat_themselves(kind):
    """A screen's or a weave's spectrum is a few lines: one frequency stands far out of the others."""
    for seed in range(5):
        light = kind(rng(seed), 128)[1]
        spectrum = np.abs(np.fft.rfft2((light - light.mean()) * np.outer(np.hanning(128), np.hanning(128))))
        fine = spectrum[8:-8, 8:]
        assert fine.max() > 12 * np.median(fine)


def test_dead_leaves_hide_one_another_with_crisp_edges():
    light = fields.leaves(rng(2), 128)
    steps = np.abs(np.diff(light[1], axis=1))
    assert steps.max() > 0.2 * light[1].max()
    assert np.median(steps) < 0.05 * steps.max()
