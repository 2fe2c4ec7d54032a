"""The detector's eyes: linear light turned into channels in which faint dust stands out of noise and shading.

Dust takes a share of the light, so it is looked for in the log of linear light; a share of 2 % is then the same dip
everywhere. Training and inference use this one function, and `model.yaml` names it by ENCODING.

Channels, in order (all about ±1 in size):
0-4  difference of Gaussians of log luminance at five scales, divided by the local texture at that scale
5    log luminance without its slow part (how deep a dip is, in absolute terms)
6    texture level
7    chroma difference of Gaussians: dust is nearly grey, a coloured blob is not dust
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ENCODING = "dog5-flat-texture-chroma/1"
CHANNELS = 8
# Light below this share of white is noise on every camera; it keeps the log finite.
LIGHT_FLOOR = 0.004
# Half-widths (px) of the five difference-of-Gaussians; spots of 6 to 64 px peak inside this range.
DOG_SIGMAS_PX = (1.4, 2.4, 4.0, 7.0, 12.0)
DOG_RATIO = 1.6
TEXTURE_SIGMA_PX = 24.0
# Deviation (log units) below which a difference is noise anywhere, so that perfect gradients do not blow up.
TEXTURE_FLOOR = 0.002
# How far (px) a pixel's encoding looks; tiles are cut with this much context around them.
CONTEXT_PX = 32


def encode(rgb: Tensor) -> Tensor:
    """Encode white-balanced linear light, (B, 3, H, W) float32 with 1 = white, as (B, 8, H, W) float32.

    H and W must be multiples of 8 (the widest blurs run on a smaller copy).
    """
    luma = (0.25 * rgb[:, 0:1] + 0.5 * rgb[:, 1:2] + 0.25 * rgb[:, 2:3]).clamp_min(0.0)
    log_luma = torch.log(luma + LIGHT_FLOOR)
    dogs = torch.cat([blur(log_luma, s) - blur(log_luma, DOG_RATIO * s) for s in DOG_SIGMAS_PX], 1)
    texture = (blur(dogs.square(), TEXTURE_SIGMA_PX) + TEXTURE_FLOOR**2).sqrt()
    flat = log_luma - blur(log_luma, TEXTURE_SIGMA_PX)
    level = torch.log(texture[:, 1:2] / 0.01) * 0.5
    lights = rgb.clamp_min(0.0) + LIGHT_FLOOR
    chroma = torch.log(lights[:, 0::2] / lights[:, 1:2])
    chroma = (blur(chroma, 3.0) - blur(chroma, 8.0)).square().sum(1, keepdim=True).sqrt()
    return torch.cat(
        [
            (dogs / texture).clamp(-6, 6) / 2,
            (flat / 0.1).clamp(-3, 3),
            level.clamp(-2, 3),
            (chroma / (texture[:, 2:3] + 0.005)).clamp(0, 6) / 2,
        ],
        1,
    )


def blur(image: Tensor, sigma_px: float) -> Tensor:
    """Blur (B, C, H, W) by a Gaussian; wide ones on a smaller copy, as nothing finer survives them."""
    factor = 1
    while sigma_px / factor > 2.0 and factor < 8:
        factor *= 2
    small = F.avg_pool2d(image, factor) if factor > 1 else image
    # Averaging over factor px already blurs by factor/sqrt(12).
    sigma = math.sqrt(max((sigma_px / factor) ** 2 - (1 - 1 / factor**2) / 12, 0.01))
    weights = _gaussian(sigma)
    small = smooth(smooth(small, weights, -1), weights, -2)
    if factor == 1:
        return small
    return F.interpolate(small, size=image.shape[-2:], mode="bilinear", align_corners=False)


def smooth(image: Tensor, weights: tuple[float, ...], axis: int) -> Tensor:
    """Weight the neighbours along *axis* (-1 or -2) of (..., H, W), borders repeated, which invents no edges.

    Shifted sums: on a CPU eight times as fast as a one-channel convolution by the library (measured on 320×320).
    """
    radius = len(weights) // 2
    by = (radius, radius, 0, 0) if axis == -1 else (0, 0, radius, radius)
    padded = F.pad(image, by, mode="replicate")
    length = image.shape[axis]
    out = padded.narrow(axis, 0, length) * weights[0]
    for offset in range(1, len(weights)):
        out.add_(padded.narrow(axis, offset, length), alpha=weights[offset])
    return out


def _gaussian(sigma: float) -> tuple[float, ...]:
    radius = max(1, round(3 * sigma))
    raw = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    return tuple(value / sum(raw) for value in raw)
