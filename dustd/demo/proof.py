"""The demo's proof: one picture that shows a frame and its worst spots before and after, beside the truth."""

from pathlib import Path

import cv2
import numpy as np

from dustd.demo.verdict import Verdict
from dustd.demo.virtual import BLACK, SRGB_TO_XYZ, WHITE, XYZ_TO_CAMERA, Exposure, Shadow

CROPS = 8


def draw(path: Path, exposure: Exposure, cleaned: np.ndarray, verdict: Verdict) -> None:
    """Write the PNG for one frame: whole, with its details pulled up, and up to CROPS of its deepest visible spots."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    deepest = sorted(verdict.visible, key=lambda shadow: -shadow.attenuation)[:CROPS]
    figure = Figure(figsize=(16, 15.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.62, 1))
    whole = top.subplots(2, 2)
    for column, (title, mosaic) in enumerate((("before", exposure.mosaic), ("after", cleaned))):
        whole[0, column].imshow(develop(mosaic))
        whole[0, column].set_title(f"{verdict.name}, f/{verdict.f_number:g}, {title}")
        whole[1, column].imshow(pull_up(mosaic), cmap="gray", vmin=-0.06, vmax=0.06)
        whole[1, column].set_title(f"{title}, contrast pulled up")
    _ring(whole[0, 0], verdict, deepest)
    crops = bottom.subplots(3, CROPS, squeeze=False)
    for column, shadow in enumerate(deepest):
        clean, reach = _crop(exposure.clean, shadow)
        for row, mosaic in enumerate((exposure.mosaic, cleaned, exposure.clean)):
            crops[row, column].imshow(_stretched(_crop(mosaic, shadow)[0], clean))
        crops[0, column].set_title(f"{shadow.attenuation:.0%} lost, {2 * reach} px", fontsize=9)
    for row, title in enumerate(("before", "after", "without dust")):
        crops[row, 0].set_ylabel(title)
    for axes in (*whole.flat, *crops.flat):
        axes.set_xticks([])
        axes.set_yticks([])
    for axes in crops[:, len(deepest) :].flat:
        axes.set_axis_off()
    figure.savefig(path, dpi=110)


def develop(mosaic: np.ndarray) -> np.ndarray:
    """Develop an RGGB mosaic at half size: white balance, matrix, sRGB curve; (h/2, w/2, 3) uint8 RGB."""
    linear = cv2.transform(_camera_light(mosaic), np.linalg.inv(XYZ_TO_CAMERA @ SRGB_TO_XYZ))
    return _curve(linear * (XYZ_TO_CAMERA @ SRGB_TO_XYZ).sum(axis=1)[1])


def pull_up(mosaic: np.ndarray) -> np.ndarray:
    """Show what differs from its surroundings, as retouchers do to find dust: (h/2, w/2) float32, 0 = like them."""
    light = np.log(np.maximum(_camera_light(mosaic)[..., 1], 1e-3))
    fine = cv2.GaussianBlur(light, (0, 0), 2)
    return fine - cv2.GaussianBlur(light, (0, 0), 40)


def _camera_light(mosaic: np.ndarray) -> np.ndarray:
    """Bin 2 x 2 samples into camera RGB, linear light."""
    light = (mosaic.astype(np.float32) - BLACK) / (WHITE - BLACK)
    green = (light[0::2, 1::2] + light[1::2, 0::2]) / 2
    return np.dstack((light[0::2, 0::2], green, light[1::2, 1::2]))


def _curve(linear: np.ndarray) -> np.ndarray:
    """Apply the sRGB curve (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    return (255 * np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)).astype(np.uint8)


def _crop(mosaic: np.ndarray, shadow: Shadow) -> tuple[np.ndarray, int]:
    """Cut the developed surroundings of a shadow, two diameters each way, where the frame allows."""
    reach = max(int(2 * shadow.diameter_px) // 2 * 2, 24)
    top = int(np.clip(round(shadow.y) - reach, 0, mosaic.shape[0] - 2 * reach)) // 2 * 2
    left = int(np.clip(round(shadow.x) - reach, 0, mosaic.shape[1] - 2 * reach)) // 2 * 2
    return develop(mosaic[top : top + 2 * reach, left : left + 2 * reach]).astype(np.float32), reach


def _stretched(picture: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Raise the contrast around the clean surroundings' own tone, as far as they allow."""
    tone = np.median(clean, axis=(0, 1))
    low, high = np.quantile(clean - tone, (0.01, 0.99))
    return np.clip(tone + (picture - tone) * np.clip(110 / (high - low), 1, 4), 0, 255).astype(np.uint8)


def _ring(axes, verdict: Verdict, deepest: list[Shadow]) -> None:
    """Circle visible dust: green if removed, yellow if left, red if missed; a cross where no dust was."""
    removed, left = ({shadow.grain for shadow in group} for group in (verdict.removed, verdict.left))
    for shadow in verdict.visible:
        colour = "lime" if shadow.grain in removed else "gold" if shadow.grain in left else "red"
        width = 1.8 if shadow in deepest else 0.9
        axes.plot(shadow.x / 2, shadow.y / 2, "o", markersize=11, fillstyle="none", color=colour, markeredgewidth=width)
    for spot in verdict.wrong:
        axes.plot(spot.x / 2, spot.y / 2, "x", markersize=9, color="magenta")
