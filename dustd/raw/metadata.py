"""Reads a RAW file's metadata without decoding the picture: which body took it, with which lens, aperture, when.

`dustd.raw.containers` finds the directories, `dustd.raw.makernotes` reads the makers' own; here the values get their
meaning. A file is opened read-only, and only the few kilobytes that matter are read.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from dustd.errors import FrameError, cannot_be_read
from dustd.raw.body_id import adobe_model, body_id, is_serial
from dustd.raw.containers import DATE_TIME_ORIGINAL, MAKE, MODEL, Contents, read_contents
from dustd.raw.frame import Camera
from dustd.raw.makernotes import NoteFacts, lens_name, read_note
from dustd.raw.tiff import MAX_VALUE_BYTES, Entry, Source, number, numbers, text

T = TypeVar("T")

# Exif 2.32 and DNG 1.4 tags.
_ORIENTATION, _DATE_TIME_DIGITIZED = 0x0112, 0x9004
_EXPOSURE_TIME, _F_NUMBER, _SHUTTER_SPEED_VALUE, _APERTURE_VALUE = 0x829A, 0x829D, 0x9201, 0x9202
_ISO, _SENSITIVITIES, _RW2_ISO = 0x8827, (0x8831, 0x8832, 0x8833), 0x0017
_FOCAL_LENGTH, _LENS_SPECIFICATION, _LENS_MODEL, _DNG_LENS_INFO = 0x920A, 0xA432, 0xA434, 0xC630
_BODY_SERIAL, _DNG_SERIAL, _UNIQUE_MODEL = 0xA431, 0xC62F, 0xC614
_FOCAL_PLANE_X, _FOCAL_PLANE_Y, _FOCAL_PLANE_UNIT = 0xA20E, 0xA20F, 0xA210
_SUB_SECONDS = {DATE_TIME_ORIGINAL: 0x9291, _DATE_TIME_DIGITIZED: 0x9292}
_OFFSETS = {DATE_TIME_ORIGINAL: (0x9011, 0x9010), _DATE_TIME_DIGITIZED: (0x9012, 0x9010)}
_UNIT_UM = {2: 25_400, 3: 10_000, 4: 1_000, 5: 1}

# What a cleaned file takes over from IFD0: description, time, artist, rating, copyright, IPTC, Windows' titles.
_KEPT_IFD0 = (0x010E, 0x0132, 0x013B, 0x4746, 0x4749, 0x8298, 0x83BB, *range(0x9C9B, 0x9CA0))
# And if the source is a DNG: its version, and what its colours mean and how they want to be shown: matrices, white
# balance, exposure baseline, noise, the embedded profile with its tables, the third illuminant (DNG 1.6), gain maps.
_KEPT_DNG = (
    *(0xC612, 0xC615, *range(0xC621, 0xC62D), 0xC62E, 0xC630, 0xC633, 0xC65A, 0xC65B),
    *(0xC6F3, 0xC6F4, *range(0xC6F6, 0xC6FF), 0xC714, 0xC715, 0xC725, 0xC726, *range(0xC7A3, 0xC7A7)),
    *(*range(0xCD31, 0xCD38), 0xCD39, 0xCD3A, 0xCD3F, 0xCD40),
)
# From its raw directory: levels, crop and scale, hints for demosaicing and noise reduction, opcodes (lens correction),
# and the area that positions count from. Digests of the samples (0xC71C, 0xC7A7) would be wrong after cleaning.
_KEPT_RAW = (
    *range(0xC619, 0xC621),
    *(0xC62D, 0xC631, 0xC632, 0xC65C, 0xC68D, 0xC68E, 0xC6F7, 0xC740, 0xC741, 0xC74E, 0xC761, 0xC7B5, 0xCD2D),
)
_SUBFILE_TYPE, _PHOTOMETRIC, _CFA, _LINEAR_RAW = 0x00FE, 0x0106, 32803, 34892
# What it does not from Exif: pointers that would dangle (SubIFDs, Exif, GPS, Interop), the maker note, padding.
_DROPPED_EXIF = {0x014A, 0x8769, 0x8825, 0xA005, 0x927C, 0xEA1C, 0xEA1D}
# Exif values that TIFF/EP cameras keep in IFD0.
_EXIF_IN_IFD0 = (0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9201, 0x9202, 0x9204, 0x9205, 0x9207, 0x9209, 0x920A)
_MAX_COPIED_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class MakerNote:
    """A maker note as the camera wrote it; *offset* is where it stood, counted from its file's TIFF header."""

    data: bytes
    little_endian: bool
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMetadata:
    """What a cleaned file takes over from its source.

    *ifd0* describes the picture (and, from a DNG, its colours), *raw* how a DNG's samples are to be developed.
    *xmp* is its XMP packet: rating, keywords, captions, from a DNG also develop settings.
    *unique_model* is the source's UniqueCameraModel, or else the model in the spelling by which Adobe finds its
    camera profiles ("Nikon D70" for "NIKON D70").
    """

    ifd0: tuple[Entry, ...] = ()
    raw: tuple[Entry, ...] = ()
    exif: tuple[Entry, ...] = ()
    gps: tuple[Entry, ...] = ()
    maker_note: MakerNote | None = None
    xmp: bytes | None = None
    unique_model: str | None = None


def read_camera(path: Path) -> Camera:
    """Read which camera took the frame at *path* and how; what the file does not say is None.

    Raises FrameError only if the file cannot be opened or is empty; a file of unknown kind gives an empty Camera.
    """
    return _examine(path, _camera)


def read_source_metadata(path: Path) -> SourceMetadata:
    """Read what a cleaned file takes over from *path*: Exif, GPS, the maker note, author and copyright.

    Raises FrameError only if the file cannot be opened or is empty.
    """
    return _examine(path, _source_metadata)


def _examine(path: Path, extract: Callable[[Contents], T]) -> T:
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


def _camera(contents: Contents) -> Camera:
    make, model = text(_first(contents.images, MAKE)), text(_first(contents.images, MODEL))
    model = model or text(_first(contents.images, _UNIQUE_MODEL))
    facts = read_note(contents.note, make or "", model or "") if contents.note else NoteFacts()
    serial, serial_source = _serial(contents, facts)
    orientation = number(_first(contents.images, _ORIENTATION))
    return Camera(
        make=make,
        model=model,
        body_id=body_id(make, model, serial),
        serial=serial,
        serial_source=serial_source,
        lens=_lens(contents, facts),
        focal_length_mm=_positive(_tag(contents, _FOCAL_LENGTH), limit=100_000),
        f_number=_f_number(contents),
        iso=_iso(contents),
        exposure_s=_exposure_s(contents),
        taken_at=_taken_at(contents),
        orientation=int(orientation) if orientation in range(1, 9) else 1,
        pixel_pitch_um=_pixel_pitch_um(contents),
    )


def _source_metadata(contents: Contents) -> SourceMetadata:
    ifd0 = [_first(contents.images, tag) for tag in (*_KEPT_IFD0, *_KEPT_DNG)]
    samples = _raw_image(contents.images)
    raw = [samples.get(tag) for tag in _KEPT_RAW]
    in_ifd0 = [_first(contents.images[:1], tag) for tag in _EXIF_IN_IFD0 if tag not in contents.exif]
    exif = [contents.exif.get(tag) for tag in contents.exif if tag not in _DROPPED_EXIF]
    make, model = text(_first(contents.images, MAKE)), text(_first(contents.images, MODEL))
    return SourceMetadata(
        ifd0=_kept(ifd0, max_bytes=MAX_VALUE_BYTES),
        raw=_kept(raw, max_bytes=MAX_VALUE_BYTES),
        exif=_kept([*exif, *in_ifd0]),
        gps=_kept(contents.gps.get(tag) for tag in contents.gps if tag <= 0x1F),
        maker_note=_maker_note(contents),
        xmp=contents.xmp.read() or None if contents.xmp else None,
        unique_model=text(_first(contents.images, _UNIQUE_MODEL)) or adobe_model(make, model),
    )


def _raw_image(images: tuple[Mapping[int, Entry], ...]) -> Mapping[int, Entry]:
    """Find the directory of a DNG's samples: of full size (0), mosaic or linear; an empty one in other files."""
    for image in images:
        kind, layout = number(image.get(_SUBFILE_TYPE)) or 0, number(image.get(_PHOTOMETRIC))
        if kind == 0 and layout in (_CFA, _LINEAR_RAW):
            return image
    return {}


def _kept(entries: Iterable[Entry | None], *, max_bytes: int = _MAX_COPIED_BYTES) -> tuple[Entry, ...]:
    """Drop what is absent, too large to copy or a pointer (type 13); sort by tag."""
    kept = (e for e in entries if e is not None and len(e.data) <= max_bytes and e.type != 13)
    return tuple(sorted(kept, key=lambda entry: entry.tag))


def _maker_note(contents: Contents) -> MakerNote | None:
    note = contents.note
    if note is None or note.size > MAX_VALUE_BYTES:
        return None
    data, offset = note.source.read(note.position, note.size), note.position - note.base
    if not data or not 0 <= offset < 1 << 32 or data[:4] in (b"IIII", b"MMMM"):  # Phase One's holds the picture
        return None
    return MakerNote(data=data, little_endian=note.little_endian, offset=offset)


def _serial(contents: Contents, facts: NoteFacts) -> tuple[str | None, str]:
    """Choose the serial number: Exif, then the maker's, then DNG's."""
    candidates = (
        (text(_tag(contents, _BODY_SERIAL), limit=64), "Exif.Photo.BodySerialNumber"),
        *facts.serials,
        (text(_first(contents.images, _DNG_SERIAL), limit=64), "DNG CameraSerialNumber"),
        *((contents.serial,) if contents.serial else ()),
    )
    for serial, source in candidates:
        if serial and is_serial(serial):
            return serial, source
    return None, "none"


def _lens(contents: Contents, facts: NoteFacts) -> str | None:
    named = (text(_tag(contents, _LENS_MODEL)), facts.lens)
    specifications = (_first(contents.images, _DNG_LENS_INFO), _tag(contents, _LENS_SPECIFICATION))
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
            moment = datetime(*map(int, match.groups())).isoformat()
        except ValueError:
            continue
        digits = re.match(r"\d{1,6}", text(_tag(contents, sub_tag)) or "", re.ASCII)
        offsets = (text(_tag(contents, offset)) or "" for offset in _OFFSETS[tag])
        zone = next((z for z in offsets if re.fullmatch(r"[+-](0\d|1[0-4]):[0-5]\d", z, re.ASCII)), "")
        return moment + (f".{digits[0]}" if digits else "") + zone
    return None


def _pixel_pitch_um(contents: Contents) -> float | None:
    """Derive the pixel pitch from the focal-plane resolution; it refers to the Exif image's width, not the raw's."""
    unit_um = _UNIT_UM.get(number(_tag(contents, _FOCAL_PLANE_UNIT)) or 2)
    x, y = (_positive(_tag(contents, tag), limit=1e9) for tag in (_FOCAL_PLANE_X, _FOCAL_PLANE_Y))
    resolution = x or y
    if not unit_um or not resolution or (x and y and not 0.5 < x / y < 2):
        return None
    pitch_um = unit_um / resolution
    return pitch_um if 1 <= pitch_um <= 20 else None


def _tag(contents: Contents, tag: int) -> Entry | None:
    """Look *tag* up in Exif, then in the image directories."""
    return contents.exif.get(tag) or _first(contents.images, tag)


def _first(images: Iterable, tag: int) -> Entry | None:
    return next((entry for image in images if (entry := image.get(tag)) is not None), None)


def _positive(entry: Entry | None, *, limit: float) -> float | None:
    value = number(entry)
    return value if value is not None and 0 < value < limit else None
