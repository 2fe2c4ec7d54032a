"""Ten kinds of things with few marks right beside their outlines: buttons, screws, moles, feet and what they stand on.

A lone mark has no company to give it away, and beside an outline it is measured on one side only. Scenes are as in
`lookalike_scenes.py`: (HEIGHT, WIDTH, 3) float32 linear light without dust, drawn from a generator.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
from lookalike_scenes import HEIGHT, WIDTH, Rng, ground, mark

SUPERSAMPLED = 8  # outlines are drawn to an eighth of a pixel


def shape(light: np.ndarray, corners: np.ndarray, surface: np.ndarray, *, soft_px: float = 0.7) -> None:
    """Lay another *surface* (`ground`) inside the polygon *corners* (n, 2), its outline blurred by *soft_px* as a lens
    would."""
    cover = np.zeros(light.shape[:2], np.uint8)
    points = np.round(np.asarray(corners) * SUPERSAMPLED).astype(np.int32)
    cv2.fillPoly(cover, [points], 255, cv2.LINE_AA, int(math.log2(SUPERSAMPLED)))
    light += cv2.GaussianBlur(cover.astype(np.float32) / 255, (0, 0), soft_px)[..., None] * (surface - light)


def rounded(x: float, y: float, width: float, height: float, turn: float = 0.0, power: float = 2.0) -> np.ndarray:
    """Corners of a superellipse: an ellipse at *power* 2, a rectangle with round corners at 6."""
    angle = np.linspace(0, 2 * math.pi, 200, endpoint=False)
    unit = np.stack([np.cos(angle), np.sin(angle)], 1)
    unit = np.sign(unit) * np.abs(unit) ** (2 / power) * np.array([width / 2, height / 2])
    turned = unit @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return turned + np.array([x, y])


def inside(corners: np.ndarray, share: float, rim_px: float) -> np.ndarray:
    """Give the place *rim_px* inside the outline, at *share* of the way around it."""
    at = corners[int(share * len(corners)) % len(corners)]
    to_middle = corners.mean(0) - at
    return at + to_middle / np.linalg.norm(to_middle) * rim_px


def placket(rng: Rng) -> np.ndarray:
    """Open shirt or jacket: three buttons of the cloth's own colour beside the edge."""
    light, x = ground(rng, rng.uniform(0.3, 0.6), grain=0.008), rng.uniform(0.35, 0.6) * WIDTH
    shape(
        light,
        np.array([[0, 0], [x, 0], [x + rng.uniform(-60, 60), HEIGHT], [0, HEIGHT]]),
        ground(rng, rng.uniform(0.15, 0.5)),
    )
    width, rim = rng.uniform(20, 44), rng.uniform(8, 26)
    for y in rng.uniform(150, 230) + np.arange(3) * rng.uniform(210, 260):
        mark(
            light, np.array([x - 30 - rim - width / 2, y]), width, rng.uniform(0.08, 0.25), edge=rng.uniform(0.15, 0.4)
        )
    return light


def screws(rng: Rng) -> np.ndarray:
    """A housing with a countersunk screw in each corner."""
    light = ground(rng, rng.uniform(0.4, 0.7), grain=0.004)
    width, height = rng.uniform(500, 800), rng.uniform(350, 600)
    x, y, size, rim = WIDTH / 2, HEIGHT / 2, rng.uniform(14, 34), rng.uniform(8, 20)
    shape(light, rounded(x, y, width, height, power=12), ground(rng, rng.uniform(0.1, 0.5), (0.95, 1, 1.05)))
    for sx, sy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        place = np.array([x + sx * (width / 2 - rim - size / 2), y + sy * (height / 2 - rim - size / 2)])
        mark(light, place, size, rng.uniform(0.15, 0.45), edge=0.25)
    return light


def jaw(rng: Rng) -> np.ndarray:
    """A face or shoulder before a backdrop, with two moles near its outline."""
    light = ground(rng, rng.uniform(0.3, 0.7), grain=0.004)
    outline = rounded(WIDTH * 0.45, HEIGHT * 0.5, 620, 760, rng.uniform(-0.3, 0.3), 2.2)
    shape(light, outline, ground(rng, rng.uniform(0.25, 0.45), (1.15, 1, 0.9)), soft_px=1.5)
    for _ in range(2):
        width = rng.uniform(14, 34)
        place = inside(outline, rng.random(), rng.uniform(5, 40) + width / 2)
        mark(light, place, width, rng.uniform(0.1, 0.4), edge=rng.uniform(0.3, 0.7), tint=(0.92, 1, 1.04))
    return light


def bezel(rng: Rng) -> np.ndarray:
    """A screen, its camera and its lamp in the dark frame around it."""
    light = ground(rng, rng.uniform(0.4, 0.7), grain=0.004)
    x, y, width, height, frame = WIDTH / 2, HEIGHT / 2, 760, 520, rng.uniform(60, 110)
    shape(light, rounded(x, y, width, height, power=10), ground(rng, 0.08))
    shape(
        light,
        rounded(x, y, width - 2 * frame, height - 2 * frame, power=20),
        ground(rng, rng.uniform(0.3, 0.6), (0.9, 1, 1.15)),
    )
    size = rng.uniform(18, min(36, frame - 14))
    mark(light, np.array([x, y - height / 2 + frame / 2]), size, rng.uniform(0.2, 0.6), edge=0.3)
    mark(light, np.array([x + 60, y - height / 2 + frame / 2]), 0.5 * size, rng.uniform(0.15, 0.4), edge=0.3)
    return light


def plate(rng: Rng) -> np.ndarray:
    """A white plate on a dark table, a few crumbs and peppercorns near its rim."""
    light = ground(rng, rng.uniform(0.08, 0.25), (1.1, 1, 0.85), grain=0.01)
    outline = rounded(WIDTH / 2, HEIGHT / 2, 800, 760)
    shape(light, outline, ground(rng, rng.uniform(0.45, 0.65)))
    for _ in range(5):
        width = rng.uniform(10, 26)
        mark(
            light,
            inside(outline, rng.random(), rng.uniform(4, 50) + width / 2),
            width,
            rng.uniform(0.1, 0.5),
            edge=rng.uniform(0.2, 0.5),
            stretch=rng.uniform(1, 1.6),
            turn=rng.uniform(0, 3.1),
        )
    return light


def panel(rng: Rng) -> np.ndarray:
    """A cupboard's side with four system holes along its front edge."""
    light, x = ground(rng, rng.uniform(0.15, 0.35), grain=0.006), rng.uniform(0.3, 0.6) * WIDTH
    shape(
        light,
        np.array([[x, 0], [WIDTH, 0], [WIDTH, HEIGHT], [x, HEIGHT]]),
        ground(rng, rng.uniform(0.4, 0.65), (1.05, 1, 0.92)),
    )
    width, rim, depth = rng.uniform(14, 26), rng.uniform(12, 40), rng.uniform(0.2, 0.6)
    for y in rng.uniform(80, 160) + np.arange(4) * rng.uniform(170, 210):
        mark(light, np.array([x + rim + width / 2, y]), width, depth, edge=0.25)
    return light


def boards(rng: Rng) -> np.ndarray:
    """Painted boards with gaps, a nail's head on either side of some."""
    light, step = ground(rng, rng.uniform(0.35, 0.6), grain=0.015), rng.uniform(190, 260)
    width, rim = rng.uniform(12, 24), rng.uniform(8, 22)
    for number, y in enumerate(np.arange(rng.uniform(40, 120), HEIGHT, step)):
        shape(light, np.array([[0, y], [WIDTH, y], [WIDTH, y + 6], [0, y + 6]]), ground(rng, 0.05))
        if number % 2:
            x = rng.uniform(0.2, 0.8) * WIDTH
            for side in (-rim - width / 2, 6 + rim + width / 2):
                mark(light, np.array([x, y + side]), width, rng.uniform(0.1, 0.4), edge=rng.uniform(0.2, 0.5))
    return light


def feet(rng: Rng) -> np.ndarray:
    """A box on three feet over a bright table: the shadow under each foot, soft and grey, touches its outline."""
    light, floor = ground(rng, rng.uniform(0.5, 0.75), grain=0.004), rng.uniform(0.6, 0.7) * HEIGHT
    for x in WIDTH * np.array([0.33, 0.5, 0.67]):
        width = rng.uniform(40, 60)
        mark(
            light, np.array([x + rng.uniform(10, 26), floor + 30]), width, rng.uniform(0.1, 0.35), edge=0.8, stretch=1.3
        )
        shape(light, rounded(x, floor + 10, 34, 44), ground(rng, 0.12))
    shape(light, rounded(WIDTH / 2, floor - 190, 620, 400, power=9), ground(rng, rng.uniform(0.1, 0.4)))
    return light


def necklace(rng: Rng) -> np.ndarray:
    """Grey pearls along the neckline of a dress, three that show."""
    light = ground(rng, rng.uniform(0.3, 0.5), (1.15, 1, 0.9), grain=0.01)
    outline = rounded(WIDTH / 2, HEIGHT + 60, 900, 900)
    shape(light, outline, ground(rng, rng.uniform(0.1, 0.6)))
    for share in rng.uniform(0.62, 0.88) + np.array([-0.04, 0.0, 0.04]):
        mark(light, inside(outline, share, -rng.uniform(24, 32)), rng.uniform(26, 32), rng.uniform(0.1, 0.25), edge=0.4)
    return light


def knob(rng: Rng) -> np.ndarray:
    """A drawer's knob and keyhole beside the gap around its front."""
    light = ground(rng, rng.uniform(0.3, 0.6), (1.05, 1, 0.95), grain=0.006)
    x, y, width, height = WIDTH / 2, HEIGHT / 2, 720, 360
    shape(light, rounded(x, y, width, height, power=20), ground(rng, 0.04))
    shape(light, rounded(x, y, width - 12, height - 12, power=20), ground(rng, rng.uniform(0.3, 0.6)))
    size = rng.uniform(22, 46)
    mark(light, np.array([x, y - height / 2 + rng.uniform(12, 26) + size / 2]), size, rng.uniform(0.1, 0.3), edge=0.35)
    place = np.array([x + width / 2 - rng.uniform(22, 40), y])
    mark(light, place, rng.uniform(16, 26), rng.uniform(0.3, 0.7), edge=0.3)
    return light


OUTLINE_KINDS: dict[str, Callable[[Rng], np.ndarray]] = {
    kind.__name__: kind for kind in (placket, screws, jaw, bezel, plate, panel, boards, feet, necklace, knob)
}
