"""The camera of the training crops: light through dust onto a Bayer sensor with noise, and back to colours.

A simple model on purpose: photon noise, read noise, quantisation, a random white balance and the same plain demosaic
as `dustd.raw.light` uses, so that the network trains on the noise that it will meet. Works on the device of the light.
"""

import math

import torch
from torch import Tensor

from dustd.detector.encoding import smooth

_PATTERNS = ((0, 1, 1, 2), (2, 1, 1, 0), (1, 0, 2, 1), (1, 2, 0, 1))


def expose(light: Tensor, transmission: Tensor, generator: torch.Generator) -> Tensor:
    """Photograph *light* (B, 3, H, W) through dust: Bayer mosaic, photon and read noise, bilinear demosaic.

    Noise is drawn after the dust has taken its light, so that a spot is never quieter than its surroundings.
    *generator* is on the light's device. Returns white-balanced linear light, (B, 3, H, W).
    """
    batch, _, height, width = light.shape
    device = light.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator, device=device)

    gains = torch.cat([uniform(1.2, 2.6), torch.ones(batch, 1, 1, 1, device=device), uniform(1.2, 2.6)], 1)
    veil = uniform(0, 0.01) * light.mean((2, 3), keepdim=True)  # flare fills shadows a little (facts §7: 0-1 %)
    raw = (light * transmission + veil) / gains
    phase = int(torch.randint(4, (), generator=generator, device=device))
    masks = bayer_masks(height, width, phase).to(device)
    mosaic = (raw * masks).sum(1, keepdim=True)
    electrons = torch.exp(uniform(math.log(1500.0), math.log(60000.0)))  # at clipping: ISO 6400 to ISO 64
    read = uniform(1.5, 6.0) / electrons
    noise = torch.randn(mosaic.shape, generator=generator, device=device)
    noise = noise * (mosaic.clamp_min(0) / electrons + read.square()).sqrt()
    bits = torch.where(uniform(0, 1) < 0.3, 1023.0, 16383.0)
    mosaic = (((mosaic + noise) * bits).round() / bits).clamp(max=1.0)
    return demosaic(mosaic, masks) * gains


def bayer_masks(height: int, width: int, phase: int) -> Tensor:
    """Mark which colour each site of a Bayer mosaic records, (1, 3, H, W), in one of the four phases 0..3."""
    tile = torch.tensor(_PATTERNS[phase]).reshape(2, 2).repeat((height + 1) // 2, (width + 1) // 2)[:height, :width]
    return torch.stack([(tile == colour).float() for colour in range(3)])[None]


def demosaic(mosaic: Tensor, masks: Tensor) -> Tensor:
    """Fill in the missing colours by the average of their neighbours: (B, 1, H, W) to (B, 3, H, W)."""
    binomial = (0.25, 0.5, 0.25)

    def spread(image: Tensor) -> Tensor:
        return smooth(smooth(image, binomial, -1), binomial, -2)

    return spread(mosaic * masks) / spread(masks)
