import io

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from dustd.exif import exif_time
from dustd.frame import Camera
from dustd.images import encode_jpeg, encode_tiff, orient
from dustd.metadata import SourceMetadata
from dustd.tiffwrite import rational, short, text

NOTHING = SourceMetadata()
CAMERA = Camera(
    make="NIKON CORPORATION",
    model="NIKON D70",
    serial="12345678",
    lens="AF-S 18-70mm",
    focal_length_mm=35.0,
    f_number=16.0,
    iso=200.0,
    exposure_s=1 / 125,
    taken_at="2024-05-06T07:08:09.25+02:00",
    orientation=6,
)
EXIF = 0x8769
GPS = 0x8825


def gradient(height, width, top):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * top / width, y * top / height, np.full((height, width), top / 3)], axis=-1)


@given(orientation=st.integers(1, 8), height=st.integers(1, 9), width=st.integers(1, 9))
def test_pictures_are_turned_as_pillow_turns_them(orientation, height, width):
    rgb = np.random.default_rng(height * 10 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(rgb)
    picture.getexif()[274] = orientation
    assert np.array_equal(orient(rgb, orientation), np.asarray(ImageOps.exif_transpose(picture)))


def test_an_orientation_of_zero_leaves_the_picture_alone():
    rgb = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert orient(rgb, 0) is rgb


def test_tiff_keeps_every_sample():
    rgb = gradient(150, 70, 65535).astype(np.uint16)
    assert np.array_equal(tifffile.imread(io.BytesIO(encode_tiff(rgb, CAMERA, NOTHING))), rgb)


def test_tiff_takes_turned_views():
    rgb = orient(gradient(30, 20, 65535).astype(np.uint16), 6)
    assert np.array_equal(tifffile.imread(io.BytesIO(encode_tiff(rgb, CAMERA, NOTHING))), rgb)


def test_tiff_says_srgb_upright_and_who_took_it():
    data = encode_tiff(np.zeros((4, 4, 3), np.uint16), CAMERA, NOTHING)
    tags = tifffile.TiffFile(io.BytesIO(data)).pages.first.tags
    assert tags["Make"].value == "NIKON CORPORATION"
    assert tags["Model"].value == "NIKON D70"
    assert tags["Software"].value.startswith("dustd ")
    assert tags["DateTime"].value == "2024:05:06 07:08:09"
    assert tags["Orientation"].value == 1
    assert "sRGB" in ImageCms.getProfileDescription(io.BytesIO(tags["InterColorProfile"].value))


def test_jpeg_looks_like_its_picture():
    rgb = gradient(64, 96, 255).astype(np.uint8)
    decoded = np.asarray(Image.open(io.BytesIO(encode_jpeg(rgb, CAMERA, NOTHING))))
    assert np.abs(decoded.astype(int) - rgb).max() <= 6


def test_jpeg_says_how_the_picture_was_taken():
    picture = Image.open(io.BytesIO(encode_jpeg(np.zeros((8, 8, 3), np.uint8), CAMERA, NOTHING)))
    exif = picture.getexif()
    assert (exif[271], exif[272], exif[274]) == ("NIKON CORPORATION", "NIKON D70", 1)
    detail = exif.get_ifd(EXIF)
    assert (detail[33434], detail[33437], detail[34855], detail[37386]) == (1 / 125, 16, 200, 35)
    assert (detail[36867], detail[42033], detail[42036]) == ("2024:05:06 07:08:09", "12345678", "AF-S 18-70mm")
    assert "sRGB" in ImageCms.getProfileDescription(io.BytesIO(picture.info["icc_profile"]))


def test_exif_describes_the_developed_pixels_not_the_sources():
    metadata = SourceMetadata(exif=(short(40961, 65535), short(40962, 9999)))
    detail = (
        Image.open(io.BytesIO(encode_jpeg(np.zeros((8, 16, 3), np.uint8), CAMERA, metadata))).getexif().get_ifd(EXIF)
    )
    assert (detail[40961], detail[40962], detail[40963]) == (1, 16, 8)


def test_the_sources_own_exif_wins_and_its_place_is_kept():
    metadata = SourceMetadata(
        ifd0=(text(315, "Ann"),), exif=(rational(33437, 2.8),), gps=(text(1, "N"), rational(2, 48, 8, 12))
    )
    exif = Image.open(io.BytesIO(encode_jpeg(np.zeros((8, 8, 3), np.uint8), CAMERA, metadata))).getexif()
    assert exif[315] == "Ann"
    assert exif.get_ifd(EXIF)[33437] == pytest.approx(2.8)
    assert exif.get_ifd(GPS) == {1: "N", 2: (48, 8, 12)}


def test_a_note_too_long_for_a_jpeg_is_left_out():
    metadata = SourceMetadata(ifd0=(text(270, "x" * 100_000),))
    assert 270 not in Image.open(io.BytesIO(encode_jpeg(np.zeros((8, 8, 3), np.uint8), CAMERA, metadata))).getexif()


def test_the_same_picture_gives_the_same_bytes():
    rgb = gradient(16, 16, 255).astype(np.uint8)
    assert encode_jpeg(rgb, CAMERA, NOTHING) == encode_jpeg(rgb, CAMERA, NOTHING)


def test_a_date_that_is_none_is_not_written():
    assert exif_time("0000:00:00") is None
