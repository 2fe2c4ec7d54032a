"""Frames and cleanings on a body's line: no clock, however wrong, puts a frame on the wrong side of a cleaning."""

import dataclasses
import sqlite3
import time
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dustd.dustmap import evidence
from dustd.dustmap.places import Cut, Reading, place_of, reading_of, settled
from dustd.dustmap.recovery import find_sidecars, learn
from dustd.dustmap.store import Store
from dustd.output import sidecar
from dustd.output.sidecar import Record, Source
from dustd.raw.frame import Camera

BODY = "Canon EOS R5 #1"
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
BLANK = evidence.to_dict(evidence.look(np.full((40, 60), 0.3, np.float32), 16))


def shot(n, taken_at, read_at=None, touched_at=None):
    """A frame that says *taken_at* and was first read at *read_at*."""
    return Record(
        source=Source(
            name=f"IMG_{n:04}.CR3",
            size=1,
            sha256=f"{n:064d}",
            mtime_ns=0,
            read_at=read_at.isoformat() if read_at else None,
            ctime_ns=int(touched_at.timestamp()) * 10**9 if touched_at else None,
        ),
        camera=Camera(body_id=BODY, f_number=16.0, taken_at=taken_at),
        width=960,
        height=640,
        status="clean",
        evidence={**BLANK, "frame_id": f"f{n}"},
    )


def written(at, zone=None):
    """Write a time as Exif has it: with the offset of a *zone*, or none."""
    return at.astimezone(zone).isoformat() if zone else at.replace(tzinfo=None).isoformat()


def epochs(store):
    return [epoch.frames for epoch in store.epochs(BODY)]


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=-8)), timezone(timedelta(hours=10)), UTC])
def test_frames_of_a_camera_in_another_time_zone_lie_where_they_were_taken(zone):
    cleaned = written(NOON, timezone(timedelta(hours=1)))
    with Store.open(":memory:") as store:
        for n, minutes in enumerate((-50, -40, 30, 90)):
            store.observe(shot(n, written(NOON + timedelta(minutes=minutes), zone)))
            if n == 1:
                store.cleaned(BODY, cleaned, after_all=True)
        assert epochs(store) == [2, 2]


@given(
    gaps=st.lists(st.integers(2, 400), min_size=2, max_size=9),
    cleanings=st.sets(st.integers(1, 8), min_size=1, max_size=3),
    error=st.sampled_from([timedelta(0), timedelta(hours=-8), timedelta(hours=8), timedelta(days=-60)]),
    reset_at=st.integers(1, 12),
    zone=st.sampled_from([None, timezone(timedelta(hours=-8))]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_cleaning_is_lost_to_a_clock(tmp_path_factory, gaps, cleanings, error, reset_at, zone):
    """Of a camera at the cable, whose clock is wrong by *error* or, with an offset, right, and is reset in the end."""
    records, right, now, store = [], [0], NOON, Store.open(":memory:")
    for n, gap in enumerate(gaps):
        now += timedelta(minutes=gap)
        shown = now + (error if zone is None else timedelta(0))
        if n >= reset_at and any(cleaning <= reset_at for cleaning in cleanings):
            shown = datetime(2000, 1, 1, tzinfo=UTC) + (now - NOON)
        if n in cleanings:
            store.cleaned(BODY, (now - timedelta(minutes=1)).isoformat(), after_all=True)
            right.append(0)
        records.append(shot(n, written(shown, zone), now + timedelta(seconds=2)))
        store.observe(records[-1])
        right[-1] += 1
    assert epochs(store) == right
    store.rebuild(reversed(records))
    assert epochs(store) == right
    store.close()


def test_maps_learnt_again_have_every_frame_on_the_side_where_it_was(tmp_path):
    behind = timedelta(hours=-8)
    times = [NOON + timedelta(minutes=20 * n) for n in range(6)]
    records = [shot(n, written(at + behind), at) for n, at in enumerate(times)]
    with Store.open(tmp_path / "maps.sqlite") as store:
        for n, record in enumerate(records):
            if n == 3:
                store.cleaned(BODY, (times[3] - timedelta(minutes=1)).isoformat(), after_all=True)
            store.observe(record)
            (tmp_path / sidecar.sidecar_name(record.source.name)).write_bytes(sidecar.encode(record))
        assert epochs(store) == [3, 3]
    (tmp_path / "maps.sqlite").unlink()
    with Store.open(tmp_path / "maps.sqlite") as store:
        assert learn(store, find_sidecars([tmp_path])) == 6
        assert epochs(store) == [3, 3]


def test_a_frame_is_judged_by_the_map_that_it_will_be_counted_in():
    with Store.open(":memory:") as store:
        for n in range(2):
            store.observe(shot(n, written(NOON + timedelta(minutes=n - 60, hours=-8))))
        store.cleaned(BODY, NOON.isoformat(), after_all=True)
        late = shot(5, written(NOON + timedelta(minutes=5, hours=-8)), NOON + timedelta(minutes=5))
        assert store.epoch(BODY, reading_of(late)) == store.epoch(BODY) != store.epoch(BODY, late.camera.taken_at)


def read_after(shown, *, zone=None, touched_at=None, last=NOON - timedelta(minutes=5)):
    """Say whether a frame that shows a time, read an hour after a cleaning at NOON, lies after that."""
    reading = reading_of(shot(0, written(shown, zone), NOON + timedelta(hours=1), touched_at))
    cut = Cut(place="2026-11-10T12:00:00", began="2026-11-10T12:00:00")
    return settled(reading, [cut], lambda _: written(last)) > cut.place


def test_a_card_that_is_read_after_the_cleaning_keeps_its_frames_before_it():
    assert not read_after(NOON - timedelta(minutes=30))
    assert not read_after(NOON - timedelta(minutes=1), zone=UTC)
    assert read_after(NOON - timedelta(minutes=1))  # no offset, and later than all before: its clock is behind


def test_a_clock_that_was_reset_hides_no_cleaning_and_an_old_file_is_no_reset_clock():
    years_ago = datetime(2000, 1, 1, tzinfo=UTC)
    assert read_after(years_ago) and read_after(years_ago, zone=UTC)
    assert not read_after(years_ago, touched_at=NOON - timedelta(days=400))
    assert not read_after(NOON - timedelta(days=200), zone=UTC)


def test_a_frame_without_any_usable_time_has_a_place():
    absurd = dataclasses.replace(shot(0, None), source=Source(name="a", size=1, sha256="", mtime_ns=2**63 - 1))
    assert place_of(absurd).endswith("a/f0")
    with Store.open(":memory:") as store:
        assert store.observe(absurd)
        assert store.cleaned(BODY, NOON.isoformat())


def test_two_cleanings_with_no_frame_between_are_two_words_about_one():
    with Store.open(":memory:") as store:
        store.observe(shot(0, written(NOON + timedelta(hours=8))))  # its clock is ahead
        for minute in (0, 1):
            assert store.cleaned(BODY, (NOON + timedelta(minutes=minute)).isoformat(), after_all=True)
        assert epochs(store) == [1, 0]


def test_what_no_sidecar_says_changes_no_place():
    assert settled(Reading(place="x", zoned=False, read_at=None, touched_at=None), [], lambda _: None) == "x"


@pytest.fixture
def tokyo(monkeypatch):
    """This computer is in Tokyo when it is called."""

    def move():
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


def test_maps_with_places_in_wall_time_go_on_in_utc(tmp_path, tokyo):
    """As dustd wrote them before schema 5, and exported them before 1.2, on a computer nine hours ahead of UTC."""
    path = tmp_path / "maps.sqlite"
    with Store.open(path) as store:  # in UTC, wall time and UTC are one
        for n in range(4):
            store.observe(shot(n, written(NOON + timedelta(minutes=n))))
        store.cleaned(BODY, written(NOON + timedelta(minutes=2)))
        exported = {**store.export(BODY), "schema_version": "1.1"}
        particles = store.state(BODY)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 4")
    tokyo()
    for old in (path, ":memory:"):
        with Store.open(old) as store:
            if old != path:
                store.import_(exported)
            assert store.state(BODY) == particles
            assert epochs(store) == [2, 2]
            assert store.epoch(BODY) == "2026-11-10T03:02:00"
            store.observe(shot(9, written(NOON + timedelta(minutes=30))))  # the camera is in Tokyo, too
            assert epochs(store) == [2, 3]
