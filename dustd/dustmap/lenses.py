"""What is learnt about one body's optics: how thick its filter stack is, and how far each lens moves the dust outwards.

Dust is seen at r = ρ·(1 + t/P) from the optical axis, where P is the distance of the lens's exit pupil
(facts/optics-and-evidence.md §1.1). Only ratios of such scales can be seen, so one lens, the first that the body had,
is the reference: places on the map are where that lens shows them, and every other lens and focal length has one scale
relative to it. The optical axis is taken to pass through the sensor's centre. Lengths are full-resolution pixels from
there. Values and functions of them; knows nothing of particles.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from dustd.spots import optics

# Spread of ln(1 + t/P) between lenses: t .8 to 3.5 mm, P 35 mm to telecentric (§1.2) give .005 to .1; facts §4 takes
# .02 before a scale is fitted. Between two lenses there are two such spreads.
LENS_SPREAD = 0.02 * math.sqrt(2)
# Our choice: an octave of zoom moves the exit pupil by about half of what another lens does.
ZOOM_SPREAD_PER_OCTAVE = 0.015
# What focusing leaves in it: facts §4 takes .002 once a scale is fitted.
FOCUS_SPREAD = 0.002
FOCAL_BINS_PER_OCTAVE = 12  # 6 %: within one bin t/P changes by some .001
# How far apart two measurements of one place lie, px rms along one axis, for spots 20 to 60 px wide.
PLACE_ERROR_PX = 2.0
ENOUGH = 3  # matched particles from which a scale is fitted (facts §1.2)
SEARCHED = 3.0  # standard deviations to either side in which a lens's scale is looked for
BLUR_SPREAD = 0.35  # of ln k before anything is measured: stacks of .8 to 3.5 mm around 1.8 (§1.2)
BLUR_ERROR = 0.2  # of ln k from one spot's width
BLUR_SCATTER = 0.1  # between the particles of one body: grains that are not small against their blur
HUBER = 1.5  # standard deviations from which a measurement pulls no harder


@dataclass(frozen=True, slots=True, kw_only=True)
class LensScale:
    """How far outwards one lens at one focal length (bin) shows dust, relative to the reference: ln scale ± sigma.

    *particles* is the number that the fit rests on, 0 for the reference itself, whose scale is 0 ± 0.
    """

    lens: str | None
    focal_mm: float | None
    log_scale: float = 0.0
    sigma: float = 0.0
    particles: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyOptics:
    """A body's optics as far as they are known; `BodyOptics()` knows nothing.

    *blur_constant* is k = t/p in px·f-number (None: `dustd.spots.optics` has a prior), *blur_sigma* the uncertainty of
    its logarithm. *lenses* begins with the reference.
    """

    blur_constant: float | None = None
    blur_sigma: float = BLUR_SPREAD
    lenses: tuple[LensScale, ...] = ()

    def scale(self, lens: str | None, focal_mm: float | None) -> tuple[float, float]:
        """Give ln(scale) of a lens at a focal length (bin) and its standard deviation: fitted, or from a prior."""
        same = [fitted for fitted in self.lenses if fitted.lens == lens]
        for fitted in same:
            if fitted.focal_mm == focal_mm:
                return fitted.log_scale, fitted.sigma
        zooms = [(abs(math.log2(focal_mm / each.focal_mm)), each) for each in same if focal_mm and each.focal_mm]
        if zooms:
            octaves, nearest = min(zooms, key=lambda pair: (pair[0], pair[1].focal_mm))
            return nearest.log_scale, min(math.hypot(nearest.sigma, ZOOM_SPREAD_PER_OCTAVE * octaves), LENS_SPREAD)
        return 0.0, LENS_SPREAD if self.lenses else 0.0

    def place(
        self, mx: float, my: float, lens: str | None, focal_length_mm: float | None
    ) -> tuple[float, float, float]:
        """Say where a lens shows a place of the map: x and y from the centre, and σ of that distance; px."""
        log_scale, sigma = self.scale(lens, focal_bin_mm(focal_length_mm))
        scale = math.exp(log_scale)
        return mx * scale, my * scale, sigma * math.hypot(mx, my) * scale

    def blur(self, pixel_pitch_um: float | None = None) -> float:
        """Give the body's k in px·f-number: fitted, or the prior for a pixel pitch in µm."""
        return self.blur_constant or optics.blur_constant_px(pixel_pitch_um)

    def with_scale(
        self,
        lens: str | None,
        focal_mm: float | None,
        *,
        log_scale: float = 0.0,
        sigma: float = 0.0,
        particles: int = 0,
    ) -> "BodyOptics":
        """Give the same optics with the scale of one lens at one focal length (bin) replaced."""
        new = LensScale(lens=lens, focal_mm=focal_mm, log_scale=log_scale, sigma=sigma, particles=particles)
        known = [(each.lens, each.focal_mm) for each in self.lenses]
        if (lens, focal_mm) not in known:
            return replace(self, lenses=(*self.lenses, new))
        at = known.index((lens, focal_mm))
        return replace(self, lenses=(*self.lenses[:at], new, *self.lenses[at + 1 :]))


def focal_bin_mm(focal_length_mm: float | None) -> float | None:
    """Name the bin of a focal length by its middle, in mm; None where it is unknown."""
    if not focal_length_mm or focal_length_mm <= 0:
        return None
    return round(2 ** (round(FOCAL_BINS_PER_OCTAVE * math.log2(focal_length_mm)) / FOCAL_BINS_PER_OCTAVE), 3)


def vote(
    log_scale: float, sigma: float, expected: np.ndarray, slack_px: np.ndarray, weights: np.ndarray, seen: np.ndarray
) -> tuple[float, float, int]:
    """Find the scale of a lens that explains most of what was expected, before it is known which spot is what.

    *expected* (n, 2) are the places of n particles at *log_scale* ± *sigma*, *slack_px* (n,) how far each may lie off
    for other reasons, *weights* (n,) how surely each would show; *seen* (m, 2) are spots; all px from the centre.
    Returns ln(scale), its standard deviation and the number of particles that agree on it; what came in and 0 where
    fewer than ENOUGH do.
    """
    none = (log_scale, sigma, 0)
    if len(expected) < ENOUGH or len(seen) < ENOUGH or sigma == 0:
        return none
    radius = np.maximum(np.hypot(*expected.T), 1.0)
    outwards = expected / radius[:, None]
    along = seen @ outwards.T  # (m, n)
    aside = np.abs(seen[:, :1] * outwards[:, 1] - seen[:, 1:] * outwards[:, 0])
    shift = np.log(np.maximum(along, 1e-3) / radius)
    error = slack_px / radius  # (n,) of the shift
    pairs = (aside <= slack_px) & (np.abs(shift) <= SEARCHED * sigma + error)
    spots, particles = np.nonzero(pairs)
    if len(set(particles.tolist())) < ENOUGH:
        return none
    shifts, errors, worth = shift[pairs], error[particles], weights[particles]
    agree = np.maximum(1 - ((shifts[None, :] - shifts[:, None]) / np.maximum(errors[None, :], 1e-6)) ** 2, 0)
    # A particle, and a spot, has one say for each candidate: its best.
    support = np.array([_one_to_one(row * worth, spots, particles) for row in agree])
    support -= 0.5 * (shifts / sigma) ** 2
    best = int(np.argmax(np.round(support, 9)))
    chosen = agree[best] > 0
    count = min(len(set(particles[chosen].tolist())), len(set(spots[chosen].tolist())))
    if count < ENOUGH:
        return none
    spread = np.maximum(errors[chosen] / 2, PLACE_ERROR_PX / radius[particles[chosen]])
    mean, deviation = robust_mean(shifts[chosen], spread, 0.0, sigma, start=float(shifts[best]))
    return log_scale + mean, deviation, count


def _one_to_one(worth: np.ndarray, spots: np.ndarray, particles: np.ndarray) -> float:
    """Sum what agrees, each spot and each particle counted once at most."""
    if not worth.any():
        return 0.0
    sums = []
    for owners in (spots, particles):
        best = np.zeros(owners.max() + 1)
        np.maximum.at(best, owners, worth)
        sums.append(best.sum())
    return float(min(sums))


def fit_scale(
    shown: np.ndarray, shown_var: np.ndarray, expected: np.ndarray, expected_var: np.ndarray, chain_var: np.ndarray
) -> tuple[float, float]:
    """Fit ln(scale) of one lens relative to the reference, and its standard deviation, from particles seen by both.

    *shown* (n, 2) is where this lens shows n particles, *expected* (n, 2) where they are for the reference, known
    through other lenses, with variances (n,) in px²; *chain_var* (n,) is the variance of those lenses' own ln(scale).
    """
    radius = np.maximum(np.hypot(*expected.T), 1.0)
    shift = np.log(np.maximum((shown * expected).sum(axis=1) / radius**2, 0.5))
    error = np.sqrt((shown_var + expected_var) / radius**2 + chain_var)
    mean, sigma = robust_mean(shift, error, 0.0, LENS_SPREAD)
    weight = error**-2.0
    return mean, min(math.hypot(sigma, math.sqrt(float((weight * chain_var).sum() / weight.sum()))), LENS_SPREAD)


def fit_blur(log_blurs: np.ndarray, counts: np.ndarray, prior: float) -> tuple[float, float]:
    """Fit a body's k from its particles: mean ln k (n,) of each, over *counts* (n,) spots. Returns k and σ of ln k."""
    error = np.sqrt(BLUR_SCATTER**2 + BLUR_ERROR**2 / counts)
    mean, sigma = robust_mean(log_blurs, error, math.log(prior), BLUR_SPREAD)
    return math.exp(mean), sigma


def shrink(log_value: float, count: int, error: float, towards: float, spread: float) -> float:
    """Draw the mean of *count* measurements, each of this error, towards what is expected of it ± *spread*."""
    weight, prior = count / error**2, spread**-2
    return (weight * log_value + prior * towards) / (weight + prior)


def robust_mean(
    values: np.ndarray, errors: np.ndarray, prior: float, prior_sigma: float, start: float | None = None
) -> tuple[float, float]:
    """Average (n,) values of given errors and a prior by Huber's weights, from the median or *start*.

    Returns the mean and its standard deviation, which grows where the values differ more than their errors allow.
    """
    weight = errors**-2.0
    mean = float(np.median(values)) if start is None else start
    for _ in range(10):
        pull = weight / np.maximum(np.abs(values - mean) / errors / HUBER, 1.0)
        mean = float(((pull * values).sum() + prior / prior_sigma**2) / (pull.sum() + prior_sigma**-2))
    excess = float((pull * (values - mean) ** 2).sum() / len(values))
    return mean, float((pull.sum() / max(1.0, excess) + prior_sigma**-2) ** -0.5)
