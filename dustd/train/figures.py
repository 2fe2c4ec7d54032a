"""The pictures of an evaluation: FROC curves, the reliability of scores, and what was found where."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dustd.raw.frame import Frame
from dustd.spots.calibration import SPOTS_PER_MP
from dustd.train.calibration import Reliability, bins
from dustd.train.froc import FALSE_POSITIVES_PER_MP, Judged, Truth, curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OVERLAY_PX = 1800
RATES: list[float] = np.geomspace(FALSE_POSITIVES_PER_MP[0], 4, 60).tolist()
GREEN, BLUE, RED, GREY = (0, 220, 0), (40, 90, 255), (255, 30, 30), (150, 150, 150)


def draw_froc(path: Path, panels: Mapping[str, Mapping[str, Sequence[Judged]]]) -> None:
    """Draw one panel per set of spots, in it one curve with its 95 % band per detector: {title: {name: judged}}."""
    figure, axes = _panels(len(panels))
    for axis, (title, detectors) in zip(axes, panels.items(), strict=True):
        for name, judged in detectors.items():
            value, low, high = curve(judged, RATES)
            (line,) = axis.plot(RATES, value, label=name)
            axis.fill_between(RATES, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        axis.set(title=title, xlabel="false positives per megapixel", ylabel="recall", xscale="log", ylim=(0, 1))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110)


def draw_reliability(path: Path, measured: Reliability) -> None:
    """Draw the share of true detections over the probability said, before and after the map."""
    figure, (axis,) = _panels(1)
    axis.plot((0, 1), (0, 1), color="grey", linewidth=1)
    for name, said, error in (
        ("scores as they are", measured.scores, measured.error_before),
        ("mapped, each image by a fit to the others", measured.mapped, measured.error_after),
    ):
        mean, share, _ = bins(said, measured.true, measured.weight).T
        axis.plot(mean, share, "o-", label=f"{name}: expected error {error:.3f}")
    axis.set(
        title=f"at {SPOTS_PER_MP:g} visible spots per megapixel",
        xlabel="probability said",
        ylabel="share that is dust",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axis.legend(loc="upper left")
    figure.savefig(path, dpi=110)


def draw_overlay(path: Path, frame: Frame, judged: Judged, truths: Sequence[Truth], threshold: float) -> None:
    """Write a JPEG of *frame*, OVERLAY_PX long at most, with what a detector made of it at a score threshold.

    Hits are ringed in green, misses in blue, false positives in red; grey are spots that do not count.
    """
    picture, scale = _picture(frame)

    def ring(x: float, y: float, diameter_px: float, colour: tuple[int, int, int], width: int) -> None:
        middle = (round((x + 0.5) * scale - 0.5), round((y + 0.5) * scale - 0.5))
        cv2.circle(picture, middle, max(7, round(0.8 * diameter_px * scale)), colour, width, cv2.LINE_AA)

    for truth, score, counts in zip(truths, judged.found, judged.counts, strict=True):
        if counts:
            ring(truth.x, truth.y, truth.diameter_px, GREEN if score >= threshold else BLUE, 2)
        else:
            ring(truth.x, truth.y, truth.diameter_px, GREY, 1)
    for x, y in judged.false_places[judged.false >= threshold]:
        ring(x, y, 20 / scale, RED, 2)
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])


def _picture(frame: Frame) -> tuple[np.ndarray, float]:
    """Develop *frame* roughly: (h, w, 3) uint8 RGB, brightened until one pixel in 200 clips, and its scale."""
    mosaic = frame.mosaic
    if frame.kind == "linear":
        light = (mosaic - frame.black) / (frame.white - frame.black) * np.array(frame.wb)
    else:  # whole colour patterns become pixels
        period = len(frame.cfa)
        rows, columns = (n // period for n in mosaic.shape)
        sums, weights = np.zeros((rows, columns, 3)), np.zeros(3)
        for row in range(period):
            for column in range(period):
                colour = frame.cfa[row][column]
                part = mosaic[row::period, column::period][:rows, :columns]
                sums[..., colour] += (part - frame.black[row, column]) / (frame.white - frame.black[row, column])
                weights[colour] += 1
        light = sums / np.maximum(weights, 1) * np.array(frame.wb)
        if frame.kind == "mono":
            light = np.repeat(light[..., 1:2], 3, -1)
    scale = min(1.0, OVERLAY_PX / max(frame.width, frame.height))
    size = (round(frame.width * scale), round(frame.height * scale))
    light = cv2.resize(np.maximum(light, 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    light = light / max(float(np.percentile(light, 99.5)), 1e-6)
    return np.ascontiguousarray((255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8)), scale


def _panels(count: int) -> "tuple[Figure, Sequence[Axes]]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5 * count, 5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, count, squeeze=False)[0]
