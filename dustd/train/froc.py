"""Judging detections against the truth: free-response ROC by centre distance (design §10, facts §3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dustd.spot import Detection

FALSE_POSITIVES_PER_MP = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """One labelled spot: centre, diameter (px), attenuation (0..1); *ignore* means neither hit nor miss counts."""

    x: float
    y: float
    diameter_px: float
    attenuation: float = 0.0
    ignore: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One image judged: scores of hits and of false positives, the hit score per truth (NaN if missed), and its size.

    *found* is (len(truths),) float, *false* (k,) float, *counts* (len(truths),) bool: which truths count.
    """

    found: np.ndarray
    counts: np.ndarray
    false: np.ndarray
    megapixels: float


def judge(detections: Sequence[Detection], truths: Sequence[Truth], megapixels: float) -> Judged:
    """Match best score first, one to one, within max(diameter/2, 4 px); duplicates are false positives.

    What falls on an ignored truth is neither.
    """
    found = np.full(len(truths), np.nan)
    false: list[float] = []
    for detection in sorted(detections, key=lambda d: -d.score):
        near = [
            (math.hypot(t.x - detection.x, t.y - detection.y), i)
            for i, t in enumerate(truths)
            if math.hypot(t.x - detection.x, t.y - detection.y) <= max(t.diameter_px / 2, 4.0)
        ]
        free = [(d, i) for d, i in near if np.isnan(found[i]) and not truths[i].ignore]
        if free:
            found[min(free)[1]] = detection.score
        elif not any(truths[i].ignore for _, i in near):
            false.append(detection.score)
    counts = np.array([not t.ignore for t in truths], bool)
    return Judged(found=found, counts=counts, false=np.array(false, float), megapixels=megapixels)


def threshold_for(judged: Sequence[Judged], false_per_mp: float) -> float:
    """Find the lowest score threshold that keeps false positives at or below *false_per_mp*."""
    scores = np.sort(np.concatenate([j.false for j in judged] or [np.zeros(0)]))[::-1]
    allowed = int(false_per_mp * sum(j.megapixels for j in judged))
    return float(np.nextafter(scores[allowed], 2)) if allowed < len(scores) else 0.0


def recall(judged: Sequence[Judged], threshold: float) -> float:
    """Share of counted truths found with a score of at least *threshold*; NaN without truths."""
    found = np.concatenate([j.found[j.counts] for j in judged] or [np.zeros(0)])
    return float(np.mean(np.nan_to_num(found, nan=-1.0) >= threshold)) if len(found) else math.nan


def froc(judged: Sequence[Judged]) -> dict[float, float]:
    """Recall at each of FALSE_POSITIVES_PER_MP; their mean is the headline figure."""
    return {rate: recall(judged, threshold_for(judged, rate)) for rate in FALSE_POSITIVES_PER_MP}
