"""What dust is laid over: photographs brought to linear light, procedural fields, and things that look like dust.

`Backgrounds` holds the decoded photographs in memory; everything else is drawn from a generator, so that a seed
gives the same batch again.
"""

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from dustd.encoding import blur, smooth
from dustd.train.mining import CELL_PX, CELLS

_LEVELS = np.arange(256, dtype=np.float32) / 255
# Linear light of each 8-bit sRGB value, float32 (IEC 61966-2-1).
SRGB_TO_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


def photo_paths(folder: Path) -> list[Path]:
    """List the photographs below *folder*, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)


def is_validation(path: Path) -> bool:
    """Hold every fifth photograph out of training, chosen by its name so that the split never moves."""
    return sum(path.stem.encode()) % 5 == 0


class Backgrounds:
    """A pool of photographs at full and half size, and the generators of everything that is not a photograph."""

    def __init__(self, paths: list[Path], *, photo_share: float = 0.7, hardness: Tensor | None = None) -> None:
        """Decode the photographs at *paths*; *hardness* (`mining`) makes half of the draws go where it is high."""
        self.photo_share = photo_share if paths else 0.0
        self.photos: list[np.ndarray] = []
        self.hardness = hardness
        for path in paths:
            full = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if full is None or min(full.shape[:2]) < 900:
                continue
            half = cv2.resize(full, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            self.photos.append(np.ascontiguousarray(half[..., ::-1]))
            # Large photographs are also used at full size: soft detail, as a demosaiced RAW has it.
            if full.shape[0] * full.shape[1] <= 16e6:
                self.photos.append(np.ascontiguousarray(full[..., ::-1]))
        # Photograph, row and column of each cell, in the order in which the hardness table counts them.
        self.cells = [
            (index, row, column)
            for index, photo in enumerate(self.photos)
            for row in range(photo.shape[0] // CELL_PX)
            for column in range(photo.shape[1] // CELL_PX)
        ][:CELLS]

    def draw(self, batch: int, size_px: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw (batch, 3, size_px, size_px) linear light, 0..1, white-balanced, without dust or noise.

        The second tensor (batch,) long names the cell that each crop is centred in, -1 where the crop is not a plain
        piece of a photograph.
        """
        crops, cells = [], []
        for _ in range(batch):
            cell = -1
            if torch.rand((), generator=generator) < self.photo_share:
                cell = self._cell(generator)
                crop = self._photo(cell, size_px, generator)
            else:
                crop = _field(size_px, generator)
            if torch.rand((), generator=generator) < 0.25:
                crop, cell = _lookalikes(crop, generator), -1
            crops.append(crop)
            cells.append(cell)
        light = torch.stack(crops)
        exposure = torch.exp2(-1.5 + 2.0 * torch.rand(batch, 1, 1, 1, generator=generator))
        return (light * exposure).clamp(0, 1), torch.tensor(cells)

    def _cell(self, generator: torch.Generator) -> int:
        if self.hardness is not None and torch.rand((), generator=generator) < 0.5:
            return int(torch.multinomial(self.hardness[: len(self.cells)], 1, generator=generator))
        return int(torch.randint(len(self.cells), (), generator=generator))

    def _photo(self, cell: int, size_px: int, generator: torch.Generator) -> Tensor:
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
        light = torch.from_numpy(SRGB_TO_LINEAR[crop]).permute(2, 0, 1).contiguous()
        if torch.rand((), generator=generator) < 0.3:  # out of focus, as studio backdrops and skies are
            sigma = float(1 + 7 * torch.rand((), generator=generator))
            light = blur(light[None], sigma)[0]
        return light


def _field(size_px: int, generator: torch.Generator) -> Tensor:
    """Draw a sky, a backdrop, paper or cloth: a coloured gradient times a 1/f field of random roughness."""
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, size_px), torch.linspace(-1, 1, size_px), indexing="ij")
    angle, slope, bowl = torch.rand(3, generator=generator) * torch.tensor([2 * math.pi, 0.5, 0.4])
    shade = 1 + slope * (xs * torch.cos(angle) + ys * torch.sin(angle)) - bowl * (xs.square() + ys.square())
    frequency = torch.fft.fftfreq(size_px)[:, None].square() + torch.fft.rfftfreq(size_px)[None].square()
    frequency = frequency.sqrt().clamp_min(1 / size_px)
    power = 1.0 + 1.2 * torch.rand((), generator=generator)
    spectrum = torch.fft.rfft2(torch.randn(size_px, size_px, generator=generator)) / frequency**power
    field = torch.fft.irfft2(spectrum, s=(size_px, size_px))
    field = field / field.std()
    amount = torch.exp(math.log(0.0005) + math.log(200.0) * torch.rand((), generator=generator))
    colour = 0.15 + 0.85 * torch.rand(3, generator=generator)
    light = colour[:, None, None] * (shade * (1 + amount * field)).clamp_min(0.02)
    if torch.rand((), generator=generator) < 0.2:  # woven cloth or a printed screen
        period, turn = 3 + 9 * torch.rand((), generator=generator), 3.14 * torch.rand((), generator=generator)
        depth = 0.15 * torch.rand((), generator=generator)
        weave = torch.sin(2 * math.pi * size_px / 2 / period * (xs * torch.cos(turn) + ys * torch.sin(turn)))
        weave = weave * torch.sin(2 * math.pi * size_px / 2 / period * (ys * torch.cos(turn) - xs * torch.sin(turn)))
        light = light * (1 + depth * weave)
    return light.clamp(0, 1.5) * 0.8


def _lookalikes(light: Tensor, generator: torch.Generator) -> Tensor:
    """Lay real things over the scene that a careless eye takes for dust; they carry no label.

    Buttons, rivets, moles, birds and print are sharp or coloured; bokeh and stars are bright. What no eye could tell
    from dust in one frame (a soft, grey, shallow disc) is not drawn.
    """
    canvas = np.ascontiguousarray(light.permute(1, 2, 0).numpy())
    size = canvas.shape[0]
    for _ in range(1 + int(torch.randint(6, (), generator=generator))):
        x, y = (torch.rand(2, generator=generator) * size).int().clamp(max=size - 1).tolist()
        radius = float(torch.exp(math.log(2.0) + math.log(12.0) * torch.rand((), generator=generator)))
        kind = int(torch.randint(5, (), generator=generator))
        pick = torch.rand(3, generator=generator).numpy()
        around = canvas[y, x].copy()
        if kind == 4:  # hot or dead pixel
            canvas[y, x] = pick if pick[0] < 0.5 else 0
            continue
        cover = np.zeros((size, size), np.uint8)
        if kind == 3:  # lettering
            text = "".join(chr(48 + int(v)) for v in torch.randint(75, (3,), generator=generator))
            cv2.putText(cover, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.3 + 0.7 * float(pick[0]), 255, 1, cv2.LINE_AA)
            colour, softness = around * pick[1], 0.6
        else:
            axes = (max(1, round(radius)), max(1, round(radius * float(0.5 + 0.5 * pick[0]))))
            cv2.ellipse(cover, (x, y), axes, float(pick[1] * 180), 0, 360, 255, -1, cv2.LINE_AA)
            if kind == 0:  # sharp dark button, rivet, bird
                colour, softness = around * 0.6 * pick[2], 0.6
            elif kind == 1:  # coloured dot or mole, moderately soft
                colour, softness = around * (0.35 + 0.65 * pick), 0.8 + 2 * float(pick[2])
                colour[int(torch.randint(3, (), generator=generator))] *= 0.4
            else:  # bokeh disc or star: brighter than its surroundings
                colour, softness = around * (1.1 + pick[0]) + 0.02, 0.7 + float(pick[1])
        share = cv2.GaussianBlur(cover.astype(np.float32) / 255, (0, 0), softness)[..., None]
        canvas = canvas * (1 - share) + colour * share
    return torch.from_numpy(np.ascontiguousarray(canvas, dtype=np.float32)).permute(2, 0, 1)


def expose(light: Tensor, transmission: Tensor, generator: torch.Generator) -> Tensor:
    """Photograph *light* (B, 3, H, W) through dust: Bayer mosaic, photon and read noise, bilinear demosaic.

    Noise is drawn after the dust has taken its light, so that a spot is never quieter than its surroundings.
    Returns white-balanced linear light, (B, 3, H, W).
    """
    batch, _, height, width = light.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator)

    gains = torch.cat([uniform(1.2, 2.6), torch.ones(batch, 1, 1, 1), uniform(1.2, 2.6)], 1)
    veil = uniform(0, 0.01) * light.mean((2, 3), keepdim=True)  # flare fills shadows a little (§7: 0-1 %)
    raw = (light * transmission + veil) / gains
    masks = bayer_masks(height, width, int(torch.randint(4, (), generator=generator)))
    mosaic = (raw * masks).sum(1, keepdim=True)
    electrons = torch.exp(uniform(math.log(1500.0), math.log(60000.0)))  # at clipping: ISO 6400 to ISO 64
    read = uniform(1.5, 6.0) / electrons
    noise = torch.randn(mosaic.shape, generator=generator) * (mosaic.clamp_min(0) / electrons + read.square()).sqrt()
    bits = torch.where(uniform(0, 1) < 0.3, 1023.0, 16383.0)
    mosaic = (((mosaic + noise) * bits).round() / bits).clamp(max=1.0)
    return demosaic(mosaic, masks) * gains


_PATTERNS = ((0, 1, 1, 2), (2, 1, 1, 0), (1, 0, 2, 1), (1, 2, 0, 1))


def bayer_masks(height: int, width: int, phase: int) -> Tensor:
    """Mark which colour each site of a Bayer mosaic records, (1, 3, H, W), in one of the four phases 0..3."""
    tile = torch.tensor(_PATTERNS[phase]).reshape(2, 2).repeat((height + 1) // 2, (width + 1) // 2)[:height, :width]
    return torch.stack([(tile == colour).float() for colour in range(3)])[None]


def demosaic(mosaic: Tensor, masks: Tensor) -> Tensor:
    """Fill in the missing colours by the average of their neighbours: (B, 1, H, W) to (B, 3, H, W)."""
    binomial = (0.25, 0.5, 0.25)

    def spread(image: Tensor) -> Tensor:
        return smooth(smooth(image, binomial, -1), binomial, -2)

    return spread(mosaic * masks) / spread(masks)
