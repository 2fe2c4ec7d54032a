"""Training crops: light, dust and camera noise put together, encoded, and labelled token by token."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from dustd.detector.encoding import CONTEXT_PX, encode
from dustd.train.backgrounds import Backgrounds
from dustd.train.exposure import expose
from dustd.train.froc import Truth
from dustd.train.labelled import Labelled, mix_in, read_labelled
from dustd.train.looks import finish
from dustd.train.synth import Dust, draw_dust

# A spot that stands out of its surroundings by less than this many texture deviations at every scale is beyond
# anyone's eye: asking the network for it teaches it to guess.
VISIBLE_DEVIATIONS = 2.0
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


def develop(light: Tensor, cells: Tensor, real: list[Tensor | None], generator: torch.Generator) -> Batch:
    """Lay dust over *light* (`draw_light`), photograph and encode it, on the device of the light and the *generator*.

    Crops with *real* dust get no other; it counts as visible, its attenuation is unknown (NaN). The labels are on the
    CPU in any case.
    """
    size = light.shape[-1]
    crop_px = size - 2 * CONTEXT_PX
    dust = _leave_real(draw_dust(len(light), size, generator), real)
    image = encode(_finish_some(expose(light, dust.transmission, generator), generator))
    image = image[..., CONTEXT_PX:-CONTEXT_PX, CONTEXT_PX:-CONTEXT_PX].contiguous()
    boxes, depths, whole, clear = [], [], [], []
    for index, (found, depth) in enumerate(zip(dust.boxes, dust.attenuations, strict=True)):
        found = found.cpu() - torch.tensor([CONTEXT_PX, CONTEXT_PX, 0, 0])
        inside, kept = cut(found, crop_px)
        boxes.append(inside)
        depths.append(depth.cpu()[kept])
        centres = found[kept, :2]
        # What is centred outside is for the neighbouring tile to report.
        whole.append(((centres >= 0) & (centres <= crop_px)).all(1))
        clear.append(stands_out(image[index], inside))
    clear = torch.cat(clear).cpu().split([len(b) for b in boxes])  # one wait for the device, not one per crop
    visible = tuple(w & (c | d.isnan()) for w, c, d in zip(whole, clear, depths, strict=True))
    return Batch(image=image, boxes=tuple(boxes), attenuations=tuple(depths), visible=visible, cells=cells)


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


def stands_out(image: Tensor, boxes: Tensor) -> Tensor:
    """Tell for each box (n, 4) whether some difference-of-Gaussians dips there by VISIBLE_DEVIATIONS.

    *image* is (8, S, S); 9 × 9 places in the box's middle are looked at. Returns (n,) bool on the image's device.
    """
    dips = (-2 * image[:5]).amax(0)  # the encoding halves deviations
    reach = (boxes[:, 2:] / 4).clamp_min(1)
    places = boxes[:, :2, None] + reach[:, :, None] * torch.linspace(-1, 1, 9)
    columns, rows = places.long().clamp(0, image.shape[-1] - 1).to(image.device).unbind(1)
    seen = dips[rows[:, :, None], columns[:, None, :]].flatten(1)
    return seen.sort(1).values[:, 60] > VISIBLE_DEVIATIONS  # the upper quartile of 81


class Crops(IterableDataset):
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
