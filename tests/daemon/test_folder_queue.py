"""One watched folder, on a clock of the test's own."""

import itertools
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from dustd.daemon import folder_queue
from dustd.daemon.folder_queue import FolderQueue, Timing
from dustd.daemon.watch import WatchedFolder
from dustd.errors import UnreadableError


def test_files_that_one_search_found_go_by_age_though_it_found_them_one_after_the_other(tmp_path, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(folder_queue, "time", SimpleNamespace(monotonic=lambda: 100 + next(ticks) / 100))
    for age in range(9):  # the search goes by name and finds the oldest last
        path = tmp_path / f"{age}.dng"
        path.write_bytes(b"raw")
        os.utime(path, (1000 - age, 1000 - age))
    folder = WatchedFolder(path=tmp_path, output=tmp_path / "out")
    one = FolderQueue(folder, Timing(quiet_s=1, give_up_s=9, rescan_s=9), lambda *_: False)
    one.scan([folder.output], present=True, has_events=False)
    first = next(filter(None, (one.take() for _ in range(1000))))
    assert first.name == "8.dng"


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.sampled_from(["a folder is made", "a search is asked for", "a file is put"]))
    )
)
def test_every_file_is_found_within_two_rescan_periods_whatever_goes_on(steps):
    clock = SimpleNamespace(now=100.0)
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(folder_queue, "time", SimpleNamespace(monotonic=lambda: clock.now)),
    ):
        folder = WatchedFolder(path=Path(name), output=Path(name, "out"))
        one = FolderQueue(folder, Timing(quiet_s=1, give_up_s=9, rescan_s=20), lambda *_: False)
        put: dict[Path, float] = {}
        for number, (wait_s, what) in enumerate([*steps, *[(1.0, "")] * 40]):
            clock.now += wait_s
            if what == "a folder is made":
                made = Path(name, f"folder{number}")
                made.mkdir()
                one.heard(made, clock.now, [folder.output])
            elif what == "a search is asked for":
                one.search_now()
            elif what:
                path = Path(name, f"{number}.dng")  # no event tells of it
                path.write_bytes(b"raw")
                put[path] = clock.now
            one.scan([folder.output], present=True, has_events=True)
            late = [path for path, at in put.items() if clock.now - at > 40 + max(wait_s, 1) and path not in one.settle]
            assert not late
        assert all(path in one.settle for path in put)


def test_a_search_that_is_asked_for_during_a_search_is_made_after_it(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(folder_queue, "time", SimpleNamespace(monotonic=lambda: clock.now))
    folder = WatchedFolder(path=tmp_path, output=tmp_path / "out")
    one = FolderQueue(folder, Timing(quiet_s=1, give_up_s=9, rescan_s=1000), lambda *_: False)

    def searching(*_):
        yield None
        one.search_now()

    one._walk = searching
    one.scan([], present=True, has_events=True)
    del one._walk
    (tmp_path / "late.dng").write_bytes(b"raw")
    one.scan([], present=True, has_events=True)
    assert tmp_path / "late.dng" in one.settle


def test_it_is_idle_when_no_file_rests_or_waits_but_for_those_that_cannot_be_read_just_now(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(folder_queue, "time", SimpleNamespace(monotonic=lambda: clock.now))
    folder = WatchedFolder(path=tmp_path, output=tmp_path / "out")
    one = FolderQueue(folder, Timing(quiet_s=1, give_up_s=9, rescan_s=20), lambda *_: False)
    assert one.is_idle()
    (tmp_path / "a.dng").write_bytes(b"raw")
    one.heard(tmp_path / "a.dng", clock.now, [folder.output])
    assert not one.is_idle()  # it rests
    clock.now += 2
    path = one.take()
    assert not one.is_idle()  # it is being cleaned
    one.put_off(path, UnreadableError("it cannot be read", remedy="Check the share", path=path))
    assert one.is_idle()
