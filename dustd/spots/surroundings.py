"""The surroundings of one spot, as the measuring and the correcting see them: light, colours, smooth background.

Light is linear and looked at in cells of several pixels, about CELLS across, so that the cost of a spot does not grow
with its size. Every sensor kind ends up as planes of one colour each.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dustd.raw.frame import Frame

CELLS = 36  # a patch is looked at in about this many cells across
DARK_LIGHT = 1e-5  # below this share of white the log says nothing
# The spot itself lies within the first share of a patch's half side, and takes no light from the second on.
SPOT_WITHIN, SURROUNDINGS_FROM = 0.4, 0.5
# Over three cells light does not change by more than this (ln) on one side of an outline. On busy ground it does, in
# many places, and then no side is told.
SAME_SIDE = 0.15
# What lies beyond an outline is this share of the patch at least, and there are no more such pieces: what is smaller,
# or in many pieces, is the scene's texture.
LEAST_SIDE, MOST_SIDES = 0.01, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The surroundings of a spot, in cells of *step* x *step* px; its first pixel is (*left*, *top*).

    *planes* (n, h, w) is mean light per colour and cell, *shares* (n, h, w) the share of usable samples behind it,
    *bases* (n, h, w) the smooth background, *log* (h, w) the log of light over background, pooled over colours;
    *known* (h, w) tells the cells that have any sample. *xs* (1, w) and *ys* (h, 1) are the cells' centres.
    """

    left: int
    top: int
    step: int
    planes: np.ndarray
    shares: np.ndarray
    bases: np.ndarray
    log: np.ndarray
    known: np.ndarray
    xs: np.ndarray
    ys: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """The patch's rows and columns in the visible area."""
        h, w = self.log.shape
        return slice(self.top, self.top + h * self.step), slice(self.left, self.left + w * self.step)


def colours(frame: Frame, rows: slice, cols: slice) -> np.ndarray:
    """Tell the plane (0, 1, 2) of each CFA or mono sample in a window of the visible area: (h, w)."""
    cfa = np.asarray(frame.cfa)
    ys, xs = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
    return cfa[np.ix_(ys % cfa.shape[0], xs % cfa.shape[1])]


def black_level(frame: Frame, rows: slice, cols: slice) -> np.ndarray:
    """Return the black level of each sample in a window of the visible area, shaped to subtract from it."""
    black = np.asarray(frame.black, np.float32)
    if frame.kind == "linear":
        return black.reshape(1, 1, 3)
    ys, xs = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
    return black[np.ix_(ys % black.shape[0], xs % black.shape[1])]


def cut(frame: Frame, x: float, y: float, half_px: float, avoid: np.ndarray | None = None) -> Patch | None:
    """Cut the patch of +-*half_px* around (x, y), as far as the frame goes, and find its background.

    *avoid* (n, 3) are x, y, radius of circles to keep out of it (other spots). What lies beyond an object's outline is
    kept out, too. Returns None if too little is left.
    """
    step = max(1, round(2 * half_px / CELLS))
    left, top = (max(0, round(v - half_px)) for v in (x, y))
    nx, ny = (
        min(round(2 * half_px), end - start) // (2 * step) * 2
        for start, end in ((left, min(frame.width, round(x + half_px))), (top, min(frame.height, round(y + half_px))))
    )
    if min(nx, ny) < 8:
        return None
    rows, cols = slice(top, top + ny * step), slice(left, left + nx * step)
    samples = frame.mosaic[rows, cols]
    light = (samples - black_level(frame, rows, cols)) / (frame.white - float(np.mean(frame.black)))
    usable = samples < frame.white
    if avoid is not None and len(avoid):
        ys, xs = np.ogrid[rows, cols]
        apart_x = np.abs(avoid[:, 0] - (cols.start + cols.stop - 1) / 2) - (cols.stop - cols.start) / 2
        apart_y = np.abs(avoid[:, 1] - (rows.start + rows.stop - 1) / 2) - (rows.stop - rows.start) / 2
        for ax, ay, radius in avoid[np.maximum(apart_x, apart_y) <= avoid[:, 2]]:  # the others lie elsewhere
            usable &= (np.hypot(xs - ax, ys - ay) > radius).reshape(light.shape[:2] + (1,) * (light.ndim - 2))
    if frame.kind == "linear":
        parts = [(light[..., c], usable[..., c]) for c in range(3)]
    else:
        plane = colours(frame, rows, cols)
        parts = [(light, usable & (plane == c)) for c in np.unique(np.asarray(frame.cfa))]
    shares = np.stack([_cells(mask.astype(np.float32), step) for _, mask in parts])
    planes = np.stack([_cells(np.where(mask, part, 0).astype(np.float32), step) for part, mask in parts])
    planes /= np.maximum(shares, 1e-9)
    xs = left + (np.arange(nx) * step + (step - 1) / 2)[None, :].astype(np.float32)
    ys = top + (np.arange(ny) * step + (step - 1) / 2)[:, None].astype(np.float32)
    away = np.hypot(xs - x, ys - y) / half_px
    shares *= _own_side(planes, shares, away)
    return _flatten(left, top, step, planes, shares, xs, ys, away > SURROUNDINGS_FROM)


def _own_side(planes: np.ndarray, shares: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Tell the cells that lie on the spot's own side of an object's outline: (h, w) bool, all of them if none is near.

    *away* (h, w) is how far each is from the spot, as a share of the patch's half side. What lies beyond an outline
    says nothing of how the spot's own ground varies, and its step drowns any dust (detector-training facts §6.1).
    """
    smooth, around = cv2.medianBlur(_log_light(planes, shares), 5), np.ones((3, 3), np.uint8)
    plain = cv2.dilate(smooth, around) - cv2.erode(smooth, around) < SAME_SIDE
    _, grounds = cv2.connectedComponents(plain.astype(np.uint8), connectivity=4)
    ring = grounds[plain & (away > SURROUNDINGS_FROM) & (away < 1.4 * SURROUNDINGS_FROM)]
    if not ring.size:
        return np.ones_like(plain)
    rest = (grounds != np.bincount(ring).argmax()) & (away > SPOT_WITHIN)
    count, pieces, sizes, _ = cv2.connectedComponentsWithStats(rest.astype(np.uint8), connectivity=8)
    rim = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    sides = [n for n in range(1, count) if n in rim and sizes[n, cv2.CC_STAT_AREA] >= LEAST_SIDE * rest.size]
    beyond = cv2.dilate(np.isin(pieces, sides).astype(np.uint8), around) > 0
    if len(sides) > MOST_SIDES or beyond.mean() > 0.5:
        return np.ones_like(plain)
    return ~beyond


def _log_light(planes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Pool the colours of cells (n, h, w), each over its median: log of light (h, w) float32, 0 where nothing is."""
    pooled = np.zeros_like(planes[0])
    for plane, share in zip(planes, shares, strict=True):
        if (there := plane[share > 0]).size:
            pooled += share * plane / max(_middle(there), DARK_LIGHT)
    total = shares.sum(0)
    return np.log(np.maximum(np.where(total > 0, pooled / np.maximum(total, 1e-9), 1.0), 0.01)).astype(np.float32)


def fill(values: np.ndarray, known: np.ndarray, rounds: int = 40) -> np.ndarray:
    """Span a membrane over the unknown cells of (h, w) *values*: coarse to fine, then relaxed."""
    if known.all():
        return values
    if not known.any():
        return np.zeros_like(values)
    weight = known.astype(np.float32)
    if min(values.shape) > 2:
        small = (max(1, values.shape[1] // 2), max(1, values.shape[0] // 2))
        low_weight = cv2.resize(weight, small, interpolation=cv2.INTER_AREA)
        low = cv2.resize(values * weight, small, interpolation=cv2.INTER_AREA) / np.maximum(low_weight, 1e-9)
        guess = cv2.resize(fill(low, low_weight > 0, rounds // 2), values.shape[::-1], interpolation=cv2.INTER_LINEAR)
    else:
        guess = np.full_like(values, values[known].mean())
    filled: np.ndarray = np.where(known, values, guess).astype(np.float32)
    fixed, mask = filled.copy(), known.astype(np.uint8)
    for _ in range(rounds):
        filled = cv2.copyTo(fixed, mask, cv2.blur(filled, (3, 3), borderType=cv2.BORDER_REFLECT))
    return filled


def _cells(values: np.ndarray, step: int) -> np.ndarray:
    """Average (h, w) values over step x step cells."""
    h, w = values.shape
    return values if step == 1 else cv2.resize(values, (w // step, h // step), interpolation=cv2.INTER_AREA)


def _flatten(
    left: int,
    top: int,
    step: int,
    planes: np.ndarray,
    shares: np.ndarray,
    xs: np.ndarray,
    ys: np.ndarray,
    away: np.ndarray,
) -> Patch | None:
    """Divide each colour by a smooth surface fitted to what lies *away* from the spot, and pool the colours."""
    u, v = np.broadcast_arrays((xs - xs.mean()) / np.ptp(xs), (ys - ys.mean()) / np.ptp(ys))
    terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1).astype(np.float32)
    bases = np.empty_like(planes)
    pooled = np.zeros_like(planes[0])
    total = np.zeros_like(pooled)
    for k, (plane, share) in enumerate(zip(planes, shares, strict=True)):
        here = away & (share > 0)
        if here.sum() < 24:  # clipped, most likely: this colour says nothing
            bases[k] = 1
            continue
        bases[k], spread = _surface(plane, terms, here)
        bright = bases[k] > DARK_LIGHT
        weight = share * bright / spread**2
        pooled += weight * np.where(bright, plane, 0) / np.maximum(bases[k], DARK_LIGHT)
        total += weight
    known = total > 0
    if known.mean() < 0.3:
        return None
    ratio = np.where(known, pooled / np.maximum(total, 1e-30), 1)
    log = np.log(np.maximum(ratio, 0.02)).astype(np.float32)
    return Patch(
        left=left, top=top, step=step, planes=planes, shares=shares, bases=bases, log=log, known=known, xs=xs, ys=ys
    )


def _surface(plane: np.ndarray, terms: np.ndarray, here: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit a quadratic robustly; return it everywhere and the relative spread of the data around it."""
    a, b = terms[here], plane[here]
    weight = np.ones_like(b)
    for _ in range(3):
        aw = a * weight[:, None]
        solution = np.linalg.lstsq(aw.T @ a, aw.T @ b, rcond=None)[0]
        rest = b - a @ solution
        size = np.abs(rest)
        spread = 1.4826 * _middle(size) + 1e-7
        weight = np.minimum(1, 1.5 * spread / np.maximum(size, 1e-9)).astype(np.float32)
    base = terms @ solution
    return base, spread / max(_middle(b), 1e-5)


def _middle(values: np.ndarray) -> float:
    """Return the median, the larger of the two middle ones of an even number: quicker than NumPy's."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])
