"""`dustd train --preview sheet.png`: a contact sheet of the dust that a detector learns from, to be judged by eye.

Top: one sky and one camera's dust at four f-numbers. Middle: training crops, developed, and again with their labels.
Bottom: shadows of each kind, enlarged.
"""

from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dustd.train.backgrounds import Backgrounds, photo_paths
from dustd.train.exposure import expose
from dustd.train.grain_draws import draw_spots
from dustd.train.grains import KINDS, Spots
from dustd.train.shadows import PATCH_PX, cast_shadows
from dustd.train.synth import draw_dust

F_NUMBERS = (8.0, 11.0, 16.0, 22.0)
SKY_PX, CROP_PX = 480, 320
CROPS, PHOTOS = 6, 16
SHADOW_PX, ENLARGED = 96, 2
GAP_PX, TEXT_PX = 8, 20
INK, PAPER, LABEL = (225, 225, 225), (32, 32, 32), (255, 190, 60)


def write_preview(path: Path, photos: Path | None, *, seed: int = 1) -> None:
    """Write the sheet to *path* (PNG), over photographs below the folder *photos*, over drawn fields if it is None."""
    generator = torch.Generator().manual_seed(seed)
    paths = photo_paths(photos) if photos else []
    backgrounds = Backgrounds(paths[:: max(1, len(paths) // PHOTOS)])
    rows = [
        _caption_row("One camera's dust (stack 1.8 mm, pixels 4.4 um) as the lens is stopped down"),
        _row(_apertures(generator)),
        _caption_row("Training crops, developed; below, the same with their labels and depths"),
        *(_row(crops) for crops in _training_crops(backgrounds, generator)),
        _caption_row(f"Shadows by kind, enlarged {ENLARGED} times"),
        *(_row(shadows) for shadows in _kinds(generator)),
    ]
    sheet = Image.new("RGB", (max(r.width for r in rows), sum(r.height + GAP_PX for r in rows)), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + GAP_PX
    sheet.save(path, "PNG", compress_level=1)


def develop(light: Tensor) -> Image.Image:
    """Develop white-balanced linear light (3, H, W): brightest part at 0.6, sRGB curve (IEC 61966-2-1)."""
    light = (light * (0.6 / light.flatten().quantile(0.99).clamp_min(1e-3))).clamp(0, 1)
    curve = torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-6) ** (1 / 2.4) - 0.055)
    return Image.fromarray((curve.permute(1, 2, 0) * 255).round().byte().numpy())


def _apertures(generator: torch.Generator) -> list[Image.Image]:
    """Show a clear evening sky through the same grains at each of F_NUMBERS."""
    height = torch.linspace(0, 1, SKY_PX)[:, None].expand(SKY_PX, SKY_PX)
    zenith, horizon = torch.tensor([[0.22, 0.33, 0.50], [0.50, 0.52, 0.52]])[:, :, None, None]
    light = (zenith + (horizon - zenith) * height)[None]
    grains = _one_camera(draw_spots(24, generator), generator)
    corners = (torch.rand(len(grains.kind), 2, generator=generator) * SKY_PX).long() - PATCH_PX // 2
    pictures = []
    for f_number in F_NUMBERS:
        spots = replace(grains, f_number=torch.full_like(grains.f_number, f_number))
        padded = torch.ones(1, 3, SKY_PX + 2 * PATCH_PX, SKY_PX + 2 * PATCH_PX)
        for shadow, (left, top) in zip(cast_shadows(spots), (corners + PATCH_PX).tolist(), strict=True):
            padded[0, :, top : top + PATCH_PX, left : left + PATCH_PX] *= 1 - shadow
        transmission = padded[..., PATCH_PX:-PATCH_PX, PATCH_PX:-PATCH_PX]
        noise = torch.Generator().manual_seed(7)  # one exposure's noise for all, so that only the lens differs
        picture = develop(expose(light, transmission, noise)[0])
        pictures.append(_captioned(picture, f"f/{f_number:g}"))
    return pictures


def _one_camera(spots: Spots, generator: torch.Generator) -> Spots:
    """Put grains of natural sizes (facts §7: median 32 µm) on one camera and before one lens."""
    count = len(spots.kind)
    diameter = 32.0 * torch.exp(0.6 * torch.randn(count, generator=generator)).clamp(0.25, 4.7)
    outline = spots.outline_um / spots.outline_um.square().mean(1, keepdim=True).sqrt() * diameter[:, None] / 2
    return replace(
        spots,
        outline_um=outline,
        path_um=spots.path_um * (4.4 / spots.pitch_um)[:, None, None],  # as long as before in px: they fit a patch
        pitch_um=torch.full((count,), 4.4),
        stack_um=torch.full((count,), 1800.0),
        pupil=spots.pupil[:1].expand(count, -1),
        psf_px=torch.full((count,), 0.7),
    )


def _training_crops(backgrounds: Backgrounds, generator: torch.Generator) -> list[list[Image.Image]]:
    """Draw CROPS crops as training does; return them plain, and with boxes."""
    lights, _ = backgrounds.draw(CROPS, CROP_PX, generator)
    dust = draw_dust(CROPS, CROP_PX, generator, empty_share=0.0)
    plain, labelled = [], []
    photographed = expose(lights, dust.transmission, generator)
    for light, boxes, depths in zip(photographed, dust.boxes, dust.attenuations, strict=True):
        picture = develop(light)
        plain.append(picture)
        marked = picture.copy()
        draw = ImageDraw.Draw(marked)
        for (x, y, width, height), depth in zip(boxes.tolist(), depths.tolist(), strict=True):
            draw.rectangle((x - width / 2, y - height / 2, x + width / 2 - 1, y + height / 2 - 1), outline=LABEL)
            draw.text((x - width / 2, y + height / 2), f"{depth:.1%}", fill=LABEL, font=_font(11))
        labelled.append(marked)
    return [plain, labelled]


def _kinds(generator: torch.Generator) -> list[list[Image.Image]]:
    """Draw shadows of each kind over a plain grey with some noise, two beside each other: the deep above, the faint."""
    rows: list[list[Image.Image]] = [[], []]
    for kind, name in enumerate(KINDS):
        spots = draw_spots(16, generator, kind=kind)
        shadows = cast_shadows(spots)
        by_depth = shadows[:, 1].amax((1, 2)).argsort(descending=True)
        for row, ranks in zip(rows, ((2, 4), (6, 9)), strict=True):
            for number in by_depth[list(ranks)].tolist():
                edge = (PATCH_PX - SHADOW_PX) // 2
                shadow = shadows[number, :, edge:-edge, edge:-edge]
                light = (1 - shadow) * (1 + 0.008 * torch.randn(shadow.shape, generator=generator))
                picture = develop(light).resize((ENLARGED * SHADOW_PX,) * 2, Image.Resampling.NEAREST)
                f_number = float(spots.f_number[number])
                row.append(_captioned(picture, f"{name} {float(shadow[1].max()):.0%}, f/{f_number:.0f}"))
    return rows


def _captioned(picture: Image.Image, caption: str) -> Image.Image:
    framed = Image.new("RGB", (picture.width, picture.height + TEXT_PX), PAPER)
    framed.paste(picture, (0, 0))
    ImageDraw.Draw(framed).text((2, picture.height + 2), caption, fill=INK, font=_font(13))
    return framed


def _caption_row(caption: str) -> Image.Image:
    row = Image.new("RGB", (900, 28), PAPER)
    ImageDraw.Draw(row).text((GAP_PX, 4), caption, fill=INK, font=_font(17))
    return row


def _row(pictures: list[Image.Image]) -> Image.Image:
    row = Image.new("RGB", (sum(p.width + GAP_PX for p in pictures), max(p.height for p in pictures)), PAPER)
    left = GAP_PX
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + GAP_PX
    return row


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
