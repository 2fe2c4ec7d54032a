"""The shadows that grains cast on the sensor, from the optics (facts §1.1), and the boxes that labels give them.

Three quarters of the shadows are geometric, T = 1 - κ·[m ⊗ pupil], with a rim and a halo; the rest are waves: the
grain's Fresnel pattern |Fresnel{1 - m}|², averaged over wavelengths, convolved by the same pupil. Draws nothing.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import fields

import torch
from torch import Tensor

from dustd.train.grains import ANGLES, RING, Spots, is_fibre

PATCH_PX = 128  # holds the widest shadow, grain and blur together
# Patches that shadows are drawn in, the smallest that holds each; waves, drawn at half a pixel, need room to spread.
SIDES_PX, WAVE_SIDES_PX = (32, 64, PATCH_PX), (48, 64)
BOX_LEVEL = 0.3  # a label's box holds what is deeper than this share of the peak
DEEPEST = 0.98  # some light always finds its way round
# Blue, green and red take three wavelengths each of 440, 475 ... 650 nm; neighbours share one, as the dyes of a Bayer
# filter overlap [J]. §1.1 averages three per channel.
SHORTEST_UM, WAVELENGTH_STEP_UM, GREEN_UM = 0.44, 0.035, 0.545
_CHUNK = 16  # shadows worked on together on a CPU: they stay in its cache


def cast_shadows(spots: Spots) -> Tensor:
    """Cast the shadows of n *spots*, (n, 3, PATCH_PX, PATCH_PX): share of linear light lost, negative where gained."""
    shadows = torch.zeros(len(spots.kind), 3, PATCH_PX, PATCH_PX, device=spots.kind.device)
    for index, group in cast_in_groups(spots):
        edge = (PATCH_PX - group.shape[-1]) // 2
        shadows[index, :, edge : PATCH_PX - edge, edge : PATCH_PX - edge] = group
    return shadows


def label_boxes(green: Tensor, corner: Tensor, size_px: int) -> Tensor:
    """Give (n, 4) centre and size in px of where *green* (n, S, S) is deeper than BOX_LEVEL of its peak, inside a crop.

    *corner* (n, 2) long is x, y of each patch's first pixel in the crop of *size_px*. All zero where nothing is seen.
    """
    axis = corner[..., None] + torch.arange(green.shape[-1], device=green.device)
    inside = (axis >= 0) & (axis < size_px)
    deep = green > BOX_LEVEL * green.amax((1, 2), keepdim=True)
    deep &= inside[:, 1, :, None] & inside[:, 0, None, :]
    along = torch.stack([deep.any(1), deep.any(2)], 1).byte()  # columns for x, rows for y
    first = along.argmax(2)
    last = green.shape[-1] - along.flip(2).argmax(2)
    boxes = torch.cat([corner + (first + last) / 2, (last - first).float()], 1)
    return boxes * along.any(2).all(1)[:, None]


def cast_in_groups(spots: Spots) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield indices (k,) of spots and their shadows (k, 3, S, S), S being the smallest side that holds them."""
    room_px = spots.room_px
    most = _CHUNK if spots.kind.device.type == "cpu" else 1024
    for wanted, sides, draw in ((~spots.wave, SIDES_PX, _geometric), (spots.wave, WAVE_SIDES_PX, _diffracted)):
        smaller = 0
        for side in sides:
            # What is too wide for the widest ends softly at its border.
            chosen = wanted & (room_px > smaller) & ((room_px <= side) | (side == sides[-1]))
            smaller = side
            for index in torch.nonzero(chosen).flatten().split(most):
                if len(index):
                    part = Spots(**{field.name: getattr(spots, field.name)[index] for field in fields(spots)})
                    yield index, _finish(draw(part, side), part)


def _geometric(spots: Spots, side: int) -> Tensor:
    """Convolve silhouette, pupil and point spread, and sharpen the edge to a rim: (n, 1, side, side) of light lost."""
    # The rim is as wide as the first Fresnel zone, √(λt), and a halo lies outside it.
    zone_px = 0.5 * (GREEN_UM * spots.stack_um).sqrt() / spots.pitch_um
    sharpened = 1 + 4 * spots.rim[:, None, None] * (1 - _gaussian(side, zone_px))
    spectrum = torch.fft.rfft2(_silhouettes(spots, side, spots.pitch_um))
    spectrum *= torch.fft.rfft2(_pupil_images(spots, side, spots.pitch_um)) * (
        _gaussian(side, spots.psf_px) * sharpened
    )
    shadow = torch.fft.irfft2(spectrum, s=(side, side))
    return (shadow * spots.opacity[:, None, None])[:, None]


def _diffracted(spots: Spots, side_px: int) -> Tensor:
    """Propagate light past the silhouette to the photodiodes, then blur as before: (n, 3, side_px, side_px).

    T = mean over λ of |Fresnel{1 - m}|² ⊗ pupil ⊗ pixel (§1.1), sampled at half a pixel and then averaged over pixels.
    A translucent grain of opacity κ leaves an amplitude of √(1 - κ), so that it stops κ of the light.
    """
    side = 2 * side_px
    step_um = spots.pitch_um / 2
    blurred = torch.fft.rfft2(_pupil_images(spots, side, step_um)) * _gaussian(side, 2 * spots.psf_px)
    silhouette = torch.fft.fft2(_silhouettes(spots, side, step_um).to(torch.complex64))
    silhouette *= (1 - (1 - spots.opacity).clamp_min(0).sqrt())[:, None, None]
    turns = -math.pi * spots.stack_um / step_um.square()
    frequency = torch.fft.fftfreq(side, device=turns.device).square()

    def chirp(wavelength_um: float) -> Tensor:
        phase = turns[:, None] * wavelength_um * frequency
        half = torch.polar(torch.ones_like(phase), phase)
        return half[:, :, None] * half[:, None, :]

    silhouette *= chirp(SHORTEST_UM)
    longer = chirp(WAVELENGTH_STEP_UM)
    lost = torch.zeros(len(turns), 3, side, side, device=turns.device)
    for number in range(7):
        wave = torch.fft.ifft2(silhouette)
        silhouette *= longer
        one = 2 * wave.real
        one.addcmul_(wave.real, wave.real, value=-1).addcmul_(wave.imag, wave.imag, value=-1)
        for channel in {number // 2, (number - 1) // 2} & {0, 1, 2}:
            lost[:, 2 - channel] += one
    shadow = torch.fft.irfft2(torch.fft.rfft2(lost) * (blurred / 3)[:, None], s=(side, side))
    rows = shadow[..., 0::2, :] + shadow[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]) / 4


def _finish(lost: Tensor, spots: Spots) -> Tensor:
    """Give shadows (n, 1 or 3, S, S) their shading, crescent, colours and a soft end: (n, 3, S, S)."""
    side, device = lost.shape[-1], lost.device
    xs, ys, window = _frame(side, device)
    if lost.shape[1] == 1:
        green = torch.maximum(lost[:, 0], -spots.halo[:, None, None])
        # The cast fades as the spot gets opaque: what stops all light stops every colour.
        tinted = green * (1 - green)
        # A shadow wider by a share s is S(x / (1 + s)) ≈ S - s·(x·∇S).
        down, right = _slopes(green)
        outwards = right * xs + down * ys
        lost = green[:, None].repeat(1, 3, 1, 1)
        for channel in (0, 2):
            lost[:, channel].addcmul_(spots.cast[:, channel, None, None], tinted)
            lost[:, channel].addcmul_(spots.growth[:, channel, None, None], outwards, value=-1)
    cos, sin = torch.cos(spots.turn)[:, None, None], torch.sin(spots.turn)[:, None, None]
    shaded = torch.nonzero(spots.tilt).flatten()
    if len(shaded):
        reach = 0.5 * (spots.blur_px + spots.extent_px)[shaded, None, None]
        along = (xs * cos[shaded] + ys * sin[shaded]) / reach
        lost[shaded] *= (1 + 0.5 * spots.tilt[shaded, None, None] * along.clamp(-1, 1))[:, None]
    lit = torch.nonzero(spots.crescent).flatten()
    if len(lit):
        down, right = _slopes(lost[lit, 1])
        edge = (right * cos[lit] + down * sin[lit]).clamp_min(0)
        edge = edge / edge.amax((1, 2), keepdim=True).clamp_min(1e-6)
        lost[lit] -= (spots.crescent[lit, None, None] * edge)[:, None]
    return lost.mul_(window).clamp_(max=DEEPEST)


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Differences per px down and right of (n, S, S), zero on the border."""
    down, right = torch.zeros_like(image), torch.zeros_like(image)
    torch.sub(image[:, 2:], image[:, :-2], out=down[:, 1:-1]).mul_(0.5)
    torch.sub(image[:, :, 2:], image[:, :, :-2], out=right[:, :, 1:-1]).mul_(0.5)
    return down, right


def _silhouettes(spots: Spots, side: int, step_um: Tensor) -> Tensor:
    """Draw what each grain covers, (n, side, side), in samples of *step_um* (n,); a droplet's middle adds light."""
    device = step_um.device
    xs, ys, _ = _frame(side, device)
    index, distance = _polar(side, device, 0.5)
    outline = spots.outline_um / step_um[:, None]
    cover = _fill(outline, index, distance)
    # Coarse samples of a small grain are made to cover what it covers.
    cover *= (math.pi * outline.square().mean(1) / cover.sum((1, 2)).clamp_min(1e-6))[:, None, None]
    ring = torch.nonzero(spots.kind == RING).flatten()
    if len(ring):
        inner = (outline[ring] - (spots.thickness_um / step_um)[ring, None]).clamp_min(0)
        bright = 1 + (spots.gain / spots.opacity)[ring, None, None]
        cover[ring] -= bright * _fill(inner, index, distance)
    fibre = torch.nonzero(is_fibre(spots.kind)).flatten()
    if len(fibre):
        path = spots.path_um[fibre] / step_um[fibre, None, None]
        thickness = (spots.thickness_um / step_um)[fibre, None, None]
        # Squared distance to the path as a soft minimum over its points, spaced by *gap*: Σ exp(-d²/2s²) factors into
        # a product of matrices, and on a straight line is √(2π)·s/gap of the nearest one's.
        gap = (path[:, 1:] - path[:, :-1]).norm(dim=2).mean(1).clamp_min(1e-3)
        sigma = gap.clamp_min(1.0)
        scale = (-0.5 / sigma.square())[:, None, None]
        columns = torch.exp(scale * (xs[0] - path[..., :1]).square())
        rows = torch.exp(scale * (ys[:, 0] - path[..., 1:]).square())
        near = torch.bmm(rows.transpose(1, 2), columns) * (gap / sigma / math.sqrt(2 * math.pi))[:, None, None]
        distance = (torch.log(near.clamp_min(1e-30)) / scale).clamp_min(0).sqrt()
        cover[fibre] = (thickness / 2 - distance + 0.5).clamp(0, 1)
    return cover


def _pupil_images(spots: Spots, side: int, step_um: Tensor) -> Tensor:
    """Draw each pupil's image, (n, side, side), sum 1, its centre at the first sample so that nothing is shifted."""
    radius = spots.pupil * (spots.stack_um / spots.f_number / step_um / 2)[:, None]
    cover = _fill(radius, *_polar(side, step_um.device, 0.0))
    return cover / cover.sum((1, 2), keepdim=True)


def _fill(radius: Tensor, index: Tensor, distance: Tensor) -> Tensor:
    """Fill outlines *radius* (n, 512), in samples: cover 0 to 1, (n, side, side)."""
    edge = radius.index_select(1, index).view(-1, *distance.shape)
    return edge.sub_(distance).add_(0.5).clamp_(0, 1)


@functools.cache
def _polar(side: int, device: torch.device, offset: float) -> tuple[Tensor, Tensor]:
    """Give each sample's outline index and its distance; *offset* 0.5: about the middle, 0: about the first sample."""
    axis = torch.arange(side, device=device)
    axis = axis - (side - 1) / 2 if offset else torch.remainder(axis + side // 2, side) - side // 2
    ys, xs = torch.meshgrid(axis.float(), axis.float(), indexing="ij")
    index = (torch.atan2(ys, xs) * (ANGLES / 2 / math.pi)).round().long() % ANGLES
    return index.flatten(), torch.hypot(xs, ys)


@functools.cache
def _frame(side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Give x and y of each sample from the middle, and a window that falls to zero over the last 6 samples."""
    axis = torch.arange(side, device=device) - (side - 1) / 2
    edge = ((side / 2 - axis.abs()) / 6).clamp(max=1)
    edge = edge * edge * (3 - 2 * edge)
    ys, xs = torch.meshgrid(axis, axis, indexing="ij")
    return xs, ys, edge[:, None] * edge


def _gaussian(side: int, sigma: Tensor) -> Tensor:
    """Transform of Gaussians of *sigma* (n,) samples, as rfft2 lays it out: (n, side, side // 2 + 1)."""
    across = torch.fft.fftfreq(side, device=sigma.device)
    profile = torch.exp(-2 * (math.pi * sigma[:, None] * across).square())
    return profile[:, :, None] * profile[:, None, : side // 2 + 1]
