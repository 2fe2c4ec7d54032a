"""The command line takes what the design promises, answers with the right exit code, and never with a traceback."""

import dataclasses
import datetime
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import structlog

from dustd import files
from dustd.cli import check, clean, main
from dustd.cli.tally import Tally
from dustd.dustmap import evidence
from dustd.dustmap.store import Store
from dustd.errors import FrameError, ModelError, SurroundingsError, UnreadableError
from dustd.output import sidecar
from dustd.output.edits import NOT_INTO_ORIGINALS
from dustd.output.sidecar import Edit, Problem, Record, Source
from dustd.pipeline.revisit import Visit
from dustd.raw.frame import Camera
from dustd.spots.spot import Spot

RAW = b"not really a RAW file, but nobody here decodes it"


@pytest.fixture(autouse=True)
def untouched_surroundings(monkeypatch, tmp_path):
    """Keep the user's own configuration and maps out, and logging as it was."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))
    monkeypatch.chdir(tmp_path)
    root, own = logging.getLogger(), logging.getLogger("dustd")
    before = root.handlers[:], root.level, own.level
    yield
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:], root.level, own.level = before


def dustd(*words):
    return main.main([str(word) for word in words])


class FakePipeline:
    """Stands in for model and sensor.

    "broken" files fail, "shaky" ones once, "full" ones meet a full disk, "odd" ones crash.
    """

    def __init__(self, sensitivity_of, output):
        self.sensitivity_of = sensitivity_of
        self.output = output
        self.seen = []
        self.visited = []
        self.waiting = set()

    def process(self, source, out_folder):
        self._meet(source, out_folder)
        return self._write(source, out_folder, status="clean", error=None)

    def see(self, source, out_folder):
        self._meet(source, out_folder)
        if not (out_folder / sidecar.sidecar_name(source.name)).exists():
            self.waiting.add(source)

    def fold(self, source, out_folder):
        assert self.is_seen(source, out_folder) or (out_folder / sidecar.sidecar_name(source.name)).exists()

    def is_seen(self, source, out_folder):
        return source in self.waiting

    def finish(self, source, out_folder, *, always=False):
        if not self.is_seen(source, out_folder):
            return self.revisit(source, out_folder, always=always)
        self.waiting.remove(source)
        return Visit(record=self._write(source, out_folder, status="clean", error=None))

    def _meet(self, source, out_folder):
        assert out_folder.is_dir()
        self.seen.append((source, out_folder, self.sensitivity_of("Canon 1", source)))
        if "takes" in source.name:
            source.with_name("broken-z.CR3").unlink()
        if "broken" in source.name:
            raise FrameError("it is cut short", remedy="Copy it again from the card", path=source)
        if "shaky" in source.name and sum(seen == source for seen, *_ in self.seen) == 1:
            raise UnreadableError("it cannot be read", remedy="Check the share", path=source)
        if "full" in source.name:
            raise SurroundingsError("the disk is full", remedy="Free some space")
        if "odd" in source.name:
            raise ZeroDivisionError("division by zero")
        if "stop" in source.name:
            raise KeyboardInterrupt

    def revisit(self, source, out_folder, *, write=True, always=True):
        self.visited.append((source.name, write, always))
        if not (out_folder / sidecar.sidecar_name(source.name)).exists():
            return Visit(record=None, left_alone="it has not been cleaned yet", undone=True)
        if "unread" in source.name:
            raise UnreadableError("it cannot be read", remedy="Check the share", path=source)
        record = sidecar.decode((out_folder / sidecar.sidecar_name(source.name)).read_bytes())
        if "edited" in source.name:
            return Visit(record=record, more=1, left_alone="another program has changed its cleaned file since")
        return Visit(record=record, more=3) if "early" in source.name else Visit(record=record)

    def fail(self, source, out_folder, error):
        if "gone" in source.name:
            raise FrameError("the file is gone", remedy="Nothing to do")
        return self._write(
            source, out_folder, status="failed", error=Problem(problem=error.problem, remedy=error.remedy)
        )

    def _write(self, source, out_folder, **how):
        about = Source(name=source.name, size=1, sha256="0" * 64, mtime_ns=1)
        record = Record(source=about, camera=Camera(), **how)
        files.publish(out_folder / sidecar.sidecar_name(source.name), sidecar.encode(record))
        return record


@pytest.fixture
def pipelines(monkeypatch):
    made = []

    def make(settings, store, worker, sensitivity_of):
        made.append(FakePipeline(sensitivity_of, settings.output))
        return made[-1]

    monkeypatch.setattr(clean, "make_pipeline", make)
    return made


@pytest.fixture
def shoot(tmp_path):
    """Make RAW files by name below in/."""

    def make(*names):
        for name in names:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(RAW)
        return tmp_path / "in"

    return make


def test_the_bar_counts_within_a_frame(pipelines, shoot, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def half(self, source, out_folder):
        time.sleep(0.2)  # longer than the bar rests between two pictures
        self.progress(0.5)
        return self._write(source, out_folder, status="clean", error=None)

    monkeypatch.setattr(FakePipeline, "process", half)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert dustd("clean", shoot("a.cr3"), "-o", tmp_path / "out", "--store", ":memory:") == 0
    assert " 45% " in terminal.getvalue() and "of 1 frame," in terminal.getvalue()


# --- usage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("polish",),
        ("clean",),
        ("clean", "a.dng"),
        ("clean", "a.dng", "-o", "out", "--sensitivity", "101"),
        ("clean", "a.dng", "-o", "out", "--sensitivity", "nan"),
        ("clean", "a.dng", "-o", "out", "--format", "gif"),
        ("clean", "a.dng", "-o", "out", "--again", "--one-pass"),
        ("map",),
        ("map", "show"),
        ("run", "extra"),
        ("run", "-v", "-q"),
        ("status", "--watch", "--json"),
    ],
)
def test_wrong_usage_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        dustd(*words)
    assert ended.value.code == 2
    assert "usage: dustd" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("map", "--help"), ("clean", "--help")])
def test_asking_for_help_is_fine(words, capsys):
    with pytest.raises(SystemExit) as ended:
        dustd(*words)
    assert ended.value.code == 0 and "dustd" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SurroundingsError("the disk is full", remedy="Free some space"), 1),
        (ModelError("the weights changed", remedy="Install dustd again"), 78),
        (PermissionError(13, "Permission denied", "/locked"), 1),
    ],
)
def test_an_error_is_one_line_with_its_remedy(monkeypatch, capsys, error, code):
    def fail(args):
        raise error

    monkeypatch.setattr(check, "run", fail)
    assert dustd("check") == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("dustd: ") and captured.err.count("\n") == 1
    assert getattr(error, "remedy", "Permission denied") in captured.err


def test_an_interruption_is_quiet_and_ends_with_130(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "run", interrupted)
    assert dustd("check") == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "dustd", "map", "list", "--store", ":memory:"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_running_without_a_configuration_ends_with_78(capsys):
    assert dustd("run") == 78
    assert "config.yaml: there is no such file" in capsys.readouterr().err


def test_every_problem_of_the_configuration_is_printed(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text("sensitivity: 200\noutput: {fromat: dng}\n")
    assert dustd("run", "-c", path) == 78
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith(f"{path}: ") for line in lines) == 3
    assert lines[-1].endswith(f"dustd check -c {path}")


def test_training_and_judging_are_handed_over_with_their_options(monkeypatch):
    from dustd.train import evaluate, trainer

    said = []
    for module in (trainer, evaluate):
        monkeypatch.setattr(module, "run", said.append)
    assert dustd("train", "--photos", "x", "--hours", "3") == 0
    assert dustd("evaluate", "--photos", "x", "--dusty", "y", "z") == 0
    train, evaluated = said
    assert (str(train.photos), train.hours) == ("x", 3.0)
    assert [str(folder) for folder in evaluated.dusty] == ["y", "z"]


# --- clean --------------------------------------------------------------------------------------------------------


def test_clean_mirrors_a_folder_and_ends_with_0(shoot, pipelines, tmp_path, capsys):
    folder = shoot("a.CR3", "deep/b.NEF", "note.txt", ".hidden.CR3")
    assert dustd("clean", folder, "-o", tmp_path / "new" / "out") == 0
    assert (tmp_path / "new/out/a.CR3.dustd.json").exists()
    assert (tmp_path / "new/out/deep/b.NEF.dustd.json").exists()
    assert [source.name for source, *_ in pipelines[0].seen] == ["a.CR3", "b.NEF"]
    assert "2 unchanged, 0 failed" in capsys.readouterr().out


def test_several_frames_are_delivered_when_all_are_looked_at_and_those_done_decided_on_again(
    shoot, pipelines, tmp_path, capsys
):
    folder = shoot("broken.CR3", "early.CR3", "edited.CR3", "late.CR3", "unread.CR3")
    assert dustd("clean", folder, "-o", tmp_path / "out") == 1
    assert pipelines[0].visited == [] and "4 unchanged, 1 failed" in capsys.readouterr().out
    assert dustd("clean", folder, "-o", tmp_path / "out") == 1
    assert pipelines[1].visited == [
        (name, True, False) for name in ("early.CR3", "edited.CR3", "late.CR3", "unread.CR3")
    ]
    said = capsys.readouterr().out
    assert "1 frame improved by what the maps know now: 3 more spots." in said
    assert "edited.CR3: left as it is; another program has changed its cleaned file since." in said
    assert "unread.CR3: left as it is; it cannot be read." in said and "4 unchanged, 1 failed" in said


def test_one_frame_or_one_pass_is_decided_on_once(shoot, pipelines, tmp_path):
    assert dustd("clean", shoot("early.CR3"), "-o", tmp_path / "out") == 0
    assert dustd("clean", shoot("early.CR3", "b.CR3"), "-o", tmp_path / "two", "--one-pass") == 0
    assert [each.visited for each in pipelines] == [[], []]


def test_again_decides_on_every_frame_and_cleans_the_others(shoot, pipelines, tmp_path):
    assert dustd("clean", shoot("early.CR3"), "-o", tmp_path / "out", "--again") == 0
    assert [source.name for source, *_ in pipelines[0].seen] == ["early.CR3"]
    assert dustd("clean", tmp_path / "in", "-o", tmp_path / "out", "--again") == 0
    assert [each.visited for each in pipelines] == [[], [("early.CR3", True, True)]]


def test_a_dry_run_says_frame_by_frame_what_would_change_and_writes_nothing(shoot, pipelines, tmp_path, capsys):
    folder = shoot("early.CR3", "edited.CR3", "late.CR3")
    assert dustd("clean", folder, "-o", tmp_path / "out") == 0
    shoot("new.CR3")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    capsys.readouterr()
    assert dustd("clean", folder, "-o", tmp_path / "out", "--again", "--dry-run") == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert pipelines[1].seen == [] and all(not write for _, write, _ in pipelines[1].visited)
    assert capsys.readouterr().out.splitlines() == [
        "early.CR3: 3 more spots",
        "edited.CR3: would be left alone; another program has changed its cleaned file since",
        "late.CR3: nothing changes",
        "new.CR3: would be cleaned; it has not been cleaned yet",
        "1 of 4 frames would change: 3 more spots. Nothing was written.",
    ]
    assert dustd("clean", folder, "-o", tmp_path / "elsewhere/out", "--again", "--dry-run") == 0
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--cluster", "local", "--review", "page.html"),
        ("--cluster", "local", "--one-pass"),
        ("--cluster", "local", "--again", "--dry-run"),
        ("--cluster", "local", "--map-path", "here=there"),
        ("--map-path", "/here=/there"),
    ],
)
def test_what_does_not_go_with_a_cluster_is_refused(shoot, tmp_path, words):
    assert dustd("clean", shoot("a.CR3"), "-o", tmp_path / "out", *words) == 2


def test_a_dry_run_of_a_first_decision_is_refused(shoot, pipelines, tmp_path):
    assert dustd("clean", shoot("a.CR3"), "-o", tmp_path / "out", "--dry-run") == 2


def test_a_file_that_cannot_be_read_at_once_gets_a_second_try(shoot, pipelines, tmp_path):
    folder = shoot("shaky.CR3")
    assert dustd("clean", folder, "-o", tmp_path / "out") == 0
    assert [source.name for source, *_ in pipelines[0].seen] == ["shaky.CR3", "shaky.CR3"]


def test_named_files_are_taken_whatever_their_suffix_and_only_once(shoot, pipelines, tmp_path):
    folder = shoot("scan.xyz", "a.CR3")
    assert dustd("clean", folder / "scan.xyz", folder / "a.CR3", folder, "-o", tmp_path / "out") == 0
    assert sorted(source.name for source, *_ in pipelines[0].seen) == ["a.CR3", "scan.xyz"]


def test_a_broken_frame_does_not_hold_up_the_others_and_ends_with_1(shoot, pipelines, tmp_path, capsys):
    folder = shoot("a.CR3", "broken.CR3", "odd.CR3", "z.CR3", "gone-broken.CR3")
    assert dustd("clean", folder, "-o", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert "2 unchanged, 3 failed" in captured.out
    assert "broken.CR3: it is cut short. Copy it again from the card." in captured.out
    assert "odd.CR3: dustd met an error it does not know (ZeroDivisionError" in captured.out
    assert "Traceback" not in captured.out
    assert (tmp_path / "out/broken.CR3.dustd.json").exists() and (tmp_path / "out/odd.CR3.dustd.json").exists()


def test_a_file_that_vanishes_while_it_waits_is_told_and_leaves_no_sidecar(shoot, pipelines, tmp_path, capsys):
    folder = shoot("a-takes.CR3", "broken-z.CR3")
    assert dustd("clean", folder, "-o", tmp_path / "out") == 1
    assert "broken-z.CR3: it is cut short" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a-takes.CR3.dustd.json"]


def test_a_full_disk_ends_the_run_and_says_what_is_not_done(shoot, pipelines, tmp_path, capsys):
    folder = shoot("a.CR3", "full.CR3", "z.CR3")
    assert dustd("clean", folder, "-o", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert "0 unchanged, 0 failed, 3 not done" in captured.out
    assert "1 frame looked at; the same command goes on from there." in captured.out
    assert captured.err.splitlines()[-1] == "dustd: the disk is full. Free some space"


def test_an_interrupted_run_still_says_what_it_did(shoot, pipelines, tmp_path, capsys):
    folder = shoot("a.CR3", "stop.CR3")
    assert dustd("clean", folder, "-o", tmp_path / "out") == 130
    assert "0 unchanged, 0 failed, 2 not done" in capsys.readouterr().out
    assert dustd("clean", folder, "-o", tmp_path / "as-they-come", "--one-pass") == 130
    assert "1 unchanged, 0 failed, 1 not done" in capsys.readouterr().out


def test_frames_are_taken_in_capture_order_and_undated_ones_last(shoot, pipelines, tmp_path, monkeypatch):
    times = {"a.CR3": "2026-01-03T00:00:00", "b.CR3": None, "c.CR3": "2026-01-01T23:00:00-08:00", "d.CR3": "2026-01-02"}
    monkeypatch.setattr("dustd.cli.batch.read_camera", lambda path: Camera(taken_at=times[path.name]))
    assert dustd("clean", shoot(*times), "-o", tmp_path / "out") == 0
    assert [source.name for source, *_ in pipelines[0].seen] == [
        "d.CR3",
        "c.CR3",
        "a.CR3",
        "b.CR3",
    ]  # moments, not clocks


def test_the_command_line_goes_before_the_configuration(shoot, pipelines, tmp_path):
    folder = shoot("a.CR3")
    config = tmp_path / "config.yaml"
    config.write_text("sensitivity: 30\noutput: {format: tiff, when_clean: skip}\n")
    assert dustd("clean", folder, "-o", tmp_path / "one", "-c", config) == 0
    assert dustd("clean", folder, "-o", tmp_path / "two", "-c", config, "--sensitivity", 0, "--format", "jpeg") == 0
    (first, second) = pipelines
    assert first.seen[0][2] == 30 and first.output.format == "tiff"
    assert second.seen[0][2] == 0 and second.output.format == "jpeg" and second.output.when_clean == "skip"


def test_the_daemons_configuration_and_maps_are_the_usual_ones(shoot, pipelines, tmp_path):
    config = tmp_path / "xdg-config/dustd/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"sensitivity: 30\nmap: {{store: {tmp_path}/maps.sqlite}}\n")
    assert dustd("clean", shoot("a.CR3"), "-o", tmp_path / "out") == 0
    assert pipelines[0].seen[0][2] == 30 and (tmp_path / "maps.sqlite").exists()


def test_maps_can_be_kept_in_memory_only(shoot, pipelines, tmp_path):
    assert dustd("clean", shoot("a.CR3"), "-o", tmp_path / "out", "--store", ":memory:") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_the_output_folder_is_never_searched(shoot, pipelines, tmp_path):
    folder = shoot("a.CR3", "Cleaned/a.dng")
    assert dustd("clean", folder, "-o", folder / "Cleaned") == 0
    assert [source.name for source, *_ in pipelines[0].seen] == ["a.CR3"]


@pytest.mark.parametrize(
    ("paths", "out", "words"),
    [
        (["gone.CR3"], "out", "is not there"),
        (["in/a.CR3"], "in", "would land beside it"),
        (["in/a.CR3", "in/deep/a.CR3"], "out", "would have the names of those of"),
        (["in/a.CR3"], "in/a.CR3/out", "cannot be created"),
    ],
)
def test_what_cannot_be_asked_for_ends_with_2_before_anything_is_done(
    shoot, pipelines, capsys, tmp_path, paths, out, words
):
    shoot("a.CR3", "deep/a.CR3")
    assert dustd("clean", *(tmp_path / path for path in paths), "-o", tmp_path / out) == 2
    assert words in capsys.readouterr().err and pipelines == []


@pytest.mark.parametrize("out", ["in", "in/../in", "link", "."])
def test_an_output_folder_that_is_the_input_or_above_it_is_refused_in_words(shoot, pipelines, tmp_path, capsys, out):
    folder = shoot("a.CR3")
    (tmp_path / "link").symlink_to(folder)
    assert dustd("clean", folder, "-o", tmp_path / out) == 2
    said = capsys.readouterr().err
    assert "folder for cleaned files" in said and "Name another folder with -o" in said and pipelines == []


PICTURES = {
    "a.jpg": b"\xff\xd8\xff\xe0 and so on",
    "a.png": b"\x89PNG\r\n",
    "a.heic": b"\0\0\0\x18ftypheic",
    "a.xmp": b"<x:xmpmeta/>",
    "a.CR3.dustd.json": b"{}",
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_or_note_that_is_named_is_refused_and_leaves_nothing(pipelines, tmp_path, capsys, name):
    (tmp_path / name).write_bytes(PICTURES[name])
    assert dustd("clean", tmp_path / name, "-o", tmp_path / "out") == 2
    assert "not a RAW file" in capsys.readouterr().err
    assert pipelines == [] and not (tmp_path / "out").exists()


def test_pictures_beside_raw_files_are_left_out_with_a_word(shoot, pipelines, tmp_path, capsys):
    folder = shoot("a.CR3")
    for name, data in PICTURES.items():
        (folder / name).write_bytes(data)
    assert dustd("clean", *sorted(folder.iterdir()), "-o", tmp_path / "out") == 0
    assert [source.name for source, *_ in pipelines[0].seen] == ["a.CR3"]
    said = capsys.readouterr().err
    assert all(f"{folder / name}: " in said for name in PICTURES)


def test_links_to_raw_files_are_cleaned_and_links_to_folders_told(shoot, pipelines, tmp_path, capsys):
    folder = shoot("a.CR3")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "pick.CR3").symlink_to(folder / "a.CR3")
    (tmp_path / "set" / "all").symlink_to(folder)
    assert dustd("clean", tmp_path / "set", "-o", tmp_path / "out") == 0
    assert [source.name for source, *_ in pipelines[0].seen] == ["pick.CR3"]
    assert f"{tmp_path / 'set' / 'all'}: a link to a folder; left out." in capsys.readouterr().err


def test_a_path_with_dots_goes_where_it_says(shoot, pipelines, tmp_path):
    folder = shoot("a.CR3")
    (tmp_path / "deep").mkdir()
    page = tmp_path / "deep" / ".." / "page.html"
    assert dustd("clean", tmp_path / "deep/../in", "-o", tmp_path / "deep/../out", "--review", page) == 0
    assert pipelines[0].seen[0][:2] == (folder / "a.CR3", tmp_path / "out")


def test_one_of_a_kind_is_said_as_one(shoot, pipelines, tmp_path, capsys):
    spot = dataclasses.replace(record("Canon 1", 1).spots[0], action="divided")
    tally = Tally(own=1)
    tally.add(dataclasses.replace(record("Canon 1", 1), spots=(spot,)))
    tally.tell(2, tmp_path)
    said = capsys.readouterr().out
    assert "1 cleaned file that dustd made left alone" in said and "1 spot corrected" in said


def test_edits_that_adobe_programs_would_not_read_are_not_called_needless(tmp_path, capsys):
    edit = Edit(program="adobe", path="a.xmp", result="none", heals=0, reason=NOT_INTO_ORIGINALS)
    tally = Tally()
    tally.add(dataclasses.replace(record("Canon 1", 1), edits=(edit,)))
    tally.tell(1, tmp_path)
    said = capsys.readouterr().out
    assert "Edits for adobe: 1 not possible; Adobe programs read" in said and "not needed" not in said


def test_the_command_line_can_take_the_configurations_edits_back(shoot, pipelines, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("output: {edits: [darktable]}\n")
    assert dustd("clean", shoot("a.CR3"), "-o", tmp_path / "one", "-c", config, "--edits", "none") == 0
    assert pipelines[0].output.edits == ()


def test_a_folder_without_frames_is_fine(tmp_path, pipelines, capsys):
    (tmp_path / "in").mkdir()
    assert dustd("clean", tmp_path / "in", "-o", tmp_path / "out") == 0
    assert "no RAW files" in capsys.readouterr().out


def test_a_name_that_is_not_unicode_can_be_cleaned_and_told(tmp_path, pipelines, capsys):
    name = os.fsdecode(b"broken\xff.CR3")
    try:
        (tmp_path / name).write_bytes(RAW)
    except OSError:
        pytest.skip("this file system takes no such names")
    assert dustd("clean", tmp_path / name, "-o", tmp_path / "out") == 1
    assert "it is cut short" in capsys.readouterr().out


# --- map and report -----------------------------------------------------------------------------------------------


def record(body_id, number):
    """A frame of its own scene with one clear spot, always at the same place."""
    across, down = np.meshgrid(np.linspace(-0.1, 0.1, 60), np.linspace(-0.1, 0.1, 50))
    overview = (0.1 + 0.08 * number + across * np.cos(number) + down * np.sin(number)).astype(np.float32)
    seen = evidence.to_dict(evidence.look(overview, 8))
    spot = Spot(id=1, x=200, y=100, diameter_px=30, edge_px=8, attenuation=0.2, score=0.95, wanted=True)
    return Record(
        source=Source(name=f"{number}.CR3", size=1, sha256=f"{number:064x}", mtime_ns=1),
        camera=Camera(body_id=body_id, f_number=16.0, taken_at=f"2026-01-{number:02}T10:00:00"),
        width=480,
        height=400,
        spots=(spot,),
        status="cleaned",
        evidence={"frame_id": f"{body_id}-{number}", **seen},
    )


@pytest.fixture
def store(tmp_path):
    """Maps of three bodies, Canon A's with a particle seen in several scenes."""
    path = tmp_path / "maps.sqlite"
    with Store.open(path) as maps:
        for number in range(1, 6):
            maps.observe(record("Canon A 11", number))
        maps.observe(record("Canon B 22", 1))
        maps.observe(record("Nikon C 33", 1))
    return path


def test_map_list_names_every_body(store, capsys):
    assert dustd("map", "list", "--store", store) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "body"
    assert [row.split()[:3] for row in rows] == [["Canon", "A", "11"], ["Canon", "B", "22"], ["Nikon", "C", "33"]]
    assert rows[0].split()[5] == "5" and "2026-01-05" in rows[0]


def test_map_show_lists_the_particles_with_their_confidence(store, capsys):
    assert dustd("map", "show", "Canon A 11", "--store", store) == 0
    shown = capsys.readouterr().out
    assert "5 frames" in shown and "5/5" in shown and "%" in shown


def test_a_body_may_be_named_by_an_unmistakable_part(store, capsys):
    assert dustd("map", "show", "nikon", "--store", store) == 0
    assert "Nikon C 33" in capsys.readouterr().out


@pytest.mark.parametrize(("wanted", "words"), [("canon", "Canon A 11, Canon B 22"), ("Leica", "no map of 'Leica'")])
def test_a_body_that_is_not_clear_ends_with_2(store, capsys, wanted, words):
    for verb in ("show", "cleaned", "forget"):
        assert dustd("map", verb, wanted, "--store", store) == 2
        assert words in capsys.readouterr().err


def test_map_cleaned_starts_afresh_and_shows_the_day(store, capsys):
    assert dustd("map", "cleaned", "Canon A", "--store", store) == 0
    capsys.readouterr()
    dustd("map", "list", "--store", store)
    assert datetime.datetime.now().astimezone().date().isoformat() in capsys.readouterr().out
    with Store.open(store) as maps:
        assert not any(particle.confirmed for particle in maps.state("Canon A 11").particles)
        assert maps.state("Canon A 11", "2026-01-05").particles != ()


def test_map_cleaned_can_be_taken_back_once(store, capsys):
    with Store.open(store) as maps:
        before = maps.state("Canon A 11")
    dustd("map", "cleaned", "Canon A", "--store", store)
    assert dustd("map", "cleaned", "Canon A", "--undo", "--store", store) == 0
    with Store.open(store) as maps:
        assert maps.state("Canon A 11") == before
        assert maps.body("Canon A 11").cleanings == ()
    assert dustd("map", "cleaned", "Canon A", "--undo", "--store", store) == 2
    assert "no cleaning to undo" in capsys.readouterr().err


def test_a_map_travels_to_another_store_and_replaces_one_there_only_when_told(store, tmp_path, capsys):
    exported, other = tmp_path / "canon.json", tmp_path / "other.sqlite"
    assert dustd("map", "export", "Canon A", "-o", exported, "--store", store) == 0
    assert dustd("map", "import", exported, "--store", other) == 0
    with Store.open(store) as maps, Store.open(other) as copied:
        assert copied.bodies() == maps.bodies()[:1]
    assert dustd("map", "import", exported, "--store", other) == 2
    assert "--replace" in capsys.readouterr().err
    assert dustd("map", "import", exported, "--replace", "--store", other) == 0


def test_map_export_writes_over_maps_only(store, tmp_path, capsys):
    file = tmp_path / "canon.json"
    for body in ("Canon A", "Canon B"):
        assert dustd("map", "export", body, "-o", file, "--store", store) == 0
    assert json.loads(file.read_bytes())["body"]["body_id"] == "Canon B 22"
    file.write_text('{"mine": 1}')
    assert dustd("map", "export", "Canon A", "-o", file, "--store", store) == 2
    assert file.read_text() == '{"mine": 1}'
    assert dustd("map", "export", "Canon A", "-o", tmp_path / "gone" / "canon.json", "--store", store) == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "dustd.map"}', '{"schema": "dustd.map", "schema_version": "9.0"}']
)
def test_map_import_of_something_else_ends_with_2(text, tmp_path, capsys):
    (tmp_path / "x.json").write_text(text)
    assert dustd("map", "import", tmp_path / "x.json", "--store", ":memory:") == 2
    assert "dust map" in capsys.readouterr().err


def test_map_show_draws_the_sensor_in_the_terminal_or_as_png(store, tmp_path, capsys):
    png = tmp_path / "sensor.png"
    assert dustd("map", "show", "Canon A", "--store", store) == 0
    assert "┌" in capsys.readouterr().out
    for _ in range(2):
        assert dustd("map", "show", "Canon A", "--png", png, "--store", store) == 0
    assert cv2.imread(str(png)).shape == (400, 480, 3)
    assert dustd("map", "show", "Canon A", "--png", tmp_path / "IMG_1.CR3", "--store", store) == 2


def test_map_forget_deletes_one_body_only(store, capsys):
    assert dustd("map", "forget", "Canon A", "--store", store) == 0
    with Store.open(store) as maps:
        assert [each.body_id for each in maps.bodies()] == ["Canon B 22", "Nikon C 33"]


def test_map_rebuild_learns_from_sidecars_what_was_forgotten(store, tmp_path, capsys):
    with Store.open(store) as maps:
        before = maps.body("Canon A 11")
    for number in range(1, 6):
        path = tmp_path / "out" / str(number % 2) / f"{number}.CR3.dustd.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sidecar.encode(record("Canon A 11", number)))
    dustd("map", "forget", "Canon A", "--store", store)
    assert dustd("map", "rebuild", tmp_path / "out", "--store", store) == 0
    assert "5 frames of 5 sidecars added" in capsys.readouterr().out
    with Store.open(store) as maps:
        assert maps.body("Canon A 11") == before


def test_map_rebuild_adds_and_loses_nothing_unless_told_to(store, tmp_path, capsys):
    (tmp_path / "7.CR3.dustd.json").write_bytes(sidecar.encode(record("Canon A 11", 7)))
    with Store.open(store) as maps:
        before = maps.body("Canon A 11").frames
    assert dustd("map", "rebuild", tmp_path, "--store", store) == 0
    assert "1 frame of 1 sidecar added" in capsys.readouterr().out
    with Store.open(store) as maps:
        assert maps.body("Canon A 11").frames == before + 1
    assert dustd("map", "rebuild", tmp_path, "--replace", "--store", store) == 0
    assert f"Canon A 11: {before + 1} frames known so far, 1 sidecar here." in capsys.readouterr().out
    with Store.open(store) as maps:
        assert maps.body("Canon A 11").frames == 1


def test_frames_of_no_known_body_make_no_map(tmp_path):
    (tmp_path / "1.CR3.dustd.json").write_bytes(sidecar.encode(record("unknown", 1)))
    for more in ((), ("--replace",)):
        assert dustd("map", "rebuild", tmp_path, *more, "--store", tmp_path / "m.sqlite") == 0
    with Store.open(tmp_path / "m.sqlite") as maps:
        assert maps.bodies() == ()


def test_the_status_of_a_configuration_that_is_not_there_is_an_error(tmp_path, capsys):
    assert dustd("status", "-c", tmp_path / "no.yaml") == 78
    assert "no.yaml: there is no such file" in capsys.readouterr().err


def test_a_status_to_watch_needs_a_terminal(capsys):
    assert dustd("status", "--watch") == 2
    assert "terminal" in capsys.readouterr().err


def test_on_a_terminal_the_status_is_said_again_and_again_until_ctrl_c():
    ours, theirs = os.openpty()
    child = subprocess.Popen([sys.executable, "-m", "dustd", "status", "--watch"], stdout=theirs)
    os.close(theirs)
    said = b""
    while said.count(b"dustd is not running") < 2:
        said += os.read(ours, 4096)
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 0
    os.close(ours)
    assert said.count(b"\x1b[H") >= 2  # each time from the top


def test_map_rebuild_names_sidecars_that_cannot_be_read_and_ends_with_1(tmp_path, capsys):
    (tmp_path / "a.CR3.dustd.json").write_text("{")
    assert dustd("map", "rebuild", tmp_path, "--store", ":memory:") == 1
    assert "a.CR3.dustd.json" in capsys.readouterr().err


def test_map_rebuild_of_no_folder_ends_with_2(tmp_path):
    assert dustd("map", "rebuild", tmp_path / "gone", "--store", ":memory:") == 2


def test_report_is_text_or_json(store, capsys):
    assert dustd("report", "--store", store) == 0
    text = capsys.readouterr().out
    assert all(body in text for body in ("Canon A 11", "Canon B 22", "Nikon C 33"))
    assert dustd("report", "nikon", "--json", "--store", store) == 0
    (body,) = json.loads(capsys.readouterr().out)
    assert body["body_id"] == "Nikon C 33"


def test_report_writes_a_page_over_an_older_one_and_never_over_a_file_that_is_none(store, tmp_path, capsys):
    page = tmp_path / "dust.html"
    for _ in range(2):
        assert dustd("report", "--html", page, "--store", store) == 0
    assert "Canon A 11" in page.read_text() and "<html" in page.read_text()
    for name in ("IMG_1.CR3", "diary.html"):
        other = tmp_path / name
        other.write_bytes(RAW)
        assert dustd("report", "--html", other, "--store", store) == 2
        assert other.read_bytes() == RAW


def test_report_needs_no_frame_for_its_page(store, tmp_path):
    assert dustd("report", "--html", tmp_path / "a.html", "--frames", tmp_path / "gone", "--store", store) == 0
    assert "drawn as it prints" in (tmp_path / "a.html").read_text()


def test_report_advises_by_the_configured_limits(store, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text("report: {soon: {visible_at_f11: 1}, now: {visible_at_f11: 1}}")
    assert dustd("report", "nikon", "--json", "--store", store, "-c", config) == 0
    (body,) = json.loads(capsys.readouterr().out)
    assert body["rules"]["now"]["visible_at_f11"] == 1


# --- check --------------------------------------------------------------------------------------------------------


def test_check_without_a_configuration_ends_with_78_and_tells_the_rest(capsys):
    assert dustd("check") == 78
    told = capsys.readouterr().out
    assert "FAIL  configuration" in told and "versions" in told


def test_check_prints_a_remedy_under_each_failure(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text("folders: [{path: gone}]\n")
    assert dustd("check", "-c", path) == 1
    lines = capsys.readouterr().out.splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith(("FAIL", "warn")):
            assert below.startswith("      -> ")
