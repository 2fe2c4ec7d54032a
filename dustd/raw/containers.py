"""Finds the metadata inside every kind of RAW file: where its image, Exif and GPS directories and maker note lie.

Structures by maker: shared facts `file-formats.md` §4 and the formats' public descriptions. What a tag means is
none of this module's business, and nothing here raises on malformed content: a part that cannot be found is absent.
"""

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from dustd.raw.plainfacts import SERIAL, exif_of_ciff, exif_of_properties, image_of_ciff
from dustd.raw.tiff import (
    MAX_VALUE_BYTES,
    Entry,
    Ifd,
    Source,
    clean,
    read_header,
    read_ifd,
    read_tree,
    subdirectory_offsets,
    text_entry,
)

MAKE, MODEL, DATE_TIME_ORIGINAL = 0x010F, 0x0110, 0x9003
_EXIF, _GPS, _MAKER_NOTE, _DNG_PRIVATE, _RW2_JPEG = 0x8769, 0x8825, 0x927C, 0xC634, 0x002E
_CANON_UUID = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
_XMP, _XMP_UUID = 0x02BC, bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
_MAX_PARTS = 256  # boxes, segments, sections or heap records looked at per level

Tags = Mapping[int, Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Where a maker note lies: *position* and *size* in *source*; its offsets count from *base* unless it has its own.

    *base* may be negative, for a note that was moved from another file.
    """

    source: Source
    position: int
    size: int
    base: int
    little_endian: bool


@dataclass(frozen=True, slots=True)
class Packet:
    """Where an XMP packet lies, which is long and seldom wanted."""

    source: Source
    position: int
    size: int

    def read(self) -> bytes:
        """Return the packet, without NULs after it."""
        return self.source.read(self.position, min(self.size, MAX_VALUE_BYTES)).rstrip(b"\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The metadata of one file: image directories (IFD0 first), Exif, GPS, maker note, XMP packet.

    *serial* is (number, name of its place) in formats that keep it outside of all these.
    """

    images: tuple[Tags, ...] = ()
    exif: Tags = field(default_factory=dict)
    gps: Tags = field(default_factory=dict)
    note: Note | None = None
    xmp: Packet | None = None
    serial: tuple[str, str] | None = None


def read_contents(source: Source) -> Contents:
    """Find the metadata of an open RAW file; empty contents if its kind is unknown."""
    head = source.read(0, 16)
    if head[4:12] == b"ftypcrx ":
        return _cr3(source)
    if head.startswith(b"FUJIFILMCCD-RAW"):
        return _jpeg(source, _u32(source, 84, ">"))
    if head.startswith(b"\xff\xd8"):
        return _jpeg(source, 0)
    if head[:4] in (b"\0MRM", b"\0MRI"):
        return _mrw(source, "<" if head[3:4] == b"I" else ">")
    if head[6:14] == b"HEAPCCDR":
        return _crw(source, "<" if head[:2] == b"II" else ">")
    if head.startswith(b"FOVb"):
        return _x3f(source)
    return _tiff(source, 0)


def _tiff(source: Source, base: int) -> Contents:
    """TIFF and its relatives: DNG, CR2, NEF, ARW, PEF, ORF, RW2, KDC, IIQ …"""
    images = read_tree(source, base)
    exif, gps = _pointed_at(images, _EXIF), _pointed_at(images, _GPS)
    xmp = images[0].fields.get(_XMP) if images else None
    contents = Contents(
        images=images,
        exif=exif,
        gps=gps,
        note=_note(exif) or _private_note(images),
        xmp=Packet(source, xmp.position, xmp.size) if xmp else None,
    )
    jpeg = images[0].fields.get(_RW2_JPEG) if images and source.read(base, 4) == b"IIU\0" else None
    if jpeg is None or source.read(jpeg.position, 2) != b"\xff\xd8":
        return contents
    inner = _jpeg(source, jpeg.position)  # Panasonic keeps Exif and maker note in the preview
    packet = contents.xmp or inner.xmp
    return replace(inner, images=images + inner.images, exif=inner.exif or exif, gps=inner.gps or gps, xmp=packet)


def _pointed_at(images: tuple[Ifd, ...], tag: int) -> Ifd | dict[int, Entry]:
    """Return the directory that *tag* of the first image having it points at."""
    for image in images:
        for offset in subdirectory_offsets(image, tag):
            return read_ifd(image.source, base=image.base, offset=offset, little_endian=image.little_endian)
    return {}


def _note(exif: Ifd | dict[int, Entry]) -> Note | None:
    if not isinstance(exif, Ifd) or (place := exif.fields.get(_MAKER_NOTE)) is None:
        return None
    return Note(
        source=exif.source,
        position=place.position,
        size=place.size,
        base=exif.base,
        little_endian=exif.little_endian,
    )


def _private_note(images: tuple[Ifd, ...]) -> Note | None:
    """Find the maker note in DNGPrivateData: Adobe's "MakN" block, or a Pentax note as it is."""
    entry = images[0].get(_DNG_PRIVATE) if images else None
    data = entry.data if entry else b""
    blob = Source(io.BytesIO(data))
    if data.startswith(b"PENTAX \0"):
        return Note(source=blob, position=0, size=len(data), base=0, little_endian=data[8:10] == b"II")
    if not data.startswith(b"Adobe\0"):
        return None
    at = 6
    for _ in range(_MAX_PARTS):
        key, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        body = at + 8
        if key == b"MakN" and size > 6:
            offset = int.from_bytes(data[body + 2 : body + 6], "big")
            start, size = body + 6, min(size - 6, len(data) - body - 6)
            order = data[body : body + 2] == b"II"
            return Note(source=blob, position=start, size=size, base=start - offset, little_endian=order)
        at = body + size + size % 2
    return None


def _jpeg(source: Source, start: int) -> Contents:
    """Read the Exif and XMP segments of the JPEG at *start*."""
    contents, xmp = Contents(), None
    at = start + 2
    for _ in range(_MAX_PARTS):
        head = source.read(at, 4 + len(_XMP_SEGMENT))
        if len(head) < 10 or head[0] != 0xFF or head[1] in (0xD9, 0xDA):
            break
        end = at + 2 + int.from_bytes(head[2:4], "big")
        if head[1] == 0xE1 and head[4:10] == b"Exif\0\0" and not contents.images:
            contents = _tiff(source, at + 10)
        elif head[1] == 0xE1 and head[4:] == _XMP_SEGMENT:
            xmp = Packet(source, at + len(head), end - at - len(head))
        at = end
    return replace(contents, xmp=xmp or contents.xmp)


def _cr3(source: Source) -> Contents:
    """Canon CR3: four TIFF structures in moov/uuid: CMT1 IFD0, CMT2 Exif, CMT3 maker note, CMT4 GPS; XMP in a uuid."""
    boxes = tuple(_boxes(source, (0, source.size)))
    packets = (
        Packet(source, start + 16, end - start - 16)
        for kind, (start, end) in boxes
        if kind == b"uuid" and source.read(start, 16) == _XMP_UUID
    )
    places = {
        kind: place
        for outer, moov in boxes
        if outer == b"moov"
        for inner, uuid in _boxes(source, moov)
        if inner == b"uuid" and source.read(uuid[0], 16) == _CANON_UUID
        for kind, place in _boxes(source, (uuid[0] + 16, uuid[1]))
    }
    trees = {kind: read_tree(source, start) for kind, (start, _) in places.items() if kind.startswith(b"CMT")}
    exif, gps = trees.get(b"CMT2", ()), trees.get(b"CMT4", ())
    note = None
    if b"CMT3" in places and (header := read_header(source, places[b"CMT3"][0])):
        start, end = places[b"CMT3"]
        note = Note(source=source, position=start + 8, size=end - start - 8, base=start, little_endian=header[0])
    images = trees.get(b"CMT1", ())
    return Contents(
        images=images,
        exif=exif[0] if exif else {},
        gps=gps[0] if gps else {},
        note=note,
        xmp=next(packets, None),
    )


def _boxes(source: Source, place: tuple[int, int]) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield kind and (start, end) of the content of each ISO BMFF box within *place*."""
    at, end = place
    for _ in range(_MAX_PARTS):
        head = source.read(at, 16) if at < end else b""
        if len(head) < 8:
            return
        size, start = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:  # the size is in the following 8 bytes
            size, start = int.from_bytes(head[8:], "big"), at + 16
        stop = at + size if size else end  # 0: to the end
        if stop < start:
            return
        yield head[4:8], (start, min(stop, end))
        at = stop


def _mrw(source: Source, order: str) -> Contents:
    """Minolta MRW: a row of blocks, of which TTW is a TIFF structure."""
    at, end = 8, 8 + _u32(source, 4, order)
    for _ in range(_MAX_PARTS):
        head = source.read(at, 8) if at < end else b""
        if len(head) < 8:
            break
        if head[:4] == b"\0TTW":
            return _tiff(source, at + 8)
        at += 8 + struct.unpack(order + "I", head[4:])[0]
    return Contents()


def _crw(source: Source, order: str) -> Contents:
    """Canon CRW (CIFF): nested heaps of records."""
    records = dict(_ciff(source, order, (_u32(source, 2, order), source.size)))
    serial = int.from_bytes(records.get(SERIAL, b"")[:4], "little" if order == "<" else "big")
    return Contents(
        images=(image_of_ciff(records, order),),
        exif=exif_of_ciff(records, order),
        serial=(str(serial), "Canon 0x180b") if serial else None,
    )


def _ciff(source: Source, order: str, place: tuple[int, int]) -> Iterator[tuple[int, bytes]]:
    """Yield (tag, value) of the records of a CIFF heap and the heaps in it; values up to 256 bytes."""
    heaps, looked_at = [place], 0
    while heaps and looked_at < _MAX_PARTS:
        start, end = heaps.pop()
        directory = start + _u32(source, end - 4, order)
        count = int.from_bytes(source.read(directory, 2), "little" if order == "<" else "big")
        block = source.read(directory + 2, 10 * min(count, _MAX_PARTS))
        looked_at += 1 + len(block) // 10
        for at in range(0, len(block) - 9, 10):
            tag, size, offset = struct.unpack_from(order + "HII", block, at)
            if tag & 0x4000:  # the value is in the record itself
                yield tag & 0x3FFF, block[at + 2 : at + 10]
            elif tag & 0x3800 in (0x2800, 0x3000):
                heaps.append((start + offset, start + offset + size))
            else:
                yield tag & 0x3FFF, source.read(start + offset, min(size, 256))


def _x3f(source: Source) -> Contents:
    """Sigma X3F: the Exif of a JPEG where there is one, the property list of the first bodies otherwise."""
    directory = _u32(source, source.size - 4, "<")
    head = source.read(directory, 12)
    if len(head) < 12 or not head.startswith(b"SECd"):
        return Contents()
    block = source.read(directory + 12, 12 * min(struct.unpack_from("<I", head, 8)[0], _MAX_PARTS))
    sections = [struct.unpack_from("<II4s", block, at) for at in range(0, len(block) - 11, 12)]
    for start, _, kind in sections:
        if kind == b"IMA2" and source.read(start + 28, 2) == b"\xff\xd8":
            contents = _jpeg(source, start + 28)
            if contents.images:
                return contents
    for start, size, kind in sections:
        if kind == b"PROP":
            return _properties(source.read(start, min(size, MAX_VALUE_BYTES)))
    return Contents()


def _properties(section: bytes) -> Contents:
    """Read the X3F property list: (name, value) offsets in 2-byte characters, then NUL-ended UTF-16 texts."""
    if len(section) < 24:
        return Contents()
    count = min(struct.unpack_from("<I", section, 8)[0], _MAX_PARTS, (len(section) - 24) // 8)
    pool = section[24 + 8 * struct.unpack_from("<I", section, 8)[0] :].decode("utf-16-le", "replace")
    found = {}
    for at in range(24, 24 + 8 * count, 8):
        name, value = (pool[i : i + 200].split("\0")[0] for i in struct.unpack_from("<II", section, at))
        found[name] = clean(value.encode())
    serial = found.get("CAMSERIAL")
    return Contents(
        images=(_entries({MAKE: found.get("CAMMANUF"), MODEL: found.get("CAMMODEL")}),),
        exif=exif_of_properties(found),
        serial=(serial, "Sigma CAMSERIAL") if serial else None,
    )


def _entries(texts: Mapping[int, str | None]) -> dict[int, Entry]:
    return {tag: text_entry(tag, value) for tag, value in texts.items() if value}


def _u32(source: Source, position: int, order: str) -> int:
    """Read an unsigned 32-bit number; 0 where the file has none."""
    data = source.read(position, 4)
    return struct.unpack(order + "I", data)[0] if len(data) == 4 else 0
