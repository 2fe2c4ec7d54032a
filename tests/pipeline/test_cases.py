"""Small inputs that dustd once got wrong, or might (shared/cases), from file to sidecar."""

import os

import numpy as np
import pytest

from dustd.cli import batch
from dustd.config import OutputSettings
from dustd.errors import FrameError
from dustd.output import sidecar
from dustd.pipeline.frame_pipeline import Pipeline
from tests.soak import seeds
from tests.soak.standin import DarkestPlace

AT = "2026-11-23T10:00:00"


def run(pipeline, folder, out):
    jobs = batch.in_capture_order(batch.collect([folder], out))
    return list(batch.clean_all(jobs, pipeline, out))


@pytest.fixture
def quick(worker, store):
    """A pipeline that takes no time to look: what is asked here is what becomes of the rest of a file."""
    pieces = {"detector": DarkestPlace(), "store": store, "worker": worker, "output": OutputSettings()}
    return Pipeline(sensitivity_of=lambda *_: 50.0, **pieces)


def test_cleaned_files_that_come_back_are_left_alone_and_do_not_testify(case, quick, store):
    folder = case("15-cleaned-files-come-back")
    run(quick, folder / "in", folder / "out")
    (before,) = store.bodies()
    back = folder / "back"
    back.mkdir()
    for path in (folder / "out").glob("*.dng"):
        (back / path.name).write_bytes(path.read_bytes())
    assert run(quick, back, folder / "out2") == [None] * 6
    assert not any((folder / "out2").iterdir())
    (after,) = store.bodies()
    assert after.frames == before.frames == 6 and after.particles == before.particles


def test_odd_but_lawful_files_keep_levels_samples_and_what_is_known_of_them(case, quick, worker, tmp_path):
    folder = case("17-what-holds")
    records = {record.source.name: record for record in run(quick, folder / "in", tmp_path / "out")}
    assert len(records) == 11
    for name, record in records.items():
        assert record.status in ("clean", "cleaned"), name
        (output,) = record.outputs
        source, cleaned = (read(worker, path) for path in (folder / "in" / name, tmp_path / "out" / output.path))
        assert (source.kind, source.cfa, source.visible) == (cleaned.kind, cleaned.cfa, cleaned.visible), name
        assert np.array_equal(source.black, cleaned.black) and source.white == cleaned.white, name
        y, x = np.nonzero(np.atleast_3d(source.raw != cleaned.raw).any(2))
        near = [np.hypot(x - spot.x, y - spot.y) < 3 * spot.diameter_px for spot in record.spots]
        assert not len(x) or np.any(near, 0).all(), name
    unknown = [records[name].camera for name in ("f00.dng", "f0.dng")]
    assert [(camera.f_number, camera.focal_length_mm) for camera in unknown] == [(None, 50.0), (None, None)]
    assert records["latin1.dng"].camera.taken_at is None and records["latin1.dng"].camera.exposure_s is None
    assert records["latin1.dng"].camera.lens.startswith("Objektiv f")
    assert "no serial" in records["serial0.dng"].camera.body_id


def read(worker, path):
    frame = worker.decode(path, worker.read_camera(path))
    worker.clear()
    return frame


@pytest.mark.parametrize("form", ["dng", "tiff", "jpeg"])
def test_a_name_that_is_not_unicode_is_cleaned_in_every_format_with_every_edit(quick, tmp_path, form):
    source, out = tmp_path / os.fsdecode(b"M\xfcller.dng"), tmp_path / "out"
    try:
        source.write_bytes(seeds.shot(1).data)
    except OSError:
        pytest.skip("this file system takes no such names")
    out.mkdir()
    quick.output = OutputSettings(format=form, edits=("darktable", "rawtherapee", "adobe"))
    quick.sensitivity_of = lambda *_: 100.0  # what is corrected is not the question
    record = quick.process(source, out)
    assert record.status == "cleaned" and (out / record.outputs[0].path).is_file()
    assert quick.process(source, out) == sidecar.decode((out / sidecar.sidecar_name(source.name)).read_bytes())


def test_levels_that_make_no_sense_are_refused_in_words(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(seeds, "WHITE", seeds.BLACK)
    (tmp_path / "levels.dng").write_bytes(seeds.plain(np.full((72, 96), 900, np.uint16), serial="1", taken_at=AT))
    (tmp_path / "out").mkdir()
    with pytest.raises(FrameError, match="its levels make no sense"):
        quick.process(tmp_path / "levels.dng", tmp_path / "out")
