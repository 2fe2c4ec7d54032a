"""Ways to paint over a spot that `bench_correct.py` compares: each fills what it is told is hidden, from around it.

All work on the four planes of a Bayer mosaic, without demosaicing: (4, h, w) float64 light and the hidden cells
(h, w) bool, the same for all planes; they return filled planes. None knows what the dust let through.
"""

from collections.abc import Callable

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve

Inpainter = Callable[[np.ndarray, np.ndarray], np.ndarray]
PATCH = 7  # cells across
RING = 4  # cells around the hole in which a donor must match


def planes_of(mosaic: np.ndarray) -> np.ndarray:
    """Take a Bayer mosaic (2h, 2w) apart into (4, h, w)."""
    return np.stack([mosaic[dy::2, dx::2] for dy, dx in np.ndindex(2, 2)])


def mosaic_of(planes: np.ndarray) -> np.ndarray:
    """Put (4, h, w) planes together into a Bayer mosaic (2h, 2w)."""
    mosaic = np.empty((2 * planes.shape[1], 2 * planes.shape[2]), planes.dtype)
    for plane, (dy, dx) in zip(planes, np.ndindex(2, 2), strict=True):
        mosaic[dy::2, dx::2] = plane
    return mosaic


def telea(planes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Telea's fast marching (OpenCV), radius 3."""
    return _opencv(planes, hidden, cv2.INPAINT_TELEA)


def navier_stokes(planes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Bertalmio's Navier-Stokes (OpenCV), radius 3."""
    return _opencv(planes, hidden, cv2.INPAINT_NS)


def membrane(planes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Solve Laplace's equation over the hole: the smoothest surface without overshoot."""
    return _solved(planes, hidden, {(0, 0): 4.0, (0, 1): -1.0, (1, 0): -1.0, (0, -1): -1.0, (-1, 0): -1.0})


def biharmonic(planes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Solve the biharmonic equation over the hole, as scikit-image does: slopes go on as well."""
    near = {(0, 0): 20.0} | dict.fromkeys(((0, 1), (1, 0), (0, -1), (-1, 0)), -8.0)
    diagonal = dict.fromkeys(((1, 1), (1, -1), (-1, 1), (-1, -1)), 2.0)
    return _solved(planes, hidden, near | diagonal | dict.fromkeys(((0, 2), (2, 0), (0, -2), (-2, 0)), 1.0))


def poisson_donor(planes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Clone the place whose ring is most like the hole's (Poisson editing): its gradients, our edge."""
    rows, cols = np.where(hidden.any(1))[0], np.where(hidden.any(0))[0]
    top, left = max(rows[0] - RING, 0), max(cols[0] - RING, 0)
    bottom, right = rows[-1] + RING + 1, cols[-1] + RING + 1
    window = hidden[top:bottom, left:right].astype(np.uint8)
    around = cv2.dilate(window, np.ones((2 * RING + 1,) * 2, np.uint8)) - window
    image = np.ascontiguousarray(_evened(planes, hidden).transpose(1, 2, 0).astype(np.float32))
    part = np.ascontiguousarray(image[top:bottom, left:right])
    ring = np.repeat(around[..., None].astype(np.float32), 4, 2)
    away = cv2.matchTemplate(image, part, cv2.TM_SQDIFF, mask=ring)
    covered = cv2.matchTemplate(hidden.astype(np.float32), np.ones(window.shape, np.float32), cv2.TM_CCORR)
    away[covered > 0.5] = np.inf
    if not np.isfinite(away).any():
        return membrane(planes, hidden)
    y, x = np.unravel_index(np.argmin(away), away.shape)
    donor = planes.copy()
    height, width = window.shape
    donor[:, top : top + height, left : left + width] = planes[:, y : y + height, x : x + width]
    return donor + membrane(np.where(hidden, 0, planes - donor), hidden)


def patches(planes: np.ndarray, hidden: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Wexler's space-time completion with an exhaustive search: every patch over the hole as somewhere around it."""
    filled = poisson_donor(planes, hidden).astype(np.float32)
    half = PATCH // 2
    whole = cv2.dilate(hidden.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8)) == 0
    inner = np.zeros_like(whole)
    inner[half:-half, half:-half] = True
    sources, targets = np.argwhere(whole & inner), np.argwhere(~whole & inner)[::3]
    if not len(sources):
        return filled
    for _ in range(rounds):
        views = np.lib.stride_tricks.sliding_window_view(filled, (PATCH, PATCH), axis=(1, 2))
        known = _listed(views, sources - half)
        wanted = _listed(views, targets - half)
        best = (0.5 * (known**2).sum(1) - wanted @ known.T).argmin(1)
        total, count = np.zeros_like(filled), np.zeros(hidden.shape)
        for (y, x), index in zip(targets - half, best, strict=True):
            total[:, y : y + PATCH, x : x + PATCH] += known[index].reshape(-1, PATCH, PATCH)
            count[y : y + PATCH, x : x + PATCH] += 1
        filled = np.where(hidden & (count > 0), total / np.maximum(count, 1), planes * ~hidden + filled * hidden)
    return filled


INPAINTERS: dict[str, Inpainter] = {
    "Telea": telea,
    "Navier-Stokes": navier_stokes,
    "membrane": membrane,
    "biharmonic": biharmonic,
    "Poisson donor": poisson_donor,
    "patches": patches,
}


def _opencv(planes: np.ndarray, hidden: np.ndarray, method: int) -> np.ndarray:
    mask = hidden.astype(np.uint8)
    samples = [np.clip(np.rint(plane * 65535), 0, 65535).astype(np.uint16) for plane in planes]
    filled = np.stack([cv2.inpaint(plane, mask, 3, method) for plane in samples]) / 65535
    return np.where(hidden, filled, planes)


def _solved(planes: np.ndarray, hidden: np.ndarray, stencil: dict[tuple[int, int], float]) -> np.ndarray:
    """Make the *stencil* vanish at every hidden cell, given the others; the border is repeated."""
    height, width = hidden.shape
    number = np.cumsum(hidden.ravel()).reshape(hidden.shape) - 1
    ys, xs = np.nonzero(hidden)
    row = np.arange(len(ys))
    rows, cols, values = [], [], []
    right = np.zeros((len(ys), len(planes)))
    for (dy, dx), weight in stencil.items():
        y, x = np.clip(ys + dy, 0, height - 1), np.clip(xs + dx, 0, width - 1)
        inside = hidden[y, x]
        rows.append(row[inside])
        cols.append(number[y, x][inside])
        values.append(np.full(inside.sum(), weight))
        right[~inside] -= weight * planes[:, y[~inside], x[~inside]].T
    size = (len(ys), len(ys))
    system = coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), size).tocsc()
    filled = planes.copy()
    filled[:, ys, xs] = spsolve(system, right).reshape(len(ys), -1).T
    return filled


def _evened(planes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Bring the colours to one level, so that each has a say."""
    return planes / planes[:, ~hidden].mean(1)[:, None, None]


def _listed(views: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Gather the patches at these corners: (n, 4 * PATCH²)."""
    return views[:, corners[:, 0], corners[:, 1]].transpose(1, 0, 2, 3).reshape(len(corners), -1)
