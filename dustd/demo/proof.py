"""The demo's proof: one picture that shows a frame and its worst spots before and after, beside the truth."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dustd.demo.verdict import Verdict
from dustd.demo.virtual import BLACK, SRGB_TO_XYZ, WHITE, XYZ_TO_CAMERA, Exposure, Shadow

CROPS = 8
WIDTH_PX, GAP_PX, TITLE_PX = 1760, 12, 28
RING_PX = 13


def draw(path: Path, exposure: Exposure, cleaned: np.ndarray, verdict: Verdict) -> None:
    """Write the PNG for one frame: whole, with its details pulled up, and up to CROPS of its deepest visible spots."""
    deepest = sorted(verdict.visible, key=lambda shadow: -shadow.attenuation)[:CROPS]
    whole_px = (WIDTH_PX - 3 * GAP_PX) // 2
    rows: list[list[Image.Image]] = [[], []]
    for title, mosaic in (("before", exposure.mosaic), ("after", cleaned)):
        seen = Image.fromarray(develop(mosaic))
        if title == "before":
            _ring(seen, verdict, deepest)
        rows[0].append(_titled(seen, whole_px, f"{verdict.name}, f/{verdict.f_number:g}, {title}"))
        grey = np.clip((pull_up(mosaic) + 0.06) / 0.12 * 255, 0, 255).astype(np.uint8)
        rows[1].append(_titled(Image.fromarray(grey), whole_px, f"{title}, contrast pulled up"))
    crop_px = (WIDTH_PX - (CROPS + 1) * GAP_PX) // CROPS
    for title, mosaic in (("before", exposure.mosaic), ("after", cleaned), ("without dust", exposure.clean)):
        rows.append([_crop_titled(title, mosaic, exposure.clean, shadow, crop_px) for shadow in deepest])
    _stack(rows).save(path)


def _crop_titled(title: str, mosaic: np.ndarray, clean: np.ndarray, shadow: Shadow, width_px: int) -> Image.Image:
    """Show a shadow's surroundings with the contrast that those without dust allow."""
    truth, reach = _crop(clean, shadow)
    picture = Image.fromarray(_stretched(_crop(mosaic, shadow)[0], truth))
    told = f"{title}, {shadow.attenuation:.0%} lost, {2 * reach} px" if title == "before" else title
    return _titled(picture, width_px, told)


def _titled(picture: Image.Image, width_px: int, title: str) -> Image.Image:
    """Bring a picture to a width, and put a title above it."""
    scaled = picture.convert("RGB").resize((width_px, round(width_px * picture.height / picture.width)))
    framed = Image.new("RGB", (width_px, scaled.height + TITLE_PX), "white")
    framed.paste(scaled, (0, TITLE_PX))
    font = ImageFont.load_default(16 if width_px > 400 else 13)
    ImageDraw.Draw(framed).text((width_px / 2, TITLE_PX / 2), title, "black", font, anchor="mm")
    return framed


def _stack(rows: list[list[Image.Image]]) -> Image.Image:
    """Put rows of pictures of one size under each other."""
    rows = [row for row in rows if row]
    height_px = sum(row[0].height + GAP_PX for row in rows) + GAP_PX
    sheet, top = Image.new("RGB", (WIDTH_PX, height_px), "white"), GAP_PX
    for row in rows:
        for column, picture in enumerate(row):
            sheet.paste(picture, (GAP_PX + column * (picture.width + GAP_PX), top))
        top += row[0].height + GAP_PX
    return sheet


def develop(mosaic: np.ndarray) -> np.ndarray:
    """Develop an RGGB mosaic at half size: white balance, matrix, sRGB curve; (h/2, w/2, 3) uint8 RGB."""
    linear = cv2.transform(_camera_light(mosaic), np.linalg.inv(XYZ_TO_CAMERA @ SRGB_TO_XYZ))
    return _curve(linear * (XYZ_TO_CAMERA @ SRGB_TO_XYZ).sum(axis=1)[1])


def pull_up(mosaic: np.ndarray) -> np.ndarray:
    """Show what differs from its surroundings, as retouchers do to find dust: (h/2, w/2) float32, 0 = like them."""
    light = np.log(np.maximum(_camera_light(mosaic)[..., 1], 1e-3))
    fine = cv2.GaussianBlur(light, (0, 0), 2)
    return fine - cv2.GaussianBlur(light, (0, 0), 40)


def _camera_light(mosaic: np.ndarray) -> np.ndarray:
    """Bin 2 x 2 samples into camera RGB, linear light."""
    light = (mosaic.astype(np.float32) - BLACK) / (WHITE - BLACK)
    green = (light[0::2, 1::2] + light[1::2, 0::2]) / 2
    return np.dstack((light[0::2, 0::2], green, light[1::2, 1::2]))


def _curve(linear: np.ndarray) -> np.ndarray:
    """Apply the sRGB curve (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    return (255 * np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)).astype(np.uint8)


def _crop(mosaic: np.ndarray, shadow: Shadow) -> tuple[np.ndarray, int]:
    """Cut the developed surroundings of a shadow, two diameters each way, where the frame allows."""
    reach = max(int(2 * shadow.diameter_px) // 2 * 2, 24)
    top = int(np.clip(round(shadow.y) - reach, 0, mosaic.shape[0] - 2 * reach)) // 2 * 2
    left = int(np.clip(round(shadow.x) - reach, 0, mosaic.shape[1] - 2 * reach)) // 2 * 2
    return develop(mosaic[top : top + 2 * reach, left : left + 2 * reach]).astype(np.float32), reach


def _stretched(picture: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Raise the contrast around the clean surroundings' own tone, as far as they allow."""
    tone = np.median(clean, axis=(0, 1))
    low, high = np.quantile(clean - tone, (0.01, 0.99))
    return np.clip(tone + (picture - tone) * np.clip(110 / (high - low), 1, 4), 0, 255).astype(np.uint8)


def _ring(picture: Image.Image, verdict: Verdict, deepest: list[Shadow]) -> None:
    """Circle visible dust: green if removed, yellow if left, red if missed; a cross where no dust was.

    *picture* has half the frame's size.
    """
    pen = ImageDraw.Draw(picture)
    removed, left = ({shadow.grain for shadow in group} for group in (verdict.removed, verdict.left))
    for shadow in verdict.visible:
        colour = "lime" if shadow.grain in removed else "gold" if shadow.grain in left else "red"
        pen.circle((shadow.x / 2, shadow.y / 2), RING_PX, outline=colour, width=3 if shadow in deepest else 2)
    for spot in verdict.wrong:
        x, y, arm = spot.x / 2, spot.y / 2, 0.7 * RING_PX
        pen.line((x - arm, y - arm, x + arm, y + arm), "magenta", 3)
        pen.line((x - arm, y + arm, x + arm, y - arm), "magenta", 3)
