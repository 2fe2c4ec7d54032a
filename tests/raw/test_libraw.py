"""LibRaw's door: real frames come out as they are, everything else as a clear error."""

import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dustd.demo.virtual import frame_of
from dustd.errors import FrameError
from dustd.output.dng import encode_dng
from dustd.output.preview import develop
from dustd.raw.copied_tags import SourceMetadata
from dustd.raw.frame import Camera
from dustd.raw.libraw import fill_dead, open_raw


def test_a_frame_keeps_its_borders_and_knows_what_is_visible(shared_data):
    with open_raw(shared_data / "raw" / "canon-eos-kiss-x4_magiclantern_colorchart.dng", Camera()) as opened:
        frame = opened.frame
        assert frame.raw.shape == (1182, 1888)
        assert frame.mosaic.shape == (frame.height, frame.width) == (1156, 1734)
        assert frame.black == pytest.approx(np.full((2, 2), 2056))
        assert frame.kind == "bayer"


def test_samples_of_a_frame_cannot_be_changed_by_accident(shared_data):
    path = shared_data / "raw" / "raspberrypi-imx296_image-0_a28192.dng"
    with open_raw(path, Camera()) as opened, pytest.raises(ValueError, match="read-only"):
        opened.frame.mosaic[0, 0] = 1


def test_a_demosaiced_dng_is_linear_with_three_colours(shared_data):
    with open_raw(shared_data / "raw" / "canon-eos-6d_lossy-linear.dng", Camera()) as opened:
        assert opened.frame.kind == "linear"
        assert opened.frame.raw.shape == (816, 1224, 3)


def test_developing_the_same_samples_gives_the_same_picture(shared_data):
    path = shared_data / "raw" / "nikon_dsc1339_768x512_wrapped.dng"
    with open_raw(path, Camera()) as opened:
        first = opened.develop(opened.frame.raw, half_size=True)
        assert first.shape == (256, 384, 3)
        assert np.array_equal(first, opened.develop(opened.frame.raw, half_size=True))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gopro-fusion-front_GPFR7066.GPR", "LibRaw cannot decode it"),
        ("nikon_dsc1339_768x512_rggb.raw", "not a RAW file that says which camera"),
        ("truncated/exiftool_DNG.dng", "cannot hold a picture"),
        ("truncated/exiftool_CanonRaw.cr2", "LibRaw cannot decode it"),
    ],
)
def test_what_cannot_be_decoded_says_so_with_a_remedy(shared_data, name, problem):
    with pytest.raises(FrameError, match=problem) as refused, open_raw(shared_data / "raw" / name, Camera()):
        pass
    assert refused.value.remedy
    assert refused.value.path.name in name


def test_a_file_of_noise_is_refused(tmp_path):
    path = tmp_path / "noise.nef"
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(FrameError, match="not a RAW file"), open_raw(path, Camera()):
        pass


def test_a_monochrome_sensor_develops_into_a_grey_picture_of_three_channels(tmp_path, dusty_shot):
    exposure, _ = dusty_shot
    grey = replace(frame_of(exposure), kind="mono", cfa=((1,),), black=np.full((1, 1), 512, np.float32))
    path = tmp_path / "mono.dng"
    preview = np.zeros((60, 80, 3), np.uint8)
    path.write_bytes(encode_dng(grey, grey.raw, SourceMetadata(), preview_rgb=preview, original_name="M.DNG"))
    with open_raw(path, Camera()) as opened:
        picture = opened.develop(opened.frame.raw, half_size=False)
    assert picture.shape == (720, 1000, 3)
    assert np.array_equal(picture[..., 0], picture[..., 2])


@pytest.mark.parametrize(("row", "times", "over"), [(0, 1, 5000), (2, 1_000_000, 1), (1, 1_000_000, 1)])
def test_a_white_balance_that_no_light_asks_for_is_not_believed_and_the_frame_can_be_written(
    tmp_path, dusty_shot, row, times, over
):
    data = bytearray(dusty_shot[1])  # a fuzzer damaged such frames
    neutral, matrix = (
        struct.unpack_from("<I", data, data.index(struct.pack("<HHI", *entry)) + 8)[0]
        for entry in ((50728, 5, 3), (50722, 10, 9))  # AsShotNeutral; ColorMatrix2, from which daylight's follows
    )
    struct.pack_into("<2I", data, neutral, 0, 1)
    for at in range(matrix + 24 * row, matrix + 24 * row + 24, 8):
        above, below = struct.unpack_from("<2i", data, at)
        struct.pack_into("<2i", data, at, above * times, below * over)
    path, again = tmp_path / "SHOT.DNG", tmp_path / "AGAIN.DNG"
    path.write_bytes(data)
    with open_raw(path, Camera()) as opened:
        frame = opened.frame
        assert all(0.001 < gain < 1000 for gain in frame.wb)
        picture = develop(frame, frame.raw)
        again.write_bytes(encode_dng(frame, frame.raw, SourceMetadata(), preview_rgb=picture, original_name="S.DNG"))
    with open_raw(again, Camera()) as opened:
        assert np.array_equal(opened.frame.raw, frame.raw)


def test_dead_pixels_are_filled_from_their_own_colour():
    mosaic = np.tile(np.array([[100, 200], [300, 400]], np.uint16), (12, 12))
    whole = mosaic.copy()
    mosaic[[0, 5, 5, 23], [0, 4, 6, 23]] = 0  # corners, and two that are each other's neighbours
    fill_dead(mosaic)
    assert np.array_equal(mosaic, whole)


def test_a_frame_without_light_stays_black():
    mosaic = np.zeros((8, 8), np.uint16)
    fill_dead(mosaic)
    assert not mosaic.any()


def test_a_name_that_is_not_unicode_is_a_name_like_any_other(shared_data, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\xff.dng"))
    path.write_bytes((shared_data / "raw" / "nikon_dsc1339_768x512_wrapped.dng").read_bytes())
    with open_raw(path, Camera()) as opened:
        assert opened.frame.mosaic.shape == (512, 768)
        assert opened.develop(opened.frame.raw, half_size=True).shape == (256, 384, 3)


@pytest.mark.parametrize(
    ("rows", "whole"), [(slice(300, None), False), (slice(100, 200), False), (slice(40, 44), True)]
)
def test_a_file_that_was_made_long_first_and_not_filled_is_told(dusty_shot, tmp_path, rows, whole):
    exposure, _ = dusty_shot
    frame = frame_of(exposure)
    raw = frame.raw.copy()
    raw[rows] = 0
    preview = np.zeros((36, 50, 3), np.uint8)
    path = tmp_path / "A.DNG"
    path.write_bytes(encode_dng(frame, raw, SourceMetadata(), preview_rgb=preview, original_name="A.DNG"))
    if whole:
        with open_raw(path, Camera()) as opened:
            assert opened.frame.mosaic.shape == frame.mosaic.shape
    else:
        with pytest.raises(FrameError, match="rows hold nothing"), open_raw(path, Camera()):
            pass
