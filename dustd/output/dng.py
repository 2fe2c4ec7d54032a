"""The cleaned frame as DNG 1.4: the samples of the source, bit for bit but for the spots, with all that describes them.

Layout as Adobe's converter writes it: IFD0 holds a thumbnail and the camera's description, its first SubIFD the raw
samples, its second a JPEG preview. Samples are compressed without loss (`dustd.output.ljpeg`), which every reader
opens.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dustd.errors import FrameError
from dustd.output.exif import about, exif_directories
from dustd.output.ljpeg import encode_tiles
from dustd.output.tiffwrite import BYTE, TILES, Directory, encode, long, rational, raw_bytes, short
from dustd.raw.frame import Camera, Frame
from dustd.raw.tiff import Entry, numbers, text_entry

if TYPE_CHECKING:
    from dustd.raw.copied_tags import MakerNote, SourceMetadata

_TILE_PX = 512  # smaller ones keep threads waiting for the lock between them (0.61 s against 0.40 s for 45 MP)
_THUMBNAIL_PX = 256
_SUB_IFDS = 330
_COLOR_MATRIX_1, _AS_SHOT_WHITE = 50721, (50728, 50729)
_BLACK_LEVEL, _BLACK_DELTA_H, _BLACK_DELTA_V, _WHITE_LEVEL = 50714, 50715, 50716, 50717
_DELTAS = ("BlackLevelDeltaH", "BlackLevelDeltaV")
_LEVELS = (50713, _BLACK_LEVEL, _BLACK_DELTA_H, _BLACK_DELTA_V, _WHITE_LEVEL)
_ACTIVE_AREA, _VERSION = 50829, 50706
_OPCODES = (51008, 51009, 51022)
_OPCODES_BEFORE_DEMOSAIC = _OPCODES[:2]
_MASKED_AREAS = 50830
# Positions or sizes that hold for the source's active area alone: default crop, masked areas, opcodes.
_PLACED = (50719, 50720, _MASKED_AREAS, *_OPCODES)
_NAMES = {
    **dict(zip(_PLACED, ("DefaultCropOrigin", "DefaultCropSize", "MaskedAreas"), strict=False)),
    **dict(zip(_OPCODES, ("OpcodeList1", "OpcodeList2", "OpcodeList3"), strict=True)),
    **dict(zip(_LEVELS, ("BlackLevelRepeatDim", "BlackLevel", *_DELTAS, "WhiteLevel"), strict=True)),
}
_PHOTOMETRIC = {"bayer": 32803, "xtrans": 32803, "mono": 34892, "linear": 34892}  # CFA, LinearRaw
_COMPONENTS = {"bayer": 2, "xtrans": 1, "mono": 1, "linear": 3}
_REMEDY = "Set output.format to tiff or jpeg for this camera"


def compress(frame: Frame, raw: np.ndarray) -> list[bytes]:
    """Compress *raw*, shaped like frame.raw, to the tiles of its DNG.

    This takes nearly all of the time of `encode_dng`, and is apart so that it can go on while the preview is made.
    Raises FrameError for samples that a DNG cannot hold.
    """
    _refuse_shape(frame, raw)
    samples = _stored(frame, raw)
    return encode_tiles(samples, components=_COMPONENTS[frame.kind], tile_px=_tile_px(samples))


def encode_dng(
    frame: Frame,
    raw: np.ndarray,
    metadata: "SourceMetadata",
    *,
    preview_rgb: np.ndarray,
    original_name: str,
    tiles: Sequence[bytes] | None = None,
) -> bytes:
    """Serialise *raw*, shaped like frame.raw, as a DNG that replaces the source in every RAW developer.

    The masked borders of a sensor are kept (ActiveArea says where the picture is), so that developers find the
    source's geometry; a demosaiced frame has none worth keeping, and RawTherapee 5.9 crashes on them.
    *tiles* are what `compress` made of *raw*, if it was asked already. *preview_rgb* is an unrotated (h, w, 3) uint8
    sRGB picture. Colour comes from the source's own DNG matrices where it has some, else from frame.xyz_to_camera.
    Raises FrameError where a DNG could not show the true colours or cannot express the sensor's layout.
    """
    described = about(frame.camera, metadata)
    has_matrix = any(entry.tag == _COLOR_MATRIX_1 for entry in described)
    has_white = any(entry.tag in _AS_SHOT_WHITE for entry in described)
    _refuse_inexpressible(frame, has_matrix=has_matrix)
    thumbnail = _thumbnail(preview_rgb)
    entries = (
        *(_colour(frame, has_matrix=has_matrix, has_white=has_white) if frame.kind != "mono" else ()),
        *described,
        *_picture_entries(thumbnail, compression=1, photometric=2),
        *(short(274, frame.camera.orientation), *_versions(metadata)),
        *_identity(frame.camera, metadata, original_name),
        *(_maker_note(metadata.maker_note) if metadata.maker_note else ()),
        *((raw_bytes(700, metadata.xmp),) if metadata.xmp else ()),
    )
    tiles = tiles or compress(frame, raw)
    children = {
        _SUB_IFDS: (_raw_directory(frame, raw, metadata, tiles), _preview_directory(preview_rgb)),
        **exif_directories(frame.camera, metadata),
    }
    return encode(Directory(entries=entries, data=(thumbnail.tobytes(),), children=children))


def _refuse_shape(frame: Frame, raw: np.ndarray) -> None:
    """Raise FrameError unless a DNG can hold these samples."""
    if raw.shape != frame.raw.shape or raw.dtype != np.uint16 or raw.ndim != (3 if frame.kind == "linear" else 2):
        raise FrameError(
            f"a {frame.kind} frame of shape {raw.shape}, {raw.dtype}, has no place in a DNG", remedy=_REMEDY
        )
    if raw.shape[1] < 16:
        raise FrameError("the picture is too small for a DNG", remedy=_REMEDY)


def _refuse_inexpressible(frame: Frame, *, has_matrix: bool) -> None:
    """Raise FrameError unless a DNG of this frame shows what the source shows."""
    if any(colour not in (0, 1, 2) for row in frame.cfa for colour in row):
        raise FrameError("the sensor has colours other than red, green and blue", remedy=_REMEDY)
    if frame.kind != "mono" and frame.xyz_to_camera is None and not has_matrix:
        name = frame.camera.model or "this camera"
        raise FrameError(f"no colour matrix is known for {name}, a DNG would show wrong colours", remedy=_REMEDY)


def _stored(frame: Frame, raw: np.ndarray) -> np.ndarray:
    """Give the samples that a DNG holds: of a demosaiced frame, the picture only."""
    top, left, height, width = frame.visible
    return raw[top : top + height, left : left + width] if frame.kind == "linear" else raw


def _tile_px(samples: np.ndarray) -> int:
    width = samples.shape[1]
    tile_px = min(_TILE_PX, width // 16 * 16)  # LibRaw misreads a tile wider than the picture
    # And takes two tiles of two components that are exactly as wide as the picture for its whole rows.
    return tile_px - 16 if 2 * tile_px == width else tile_px


def _raw_directory(frame: Frame, raw: np.ndarray, metadata: "SourceMetadata", tiles: Sequence[bytes]) -> Directory:
    """Describe the samples. CFA pattern and black level count from the top-left of the active area (DNG 1.4)."""
    samples = raw.shape[2] if raw.ndim == 3 else 1
    area, down, right = _area(frame, metadata.raw)
    raw = _stored(frame, raw)
    tile_px = _tile_px(raw)
    height, width = area[2] - area[0], area[3] - area[1]
    crop_top, crop_left, crop_height, crop_width = frame.crop or (-down, -right, height, width)
    crop_top, crop_left = max(crop_top + down, 0), max(crop_left + right, 0)
    crop_height, crop_width = min(crop_height, height - crop_top), min(crop_width, width - crop_left)
    entries = [
        *(rational(50718, 1, 1), rational(50780, 1)),
        *(long(50719, crop_left, crop_top), long(50720, crop_width, crop_height)),
        *_black(frame.black if samples > 1 else np.roll(frame.black, (down, right), (0, 1)), samples),
        long(_WHITE_LEVEL, *(frame.white,) * samples),
        *_development(metadata.raw, frame)[0],
        *(long(254, 0), long(256, raw.shape[1]), long(257, raw.shape[0]), short(258, *(16,) * samples)),
        *(short(259, 7), short(262, _PHOTOMETRIC[frame.kind]), short(277, samples), short(284, 1)),
        *(long(322, tile_px), long(323, tile_px), long(_ACTIVE_AREA, *area)),
    ]
    if frame.kind in ("bayer", "xtrans"):
        pattern = np.roll(np.array(frame.cfa, np.uint8), (down, right), (0, 1))
        entries += [short(33421, *pattern.shape), raw_bytes(33422, pattern.tobytes())]
        entries += [raw_bytes(50710, b"\0\1\2"), short(50711, 1)]
    return Directory(entries=tuple(entries), data=tuple(tiles), data_tags=TILES)


def _area(frame: Frame, source: tuple[Entry, ...]) -> tuple[tuple[int, int, int, int], int, int]:
    """Choose the active area of the samples as stored: (top, left, bottom, right), a source DNG's own where it fits.

    LibRaw cuts an odd row or column off that of a Bayer sensor, for one. Also returns how far (down, right) LibRaw's
    visible area, from which everything in *frame* counts, begins inside it.
    """
    top, left, height, width = frame.visible
    theirs = _source_area(source)
    if frame.kind == "linear":
        return (0, 0, height, width), 0, 0
    if theirs is not None and _fits(theirs, frame):
        return theirs, top - theirs[0], left - theirs[1]
    return (top, left, top + height, left + width), 0, 0


def _source_area(source: Sequence[Entry]) -> tuple[int, int, int, int] | None:
    found = next((numbers(entry) for entry in source if entry.tag == _ACTIVE_AREA), ())
    if len(found) != 4 or not all(math.isfinite(side) and side == int(side) for side in found):
        return None
    top, left, bottom, right = map(int, found)
    return top, left, bottom, right


def _fits(area: tuple[int, int, int, int], frame: Frame) -> bool:
    """Tell whether a source's active area lies in the samples as they are stored."""
    if frame.kind == "linear":
        top, left, height, width = frame.visible
        return area == (top, left, top + height, left + width)
    return 0 <= area[0] < area[2] <= frame.raw.shape[0] and 0 <= area[1] < area[3] <= frame.raw.shape[1]


def left_out(frame: Frame, metadata: "SourceMetadata") -> tuple[str, ...]:
    """Say what of a source DNG's own words about developing its samples cannot be in the copy, and why."""
    return _development(metadata.raw, frame)[1]


def _development(source: tuple[Entry, ...], frame: Frame) -> tuple[list[Entry], tuple[str, ...]]:
    """Take over what a source DNG says about developing its samples, where it still holds; say what does not.

    The samples are the source's, so what counts from its active area holds, wherever that begins. Levels hold if LibRaw
    left the samples in the source's scale; they may be finer than LibRaw's (fractions, rows and columns of their own).
    Of a demosaiced frame LibRaw may have carried out the opcodes before demosaicing already, and its borders are cut.
    """
    kept = {entry.tag: entry for entry in source}
    kept.pop(_ACTIVE_AREA, None)
    theirs = _source_area(source)
    dropped: dict[int, str] = {}
    if theirs is not None and not _fits(theirs, frame):
        why = "its active area is not that of the samples"
        dropped |= dict.fromkeys((*_PLACED, _BLACK_DELTA_H, _BLACK_DELTA_V), why)
    if not _same_levels(kept, frame):
        dropped |= dict.fromkeys(_LEVELS, "LibRaw gives the samples in another scale")
    if frame.kind == "linear":
        dropped |= dict.fromkeys(_OPCODES_BEFORE_DEMOSAIC, "they are for samples before demosaicing")
        if frame.raw.shape[:2] != frame.visible[2:]:
            dropped[_MASKED_AREAS] = "the masked borders of a demosaiced picture are not kept"
    told = tuple(f"{_NAMES[tag]}: {why}" for tag, why in dropped.items() if tag in kept)
    return [entry for tag, entry in kept.items() if tag not in dropped], told


def _same_levels(source: dict[int, Entry], frame: Frame) -> bool:
    """Tell whether the decoded samples are in the scale of a source DNG: then its own levels hold for the copy.

    LibRaw's may be coarser (one number for a pattern), or another's (measured in masked borders). Where it has taken
    the black away itself, the white level or a black of zero shows it.
    """
    black = float(np.mean(numbers(source.get(_BLACK_LEVEL)) or (0,)))
    for tag in (_BLACK_DELTA_H, _BLACK_DELTA_V):
        black += float(np.mean(numbers(source.get(tag), limit=1 << 16) or (0,)))
    whites = numbers(source.get(_WHITE_LEVEL))
    taken_away = black >= 1 and float(np.max(frame.black)) == 0
    return set(whites) == {frame.white} and not taken_away


def _versions(metadata: "SourceMetadata") -> tuple[Entry, Entry]:
    """Write DNG 1.4, or the source's own version if it is later (its tags may need it); opcodes came with 1.3."""
    version = max([b"\1\4\0\0", *(entry.data for entry in metadata.ifd0 if entry.tag == _VERSION)])
    has_opcodes = any(entry.tag in _OPCODES for entry in metadata.raw)
    return raw_bytes(_VERSION, version), raw_bytes(50707, b"\1\3\0\0" if has_opcodes else b"\1\1\0\0")


def _black(black: np.ndarray, samples: int) -> tuple[Entry, Entry]:
    """Write the black levels: one per sample if they do not depend on the place, else one per place of the pattern."""
    levels = np.asarray(black, np.float64)
    if samples == 1 and np.ptp(levels) == 0:
        levels = levels[:1, :1]
    repeat = (1, 1) if samples > 1 else levels.shape
    whole = np.array_equal(levels, np.round(levels))
    values = long(50714, *levels.astype(int).ravel()) if whole else rational(50714, *levels.ravel())
    return short(50713, *repeat), values


def _colour(frame: Frame, *, has_matrix: bool, has_white: bool) -> list[Entry]:
    """Write white balance and colour matrix, unless the source brought its own.

    A source without white balance stays so, and developers find one as they do for it (QuickTake 150). LibRaw takes
    the matrix only if there are two, so the D65 one stands in for illuminant A as well (17 = A, 21 = D65).
    """
    red, green, blue = frame.wb
    entries = [rational(50728, green / red, 1, green / blue)] if frame.wb_is_known and not has_white else []
    if not has_matrix:
        matrix = np.asarray(frame.xyz_to_camera, float).ravel()
        entries += [rational(tag, *matrix, signed=True) for tag in (_COLOR_MATRIX_1, 50722)]
        entries += [short(50778, 17), short(50779, 21)]
    return entries


def _identity(camera: Camera, metadata: "SourceMetadata", original_name: str) -> list[Entry]:
    """Name the camera as Adobe does (its profiles are found by that name), the body and the source."""
    name = original_name.encode(errors="backslashreplace") + b"\0"  # need not be Unicode
    entries = [text_entry(50708, metadata.unique_model or camera.model or "unknown")]
    entries.append(text_entry(50827, original_name) if original_name.isascii() else raw_bytes(50827, name, type=BYTE))
    if camera.serial:
        entries.append(text_entry(50735, camera.serial))
    return entries


def _maker_note(note: "MakerNote") -> tuple[Entry, Entry]:
    """Keep the maker's note where DNG converters put it, with the offset that its inner pointers count from."""
    order = b"II" if note.little_endian else b"MM"
    length, offset = (len(note.data) + 6).to_bytes(4), note.offset.to_bytes(4)
    return raw_bytes(50740, b"Adobe\0MakN" + length + order + offset + note.data), short(50741, 1)


def _picture_entries(rgb: np.ndarray, *, compression: int, photometric: int) -> tuple[Entry, ...]:
    """Describe a reduced 8-bit picture stored in one strip."""
    height, width = rgb.shape[:2]
    return (
        *(long(254, 1), long(256, width), long(257, height), short(258, 8, 8, 8), short(259, compression)),
        *(short(262, photometric), short(277, 3), long(278, height), short(284, 1)),
    )


def _thumbnail(rgb: np.ndarray) -> np.ndarray:
    """Reduce a picture to at most 256 px."""
    scale = min(1.0, _THUMBNAIL_PX / max(rgb.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in rgb.shape[:2])
    return cv2.resize(np.ascontiguousarray(rgb), (width, height), interpolation=cv2.INTER_AREA)


def _preview_directory(rgb: np.ndarray) -> Directory:
    """Store the preview as JPEG (7, YCbCr with the colour at half resolution), marked as sRGB (50970 = 2)."""
    _, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    entries = (*_picture_entries(rgb, compression=7, photometric=6), short(530, 2, 2), long(50970, 2))
    return Directory(entries=entries, data=(jpeg.tobytes(),))
