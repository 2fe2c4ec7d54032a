"""Real files in real folders; every wait ends as soon as the event is there, and has a generous limit."""

import errno
import os
import queue
import shutil
import threading
import time

import pytest
from watchdog.observers import Observer

from dustd.daemon.watch import Watch, WatchedFolder

LIMIT_S = 30.0


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "shoot"
    root.mkdir()
    return WatchedFolder(path=root, output=root / "Cleaned")


@pytest.fixture
def watching(folder):
    with Watch([folder]) as it:
        assert it.refresh() == (folder,)
        assert it.has_events(folder)
        yield it


def paths_until(watching, wanted):
    """Collect event paths until *wanted* was among them."""
    seen, deadline = [], time.monotonic() + LIMIT_S
    while wanted not in seen:
        try:
            _, path, at = watching.events.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            pytest.fail(f"no event for {wanted} within {LIMIT_S} s; saw {seen}")
        assert at <= time.monotonic()
        seen.append(path)
    return seen


def test_a_temp_file_that_is_renamed_is_heard_under_its_final_name(watching, folder):
    temp = folder.path / "tmpfileAb12Cd"
    temp.write_bytes(b"raw")
    temp.rename(folder.path / "IMG_1.CR3")
    assert temp not in paths_until(watching, folder.path / "IMG_1.CR3")


def test_every_piece_streamed_in_place_is_heard(watching, folder):
    path = folder.path / "IMG_1.NEF"
    with path.open("wb", buffering=0) as file:
        for _ in range(3):
            file.write(bytes(8192))
            paths_until(watching, path)


def test_a_file_moved_in_from_outside_is_heard(watching, folder, tmp_path):
    (tmp_path / "IMG_1.ARW").write_bytes(b"raw")
    (tmp_path / "IMG_1.ARW").rename(folder.path / "IMG_1.ARW")
    paths_until(watching, folder.path / "IMG_1.ARW")


def test_a_file_replaced_by_another_is_heard(watching, folder, tmp_path):
    path = folder.path / "IMG_1.ARW"
    path.write_bytes(b"raw")
    paths_until(watching, path)
    (tmp_path / "new").write_bytes(b"RAW")
    (tmp_path / "new").replace(path)
    paths_until(watching, path)


def test_an_mtime_set_to_the_past_does_not_hide_a_file(watching, folder):
    path = folder.path / "IMG_1.ORF"
    path.write_bytes(b"raw")
    os.utime(path, (0, 0))
    paths_until(watching, path)


def test_a_new_folder_is_heard_so_that_it_can_be_listed(watching, folder, tmp_path):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "IMG_1.NEF").write_bytes(b"raw")
    (tmp_path / "day").rename(folder.path / "day")
    paths_until(watching, folder.path / "day")
    (folder.path / "day" / "IMG_2.NEF").write_bytes(b"raw")
    paths_until(watching, folder.path / "day" / "IMG_2.NEF")


def test_our_own_reading_and_writing_is_not_heard(watching, folder):
    source = folder.path / "IMG_1.NEF"
    source.write_bytes(b"raw")
    paths_until(watching, source)
    folder.output.mkdir()
    (folder.output / "IMG_1.dng").write_bytes(b"clean")
    (folder.path / "IMG_1.JPG").write_bytes(b"jpeg")
    while not watching.events.empty():
        watching.events.get_nowait()
    source.read_bytes()
    (folder.path / "last.NEF").write_bytes(b"raw")
    heard = set(paths_until(watching, folder.path / "last.NEF"))
    assert heard <= {folder.path / "last.NEF", folder.output, source}
    assert folder.output / "IMG_1.dng" not in heard


def test_a_folder_that_is_missing_at_first_is_watched_when_it_comes(tmp_path):
    folder = WatchedFolder(path=tmp_path / "usb", output=tmp_path / "out")
    with Watch([folder]) as watching:
        assert watching.refresh() == ()
        assert not watching.is_present(folder)
        folder.path.mkdir()
        assert watching.refresh() == (folder,)
        (folder.path / "IMG_1.NEF").write_bytes(b"raw")
        paths_until(watching, folder.path / "IMG_1.NEF")


def test_a_folder_that_goes_and_comes_back_is_watched_again(watching, folder):
    shutil.rmtree(folder.path)
    assert watching.refresh() == ()
    assert not watching.is_present(folder)
    assert watching.refresh() == ()
    folder.path.mkdir()
    assert watching.refresh() == (folder,)
    (folder.path / "IMG_1.NEF").write_bytes(b"raw")
    paths_until(watching, folder.path / "IMG_1.NEF")


def test_a_watched_link_to_a_folder_works_and_keeps_its_name(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    folder = WatchedFolder(path=tmp_path / "link", output=tmp_path / "out")
    with Watch([folder]) as watching:
        watching.refresh()
        (tmp_path / "real" / "IMG_1.NEF").write_bytes(b"raw")
        paths_until(watching, tmp_path / "link" / "IMG_1.NEF")


dies = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def die(*_):
    raise RuntimeError("as a bug or an unhandled error would end this thread")


@dies
def test_a_folder_watched_anew_is_heard_though_the_thread_that_reads_events_has_died(watching, folder, monkeypatch):
    inotify = pytest.importorskip("watchdog.observers.inotify")
    reading = next(each for each in threading.enumerate() if isinstance(each, inotify.InotifyFD))
    with monkeypatch.context() as broken:
        broken.setattr(inotify.InotifyWatchGroup, "on_event", die)
        (folder.path / "IMG_1.NEF").write_bytes(b"raw")
        reading.join(LIMIT_S)
    assert not reading.is_alive() and watching.refresh() == ()  # nobody can see it
    watching.release(folder)  # as the daemon does when a search finds what no event spoke of
    assert watching.refresh() == (folder,)
    (folder.path / "IMG_2.NEF").write_bytes(b"raw")
    paths_until(watching, folder.path / "IMG_2.NEF")


@dies
def test_the_death_of_the_thread_that_hands_events_out_is_noticed_at_once(watching, folder, monkeypatch):
    handing_out = next(each for each in threading.enumerate() if isinstance(each, Observer))
    with monkeypatch.context() as broken:
        broken.setattr("dustd.daemon.watch._Handler.dispatch", die)
        (folder.path / "IMG_1.NEF").write_bytes(b"raw")
        handing_out.join(LIMIT_S)
    assert watching.refresh() == (folder,)
    (folder.path / "IMG_2.NEF").write_bytes(b"raw")
    paths_until(watching, folder.path / "IMG_2.NEF")


def test_without_room_for_another_watch_a_folder_is_only_searched(folder, monkeypatch):
    def no_room(*_):
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr("dustd.daemon.watch.Observer", no_room)
    with Watch([folder]) as watching:
        assert watching.refresh() == (folder,)
        assert watching.is_present(folder) and not watching.has_events(folder)
