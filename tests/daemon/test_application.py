"""A running station with real folders, configuration, sidecars and signals; only looking at pictures is left out."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dustd import config, files
from dustd.cli import main
from dustd.daemon import application, relearning, status
from dustd.daemon.lock import only_one
from dustd.daemon.reload import ConfigFile
from dustd.dustmap.store import Store
from dustd.errors import FrameError, ModelError, OwnOutputError, UnreadableError
from dustd.output import ledger, sidecar
from dustd.output.sidecar import Problem, Record, Source
from dustd.pipeline.revisit import Visit
from dustd.raw.frame import Camera
from tests.dustmap.test_recovery import observed

LIMIT_S = 60.0
QUICK = "watch: {quiet_s: 0.1, give_up_s: 1, rescan_s: 1}\nmap: {store: state/maps.sqlite}\nweb: {port: 0}\n"


class Pipeline:
    """Writes true sidecars; how a frame fares is told by its content."""

    scale = None

    def __init__(self, store, settings):
        self.store, self.output, self.sensitivity_of = store, settings.output, settings.sensitivity_of
        self.detector = types.SimpleNamespace(model_id="small", device="cpu")
        self.seen, self.visited, self.order = [], [], []

    def process(self, source, out_folder):
        text = source.read_text()
        if not text:
            raise FrameError("The file is empty", remedy="Copy it again from the card", path=source)
        self.seen.append((source.name, self.sensitivity_of("Nikon Z 8 #1", source), self.detector.model_id))
        self.order.append(source.name)
        if text == "away":
            raise UnreadableError("it cannot be read (Stale file handle)", remedy="Check the share", path=source)
        if text == "own":
            raise OwnOutputError("it is a cleaned file that dustd made", remedy="Nothing to do", path=source)
        if text == "leaves":
            source.unlink()
            raise FrameError("the file is gone", remedy="Nothing to do", path=source)
        if text == "takes w.nef away":
            source.with_name("w.nef").unlink()
        if text == "bad":
            raise FrameError("it cannot be decoded", remedy="Copy it again", path=source)
        return self.write(source, out_folder, "clean", None)

    def revisit(self, source, out_folder, *, write=True, always=True):
        record = sidecar.decode((out_folder / sidecar.sidecar_name(source.name)).read_bytes())
        self.visited.append(source.name)
        self.order.append(source.name)
        new = source.with_name("new.nef")
        if source.read_text() == "slow":
            time.sleep(0.3)
            if not new.exists():
                new.write_text("good")
        left_alone = "another program has changed its cleaned file since" if source.read_text() == "edited" else ""
        return Visit(record=record, more=3, left_alone=left_alone)

    def fail(self, source, out_folder, error):
        self.write(source, out_folder, "failed", Problem(problem=error.problem, remedy=error.remedy))

    def write(self, source, out_folder, kind, problem):
        stat = source.stat()
        at = Source(name=source.name, size=stat.st_size, sha256=files.sha256_file(source), mtime_ns=stat.st_mtime_ns)
        record = Record(source=at, camera=Camera(body_id="Nikon Z 8 #1"), status=kind, error=problem)
        path = out_folder / sidecar.sidecar_name(source.name)
        files.publish(path, sidecar.encode(record), ours=ledger.vouched(path))
        return record


class Running:
    """A station in this process' main thread; the test's steps run beside it."""

    def __init__(self, home):
        self.home, self.yaml = home, home / "config.yaml"
        self.model_problem = None

    def configure(self, text):
        temp = self.yaml.with_suffix(".new")
        temp.write_text(QUICK + text)
        temp.replace(self.yaml)

    def shoot(self, name, text="good", folder="shoot"):
        (self.home / folder / name).write_text(text)

    def status(self):
        try:
            return status.decode((self.home / "state" / status.FILE_NAME).read_bytes())
        except FileNotFoundError:
            return None

    def wait(self, condition):
        until = time.monotonic() + LIMIT_S
        while True:
            state = self.status()
            if state is not None and condition(state):
                return state
            assert time.monotonic() < until, f"waited in vain: {state}"
            time.sleep(0.02)

    def load_model(self, model):
        if model.id == "gone":
            raise ModelError("there is no model 'gone'", remedy="Name another")
        if model.id == "huge":
            raise RuntimeError("CUDA out of memory")
        return types.SimpleNamespace(model_id=model.id, device=model.device)

    def run(self, steps):
        """Serve until *steps*, in a thread of its own, are done; raise what they raise."""
        raised = []

        def work():
            try:
                self.wait(lambda state: state.pid == os.getpid() and not state.stopped)
                steps()
            except BaseException as exc:  # noqa: BLE001 - raised again below
                raised.append(exc)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        file = ConfigFile(self.yaml)
        settings = config.load(self.yaml)
        thread = threading.Thread(target=work)
        with only_one(settings.map.state_folder), Store.open(settings.map.store, wait=True) as store:
            self.pipeline = Pipeline(store, settings)
            thread.start()
            application.serve(settings, self.pipeline, file=file, load_model=self.load_model)
        thread.join()
        if raised:
            raise raised[0]


@pytest.fixture
def running(tmp_path, monkeypatch):
    monkeypatch.setattr("dustd.daemon.reload.REST_S", 0.2)
    monkeypatch.setattr("dustd.daemon.loop.TICK_S", 0.1)
    (tmp_path / "shoot").mkdir()
    it = Running(tmp_path)
    it.configure("folders: [{path: shoot}]\n")
    return it


def counted(kind, count):
    return lambda state: state.frames.get(kind, 0) >= count


def test_status_tells_what_was_done_and_that_the_daemon_has_ended(running):
    def steps():
        running.shoot("a.nef")
        running.shoot("b.nef", "bad")
        state = running.wait(lambda state: counted("clean", 1)(state) and counted("failed", 1)(state))
        assert {each.name: each.status for each in state.last_frames} == {"a.nef": "clean", "b.nef": "failed"}
        assert state.bodies[0].body_id == "Nikon Z 8 #1"
        (failed,) = state.failed
        assert (failed.path, failed.remedy) == (str(running.home / "shoot" / "b.nef"), "Copy it again")
        assert state.progress.folders[0].present and state.progress.folders[0].events

    running.run(steps)
    assert running.status().stopped


def test_memory_that_is_kept_for_the_next_frame_is_given_back_once_none_comes(running, monkeypatch):
    given_back = []
    monkeypatch.setattr(application, "AT_REST_S", 0.3)
    monkeypatch.setattr(application.system, "return_freed_memory", lambda: given_back.append(time.monotonic()))

    def steps():
        running.wait(lambda _state: len(given_back) == 1)
        running.shoot("b.nef")
        running.wait(lambda _state: len(given_back) == 2)
        time.sleep(0.6)

    running.run(steps)
    assert len(given_back) == 2


def observed_now(running, name, text="good"):
    """Leave a frame that was cleaned before the daemon starts, and is of use to the map."""
    source = running.home / "shoot" / name
    source.write_text(text)
    stat = source.stat()
    about = Source(
        name=name,
        size=stat.st_size,
        sha256=files.sha256_file(source),
        mtime_ns=stat.st_mtime_ns,
        read_at=datetime.now(UTC).isoformat(),
    )
    record = Record(source=about, camera=Camera(body_id="Nikon Z 8 #1"), status="clean", evidence={"frame_id": name})
    out = running.home / "shoot" / "Cleaned"
    out.mkdir(exist_ok=True)
    files.publish(out / sidecar.sidecar_name(name), sidecar.encode(record))


def test_frames_that_are_done_are_improved_while_nothing_waits_and_status_tells(running):
    def steps():
        state = running.wait(lambda state: counted("improved", 1)(state) and counted("kept", 1)(state))
        assert {each.name: each.status for each in state.last_frames} == {"a.nef": "improved", "b.nef": "kept"}
        said = status.words(state, state.pid, datetime.now(UTC))
        assert "a.nef: improved: 3 more spots" in said
        assert "b.nef: left as another program has changed it (would have 3 more spots)" in said

    observed_now(running, "a.nef")
    observed_now(running, "b.nef", "edited")
    running.run(steps)
    assert sorted(running.pipeline.visited) == ["a.nef", "b.nef"]


def test_a_frame_that_arrives_goes_before_the_frames_that_are_left_to_visit(running):
    def steps():
        running.wait(lambda state: counted("improved", 12)(state) and counted("clean", 1)(state))

    for number in range(12):
        observed_now(running, f"s{number:02d}.nef", "slow")
    running.run(steps)
    order = running.pipeline.order
    assert len(order) == 13 and order.index("new.nef") < 12


def test_no_frame_is_visited_again_where_that_is_switched_off(running):
    def steps():
        running.shoot("b.nef")
        running.wait(counted("clean", 1))

    running.configure("folders: [{path: shoot}]\nrevisit: {hours: 0}\n")
    observed_now(running, "a.nef")
    running.run(steps)
    assert running.pipeline.visited == []


def test_an_empty_file_is_told_while_it_may_be_filled_and_fails_when_it_is_not(running):
    def steps():
        with capture_logs() as logs:
            running.shoot("e.nef", "")
            state = running.wait(lambda state: state.progress.folders[0].held)
        assert [each["problem"] for each in logs if each["event"] == "frame_held_back"] == ["it is empty so far"]
        (held,) = state.progress.folders[0].held
        assert held.path == str(running.home / "shoot" / "e.nef") and "empty so far" in held.problem and held.retry_at
        (failed,) = running.wait(lambda state: state.failed).failed
        assert failed.problem == "The file is empty"
        record = sidecar.decode((running.home / "shoot/Cleaned/e.nef.dustd.json").read_bytes())
        assert record.status == "failed" and record.error.problem == "The file is empty"
        running.shoot("e.nef")  # filled after all
        running.wait(lambda state: counted("clean", 1)(state) and not state.failed)

    running.run(steps)


def test_a_frame_that_vanishes_while_it_waits_or_is_read_is_told(running):
    running.shoot("a.nef", "takes w.nef away")
    running.shoot("w.nef")
    os.utime(running.home / "shoot" / "a.nef", ns=(0, 1))  # the first in turn

    def steps():
        with capture_logs() as logs:
            running.shoot("r.nef", "leaves")
            state = running.wait(counted("vanished", 2))
        told = {each.name: each.status for each in state.last_frames}
        assert told == {"a.nef": "clean", "w.nef": "vanished", "r.nef": "vanished"}
        logged = [Path(each["path"]).name for each in logs if each["event"] == "frame_vanished"]
        assert sorted(logged) == ["r.nef", "w.nef"]
        assert not state.failed

    running.run(steps)


def test_a_frame_that_fails_again_and_again_counts_once(running):
    def steps():
        running.shoot("b.nef", "bad")
        running.wait(counted("failed", 1))
        for _ in range(2):
            tried = len(running.pipeline.seen)
            assert main.main(["retry", "-c", str(running.yaml)]) == 0
            running.wait(lambda _, tried=tried: len(running.pipeline.seen) > tried)
            running.wait(lambda state: state.failed_total == 1)
        state = running.wait(lambda state: len(state.last_frames) == 3)
        assert state.frames == {"failed": 1}

    running.run(steps)


def test_a_link_to_a_frame_is_cleaned_and_a_link_to_a_folder_is_told(running):
    (running.home / "elsewhere").mkdir()
    (running.home / "elsewhere" / "a.nef").write_text("good")

    def steps():
        with capture_logs() as logs:
            (running.home / "shoot" / "all").symlink_to(running.home / "elsewhere")
            (running.home / "shoot" / "pick.nef").symlink_to(running.home / "elsewhere" / "a.nef")
            running.wait(counted("clean", 1))
            running.shoot("later.nef")
            running.wait(lambda _: any(each["event"] == "folder_link_left_out" for each in logs))
        assert [name for name, *_ in running.pipeline.seen if name != "later.nef"] == ["pick.nef"]

    running.run(steps)


def test_a_cleaned_file_that_comes_back_is_left_alone_and_not_tried_again(running):
    def steps():
        running.shoot("back.dng", "own")
        with capture_logs() as logs:
            running.wait(lambda _: any(each["event"] == "own_output_left_alone" for each in logs))
            for number in range(2):  # later searches pass it by
                running.shoot(f"{number}.nef")
                running.wait(cleaned(running, f"{number}.nef"))
        assert [name for name, *_ in running.pipeline.seen].count("back.dng") == 1
        state = running.status()
        assert "failed" not in state.frames and not (running.home / "shoot/Cleaned/back.dng.dustd.json").exists()

    running.run(steps)


def test_a_restart_still_knows_what_failed_before(running):
    running.shoot("b.nef", "bad")
    running.run(lambda: running.wait(lambda state: state.failed_total == 1))
    running.run(lambda: running.wait(lambda state: state.failed_total == 1 and state.frames == {}))


def test_a_frame_whose_name_leaves_no_room_for_a_sidecar_is_listed_and_not_tried_for_ever(running, monkeypatch):
    monkeypatch.setattr(application, "PRUNE_S", 0.0)
    name = "n" * 241 + ".nef"

    def steps():
        with capture_logs() as logs:
            running.shoot(name)
            running.wait(lambda state: state.failed_total == 1 and not state.progress.folders[0].waiting)
            for number in range(3):  # found by searches, so that these have passed the long one by, too
                running.shoot(f"{number}.nef")
                running.wait(cleaned(running, f"{number}.nef"))
        (failed,) = running.status().failed
        assert failed.path == str(running.home / "shoot" / name)
        assert "a name of 256 bytes" in failed.problem and "shorter by 1 byte" in failed.remedy
        assert "exception" not in json.dumps(logs, default=str)
        tried = [each for each, *_ in running.pipeline.seen].count(name)
        assert tried <= 2  # the second time because it may still have been arriving
        (running.home / "shoot" / name).rename(running.home / "shoot" / name[1:])
        running.wait(cleaned(running, name[1:]))
        running.wait(lambda state: state.failed_total == 0)

    running.run(steps)


def test_a_failed_frame_whose_file_has_gone_is_no_longer_listed(running, monkeypatch):
    monkeypatch.setattr(application, "PRUNE_S", 0.0)
    running.shoot("b.nef", "bad")

    def steps():
        running.wait(lambda state: state.failed_total == 1)
        (running.home / "shoot" / "b.nef").unlink()
        running.wait(lambda state: state.failed_total == 0)

    running.run(steps)


def test_a_folder_that_is_added_is_watched_and_one_that_is_removed_is_not(running):
    (running.home / "more").mkdir()

    def steps():
        running.configure("folders: [{path: more}]\n")
        running.wait(lambda state: [each.path for each in state.progress.folders] == [str(running.home / "more")])
        running.shoot("late.nef")
        running.shoot("a.nef", folder="more")
        running.wait(counted("clean", 1))

    running.run(steps)
    assert [name for name, *_ in running.pipeline.seen] == ["a.nef"]


def test_sensitivity_and_model_take_effect_from_the_next_frame_on(running):
    def steps():
        running.shoot("a.nef")
        running.wait(counted("clean", 1))
        running.configure("folders: [{path: shoot}]\nsensitivity: 80\nmodel: {id: large}\n")
        running.wait(lambda state: state.model_id == "large")
        running.shoot("b.nef")
        running.wait(counted("clean", 2))

    running.run(steps)
    assert running.pipeline.seen == [("a.nef", 50.0, "small"), ("b.nef", 80.0, "large")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("folders: [{path: shoot}]\nsensitivty: 80\n", "unknown key"),
        ("folders: [{path: shoot}\n", "line"),
        ("folders: [{path: shoot}]\nsensitivity: 80\nmodel: {id: gone}\n", "no model"),
        ("folders: [{path: shoot}]\nsensitivity: 80\nmodel: {id: huge}\n", "out of memory"),
    ],
    ids=["mistake", "no YAML", "missing model", "no room for the model"],
)
def test_a_configuration_that_cannot_be_used_is_told_and_the_old_one_stays(running, text, words):
    def steps():
        running.configure(text)
        running.wait(lambda state: state.config_problem is not None and words in state.config_problem.problem)
        running.shoot("a.nef")
        running.wait(counted("clean", 1))
        running.configure("folders: [{path: shoot}]\nsensitivity: 70\n")
        running.wait(lambda state: state.config_problem is None)
        running.shoot("b.nef")
        running.wait(counted("clean", 2))

    running.run(steps)
    assert running.pipeline.seen == [("a.nef", 50.0, "small"), ("b.nef", 70.0, "small")]


def test_a_configuration_that_is_deleted_changes_nothing_but_is_told(running):
    def steps():
        running.yaml.unlink()
        running.wait(lambda state: state.config_problem is not None and "no such file" in state.config_problem.problem)
        running.shoot("a.nef")
        running.wait(counted("clean", 1))

    running.run(steps)


def test_another_store_needs_a_restart_and_the_rest_takes_effect(running):
    def steps():
        running.yaml.write_text(
            "folders: [{path: shoot}]\nmap: {store: elsewhere/maps.sqlite}\nsensitivity: 60\nweb: {port: 0}\n"
        )
        state = running.wait(lambda state: state.config_problem is not None)
        assert "map.store" in state.config_problem.problem and "Restart" in state.config_problem.remedy
        running.shoot("a.nef")
        running.wait(counted("clean", 1))

    running.run(steps)
    assert running.pipeline.seen == [("a.nef", 60.0, "small")]
    assert not (running.home / "elsewhere").exists()


def test_sighup_reads_the_configuration_at_once(running, monkeypatch):
    monkeypatch.setattr("dustd.daemon.reload.REST_S", 1e6)

    def steps():
        running.configure("folders: [{path: shoot}]\nsensitivity: 60\nmodel: {id: large}\n")
        os.kill(os.getpid(), signal.SIGHUP)
        running.wait(lambda state: state.model_id == "large")

    running.run(steps)


def test_a_frame_that_cannot_be_read_waits_is_listed_and_holds_up_nobody(running):
    running.shoot("a.nef", "away")

    def steps():
        running.wait(lambda state: state.progress.folders[0].put_off)
        running.shoot("b.nef")
        state = running.wait(counted("clean", 1))
        (waiting,) = state.progress.folders[0].put_off
        assert waiting.remedy == "Check the share" and waiting.retry_at
        assert not state.failed and not (running.home / "shoot/Cleaned/a.nef.dustd.json").exists()
        shutil.copystat(running.yaml, running.home / "shoot" / "b.nef")  # any change: only a.nef's cause has to pass
        stamp = (running.home / "shoot" / "a.nef").stat()
        running.shoot("a.nef", "good")
        os.utime(running.home / "shoot" / "a.nef", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        state = running.wait(counted("clean", 2))
        assert not state.progress.folders[0].put_off

    running.run(steps)


def test_maps_that_are_away_at_the_start_are_told_and_opened_as_soon_as_they_can_be(running, monkeypatch):
    monkeypatch.setattr(relearning, "FIRST_PAUSE_S", 0.2)
    in_the_way = running.home / "state" / "maps.sqlite"
    in_the_way.mkdir(parents=True)  # a database that cannot be opened, as on a full disk

    def steps():
        state = running.wait(lambda state: state.troubles)
        assert state.troubles[0].path == str(in_the_way) and "cannot be used now" in state.troubles[0].problem
        in_the_way.rmdir()
        running.wait(lambda state: not state.troubles)

    running.run(steps)
    with Store.open(in_the_way) as store:
        assert store.bodies() == ()


def test_lost_maps_are_learnt_again_as_soon_as_the_disk_with_the_sidecars_is_back(running, monkeypatch):
    monkeypatch.setattr(relearning, "FIRST_PAUSE_S", 0.2)
    running.configure("folders: [{path: shoot}, {path: card/shoot}]\n")
    (running.home / "state").mkdir()
    (running.home / "state" / "maps.sqlite.lacks-frames").touch()  # as the store leaves it when it puts one aside

    def steps():
        state = running.wait(lambda state: state.troubles)
        assert state.troubles[0].path == str(running.home / "card/shoot/Cleaned")
        running.shoot("a.nef")  # nothing waits for the disk
        running.wait(counted("clean", 1))
        out = running.home / "card/shoot/Cleaned"
        out.mkdir(parents=True)
        (out / "b.NEF.dustd.json").write_bytes(sidecar.encode(observed(0)))
        running.wait(lambda state: not state.troubles)

    running.run(steps)
    with Store.open(running.home / "state" / "maps.sqlite") as store:
        assert [body.frames for body in store.bodies()] == [1]
        assert not store.lost


def test_a_port_in_use_is_told_by_status_and_check(running, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        running.configure(f"folders: [{{path: shoot}}]\nmetrics: {{port: {port}}}\n")

        def steps():
            running.wait(lambda state: state.troubles)
            main.main(["status", "-c", str(running.yaml)])
            assert main.main(["check", "-c", str(running.yaml)]) == 1

        running.run(steps)
        said = capsys.readouterr().out
        assert f"\nmetrics: metrics cannot be served on port {port} (Address already in use)\n" in said
        assert "FAIL  metrics" in said
        assert main.main(["check", "-c", str(running.yaml)]) == 1
        assert "FAIL  metrics" in capsys.readouterr().out


def test_check_is_content_with_a_port_that_the_daemon_itself_uses(running, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running.configure(f"folders: [{{path: shoot}}]\nmetrics: {{port: {port}}}\n")
    running.run(lambda: main.main(["check", "-c", str(running.yaml)]))
    assert f"ok    metrics: http://127.0.0.1:{port}/metrics" in capsys.readouterr().out


def test_status_of_one_configuration_shows_no_daemon_of_another(running, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text(running.yaml.read_text())

    def steps():
        assert main.main(["status", "-c", str(other)]) == 78
        assert str(running.yaml) in capsys.readouterr().err
        other.write_text("folders: [")
        assert main.main(["status", "-c", str(running.yaml)]) == 0

    running.run(steps)


def test_a_retry_is_a_missing_sidecar_and_a_signal(running, capsys):
    running.shoot("a.nef", "bad")
    running.shoot("b.nef", "bad")

    def steps():
        running.wait(lambda state: state.failed_total == 2)
        stamp = (running.home / "shoot" / "a.nef").stat()
        (running.home / "shoot" / "a.nef").write_text("yes")  # the same length, and no other time
        os.utime(running.home / "shoot" / "a.nef", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert main.main(["retry", "-c", str(running.yaml), str(running.home / "shoot" / "a.nef")]) == 0
        running.wait(lambda state: counted("clean", 1)(state) and state.failed_total == 1)

    running.run(steps)
    assert "1 failed frame is tried again now" in capsys.readouterr().out


def test_status_answers_even_if_the_configuration_is_broken_and_tells_whether_dustd_lives(running, capsys):
    def steps():
        running.yaml.write_text(QUICK + "folders: [{path: shoot}]\nsensitivty: 1\n")
        running.wait(lambda state: state.config_problem)
        assert main.main(["status", "-c", str(running.yaml)]) == 0
        assert main.main(["status", "-c", str(running.yaml), "--json"]) == 0

    running.run(steps)
    said = capsys.readouterr().out
    assert f"dustd runs (process {os.getpid()})" in said and "unknown key" in said
    assert json.JSONDecoder().raw_decode(said, said.index("\n{") + 1)[0]["running"] is True
    assert main.main(["status", "-c", str(running.yaml)]) == 1
    assert "it was stopped at" in capsys.readouterr().out


def test_a_retry_passes_over_a_file_whose_name_is_that_of_no_sidecar(running, capsys):
    (running.home / "shoot" / "Cleaned").mkdir()
    (running.home / "shoot" / "Cleaned" / ".dustd.json").write_text("{}")
    assert main.main(["retry", "-c", str(running.yaml)]) == 0
    assert "0 failed frames" in capsys.readouterr().out


def test_a_retry_of_what_is_not_watched_says_so(running, capsys):
    assert main.main(["retry", "-c", str(running.yaml), "/elsewhere.nef"]) == 2
    assert "no watched folder" in capsys.readouterr().err


def test_metrics_answer_on_loopback_and_name_nobody(running):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running.configure(f"folders: [{{path: shoot}}]\nmetrics: {{port: {port}}}\n")

    def steps():
        running.shoot("a.nef")
        running.wait(counted("clean", 1))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            page = answer.read().decode()
        assert 'dustd_frames_total{status="clean"} 1\n' in page
        assert "Nikon" not in page and str(running.home) not in page and "a.nef" not in page
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/")
        running.configure("folders: [{path: shoot}]\n")
        running.wait(lambda _: not listens(port))

    running.run(steps)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_that_is_taken_costs_the_metrics_only(running):
    with socket.socket() as taken, capture_logs() as logs:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        running.configure(f"folders: [{{path: shoot}}]\nmetrics: {{port: {taken.getsockname()[1]}}}\n")
        running.shoot("a.nef")
        running.run(lambda: running.wait(counted("clean", 1)))
    assert [each["event"] for each in logs].count("no_metrics") == 1


def test_a_state_folder_that_takes_no_more_files_costs_the_status_only(running):
    def steps():
        running.shoot("a.nef")
        running.wait(counted("clean", 1))
        (running.home / "state" / ".dustd-status.json.tmp").mkdir()  # nothing can be written there any more
        running.shoot("b.nef")
        until = time.monotonic() + LIMIT_S
        while not (running.home / "shoot/Cleaned/b.nef.dustd.json").exists():
            assert time.monotonic() < until
            time.sleep(0.02)

    running.run(steps)


def test_the_status_file_is_json_of_its_schema(running):
    running.run(lambda: None)
    data = json.loads((running.home / "state" / status.FILE_NAME).read_bytes())
    assert (data["schema"], data["schema_version"]) == ("dustd.status", "1.0")
    assert data["backlog"] == {"frames": 0, "seconds": None}


# --- folders come and go ------------------------------------------------------------------------------------------

# Searched so seldom that events must do.
SLOW = "watch: {quiet_s: 0.1, give_up_s: 1, rescan_s: 3600}\nmap: {store: state/maps.sqlite}\nweb: {port: 0}\n"


@pytest.fixture
def disk():
    """Mount an empty disk, as often as wanted; all are gone in the end."""
    mounted = []

    def mount(path):
        ran = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], capture_output=True, check=False)
        if ran.returncode:
            pytest.skip("needs the right to mount")
        mounted.append(path)

    def unmount(path):
        subprocess.run(["umount", "--lazy", path], check=True)
        mounted.remove(path)

    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs the right to mount")
    yield types.SimpleNamespace(mount=mount, unmount=unmount)
    for path in list(mounted):
        unmount(path)


@pytest.fixture
def unprivileged():
    """A home of a user who is not root, and that user's rights."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "shoot").mkdir()
        for path in (home, home / "shoot"):
            os.chown(path, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Running(home)
        finally:
            os.seteuid(0)


def cleaned(running, name, folder="shoot/Cleaned"):
    return lambda _: (running.home / folder / f"{name}.dustd.json").exists()


def test_a_disk_that_is_unmounted_is_waited_for_and_its_frames_go_on_when_it_is_back(running, disk):
    # Searched every second: one that is back within a tick may look like the one before, device number and all.
    def steps():
        for name in ("a.nef", "b.nef"):
            disk.mount(running.home / "shoot")
            running.shoot(name)
            running.wait(cleaned(running, name))
            disk.unmount(running.home / "shoot")
            running.wait(lambda _, name=name: not (running.home / "shoot" / name).exists())

    running.run(steps)
    assert not list((running.home / "shoot").iterdir())


def test_a_share_that_breaks_off_ends_nothing_and_its_frames_go_on_when_it_is_back(running, break_off):
    begin, end = break_off
    (running.home / "nas").mkdir()
    running.configure("folders: [{path: shoot}, {path: nas}]\n")

    def steps():
        running.shoot("a.nef", folder="nas")
        running.wait(lambda state: state.progress.waiting)
        begin(running.home / "nas")
        running.wait(lambda state: not all(folder.present for folder in state.progress.folders))
        running.shoot("b.nef")
        running.wait(cleaned(running, "b.nef"))
        end(running.home / "nas")
        running.wait(cleaned(running, "a.nef", "nas/Cleaned"))

    running.run(steps)


def test_nothing_is_written_under_the_mount_point_of_an_output_disk_that_is_away(running, disk):
    (running.home / "nas").mkdir()
    for output in ("nas/Cleaned", "nas"):
        running.yaml.write_text(QUICK + f"folders: [{{path: shoot, output: {running.home / output}}}]\n")

        def steps(output=output):
            disk.mount(running.home / "nas")
            running.shoot("a.nef")
            running.wait(cleaned(running, "a.nef", output))
            disk.unmount(running.home / "nas")
            running.shoot("b.nef")
            state = running.wait(lambda state: state.progress.folders[0].paused)
            assert "away" in state.progress.folders[0].paused.problem
            assert not list((running.home / "nas").iterdir())
            disk.mount(running.home / "nas")
            running.wait(cleaned(running, "b.nef", output))
            disk.unmount(running.home / "nas")

        running.run(steps)


def test_a_folder_whose_rights_are_lost_is_told_and_watched_again_when_they_are_back(unprivileged):
    running = unprivileged
    running.yaml.write_text(SLOW + "folders: [{path: shoot}]\n")

    def steps():
        (running.home / "shoot").chmod(0)
        running.wait(lambda state: state.progress.folders[0].unreadable)
        (running.home / "shoot").chmod(0o755)
        running.wait(lambda state: state.progress.folders[0].events)
        running.shoot("a.nef")
        running.wait(cleaned(running, "a.nef"))

    running.run(steps)


def test_a_subfolder_whose_rights_come_back_is_watched_and_not_only_searched(unprivileged):
    running = unprivileged
    running.configure("folders: [{path: shoot}]\n")
    (running.home / "shoot" / "day").mkdir(mode=0)

    def steps():
        running.wait(lambda state: state.progress.folders[0].unreadable)
        (running.home / "shoot" / "day").chmod(0o755)
        running.wait(lambda state: not state.progress.folders[0].unreadable)
        running.yaml.write_text(SLOW + "folders: [{path: shoot}]\n")
        running.wait(lambda state: state.config_loaded_at != state.started_at)
        running.shoot("a.nef", folder="shoot/day")
        running.wait(cleaned(running, "a.nef", "shoot/Cleaned/day"))

    running.run(steps)


def test_a_share_without_events_is_searched(running, monkeypatch):
    monkeypatch.setattr("dustd.daemon.watch.is_network", lambda _: True)
    monkeypatch.setattr("dustd.daemon.folder_queue.POLL_S", 0.2)
    running.yaml.write_text(SLOW + "folders: [{path: shoot}]\n")

    def steps():
        assert not running.wait(lambda state: state.progress.folders).progress.folders[0].events
        running.shoot("a.nef")
        running.wait(cleaned(running, "a.nef"))

    running.run(steps)


def test_events_that_get_lost_lose_no_frame_and_the_folder_is_watched_anew(running, monkeypatch):
    monkeypatch.setattr("dustd.daemon.folder_queue.UNHEARD_S", 0.0)
    monkeypatch.setattr("dustd.daemon.watch._Handler.dispatch", lambda *_: None)  # as after an overflow

    def steps():
        running.wait(lambda state: state.progress.folders and state.progress.folders[0].events)
        number = 0
        while "watching_anew" not in [each["event"] for each in logs]:  # what the first search finds casts no doubt
            number += 1
            running.shoot(f"{number}.nef")
            running.wait(cleaned(running, f"{number}.nef"))
            assert number < 50

    with capture_logs() as logs:
        running.run(steps)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_events_come_again_after_the_thread_that_reads_them_has_died(running, monkeypatch):
    inotify = pytest.importorskip("watchdog.observers.inotify")
    monkeypatch.setattr("dustd.daemon.folder_queue.UNHEARD_S", 0.0)

    def die(*_):
        raise RuntimeError("as a bug would end this thread")

    def steps():
        running.wait(lambda state: state.progress.folders and state.progress.folders[0].events)
        reading = next(each for each in threading.enumerate() if isinstance(each, inotify.InotifyFD))
        with monkeypatch.context() as broken:
            broken.setattr(inotify.InotifyWatchGroup, "on_event", die)
            running.shoot("0.nef")
            reading.join(LIMIT_S)
        number = 0
        while "watching_anew" not in [each["event"] for each in logs]:
            running.wait(cleaned(running, f"{number}.nef"))  # by a search
            number += 1
            assert number < 50
            running.shoot(f"{number}.nef")
        running.yaml.write_text(SLOW + "folders: [{path: shoot}]\n")
        running.wait(lambda state: state.config_loaded_at != state.started_at)
        for name in ("late.nef", "later.nef"):  # one search may still have been due
            running.shoot(name)
            running.wait(cleaned(running, name))

    with capture_logs() as logs:
        running.run(steps)


def test_new_session_folders_are_watched_however_deep_and_however_they_come(running):
    running.yaml.write_text(SLOW + "folders: [{path: shoot}]\n")

    def steps():
        running.wait(lambda state: state.progress.folders and state.progress.folders[0].events)
        (running.home / "shoot/one/two/three").mkdir(parents=True)
        running.shoot("a.nef", folder="shoot/one/two/three")
        (running.home / "elsewhere/deep").mkdir(parents=True)
        running.shoot("b.nef", folder="elsewhere/deep")
        (running.home / "elsewhere").rename(running.home / "shoot/moved")
        running.wait(cleaned(running, "a.nef", "shoot/Cleaned/one/two/three"))
        running.wait(cleaned(running, "b.nef", "shoot/Cleaned/moved/deep"))
        for folder in ("shoot/one/two/three", "shoot/moved/deep"):  # now that they are known
            running.shoot("c.nef", folder=folder)
            running.wait(cleaned(running, "c.nef", folder.replace("shoot", "shoot/Cleaned")))

    running.run(steps)


def test_newest_first_or_oldest_first_as_configured_also_while_frames_wait(running):
    for age, name in enumerate(("new.nef", "middle.nef", "old.nef")):
        running.shoot(name)
        os.utime(running.home / "shoot" / name, (1000 - age, 1000 - age))
    order = []
    for way in ("oldest", "newest"):
        running.yaml.write_text(QUICK.replace("rescan_s", f"order: {way}, rescan_s") + "folders: [{path: shoot}]\n")
        running.run(lambda: running.wait(counted("clean", 3)))
        order.append([name.removesuffix(".nef") for name, *_ in running.pipeline.seen])
        shutil.rmtree(running.home / "shoot/Cleaned")
    assert order == [["old", "middle", "new"], ["new", "middle", "old"]]
