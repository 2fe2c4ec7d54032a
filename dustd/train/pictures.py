"""Pictures from files, for training: photographs as they are, RAW files as white-balanced linear light.

Both stay as small as they come, 8 or 16 bits per value, until `to_light` turns a piece of one into light.
"""

from pathlib import Path

import cv2
import numpy as np

from dustd.daemon.scan import RAW_SUFFIXES
from dustd.errors import FrameError
from dustd.raw.integrity import holds_samples, require_whole
from dustd.raw.libraw import open_raw
from dustd.raw.light import Window, linear_rgb
from dustd.raw.metadata import read_camera

_LEVELS = np.arange(256, dtype=np.float32) / 255
# Linear light of each 8-bit sRGB value, float32 (IEC 61966-2-1).
SRGB_TO_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
# A RAW file is demosaiced in parts of this side, so that decoding needs little more memory than the result.
_PART_PX = 1024


def photo_paths(folder: Path) -> list[Path]:
    """List the photographs and RAW files below *folder*, sorted."""
    suffixes = RAW_SUFFIXES.union(PHOTO_SUFFIXES)
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.is_file())


def read_picture(path: Path, *, raw_step: int = 1) -> np.ndarray:
    """Read a picture unrotated, (H, W, 3), red first: a photograph as uint8 sRGB, a RAW file as uint16 linear light.

    RAW light is white-balanced, 65535 = white; each *raw_step* × *raw_step* px of it give one. Raises FrameError if the
    file cannot be read, SurroundingsError if it cannot be reached.
    """
    if path.suffix.lower() in RAW_SUFFIXES or (path.suffix.lower() in (".tif", ".tiff") and holds_samples(path)):
        return _read_raw(path, raw_step)
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise FrameError(
            "it cannot be read as a picture", remedy="Copy it again, or take it out of the folder", path=path
        )
    return np.ascontiguousarray(picture[..., ::-1])


def to_light(picture: np.ndarray) -> np.ndarray:
    """Turn (a piece of) a picture of `read_picture` into linear light, float32, 1 = white."""
    return SRGB_TO_LINEAR[picture] if picture.dtype == np.uint8 else picture / np.float32(65535)


def _read_raw(path: Path, step: int) -> np.ndarray:
    require_whole(path)
    with open_raw(path, read_camera(path)) as opened:
        frame = opened.frame
        side = _PART_PX // step
        picture = np.empty((frame.height // step, frame.width // step, 3), np.uint16)
        for top in range(0, picture.shape[0], side):
            for left in range(0, picture.shape[1], side):
                light = linear_rgb(frame, Window(left=left * step, top=top * step, side_px=side * step))
                light = cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA)
                place = picture[top : top + side, left : left + side]
                place[:] = np.rint(light[: place.shape[0], : place.shape[1]].clip(0, 1) * 65535)
        return picture
