"""`dustd reject`: what comes back in the cleaned file, what the sidecar and the map say, what is kept for training."""

import contextlib
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from dustd import files
from dustd.cli.main import main
from dustd.config import OutputSettings
from dustd.dustmap.store import Store
from dustd.errors import FrameError, SurroundingsError, UsageError
from dustd.output import sidecar
from tests.shoots import Shoot, around, samples

SCHEMA = json.loads(Path(sidecar.__file__).with_name("sidecar.schema.json").read_text())


@pytest.fixture
def alone(shoot):
    """The number of a corrected spot that is far from all others that were corrected."""

    def clear(spot, others):
        return min(math.hypot(spot.x - o.x, spot.y - o.y) for o in others if o.id != spot.id) > 150

    done = [spot for spot in shoot.record.spots if spot.action != "left"]
    return next(spot.id for spot in done if clear(spot, done))


def test_the_originals_samples_come_back_and_all_others_stay(shoot, alone):
    original, before = samples(shoot.source), samples(shoot.cleaned)
    shoot.reject(alone)
    after = samples(shoot.cleaned)
    here = around(shoot.spot(alone), original.shape)
    assert np.array_equal(after[here], original[here])
    assert np.array_equal(after[~here], before[~here])
    assert not np.array_equal(before[here], original[here])


def test_all_at_once_is_the_original_again(shoot):
    shoot.reject(*shoot.corrected())
    assert np.array_equal(samples(shoot.cleaned), samples(shoot.source))
    assert shoot.record.status == "clean"


def test_the_original_is_not_touched(shoot, dusty_shot, alone):
    shoot.reject(alone)
    assert shoot.source.read_bytes() == dusty_shot[1]


def test_the_sidecar_says_who_decided_and_what_was_before(shoot, alone):
    before = shoot.spot(alone)
    others = [spot for spot in shoot.record.spots if spot.id != alone]
    shoot.reject(alone)
    after = shoot.spot(alone)
    assert (after.action, after.wanted, after.rejected) == ("left", False, True)
    assert after.reason == f"rejected by a person (before: {before.reason})"
    assert [spot for spot in shoot.record.spots if spot.id != alone] == others
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(shoot.sidecar.read_text()))


def test_the_sidecar_vouches_for_the_new_file(shoot, alone):
    shoot.reject(alone)
    assert shoot.record.outputs[0].sha256 == files.sha256_file(shoot.cleaned)
    assert not [path for path in shoot.out.iterdir() if path.name.startswith(".dustd-")]


def test_undo_gives_the_very_same_file_back(shoot, alone):
    data, record = shoot.cleaned.read_bytes(), shoot.record
    shoot.reject(alone)
    shoot.reject(alone, undo=True)
    assert shoot.cleaned.read_bytes() == data
    assert shoot.record == record


def test_one_after_the_other_is_the_same_as_both_at_once(shoot, tmp_path, worker):
    first, second, *_ = shoot.corrected()
    other = Shoot(tmp_path / "other", worker)
    shutil.copytree(shoot.home, other.home)
    shoot.reject(first, second)
    other.reject(second)
    other.reject(first)
    assert np.array_equal(samples(shoot.cleaned), samples(other.cleaned))
    assert shoot.record.spots == other.record.spots


def test_saying_it_twice_changes_nothing(shoot, alone):
    assert shoot.reject(alone).changed == (alone,)
    written = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in shoot.home.rglob("*.d*")}
    told = shoot.reject(alone)
    assert told.changed == ()
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in written} == written
    with shoot.store() as store:
        assert len(store.rejections(told.record.camera.body_id)) == 1


@pytest.mark.parametrize("dots", [False, True])
@pytest.mark.parametrize("name", ["cleaned", "sidecar", "source"])
def test_the_frame_may_be_named_by_any_of_its_files(shoot, alone, name, dots):
    path = getattr(shoot, name)
    path = path.parent / "aside" / ".." / path.name if dots else path
    if name == "source":  # found through the configuration of the watched folder
        shutil.move(shoot.out, shoot.source.parent / "Cleaned")
        shoot.out = shoot.source.parent / "Cleaned"
        shoot.sidecar = shoot.out / shoot.sidecar.name
        text = f"folders:\n  - path: {shoot.source.parent}\nmap:\n  store: {shoot.home / 'maps.sqlite'}\n"
        (shoot.home / "config.yaml").write_text(text)
        assert main(["reject", "-c", str(shoot.home / "config.yaml"), str(path), str(alone)]) == 0
    else:
        shoot.reject(alone, path=path)
    assert shoot.spot(alone).rejected


def test_without_a_map_it_is_not_said_that_the_map_lacks_the_frame(shoot, alone, capsys):
    assert main(["reject", "--store", ":memory:", str(shoot.cleaned), str(alone)]) == 0
    said = capsys.readouterr().out
    assert "rejected by a person" in said and "No dust map was told, as asked for" in said
    assert "does not know this frame" not in said and shoot.spot(alone).rejected


def test_a_moved_original_has_to_be_named(shoot, alone, tmp_path):
    elsewhere = tmp_path / "archive"
    elsewhere.mkdir()
    shutil.move(shoot.source, elsewhere / "SHOT.DNG")
    with pytest.raises(UsageError, match="--source"):
        shoot.reject(alone)
    assert not shoot.spot(alone).rejected
    shoot.reject(alone, source=elsewhere)
    assert shoot.spot(alone).rejected


def test_both_folders_may_be_moved_together(shoot, alone, tmp_path, worker):
    moved = Shoot(tmp_path / "moved", worker)
    shutil.move(shoot.home, moved.home)
    moved.reject(alone)
    assert moved.spot(alone).rejected


def test_another_file_of_that_name_is_not_taken_for_the_original(shoot, alone):
    shoot.source.write_bytes(shoot.source.read_bytes() + b"\0")
    before = shoot.cleaned.read_bytes()
    with pytest.raises(FrameError, match="not the file that was cleaned"):
        shoot.reject(alone)
    assert shoot.cleaned.read_bytes() == before


def test_a_cleaned_file_that_somebody_edited_is_not_replaced(shoot, alone):
    edited = shoot.cleaned.read_bytes() + b"rating"
    shoot.cleaned.write_bytes(edited)
    with pytest.raises(FrameError, match="changed it since"):
        shoot.reject(alone)
    assert shoot.cleaned.read_bytes() == edited


def test_a_spot_that_is_not_there_is_named_with_those_that_are(shoot):
    with pytest.raises(UsageError, match="no spot 999"):
        shoot.reject(999)


def test_a_file_that_dustd_did_not_clean_has_no_sidecar(shoot, tmp_path):
    with pytest.raises(UsageError, match="no sidecar"):
        shoot.reject(1, path=tmp_path / "holiday.jpg")


@pytest.mark.parametrize("after", ["cleaned", "sidecar"])
def test_a_kill_between_two_steps_is_finished_by_the_same_command(shoot, alone, monkeypatch, after):
    original, real = samples(shoot.source), files.publish

    def killed(path, data, *, ours=()):
        if after == "cleaned" and path == shoot.sidecar:
            raise SurroundingsError("killed", remedy="")
        real(path, data, ours=ours)

    def judged(*_):
        raise SurroundingsError("killed", remedy="")

    with monkeypatch.context() as patch, contextlib.suppress(SurroundingsError):
        patch.setattr(files, "publish", killed)
        if after == "sidecar":
            patch.setattr(Store, "judge", judged)
        shoot.reject(alone)
    assert files.is_claimed(shoot.sidecar)
    told = shoot.reject(alone)
    here = around(shoot.spot(alone), original.shape)
    assert np.array_equal(samples(shoot.cleaned)[here], original[here])
    assert shoot.spot(alone).rejected and not files.is_claimed(shoot.sidecar)
    with shoot.store() as store:
        assert len(store.rejections(told.record.camera.body_id)) == 1


def test_a_kill_is_also_finished_by_the_next_cleaning(shoot, alone, monkeypatch, detector):
    def judged(*_):
        raise SurroundingsError("killed", remedy="")

    with monkeypatch.context() as patch, contextlib.suppress(SurroundingsError):
        patch.setattr(Store, "judge", judged)
        shoot.reject(alone)
    with shoot.store() as store:
        record = shoot.clean(detector, store)
        assert len(store.rejections(record.camera.body_id)) == 1
    assert shoot.spot(alone).rejected


def test_it_does_not_come_back_when_the_frame_is_cleaned_again(shoot, alone, detector):
    shoot.reject(alone)
    rejected = shoot.spot(alone)
    shoot.cleaned.unlink()
    with shoot.store() as store:
        record = shoot.clean(detector, store)
    here = around(rejected, samples(shoot.source).shape)
    assert np.array_equal(samples(shoot.cleaned)[here], samples(shoot.source)[here])
    assert [spot.id for spot in record.spots if spot.rejected]
    assert "cleaned" in record.status


def test_it_does_not_come_back_though_the_map_was_forgotten(shoot, alone, detector):
    shoot.reject(alone)
    shoot.cleaned.unlink()
    with Store.open(":memory:") as store:
        record = shoot.clean(detector, store)
        assert any(spot.rejected for spot in record.spots)
        assert len(store.rejections(record.camera.body_id)) == 1


@pytest.mark.parametrize("kind", ["tiff", "jpeg"])
def test_a_developed_picture_is_developed_anew_as_it_was_whatever_is_configured_now(shoot, detector, kind):
    with shoot.store() as store:
        shoot.clean(detector, store, format=kind, profile="adobe-rgb", jpeg_quality=70)
    number = shoot.corrected()[0]
    before = cv2.imread(str(shoot.cleaned))
    shoot.reject(number, output=OutputSettings(format="jpeg"))
    after = cv2.imread(str(shoot.cleaned))
    spot = shoot.spot(number)
    changed = np.argwhere((before != after).any(-1))
    assert len(changed)
    far = np.hypot(changed[:, 1] - spot.x, changed[:, 0] - spot.y) > 3 * spot.diameter_px + 24
    assert far.mean() < 0.01
    assert shoot.record.outputs[0].kind == kind


def test_the_edit_of_a_raw_developer_loses_the_heal_and_gets_it_back(shoot, detector):
    with shoot.store() as store:
        shoot.clean(detector, store, edits=("darktable",))
    edit = shoot.source.with_name("SHOT.DNG.xmp")
    before, (heals,) = edit.read_bytes(), [each.heals for each in shoot.record.edits]
    number = shoot.corrected()[0]
    shoot.reject(number)
    assert [each.heals for each in shoot.record.edits] == [heals - 1]
    assert edit.read_bytes() != before
    assert {each.kind: each.sha256 for each in shoot.record.outputs}["darktable"] == files.sha256_file(edit)
    shoot.reject(number, undo=True)
    assert edit.read_bytes() == before


# --- examples for training ------------------------------------------------------------------------------------------


def test_training_reads_a_rejected_spot_as_a_place_without_dust(shoot, alone):
    pytest.importorskip("torch")
    from dustd.train.labelled import read_labelled

    shoot.reject(alone)
    example, *more = read_labelled(shoot.labelled, least_side_px=576)
    assert not more
    spot = shoot.spot(alone)
    height, width = example.picture.shape[:2]
    left, top = (max(0, min(round(at) - 320, side - 640)) for at, side in ((spot.x, 1000), (spot.y, 720)))
    away = [math.hypot(x - (spot.x - left), y - (spot.y - top)) for x, y, *_ in example.boxes]
    assert (height, width) == (640, 640)
    assert len(example.boxes) and min(away) > spot.diameter_px / 2


def test_an_example_goes_when_the_rejection_is_taken_back(shoot, alone):
    shoot.reject(alone)
    assert len(list(shoot.labelled.iterdir())) == 2
    shoot.reject(alone, undo=True)
    assert not list(shoot.labelled.iterdir())


# --- on the page ----------------------------------------------------------------------------------------------------


def pictures(page):
    return re.findall(r'alt="Spot (\d+) (\w+)" src="([^"]*)"', page.read_text())


def test_the_page_of_frames_cleaned_earlier_shows_the_same(shoot):
    page = shoot.home / "second.html"
    command = ["clean", str(shoot.source), "-o", str(shoot.out), "--store", str(shoot.home / "maps.sqlite")]
    assert main([*command, "--sensitivity", "100", "--device", "cpu", "--review", str(page)]) == 0
    assert pictures(page) == pictures(shoot.home / "first.html")
    assert {int(number) for number, *_ in pictures(page)} >= set(shoot.corrected())


def test_the_page_names_the_command_that_takes_a_spot_back(shoot, alone, monkeypatch):
    found = re.findall(r"<code[^>]*>dustd (reject [^<]*)</code>", (shoot.home / "first.html").read_text())
    command = next(each.split() for each in found if each.endswith(f" {alone}"))
    monkeypatch.chdir(shoot.out)
    assert main([*command, "--store", str(shoot.home / "maps.sqlite")]) == 0
    assert shoot.spot(alone).rejected


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_did(shoot, alone, capsys):
    command = ["reject", str(shoot.cleaned), str(alone), "--store", str(shoot.home / "maps.sqlite")]
    assert main(command) == 0
    assert f"SHOT.DNG, spot {alone}: left; rejected by a person" in capsys.readouterr().out
    assert main(command) == 0
    assert "already left" in capsys.readouterr().out
    assert len(list((shoot.home / "labelled").iterdir())) == 2
    assert main([*command, "--undo"]) == 0
    assert "rejected" not in capsys.readouterr().out


def test_wrong_usage_is_told_in_words(shoot, capsys):
    assert main(["reject", str(shoot.cleaned), "999", "--store", ":memory:"]) == 2
    assert "Its spots are 1, " in capsys.readouterr().err


def test_a_frame_that_the_map_does_not_know_is_rejected_all_the_same(shoot, alone, capsys):
    assert main(["reject", str(shoot.cleaned), str(alone), "--store", str(shoot.home / "new.sqlite")]) == 0
    assert "dustd map rebuild" in capsys.readouterr().out
    assert (shoot.home / "new.sqlite").exists()
    assert shoot.spot(alone) == replace(shoot.spot(alone), rejected=True)
