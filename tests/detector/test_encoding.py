"""The encoding: faint dust stands out at any exposure and beside any edge, by OpenCV and by torch alike."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.detector import encoding_torch
from dustd.detector.encoding import AGREEMENT, CHANNELS, CONTEXT_PX, FLAT_UNIT, GRID_PX, encode

SIDE = 192
YS, XS = np.mgrid[:SIDE, :SIDE].astype(np.float32) - SIDE / 2


def ground(light: float = 0.3, noise: float = 0.003, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (light * (1 + noise * rng.standard_normal((SIDE, SIDE, 3)))).astype(np.float32)


def with_dust(light: np.ndarray, attenuation: float, x: float = 0.0, width: float = 24.0) -> np.ndarray:
    return light * (1 - attenuation * (np.hypot(XS - x, YS) < width / 2)).astype(np.float32)[..., None]


def middle(image: np.ndarray, x: float = 0.0) -> np.ndarray:
    row, column = SIDE // 2, SIDE // 2 + round(x)
    return image[:, row - 4 : row + 4, column - 4 : column + 4].mean((1, 2))


@settings(deadline=None, max_examples=30)
@given(height=st.integers(8, 90), width=st.integers(8, 90), level=st.floats(0.001, 1), spread=st.floats(0, 1))
def test_opencv_and_torch_agree(height, width, level, spread):
    rng = np.random.default_rng(height)
    light = (level * np.exp(spread * rng.standard_normal((height * GRID_PX // 8, width * GRID_PX // 8, 3)))).astype(
        np.float32
    )
    light = light[: light.shape[0] // GRID_PX * GRID_PX, : light.shape[1] // GRID_PX * GRID_PX]
    ours = encode(light)
    theirs = encoding_torch.encode(torch.from_numpy(light).permute(2, 0, 1)[None])[0].numpy()
    assert ours.shape == (CHANNELS, *light.shape[:2])
    assert np.abs(ours - theirs).max() < AGREEMENT


@pytest.mark.parametrize("factor", [0.5, 0.1])
def test_contrasts_do_not_change_with_exposure(factor):
    light = ground(noise=0.05)
    assert np.abs(encode(light)[:6] - encode(factor * light)[:6]).mean() < 0.1


@pytest.mark.parametrize("attenuation", [0.02, 0.05, 0.2])
def test_faint_dust_stands_out(attenuation):
    plain, dusty = middle(encode(ground())), middle(encode(with_dust(ground(), attenuation)))
    assert (dusty - plain)[3:5].min() < -1.0
    assert dusty[5] - plain[5] == pytest.approx(np.log(1 - attenuation) / FLAT_UNIT, rel=0.3)


@pytest.mark.parametrize("beyond", [0.1, 0.4, 2.5])
@pytest.mark.parametrize("gap", [6, 15, 40])
def test_dust_stands_out_beside_an_edge_nearly_as_on_plain_ground(beyond, gap):
    light = ground()
    light[12 + gap < XS] *= beyond
    far, near = (middle(encode(with_dust(each, 0.05)))[3:6] for each in (ground(), light))
    assert near.min() < 0.35 * far.min() < -0.6
    assert near[2] < 0.6 * far[2]


def test_what_lies_beyond_the_context_moves_the_encoding_little():
    light = with_dust(ground(), 0.05)
    changed = light.copy()
    reach = CONTEXT_PX + 12
    changed[:, SIDE // 2 + reach :] *= 0.2
    assert np.abs(middle(encode(light)) - middle(encode(changed)))[:6].max() < 0.6


def test_a_frame_of_any_size_keeps_its_size():
    assert encode(np.full((37, 61, 3), 0.2, np.float32)).shape == (CHANNELS, 37, 61)
