"""From raw samples to linear light, a window at a time, so that memory stays small however large the frame.

Light is (sample - black) / (white - black), times the camera's white balance where colours are involved.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dustd.raw.frame import Frame

# Neighbourhood that fills in missing colours: 3×3 reaches every colour of a Bayer pattern, X-Trans needs 5×5.
_LINES = {"bayer": (0.25, 0.5, 0.25), "xtrans": (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A square part of a frame: top-left corner and side, px of the level it was cut from."""

    left: int
    top: int
    side_px: int


def linear_rgb(frame: Frame, window: Window) -> np.ndarray:
    """White-balanced linear light of *window* of the visible area, (side, side, 3) float32, 1 = white.

    A window may reach beyond the frame; the frame's border is repeated there. Missing colours are the average of
    their neighbours: plain, but without the false detail that a cleverer demosaic puts around a soft spot.
    """
    left, top = max(window.left, 0), max(window.top, 0)
    right = min(window.left + window.side_px, frame.width)
    bottom = min(window.top + window.side_px, frame.height)
    if frame.kind in ("bayer", "xtrans"):
        part = _demosaic(frame, left, top, right, bottom)
    else:
        part = _plain(frame, left, top, right, bottom)
    return cv2.copyMakeBorder(
        part,
        top - window.top,
        window.top + window.side_px - bottom,
        left - window.left,
        window.left + window.side_px - right,
        cv2.BORDER_REPLICATE,
    )


def overview(frame: Frame, step: int) -> np.ndarray:
    """Mean linear light of step × step blocks, (height // step, width // step) float32, colours pooled.

    Raises ValueError if *step* does not hold whole colour patterns, as block means would then beat with them.
    """
    period = len(frame.cfa)
    if step % period:
        raise ValueError(f"blocks of {step} px cut a {period} px colour pattern")
    rows, columns = frame.height // step, frame.width // step
    samples = frame.mosaic[: rows * step, : columns * step].astype(np.float32)
    if samples.ndim == 3:
        samples = samples.mean(-1)
    means = cv2.resize(samples, (columns, rows), interpolation=cv2.INTER_AREA)
    black = float(np.mean(frame.black))
    return np.maximum((means - black) / (frame.white - black), 0.0)


def _demosaic(frame: Frame, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Normalised convolution of each colour's samples inside the given bounds."""
    line = np.array(_LINES[frame.kind], np.float32)
    reach = len(line) // 2
    x0, y0 = max(left - reach, 0), max(top - reach, 0)
    x1, y1 = min(right + reach, frame.width), min(bottom + reach, frame.height)
    period = len(frame.cfa)
    rows = np.arange(y0, y1)[:, None] % period
    columns = np.arange(x0, x1)[None] % period
    colours = np.array(frame.cfa)[rows, columns]
    black = frame.black[rows, columns]
    samples = (frame.mosaic[y0:y1, x0:x1] - black) / (frame.white - black)
    planes = []
    for colour in range(3):
        known = (colours == colour).astype(np.float32)
        total = cv2.sepFilter2D(samples * known, cv2.CV_32F, line, line, borderType=cv2.BORDER_REFLECT_101)
        weight = cv2.sepFilter2D(known, cv2.CV_32F, line, line, borderType=cv2.BORDER_REFLECT_101)
        planes.append(total / np.maximum(weight, 1e-6) * frame.wb[colour])
    return np.stack(planes, -1)[top - y0 : bottom - y0, left - x0 : right - x0]


def _plain(frame: Frame, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Linear light of a sensor without a colour pattern."""
    part = frame.mosaic[top:bottom, left:right].astype(np.float32)
    if frame.kind == "mono":
        light = (part - frame.black[0, 0]) / (frame.white - frame.black[0, 0])
        return np.repeat(light[..., None], 3, -1)
    return (part - frame.black) / (frame.white - frame.black) * np.array(frame.wb, np.float32)
