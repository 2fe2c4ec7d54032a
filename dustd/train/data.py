"""Training crops: light, dust and camera noise put together, encoded, and labelled token by token."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from dustd.detector import encoding, encoding_torch
from dustd.detector.encoding import CONTEXT_PX, LUMA
from dustd.detector.encoding_torch import bounded, log_luma
from dustd.train.backgrounds import Backgrounds
from dustd.train.exposure import expose
from dustd.train.froc import Truth
from dustd.train.labelled import Labelled, mix_in, read_labelled
from dustd.train.looks import finish
from dustd.train.synth import Dust, draw_dust

# A spot that stands out of its surroundings by less than this many texture deviations at every scale is beyond
# anyone's eye: asking the network for it teaches it to guess.
VISIBLE_DEVIATIONS = 1.5
# Share of crops that reach the detector as a camera's JPEG; the rest come straight off the sensor.
FINISHED_SHARE = 0.2

# Light (B, 3, S, S), cells (B,), and per crop the boxes of real dust in it.
Drawn = tuple[Tensor, Tensor, list[Tensor | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """*image* (B, 8, S, S) encoded light; per crop *boxes* (n, 4) centre and size px, *attenuations* (n,), and
    *visible* (n,) bool; *cells* (B,) long: where in the photographs each crop came from (`mining`), -1 from none."""

    image: Tensor
    boxes: tuple[Tensor, ...]
    attenuations: tuple[Tensor, ...]
    visible: tuple[Tensor, ...]
    cells: Tensor


def draw_batch(backgrounds: Backgrounds, batch: int, crop_px: int, generator: torch.Generator) -> Batch:
    """Draw and encode *batch* crops of *crop_px*."""
    return develop(*draw_light(backgrounds, batch, crop_px, generator), generator)


def draw_light(
    backgrounds: Backgrounds,
    batch: int,
    crop_px: int,
    generator: torch.Generator,
    labelled: Sequence[Labelled] = (),
) -> Drawn:
    """Draw *batch* backgrounds and their cells, as `Backgrounds.draw` does, with the context that encoding needs.

    Some come from *labelled* pictures instead; the boxes of the dust in them come third, per crop, elsewhere None.
    """
    light, cells = backgrounds.draw(batch, crop_px + 2 * CONTEXT_PX, generator)
    return light, cells, mix_in(labelled, light, cells, generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """Crops as photographed, not encoded yet: what `expose_crops` gives.

    *scene* (B, 3, S, S) is the light without dust and noise, *seen* the photographed light, both with CONTEXT_PX on
    every side; the labels are those of `Batch`, in the frame of the crop without its context.
    """

    scene: Tensor
    seen: Tensor
    boxes: tuple[Tensor, ...]
    attenuations: tuple[Tensor, ...]
    visible: tuple[Tensor, ...]


def develop(light: Tensor, cells: Tensor, real: list[Tensor | None], generator: torch.Generator) -> Batch:
    """Lay dust over *light* (`draw_light`), photograph and encode it, on the device of the light and the *generator*.

    The labels are on the CPU in any case.
    """
    exposed = expose_crops(light, real, generator)
    return Batch(
        image=_inner(_encode(exposed.seen)).contiguous(),
        boxes=exposed.boxes,
        attenuations=exposed.attenuations,
        visible=exposed.visible,
        cells=cells,
    )


def expose_crops(light: Tensor, real: list[Tensor | None], generator: torch.Generator) -> Exposed:
    """Lay dust over *light* (`draw_light`) and photograph it; see `develop`.

    Crops with *real* dust get no other; it counts as visible, its attenuation is unknown (NaN).
    """
    size = light.shape[-1]
    crop_px = size - 2 * CONTEXT_PX
    dust = _leave_real(draw_dust(len(light), size, generator, light=light), real)
    seen = _finish_some(expose(light, dust.transmission, generator, dust.scale), generator)
    with_dust, without = (_inner(one).cpu() for one in _with_and_without(seen, dust.transmission))
    boxes, depths, visible = [], [], []
    for index, (found, depth) in enumerate(zip(dust.boxes, dust.attenuations, strict=True)):
        found = found.cpu() - torch.tensor([CONTEXT_PX, CONTEXT_PX, 0, 0])
        inside, kept = cut(found, crop_px)
        boxes.append(inside)
        depths.append(depth.cpu()[kept])
        centres = found[kept, :2]
        # What is centred outside is for the neighbouring tile to report.
        whole = ((centres >= 0) & (centres <= crop_px)).all(1)
        visible.append(whole & (stands_out(with_dust[index], without[index], inside) | depths[-1].isnan()))
    return Exposed(scene=light, seen=seen, boxes=tuple(boxes), attenuations=tuple(depths), visible=tuple(visible))


def _inner(crops: Tensor) -> Tensor:
    """Cut the context off crops (B, C, S, S)."""
    return crops[..., CONTEXT_PX:-CONTEXT_PX, CONTEXT_PX:-CONTEXT_PX]


def _encode(light: Tensor) -> Tensor:
    """Encode crops as inference does on their device: (B, 3, S, S) to (B, 8, S, S)."""
    if light.device.type != "cpu":
        return encoding_torch.encode(light)
    crops = light.permute(0, 2, 3, 1).contiguous().numpy()
    return torch.stack([torch.from_numpy(encoding.encode(crop)) for crop in crops])


def _level(log: Tensor) -> Tensor:
    """Local level of log light (B, 1, S, S), as the encoding has it."""
    if log.device.type != "cpu":
        return encoding_torch.local_median(log)
    return torch.stack([torch.from_numpy(encoding.local_median(one)) for one in log[:, 0].numpy()])[:, None]


def _differences(flat: Tensor) -> Tensor:
    """Differences of bounded log light (B, 1, S, S) by band, (B, bands, S, S)."""
    if flat.device.type != "cpu":
        return encoding_torch.differences(flat)
    return torch.stack([torch.from_numpy(encoding.differences(one)) for one in flat[:, 0].numpy()])


def _with_and_without(seen: Tensor, transmission: Tensor) -> tuple[Tensor, Tensor]:
    """Give the band-wise differences (B, bands, S, S) of crops as photographed, and less their dust's share.

    In log light dust is a sum: what was seen less the log of the transmission is the scene with all its noise.
    """
    log = log_luma(seen)
    level = _level(log)
    lost = transmission.mul(torch.tensor(LUMA, device=seen.device).view(3, 1, 1)).sum(1, keepdim=True)
    as_seen, without = bounded(log, level), bounded(log - lost.clamp_min(1e-3).log(), level)
    return _differences(as_seen), _differences(without)


def _finish_some(light: Tensor, generator: torch.Generator) -> Tensor:
    chosen = torch.rand(len(light), generator=generator, device=light.device) < FINISHED_SHARE
    if chosen.any():
        light[chosen] = finish(light[chosen], generator)
    return light


def _leave_real(dust: Dust, real: list[Tensor | None]) -> Dust:
    """Take synthetic *dust* out of the crops that hold *real* dust, in place, and put the labels of that there."""
    boxes, attenuations = list(dust.boxes), list(dust.attenuations)
    for index, found in enumerate(real):
        if found is not None:
            dust.transmission[index] = 1.0
            boxes[index], attenuations[index] = found, torch.full((len(found),), torch.nan)
    return replace(dust, boxes=tuple(boxes), attenuations=tuple(attenuations))


def cut(boxes: Tensor, crop_px: int) -> tuple[Tensor, Tensor]:
    """Cut boxes (n, 4) to a crop; return those of which at least 3 px remain, and the mask of which they were."""
    low = (boxes[:, :2] - boxes[:, 2:] / 2).clamp(0, crop_px)
    high = (boxes[:, :2] + boxes[:, 2:] / 2).clamp(0, crop_px)
    kept = ((high - low) >= 3).all(1)
    return torch.cat([(low + high) / 2, high - low], 1)[kept], kept


def stands_out(with_dust: Tensor, without: Tensor, boxes: Tensor) -> Tensor:
    """Tell for each box (n, 4) px whether dust changes the light there by VISIBLE_DEVIATIONS of what the scene does.

    *with_dust* and *without* are `encoding.differences` of one crop as photographed and less its dust, (bands, S, S),
    with all its noise. In each band what the dust adds (mean over the middle of the box) is held against the scene's
    own robust deviation in the same band over the box and half its width around: neither an edge far away nor one that
    takes a part of the surroundings hides dust, and texture finer or coarser than the dust does not either. Returns
    (n,) bool.
    """
    added = without - with_dust  # dust darkens
    side = with_dust.shape[-1]
    seen = []
    for x, y, w, h in boxes.tolist():
        middle = _part(x, y, 0.25 * w, 0.25 * h, side)
        around = _part(x, y, w, h, side)
        signal = added[:, *middle].mean((1, 2))
        scene = 1.4826 * without[:, *around].abs().flatten(1).median(1).values
        seen.append(bool((signal > VISIBLE_DEVIATIONS * scene).any()))
    return torch.tensor(seen, dtype=torch.bool)


def _part(x: float, y: float, reach_x: float, reach_y: float, side: int) -> tuple[slice, slice]:
    """Give rows and columns within *reach* of a place, one pixel at least, inside a crop of *side*."""
    top, left = (min(max(round(at - reach), 0), side - 1) for at, reach in ((y, reach_y), (x, reach_x)))
    return slice(top, max(round(y + reach_y), top + 1)), slice(left, max(round(x + reach_x), left + 1))


class Crops(IterableDataset[Batch | Drawn]):
    """An endless stream for data workers; *seed* and the worker's number decide what each draws.

    Gives batches with half-precision images or, with *light_only*, what `develop` makes one of on another device. The
    photographs, and the pictures in the folder *labelled* (`read_labelled`), are decoded here, once: forked workers
    share them. *dust* is what the photographs themselves show of it (`Backgrounds`).
    """

    def __init__(
        self,
        paths: list[Path],
        *,
        batch: int,
        crop_px: int,
        seed: int,
        hardness: Tensor,
        light_only: bool = False,
        labelled: Path | None = None,
        dust: Mapping[str, Sequence[Truth]] = MappingProxyType({}),
    ) -> None:
        self.labelled = read_labelled(labelled, least_side_px=crop_px + 2 * CONTEXT_PX) if labelled else ()
        self.backgrounds = Backgrounds(paths, hardness=hardness, dust=dust)
        self.batch, self.crop_px, self.seed, self.light_only = batch, crop_px, seed, light_only

    def __iter__(self) -> Iterator[Batch | Drawn]:
        worker = torch.utils.data.get_worker_info()
        generator = torch.Generator().manual_seed(self.seed * 1000 + (worker.id if worker else 0))
        while True:
            drawn = draw_light(self.backgrounds, self.batch, self.crop_px, generator, self.labelled)
            if self.light_only:
                yield drawn
            else:
                batch = develop(*drawn, generator)
                yield replace(batch, image=batch.image.half())
