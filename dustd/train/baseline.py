"""The classical detectors that a trained one has to beat: difference of Gaussians, and a disc matched filter.

Both look at log luminance at several scales, on the full picture and on smaller copies of it for wide spots (as the
model does), divide each response by the local texture at its scale, and keep local maxima. `find` answers like a
detector: boxes and scores, a score being response over texture, squeezed into 0..1.

The settings at the end of this file were tuned on the synthetic validation set itself (`dustd.train.tuning`, or
`dustd evaluate --tune-baseline`), on the very spots that judge them. That favours the baseline: the model's weights
are not chosen on this set.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from dustd.spots.spot import Detection

# Diameters (px at full size) looked for; each is looked for on the copy on which it is at most LARGEST_PX wide.
SMALLEST_DIAMETER_PX, LARGEST_DIAMETER_PX = 7.0, 112.0
LARGEST_PX = 20.0
DOG_RATIO = 1.6
# The disc that a difference of Gaussians answers most to: its response is exp(-u/1.6²) - exp(-u) with u = r²/2σ², which
# is largest at u = ln(1.6²) / (1 - 1/1.6²), hence r = 1.76 σ.
DIAMETER_PER_SIGMA = 3.5
CANDIDATES_PER_MP = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One classical detector.

    *step* is the ratio of neighbouring diameters. *texture* is how the local texture is measured: root mean square,
    mean or median of the response's size over a window of *texture_px* (deviation, or half side, px of the copy looked
    at), or root mean square "around" the place, without the place itself; *floor* is added to it (log units). *pairs*:
    contrast to the worst of four opposite pairs of neighbours instead of to all surroundings at once, which edges and
    lines do not pass. *ring* is how far the surroundings reach, in radii (a difference of Gaussians needs it with
    *pairs* only). *both_scales*: the smaller response of two neighbouring diameters, as a spot answers to both.
    *edge_ratio* is the largest ratio of principal curvatures (Lowe 2004, §4.1). *apart* is the least distance between
    two answers, in half widths of the larger. *edge* (disc only) is the softness of its rim as a share of the radius.
    """

    family: Literal["dog", "disc"]
    step: float = 1.4
    texture: Literal["rms", "mean", "median", "around"] = "rms"
    texture_px: int = 24
    floor: float = 0.002
    both_scales: bool = False
    apart: float = 1.0
    pairs: bool = False
    edge: float = 0.2
    ring: float = 2.0
    edge_ratio: float = math.inf


def find(log_light: np.ndarray, settings: Settings) -> tuple[Detection, ...]:
    """Find dust in a frame's log luminance, (height, width) float32; best first, CANDIDATES_PER_MP at most."""
    candidates: list[np.ndarray] = []
    limit = max(1, math.ceil(CANDIDATES_PER_MP * log_light.size / 1e6))
    previous: np.ndarray | None = None
    for diameter, shrink, response in _responses(log_light, settings):
        score = response / _texture(response, diameter / shrink, settings)
        if settings.edge_ratio < math.inf:
            score[~_round(response, settings.edge_ratio)] = 0
        if settings.both_scales:
            narrower, previous = previous, score
            if narrower is None:
                continue
            score = np.minimum(score, _resized(narrower, score.shape))
        candidates.append(_maxima(score, diameter, shrink, limit))
    return _thinned(np.concatenate(candidates), settings.apart, limit)


def _responses(log_light: np.ndarray, settings: Settings) -> Iterator[tuple[float, int, np.ndarray]]:
    """Give, from small to wide, each diameter (px at full size), the shrinking of the copy, and the response on it.

    A response is positive where it is darker than around.
    """
    image, shrink = log_light, 1
    diameter = SMALLEST_DIAMETER_PX
    while diameter <= LARGEST_DIAMETER_PX:
        while diameter / shrink > LARGEST_PX:
            shrink *= 2
            rows, columns = (max(1, n // shrink) for n in log_light.shape)
            image = cv2.resize(
                log_light[: rows * shrink, : columns * shrink], (columns, rows), interpolation=cv2.INTER_AREA
            )
        if settings.family == "dog":
            sigma = diameter / shrink / DIAMETER_PER_SIGMA
            inner = cv2.GaussianBlur(image, (0, 0), sigma)
            if settings.pairs:
                response = _worst_pair(inner, settings.ring * diameter / shrink / 2)
            else:
                response = cv2.GaussianBlur(image, (0, 0), DOG_RATIO * sigma) - inner
        else:
            response = _disc_response(image, diameter / shrink, settings)
        yield diameter, shrink, response
        diameter *= settings.step


def _disc_response(image: np.ndarray, diameter: float, settings: Settings) -> np.ndarray:
    """Mean of the ring (or of the worst pair) less mean of the disc."""
    radius = diameter / 2
    half = math.ceil(settings.ring * radius) + 1
    away = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    ramp = max(1.0, settings.edge * radius)
    disc = np.clip((radius - away) / ramp + 0.5, 0, 1)
    disc = (disc / disc.sum()).astype(np.float32)
    if settings.pairs:
        return _worst_pair(cv2.filter2D(image, cv2.CV_32F, disc), settings.ring * radius)
    ring = np.clip(settings.ring * radius - away + 0.5, 0, 1) * np.clip((away - radius) / ramp - 0.5, 0, 1)
    return cv2.filter2D(image, cv2.CV_32F, (ring / ring.sum()).astype(np.float32) - disc)


def _worst_pair(means: np.ndarray, distance: float) -> np.ndarray:
    """How much darker it is than the mean of two opposite neighbours *distance* px away, in the worst of four pairs."""
    reach = math.ceil(distance)
    padded = cv2.copyMakeBorder(means, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)
    height, width = means.shape
    worst = np.full(means.shape, np.inf, np.float32)
    for turn in range(4):
        dy, dx = (round(distance * f(turn * math.pi / 4)) for f in (math.sin, math.cos))
        one = padded[reach + dy : reach + dy + height, reach + dx : reach + dx + width]
        other = padded[reach - dy : reach - dy + height, reach - dx : reach - dx + width]
        np.minimum(worst, (one + other) / 2, out=worst)
    return worst - means


def _texture(response: np.ndarray, diameter: float, settings: Settings) -> np.ndarray:
    """Local deviation of the response, on a copy four times smaller than it, as it is smooth anyway."""
    step = 4
    size = tuple(max(1, n // step) for n in response.shape[::-1])
    width = settings.texture_px / step
    if settings.texture == "rms":
        small = cv2.resize(response * response, size, interpolation=cv2.INTER_AREA)
        level = np.sqrt(cv2.GaussianBlur(small, (0, 0), width))
    elif settings.texture == "around":
        small = cv2.resize(response * response, size, interpolation=cv2.INTER_AREA)
        hole = 2 * round(diameter / step) + 1
        side = hole + 2 * max(1, round(width))
        sums = cv2.blur(small, (side, side)) * side**2 - cv2.blur(small, (hole, hole)) * hole**2
        level = np.sqrt(np.maximum(sums, 0) / (side**2 - hole**2))
    elif settings.texture == "mean":
        small = cv2.resize(np.abs(response), size, interpolation=cv2.INTER_AREA)
        level = 1.2533 * cv2.GaussianBlur(small, (0, 0), width)  # of a normal: deviation over mean size
    else:
        # OpenCV takes medians of wide windows of bytes only: code the logarithm, 16 steps an octave.
        small = np.abs(cv2.resize(response, size, interpolation=cv2.INTER_NEAREST))
        codes: np.ndarray = (16 * np.log2(np.maximum(small, 2.0**-15)) + 240).clip(0, 255).astype(np.uint8)
        codes = cv2.medianBlur(codes, 2 * max(1, round(width)) + 1)
        level = 1.4826 * np.exp2((codes.astype(np.float32) - 240) / 16)
    return _resized(level, response.shape) + settings.floor


def _round(response: np.ndarray, ratio: float) -> np.ndarray:
    """Tell where the response curves alike in all directions: trace² / determinant of its Hessian below the ratio's."""
    yy = cv2.Sobel(response, cv2.CV_32F, 0, 2)
    xx = cv2.Sobel(response, cv2.CV_32F, 2, 0)
    xy = cv2.Sobel(response, cv2.CV_32F, 1, 1)
    determinant = xx * yy - xy * xy
    return (determinant > 0) & ((xx + yy) ** 2 * ratio < (ratio + 1) ** 2 * determinant)


def _maxima(score: np.ndarray, diameter: float, shrink: int, limit: int) -> np.ndarray:
    """List the *limit* highest local maxima as (k, 4): score, x, y, diameter in px at full size."""
    peak = (score >= cv2.dilate(score, np.ones((3, 3), np.uint8))) & (score > 0)
    rows, columns = np.nonzero(peak)
    scores = score[rows, columns]
    if len(scores) > limit:
        best = np.argpartition(-scores, limit)[:limit]
        rows, columns, scores = rows[best], columns[best], scores[best]
    # Pixel i of the copy covers full-size pixels i·shrink to (i+1)·shrink − 1.
    xs, ys = ((n + 0.5) * shrink - 0.5 for n in (columns, rows))
    return np.stack([scores, xs, ys, np.full(len(scores), diameter)], 1)


def _thinned(candidates: np.ndarray, apart: float, limit: int) -> tuple[Detection, ...]:
    """Keep the best of candidates (k, 4) whose centres are nearer than *apart* half widths of the larger, or 4 px."""
    candidates = candidates[np.argsort(-candidates[:, 0], kind="stable")]
    kept = np.empty((0, 4))
    for candidate in candidates:
        near = np.hypot(kept[:, 1] - candidate[1], kept[:, 2] - candidate[2])
        if (near < np.maximum(apart / 2 * np.maximum(kept[:, 3], candidate[3]), 4.0)).any():
            continue
        kept = np.concatenate([kept, candidate[None]])
        if len(kept) == limit:
            break
    return tuple(
        Detection(x=float(x), y=float(y), width_px=float(d), height_px=float(d), score=float(s / (s + 5)))
        for s, x, y, d in kept
    )


def _resized(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR)


# Found by `dustd evaluate --tune-baseline`.
_DOG = Settings(
    family="dog",
    step=1.6,
    texture="mean",
    texture_px=48,
    floor=0.0001,
    both_scales=True,
    apart=1.5,
    pairs=True,
    ring=3.0,
    edge_ratio=2.0,
)
TUNED = {"dog": _DOG, "disc": replace(_DOG, family="disc")}
