"""What cannot be taken although it is whole is refused in words that help; what can be taken is let through."""

import struct

import pytest

from dustd.errors import FrameError
from dustd.output.tiffwrite import Directory, encode, long, raw_bytes, short
from dustd.raw.support import require_supported


def image(*, kind=0, photometric=32803, compression=1, sample_format=1, pattern=(2, 2), width=640, height=480):
    """A directory of samples, without the samples."""
    entries = (
        *(long(254, kind), long(256, width), long(257, height), short(258, 16), short(259, compression)),
        *(short(262, photometric), short(277, 1), short(339, sample_format), short(33421, *pattern)),
        raw_bytes(33422, bytes(pattern[0] * pattern[1])),
    )
    return Directory(entries=entries)


def written(tmp_path, *images):
    path = tmp_path / "A.DNG"
    path.write_bytes(encode(Directory(entries=(short(274, 1),), children={330: tuple(images)})))
    return path


@pytest.mark.parametrize(
    ("images", "problem", "remedy"),
    [
        ([image(sample_format=3)], "floating-point", "merged from"),
        ([image(), image(), image(), image()], "4 raw pictures", "merge or split"),
        ([image(pattern=(4, 4))], "4×4 colour pattern", "bin it"),
        ([image(compression=52546)], "JPEG XL", "DNG converter"),
        ([image(photometric=34892, compression=52546, pattern=(1, 1))], "JPEG XL", "lossless"),
    ],
)
def test_what_cannot_be_cleaned_says_why_and_what_to_do(tmp_path, images, problem, remedy):
    path = written(tmp_path, *images)
    with pytest.raises(FrameError, match=problem) as refused:
        require_supported(path)
    assert remedy in refused.value.remedy and refused.value.path == path
    assert "copy it again" not in refused.value.remedy


@pytest.mark.parametrize("head", [b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"])
def test_a_bigtiff_is_named_as_what_it_is(tmp_path, head):
    path = tmp_path / "A.DNG"
    path.write_bytes(head + struct.pack("<Q", 16) + bytes(64))
    with pytest.raises(FrameError, match="BigTIFF"):
        require_supported(path)


@pytest.mark.parametrize(
    "images",
    [
        [image()],
        [image(pattern=(6, 6))],
        [image(), image(kind=1, width=320, height=240)],  # a smaller one beside it
        [image(kind=4, photometric=4, sample_format=3), image()],  # a mask
        [image(kind=8, photometric=51177, sample_format=3), image()],  # a depth map
        [image(), image(kind=16, photometric=34892)],  # an enhanced picture
        [image(compression=7)],
        [image(compression=34892, photometric=34892)],
    ],
)
def test_what_can_be_cleaned_is_let_through(tmp_path, images):
    require_supported(written(tmp_path, *images))


@pytest.mark.parametrize("data", [b"", b"II", b"FUJIFILM" + bytes(100), b"II*\0\xff\xff\xff\xff"])
def test_what_is_no_tiff_is_for_libraw_to_judge(tmp_path, data):
    path = tmp_path / "A.RAF"
    path.write_bytes(data)
    require_supported(path)


def test_every_real_file_that_libraw_reads_is_let_through(shared_data):
    for path in sorted((shared_data / "raw").iterdir()):
        if path.is_file() and path.suffix.lower() != ".gpr":
            require_supported(path)
