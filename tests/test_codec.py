"""What one dustd writes every other one reads: values become JSON and come back, unknown keys are passed over."""

import json
import math
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd import codec
from dustd.codec import Codec
from tests.later import with_news


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    width_px: float
    kind: Literal["round", "long"] = "round"
    at: tuple[str, int | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    name: str
    count: int = 0
    parts: tuple[Part, ...] = ()
    by_name: dict[str, Part] | None = None
    done: bool = False


numbers = st.floats(allow_nan=False, allow_infinity=False)
parts = st.builds(
    Part, width_px=numbers, kind=st.sampled_from(["round", "long"]), at=st.none() | st.tuples(st.text(), st.integers())
)
wholes = st.builds(
    Whole,
    name=st.text(),
    count=st.integers(),
    parts=st.lists(parts, max_size=3).map(tuple),
    by_name=st.none() | st.dictionaries(st.text(), parts, max_size=2),
    done=st.booleans(),
)
renaming = Codec({Part: {"width_px": "width"}})


@given(wholes, st.sampled_from([codec.DEFAULT, renaming]))
def test_what_is_written_reads_back(whole, by):
    assert by.read(Whole, codec.parse(codec.to_bytes(by.plain(whole)))) == whole


@given(parts)
def test_keys_of_a_later_version_are_passed_over_at_every_depth(part):
    whole = Whole(name="a", parts=(part,))
    data = with_news(codec.DEFAULT.plain(whole))
    assert codec.DEFAULT.read(Whole, data) == whole


def test_keys_of_an_earlier_version_that_are_missing_take_the_default():
    assert codec.DEFAULT.read(Whole, {"name": "a"}) == Whole(name="a")


def test_a_word_of_a_later_version_stays_as_it_is():
    assert codec.DEFAULT.read(Part, {"width_px": 1, "kind": "square"}).kind == "square"


def test_a_field_may_have_another_name_in_json():
    assert renaming.plain(Part(width_px=2.0))["width"] == 2.0
    assert renaming.read(Part, {"width": 2}) == Part(width_px=2.0)


def test_a_number_json_cannot_say_is_null_and_comes_back_as_no_number():
    data = codec.to_bytes(codec.DEFAULT.plain(Part(width_px=math.inf)))
    assert json.loads(data)["width_px"] is None
    assert math.isnan(codec.DEFAULT.read(Part, codec.parse(data)).width_px)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"name": None},
        {"name": 5},
        {"name": "a", "count": "5"},
        {"name": "a", "count": 1.5},
        {"name": "a", "count": True},
        {"name": "a", "done": 1},
        {"name": "a", "parts": {}},
        {"name": "a", "parts": "ab"},
        {"name": "a", "parts": [[]]},
        {"name": "a", "parts": [{}]},
        {"name": "a", "parts": [{"width_px": "wide"}]},
        {"name": "a", "parts": [{"width_px": 1, "at": ["x"]}]},
        {"name": "a", "by_name": []},
        [],
        "a",
        None,
    ],
)
def test_a_value_of_another_kind_is_refused(data):
    with pytest.raises(ValueError):
        codec.DEFAULT.read(Whole, data)


@pytest.mark.parametrize("data", [b"", b"\xff", b"{", b"[" * 100_000])
def test_what_is_not_json_is_a_value_error(data):
    with pytest.raises(ValueError, match=r".+"):
        codec.parse(data)


def test_a_name_that_is_not_unicode_survives():
    name = b"IMG_\xff".decode(errors="surrogateescape")
    data = codec.to_bytes({"name": name})
    data.decode("utf-8")
    assert codec.parse(data)["name"] == name


@pytest.mark.parametrize(("version", "read"), [("1.0", True), ("1.9", True), ("2.0", False), ("10.0", False)])
def test_minor_versions_are_read_and_major_ones_are_not(version, read):
    data = {"schema": "x", "schema_version": version}
    if read:
        assert codec.require(data, "x", "1.2") == data
    else:
        with pytest.raises(ValueError, match="version"):
            codec.require(data, "x", "1.2")
