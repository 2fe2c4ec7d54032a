"""Reads a RAW file's camera facts without decoding the picture: which body took it, with which lens, aperture, when.

`dustd.raw.containers` finds the directories, `dustd.raw.makernotes` reads the makers' own; here the values get their
meaning. A file is opened read-only, and only the few kilobytes that matter are read.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from dustd.errors import FrameError, cannot_be_read
from dustd.raw.body_id import body_id, is_serial
from dustd.raw.containers import DATE_TIME_ORIGINAL, MAKE, MODEL, Contents, read_contents
from dustd.raw.frame import Camera
from dustd.raw.makernotes import NoteFacts, lens_name, read_note
from dustd.raw.tiff import Entry, Source, number, numbers, text

T = TypeVar("T")

# Exif 2.32 and DNG 1.4 tags.
_ORIENTATION, _DATE_TIME_DIGITIZED = 0x0112, 0x9004
_EXPOSURE_TIME, _F_NUMBER, _SHUTTER_SPEED_VALUE, _APERTURE_VALUE = 0x829A, 0x829D, 0x9201, 0x9202
_ISO, _SENSITIVITIES, _RW2_ISO = 0x8827, (0x8831, 0x8832, 0x8833), 0x0017
_FOCAL_LENGTH, _LENS_SPECIFICATION, _LENS_MODEL, _DNG_LENS_INFO = 0x920A, 0xA432, 0xA434, 0xC630
_BODY_SERIAL, _DNG_SERIAL, UNIQUE_MODEL = 0xA431, 0xC62F, 0xC614
_FOCAL_PLANE_X, _FOCAL_PLANE_Y, _FOCAL_PLANE_UNIT = 0xA20E, 0xA20F, 0xA210
_FOCAL_LENGTH_35MM = 0xA405
_SIZES = ((0x0100, 0x0101), (0xA002, 0xA003), (0x0002, 0x0003))  # TIFF's, Exif's, RW2's
_SUB_SECONDS = {DATE_TIME_ORIGINAL: 0x9291, _DATE_TIME_DIGITIZED: 0x9292}
_OFFSETS = {DATE_TIME_ORIGINAL: (0x9011, 0x9010), _DATE_TIME_DIGITIZED: (0x9012, 0x9010)}
_UNIT_UM: dict[float, int] = {2: 25_400, 3: 10_000, 4: 1_000, 5: 1}
_DIAGONAL_35MM_UM = 43_267  # of 36 × 24 mm
_LEAST_PITCH_UM, _LARGEST_PITCH_UM = 1, 20


def read_camera(path: Path) -> Camera:
    """Read which camera took the frame at *path* and how; what the file does not say is None.

    Raises FrameError only if the file cannot be opened or is empty; a file of unknown kind gives an empty Camera.
    """
    return examine(path, camera_in)


def examine(path: Path, extract: Callable[[Contents], T]) -> T:
    """Open *path*, find its metadata and extract from them while it is open."""
    try:
        if not path.is_file():
            remedy = "Check that the file is there"
            raise FrameError("This is not a file that can be read", remedy=remedy, path=path)
        with path.open("rb", buffering=1 << 16) as stream:
            source = Source(stream)
            contents = extract(read_contents(source)) if source.size else None
    except OSError as error:
        raise cannot_be_read(error, path) from error
    if contents is None:
        raise FrameError("The file is empty", remedy="Copy it again from the card", path=path)
    return contents


def camera_in(contents: Contents) -> Camera:
    """Give the meaning of what `containers.read_contents` found."""
    make, model = text(first_entry(contents.images, MAKE)), text(first_entry(contents.images, MODEL))
    model = model or text(first_entry(contents.images, UNIQUE_MODEL))
    facts = read_note(contents.note, make or "", model or "") if contents.note else NoteFacts()
    serial, serial_source = _serial(contents, facts)
    orientation = number(first_entry(contents.images, _ORIENTATION)) or 1
    return Camera(
        make=make,
        model=model,
        body_id=body_id(make, model, serial),
        serial=serial,
        serial_source=serial_source,
        lens=_lens(contents, facts),
        focal_length_mm=_positive(_tag(contents, _FOCAL_LENGTH), limit=100_000),
        f_number=_f_number(contents),
        iso=_iso(contents) or facts.iso,
        exposure_s=_exposure_s(contents),
        taken_at=_taken_at(contents),
        orientation=int(orientation) if orientation in range(1, 9) else 1,
        pixel_pitch_um=_pixel_pitch_um(contents),
    )


def _serial(contents: Contents, facts: NoteFacts) -> tuple[str | None, str]:
    """Choose the serial number: Exif, then the maker's, then DNG's."""
    candidates = (
        (text(_tag(contents, _BODY_SERIAL), limit=64), "Exif.Photo.BodySerialNumber"),
        *facts.serials,
        (text(first_entry(contents.images, _DNG_SERIAL), limit=64), "DNG CameraSerialNumber"),
        *((contents.serial,) if contents.serial else ()),
    )
    for serial, source in candidates:
        if serial and is_serial(serial):
            return serial, source
    return None, "none"


def _lens(contents: Contents, facts: NoteFacts) -> str | None:
    named = (text(_tag(contents, _LENS_MODEL)), facts.lens)
    specifications = (first_entry(contents.images, _DNG_LENS_INFO), _tag(contents, _LENS_SPECIFICATION))
    for lens in (*named, *(lens_name(numbers(entry)) for entry in specifications)):
        if lens and any(c.isalnum() for c in lens):  # "----" is a lens without electronics
            return lens
    return None


def _f_number(contents: Contents) -> float | None:
    f_number = _positive(_tag(contents, _F_NUMBER), limit=1000)
    if f_number is None and (apex := _positive(_tag(contents, _APERTURE_VALUE), limit=16)):
        f_number = round(2 ** (apex / 2), 1)
    return f_number if f_number and 0.5 <= f_number <= 256 else None


def _exposure_s(contents: Contents) -> float | None:
    exposure_s = _positive(_tag(contents, _EXPOSURE_TIME), limit=1e6)
    apex = number(_tag(contents, _SHUTTER_SPEED_VALUE))
    if exposure_s is None and apex and abs(apex) <= 20:
        return 2.0**-apex
    return exposure_s


def _iso(contents: Contents) -> float | None:
    """Return the ISO speed; 65535 means that it did not fit, and another tag has it."""
    for entry in (_tag(contents, tag) for tag in (_ISO, *_SENSITIVITIES, _RW2_ISO)):
        iso = _positive(entry, limit=100_000_000)
        if iso and iso != 65535:
            return iso
    return None


def _taken_at(contents: Contents) -> str | None:
    """Write the time of exposure in ISO 8601, with sub-seconds and UTC offset where known."""
    for tag, sub_tag in _SUB_SECONDS.items():
        written = text(_tag(contents, tag)) or ""
        match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", written, re.ASCII)
        if match is None:
            continue
        try:
            year, month, day, hour, minute, second = map(int, match.groups())
            moment = datetime(year, month, day, hour, minute, second).isoformat()
        except ValueError:
            continue
        digits = re.match(r"\d{1,6}", text(_tag(contents, sub_tag)) or "", re.ASCII)
        offsets = (text(_tag(contents, offset)) or "" for offset in _OFFSETS[tag])
        zone = next((z for z in offsets if re.fullmatch(r"[+-](0\d|1[0-4]):[0-5]\d", z, re.ASCII)), "")
        return moment + (f".{digits[0]}" if digits else "") + zone
    return None


def _pixel_pitch_um(contents: Contents) -> float | None:
    """Derive the pixel pitch from the focal-plane resolution, or else from both focal lengths and the picture's size:
    Nikon and Sony write no resolution.
    """
    pitches = (_by_focal_plane(contents), _by_focal_lengths(contents))
    return next((each for each in pitches if each and _LEAST_PITCH_UM <= each <= _LARGEST_PITCH_UM), None)


def _by_focal_plane(contents: Contents) -> float | None:
    """Give the pitch (µm) by the focal-plane resolution; it refers to the Exif image's width, not the raw's."""
    unit_um = _UNIT_UM.get(number(_tag(contents, _FOCAL_PLANE_UNIT)) or 2)
    x, y = (_positive(_tag(contents, tag), limit=1e9) for tag in (_FOCAL_PLANE_X, _FOCAL_PLANE_Y))
    resolution = x or y
    if not unit_um or not resolution or (x and y and not 0.5 < x / y < 2):
        return None
    return unit_um / resolution


def _by_focal_lengths(contents: Contents) -> float | None:
    """Give the pitch (µm) by the diagonal: the focal length over what it is on 36 × 24 mm is the share of that one.

    The latter is a whole number of mm, so a wide lens makes this uncertain by some percent.
    """
    real = _positive(_tag(contents, _FOCAL_LENGTH), limit=100_000)
    equivalent = _positive(_tag(contents, _FOCAL_LENGTH_35MM), limit=65_535)
    directories = (contents.exif, *contents.images)
    sizes = [tuple(number(each.get(tag)) or 0.0 for tag in tags) for each in directories for tags in _SIZES]
    diagonal_px = max((math.hypot(*size) for size in sizes if all(size)), default=0.0)
    if not real or not equivalent or not diagonal_px:
        return None
    return _DIAGONAL_35MM_UM * real / equivalent / diagonal_px


def _tag(contents: Contents, tag: int) -> Entry | None:
    """Look *tag* up in Exif, then in the image directories."""
    return contents.exif.get(tag) or first_entry(contents.images, tag)


def first_entry(images: Iterable[Mapping[int, Entry]], tag: int) -> Entry | None:
    """Find a tag in the first of the image directories that has it."""
    return next((entry for image in images if (entry := image.get(tag)) is not None), None)


def _positive(entry: Entry | None, *, limit: float) -> float | None:
    value = number(entry)
    return value if value is not None and 0 < value < limit else None
