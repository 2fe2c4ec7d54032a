"""Metadata of every maker's RAW: real files against known values and ExifTool, hostile ones against the limits."""

import io
import json
import random
import shutil
import struct
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dustd.errors import FrameError
from dustd.raw import copied_tags, metadata
from dustd.raw.containers import Note, read_contents
from dustd.raw.copied_tags import MakerNote, SourceMetadata, read_source_metadata
from dustd.raw.frame import Camera
from dustd.raw.makernotes import lens_name, read_note
from dustd.raw.metadata import read_camera
from dustd.raw.plainfacts import exif_of_ciff, exif_of_properties, image_of_ciff
from dustd.raw.tiff import MAX_READ_BYTES, Source, number, text
from tests.programs import installed

BODY = "Exif.Photo.BodySerialNumber"

# file: body_id, place of the serial number, f-number, lens, time of exposure (facts/file-formats.md §4, ExifTool 12.57)
KNOWN = {
    "raw/truncated/canon-eos-r6_canon-r6-pruned.cr3": (
        "Canon EOS R6 #93022004357",
        BODY,
        25,
        "RF70-200mm F2.8 L IS USM",
        "2021-05-12T12:21:21.92+02:00",
    ),
    "raw/truncated/canon-eos-r6_canon-r6.cr3": (
        "Canon EOS R6 #72021007989",
        BODY,
        2.8,
        "EF100mm f/2.8L Macro IS USM",
        "2025-09-06T20:24:47.72-08:00",
    ),
    "raw/truncated/fixture.cr3": (
        "Canon EOS R #85023000606",
        BODY,
        4,
        "EF24-105mm f/4L IS USM",
        "2019-12-05T13:32:49.54+08:00",
    ),
    "raw/truncated/exiftool_CanonRaw.cr3": (
        "Canon EOS M50 #613040000565",
        BODY,
        3.5,
        "EF-M15-45mm f/3.5-6.3 IS STM",
        "2018-02-21T12:08:56.21+00:00",
    ),
    "raw/truncated/exiftool_CanonRaw.cr2": (
        "Canon EOS 350D DIGITAL #123456789",
        "Canon 0x000c",
        8,
        "18-55mm",
        "2005-08-03T18:59:18",
    ),
    "raw/truncated/exiftool_CanonRaw.crw": (
        "Canon EOS DIGITAL REBEL #560018150",
        "Canon 0x180b",
        3.563595,
        "18-55mm",
        "2003-11-10T17:39:26",
    ),
    "raw/truncated/exiftool_DNG.dng": (
        "Canon EOS 350D DIGITAL #12345678",
        "Canon 0x000c",
        8,
        "18-55mm",
        "2005-08-03T18:59:18",
    ),
    "raw/truncated/exiftool_FujiFilm.raf": (
        "FUJIFILM FinePix S5Pro #FPX20582698 592D313134360702198C0020100A84",
        "Fujifilm 0x0010 (internal)",
        8,
        None,
        "2007-05-22T13:58:30",
    ),
    "raw/truncated/exiftool_Minolta.mrw": (
        "Konica Minolta DiMAGE A2 (no serial)",
        "none",
        2.8,
        None,
        "2004-11-18T23:14:58",
    ),
    "raw/truncated/exiftool_Nikon.nef": (
        "NIKON D70 #12345678",
        "Nikon 0x00a0",
        3.5,
        "18-70mm f/3.5-4.5",
        "2004-06-09T16:02:35.00",
    ),
    "raw/truncated/nikon-d70s_issue-247-1.nef": (
        "NIKON D70s #1005a431",
        "Nikon 0x00a0",
        2.8,
        "50mm f/1.8",
        "2010-03-01T21:50:21.70",
    ),
    "raw/truncated/exiftool_Panasonic.rw2": (
        "Panasonic DMC-LX3 #F350807010058",
        "Panasonic 0x0025 (internal)",
        4,
        None,
        "2008-08-06T15:21:56",
    ),
    "raw/truncated/exiftool_PhaseOne.iiq": (
        "Leaf Credo 40 #LD001055",
        "Phase One 0x0102",
        5.6,
        "Mamiya LS 80mm f/2.8 D",
        "2013-06-19T15:44:21",
    ),
    "raw/truncated/exiftool_Sigma.x3f": (
        "SIGMA SD10 #2001234",
        "Sigma CAMSERIAL",
        8.35419,
        "15-30mm",
        "2001-01-01T00:36:35",
    ),
    "raw/truncated/fixture-Leica-M10.dng": ("LEICA M10 (no serial)", "none", None, None, "2017-01-05T17:54:40"),
    "raw/truncated/fixture-sony-zv-e10.arw": (
        "SONY ZV-E10 #2c000000bf0c",
        "Sony 0x9050 (internal)",
        18,
        "E PZ 16-50mm F3.5-5.6 OSS",
        "2021-07-24T14:23:06.583-07:00",
    ),
    "raw/canon-eos-6d_lossy-linear.dng": (
        "Canon EOS 6D #33024001432",
        BODY,
        5.6,
        "EF24-105mm f/4L IS USM",
        "2019-06-06T07:29:51.00+02:00",
    ),
    "raw/canon-eos-kiss-x4_magiclantern_colorchart.dng": (
        "Canon EOS Kiss X4 (no serial)",
        "none",
        None,
        None,
        None,
    ),
    "raw/gopro-hero6-black_GOPR0024.dng": (
        "GoPro HERO6 Black #C32213DVT14025",
        "DNG CameraSerialNumber",
        2.8,
        None,
        "2016-01-01T23:07:27",
    ),
    "raw/kodak-dc50_dc0008l.kdc": (
        "Kodak Digital Science DC50 Zoom Camera (no serial)",
        "none",
        2.5,
        None,
        None,
    ),
    "raw/micasense-rededge_IMG_0000_1.tif": ("MicaSense RedEdge #1777777", BODY, 2.8, None, "2017-10-19T20:40:39"),
}
# Whole files of a few kilobytes, or long heads of large ones: the seeds of the mutations.
SEEDS = [name for name in KNOWN if "truncated" in name]


def real(shared_data, name):
    path = shared_data / name
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    return path


@pytest.mark.parametrize("name", KNOWN)
def test_a_real_file_tells_its_body_aperture_lens_and_time(shared_data, name):
    camera = read_camera(real(shared_data, name))
    known_id, source, f_number, lens, taken_at = KNOWN[name]
    assert (camera.body_id, camera.serial_source) == (known_id, source)
    assert (camera.serial is None) == (source == "none")
    assert camera.f_number == (pytest.approx(f_number) if f_number else None)
    assert (camera.lens, camera.taken_at) == (lens, taken_at)


def test_a_file_tells_its_exposure_orientation_and_pixel_pitch(shared_data):
    camera = read_camera(real(shared_data, "raw/truncated/fixture.cr3"))
    assert camera.focal_length_mm == 105
    assert camera.iso == 100
    assert camera.exposure_s == pytest.approx(1 / 125)
    assert camera.orientation == 6
    assert camera.pixel_pitch_um == pytest.approx(5.496, abs=0.001)


@pytest.mark.parametrize(
    ("name", "sensor_mm", "across_px"),
    [
        ("raw/truncated/fixture-sony-zv-e10.arw", 23.5, 6000),
        ("raw/truncated/nikon-d70s_issue-247-1.nef", 23.7, 3008),
        ("raw/truncated/exiftool_Panasonic.rw2", 8.07, 3968),
    ],
)
def test_where_no_resolution_is_given_the_focal_lengths_tell_the_pitch(shared_data, name, sensor_mm, across_px):
    camera = read_camera(real(shared_data, name))
    assert camera.pixel_pitch_um == pytest.approx(1000 * sensor_mm / across_px, rel=0.05)


def test_a_focal_plane_resolution_that_no_sensor_has_is_passed_over(shared_data):
    pitch_um = read_camera(real(shared_data, "raw/gopro-hero6-black_GOPR0024.dng")).pixel_pitch_um
    assert pitch_um == pytest.approx(1.73, abs=0.01)  # by the focal lengths


@pytest.mark.parametrize(
    "name", ["apple-quicktake150_test150.qtk", "kodak-c330_yrgb.raw", "nikon_dsc1339_768x512_rggb.raw"]
)
def test_a_file_of_unknown_kind_gives_an_empty_camera(shared_data, name):
    path = real(shared_data, f"raw/{name}")
    assert read_camera(path) == Camera()
    assert read_source_metadata(path) == SourceMetadata()


def test_exiftool_reads_the_same(shared_data):
    paths = {name: shared_data / name for name in KNOWN if (shared_data / name).is_file()}
    if not paths:
        pytest.skip("no real files here")
    tags = ["-SerialNumber", "-InternalSerialNumber", "-CameraSerialNumber", "-FNumber#", "-FocalLength#", "-ISO#"]
    tags += ["-Make", "-Model", "-LensModel", "-DateTimeOriginal", "-Orientation#", "-ExposureTime#"]
    answer = subprocess.run([installed("exiftool"), "-j", *tags, *paths.values()], capture_output=True, check=False)
    for (name, path), theirs in zip(paths.items(), json.loads(answer.stdout), strict=True):
        ours = read_camera(path)
        assert (ours.make, ours.model) == (theirs["Make"], theirs["Model"]), name
        for value, tag in (
            (ours.f_number, "FNumber"),
            (ours.focal_length_mm, "FocalLength"),
            (ours.exposure_s, "ExposureTime"),
        ):
            assert value == (pytest.approx(theirs[tag], rel=1e-4) if theirs.get(tag) else None), (name, tag)
        if ours.iso and "ISO" in theirs:
            assert ours.iso == float(str(theirs["ISO"]).split()[-1]), name  # Nikon's is (0, speed)
        if "LensModel" in theirs:
            assert ours.lens == theirs["LensModel"], name
        if ours.taken_at and "DateTimeOriginal" in theirs:
            assert ours.taken_at[:19] == theirs["DateTimeOriginal"].replace(":", "-", 2).replace(" ", "T"), name
        keys = ("SerialNumber", "InternalSerialNumber", "CameraSerialNumber")
        numbers = {comparable(theirs[key]) for key in keys if key in theirs}
        if "Panasonic" not in name:  # ExifTool rewords theirs
            assert ({comparable(ours.serial)} <= numbers) if ours.serial else not numbers, name


def comparable(serial) -> str:
    """Reduce a serial number to what all spellings of it share; ExifTool adds dates to some internal ones."""
    return "".join(str(serial).split()).lstrip("0").casefold()[:10]


@pytest.mark.parametrize("name", KNOWN)
def test_little_of_a_file_is_read(shared_data, name):
    stream = Counting(real(shared_data, name).read_bytes())
    metadata.camera_in(read_contents(Source(stream)))
    assert stream.bytes_read < 64 << 10


def test_the_source_metadata_are_complete_and_without_dangling_pointers(shared_data):
    found = read_source_metadata(real(shared_data, "raw/truncated/fixture-sony-zv-e10.arw"))
    exif = {entry.tag: entry for entry in found.exif}
    assert number(exif[0x829D]) == 18
    assert text(exif[0xA434]) == "E PZ 16-50mm F3.5-5.6 OSS"
    assert not {0x927C, 0xA005, 0x8769, 0x8825} & set(exif)
    assert 0x0132 in {entry.tag for entry in found.ifd0}
    assert found.maker_note.offset == 5218
    assert len(found.maker_note.data) == 37654
    assert found.unique_model == "Sony ZV-E10"


def test_gps_is_taken_over(shared_data):
    found = read_source_metadata(real(shared_data, "raw/truncated/canon-eos-r6_canon-r6.cr3"))
    assert {1, 2, 3, 4} <= {entry.tag for entry in found.gps}


def test_the_note_of_a_cr3_starts_behind_its_tiff_header(shared_data):
    note = read_source_metadata(real(shared_data, "raw/truncated/fixture.cr3")).maker_note
    assert (note.offset, note.little_endian) == (8, True)
    assert 0 < struct.unpack_from("<H", note.data)[0] < 256


def test_adobes_copy_of_a_maker_note_is_handed_on_with_its_first_place(shared_data):
    note = read_source_metadata(real(shared_data, "raw/truncated/exiftool_DNG.dng")).maker_note
    assert note == MakerNote(data=note.data, little_endian=True, offset=700)
    assert len(note.data) == 8340


def test_a_note_that_is_the_picture_itself_is_not_taken_over(shared_data):
    assert read_source_metadata(real(shared_data, "raw/truncated/exiftool_PhaseOne.iiq")).maker_note is None


def test_exif_values_that_a_camera_keeps_in_ifd0_are_taken_over(shared_data):
    found = read_source_metadata(real(shared_data, "raw/raspberrypi-imx296_dark-frame_c5dfe1.dng"))
    assert {0x829A, 0x8827} <= {entry.tag for entry in found.exif}


@pytest.mark.parametrize("name", KNOWN)
def test_entries_to_take_over_are_sorted_and_hold_what_they_claim(shared_data, name):
    found = read_source_metadata(real(shared_data, name))
    for entries in (found.ifd0, found.exif, found.gps):
        assert [e.tag for e in entries] == sorted({e.tag for e in entries})
        assert all(len(e.data) == e.count * metadata_size(e.type) for e in entries)


def metadata_size(kind: int) -> int:
    return {3: 2, 8: 2, 4: 4, 9: 4, 11: 4, 13: 4, 5: 8, 10: 8, 12: 8}.get(kind, 1)


# --- synthetic files ---------------------------------------------------------------------------------------------


def directory(at: int, entries: list[tuple[int, int, bytes]], order: str = "<") -> bytes:
    """Lay out one IFD at offset *at*, larger values behind it; *entries* are (tag, type, value in file order)."""
    body, values = struct.pack(order + "H", len(entries)), b""
    after = at + 2 + 12 * len(entries) + 4
    for tag, kind, data in entries:
        slot = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", after + len(values))
        values += data if len(data) > 4 else b""
        body += struct.pack(order + "HHI", tag, kind, len(data) // metadata_size(kind)) + slot
    return body + bytes(4) + values


def picture(path, ifd0=(), exif=()):
    """Write a TIFF with an IFD0 and an Exif directory at 4096."""
    ifd0 = [*ifd0, (0x8769, 4, struct.pack("<I", 4096))]
    data = (b"II*\0\x08\0\0\0" + directory(8, ifd0)).ljust(4096, b"\0") + directory(4096, list(exif))
    path.write_bytes(data)
    return path


def rational(*pairs: int) -> bytes:
    return struct.pack(f"<{len(pairs)}I", *pairs)


def test_a_camera_without_a_value_has_none(tmp_path):
    camera = read_camera(picture(tmp_path / "a.dng", exif=[(0x829D, 5, rational(0, 1)), (0x829A, 5, rational(1, 0))]))
    assert camera == Camera(body_id="unknown")


def test_the_aperture_value_stands_in_for_a_missing_f_number(tmp_path):
    exif = [(0x829D, 5, rational(0, 0)), (0x9202, 5, rational(6, 1))]
    assert read_camera(picture(tmp_path / "a.dng", exif=exif)).f_number == 8


def test_the_shutter_speed_value_stands_in_for_a_missing_exposure_time(tmp_path):
    exif = [(0x9201, 10, struct.pack("<2i", -2, 1))]
    assert read_camera(picture(tmp_path / "a.dng", exif=exif)).exposure_s == 4


def test_an_iso_that_did_not_fit_is_read_from_its_other_tag(tmp_path):
    exif = [(0x8827, 3, b"\xff\xff"), (0x8832, 4, struct.pack("<I", 102_400))]
    assert read_camera(picture(tmp_path / "a.dng", exif=exif)).iso == 102_400


@pytest.mark.parametrize("written", [b"0000:00:00 00:00:00\0", b"2021:13:01 00:00:00\0", b"    :  :     :  :  \0"])
def test_a_time_that_is_none_is_none(tmp_path, written):
    assert read_camera(picture(tmp_path / "a.dng", exif=[(0x9003, 2, written)])).taken_at is None


def test_an_offset_that_is_none_is_left_out(tmp_path):
    exif = [(0x9003, 2, b"2024:02:29 23:59:59\0"), (0x9011, 2, b"   :  \0"), (0x9291, 2, b"07 \0")]
    assert read_camera(picture(tmp_path / "a.dng", exif=exif)).taken_at == "2024-02-29T23:59:59.07"


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_is_1(tmp_path, orientation):
    assert read_camera(picture(tmp_path / "a.dng", [(0x0112, 3, struct.pack("<H", orientation))])).orientation == 1


def test_the_exif_number_goes_before_the_dng_number(tmp_path):
    path = picture(tmp_path / "a.dng", [(0xC62F, 2, b"DNG123\0")], [(0xA431, 2, b"EXIF456\0")])
    assert (read_camera(path).serial, read_camera(path).serial_source) == ("EXIF456", BODY)


def test_a_blank_exif_number_gives_way_to_the_dng_number(tmp_path):
    path = picture(tmp_path / "a.dng", [(0xC62F, 2, b"DNG123\0")], [(0xA431, 2, b"0000000\0")])
    assert (read_camera(path).serial, read_camera(path).serial_source) == ("DNG123", "DNG CameraSerialNumber")


def test_hostile_names_become_printable_and_short(tmp_path):
    model = b"../../etc/\x1b[2J\r\nX\xe2\x80\xae" + b"A" * 5000 + b"\0"
    camera = read_camera(picture(tmp_path / "a.dng", [(0x010F, 2, b"Ev\x07il\0"), (0x0110, 2, model)]))
    assert camera.model.isprintable()
    assert len(camera.model) <= 200
    assert camera.body_id.startswith("Ev il ..-..-etc- [2J X AAA")
    assert len(camera.body_id) <= 140


@pytest.mark.parametrize(
    ("specification", "name"),
    [
        ((18, 55, 3.5, 5.6), "18-55mm f/3.5-5.6"),
        ((50, 50, 1.8, 1.8), "50mm f/1.8"),
        ((70, 200, float("nan"), float("nan")), "70-200mm"),
        ((0, 0, 0, 0), None),
        ((), None),
    ],
)
def test_a_lens_without_a_name_is_named_by_its_specification(specification, name):
    assert lens_name(specification) == name


@pytest.mark.parametrize(("exif_lens", "lens"), [(b"----\0", "24-70mm f/2.8"), (b"FE 24-70mm\0", "FE 24-70mm")])
def test_the_exif_lens_name_goes_before_its_specification(tmp_path, exif_lens, lens):
    exif = [(0xA432, 5, rational(24, 1, 70, 1, 28, 10, 28, 10)), (0xA434, 2, exif_lens)]
    assert read_camera(picture(tmp_path / "a.dng", exif=exif)).lens == lens


# --- maker notes -------------------------------------------------------------------------------------------------


def facts(data: bytes, make: str, model: str = "", *, little_endian: bool = True, position: int = 0):
    source = Source(io.BytesIO(b"\0" * position + data))
    note = Note(source=source, position=position, size=len(data), base=0, little_endian=little_endian)
    return read_note(note, make, model)


def enciphered(plain: bytes) -> bytes:
    """Sony's cipher, written as it is described: p becomes p³ mod 249, 249 to 255 stay."""
    return bytes(p * p * p % 249 if p < 249 else p for p in plain)


@pytest.mark.parametrize(
    ("model", "start", "size"),
    [
        ("ILCE-7M2", 0x7C, 4),
        ("NEX-6", 0x7C, 4),
        ("ILCA-77M2", 0xF0, 5),
        ("ILCA-99M2", 0x88, 6),
        ("ILCE-7RM4A", 0x88, 6),
        ("ZV-E10", 0x88, 6),
        ("ILCE-1", 0x8A, 6),
        ("ZV-E1", 0x38, 6),
        ("ILCE-6700", 0x38, 6),
    ],
)
def test_sonys_internal_number_is_deciphered_where_the_model_keeps_it(model, start, size):
    number_bytes = bytes([0x2C, 0xFA, 0x00, 0xF8, 0xBF, 0x0C])[:size]
    plain = bytes(range(256)) * 2
    table = enciphered(plain[:start] + number_bytes + plain[start + size :])
    found = facts(directory(0, [(0x9050, 7, table)]), "SONY", model)
    assert found.serials == ((number_bytes.hex(), "Sony 0x9050 (internal)"),)


@pytest.mark.parametrize("model", ["ILCE-7M9", "DSC-RX100", "NEX-7", ""])
def test_sonys_number_is_not_guessed_for_other_models(model):
    assert facts(directory(0, [(0x9050, 7, bytes(range(256)))]), "SONY", model).serials == ()


def test_a_number_in_a_sony_note_with_a_header_is_read():
    note = b"SONY DSC \0\0\0" + directory(12, [(0x2031, 2, b"1234567\0")])
    assert facts(note, "SONY").serials == (("1234567", "Sony 0x2031"),)


@pytest.mark.parametrize("header", [b"OLYMPUS\0II\3\0", b"OM SYSTEM\0\0\0II\4\0"])
def test_an_olympus_number_and_lens_are_in_the_equipment_directory(header):
    at = len(header)
    main = directory(at, [(0x2010, 13, struct.pack("<I", 200))])
    equipment = directory(200, [(0x0101, 2, b"BHP242330\0"), (0x0203, 2, b"OLYMPUS M.12-40mm F2.8\0")])
    found = facts((header + main).ljust(200, b"\0") + equipment, "OLYMPUS", position=1000)
    assert found.serials == (("BHP242330", "Olympus 0x0101"),)
    assert found.lens == "OLYMPUS M.12-40mm F2.8"


def test_an_old_olympus_note_holds_its_equipment_in_place():
    equipment = directory(8 + 2 + 12 + 4, [(0x0101, 2, b"C90500055\0")])
    note = b"OLYMP\0\2\0" + directory(8, [(0x2010, 7, equipment)])
    assert facts(note, "OLYMPUS").serials == (("C90500055", "Olympus 0x0101"),)


@pytest.mark.parametrize("order", "<>")
def test_a_pentax_note_has_its_own_byte_order(order):
    mark = b"II" if order == "<" else b"MM"
    note = b"PENTAX \0" + mark + directory(10, [(0x0229, 2, b"4567890\0")], order)
    assert facts(note, "PENTAX", position=300).serials == (("4567890", "Pentax 0x0229"),)


def test_a_pentax_note_in_a_dng_is_found_in_the_private_data(tmp_path):
    note = b"PENTAX \0MM" + directory(10, [(0x0229, 2, b"4567890\0")], ">")
    path = picture(tmp_path / "a.dng", [(0x010F, 2, b"PENTAX\0"), (0xC634, 1, note)])
    assert read_camera(path).serial == "4567890"
    assert read_source_metadata(path).maker_note == MakerNote(data=note, little_endian=False, offset=0)


@pytest.mark.parametrize("order", "<>")
def test_a_nikon_note_is_a_tiff_of_its_own(order):
    lens = struct.pack(order + "8I", 180, 10, 55, 1, 35, 10, 56, 10)
    head = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    inner = head + directory(8, [(0x001D, 2, b"3025538\0"), (0x0084, 5, lens)], order)
    found = facts(b"Nikon\0\x02\x10\0\0" + inner, "NIKON CORPORATION", position=77)
    assert found.serials == (("3025538", "Nikon 0x001d"),)
    assert found.lens == "18-55mm f/3.5-5.6"


def test_a_leica_number_is_an_integer():
    note = b"LEICA\0\0\0" + directory(8, [(0x0303, 4, struct.pack("<I", 3_100_042))])
    assert facts(note, "Leica Camera AG").serials == (("3100042", "Leica 0x0303"),)


def test_a_canon_note_in_the_other_byte_order_is_read():
    note = directory(0, [(0x000C, 4, struct.pack(">I", 123_456_789))], ">")
    assert facts(note, "Canon", little_endian=True).serials == (("123456789", "Canon 0x000c"),)


def test_a_note_of_unknown_kind_says_nothing():
    assert facts(b"HELLO" * 20, "Holga").serials == ()


# --- broken and hostile files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_camera, read_source_metadata])
def test_a_missing_or_empty_file_or_a_folder_is_a_frame_error(tmp_path, read):
    empty = tmp_path / "empty.cr3"
    empty.touch()
    for path in (tmp_path / "missing.nef", tmp_path, empty):
        with pytest.raises(FrameError) as caught:
            read(path)
        assert caught.value.path == path
        assert caught.value.remedy


class Counting(io.BytesIO):
    """A file that counts what is read from it."""

    bytes_read = 0
    reads = 0

    def read(self, size=-1):
        data = super().read(size)
        self.bytes_read += len(data)
        self.reads += 1
        return data


def examine(data: bytes) -> None:
    """Read everything from *data* as a user would, and check that the work was bounded."""
    for extract in (metadata.camera_in, copied_tags.tags_in):
        stream = Counting(data)
        extract(read_contents(Source(stream)))
        assert stream.bytes_read <= MAX_READ_BYTES
        assert stream.reads <= MAX_READ_BYTES / 512


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Damage a file's head: overwrite bytes and words, cut, double or move a piece."""
    out = bytearray(data[: rng.choice((200, 2_000, 20_000, len(data)))])
    for _ in range(rng.choice((1, 3, 10, 100))):
        at = rng.randrange(min(len(out), rng.choice((64, 1_000, 100_000))))
        kind = rng.randrange(4)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            out[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x08\0\0\0"))
        elif kind == 2:
            out[at : at + 2] = rng.randbytes(2)
        else:
            start = rng.randrange(len(out))
            out[at : at + 16] = out[start : start + 16]
        if not out:
            break
    return bytes(out)


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_real_files_are_read_as_far_as_they_go(shared_data, name):
    data = real(shared_data, name).read_bytes()
    rng = random.Random(name)
    for _ in range(20):
        examine(mutated(data, rng))


MAGICS = [
    b"II*\0",
    b"MM\0*",
    b"IIRO",
    b"IIU\0",
    b"\xff\xd8\xff\xe1\0\x40Exif\0\0II*\0",
    b"\0\0\0\x18ftypcrx ",
    b"\0MRM",
]
MAGICS += [b"FUJIFILMCCD-RAW ", b"II\x1a\0\0\0HEAPCCDR", b"FOVb", b""]


@settings(deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=2000))
def test_any_bytes_are_read_without_an_error(magic, data):
    examine(magic + data)


@settings(deadline=None)
@given(
    st.sampled_from(["Canon", "SONY", "NIKON", "x"]),
    st.sampled_from([b"", b"Nikon\0\x02\x10\0\0MM\0*", b"FUJIFILM", b"OLYMPUS\0II\3\0", b"AOC\0MM", b"IIIITwaR"]),
    st.binary(max_size=600),
    st.booleans(),
)
def test_any_bytes_are_read_as_a_note_without_an_error(make, prefix, data, little_endian):
    facts(prefix + data, make, "ILCE-7M2", little_endian=little_endian)


def test_huge_values_everywhere_cost_no_more_than_the_budget():
    entries = b"".join(struct.pack("<HHII", 0x8000 + i, 7, 4 << 20, 8) for i in range(1000))
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 1000) + entries + bytes(4)
    exif = struct.pack("<HHII", 0x8769, 4, 1, 8)
    data = data.replace(struct.pack("<HHII", 0x8000, 7, 4 << 20, 8), exif, 1)
    examine(data.ljust(5 << 20, b"\0"))


def test_the_original_is_not_changed(shared_data, tmp_path):
    path = tmp_path / "a.cr3"
    shutil.copy(real(shared_data, "raw/truncated/fixture.cr3"), path)
    path.chmod(0o444)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    read_camera(path)
    read_source_metadata(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


# What ExifTool 12.57 says of files without Exif: f-number, exposure time in s, focal length in mm, ISO, lens, and the
# sensor's width, as it measures it, over the columns of the picture, in µm.
WITHOUT_EXIF = {
    "raw/canon-eos-d30_f5.7.crw": (5.65685424949238, 5.03968419957949, 31, 100, "16-35mm", 23215.6 / 2160),
    "raw/canon-powershot-g2.crw": (3.9142882483508, 0.0194040283136482, 7, 50, "7-21mm", 7264.4 / 2272),
    "raw/truncated/exiftool_CanonRaw.crw": (3.56359487256136, 0.015625, 24, 100, "18-55mm", 23215.6 / 3072),
    "raw/truncated/exiftool_Sigma.x3f": (8.35419, 0.00929, 30, 100, "15-30mm", None),
}


@pytest.mark.parametrize("name", WITHOUT_EXIF)
def test_formats_without_exif_tell_aperture_time_and_lens_as_well(shared_data, name):
    f_number, exposure_s, focal_length_mm, iso, lens, pitch_um = WITHOUT_EXIF[name]
    camera = read_camera(shared_data / name)
    assert camera.f_number == pytest.approx(f_number, rel=1e-6)
    assert camera.exposure_s == pytest.approx(exposure_s, rel=1e-4)
    assert (camera.focal_length_mm, camera.iso, camera.lens) == (focal_length_mm, iso, lens)
    assert camera.pixel_pitch_um == pytest.approx(pitch_um, rel=1e-3) if pitch_um else camera.pixel_pitch_um is None


@pytest.mark.parametrize("name", ["raw/nikon-d1.nef", "raw/truncated/nikon-d70s_issue-247-1.nef"])
def test_the_iso_speed_that_only_a_maker_note_tells_is_found(shared_data, name):
    assert read_camera(shared_data / name).iso == 200


@given(st.dictionaries(st.sampled_from([0x1029, 0x102A, 0x102D, 0x1810, 0x180E, 0x080A]), st.binary(max_size=64)))
@example({0x102A: b"\x00\x80" * 23})
def test_no_record_of_a_crw_breaks_its_reading(records):
    for order in "<>":
        for entry in [*image_of_ciff(records, order).values(), *exif_of_ciff(records, order).values()]:
            assert len(entry.data) >= entry.count


@given(st.dictionaries(st.sampled_from(["ISO", "SHUTTER", "APERTURE", "FLENGTH", "LENSFRANGE", "TIME"]), st.text()))
@example({"LENSFRANGE": "18 to 50", "TIME": "9" * 12, "ISO": "1" * 12})
def test_no_property_of_an_x3f_breaks_its_reading(properties):
    exif_of_properties(properties)
