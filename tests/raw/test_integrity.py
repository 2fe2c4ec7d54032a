"""A file that was cut short is found before it is decoded."""

import pytest

from dustd.errors import FrameError
from dustd.output.tiffwrite import Directory, encode, long
from dustd.raw.integrity import no_raw_file, require_whole
from dustd.raw.tiff import Entry


def tiff(path, *, samples, bits, photometric):
    entries = [long(256, 64), long(257, 64), long(258, *(bits,) * samples), long(262, photometric), long(277, samples)]
    path.write_bytes(encode(Directory(entries=tuple(entries), data=(bytes(64 * 64 * samples * bits // 8),))))
    return path


def test_developed_tiffs_are_told_from_samples(tmp_path):
    assert no_raw_file(tiff(tmp_path / "a.tif", samples=3, bits=16, photometric=2)) == "a developed TIFF picture"
    assert no_raw_file(tiff(tmp_path / "b.tiff", samples=1, bits=8, photometric=1)) == "a developed TIFF picture"
    assert no_raw_file(tiff(tmp_path / "c.tif", samples=1, bits=16, photometric=1)) is None
    assert no_raw_file(tiff(tmp_path / "d.tif", samples=1, bits=16, photometric=32803)) is None
    assert no_raw_file(tiff(tmp_path / "e.nef", samples=3, bits=8, photometric=2)) is None


def test_whole_files_pass(shared_data):
    for name in (
        "gopro-fusion-front_GPFR7066.dng",
        "canon-eos-kiss-x4_magiclantern_colorchart.dng",
        "kodak-dc50_dc0008l.kdc",
    ):
        require_whole(shared_data / "raw" / name)


@pytest.mark.parametrize("name", ["fixture-Leica-M10.dng", "fixture-sony-zv-e10.arw", "canon-eos-r6_canon-r6.cr3"])
def test_files_cut_short_are_refused_with_what_is_missing(shared_data, name):
    with pytest.raises(FrameError, match="bytes of picture data are missing") as refused:
        require_whole(shared_data / "raw" / "truncated" / name)
    assert "copy it again" in refused.value.remedy


def test_every_cut_of_a_dng_is_noticed(shared_data, tmp_path):
    data = (shared_data / "raw" / "nikon_dsc1339_768x512_wrapped.dng").read_bytes()
    for share in (0.05, 0.3, 0.7, 0.999):
        path = tmp_path / f"{share}.dng"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(FrameError):
            require_whole(path)


def test_a_file_that_is_gone_is_a_frame_error(tmp_path):
    with pytest.raises(FrameError, match="the file is gone"):
        require_whole(tmp_path / "gone.dng")


def test_offsets_that_are_no_whole_numbers_promise_nothing(tmp_path):
    path = tmp_path / "fractions.dng"
    nothing = Entry(tag=279, type=5, count=1, data=bytes(8))  # 0/0
    path.write_bytes(encode(Directory(entries=(long(273, 8), nothing))))
    require_whole(path)
