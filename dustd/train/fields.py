"""Grounds without a photograph: what a studio, a sky, cloth or print looks like in linear light, drawn from a seed.

Each kind is a function of a generator and a side in px and gives (3, side, side) float32, 0..1, without noise. Edges
are as sharp as a lens draws them or belong to something large: no small, soft, grey blot is drawn, which would be dust
without its label.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

from dustd.train.pictures import SRGB_TO_LINEAR

Field = Callable[[np.random.Generator, int], np.ndarray]

_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyzeeeaaoittnn      ABCDEFGHIMNOPRST0123456789.,:;-"))
# Angle (radians) of each printing screen, and the planes it darkens: black, cyan, magenta, yellow (ISO 12647-2: 30°
# apart, yellow at 0°).
_SCREENS = (
    (math.radians(45), slice(0, 3)),
    (math.radians(15), slice(0, 1)),
    (math.radians(75), slice(1, 2)),
    (0.0, slice(2, 3)),
)


# What a studio photographs most, and where dust is hardest to tell [J].
PRODUCT_SHARE = 0.35


def draw_field(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw one ground of any kind, (3, side, side) float32 linear light, 0..1."""
    kind = product if rng.random() < PRODUCT_SHARE else KINDS[rng.integers(len(KINDS))]
    return np.clip(kind(rng, side), 0, 1).astype(np.float32, copy=False)


def flat(rng: np.random.Generator, side: int) -> np.ndarray:
    """One even tone: an evenly lit wall, fog."""
    return _tinted(np.ones((side, side), np.float32), colour(rng))


def gradient(rng: np.random.Generator, side: int) -> np.ndarray:
    """One tone that runs into another, straight or bent."""
    ys, xs = _grid(side)
    angle, bend = rng.uniform(0, 2 * math.pi), rng.uniform(-0.4, 0.4)
    way = 0.5 + 0.35 * (xs * np.float32(math.cos(angle)) + ys * np.float32(math.sin(angle))) + bend * xs * ys
    first = colour(rng)
    second = first * rng.uniform(0.4, 1.0) if rng.random() < 0.7 else colour(rng)
    return _mix(first, second, way.clip(0, 1))


def sky(rng: np.random.Generator, side: int) -> np.ndarray:
    """Blue, evening or overcast sky, with or without soft clouds.

    Clouds follow the spectrum of turbulence, amplitude ~ f^(-11/6) in the plane (Kolmogorov).
    """
    ys, xs = _grid(side)
    zenith, low = _SKIES[rng.integers(len(_SKIES))]
    turn, start, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.7), rng.uniform(0.05, 0.3)
    light = _mix(zenith, low, start + reach * (1 + xs * np.float32(math.cos(turn)) + ys * np.float32(math.sin(turn))))
    if rng.random() < 0.6:
        thick = _rough(rng, side, rng.uniform(1.6, 2.1))
        cover = _step(thick, rng.uniform(-1.5, 0.8), rng.uniform(0.8, 3.0)) * np.float32(rng.uniform(0.1, 1.0))
        shade = (1.05 - 0.1 * np.roll(thick, side // 16, axis=0)).clip(0.5, 1.3)
        light += (_tinted(shade, low) - light) * cover
    return light * np.float32(rng.uniform(0.5, 1.0))


def backdrop(rng: np.random.Generator, side: int) -> np.ndarray:
    """Studio background: light that falls off round a centre, on seamless paper or painted cloth."""
    ys, xs = _grid(side)
    cx, cy = rng.uniform(-1.5, 1.5, 2).astype(np.float32)
    fall = np.exp(-(np.square(xs - cx) + np.square(ys - cy)) / np.float32(2 * rng.uniform(1.0, 4.0) ** 2))
    if rng.random() < 0.4:  # mottled by a brush
        fall *= 1 + np.float32(_log_uniform(rng, 0.01, 0.1)) * _rough(rng, side, rng.uniform(1.5, 2.2))
    else:
        fall *= 1 + np.float32(_log_uniform(rng, 0.001, 0.008)) * _rough(rng, side, 0.5)
    if rng.random() < 0.3:  # where the paper bends from wall to floor
        fall *= 1 - np.float32(rng.uniform(0.03, 0.2)) * np.exp(-np.square((ys - cy / 2) / np.float32(0.3)))
    return _tinted(fall, colour(rng))


def paper(rng: np.random.Generator, side: int) -> np.ndarray:
    """Paper, plaster or card close up: fine grain, lit flatly or from the side."""
    grain: np.ndarray = _rough(rng, side, rng.uniform(0.0, 1.0))
    if rng.random() < 0.4:  # raking light shows slopes
        grain = cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.7, 2.0))
        grain = grain - np.roll(grain, (1, 1), (0, 1))
    else:
        grain = cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.5, 1.5))
    grain *= _log_uniform(rng, 0.002, 0.06) / grain.std()
    return (1 + grain) * gradient(rng, side)


def weave(rng: np.random.Generator, side: int) -> np.ndarray:
    """Woven cloth: plain or twill, threads of 3 to 12 px, slightly uneven, with folds."""
    across, along = _threads(rng, side, rng.uniform(3.0, 12.0))
    repeat = int(rng.integers(2, 5))
    on_top = (np.floor(across).astype(np.int32) + np.floor(along).astype(np.int32)) % repeat == 0
    thread = np.where(on_top, across, along)
    uneven = (0.06 * rng.standard_normal(1024)).astype(np.float32)[np.floor(thread).astype(np.int32) % 1024]
    bulge = np.abs(np.sin(np.float32(math.pi) * thread)) * np.where(on_top, np.float32(1), np.float32(0.85))
    return _cloth(rng, side, bulge + uneven)


def knit(rng: np.random.Generator, side: int) -> np.ndarray:
    """Knitted cloth: columns of V-shaped stitches, 5 to 16 px wide."""
    across, along = _threads(rng, side, rng.uniform(5.0, 16.0))
    lean = np.abs(across - np.floor(across) - np.float32(0.5))
    stitch = np.abs(np.sin(np.float32(math.pi) * (1.3 * along + 1.2 * lean)))
    return _cloth(rng, side, stitch * np.sqrt(np.abs(np.sin(np.float32(2 * math.pi) * across))))


def leaves(rng: np.random.Generator, side: int) -> np.ndarray:
    """Dead leaves: discs and polygons that hide one another, radii distributed as r^-3, as objects in scenes are.

    Lee, Mumford & Huang, Occlusion models for natural images, 2001.
    """
    count = 350
    base = 255 * colour(rng, rng.uniform(0.05, 0.6)) ** (1 / 2.2)
    spread = rng.uniform(5, 60)
    tones = (base + spread * rng.standard_normal((count, 1)) + 0.4 * spread * rng.standard_normal((count, 3))).clip(
        0, 255
    )
    share = rng.random(count)
    radii = 1 / np.sqrt(share / rng.uniform(4.0, 10.0) ** 2 + (1 - share) / (0.4 * side) ** 2)
    places = rng.uniform(0, side, (count, 2))
    turns, corners = rng.uniform(0, 2 * math.pi, count), rng.integers(3, 9, count)
    round_share = rng.random()
    canvas = np.full((side, side, 3), tones[0], np.uint8)
    for index, tone in enumerate(tones.tolist()):
        if share[index] < round_share:
            centre = tuple((places[index] * 16).astype(int).tolist())
            cv2.circle(canvas, centre, int(radii[index] * 16), tone, -1, cv2.LINE_AA, 4)
        else:
            angles = turns[index] + np.arange(corners[index]) * (2 * math.pi / corners[index])
            outline = places[index] + radii[index] * np.stack([np.cos(angles), np.sin(angles)], 1)
            cv2.fillConvexPoly(canvas, (outline * 16).astype(np.int32), tone, cv2.LINE_AA, 4)
    light = cv2.GaussianBlur(SRGB_TO_LINEAR[canvas], (0, 0), rng.uniform(0.4, 0.9)).transpose(2, 0, 1)
    return light * (1 + np.float32(_log_uniform(rng, 0.002, 0.1)) * _rough(rng, side, rng.uniform(0.5, 1.5)))


def edges(rng: np.random.Generator, side: int) -> np.ndarray:
    """Surfaces that meet along straight or wavy borders, sharp to far out of focus; wires and bars."""
    ys, xs = _grid(side)
    light = gradient(rng, side)
    for _ in range(rng.integers(1, 5)):
        turn = rng.uniform(0, 2 * math.pi)
        cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
        along = ys * cos - xs * sin
        wave = np.float32(rng.uniform(0, 0.15)) * np.sin(np.float32(rng.uniform(1, 8)) * along)
        distance = (xs * cos + ys * sin + wave - np.float32(rng.uniform(-0.8, 0.8))) * np.float32(side / 2)
        if rng.random() < 0.3:
            distance = np.abs(distance) - np.float32(_log_uniform(rng, 0.5, 12.0))
            width = _log_uniform(rng, 1.0, 3.0)
        else:
            width = _log_uniform(rng, 1.0, 50.0)
        cover = _step(distance, -width / 2, width)
        taken = 1 - rng.uniform(0.3, 1.0) * colour(rng, 1.0)
        light *= 1 - _tinted(1 - cover, taken)
    return light


def product(rng: np.random.Generator, side: int) -> np.ndarray:
    """Things on a plain backdrop, from a tenth to ten times its light: what stands in a studio, outlines sharp to soft.

    Dust shows on the backdrop right beside them, and is hardest to tell there.
    """
    ys, xs = _grid(side)
    light = backdrop(rng, side) if rng.random() < 0.5 else gradient(rng, side)
    level = float(light.mean())
    for _ in range(rng.integers(1, 4)):
        shape = _outline(rng, xs, ys) * np.float32(side / 2)
        width = _log_uniform(rng, 0.8, 6.0) if rng.random() < 0.8 else _log_uniform(rng, 6.0, 30.0)
        cover = _step(-shape, -width / 2, width)
        tone = min(level * _log_uniform(rng, 0.08, 10.0), 1.0)
        look = rng.random()
        if look < 0.45:
            body = _tinted(np.ones((side, side), np.float32), colour(rng, tone))
        elif look < 0.7:  # round things darken towards their outline
            fall = (1 + shape / np.float32(side * rng.uniform(0.1, 0.8))).clip(0.2, 1)
            body = _tinted(fall, colour(rng, tone))
        else:
            body = KINDS[rng.integers(len(KINDS))](rng, side) * np.float32(tone)
        if rng.random() < 0.4:  # it stands before the backdrop and shades it
            reach = np.float32(side * rng.uniform(0.02, 0.2))
            light = light * (1 - np.float32(rng.uniform(0.1, 0.6)) * np.exp(-(shape.clip(0) / reach)))
        light = light + (body - light) * cover
    return light


def _outline(rng: np.random.Generator, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Signed distance, about, to the outline of a large thing, negative inside; half the ground's side is 1."""
    turn, cx, cy = rng.uniform(0, 2 * math.pi), *rng.uniform(-1.1, 1.1, 2)
    cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    across, along = (
        (xs - np.float32(cx)) * cos + (ys - np.float32(cy)) * sin,
        (ys - np.float32(cy)) * cos - (xs - np.float32(cx)) * sin,
    )
    wide, high = np.float32(_log_uniform(rng, 0.15, 1.2)), np.float32(_log_uniform(rng, 0.15, 1.2))
    kind = rng.integers(3)
    if kind == 0:  # round
        return (np.hypot(across / wide, along / high) - 1) * min(wide, high)
    if kind == 1:  # boxes, some with round corners
        corner = np.float32(rng.uniform(0, 0.8)) * min(wide, high)
        dx, dy = np.abs(across) - wide + corner, np.abs(along) - high + corner
        return np.hypot(dx.clip(0), dy.clip(0)) + np.minimum(np.maximum(dx, dy), 0) - corner
    # wavy, as cloth, hair or leaves are
    angle = np.arctan2(along, across)
    lobes, swing = int(rng.integers(2, 9)), np.float32(rng.uniform(0.05, 0.35))
    return np.hypot(across, along) - wide * (1 + swing * np.sin(lobes * angle + np.float32(rng.uniform(0, 6))))


def halftone(rng: np.random.Generator, side: int) -> np.ndarray:
    """Print seen close: screens of round dots whose size follows the tone, in one ink or four."""
    tone = gradient(rng, side)
    period = rng.uniform(3.0, 12.0)
    screens = _SCREENS if rng.random() < 0.5 else _SCREENS[:1]
    turn = rng.uniform(0, math.pi)
    light = np.full((3, side, side), rng.uniform(0.6, 0.9), np.float32)
    for angle, planes in screens:
        across, along = _lines(side, period, turn + angle)
        dots = np.cos(np.float32(2 * math.pi) * across) + np.cos(np.float32(2 * math.pi) * along)
        missing = 1 - tone[planes][:1]
        # Crossing from paper to ink takes 1 to 1.5 px: dots change by 4π/period per px there.
        ink = _step(dots, 2 - 4 * missing - 6 / period, 12 / period)
        light[planes] *= 1 - np.float32(rng.uniform(0.6, 0.95)) * ink
    return light


def text(rng: np.random.Generator, side: int) -> np.ndarray:
    """A page of lettering, any size and direction."""
    wide = int(1.5 * side)
    cover = np.zeros((wide, wide), np.uint8)
    size, thickness, font = _log_uniform(rng, 0.3, 2.5), int(rng.integers(1, 3)), _FONTS[rng.integers(len(_FONTS))]
    for baseline in np.arange(24 * size, wide, 30 * size * rng.uniform(1.1, 2.0)):
        words = "".join(rng.choice(_LETTERS, int(wide / (15 * size))))
        cv2.putText(cover, words, (0, int(baseline)), font, size, 255, thickness, cv2.LINE_AA)
    turn = rng.uniform(0, 360) if rng.random() < 0.5 else 90.0 * rng.integers(4)
    spin: np.ndarray = cv2.getRotationMatrix2D((wide / 2, wide / 2), turn, 1)
    spin[:, 2] -= (wide - side) / 2
    share = cv2.warpAffine(cover, spin, (side, side), flags=cv2.INTER_LINEAR).astype(np.float32) / 255
    page = gradient(rng, side)
    return page + (0.3 * colour(rng)[:, None, None] - page) * share


def stone(rng: np.random.Generator, side: int) -> np.ndarray:
    """Stone, plaster, water, grass far away: a 1/f field of any roughness over a gradient."""
    field = _rough(rng, side, rng.uniform(0.8, 2.2))
    return (1 + np.float32(_log_uniform(rng, 0.0005, 0.25)) * field) * gradient(rng, side)


KINDS: tuple[Field, ...] = (
    flat,
    gradient,
    sky,
    backdrop,
    paper,
    weave,
    knit,
    leaves,
    edges,
    halftone,
    text,
    stone,
)
# Zenith and horizon in linear light: clear, hazy, evening, dusk, overcast.
_SKIES = (
    ((0.14, 0.29, 0.60), (0.60, 0.71, 0.80)),
    ((0.35, 0.48, 0.66), (0.72, 0.76, 0.78)),
    ((0.13, 0.19, 0.37), (0.80, 0.50, 0.32)),
    ((0.03, 0.05, 0.12), (0.20, 0.16, 0.18)),
    ((0.45, 0.47, 0.50), (0.66, 0.68, 0.70)),
)


def colour(rng: np.random.Generator, brightness: float | None = None) -> np.ndarray:
    """Draw a colour, (3,) float32 linear light: half of them nearly grey, the brightest channel at *brightness*."""
    spread = 0.06 if rng.random() < 0.5 else 0.5
    tint = np.exp(spread * rng.standard_normal(3))
    level = _log_uniform(rng, 0.1, 1.0) if brightness is None else brightness
    return (level * tint / tint.max()).astype(np.float32)


def _threads(rng: np.random.Generator, side: int, period_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Count threads across and along, warped a little as cloth is."""
    across, along = _lines(side, period_px, rng.uniform(0, math.pi))
    warp = np.float32(_log_uniform(rng, 0.05, 1.0)) * _rough(rng, side, 2.2)
    return across + warp, along * np.float32(rng.uniform(0.7, 1.3)) + warp


def _cloth(rng: np.random.Generator, side: int, relief: np.ndarray) -> np.ndarray:
    """Dye and light a *relief* of threads; far away little of it is left."""
    relief = cv2.GaussianBlur(relief, (0, 0), rng.uniform(0.5, 1.0))
    light = (1 + np.float32(_log_uniform(rng, 0.05, 1.0)) * (relief - relief.mean())).clip(0.1)
    across, _ = _lines(side, side * rng.uniform(0.5, 3.0), rng.uniform(0, math.pi))
    light *= 1 + np.float32(rng.uniform(0.0, 0.2)) * np.sin(across + np.float32(rng.uniform(0, 6)))  # folds
    return _tinted(light, colour(rng, rng.uniform(0.1, 0.7)))


def _lines(side: int, period_px: float, turn: float) -> tuple[np.ndarray, np.ndarray]:
    ys, xs = _grid(side)
    scale = side / 2 / period_px
    cos, sin = np.float32(scale * math.cos(turn)), np.float32(scale * math.sin(turn))
    return xs * cos + ys * sin, ys * cos - xs * sin


@lru_cache(maxsize=4)
def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (side, 1) and columns (1, side) from -1 to 1, float32; never written to."""
    line = np.linspace(-1, 1, side, dtype=np.float32)
    return line[:, None], line[None]


@lru_cache(maxsize=4)
def _log_frequency(side: int) -> np.ndarray:
    squared = np.square(np.fft.fftfreq(side))[:, None] + np.square(np.fft.rfftfreq(side))[None]
    return (0.5 * np.log(np.maximum(squared, 1 / side**2))).astype(np.float32)


def _rough(rng: np.random.Generator, side: int, power: float) -> np.ndarray:
    """Draw a field whose amplitude falls as 1/f^power, (side, side) float32, mean 0 and deviation 1."""
    amplitude = np.exp(np.float32(-power) * _log_frequency(side))
    amplitude[0, 0] = 0
    noise = rng.standard_normal((2, *amplitude.shape), dtype=np.float32)
    field = np.fft.irfft2((noise[0] + 1j * noise[1]) * amplitude, s=(side, side))
    return field / field.std()


def _step(values: np.ndarray, low: float | np.ndarray, width: float) -> np.ndarray:
    """Rise smoothly from 0 at *low* to 1 at *low* + *width*."""
    share = ((values - np.asarray(low, np.float32)) / np.float32(width)).clip(0, 1)
    return share * share * (3 - 2 * share)


def _tinted(light: np.ndarray, tint: ArrayLike) -> np.ndarray:
    return light * np.asarray(tint, np.float32)[:, None, None]


def _mix(first: ArrayLike, second: ArrayLike, share: np.ndarray) -> np.ndarray:
    start = np.asarray(first, np.float32)
    return start[:, None, None] + _tinted(share, np.asarray(second, np.float32) - start)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
