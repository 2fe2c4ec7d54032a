"""What a frame proves besides its spots: how the scene looked, and how faint a spot could have been seen where.

The scene tells a repeated speck from repeated dust (`dustd.dustmap.scene`); the visibility limits tell a miss from a
place where nothing could be seen. Both are small enough for the sidecar. Positions are frame coordinates of
`dustd.raw.frame`. Knows nothing of particles.
"""

import base64
import math
import zlib
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from dustd.raw.frame import Camera

SCENE_WIDTH = 96  # at most so many thumbnail pixels across
SCENE_MIN_PX = 48  # and none smaller than this, so that its median leaves the dust out of the scene
STOPS = 12.0  # range of the log-luma codes below clipping
CELL_PX = 128  # of the visibility grid: a few spots wide
SPOT_SIGMA_PX = (10.0, 28.0)  # band that passes spots 20 to 60 px wide, the widths at f/8 to f/22 (facts §1.2)
BAND_GAIN = 0.5  # response of that band at the centre of a disc (computed at step 8: .48 to .61 for 30 to 60 px)
SEEN_AT_SIGMA = 3.0  # a spot's response must stand this far above the texture in its cell
FAINTEST = 0.01  # facts §3: spots below 1 % are not expected to be found
DARK, CLIPPED = 0.002, 0.97  # linear light outside which dust leaves no trace
CODE_ORIGIN, CODES_PER_OCTAVE, BLIND = 0.005, 32, 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A thumbnail of the scene and a grid of visibility limits, both as uint8 codes in row order.

    *scene* holds log2 light, 12 stops below clipping over 0..255, of squares of *scene_px*; *limits* the smallest
    visible attenuation in squares of *cell_px*, as 0.005·2^(code/32), 255 where nothing can be seen. *exposures* are
    ln of what the camera's settings made of the same light, once with the shutter time, once without it as for flash;
    empty where a setting is unknown.
    """

    width: int
    height: int
    scene_px: int
    scene_shape: tuple[int, int]
    scene: bytes = field(repr=False)
    cell_px: int
    limits_shape: tuple[int, int]
    limits: bytes = field(repr=False)
    exposures: tuple[float, ...] = ()


def look(overview: np.ndarray, step: int, camera: Camera | None = None) -> Evidence:
    """Take the evidence from an overview: (h, w) float32 linear luminance, 0..1, means of *step*×*step* px blocks.

    *camera* tells the settings, None where they are unknown.
    """
    height, width = (n * step for n in overview.shape)
    scene_blocks = math.ceil(max(SCENE_MIN_PX, width / SCENE_WIDTH) / step)
    cell_blocks = max(1, round(CELL_PX / step))
    scene = np.median(squares(overview, scene_blocks), axis=-1)
    scene_codes = np.clip(255 * (1 + np.log2(np.maximum(scene, 2**-STOPS)) / STOPS), 0, 255).round().astype(np.uint8)
    limit_codes = _limit_codes(overview, step, cell_blocks)
    return Evidence(
        width=width,
        height=height,
        scene_px=scene_blocks * step,
        scene_shape=scene_codes.shape,
        scene=scene_codes.tobytes(),
        cell_px=cell_blocks * step,
        limits_shape=limit_codes.shape,
        limits=limit_codes.tobytes(),
        exposures=_exposures(camera),
    )


def _exposures(camera: Camera | None) -> tuple[float, ...]:
    if camera is None or not (camera.f_number and camera.iso and camera.exposure_s):
        return ()
    flash = math.log(camera.iso / camera.f_number**2)
    return flash + math.log(camera.exposure_s), flash


def visible_from(evidence: Evidence, x: float, y: float) -> float:
    """Say how small an attenuation could have been seen at (x, y); infinite where none could."""
    rows, columns = evidence.limits_shape
    row = min(max(int(y // evidence.cell_px), 0), rows - 1)
    column = min(max(int(x // evidence.cell_px), 0), columns - 1)
    code = evidence.limits[row * columns + column]
    return math.inf if code == BLIND else CODE_ORIGIN * 2 ** (code / CODES_PER_OCTAVE)


def to_dict(evidence: Evidence) -> dict[str, Any]:
    """Lay the evidence out for a sidecar: numbers, and codes as base64 of zlib."""
    return {
        "width": evidence.width,
        "height": evidence.height,
        "scene": _packed(evidence.scene_px, evidence.scene_shape, evidence.scene),
        "limits": _packed(evidence.cell_px, evidence.limits_shape, evidence.limits),
        "exposures": list(evidence.exposures),
    }


def from_dict(data: dict[str, Any]) -> Evidence:
    """Read evidence back; unknown keys are ignored. Raises ValueError on anything that is not evidence."""
    try:
        scene_px, scene_shape, scene = _unpacked(data["scene"])
        cell_px, limits_shape, limits = _unpacked(data["limits"])
        return Evidence(
            width=int(data["width"]),
            height=int(data["height"]),
            scene_px=scene_px,
            scene_shape=scene_shape,
            scene=scene,
            cell_px=cell_px,
            limits_shape=limits_shape,
            limits=limits,
            exposures=tuple(float(each) for each in data.get("exposures", ())),
        )
    except (KeyError, TypeError, OverflowError, zlib.error) as exc:
        raise ValueError(f"not evidence of a frame: {exc}") from exc


def _limit_codes(overview: np.ndarray, step: int, cell_blocks: int) -> np.ndarray:
    """Find per cell the attenuation that stands out of its texture: (rows, columns) uint8 codes.

    The 70th percentile of the band instead of its deviation: the dust in a cell must not hide itself.
    """
    log_light = np.log(np.maximum(overview, DARK / 4)).astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(log_light, (0, 0), max(sigma / step, 0.3)) for sigma in SPOT_SIGMA_PX)
    sigma = np.percentile(squares(np.abs(fine - coarse), cell_blocks), 70, axis=-1) / 1.036
    limit = np.maximum(SEEN_AT_SIGMA * sigma / BAND_GAIN, FAINTEST)
    codes = np.clip(np.ceil(CODES_PER_OCTAVE * np.log2(limit / CODE_ORIGIN)), 0, BLIND)
    blind = squares((overview < DARK) | (overview > CLIPPED), cell_blocks).mean(axis=-1) > 1 / 3
    return np.where(blind | (limit >= 1), BLIND, codes).astype(np.uint8)


def squares(image: np.ndarray, side: int) -> np.ndarray:
    """Cut an image into squares, the last ones filled up with the edge: (rows, columns, side²)."""
    height, width = image.shape
    padded = np.pad(image, ((0, -height % side), (0, -width % side)), mode="edge")
    rows, columns = padded.shape[0] // side, padded.shape[1] // side
    return padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, side * side)


def _packed(square_px: int, shape: tuple[int, int], codes: bytes) -> dict[str, Any]:
    return {"px": square_px, "shape": list(shape), "data": base64.b64encode(zlib.compress(codes, 9)).decode("ascii")}


def _unpacked(data: dict[str, Any]) -> tuple[int, tuple[int, int], bytes]:
    rows, columns = (int(n) for n in data["shape"])
    codes = zlib.decompress(base64.b64decode(data["data"], validate=True))
    if rows < 1 or columns < 1 or int(data["px"]) < 1 or len(codes) != rows * columns:
        raise ValueError("evidence has codes of another shape than it says")
    return int(data["px"]), (rows, columns), codes
