"""Find dust in one frame: tiles at full and at half size, a detector that sees tiles, one merged list.

The detector is anything that follows `Detector`; which network it is, and on what device, is `dustd.model`'s affair.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from dustd.frame import Frame
from dustd.light import linear_rgb
from dustd.probability import Calibration
from dustd.spot import Detection
from dustd.tiles import Window, merge, sees_whole, to_frame, windows

# Full size for small and sharp spots, half size for large soft ones.
SCALES = (1, 2)
# A tile darker than this share of white everywhere, or clipped everywhere, cannot show dust.
BLACK_LIGHT = 0.0005


class Detector(Protocol):
    """What `detect` needs of a model.

    *tile_px* is the side it sees, *context_px* what it wants around it for its encoding, *max_spot_px* the largest
    box it was trained on. *calibration* turns its scores and the measured light into probabilities (`dustd.measure`),
    *false_positive_scores* gives thresholds of these by false positives per megapixel.
    """

    model_id: str
    sha256: str
    device: str
    tile_px: int
    context_px: int
    max_spot_px: int
    batch_tiles: int
    calibration: Calibration
    false_positive_scores: Mapping[float, float]

    def __call__(self, tiles: np.ndarray) -> Sequence[Sequence[Detection]]:
        """Detect in tiles (n, side, side, 3) float32 linear light, side = tile_px + 2·context_px; boxes in px of the
        tile proper, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the detector made of a frame: merged detections, best first, tiles run and tiles skipped."""

    detections: tuple[Detection, ...]
    tiles: int
    skipped_tiles: int


def detect(frame: Frame, detector: Detector, *, between_batches: Callable[[], None] = lambda: None) -> Seen:
    """Run *detector* over *frame* and merge what it sees.

    *between_batches* is called after each batch of tiles, so that a service can show that it is alive.
    """
    found: list[Detection] = []
    run = skipped = 0
    waiting: list[tuple[Window, int, np.ndarray]] = []

    def flush() -> None:
        nonlocal run
        if not waiting:
            return
        answers = detector(np.stack([tile for _, _, tile in waiting]))
        for (window, scale, _), boxes in zip(waiting, answers, strict=True):
            width, height = math.ceil(frame.width / scale), math.ceil(frame.height / scale)
            found.extend(to_frame(b, window, scale) for b in boxes if sees_whole(b, window, width, height))
        run += len(waiting)
        waiting.clear()
        between_batches()

    for window, scale, tile in _tiles(frame, detector):
        if _cannot_show_dust(tile, frame):
            skipped += 1
            continue
        waiting.append((window, scale, tile))
        if len(waiting) == detector.batch_tiles:
            flush()
    flush()
    inside = (d for d in found if -0.5 <= d.x <= frame.width - 0.5 and -0.5 <= d.y <= frame.height - 0.5)
    return Seen(detections=merge(inside), tiles=run, skipped_tiles=skipped)


def threshold(sensitivity: float, false_positive_scores: Mapping[float, float]) -> float:
    """Score threshold for a sensitivity of 0 to 100 by the model's calibration.

    0 means 0.001 false positives per megapixel, 50 means 0.02, 100 means 0.5, log-linear between (design §5).
    """
    marks = ((0.0, 0.001), (50.0, 0.02), (100.0, 0.5))
    rate = float(np.exp(np.interp(sensitivity, [m[0] for m in marks], [math.log(m[1]) for m in marks])))
    rates = sorted(false_positive_scores)
    logs = [math.log(r) for r in rates]
    return float(np.interp(math.log(rate), logs, [false_positive_scores[r] for r in rates]))


def _tiles(frame: Frame, detector: Detector) -> Iterator[tuple[Window, int, np.ndarray]]:
    """Cut the frame's tiles, context included, row by row at each scale."""
    context = detector.context_px
    for scale in SCALES:
        width, height = math.ceil(frame.width / scale), math.ceil(frame.height / scale)
        for window in windows(width, height, side_px=detector.tile_px, overlap_px=detector.max_spot_px + 2):
            cut = Window(
                left=(window.left - context) * scale,
                top=(window.top - context) * scale,
                side_px=(window.side_px + 2 * context) * scale,
            )
            light = linear_rgb(frame, cut)
            if scale > 1:
                light = cv2.resize(light, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
            yield window, scale, light


def _cannot_show_dust(tile: np.ndarray, frame: Frame) -> bool:
    """Tell whether a tile is black or clipped all over, in every colour."""
    lowest = tile.min(0).min(0)  # fifty times as fast as over both axes at once
    if (lowest >= 0.99 * np.asarray(frame.wb, np.float32)).all():
        return True
    # Means of 8 × 8 px: noise alone lights up some pixels of a black tile, and no spot is smaller.
    return float(cv2.resize(tile, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA).max()) < BLACK_LIGHT
