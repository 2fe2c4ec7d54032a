"""The daemon as a photographer meets it: a process of its own, real folders, real signals.

The frame "processor" here copies the file and writes a true sidecar; how a frame fares is told by its content. Waits
end when the condition holds and have a generous limit.
"""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dustd import files
from dustd.daemon import folder_queue
from dustd.daemon import loop as daemon_module
from dustd.daemon.folder_queue import Timing
from dustd.daemon.lock import only_one
from dustd.daemon.loop import serve
from dustd.daemon.watch import WatchedFolder
from dustd.errors import ConfigError, FrameError, SurroundingsError
from dustd.output.ledger import is_done, vouched
from dustd.output.sidecar import Output, Problem, Record, Source, decode, encode, sidecar_name
from dustd.raw.frame import Camera

LIMIT_S = 60.0
WHOLE = b"whole"


def sidecar_of(path, folder):
    return files.output_folder_for(path, folder.path, folder.output) / sidecar_name(path.name)


def write(path, folder, *, data=None, error=None):
    sidecar = sidecar_of(path, folder)
    files.make_output_folder(sidecar.parent, folder.output)
    stat = path.stat()
    source = Source(name=path.name, size=stat.st_size, sha256=files.sha256_file(path), mtime_ns=stat.st_mtime_ns)
    outputs, ours = (), vouched(sidecar)
    if data is not None:
        target = sidecar.parent / f"{path.stem}.dng"
        with files.claim(target, data) as claimed:
            files.publish(target, data, ours=ours | claimed)
        outputs = (Output(kind="dng", path=target.name, sha256=files.sha256_file(target)),)
    problem = Problem(problem=error.problem, remedy=error.remedy) if error else None
    status = "failed" if error else "clean"
    record = Record(source=source, camera=Camera(), outputs=outputs, status=status, error=problem)
    files.publish(sidecar, encode(record), ours=ours)


def process(path, folder):
    data = path.read_bytes()
    with (folder.output.parent / "journal").open("a") as journal:
        journal.write(f"{path.name}\n")
    if data.startswith(b"crash"):
        raise RuntimeError("nobody foresaw this")
    if data.startswith(b"slow"):
        (folder.output.parent / "started").touch()
        wait_for(lambda: (folder.output.parent / "go on").exists())
    if not data.endswith(WHOLE):
        raise FrameError("it cannot be decoded", remedy="Copy it again", path=path)
    write(path, folder, data=data)


def fail(path, folder, error):
    write(path, folder, error=error)


def done(path, folder):
    return is_done(path, sidecar_of(path, folder))


def wait_for(condition):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def idle(folder):
    """Decide anew on a frame, for as long as there are any: until "go on" in its first turn."""
    if not (folder.output.parent / "revisits").exists():
        return False
    with (folder.output.parent / "journal").open("a") as journal:
        journal.write("revisit\n")
    wait_for(lambda: (folder.output.parent / "go on").exists())
    return True


def main(*roots):
    folders = [WatchedFolder(path=Path(root), output=Path(root).parent / f"{Path(root).name}-out") for root in roots]
    timing = Timing(quiet_s=0.2, give_up_s=0.5, rescan_s=1.0)
    serve(folders, timing, process=process, fail=fail, is_done=done, idle=lambda: idle(folders[0]))


class Daemon:
    def __init__(self, tmp_path, *roots):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = tmp_path / "notify"
        address.unlink(missing_ok=True)
        self.socket.bind(str(address))
        self.heard = []
        threading.Thread(target=self.listen, daemon=True).start()
        self.log = tmp_path / "log"
        code = "import sys; sys.path.insert(0, sys.argv[1]); import test_loop; test_loop.main(*sys.argv[2:])"
        here = Path(__file__)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, here.parent, *roots],
                stdout=log,
                stderr=log,
                cwd=here.parents[2],
                env={**os.environ, "NOTIFY_SOCKET": str(address), "PYTHONPATH": str(here.parents[2])},
            )
        self.hear(b"READY=1")

    def listen(self):
        with contextlib.suppress(OSError):
            while message := self.socket.recv(4096):
                self.heard.append(message)

    def hear(self, wanted):
        """Wait until *wanted* was heard; forget what was heard up to then."""
        wait_for(lambda: any(wanted in message for message in self.heard))
        self.heard.clear()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT_S)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes the listener
        self.socket.close()


@pytest.fixture
def start(tmp_path):
    daemons = []

    def begin(*roots):
        daemons.append(Daemon(tmp_path, *roots))
        return daemons[-1]

    yield begin
    for daemon in daemons:
        daemon.close()


@pytest.fixture
def shoot(tmp_path):
    (tmp_path / "shoot").mkdir()
    return tmp_path / "shoot"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "shoot-out"


def record(out, name):
    return decode((out / sidecar_name(name)).read_bytes())


def journal(tmp_path):
    return (tmp_path / "journal").read_text().split()


def test_frames_that_were_there_and_frames_that_arrive_are_cleaned(start, shoot, out):
    (shoot / "before.nef").write_bytes(WHOLE)
    daemon = start(shoot)
    (shoot / "tmpfileAb12Cd").write_bytes(WHOLE)
    (shoot / "tmpfileAb12Cd").rename(shoot / "after.cr3")
    (shoot / "day").mkdir()
    (shoot / "day" / "deep.arw").write_bytes(WHOLE)
    wanted = [out / "before.dng", out / "after.dng", out / "day" / "deep.dng"]
    wait_for(lambda: all(path.exists() for path in wanted))
    wait_for(lambda: (out / "day" / "deep.arw.dustd.json").exists())
    assert daemon.stop() == 0


def test_a_backlog_is_worked_off_oldest_first_and_only_once(start, shoot, tmp_path, out):
    for name, age in (("c.nef", 3), ("a.nef", 1), ("b.nef", 2)):
        (shoot / name).write_bytes(WHOLE)
        os.utime(shoot / name, (1000 - age, 1000 - age))
    daemon = start(shoot)
    wait_for(lambda: (out / "a.nef.dustd.json").exists())
    assert daemon.stop() == 0
    assert journal(tmp_path) == ["c.nef", "b.nef", "a.nef"]
    daemon = start(shoot)
    (shoot / "new.nef").write_bytes(WHOLE)
    wait_for(lambda: (out / "new.nef.dustd.json").exists())
    daemon.stop()
    assert journal(tmp_path)[3:] == ["new.nef"]


def test_a_frame_that_arrives_waits_for_one_revisit_at_most(start, shoot, tmp_path, out):
    (tmp_path / "revisits").touch()
    daemon = start(shoot)
    wait_for(lambda: (tmp_path / "journal").exists())
    (shoot / "new.nef").write_bytes(WHOLE)
    time.sleep(0.5)  # the system tells of it while a revisit is in hand
    (tmp_path / "go on").touch()
    wait_for(lambda: (out / "new.nef.dustd.json").exists() and journal(tmp_path).count("revisit") > 2)
    assert journal(tmp_path)[:3] == ["revisit", "new.nef", "revisit"]
    assert daemon.stop() == 0


def test_a_broken_frame_and_a_bug_cost_only_themselves(start, shoot, out):
    (shoot / "broken.nef").write_bytes(b"half")
    (shoot / "bug.nef").write_bytes(b"crash")
    (shoot / "good.nef").write_bytes(WHOLE)
    daemon = start(shoot)
    wait_for(lambda: all((out / sidecar_name(name)).exists() for name in ("broken.nef", "bug.nef", "good.nef")))
    assert record(out, "broken.nef").error.problem == "it cannot be decoded"
    assert "nobody foresaw this" in record(out, "bug.nef").error.problem
    assert record(out, "good.nef").status == "clean"
    assert daemon.stop() == 0
    assert "Traceback" in daemon.log.read_text()


def test_a_frame_that_failed_and_then_arrives_whole_is_cleaned(start, shoot, out):
    (shoot / "a.nef").write_bytes(b"half")
    start(shoot)
    wait_for(lambda: (out / "a.nef.dustd.json").exists())
    with (shoot / "a.nef").open("ab") as file:
        file.write(WHOLE)
    wait_for(lambda: (out / "a.dng").exists())
    wait_for(lambda: record(out, "a.nef").status == "clean")


def test_a_frame_rewritten_after_it_was_cleaned_is_cleaned_again(start, shoot, out):
    (shoot / "a.nef").write_bytes(b"1" + WHOLE)
    start(shoot)
    wait_for(lambda: (out / "a.nef.dustd.json").exists())
    (shoot / "a.nef").write_bytes(b"with keywords" + WHOLE)
    wait_for(lambda: (out / "a.dng").read_bytes() == b"with keywords" + WHOLE)


def test_a_missing_output_disk_pauses_its_folder_only_and_work_goes_on_when_it_is_back(start, tmp_path):
    away, here = tmp_path / "away" / "shoot", tmp_path / "here"
    away.mkdir(parents=True)
    here.mkdir()
    (tmp_path / "away" / "shoot-out").touch()  # no folder can be made there
    (away / "a.nef").write_bytes(WHOLE)
    daemon = start(away, here)
    daemon.hear(b"STATUS=paused")
    (here / "b.nef").write_bytes(WHOLE)
    wait_for(lambda: (tmp_path / "here-out" / "b.dng").exists())
    (tmp_path / "away" / "shoot-out").unlink()
    wait_for(lambda: (tmp_path / "away" / "shoot-out" / "a.dng").exists())
    daemon.hear(b"STATUS=idle")
    assert daemon.stop() == 0


def test_a_foreign_file_is_kept_and_the_frame_says_so(start, shoot, out):
    out.mkdir()
    (out / "a.dng").write_bytes(b"precious")
    (shoot / "a.nef").write_bytes(WHOLE)
    start(shoot)
    wait_for(lambda: (out / "a.nef.dustd.json").exists())
    assert "did not write" in record(out, "a.nef").error.problem
    assert (out / "a.dng").read_bytes() == b"precious"


def test_a_watched_folder_may_come_later_and_go_and_come_back(start, tmp_path, out):
    shoot = tmp_path / "shoot"
    daemon = start(shoot)
    for name in ("first.nef", "second.nef"):
        shoot.mkdir()
        (shoot / name).write_bytes(WHOLE)
        wait_for(lambda name=name: (out / sidecar_name(name)).exists())
        shoot.rename(tmp_path / f"unplugged {name}")
        wait_for(lambda: daemon.log.read_text().rstrip().rpartition("\n")[2].find("folder_missing") >= 0)
    assert daemon.stop() == 0


def test_the_first_signal_lets_the_frame_finish(start, shoot, tmp_path, out):
    (shoot / "a.nef").write_bytes(b"slow" + WHOLE)
    daemon = start(shoot)
    wait_for((tmp_path / "started").exists)
    daemon.process.send_signal(signal.SIGINT)
    (tmp_path / "go on").touch()
    assert daemon.process.wait(LIMIT_S) == 0
    daemon.hear(b"STOPPING=1")
    assert record(out, "a.nef").status == "clean"


def test_the_second_signal_ends_it_at_once_and_a_restart_finishes_the_work(start, shoot, tmp_path, out):
    (shoot / "a.nef").write_bytes(b"slow" + WHOLE)
    daemon = start(shoot)
    wait_for((tmp_path / "started").exists)
    daemon.process.send_signal(signal.SIGINT)
    while daemon.process.poll() is None:
        daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    assert daemon.process.returncode == -signal.SIGTERM
    assert not out.exists()
    (tmp_path / "go on").touch()
    start(shoot)
    wait_for(lambda: (out / "a.nef.dustd.json").exists())


def test_a_kill_at_any_moment_loses_and_doubles_nothing(start, shoot, tmp_path, out):
    for number in range(40):
        (shoot / f"{number:02}.nef").write_bytes(b"%d" % number + WHOLE)
    for count in (5, 15):
        daemon = start(shoot)
        wait_for(lambda count=count: out.exists() and len(list(out.glob("*.json"))) >= count)
        daemon.process.kill()
        daemon.process.wait()
    start(shoot)
    wait_for(lambda: len(list(out.glob("*.json"))) == 40)
    assert all(record(out, f"{number:02}.nef").status == "clean" for number in range(40))
    assert len(list(out.glob("*.dng"))) == 40
    assert len(journal(tmp_path)) <= 42


def test_originals_are_left_as_they_were(start, shoot, out):
    (shoot / "a.nef").write_bytes(WHOLE)
    before = (shoot / "a.nef").stat()
    start(shoot)
    wait_for(lambda: (out / "a.nef.dustd.json").exists())
    after = (shoot / "a.nef").stat()
    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_ino) == (
        before.st_mtime_ns,
        before.st_ctime_ns,
        before.st_ino,
    )


def test_a_wrong_configuration_ends_the_loop(tmp_path, shoot):
    def misconfigured(path, folder):
        raise ConfigError("no such body", remedy="Name another")

    (shoot / "a.nef").write_bytes(WHOLE)
    folder = WatchedFolder(path=shoot, output=tmp_path / "out")
    timing = Timing(quiet_s=0.01, give_up_s=1, rescan_s=1)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ConfigError):
        serve([folder], timing, process=misconfigured, fail=fail, is_done=done)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_frame_whose_failure_cannot_be_recorded_is_tried_once_not_for_ever(tmp_path, shoot):
    tried = []

    def hopeless(path, folder):
        tried.append(path.name)
        if path.name == "b.nef":
            os.kill(os.getpid(), signal.SIGTERM)
        raise FrameError("no", remedy="no")

    def cannot(path, folder, error):
        (shoot / "b.nef").write_bytes(WHOLE)  # while it settles, rescans could bring the first one back
        raise FrameError("name too long", remedy="Rename it")

    (shoot / "a.nef").write_bytes(WHOLE)
    folder = WatchedFolder(path=shoot, output=tmp_path / "out")
    timing = Timing(quiet_s=0.3, give_up_s=0.31, rescan_s=0.05)
    serve([folder], timing, process=hopeless, fail=cannot, is_done=lambda path, folder: False)
    assert tried in (["a.nef", "b.nef"], ["a.nef", "a.nef", "b.nef"])


def test_more_files_than_are_held_in_memory_are_all_cleaned(tmp_path, shoot, monkeypatch):
    monkeypatch.setattr(folder_queue, "MAX_WAITING", 3)
    cleaned = []

    def count(path, folder):
        cleaned.append(path)
        if len(cleaned) == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    for number in range(20):
        (shoot / f"{number}.nef").write_bytes(WHOLE)
    folder = WatchedFolder(path=shoot, output=tmp_path / "out")
    timing = Timing(quiet_s=0.01, give_up_s=1, rescan_s=0.1)
    serve([folder], timing, process=count, fail=fail, is_done=lambda path, folder: path in cleaned)
    assert len(set(cleaned)) == 20


def test_a_frame_that_changed_while_it_was_read_is_read_again_when_it_rests(tmp_path, shoot):
    read = []

    def changing(path, folder):
        read.append(path.name)
        if len(read) == 1:
            path.write_bytes(WHOLE + b"more")
            raise FrameError("it changed while it was read", remedy="dustd tries again when it rests", path=path)
        os.kill(os.getpid(), signal.SIGTERM)

    (shoot / "a.nef").write_bytes(WHOLE)
    folder = WatchedFolder(path=shoot, output=tmp_path / "out")
    timing = Timing(quiet_s=0.01, give_up_s=1, rescan_s=0.1)
    serve([folder], timing, process=changing, fail=fail, is_done=lambda path, folder: False)
    assert read == ["a.nef", "a.nef"]


def test_what_is_asked_between_frames_stands_in_the_status(tmp_path, shoot, monkeypatch):
    said = []
    monkeypatch.setattr(daemon_module.systemd, "status", said.append)

    def clean(path, folder):
        os.kill(os.getpid(), signal.SIGTERM)

    (shoot / "a.nef").write_bytes(WHOLE)
    folder = WatchedFolder(path=shoot, output=tmp_path / "out")
    timing = Timing(quiet_s=0.01, give_up_s=1, rescan_s=1)
    serve(
        [folder], timing, process=clean, fail=fail, is_done=lambda *_: False, between=lambda: "clean now: Nikon Z 8 #1"
    )
    assert "cleaning a.nef, 0 waiting; clean now: Nikon Z 8 #1" in said


def test_only_one_daemon_may_use_the_maps(tmp_path):
    def second():
        with only_one(tmp_path / "state"):
            pass

    with only_one(tmp_path / "state"), pytest.raises(SurroundingsError, match=f"process {os.getpid()}"):
        second()
    second()


def test_a_state_folder_that_cannot_be_written_is_told_with_its_name(tmp_path):
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(SurroundingsError, match="cannot be written to") as caught, only_one(tmp_path / "state"):
        pass
    assert caught.value.path == tmp_path / "state"


def test_closing_the_terminal_that_it_runs_on_ends_it(tmp_path, shoot, monkeypatch):
    master, slave = os.openpty()
    with open(slave, "w") as terminal:  # noqa: PTH123 - a descriptor, not a path
        monkeypatch.setattr(sys, "stderr", terminal)

        def close(progress):
            with contextlib.suppress(OSError):  # the first time counts
                os.close(master)
                os.kill(os.getpid(), signal.SIGHUP)

        folder = WatchedFolder(path=shoot, output=tmp_path / "out")
        timing = Timing(quiet_s=0.01, give_up_s=1, rescan_s=1)
        serve([folder], timing, process=process, fail=fail, is_done=done, tell=close)


def test_a_hang_up_before_it_is_ready_is_let_pass(monkeypatch):
    previous = signal.getsignal(signal.SIGHUP)
    try:
        daemon_module.ignore_hangup()
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_an_event_that_comes_while_others_are_taken_is_not_lost():
    class Flood(queue.SimpleQueue):
        def qsize(self):
            """Say what there was a moment ago."""
            return max(0, super().qsize() - 1)

    events = Flood()
    for number in range(3):
        events.put((None, Path(str(number)), 0.0))
    taken = [*daemon_module.take_events(events, 0), *daemon_module.take_events(events, 0)]
    assert [str(path) for _, path, _ in taken] == ["0", "1", "2"]
    assert daemon_module.take_events(events, 0) == []
