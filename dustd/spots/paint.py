"""Painting over what nothing can be given back to: each colour spanned over the spot, with the grain around it."""

from collections.abc import Sequence

import cv2
import numpy as np

from dustd.raw.frame import Frame
from dustd.spots.measure import MARGIN_PX, Shadow, hole
from dustd.spots.samples import SKIRT, box, circles, skirt, write
from dustd.spots.spot import Spot
from dustd.spots.surroundings import Patch, black_level, colours, cut, fill


def all_clipped(work: Frame, shadow: Shadow) -> bool:
    """Tell whether practically every sample around the shadow is at white."""
    rows, cols, xs, ys = box(
        work, Shadow(x=shadow.x, y=shadow.y, diameter_px=shadow.diameter_px, ramp_px=shadow.ramp_px + 8, attenuation=0)
    )
    ring = skirt(shadow, xs, ys) == 0
    return bool(ring.any()) and float((work.mosaic[rows, cols][ring] >= work.white).mean()) > 0.98


def whiten(work: Frame, shadow: Shadow) -> None:
    """Lift all samples under the shadow to white, in place."""
    rows, cols, xs, ys = box(work, shadow)
    write(work, rows, cols, skirt(shadow, xs, ys) > 0, lambda light: np.full_like(light, work.white))


def paint(work: Frame, shadow: Shadow, others: Sequence[Spot]) -> bool:
    """Span each colour over the spot and lay the grain of the surroundings on it, in place.

    The grain is drawn at random from samples of the same colour around the spot. Returns False, and changes nothing,
    where the surroundings do not reach.
    """
    spot = Spot(id=0, x=shadow.x, y=shadow.y, diameter_px=shadow.diameter_px, edge_px=0, attenuation=0, score=0)
    half = max(2.4 * shadow.reach_px, shadow.reach_px + MARGIN_PX)
    patch = cut(work, shadow.x, shadow.y, half, avoid=circles(spot, others))
    if patch is None:
        return False
    rows, cols = patch.window
    samples = work.mosaic[rows, cols]
    light = samples - black_level(work, rows, cols)
    scale = work.white - float(np.mean(work.black))
    ys, xs = np.ogrid[rows, cols]
    cover = skirt(shadow, xs, ys)
    around = cover == 0
    rng = np.random.default_rng([rows.start, cols.start])
    target = cover > rng.random(cover.shape)  # a random seam keeps the grain whole where old meets new
    inside = hole(patch, shadow, SKIRT)
    new = light.copy()
    for k in range(len(patch.planes)):
        smooth = scale * _spanned(patch, k, inside)
        if work.kind == "linear":
            mine, value, out = np.ones_like(around), light[..., k], new[..., k]
        else:
            mine, value, out = colours(work, rows, cols) == np.unique(np.asarray(work.cfa))[k], light, new
        source = mine & around & (np.asarray(samples if samples.ndim == 2 else samples[..., k]) < work.white)
        grain = _grain(value, source) / np.sqrt(np.maximum(smooth[source], 1e-3))
        place = mine & target
        draw = np.random.default_rng([rows.start, cols.start, 0 if work.kind == "linear" else k])
        picked = grain[draw.integers(0, len(grain), int(place.sum()))]
        out[place] = smooth[place] + picked * np.sqrt(np.maximum(smooth[place], 1e-3))
    write(work, rows, cols, target, lambda _: new)
    return True


def _grain(value: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return the noise of the samples at *source* (n,): what each differs by from its neighbours there, edges cut."""
    weight = source.astype(np.float32)
    count = cv2.boxFilter(weight, -1, (5, 5), normalize=False)[source]
    mean = cv2.boxFilter((value * weight).astype(np.float32), -1, (5, 5), normalize=False)[source] / count
    noise = (value[source] - mean) * np.sqrt(count / np.maximum(count - 1, 1))  # the mean has the sample in it
    most = 5 * float(np.median(np.abs(noise)))  # 3.4 standard deviations
    return np.clip(noise, -most, most)


def _spanned(patch: Patch, k: int, inside: np.ndarray) -> np.ndarray:
    """Return plane *k* smoothed, in light per sample, and spanned over *inside*."""
    known = ((patch.shares[k] > 0) & ~inside).astype(np.float32)
    ratio = patch.planes[k] / np.maximum(patch.bases[k], 1e-6)
    weight = cv2.GaussianBlur(known, (0, 0), 1.5)
    low = cv2.GaussianBlur(ratio * known, (0, 0), 1.5) / np.maximum(weight, 1e-6)
    spanned = fill(low.astype(np.float32), (known > 0) & (weight > 0.05)) * patch.bases[k]
    return cv2.resize(spanned, None, fx=patch.step, fy=patch.step, interpolation=cv2.INTER_LINEAR)
