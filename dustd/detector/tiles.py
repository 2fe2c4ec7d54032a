"""Where the detector looks, and how what it saw in many tiles becomes one list.

Tiles are square windows of a frame, overlapping by at least the largest spot, the last ones clamped inward. A detection
that touches an inner tile edge is left to the neighbour that sees the spot whole. Nothing here knows arrays or models.
"""

import math
from collections.abc import Iterable

from dustd.raw.light import Window
from dustd.spots.spot import Detection


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


def sees_whole(box: Detection, window: Window, width: int, height: int, *, margin_px: float = 1.0) -> bool:
    """Tell whether *box* (in window coordinates) keeps clear of the window's inner edges.

    Edges of the frame itself (*width* × *height*) are not inner: what is cut there is cut for everybody.
    """
    left, right = box.x - box.width_px / 2, box.x + box.width_px / 2
    top, bottom = box.y - box.height_px / 2, box.y + box.height_px / 2
    return not (
        (left < margin_px and window.left > 0)
        or (top < margin_px and window.top > 0)
        or (right > window.side_px - margin_px and window.left + window.side_px < width)
        or (bottom > window.side_px - margin_px and window.top + window.side_px < height)
    )


def to_frame(box: Detection, window: Window, scale: int) -> Detection:
    """Carry *box* from a window of the frame shrunk *scale* times to frame coordinates.

    Pixel centres are integers: pixel i of the shrunk frame covers frame pixels i·scale to (i+1)·scale − 1.
    """
    return Detection(
        x=(box.x + window.left) * scale + (scale - 1) / 2,
        y=(box.y + window.top) * scale + (scale - 1) / 2,
        width_px=box.width_px * scale,
        height_px=box.height_px * scale,
        score=box.score,
    )


def merge(detections: Iterable[Detection]) -> tuple[Detection, ...]:
    """Keep the best of detections that mean the same spot: centres nearer than half the larger box's side.

    Returns them best first. Boxes of very unlike size (one over three times the other) are still one spot when the
    centres agree, since a token often answers with a part of the spot.
    """
    kept: list[Detection] = []
    cells: dict[tuple[int, int], list[Detection]] = {}
    cell_px = 32.0
    for candidate in sorted(detections, key=lambda d: (-d.score, -d.width_px, -d.height_px, d.y, d.x)):
        side = max(candidate.width_px, candidate.height_px)
        reach = max(1, math.ceil(max(side, 160.0) / 2 / cell_px))
        cx, cy = int(candidate.x // cell_px), int(candidate.y // cell_px)
        near = (
            other
            for gx in range(cx - reach, cx + reach + 1)
            for gy in range(cy - reach, cy + reach + 1)
            for other in cells.get((gx, gy), ())
        )
        if any(_same(candidate, other) for other in near):
            continue
        kept.append(candidate)
        cells.setdefault((cx, cy), []).append(candidate)
    return tuple(kept)


def _same(a: Detection, b: Detection) -> bool:
    side = max(a.width_px, a.height_px, b.width_px, b.height_px)
    return math.hypot(a.x - b.x, a.y - b.y) < max(side / 2, 4.0)
