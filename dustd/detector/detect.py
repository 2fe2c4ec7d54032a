"""Find dust in one frame: tiles at full and at half size, a detector that sees tiles, one merged list.

What may be dust is then looked at again, in a small window turned by a quarter, once to each side: where the detector
does not see the same thing again, its score falls. Shadows look the same from every side; much of what is mistaken for
one only does so by chance. docs/detector.md has what that brings.

The detector is anything that follows `Detector`; which network it is, and on what device, is `dustd.detector.model`'s
affair.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import cv2
import numpy as np

from dustd.detector.tiles import merge, sees_whole, to_frame, windows
from dustd.raw.frame import Frame
from dustd.raw.light import Window, linear_rgb
from dustd.spots.calibration import Calibration
from dustd.spots.spot import Detection

# Full size for small and sharp spots, half size for large soft ones.
SCALES = (1, 2)
# Scores above this are worth looking again: about two places per megapixel without dust.
AGAIN_FROM = 0.4
# How the window is turned for each further look: quarters of `np.rot90`.
QUARTERS = (1, -1)
UNSEEN: tuple[list[Detection], ...] = ([],) * len(QUARTERS)
# Boxes up to this side are looked at again at full size.
LARGE_PX = 40.0
# What a look that sees nothing there counts as.
SILENT = 0.01
# At most so many windows for each tile of the frame, of which a small frame counts as many as FEW_TILES: a fabric full
# of dots must not hold up the shoot. Photographs with 22 synthetic spots per megapixel came to 3.
MOST_AGAIN, FEW_TILES = 4, 16
# A tile darker than this share of white everywhere, or clipped everywhere, cannot show dust.
BLACK_LIGHT = 0.0005


class Detector(Protocol):
    """What `detect` needs of a model.

    *tile_px* is the side it sees, *context_px* what it wants around it for its encoding, *max_spot_px* the largest
    box it was trained on. *calibration* turns its scores and the measured light into probabilities
    (`dustd.spots.measure`), *false_positive_scores* gives thresholds of these by false positives per megapixel.
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
        """Detect in tiles (n, side, side, 3) float32 linear light, side = tile_px + 2·context_px or half of tile_px
        and the same context; boxes in px of the tile proper, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the detector made of a frame: merged detections, best first, tiles run (second looks aside) and skipped."""

    detections: tuple[Detection, ...]
    tiles: int
    skipped_tiles: int


def detect(frame: Frame, detector: Detector, *, between_batches: Callable[[], None] = lambda: None) -> Seen:
    """Run *detector* over *frame* and merge what it sees.

    *between_batches* is called after each batch of tiles, so that a service can show that it is alive.
    """
    found: list[Detection] = []
    run = skipped = 0

    def tiles() -> Iterator[tuple[tuple[Window, int], np.ndarray]]:
        nonlocal run, skipped
        for window, scale in _windows(frame, detector):
            tile = _cut(frame, window, scale, detector.context_px)
            if _cannot_show_dust(tile, frame):
                skipped += 1
                continue
            run += 1
            yield (window, scale), tile

    for (window, scale), boxes in _answers(detector, tiles(), between_batches):
        width, height = _size(frame, scale)
        found.extend(to_frame(b, window, scale) for b in boxes if sees_whole(b, window, width, height))
    inside = (d for d in found if -0.5 <= d.x <= frame.width - 0.5 and -0.5 <= d.y <= frame.height - 0.5)
    merged = _looked_again(merge(inside), frame, detector, between_batches, MOST_AGAIN * max(run + skipped, FEW_TILES))
    return Seen(detections=merged, tiles=run, skipped_tiles=skipped)


def _looked_again(
    detections: tuple[Detection, ...],
    frame: Frame,
    detector: Detector,
    between_batches: Callable[[], None],
    most: int,
) -> tuple[Detection, ...]:
    """Replace the scores above AGAIN_FROM by the mean, as logits, of three looks; best first, before and after.

    *most* windows are looked at; what lies beyond them counts as not seen again.
    """
    doubtful = [d for d in detections if d.score > AGAIN_FROM]
    places = [_around(d, frame, detector) for d in doubtful]

    # What shares a window is looked at together.
    seen: dict[tuple[Window, int], list[list[Detection]]] = {place: [] for place in list(dict.fromkeys(places))[:most]}

    def turned() -> Iterator[tuple[tuple[Window, int, int], np.ndarray]]:
        for window, scale in seen:
            tile = _cut(frame, window, scale, detector.context_px)
            for quarters in QUARTERS:
                yield (window, scale, quarters), np.ascontiguousarray(np.rot90(tile, quarters))

    for (window, scale, quarters), boxes in _answers(detector, turned(), between_batches):
        back = (_turned_back(b, window.side_px, quarters) for b in boxes)
        seen[window, scale].append([to_frame(b, window, scale) for b in back])
    again = [
        replace(d, score=_mean_score([d.score, *(_score_at(d, boxes) for boxes in seen.get(place, UNSEEN))]))
        for d, place in zip(doubtful, places, strict=True)
    ]
    rest = [d for d in detections if d.score <= AGAIN_FROM]
    return tuple(sorted([*again, *rest], key=lambda d: -d.score))


def _around(d: Detection, frame: Frame, detector: Detector) -> tuple[Window, int]:
    """Choose the half-size window in whose middle, more or less, a detection lies, and the scale to see it at.

    Windows lie on a grid of a quarter of their side, and within the frame if it is large enough.
    """
    scale = SCALES[0] if max(d.width_px, d.height_px) <= LARGE_PX else SCALES[-1]
    side = detector.tile_px // 2
    step = side // 4
    left, top = (
        min(max(round((at / scale - side / 2) / step) * step, 0), max(length - side, 0))
        for at, length in zip((d.x, d.y), _size(frame, scale), strict=True)
    )
    return Window(left=left, top=top, side_px=side), scale


def _turned_back(box: Detection, side_px: int, quarters: int) -> Detection:
    """Undo `np.rot90` by one quarter (1 or -1) for a box in a window."""
    last = side_px - 1
    x, y = (last - box.y, box.x) if quarters == 1 else (box.y, last - box.x)
    return replace(box, x=x, y=y, width_px=box.height_px, height_px=box.width_px)


def _score_at(d: Detection, boxes: Sequence[Detection]) -> float:
    reach = max(d.width_px / 2, d.height_px / 2, 4.0)
    return max((b.score for b in boxes if math.hypot(b.x - d.x, b.y - d.y) <= reach), default=SILENT)


def _mean_score(scores: Sequence[float]) -> float:
    logits = [math.log(p / (1 - p)) for p in (min(max(score, SILENT), 1 - 1e-6) for score in scores)]
    return 1 / (1 + math.exp(-sum(logits) / len(logits)))


Key = TypeVar("Key")


def _answers(
    detector: Detector, tiles: Iterable[tuple[Key, np.ndarray]], between_batches: Callable[[], None]
) -> Iterator[tuple[Key, Sequence[Detection]]]:
    """Ask the detector about tiles in batches; give each tile's answer with its key."""
    waiting: list[tuple[Key, np.ndarray]] = []

    def flush() -> Iterator[tuple[Key, Sequence[Detection]]]:
        answers = detector(np.stack([tile for _, tile in waiting]))
        yield from zip([key for key, _ in waiting], answers, strict=True)
        waiting.clear()
        between_batches()

    for item in tiles:
        waiting.append(item)
        if len(waiting) == detector.batch_tiles:
            yield from flush()
    if waiting:
        yield from flush()


def threshold(sensitivity: float, false_positive_scores: Mapping[float, float]) -> float:
    """Score threshold for a sensitivity of 0 to 100 by the model's calibration.

    0 means 0.001 false positives per megapixel, 50 means 0.02, 100 means 0.5, log-linear between (design §5).
    """
    marks = ((0.0, 0.001), (50.0, 0.02), (100.0, 0.5))
    rate = float(np.exp(np.interp(sensitivity, [m[0] for m in marks], [math.log(m[1]) for m in marks])))
    rates = sorted(false_positive_scores)
    logs = [math.log(r) for r in rates]
    return float(np.interp(math.log(rate), logs, [false_positive_scores[r] for r in rates]))


def _windows(frame: Frame, detector: Detector) -> Iterator[tuple[Window, int]]:
    """Lay the frame's windows, row by row at each scale."""
    for scale in SCALES:
        width, height = _size(frame, scale)
        for window in windows(width, height, side_px=detector.tile_px, overlap_px=detector.max_spot_px + 2):
            yield window, scale


def _size(frame: Frame, scale: int) -> tuple[int, int]:
    return math.ceil(frame.width / scale), math.ceil(frame.height / scale)


def _cut(frame: Frame, window: Window, scale: int, context_px: int) -> np.ndarray:
    """Cut a window with the context around it, as linear light."""
    cut = Window(
        left=(window.left - context_px) * scale,
        top=(window.top - context_px) * scale,
        side_px=(window.side_px + 2 * context_px) * scale,
    )
    light = linear_rgb(frame, cut)
    if scale > 1:
        light = cv2.resize(light, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    return light


def _cannot_show_dust(tile: np.ndarray, frame: Frame) -> bool:
    """Tell whether a tile is black or clipped all over, in every colour."""
    lowest = tile.min(0).min(0)  # fifty times as fast as over both axes at once
    if (lowest >= 0.99 * np.asarray(frame.wb, np.float32)).all():
        return True
    # Means of 8 × 8 px: noise alone lights up some pixels of a black tile, and no spot is smaller.
    return float(cv2.resize(tile, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA).max()) < BLACK_LIGHT
