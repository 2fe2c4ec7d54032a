"""Judging detections against the truth: free-response ROC by centre distance (design §10, facts §3).

Intervals are percentile bootstraps over images, the score thresholds found anew in every resample.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dustd.spots.spot import Detection

FALSE_POSITIVES_PER_MP = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
RESAMPLES = 1000
BOOTSTRAP_SEED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """One labelled spot: centre, diameter (px), attenuation (0..1); *ignore* means neither hit nor miss counts.

    *shadow* (h, w) bool, where it is known, tells the pixels that are plainly in its shadow, the first one being pixel
    *corner* (x, y): a fibre's reach much farther than the disc does.
    """

    x: float
    y: float
    diameter_px: float
    attenuation: float = 0.0
    ignore: bool = False
    shadow: np.ndarray | None = field(default=None, compare=False, repr=False)
    corner: tuple[int, int] = field(default=(0, 0), compare=False, repr=False)

    def shades(self, x: float, y: float) -> bool:
        """Tell whether a place lies plainly in the shadow; False where that is not known."""
        if self.shadow is None:
            return False
        column, row = round(x) - self.corner[0], round(y) - self.corner[1]
        height, width = self.shadow.shape
        return 0 <= row < height and 0 <= column < width and bool(self.shadow[row, column])


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One image judged: the score that found each truth, the false positives, and the image's size.

    *found* is (len(truths),) float, NaN where missed, *counts* (len(truths),) bool: which truths count,
    *false* (k,) float the scores of false positives, best first, *false_places* (k, 2) float their x and y. *found_by*
    (len(truths),) int and *false_by* (k,) int are the indices of the detections that did so, -1 where none did.
    """

    found: np.ndarray
    counts: np.ndarray
    false: np.ndarray
    false_places: np.ndarray
    megapixels: float
    found_by: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    false_by: np.ndarray = field(default_factory=lambda: np.zeros(0, int))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A measured *value* with the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def judge(detections: Sequence[Detection], truths: Sequence[Truth], megapixels: float) -> Judged:
    """Match best score first, one to one, within max(diameter/2, 4 px); duplicates are false positives.

    What falls on an ignored truth is neither, nor is what lies in a shadow but farther from its centre: it is dust, an
    arm of a fibre, but does not find the whole.
    """
    xs, ys = np.array([t.x for t in truths]), np.array([t.y for t in truths])
    reach = np.maximum(np.array([t.diameter_px for t in truths]) / 2, 4.0)
    counts = np.array([not t.ignore for t in truths], bool)
    found, found_by = np.full(len(truths), np.nan), np.full(len(truths), -1)
    false_by: list[int] = []
    for index in sorted(range(len(detections)), key=lambda i: -detections[i].score):
        detection = detections[index]
        away = np.hypot(xs - detection.x, ys - detection.y)
        near = away <= reach
        free = near & counts & np.isnan(found)
        if free.any():
            truth = np.argmin(np.where(free, away, np.inf))
            found[truth], found_by[truth] = detection.score, index
        elif not (near & ~counts).any() and not any(
            truth.shades(detection.x, detection.y) for truth, close in zip(truths, near, strict=True) if not close
        ):
            false_by.append(index)
    false = [detections[index] for index in false_by]
    return Judged(
        found=found,
        counts=counts,
        false=np.array([d.score for d in false], float),
        false_places=np.array([(d.x, d.y) for d in false], float).reshape(-1, 2),
        megapixels=megapixels,
        found_by=found_by,
        false_by=np.array(false_by, int),
    )


def only(judged: Judged, chosen: np.ndarray) -> Judged:
    """Let only the *chosen* truths count, (len(truths),) bool: a stratum. False positives belong to all strata."""
    return replace(judged, counts=judged.counts & chosen)


def threshold_for(judged: Sequence[Judged], false_per_mp: float) -> float:
    """Find the lowest score threshold that keeps false positives at or below *false_per_mp*."""
    scores = np.sort(np.concatenate([j.false for j in judged] or [np.zeros(0)]))[::-1]
    allowed = int(false_per_mp * sum(j.megapixels for j in judged) + 1e-9)
    return float(np.nextafter(scores[allowed], np.inf)) if allowed < len(scores) else 0.0


def recall(judged: Sequence[Judged], threshold: float) -> float:
    """Share of counted truths found with a score of at least *threshold*; NaN without truths."""
    found = np.concatenate([j.found[j.counts] for j in judged] or [np.zeros(0)])
    return float(np.mean(np.nan_to_num(found, nan=-np.inf) >= threshold)) if len(found) else math.nan


def froc(judged: Sequence[Judged]) -> dict[float, float]:
    """Recall at each of FALSE_POSITIVES_PER_MP; their mean is the headline figure."""
    return {rate: recall(judged, threshold_for(judged, rate)) for rate in FALSE_POSITIVES_PER_MP}


def resamples(images: int) -> np.ndarray:
    """Draw how often each image comes up in each bootstrap resample, (RESAMPLES, images) int; always the same."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    return rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES)


def recalls(judged: Sequence[Judged], rates: Sequence[float], weights: np.ndarray) -> np.ndarray:
    """Recall at each of *rates* (false positives per megapixel) for each weighting of the images.

    *weights* is (n, images) int, as from `resamples`. Returns (n, len(rates)) float, NaN where no truth is left.
    """
    false, false_image = _pooled([j.false for j in judged])
    hits, hit_image = _pooled([j.found[j.counts & ~np.isnan(j.found)] for j in judged])
    megapixels = weights @ np.array([j.megapixels for j in judged])
    truths = weights @ np.array([j.counts.sum() for j in judged])
    answers = np.full((len(weights), len(rates)), np.nan)
    for answer, weight, area, total in zip(answers, weights, megapixels, truths, strict=True):
        if total == 0:
            continue
        so_far = np.cumsum(weight[false_image])
        allowed = np.floor(np.asarray(rates) * area + 1e-9)
        first_too_many = np.searchsorted(so_far, allowed, side="right")
        limits = np.append(false, -np.inf)[first_too_many]
        hits_above = np.searchsorted(-hits, -limits, side="left")
        answer[:] = np.append(0, np.cumsum(weight[hit_image]))[hits_above] / total
    return answers


def mean_froc(judged: Sequence[Judged]) -> Interval:
    """Mean recall over FALSE_POSITIVES_PER_MP, with its interval."""
    return _interval(lambda weights: recalls(judged, FALSE_POSITIVES_PER_MP, weights).mean(1), len(judged))


def recall_at(judged: Sequence[Judged], false_per_mp: float) -> Interval:
    """Recall at *false_per_mp* false positives per megapixel, with its interval."""
    return _interval(lambda weights: recalls(judged, (false_per_mp,), weights)[:, 0], len(judged))


def mean_froc_ratio(ours: Sequence[Judged], theirs: Sequence[Judged]) -> Interval:
    """How many times *theirs* our mean FROC is; paired: both are weighed by the same resamples of the images."""

    def ratio(weights: np.ndarray) -> np.ndarray:
        over, under = (recalls(j, FALSE_POSITIVES_PER_MP, weights).mean(1) for j in (ours, theirs))
        return np.divide(over, under, out=np.full(len(over), np.inf), where=under > 0)

    return _interval(ratio, len(ours))


def recall_above(judged: Sequence[Judged], threshold: float) -> Interval:
    """Recall at a given score threshold, with its interval."""
    hits = np.array([(j.found[j.counts] >= threshold).sum() for j in judged])
    return _share(hits, np.array([j.counts.sum() for j in judged]))


def false_per_mp_above(judged: Sequence[Judged], thresholds: Sequence[float]) -> Interval:
    """False positives per megapixel, with their interval, at a given score threshold for each image."""
    false = np.array([(j.false >= limit).sum() for j, limit in zip(judged, thresholds, strict=True)])
    return _share(false, np.array([j.megapixels for j in judged]))


def curve(judged: Sequence[Judged], rates: Sequence[float]) -> np.ndarray:
    """Recall at each of *rates*, and the bounds of its 95 % interval at each: (3, len(rates)) float."""
    drawn = recalls(judged, rates, resamples(len(judged)))
    return np.stack(
        [recalls(judged, rates, np.ones((1, len(judged)), int))[0], *np.nanpercentile(drawn, (2.5, 97.5), axis=0)]
    )


def _pooled(scores: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Put the images' scores together, best first; return scores and the images they are from."""
    image = np.repeat(np.arange(len(scores)), [len(s) for s in scores])
    pooled = np.concatenate([*scores, np.zeros(0)])
    order = np.argsort(-pooled, kind="stable")
    return pooled[order], image[order]


def _share(parts: np.ndarray, wholes: np.ndarray) -> Interval:
    def share(weights: np.ndarray) -> np.ndarray:
        part, whole = weights @ parts, weights @ wholes
        return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)

    return _interval(share, len(parts))


def _interval(measure: Callable[[np.ndarray], np.ndarray], images: int) -> Interval:
    """Apply *measure* ((n, images) weights to (n,) values) to the images as they are and to their resamples."""
    value = float(measure(np.ones((1, images), int))[0])
    drawn = measure(resamples(images))
    drawn = drawn[~np.isnan(drawn)]
    # "nearest" keeps infinite ratios apart from finite ones instead of interpolating between them.
    low, high = np.percentile(drawn, (2.5, 97.5), method="nearest") if len(drawn) else (math.nan, math.nan)
    return Interval(value=value, low=float(low), high=float(high))
