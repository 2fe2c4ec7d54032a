"""A running station with real folders, configuration, sidecars and signals; only looking at pictures is left out."""

import json
import os
import shutil
import signal
import socket
import threading
import time
import types
import urllib.request

import pytest
from structlog.testing import capture_logs

from dustd import config, files, ledger, sidecar, station, status
from dustd.errors import FrameError, ModelError, UnreadableError
from dustd.frame import Camera
from dustd.reload import ConfigFile
from dustd.sidecar import Problem, Record, Source
from dustd.store import Store

LIMIT_S = 60.0
QUICK = "watch: {quiet_s: 0.1, give_up_s: 1, rescan_s: 1}\nmap: {store: state/maps.sqlite}\n"


class Pipeline:
    """Writes true sidecars; how a frame fares is told by its content."""

    def __init__(self, store, settings):
        self.store, self.output, self.sensitivity_of = store, settings.output, settings.sensitivity_of
        self.detector = types.SimpleNamespace(model_id="small", device="cpu")
        self.seen = []

    def process(self, source, out_folder):
        text = source.read_text()
        self.seen.append((source.name, self.sensitivity_of("Nikon Z 8 #1", source), self.detector.model_id))
        if text == "away":
            raise UnreadableError("it cannot be read (Stale file handle)", remedy="Check the share", path=source)
        if text == "bad":
            raise FrameError("it cannot be decoded", remedy="Copy it again", path=source)
        return self.write(source, out_folder, "clean", None)

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
        with Store.open(settings.map.store) as store:
            self.pipeline = Pipeline(store, settings)
            thread.start()
            station.serve(settings, self.pipeline, file=file, load_model=self.load_model)
        thread.join()
        if raised:
            raise raised[0]


@pytest.fixture
def running(tmp_path, monkeypatch):
    monkeypatch.setattr("dustd.reload.REST_S", 0.2)
    monkeypatch.setattr("dustd.daemon.TICK_S", 0.1)
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


def test_a_restart_still_knows_what_failed_before(running):
    running.shoot("b.nef", "bad")
    running.run(lambda: running.wait(lambda state: state.failed_total == 1))
    running.run(lambda: running.wait(lambda state: state.failed_total == 1 and state.frames == {}))


def test_a_failed_frame_whose_file_has_gone_is_no_longer_listed(running, monkeypatch):
    monkeypatch.setattr(station, "PRUNE_S", 0.0)
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
    ],
    ids=["mistake", "no YAML", "missing model"],
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
        running.yaml.write_text("folders: [{path: shoot}]\nmap: {store: elsewhere/maps.sqlite}\nsensitivity: 60\n")
        state = running.wait(lambda state: state.config_problem is not None)
        assert "map.store" in state.config_problem.problem and "Restart" in state.config_problem.remedy
        running.shoot("a.nef")
        running.wait(counted("clean", 1))

    running.run(steps)
    assert running.pipeline.seen == [("a.nef", 60.0, "small")]
    assert not (running.home / "elsewhere").exists()


def test_sighup_reads_the_configuration_at_once(running, monkeypatch):
    monkeypatch.setattr("dustd.reload.REST_S", 1e6)

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


def test_a_retry_is_a_missing_sidecar_and_a_signal(running, capsys):
    from dustd import cli

    running.shoot("a.nef", "bad")
    running.shoot("b.nef", "bad")

    def steps():
        running.wait(lambda state: state.failed_total == 2)
        stamp = (running.home / "shoot" / "a.nef").stat()
        (running.home / "shoot" / "a.nef").write_text("yes")  # the same length, and no other time
        os.utime(running.home / "shoot" / "a.nef", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert cli.main(["retry", "-c", str(running.yaml), str(running.home / "shoot" / "a.nef")]) == 0
        running.wait(lambda state: counted("clean", 1)(state) and state.failed_total == 1)

    running.run(steps)
    assert "1 failed frame is tried again" in capsys.readouterr().out


def test_a_retry_of_what_is_not_watched_says_so(running, capsys):
    from dustd import cli

    assert cli.main(["retry", "-c", str(running.yaml), "/elsewhere.nef"]) == 2
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
