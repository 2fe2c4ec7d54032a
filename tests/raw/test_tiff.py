"""TIFF directories: what is there is read in both byte orders, what is absurd is not there."""

import io
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd.output.tiffwrite import rational
from dustd.raw.tiff import (
    MAX_DIRECTORIES,
    MAX_ENTRIES,
    MAX_VALUE_BYTES,
    Entry,
    Source,
    clean,
    number,
    numbers,
    read_header,
    read_ifd,
    read_tree,
    text,
)


def source_of(data: bytes, **options) -> Source:
    return Source(io.BytesIO(data), **options)


def directory(order: str, at: int, entries: list[tuple[int, int, int, bytes]], following: int = 0) -> bytes:
    """Lay out one IFD at offset *at*, its larger values right behind it; values are in the file's byte order."""
    body, values = struct.pack(order + "H", len(entries)), b""
    after = at + 2 + 12 * len(entries) + 4
    for tag, kind, count, data in entries:
        slot = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", after + len(values))
        values += data if len(data) > 4 else b""
        body += struct.pack(order + "HHI", tag, kind, count) + slot
    return body + struct.pack(order + "I", following) + values


def tiff(order: str, entries: list[tuple[int, int, int, bytes]], following: int = 0) -> bytes:
    head = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    return head + directory(order, 8, entries, following)


@pytest.mark.parametrize("order", "<>")
def test_values_read_the_same_in_both_byte_orders(order):
    data = tiff(
        order,
        [
            (1, 3, 1, struct.pack(order + "H", 513)),
            (2, 4, 2, struct.pack(order + "2I", 70_000, 1)),
            (3, 5, 1, struct.pack(order + "2I", 28, 10)),
            (4, 10, 1, struct.pack(order + "2i", -1, 3)),
            (5, 12, 1, struct.pack(order + "d", 0.1)),
            (6, 2, 6, b"Canon\0"),
            (7, 8, 1, struct.pack(order + "h", -2)),
            (8, 7, 3, b"\x01\x02\x03"),
        ],
    )
    (ifd,) = read_tree(source_of(data))
    assert numbers(ifd[1]) == (513,)
    assert numbers(ifd[2]) == (70_000, 1)
    assert number(ifd[3]) == 2.8
    assert number(ifd[4]) == pytest.approx(-1 / 3)
    assert number(ifd[5]) == 0.1
    assert text(ifd[6]) == "Canon"
    assert number(ifd[7]) == -2
    assert ifd[8] == Entry(tag=8, type=7, count=3, data=b"\x01\x02\x03")
    assert ifd[2].data == struct.pack("<2I", 70_000, 1)


@pytest.mark.parametrize(
    ("magic", "little"),
    [(b"II*\0", True), (b"MM\0*", False), (b"IIRO", True), (b"IIRS", True), (b"MMOR", False), (b"IIU\0", True)],
)
def test_every_tiff_relative_has_a_header(magic, little):
    offset = struct.pack("<I" if little else ">I", 8)
    assert read_header(source_of(magic + offset), 0) == (little, 8)


def test_what_is_no_tiff_has_no_directories():
    assert read_tree(source_of(b"FUJIFILMCCD-RAW ")) == ()


def test_the_chain_and_subdirectories_are_followed_in_order():
    sub = tiff("<", [(254, 4, 1, b"\1\0\0\0"), (330, 4, 1, struct.pack("<I", 100))], following=200)
    data = bytearray(sub.ljust(300, b"\0"))
    data[100:] = directory("<", 100, [(256, 3, 1, b"\7\0")]).ljust(100, b"\0")
    data[200:] = directory("<", 200, [(256, 3, 1, b"\x08\0")])
    found = read_tree(source_of(bytes(data)))
    assert [number(ifd.get(256)) for ifd in found] == [None, 8, 7]


def test_loops_of_directories_end():
    itself = tiff("<", [(330, 13, 2, struct.pack("<2I", 8, 8))], following=8)
    assert len(read_tree(source_of(itself))) == 1


def test_at_most_so_many_directories_are_read():
    data = b"II*\0\x08\0\0\0" + b"".join(directory("<", 0, [(1, 3, 1, b"\0\0")], 8 + 18 * (i + 1)) for i in range(99))
    assert len(read_tree(source_of(data))) == MAX_DIRECTORIES


def test_an_absurd_number_of_entries_is_no_directory():
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", MAX_ENTRIES + 1) + b"\0" * 20_000
    assert len(read_tree(source_of(data))[0]) == 0


def test_a_cut_off_directory_keeps_its_whole_entries():
    whole = tiff("<", [(1, 3, 1, b"\1\0"), (2, 3, 1, b"\2\0"), (3, 3, 1, b"\3\0")])
    (ifd,) = read_tree(source_of(whole[:-10]))
    assert list(ifd) == [1, 2]


def test_a_value_beyond_the_end_or_of_unknown_type_is_absent():
    data = tiff("<", [(1, 2, 1 << 31, b"abcde"), (2, 99, 1, b"x"), (3, 2, 0, b""), (4, 3, 1, b"\5\0")])
    (ifd,) = read_tree(source_of(data))
    assert list(ifd) == [4]


def test_a_value_above_the_limit_is_located_but_not_read():
    data = tiff("<", [(1, 7, MAX_VALUE_BYTES + 1, b"\0" * (MAX_VALUE_BYTES + 1))])
    (ifd,) = read_tree(source_of(data))
    assert ifd.fields[1].size == MAX_VALUE_BYTES + 1
    assert ifd.get(1) is None


def test_a_source_reads_no_more_than_its_budget():
    source = source_of(b"\0" * 10_000, budget=5_000)
    got = sum(len(source.read(0, 1_000)) for _ in range(100))
    assert 0 < got <= 5_000
    assert source.left >= 0


def test_a_source_gives_nothing_outside_the_file():
    source = source_of(b"abc")
    assert source.read(-1, 2) == source.read(3, 1) == source.read(1 << 70, 1) == source.read(0, -1) == b""
    assert source.read(1, 10) == b"bc"


def test_a_rational_without_denominator_is_no_number():
    entry = Entry(tag=1, type=5, count=1, data=struct.pack("<2I", 5, 0))
    assert math.isnan(numbers(entry)[0])
    assert number(entry) is None


def test_text_stops_at_its_first_nul_and_holds_nothing_unprintable():
    raw = b" Nikon\x1b[31m\n\xe2\x80\xae  D70 \0 hidden"
    assert text(Entry(tag=1, type=2, count=len(raw), data=raw)) == "Nikon [31m D70"


def test_text_of_a_number_or_of_blanks_is_none():
    assert text(Entry(tag=1, type=3, count=1, data=b"AB")) is None
    assert text(Entry(tag=1, type=2, count=3, data=b"  \0")) is None
    assert text(None) is None


@given(st.binary(max_size=500), st.integers(1, 100))
def test_cleaned_text_is_printable_and_capped(raw, limit):
    cleaned = clean(raw, limit)
    assert cleaned is None or (cleaned.isprintable() and 0 < len(cleaned) <= limit)


@given(st.binary(max_size=400), st.integers(-20, 500), st.integers(0, 500), st.booleans())
def test_any_bytes_read_as_a_directory_without_an_error(data, base, offset, little_endian):
    ifd = read_ifd(source_of(data), base=base, offset=offset, little_endian=little_endian)
    for tag in ifd:
        entry = ifd.get(tag)
        assert entry is None or len(entry.data) == ifd.fields[tag].size
        numbers(entry), text(entry)


@given(st.sampled_from([b"II*\0", b"MM\0*"]), st.binary(max_size=400))
def test_any_bytes_read_as_a_tree_without_an_error(magic, data):
    assert len(read_tree(source_of(magic + data))) <= MAX_DIRECTORIES


@given(value=st.floats(allow_nan=False), signed=st.booleans())
def test_any_number_can_be_written_as_a_fraction_as_near_as_32_bits_allow(value, signed):
    written = number(rational(0x829A, value, signed=signed))
    most = 2**31 - 1 if signed else 2**32 - 1
    wanted = min(max(value, -most if signed else 0), most)
    assert written == pytest.approx(wanted, rel=1e-4, abs=1e-4)
