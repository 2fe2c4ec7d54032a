"""Developed pictures as bytes: 16-bit TIFF and JPEG, both upright, with ICC profile and the exposure's Exif."""

import io
from typing import TYPE_CHECKING

import numpy as np

from dustd.output.exif import about_jpeg, about_pixels, about_rendered, exif_directories
from dustd.output.icc import profile
from dustd.output.mark import is_marked_packet, packet
from dustd.output.tiffwrite import UNDEFINED, Directory, encode, long, raw_bytes, short
from dustd.output.xmp import of_the_picture
from dustd.raw.colour import ColourSpace
from dustd.raw.frame import Camera, Frame
from dustd.raw.tiff import Entry

if TYPE_CHECKING:
    from dustd.raw.copied_tags import SourceMetadata

_STRIP_ROWS = 64
_JPEG_ENTRY_BYTES = 8192  # a JPEG holds 64 KiB of Exif; anything longer than this is a note or a thumbnail
_JPEG_XMP_BYTES = 65_000  # in one segment, as everybody reads it
_XMP, _IPTC = 700, 33723  # a JPEG keeps them outside of Exif


def orient(rgb: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a picture as its Exif orientation (1 to 8) asks, so that it stands upright; any other value means 1.

    *rgb* is (H, W, ...), the result a view, (W, H, ...) for orientations 5 to 8. Exif 2.32 §4.6.4: the value says
    where row 0 and column 0 of the stored picture belong.
    """
    if orientation in (5, 6, 7, 8):
        rgb = rgb.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    return rgb


def cropped(rgb: np.ndarray, frame: Frame) -> np.ndarray:
    """Cut an unrotated picture of a frame's visible area, (H, W, ...), to what the camera's own pictures show: a view.

    Unchanged where the camera crops nothing, or the developer has made another size of it.
    """
    if frame.crop is None or rgb.shape[:2] != (frame.height, frame.width):
        return rgb
    top, left, height, width = frame.crop
    return rgb[top : top + height, left : left + width]


def encode_tiff(rgb: np.ndarray, camera: Camera, metadata: "SourceMetadata", *, space: ColourSpace = "srgb") -> bytes:
    """Serialise an upright (H, W, 3) uint16 picture in *space* as uncompressed 16-bit TIFF."""
    height, width = rgb.shape[:2]
    xmp = of_the_picture(metadata.xmp)
    entries = (
        *((raw_bytes(_XMP, xmp),) if xmp else ()),
        *about_rendered(camera, metadata),
        *(long(256, width), long(257, height), short(258, 16, 16, 16), short(259, 1), short(262, 2)),
        *(short(277, 3), long(278, _STRIP_ROWS), short(284, 1), raw_bytes(34675, profile(space), type=UNDEFINED)),
    )
    strips = tuple(rgb[top : top + _STRIP_ROWS].astype("<u2").tobytes() for top in range(0, height, _STRIP_ROWS))
    children = exif_directories(camera, metadata, about_pixels=about_pixels(srgb=space == "srgb"))
    return encode(Directory(entries=entries, data=strips, children=children))


def encode_jpeg(
    rgb: np.ndarray, camera: Camera, metadata: "SourceMetadata", *, quality: int = 95, space: ColourSpace = "srgb"
) -> bytes:
    """Serialise an upright (H, W, 3) uint8 picture in *space* as JPEG without chroma subsampling."""
    from PIL import Image

    pixels = (*about_pixels(srgb=space == "srgb"), *about_jpeg(width=rgb.shape[1], height=rgb.shape[0]))
    children = {
        tag: tuple(Directory(entries=_short_entries(directory.entries)) for directory in directories)
        for tag, directories in exif_directories(camera, metadata, about_pixels=pixels).items()
    }
    entries = (*_short_entries(about_rendered(camera, metadata)), short(531, 1))
    exif = encode(Directory(entries=entries, children=children))
    xmp = of_the_picture(metadata.xmp) or b""
    if len(xmp) > _JPEG_XMP_BYTES and is_marked_packet(xmp):
        xmp = packet("")
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(
        buffer,
        "JPEG",
        quality=quality,
        subsampling=0,
        exif=b"Exif\0\0" + exif,
        icc_profile=profile(space),
        **({"xmp": xmp} if 0 < len(xmp) <= _JPEG_XMP_BYTES else {}),
    )
    return buffer.getvalue()


def _short_entries(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if len(entry.data) <= _JPEG_ENTRY_BYTES and entry.tag != _IPTC)
