"""Synthetic sensor dust: shadows drawn from the optics of grains that lie on the filter above a sensor.

A grain is drawn in µm, seen through a lens at an f-number, and becomes a shadow in px of the tile that the detector
looks at. Three quarters of the shadows are geometric, T = 1 - κ·[m ⊗ pupil] (facts §1.1), with a drawn rim and halo;
the rest are waves: the grain's Fresnel pattern |Fresnel{1 - m}|², averaged over wavelengths, convolved by the same
pupil. "Facts" and bare § are `facts/optics-and-evidence.md`, whose §7 lists the ranges; [J] marks our own judgement.

What the camera adds (veil, noise, mosaic) comes later, in exposing. Everything here is batched and runs on the
generator's device; there one seed gives the same dust again.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Generator, Tensor

from dustd.detector.detect import NARROWEST_PX, scales_for
from dustd.spots.optics import THINNEST_STACK_UM

KINDS = ("speck", "clump", "short fibre", "long fibre", "droplet ring")
SPECK, CLUMP, SHORT_FIBRE, LONG_FIBRE, RING = range(5)
KIND_SHARES = (0.80, 0.10, 0.05, 0.02, 0.03)  # §7
# Fibres have the most forms to learn, so crops to learn from hold twice as many [J].
TRAINING_SHARES = (0.73, 0.10, 0.10, 0.04, 0.03)

PATCH_PX = 128  # holds the widest shadow, grain and blur together
# Patches that shadows are drawn in, the smallest that holds each; waves, drawn at half a pixel, need room to spread.
SIDES_PX, WAVE_SIDES_PX = (32, 64, PATCH_PX), (48, 64)
SPOTS_MEAN = 14.0  # beside the first; dense supervision wants many [J]
BOX_LEVEL = 0.3  # a label's box holds what is deeper than this share of the peak
DEEPEST = 0.98  # some light always finds its way round
# The detector looks at a frame at full size and again at half (design §5). What is wider than this at full size is
# drawn at half, as that is the look which finds it.
FULL_SIZE_MAX_PX = 60.0
# Widths in the tile, log-uniform: what a 512-px tile with its overlap can show. Longer fibres are not drawn.
WIDTHS_PX, FIBRE_WIDTHS_PX, RING_WIDTHS_PX = (5.5, 62.0), (16.0, 92.0), (12.0, 62.0)
RING_DEPTHS = (0.03, 0.20)  # §7
# What is blurred wider than this at one scale is found at half of it.
WIDEST_BLUR_PX = 44.0
# Crops in which each spot has a lens of its own, as if nothing were known of the frame's.
MIXED_SHARE = 0.5
WAVE_SHARE = 0.25  # §7
# Blue, green and red take three wavelengths each of 440, 475 ... 650 nm; neighbours share one, as the dyes of a Bayer
# filter overlap [J]. §1.1 averages three per channel.
SHORTEST_UM, WAVELENGTH_STEP_UM, GREEN_UM = 0.44, 0.035, 0.545
# Rims, shading and waves make a faint shadow this much deeper than its geometric plateau (median of 3000 draws).
DEEPENING = 0.20

_ANGLES = 512  # samples of an outline around its middle
_POINTS = 96  # samples along a fibre
_CHUNK = 16  # shadows worked on together on a CPU: they stay in its cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Dust:
    """Dust for a batch of B crops: *transmission* (B, 3, H, W) float32, share of linear light that arrives, above 0
    and hardly above 1; per crop the spots' *boxes* (n, 4) as centre and size in px from its corner, and
    *attenuations* (n,), the greatest share of green light lost. *scale* (B,) int64: how many of the sensor's pixels
    each way make one of the crop's."""

    transmission: Tensor
    boxes: tuple[Tensor, ...]
    attenuations: tuple[Tensor, ...]
    scale: Tensor


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
        return torch.where(_is_fibre(self.kind), path_um, 2 * self.outline_um.amax(1)) / self.pitch_um

    @property
    def room_px(self) -> Tensor:
        """Side of the patch that holds the shadow, tile px."""
        return self.extent_px + 1.2 * self.blur_px + 6


def draw_dust(batch: int, size_px: int, generator: Generator, *, empty_share: float = 0.25) -> Dust:
    """Draw dust for *batch* crops of *size_px*: 1 + Poisson(SPOTS_MEAN) spots each, none in *empty_share* of them.

    Places are uniform, so spots overlap and are cut by the border as it happens. Shadows multiply, in linear light. A
    box is where the green shadow is deeper than 30 % of its peak, cut at the border; a spot without any such place in
    the crop has no label.

    In MIXED_SHARE of the crops each spot has a lens of its own, at full or half size: frames whose f-number is unknown
    are looked at so, whatever is in them. In the others one lens made all spots.
    """
    device = generator.device
    lenses = draw_lenses(batch, generator)
    mixed = _uniform(generator, 0, 1, batch) < MIXED_SHARE
    scale = torch.where(mixed, 1 + (_uniform(generator, 0, 1, batch) < 0.5).long(), lenses.scale)
    counts = 1 + torch.poisson(torch.full((batch,), SPOTS_MEAN, device=device), generator=generator).long()
    counts[_uniform(generator, 0, 1, batch) < empty_share] = 0
    crop = torch.repeat_interleave(torch.arange(batch, device=device), counts)
    centre = _uniform(generator, 0, size_px, len(crop), 2).long()
    spots = _joined(
        mixed[crop],
        lambda n: draw_spots(n, generator, shares=TRAINING_SHARES),
        lambda own: draw_spots_through(lenses.of(crop[own]), generator),
    )
    transmission = torch.ones(batch, 3, size_px, size_px, device=device)
    boxes = torch.zeros(len(crop), 4, device=device)
    attenuations = torch.zeros(len(crop), device=device)
    crops, centres = crop.tolist(), centre.tolist()
    for index, shadows in _cast_in_groups(spots):
        half = shadows.shape[-1] // 2
        for number, shadow in zip(index.tolist(), shadows, strict=True):
            left, top = centres[number][0] - half, centres[number][1] - half
            x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + 2 * half, size_px), min(top + 2 * half, size_px)
            part = shadow[:, y0 - top : y1 - top, x0 - left : x1 - left]
            transmission[crops[number], :, y0:y1, x0:x1] *= 1 - part
        boxes[index] = label_boxes(shadows[:, 1], centre[index] - half, size_px)
        attenuations[index] = shadows[:, 1].amax((1, 2))
    seen = boxes[:, 2] > 0
    numbers = torch.bincount(crop[seen], minlength=batch).tolist()
    return Dust(
        transmission=transmission,
        boxes=boxes[seen].split(numbers),
        attenuations=attenuations[seen].split(numbers),
        scale=scale,
    )


def _joined(first: Tensor, draw_first: Callable[[int], Spots], draw_rest: Callable[[Tensor], Spots]) -> Spots:
    """Draw spots in two ways, *first* (n,) bool telling which where, and lay them in one row."""
    ones, others = draw_first(int(first.sum())), draw_rest(~first)
    order = torch.cat([torch.nonzero(first).flatten(), torch.nonzero(~first).flatten()]).argsort()
    return Spots(**{f.name: torch.cat([getattr(ones, f.name), getattr(others, f.name)])[order] for f in fields(Spots)})


def draw_shadows(count: int, generator: Generator) -> Tensor:
    """Draw *count* shadows, (count, 3, PATCH_PX, PATCH_PX): share of linear light lost per channel, in the middle."""
    return cast_shadows(draw_spots(count, generator))


def cast_shadows(spots: Spots) -> Tensor:
    """Cast the shadows of n *spots*, (n, 3, PATCH_PX, PATCH_PX): share of linear light lost, negative where gained."""
    shadows = torch.zeros(len(spots.kind), 3, PATCH_PX, PATCH_PX, device=spots.kind.device)
    for index, group in _cast_in_groups(spots):
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


# --- What is drawn -------------------------------------------------------------------------------------------------


def draw_spots(
    count: int, generator: Generator, *, kind: int | None = None, shares: tuple[float, ...] = KIND_SHARES
) -> Spots:
    """Draw *count* grains and the lenses that they are seen through, all of one *kind* or in these *shares* of KINDS.

    The ranges of §7 alone give mostly wide and faint shadows. So depth and width are wished first: depth log-uniform
    over 1-60 % with 60 % of all in 3-20 %, 5 % opaque (60-100 %) and 5 % fainter (0.5-1 %), as §7 asks; width
    log-uniform. Each wish then takes, out of many free draws, the one that comes nearest.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return _uniform(generator, low, high, count, *shape)

    if kind is None:
        kinds = _draw_kinds(count, shares, generator)
    else:
        kinds = torch.full((count,), kind, device=generator.device)
    return _dressed(kinds, _pick(kinds, generator), generator)


def _draw_kinds(count: int, shares: tuple[float, ...], generator: Generator) -> Tensor:
    """Draw numbers of KINDS, (count,) long, in these *shares*."""
    bounds = torch.tensor(shares, device=generator.device).cumsum(0)
    return torch.bucketize(_uniform(generator, 0, 1, count), bounds[:-1], right=True)


def _dressed(kinds: Tensor, physics: dict[str, Tensor], generator: Generator, *, pupil: Tensor | None = None) -> Spots:
    """Give grains whose *physics* is decided everything else: outlines, colours, shading, the lens's *pupil*."""
    count = len(kinds)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return _uniform(generator, low, high, count, *shape)

    size_um, f_number = physics.pop("size_um"), physics["f_number"]
    outline_um = _outlines(kinds, size_um, generator) * ~_is_fibre(kinds)[:, None]
    # §7: A_R = A_G(1 + N(.01, .04)), A_B = A_G(1 + N(-.01, .06)), within 15 %, or 30 % if d < 2λN. Width ±2 %.
    limit = torch.where(size_um < 2 * GREEN_UM * f_number, 0.30, 0.15)[:, None]
    mean, deviation, drawn = torch.tensor(
        [[0.01, 0.0, -0.01], [0.04, 0.0, 0.06], [1.0, 0.0, 1.0]], device=generator.device
    )
    spots = Spots(
        kind=kinds,
        outline_um=outline_um,
        **physics,
        gain=uniform(0, 0.10),  # §7
        pupil=_pupils(f_number, generator) if pupil is None else pupil,
        wave=torch.zeros_like(kinds, dtype=torch.bool),
        rim=uniform(0, 0.4) * (kinds != RING),  # §7
        halo=uniform(0, 0.03),  # §7
        cast=(mean + deviation * _normal(generator, count, 3)).clamp(-limit, limit),
        growth=drawn * uniform(-0.02, 0.02, 3),
        psf_px=uniform(0.5, 0.9),  # §7
        tilt=uniform(0, 0.5) * (uniform(0, 1) < 0.30),  # §7
        crescent=uniform(0, 0.03) * (uniform(0, 1) < 0.10),  # §7
        turn=uniform(0, 2 * math.pi),
    )
    # Waves where they show: a wide blur smears them out. Three quarters of all spots are small.
    small = spots.room_px <= WAVE_SIDES_PX[-1]
    return replace(spots, wave=small & (kinds != RING) & (uniform(0, 1) < WAVE_SHARE / 0.75))


def draw_lenses(count: int, generator: Generator) -> Lenses:
    """Draw *count* cameras at an aperture each, and one of the two scales that each is looked at with (`optics`).

    Distances from grain to photodiodes as facts §1.5 found them, every second one log-uniform so that thin and thick
    stacks are learnt alike. Where the pupil's image is narrower than NARROWEST_PX or wider than WIDEST_BLUR_PX at one
    scale, the other one is taken, as that is the look which finds such dust.
    """
    device = generator.device
    stack_um = _spanned(generator, 2400.0, 0.45, 600.0, 4800.0, count)
    stack_um = stack_um[torch.randperm(count, generator=generator, device=device)]
    f_number = _f_numbers(count, generator)
    sensor_um = _uniform(generator, 3.2, 8.5, count)
    narrowest_px = THINNEST_STACK_UM / (f_number * sensor_um)
    first = torch.tensor([float(scales_for(width_px)[0]) for width_px in narrowest_px.tolist()], device=device)
    blur_px = stack_um / f_number / sensor_um / first
    half = (_uniform(generator, 0, 1, count) < 0.4) & (blur_px >= 2 * NARROWEST_PX) | (blur_px > WIDEST_BLUR_PX)
    scale = torch.where(half, 2 * first, first)
    return Lenses(
        pitch_um=sensor_um * scale,
        stack_um=stack_um,
        f_number=f_number,
        pupil=_pupils(f_number, generator),
        scale=scale.long(),
    )


def draw_spots_through(lenses: Lenses, generator: Generator) -> Spots:
    """Draw one grain for each of *lenses* (those of one frame repeat): its depth is wished, and its size follows.

    Kinds in TRAINING_SHARES; a fibre shorter than its blur, or a droplet too blurred to show a middle, is a speck.
    """
    count = len(lenses.scale)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return _uniform(generator, low, high, count, *shape)

    kinds = _draw_kinds(count, TRAINING_SHARES, generator)
    blur_um = lenses.stack_um / lenses.f_number
    room_um = (PATCH_PX - 8) * lenses.pitch_um - 1.2 * blur_um
    opacity = _opacities(count, generator)
    depth = _wish_depths(count, generator)
    # A = κ·min(1, (d/b)²) (§1.1), a little deeper as waves, rims and shading have it; what is to be deeper than κ is
    # wider than its blur.
    share = depth / (1 + DEEPENING * (1 - depth)) / opacity
    size_um = blur_um * torch.where(share < 1, share.sqrt(), uniform(1.0, 1.6))
    size_um = size_um.clamp(min=6.0, max=250.0).minimum(room_um / 1.7)
    length_um = torch.where(
        kinds == LONG_FIBRE, _log_uniform(generator, 420.0, 1760.0, count), _log_uniform(generator, 85.0, 620.0, count)
    )
    path_um = _paths(length_um, generator)
    extent_um = (path_um.amax(1) - path_um.amin(1)).amax(1)
    droplet_um = _log_uniform(generator, 60.0, 250.0, count)
    misfit = _is_fibre(kinds) & ((extent_um < blur_um) | (extent_um > room_um - 25.0))
    misfit |= (kinds == RING) & ((blur_um > 0.5 * droplet_um) | (1.3 * droplet_um > room_um))
    kinds = torch.where(misfit, SPECK, kinds)
    fibre, ring = _is_fibre(kinds), kinds == RING
    path_um *= fibre[:, None, None]
    size_um = torch.where(fibre, extent_um / 1.6, torch.where(ring, droplet_um, size_um))
    thickness_um = torch.where(ring, droplet_um * uniform(0.16, 0.33), uniform(8.0, 25.0)) * (fibre | ring)
    opacity = torch.where(ring, _log_uniform(generator, *RING_DEPTHS, count), opacity)
    physics = {
        "pitch_um": lenses.pitch_um,
        "stack_um": lenses.stack_um,
        "f_number": lenses.f_number,
        "size_um": size_um,
        "path_um": path_um,
        "thickness_um": thickness_um,
        "opacity": opacity,
    }
    return _dressed(kinds, physics, generator, pupil=lenses.pupil)


def _pick(kinds: Tensor, generator: Generator) -> dict[str, Tensor]:
    """Wish a depth and a width for each spot; give the physics of the free draw that comes nearest, by field."""
    physics: dict[str, Tensor] = {}
    for members, offer, depths, widths in (
        ((SPECK, CLUMP), functools.partial(_offer_grains, 2048), None, WIDTHS_PX),
        ((SHORT_FIBRE,), functools.partial(_offer_fibres, 192, SHORT_FIBRE), None, FIBRE_WIDTHS_PX),
        ((LONG_FIBRE,), functools.partial(_offer_fibres, 192, LONG_FIBRE), None, FIBRE_WIDTHS_PX),
        ((RING,), functools.partial(_offer_droplets, 192), RING_DEPTHS, RING_WIDTHS_PX),
    ):
        own = torch.nonzero(torch.isin(kinds, torch.tensor(members, device=kinds.device))).flatten()
        offered, depth, width_um, usable = offer(generator)
        # What is too wide at full size is seen at half, with pixels twice as wide.
        too_wide = width_um / offered["pitch_um"] > FULL_SIZE_MAX_PX
        offered["pitch_um"] = torch.where(too_wide, 2 * offered["pitch_um"], offered["pitch_um"])
        room_px = (1.6 * offered["size_um"] + 1.15 * offered["stack_um"] / offered["f_number"]) / offered["pitch_um"]
        far = 1e3 * ~(usable & (room_px < PATCH_PX - 6))
        ends = torch.stack([depth.log(), (width_um / offered["pitch_um"]).log() + far], 1)
        wished = _wish_depths(len(own), generator) if depths is None else _log_uniform(generator, *depths, len(own))
        wishes = torch.stack([wished, _log_uniform(generator, *widths, len(own))], 1).log()
        nearest = torch.cdist(wishes, ends).argmin(1)
        for name, values in offered.items():
            values = values[nearest]
            physics.setdefault(name, values.new_zeros(len(kinds), *values.shape[1:]))[own] = values
    return physics


def _wish_depths(count: int, generator: Generator) -> Tensor:
    """Wish depths as §7 does. Log-uniform over 1-60 % has 46 % in 3-20 %: a third more there makes 60 % of all."""
    share = _uniform(generator, 0, 1, count)
    depth = _log_uniform(generator, 0.01, 0.60, count)
    for above, low, high in ((0.56, 0.03, 0.20), (0.90, 0.60, 1.0), (0.95, 0.005, 0.01)):
        depth = torch.where(share > above, _log_uniform(generator, low, high, count), depth)
    return depth


# Each offer: the fields of Spots that physics decides and size_um, predicted depth, predicted width in µm of the
# sensor, and which draws may be used.
Offer = tuple[dict[str, Tensor], Tensor, Tensor, Tensor]


def _offer_grains(count: int, generator: Generator) -> Offer:
    """Offer specks and clumps: equivalent diameter log-normal, median 32 µm (§7)."""
    offered, blur_um = _offer_lenses(count, generator)
    size_um = _spanned(generator, 32.0, 0.6, 8.0, 150.0, count)
    opacity = _opacities(count, generator)
    plateau = opacity * (size_um / blur_um).square().clamp(max=1)  # A = κ·min(1, (d/b)²), §1.1
    depth = plateau * (1 + DEEPENING * (1 - plateau))
    path_um = torch.zeros(count, _POINTS, 2, device=generator.device)
    offered |= {"size_um": size_um, "path_um": path_um, "thickness_um": torch.zeros_like(size_um), "opacity": opacity}
    return offered, depth, torch.maximum(size_um, blur_um), size_um > 0


def _offer_fibres(count: int, kind: int, generator: Generator) -> Offer:
    """Offer curved threads: log-normal lengths within the 5th to 95th percentiles of §1.2, 8 to 25 µm thick (§7)."""
    median, sigma, low, high = (268.0, 0.6, 85.0, 620.0) if kind == SHORT_FIBRE else (789.0, 0.44, 420.0, 1760.0)
    offered, blur_um = _offer_lenses(count, generator)
    length_um = (median * torch.exp(sigma * _normal(generator, count))).clamp(low, high)
    path_um = _paths(length_um, generator)
    extent_um = (path_um.amax(1) - path_um.amin(1)).amax(1)
    thickness_um = _uniform(generator, 8.0, 25.0, count)
    opacity = _opacities(count, generator)
    # The thread crosses the pupil's image; one shorter than its blur is but another speck.
    depth = opacity * (thickness_um / (math.pi / 4 * blur_um)).clamp(max=1)
    # A fibre's ends are not as irregular as a grain's: `_pick` allows for 1.6 sizes.
    offered |= {
        "size_um": extent_um / 1.6,
        "path_um": path_um,
        "thickness_um": thickness_um,
        "opacity": opacity,
    }
    return offered, depth, extent_um + blur_um / 2, extent_um > blur_um


def _offer_droplets(count: int, generator: Generator) -> Offer:
    """Offer rings of 60 to 250 µm [J], the rim a sixth to a third of that [J], seen sharp enough to show a middle."""
    offered, blur_um = _offer_lenses(count, generator)
    size_um = _log_uniform(generator, 60.0, 250.0, count)
    thickness_um = size_um * _uniform(generator, 0.16, 0.33, count)
    opacity = _log_uniform(generator, *RING_DEPTHS, count)
    depth = opacity * (thickness_um / blur_um).clamp(max=1)
    path_um = torch.zeros(count, _POINTS, 2, device=generator.device)
    offered |= {"size_um": size_um, "path_um": path_um, "thickness_um": thickness_um, "opacity": opacity}
    return offered, depth, size_um, blur_um < 0.5 * size_um


def _offer_lenses(count: int, generator: Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Offer pixel pitches, filter distances and f-numbers (§7), and with them the blur t/N in µm."""
    stack_um = _spanned(generator, 1800.0, 0.35, 800.0, 3500.0, count)
    f_number = _f_numbers(count, generator)
    offered = {"pitch_um": _uniform(generator, 3.2, 6.5, count), "stack_um": stack_um, "f_number": f_number}
    return offered, stack_um / f_number


def _f_numbers(count: int, generator: Generator) -> Tensor:
    """Draw {2.8 … 32}, 75 % in the four stops f/5.6 to f/22, the rest in the other three (§7)."""
    inner, outer = _uniform(generator, 2, 6, count), torch.remainder(_uniform(generator, 6, 9, count), 7)
    return 2.8 * torch.exp2(torch.where(_uniform(generator, 0, 1, count) < 0.75, inner, outer) / 2)


def _opacities(count: int, generator: Generator) -> Tensor:
    """Draw κ: 70 % in .85-1, the rest in .3-.85 (§7)."""
    high, low = _uniform(generator, 0.85, 1.0, count), _uniform(generator, 0.3, 0.85, count)
    return torch.where(_uniform(generator, 0, 1, count) < 0.7, high, low)


def _spanned(generator: Generator, median: float, sigma: float, low: float, high: float, count: int) -> Tensor:
    """Draw log-normally, cut to a range, every second one log-uniform over it: rare wishes find a draw too."""
    draws = (median * torch.exp(sigma * _normal(generator, count))).clamp(low, high)
    draws[1::2] = _log_uniform(generator, low, high, count)[1::2]
    return draws


def _outlines(kinds: Tensor, size_um: Tensor, generator: Generator) -> Tensor:
    """Draw silhouettes as radius (µm) by angle, (n, 512): of equal area to a disc of *size_um*; rings nearly round."""
    count, device = len(kinds), kinds.device
    angle = _angles(device)
    # Stretch: exponential in its log, which has the median 1.14 and 95th percentile 1.75 of §7 and none below 1.
    stretch = torch.exp(-math.log(1.14) / math.log(2) * torch.log1p(-_uniform(generator, 0, 1, count, 1)))
    stretch = stretch.clamp(max=torch.where(kinds == RING, 1.15, 2.3)[:, None])
    radius = _ellipse(angle - _uniform(generator, 0, 2 * math.pi, count, 1), stretch)
    clump = torch.nonzero(kinds == CLUMP).flatten()
    radius[clump] = _lobes(angle, len(clump), generator)
    # Rough edge: Fourier in angle, orders 3 to 12, so rough that most circularities are §1.2's .54-.89.
    orders = torch.arange(3, 13, device=device)
    rough = torch.where(kinds == RING, 0.01, _uniform(generator, 0.025, 0.09, count))[:, None] * (3 / orders)
    turns = orders[:, None] * angle
    edge = (rough * _normal(generator, count, 10)) @ torch.cos(turns)
    edge = edge + (rough * _normal(generator, count, 10)) @ torch.sin(turns)
    radius = radius * (1 + edge).clamp(0.35, 2.0)
    return radius * (size_um / 2)[:, None] / radius.square().mean(1, keepdim=True).sqrt()


def _lobes(angle: Tensor, count: int, generator: Generator) -> Tensor:
    """Draw *count* clumps of 2 to 5 discs that touch the middle, as radius by angle, (count, 512), any unit."""
    number = _uniform(generator, 2, 6, count, 1).floor()
    there = (torch.arange(5, device=angle.device) < number)[..., None]
    away = _uniform(generator, 0.35, 1.0, count, 5, 1)
    disc = _uniform(generator, 0.4, 0.8, count, 5, 1)
    off = angle - _uniform(generator, 0, 2 * math.pi, count, 5, 1)
    inside = disc.square() - (away * torch.sin(off)).square()
    far_side = away * torch.cos(off) + inside.clamp_min(0).sqrt()
    return (far_side * (there & (inside > 0))).amax(1).clamp_min(0.3)


def _paths(length_um: Tensor, generator: Generator) -> Tensor:
    """Draw threads, (n, 96, 2) µm about the middle of their extent: a heading that wanders as it goes [J]."""
    count = len(length_um)
    along = torch.linspace(0, 1, _POINTS, device=length_um.device)
    phase = _uniform(generator, 0, 2 * math.pi, count, 4)
    # Longer threads curl more: about one radian in 200 µm, in ever shorter bends.
    wander = _normal(generator, count, 4) * (length_um / 200).sqrt()[:, None]
    heading = phase[:, :1] + wander[:, :1] * along
    for order in (1, 2, 3):
        swing = torch.sin(math.pi * (order + 1) * along + phase[:, order, None])
        heading = heading + wander[:, order, None] / (1 + order) * swing
    steps = torch.stack([torch.cos(heading), torch.sin(heading)], 2) * (length_um / _POINTS)[:, None, None]
    path = steps.cumsum(1)
    return path - (path.amax(1, keepdim=True) + path.amin(1, keepdim=True)) / 2


def _pupils(f_number: Tensor, generator: Generator) -> Tensor:
    """Draw pupils as radius by angle, (n, 512): 40 % discs, 60 % of 5 to 11 blades rounded by .3-1 (§7)."""
    count = len(f_number)
    angle = _angles(f_number.device)
    sector = 2 * math.pi / _uniform(generator, 5, 12, count, 1).floor()
    off = torch.remainder(angle - _uniform(generator, 0, 2 * math.pi, count, 1), sector) - sector / 2
    disc = _uniform(generator, 0, 1, count, 1) < 0.4
    roundness = torch.where(disc, 1.0, _uniform(generator, 0.3, 1.0, count, 1))
    radius = roundness + (1 - roundness) * torch.cos(sector / 2) / torch.cos(off)
    radius = radius / radius.square().mean(1, keepdim=True).sqrt()
    # Off the axis an ellipse (§7: 1-1.25); in wide lenses a cat's eye (§7: N < 5.6), cut by a second disc up to .35
    # pupils away [J].
    turned = angle - _uniform(generator, 0, 2 * math.pi, count, 1)
    radius = radius * _ellipse(turned, _uniform(generator, 1.0, 1.25, count, 1))
    shift = _uniform(generator, 0, 0.7, count, 1)
    cut = shift * torch.cos(turned) + (1 - (shift * torch.sin(turned)).square()).sqrt()
    return torch.where((f_number < 5.6)[:, None], torch.minimum(radius, cut), radius)


def _ellipse(angle: Tensor, stretch: Tensor) -> Tensor:
    """Radius by angle of an ellipse with this ratio of axes and the unit disc's area."""
    return (torch.cos(angle).square() / stretch + torch.sin(angle).square() * stretch).rsqrt()


def _is_fibre(kind: Tensor) -> Tensor:
    return (kind == SHORT_FIBRE) | (kind == LONG_FIBRE)


def _angles(device: torch.device) -> Tensor:
    return torch.arange(_ANGLES, device=device) * (2 * math.pi / _ANGLES)


def _uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator, device=generator.device)


def _log_uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.exp(_uniform(generator, math.log(low), math.log(high), *shape))


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, device=generator.device)


# --- How it is cast ------------------------------------------------------------------------------------------------


def _cast_in_groups(spots: Spots) -> Iterator[tuple[Tensor, Tensor]]:
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
    fibre = torch.nonzero(_is_fibre(spots.kind)).flatten()
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
    index = (torch.atan2(ys, xs) * (_ANGLES / 2 / math.pi)).round().long() % _ANGLES
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
