"""Synthetic sensor dust: transmission maps drawn from the optics of grains above a sensor.

A grain's shadow is its silhouette blurred by the image of the lens's pupil (facts §1.1: T = 1 - κ·[m ⊗ pupil]), so
it is a flat-topped soft disc, wide when the grain is small against the blur and dark when it is not. Ranges follow
`facts/optics-and-evidence.md` §7; sizes here are px of the tile that the detector sees.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

PATCH_PX = 112


@dataclass(frozen=True, slots=True, kw_only=True)
class Dust:
    """Dust for a batch of B crops: *transmission* (B, 3, H, W) in 0..1, and per crop the spots' boxes (n, 4) as
    centre and size in px, and attenuations (n,)."""

    transmission: Tensor
    boxes: tuple[Tensor, ...]
    attenuations: tuple[Tensor, ...]


def draw_dust(batch: int, size_px: int, generator: torch.Generator, *, empty_share: float = 0.25) -> Dust:
    """Draw dust for *batch* crops of *size_px*: 1 + Poisson(6) spots each, none in *empty_share* of them."""
    transmission = torch.ones(batch, 3, size_px, size_px)
    boxes, attenuations = [], []
    for index in range(batch):
        count = 0
        if torch.rand((), generator=generator) >= empty_share:
            count = 1 + int(torch.poisson(torch.tensor(6.0), generator=generator))
        shadows = draw_shadows(count, generator)
        crop_boxes, crop_depths = [], []
        for shadow in shadows:
            x, y = (torch.rand(2, generator=generator) * size_px).tolist()
            box = _multiply_in(transmission[index], shadow, round(x), round(y))
            if box is not None:
                crop_boxes.append(box)
                crop_depths.append(float(shadow.max()))
        boxes.append(torch.tensor(crop_boxes).reshape(-1, 4))
        attenuations.append(torch.tensor(crop_depths))
    return Dust(transmission=transmission, boxes=tuple(boxes), attenuations=tuple(attenuations))


def draw_shadows(count: int, generator: torch.Generator) -> Tensor:
    """Draw *count* shadows, (count, 3, PATCH_PX, PATCH_PX): the share of light lost per channel, peak at the middle."""
    if count == 0:
        return torch.zeros(0, 3, PATCH_PX, PATCH_PX)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*(shape or (count,)), generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*(shape or (count,)), generator=generator)

    coordinates = torch.arange(PATCH_PX) - (PATCH_PX - 1) / 2
    ys, xs = torch.meshgrid(coordinates, coordinates, indexing="ij")
    # Width of the pupil's image: log-uniform, 5 to 60 px; the grain itself: 1.5 to 20 px, smaller ones more often.
    blur_px = torch.exp(uniform(math.log(5.0), math.log(60.0)))
    grain_px = torch.exp(uniform(math.log(1.5), math.log(20.0)))
    silhouettes = _silhouettes(xs, ys, grain_px, uniform, normal)
    pupils = _pupils(xs, ys, blur_px, uniform)
    shadow = _convolve(silhouettes, pupils)
    shadow = shadow / shadow.amax((1, 2), keepdim=True).clamp_min(1e-6)
    # Diffraction: a rim up to 40 % darker inside the edge and a faint bright halo outside (§7: rim 0-40 %, halo 0-3 %).
    rim = torch.where(uniform(0, 1) < 0.4, uniform(0, 0.4), torch.zeros(count))[:, None, None]
    rimmed = shadow + rim * (shadow - _soften(shadow, 5)) * 2
    shadow = (rimmed / rimmed.amax((1, 2), keepdim=True)).clamp_min(-0.03)
    # Directional shading: 30 % of spots tilt by up to half (§7).
    tilt = torch.where(uniform(0, 1) < 0.3, uniform(0, 0.5), torch.zeros(count))[:, None, None]
    angle = uniform(0, 2 * math.pi)[:, None, None]
    reach = (0.6 * torch.maximum(blur_px, grain_px))[:, None, None]
    along = (xs * torch.cos(angle) + ys * torch.sin(angle)) / reach
    shadow = shadow * (1 + tilt * along.clamp(-1, 1))
    shadow = shadow / shadow.amax((1, 2), keepdim=True)
    # Depth: log-uniform 1-60 %, with 60 % of spots in 3-20 % (§7).
    depth = torch.where(
        uniform(0, 1) < 0.6,
        torch.exp(uniform(math.log(0.03), math.log(0.20))),
        torch.exp(uniform(math.log(0.01), math.log(0.60))),
    )
    # Nearly grey: red and blue differ from green by a few percent of the depth (§7).
    red = (1 + 0.01 + 0.04 * normal()).clamp(0.85, 1.15)
    blue = (1 - 0.01 + 0.06 * normal()).clamp(0.85, 1.15)
    colour = torch.stack([red, torch.ones(count), blue], 1)
    return (shadow[:, None] * (depth[:, None] * colour)[:, :, None, None]).clamp(max=0.98)


def _silhouettes(xs: Tensor, ys: Tensor, grain_px: Tensor, uniform, normal) -> Tensor:
    """Outline each grain: radial Fourier blobs (specks, clumps), and thin curved fibres in about 6 %."""
    count = len(grain_px)
    angle = torch.atan2(ys, xs)[None]
    clump = uniform(0, 1) < 0.15
    roughness = torch.where(clump, uniform(0.15, 0.35), uniform(0.02, 0.18))
    radius = torch.ones(count, 1, 1).expand(count, *xs.shape).clone()
    for order in range(2, 7):
        amplitude = (roughness * normal() / order**0.7)[:, None, None]
        radius = radius + amplitude * torch.cos(order * angle + uniform(0, 2 * math.pi)[:, None, None])
    radius = (grain_px / 2)[:, None, None] * radius.clamp_min(0.25)
    distance = torch.hypot(xs, ys)[None]
    blobs = (radius - distance + 0.5).clamp(0, 1)
    fibre = torch.nonzero(uniform(0, 1) < 0.06).flatten()
    for index in fibre.tolist():
        blobs[index] = _fibre(xs, ys, uniform)
    return blobs


def _fibre(xs: Tensor, ys: Tensor, uniform) -> Tensor:
    """Draw one curved thread, 12 to 70 px long and 1 to 4 px wide (85-620 µm and 8-25 µm at common pitches)."""
    length, width, bend = uniform(12, 70, 1), uniform(1, 4, 1), uniform(-0.4, 0.4, 1)
    turn = uniform(0, 2 * math.pi, 1)
    along = torch.linspace(-0.5, 0.5, 32)
    px, py = along * length, bend * length * (along.square() - 0.08)
    cx = px * torch.cos(turn) - py * torch.sin(turn)
    cy = px * torch.sin(turn) + py * torch.cos(turn)
    nearest = ((xs[None] - cx[:, None, None]) ** 2 + (ys[None] - cy[:, None, None]) ** 2).amin(0).sqrt()
    return (width / 2 - nearest + 0.5).clamp(0, 1)


def _pupils(xs: Tensor, ys: Tensor, blur_px: Tensor, uniform) -> Tensor:
    """Image the pupil: a disc in 40 %, else 5 to 11 blades rounded by 0.3 to 1; off-axis ones up to 1.25 longer."""
    count = len(blur_px)
    turn = uniform(0, 2 * math.pi)[:, None, None]
    stretch = uniform(1.0, 1.25)[:, None, None].sqrt()
    xr = (xs * torch.cos(turn) + ys * torch.sin(turn)) / stretch
    yr = (ys * torch.cos(turn) - xs * torch.sin(turn)) * stretch
    blades = uniform(5, 12).floor()[:, None, None]
    roundness = torch.where(uniform(0, 1) < 0.4, torch.ones(count), uniform(0.3, 1.0))[:, None, None]
    sector = 2 * math.pi / blades
    off = torch.remainder(torch.atan2(yr, xr), sector) - sector / 2
    polygon = torch.cos(sector / 2) / torch.cos(off)
    edge = (blur_px / 2)[:, None, None] * (roundness + (1 - roundness) * polygon)
    return (edge - torch.hypot(xr, yr) + 0.5).clamp(0, 1)


def _convolve(a: Tensor, b: Tensor) -> Tensor:
    """Convolve two stacks of centred patches, keeping the middle (circular wrap stays outside the shadows)."""
    side = a.shape[-1]
    size = (2 * side, 2 * side)
    product = torch.fft.rfft2(a, s=size) * torch.fft.rfft2(b, s=size)
    full = torch.fft.irfft2(product, s=size)
    start = (side - 1) // 2
    return full[..., start : start + side, start : start + side]


def _soften(patches: Tensor, width_px: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(patches[:, None], width_px, 1, width_px // 2)[:, 0]


def _multiply_in(transmission: Tensor, shadow: Tensor, x: int, y: int) -> list[float] | None:
    """Multiply *shadow* into *transmission* (3, H, W), in place; return its box, None if it lies outside.

    The box is where the shadow is deeper than 30 % of its peak, cut at the crop's border.
    """
    size = transmission.shape[-1]
    half = PATCH_PX // 2
    left, top = x - half, y - half
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + PATCH_PX, size), min(top + PATCH_PX, size)
    part = shadow[:, y0 - top : y1 - top, x0 - left : x1 - left]
    transmission[:, y0:y1, x0:x1] *= 1 - part
    deep = part[1] > 0.3 * shadow[1].max()
    if not deep.any():
        return None
    rows, columns = torch.nonzero(deep.any(1)).flatten(), torch.nonzero(deep.any(0)).flatten()
    bx0, bx1 = x0 + int(columns[0]), x0 + int(columns[-1]) + 1
    by0, by1 = y0 + int(rows[0]), y0 + int(rows[-1]) + 1
    return [(bx0 + bx1) / 2, (by0 + by1) / 2, float(bx1 - bx0), float(by1 - by0)]
