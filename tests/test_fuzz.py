"""Damaged files cost themselves and nothing else: a few hundred of the inputs of `tests/soak/fuzz.py`."""

import pytest

from tests.soak import fuzz, mutations, seeds


@pytest.fixture(scope="module")
def files():
    return seeds.virtual() | (seeds.real_heads(fuzz.REAL) if fuzz.REAL.is_dir() else {})


def test_no_damaged_file_meets_an_error_that_nobody_foresaw(files):
    tally = fuzz.campaign(range(200), 20261123, files)
    assert tally.bugs == []
    assert tally.kinds["refused"] > 50
    assert tally.kinds["decoded"] + tally.kinds["cleaned"] > 20


def test_a_campaign_repeats_itself(files):
    assert [fuzz.damaged(number, 7, files) for number in range(20)] == [
        fuzz.damaged(number, 7, files) for number in range(20)
    ]


def test_the_entries_of_nested_directories_are_found(files):
    data = files["virtual-bayer.dng"]
    tags = {int.from_bytes(data[at : at + 2], "little") for _, at in mutations.entries(data)}
    assert {0x010F, 0x014A, 324, 50717, 0x829D} <= tags  # IFD0, its SubIFDs, Exif
