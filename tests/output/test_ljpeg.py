import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.output.ljpeg import code_lengths, encode_tiles


def decode(tiles, image, components, tile_px):
    """Put the tiles together again with an independent decoder, and cut away the filling."""
    height, width = image.shape[:2]
    across = -(-width // tile_px)
    rows = []
    for start in range(0, len(tiles), across):
        decoded = [imagecodecs.jpegsof3_decode(tile) for tile in tiles[start : start + across]]
        rows.append(np.concatenate([tile.reshape(tile_px, tile_px, *image.shape[2:]) for tile in decoded], axis=1))
    return np.concatenate(rows)[:height, :width]


def bits(value, length):
    return format(value, f"0{length}b") if length else ""


def reference(samples, lengths, components):
    """T.81's process 14 with predictor 1, sample by sample: the entropy-coded bytes of (h, w * components) samples."""
    codes, code, previous = {}, 0, 0
    for length, category in sorted((length, category) for category, length in enumerate(lengths)):
        code <<= length - previous
        codes[category], code, previous = bits(code, length), code + 1, length
    stream = ""
    for y, x in np.ndindex(samples.shape):
        left, above = (y, x - components), (y - 1, x)
        predicted = samples[left] if x >= components else samples[above] if y else 1 << 15
        difference = (int(samples[y, x]) - int(predicted) + 32767) % 65536 - 32767  # -32767 … 32768
        category = abs(difference).bit_length()
        own = difference if difference > 0 else difference + (1 << category) - 1
        stream += codes[category] + (bits(own, category) if category < 16 or difference != 32768 else "")
    stream += "1" * (-len(stream) % 8)
    return int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")


@settings(max_examples=30, deadline=None)
@given(
    components=st.sampled_from([1, 2]),
    spread=st.sampled_from([0, 1, 30, 3000, 60000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_tiles_are_what_a_plain_encoder_makes_bit_by_bit(components, spread, seed):
    image = noise((16, 32), seed, spread)
    for left, tile in zip((0, 16), encode_tiles(image, components=components, tile_px=16), strict=True):
        table = tile.index(b"\xff\xc4") + 5
        counts, order = tile[table : table + 16], tile[table + 16 : table + 33]
        by_code = [length for length, count in enumerate(counts, start=1) for _ in range(count)]
        lengths = [by_code[order.index(category)] for category in range(17)]
        scan = tile.index(b"\xff\xda")
        body = tile[scan + 2 + int.from_bytes(tile[scan + 2 : scan + 4], "big") : -2]
        assert body == reference(image[:, left : left + 16], lengths, components)


def noise(shape, seed, spread):
    values = np.random.default_rng(seed).normal(3000, spread, shape)
    return (values.astype(np.int64) % 65536).astype(np.uint16)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    components=st.sampled_from([1, 2, 3]),
    tile_px=st.sampled_from([16, 32, 64]),
    spread=st.sampled_from([0, 1, 30, 3000, 60000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_sample_comes_back(height, width, components, tile_px, spread, seed):
    image = noise((height, width, 3) if components == 3 else (height, width), seed, spread)
    tiles = encode_tiles(image, components=components, tile_px=tile_px)
    assert np.array_equal(decode(tiles, image, components, tile_px), image)


@pytest.mark.parametrize("components", [1, 2])
def test_the_largest_possible_steps_come_back(components):
    image = np.zeros((32, 32), np.uint16)
    image[:, ::3] = 65535
    image[::5] = 32768
    tiles = encode_tiles(image, components=components, tile_px=32)
    assert np.array_equal(decode(tiles, image, components, 32), image)


def test_two_decoders_agree():
    image = noise((64, 64), 1, 500)
    (tile,) = encode_tiles(image, components=2, tile_px=64)
    assert np.array_equal(imagecodecs.ljpeg_decode(tile).reshape(64, 64), image)


def test_fourteen_bit_noise_shrinks_to_less_than_two_thirds():
    image = noise((512, 512), 2, 100)
    assert sum(map(len, encode_tiles(image, components=2))) < image.nbytes * 2 / 3


@given(counts=st.lists(st.integers(0, 2**40), min_size=17, max_size=17))
def test_huffman_codes_fit_in_sixteen_bits_and_leave_the_code_of_ones_free(counts):
    lengths = code_lengths(np.array(counts))
    assert all(1 <= length <= 16 for length in lengths)
    assert sum(2.0**-length for length in lengths) < 1
