"""TIFF directories: the currency of RAW metadata, read from sources and written into DNGs.

Reading trusts nothing. A `Source` never reads more than its budget, a directory never holds more than `MAX_ENTRIES`,
a value never more than `MAX_VALUE_BYTES`; what is absent, cut off or absurd is simply not there. Nothing here raises
on malformed content, and nothing knows what the tags mean.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

# Bytes per value of each TIFF field type (TIFF 6.0 §2, plus IFD = 13).
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}

MAX_ENTRIES = 1024  # real directories hold under 200
MAX_DIRECTORIES = 32
MAX_VALUE_BYTES = 4 << 20  # the largest maker notes are about 1 MB
MAX_READ_BYTES = 32 << 20  # per file; a real one needs well under 1 MB
_READ_COST_BYTES = 512  # what one access costs on top of its size, so that the number of reads is bounded too

_FORMATS = {1: "B", 3: "H", 4: "I", 5: "I", 6: "b", 7: "B", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d", 13: "I"}
_TEXT_TYPES = (1, 2, 7)
_SUB_IFDS = 0x014A
# TIFF, and the variants of Olympus ORF (RO, RS, OR) and Panasonic RW2 (U).
_MAGICS = (b"II*\0", b"MM\0*", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One directory entry; *data* holds its *count* values as little-endian bytes, whatever the source's order."""

    tag: int
    type: int
    count: int
    data: bytes


class Source:
    """Bounded random access to an open file.

    `read` gives what there is: fewer bytes than asked for at the end of the file, none beyond it, and none once the
    budget is spent.
    """

    def __init__(self, stream: BinaryIO, *, budget: int = MAX_READ_BYTES) -> None:
        self._stream = stream
        self.size = stream.seek(0, 2)
        self.left = budget

    def read(self, position: int, size: int) -> bytes:
        """Return up to *size* bytes from *position*; raises only what the stream raises (OSError)."""
        size = min(size, self.size - position)
        if position < 0 or size <= 0 or size + _READ_COST_BYTES > self.left:
            return b""
        self.left -= size + _READ_COST_BYTES
        self._stream.seek(position)
        return self._stream.read(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Where a directory entry's value lies: *position* and *size* in bytes, absolute in the source."""

    tag: int
    type: int
    count: int
    position: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ifd(Mapping[int, Entry]):
    """One IFD: entries by tag, each read from the source when asked for.

    Offsets count from *base*. *next* is the offset of the following directory, 0 for none.
    """

    source: Source
    base: int
    little_endian: bool
    fields: Mapping[int, Field]
    next: int = 0

    def __getitem__(self, tag: int) -> Entry:
        field = self.fields[tag]
        if field.size > MAX_VALUE_BYTES:
            raise KeyError(tag)
        data = self.source.read(field.position, field.size)
        if len(data) < field.size:
            raise KeyError(tag)
        if not self.little_endian:
            data = _swapped(data, field.type)
        return Entry(tag=tag, type=field.type, count=field.count, data=data)

    def __iter__(self) -> Iterator[int]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


def read_header(source: Source, base: int) -> tuple[bool, int] | None:
    """Return (little_endian, offset of the first directory) of the TIFF structure at *base*, None if there is none."""
    head = source.read(base, 8)
    if len(head) < 8 or head[:4] not in _MAGICS:
        return None
    little_endian = head[:2] == b"II"
    return little_endian, struct.unpack("<I" if little_endian else ">I", head[4:])[0]


def read_ifd(source: Source, *, base: int, offset: int, little_endian: bool) -> Ifd:
    """Read the directory at *base* + *offset*; entries that do not fit the file are left out.

    A directory that claims no entries or more than `MAX_ENTRIES` is not one, and comes back empty.
    """
    order = "<" if little_endian else ">"
    start = base + offset
    head = source.read(start, 2)
    count = struct.unpack(order + "H", head)[0] if len(head) == 2 else 0
    if not 0 < count <= MAX_ENTRIES:
        return Ifd(source=source, base=base, little_endian=little_endian, fields={})
    block = source.read(start + 2, 12 * count + 4)
    fields = {}
    for at in range(0, min(12 * count, len(block) - 11), 12):
        tag, kind, values, value = struct.unpack_from(order + "HHII", block, at)
        size = TYPE_SIZES.get(kind, 0) * values
        position = start + 2 + at + 8 if size <= 4 else base + value
        if size and 0 <= position <= source.size - size and tag not in fields:
            fields[tag] = Field(tag=tag, type=kind, count=values, position=position, size=size)
    following = struct.unpack_from(order + "I", block, 12 * count)[0] if len(block) == 12 * count + 4 else 0
    return Ifd(source=source, base=base, little_endian=little_endian, fields=fields, next=following)


def read_tree(source: Source, base: int = 0) -> tuple[Ifd, ...]:
    """Read the image directories of the TIFF structure at *base*: IFD0 first, then its chain and their SubIFDs.

    Each offset is visited once and at most `MAX_DIRECTORIES` in all, so loops end. Empty if there is no TIFF header.
    """
    header = read_header(source, base)
    if header is None:
        return ()
    little_endian, first = header
    waiting, seen = [first], {0}
    found: list[Ifd] = []
    while waiting and len(found) < MAX_DIRECTORIES:
        offset = waiting.pop(0)
        if offset in seen:
            continue
        seen.add(offset)
        directory = read_ifd(source, base=base, offset=offset, little_endian=little_endian)
        found.append(directory)
        waiting += [directory.next, *subdirectory_offsets(directory, _SUB_IFDS)]
    return tuple(found)


def subdirectory_offsets(directory: Mapping[int, Entry], tag: int) -> tuple[int, ...]:
    """Return the offsets that pointer *tag* holds, none if it is absent or not of an integer type."""
    entry = directory.get(tag)
    if entry is None or entry.type not in (4, 9, 13):
        return ()
    return tuple(int(offset) for offset in numbers(entry)[:MAX_DIRECTORIES] if offset > 0)


def numbers(entry: Entry | None, limit: int = 256) -> tuple[float, ...]:
    """Return the first *limit* values: ints, floats, rationals as floats (NaN where the denominator is 0).

    Text and absent entries have no numbers: an empty tuple.
    """
    if entry is None or entry.type not in _FORMATS:
        return ()
    count = min(entry.count, limit, len(entry.data) // TYPE_SIZES[entry.type])
    parts = 2 * count if entry.type in (5, 10) else count
    values = struct.unpack_from(f"<{parts}{_FORMATS[entry.type]}", entry.data)
    if entry.type not in (5, 10):
        return values
    return tuple(a / b if b else math.nan for a, b in zip(values[::2], values[1::2], strict=True))


def number(entry: Entry | None) -> float | None:
    """Return the first value, None if there is none or it is not finite."""
    values = numbers(entry, limit=1)
    return values[0] if values and math.isfinite(values[0]) else None


def text(entry: Entry | None, limit: int = 200) -> str | None:
    """Return the entry's text up to its first NUL, made safe by `clean`; None if it is blank or not text."""
    if entry is None or entry.type not in _TEXT_TYPES:
        return None
    return clean(entry.data[: 4 * limit].split(b"\0")[0], limit)


def clean(raw: bytes, limit: int = 200) -> str | None:
    """Decode *raw* as UTF-8 or else Latin-1, drop what is not printable, join blanks, cut at *limit* characters."""
    try:
        decoded = raw.decode("utf-8")
    except UnicodeDecodeError:
        decoded = raw.decode("latin-1")
    printable = "".join(c if c.isprintable() else " " for c in decoded)
    return " ".join(printable.split())[:limit].strip() or None


def _swapped(data: bytes, kind: int) -> bytes:
    """Turn big-endian values of field type *kind* into little-endian ones (rationals are pairs of 4 bytes)."""
    width = 4 if kind in (5, 10) else TYPE_SIZES[kind]
    swapped = bytearray(len(data))
    for i in range(width):
        swapped[i::width] = data[width - 1 - i :: width]
    return bytes(swapped)


def text_entry(tag: int, value: str) -> Entry:
    """Make a text entry; letters beyond ASCII go as UTF-8, which Exif readers understand in practice."""
    data = value.encode() + b"\0"
    return Entry(tag=tag, type=2, count=len(data), data=data)
