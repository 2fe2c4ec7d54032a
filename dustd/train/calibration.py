"""What a detector's scores mean: false positives per megapixel at a threshold, and the probability of being dust.

The first is what sensitivity (0 to 100) refers to and is measured on dust-free frames. The second depends on how much
dust there is: a score of which one in two detections is true on a filthy sensor is right one time in fifty on a clean
one. SPOTS_PER_MP, a body as photographers leave it, is therefore part of the figure. What the light says of a detection
(`dustd.spots.measure`) and what the network says at the other size go into the probability with the score.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dustd.detector.detect import threshold
from dustd.spots.calibration import LEAST_SECOND, SPOTS_PER_MP, Calibration
from dustd.train.froc import Judged, threshold_for

CALIBRATED_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
DEFAULT_SENSITIVITY = 50.0
# Detections whose scores come up more often than this on dust-free frames are not measured: sensitivity ends at half of
# it.
MEASURED_FALSE_PER_MP = 1.0
BINS = 10
# Of each detection of an image: gain (`Shadow.gain`) and second score (`spots.spot.Detection`).
Signs = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How far scores are probabilities at SPOTS_PER_MP, and the *calibration* that makes them so.

    *of_others* has for each image the calibration that the others give. Errors are expected calibration errors over
    BINS bins of equal weight: *error_before* of the scores as they are, *error_after* of probabilities, each image's by
    the others' calibration. *scores*, *mapped*, *true* and *weight* are the detections behind it, (n,).
    """

    calibration: Calibration
    of_others: tuple[Calibration, ...]
    error_before: float
    error_after: float
    scores: np.ndarray
    mapped: np.ndarray
    true: np.ndarray
    weight: np.ndarray


def thresholds(clean: Sequence[Judged]) -> dict[float, float]:
    """Give the score threshold for each of CALIBRATED_RATES of false positives per megapixel of dust-free frames.

    Rates too low for the megapixels at hand continue the line of logit score over log rate, fitted to the measured
    ones; that is an extrapolation and only as good as the line is straight.
    """
    megapixels = sum(j.megapixels for j in clean)
    measured = {r: threshold_for(clean, r) for r in CALIBRATED_RATES if r * megapixels >= 3}
    usable = {r: t for r, t in measured.items() if 0 < t < 1}
    if len(usable) < 2:
        return {r: round(measured.get(r, 0.5), 4) for r in CALIBRATED_RATES}
    slope = min(float(np.polyfit(np.log(list(usable)), [_logit(t) for t in usable.values()], 1)[0]), -0.1)
    lowest = min(usable)
    scores = {}
    for rate in CALIBRATED_RATES:
        if rate in usable:
            scores[rate] = round(usable[rate], 4)
        elif rate < lowest:
            scores[rate] = round(_sigmoid(_logit(usable[lowest]) + slope * math.log(rate / lowest)), 4)
        else:
            scores[rate] = round(min(usable.values()), 4)
    return scores


def thresholds_from_others(clean: Sequence[Judged]) -> list[float]:
    """Give the threshold at the default sensitivity for each frame as measured on the other frames.

    False positives counted at these are an honest forecast; at a threshold set on the same frames they are as many
    as were asked for.
    """
    others = ([other for other in clean if other is not one] for one in clean)
    return [threshold(DEFAULT_SENSITIVITY, thresholds(frames)) for frames in others]


def measured_from(clean: Sequence[Judged]) -> float:
    """Give the least score of detections worth measuring, from dust-free frames."""
    return threshold_for(clean, MEASURED_FALSE_PER_MP)


def reliability(
    clean: Sequence[Judged],
    dusty: Sequence[Judged],
    clean_signs: Sequence[Signs],
    dusty_signs: Sequence[Signs],
    *,
    least: float,
) -> Reliability | None:
    """Compare scores and other signs with the share of true detections at SPOTS_PER_MP; None where there is too little.

    Hits are those of *dusty*, weighed down to SPOTS_PER_MP; false positives those of *clean*, as the dust of *dusty* is
    far too dense to count its duplicates. *clean* and *dusty* are the same images in the same order, the signs those
    of their detections. Scores below *least* were not measured (`measured_from`).
    """
    share = SPOTS_PER_MP * sum(j.megapixels for j in dusty) / max(sum(int(j.counts.sum()) for j in dusty), 1)
    scores, gains, seconds, hit, image = _columns(clean, dusty, clean_signs, dusty_signs, least)
    true = hit.astype(bool)
    if min(true.sum(), (~true).sum()) < BINS or len(clean) < 2:
        return None
    scores = scores.clip(1e-6, 1 - 1e-6)
    weight = np.where(true, share, 1.0)
    seconds_heard = seconds.clip(LEAST_SECOND, 1 - 1e-6)
    signs = np.stack([_logits(scores), _logits(seconds_heard), np.log1p(gains)], 1)

    def fitted(chosen: np.ndarray) -> Calibration:
        slope, second, light, intercept = _logistic(signs[chosen], true[chosen], weight[chosen])
        return Calibration(slope=slope, second=second, light=light, intercept=intercept, measured_from=least)

    of_others = tuple(fitted(image != number) for number in range(len(clean)))
    mapped = np.array(
        [
            of_others[int(n)].probability(s, g, second)
            for s, g, second, n in zip(scores, gains, seconds, image, strict=True)
        ],
        float,
    )
    return Reliability(
        calibration=fitted(np.ones(len(true), bool)),
        of_others=of_others,
        error_before=expected_error(scores, true, weight),
        error_after=expected_error(mapped, true, weight),
        scores=scores,
        mapped=mapped,
        true=true,
        weight=weight,
    )


def _columns(
    clean: Sequence[Judged],
    dusty: Sequence[Judged],
    clean_signs: Sequence[Signs],
    dusty_signs: Sequence[Signs],
    least: float,
) -> np.ndarray:
    """Gather hits and false positives that score at least *least*: (5, n) score, gain, second score, whether it is a
    hit, and the image."""
    rows: list[tuple[float, float, float, bool, int]] = []
    for number, (without, with_dust) in enumerate(zip(clean, dusty, strict=True)):
        hits = with_dust.counts & (np.nan_to_num(with_dust.found, nan=-1) >= least)
        for score, by in zip(with_dust.found[hits], with_dust.found_by[hits], strict=True):
            rows.append((score, *dusty_signs[number][by], True, number))
        false = without.false >= least
        for score, by in zip(without.false[false], without.false_by[false], strict=True):
            rows.append((score, *clean_signs[number][by], False, number))
    return np.array(rows, float).reshape(-1, 5).T


def bins(said: np.ndarray, true: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sort detections into BINS bins of equal weight by what was *said* of them.

    Returns (bins, 3): mean of what was said, share that is true, share of all weight.
    """
    order = np.argsort(said, kind="stable")
    so_far = np.cumsum(weight[order])
    number = np.minimum((BINS * (so_far - weight[order] / 2) / so_far[-1]).astype(int), BINS - 1)
    total = np.bincount(number, weight[order], BINS)
    filled = total > 0
    sums = [np.bincount(number, weight[order] * values[order], BINS)[filled] for values in (said, true)]
    return np.stack([sums[0] / total[filled], sums[1] / total[filled], total[filled] / so_far[-1]], 1)


def expected_error(said: np.ndarray, true: np.ndarray, weight: np.ndarray) -> float:
    """Mean distance of the probability said from the share that is true, over `bins`."""
    mean, share, part = bins(said, true, weight).T
    return float((part * np.abs(mean - share)).sum())


def _logistic(signs: np.ndarray, true: np.ndarray, weight: np.ndarray) -> list[float]:
    """Fit a weighted logistic regression on *signs* (n, k) by Newton's method: k slopes, never negative, intercept.

    A slight pull of the slopes, of the first one towards 1, of the others towards 0, keeps separable data finite.
    """
    slopes = signs.shape[1]
    design = np.concatenate([signs, np.ones((len(signs), 1))], 1)
    pull = np.diag([*[1e-3 * weight.sum()] * slopes, 1e-9])
    wanted = np.eye(slopes + 1)[0]
    p = wanted.copy()
    p[-1] = math.log(weight[true].sum() / max(weight[~true].sum(), 1e-9) + 1e-9)
    for _ in range(50):
        said = 1 / (1 + np.exp(-np.clip(design @ p, -40, 40)))
        slope = design.T @ (weight * (said - true)) + pull @ (p - wanted)
        curve = (design * (weight * np.maximum(said * (1 - said), 1e-9))[:, None]).T @ design + pull
        step = np.clip(np.linalg.solve(curve, slope), -2, 2)
        p -= step
        if np.abs(step).max() < 1e-9:
            break
    return [max(float(p[0]), 1e-3), *np.maximum(p[1:-1], 0.0).tolist(), float(p[-1])]


def _logits(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
