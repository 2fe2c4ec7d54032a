"""A sidecar says what the published schema promises, and reads back as the record it came from."""

import dataclasses
import importlib.resources
import json
import math

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dustd.output import sidecar
from dustd.output.sidecar import DetectorInfo, Output, Problem, Record, Source
from dustd.raw.frame import Camera
from dustd.spots.shape import Outline
from dustd.spots.spot import Candidate, Refused, Spot
from tests.later import with_news

SCHEMA = json.loads(importlib.resources.files("dustd.output").joinpath("sidecar.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
name = text.filter(bool)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
positive = st.floats(0, 1e6, width=32)
share = st.floats(0, 1, width=32)
sha256 = st.text("0123456789abcdef", min_size=64, max_size=64)
maybe = lambda strategy: st.none() | strategy  # noqa: E731

cameras = st.builds(
    Camera,
    make=maybe(text),
    model=maybe(text),
    body_id=name,
    serial=maybe(text),
    serial_source=text,
    lens=maybe(text),
    focal_length_mm=maybe(positive),
    f_number=maybe(positive),
    iso=maybe(positive),
    exposure_s=maybe(positive),
    taken_at=maybe(text),
    orientation=st.integers(1, 8),
    pixel_pitch_um=maybe(positive),
)
sources = st.builds(Source, name=name, size=st.integers(0), sha256=sha256, mtime_ns=st.integers())
detectors = st.builds(
    DetectorInfo,
    model_id=name,
    sha256=sha256,
    device=text,
    sensitivity=st.floats(0, 100),
    threshold=share,
    tiles=st.integers(0),
    skipped_tiles=st.integers(0),
)
errors = st.floats(2**-10, 1e6, width=32)
outlines = st.builds(
    Outline,
    slenderness=positive,
    angle_deg=st.floats(0, 180, width=32),
    error=errors,
    feigned=errors,
    hollow=finite,
    hollow_error=positive,
)
spots = st.builds(
    Spot,
    id=st.integers(0),
    x=finite,
    y=finite,
    diameter_px=positive,
    edge_px=positive,
    attenuation=share,
    score=share,
    particle_id=maybe(text),
    confidence=maybe(share),
    frames_seen=maybe(st.integers(0)),
    wanted=st.booleans(),
    action=st.sampled_from(["divided", "inpainted", "left"]),
    reason=text,
    outline=maybe(outlines),
)
candidates = st.builds(
    Candidate,
    **dict.fromkeys(("x", "y", "shadow_x", "shadow_y", "gain"), finite),
    **dict.fromkeys(("width_px", "height_px", "diameter_px", "edge_px"), positive),
    **dict.fromkeys(("score", "attenuation"), share),
)
refused = st.builds(Refused, x=finite, y=finite, diameter_px=positive, reason=text) | st.builds(
    Refused,
    x=finite,
    y=finite,
    diameter_px=positive,
    reason=text,
    edge_px=positive,
    attenuation=st.floats(0, 1),
    gain=finite,
    box_px=positive,
    score=st.floats(0, 1),
    second_score=st.floats(0, 1),
)
timings = st.dictionaries(st.sampled_from(["read", "detect", "reconcile", "correct", "write", "total"]), positive)
finished = st.builds(
    Record,
    source=sources,
    camera=cameras,
    width=st.integers(0),
    height=st.integers(0),
    detector=detectors,
    spots=st.lists(spots, max_size=3).map(tuple),
    candidates=maybe(st.lists(candidates, max_size=2).map(tuple)),
    refused=st.lists(refused, max_size=2).map(tuple),
    outputs=st.lists(st.builds(Output, kind=text, path=name, sha256=sha256), max_size=2).map(tuple),
    timings_ms=timings,
    status=st.sampled_from(["cleaned", "clean"]),
    evidence=maybe(st.just({"frame_id": "ab", "grid": [[0.5, 1.0]]})),
)
failed = st.builds(
    Record,
    source=sources,
    camera=cameras,
    timings_ms=timings,
    status=st.just("failed"),
    error=st.builds(Problem, problem=name, remedy=name),
)
records = finished | failed
quick = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)


def a_record(**changes):
    record = Record(
        source=Source(name="IMG_0412.CR3", size=3, sha256="0" * 64, mtime_ns=1),
        camera=Camera(make="Canon", orientation=6),
        status="failed",
        error=Problem(problem="it is cut short", remedy="Copy it again"),
    )
    return dataclasses.replace(record, **changes)


def test_the_schema_is_a_valid_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@quick
@given(records)
def test_every_record_reads_back_as_it_was(record):
    assert sidecar.decode(sidecar.encode(record)) == record


@quick
@given(records)
def test_every_record_is_written_as_the_schema_says(record):
    VALIDATOR.validate(json.loads(sidecar.encode(record)))


# The contract of design §8, field by field.
CONTRACT = {
    "source": "name size sha256 mtime_ns",
    "camera": "make model body_id serial serial_source lens focal_length_mm f_number iso exposure_s taken_at",
    "frame": "coords width height orientation",
    "detector": "model_id sha256 device sensitivity threshold tiles skipped_tiles",
    "error": "problem remedy",
    "spot": "id x y diameter attenuation score particle_id confidence frames_seen action reason",
    "output": "kind path sha256",
}


@pytest.mark.parametrize(("part", "fields"), CONTRACT.items())
def test_the_schema_requires_the_fields_other_programs_read(part, fields):
    assert set(SCHEMA["$defs"][part]["required"]) == set(fields.split())


def test_the_schema_names_the_steps_that_are_timed():
    named = SCHEMA["properties"]["timings_ms"]["properties"]
    assert set(named) == {"read", "detect", "reconcile", "correct", "write", "total"}


@pytest.mark.parametrize("part", [None, "source", "camera", "frame", "error"])
def test_the_schema_allows_fields_it_does_not_know_everywhere(part):
    data = sidecar.to_dict(a_record())
    (data[part] if part else data)["new"] = 1
    VALIDATOR.validate(data)
    assert sidecar.from_dict(data) == a_record()


@quick
@given(records)
def test_fields_of_a_later_dustd_are_passed_over_at_every_depth(record):
    data = json.loads(sidecar.encode(dataclasses.replace(record, timings_ms={}, evidence=None)))
    news = with_news(data)
    news["timings_ms"] = {}  # its keys are steps, any may be there
    assert sidecar.from_dict(news) == sidecar.from_dict(data)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("status", "done"),
        ("schema_version", "2.0"),
        ("schema", "other"),
        ("spots", {}),
        ("error", None),
        ("source", None),
    ],
)
def test_the_schema_refuses_what_breaks_the_contract(part, value):
    data = {**sidecar.to_dict(a_record()), part: value}
    assert not VALIDATOR.is_valid(data)


def test_a_failed_frame_has_no_outputs():
    output = Output(kind="dng", path="a.dng", sha256="0" * 64)
    assert not VALIDATOR.is_valid(sidecar.to_dict(a_record(outputs=(output,))))


@pytest.mark.parametrize("version", ["0.9", "2.0", "10.0", "", None])
def test_other_major_versions_are_refused(version):
    with pytest.raises(ValueError, match="version"):
        sidecar.from_dict({**sidecar.to_dict(a_record()), "schema_version": version})


@quick
@given(finished)
def test_a_sidecar_from_before_outlines_is_read(record):
    data = sidecar.to_dict(record)
    for spot in data["spots"]:
        del spot["outline"]
    VALIDATOR.validate(data)
    assert all(spot.outline is None for spot in sidecar.from_dict(data).spots)


def test_later_minor_versions_are_read():
    assert sidecar.from_dict({**sidecar.to_dict(a_record()), "schema_version": "1.7"}) == a_record()


def test_the_orientation_is_told_once_in_the_frame():
    data = sidecar.to_dict(a_record())
    assert data["frame"]["orientation"] == 6 and "orientation" not in data["camera"]
    assert sidecar.from_dict(data).camera.orientation == 6


def test_a_number_json_cannot_say_becomes_null():
    record = a_record(camera=Camera(f_number=math.nan, exposure_s=math.inf))
    data = json.loads(sidecar.encode(record), parse_constant=pytest.fail)
    assert data["camera"]["f_number"] is None and data["camera"]["exposure_s"] is None


def test_a_file_name_that_is_not_unicode_survives():
    name = b"IMG_\xff.CR3".decode(errors="surrogateescape")
    record = a_record(source=Source(name=name, size=3, sha256="0" * 64, mtime_ns=1))
    data = sidecar.encode(record)
    data.decode("utf-8")
    assert sidecar.decode(data).source.name == name


def test_names_of_all_languages_stay_readable():
    record = a_record(source=Source(name="写真 é.CR3", size=3, sha256="0" * 64, mtime_ns=1))
    assert "写真 é.CR3" in sidecar.encode(record).decode()


def test_the_sidecar_is_named_after_the_whole_source_name():
    assert sidecar.sidecar_name("IMG_0412.CR3") == "IMG_0412.CR3.dustd.json"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)


@quick
@given(st.sampled_from(sorted(sidecar.to_dict(a_record()))), json_values)
def test_a_garbled_field_is_refused_with_a_value_error_or_read(part, value):
    data = {**sidecar.to_dict(a_record()), part: value}
    try:
        record = sidecar.from_dict(data)
    except ValueError:
        return
    assert isinstance(record, Record)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff", b'{"schema": "x"}', b"[" * 100_000])
def test_what_is_no_sidecar_is_refused_with_a_value_error(data):
    with pytest.raises(ValueError, match=r".+"):
        sidecar.decode(data)


@pytest.mark.parametrize(
    "missing", ["source", "camera", "frame", "detector", "spots", "outputs", "timings_ms", "status"]
)
def test_a_missing_field_is_refused(missing):
    data = sidecar.to_dict(a_record())
    del data[missing]
    with pytest.raises(ValueError, match=r".+"):
        sidecar.from_dict(data)
