"""Which samples the correction of a spot may touch, and how they are written: never clipped ones, never outside.

What is computed in light is rounded by dither, drawn from the place alone, so that no levels comb and the same frame
always gives the same samples.
"""

from collections.abc import Callable, Sequence

import numpy as np

from dustd.raw.frame import Frame
from dustd.spots.measure import Shadow
from dustd.spots.spot import Spot
from dustd.spots.surroundings import black_level

SKIRT = 1.25  # a correction fades out at this multiple of the shadow's reach


def skirt(shadow: Shadow, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Weigh places by how far a correction may act there: 1 under the shadow, falling to 0 outside it; (h, w)."""
    t = (np.hypot(xs - shadow.x, ys - shadow.y) / shadow.reach_px - 1) / (SKIRT - 1)
    t = np.clip(t, 0, 1)
    return 1 - t * t * (3 - 2 * t)


def box(work: Frame, shadow: Shadow) -> tuple[slice, slice, np.ndarray, np.ndarray]:
    """Return the rows and columns of the visible area that a correction may touch, and their coordinates xs, ys."""
    reach = SKIRT * shadow.reach_px
    rows = slice(max(0, int(shadow.y - reach)), min(work.height, int(shadow.y + reach) + 2))
    cols = slice(max(0, int(shadow.x - reach)), min(work.width, int(shadow.x + reach) + 2))
    ys, xs = np.ogrid[rows, cols]
    return rows, cols, xs, ys


def circles(spot: Spot, others: Sequence[Spot]) -> np.ndarray:
    """Return x, y, radius (n, 3) of the *others* that do not reach the spot's centre; its surroundings omit them."""
    reaches = [(o.x, o.y, o.diameter_px / 2 + o.edge_px) for o in others]
    apart = [c for c in reaches if np.hypot(c[0] - spot.x, c[1] - spot.y) > c[2] + spot.diameter_px / 2]
    return np.array(apart, np.float32).reshape(-1, 3)


def write(work: Frame, rows: slice, cols: slice, where: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Replace, in place, the samples *where* (h, w) by *change* of their light above black."""
    samples = work.mosaic[rows, cols]
    black = black_level(work, rows, cols)
    rng = np.random.default_rng([rows.start, cols.start])
    new = np.floor(change(samples - black) + black + rng.random(samples.shape))
    new = np.where(samples >= work.white, samples, np.clip(new, 0, work.white))
    samples[where] = new[where].astype(np.uint16)
