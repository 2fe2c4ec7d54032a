"""What one exposure is: its light, its sensor layout and what its metadata say about the camera.

Coordinates, everywhere in dustd: full-resolution pixels of the unrotated visible raw area, x to the right, y down,
origin in its top-left corner, pixel centres at integers. The dust map uses the same pixels measured from the centre
of the visible area, so that crop modes line up (`centred`).

Light is linear: (sample - black) / (white - black). Dust multiplies it.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

SensorKind = Literal["bayer", "xtrans", "mono", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """What the metadata say, None where they say nothing.

    *body_id* is the key of the dust map: make, model and serial number where the file has one; otherwise make and
    model marked as unnumbered, so that two bodies never share a map silently. *serial_source* names the tag that gave
    the serial ("Exif.Photo.BodySerialNumber", "Canon 0x000c", ... or "none"). *taken_at* is ISO 8601, with UTC
    offset and sub-seconds where known. *orientation* is the Exif value 1 to 8. *pixel_pitch_um* comes from the
    focal-plane resolution or from the focal length on 36 × 24 mm, where present.
    """

    make: str | None = None
    model: str | None = None
    body_id: str = "unknown"
    serial: str | None = None
    serial_source: str = "none"
    lens: str | None = None
    focal_length_mm: float | None = None
    f_number: float | None = None
    iso: float | None = None
    exposure_s: float | None = None
    taken_at: str | None = None
    orientation: int = 1
    pixel_pitch_um: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One decoded RAW.

    *raw* holds the samples as the camera wrote them, borders included: (H, W) uint16 for bayer, xtrans and mono,
    (H, W, 3) uint16 for linear. *visible* is (top, left, height, width) of the picture inside it.
    *cfa* is the colour (0 red, 1 green, 2 blue) at each place of the repeating pattern, starting at the visible
    area's top-left; ((1,),) for mono and linear.
    *black* is the black level: for CFA and mono an array shaped like *cfa*, for linear shape (3,). float32.
    *white* is the value at which samples clip. *wb* are the camera's red, green and blue multipliers (green = 1);
    daylight's unless the file holds any, which *wb_is_known* tells.
    *xyz_to_camera* is (3, 3), the D65 colour matrix, or None if the camera is unknown to LibRaw.
    *crop* is (top, left, height, width) inside the visible area that the camera's own pictures show; None: all of it.
    """

    raw: np.ndarray
    visible: tuple[int, int, int, int]
    kind: SensorKind
    cfa: tuple[tuple[int, ...], ...]
    black: np.ndarray
    white: int
    wb: tuple[float, float, float]
    xyz_to_camera: np.ndarray | None
    camera: Camera
    crop: tuple[int, int, int, int] | None = None
    wb_is_known: bool = True

    @property
    def mosaic(self) -> np.ndarray:
        """The visible samples, a view into *raw*: (height, width[, 3]) uint16."""
        top, left, height, width = self.visible
        return self.raw[top : top + height, left : left + width]

    @property
    def height(self) -> int:
        """Rows of the visible area."""
        return self.visible[2]

    @property
    def width(self) -> int:
        """Columns of the visible area."""
        return self.visible[3]


def frame_identity(frame: Frame) -> str:
    """Name the exposure by its samples: the same one copied, renamed or retagged counts once. 32 hex digits."""
    digest = hashlib.sha256(repr(frame.mosaic.shape).encode())
    for row in range(0, frame.height, 256):
        digest.update(frame.mosaic[row : row + 256].tobytes())
    return digest.hexdigest()[:32]


def centred(x: float, y: float, *, width: int, height: int) -> tuple[float, float]:
    """Turn frame coordinates into map coordinates, pixels from the centre of the visible area."""
    return x - (width - 1) / 2, y - (height - 1) / 2


def from_centre(mx: float, my: float, *, width: int, height: int) -> tuple[float, float]:
    """Turn map coordinates back into frame coordinates; the inverse of `centred`."""
    return mx + (width - 1) / 2, my + (height - 1) / 2


def unrotated(x: float, y: float, *, width: int, height: int, orientation: int) -> tuple[float, float]:
    """Carry a place of the upright picture back to the frame, whose size *width* and *height* are, unrotated."""
    turned = orientation in (5, 6, 7, 8)
    if orientation in (3, 4, 7, 8):
        y = (width if turned else height) - 1 - y
    if orientation in (2, 3, 6, 7):
        x = (height if turned else width) - 1 - x
    return (y, x) if turned else (x, y)


def upright(x: float, y: float, *, width: int, height: int, orientation: int) -> tuple[float, float]:
    """Carry a place of the unrotated frame to the upright picture, as `output.developed.orient` carries pixels."""
    if orientation in (5, 6, 7, 8):
        x, y, width, height = y, x, height, width
    if orientation in (2, 3, 6, 7):
        x = width - 1 - x
    if orientation in (3, 4, 7, 8):
        y = height - 1 - y
    return x, y
