"""Lossless JPEG (ITU-T T.81, process 14) as DNG readers expect it: tiles of 16-bit samples, predictor 1.

Predictor 1 because darktable's decoder knows no other. One Huffman table, fitted to the picture, is shared by all its
tiles, so that the code word of each of the 65536 possible differences can be looked up; packing the code words into
bytes is the part that numpy has to be tricked into (`_joined`, `_packed`). Nothing here holds Python's lock for long:
threads share the tiles.
"""

import heapq
import os
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np

PRECISION = 16
CATEGORIES = 17  # number of bits of a difference, 0 to 16
_SAMPLED_ROWS = 8  # every eighth row is enough to fit 17 frequencies
_WORD_BITS = 64


def encode_tiles(image: np.ndarray, *, components: int, tile_px: int = 512) -> list[bytes]:
    """Compress an image into square tiles, row by row; each item is one complete JPEG stream.

    *image* is (H, W) or (H, W, samples) uint16. Tiles reaching over its right or bottom edge are filled by repeating
    the last column or row. A sample is predicted from the one *components* places to its left: 2 for Bayer (the same
    colour), the number of samples per pixel otherwise. *tile_px* must be a multiple of 16 (TIFF 6.0 §15); larger tiles
    leave the processor's cache, smaller ones keep the threads waiting for Python's lock.
    """
    samples = image.shape[2] if image.ndim == 3 else 1
    lengths = code_lengths(_category_counts(image.reshape(len(image), -1)[::_SAMPLED_ROWS], components))
    table = _words(lengths)
    header = _header(lengths, tile_px, tile_px * samples // components, components)
    height, width = image.shape[:2]
    corners = [(top, left) for top in range(0, height, tile_px) for left in range(0, width, tile_px)]

    def stream(corner: tuple[int, int]) -> bytes:
        words = table.take(_differences(_tile(image, *corner, tile_px), components).astype(np.intp)).view(np.uint32)
        return b"".join((header, _packed(*_joined(words[::2], words[1::2])), b"\xff\xd9"))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return list(threads.map(stream, corners))


def _tile(image: np.ndarray, top: int, left: int, tile_px: int) -> np.ndarray:
    """Cut one tile, filled where it reaches over the edge: (tile_px, tile_px * samples)."""
    tile = image[top : top + tile_px, left : left + tile_px]
    missing = ((0, tile_px - tile.shape[0]), (0, tile_px - tile.shape[1])) + ((0, 0),) * (image.ndim - 2)
    return (np.pad(tile, missing, mode="edge") if np.any(missing) else tile).reshape(tile_px, -1)


def _differences(rows: np.ndarray, components: int) -> np.ndarray:
    """Subtract the prediction, modulo 2^16: left neighbour, in the first column the one above, at first half scale."""
    result = np.empty_like(rows)
    np.subtract(rows[:, components:], rows[:, :-components], out=result[:, components:])
    np.subtract(rows[1:, :components], rows[:-1, :components], out=result[1:, :components])
    np.subtract(rows[0, :components], np.uint16(1 << (PRECISION - 1)), out=result[0, :components])
    return result.ravel()


def _categories() -> np.ndarray:
    """Number of bits needed for the magnitude of each difference: (65536,) uint8, indexed modulo 2^16."""
    signed = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
    return np.frexp(np.abs(signed).astype(np.float64))[1].astype(np.uint8)


def _category_counts(rows: np.ndarray, components: int) -> np.ndarray:
    """Count how often each category occurs: (17,) int."""
    return np.bincount(_categories()[_differences(rows, components)], minlength=CATEGORIES)


def code_lengths(counts: np.ndarray) -> tuple[int, ...]:
    """Build Huffman code lengths for 17 categories, all of them usable, none longer than 16 bits.

    Frequencies are raised to at least 1/1024 of the total: a code of length n needs a Fibonacci-like ratio of
    frequencies, F(n+2) : 1, so none can exceed 14 bits. An extra symbol of no weight takes the code of ones only,
    which JPEG reserves; being the lightest it is among the longest.
    """
    floor = max(1, int(counts.sum()) >> 10)
    heap: list[tuple[int, int, tuple[int, ...]]] = [
        (max(int(count), floor), category, (category,)) for category, count in enumerate(counts)
    ]
    heap.append((0, CATEGORIES, (CATEGORIES,)))
    heapq.heapify(heap)
    lengths = [0] * (CATEGORIES + 1)
    while len(heap) > 1:
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        for category in a[2] + b[2]:
            lengths[category] += 1
        heapq.heappush(heap, (a[0] + b[0], min(a[1], b[1]), a[2] + b[2]))
    return tuple(lengths[:CATEGORIES])


def _by_length(lengths: tuple[int, ...]) -> list[int]:
    """List the categories in the order of their codes."""
    return sorted(range(CATEGORIES), key=lambda category: (lengths[category], category))


def _words(lengths: tuple[int, ...]) -> np.ndarray:
    """Tabulate, for each difference modulo 2^16, its code word and the word's bits: (65536,) uint64, bits << 32 | word.

    A code word is the category's Huffman code, then the difference's own bits: a negative one is written minus one,
    cut to the category's width; category 16 (only -32768) has no bits of its own (T.81 H.1.2.2). None is longer than
    14 + 15 bits.
    """
    prefixes = np.zeros(CATEGORIES, np.uint64)
    code = previous = 0
    for category in _by_length(lengths):
        code <<= lengths[category] - previous
        previous = lengths[category]
        prefixes[category] = code
        code += 1
    categories = _categories()
    extra = np.where(categories == 16, 0, categories).astype(np.uint64)
    difference = np.arange(1 << 16, dtype=np.uint64)
    own = (difference - (difference >> np.uint64(15))) & ((np.uint64(1) << extra) - np.uint64(1))
    sizes = np.array(lengths, np.uint64)[categories] + extra
    return sizes << np.uint64(32) | prefixes[categories] << extra | own


def _joined(codes: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join neighbouring code words as long as seven pairs in eight fit into 64 bits; pairs that do not stay apart."""
    while len(codes) > 1:
        if len(codes) % 2:
            codes, sizes = (np.append(values, values.dtype.type(0)) for values in (codes, sizes))
        pair_sizes = sizes[::2] + sizes[1::2]
        apart = np.flatnonzero(pair_sizes > _WORD_BITS) if pair_sizes.max() > _WORD_BITS else np.empty(0, int)
        if len(apart) * 8 > len(pair_sizes):
            break
        pairs = np.left_shift(codes[::2], sizes[1::2], dtype=np.uint64)
        pairs |= codes[1::2]
        if len(apart):
            pairs[apart], pair_sizes[apart] = codes[::2][apart], sizes[::2][apart]
            pairs = np.insert(pairs, apart + 1, codes[1::2][apart])
            pair_sizes = np.insert(pair_sizes, apart + 1, sizes[1::2][apart])
        codes, sizes = pairs, pair_sizes
    return codes, sizes


def _packed(codes: np.ndarray, sizes: np.ndarray) -> bytearray:
    """Write code words one after the other, most significant bit first, the last byte filled with ones.

    Each word's place is a running sum of *sizes* (bits, at most 64). In each 64-bit cell of the output at least one
    word starts; those that do, do not overlap, so that their sum, a difference of running sums modulo 2^64, is their
    union. Only the last of them can reach into the next cell.
    """
    ends = np.cumsum(sizes, dtype=np.uint32)
    starts = ends - sizes
    places = starts & 63
    aligned = np.left_shift(codes, _WORD_BITS - sizes, dtype=np.uint64)  # all is shifted out where sizes is 0
    last = np.flatnonzero((starts ^ ends) > 63)  # of each full cell
    sums = np.cumsum(np.right_shift(aligned, places, dtype=np.uint64))
    cells = np.append(sums[last], sums[-1])
    cells[1:] -= cells[:-1].copy()
    cells[1:] |= aligned[last] << (_WORD_BITS - places[last]).astype(np.uint64)
    bits = int(ends[-1])
    padding = -bits % 8
    data = bytearray(cells.byteswap().view(np.uint8)[: (bits + padding) // 8])
    data[-1] |= (1 << padding) - 1
    return data.replace(b"\xff", b"\xff\x00")


def _header(lengths: tuple[int, ...], rows: int, columns: int, components: int) -> bytes:
    """Write everything before the scan: SOI, DHT, SOF3 and SOS (T.81 B.2)."""
    order = _by_length(lengths)
    table = bytes([0, *(lengths.count(length) for length in range(1, 17)), *order])
    frame = struct.pack(">BHHB", PRECISION, rows, columns, components)
    frame += b"".join(bytes([i, 0x11, 0]) for i in range(components))
    scan = bytes([components, *(byte for i in range(components) for byte in (i, 0)), 1, 0, 0])
    segments = ((0xC4, table), (0xC3, frame), (0xDA, scan))
    return b"\xff\xd8" + b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
