"""Edits beside the RAW: written only when asked for, never over somebody's file, and told in dustd's own sidecar."""

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest

from dustd.config import OutputSettings
from dustd.dustmap.store import Store
from dustd.output import sidecar
from dustd.pipeline.frame_pipeline import Pipeline

SCHEMA = json.loads(Path(sidecar.__file__).with_name("sidecar.schema.json").read_bytes())
STRANGERS = {
    "SHOT.DNG.xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf="
    b"'http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description xmlns:xmp='http://ns.adobe.com/xap/1.0/' "
    b"xmp:Rating='4'/></rdf:RDF></x:xmpmeta>",
    "SHOT.DNG.pp3": b"[Version]\nAppVersion=5.9\nVersion=349\n\n[Exposure]\nCompensation=0.7\n",
}


@pytest.fixture
def clean(detector, darkroom, tmp_path, dusty_shot):
    """Clean the dusty shot in shoot/ into shoot/Cleaned/ with given output settings, as often as it is called."""
    shoot = tmp_path / "shoot"
    out = shoot / "Cleaned"
    out.mkdir(parents=True)
    source = shoot / "SHOT.DNG"
    source.write_bytes(dusty_shot[1])

    def run(*, sensitivity: float = 100.0, **output) -> sidecar.Record:
        with Store.open(":memory:") as store:
            pipeline = Pipeline(
                detector=detector,
                store=store,
                darkroom=darkroom,
                output=OutputSettings(**output),
                sensitivity_of=lambda body, source: sensitivity,
            )
            record = pipeline.process(source, out)
        assert source.read_bytes() == dusty_shot[1]
        written = json.loads((out / "SHOT.DNG.dustd.json").read_bytes())
        jsonschema.validate(written, SCHEMA)
        assert sidecar.from_dict(written).edits == record.edits
        return record

    run.folder = shoot
    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_nothing_is_written_beside_the_original_unless_asked_for(clean):
    assert clean().edits == ()
    assert names(clean.folder) == {"SHOT.DNG", "Cleaned"}


def test_edits_lie_beside_the_original_and_are_listed_as_ours(clean):
    record = clean(edits=("darktable", "rawtherapee"))
    assert names(clean.folder) == {"SHOT.DNG", "Cleaned", "SHOT.DNG.xmp", "SHOT.DNG.pp3"}
    corrected = sum(spot.action != "left" for spot in record.spots)
    assert [(edit.program, edit.result, edit.heals) for edit in record.edits] == [
        ("darktable", "written", corrected),
        ("rawtherapee", "written", corrected),
    ]
    for output in record.outputs[1:]:
        data = (clean.folder / "Cleaned" / output.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == output.sha256


def test_adobe_edits_of_a_dng_are_not_written_because_nobody_would_read_them(clean):
    (edit,) = clean(edits=("adobe",)).edits
    assert (edit.result, "inside" in edit.reason) == ("none", True)
    assert names(clean.folder) == {"SHOT.DNG", "Cleaned"}


def test_a_second_run_changes_nothing(clean):
    first = clean(edits=("darktable", "rawtherapee"))
    before = {name: (clean.folder / name).stat().st_mtime_ns for name in ("SHOT.DNG.xmp", "SHOT.DNG.pp3")}
    assert clean(edits=("darktable", "rawtherapee")) == first
    assert before == {name: (clean.folder / name).stat().st_mtime_ns for name in before}


def test_edits_asked_for_later_are_made_then(clean):
    clean()
    assert clean(edits=("rawtherapee",)).edits[0].result == "written"


def test_what_dustd_wrote_follows_the_next_judgement_of_the_frame(clean):
    """At sensitivity 0 fewer spots are corrected, if any: the edit heals those and no others."""
    clean(edits=("rawtherapee",))
    record = clean(edits=("rawtherapee",), sensitivity=0.0)
    corrected = sum(spot.action != "left" for spot in record.spots)
    path = clean.folder / "SHOT.DNG.pp3"
    assert record.edits[0].result == ("written" if corrected else "none")
    assert (path.read_text().count("\nSpot") if path.exists() else 0) == corrected


@pytest.mark.parametrize("name", STRANGERS)
def test_a_sidecar_that_is_there_is_kept(clean, name):
    (clean.folder / name).write_bytes(STRANGERS[name])
    record = clean(edits=("darktable", "rawtherapee"))
    kept = next(edit for edit in record.edits if edit.path.endswith(name))
    assert kept.result == "kept" and kept.reason
    assert (clean.folder / name).read_bytes() == STRANGERS[name]
    assert all(not output.path.endswith(name) for output in record.outputs)


@pytest.mark.parametrize("name", STRANGERS)
def test_merging_keeps_what_was_there_beside_it(clean, name):
    (clean.folder / name).write_bytes(STRANGERS[name])
    program = "darktable" if name.endswith("xmp") else "rawtherapee"
    (edit,) = clean(edits=(program,), edits_existing="merge").edits
    assert (edit.result, edit.heals > 0) == ("merged", True)
    assert (clean.folder / f"{name}.before-dustd").read_bytes() == STRANGERS[name]
    assert b"Spot" in (merged := (clean.folder / name).read_bytes()) or b"retouch" in merged


@pytest.mark.parametrize("name", STRANGERS)
def test_spots_are_not_merged_twice(clean, name):
    (clean.folder / name).write_bytes(STRANGERS[name])
    program = "darktable" if name.endswith("xmp") else "rawtherapee"
    clean(edits=(program,), edits_existing="merge")
    merged = (clean.folder / name).read_bytes()
    (clean.folder / "Cleaned" / "SHOT.DNG.dustd.json").unlink()
    (clean.folder / "Cleaned" / "SHOT.dng").unlink()
    (edit,) = clean(edits=(program,), edits_existing="merge").edits
    assert (edit.result, edit.heals) == ("none", 0)
    assert (clean.folder / name).read_bytes() == merged
    assert names(clean.folder) == {"SHOT.DNG", "Cleaned", name, f"{name}.before-dustd"}


def test_asking_for_merging_later_merges_what_was_kept(clean):
    (clean.folder / "SHOT.DNG.pp3").write_bytes(STRANGERS["SHOT.DNG.pp3"])
    assert clean(edits=("rawtherapee",)).edits[0].result == "kept"
    assert clean(edits=("rawtherapee",), edits_existing="merge").edits[0].result == "merged"


def test_an_edit_that_cannot_be_written_costs_the_edit_only(clean):
    (clean.folder / "SHOT.DNG.pp3").mkdir()
    record = clean(edits=("rawtherapee", "darktable"))
    assert [edit.result for edit in record.edits] == ["failed", "written"]
    assert record.edits[0].reason and record.status == "cleaned"


def test_a_sidecar_that_cannot_be_merged_is_left_and_the_reason_told(clean):
    (clean.folder / "SHOT.DNG.xmp").write_bytes(b"not XML")
    (edit,) = clean(edits=("darktable",), edits_existing="merge").edits
    assert edit.result == "failed" and "XML" in edit.reason
    assert (clean.folder / "SHOT.DNG.xmp").read_bytes() == b"not XML"
    assert names(clean.folder) == {"SHOT.DNG", "Cleaned", "SHOT.DNG.xmp"}
