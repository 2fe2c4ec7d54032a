"""What dust is laid over: photographs and RAW files in linear light, procedural grounds, things that look like dust.

`Backgrounds` holds the decoded pictures in memory; everything else is drawn from a generator, so that a seed gives the
same batch again.
"""

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import structlog
import torch
from torch import Tensor
from tqdm import tqdm

from dustd.detector.encoding_torch import blur
from dustd.errors import DustdError, FrameError
from dustd.train.fields import draw_field
from dustd.train.froc import Truth
from dustd.train.lookalikes import add_lookalikes
from dustd.train.mining import CELL_PX, CELLS
from dustd.train.pictures import PHOTO_SUFFIXES, SRGB_TO_LINEAR, photo_paths, read_picture, to_light

__all__ = ["PHOTO_SUFFIXES", "SRGB_TO_LINEAR", "Backgrounds", "is_validation", "photo_paths"]

# Smaller pictures have been scaled down or cut too much to look like a camera's.
LEAST_SIDE_PX = 900
# Larger photographs are used at half size only; smaller ones also at full size: soft detail, as a demosaic gives.
FULL_SIZE_PX = 16e6
# All pictures together: 8-bit photographs take 3 bytes per pixel, RAW files at half size 1.5 bytes per photosite.
MEMORY_BYTES = 8 << 30
# Share of crops with things in them that look like dust.
LOOKALIKE_SHARE = 0.5
# A crop is cut at most so far from the middle of its cell: 256 px with their context, at half scale.
REACH_PX = 320 + CELL_PX // 2

log = structlog.get_logger()


def is_validation(path: Path) -> bool:
    """Hold every fifth photograph out of training, chosen by its name so that the split never moves."""
    return sum(path.stem.encode()) % 5 == 0


class Backgrounds:
    """A pool of photographs at full and half size, and the generators of everything that is not a photograph."""

    def __init__(
        self,
        paths: Iterable[Path],
        *,
        photo_share: float = 0.65,
        hardness: Tensor | None = None,
        dust: Mapping[str, Sequence[Truth]] = MappingProxyType({}),
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Decode the pictures at *paths*; *hardness* (`mining`) makes half of the draws go where it is high.

        *dust* is what the photographs themselves show of it, by file name; crops keep away from there. What cannot be
        read or is too small is left out, with a warning each; what does not fit into *memory_bytes*, with one for all.
        """
        self.hardness = hardness
        pool = _decode(list(paths), dust, memory_bytes)
        self.photos = [photo for photo, _ in pool]
        self.photo_share = photo_share if self.photos else 0.0
        # Photograph, row and column of each cell, in the order in which the hardness table counts them.
        self.cells = [
            (index, row, column)
            for index, (photo, dusty) in enumerate(pool)
            for row in range(photo.shape[0] // CELL_PX)
            for column in range(photo.shape[1] // CELL_PX)
            if not (np.abs(dusty - (np.array([column, row]) + 0.5) * CELL_PX) < REACH_PX).all(1).any()
        ][:CELLS]

    def draw(self, batch: int, size_px: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw (batch, 3, size_px, size_px) linear light, 0..1, white-balanced, without dust or noise.

        The second tensor (batch,) long names the cell that each crop is centred in, -1 where the crop is not a plain
        piece of a photograph.
        """
        crops, cells = [], []
        for _ in range(batch):
            cell = -1
            # Grounds and lookalikes are drawn with numpy, from a seed of their own.
            rng = np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator)))
            if torch.rand((), generator=generator) < self.photo_share:
                cell = self._cell(generator)
                crop = self._photo(cell, size_px, generator)
            else:
                crop = draw_field(rng, size_px)
            if rng.random() < LOOKALIKE_SHARE:
                add_lookalikes(rng, crop)
                cell = -1
            crops.append(torch.from_numpy(crop))
            cells.append(cell)
        light = torch.stack(crops)
        exposure = torch.exp2(-1.5 + 2.0 * torch.rand(batch, 1, 1, 1, generator=generator))
        return (light * exposure).clamp(0, 1), torch.tensor(cells)

    def _cell(self, generator: torch.Generator) -> int:
        if self.hardness is not None and torch.rand((), generator=generator) < 0.5:
            return int(torch.multinomial(self.hardness[: len(self.cells)], 1, generator=generator))
        return int(torch.randint(len(self.cells), (), generator=generator))

    def _photo(self, cell: int, size_px: int, generator: torch.Generator) -> np.ndarray:
        """Cut (3, size_px, size_px) light around *cell*, at up to half its scale, turned, perhaps out of focus."""
        index, row, column = self.cells[cell]
        photo = self.photos[index]
        zoom = float(torch.exp(math.log(2.0) * torch.rand((), generator=generator)))
        span = min(round(size_px * zoom), *photo.shape[:2])
        middle = (torch.tensor([row, column]) + torch.rand(2, generator=generator)) * CELL_PX - span / 2
        top = min(max(int(middle[0]), 0), photo.shape[0] - span)
        left = min(max(int(middle[1]), 0), photo.shape[1] - span)
        crop = photo[top : top + span, left : left + span]
        if span != size_px:
            crop = cv2.resize(crop, (size_px, size_px), interpolation=cv2.INTER_AREA)
        turns = int(torch.randint(4, (), generator=generator))
        crop = np.rot90(crop, turns)
        if torch.rand((), generator=generator) < 0.5:
            crop = crop[:, ::-1]
        light = np.ascontiguousarray(to_light(crop).transpose(2, 0, 1))
        if torch.rand((), generator=generator) < 0.3:  # out of focus, as studio backdrops and skies are
            sigma = float(1 + 7 * torch.rand((), generator=generator))
            light = blur(torch.from_numpy(light)[None], sigma)[0].numpy()
        return light


def _decode(
    paths: list[Path], dust: Mapping[str, Sequence[Truth]], memory_bytes: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the pictures that are fit for backgrounds, each (H, W, 3) uint8 sRGB or uint16 linear light.

    Beside each, (n, 2), x and y of the *dust* in it, px of the picture as it is used. The order is that of the names'
    checksums: whatever fits into memory is then a fair sample of the folder.
    """
    pool: list[tuple[np.ndarray, np.ndarray]] = []
    pictures = used = 0
    ordered = sorted(paths, key=lambda path: (zlib.crc32(path.name.encode()), path))
    with tqdm(ordered, desc="backgrounds", unit="picture", disable=None) as bar:
        for count, path in enumerate(bar):
            try:
                found = _sizes(path)
            except DustdError as error:
                log.warning("background_skipped", file=str(path), problem=error.problem, remedy=error.remedy)
                continue
            if used + sum(picture.nbytes for picture in found) > memory_bytes:
                log.warning(
                    "backgrounds_left_out",
                    pictures=len(ordered) - count,
                    problem=f"the pool holds {memory_bytes / 1e9:.1f} GB of pictures, no more",
                    remedy="Nothing to do; name a smaller folder to choose the pictures yourself",
                )
                break
            places = np.array([(t.x, t.y) for t in dust.get(path.name, ())], float).reshape(-1, 2)
            full = max(picture.shape[1] for picture in found)
            scale = 0.5 if len(found) == 1 else 1.0  # the largest is the photograph itself, or its half alone
            pool += [(picture, places * scale * picture.shape[1] / full) for picture in found]
            pictures += 1
            used += sum(picture.nbytes for picture in found)
    if paths:
        log.info("backgrounds_ready", pictures=pictures, memory_mb=round(used / 1e6))
    return pool


def _sizes(path: Path) -> list[np.ndarray]:
    """Read one picture at the sizes that are used: half, and full if it is a photograph of moderate size.

    Raises FrameError if it cannot be read or is too small, SurroundingsError if it cannot be reached.
    """
    picture = read_picture(path, raw_step=2)
    is_raw = picture.dtype == np.uint16
    height, width = (side * (2 if is_raw else 1) for side in picture.shape[:2])
    if min(height, width) < LEAST_SIDE_PX:
        raise FrameError(
            f"it has only {width}×{height} pixels, and {LEAST_SIDE_PX} are needed each way",
            remedy="Use the picture as the camera made it, or take it out of the folder",
            path=path,
        )
    if is_raw:
        return [picture]
    half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return [half, picture] if height * width <= FULL_SIZE_PX else [half]
