"""The small picture that a DNG carries: developed from the cleaned samples in the look of the source's own preview.

Pixels are averages of whole blocks of the mosaic, so that no demosaicing is needed and 45 megapixels take a moment.
Colours are LibRaw's: white balance, clipping at the least gain, camera matrix, sRGB curve (dcraw's `convert_to_rgb`).
"""

from functools import cache
from math import lcm

import cv2
import numpy as np

from dustd.raw.colour import SRGB_TO_XYZ
from dustd.raw.frame import Frame

_LONG_SIDE_PX = 2048  # no preview is smaller whose sensor allows it
_LEAST_BLOCK_PX = {"bayer": 2, "xtrans": 3, "mono": 1, "linear": 1}  # the smallest block that holds all colours
_BAND_ROWS = 32  # of blocks; keeps what is worked on in the processor's cache
_CURVE_STEPS = 1 << 14
_SHARES = np.linspace(0, 1, 129)
_GREY_LEVELS = 2.0  # channels that differ less, on average, are a black and white picture
_LEAST_CORRELATION = 0.5


def develop(frame: Frame, raw: np.ndarray, look: np.ndarray | None = None) -> np.ndarray:
    """Develop *raw*, shaped like frame.raw, to a small unrotated picture: (h, w, 3) uint8 sRGB.

    *look* is the camera's own picture of this scene, (h, w, 3) uint8 RGB of any size: its tones and colours are
    taken over. The picture is 1/n of the visible area, with whole numbers n, and 2048 px wide or more where n allows.
    """
    top, left, height, width = frame.visible
    least = _LEAST_BLOCK_PX[frame.kind]
    block_px = least * max(1, max(height, width) // (_LONG_SIDE_PX * least))
    mosaic = raw[top : top + height // block_px * block_px, left : left + width // block_px * block_px]
    band = _BAND_ROWS * block_px
    rgb = np.concatenate(
        [to_srgb(frame, _light(frame, mosaic[at : at + band], block_px)) for at in range(0, len(mosaic), band)]
    )
    return rgb if look is None or not _same_scene(look, rgb) else in_the_look_of(look, rgb)


def in_the_look_of(look: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Give *rgb* the distribution of tones that *look* has, channel by channel; both (h, w, 3) uint8 of one scene.

    Distributions, because cameras crop and undistort their pictures: no pixel of one need have a place in the other.
    """
    wanted, given = _smooth(look), _smooth(rgb)
    grey = np.ptp(wanted, axis=-1).mean() < _GREY_LEVELS
    if grey:
        rgb, given = (np.repeat(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., None], 3, -1) for p in (rgb, given))
    result = np.empty_like(rgb)
    for channel in range(3):
        from_levels = np.quantile(given[..., channel], _SHARES) + np.arange(len(_SHARES)) * 1e-3  # rising, for interp
        to_levels = np.quantile(wanted[..., channel], _SHARES)
        levels = np.interp(np.arange(256), np.r_[-1, from_levels, 256], np.r_[0, to_levels, 255])
        result[..., channel] = cv2.LUT(np.ascontiguousarray(rgb[..., channel]), np.round(levels).astype(np.uint8))
    return result


def _light(frame: Frame, mosaic: np.ndarray, block_px: int) -> np.ndarray:
    """Average each colour's samples in whole blocks, as linear light: (rows, columns, 3) float32, 1 = white."""
    rows, columns = (side // block_px for side in mosaic.shape[:2])
    black = np.asarray(frame.black, np.float32)
    if frame.kind in ("mono", "linear"):
        means = cv2.resize(mosaic.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        means = means if frame.kind == "linear" else np.repeat(means[..., None], 3, -1)
        return (means - black.ravel()) / (frame.white - black.ravel())
    pattern, period = np.array(frame.cfa), len(frame.cfa)
    phases = lcm(block_px, period) // block_px  # X-Trans blocks of 3 px hold red and blue in one of two ways
    sums = np.zeros((3, rows, columns), np.float32)
    for y, x in np.ndindex(phases * block_px, phases * block_px):
        block = (slice(y // block_px, None, phases), slice(x // block_px, None, phases))
        sums[(frame.cfa[y % period][x % period], *block)] += mosaic[y :: phases * block_px, x :: phases * block_px]
    for colour in range(3):
        here = pattern == colour
        level, samples = float(black[here].mean()), float(here.mean()) * block_px**2
        sums[colour] -= level * samples
        sums[colour] *= 1 / (samples * (frame.white - level))
    return sums.transpose(1, 2, 0)


def to_srgb(frame: Frame, light: np.ndarray) -> np.ndarray:
    """Turn camera light into sRGB, (h, w, 3) uint8. What clips at the least gain is white."""
    gains = np.ones(3, np.float32) if frame.kind == "mono" else np.asarray(frame.wb, np.float32)
    white = np.minimum(light, gains.min() / gains)
    steps = cv2.transform(white, _camera_to_srgb(frame) * (gains / gains.min()) * _CURVE_STEPS)
    return _curve().take(np.clip(steps, 0, _CURVE_STEPS, out=steps).astype(np.intp))


def _camera_to_srgb(frame: Frame) -> np.ndarray:
    """Invert the camera matrix so that the camera's neutral becomes neutral: (3, 3) float32."""
    if frame.kind == "mono" or frame.xyz_to_camera is None:
        return np.eye(3, dtype=np.float32)
    from_srgb = frame.xyz_to_camera @ SRGB_TO_XYZ
    return np.linalg.inv(from_srgb / from_srgb.sum(axis=1, keepdims=True)).astype(np.float32)


@cache
def _curve() -> np.ndarray:
    """Tabulate the sRGB curve (IEC 61966-2-1): (_CURVE_STEPS + 1,) uint8."""
    linear = np.linspace(0, 1, _CURVE_STEPS + 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)


def _smooth(rgb: np.ndarray) -> np.ndarray:
    """Reduce a picture to some 256 px, so that noise and sharpening do not count."""
    scale = min(1.0, 256 / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)


def _same_scene(look: np.ndarray, rgb: np.ndarray) -> bool:
    """Tell whether two pictures show the same: some cameras keep an upright, a cropped or no real picture."""
    small = (cv2.resize(_smooth(p).mean(-1), (32, 32), interpolation=cv2.INTER_AREA) for p in (look, rgb))
    a, b = (p - p.mean() for p in small)
    return float((a * b).sum()) > _LEAST_CORRELATION * float(np.sqrt((a**2).sum() * (b**2).sum()))
