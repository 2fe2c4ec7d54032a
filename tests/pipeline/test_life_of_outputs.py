"""What becomes of outputs when names and exposures change: docs/outputs.md, "Whose an output is"."""

import contextlib
import hashlib
import itertools
import json
import os
import shutil

import numpy as np
import pytest

from dustd import files
from dustd.config import Config
from dustd.demo.scenes import SESSION
from dustd.demo.virtual import Lens, expose, frame_of, make_body
from dustd.errors import FrameError, OwnOutputError
from dustd.output import ledger, sidecar
from dustd.output.dng import encode_dng
from dustd.output.sidecar import decode, sidecar_name
from dustd.output.tree import OutputTree
from dustd.pipeline.reject import reject
from dustd.raw.copied_tags import SourceMetadata


@pytest.fixture(scope="module")
def other_shot() -> bytes:
    """Another exposure of the same body as that of `shot`."""
    body = make_body("V6-TEST", seed=11, width=1000, height=720)
    lens = Lens(name="Virtual 70mm F2.8", focal_length_mm=70, exit_pupil_mm=78)
    taken = {"f_number": 16, "lens": lens, "taken_at": "2026-11-23T10:07:00", "exposure_s": 1 / 125}
    exposure = expose(body, SESSION[1](np.random.default_rng(5), 720, 1000), seed=10, **taken)
    preview = np.zeros((360, 500, 3), np.uint8)
    return encode_dng(
        frame_of(exposure), exposure.mosaic, SourceMetadata(), preview_rgb=preview, original_name="SHOT.DNG"
    )


@pytest.fixture
def clean(make, blind):
    """Clean with the shipped model, or one that sees nothing, which is enough where only names matter."""

    def run(source, out, *, seeing=False, sensitivity=50.0, **output):
        pipeline = make(sensitivity, **output)
        if not seeing:
            pipeline.detector = blind
        return pipeline.process(source, out)

    return run


@pytest.fixture
def fail(make):
    def run(source, out):
        return make().fail(source, out, FrameError("it is cut short", remedy="Copy it again", path=source))

    return run


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def told(out, name):
    return decode((out / sidecar_name(name)).read_bytes())


def of_whom(out):
    """Say by which source's content each cleaned file is listed; one that nobody lists is an orphan."""
    listed = {}
    for path in out.glob("*" + sidecar.SUFFIX):
        record = decode(path.read_bytes())
        for output in record.outputs:
            assert digest(out / output.path) == output.sha256
            listed[output.path] = record.source.sha256
    assert {each.name for each in out.iterdir() if not each.name.endswith(sidecar.SUFFIX)} == set(listed)
    return listed


def test_another_exposure_of_the_same_name_leaves_the_first_ones_cleaned_file_alone(clean, shot, other_shot, store):
    path, out = shot
    clean(path, out)
    first, before = digest(path), (out / "SHOT.dng").read_bytes()
    path.write_bytes(other_shot)
    record = clean(path, out)
    assert (out / "SHOT.dng").read_bytes() == before
    assert record.source.sha256 == digest(path) and ledger.is_done(path, out / "SHOT.DNG.dustd.json")
    assert of_whom(out) == {"SHOT.dng": first, "SHOT.DNG.dng": digest(path)}
    assert [body.frames for body in store.bodies()] == [2]


def test_a_counter_that_restarts_again_and_again_replaces_nothing(clean, shot, dusty_shot, other_shot):
    path, out = shot
    contents = [dusty_shot[1], other_shot, dusty_shot[1], other_shot]
    for content in contents:
        path.write_bytes(content)
        clean(path, out)
    sources = {hashlib.sha256(each).hexdigest() for each in contents}
    assert set(of_whom(out).values()) == sources and len(of_whom(out)) == 2
    assert told(out, "SHOT.DNG").source.sha256 == digest(path)


def test_names_that_all_move_on_by_one_leave_each_exposure_one_cleaned_file(clean, shot, other_shot):
    """As when a counter is corrected: IMG_1 becomes IMG_2, and IMG_2 becomes IMG_3."""
    path, out = shot
    first, second, third = (path.with_name(f"IMG_{number}.DNG") for number in (1, 2, 3))
    path.rename(first)
    second.write_bytes(other_shot)
    clean(first, out)
    clean(second, out)
    second.rename(third)
    first.rename(second)
    clean(second, out)
    clean(third, out)
    assert sorted(of_whom(out).values()) == sorted([digest(second), digest(third)])
    assert [name for name in names(out) if name.endswith(sidecar.SUFFIX)] == [
        sidecar_name(each.name) for each in (second, third)
    ]


def test_a_sidecar_that_names_a_file_elsewhere_has_nothing_removed_there(clean, shot):
    path, out = shot
    clean(path, out)
    precious = path.with_name("precious.dng")
    precious.write_bytes(b"precious")
    told_of = json.loads((out / "SHOT.DNG.dustd.json").read_bytes())
    told_of["outputs"].append({"kind": "dng", "path": "../precious.dng", "sha256": digest(precious)})
    (out / "SHOT.DNG.dustd.json").write_text(json.dumps(told_of))
    path.rename(path.with_name("NEW.DNG"))
    clean(path.with_name("NEW.DNG"), out)
    assert precious.read_bytes() == b"precious"
    assert names(out) == ["NEW.DNG.dustd.json", "NEW.dng"]


def test_the_same_exposure_with_tags_added_replaces_its_own_cleaned_file(clean, shot):
    path, out = shot
    clean(path, out)
    path.write_bytes(path.read_bytes() + b"a tag added later")
    clean(path, out)
    assert names(out) == ["SHOT.DNG.dustd.json", "SHOT.dng"] and of_whom(out) == {"SHOT.dng": digest(path)}


def test_another_format_replaces_the_cleaned_file(clean, shot):
    path, out = shot
    clean(path, out)
    clean(path, out, format="jpeg")
    assert names(out) == ["SHOT.DNG.dustd.json", "SHOT.jpg"]
    clean(path, out, format="tiff")
    assert names(out) == ["SHOT.DNG.dustd.json", "SHOT.tif"]


def test_a_cleaned_file_that_somebody_changed_or_develops_outlives_every_change(clean, shot):
    path, out = shot
    clean(path, out)
    with (out / "SHOT.dng").open("ab") as file:
        file.write(b"a rating")
    clean(path, out, format="jpeg")
    (out / "SHOT.jpg.xmp").write_text("develop settings")
    clean(path, out, format="tiff")
    assert names(out) == ["SHOT.DNG.dustd.json", "SHOT.dng", "SHOT.jpg", "SHOT.jpg.xmp", "SHOT.tif"]
    assert (out / "SHOT.dng").read_bytes().endswith(b"a rating")


def test_when_clean_skip_takes_back_the_file_of_a_frame_that_is_without_dust_after_all(clean, shot):
    path, out = shot
    assert clean(path, out, seeing=True, sensitivity=100, when_clean="skip").status == "cleaned"
    assert names(out) == ["SHOT.DNG.dustd.json", "SHOT.dng"]
    assert clean(path, out, seeing=True, sensitivity=0, when_clean="skip").status == "clean"
    assert names(out) == ["SHOT.DNG.dustd.json"]


def test_a_failure_keeps_what_was_cleaned_and_who_it_belongs_to(clean, fail, shot):
    path, out = shot
    whole = path.read_bytes()
    clean(path, out)
    before = (out / "SHOT.dng").read_bytes()
    path.write_bytes(whole[:-20_000])
    record = fail(path, out)
    assert (record.status, record.outputs) == ("failed", ())
    assert told(out, "SHOT.DNG").status == "failed"
    assert (out / "SHOT.dng").read_bytes() == before
    assert of_whom(out) == {"SHOT.dng": hashlib.sha256(whole).hexdigest()}


def test_a_frame_that_comes_whole_again_after_a_failure_has_its_outputs_back(clean, fail, shot):
    path, out = shot
    whole = path.read_bytes()
    clean(path, out)
    path.write_bytes(whole[:-20_000])
    fail(path, out)
    path.write_bytes(whole)
    record = clean(path, out)
    assert names(out) == ["SHOT.DNG.dustd.json", "SHOT.dng"] and of_whom(out) == {"SHOT.dng": digest(path)}
    assert "detect" not in record.timings_ms


def test_outputs_are_renamed_with_their_source_and_nothing_is_looked_at_or_counted_again(clean, shot, store):
    path, out = shot
    clean(path, out)
    new = path.rename(path.with_name("CLIENT_7.DNG"))
    record = clean(new, out)
    assert names(out) == ["CLIENT_7.DNG.dustd.json", "CLIENT_7.dng"] and of_whom(out) == {"CLIENT_7.dng": digest(new)}
    assert record.source.name == "CLIENT_7.DNG" and "detect" not in record.timings_ms
    assert [body.frames for body in store.bodies()] == [1]


@pytest.fixture
def moved(make, blind, shot):
    """Clean the shot of day 1, then move it, or its whole folder, and clean it again in its new place."""
    path, out = shot

    def run(to, *, away=lambda source, new: source.rename(new)):
        source = path.parent / "day 1" / "cam a" / "SHOT.DNG"
        source.parent.mkdir(parents=True)
        path.rename(source)
        pipeline = make()
        pipeline.detector, pipeline.tree = blind, OutputTree([out], clock=itertools.count(0, 100).__next__)
        (out / "day 1" / "cam a").mkdir(parents=True)
        pipeline.process(source, out / "day 1" / "cam a")
        new = path.parent / to
        away(source, new)
        (out / to).parent.mkdir(parents=True, exist_ok=True)
        return pipeline.process(new, (out / to).parent)

    return run, out


def below(out):
    return sorted(str(each.relative_to(out)) for each in out.rglob("*"))


def test_outputs_that_are_not_to_follow_stay_as_orphans_and_the_frame_counts_once(clean, shot, store):
    path, out = shot
    clean(path, out, follow="nothing")
    before = {each: digest(out / each) for each in names(out)}
    new = path.rename(path.with_name("NEW.DNG"))
    clean(new, out, follow="nothing")
    assert names(out) == ["NEW.DNG.dustd.json", "NEW.dng", *before]
    assert {each: digest(out / each) for each in before} == before
    assert ledger.lost_source(out / "SHOT.DNG.dustd.json", path.parent) == path
    assert [body.frames for body in store.bodies()] == [1]


def test_outputs_that_are_not_to_follow_keep_their_name_against_the_same_stem(clean, shot):
    path, out = shot
    clean(path, out, follow="nothing")
    before = {each: (out / each).stat().st_ino for each in names(out)}
    clean(path.rename(path.with_name("SHOT.NEF")), out, follow="nothing")
    assert names(out) == ["SHOT.DNG.dustd.json", "SHOT.NEF.dng", "SHOT.NEF.dustd.json", "SHOT.dng"]
    assert {each: (out / each).stat().st_ino for each in before} == before


def test_outputs_that_were_set_aside_are_replaced_whatever_follows(clean, shot, other_shot):
    path, out = shot
    first = path.read_bytes()
    for content in (first, other_shot, first):
        path.write_bytes(content)
        clean(path, out, follow="nothing")
    assert sorted(of_whom(out).values()) == sorted(hashlib.sha256(each).hexdigest() for each in (first, other_shot))


def test_outputs_move_with_their_source_and_leave_no_empty_folder(moved, store):
    run, out = moved

    def rename_folder(source, new):
        source.parent.parent.rename(new.parent.parent)

    record = run("Client/cam a/SHOT.DNG", away=rename_folder)
    assert below(out) == ["Client", "Client/cam a", "Client/cam a/SHOT.DNG.dustd.json", "Client/cam a/SHOT.dng"]
    assert "detect" not in record.timings_ms and [body.frames for body in store.bodies()] == [1]


def test_outputs_follow_their_source_into_another_watched_folder(make, blind, shot, store):
    path, out = shot
    capture, later = path.parent / "capture", path.parent / "later"
    for folder in (capture, later, out / "later"):
        folder.mkdir(parents=True)
    source = path.rename(capture / "SHOT.DNG")
    pipeline = make()
    pipeline.detector, pipeline.tree = blind, OutputTree([out / "later", out], clock=itertools.count(0, 100).__next__)
    pipeline.process(source, out)
    record = pipeline.process(source.rename(later / "SHOT.DNG"), out / "later")
    assert below(out) == ["later", "later/SHOT.DNG.dustd.json", "later/SHOT.dng"]
    assert "detect" not in record.timings_ms and [body.frames for body in store.bodies()] == [1]


def test_a_copy_in_another_folder_of_the_tree_takes_nothing_from_the_first(moved):
    run, out = moved

    def copy(source, new):
        new.parent.mkdir()
        shutil.copy2(source, new)

    run("backup/SHOT.DNG", away=copy)
    assert {"day 1/cam a/SHOT.dng", "backup/SHOT.dng"} <= set(below(out))


def test_another_exposure_of_the_same_name_in_another_folder_takes_nothing_from_the_first(moved, other_shot):
    run, out = moved

    def replace(source, new):
        source.unlink()
        new.parent.mkdir()
        new.write_bytes(other_shot)

    run("day 2/SHOT.DNG", away=replace)
    assert {"day 1/cam a/SHOT.dng", "day 2/SHOT.dng"} <= set(below(out))


def test_a_cleaned_file_that_is_developed_stays_when_its_source_is_renamed(clean, shot):
    path, out = shot
    clean(path, out)
    (out / "SHOT.dng.xmp").write_text("develop settings")
    clean(path.rename(path.with_name("CLIENT_7.DNG")), out)
    assert names(out) == [
        "CLIENT_7.DNG.dustd.json",
        "CLIENT_7.dng",
        "SHOT.DNG.dustd.json",
        "SHOT.dng",
        "SHOT.dng.xmp",
    ]


def test_a_copy_under_another_name_takes_nothing_from_the_first(clean, shot):
    path, out = shot
    clean(path, out)
    copy = path.with_name("COPY.DNG")
    copy.write_bytes(path.read_bytes())
    clean(copy, out)
    assert names(out) == ["COPY.DNG.dustd.json", "COPY.dng", "SHOT.DNG.dustd.json", "SHOT.dng"]


def test_a_copy_in_another_folder_takes_nothing_from_the_first(clean, shot, tmp_path):
    path, out = shot
    clean(path, out)
    (tmp_path / "mirror").mkdir()
    copy = tmp_path / "mirror" / "COPY.DNG"
    copy.write_bytes(path.read_bytes())
    clean(copy, out)
    assert names(out) == ["COPY.DNG.dustd.json", "COPY.dng", "SHOT.DNG.dustd.json", "SHOT.dng"]


def test_a_source_that_was_moved_away_leaves_its_outputs_where_they_are(clean, shot, other_shot):
    path, out = shot
    clean(path, out)
    first = digest(path)
    path.unlink()
    next_one = path.with_name("NEXT.DNG")
    next_one.write_bytes(other_shot)
    clean(next_one, out)
    assert of_whom(out) == {"SHOT.dng": first, "NEXT.dng": digest(next_one)}


def test_edits_belong_to_the_name_and_go_when_another_exposure_takes_it(clean, shot, other_shot):
    path, out = shot
    record = clean(path, out, seeing=True, sensitivity=100, edits=("darktable",))
    edit = path.with_name("SHOT.DNG.xmp")
    assert [each.result for each in record.edits] == ["written"] and edit.exists()
    path.write_bytes(other_shot)
    clean(path, out)
    assert not edit.exists()


def test_edits_that_somebody_changed_stay_when_another_exposure_takes_the_name(clean, shot, other_shot):
    path, out = shot
    clean(path, out, seeing=True, sensitivity=100, edits=("darktable",))
    edit = path.with_name("SHOT.DNG.xmp")
    edit.write_text(edit.read_text() + "<!-- rated -->")
    path.write_bytes(other_shot)
    clean(path, out)
    assert edit.read_text().endswith("<!-- rated -->")


@pytest.mark.parametrize("step", ["publish", "remove", "rename"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("change", ["exposure", "name", "format"])
def test_a_kill_in_between_leaves_nothing_that_the_next_run_does_not_put_in_order(
    clean, shot, other_shot, monkeypatch, step, nth, change
):
    path, out = shot
    clean(path, out)
    first, wanted = digest(path), {"format": "jpeg"} if change == "format" else {}
    if change == "exposure":
        path.write_bytes(other_shot)
    elif change == "name":
        path = path.rename(path.with_name("CLIENT_7.DNG"))

    class Killed(BaseException):
        pass

    real, calls = getattr(files, step), []

    def struck(*args, **kwargs):
        calls.append(args)
        if len(calls) == nth:
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(files, step, struck)
        with contextlib.suppress(Killed):
            clean(path, out, **wanted)
    clean(path, out, **wanted)
    expected = {
        "exposure": {"SHOT.dng": first, "SHOT.DNG.dng": digest(path)},
        "name": {"CLIENT_7.dng": first},
        "format": {"SHOT.jpg": first},
    }[change]
    assert of_whom(out) == expected


def test_a_long_name_steps_aside_under_its_hash(clean, shot, other_shot):
    path, out = shot
    path = path.rename(path.with_name("n" * 235 + ".DNG"))
    clean(path, out)
    first = digest(path)
    path.write_bytes(other_shot)
    clean(path, out)
    assert set(of_whom(out).values()) == {first, digest(path)}
    assert all(len(os.fsencode(name)) <= 255 for name in names(out))


def put_back(out, name, folder):
    folder.mkdir()
    copy = folder / "BACK.DNG"
    copy.write_bytes((out / name).read_bytes())
    return copy


def test_a_cleaned_file_that_comes_back_is_left_alone_and_not_counted(clean, shot, tmp_path, store):
    path, out = shot
    clean(path, out, seeing=True, sensitivity=100)
    copy = put_back(out, "SHOT.dng", tmp_path / "back")
    (tmp_path / "out2").mkdir()
    with pytest.raises(OwnOutputError):
        clean(copy, tmp_path / "out2")
    assert names(tmp_path / "out2") == []
    assert [body.frames for body in store.bodies()] == [1]


def test_a_cleaned_file_that_lost_its_mark_is_known_by_its_samples(clean, shot, tmp_path, store, monkeypatch):
    path, out = shot
    clean(path, out, seeing=True, sensitivity=100)
    copy = put_back(out, "SHOT.dng", tmp_path / "back")
    copy.write_bytes(copy.read_bytes().replace(b"urn:dustd:1.0/", b"urn:gone!:1.0/"))
    (tmp_path / "out2").mkdir()
    with pytest.raises(OwnOutputError):
        clean(copy, tmp_path / "out2")
    assert [body.frames for body in store.bodies()] == [1]
    with monkeypatch.context() as blind_to_samples:
        blind_to_samples.setattr(type(store), "is_cleaned", lambda *_: False)
        clean(copy, tmp_path / "out2")  # so it was the samples
    assert [body.frames for body in store.bodies()] == [2]


def test_a_verdict_makes_other_samples_that_are_known_as_well(clean, shot, tmp_path, store, worker):
    path, out = shot
    record = clean(path, out, seeing=True, sensitivity=100)
    spot = next(spot for spot in record.spots if spot.action != "left")
    settings = {"worker": worker, "store": store, "settings": Config(), "labelled": tmp_path / "labelled"}
    if sum(each.action != "left" for each in record.spots) == 1:
        pytest.skip("the only corrected spot: its rejection gives the original back")
    reject(out / "SHOT.dng", {spot.id}, **settings)
    body_id = record.camera.body_id
    first, second = record.outputs[0].samples, told(out, "SHOT.DNG").outputs[0].samples
    assert first != second and store.is_cleaned(body_id, first) and store.is_cleaned(body_id, second)
    assert not store.is_cleaned(body_id, record.evidence["frame_id"])
