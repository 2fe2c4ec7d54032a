"""What a cleaned file takes over from its source: Exif, GPS, the maker note, author and copyright, a DNG's colours.

Only tags whose meaning survives cleaning are copied: no pointers that would dangle, no digests of the old samples.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dustd.raw.body_id import adobe_model
from dustd.raw.containers import MAKE, MODEL, Contents
from dustd.raw.metadata import UNIQUE_MODEL, examine, first_entry
from dustd.raw.tiff import MAX_VALUE_BYTES, Entry, number, text

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


def read_source_metadata(path: Path) -> SourceMetadata:
    """Read what a cleaned file takes over from *path*: Exif, GPS, the maker note, author and copyright.

    Raises FrameError only if the file cannot be opened or is empty.
    """
    return examine(path, tags_in)


def tags_in(contents: Contents) -> SourceMetadata:
    """Choose from what `containers.read_contents` found."""
    ifd0 = [first_entry(contents.images, tag) for tag in (*_KEPT_IFD0, *_KEPT_DNG)]
    samples = _raw_image(contents.images)
    raw = [samples.get(tag) for tag in _KEPT_RAW]
    in_ifd0 = [first_entry(contents.images[:1], tag) for tag in _EXIF_IN_IFD0 if tag not in contents.exif]
    exif = [contents.exif.get(tag) for tag in contents.exif if tag not in _DROPPED_EXIF]
    make, model = text(first_entry(contents.images, MAKE)), text(first_entry(contents.images, MODEL))
    return SourceMetadata(
        ifd0=_kept(ifd0, max_bytes=MAX_VALUE_BYTES),
        raw=_kept(raw, max_bytes=MAX_VALUE_BYTES),
        exif=_kept([*exif, *in_ifd0]),
        gps=_kept(contents.gps.get(tag) for tag in contents.gps if tag <= 0x1F),
        maker_note=_maker_note(contents),
        xmp=contents.xmp.read() or None if contents.xmp else None,
        unique_model=text(first_entry(contents.images, UNIQUE_MODEL)) or adobe_model(make, model),
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
