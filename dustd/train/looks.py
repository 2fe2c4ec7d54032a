"""Pictures as a camera's JPEG shows them: softened noise, a tone curve, richer colours, sharpening, JPEG blocks.

dustd cleans RAW files, but light also reaches the detector through pictures that a camera or a developer has finished:
dusty JPEG frames with labels, finished linear files. There the shadow of a grey grain is no longer grey, and deeper
than the grain made it: on a blue sky the tone curve is steeper for red, which is dark there, than for blue. A detector
that has only seen untouched light takes such dust for coloured things.
"""

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import jpeg

from dustd.detector.encoding import smooth

# Rec. 709.
_LUMA = (0.2126, 0.7152, 0.0722)
# Ranges of our own judgement, around what in-camera "standard" to "vivid" styles do.
CONTRASTS, PIVOTS, SATURATIONS, SHARPENINGS, QUALITIES = (1.0, 1.9), (0.3, 0.7), (0.9, 1.5), (0.0, 1.0), (75, 97)


def finish(light: Tensor, generator: torch.Generator) -> Tensor:
    """Finish linear *light* (B, 3, H, W), 1 = white, as a camera would, and read the JPEG back as linear light.

    Each crop gets a look of its own, drawn from the *generator* (on the light's device): noise taken out, colour noise
    most; a tone curve; more or less colour; sharpening; compression.
    """
    batch, device = len(light), light.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator, device=device)

    luma = _luma(light)
    colour = light - luma
    luma = torch.lerp(luma, _blur(luma, 1), uniform(0, 0.8))
    colour = torch.lerp(colour, _blur(colour, 2), uniform(0, 1))
    values = _to_srgb((luma + colour).clamp(0, 1))
    # An S-curve per channel, straight in log odds: steep in the darks, flat in the lights.
    pivot = torch.logit(uniform(*PIVOTS))
    values = torch.sigmoid(pivot + uniform(*CONTRASTS) * (torch.logit(values, eps=1e-4) - pivot))
    luma = _luma(values)
    values = luma + uniform(*SATURATIONS) * (values - luma)
    values = values + uniform(*SHARPENINGS) * (values - _blur(values, 2))
    values = (values.clamp(0, 1) * 255).round().byte().cpu()
    qualities = torch.randint(*QUALITIES, (batch,), generator=generator, device=device).tolist()
    files = torch.stack([jpeg(one, quality) for one, quality in zip(values, qualities, strict=True)])
    return _to_linear(files.to(device).float() / 255)


def _luma(image: Tensor) -> Tensor:
    return (image * torch.tensor(_LUMA, device=image.device)[:, None, None]).sum(1, keepdim=True)


def _blur(image: Tensor, times: int) -> Tensor:
    for _ in range(times):
        image = smooth(smooth(image, (0.25, 0.5, 0.25), -1), (0.25, 0.5, 0.25), -2)
    return image


def _to_srgb(light: Tensor) -> Tensor:
    """Encode linear light as sRGB, 0 to 1 (IEC 61966-2-1)."""
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(0.0031308, 1) ** (1 / 2.4) - 0.055)


def _to_linear(values: Tensor) -> Tensor:
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
