"""The one door to LibRaw: decode a RAW into a `Frame`, and develop corrected samples into a picture.

Files are opened read-only and never written. LibRaw's errors become FrameError here. What this module does not know:
metadata beyond what decoding needs (`dustd.raw.metadata`), outputs, dust.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rawpy

from dustd.errors import FrameError, cannot_be_read
from dustd.raw.colour import SRGB_TO_XYZ, ColourSpace
from dustd.raw.frame import Camera, Frame, SensorKind

# How a camera's RAW begins. Without one of these LibRaw goes by the file's size alone and may take a headerless
# file for another camera's; what it then decodes is noise in the shape of a picture (seen with a 768×512 dump).
_MAGICS: tuple[tuple[int, bytes], ...] = (
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"II+\0"),
    (0, b"IIRO"),
    (0, b"IIRS"),
    (0, b"MMOR"),
    (0, b"IIU\0"),
    (0, b"IIII"),
    (0, b"MMMM"),
    (0, b"FUJIFILM"),
    (0, b"FOVb"),
    (0, b"\0MRM"),
    (6, b"HEAPCCDR"),
    (4, b"ftyp"),
    (0, b"qktk"),
    (0, b"qktn"),
    (0, b"NOKIARAW"),
    (0, b"ARRI"),
)
# Even a black frame takes a bit per sample without loss; LibRaw fills what a file lacks with zeros or noise.
LEAST_BITS_DIVISOR = 16  # half a bit per pixel, in pixels per byte
# LibRaw's primaries and the tone curve that `dustd.output.icc` says a space has, as power and slope at black. LibRaw's
# own default is the curve of television (BT.709) for all of them.
_SPACES: dict[ColourSpace, tuple[rawpy.ColorSpace, tuple[float, float]]] = {
    "srgb": (rawpy.ColorSpace.sRGB, (2.4, 12.92)),
    "adobe-rgb": (rawpy.ColorSpace.Adobe, (563 / 256, 0.0)),
    "prophoto-rgb": (rawpy.ColorSpace.ProPhoto, (1.8, 0.0)),
}
_MOST_GAIN = 1000.0  # between colours; no light asks for more, only a damaged file
# Rows of zeros that a damaged sensor line or a border may have.
_MOST_EMPTY_ROWS = 8
_LARGE_JPEG_BYTES = 512 << 10
_RW2 = b"IIU\0"
# LibRaw takes memory it does not get for the overflow of its own list of what it has got.
_OUT_OF_MEMORY = (rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawMemPoolOverflowError)
# The file may be whole, and copying it again never helps.
_UNSUPPORTED = (rawpy.LibRawFileUnsupportedError, rawpy.LibRawOutOfOrderCallError, rawpy.LibRawNotImplementedError)
_NOT_SUPPORTED = (
    "Left untouched; set the camera to lossless or uncompressed RAW, or convert the file with its maker's or Adobe's"
    " DNG converter"
)
_COPY_AGAIN = "Left untouched; copy it again from the card and clean it again"


@dataclass(frozen=True, slots=True)
class OpenRaw:
    """A decoded RAW, open as long as its context: the frame, and LibRaw ready to develop other samples for it."""

    frame: Frame
    _libraw: rawpy.RawPy

    def develop(self, raw: np.ndarray, *, half_size: bool, bits: int = 8, space: ColourSpace = "srgb") -> np.ndarray:
        """Develop *raw* (like `frame.raw`) as the camera meant it, unrotated: (h, w, 3) uint8 or uint16 in *space*.

        With *half_size* each 2×2 block gives one pixel, which is quick and good enough for a look. Raises FrameError if
        LibRaw cannot, MemoryError if it asks for more memory than there is or may be.
        """
        samples = self._libraw.raw_image
        if self.frame.kind == "linear":
            samples[..., :3] = raw
        else:
            samples[...] = raw
        primaries, curve = _SPACES[space]
        try:
            # No automatic brightness or maximum: a cleaned speck must not change the rest of the picture.
            picture = self._libraw.postprocess(
                half_size=half_size,
                use_camera_wb=True,
                no_auto_bright=True,
                adjust_maximum_thr=0.0,
                user_flip=0,
                output_bps=bits,
                output_color=primaries,
                gamma=curve,
            )
        except _OUT_OF_MEMORY as exc:
            raise MemoryError from exc
        except rawpy.LibRawError as exc:
            raise FrameError(f"LibRaw cannot develop it ({_words(exc)})", remedy=_COPY_AGAIN) from exc
        return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture

    def embedded_preview(self) -> np.ndarray | None:
        """Read the camera's own picture, unrotated: (h, w, 3) uint8 RGB, large ones at 1/8; None if there is none."""
        try:
            thumbnail = self._libraw.extract_thumb()
        except (rawpy.LibRawError, rawpy.NotSupportedError, ValueError):
            return None
        data = thumbnail.data
        if isinstance(data, np.ndarray):
            return data if data.ndim == 3 and data.shape[2] == 3 else None
        if data is None:
            return None
        size = cv2.IMREAD_REDUCED_COLOR_8 if len(data) > _LARGE_JPEG_BYTES else cv2.IMREAD_COLOR
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), size | cv2.IMREAD_IGNORE_ORIENTATION)
        return None if picture is None else picture[..., ::-1]


@contextmanager
def open_raw(path: Path, camera: Camera) -> Iterator[OpenRaw]:
    """Decode *path*; *camera* is what its metadata said.

    Raises FrameError if it is no RAW, is damaged, cannot be read, or has a sensor layout that dustd does not handle;
    MemoryError if it asks for more memory than there is or may be.
    """
    _require_header(path)
    with rawpy.RawPy() as libraw:
        try:
            _open(libraw, path)
            _require_plausible_size(libraw.sizes, path)  # before LibRaw takes memory for it
            libraw.unpack()
            frame = _frame(libraw, path, camera)
        except _OUT_OF_MEMORY as exc:
            raise MemoryError from exc
        except _UNSUPPORTED as exc:
            raise FrameError(f"LibRaw cannot decode it ({_words(exc)})", remedy=_NOT_SUPPORTED, path=path) from exc
        except (rawpy.LibRawError, ValueError) as exc:
            raise FrameError(f"LibRaw cannot decode it ({_words(exc)})", remedy=_COPY_AGAIN, path=path) from exc
        yield OpenRaw(frame, libraw)


def _open(libraw: rawpy.RawPy, path: Path) -> None:
    """Open a file by its name, or where rawpy cannot say the name (bytes that are no UTF-8), by its content."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            libraw.open_buffer(file)
        return
    libraw.open_file(str(path))


def _require_header(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError as exc:
        raise cannot_be_read(exc, path) from exc
    if not any(head[at : at + len(magic)] == magic for at, magic in _MAGICS):
        raise FrameError(
            "this is not a RAW file that says which camera made it",
            remedy="Left untouched; convert headerless dumps to DNG first",
            path=path,
        )


def _require_plausible_size(sizes: rawpy.ImageSizes, path: Path) -> None:
    size = path.stat().st_size
    if size * LEAST_BITS_DIVISOR < sizes.height * sizes.width:
        raise FrameError(
            f"its {size:,} bytes cannot hold a picture of {sizes.width}×{sizes.height} pixels",
            remedy=_COPY_AGAIN,
            path=path,
        )


def _frame(libraw: rawpy.RawPy, path: Path, camera: Camera) -> Frame:
    """Copy what decoding produced into a Frame."""
    sizes = libraw.sizes
    image = libraw.raw_image
    visible = (sizes.top_margin, sizes.left_margin, sizes.height, sizes.width)
    if image is None or min(sizes.height, sizes.width) < 16:
        raise FrameError("it holds no picture that dustd can read", remedy=_COPY_AGAIN, path=path)
    kind, cfa = _layout(libraw, path)
    raw = np.array(image[..., :3] if kind == "linear" else image, dtype=np.uint16, order="C")
    if kind == "bayer" and _begins_with(path, _RW2):
        fill_dead(raw[visible[0] : visible[0] + visible[2], visible[1] : visible[1] + visible[3]])
    levels = np.asarray(libraw.black_level_per_channel, np.float32)
    if kind == "linear":
        black = levels[:3].copy()
    elif kind == "mono":
        black = levels[:1].reshape(1, 1).copy()
    else:
        top, left = visible[:2]
        black = np.array(
            [[levels[libraw.raw_color(top + y, left + x)] for x in range(len(cfa))] for y in range(len(cfa))]
        )
    if libraw.white_level <= float(np.max(black)):
        raise FrameError(
            f"its levels make no sense (black {np.max(black):g}, white {libraw.white_level})",
            remedy="Left untouched; convert it again with the program that made it, or with Adobe's DNG converter",
            path=path,
        )
    _require_written(raw[visible[0] : visible[0] + visible[2], visible[1] : visible[1] + visible[3]], black, path)
    raw.setflags(write=False)
    return Frame(
        raw=raw,
        visible=visible,
        kind=kind,
        cfa=cfa,
        black=black,
        white=int(libraw.white_level),
        wb=_white_balance(libraw),
        xyz_to_camera=_xyz_to_camera(libraw),
        camera=camera,
        crop=_crop(sizes),
        wb_is_known=min(libraw.camera_whitebalance[:3]) > 0,
    )


def _require_written(mosaic: np.ndarray, black: np.ndarray, path: Path) -> None:
    """Raise FrameError if rows of samples are exactly zero in bulk: a file that was made long first and filled later.

    No sensor with a black level above zero gives that. Where black is zero, a dark scene may; but not so that the
    picture ends in it.
    """
    empty = ~np.any(mosaic.reshape(len(mosaic), -1), axis=1)
    if float(np.min(black)) <= 0:
        if empty.all():
            return
        empty &= np.logical_and.accumulate(empty[::-1])[::-1]  # at the end only
    if empty.sum() >= _MOST_EMPTY_ROWS:
        raise FrameError(
            f"{int(empty.sum())} of its {len(mosaic)} rows hold nothing: the file is not written to its end",
            remedy=_COPY_AGAIN,
            path=path,
        )


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def fill_dead(mosaic: np.ndarray) -> None:
    """Fill the zeros of a Bayer mosaic, in place, with the mean of what is not zero 2 px around, of the same colour.

    Panasonic marks dead pixels so. LibRaw does the same when it develops the camera's file (`remove_zeroes`), but not
    when it develops a DNG, where they would show as black dots. Zeros in more than 1 % of a frame are something else.
    """
    if mosaic.size - np.count_nonzero(mosaic) > mosaic.size // 100:
        return
    rows, columns = np.nonzero(mosaic == 0)
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for down, right in np.ndindex(3, 3):
        y, x = rows + 2 * (down - 1), columns + 2 * (right - 1)
        inside = (y >= 0) & (y < mosaic.shape[0]) & (x >= 0) & (x < mosaic.shape[1])
        near = np.zeros(len(rows))
        near[inside] = mosaic[y[inside], x[inside]]
        total += near
        count += near > 0
    mosaic[rows, columns] = total / np.maximum(count, 1)


def _crop(sizes: rawpy.ImageSizes) -> tuple[int, int, int, int] | None:
    """Find the part that the camera's own pictures show, None unless it lies within the visible area."""
    top, left = sizes.crop_top_margin - sizes.top_margin, sizes.crop_left_margin - sizes.left_margin
    height, width = sizes.crop_height, sizes.crop_width
    inside = 0 <= top <= sizes.height - height and 0 <= left <= sizes.width - width
    return (top, left, height, width) if inside and min(height, width) > 0 else None


def _layout(libraw: rawpy.RawPy, path: Path) -> tuple[SensorKind, tuple[tuple[int, ...], ...]]:
    """Name the sensor's layout. Raises FrameError for those that dustd does not handle."""
    convert = "Left untouched; convert it to a linear DNG with its maker's software first"
    if libraw.raw_type == rawpy.RawType.Stack:
        return "linear", ((1,),)
    if libraw.num_colors == 1:  # whatever LibRaw calls its one colour
        return "mono", ((1,),)
    pattern = libraw.raw_pattern
    if pattern is None:
        raise FrameError(
            "its sensor layout is not one that dustd handles (no colour pattern)", remedy=convert, path=path
        )
    if libraw.num_colors != 3 or not libraw.color_desc.startswith(b"RGB"):
        raise FrameError(
            f"its colours are {libraw.color_desc.decode(errors='replace')}, not red, green and blue",
            remedy=convert,
            path=path,
        )
    # rawpy's own raw_pattern reads before the start of LibRaw's table where an X-Trans sensor has borders.
    sizes, period = libraw.sizes, len(pattern)
    sites = (
        (libraw.raw_color(sizes.top_margin + y, sizes.left_margin + x) for x in range(period)) for y in range(period)
    )
    cfa = tuple(tuple(1 if colour == 3 else int(colour) for colour in row) for row in sites)
    if len(cfa) == 2:
        return "bayer", cfa
    if len(cfa) == 6:
        return "xtrans", cfa
    raise FrameError(f"its {len(cfa)}×{len(cfa[0])} colour pattern is not handled", remedy=convert, path=path)


def _white_balance(libraw: rawpy.RawPy) -> tuple[float, float, float]:
    """Take the camera's multipliers relative to green; daylight's where the file has none."""
    for gains in (libraw.camera_whitebalance, libraw.daylight_whitebalance):
        red, green, blue = gains[:3]
        if red > 0 and green > 0 and blue > 0 and max(gains[:3]) < _MOST_GAIN * min(gains[:3]):
            return red / green, 1.0, blue / green
    return 1.0, 1.0, 1.0


def _xyz_to_camera(libraw: rawpy.RawPy) -> np.ndarray | None:
    """Find the D65 matrix (3, 3), None if nobody knows it.

    For a DNG of a camera that LibRaw does not know, `rgb_xyz_matrix` is zero, and the DNG's own matrix is at hand only
    as LibRaw turned it: inverted, to sRGB, each camera channel scaled to the daylight gains. Undo that.
    """
    known = np.asarray(libraw.rgb_xyz_matrix, np.float64)[:3]
    if np.any(known):
        return known if np.all(np.isfinite(known)) else None
    to_srgb = np.asarray(libraw.color_matrix, np.float64)[:, :3]
    gains = np.asarray(libraw.daylight_whitebalance[:3], np.float64)
    if not np.all(np.isfinite(to_srgb)) or abs(np.linalg.det(to_srgb)) < 1e-6 or not np.all(gains > 0):
        return None
    return np.linalg.inv(to_srgb) / gains[:, None] @ np.linalg.inv(SRGB_TO_XYZ)


def _words(exc: Exception) -> str:
    """Put LibRaw's own message into words (rawpy raises it as bytes)."""
    message = exc.args[0] if exc.args else ""
    text = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
    return text or type(exc).__name__
