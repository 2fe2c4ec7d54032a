import dataclasses
import io
import os
import shutil
import struct
import subprocess

import cv2
import numpy as np
import pytest
import rawpy
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.errors import FrameError
from dustd.output.dng import encode_dng, left_out
from dustd.output.tiffwrite import long, rational, raw_bytes, short
from dustd.raw.copied_tags import MakerNote, SourceMetadata, read_source_metadata
from dustd.raw.frame import Camera, Frame
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera
from tests.programs import installed

NOTHING = SourceMetadata()
D65_MATRIX = np.array([[0.7034, -0.0804, -0.1014], [-0.442, 1.2564, 0.2058], [-0.0851, 0.1994, 0.5758]])
XTRANS = ["110112", "112110", "201021", "112110", "110112", "021201"]
PATTERNS = {
    "bayer": ((0, 1), (1, 2)),
    "xtrans": tuple(tuple(map(int, row)) for row in XTRANS),
    "mono": ((1,),),
    "linear": ((1,),),
}
LIBRAW_FLIPS = {1: 0, 3: 3, 6: 6, 8: 5}


def synthetic(kind, *, height=400, width=600, visible=(12, 20, 380, 560), seed=0, **changes):
    """A soft checkerboard seen by a sensor with white balance 2, 1, 1.5 and some noise."""
    pattern, (top, left, _, _) = np.array(changes.get("cfa", PATTERNS[kind])), visible
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([0.3 + 0.3 * x / width, 0.3 + 0.3 * y / height, 0.4 + 0.2 * ((x // 40 + y // 40) % 2)], axis=-1)
    light = rgb / (2.0, 1.0, 1.5)
    if kind != "linear":
        colour = pattern[(y - top) % len(pattern), (x - left) % len(pattern[0])]
        light = np.take_along_axis(light, colour[..., None], axis=2)[..., 0]
    noise = np.random.default_rng(seed).normal(0, 20, light.shape)
    values = {
        "raw": (512 + light * (15000 - 512) + noise).astype(np.uint16),
        "visible": visible,
        "kind": kind,
        "cfa": PATTERNS[kind],
        "black": np.full(3 if kind == "linear" else pattern.shape, 512, np.float32),
        "white": 15000,
        "wb": (2.0, 1.0, 1.5),
        "xyz_to_camera": None if kind == "mono" else D65_MATRIX,
        "camera": Camera(make="Canon", model="Canon EOS 6D", serial="033024001432", lens="EF50mm", f_number=16.0),
    }
    return Frame(**(values | changes))


def small(kind="bayer", **changes):
    return synthetic(kind, height=64, width=80, visible=(0, 0, 64, 80), **changes)


def dng_of(frame, metadata=NOTHING, raw=None):
    preview = np.full((frame.height // 2, frame.width // 2, 3), (200, 100, 50), np.uint8)
    raw = frame.raw if raw is None else raw
    return encode_dng(frame, raw, metadata, preview_rgb=preview, original_name="IMG_0001.CR2")


def opened(data):
    return rawpy.imread(io.BytesIO(data))


def samples_of(raw):
    return raw.raw_image[..., :3] if raw.raw_image.ndim == 3 else raw.raw_image


def pattern_of(raw, corner, period):
    """The colours from a corner on, in whole-sensor places; rawpy's raw_pattern is wrong for X-Trans with borders."""
    colours = [[raw.raw_color(corner[0] + y, corner[1] + x) for x in range(period)] for y in range(period)]
    return tuple(tuple(1 if colour == 3 else colour for colour in row) for row in colours)


def ifds(data):
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        first = tiff.pages.first
        return [first.tags, *(page.tags for page in first.pages)]


# ---- the samples ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bayer", "xtrans", "mono"])
def test_every_sample_survives_borders_included(kind):
    frame = synthetic(kind)
    with opened(dng_of(frame)) as raw:
        assert np.array_equal(raw.raw_image, frame.raw)
        assert np.array_equal(raw.raw_image_visible, frame.mosaic)
        assert raw.sizes[4:6] + raw.sizes[2:4] == (12, 20, 380, 560)


def test_a_demosaiced_frame_is_written_without_its_border():
    frame = synthetic("linear")
    with opened(dng_of(frame)) as raw:
        assert np.array_equal(samples_of(raw), frame.mosaic)


def test_the_given_samples_are_written_not_the_sources():
    frame = small()
    cleaned = frame.raw + np.uint16(7)
    with opened(dng_of(frame, raw=cleaned)) as raw:
        assert np.array_equal(raw.raw_image, cleaned)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), bits=st.integers(1, 16), top=st.integers(0, 9), left=st.integers(0, 9))
def test_noise_of_any_depth_survives_behind_any_border(seed, bits, top, left):
    noise = np.random.default_rng(seed).integers(0, 1 << bits, (64, 80), dtype=np.uint16)
    frame = synthetic("bayer", height=64, width=80, visible=(top, left, 50, 60), raw=noise)
    with opened(dng_of(frame)) as raw:
        assert np.array_equal(raw.raw_image, noise)
        assert pattern_of(raw, frame.visible[:2], 2) == frame.cfa


# ---- what describes them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [32, 512, 528, 1008, 1024, 1040])
@pytest.mark.parametrize("kind", ["bayer", "mono"])
def test_libraw_reads_frames_of_every_width_back(kind, width):
    frame = synthetic(kind, height=64, width=width, visible=(0, 0, 64, width))
    with opened(dng_of(frame)) as raw:
        assert np.array_equal(samples_of(raw), frame.raw)


@pytest.mark.parametrize("kind", ["bayer", "xtrans", "linear"])
def test_levels_white_balance_and_matrix_are_read_back(kind):
    with opened(dng_of(synthetic(kind))) as raw:
        assert raw.black_level_per_channel[:3] == [512, 512, 512]
        assert raw.white_level == 15000
        assert raw.camera_whitebalance[:3] == pytest.approx([2, 1, 1.5], abs=1e-3)
        assert raw.rgb_xyz_matrix[:3] == pytest.approx(D65_MATRIX, abs=1e-3)


@pytest.mark.parametrize("cfa", [((0, 1), (1, 2)), ((1, 0), (2, 1)), ((2, 1), (1, 0)), ((1, 2), (0, 1))])
@pytest.mark.parametrize("corner", [(0, 0), (3, 4), (4, 3), (5, 5)])
def test_every_bayer_phase_is_read_back_from_any_corner(cfa, corner):
    frame = synthetic("bayer", height=64, width=80, visible=(*corner, 50, 60), cfa=cfa)
    with opened(dng_of(frame)) as raw:
        assert pattern_of(raw, frame.visible[:2], 2) == cfa


def test_the_xtrans_pattern_is_read_back_from_any_corner():
    with opened(dng_of(synthetic("xtrans", visible=(7, 11, 380, 560)))) as raw:
        assert pattern_of(raw, (7, 11), 6) == PATTERNS["xtrans"]


@pytest.mark.parametrize("orientation", LIBRAW_FLIPS)
def test_orientation_is_read_back(orientation):
    frame = small()
    frame = dataclasses.replace(frame, camera=dataclasses.replace(frame.camera, orientation=orientation))
    with opened(dng_of(frame)) as raw:
        assert raw.sizes.flip == LIBRAW_FLIPS[orientation]


def test_black_levels_that_differ_by_place_are_read_back():
    black = np.array([[500, 510], [520, 530]], np.float32)
    with opened(dng_of(small(black=black))) as raw:
        assert raw.black_level_per_channel == [500, 510, 530, 520]  # red, green, blue, second green


def test_fractions_of_a_black_level_are_kept():
    black = np.full((2, 2), 512.25, np.float32)
    numerator, denominator = ifds(dng_of(small(black=black)))[1][50714].value
    assert numerator / denominator == 512.25


def test_the_camera_is_named_and_the_source_remembered():
    first = ifds(dng_of(small()))[0]
    assert (first[271].value, first[272].value, first[50708].value) == ("Canon", "Canon EOS 6D", "Canon EOS 6D")
    assert (first[50735].value, first[50827].value) == ("033024001432", "IMG_0001.CR2")
    assert bytes(first[50706].value) == b"\1\4\0\0"


def test_thumbnail_and_preview_show_the_picture():
    data = dng_of(synthetic("bayer"))
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        thumbnail = tiff.pages.first.asarray()
        preview = tiff.pages.first.pages[1]
        jpeg = data[preview.dataoffsets[0] :][: preview.databytecounts[0]]
    assert max(thumbnail.shape) == 256
    assert np.allclose(thumbnail, (200, 100, 50))
    assert np.allclose(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), (50, 100, 200), atol=3)


def test_the_makers_note_travels_in_the_private_data():
    metadata = SourceMetadata(maker_note=MakerNote(data=b"canon note", little_endian=True, offset=1234))
    first = ifds(dng_of(small(), metadata))[0]
    assert (
        bytes(first[50740].value)
        == b"Adobe\0MakN" + struct.pack(">I", 16) + b"II" + struct.pack(">I", 1234) + b"canon note"
    )
    assert first[50741].value == 1


@pytest.mark.parametrize(
    ("kind", "area", "kept"),
    [
        ("bayer", (0, 0, 64, 80), {51009, 51022}),
        ("bayer", (1, 0, 64, 80), {51009, 51022}),
        ("bayer", (0, 0, 65, 80), set()),
        ("linear", (0, 0, 64, 80), {51022}),
        ("linear", (1, 0, 64, 80), set()),
    ],
)
def test_opcodes_of_a_source_dng_are_kept_where_they_still_fit_and_it_is_said_where_not(kind, area, kept):
    none_at_all, frame = bytes(4), small(kind)
    source = SourceMetadata(raw=(long(50829, *area), raw_bytes(51009, none_at_all), raw_bytes(51022, none_at_all)))
    tags = ifds(dng_of(frame, source))[1]
    assert {tag for tag in (51009, 51022) if tag in tags} == kept
    names = {51009: "OpcodeList2", 51022: "OpcodeList3"}
    told = {words.partition(":")[0] for words in left_out(frame, source)}
    assert told == {names[tag] for tag in {51009, 51022} - kept}


@pytest.mark.parametrize("kind", ["bayer", "xtrans"])
@pytest.mark.parametrize("corner", [(5, 7), (4, 7), (5, 6), (3, 0)])
def test_an_active_area_that_begins_anywhere_is_kept_with_all_that_counts_from_it(tmp_path, kind, corner):
    top, left = corner
    source, copy = tmp_path / "source.dng", tmp_path / "copy.dng"
    size = (400 - top, 600 - left)
    first = synthetic(
        kind,
        visible=(top, left, *size),
        black=np.arange(500, 500 + len(PATTERNS[kind]) ** 2).reshape(len(PATTERNS[kind]), -1).astype(np.float32),
    )
    words = SourceMetadata(
        raw=(
            *(long(50719, 3, 5), long(50720, 501, 301), long(50830, 0, 0, max(top, 1), 600)),
            *(raw_bytes(51008, bytes(4)), raw_bytes(51022, bytes(4))),
        )
    )
    source.write_bytes(dng_of(first, words))
    with open_raw(source, read_camera(source)) as opened_source:
        frame = opened_source.frame
        assert kind == "xtrans" or frame.visible[:2] == (top + top % 2, left + left % 2)  # or this tests nothing
        metadata = read_source_metadata(source)
        copy.write_bytes(dng_of(frame, metadata))
        assert left_out(frame, metadata) == ()
    before, after = ifds(source.read_bytes())[1], ifds(copy.read_bytes())[1]
    for tag in (50829, 50719, 50720, 50830, 51008, 51022, 33421, 33422, 50713, 50714):
        assert after[tag].value == before[tag].value, tag
    with open_raw(copy, read_camera(copy)) as opened_copy:
        assert np.array_equal(opened_copy.frame.raw, first.raw)
        assert opened_copy.frame.cfa == frame.cfa and opened_copy.frame.visible == frame.visible
        assert np.array_equal(opened_copy.frame.black, frame.black)


def test_what_a_source_dng_says_of_levels_and_crop_is_kept_where_it_holds():
    crop, white = (long(50719, 8, 4), long(50720, 60, 50)), long(50717, 15000)
    levels = (short(50713, 1, 2), rational(50714, 512.25, 511.75), white)
    tags = ifds(dng_of(small(), SourceMetadata(raw=(*crop, *levels))))[1]
    assert (tags[50719].value, tags[50720].value) == ((8, 4), (60, 50))
    assert tags[50714].value[0] / tags[50714].value[1] == 512.25


def test_a_pattern_of_black_levels_is_kept_though_libraw_knows_one():
    levels = long(50714, *range(500, 536))
    source = SourceMetadata(raw=(short(50713, 6, 6), levels, long(50717, 15000)))
    written = ifds(dng_of(small("xtrans", black=np.full((6, 6), 500, np.float32)), source))[1]
    assert (written[50714].value, written[50713].value) == (tuple(range(500, 536)), (6, 6))


def test_the_sources_black_level_is_kept_where_masked_borders_say_otherwise():
    source = SourceMetadata(raw=(short(50713, 1, 1), long(50714, 512), long(50717, 15000)))
    written = ifds(dng_of(small(black=np.full((2, 2), 900, np.float32)), source))[1]
    assert written[50714].value == 512


def test_levels_of_another_scale_are_not_kept():
    levels = (rational(50714, 32.25), long(50717, 1023))
    tags = ifds(dng_of(small(), SourceMetadata(raw=levels)))[1]
    assert (tags[50714].value, tags[50717].value) == (512, 15000)


def test_the_part_that_the_camera_shows_is_the_default_crop():
    tags = ifds(dng_of(small(crop=(4, 8, 50, 60))))[1]
    assert (tags[50719].value, tags[50720].value) == ((8, 4), (60, 50))


def test_embedded_profile_ratings_and_captions_travel():
    profile = (raw_bytes(50936, b"Studio\0", type=2), raw_bytes(50982, bytes(100_000), type=7))
    metadata = SourceMetadata(ifd0=(short(18246, 4), *profile), xmp=b"<x:xmpmeta/>")
    first = ifds(dng_of(small(), metadata))[0]
    assert (first[18246].value, first[50936].value, bytes(first[700].value)) == (4, "Studio", b"<x:xmpmeta/>")
    assert first[50982].count == 100_000


@pytest.mark.parametrize(("theirs", "ours"), [(b"\1\1\0\0", b"\1\4\0\0"), (b"\1\7\0\0", b"\1\7\0\0")])
def test_the_version_is_1_4_or_the_sources_if_later(theirs, ours):
    metadata = SourceMetadata(ifd0=(raw_bytes(50706, theirs),))
    assert bytes(ifds(dng_of(small(), metadata))[0][50706].value) == ours


def test_a_source_without_white_balance_stays_without():
    frame = small(wb_is_known=False)
    assert 50728 not in ifds(dng_of(frame))[0]
    with opened(dng_of(frame)) as raw:
        assert raw.camera_whitebalance[0] == 0


def test_a_white_balance_given_as_coordinates_is_kept_alone():
    first = ifds(dng_of(small(), SourceMetadata(ifd0=(rational(50729, 0.3457, 0.3585),))))[0]
    assert 50728 not in first
    assert 50729 in first


# ---- refusals ------------------------------------------------------------------------------------------------------


def test_a_camera_without_colour_matrix_is_refused_with_a_remedy():
    with pytest.raises(FrameError, match="no colour matrix is known for Canon EOS 6D") as caught:
        dng_of(small(xyz_to_camera=None))
    assert "tiff" in caught.value.remedy


def test_the_sources_own_matrix_is_enough_and_is_kept():
    matrix = (rational(50721, *D65_MATRIX.ravel() / 2, signed=True), short(50778, 21))
    first = ifds(dng_of(small(xyz_to_camera=None), SourceMetadata(ifd0=matrix)))[0]
    assert np.array(first[50721].value).reshape(9, 2)[0] == pytest.approx([3517, 10000])
    assert 50722 not in first


def test_a_sensor_with_a_fourth_colour_is_refused():
    with pytest.raises(FrameError, match="other than red, green and blue"):
        dng_of(dataclasses.replace(small(), cfa=((0, 1), (3, 2))))


# ---- real files ----------------------------------------------------------------------------------------------------


def ours_of(path):
    with open_raw(path, read_camera(path)) as source:
        return source.frame, dng_of(source.frame, read_source_metadata(path))


@pytest.mark.parametrize(
    "name",
    [
        "gopro-fusion-front_GPFR7066.dng",
        "canon-eos-kiss-x4_magiclantern_colorchart.dng",
        "canon-eos-6d_lossy-linear.dng",
        "raspberrypi-imx296_image-0_a28192.dng",
    ],
)
def test_real_frames_survive_with_all_that_describes_them(shared_data, tmp_path, name):
    path, ours = shared_data / "raw" / name, tmp_path / "ours.dng"
    frame, data = ours_of(path)
    ours.write_bytes(data)
    with open_raw(ours, read_camera(ours)) as reopened:
        again = reopened.frame
    assert np.array_equal(again.raw, frame.raw)
    assert np.array_equal(again.black, frame.black)
    assert (again.visible, again.kind, again.cfa, again.white) == (frame.visible, frame.kind, frame.cfa, frame.white)
    assert again.wb == pytest.approx(frame.wb, abs=1e-3)
    assert again.camera.body_id == frame.camera.body_id
    assert again.camera.orientation == frame.camera.orientation
    assert again.camera.taken_at == frame.camera.taken_at


# ---- other programs ------------------------------------------------------------------------------------------------


def darktable(source, target, home):
    return ["darktable-cli", source, target, "--core", "--configdir", home / "dt", "--library", ":memory:"]


def rawtherapee(source, target, home):
    return ["rawtherapee-cli", "-Y", "-n", "-o", target, "-c", source]


def developed(program, source, tmp_path):
    command = program(source, source.with_suffix(f".{program.__name__}.png"), tmp_path)
    command[0] = installed(command[0])
    environment = os.environ | {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    return cv2.imread(str(source.with_suffix(f".{program.__name__}.png"))).astype(int)


def plain_dng(frame):
    """The same frame as another library writes it: uncompressed, one directory."""
    top, left, height, width = frame.visible
    pattern = np.array(frame.cfa, np.uint8)
    matrix = [int(n) for value in D65_MATRIX.ravel() for n in (round(value * 10000), 10000)]
    tags = [
        (271, 2, 0, "Canon", True),
        (272, 2, 0, "Canon EOS 6D", True),
        (33421, 3, 2, pattern.shape, True),
        (33422, 1, pattern.size, pattern.tobytes(), True),
        (50706, 1, 4, b"\1\4\0\0", True),
        (50708, 2, 0, "Canon EOS 6D", True),
        (50713, 3, 2, (1, 1), True),
        (50714, 4, 1, 512, True),
        (50717, 4, 1, 15000, True),
        (50719, 4, 2, (0, 0), True),
        (50720, 4, 2, (width, height), True),
        (50721, 10, 9, matrix, True),
        (50728, 5, 3, (1, 2, 1, 1, 2, 3), True),
        (50778, 3, 1, 21, True),
        (50829, 4, 4, (top, left, top + height, left + width), True),
    ]
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, frame.raw, photometric="cfa", extratags=tags, metadata=None)
    return buffer.getvalue()


@pytest.mark.parametrize("program", [darktable, rawtherapee])
@pytest.mark.parametrize("kind", ["bayer", "xtrans"])
def test_developers_show_the_picture_they_show_of_the_source(program, kind, tmp_path):
    frame = synthetic(kind)
    source, ours = tmp_path / "source.dng", tmp_path / "ours.dng"
    source.write_bytes(plain_dng(frame))
    ours.write_bytes(dng_of(frame))
    expected, shown = developed(program, source, tmp_path), developed(program, ours, tmp_path)
    assert expected.std() > 10
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() <= 1


@pytest.mark.parametrize("program", [darktable, rawtherapee])
def test_developers_show_a_real_frame_as_they_show_its_source(program, shared_data, tmp_path):
    source, ours = tmp_path / "source.dng", tmp_path / "ours.dng"
    shutil.copyfile(shared_data / "raw" / "raspberrypi-imx296_image-0_a28192.dng", source)
    ours.write_bytes(ours_of(source)[1])
    assert np.abs(developed(program, ours, tmp_path) - developed(program, source, tmp_path)).max() <= 1


@pytest.mark.parametrize("program", [darktable, rawtherapee])
@pytest.mark.parametrize("kind", ["mono", "linear"])
def test_developers_open_unmosaiced_frames_too(program, kind, tmp_path):
    ours = tmp_path / "ours.dng"
    ours.write_bytes(dng_of(synthetic(kind, black=np.zeros(3 if kind == "linear" else (1, 1), np.float32))))
    shown = developed(program, ours, tmp_path)
    assert shown.shape == (380, 560, 3)
    assert 60 < shown.mean() < 240


@pytest.mark.parametrize(
    "name",
    [
        "canon-eos-6d_lossy-linear.dng",
        "canon-eos-kiss-x4_magiclantern_colorchart.dng",
        "raspberrypi-imx296_image-0_a28192.dng",
        "apple-quicktake150_test150.qtk",
    ],
)
def test_exiftool_finds_nothing_that_the_source_has_not(shared_data, tmp_path, name):
    source, ours = shared_data / "raw" / name, tmp_path / "ours.dng"
    ours.write_bytes(ours_of(source)[1])

    def complaints(path):
        command = [installed("exiftool"), "-s3", "-a", "-warning", "-error", path]
        return set(subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines())

    assert complaints(ours) <= complaints(source)


@pytest.mark.parametrize("kind", PATTERNS)
def test_exiftool_finds_nothing_to_complain_about(kind, tmp_path):
    ours = tmp_path / "ours.dng"
    ours.write_bytes(dng_of(synthetic(kind)))
    told = subprocess.run(
        [installed("exiftool"), "-s3", "-validate", ours], capture_output=True, text=True, check=True
    ).stdout
    assert told.strip() == "OK"
