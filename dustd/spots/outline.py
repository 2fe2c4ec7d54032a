"""Reading the outline of a spot off the light: how far its shadow is drawn out, where to, and whether it is hollow.

The soft disc of `dustd.spots.measure` is fitted again, and may now be stretched to an ellipse and lose depth in its
middle. What the ellipse means for the grain, whatever the aperture, is explained in `dustd.spots.shape`.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from dustd.raw.frame import Frame
from dustd.spots.measure import (
    ATTENUATION,
    DIAMETER,
    DIAMETER_LIMITS_PX,
    EDGE_SHARE,
    MARGIN_PX,
    NUDGE,
    OVERSURE,
    RAMP,
    Shadow,
    X,
    Y,
    descend,
    filtered,
    hole,
    soft_disc,
    whitener,
)
from dustd.spots.shape import Outline
from dustd.spots.spot import Detection, Spot
from dustd.spots.surroundings import Patch, cut, fill

# Difference of a pupil's variances, as a share of either, that is to be expected: pupils off the axis are up to 1.25
# times as long as wide (facts §7), which makes .45; equal shares up to there have a mean square of .26².
PUPIL_STRETCH = 0.25
MIDDLE = 0.5  # of the diameter: where a ring is hollow; rims are a sixth to a third of it (`dustd.train.grain_draws`)
THREADS, THREAD = 8, 1.0  # directions in which a long thread is looked for, and its stretch: e² times as long as wide
FAINT = 0.05  # attenuation at which shadows are compared
DARKEST = 0.98  # of a middle deeper than its rim
AROUND = 2.5  # how far to look, in halves of the box; nearer, clumps on plain ground were taken for fibres
LONGEST = 1.3  # bound of the stretch: 13 times as long as wide
STEPS = np.append(NUDGE, (0.02, 0.02, 0.02))
# The stretch along x and along the bisector of x and y, and the share of depth that the middle lacks; the parameters
# before them are those of `measure`.
STRETCH, ASLANT, HOLLOW = 5, 6, 7


def outline_in(frame: Frame, spot: Spot, box: Detection) -> Outline | None:
    """Read the outline of a measured *spot* off the light inside and around the detector's *box*.

    Returns None where the light is clipped or black, or where there is too little room.
    """
    half = max(box.width_px, box.height_px) / 2
    patch = cut(frame, box.x, box.y, max(AROUND * half, half + MARGIN_PX))
    if patch is None or spot.diameter_px <= 0:
        return None
    size = float(np.clip(spot.diameter_px, *DIAMETER_LIMITS_PX))
    start = Shadow(x=spot.x, y=spot.y, diameter_px=size, ramp_px=spot.edge_px / EDGE_SHARE, attenuation=0.0)
    inside = hole(patch, start, 1.0)
    if patch.known.mean() < 0.5 or not inside.any() or patch.known[inside].mean() < 0.7:
        return None
    around = np.hypot(patch.xs - box.x, patch.ys - box.y) > 1.2 * half  # a fibre may be much longer than its disc
    weights = whitener(patch.log, patch.known & around & ~hole(patch, start, 1.3))
    low = np.array([spot.x - half, spot.y - half, DIAMETER_LIMITS_PX[0], 0.15, 0.001, -LONGEST, -LONGEST, -0.5])
    high = np.array([spot.x + half, spot.y + half, DIAMETER_LIMITS_PX[1], 1.0, 0.97, LONGEST, LONGEST, 1.0])
    ramp = start.ramp_px / size
    p = np.clip(np.array([spot.x, spot.y, size, ramp, spot.attenuation, 0.0, 0.0, 0.0]), low, high)
    data = filtered(fill(patch.log, patch.known), weights)
    p = np.clip(_start(patch, data, weights, p, box), low, high)
    said = _said(*_fit(patch, data, weights, p, low, high))
    return said if said.error > 0 and all(map(math.isfinite, dataclasses.astuple(said))) else None


def outlines_in(frame: Frame, spots: Sequence[tuple[Spot, Detection]]) -> tuple[Outline | None, ...]:
    """Read the outlines of several spots of a frame, each with its box; see `outline_in`."""
    return tuple(outline_in(frame, spot, box) for spot, box in spots)


def _fit(
    patch: Patch, data: np.ndarray, weights: np.ndarray, p: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a stretched, hollow soft disc from *p* on; return its parameters and their covariance.

    They are x, y, diameter, relative ramp, attenuation, the stretch along x and along the bisector of x and y, and the
    share of depth that the middle lacks. A stretch g makes it e^g times as long and e^-g times as wide.
    """

    def residual(p: np.ndarray) -> np.ndarray:
        return data - filtered(_drawn(patch, p), weights)

    mean = np.array([p[X], p[Y], p[DIAMETER], 0.5, 0.0, 0.0, 0.0, 0.0])
    errors = np.array([0.3 * p[DIAMETER], 0.3 * p[DIAMETER], 0.4 * p[DIAMETER], 0.3, np.inf, 1.0, 1.0, 0.5])
    p, normal = descend(residual, p, STEPS, low, high, patch.known.astype(np.float32), (mean, errors**-2))
    return p, np.linalg.pinv(normal)


def _start(patch: Patch, data: np.ndarray, weights: np.ndarray, p: np.ndarray, box: Detection) -> np.ndarray:
    """Choose where to fit from: the round shadow *p*, or a thread across the box if that suits the light better.

    What a disc makes of a long thread is of little use.
    """
    turns = np.arange(THREADS) * 2 * np.pi / THREADS
    tries = np.tile(p, (THREADS + 1, 1))
    length_px = 0.8 * max(box.width_px, box.height_px)
    tries[1:, :ATTENUATION] = box.x, box.y, length_px * math.exp(-THREAD), 0.8
    tries[1:, STRETCH], tries[1:, ASLANT] = THREAD * np.cos(turns), THREAD * np.sin(turns)
    tries[:, ATTENUATION] = FAINT
    shadows = filtered(_drawn(patch, tries), weights) * patch.known
    power = (shadows**2).sum((1, 2))
    # As deep as FAINT, by least squares; not at all where none of it falls into the frame.
    times = np.maximum((shadows * data).sum((1, 2)) / np.where(power > 0, power, np.inf), 0)
    best = int(np.argmax(times**2 * power))
    if best == 0:
        return p
    chosen = tries[best]
    chosen[ATTENUATION] = 1 - (1 - FAINT) ** times[best]
    return chosen


def _drawn(patch: Patch, p: np.ndarray) -> np.ndarray:
    """Draw the log of the light that shadows of parameters (8,), or each of (n, 8), leave."""
    x, y, size, ramp, attenuation, along, aslant, hollow = p.T.astype(np.float32)[..., None, None]
    dx, dy = (patch.xs - x) / size, (patch.ys - y) / size
    g = np.maximum(np.hypot(along, aslant), 1e-6)
    narrow = np.sinh(2 * g) / g
    squared = np.cosh(2 * g) * (dx * dx + dy * dy) - narrow * (along * (dx * dx - dy * dy) + 2 * aslant * dx * dy)
    away = np.sqrt(np.maximum(squared, 0))
    shade = soft_disc(away, 1.0, ramp) - hollow * soft_disc(away, MIDDLE, MIDDLE)
    return np.log1p(-np.minimum(attenuation * shade, DARKEST))


def _said(p: np.ndarray, covariance: np.ndarray) -> Outline:
    """Say what fitted parameters mean for the grain; errors to first order."""
    said = _slenderness(p)
    slopes = np.stack([(_slenderness(p + step) - said) / step.sum() for step in np.diag(STEPS)], axis=1)
    area, moment = _moments(p)
    # The pupil's variance is no more than this.
    across = moment / area * math.exp(-2 * math.hypot(p[STRETCH], p[ASLANT]))
    return Outline(
        slenderness=float(np.hypot(*said)),
        angle_deg=math.degrees(math.atan2(said[1], said[0])) / 2 % 180,
        error=OVERSURE * math.sqrt(np.trace(slopes @ covariance @ slopes.T) / 2),
        feigned=float(12 * PUPIL_STRETCH * across / (p[ATTENUATION] * area)),
        hollow=float(p[HOLLOW]),
        hollow_error=OVERSURE * math.sqrt(covariance[HOLLOW, HOLLOW]),
    )


def _slenderness(p: np.ndarray) -> np.ndarray:
    """Give 12·D/E along x rather than y, and along their bisector rather than across it: (2,)."""
    area, moment = _moments(p)
    stretch = max(math.hypot(p[STRETCH], p[ASLANT]), 1e-9)
    return 24 * math.sinh(2 * stretch) * moment / (p[ATTENUATION] * area**2) * p[STRETCH:HOLLOW] / stretch


def _moments(p: np.ndarray) -> tuple[float, float]:
    """Give the shadow's area, were it as deep everywhere, and its second moment along either axis before the stretch.

    A smoothstep edge is a mean over discs whose radii spread around size / 2 by a variance of ramp²/20 and a kurtosis
    of 15/7.
    """

    def disc(size: float, ramp: float) -> np.ndarray:
        variance = ramp**2 / 20
        fourth = size**4 / 16 + 1.5 * size**2 * variance + 15 / 7 * variance**2
        return np.array([math.pi * (size**2 / 4 + variance), math.pi / 4 * fourth])

    middle = MIDDLE * p[DIAMETER]
    area, moment = disc(p[DIAMETER], p[RAMP] * p[DIAMETER]) - p[HOLLOW] * disc(middle, middle)
    return float(area), float(moment)
