import io
import subprocess

import numpy as np
import pytest
import rawpy
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from dustd.config import OutputSettings
from dustd.output.developed import cropped, encode_jpeg, encode_tiff, orient
from dustd.output.dng import encode_dng
from dustd.output.exif import exif_time
from dustd.output.tiffwrite import rational, raw_bytes, short
from dustd.pipeline.worker import HeldFrame
from dustd.raw.colour import SRGB_TO_XYZ
from dustd.raw.copied_tags import SourceMetadata
from dustd.raw.frame import Camera, Frame
from dustd.raw.metadata import read_camera
from dustd.raw.tiff import text_entry
from tests.programs import installed

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


@pytest.mark.parametrize(("crop", "size"), [((10, 20, 40, 50), (40, 50)), (None, (64, 80))])
def test_a_picture_shows_what_the_cameras_own_shows(crop, size):
    frame = Frame(
        raw=np.zeros((64, 80), np.uint16),
        visible=(0, 0, 64, 80),
        kind="mono",
        cfa=((1,),),
        black=np.zeros((1, 1), np.float32),
        white=1,
        wb=(1.0, 1.0, 1.0),
        xyz_to_camera=None,
        camera=Camera(),
        crop=crop,
    )
    picture = np.arange(64 * 80 * 3).reshape(64, 80, 3)
    shown = cropped(picture, frame)
    assert shown.shape[:2] == size
    assert shown[0, 0, 0] == picture[(crop or (0, 0))[0], (crop or (0, 0))[1], 0]
    assert cropped(picture[::2], frame).shape == (32, 80, 3)  # developed at another size


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
        ifd0=(text_entry(315, "Ann"),), exif=(rational(33437, 2.8),), gps=(text_entry(1, "N"), rational(2, 48, 8, 12))
    )
    exif = Image.open(io.BytesIO(encode_jpeg(np.zeros((8, 8, 3), np.uint8), CAMERA, metadata))).getexif()
    assert exif[315] == "Ann"
    assert exif.get_ifd(EXIF)[33437] == pytest.approx(2.8)
    assert exif.get_ifd(GPS) == {1: "N", 2: (48, 8, 12)}


def test_a_note_too_long_for_a_jpeg_is_left_out():
    metadata = SourceMetadata(ifd0=(text_entry(270, "x" * 100_000),))
    assert 270 not in Image.open(io.BytesIO(encode_jpeg(np.zeros((8, 8, 3), np.uint8), CAMERA, metadata))).getexif()


def test_ratings_and_keywords_travel_but_no_develop_settings():
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"'
        b' xmp:Rating="5" crs:Exposure2012="+1.00"/></rdf:RDF></x:xmpmeta>'
    )
    metadata = SourceMetadata(xmp=packet)
    jpeg = Image.open(io.BytesIO(encode_jpeg(np.zeros((8, 8, 3), np.uint8), CAMERA, metadata))).info["xmp"]
    tiff = tifffile.TiffFile(io.BytesIO(encode_tiff(np.zeros((8, 8, 3), np.uint16), CAMERA, metadata)))
    for written_packet in (jpeg, bytes(tiff.pages.first.tags[700].value)):
        assert b'xmp:Rating="5"' in written_packet
        assert b"Exposure" not in written_packet


def test_exif_of_an_old_camera_is_raised_to_the_version_that_knows_lenses():
    metadata = SourceMetadata(exif=(raw_bytes(36864, b"0220", type=7),))
    exif = Image.open(io.BytesIO(encode_jpeg(np.zeros((8, 8, 3), np.uint8), CAMERA, metadata))).getexif()
    assert exif.get_ifd(EXIF)[36864] == b"0230"


def test_the_same_picture_gives_the_same_bytes():
    rgb = gradient(16, 16, 255).astype(np.uint8)
    assert encode_jpeg(rgb, CAMERA, NOTHING) == encode_jpeg(rgb, CAMERA, NOTHING)


def test_a_date_that_is_none_is_not_written():
    assert exif_time("0000:00:00") is None


# ---- from a RAW file, as the worker does it --------------------------------------------------------------------------


def quadrants(orientation):
    """A DNG whose four quarters and gradient tell every turn and mirroring apart, and what LibRaw shows upright."""
    y, x = np.mgrid[:96, :128]
    light = 0.05 + 0.3 * (x >= 64) + 0.15 * (y >= 48) + 0.1 * x / 128
    frame = Frame(
        raw=(512 + light * 15000).astype(np.uint16),
        visible=(0, 0, 96, 128),
        kind="bayer",
        cfa=((0, 1), (1, 2)),
        black=np.full((2, 2), 512, np.float32),
        white=16000,
        wb=(1.0, 1.0, 1.0),
        xyz_to_camera=np.linalg.inv(SRGB_TO_XYZ),
        camera=Camera(make="V", model="V6", orientation=orientation, taken_at="2026-11-23T10:00:00"),
    )
    preview = np.zeros((48, 64, 3), np.uint8)
    return encode_dng(frame, frame.raw, NOTHING, preview_rgb=preview, original_name="Q.DNG")


def written(source, output):
    held = HeldFrame()
    held.decode(source, read_camera(source))
    held.correct((), {})
    data = bytes(held.encode(output))
    held.clear()
    return data


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["tiff", "jpeg"])
def test_pictures_stand_upright_once_whatever_way_the_camera_was_held(kind, orientation, tmp_path):
    source, target = tmp_path / "Q.DNG", tmp_path / f"Q.{kind}"
    source.write_bytes(quadrants(orientation))
    target.write_bytes(written(source, OutputSettings(format=kind)))
    with rawpy.imread(str(source)) as raw:  # LibRaw turns by itself
        upright = raw.postprocess(use_camera_wb=True, no_auto_bright=True, adjust_maximum_thr=0, gamma=(2.4, 12.92))
    if kind == "tiff":
        ours = (tifffile.imread(target) / 257).round()
    else:
        picture = Image.open(target)
        assert picture.getexif()[274] == 1
        ours = np.asarray(ImageOps.exif_transpose(picture)).astype(float)
    assert ours.shape == upright.shape
    assert np.abs(ours - upright).mean() < 1


@pytest.mark.parametrize("kind", ["tiff", "jpeg"])
def test_exiftool_finds_the_picture_upright_and_nothing_to_complain_about(kind, tmp_path):
    source, target = tmp_path / "Q.DNG", tmp_path / f"Q.{kind}"
    source.write_bytes(quadrants(6))
    target.write_bytes(written(source, OutputSettings(format=kind)))
    command = [installed("exiftool"), "-s3", "-n", "-Orientation", "-validate", target]
    assert subprocess.run(command, capture_output=True, check=True).stdout.split()[:2] == [b"1", b"0"]


@pytest.mark.parametrize("profile", ["srgb", "adobe-rgb", "prophoto-rgb"])
@pytest.mark.parametrize("kind", ["tiff", "jpeg"])
def test_colours_mean_the_same_in_every_space(kind, profile, tmp_path):
    source = tmp_path / "Q.DNG"
    source.write_bytes(quadrants(1))

    def seen(space):
        data = written(source, OutputSettings(format=kind, profile=space))
        if kind == "tiff":
            page = tifffile.TiffFile(io.BytesIO(data)).pages.first
            picture = Image.fromarray((page.asarray() // 257).astype(np.uint8))
            icc = page.tags["InterColorProfile"].value
        else:
            picture = Image.open(io.BytesIO(data))
            icc = picture.info["icc_profile"]
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return np.asarray(ImageCms.profileToProfile(picture, embedded, ImageCms.createProfile("sRGB"))).astype(int)

    assert np.abs(seen(profile) - seen("srgb")).mean() < 1.5
