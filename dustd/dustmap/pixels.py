"""One body, pictures of several sizes: which share a map, and which get one of their own.

A map counts in the pixels of the sensor from its middle. A crop mode leaves out margins, so its frames lie on the same
map. A reduced RAW (mRAW, sRAW, binning) shows the whole sensor in fewer, larger pixels: its frames get a map of their
own, under the body's name and their size, so that no grain is on a map twice or looked for in a wrong place. Pure.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dustd.raw.frame import Camera

SAME_PITCH = (
    1.1  # our choice: factor within which pixel pitches from Exif are one; binning changes them by 1.3 and more
)
SAME_SIZE = 1.03  # margins of another firmware, or of another decoder
_SIZE = re.compile(r" \(\d+ × \d+\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """A picture's size in px, and the pitch of its pixels, None if Exif does not tell."""

    width: int
    height: int
    pitch_um: float | None


def pixels_in(camera: Camera, width: int, height: int) -> Pixels:
    """Describe a picture of this size that a camera took."""
    return Pixels(width=width, height=height, pitch_um=camera.pixel_pitch_um)


def fit_together(a: Pixels, b: Pixels) -> bool:
    """Ask whether two pictures of one body can share a map: whether their pixels are the same ones of the sensor.

    Where the pitch is not known, another size of the same shape may be a reduced RAW, and one of another shape is a
    crop.
    """
    if a.pitch_um and b.pitch_um:
        return _alike(a.pitch_um, b.pitch_um, SAME_PITCH)
    if _alike(a.width, b.width, SAME_SIZE) and _alike(a.height, b.height, SAME_SIZE):
        return True
    return not _alike(a.width / a.height, b.width / b.height, SAME_SIZE)


def map_for(body_id: str, known: Mapping[str, Pixels | None], size: Pixels) -> str:
    """Name the map of a body on which pictures of this size belong; it need not be there yet.

    *known* are its maps with the pictures on each, None if there are none; the body's own name first.
    """
    for name, there in known.items():
        if there is None or fit_together(there, size):
            return name
    body = body_of(body_id)
    return own_name(body, size) if body in known else body


def own_name(body_id: str, pixels: Pixels) -> str:
    """Name the map of a body's pictures of one size."""
    return f"{body_of(body_id)} ({pixels.width} × {pixels.height})"


def body_of(name: str) -> str:
    """Name the body that a map is of."""
    return _SIZE.sub("", name)


def _alike(a: float, b: float, factor: float) -> bool:
    return abs(math.log(a / b)) <= math.log(factor)
