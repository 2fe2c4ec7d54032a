"""The camera of the training crops: noise follows the light, colours come back."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.train.exposure import bayer_masks, demosaic, expose


def generator(seed):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), transmission=st.floats(0.2, 0.98), level=st.floats(0.05, 0.8))
def test_a_spot_is_never_quieter_than_its_light_makes_it(seed, transmission, level):
    """Photon noise goes with the root of the light, and read noise stays: relative to light, a spot is noisier."""
    light = torch.full((1, 3, 192, 192), level)
    half = torch.ones(1, 3, 192, 192)
    half[..., :96] = transmission
    shot = expose(light, half, generator(seed))[0, 1]
    dark, bright = shot[8:-8, 8:88], shot[8:-8, 104:-8]
    assert float(dark.std() / bright.std()) > 0.94 * math.sqrt(transmission)
    # The veil of flare adds up to 1 % of the mean light to both.
    assert float(dark.mean() / bright.mean()) == pytest.approx(transmission, abs=0.015)


def test_the_same_seed_takes_the_same_photograph():
    light = torch.rand(2, 3, 32, 32, generator=generator(1))
    first, second = (expose(light, torch.ones_like(light), generator(2)) for _ in range(2))
    assert torch.equal(first, second)


def test_light_comes_back_in_its_colours():
    light = torch.tensor([0.5, 0.3, 0.1])[None, :, None, None].expand(1, 3, 128, 128)
    shot = expose(light, torch.ones_like(light), generator(3))
    assert shot.mean((0, 2, 3)).tolist() == pytest.approx([0.5, 0.3, 0.1], abs=0.006)


@pytest.mark.parametrize("phase", range(4))
def test_every_phase_of_the_mosaic_is_filled_in(phase):
    masks = bayer_masks(9, 10, phase)
    assert masks.sum(1).eq(1).all()
    assert masks.mean((0, 2, 3))[1] == pytest.approx(0.5, abs=0.01)
    colours = torch.tensor([0.2, 0.5, 0.7])[None, :, None, None]
    mosaic = (masks * colours).sum(1, keepdim=True)
    assert torch.allclose(demosaic(mosaic, masks), colours.expand(1, 3, 9, 10))
