"""From raw samples to linear light, a window at a time, so that memory stays small however large the frame.

Light is (sample - black) / (white - black), times the camera's white balance where colours are involved.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

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
    return cv2.copyMakeBorder(
        _light(frame, left, top, right, bottom),
        top - window.top,
        window.top + window.side_px - bottom,
        left - window.left,
        window.left + window.side_px - right,
        cv2.BORDER_REPLICATE,
    )


def shrunk_size(frame: Frame, scale: int) -> tuple[int, int]:
    """Width and height of a frame shrunk *scale* times; blocks that reach beyond it count."""
    return math.ceil(frame.width / scale), math.ceil(frame.height / scale)


def shrunk_rgb(frame: Frame, scale: int, top: int, bottom: int) -> np.ndarray:
    """Rows *top* to *bottom* of the frame shrunk *scale* times: means of the light `linear_rgb` gives of scale × scale
    px, (bottom - top, width, 3) float32. Blocks that reach beyond the frame repeat its border.
    """
    width, _ = shrunk_size(frame, scale)
    if frame.kind == "bayer" and scale % 2 == 0:
        half = _half_size(frame, top * scale // 2, min(bottom * scale // 2, -(-frame.height // 2)))
        part, step = half, scale // 2
    else:
        part, step = _light(frame, 0, top * scale, frame.width, min(bottom * scale, frame.height)), scale
    down, right = (bottom - top) * step - part.shape[0], width * step - part.shape[1]
    if down or right:
        part = cv2.copyMakeBorder(part, 0, down, 0, right, cv2.BORDER_REPLICATE)
    if step == 1:
        return part
    return cv2.resize(part, (width, bottom - top), interpolation=cv2.INTER_AREA)


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


def _light(frame: Frame, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Linear light inside the given bounds, which are within the frame: (rows, columns, 3) float32."""
    if frame.kind in ("bayer", "xtrans"):
        return _demosaic(frame, left, top, right, bottom)
    return _plain(frame, left, top, right, bottom)


def _half_size(frame: Frame, top: int, bottom: int) -> np.ndarray:
    """Rows *top* to *bottom* of a Bayer frame at half size: what `_demosaic` gives, averaged over 2 × 2 px, in one go.

    Demosaicing and averaging are linear, so each of the four sub-mosaics needs one small filter.
    """
    rows = slice(max(2 * top - 2, 0), min(2 * bottom + 2, frame.height))
    mosaic = frame.mosaic[rows]
    if mosaic.shape[0] % 2 or mosaic.shape[1] % 2:
        # The row or column two before has the same colours.
        mosaic = np.pad(mosaic, ((0, mosaic.shape[0] % 2 * 2), (0, mosaic.shape[1] % 2 * 2)), mode="reflect")
        mosaic = mosaic[: mosaic.shape[0] // 2 * 2, : mosaic.shape[1] // 2 * 2]
    out = np.zeros((mosaic.shape[0] // 2, mosaic.shape[1] // 2, 3), np.float32)
    planes = [np.zeros(out.shape[:2], np.float32) for _ in range(3)]
    for row in range(2):
        for column in range(2):
            colour, black = frame.cfa[row][column], float(frame.black[row, column])
            samples = mosaic[row::2, column::2].astype(np.float32)
            samples = (samples - black) * np.float32(frame.wb[colour] / (frame.white - black))
            kernel = _half_size_kernel(frame.cfa, row, column)
            planes[colour] += cv2.filter2D(samples, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE)
    cv2.merge(planes, out)
    first = top - rows.start // 2
    return out[first : first + bottom - top]


@lru_cache(maxsize=64)
def _half_size_kernel(cfa: tuple[tuple[int, ...], ...], row: int, column: int) -> np.ndarray:
    """Weights of the samples of one sub-mosaic in the mean of a 2 × 2 block of the demosaiced picture, (3, 3)."""
    side, middle = 12, 6
    line = np.array(_LINES["bayer"], np.float32)
    colours = np.tile(np.array(cfa), (side // 2, side // 2))
    known = (colours == cfa[row][column]).astype(np.float32)
    weight = cv2.sepFilter2D(known, cv2.CV_32F, line, line)
    kernel = np.zeros((3, 3), np.float32)
    for down, right in np.ndindex(3, 3):
        impulse = np.zeros((side, side), np.float32)
        impulse[middle + row + 2 * (down - 1), middle + column + 2 * (right - 1)] = 1
        share = cv2.sepFilter2D(impulse, cv2.CV_32F, line, line) / np.maximum(weight, 1e-6)
        kernel[down, right] = share[middle : middle + 2, middle : middle + 2].mean()
    return kernel


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
