"""Measuring one spot: where its shadow lies, how wide, how soft and how deep it is.

The shadow is a flat-topped disc with a soft edge (the picture of the aperture; optics facts §1.1), seen in the log of
linear light, where dust adds to whatever the scene does. The scene is taken as a random texture whose power spectrum
is read off the spot's surroundings: whitened by it, sky counts by its levels, texture only by what it cannot do
itself, and what is left of hard edges is weighed down (Huber). Cells of several pixels keep it fast.

This module knows arrays and values; it does not know whether a spot is dust (`dustd.dustmap.decide`) or how to take it
out (`dustd.spots.correct`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from dustd.raw.frame import Frame
from dustd.spots.spot import Detection
from dustd.spots.surroundings import Patch, cut, fill

DIAMETER_LIMITS_PX = (3.0, 160.0)
EDGE_SHARE = 0.6084  # 10 to 90 % of a smoothstep, as a share of its whole width
# The soft disc's edge that comes nearest to a speck's blurred outline, in the speck's diameters: of 84 irregular grains
# taking 5 to 45 % at f/8 to f/22 it was 1.2 to 1.5.
EDGE_OF_SPECK = 1.3
MARGIN_PX = 16
# From this gain on the light tells width, depth, edge and colour; below, the network's box tells the width alone.
MEASURED_FROM = 6.0
HUBER = 2.0  # in standard deviations of the whitened surroundings
# The light's own error of the depth is too small by this factor on hard texture (1.4; soft .8, of 159 shadows in
# generated frames): edges are rarer and stronger than a random texture's.
OVERSURE = 1.4
NUDGE = np.array([0.1, 0.1, 0.1, 0.02, 0.002])  # of x, y, diameter, relative ramp, attenuation, to find slopes with
EDGE_ERROR = 0.1  # of the edge's width as a share of the diameter, where its size is known: grains are irregular
# What each number of a vector of parameters is; the ramp is a share of the diameter.
X, Y, DIAMETER, RAMP, ATTENUATION = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A soft disc: centre and sizes in px, *ramp_px* the whole width of its edge, *attenuation* 0 to 1.

    *error* is the standard error of the attenuation given the texture around it; *gain* by how much the data are
    likelier with this shadow than without (natural log); *pull* how much deeper the light alone would have it, in
    standard deviations, where more than the light was asked.
    """

    x: float
    y: float
    diameter_px: float
    ramp_px: float
    attenuation: float
    error: float = np.inf
    gain: float = 0.0
    pull: float = 0.0

    @property
    def reach_px(self) -> float:
        """The radius beyond which the shadow takes no light."""
        return (self.diameter_px + self.ramp_px) / 2

    def depth(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Return its share of the full depth, 0 to 1, at frame coordinates that broadcast to (h, w)."""
        return soft_disc(np.hypot(xs - self.x, ys - self.y), self.diameter_px, self.ramp_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownShadow:
    """What is known of a shadow before looking at this frame: the most likely *shadow*, and how far it may be off.

    Standard deviations: *place_error_px* along each axis, *width_error* of ln diameter, *depth_error* of ln
    attenuation.
    """

    shadow: Shadow
    place_error_px: float
    width_error: float
    depth_error: float


def shadow_in(frame: Frame, detection: Detection, avoid: np.ndarray | None = None) -> tuple[Shadow, Patch | None]:
    """Fit a shadow to the light inside a detector's box; what lies in the circles *avoid* (n, 3) is not looked at.

    Where none can be fitted (clipped, too dark, no room around it) the box gives position and size, the mean light
    inside over the mean around it the attenuation, and the gain is zero. Also return the surroundings that it was
    fitted in, None where there are too few.
    """
    half = max(detection.width_px, detection.height_px) / 2
    patch = cut(frame, detection.x, detection.y, max(2.5 * half, half + MARGIN_PX), avoid=avoid)
    size = float(np.clip((detection.width_px + detection.height_px) / 2, *DIAMETER_LIMITS_PX))
    start = Shadow(x=detection.x, y=detection.y, diameter_px=0.75 * size, ramp_px=0.4 * size, attenuation=0.05)
    shadow = None
    if patch is not None:
        slack = (detection.width_px / 2, detection.height_px / 2)
        shadow = fit(
            patch, start, whitener(patch.log, patch.known & ~hole(patch, start, 1.3)), slack_px=slack, search=True
        )
    return (_from_box(patch, start, size) if shadow is None else shadow), patch


def hole(patch: Patch, shadow: Shadow, widen: float) -> np.ndarray:
    """Tell the cells within *widen* times the shadow's reach: (h, w) bool."""
    return np.hypot(patch.xs - shadow.x, patch.ys - shadow.y) < widen * shadow.reach_px


def whitener(values: np.ndarray, usable: np.ndarray, rounds: int = 40) -> np.ndarray:
    """Return the DCT weights (h, w) that turn texture and noise like that of *values* into unit white noise.

    The power spectrum is that of the *usable* cells, the others bridged by a membrane, averaged over half octaves.
    """
    power = cv2.dct(fill(values, usable, rounds)) ** 2 / max(0.2, usable.mean())
    octave, counts, centres, log_frequency = _octaves(power.shape)
    means = np.bincount(octave, power.ravel())[1:] / np.maximum(counts, 1)
    levels = np.log(means * (1 + 2.0 / np.maximum(counts, 1) ** 0.5) + 1e-12)[counts > 0]
    levels = np.maximum.accumulate(levels[::-1])[::-1]  # scenes have no preferred size
    weights = np.exp(-0.5 * np.interp(log_frequency, centres, levels)).astype(np.float32)
    weights[0, 0] = 0  # the mean level is free
    return weights


@lru_cache(maxsize=64)
def _octaves(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sort DCT coefficients into half octaves, from 1 on; the mean is in none, 0.

    Returns each coefficient's (h * w,), how many each holds, the mean log frequencies of those that hold any, and the
    log frequency of each coefficient (h, w).
    """
    frequency = radial_frequency(shape)
    log_frequency = np.log(np.maximum(frequency, 1e-9))
    octave = np.round(1.5 * (log_frequency - np.log(frequency[frequency > 0].min())) / np.log(2)).astype(int) + 1
    octave[0, 0] = 0
    octave = octave.ravel()
    counts = np.bincount(octave)[1:]
    sums = np.bincount(octave, log_frequency.ravel())[1:]
    return octave, counts, sums[counts > 0] / counts[counts > 0], log_frequency


def soft_disc(away: np.ndarray, diameter_px: float | np.ndarray, ramp_px: float | np.ndarray) -> np.ndarray:
    """Fall from 1 inside to 0 outside, as a smoothstep of the distance from the centre."""
    t = (away - (diameter_px - ramp_px) / 2) / ramp_px
    t = np.maximum(np.minimum(t, 1), 0)
    return 1 - t * t * (3 - 2 * t)


def radial_frequency(shape: tuple[int, int]) -> np.ndarray:
    """Return the spatial frequency of each DCT coefficient, in cycles per cell."""
    return np.hypot(np.arange(shape[0])[:, None] / shape[0], np.arange(shape[1])[None, :] / shape[1]) / 2


def filtered(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Multiply the DCT of (h, w) *values* by *weights*; a symmetric linear map. Takes stacks (n, h, w), too."""
    down, across = (_cosines(n) for n in values.shape[-2:])
    return down.T @ ((down @ values.astype(np.float32) @ across.T) * weights) @ across


@lru_cache(maxsize=64)
def _cosines(n: int) -> np.ndarray:
    """Return the orthonormal DCT as an (n, n) matrix: at these sizes faster than cv2.dct."""
    return cv2.dct(np.eye(n, dtype=np.float32), flags=cv2.DCT_ROWS).T.copy()


def fit(
    patch: Patch,
    start: Shadow,
    weights: np.ndarray,
    *,
    slack_px: tuple[float, float],
    search: bool = False,
    known: KnownShadow | None = None,
) -> Shadow | None:
    """Fit the shadow to the whitened log light, from *start*, its centre within *slack_px* of it.

    With *search*, several sizes are tried first. Levenberg-Marquardt with Huber weights on five parameters: x, y,
    diameter, ramp, attenuation. What is *known* of the shadow weighs as much as it is sure; then it is the most
    likely shadow given both. Returns None if the patch is mostly unknown or, with nothing known, holds no darkening.
    """
    inside = hole(patch, start, 1.0)
    if patch.known.mean() < 0.5 or not inside.any() or patch.known[inside].mean() < 0.7:
        return None
    data = filtered(fill(patch.log, patch.known), weights)
    trusted = cv2.erode(patch.known.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    low = np.array([start.x - slack_px[0], start.y - slack_px[1], DIAMETER_LIMITS_PX[0], 0.15, 0.001])
    high = np.array([start.x + slack_px[0], start.y + slack_px[1], DIAMETER_LIMITS_PX[1], 1.0, 0.97])

    def residual(p: np.ndarray) -> np.ndarray:
        """Subtract the shadow of parameters (5,), or each of (n, 5), from the light."""
        x, y, diameter, ramp, attenuation = p.T.astype(np.float32)[..., None, None]
        shade = soft_disc(np.hypot(patch.xs - x, patch.ys - y), diameter, ramp * diameter)
        return data - filtered(np.log1p(-attenuation * shade), weights)

    p = np.array([start.x, start.y, start.diameter_px, start.ramp_px / start.diameter_px, start.attenuation])
    p = np.clip(p, low, high)
    if search:
        sizes = np.clip(p[DIAMETER] * np.array([0.6, 0.8, 1.0, 1.25, 1.5]), *DIAMETER_LIMITS_PX)
        tries = [_with_gain(patch, p, size, data, weights, trusted) for size in sizes]
        p = np.clip(min(tries, key=lambda q: _cost(residual(q), trusted)), low, high)
    mean, firm = _expectation(start) if known is None else _knowledge(known)
    p, normal = descend(residual, p, NUDGE, low, high, trusted, (mean, firm))
    depth = ATTENUATION
    error = float(np.sqrt(max(np.linalg.pinv(normal)[depth, depth], 0)))
    # Here both pull alike: what is expected pulls back by firm * (p - mean).
    pull = float(firm[depth] * (p[depth] - mean[depth]) / max(normal[depth, depth] - firm[depth], 1e-9) ** 0.5)
    gain = _cost(data, trusted) - _cost(residual(p), trusted)
    dark = gain > 0 and p[ATTENUATION] > 1.01 * low[ATTENUATION]
    if not np.isfinite(gain) or (known is None and not dark):
        return None
    return _shadow(p, error=error, gain=float(gain), pull=pull)


def _shadow(p: np.ndarray, **more: float) -> Shadow:
    x, y, diameter, ramp, attenuation = (float(v) for v in p)
    return Shadow(x=x, y=y, diameter_px=diameter, ramp_px=ramp * diameter, attenuation=attenuation, **more)


def _with_gain(
    patch: Patch, p: np.ndarray, diameter: float, data: np.ndarray, weights: np.ndarray, trusted: np.ndarray
) -> np.ndarray:
    """Return *p* with another diameter and the attenuation that suits it best (least squares)."""
    p = np.array([p[X], p[Y], diameter, p[RAMP], p[ATTENUATION]])
    template = filtered(-_shadow(p).depth(patch.xs, patch.ys), weights)
    slope = (trusted * template * data).sum() / max(1e-9, (trusted * template**2).sum())
    p[ATTENUATION] = 1 - np.exp(-max(0.002, slope))
    return p


def _huber(e: np.ndarray) -> np.ndarray:
    return np.minimum(1, HUBER / np.maximum(np.abs(e), 1e-9))


def _cost(e: np.ndarray, trusted: np.ndarray) -> float:
    size = np.abs(e)
    return float((trusted * np.where(size < HUBER, 0.5 * e * e, HUBER * (size - HUBER / 2))).sum())


def _expectation(start: Shadow) -> tuple[np.ndarray, np.ndarray]:
    """Return what to expect of x, y, diameter and relative ramp before looking, and how firmly (1 / variance)."""
    size = start.diameter_px
    mean = np.array([start.x, start.y, size, 0.5, 0.0])
    return mean, np.array([(0.08 * size) ** -2, (0.08 * size) ** -2, (0.2 * size) ** -2, 0.3**-2, 0.0])


def _knowledge(known: KnownShadow) -> tuple[np.ndarray, np.ndarray]:
    """Return what the map expects of the five parameters, and how firmly against light that is OVERSURE."""
    s = known.shadow
    mean = np.array([s.x, s.y, s.diameter_px, s.ramp_px / s.diameter_px, s.attenuation])
    place_px, width_px = known.place_error_px, known.width_error * s.diameter_px
    errors = np.array([place_px, place_px, width_px, EDGE_ERROR, known.depth_error * s.attenuation])
    return mean, (OVERSURE / errors) ** 2


def descend(
    residual: Callable[[np.ndarray], np.ndarray],
    p: np.ndarray,
    nudge: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    trusted: np.ndarray,
    expected: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the Huber cost of *residual* plus the pull of what is *expected* of the parameters *p* (k,).

    *residual* gives (h, w) for (k,) and (n, h, w) for (n, k); *trusted* weighs its cells. *nudge* are steps to find
    slopes with; *low* and *high* bound *p*; *expected* are means and 1 / variance. Returns the parameters and the
    normal matrix there (k, k), whose inverse is their covariance.
    """
    mean, firm = expected

    def total(e: np.ndarray, q: np.ndarray) -> float:
        return _cost(e, trusted) + 0.5 * float((firm * (q - mean) ** 2).sum())

    e, damping = residual(p), 1e-2
    cost = total(e, p)
    for _ in range(8):
        moves = np.where(p + nudge <= high, nudge, -nudge)
        slopes = (residual(p + np.diag(moves)) - e) / moves[:, None, None].astype(np.float32)
        jacobian = slopes.reshape(len(p), -1).T
        weighted = jacobian * (trusted * _huber(e)).ravel()[:, None]
        normal = weighted.T @ jacobian + np.diag(firm)
        slope = weighted.T @ e.ravel() + firm * (p - mean)
        for _ in range(4):
            step = -np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), slope)
            candidate = np.clip(p + step, low, high)
            new = residual(candidate)
            if (new_cost := total(new, candidate)) < cost:
                break
            damping *= 5
        else:
            break
        done = cost - new_cost < 0.02  # log-likelihood: no longer worth a step
        p, e, cost, damping = candidate, new, new_cost, damping / 5
        if done:
            break
    return p, normal


def _from_box(patch: Patch | None, start: Shadow, size_px: float) -> Shadow:
    """Take position and size from the box, the attenuation from the mean light inside and around it."""
    attenuation = 0.0
    if patch is not None:
        inside, around = hole(patch, start, 0.6) & patch.known, ~hole(patch, start, 1.3) & patch.known
        if inside.any() and around.any():
            attenuation = float(np.clip(1 - np.exp(patch.log[inside].mean() - patch.log[around].mean()), 0, 0.99))
    return Shadow(x=start.x, y=start.y, diameter_px=0.75 * size_px, ramp_px=0.3 * size_px, attenuation=attenuation)
