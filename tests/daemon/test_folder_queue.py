"""One watched folder, on a clock that ticks a hundredth of a second per look."""

import itertools
import os
from types import SimpleNamespace

from dustd.daemon import folder_queue
from dustd.daemon.folder_queue import Lane, Timing
from dustd.daemon.watch import WatchedFolder


def test_files_that_one_search_found_go_by_age_though_it_found_them_one_after_the_other(tmp_path, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(folder_queue, "time", SimpleNamespace(monotonic=lambda: 100 + next(ticks) / 100))
    for age in range(9):  # the search goes by name and finds the oldest last
        path = tmp_path / f"{age}.dng"
        path.write_bytes(b"raw")
        os.utime(path, (1000 - age, 1000 - age))
    folder = WatchedFolder(path=tmp_path, output=tmp_path / "out")
    one = Lane(folder, Timing(quiet_s=1, give_up_s=9, rescan_s=9), lambda *_: False)
    one.scan([folder.output], present=True, has_events=False)
    first = next(filter(None, (one.take() for _ in range(1000))))
    assert first.name == "8.dng"
