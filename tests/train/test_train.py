"""Training: crops are encoded and labelled."""

import cv2
import numpy as np
import torch

from dustd.detector.encoding import CHANNELS, CONTEXT_PX
from dustd.detector.encoding_torch import blur
from dustd.detector.network import TOKEN_PX
from dustd.train.backgrounds import Backgrounds
from dustd.train.data import draw_batch, stands_out
from dustd.train.dense import assign


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_wide_blur_on_a_small_copy_is_the_gaussian_it_stands_for():
    rough = np.random.default_rng(2).normal(size=(256, 256)).astype(np.float32)
    image = cv2.GaussianBlur(rough, (0, 0), 6.0)
    expected = cv2.GaussianBlur(image, (0, 0), 12.0)[64:-64, 64:-64]
    got = blur(torch.from_numpy(image)[None, None], 12.0)[0, 0, 64:-64, 64:-64].numpy()
    assert float(np.abs(got - expected).max()) < 0.08 * float(np.abs(expected).max())


def test_batches_hold_encoded_crops_and_their_boxes():
    batch = draw_batch(Backgrounds([]), 2, 128, generator(7))
    assert batch.image.shape == (2, CHANNELS, 128, 128)
    assert CONTEXT_PX % 8 == 0
    for boxes, depths, visible in zip(batch.boxes, batch.attenuations, batch.visible, strict=True):
        assert len(boxes) == len(depths) == len(visible)


def test_the_smallest_box_wins_a_token_and_no_box_goes_without():
    boxes = torch.tensor([[64.0, 64.0, 90.0, 90.0], [66.0, 66.0, 6.0, 6.0]])
    labels, owner, positive = assign(boxes, torch.tensor([True, True]), 8)
    token = int(66 / TOKEN_PX) * 8 + int(66 / TOKEN_PX)
    assert owner[token] == 1
    assert set(owner[positive].tolist()) == {0, 1}
    assert set(labels.tolist()) == {0.0, 1.0}


def test_an_invisible_spot_teaches_nothing():
    labels, _, positive = assign(torch.tensor([[64.0, 64.0, 20.0, 20.0]]), torch.tensor([False]), 8)
    assert not positive.any()
    assert (labels == -1).any()


def bands(side: int, dips: list[tuple[int, int, int, float]]) -> torch.Tensor:
    image = torch.zeros(1, side, side)
    for x, y, half, depth in dips:
        image[0, y - half : y + half, x - half : x + half] -= depth
    return image


def test_dust_is_visible_where_it_outdoes_the_scene_in_its_own_place():
    scene = 0.01 * torch.randn(1, 128, 128, generator=generator(1))
    box = torch.tensor([[40.0, 40.0, 16.0, 16.0]])
    assert stands_out(scene + bands(128, [(40, 40, 8, 0.05)]), scene, box).all()
    assert not stands_out(scene + bands(128, [(40, 40, 8, 0.005)]), scene, box).any()


def test_an_edge_that_takes_a_part_of_the_surroundings_does_not_hide_dust():
    scene = 0.01 * torch.randn(1, 128, 128, generator=generator(3))
    scene[:, :, 50:] += 0.3
    box = torch.tensor([[40.0, 40.0, 16.0, 16.0]])
    assert stands_out(scene + bands(128, [(40, 40, 8, 0.05)]), scene, box).all()


def test_an_edge_far_from_the_dust_does_not_hide_it():
    scene = 0.01 * torch.randn(1, 128, 128, generator=generator(2))
    scene[:, :, 70:] += 2.0
    box = torch.tensor([[40.0, 40.0, 16.0, 16.0]])
    assert stands_out(scene + bands(128, [(40, 40, 8, 0.05)]), scene, box).all()
