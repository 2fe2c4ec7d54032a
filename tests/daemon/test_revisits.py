"""Whose turn it is to be decided on anew while nothing waits."""

import time
import types
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dustd import files
from dustd.daemon.revisits import HOUR_S, Revisits
from dustd.daemon.watch import WatchedFolder
from dustd.errors import FrameError, SurroundingsError
from dustd.output import sidecar
from dustd.output.sidecar import Record, Source
from dustd.pipeline.revisit import Visit
from dustd.raw.frame import Camera

NOW = time.time()


class Station:
    """Frames on disk, a map that says what it is told, and a pipeline that only notes whom it is asked about."""

    def __init__(self, home):
        self.folder = WatchedFolder(path=home, output=home / "Cleaned")
        self.folder.output.mkdir()
        self.confirmed, self.verdicts, self.last_epoch = ["p1"], [], "2026"
        self.visited, self.store, self.problem = [], self, {}
        self.damaged = self.lost = self.away = False

    def state(self, body_id):
        particles = [types.SimpleNamespace(id=each, confirmed=True) for each in self.confirmed]
        return types.SimpleNamespace(particles=particles)

    def rejections(self, body_id):
        return [types.SimpleNamespace(frame_id=each, mx=0.0, my=0.0) for each in self.verdicts]

    def epoch(self, body_id, at=None):
        return self.last_epoch if at is None or at.place[:4] >= self.last_epoch else "before"

    def revisit(self, source, out_folder, *, write=True, always=True):
        assert write and not always and out_folder == self.folder.output
        self.visited.append(source.name)
        if source.name in self.problem:
            raise self.problem[source.name]
        return Visit(record=None, more=source.name == "a.nef")

    def shoot(self, name, hours_ago, *, year=2026):
        """Leave a frame that is done, and its sidecar; return both."""
        source, path = self.folder.path / name, self.folder.output / sidecar.sidecar_name(name)
        source.write_bytes(b"raw")
        read_at = datetime.fromtimestamp(NOW - hours_ago * HOUR_S, UTC).isoformat()
        about = Source(name=name, size=3, sha256="0" * 64, mtime_ns=1, read_at=read_at)
        camera = Camera(body_id="Nikon #1", taken_at=f"{year}-11-23T10:00:00")
        record = Record(source=about, camera=camera, status="clean", evidence={"frame_id": name})
        files.publish(path, sidecar.encode(record))
        return source, record

    def revisits(self, hours=24.0):
        return Revisits(self, [self.folder], hours, clock=lambda: NOW)


@pytest.fixture
def station(tmp_path):
    return Station(tmp_path)


def run(revisits):
    """Take turns until there is nothing to do at once; give what was improved."""
    improved = []
    while True:
        each, more = revisits.turn()
        improved += [each.source.name] if each else []
        if not more:
            return improved


def test_the_frames_of_the_last_hours_are_visited_once_for_each_change_the_newest_first(station):
    for name, hours in (("a.nef", 5), ("b.nef", 1), ("old.nef", 25), ("c.nef", 3)):
        station.shoot(name, hours)
    revisits = station.revisits()
    assert run(revisits) == ["a.nef"]
    assert station.visited == ["b.nef", "c.nef", "a.nef"]
    revisits.note(*noted(station, "d.nef", 0))
    run(revisits)
    assert station.visited[3:] == []  # the map has not changed
    station.confirmed = ["p1", "p2"]
    revisits.note(*noted(station, "e.nef", 0))
    run(revisits)
    assert station.visited[3:] == ["e.nef", "d.nef", "b.nef", "c.nef", "a.nef"]


def noted(station, name, hours):
    source, record = station.shoot(name, hours)
    return source, station.folder.output, record


def test_a_verdict_makes_frames_due(station, monkeypatch):
    monkeypatch.setattr("dustd.daemon.revisits.CHECK_S", 0.0)
    station.shoot("b.nef", 1)
    revisits = station.revisits()
    run(revisits)
    station.verdicts = ["b.nef"]
    run(revisits)
    assert station.visited == ["b.nef", "b.nef"]


def test_one_turn_visits_one_frame(station):
    for name in ("b.nef", "c.nef"):
        station.shoot(name, 1)
    revisits = station.revisits()
    while not station.visited:
        assert revisits.turn()[1]
    assert len(station.visited) == 1


def test_frames_from_before_the_last_cleaning_stay_as_they_are(station):
    station.shoot("b.nef", 1, year=2025)
    run(station.revisits())
    assert station.visited == []


def test_nothing_is_visited_or_searched_where_it_is_switched_off(station):
    station.shoot("b.nef", 0)
    assert station.revisits(hours=0).turn() == (None, False)
    assert station.visited == []


def test_a_frame_that_breaks_holds_up_nobody_and_a_full_disk_is_waited_for(station, monkeypatch):
    station.shoot("b.nef", 1)
    station.shoot("c.nef", 2)
    station.problem = {"b.nef": FrameError("it cannot be decoded", remedy="Copy it again")}
    run(station.revisits())
    assert station.visited == ["b.nef", "c.nef"]
    station.problem = {"b.nef": SurroundingsError("the disk is full", remedy="Free some space")}
    revisits = station.revisits()
    run(revisits)
    assert station.visited[2:] == ["b.nef"] and revisits.turn() == (None, False)
    station.problem = {}
    revisits._rests_until = 0.0
    run(revisits)
    assert station.visited[3:] == ["b.nef", "c.nef"]


def test_what_only_looks_like_a_sidecar_or_has_an_absurd_time_is_passed_over(station):
    source, record = station.shoot("b.nef", 1)
    path = station.folder.output / sidecar.sidecar_name("b.nef")
    absurd = replace(record, source=replace(record.source, read_at="yesterday"))
    path.write_bytes(sidecar.encode(absurd))
    path.with_name(sidecar.SUFFIX).write_bytes(sidecar.encode(record))
    path.with_name("c.nef.dustd.json").write_bytes(b"{}")
    source.with_name("c.nef").write_bytes(b"raw")
    station.shoot("d.nef", 1)
    run(station.revisits())
    assert station.visited == ["d.nef"]


def test_nothing_is_decided_with_maps_that_lack_frames(station):
    station.shoot("b.nef", 1)
    revisits = station.revisits()
    station.lost = True
    assert revisits.turn() == (None, False)
    station.lost = False
    run(revisits)
    assert station.visited == ["b.nef"]
