"""Training crops: light, dust and camera noise put together, encoded, and labelled token by token."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from dustd.encoding import CONTEXT_PX, encode
from dustd.train.backgrounds import Backgrounds, expose
from dustd.train.synth import draw_dust

# A spot that stands out of its surroundings by less than this many texture deviations at every scale is beyond
# anyone's eye: asking the network for it teaches it to guess.
VISIBLE_DEVIATIONS = 2.0


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
    size = crop_px + 2 * CONTEXT_PX
    light, cells = backgrounds.draw(batch, size, generator)
    dust = draw_dust(batch, size, generator)
    image = encode(expose(light, dust.transmission, generator))
    image = image[..., CONTEXT_PX:-CONTEXT_PX, CONTEXT_PX:-CONTEXT_PX].contiguous()
    boxes, depths, visible = [], [], []
    for index, (found, depth) in enumerate(zip(dust.boxes, dust.attenuations, strict=True)):
        inside, kept = cut(found - torch.tensor([CONTEXT_PX, CONTEXT_PX, 0, 0]), crop_px)
        boxes.append(inside)
        depths.append(depth[kept])
        centres = found[kept, :2] - CONTEXT_PX
        # What is centred outside is for the neighbouring tile to report.
        whole = ((centres >= 0) & (centres <= crop_px)).all(1)
        visible.append(stands_out(image[index], inside) & whole)
    return Batch(image=image, boxes=tuple(boxes), attenuations=tuple(depths), visible=tuple(visible), cells=cells)


def cut(boxes: Tensor, crop_px: int) -> tuple[Tensor, Tensor]:
    """Cut boxes (n, 4) to a crop; return those of which at least 3 px remain, and the mask of which they were."""
    low = (boxes[:, :2] - boxes[:, 2:] / 2).clamp(0, crop_px)
    high = (boxes[:, :2] + boxes[:, 2:] / 2).clamp(0, crop_px)
    kept = ((high - low) >= 3).all(1)
    return torch.cat([(low + high) / 2, high - low], 1)[kept], kept


def stands_out(image: Tensor, boxes: Tensor) -> Tensor:
    """Tell for each box (n, 4) whether some difference-of-Gaussians dips there by VISIBLE_DEVIATIONS; (n,) bool."""
    dips = (-2 * image[:5]).amax(0)  # the encoding halves deviations
    size = image.shape[-1]
    answers = []
    for x, y, w, h in boxes.tolist():
        rx, ry = max(1, w / 4), max(1, h / 4)
        x0, x1 = max(0, int(x - rx)), min(size, int(x + rx) + 1)
        y0, y1 = max(0, int(y - ry)), min(size, int(y + ry) + 1)
        part = dips[y0:y1, x0:x1]
        answers.append(bool(part.numel() and part.quantile(0.75) > VISIBLE_DEVIATIONS))
    return torch.tensor(answers, dtype=torch.bool)


class Crops(IterableDataset):
    """An endless stream of batches for one worker; *seed* and the worker's number decide what it draws."""

    def __init__(self, paths: list[Path], *, batch: int, crop_px: int, seed: int, hardness: Tensor) -> None:
        self.paths, self.batch, self.crop_px, self.seed, self.hardness = paths, batch, crop_px, seed, hardness

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        generator = torch.Generator().manual_seed(self.seed * 1000 + (worker.id if worker else 0))
        backgrounds = Backgrounds(self.paths, hardness=self.hardness)
        while True:
            batch = draw_batch(backgrounds, self.batch, self.crop_px, generator)
            yield replace(batch, image=batch.image.half())
