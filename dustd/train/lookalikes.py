"""Hard negatives: real things that a careless eye takes for dust. They carry no label, so none may look like dust.

What dust in one frame cannot be (facts/optics-and-evidence.md §1, §7): a grain's shadow is an image of the pupil, at
least 6 px wide, and where it is shallow it is soft: a spot of width b and depth A has edges of at least b·sqrt(A).
It is grey (channels differ by 15 % of the depth), it never brightens, it is even inside, and the scene's texture goes
on through it. So whatever is drawn here is sharper than that, or coloured, or bright; most of it also has structure
or hides the texture behind it. A soft, grey, shallow disc is never drawn.

Each kind is a function that draws one such thing, or a group of it, into the light of a `Scene`, in place.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import ArrayLike

from dustd.train.outlines import BESIDE_OUTLINES, Scene

Lookalike = Callable[[np.random.Generator, Scene], None]

_LETTERS = np.array(list("ABCDEFGHIKLMNOPRSTUVXYZabdeghknopqrsooo0123456789.,:;*-"))


EQUALS_SHARE = 0.35


def add_lookalikes(rng: np.random.Generator, light: np.ndarray) -> None:
    """Draw 1 to 6 things into *light*, (3, H, W) float32, in place; they may touch and may be cut by the border.

    In EQUALS_SHARE of the calls it is one company of `equals` instead.
    """
    scene = Scene(light)
    if rng.random() < EQUALS_SHARE:
        equals(rng, scene)
        return
    for _ in range(rng.integers(1, 7)):
        KINDS[rng.integers(len(KINDS))](rng, scene)


def bokeh(rng: np.random.Generator, scene: Scene) -> None:
    """Lamps out of focus: bright, coloured images of the aperture, some with a brighter rim."""
    tint = _tint(rng, 0.4)
    radius = _log_uniform(rng, 4, 30)
    blades, turn = int(rng.integers(5, 10)), rng.uniform(0, math.pi)
    is_round, rim = rng.random() < 0.5, rng.uniform(0, 1) * (rng.random() < 0.5)
    for _ in range(rng.integers(1, 5)):
        patch = _Patch(rng, scene, radius + 4)
        distance = patch.radii if is_round else _polygon(patch, blades, turn)
        cover = _inside(distance - radius, 2.0)
        glow = cover * (1 + rim * _inside(radius - 3 - distance, 3.0))
        patch.add(rng.uniform(0.25, 1.5) * patch.level * _planes(glow, tint))


def stars(rng: np.random.Generator, scene: Scene) -> None:
    """Stars, sparks, glints: bright points, alone or in a group."""
    for _ in range(rng.integers(1, 13)):
        patch = _Patch(rng, scene, 8)
        point = np.exp(-np.square(patch.radii) / np.float32(2 * rng.uniform(0.7, 1.8) ** 2))
        patch.add((_log_uniform(rng, 0.3, 3.0) * patch.level + 0.05) * _planes(point, _tint(rng, 0.2)))


def skin(rng: np.random.Generator, scene: Scene) -> None:
    """Moles, freckles and pores: skin lets red through where it swallows green and blue."""
    pores = rng.random() < 0.4
    for _ in range(rng.integers(8, 40) if pores else rng.integers(1, 5)):
        radius = rng.uniform(1.0, 2.5) if pores else _log_uniform(rng, 2.5, 14)
        patch = _Patch(rng, scene, 1.6 * radius + 5)
        lobes = rng.integers(2, 6)
        distance = patch.radii * (1 + 0.25 / lobes * np.cos(lobes * patch.angles + rng.uniform(0, 6)))
        cover = _inside(distance - radius, rng.uniform(1.2, 5.0))
        depth = rng.uniform(0.1, 0.35) if pores else rng.uniform(0.12, 0.8)
        red = rng.uniform(0.1, 0.45)
        patch.darken(_planes(cover, (depth * red, depth, min(0.95, depth * rng.uniform(1.1, 1.4)))))


def dyed_spots(rng: np.random.Generator, scene: Scene) -> None:
    """Specks of paint, berries, confetti: round and dark, yet strongly coloured, sharp or soft."""
    for _ in range(rng.integers(1, 4)):
        radius = _log_uniform(rng, 2.5, 16)
        patch = _Patch(rng, scene, radius + 6)
        depths = rng.uniform(0.15, 0.9) * rng.permutation((1.0, rng.uniform(0, 0.4), rng.uniform(0, 0.6)))
        patch.darken(_planes(_inside(patch.stretched(rng) - radius, rng.uniform(1.0, 5.0)), depths))


def discs(rng: np.random.Generator, scene: Scene) -> None:
    """Buttons of the cloth's own colour, holes, lenses, screws: even grey discs, all too sharp for their depth."""
    radius = _log_uniform(rng, 4, 26)
    # The edge of a shadow so wide and deep is at least a grain's width, 2 r √A, or the least blur; a pixel's is .8 px,
    # and sharpness shows from some 4 px on.
    depth = _log_uniform(rng, max(0.05, (2.4 / radius) ** 2), 0.8)
    edge = np.clip(rng.uniform(0.1, 0.4) * 2 * radius * math.sqrt(depth), 0.8, 2.4)
    for place in _row(rng, scene, radius, int(rng.integers(1, 5))):
        patch = _Patch(rng, scene, radius + edge + 3, place)
        patch.darken(_planes(depth * rng.uniform(0.85, 1.0) * _inside(patch.radii - radius, edge), (1, 1, 1)))


def birds(rng: np.random.Generator, scene: Scene) -> None:
    """Birds far away: dark silhouettes, two wings with a body, or just a streak; every other flock out of focus."""
    tone, size = rng.uniform(0.02, 0.35), _log_uniform(rng, 4, 22)
    # So little that the wings, a fifth of the span thick, still are wings.
    blur = rng.uniform(0.02, 0.06) * size if rng.random() < 0.5 else 0.0
    for _ in range(rng.integers(1, 6)):
        half = size * rng.uniform(0.7, 1.3)
        patch = _Patch(rng, scene, half + 3 + 2 * blur)
        lift, fold, turn = rng.uniform(-0.6, 0.7), rng.uniform(0.3, 0.7), rng.uniform(-0.5, 0.5)
        wing = np.array([(-1, -lift), (-fold, -lift - 0.25), (0, 0), (fold, -lift - 0.25), (1, -lift)])
        if half < 6 and rng.random() < 0.5:
            wing = np.array([(-1, 0), (1, 0)])
        spin = np.array([(math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))])
        cover = _stroke(patch, half * 0.9 * wing @ spin, rng.uniform(0.16, 0.3) * half + 0.5)
        cover = np.maximum(cover, _inside(patch.along(math.pi / 2 - turn, 2.2) - 0.22 * half, 1.2))
        if blur:
            cover = cv2.GaussianBlur(cover, (0, 0), blur)
        patch.paint(cover, tone * patch.level)


def rivets(rng: np.random.Generator, scene: Scene) -> None:
    """Rivet and screw heads, often in a row: a glint on one side, a crisp shadow on the other, some with a slot."""
    radius, lit = _log_uniform(rng, 3, 16), _direction(rng)
    slot = rng.uniform(0, math.pi) if rng.random() < 0.4 and radius > 6 else None
    gain = rng.uniform(0.6, 1.2)
    for place in _row(rng, scene, radius, int(rng.integers(1, 6))):
        patch = _Patch(rng, scene, 1.4 * radius + 3, place)
        shadow = _inside(patch.distance_to(-0.25 * radius * lit) - radius, 1.5)
        patch.darken(_planes(0.55 * shadow, (1, 1, 1)))
        dome = gain * (0.75 + 0.45 * patch.lean(lit) / radius)
        dome += 0.9 * np.exp(-np.square(patch.distance_to(0.5 * radius * lit) / (0.25 * radius)))
        if slot is not None:
            across = np.abs(patch.lean((math.sin(slot), -math.cos(slot))))
            dome *= 1 - 0.8 * _inside(across - 0.12 * radius, 1.0)
        patch.paint(_inside(patch.radii - radius, 1.2), dome * patch.level)


def buttons(rng: np.random.Generator, scene: Scene) -> None:
    """Sewn buttons: a disc of its own colour with a rim and two or four holes."""
    radius, tone = _log_uniform(rng, 6, 26), _tint(rng, 0.4) * rng.uniform(0.15, 1.4)
    holes, turn = (2, 4)[rng.integers(2)], rng.uniform(0, math.pi)
    lit = _direction(rng)
    for place in _row(rng, scene, 2.5 * radius, int(rng.integers(1, 3))):
        patch = _Patch(rng, scene, radius + 3, place)
        lean = patch.lean(lit) / np.float32(radius)
        rim = np.exp(-np.square((patch.radii - 0.85 * radius) / np.float32(0.1 * radius + 0.4)))
        shade = 0.85 + 0.5 * rim * lean
        for index in range(holes):
            angle = turn + index * 2 * math.pi / holes
            hole = patch.distance_to(0.3 * radius * np.array([math.cos(angle), math.sin(angle)]))
            shade *= 1 - 0.85 * _inside(hole - 0.12 * radius - 0.3, 1.0)
        patch.paint(_inside(patch.radii - radius, 1.2), _planes(shade, tone) * patch.level)


def fabric_dots(rng: np.random.Generator, scene: Scene) -> None:
    """Polka dots, perforated metal, a loudspeaker's grille: crisp dots in a regular grid."""
    period = _log_uniform(rng, 8, 40)
    radius = period * rng.uniform(0.15, 0.35)
    patch = _Patch(rng, scene, rng.uniform(2.5, 6) * period)
    (cos, sin), stagger = _direction(rng), rng.integers(2) / 2
    across = patch.lean((cos, sin)) / np.float32(period)
    along = patch.lean((-sin, cos)) / np.float32(period)
    row = np.rint(along)
    across = across + stagger * (row % 2)
    column = np.rint(across)
    distance = np.hypot(across - column, along - row) * np.float32(period)
    reach = rng.integers(1, 5)
    dots = _inside(distance - radius, 1.2) * (np.maximum(np.abs(row), np.abs(column)) <= reach)
    tone = _tint(rng, 0.8) * rng.uniform(1.2, 2.0) if rng.random() < 0.5 else _tint(rng, 0.5) * rng.uniform(0.05, 0.4)
    patch.paint(dots, patch.level * tone[:, None, None])


def pixel_defects(rng: np.random.Generator, scene: Scene) -> None:
    """Hot and dead photosites, single or in pairs."""
    for _ in range(rng.integers(1, 15)):
        y, x = rng.integers(scene.light.shape[1]), rng.integers(scene.light.shape[2])
        site = scene.light[:, y, x : x + 1 + rng.integers(2)]
        site[:] = site + rng.uniform(0.1, 1.0) if rng.random() < 0.7 else 0


def lettering(rng: np.random.Generator, scene: Scene) -> None:
    """Some letters, digits or punctuation, dark, bright or coloured."""
    scale, thickness = _log_uniform(rng, 0.25, 1.3), int(rng.integers(1, 3))
    word = "".join(rng.choice(_LETTERS, rng.integers(1, 9)))
    (width, height), below = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    patch = _Patch(rng, scene, max(width, height + below) / 2 + 3)
    cover = np.zeros(patch.radii.shape, np.uint8)
    corner = ((patch.side - width) // 2, (patch.side + height) // 2)
    cv2.putText(cover, word, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
    tone = _tint(rng, 0.4) * (rng.uniform(0.02, 0.5) if rng.random() < 0.7 else rng.uniform(1.3, 2.0))
    cover = np.rot90(cover, int(rng.integers(4))).astype(np.float32) / 255
    patch.paint(cover, patch.level * tone[:, None, None])


def drops(rng: np.random.Generator, scene: Scene) -> None:
    """Water drops on the subject: the scene upside down inside, a dark and a bright side, a sharp glint."""
    lit = _direction(rng)
    for _ in range(rng.integers(1, 5)):
        radius = _log_uniform(rng, 5, 24)
        patch = _Patch(rng, scene, radius + 3)
        distance = patch.stretched(rng)
        lean = patch.lean(lit) / np.float32(radius)
        ball = 1 - 0.5 * lean * np.square(np.minimum(distance / np.float32(radius), 1))
        rim = 0.5 * _inside(np.abs(distance - 0.95 * radius) - 0.8, 1.0) * (lean > 0)
        glint = _inside(patch.distance_to(0.5 * radius * lit) - max(0.8, 0.1 * radius), 1.2)
        inside = patch.here[:, ::-1, ::-1] * (ball - rim) + 1.5 * glint * patch.level
        patch.paint(_inside(distance - radius, 1.2), inside)


def lint(rng: np.random.Generator, scene: Scene) -> None:
    """A thread on the subject: pale or dyed, lit from one side, its thin shadow beside it."""
    half = _log_uniform(rng, 8, 50)
    patch = _Patch(rng, scene, half + 5)
    steps = np.linspace(-1, 1, 24)
    curl, twist, turn = rng.uniform(-0.6, 0.6), rng.uniform(-0.4, 0.4), rng.uniform(0, 2 * math.pi)
    curve = np.stack([steps, curl * (steps**2 - 0.4) + twist * steps * (steps**2 - 1)], 1) * half * 0.9
    curve = curve @ np.array([(math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))])
    width = rng.uniform(1.0, 3.0)
    away = (0.5 * width + 0.8) * _direction(rng)
    patch.darken(_planes(rng.uniform(0.1, 0.5) * _stroke(patch, curve + away, width), (1, 1, 1)))
    patch.paint(_stroke(patch, curve, width), patch.level * (_tint(rng, 0.5) * rng.uniform(1.15, 2.0))[:, None, None])


def equals(rng: np.random.Generator, scene: Scene) -> None:
    """Many small things alike in size and depth, in rows, a grid or strewn: dots, beads, buttons, seeds, snow, holes.

    One alone may look like dust; together they cannot be: grains of one sensor share the pupil's blur and no depth.
    """
    radius = _log_uniform(rng, 2.0, 18.0)
    deep = rng.uniform(0.04, 0.7)
    tint = _tint(rng, 0.5) if rng.random() < 0.4 else np.ones(3, np.float32)
    is_bright = rng.random() < 0.3
    # A shallow shadow of a grain has edges of b·√A at least; these are sharper, or in great company.
    edge = rng.uniform(0.8, 1.5) if rng.random() < 0.6 else rng.uniform(1.5, 0.8 * radius + 1.5)
    uneven = rng.uniform(0, 0.08)
    for place in _company(rng, scene, radius):
        patch = _Patch(rng, scene, 1.2 * radius + edge + 3, place)
        distance = patch.radii if rng.random() < 0.7 else patch.stretched(rng)
        cover = _inside(distance - radius * (1 + uneven * rng.standard_normal()), edge)
        depth = deep * (1 + uneven * rng.standard_normal())
        if is_bright:
            patch.add(_planes(depth * cover, tint) * patch.level)
        else:
            patch.darken(_planes(np.clip(depth, 0, 0.98) * cover, tint))


def _company(rng: np.random.Generator, scene: Scene, radius: float) -> np.ndarray:
    """Place 12 to 80 things of *radius*: on a lattice, perhaps shaken, or strewn over a part; (n, 2) x and y."""
    step = radius * rng.uniform(2.6, 7.0)
    count = int(rng.integers(12, 81))
    middle = _somewhere(rng, scene, radius)
    if rng.random() < 0.3:
        return middle + rng.standard_normal((count, 2)) * step * math.sqrt(count) / 3
    (cos, sin), side = _direction(rng), math.isqrt(count)
    rows, columns = np.divmod(np.arange(count), side)
    grid = np.stack([columns + (rows % 2) * rng.integers(2) / 2, rows * rng.uniform(0.8, 1.2)], 1) - side / 2
    shaken = grid + rng.uniform(0, 0.25) * rng.standard_normal(grid.shape)
    return middle + shaken * step @ np.array([(cos, sin), (-sin, cos)])


KINDS: tuple[Lookalike, ...] = (
    bokeh,
    stars,
    skin,
    dyed_spots,
    discs,
    birds,
    rivets,
    buttons,
    fabric_dots,
    pixel_defects,
    lettering,
    drops,
    lint,
)


class _Patch:
    """A square piece of the picture round a place, with coordinates from its middle; cut where the picture ends."""

    def __init__(
        self, rng: np.random.Generator, scene: Scene, reach_px: float, place: np.ndarray | None = None
    ) -> None:
        height, width = scene.light.shape[1:]
        x, y = _somewhere(rng, scene, reach_px) if place is None else place
        reach = math.ceil(reach_px)
        self.side = 2 * reach + 1
        left, top = math.floor(x) - reach, math.floor(y) - reach
        self._rows = slice(max(-top, 0), max(min(self.side, height - top), 0))
        self._columns = slice(max(-left, 0), max(min(self.side, width - left), 0))
        self._view = scene.light[:, max(top, 0) : max(top + self.side, 0), max(left, 0) : max(left + self.side, 0)]
        self.middle = np.array([reach + x % 1, reach + y % 1], np.float32)
        line = np.arange(self.side, dtype=np.float32)
        self.xs, self.ys = (line - self.middle[0])[None], (line - self.middle[1])[:, None]
        self.radii = np.hypot(self.xs, self.ys)
        # Brightness per channel around, (3, 1, 1): what is drawn is lit by the light of its place.
        self.level = self._view.mean((1, 2), keepdims=True) if self._view.size else np.zeros((3, 1, 1), np.float32)

    @property
    def angles(self) -> np.ndarray:
        """Direction of each pixel from the middle, radians, (side, side)."""
        return np.arctan2(self.ys, self.xs)

    @property
    def here(self) -> np.ndarray:
        """The scene, (3, side, side), its mean where the patch reaches beyond the picture."""
        whole = np.broadcast_to(self.level, (3, self.side, self.side)).copy()
        whole[:, self._rows, self._columns] = self._view
        return whole

    def lean(self, direction: ArrayLike) -> np.ndarray:
        """Give each pixel's way from the middle along *direction*, (side, side) px."""
        x, y = np.asarray(direction, np.float32)
        return self.xs * x + self.ys * y

    def distance_to(self, point: ArrayLike) -> np.ndarray:
        """Give each pixel's distance to *point*, x and y from the middle, (side, side) px."""
        x, y = np.asarray(point, np.float32)
        return np.hypot(self.xs - x, self.ys - y)

    def along(self, turn: float, stretch: float) -> np.ndarray:
        """Give distances from the middle as an ellipse sees them, *stretch* times longer at angle *turn*."""
        cos, sin = math.cos(turn), math.sin(turn)
        return np.hypot(self.lean((cos, sin)) / np.float32(stretch), self.lean((-sin, cos)))

    def stretched(self, rng: np.random.Generator) -> np.ndarray:
        """Do `along` at random, up to 1.6 times."""
        stretch = math.sqrt(rng.uniform(1.0, 1.6))
        return self.along(rng.uniform(0, math.pi), stretch) * np.float32(stretch)

    def add(self, gain: np.ndarray) -> None:
        """Add light, (3, side, side)."""
        self._view += gain[:, self._rows, self._columns]

    def darken(self, depth: np.ndarray) -> None:
        """Take a share of the light, (3, side, side)."""
        self._view *= 1 - depth[:, self._rows, self._columns]

    def paint(self, cover: np.ndarray, tone: np.ndarray) -> None:
        """Hide the scene behind *tone* (broadcast to (3, side, side)) where *cover* (side, side) is 1."""
        whole = np.broadcast_to(tone, (3, self.side, self.side))[:, self._rows, self._columns]
        self._view += (whole - self._view) * cover[self._rows, self._columns].astype(np.float32)


def _somewhere(rng: np.random.Generator, scene: Scene, radius: float) -> np.ndarray:
    """Choose where a thing of *radius* goes, (2,) x and y: anywhere, or its rim within a width of an outline."""
    height, width = scene.light.shape[1:]
    anywhere = rng.uniform(0, (width, height))
    if rng.random() >= BESIDE_OUTLINES:
        return anywhere
    places = scene.outline_places
    if len(places) == 0:
        return anywhere
    return places[rng.integers(len(places))][::-1] + radius * rng.uniform(1.0, 3.0) * _direction(rng)


def _row(rng: np.random.Generator, scene: Scene, radius: float, count: int) -> np.ndarray:
    """Place *count* things at equal steps along a line, (count, 2) x and y."""
    start, step = _somewhere(rng, scene, radius), radius * rng.uniform(2.5, 6.0)
    return start + np.arange(count)[:, None] * step * _direction(rng)


def _direction(rng: np.random.Generator) -> np.ndarray:
    """Draw a direction, (2,) x and y of length 1."""
    turn = rng.uniform(0, 2 * math.pi)
    return np.array([math.cos(turn), math.sin(turn)])


def _polygon(patch: _Patch, corners: int, turn: float) -> np.ndarray:
    """Give distances from the middle as a regular polygon sees them."""
    sector = 2 * math.pi / corners
    off = np.remainder(patch.angles - turn, sector) - sector / 2
    return patch.radii * np.cos(off) / np.float32(math.cos(sector / 2))


def _stroke(patch: _Patch, points: np.ndarray, width_px: float) -> np.ndarray:
    """Cover a line through *points* (n, 2), x and y from the middle; drawn at four times the size to be smooth."""
    fine = np.zeros((4 * patch.side, 4 * patch.side), np.uint8)
    line = np.rint((points + patch.middle + 0.5) * 4).astype(np.int32)
    cv2.polylines(fine, [line], False, 255, max(1, round(4 * width_px)))
    return cv2.resize(fine, (patch.side, patch.side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _inside(distance: np.ndarray, edge_px: float) -> np.ndarray:
    """Cover where *distance* to an outline (px) is negative; the edge is a ramp *edge_px* wide."""
    return (np.float32(0.5) - distance / np.float32(edge_px)).clip(0, 1)


def _planes(shape: np.ndarray, tint: ArrayLike) -> np.ndarray:
    return shape * np.asarray(tint, np.float32)[:, None, None]


def _tint(rng: np.random.Generator, spread: float) -> np.ndarray:
    """Draw a tint, (3,) float32, brightest channel 1."""
    tint = np.exp(spread * rng.standard_normal(3))
    return (tint / tint.max()).astype(np.float32)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
