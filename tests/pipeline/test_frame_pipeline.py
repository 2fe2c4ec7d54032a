"""One frame from file to sidecar, with the shipped model: what is written, what is left alone, what is said."""

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from dustd.demo.virtual import frame_of
from dustd.dustmap import stack_cache
from dustd.errors import FrameError
from dustd.output import sidecar
from dustd.output.dng import encode_dng
from dustd.output.tiffwrite import raw_bytes
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.raw.copied_tags import SourceMetadata
from dustd.raw.frame import Camera, Frame, frame_identity
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera

SCHEMA = Path(sidecar.__file__).with_name("sidecar.schema.json")


def samples(path: Path) -> np.ndarray:
    with open_raw(path, read_camera(path)) as opened:
        return opened.frame.raw.copy()


def test_the_original_is_not_touched(make, shot, dusty_shot):
    path, out = shot
    before = path.stat()
    make().process(path, out)
    assert path.read_bytes() == dusty_shot[1]
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_name_that_leaves_no_room_for_the_sidecars_is_refused_before_any_work(make, shot):
    path, out = shot
    long = path.rename(path.with_name("n" * 250 + ".dng"))
    pipeline = make()
    pipeline.worker = pipeline.detector = None
    with pytest.raises(FrameError, match="a name of 265 bytes") as refused:
        pipeline.process(long, out)
    assert refused.value.path == long and "shorter by 10 bytes" in refused.value.remedy
    assert list(out.iterdir()) == []


def test_samples_outside_the_spots_are_bit_identical(make, shot):
    path, out = shot
    record = make(sensitivity=100).process(path, out)
    before, after = samples(path), samples(out / record.outputs[0].path)
    rows, columns = np.indices(before.shape)
    inside = np.zeros(before.shape, bool)
    for spot in record.spots:
        if spot.action != "left":
            reach = 1.5 * spot.diameter_px + spot.edge_px + 8
            inside |= np.hypot(columns - spot.x, rows - spot.y) <= reach
    assert record.status == "cleaned"
    assert np.array_equal(before[~inside], after[~inside])
    assert not np.array_equal(before, after)


def test_levels_white_balance_and_colour_matrix_come_through(make, shot):
    path, out = shot
    record = make().process(path, out)
    cleaned = out / record.outputs[0].path
    with open_raw(path, read_camera(path)) as a, open_raw(cleaned, read_camera(cleaned)) as b:
        assert a.frame.white == b.frame.white
        assert a.frame.cfa == b.frame.cfa
        assert a.frame.black == pytest.approx(b.frame.black)
        assert a.frame.wb == pytest.approx(b.frame.wb, rel=1e-3)
        assert a.frame.xyz_to_camera == pytest.approx(b.frame.xyz_to_camera, abs=2e-3)
        assert a.frame.camera.body_id == b.frame.camera.body_id


def test_the_sidecar_keeps_to_its_schema(make, shot):
    path, out = shot
    make().process(path, out)
    written = json.loads((out / "SHOT.DNG.dustd.json").read_text())
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(written)
    assert set(written["timings_ms"]) == {"read", "detect", "reconcile", "correct", "write", "total"}
    assert written["source"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_spot_says_why(make, shot):
    path, out = shot
    record = make(sensitivity=100).process(path, out)
    assert record.spots
    assert all(spot.reason for spot in record.spots)


def test_a_frame_processed_twice_counts_once_and_is_written_once(make, shot, store):
    path, out = shot
    first = make().process(path, out)
    written = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert make().process(path, out) == first
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == written
    assert [body.frames for body in store.bodies()] == [1]


def test_each_frame_is_averaged_into_its_bodys_stack_once(make, shot, store, tmp_path):
    path, out = shot
    pipeline = make()
    pipeline.stacks = tmp_path / "stacks"
    record = pipeline.process(path, out)
    pipeline.process(path, out)
    stack = stack_cache.load(pipeline.stacks, record.camera.body_id)
    assert stack.frame_ids == (record.evidence["frame_id"],)
    assert stack.epoch == store.epoch(record.camera.body_id)


def test_the_same_exposure_under_another_name_counts_once(make, shot, store):
    path, out = shot
    copy = path.with_name("COPY.DNG")
    copy.write_bytes(path.read_bytes())
    make().process(path, out)
    make().process(copy, out)
    assert [body.frames for body in store.bodies()] == [1]


def test_another_sensitivity_cleans_anew_over_its_own_output(make, shot):
    path, out = shot
    make(sensitivity=0).process(path, out)
    record = make(sensitivity=100).process(path, out)
    assert record.detector.sensitivity == 100
    assert sorted(p.name for p in out.iterdir()) == ["SHOT.DNG.dustd.json", "SHOT.dng"]


class Counted:
    """The shipped model, counting the tiles it is asked about."""

    def __init__(self, detector) -> None:
        self._detector = detector
        self.tiles = 0

    def __getattr__(self, name):
        return getattr(self._detector, name)

    def __call__(self, tiles):
        self.tiles += len(tiles)
        return self._detector(tiles)


@pytest.fixture
def counted(make, detector):
    """Build pipelines whose detectors count in one place."""
    counting = Counted(detector)

    def build(**settings) -> Pipeline:
        pipeline = make(**settings)
        pipeline.detector = counting
        return pipeline

    return build, counting


def test_no_frame_is_looked_at_twice_with_the_same_weights(counted, shot):
    build, counting = counted
    path, out = shot
    first = build(sensitivity=0).process(path, out)
    looked = counting.tiles
    assert looked > 0 and first.candidates
    more = build(sensitivity=100).process(path, out)
    build(sensitivity=100, format="tiff").process(path, out)
    again = build(sensitivity=0).process(path, out)
    assert counting.tiles == looked
    assert (first.status, more.status, again.status) == ("clean", "cleaned", "clean")
    assert more.candidates == first.candidates == again.candidates
    assert [(s.x, s.y, s.score) for s in again.spots] == [(s.x, s.y, s.score) for s in first.spots]
    assert "detect" not in again.timings_ms


def test_other_weights_and_another_exposure_are_looked_at(counted, shot):
    build, counting = counted
    path, out = shot
    build().process(path, out)
    looked = counting.tiles
    pipeline = build()
    counting.sha256 = "0" * 64
    pipeline.process(path, out)
    assert counting.tiles == 2 * looked
    path.write_bytes(path.read_bytes() + b"another ending")
    pipeline.process(path, out)
    assert counting.tiles == 3 * looked


def test_a_sidecar_without_candidates_is_read_and_the_frame_looked_at_again(counted, shot):
    build, counting = counted
    path, out = shot
    build(sensitivity=0).process(path, out)
    looked = counting.tiles
    old = out / "SHOT.DNG.dustd.json"
    data = json.loads(old.read_text())
    del data["candidates"]
    old.write_text(json.dumps(data | {"schema_version": "1.0"}))
    assert sidecar.decode(old.read_bytes()).candidates is None
    record = build(sensitivity=100).process(path, out)
    assert counting.tiles == 2 * looked and record.candidates


def test_a_file_that_would_look_otherwise_now_is_written_anew_and_no_other(make, shot):
    path, out = shot
    cleaned, written = out / "SHOT.jpg", []
    for settings in (
        {"jpeg_quality": 80, "profile": "srgb"},
        {"jpeg_quality": 90, "profile": "srgb"},
        {"jpeg_quality": 90, "profile": "adobe-rgb"},
        {"jpeg_quality": 90, "profile": "adobe-rgb", "review": "page"},
    ):
        record = make(format="jpeg", **settings).process(path, out)
        assert (record.outputs[0].quality, record.outputs[0].profile) == (settings["jpeg_quality"], settings["profile"])
        written.append(cleaned.read_bytes())
    assert len(set(written)) == 3 and written[2] == written[3]
    assert sorted(each.name for each in out.iterdir()) == ["SHOT.DNG.dustd.json", "SHOT.jpg"]


@pytest.mark.parametrize(("kind", "suffix"), [("tiff", ".tif"), ("jpeg", ".jpg")])
def test_developed_formats_are_written_upright(make, shot, kind, suffix):
    from PIL import Image

    path, out = shot
    record = make(format=kind).process(path, out)
    assert record.outputs[0].path == "SHOT" + suffix
    if kind == "jpeg":
        with Image.open(out / "SHOT.jpg") as picture:
            assert abs(picture.width - 1000) < 20


def test_a_stranger_with_our_name_is_kept_and_the_frame_is_still_cleaned(make, shot):
    path, out = shot
    (out / "SHOT.dng").write_bytes(b"somebody's edit")
    record = make().process(path, out)
    assert (out / "SHOT.dng").read_bytes() == b"somebody's edit"
    assert record.outputs[0].path == "SHOT.DNG.dng"


def test_a_frame_cut_short_is_an_error_with_a_remedy_and_a_failed_sidecar(make, shot):
    path, out = shot
    path.write_bytes(path.read_bytes()[:-20000])
    with pytest.raises(FrameError, match="cut short") as refused:
        make().process(path, out)
    record = make().fail(path, out, refused.value)
    assert (record.status, record.outputs) == ("failed", ())
    assert [p.name for p in out.iterdir()] == ["SHOT.DNG.dustd.json"]
    assert "copy it again" in record.error.remedy


def test_when_clean_skip_writes_only_the_sidecar_of_a_frame_without_dust(make, shot, blind):
    path, out = shot
    pipeline = make(when_clean="skip")
    pipeline.detector = blind
    record = pipeline.process(path, out)
    assert (record.status, record.outputs) == ("clean", ())
    assert [p.name for p in out.iterdir()] == ["SHOT.DNG.dustd.json"]


def test_the_identity_of_a_frame_is_that_of_its_samples(shot, tmp_path):
    path, _ = shot
    other = tmp_path / "other.dng"
    other.write_bytes(path.read_bytes() + b"a tag added later")
    with open_raw(path, read_camera(path)) as a, open_raw(other, read_camera(other)) as b:
        assert frame_identity(a.frame) == frame_identity(b.frame)


XTRANS = (
    (1, 0, 1, 1, 2, 1),
    (2, 1, 2, 0, 1, 0),
    (1, 0, 1, 1, 2, 1),
    (1, 2, 1, 1, 0, 1),
    (0, 1, 0, 2, 1, 2),
    (1, 2, 1, 1, 0, 1),
)


def plain_dng(kind: str) -> bytes:
    """A grey gradient with three soft 25 % shadows, as a sensor of *kind* records it."""
    rng = np.random.default_rng(12)
    ys, xs = np.mgrid[:528, :672]
    light = 0.3 + 0.1 * xs / 672
    for x, y in ((150, 120), (420, 300), (250, 420)):
        light = light * (1 - 0.25 / (1 + np.exp((np.hypot(xs - x, ys - y) - 12) / 1.5)))
    samples = light * 14000 + rng.normal(0, 30, light.shape)
    cfa = XTRANS if kind == "xtrans" else ((1,),)
    if kind == "linear":
        samples = samples[..., None] + rng.normal(0, 30, (*light.shape, 3))
    raw = samples.round().clip(0, 16383).astype(np.uint16)
    frame = Frame(
        raw=raw,
        visible=(0, 0, 528, 672),
        kind=kind,
        cfa=cfa,
        black=np.zeros(3 if kind == "linear" else (len(cfa), len(cfa)), np.float32),
        white=16383,
        wb=(1.0, 1.0, 1.0),
        xyz_to_camera=np.array([[0.7, -0.08, -0.1], [-0.44, 1.26, 0.21], [-0.09, 0.2, 0.58]]),
        camera=Camera(make="Test", model=f"Test {kind}", serial="1234567", body_id=f"Test {kind} #1234567"),
    )
    preview = np.zeros((264, 336, 3), np.uint8)
    return encode_dng(frame, raw, SourceMetadata(), preview_rgb=preview, original_name="PLAIN.DNG")


@pytest.mark.parametrize("kind", ["xtrans", "mono", "linear"])
def test_every_kind_of_sensor_is_cleaned(make, tmp_path, kind):
    path, out = tmp_path / "PLAIN.DNG", tmp_path / "out"
    path.write_bytes(plain_dng(kind))
    out.mkdir()
    record = make(sensitivity=100).process(path, out)
    cleaned = out / record.outputs[0].path
    with open_raw(path, read_camera(path)) as a, open_raw(cleaned, read_camera(cleaned)) as b:
        assert (a.frame.kind, b.frame.kind) == (kind, kind)
        before, after = a.frame.raw, b.frame.raw
    given_back = [spot for spot in record.spots if spot.action != "left"]
    assert {(round(s.x / 10), round(s.y / 10)) for s in given_back} >= {(15, 12), (42, 30), (25, 42)}
    for spot in given_back:
        x, y = round(spot.x), round(spot.y)
        assert after[y - 3 : y + 4, x - 3 : x + 4].mean() > 1.2 * before[y - 3 : y + 4, x - 3 : x + 4].mean()
    assert np.array_equal(before[:60], after[:60])


def test_what_a_dng_cannot_take_over_is_said_in_the_sidecar(make, blind, shot, dusty_shot):
    path, out = shot
    frame = frame_of(dusty_shot[0])
    rgb = np.repeat(frame.mosaic[..., None], 3, axis=2)
    linear = replace(
        frame, raw=rgb, visible=(0, 0, *rgb.shape[:2]), kind="linear", cfa=((1,),), black=frame.black[0, [0] * 3]
    )
    words = SourceMetadata(raw=(raw_bytes(51022, bytes(4)),))
    preview = np.zeros((360, 500, 3), np.uint8)
    data = encode_dng(linear, rgb, words, preview_rgb=preview, original_name="SHOT.DNG")
    third, second = struct.pack("<HH", 51022, 1), struct.pack("<HH", 51009, 1)  # opcodes after and before demosaicing
    path.write_bytes(data.replace(third, second))
    pipeline = make()
    pipeline.detector = blind
    (output,) = pipeline.process(path, out).outputs
    assert output.left_out == ("OpcodeList2: they are for samples before demosaicing",)
    assert pipeline.process(path, out).outputs == (output,)  # as it was read back
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(
        json.loads((out / "SHOT.DNG.dustd.json").read_text())
    )


def test_the_sidecar_keeps_when_the_exposure_was_first_read(make, blind, shot, monkeypatch):
    source, out = shot
    times = iter(f"2026-11-10T12:00:0{n}.000+00:00" for n in range(9))
    monkeypatch.setattr("dustd.pipeline.frame_pipeline.now", lambda: next(times))
    first, again = make(), make(sensitivity=60.0)
    first.detector = again.detector = blind
    first.fail(source, out, FrameError("it was cut short", remedy="Copy it again"))
    said = [pipeline.process(source, out).source.read_at for pipeline in (first, again)]
    assert said == ["2026-11-10T12:00:00.000+00:00"] * 2
