"""The camera of the training crops: light through dust onto a Bayer sensor with noise, and back to colours.

A simple model on purpose: photon noise, read noise, quantisation, a random white balance and the same plain demosaic
as `dustd.raw.light` uses, so that the network trains on the noise that it will meet. Works on the device of the light.
"""

import math

import torch
from torch import Tensor

from dustd.detector.encoding_torch import smooth

_PATTERNS = ((0, 1, 1, 2), (2, 1, 1, 0), (1, 0, 2, 1), (1, 2, 0, 1))


def expose(light: Tensor, transmission: Tensor, generator: torch.Generator, scale: Tensor | None = None) -> Tensor:
    """Photograph *light* (B, 3, H, W) through dust: Bayer mosaic, photon and read noise, bilinear demosaic.

    Noise is drawn after the dust has taken its light, so that a spot is never quieter than its surroundings.
    *scale* (B,) int64 says how many sensor pixels each way a pixel of the crop stands for, 1 by default: from 2 upward
    each colour is the mean of its scale²/4 samples (green: twice as many) and nothing of the mosaic is left.
    *generator* is on the light's device. Returns white-balanced linear light, (B, 3, H, W).
    """
    batch, _, height, width = light.shape
    device = light.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator, device=device)

    gains = torch.cat([uniform(1.2, 2.6), torch.ones(batch, 1, 1, 1, device=device), uniform(1.2, 2.6)], 1)
    veil = uniform(0, 0.01) * light.mean((2, 3), keepdim=True)  # flare fills shadows a little (facts §7: 0-1 %)
    raw = (light * transmission + veil) / gains
    electrons = torch.exp(uniform(math.log(1500.0), math.log(60000.0)))  # at clipping: ISO 6400 to ISO 64
    read = uniform(1.5, 6.0) / electrons
    bits = torch.where(uniform(0, 1) < 0.3, 1023.0, 16383.0)
    whole = torch.arange(batch, device=device) if scale is None else torch.nonzero(scale == 1).flatten()
    exposed = torch.empty_like(raw)
    if len(whole):
        phase = int(torch.randint(4, (), generator=generator, device=device))
        masks = bayer_masks(height, width, phase).to(device)
        mosaic = (raw[whole] * masks).sum(1, keepdim=True)
        noise = torch.randn(mosaic.shape, generator=generator, device=device)
        mosaic = mosaic + noise * _deviation(mosaic, electrons[whole], read[whole])
        steps = bits[whole]
        exposed[whole] = demosaic(((mosaic * steps).round() / steps).clamp(max=1.0), masks)
    if scale is not None and len(whole) < batch:
        shrunk = torch.nonzero(scale > 1).flatten()
        part = raw[shrunk]
        noise = torch.randn(part.shape, generator=generator, device=device)
        # At half size each colour's one sample (green: two) is shared with the neighbours, .75 to .25
        # (`dustd.raw.light`).
        at_half = torch.nonzero(scale[shrunk] == 2).flatten()
        noise[at_half] = _shared(_shared(noise[at_half], -1), -2)
        samples = scale[shrunk].view(-1, 1, 1, 1).square() * torch.tensor([0.25, 0.5, 0.25], device=device).view(
            3, 1, 1
        )
        spread = _deviation(part, electrons[shrunk], read[shrunk]) / samples.sqrt()
        exposed[shrunk] = (part + noise * spread).clamp(max=1.0)
    return exposed * gains


def _deviation(signal: Tensor, electrons: Tensor, read: Tensor) -> Tensor:
    """Photon and read noise of one sample of *signal*, share of white."""
    return (signal.clamp_min(0) / electrons + read.square()).sqrt()


def _shared(noise: Tensor, axis: int) -> Tensor:
    return 0.75 * noise + 0.25 * noise.roll(1, axis)


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
