"""Synthetic sensor dust over training crops: shadows drawn from the optics of grains that lie on the filter.

A grain is drawn in µm (`dustd.train.grains`, `dustd.train.grain_draws`), seen through a lens at an f-number, and
becomes a shadow in px of the tile that the detector looks at (`dustd.train.shadows`); here shadows are laid over crops.
What the camera adds (veil, noise, mosaic) comes later, in exposing. Everything is batched and runs on the generator's
device; there one seed gives the same dust again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from dustd.train import draws
from dustd.train.grain_draws import TRAINING_SHARES, draw_lenses, draw_spots, draw_spots_through
from dustd.train.grains import Spots
from dustd.train.outlines import BESIDE_OUTLINES, outlines
from dustd.train.shadows import cast_in_groups, cast_shadows, label_boxes

# How many spots a crop expects, drawn log-uniform per crop: dense supervision wants many, a frame shows few [J]. Of two
# marks that look alike the network can only tell how often each is dust, and it learns that here: where all crops hold
# many spots, marks in numbers are dust. With 6 to 50 and one at least, 55 look-alikes of 44 scenes were corrected; 13
# minutes more with these numbers left 6, and the photographs had half the false detections (docs/detector.md).
SPOTS_MEAN = (0.5, 30.0)
# Crops in which each spot has a lens of its own, as if nothing were known of the frame's.
MIXED_SHARE = 0.5


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


def draw_dust(
    batch: int, size_px: int, generator: Generator, *, empty_share: float = 0.25, light: Tensor | None = None
) -> Dust:
    """Draw dust for *batch* crops of *size_px*: Poisson(mean) spots each, the mean log-uniform within
    SPOTS_MEAN; in *empty_share* of them surely none.

    Places are uniform, but for those beside the outlines of the crops' *light* (B, 3, size_px, size_px), so spots
    overlap and are cut by the border as it happens. Shadows multiply, in linear light. A
    box is where the green shadow is deeper than 30 % of its peak, cut at the border; a spot without any such place in
    the crop has no label.

    In MIXED_SHARE of the crops each spot has a lens of its own, at full or half size: frames whose f-number is unknown
    are looked at so, whatever is in them. In the others one lens made all spots.
    """
    device = generator.device
    lenses = draw_lenses(batch, generator)
    mixed = draws.uniform(generator, 0, 1, batch) < MIXED_SHARE
    scale = torch.where(mixed, 1 + (draws.uniform(generator, 0, 1, batch) < 0.5).long(), lenses.scale)
    counts = torch.poisson(draws.log_uniform(generator, *SPOTS_MEAN, batch), generator=generator).long()
    counts[draws.uniform(generator, 0, 1, batch) < empty_share] = 0
    crop = torch.repeat_interleave(torch.arange(batch, device=device), counts)
    centre = draws.uniform(generator, 0, size_px, len(crop), 2).long()
    spots = _joined(
        mixed[crop],
        lambda n: draw_spots(n, generator, shares=TRAINING_SHARES),
        lambda own: draw_spots_through(lenses.of(crop[own]), generator),
    )
    if light is not None:
        _lay_beside_outlines(centre, crop, torch.maximum(spots.extent_px, spots.blur_px), light, generator)
    transmission = torch.ones(batch, 3, size_px, size_px, device=device)
    boxes = torch.zeros(len(crop), 4, device=device)
    attenuations = torch.zeros(len(crop), device=device)
    crops, centres = crop.tolist(), centre.tolist()
    for index, shadows in cast_in_groups(spots):
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


def _lay_beside_outlines(centre: Tensor, crop: Tensor, width_px: Tensor, light: Tensor, generator: Generator) -> None:
    """Move some of the *centre* (n, 2) px, in place, to where the spots' rims are within a width of an outline.

    *crop* (n,) says which of *light* (B, 3, S, S) each lies on.
    """
    size_px = light.shape[-1]
    moved = draws.uniform(generator, 0, 1, len(crop)) < BESIDE_OUTLINES
    turn = draws.uniform(generator, 0, 2 * math.pi, len(crop))
    away_px = width_px * draws.uniform(generator, 0.5, 1.5, len(crop))
    step = (away_px[:, None] * torch.stack([torch.cos(turn), torch.sin(turn)], 1)).long()
    chosen = draws.uniform(generator, 0, 1, len(crop))
    for number, there in enumerate(outlines(light)):
        places = torch.nonzero(there)
        own = torch.nonzero(moved & (crop == number)).flatten()
        if len(places) == 0 or len(own) == 0:
            continue
        at = places[(chosen[own] * len(places)).long()].flip(1) + step[own]
        inside = ((at >= 0) & (at < size_px)).all(1)
        centre[own[inside]] = at[inside]


def _joined(first: Tensor, draw_first: Callable[[int], Spots], draw_rest: Callable[[Tensor], Spots]) -> Spots:
    """Draw spots in two ways, *first* (n,) bool telling which where, and lay them in one row."""
    ones, others = draw_first(int(first.sum())), draw_rest(~first)
    order = torch.cat([torch.nonzero(first).flatten(), torch.nonzero(~first).flatten()]).argsort()
    return Spots(**{f.name: torch.cat([getattr(ones, f.name), getattr(others, f.name)])[order] for f in fields(Spots)})


def draw_shadows(count: int, generator: Generator) -> Tensor:
    """Draw *count* shadows, (count, 3, PATCH_PX, PATCH_PX): share of linear light lost per channel, in the middle."""
    return cast_shadows(draw_spots(count, generator))
