"""Reads what makers keep in their notes: the body's serial number and the lens.

Layouts and tags: shared facts `file-formats.md` §4, after ExifTool's tag tables. Whether a serial number is worth
anything is decided in `dustd.raw.metadata`. Nothing here raises on malformed content.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dustd.raw.containers import Note
from dustd.raw.tiff import Entry, Field, Ifd, numbers, read_header, read_ifd, subdirectory_offsets, text

Tags = Mapping[int, Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a kind of note begins: after *prefix*, the directory is at *start*.

    *own_base*: its offsets count from the note itself, not from the TIFF structure around it.
    """

    prefix: bytes
    maker: str
    start: int
    own_base: bool


_LAYOUTS = (
    Layout(prefix=b"OLYMPUS\0", maker="Olympus", start=12, own_base=True),
    Layout(prefix=b"OM SYSTEM\0", maker="Olympus", start=16, own_base=True),
    Layout(prefix=b"OLYMP\0", maker="Olympus", start=8, own_base=False),
    Layout(prefix=b"EPSON\0", maker="Olympus", start=8, own_base=False),
    Layout(prefix=b"Panasonic\0", maker="Panasonic", start=12, own_base=False),
    Layout(prefix=b"LEICA CAMERA AG\0", maker="Panasonic", start=18, own_base=False),
    Layout(prefix=b"LEICA", maker="Leica", start=8, own_base=True),
    Layout(prefix=b"PENTAX \0", maker="Pentax", start=10, own_base=True),
    Layout(prefix=b"RICOH\0", maker="Pentax", start=8, own_base=True),
    Layout(prefix=b"AOC\0", maker="Pentax", start=6, own_base=False),
    Layout(prefix=b"SIGMA\0", maker="Sigma", start=10, own_base=False),
    Layout(prefix=b"SONY DSC \0", maker="Sony", start=12, own_base=False),
    Layout(prefix=b"SONY CAM \0", maker="Sony", start=12, own_base=False),
)
# Makers whose notes begin with the directory.
_BARE = (("canon", "Canon"), ("sony", "Sony"), ("nikon", "Nikon"))

# Serial number tags by maker, best first; internal ones are not printed on the body but stay with it.
_SERIALS = {
    "Canon": (0x000C, 0x0096),
    "Fujifilm": (0x0010,),
    "Leica": (0x0303, 0x0305, 0x3103, 0x0500),
    "Nikon": (0x001D, 0x00A0),
    "Olympus": (0x0101, 0x0102),  # in the Equipment directory
    "Panasonic": (0x0025,),
    "Pentax": (0x0229,),
    "Phase One": (0x0102,),
    "Sigma": (0x0002,),
    "Sony": (0x2031,),
}
_INTERNAL = {
    ("Canon", 0x0096),
    ("Fujifilm", 0x0010),
    ("Leica", 0x0500),
    ("Olympus", 0x0102),
    ("Panasonic", 0x0025),
}
_LENSES = {"Canon": 0x0095, "Olympus": 0x0203, "Panasonic": 0x0051, "Phase One": 0x0412}
_EQUIPMENT, _SONY_9050, _CANON_SETTINGS, _NIKON_LENS, _NIKON_ISO = 0x2010, 0x9050, 0x0001, 0x0084, 0x0002

# Sony 0x9050: model, place and length of the internal serial number. Models not named here are not guessed.
_SONY_PLACES = tuple(
    (re.compile(models), start, size)
    for models, start, size in (
        (r"ILCE-1$", 0x8A, 6),
        (r"(ILCE-(6700|7CM2|7CR)|ZV-E1)$", 0x38, 6),
        (r"(ILCE-(6[1-6]00|7C|7M[34]|7RM[25]|7RM[34]A?|7SM[23]|9|9M2)|ILCA-99M2|ILME-FX3|ZV-E10)$", 0x88, 6),
        (r"(SLT-|HV|ILCA-)", 0xF0, 5),
        (r"(ILCE-(3[05]00|5[01]00|5000|6000|7|7R|7S|7M2|QX1)$|NEX-(?!5N|7|VG20))", 0x7C, 4),
    )
)
# Plain p is written as p³ mod 249; 249 to 255 stay as they are.
_SONY_DECIPHER = bytes.maketrans(bytes(p**3 % 249 for p in range(249)), bytes(range(249)))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteFacts:
    """What a note says: candidates for the serial number as (number, place), best first, the lens and the ISO speed."""

    serials: tuple[tuple[str, str], ...] = ()
    lens: str | None = None
    iso: float | None = None


def read_note(note: Note, make: str, model: str) -> NoteFacts:
    """Read a maker note; *make* and *model* decide where the note itself does not tell its kind."""
    maker, tags = _open(note, make)
    if maker == "Olympus":
        tags = _equipment(tags)
    serials = [(_written(tags.get(tag)), _place(maker, tag)) for tag in _SERIALS.get(maker, ())]
    if maker == "Sony":
        serials.append((_sony_serial(tags, model), _place(maker, _SONY_9050)))
    lens = text(tags.get(_LENSES[maker])) if maker in _LENSES else None
    if maker == "Canon":
        lens = lens or _canon_lens(tags)
    if maker == "Nikon":
        lens = lens_name(numbers(tags.get(_NIKON_LENS)))
    iso = numbers(tags.get(_NIKON_ISO))[1:2] if maker == "Nikon" else ()  # (0, speed); the first bodies' Exif has none
    found = tuple((serial, place) for serial, place in serials if serial)
    return NoteFacts(serials=found, lens=lens, iso=iso[0] if iso and iso[0] > 0 else None)


def lens_name(specification: Sequence[float]) -> str | None:
    """Write a lens specification (shortest and longest focal length, f-number at each) as "18-55mm f/3.5-5.6".

    Unknown values are 0, NaN or absurd; without a focal length there is no name.
    """
    known = [value if math.isfinite(value) and 0 < value < 10_000 else 0 for value in specification[:4]]
    short, long, wide, tele = known + [0] * (4 - len(known))
    if not (short or long):
        return None
    return f"{_span(short, long)}mm" + (f" f/{_span(wide, tele)}" if wide or tele else "")


def _span(first: float, last: float) -> str:
    return "-".join(dict.fromkeys(f"{value:.4g}" for value in (first, last) if value))


def _open(note: Note, make: str) -> tuple[str, Tags]:
    """Return the maker and the directory of a note; no tags if its kind is unknown."""
    head = note.source.read(note.position, 32)
    if head.startswith(b"Nikon\0\x02"):
        return "Nikon", _embedded_tiff(note, 10)
    if (head[:4], head[5:8]) == (b"IIII", b"waR") or head.startswith(b"MMMMRaw"):
        return "Phase One", _phase_one(note, head)
    if head.startswith((b"FUJIFILM", b"GENERALE")):  # always little-endian
        start = int.from_bytes(head[8:12], "little")
        return "Fujifilm", _directory(replace(note, base=note.position, little_endian=True), start)
    for layout in _LAYOUTS:
        if head.startswith(layout.prefix):
            order = _order(head, layout.start, note.little_endian)
            base = note.position if layout.own_base else note.base
            return layout.maker, _directory(replace(note, base=base, little_endian=order), layout.start)
    for prefix, maker in _BARE:
        if make.casefold().startswith(prefix):
            return maker, _directory(note, 0)
    return "unknown", {}


def _order(head: bytes, start: int, otherwise: bool) -> bool:
    """Find "II" or "MM" among the four bytes before the directory; say whether it is little-endian."""
    for mark in (head[start - 4 : start - 2], head[start - 2 : start]):
        if mark in (b"II", b"MM"):
            return mark == b"II"
    return otherwise


def _directory(note: Note, start: int) -> Ifd:
    """Read the directory at *start* within the note, in the byte order in which its length makes sense."""
    count = note.source.read(note.position + start, 2)
    little_endian = note.little_endian
    if len(count) == 2 and count[1 if little_endian else 0]:  # 256 entries or more: rewritten in the other order
        little_endian = not little_endian
    offset = note.position + start - note.base
    return read_ifd(note.source, base=note.base, offset=offset, little_endian=little_endian)


def _embedded_tiff(note: Note, start: int) -> Tags:
    base = note.position + start
    header = read_header(note.source, base)
    if header is None:
        return {}
    return read_ifd(note.source, base=base, offset=header[1], little_endian=header[0])


def _phase_one(note: Note, head: bytes) -> Ifd:
    """Read Phase One's own kind of directory: 16-byte records tag, kind, size, value or offset; texts only."""
    little_endian = head.startswith(b"II")
    order: Literal["little", "big"] = "little" if little_endian else "big"
    start = note.position + int.from_bytes(head[8:12], order)
    count = min(int.from_bytes(note.source.read(start, 4), order), 512)
    block = note.source.read(start + 8, 16 * count)
    fields = {}
    for at in range(0, len(block) - 15, 16):
        tag, kind, size, value = (int.from_bytes(block[at + i : at + i + 4], order) for i in (0, 4, 8, 12))
        position = start + 8 + at + 12 if size <= 4 else note.position + value
        if kind == 1 and 0 < size <= 1024:
            fields[tag] = Field(tag=tag, type=2, count=size, position=position, size=size)
    return Ifd(source=note.source, base=note.position, little_endian=little_endian, fields=fields)


def _equipment(tags: Tags) -> Tags:
    """Return the Equipment directory of an Olympus note: pointed at, or (older bodies) in place as undefined bytes."""
    if not isinstance(tags, Ifd) or (field := tags.fields.get(_EQUIPMENT)) is None:
        return {}
    offsets = subdirectory_offsets(tags, _EQUIPMENT) or (field.position - tags.base,)
    return read_ifd(tags.source, base=tags.base, offset=offsets[0], little_endian=tags.little_endian)


def _written(entry: Entry | None) -> str | None:
    """Write a serial number that is kept as a text or as an integer."""
    values = numbers(entry, limit=1) if entry is not None and entry.type in (3, 4, 9) else ()
    return str(values[0]) if values else text(entry, limit=64)


def _place(maker: str, tag: int) -> str:
    internal = (maker, tag) in _INTERNAL or tag == _SONY_9050
    return f"{maker} 0x{tag:04x}" + (" (internal)" if internal else "")


def _sony_serial(tags: Tags, model: str) -> str | None:
    """Decipher the internal serial number; None for models whose place for it is not known."""
    entry = tags.get(_SONY_9050)
    for models, start, size in _SONY_PLACES:
        if entry is not None and models.match(model):
            serial = entry.data[start : start + size].translate(_SONY_DECIPHER)
            return serial.hex() if len(serial) == size and any(serial) else None
    return None


def _canon_lens(tags: Tags) -> str | None:
    """Name a lens by its focal lengths: CameraSettings 23 longest, 24 shortest, 25 units per mm."""
    settings = numbers(tags.get(_CANON_SETTINGS))
    if len(settings) < 26 or settings[25] <= 0:
        return None
    return lens_name((settings[24] / settings[25], settings[23] / settings[25]))
