"""Training: crops are encoded and labelled."""

import cv2
import numpy as np
import torch

from dustd.detector.encoding import CHANNELS, CONTEXT_PX, blur, encode
from dustd.detector.network import TOKEN_PX
from dustd.train.backgrounds import Backgrounds
from dustd.train.data import draw_batch
from dustd.train.dense import assign


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_encoding_does_not_change_with_exposure():
    light = 0.2 + 0.2 * torch.rand(1, 3, 128, 128, generator=generator(4))
    bright, dim = encode(light)[:, :5], encode(light / 2)[:, :5]
    assert float((bright - dim).abs().mean()) < 0.05


def test_faint_dust_stands_out_of_the_encoding():
    light = torch.full((1, 3, 192, 192), 0.3) * (1 + 0.01 * torch.randn(1, 1, 192, 192, generator=generator(6)))
    ys, xs = torch.meshgrid(torch.arange(192.0) - 96, torch.arange(192.0) - 96, indexing="ij")
    dusty = light * (1 - 0.03 * (torch.hypot(xs, ys) < 12).float())
    assert float(encode(dusty)[0, 3, 92:100, 92:100].mean()) < -1.0


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
