"""Pictures of a sensor's dust: a grey frame as it would print, Braille for the terminal, one particle by itself.

Two views. *Upright* is that of the unrotated photograph. *From the front* is what you see as you look into the camera
through its mount, top of the camera up, swab in hand: the upright picture with top and bottom swapped, left and right
as they are. Why: the lens turns the picture by 180° onto the sensor, as seen from behind the camera; looking from the
front swaps left and right once more; together that is a vertical flip. (Through a lens, a shadow lies up to 4 % further
out than its grain, facts/optics-and-evidence.md §1.2: too little to matter to a swab.)

All sizes in px; the light of the grey frame is 0.6 of white.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dustd.dustmap.particle import Particle
from dustd.raw.frame import from_centre

COLUMNS = 60  # characters
WIDTH_PX = 1500
PRINT_F_NUMBER = 16.0
CROP_PX = 192
GREY = 0.6
_FIXED_POINT = 4  # binary digits after the point in OpenCV's drawing


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A small square picture of one particle, (n, n, 3) uint8 sRGB, and what it is, in words."""

    picture: np.ndarray
    caption: str


def sensor_picture(particles: Sequence[Particle], width: int, height: int, *, from_front: bool = False) -> np.ndarray:
    """Paint a plain grey frame as the confirmed particles would mark it at f/16: (h, w, 3) uint8 sRGB.

    *width* and *height* are the sensor's; the picture is scaled to at most 1500 px across.
    """
    scale = min(1.0, WIDTH_PX / width)
    light = np.full((max(1, round(height * scale)), max(1, round(width * scale))), GREY, np.float32)
    for particle in particles:
        if particle.confirmed:
            x, y = place(particle, width, height)
            _shade(light, particle, scale * (x + 0.5) - 0.5, scale * (y + 0.5) - 0.5, scale, PRINT_F_NUMBER)
    return _srgb(light[::-1] if from_front else light)


def drawn(particle: Particle) -> Crop:
    """Draw one particle before plain grey as it must print at f/16, at the scale of `crop_span_px`."""
    scale = CROP_PX / crop_span_px(particle, PRINT_F_NUMBER)
    light = np.full((CROP_PX, CROP_PX), GREY, np.float32)
    _shade(light, particle, (CROP_PX - 1) / 2, (CROP_PX - 1) / 2, scale, PRINT_F_NUMBER)
    return Crop(picture=_srgb(light), caption=f"drawn as it prints at f/{PRINT_F_NUMBER:g}")


def crop_span_px(particle: Particle, f_number: float) -> int:
    """Say how much of the sensor a crop shows: the shadow and enough around it to judge it by."""
    return max(CROP_PX // 2, round(6 * particle.diameter_px_at(f_number)))


def braille_picture(particles: Sequence[Particle], width: int, height: int, *, from_front: bool = False) -> str:
    """Draw the sensor in Braille dots, one per confirmed particle, framed; the view from the front names its top."""
    columns, rows = COLUMNS, max(1, round(COLUMNS / 2 * height / width))
    dots = np.zeros((rows * 4, columns * 2), bool)
    for particle in particles:
        if particle.confirmed:
            x, y = place(particle, width, height)
            row = min(max(int((y + 0.5) / height * dots.shape[0]), 0), dots.shape[0] - 1)
            column = min(max(int((x + 0.5) / width * dots.shape[1]), 0), dots.shape[1] - 1)
            dots[row, column] = True
    if from_front:
        dots = dots[::-1]
    # Unicode Braille: dots 1-3 and 7 in the left column from the top, 4-6 and 8 in the right.
    bits = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
    codes = (dots.reshape(rows, 4, columns, 2) * bits[:, None, :]).sum(axis=(1, 3))
    lines = ["│" + "".join(chr(0x2800 + code) for code in line) + "│" for line in codes.tolist()]
    title = " top of the camera " if from_front else ""
    return "\n".join([f"┌{title:─^{columns}}┐", *lines, "└" + "─" * columns + "┘"])


def place(particle: Particle, width: int, height: int) -> tuple[float, float]:
    """Give a particle's place in the upright picture."""
    return from_centre(particle.mx, particle.my, width=width, height=height)


def where_from_front(particle: Particle, width: int, height: int) -> str:
    """Say in words where a particle lies as you look into the camera: "upper left", "centre", "right" …"""
    x, y = place(particle, width, height)
    side = ("left", "", "right")[min(max(int(3 * x / width), 0), 2)]
    level = ("lower", "", "upper")[min(max(int(3 * y / height), 0), 2)]
    alone = {"lower": "bottom", "upper": "top", "": "centre"}[level]
    return f"{level} {side}".strip() if side else alone


def _shade(light: np.ndarray, particle: Particle, x: float, y: float, scale: float, f_number: float) -> None:
    """Multiply one shadow into *light* at (x, y): a disc, softened so that its width at half depth stays."""
    radius = max(scale * particle.diameter_px_at(f_number) / 2, 0.5)
    reach = math.ceil(2 * radius + 3)
    top, left = round(y) - reach, round(x) - reach
    disc: np.ndarray = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    centre = (round((x - left) * 2**_FIXED_POINT), round((y - top) * 2**_FIXED_POINT))
    cv2.circle(disc, centre, round(radius * 2**_FIXED_POINT), 1.0, -1, cv2.LINE_8, _FIXED_POINT)
    disc = cv2.GaussianBlur(disc, (0, 0), max(radius / 3, 0.4))
    y0, x0 = max(top, 0), max(left, 0)
    window = light[y0 : max(top + disc.shape[0], 0), x0 : max(left + disc.shape[1], 0)]
    inside = disc[y0 - top :, x0 - left :][: window.shape[0], : window.shape[1]]
    window *= 1 - particle.attenuation_at(f_number) * inside


def _srgb(light: np.ndarray) -> np.ndarray:
    """Encode grey light, (h, w), by the exponent that approximates sRGB: (h, w, 3) uint8."""
    grey = np.round(255 * light ** (1 / 2.2)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
