"""Where the detector looks, and how what it saw in many tiles becomes one list.

Tiles are square windows of a frame, overlapping by at least the largest spot, the last ones clamped inward. A detection
that touches an inner tile edge is left to the neighbour that sees the spot whole. Nothing here knows models.
"""

import math
from collections.abc import Sequence

import numpy as np

from dustd.raw.light import Window

# Centres nearer than this are one spot, however small the boxes.
LEAST_APART_PX = 4.0
COMPARED_AT_ONCE = 64  # boxes with all others: memory stays small however many there are


def windows(width: int, height: int, *, side_px: int, overlap_px: int) -> tuple[Window, ...]:
    """Cover a width × height area with windows of *side_px* that overlap by at least *overlap_px*.

    An area smaller than a window still gets one, which then reaches beyond the area's right or bottom edge.
    Raises ValueError unless 0 <= overlap_px < side_px.
    """
    if not 0 <= overlap_px < side_px:
        raise ValueError(f"an overlap of {overlap_px} px does not fit windows of {side_px} px")
    columns = _starts(width, side_px, overlap_px)
    rows = _starts(height, side_px, overlap_px)
    return tuple(Window(left=left, top=top, side_px=side_px) for top in rows for left in columns)


def _starts(length: int, side_px: int, overlap_px: int) -> tuple[int, ...]:
    if length <= side_px:
        return (0,)
    count = 1 + math.ceil((length - side_px) / (side_px - overlap_px))
    return tuple(round(i * (length - side_px) / (count - 1)) for i in range(count))


def keep_whole(boxes: np.ndarray, window: Window, width: int, height: int, *, margin_px: float = 1.0) -> np.ndarray:
    """Keep the *boxes* (n, 5) of a window (x, y, width, height, score) that stay clear of the window's inner edges.

    Edges of the frame itself (*width* × *height*) are not inner: what is cut there is cut for everybody.
    """
    low, high = boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2
    inner_low = np.array([window.left > 0, window.top > 0])
    inner_high = np.array([window.left + window.side_px < width, window.top + window.side_px < height])
    cut = (low < margin_px) & inner_low | (high > window.side_px - margin_px) & inner_high
    return boxes[~cut.any(1)]


def to_frame(boxes: np.ndarray, window: Window, scale: int) -> np.ndarray:
    """Carry *boxes* (n, 5) from a window of the frame shrunk *scale* times to frame coordinates.

    Pixel centres are integers: pixel i of the shrunk frame covers frame pixels i·scale to (i+1)·scale − 1.
    """
    moved = boxes.copy()
    moved[:, :2] = (boxes[:, :2] + (window.left, window.top)) * scale + (scale - 1) / 2
    moved[:, 2:4] *= scale
    return moved


def merge(boxes: np.ndarray) -> np.ndarray:
    """Keep the best of *boxes* (n, 5) that mean the same spot: centres nearer than half the larger box's side.

    Returns them (k, 5), best first. Boxes of very unlike size (one over three times the other) are still one spot when
    the centres agree, since a token often answers with a part of the spot.
    """
    return merge_looks([boxes])[:, :5]


def merge_looks(looks: Sequence[np.ndarray]) -> np.ndarray:
    """Merge the boxes (n, 5) of several looks at a frame as `merge` does; (k, 6), the last number being the best score
    that another look gave the same spot, 0 if none did."""
    boxes = np.concatenate(looks)
    look = np.repeat(np.arange(len(looks)), [len(each) for each in looks])
    order = np.lexsort((boxes[:, 0], boxes[:, 1], -boxes[:, 3], -boxes[:, 2], -boxes[:, 4]))
    boxes, look = boxes[order], look[order]
    x, y, scores, sides = boxes[:, 0], boxes[:, 1], boxes[:, 4], boxes[:, 2:4].max(1)
    left = np.ones(len(boxes), bool)
    kept = []
    for first in range(0, len(boxes), COMPARED_AT_ONCE):
        some = first + np.flatnonzero(left[first : first + COMPARED_AT_ONCE])
        reach = np.maximum(np.maximum(sides, sides[some, None]) / 2, LEAST_APART_PX)
        same = (x - x[some, None]) ** 2 + (y - y[some, None]) ** 2 < reach**2
        for best, spot in zip(some, same, strict=True):
            if left[best]:
                spot &= left
                left[spot] = left[best] = False
                kept.append(np.append(boxes[best], scores[spot & (look != look[best])].max(initial=0.0)))
    return np.array(kept, boxes.dtype).reshape(-1, 6)
