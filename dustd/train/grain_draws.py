"""Which grains and lenses are drawn: kinds, depths and widths as training wants them, the rest as nature has it.

The ranges of facts §7 (bare § below, `facts/optics-and-evidence.md`) alone give mostly wide and faint shadows, so what
is seen is wished first, and the physics follows. [J] marks our own judgement. One seed gives the same again.
"""

import functools
import math
from dataclasses import replace

import torch
from torch import Generator, Tensor

from dustd.detector.detect import scales_for
from dustd.spots.optics import STACK_UM
from dustd.train import draws
from dustd.train.grains import (
    CLUMP,
    LONG_FIBRE,
    POINTS,
    RING,
    SHORT_FIBRE,
    SPECK,
    Lenses,
    Spots,
    is_fibre,
    outlines,
    paths,
    pupils,
)
from dustd.train.shadows import GREEN_UM, PATCH_PX, WAVE_SIDES_PX

KIND_SHARES = (0.80, 0.10, 0.05, 0.02, 0.03)  # §7
# Fibres have the most forms to learn, so crops to learn from hold twice as many [J].
TRAINING_SHARES = (0.73, 0.10, 0.10, 0.04, 0.03)
# The detector looks at a frame at full size and again at half (design §5). What is wider than this at full size is
# drawn at half, as that is the look which finds it.
FULL_SIZE_MAX_PX = 60.0
# Widths in the tile, log-uniform: what a 512-px tile with its overlap can show. Longer fibres are not drawn.
WIDTHS_PX, FIBRE_WIDTHS_PX, RING_WIDTHS_PX = (5.5, 62.0), (16.0, 92.0), (12.0, 62.0)
RING_DEPTHS = (0.03, 0.20)  # §7
# What is blurred wider than this at one scale is found at half of it.
WIDEST_BLUR_PX = 44.0
# What is blurred narrower than this at one scale is not found at half of it.
NARROWEST_PX = 4.0
WAVE_SHARE = 0.25  # §7
# Rims, shading and waves make a faint shadow this much deeper than its geometric plateau (median of 3000 draws).
DEEPENING = 0.20


def draw_spots(
    count: int, generator: Generator, *, kind: int | None = None, shares: tuple[float, ...] = KIND_SHARES
) -> Spots:
    """Draw *count* grains and the lenses that they are seen through, all of one *kind* or in these *shares* of KINDS.

    The ranges of §7 alone give mostly wide and faint shadows. So depth and width are wished first: depth log-uniform
    over 1-60 % with 60 % of all in 3-20 %, 5 % opaque (60-100 %) and 5 % fainter (0.5-1 %), as §7 asks; width
    log-uniform. Each wish then takes, out of many free draws, the one that comes nearest.
    """
    if kind is None:
        kinds = _draw_kinds(count, shares, generator)
    else:
        kinds = torch.full((count,), kind, device=generator.device)
    return _dressed(kinds, _pick(kinds, generator), generator)


def _draw_kinds(count: int, shares: tuple[float, ...], generator: Generator) -> Tensor:
    """Draw numbers of KINDS, (count,) long, in these *shares*."""
    bounds = torch.tensor(shares, device=generator.device).cumsum(0)
    return torch.bucketize(draws.uniform(generator, 0, 1, count), bounds[:-1], right=True)


def _dressed(kinds: Tensor, physics: dict[str, Tensor], generator: Generator, *, pupil: Tensor | None = None) -> Spots:
    """Give grains whose *physics* is decided everything else: outlines, colours, shading, the lens's *pupil*."""
    count = len(kinds)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return draws.uniform(generator, low, high, count, *shape)

    size_um, f_number = physics.pop("size_um"), physics["f_number"]
    outline_um = outlines(kinds, size_um, generator) * ~is_fibre(kinds)[:, None]
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
        pupil=pupils(f_number, generator) if pupil is None else pupil,
        wave=torch.zeros_like(kinds, dtype=torch.bool),
        rim=uniform(0, 0.4) * (kinds != RING),  # §7
        halo=uniform(0, 0.03),  # §7
        cast=(mean + deviation * draws.normal(generator, count, 3)).clamp(-limit, limit),
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
    stack_um = draws.spanned(generator, 2400.0, 0.45, 600.0, 4800.0, count)
    stack_um = stack_um[torch.randperm(count, generator=generator, device=device)]
    f_number = _f_numbers(count, generator)
    sensor_um = draws.uniform(generator, 3.2, 8.5, count)
    typical_px = STACK_UM / (f_number * sensor_um)
    first = torch.tensor([float(scales_for(width_px)[0]) for width_px in typical_px.tolist()], device=device)
    blur_px = stack_um / f_number / sensor_um / first
    half = (draws.uniform(generator, 0, 1, count) < 0.4) & (blur_px >= 2 * NARROWEST_PX) | (blur_px > WIDEST_BLUR_PX)
    scale = torch.where(half, 2 * first, first)
    return Lenses(
        pitch_um=sensor_um * scale,
        stack_um=stack_um,
        f_number=f_number,
        pupil=pupils(f_number, generator),
        scale=scale.long(),
    )


def draw_spots_through(lenses: Lenses, generator: Generator) -> Spots:
    """Draw one grain for each of *lenses* (those of one frame repeat): its depth is wished, and its size follows.

    Kinds in TRAINING_SHARES; a fibre shorter than its blur, or a droplet too blurred to show a middle, is a speck.
    """
    count = len(lenses.scale)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return draws.uniform(generator, low, high, count, *shape)

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
        kinds == LONG_FIBRE,
        draws.log_uniform(generator, 420.0, 1760.0, count),
        draws.log_uniform(generator, 85.0, 620.0, count),
    )
    path_um = paths(length_um, generator)
    extent_um = (path_um.amax(1) - path_um.amin(1)).amax(1)
    droplet_um = draws.log_uniform(generator, 60.0, 250.0, count)
    misfit = is_fibre(kinds) & ((extent_um < blur_um) | (extent_um > room_um - 25.0))
    misfit |= (kinds == RING) & ((blur_um > 0.5 * droplet_um) | (1.3 * droplet_um > room_um))
    kinds = torch.where(misfit, SPECK, kinds)
    fibre, ring = is_fibre(kinds), kinds == RING
    path_um *= fibre[:, None, None]
    size_um = torch.where(fibre, extent_um / 1.6, torch.where(ring, droplet_um, size_um))
    thickness_um = torch.where(ring, droplet_um * uniform(0.16, 0.33), uniform(8.0, 25.0)) * (fibre | ring)
    opacity = torch.where(ring, draws.log_uniform(generator, *RING_DEPTHS, count), opacity)
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
        wished = (
            _wish_depths(len(own), generator) if depths is None else draws.log_uniform(generator, *depths, len(own))
        )
        wishes = torch.stack([wished, draws.log_uniform(generator, *widths, len(own))], 1).log()
        nearest = torch.cdist(wishes, ends).argmin(1)
        for name, values in offered.items():
            values = values[nearest]
            physics.setdefault(name, values.new_zeros(len(kinds), *values.shape[1:]))[own] = values
    return physics


def _wish_depths(count: int, generator: Generator) -> Tensor:
    """Wish depths as §7 does. Log-uniform over 1-60 % has 46 % in 3-20 %: a third more there makes 60 % of all."""
    share = draws.uniform(generator, 0, 1, count)
    depth = draws.log_uniform(generator, 0.01, 0.60, count)
    for above, low, high in ((0.56, 0.03, 0.20), (0.90, 0.60, 1.0), (0.95, 0.005, 0.01)):
        depth = torch.where(share > above, draws.log_uniform(generator, low, high, count), depth)
    return depth


# Each offer: the fields of Spots that physics decides and size_um, predicted depth, predicted width in µm of the
# sensor, and which draws may be used.
Offer = tuple[dict[str, Tensor], Tensor, Tensor, Tensor]


def _offer_grains(count: int, generator: Generator) -> Offer:
    """Offer specks and clumps: equivalent diameter log-normal, median 32 µm (§7)."""
    offered, blur_um = _offer_lenses(count, generator)
    size_um = draws.spanned(generator, 32.0, 0.6, 8.0, 150.0, count)
    opacity = _opacities(count, generator)
    plateau = opacity * (size_um / blur_um).square().clamp(max=1)  # A = κ·min(1, (d/b)²), §1.1
    depth = plateau * (1 + DEEPENING * (1 - plateau))
    path_um = torch.zeros(count, POINTS, 2, device=generator.device)
    offered |= {"size_um": size_um, "path_um": path_um, "thickness_um": torch.zeros_like(size_um), "opacity": opacity}
    return offered, depth, torch.maximum(size_um, blur_um), size_um > 0


def _offer_fibres(count: int, kind: int, generator: Generator) -> Offer:
    """Offer curved threads: log-normal lengths within the 5th to 95th percentiles of §1.2, 8 to 25 µm thick (§7)."""
    median, sigma, low, high = (268.0, 0.6, 85.0, 620.0) if kind == SHORT_FIBRE else (789.0, 0.44, 420.0, 1760.0)
    offered, blur_um = _offer_lenses(count, generator)
    length_um = (median * torch.exp(sigma * draws.normal(generator, count))).clamp(low, high)
    path_um = paths(length_um, generator)
    extent_um = (path_um.amax(1) - path_um.amin(1)).amax(1)
    thickness_um = draws.uniform(generator, 8.0, 25.0, count)
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
    size_um = draws.log_uniform(generator, 60.0, 250.0, count)
    thickness_um = size_um * draws.uniform(generator, 0.16, 0.33, count)
    opacity = draws.log_uniform(generator, *RING_DEPTHS, count)
    depth = opacity * (thickness_um / blur_um).clamp(max=1)
    path_um = torch.zeros(count, POINTS, 2, device=generator.device)
    offered |= {"size_um": size_um, "path_um": path_um, "thickness_um": thickness_um, "opacity": opacity}
    return offered, depth, size_um, blur_um < 0.5 * size_um


def _offer_lenses(count: int, generator: Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Offer pixel pitches, filter distances and f-numbers (§7), and with them the blur t/N in µm."""
    stack_um = draws.spanned(generator, 1800.0, 0.35, 800.0, 3500.0, count)
    f_number = _f_numbers(count, generator)
    offered = {"pitch_um": draws.uniform(generator, 3.2, 6.5, count), "stack_um": stack_um, "f_number": f_number}
    return offered, stack_um / f_number


def _f_numbers(count: int, generator: Generator) -> Tensor:
    """Draw {2.8 … 32}, 75 % in the four stops f/5.6 to f/22, the rest in the other three (§7)."""
    inner, outer = draws.uniform(generator, 2, 6, count), torch.remainder(draws.uniform(generator, 6, 9, count), 7)
    return 2.8 * torch.exp2(torch.where(draws.uniform(generator, 0, 1, count) < 0.75, inner, outer) / 2)


def _opacities(count: int, generator: Generator) -> Tensor:
    """Draw κ: 70 % in .85-1, the rest in .3-.85 (§7)."""
    high, low = draws.uniform(generator, 0.85, 1.0, count), draws.uniform(generator, 0.3, 0.85, count)
    return torch.where(draws.uniform(generator, 0, 1, count) < 0.7, high, low)
