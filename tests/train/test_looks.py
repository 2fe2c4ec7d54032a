"""The look of a camera's JPEG: shadows change colour, places stay."""

import pytest
import torch

from dustd.train.looks import finish


def generator(seed):
    return torch.Generator().manual_seed(seed)


def sky(count):
    return torch.tensor([0.15, 0.28, 0.45])[None, :, None, None].expand(count, 3, 96, 96).clone()


def depths(light):
    """Share of light lost in the shadow, per crop and channel."""
    return 1 - light[..., 40:56, 40:56].mean((-1, -2)) / light[..., :20, :].mean((-1, -2))


def test_a_grey_shadow_on_a_blue_sky_becomes_deeper_in_red_than_in_blue():
    light = sky(24)
    light[..., 36:60, 36:60] *= 0.8
    red, _, blue = depths(finish(light, generator(1))).mean(0).tolist()
    assert red > blue + 0.02


def test_a_shadow_is_never_made_much_fainter():
    light = sky(24)
    light[..., 36:60, 36:60] *= 0.8
    assert float(depths(finish(light, generator(2)))[:, 1].min()) > 0.17


def test_what_was_dark_stays_where_it_was():
    light = sky(8)
    light[..., 30:34, 70:74] *= 0.4
    found = finish(light, generator(3))[:, 1].flatten(1).argmin(1)
    assert ((found // 96 - 31.5).abs() <= 2).all()
    assert ((found % 96 - 71.5).abs() <= 2).all()


def test_one_seed_gives_the_same_pictures():
    first, second = (finish(sky(2), generator(4)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (2, 3, 96, 96)
    assert float(first.max()) <= 1.0


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_pictures_are_finished_too(level):
    assert torch.isfinite(finish(torch.full((1, 3, 64, 64), level), generator(5))).all()
