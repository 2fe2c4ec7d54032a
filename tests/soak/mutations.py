"""Ways to damage a RAW file: what a bad cable, a full card or a hostile sender makes of one. Pure functions of bytes.

Every mutation takes the file, a random generator and another file, and gives new bytes; most damage is done where the
metadata lie, for that is what decides how the rest is read.
"""

import random
import struct
from collections.abc import Callable

HEAD_BYTES = 16 << 10  # metadata mostly lie here
MOST_BYTES = 1 << 20
EXTREME_16 = (0, 1, 2, 0x7F, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
EXTREME_32 = (0, 1, 2, 0xFFFF, 0x10000, 1 << 24, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF)
POINTERS = (0x014A, 0x8769, 0x8825, 0xA005)  # SubIFDs, Exif, GPS, Interoperability

Mutation = Callable[[bytearray, random.Random, bytes], bytearray]


def mutate(data: bytes, rng: random.Random, other: bytes) -> tuple[str, bytes]:
    """Damage *data* in one to three ways; *other* lends parts. Gives the names of the ways and the new file."""
    damaged, ways = bytearray(data), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        way = rng.choice(MUTATIONS)
        ways.append(way.__name__)
        damaged = way(damaged, rng, other)[:MOST_BYTES]
    return "+".join(ways), bytes(damaged)


def bit_flips(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """Flip a few bits."""
    for _ in range(rng.choice((1, 2, 4, 16))):
        if data:
            data[_place(data, rng)] ^= 1 << rng.randrange(8)
    return data


def havoc(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """Overwrite a run with noise, zeros or ones."""
    at, length = _place(data, rng), rng.choice((1, 4, 12, 64, 512))
    run = rng.choice((rng.randbytes(length), bytes(length), b"\xff" * length))
    data[at : at + length] = run[: max(0, len(data) - at)]
    return data


def extreme_number(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """Set an aligned number somewhere in the head to an extreme value."""
    at = _place(data, rng) & ~1
    order = rng.choice("<>")
    if rng.random() < 0.5:
        return _written(data, at, struct.pack(order + "H", rng.choice(EXTREME_16)))
    return _written(data, at, struct.pack(order + "I", rng.choice((*EXTREME_32, len(data), max(0, len(data) - 1)))))


def extreme_entry(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """Give a directory entry an extreme type, count or value, or another tag."""
    places = entries(data)
    if not places:
        return extreme_number(data, rng, b"")
    order, at = rng.choice(places)
    part = rng.choice(("tag", "type", "count", "value", "value", "value"))
    if part == "tag":
        return _written(data, at, struct.pack(order + "H", rng.choice((*POINTERS, 0x927C, 273, 279, 324, 325, 50740))))
    if part == "type":
        return _written(data, at + 2, struct.pack(order + "H", rng.choice((0, 1, 2, 3, 4, 5, 7, 12, 13, 14, 0xFFFF))))
    extreme = rng.choice((*EXTREME_32, len(data), rng.randrange(max(1, len(data)))))
    return _written(data, at + (4 if part == "count" else 8), struct.pack(order + "I", extreme))


def picture_size(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """Claim another width, height, depth, compression or tile size."""
    wanted = (256, 257, 258, 259, 277, 278, 322, 323, 50829, 50713, 50714, 50717, 33421)
    places = [(order, at) for order, at in entries(data) if struct.unpack_from(order + "H", data, at)[0] in wanted]
    if not places:
        return extreme_number(data, rng, b"")
    order, at = rng.choice(places)
    value = rng.choice((0, 1, 7, 15, 17, 4095, 20_000, 65_535, 100_000, 1 << 20, 1 << 30, 0xFFFFFFFF))
    short = struct.unpack_from(order + "H", data, at + 2)[0] == 3
    packed = struct.pack(order + "H", value & 0xFFFF) if short else struct.pack(order + "I", value)
    return _written(data, at + 8, packed)


def loop(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """Make a pointer, or the end of a directory, point back at a directory or into the middle of one."""
    places = entries(data)
    if not places:
        return havoc(data, rng, b"")
    order, at = rng.choice(places)
    target = max(0, rng.choice(places)[1] - rng.choice((0, 1, 2, 2, 2, 14)))
    if rng.random() < 0.5:
        head = struct.pack(order + "HHI", rng.choice(POINTERS), 4, rng.choice((1, 1, 4, 0xFFFF)))
        return _written(data, at, head + struct.pack(order + "I", target))
    return _written(data, at + 12, struct.pack(order + "I", target))


def truncation(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """Cut the file short."""
    return data[: rng.randrange(len(data) + 1)] if rng.random() < 0.7 else data[: rng.randrange(33)]


def splice(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    """Go on with another file from some place on."""
    at = _place(data, rng)
    start = at if rng.random() < 0.5 else rng.randrange(len(other) + 1)
    return data[:at] + other[start:]


def shift(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    """Take a run out, or put one in, so that all offsets behind it are wrong."""
    at, length = _place(data, rng), rng.choice((1, 2, 12, 64, 700))
    if rng.random() < 0.5:
        del data[at : at + length]
        return data
    return data[:at] + other[:length] + data[at:]


def lost_tail(data: bytearray, rng: random.Random, _: bytes) -> bytearray:
    """Zeros from some place on, at full length: what a crash leaves of a file that was being written."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes(len(data) - at)


MUTATIONS: tuple[Mutation, ...] = (
    bit_flips,
    bit_flips,
    havoc,
    extreme_number,
    extreme_entry,
    extreme_entry,
    picture_size,
    loop,
    truncation,
    splice,
    shift,
    lost_tail,
)


def entries(data: bytes | bytearray) -> list[tuple[str, int]]:
    """Find the 12-byte entries of a TIFF's directories and those they point at: (byte order, position) of each."""
    if data[:2] not in (b"II", b"MM") or len(data) < 8:
        return []
    order = "<" if data[:2] == b"II" else ">"
    waiting, seen, found = [struct.unpack_from(order + "I", data, 4)[0]], set(), []
    while waiting and len(seen) < 32:
        at = waiting.pop()
        if at in seen or at + 2 > len(data):
            continue
        seen.add(at)
        count = struct.unpack_from(order + "H", data, at)[0]
        for entry in range(at + 2, min(at + 2 + 12 * min(count, 200), len(data) - 15), 12):
            found.append((order, entry))
            tag, _, _, value = struct.unpack_from(order + "HHII", data, entry)
            if tag in POINTERS:
                waiting.append(value)
                waiting += struct.unpack_from(order + "2I", data, value) if value + 8 <= len(data) else ()
    return found


def _place(data: bytes | bytearray, rng: random.Random) -> int:
    """Choose a place: mostly in the head, now and then anywhere."""
    end = min(len(data), rng.choice((64, 512, HEAD_BYTES, HEAD_BYTES, MOST_BYTES)))
    return rng.randrange(end) if end else 0


def _written(data: bytearray, at: int, new: bytes) -> bytearray:
    data[at : at + len(new)] = new[: max(0, len(data) - at)]
    return data
