"""Profiles mean what they say: LittleCMS, an independent reader, finds the published primaries and curves in them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from dustd.output.icc import profile

SPACES = ("srgb", "adobe-rgb", "prophoto-rgb")
# x, y of the primaries adapted to D50, from the colorants of brucelindbloom.com's table for Bradford.
ADAPTED = {
    "srgb": ((0.6484, 0.3309), (0.3212, 0.5979), (0.1559, 0.0660)),
    "adobe-rgb": ((0.6484, 0.3309), (0.2302, 0.7016), (0.1559, 0.0660)),
    "prophoto-rgb": ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)),
}


def opened(space):
    return ImageCms.ImageCmsProfile(io.BytesIO(profile(space)))


@pytest.mark.parametrize("space", SPACES)
def test_primaries_are_the_published_ones(space):
    about = opened(space).profile
    found = [about.red_colorant[1][:2], about.green_colorant[1][:2], about.blue_colorant[1][:2]]
    assert np.allclose(found, ADAPTED[space], atol=2e-4)


def test_srgb_is_littlecms_srgb():
    colours = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    turned = ImageCms.profileToProfile(colours, opened("srgb"), ImageCms.createProfile("sRGB"))
    assert np.abs(np.asarray(turned).astype(int) - np.asarray(colours)).max() <= 1


@pytest.mark.parametrize(("space", "gamma"), [("adobe-rgb", 563 / 256), ("prophoto-rgb", 1.8)])
def test_greys_follow_the_spaces_curve(space, gamma):
    grey = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, -1))
    shown = np.asarray(ImageCms.profileToProfile(grey, opened(space), ImageCms.createProfile("sRGB")))[0]
    linear = (np.arange(256) / 255) ** gamma
    wanted = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(shown - wanted[:, None]).max() <= 1.5


@pytest.mark.parametrize("space", SPACES)
def test_the_profile_names_its_space(space):
    assert {"srgb": "sRGB", "adobe-rgb": "Adobe RGB", "prophoto-rgb": "ProPhoto"}[space] in (
        ImageCms.getProfileDescription(opened(space))
    )
