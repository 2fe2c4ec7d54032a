"""Find dust in one frame: at two sizes, stripe by stripe, in overlapping tiles, with one merged list.

The aperture says how wide shadows are (`optics.typical_px`), and so how far the frame may be shrunk before it is looked
at: until a usual shadow is TYPICAL_PX wide, and once more at half of that for wide ones.

The detector is anything that follows `Detector`; which network it is, and on what device, is `dustd.detector.model`'s
affair.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from dustd.detector.tiles import keep_whole, merge, merge_looks, to_frame, windows
from dustd.raw.frame import Frame
from dustd.raw.light import Window, shrunk_rgb, shrunk_size
from dustd.spots.calibration import Calibration
from dustd.spots.spot import Detection

# How wide a usual shadow has to stay, px of the shrunk frame; the thinnest stack's is a third of that. On generated
# frames at f/16 recall at .05 false per megapixel is .87 where the blur is 19 px of the shrunk frame, .84 where it is
# 9 px, .28 where it is 5 px.
TYPICAL_PX = 12.0
# A frame is shrunk by an even factor, as that keeps a Bayer pattern's blocks whole, and by no more than this.
MOST_SHRUNK = 8
# Without an f-number a shadow may be as narrow as any lens makes it.
SCALES_OF_UNKNOWN = (1, 2)
# Pixels of the shrunk frame encoded at once: memory stays small however large the frame (40 bytes a pixel).
STRIPE_PX = 3e6
# A tile darker than this share of white everywhere, or clipped everywhere, cannot show dust.
BLACK_LIGHT = 0.0005


class Detector(Protocol):
    """What `detect` needs of a model.

    *tile_px* is the side it sees, *context_px* how far its encoding looks, *max_spot_px* the largest box it was trained
    on. *calibration* turns its scores and the measured light into probabilities (`dustd.spots.measure`),
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

    def encode(self, light: np.ndarray) -> np.ndarray:
        """Encode (H, W, 3) float32 linear light as (C, H, W) float32 of the same height and width."""

    def __call__(self, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Detect in encoded tiles, n of (C, tile_px, tile_px); per tile boxes (k, 5) float32: x and y of the centre,
        width and height, px of the tile, pixel centres at integers, and score, in any order, unmerged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the detector made of a frame: merged detections, best first; tiles run and skipped; the two scales."""

    detections: tuple[Detection, ...]
    tiles: int
    skipped_tiles: int
    scales: tuple[int, ...]


def scales_for(typical_px: float | None) -> tuple[int, int]:
    """Choose how many times a frame is shrunk, by the width of a usual shadow (px, None if unknown)."""
    if typical_px is None:
        return SCALES_OF_UNKNOWN
    first = min(int(typical_px / TYPICAL_PX) // 2 * 2, MOST_SHRUNK) or 1
    return first, 2 * first


def detect(
    frame: Frame,
    detector: Detector,
    *,
    typical_px: float | None = None,
    between_batches: Callable[[float], None] = lambda _share: None,
) -> Seen:
    """Run *detector* over *frame* and merge what it sees.

    *typical_px* is the width of a usual shadow in this frame (`optics.typical_px`), None where that is unknown.
    *between_batches* is called after each batch of tiles with the share of them that is done, so that a service can
    show that it is alive and a bar how far it is.
    """
    scales = scales_for(typical_px)
    stripes = [(scale, inside) for scale in scales for inside in _stripes(frame, scale, detector)]
    total, run, skipped = sum(len(inside) for _, inside in stripes), 0, 0
    found = {scale: [np.zeros((0, 5), np.float32)] for scale in scales}
    with ThreadPoolExecutor(1) as beside:
        encoded = _ahead(beside, lambda stripe: _encoded(frame, detector, *stripe), stripes)
        for (scale, inside), tiles in zip(stripes, encoded, strict=True):
            waiting = [(window, tile) for window, tile in zip(inside, tiles, strict=True) if tile is not None]
            skipped += len(inside) - len(waiting)
            for first in range(0, len(waiting), detector.batch_tiles):
                batch = waiting[first : first + detector.batch_tiles]
                found[scale] += _answers(frame, scale, detector, batch)
                run += len(batch)
                between_batches((run + skipped) / total)
    looks = []
    for boxes in map(np.concatenate, found.values()):
        inside_frame = (boxes[:, :2] >= -0.5) & (boxes[:, :2] <= np.array([frame.width, frame.height]) - 0.5)
        looks.append(boxes[inside_frame.all(1)])
    return Seen(detections=as_detections(merge_looks(looks)), tiles=run, skipped_tiles=skipped, scales=scales)


def _ahead(beside: ThreadPoolExecutor, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Give what *work* makes of each item, the next one being worked on *beside*."""
    coming: deque[Future[Any]] = deque()
    for item in items:
        coming.append(beside.submit(work, item))
        if len(coming) == 2:
            yield coming.popleft().result()
    if coming:
        yield coming.popleft().result()


def as_detections(boxes: np.ndarray) -> tuple[Detection, ...]:
    """Name the columns of *boxes* (n, 5 or 6): x, y, width, height, score, and the score at the other size."""
    names = ("x", "y", "width_px", "height_px", "score", "second_score")[: boxes.shape[1]]
    return tuple(Detection(**dict(zip(names, row, strict=True))) for row in boxes.astype(float).tolist())


def threshold(sensitivity: float, false_positive_scores: Mapping[float, float]) -> float:
    """Score threshold for a sensitivity of 0 to 100 by the model's calibration.

    0 means 0.001 false positives per megapixel, 50 means 0.02, 100 means 0.5, log-linear between (design §5).
    """
    marks = ((0.0, 0.001), (50.0, 0.02), (100.0, 0.5))
    rate = float(np.exp(np.interp(sensitivity, [m[0] for m in marks], [math.log(m[1]) for m in marks])))
    rates = sorted(false_positive_scores)
    logs = [math.log(r) for r in rates]
    return float(np.interp(math.log(rate), logs, [false_positive_scores[r] for r in rates]))


def _answers(
    frame: Frame, scale: int, detector: Detector, tiles: Sequence[tuple[Window, np.ndarray]]
) -> list[np.ndarray]:
    """Ask the detector about encoded tiles of the frame shrunk *scale* times; boxes in px of the whole frame."""
    width, height = shrunk_size(frame, scale)
    answers = detector([tile for _, tile in tiles])
    return [
        to_frame(merge(keep_whole(boxes, window, width, height)), window, scale)
        for (window, _), boxes in zip(tiles, answers, strict=True)
    ]


def _stripes(frame: Frame, scale: int, detector: Detector) -> list[list[Window]]:
    """Lay the windows over a frame at one scale, row by row, in stripes of as many rows as are encoded at once."""
    width, height = shrunk_size(frame, scale)
    side, overlap_px = detector.tile_px, detector.max_spot_px + 2
    every = windows(width, height, side_px=side, overlap_px=overlap_px)
    tops = sorted({window.top for window in every})
    rows = max(1, int((STRIPE_PX / max(width, side) - side) // (side - overlap_px)) + 1)
    return [
        [window for window in every if window.top in tops[first : first + rows]] for first in range(0, len(tops), rows)
    ]


def _encoded(frame: Frame, detector: Detector, scale: int, inside: Sequence[Window]) -> list[np.ndarray | None]:
    """Encode a stripe of the frame shrunk *scale* times, and give the tile of each window in it, None where dust cannot
    show."""
    width, height = shrunk_size(frame, scale)
    side, context = detector.tile_px, detector.context_px
    first, last = inside[0].top, inside[-1].top
    top, bottom = max(first - context, 0), min(last + side + context, height)
    light = shrunk_rgb(frame, scale, top, bottom)
    missing = (0, max(last + side - bottom, 0), 0, max(side - width, 0))
    if any(missing):
        light = cv2.copyMakeBorder(light, *missing, cv2.BORDER_REPLICATE)
    places = [(slice(each.top - top, each.top - top + side), slice(each.left, each.left + side)) for each in inside]
    shows = [not _cannot_show_dust(light[place], frame) for place in places]
    image = detector.encode(light) if any(shows) else light
    return [image[:, *place] if there else None for place, there in zip(places, shows, strict=True)]


def _cannot_show_dust(tile: np.ndarray, frame: Frame) -> bool:
    """Tell whether a tile is black or clipped all over, in every colour."""
    lowest = tile.min(0).min(0)  # fifty times as fast as over both axes at once
    if (lowest >= 0.99 * np.asarray(frame.wb, np.float32)).all():
        return True
    # Means of 8 × 8 px: noise alone lights up some pixels of a black tile, and no spot is smaller.
    return float(cv2.resize(tile, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA).max()) < BLACK_LIGHT
