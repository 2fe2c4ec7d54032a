"""Grains of dust and the lenses that they are seen through: their shapes as numbers, in µm, and how they are drawn.

"Facts" and bare § are `facts/optics-and-evidence.md`, whose §7 lists the ranges; [J] marks our own judgement. All is
batched and on the generator's device.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from dustd.train import draws

KINDS = ("speck", "clump", "short fibre", "long fibre", "droplet ring")
SPECK, CLUMP, SHORT_FIBRE, LONG_FIBRE, RING = range(5)
ANGLES = 512  # samples of an outline around its middle
POINTS = 96  # samples along a fibre


@dataclass(frozen=True, slots=True, kw_only=True)
class Lenses:
    """n cameras as they stood when a frame was taken, and the scale that the detector looks at it with: tensors (n,)
    float32 unless said. All spots of a frame share them, the pupil's polygon, too (facts §1.5)."""

    pitch_um: Tensor  # of a tile's pixel: the sensor's times the scale
    stack_um: Tensor
    f_number: Tensor
    pupil: Tensor  # (n, 512)
    scale: Tensor  # int64

    @property
    def blur_px(self) -> Tensor:
        """Diameter of the pupil's image, tile px."""
        return self.stack_um / self.f_number / self.pitch_um

    def of(self, index: Tensor) -> "Lenses":
        """Give the lenses at *index*, one for each of a frame's spots."""
        return Lenses(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Spots:
    """n grains and how each is seen: tensors (n,) float32 unless said, angles in radians, all on one device."""

    kind: Tensor  # int64, index into KINDS
    outline_um: Tensor  # (n, 512) radius of the silhouette by angle about its middle; zero for fibres
    path_um: Tensor  # (n, 96, 2) middle line of a fibre; zero for others
    thickness_um: Tensor  # of a fibre, or of a ring's dark rim
    opacity: Tensor  # κ, share of light that the grain stops
    gain: Tensor  # share of light that a droplet adds in its middle
    pitch_um: Tensor  # a tile's pixel: the sensor's, or two of them at half size
    stack_um: Tensor  # air-equivalent distance t from grain to photodiodes
    f_number: Tensor
    pupil: Tensor  # (n, 512) radius of the pupil by angle; 1 is the radius that the f-number says
    wave: Tensor  # bool: by Fresnel, else geometric
    rim: Tensor  # geometric only: how much darker the rim is than the middle
    halo: Tensor  # geometric only: how bright its surroundings may be, share of light
    cast: Tensor  # (n, 3) attenuation relative to green's, less 1; geometric only
    growth: Tensor  # (n, 3) width relative to green's, less 1; geometric only
    psf_px: Tensor  # sigma of what else blurs: lens, low-pass filter, demosaicing
    tilt: Tensor  # difference of depth across the spot, share of depth
    crescent: Tensor  # bright edge on one side, share of light
    turn: Tensor  # direction of both

    @property
    def blur_px(self) -> Tensor:
        """Diameter of the pupil's image, tile px: b = t/N (§1.1)."""
        return self.stack_um / self.f_number / self.pitch_um

    @property
    def extent_px(self) -> Tensor:
        """Greatest width of the grain itself, tile px."""
        path_um = (self.path_um.amax(1) - self.path_um.amin(1)).amax(1) + self.thickness_um
        return torch.where(is_fibre(self.kind), path_um, 2 * self.outline_um.amax(1)) / self.pitch_um

    @property
    def room_px(self) -> Tensor:
        """Side of the patch that holds the shadow, tile px."""
        return self.extent_px + 1.2 * self.blur_px + 6


def outlines(kinds: Tensor, size_um: Tensor, generator: Generator) -> Tensor:
    """Draw silhouettes as radius (µm) by angle, (n, 512): of equal area to a disc of *size_um*; rings nearly round."""
    count, device = len(kinds), kinds.device
    angle = _angles(device)
    # Stretch: exponential in its log, which has the median 1.14 and 95th percentile 1.75 of §7 and none below 1.
    stretch = torch.exp(-math.log(1.14) / math.log(2) * torch.log1p(-draws.uniform(generator, 0, 1, count, 1)))
    stretch = stretch.clamp(max=torch.where(kinds == RING, 1.15, 2.3)[:, None])
    radius = _ellipse(angle - draws.uniform(generator, 0, 2 * math.pi, count, 1), stretch)
    clump = torch.nonzero(kinds == CLUMP).flatten()
    radius[clump] = _lobes(angle, len(clump), generator)
    # Rough edge: Fourier in angle, orders 3 to 12, so rough that most circularities are §1.2's .54-.89.
    orders = torch.arange(3, 13, device=device)
    rough = torch.where(kinds == RING, 0.01, draws.uniform(generator, 0.025, 0.09, count))[:, None] * (3 / orders)
    turns = orders[:, None] * angle
    edge = (rough * draws.normal(generator, count, 10)) @ torch.cos(turns)
    edge = edge + (rough * draws.normal(generator, count, 10)) @ torch.sin(turns)
    radius = radius * (1 + edge).clamp(0.35, 2.0)
    return radius * (size_um / 2)[:, None] / radius.square().mean(1, keepdim=True).sqrt()


def _lobes(angle: Tensor, count: int, generator: Generator) -> Tensor:
    """Draw *count* clumps of 2 to 5 discs that touch the middle, as radius by angle, (count, 512), any unit."""
    number = draws.uniform(generator, 2, 6, count, 1).floor()
    there = (torch.arange(5, device=angle.device) < number)[..., None]
    away = draws.uniform(generator, 0.35, 1.0, count, 5, 1)
    disc = draws.uniform(generator, 0.4, 0.8, count, 5, 1)
    off = angle - draws.uniform(generator, 0, 2 * math.pi, count, 5, 1)
    inside = disc.square() - (away * torch.sin(off)).square()
    far_side = away * torch.cos(off) + inside.clamp_min(0).sqrt()
    return (far_side * (there & (inside > 0))).amax(1).clamp_min(0.3)


def paths(length_um: Tensor, generator: Generator) -> Tensor:
    """Draw threads, (n, 96, 2) µm about the middle of their extent: a heading that wanders as it goes [J]."""
    count = len(length_um)
    along = torch.linspace(0, 1, POINTS, device=length_um.device)
    phase = draws.uniform(generator, 0, 2 * math.pi, count, 4)
    # Longer threads curl more: about one radian in 200 µm, in ever shorter bends.
    wander = draws.normal(generator, count, 4) * (length_um / 200).sqrt()[:, None]
    heading = phase[:, :1] + wander[:, :1] * along
    for order in (1, 2, 3):
        swing = torch.sin(math.pi * (order + 1) * along + phase[:, order, None])
        heading = heading + wander[:, order, None] / (1 + order) * swing
    steps = torch.stack([torch.cos(heading), torch.sin(heading)], 2) * (length_um / POINTS)[:, None, None]
    path = steps.cumsum(1)
    return path - (path.amax(1, keepdim=True) + path.amin(1, keepdim=True)) / 2


def pupils(f_number: Tensor, generator: Generator) -> Tensor:
    """Draw pupils as radius by angle, (n, 512): 40 % discs, 60 % of 5 to 11 blades rounded by .3-1 (§7)."""
    count = len(f_number)
    angle = _angles(f_number.device)
    sector = 2 * math.pi / draws.uniform(generator, 5, 12, count, 1).floor()
    off = torch.remainder(angle - draws.uniform(generator, 0, 2 * math.pi, count, 1), sector) - sector / 2
    disc = draws.uniform(generator, 0, 1, count, 1) < 0.4
    roundness = torch.where(disc, 1.0, draws.uniform(generator, 0.3, 1.0, count, 1))
    radius = roundness + (1 - roundness) * torch.cos(sector / 2) / torch.cos(off)
    radius = radius / radius.square().mean(1, keepdim=True).sqrt()
    # Off the axis an ellipse (§7: 1-1.25); in wide lenses a cat's eye (§7: N < 5.6), cut by a second disc up to .35
    # pupils away [J].
    turned = angle - draws.uniform(generator, 0, 2 * math.pi, count, 1)
    radius = radius * _ellipse(turned, draws.uniform(generator, 1.0, 1.25, count, 1))
    shift = draws.uniform(generator, 0, 0.7, count, 1)
    cut = shift * torch.cos(turned) + (1 - (shift * torch.sin(turned)).square()).sqrt()
    return torch.where((f_number < 5.6)[:, None], torch.minimum(radius, cut), radius)


def _ellipse(angle: Tensor, stretch: Tensor) -> Tensor:
    """Radius by angle of an ellipse with this ratio of axes and the unit disc's area."""
    return (torch.cos(angle).square() / stretch + torch.sin(angle).square() * stretch).rsqrt()


def is_fibre(kind: Tensor) -> Tensor:
    """Tell fibres, short or long, among numbers of KINDS."""
    return (kind == SHORT_FIBRE) | (kind == LONG_FIBRE)


def _angles(device: torch.device) -> Tensor:
    return torch.arange(ANGLES, device=device) * (2 * math.pi / ANGLES)
