"""Twenty-two kinds of things that look like dust, as whole scenes: what dustd must leave alone.

A scene is (HEIGHT, WIDTH, 3) float32 linear light, drawn from a generator. None holds dust; `bench_restraint.py` lays
it over some. They share no code with the look-alikes that the detector is trained on (`dustd.train.lookalikes`).
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

HEIGHT, WIDTH = 900, 1200

Rng = np.random.Generator
Places = np.ndarray  # (n, 2) x, y


def ground(rng: Rng, level: float, tint: tuple[float, float, float] = (1, 1, 1), *, grain: float = 0.01) -> np.ndarray:
    """Draw a surface lit from one side, with a fine texture of *grain* and wide uneven patches."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32) / HEIGHT
    turn = rng.uniform(0, 2 * math.pi)
    lit = 1 + 0.12 * ((xs - 0.67) * math.cos(turn) + (ys - 0.5) * math.sin(turn))
    fine = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH), np.float32), (0, 0), rng.uniform(0.8, 2.0))
    wide = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH), np.float32), (0, 0), 60)
    light = level * lit * (1 + grain * fine / fine.std() + 0.03 * wide / wide.std())
    return (light[..., None] * np.array(tint, np.float32)).astype(np.float32)


def sky(rng: Rng) -> np.ndarray:
    """Draw a graduated clear sky."""
    down = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None, None]
    return ((0.25 + rng.uniform(0.1, 0.3) * down) * np.array([0.8, 1.0, 1.2], np.float32)).repeat(WIDTH, 1)


def strewn(rng: Rng, count: int) -> Places:
    """Places at random."""
    return rng.uniform((0, 0), (WIDTH, HEIGHT), (count, 2))


def lattice(rng: Rng, step_px: float, *, shaken: float = 0.0) -> Places:
    """Places of a turned grid of *step_px*, each moved by *shaken* steps at random."""
    axis = np.arange(-30, 31) * step_px
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    turn = rng.uniform(0, math.pi / 2)
    turned = grid @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    places = turned + np.array([WIDTH / 2, HEIGHT / 2]) + shaken * step_px * rng.standard_normal(grid.shape)
    inside = ((places > 0) & (places < (WIDTH, HEIGHT))).all(1)
    return places[inside]


def mark(
    light: np.ndarray,
    place: np.ndarray,
    width_px: float,
    depth: float,
    *,
    edge: float = 0.3,
    tint: tuple[float, float, float] = (1, 1, 1),
    stretch: float = 1.0,
    turn: float = 0.0,
) -> None:
    """Darken (below 0: brighten) a disc by *depth* of the light; *edge* is its soft edge as a share of its width."""
    reach = math.ceil(width_px * max(stretch, 1) + 3)
    x, y = float(place[0]), float(place[1])
    rows = slice(max(0, int(y) - reach), max(0, min(HEIGHT, int(y) + reach + 1)))
    columns = slice(max(0, int(x) - reach), max(0, min(WIDTH, int(x) + reach + 1)))
    ys, xs = np.mgrid[rows, columns].astype(np.float32)
    along = (xs - x) * math.cos(turn) + (ys - y) * math.sin(turn)
    aside = (ys - y) * math.cos(turn) - (xs - x) * math.sin(turn)
    away = np.hypot(along / math.sqrt(stretch), aside * math.sqrt(stretch))
    ramp = max(edge * width_px, 1.0)
    inside = np.clip((width_px / 2 + ramp / 2 - away) / ramp, 0, 1)
    cover = (inside * inside * (3 - 2 * inside))[..., None]
    light[rows, columns] *= 1 - np.clip(depth * np.array(tint, np.float32), -4, 0.98) * cover


def _each(rng: Rng, light: np.ndarray, places: Places, draw: Callable[[], dict]) -> np.ndarray:
    for place in places:
        mark(light, place, **draw())
    return light


def polka_dots(rng: Rng) -> np.ndarray:
    """Printed cloth: equal dots on a grid."""
    width, depth = rng.uniform(16, 30), rng.uniform(0.12, 0.4)
    places = lattice(rng, width * rng.uniform(2.4, 3.5))
    return _each(rng, ground(rng, 0.45, grain=0.02), places, lambda: {"width_px": width, "depth": depth, "edge": 0.35})


def shirt_buttons(rng: Rng) -> np.ndarray:
    """Buttons in two rows, with holes."""
    light, width = ground(rng, 0.4, (0.9, 1, 1.1), grain=0.03), rng.uniform(20, 34)
    for x in (WIDTH * 0.35, WIDTH * 0.6):
        for y in np.arange(50, HEIGHT, rng.uniform(80, 120)):
            mark(light, np.array([x, y]), width, 0.3, edge=0.12)
            for dx, dy in ((-4, -4), (4, -4), (-4, 4), (4, 4)):
                mark(light, np.array([x + dx, y + dy]), 4, 0.6)
    return light


def beads(rng: Rng) -> np.ndarray:
    """A string of dark beads, each with a glint."""
    light, start = ground(rng, 0.5), rng.uniform(0.2, 0.8, 2)
    for k in range(60):
        place = np.array([WIDTH * (0.05 + 0.015 * k), HEIGHT * (start[0] + 0.2 * math.sin(0.12 * k + 6 * start[1]))])
        mark(light, place, 17, 0.55, edge=0.3)
        mark(light, place - 3, 5, -0.8, edge=0.5)
    return light


def moles(rng: Rng) -> np.ndarray:
    """Skin with moles, soft and nearly neutral."""
    return _each(
        rng,
        ground(rng, 0.42, (1.15, 1, 0.9), grain=0.02),
        strewn(rng, 16),
        lambda: {
            "width_px": rng.uniform(11, 30),
            "depth": rng.uniform(0.12, 0.45),
            "edge": rng.uniform(0.3, 0.7),
            "tint": (0.92, 1, 1.04),
        },
    )


def freckles(rng: Rng) -> np.ndarray:
    """Skin with many faint freckles."""
    return _each(
        rng,
        ground(rng, 0.4, (1.25, 0.95, 0.8), grain=0.015),
        strewn(rng, 110),
        lambda: {"width_px": rng.uniform(7, 22), "depth": rng.uniform(0.04, 0.22), "edge": 0.7, "tint": (0.6, 1, 1.2)},
    )


def poppy_seeds(rng: Rng) -> np.ndarray:
    """Poppy seeds on dough."""
    return _each(
        rng,
        ground(rng, 0.55, (1.05, 1, 0.85), grain=0.02),
        strewn(rng, 60),
        lambda: {"width_px": rng.uniform(6, 12), "depth": rng.uniform(0.3, 0.8), "edge": 0.5},
    )


def sesame(rng: Rng) -> np.ndarray:
    """Longish seeds and peppercorns on a plate."""
    return _each(
        rng,
        ground(rng, 0.6),
        strewn(rng, 50),
        lambda: {
            "width_px": rng.uniform(8, 20),
            "depth": rng.uniform(0.1, 0.5),
            "edge": 0.3,
            "stretch": rng.uniform(1, 2.2),
            "turn": rng.uniform(0, 3.1),
        },
    )


def birds(rng: Rng) -> np.ndarray:
    """A flock far away, out of focus."""
    return _each(
        rng,
        sky(rng),
        strewn(rng, 45),
        lambda: {
            "width_px": rng.uniform(6, 16),
            "depth": rng.uniform(0.1, 0.6),
            "edge": rng.uniform(0.5, 1),
            "stretch": rng.uniform(1, 2.5),
            "turn": rng.uniform(-0.6, 0.6),
        },
    )


def dark_bokeh(rng: Rng) -> np.ndarray:
    """Discs of leaves and branches far out of focus before a sky."""
    return _each(
        rng,
        sky(rng),
        strewn(rng, 32),
        lambda: {"width_px": rng.uniform(18, 52), "depth": rng.uniform(0.04, 0.2), "edge": rng.uniform(0.15, 0.4)},
    )


def rain_on_stone(rng: Rng) -> np.ndarray:
    """The first drops on a pavement."""
    return _each(
        rng,
        ground(rng, 0.4, grain=0.05),
        strewn(rng, 60),
        lambda: {"width_px": rng.uniform(12, 32), "depth": rng.uniform(0.1, 0.3), "edge": rng.uniform(0.25, 0.6)},
    )


def water_drops(rng: Rng) -> np.ndarray:
    """Drops on glass before a plain ground: dark above, bright below."""
    light = ground(rng, 0.45)
    for place in strewn(rng, 60):
        width = rng.uniform(14, 44)
        mark(light, place, width, rng.uniform(0.1, 0.3), edge=0.25)
        mark(light, place + np.array([0, 0.15 * width]), 0.6 * width, -rng.uniform(0.1, 0.35), edge=0.5)
    return light


def perforated_sheet(rng: Rng) -> np.ndarray:
    """Holes of a loudspeaker."""
    width = rng.uniform(9, 16)
    places = lattice(rng, 2.6 * width)
    return _each(rng, ground(rng, 0.5), places, lambda: {"width_px": width, "depth": 0.7, "edge": 0.3})


def rivets(rng: Rng) -> np.ndarray:
    """Rivets of a hull in lines, lit from above."""
    light = ground(rng, 0.4, (0.9, 1, 1.05))
    for row in np.arange(60, HEIGHT, 140):
        for x in np.arange(30, WIDTH, 46):
            mark(light, np.array([x, row + 3]), 20, 0.18, edge=0.5)
            mark(light, np.array([x, row - 3]), 18, -0.12, edge=0.6)
    return light


def terrazzo(rng: Rng) -> np.ndarray:
    """Chips of stone in a floor."""
    return _each(
        rng,
        ground(rng, 0.55, grain=0.015),
        strewn(rng, 80),
        lambda: {
            "width_px": math.exp(rng.uniform(math.log(6), math.log(40))),
            "depth": rng.uniform(0.05, 0.4),
            "edge": 0.1,
            "stretch": rng.uniform(1, 1.6),
            "turn": rng.uniform(0, 3.1),
            "tint": tuple(rng.uniform(0.8, 1.2, 3)),
        },
    )


def balloons(rng: Rng) -> np.ndarray:
    """Balloons far up."""
    return _each(
        rng,
        sky(rng),
        strewn(rng, 13),
        lambda: {"width_px": rng.uniform(14, 30), "depth": rng.uniform(0.1, 0.6), "edge": 0.25, "stretch": 1.15},
    )


def beach(rng: Rng) -> np.ndarray:
    """People on sand, from above."""
    light = ground(rng, 0.55, (1.1, 1, 0.85), grain=0.03)
    for place in strewn(rng, 45):
        mark(light, place, rng.uniform(8, 14), rng.uniform(0.3, 0.7), tint=tuple(rng.uniform(0.7, 1.3, 3)))
        mark(light, place + np.array([7, 4]), rng.uniform(8, 16), rng.uniform(0.2, 0.4), stretch=1.8, turn=0.5)
    return light


def cork(rng: Rng) -> np.ndarray:
    """Pores of cork."""
    return _each(
        rng,
        ground(rng, 0.35, (1.2, 1, 0.75), grain=0.06),
        strewn(rng, 120),
        lambda: {"width_px": rng.uniform(5, 22), "depth": rng.uniform(0.15, 0.6), "edge": rng.uniform(0.3, 0.9)},
    )


def stars(rng: Rng) -> np.ndarray:
    """Stars and dark clouds before them."""
    light = np.full((HEIGHT, WIDTH, 3), 0.012, np.float32)
    for place in strewn(rng, 900):
        mark(light, place, rng.uniform(2, 4), -rng.exponential(8), edge=1)
    return _each(rng, light, strewn(rng, 12), lambda: {"width_px": rng.uniform(25, 60), "depth": 0.4, "edge": 0.8})


def seam(rng: Rng) -> np.ndarray:
    """Leather with a line of stitch holes."""
    light = ground(rng, 0.3, (1.1, 1, 0.85), grain=0.02)
    for line in (0.3, 0.36, 0.7):
        for x in np.arange(10, WIDTH, 24):
            mark(light, np.array([x, HEIGHT * line]), 7, 0.4, edge=0.5)
    return light


def stains(rng: Rng) -> np.ndarray:
    """A painted wall with stains of damp, soft, of any size."""
    return _each(
        rng,
        ground(rng, 0.5, grain=0.01),
        strewn(rng, 25),
        lambda: {
            "width_px": math.exp(rng.uniform(math.log(10), math.log(70))),
            "depth": rng.uniform(0.03, 0.15),
            "edge": rng.uniform(0.4, 1),
            "stretch": rng.uniform(1, 1.5),
            "turn": rng.uniform(0, 3.1),
        },
    )


def tufts(rng: Rng) -> np.ndarray:
    """Buttoned upholstery: dimples in rows, of one width as the shadows of one lens are, more or less in shade."""
    width = rng.uniform(32, 42)
    places = lattice(rng, rng.uniform(110, 150), shaken=0.02)
    return _each(
        rng,
        ground(rng, 0.4, grain=0.006),
        places,
        lambda: {
            "width_px": width * math.exp(rng.normal(0, 0.04)),
            "depth": math.exp(rng.uniform(-3.5, -1.5)),
            "edge": 0.35,
        },
    )


def ink_spots(rng: Rng) -> np.ndarray:
    """Spots of blue ink on paper, of one width, more or less faded, with a few of soot among them."""
    width = rng.uniform(32, 42)
    return _each(
        rng,
        ground(rng, 0.5, grain=0.006),
        strewn(rng, 24),
        lambda: {
            "width_px": width * math.exp(rng.normal(0, 0.04)),
            "depth": math.exp(rng.uniform(-3.5, -1.5)),
            "edge": 0.35,
            "tint": (1, 1, 1) if rng.random() < 0.3 else (1.4, 1, 0.5),
        },
    )


KINDS: dict[str, Callable[[Rng], np.ndarray]] = {
    kind.__name__: kind
    for kind in (
        polka_dots,
        shirt_buttons,
        beads,
        moles,
        freckles,
        poppy_seeds,
        sesame,
        birds,
        dark_bokeh,
        rain_on_stone,
        water_drops,
        perforated_sheet,
        rivets,
        terrazzo,
        balloons,
        beach,
        cork,
        stars,
        seam,
        stains,
        tufts,
        ink_spots,
    )
}
