"""What happens to the daemon when a file brings its decoder down: nothing; to the frame: a reason."""

import contextlib
import errno
import os
import resource
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from dustd.config import OutputSettings
from dustd.errors import FrameError, SurroundingsError, UnreadableError
from dustd.pipeline.worker_client import WorkerClient
from dustd.raw.frame import Camera
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera
from dustd.spots.candidates import AS_IT_IS, as_spot, candidates_in
from dustd.spots.outline import outlines_in
from dustd.spots.spot import Detection


@pytest.fixture
def path(tmp_path, dusty_shot):
    path = tmp_path / "SHOT.DNG"
    path.write_bytes(dusty_shot[1])
    return path


@pytest.fixture
def room():
    with WorkerClient() as opened:
        yield opened


def test_a_frame_comes_out_of_the_worker_as_it_is_in_the_file(worker, path):
    camera = worker.read_camera(path)
    frame = worker.decode(path, camera)
    with open_raw(path, read_camera(path)) as opened:
        assert camera == read_camera(path)
        assert np.array_equal(frame.raw, opened.frame.raw)
        assert (frame.visible, frame.cfa, frame.white) == (
            opened.frame.visible,
            opened.frame.cfa,
            opened.frame.white,
        )


def test_the_worker_measures_as_this_process_does(worker, path, dusty_shot):
    exposure, _ = dusty_shot
    boxes = [
        Detection(x=each.x, y=each.y, width_px=1.5 * each.diameter_px, height_px=1.5 * each.diameter_px, score=0.9)
        for each in exposure.shadows
    ]
    frame = worker.decode(path, worker.read_camera(path))
    measured = worker.measure(boxes)
    assert boxes and measured == candidates_in(frame, boxes)
    spots = [(as_spot(each, 1, AS_IT_IS), each.box) for each in measured]
    assert worker.outlines(spots) == outlines_in(frame, spots)


def test_the_worker_knows_which_frame_it_holds(room, path):
    camera = room.read_camera(path)
    first = room.decode(path, camera)
    assert room.holds(first) and room.holds(replace(first, camera=Camera()))
    second = room.decode(path, camera)
    assert room.holds(second) and not room.holds(first)
    room.clear()
    assert not room.holds(second)


def test_a_worker_that_died_holds_nothing(room, path):
    frame = room.decode(path, room.read_camera(path))
    os.kill(room.pid, signal.SIGSEGV)
    with pytest.raises(FrameError):
        room.correct((), {})
    assert not room.holds(frame)


def test_samples_from_the_worker_cannot_be_changed_by_mistake(worker, path):
    frame = worker.decode(path, worker.read_camera(path))
    with pytest.raises(ValueError, match="read-only"):
        frame.raw[0, 0] = 1


def test_a_crash_costs_the_frame_and_the_next_one_works(room, path):
    camera = room.read_camera(path)
    room.decode(path, camera)
    os.kill(room.pid, signal.SIGSEGV)
    with pytest.raises(FrameError, match=r"SHOT\.DNG: it brought down .*SIGSEGV"):
        room.correct((), {})
    assert room.decode(path, camera).height > 0


def test_a_frame_has_a_second_chance_after_a_crash_and_no_third(room, path):
    camera = room.read_camera(path)
    for kind in (UnreadableError, FrameError):
        room.decode(path, camera)
        os.kill(room.pid, signal.SIGKILL)
        with pytest.raises(FrameError) as refused:
            room.correct((), {})
        assert type(refused.value) is kind


def test_a_crash_in_the_middle_of_a_step_costs_the_frame(room, path):
    camera = room.read_camera(path)
    os.kill(room.pid, signal.SIGSTOP)  # so that the step is certainly not over
    threading.Timer(0.2, os.kill, (room.pid, signal.SIGKILL)).start()
    with pytest.raises(FrameError, match="decode it"):
        room.decode(path, camera)


def test_a_worker_that_hangs_is_replaced(path):
    with WorkerClient(limit_s=0.5) as room:
        camera = room.read_camera(path)
        os.kill(room.pid, signal.SIGSTOP)
        with pytest.raises(FrameError, match=r"longer than 0\.5 s to decode it"):
            room.decode(path, camera)
    with WorkerClient() as room:
        assert room.decode(path, camera).height > 0


def test_dustds_own_errors_come_back_as_they_are(worker, tmp_path):
    path = tmp_path / "EMPTY.CR2"
    path.write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(FrameError) as here:
        read_camera(path)
        with open_raw(path, read_camera(path)):
            pass
    with pytest.raises(FrameError) as there:
        worker.decode(path, worker.read_camera(path))
    assert there.value.path == here.value.path == path


def test_an_error_that_nobody_foresaw_comes_back_and_the_worker_lives_on(room, path):
    camera = room.read_camera(path)
    worker = room.pid
    with pytest.raises(RuntimeError, match="AttributeError"):
        room.correct((), {})  # nothing lies on the bench
    assert room.decode(path, camera).height > 0
    assert room.pid == worker


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_stops_the_daemon_lets_the_worker_end_its_frame(room, path, number):
    room.decode(path, room.read_camera(path))
    os.kill(room.pid, number)
    room.correct((), {})
    assert room.encode(OutputSettings())[:2] in (b"II", b"MM")


def test_the_worker_does_not_outlive_the_daemon_even_if_it_hangs(room, path):
    room.read_camera(path)
    worker = room._process
    room._lifeline.close()  # as the system does for a daemon that was killed
    assert worker.wait(5) == 0


def test_a_worker_at_rest_holds_no_file_open(room, path):
    room.decode(path, room.read_camera(path))
    room.clear()
    files = Path(f"/proc/{room.pid}/fd")
    if not files.is_dir():
        pytest.skip("needs /proc")
    assert path not in [each.resolve() for each in files.iterdir()]


@pytest.fixture
def no_more_memory():
    """Leave a worker only 2 MB more than it has."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc and Linux' limits")

    def limit(room):
        status = dict(line.split(":", 1) for line in Path(f"/proc/{room.pid}/status").read_text().splitlines())
        most = int(status["VmData"].split()[0]) * 1024 + (2 << 20)
        return resource.prlimit(room.pid, resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))

    return limit


def test_a_frame_that_asks_for_too_much_memory_is_refused_and_the_worker_lives_on(room, path, no_more_memory):
    camera = room.read_camera(path)
    room.decode(path, camera)
    room.correct((), {})
    worker, before = room.pid, no_more_memory(room)
    with pytest.raises(FrameError, match=r"SHOT\.DNG: it asks for too much memory \(.* 0\.\d GB") as refused:
        room.encode(OutputSettings(format="tiff"))
    assert type(refused.value) is FrameError  # and so is not tried again and again
    resource.prlimit(worker, resource.RLIMIT_DATA, before)
    assert room.decode(path, camera).height > 0
    assert room.pid == worker


def test_memory_that_libraw_does_not_get_is_called_so(room, path, no_more_memory):
    camera = room.read_camera(path)
    no_more_memory(room)
    with pytest.raises(FrameError, match="too much memory"):
        room.decode(path, camera)


def test_a_worker_may_not_take_the_memory_of_the_whole_machine(room, path):
    if not hasattr(resource, "prlimit"):
        pytest.skip("needs Linux' limits")
    room.read_camera(path)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < resource.prlimit(room.pid, resource.RLIMIT_DATA)[0] <= machine * 3 / 4


def damaged(data):
    """Make the frame's samples, half of the file from its middle on, what no lossless JPEG is."""
    return data[: len(data) // 2] + b"\xff\xd9" * (len(data) // 4)


def test_what_libraw_prints_is_in_the_log_and_not_on_standard_error(room, path, capfd):
    path.write_bytes(damaged(path.read_bytes()))
    with capture_logs() as logs, contextlib.suppress(FrameError):
        room.decode(path, room.read_camera(path))
    assert {(each["event"], each["library"], each["frame"]) for each in logs} == {
        ("library_message", "worker", "SHOT.DNG")
    }
    assert all("corrupted" in each["message"] for each in logs)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def speak(room, path):
    """Print as a library in the worker would."""
    room.read_camera(path)
    out = Path(f"/proc/{room.pid}/fd/2")
    if not out.exists():
        pytest.skip("needs /proc")
    with out.open("wb", buffering=0) as pipe:
        yield pipe.write


def test_a_library_that_goes_on_and_on_does_not_fill_the_log(room, path, speak):
    os.kill(room.pid, signal.SIGSTOP)
    flood = threading.Thread(target=speak, args=(b"noise \x1b[2J\n" * 100_000,))  # more than a pipe holds
    flood.start()
    threading.Timer(0.2, os.kill, (room.pid, signal.SIGCONT)).start()
    steps = 1
    with capture_logs() as logs:
        while flood.is_alive():
            room.read_camera(path)
            steps += 1
        room.read_camera(path)
    told = [each["message"] for each in logs if each["event"] == "library_message"]
    left_out = sum(each["lines"] for each in logs if each["event"] == "library_messages_left_out")
    assert len(told) <= 10 * steps
    assert 100_000 <= len(told) + left_out <= 100_000 + steps  # a line may have come in two pieces
    assert told[0] == "noise \ufffd[2J"


def test_the_last_words_of_a_worker_are_in_the_log(room, path, speak):
    speak(b"first words\n")
    os.kill(room.pid, signal.SIGSEGV)
    with capture_logs() as logs, pytest.raises(UnreadableError):
        room.read_camera(path)
    (end,) = [each for each in logs if each["event"] == "worker_ended"]
    assert end["said"].startswith("first words\nFatal Python error: Segmentation fault")
    assert "worker.py" in end["said"] and end["frame"] == "SHOT.DNG"


def test_where_no_worker_can_be_started_the_frame_waits_and_nothing_leaks(room, path, monkeypatch):
    def no_room(*_, **__):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    handles = Path("/proc/self/fd")
    if not handles.is_dir():
        pytest.skip("needs /proc")
    before = len(list(handles.iterdir()))
    with monkeypatch.context() as full:
        full.setattr("subprocess.Popen", no_room)
        with pytest.raises(SurroundingsError, match=r"cannot be started .*memory"):
            room.read_camera(path)
    assert len(list(handles.iterdir())) == before
    assert room.read_camera(path).make
