"""The detector's input: linear light turned into channels in which faint dust stands out, beside edges, too.

Dust takes a share of the light, so it is looked for in the log of linear light; a share of 2 % is then the same dip
everywhere. What an object's outline does to the light is a hundred times more, so everything is measured from a local
median, which on plain ground is the level of the own side right up to the edge, and bounded. Texture is measured by
a half-power mean, equal to the deviation for noise and hardly moved by an edge. docs/encodings.md compares.

`encode` works on arrays by OpenCV; `encoding_torch` does the same on other devices than a CPU, to within AGREEMENT.
`model.yaml` names the encoding by ENCODING.

Channels, in order (all about ±1 in size):
0-4  difference of Gaussians of bounded log light at five scales, divided by the local texture at that scale
5    bounded log light itself: how deep a dip is, in absolute terms
6    texture level
7    chroma: dust is nearly grey, a coloured blob is not dust
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

ENCODING = "median-dog5-flat-texture-chroma/3"
CHANNELS = 8
AGREEMENT = 1e-3
# Light below this share of white is noise on every camera; it keeps the log finite.
LIGHT_FLOOR = 0.004
# Green counts twice, as it has twice the samples.
LUMA = (0.25, 0.5, 0.25)
# Log light is bounded here, smoothly: an outline counts no more than deep dust does.
BOUND = 0.3


@dataclass(frozen=True, slots=True)
class Band:
    """A difference of Gaussians of half-widths *sigma_px* and DOG_RATIO times that, on a copy *shrink* times
    smaller."""

    sigma_px: float
    shrink: int


DOG_RATIO = 1.6
# A disc of width w answers most at w = 3.6 sigma: 5 to 43 px.
BANDS = (Band(1.4, 1), Band(2.4, 2), Band(4.0, 2), Band(7.0, 4), Band(12.0, 8))
TEXTURE_SIGMA_PX, TEXTURE_SHRINK = 24.0, 8
# Deviation (log units) below which a difference is noise anywhere, so that perfect gradients do not blow up.
TEXTURE_FLOOR = 0.002
# E|z|^½ = .822 of a standard normal: divided out, so that the half-power mean of noise is its deviation.
HALF_POWER = 1 / 0.822179**2
# The local median is that of 11 × 11 means of 8 × 8 px: as wide as any dust is at this size, and hardly noisy itself.
MEDIAN_SHRINK, MEDIAN_SIDE = 8, 11
CHROMA_SHRINK, CHROMA_SIGMAS_PX = 4, (3.0, 8.0)
FLAT_UNIT, LEVEL_UNIT, CHROMA_FLOOR = 0.1, 0.01, 0.005
# How far (px) a pixel's encoding looks, nearly; crops and stripes are cut with this much context around them.
CONTEXT_PX = 48
# Heights and widths are made a multiple of this, the coarsest copy.
GRID_PX = 8


def encode(light: np.ndarray) -> np.ndarray:
    """Encode white-balanced linear light, (H, W, 3) float32 with 1 = white, as (8, H, W) float32, by OpenCV.

    H and W may be any; inside, borders are repeated.
    """
    height, width = light.shape[:2]
    down, right = -height % GRID_PX, -width % GRID_PX
    if down or right:
        light = cv2.copyMakeBorder(light, 0, down, 0, right, cv2.BORDER_REPLICATE)
    log = log_luma(light)
    flat = np.float32(BOUND) * np.tanh((log - local_median(log)) / np.float32(BOUND))
    out = np.empty((CHANNELS, *log.shape), np.float32)
    textures = []
    for number, band in enumerate(BANDS):
        dog = _in_band(flat, band)
        roots = _blur(_shrink(np.sqrt(np.abs(dog)), TEXTURE_SHRINK // band.shrink), TEXTURE_SIGMA_PX, TEXTURE_SHRINK)
        textures.append(np.float32(HALF_POWER) * roots * roots + np.float32(TEXTURE_FLOOR))
        ratio = np.clip(dog / _grow(textures[-1], dog.shape), -6, 6) * np.float32(0.5)
        out[number] = _grow(ratio, log.shape)
    out[5] = flat / np.float32(FLAT_UNIT)
    out[6] = _grow(np.clip(0.5 * np.log(textures[1] / LEVEL_UNIT), -2, 3), log.shape)
    logs = np.log(np.maximum(_shrink(light, CHROMA_SHRINK), 0) + np.float32(LIGHT_FLOOR))
    square = np.square(_difference(logs[..., 0] - logs[..., 1])) + np.square(_difference(logs[..., 2] - logs[..., 1]))
    noise = _grow(textures[2], square.shape) + np.float32(CHROMA_FLOOR)
    out[7] = _grow(np.clip(np.sqrt(square) / noise, 0, 6) * np.float32(0.5), log.shape)
    return out[:, :height, :width]


def differences(flat: np.ndarray) -> np.ndarray:
    """Differences of Gaussians of bounded log light (H, W) in all BANDS, (5, H, W) float32, not yet divided."""
    return np.stack([_grow(_in_band(flat, band), flat.shape) for band in BANDS])


def _in_band(flat: np.ndarray, band: Band) -> np.ndarray:
    small = _shrink(flat, band.shrink)
    return _blur(small, band.sigma_px, band.shrink) - _blur(small, DOG_RATIO * band.sigma_px, band.shrink)


def _difference(ratio: np.ndarray) -> np.ndarray:
    near, far = (_blur(ratio, sigma, CHROMA_SHRINK) for sigma in CHROMA_SIGMAS_PX)
    return near - far


def log_luma(light: np.ndarray) -> np.ndarray:
    """Log of luminance, (H, W, 3) linear light to (H, W) float32."""
    luma = cv2.transform(light, np.array([LUMA], np.float32))
    return np.log(np.maximum(luma, 0, out=luma) + np.float32(LIGHT_FLOOR))


def local_median(log: np.ndarray) -> np.ndarray:
    """Local level of log light, (H, W) float32 to the same; H and W multiples of MEDIAN_SHRINK."""
    small = _shrink(log, MEDIAN_SHRINK)
    reach = MEDIAN_SIDE // 2
    wide = cv2.copyMakeBorder(small, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    around = np.lib.stride_tricks.sliding_window_view(wide, (MEDIAN_SIDE, MEDIAN_SIDE))
    middle = MEDIAN_SIDE**2 // 2
    rows = [np.partition(row.reshape(len(row), -1), middle, axis=1)[:, middle] for row in around]
    return _grow(np.stack(rows), log.shape)


def _shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of factor × factor px of (H, W) or (H, W, C)."""
    if factor == 1:
        return image
    size = (image.shape[1] // factor, image.shape[0] // factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _grow(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Enlarge (H, W) to *shape*, bilinearly."""
    if image.shape == shape[:2]:
        return image
    return cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def _blur(image: np.ndarray, sigma_px: float, shrink: int) -> np.ndarray:
    weights = np.array(gaussian(sigma_on(sigma_px, shrink)), np.float32)
    return cv2.sepFilter2D(image, cv2.CV_32F, weights, weights, borderType=cv2.BORDER_REPLICATE)


def sigma_on(sigma_px: float, shrink: int) -> float:
    """Half-width on a copy *shrink* times smaller: averaging over *shrink* px already blurs by shrink/sqrt(12)."""
    return math.sqrt(max((sigma_px / shrink) ** 2 - (1 - 1 / shrink**2) / 12, 0.01))


def gaussian(sigma: float) -> tuple[float, ...]:
    """Weights of a Gaussian of half-width *sigma* samples, out to three of them; their sum is 1."""
    radius = max(1, round(3 * sigma))
    raw = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    return tuple(value / sum(raw) for value in raw)
