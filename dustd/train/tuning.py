"""Tuning the classical detectors: one setting after the other, on windows of the synthetic validation set.

It is the set that judges them, which favours them. The best settings are written into `dustd.train.baseline` by hand.
"""

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dustd.train.baseline import TUNED, Settings, find
from dustd.train.froc import Truth, judge, mean_froc
from dustd.train.testset import draw_twins, log_luminance, measure_spots

# One window of WINDOW_PX square for every so many megapixels: 40 of the 107 that the set had when this was written.
MEGAPIXELS_PER_WINDOW, WINDOW_PX, SEED = 2.7, 1000, 5
# Values tried for each setting by `tune`, in this order.
_BOTH: dict[str, tuple[Any, ...]] = {
    "pairs": (False, True),
    "texture": ("rms", "mean", "median", "around"),
    "texture_px": (12, 24, 48, 80),
    "floor": (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.004),
    "both_scales": (False, True),
    "ring": (1.5, 2.0, 2.5, 3.0, 4.0, 5.0),
    "edge_ratio": (math.inf, 8.0, 4.0, 2.0, 1.5),
    "apart": (1.0, 1.5, 2.0),
    "step": (1.25, 1.4, 1.6, 2.0),
}
GRID: dict[str, dict[str, tuple[Any, ...]]] = {"dog": _BOTH, "disc": {**_BOTH, "edge": (0.2, 0.4, 0.8)}}


def tune_baseline(paths: Sequence[Path], out: Path) -> None:
    """Tune both classical filters on windows of the test set; write every setting tried, and print the best.

    It starts from the settings in use, so that another run can only find better ones.
    """
    cut = []
    rng = np.random.default_rng(SEED)
    for path in tqdm(paths, desc="windows of the test set", unit="frame"):
        twins = draw_twins(path)
        cut += windows(log_luminance(twins.dusty), [s.truth() for s in measure_spots(twins)], rng)

    def value(settings: Settings) -> float:
        return mean_froc([judge(find(w, settings), t, w.size / 1e6) for w, t in cut]).value

    rows: list[dict[str, Any]] = []
    for family in TUNED:
        progress = tqdm(tune(value, TUNED[family]), desc=family, unit="setting")
        for settings, score in progress:
            rows.append({**asdict(settings), "mean_froc": round(score, 4)})
            with (out / "baseline.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        best = max((row for row in rows if row["family"] == family), key=lambda row: row["mean_froc"])
        print(", ".join(f"{name} {value}" for name, value in best.items()))


def tune(judge: Callable[[Settings], float], start: Settings) -> Iterator[tuple[Settings, float]]:
    """Improve one setting after the other, twice round, by *judge* (the larger the better), from *start*.

    Yields every setting tried with its value, each once; the best of them is the result.
    """
    tried = {start: judge(start)}
    yield start, tried[start]
    best = start
    for _ in range(2):
        for name, values in GRID[start.family].items():
            if name == "ring" and start.family == "dog" and not best.pairs:
                continue  # it has none
            for value in values:
                candidate = replace(best, **{name: value})
                if candidate not in tried:
                    tried[candidate] = judge(candidate)
                    yield candidate, tried[candidate]
            best = max(tried, key=tried.__getitem__)


def windows(
    log_light: np.ndarray, truths: Sequence[Truth], rng: np.random.Generator
) -> list[tuple[np.ndarray, list[Truth]]]:
    """Cut a frame's share of windows from its log luminance, each with its truths.

    Spots that the cut leaves without surroundings do not count.
    """
    height, width = (min(WINDOW_PX, side) for side in log_light.shape)
    places = [
        (top, left)
        for top in range(0, log_light.shape[0] - height + 1, height)
        for left in range(0, log_light.shape[1] - width + 1, width)
    ]
    count = min(len(places), max(1, round(log_light.size / 1e6 / MEGAPIXELS_PER_WINDOW)))
    cut = []
    for number in rng.choice(len(places), count, replace=False):
        top, left = places[number]
        inside = []
        for truth in truths:
            x, y, room = truth.x - left, truth.y - top, truth.diameter_px
            if -room < x < width + room and -room < y < height + room:
                whole = room <= x < width - room and room <= y < height - room
                inside.append(replace(truth, x=x, y=y, ignore=truth.ignore or not whole))
        cut.append((log_light[top : top + height, left : left + width].copy(), inside))
    return cut
