"""Lays out a little-endian TIFF: directories first, then the picture data they point at. Knows no tag's meaning.

`dustd.raw.tiff` reads; this module writes, because no TIFF library at hand can write an Exif directory.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from dustd.raw.tiff import Entry

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL = 1, 2, 3, 4, 5, 7, 10
STRIPS = (273, 279)  # tags of the offsets and of the byte counts
TILES = (324, 325)


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """One IFD: its entries, the picture data that *data_tags* point at, and child directories by pointer tag."""

    entries: tuple[Entry, ...]
    data: tuple[bytes, ...] = ()
    data_tags: tuple[int, int] = STRIPS
    children: dict[int, tuple["Directory", ...]] = field(default_factory=dict)


def raw_bytes(tag: int, data: bytes, *, type: int = BYTE) -> Entry:
    """Make an entry of bytes (BYTE, ASCII or UNDEFINED)."""
    return Entry(tag=tag, type=type, count=len(data), data=data)


def short(tag: int, *values: int) -> Entry:
    """Make an entry of unsigned 16-bit numbers."""
    return Entry(tag=tag, type=SHORT, count=len(values), data=struct.pack(f"<{len(values)}H", *values))


def long(tag: int, *values: int) -> Entry:
    """Make an entry of unsigned 32-bit numbers."""
    return Entry(tag=tag, type=LONG, count=len(values), data=struct.pack(f"<{len(values)}I", *values))


def rational(tag: int, *values: float, signed: bool = False) -> Entry:
    """Make an entry of fractions with denominators up to 10000, the closest ones to *values* that 32 bits can hold."""
    most = (1 << 31) - 1 if signed else (1 << 32) - 1
    least = -most if signed else 0
    numbers = []
    for value in values:
        fraction = Fraction(min(max(float(value), least), most))
        closest = fraction.limit_denominator(max(1, min(10_000, int(most // max(abs(fraction), Fraction(1))))))
        numbers += [closest.numerator, closest.denominator]
    data = struct.pack(f"<{len(numbers)}{'i' if signed else 'I'}", *numbers)
    return Entry(tag=tag, type=SRATIONAL if signed else RATIONAL, count=len(values), data=data)


def encode(root: Directory) -> bytes:
    """Serialise a TIFF file whose first and only top-level directory is *root*."""
    directories = tuple(_walk(root))
    offset = 8
    places = {}
    for directory in directories:
        places[id(directory)] = offset
        offset += len(_directory(directory, places, offset))
    contents, blocks = [], []
    for directory in directories:
        contents.append((directory, offset))
        for block in directory.data:
            blocks.append(block + b"\0" * (len(block) % 2))
            offset += len(blocks[-1])
    head = struct.pack("<2sHI", b"II", 42, 8)
    return b"".join([head, *(_directory(directory, places, start) for directory, start in contents), *blocks])


def _walk(directory: Directory) -> Iterator[Directory]:
    """Yield a directory and all below it, parents first."""
    yield directory
    for children in directory.children.values():
        for child in children:
            yield from _walk(child)


def _directory(directory: Directory, places: dict[int, int], data_offset: int) -> bytes:
    """Serialise one IFD and its values. Its length is the same whatever the offsets, even unknown ones."""
    entries = {entry.tag: entry for entry in directory.entries}
    for tag, children in directory.children.items():
        entries[tag] = long(tag, *(places.get(id(child), 0) for child in children))
    if directory.data:
        offsets = [data_offset]
        for block in directory.data:
            offsets.append(offsets[-1] + len(block) + len(block) % 2)
        entries[directory.data_tags[0]] = long(directory.data_tags[0], *offsets[:-1])
        entries[directory.data_tags[1]] = long(directory.data_tags[1], *map(len, directory.data))
    values_offset = places[id(directory)] + 2 + 12 * len(entries) + 4
    table, values = [struct.pack("<H", len(entries))], bytearray()
    for _, entry in sorted(entries.items()):
        inline = entry.data.ljust(4, b"\0")
        if len(inline) > 4:
            inline = struct.pack("<I", values_offset + len(values))
            values += entry.data + b"\0" * (len(entry.data) % 2)
        table.append(struct.pack("<HHI", entry.tag, entry.type, entry.count) + inline)
    return b"".join([*table, b"\0\0\0\0", values])
