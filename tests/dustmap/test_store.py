import contextlib
import dataclasses
import datetime
import json
import math
import multiprocessing
import sqlite3
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dustd.cli.main import main
from dustd.dustmap import evidence, history, mapjson, schema
from dustd.dustmap.cleaning import Cleaning
from dustd.dustmap.match import State
from dustd.dustmap.places import utc
from dustd.dustmap.recovery import open_store
from dustd.dustmap.schema import PARTS, VERSION
from dustd.dustmap.store import Store
from dustd.errors import ConfigError, DamagedError, SurroundingsError, UsageError
from dustd.output import sidecar
from dustd.output.sidecar import Record, Source
from dustd.raw.body_id import body_id
from dustd.raw.frame import Camera
from dustd.spots.shape import Outline
from dustd.spots.spot import Spot
from tests.later import with_news
from tests.postgres import installed_initdb, serving
from tests.programs import installed

WIDTH, HEIGHT, STEP = 1920, 1280, 16
BODY = "Nikon Z 8 #1"


def seen(seed):
    """Evidence of a scene of its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(22, 32)).astype(np.float32)
    light = 0.3 * np.exp(0.5 * cv2.resize(coarse, (WIDTH // STEP, HEIGHT // STEP), interpolation=cv2.INTER_CUBIC))
    light[30:50, 40:80] = rng.uniform(0.1, 0.9)
    return evidence.to_dict(evidence.look(light.astype(np.float32), STEP))


EVIDENCE = [seen(n) for n in range(8)]


def record(n, *, spots=None, body=BODY, taken_at="", f_number=16.0, status="cleaned", scene=None, name=None):
    thread = Outline(
        slenderness=9.0 + n % 2, angle_deg=30.0 + n, error=1.0 + n % 3, feigned=0.5, hollow=0.1, hollow_error=0.1
    )
    dust = Spot(
        id=0, x=960.0 + n % 3, y=640.0, diameter_px=28.0, edge_px=8.0, attenuation=0.2, score=0.8, outline=thread
    )
    return Record(
        source=Source(name=name or f"DSC_{n:04d}.NEF", size=1, sha256=f"{n:064d}", mtime_ns=n),
        camera=Camera(
            make="Nikon",
            model="Z 8",
            body_id=body,
            f_number=f_number,
            lens="50 mm",
            focal_length_mm=50.0,
            taken_at=f"2026-11-{n + 1:02d}T10:00:00+01:00" if taken_at == "" else taken_at,
        ),
        width=WIDTH,
        height=HEIGHT,
        spots=(dust,) if spots is None else spots,
        status=status,
        evidence={**EVIDENCE[n % 8 if scene is None else scene], "frame_id": f"frame{n}"},
    )


@pytest.fixture
def store():
    with Store.open(":memory:") as opened:
        yield opened


def learnt(records):
    """Everything a store says after having seen *records* one by one."""
    with Store.open(":memory:") as opened:
        for each in records:
            opened.observe(each)
        return everything(opened)


def everything(store):
    return store.bodies(), [observations(store, body.body_id, p.id) for body in store.bodies() for p in body.particles]


def observations(store, body_id, particle_id):
    """What each frame said about a particle, in capture order: (frame, "seen" or "missed", log-odds after it)."""
    told = sorted(store.export(body_id)["frames"], key=lambda row: row["place"])
    return [
        (row["frame_id"], kind, row["observed"][kind][particle_id])
        for row in told
        for kind in ("seen", "missed")
        if particle_id in row["observed"][kind]
    ]


def test_a_frame_is_counted_once(store):
    assert store.observe(record(0))
    before = everything(store)
    assert not store.observe(record(0))
    assert not store.observe(dataclasses.replace(record(0), source=record(5).source))
    assert everything(store) == before


def test_independent_frames_confirm_through_the_store_as_well(store):
    for n in range(3):
        store.observe(record(n))
    (particle,) = store.state(BODY).particles
    assert particle.confirmed
    assert particle.frames_seen == 3
    assert particle.shape == "fibre"


@pytest.mark.parametrize(
    "change",
    [
        {"status": "failed"},
        {"evidence": None},
        {"evidence": EVIDENCE[0]},
        {"evidence": {"frame_id": "x"}},
        {"width": 0},
    ],
)
def test_a_frame_without_evidence_is_not_counted(store, change):
    assert not store.observe(dataclasses.replace(record(0), **change))
    assert store.bodies() == ()


def test_a_clean_frame_counts(store):
    assert store.observe(record(0, spots=(), status="clean"))
    assert store.body(BODY).frames == 1


def test_bodies_share_nothing(store):
    store.observe(record(0, body="A"))
    store.observe(record(0, body="B (no serial)"))
    assert [body.body_id for body in store.bodies()] == ["A", "B (no serial)"]
    assert store.forget("A")
    assert [body.body_id for body in store.bodies()] == ["B (no serial)"]
    assert len(store.state("B (no serial)").particles) == 1


def test_forgetting_leaves_nothing(store):
    for n in range(3):
        store.observe(record(n))
    store.cleaned(BODY, "2026-11-20T10:00:00")
    store.forget(BODY)
    with store._database.reading() as db:
        assert not any(db.execute(table.select()).all() for table in PARTS)
    assert not store.forget(BODY)


def test_the_body_tells_its_history(store):
    for n in range(4):
        store.observe(record(n, f_number=(2.8, 8.0, 16.0, None)[n]))
    body = store.body(BODY)
    assert (body.make, body.model, body.width, body.height) == ("Nikon", "Z 8", WIDTH, HEIGHT)
    assert (body.frames, body.frames_stopped_down) == (4, 2)
    assert body.first_frame_at == "2026-11-01T10:00:00+01:00"
    assert body.last_frame_at == "2026-11-04T10:00:00+01:00"
    assert store.body("nobody") is None


def confirmed(store, at=None):
    return [particle for particle in store.state(BODY, at).particles if particle.confirmed]


def test_a_cleaning_opens_an_epoch_and_keeps_the_old_one(store):
    for n in range(3):
        store.observe(record(n))
    assert store.cleaned(BODY, "2026-11-10T09:00:00")
    assert confirmed(store) == []
    assert store.body(BODY).cleanings == ("2026-11-10T09:00:00",)
    assert [particle.id for particle in store.body(BODY).before] == [confirmed(store, "2026-11-02T10:00:00")[0].id]
    store.observe(record(14))
    assert store.state(BODY).particles[0].frames_seen == 4


def test_a_late_frame_from_before_a_cleaning_belongs_to_the_old_epoch(store):
    for n in range(2):
        store.observe(record(n))
    store.cleaned(BODY, "2026-11-10T09:00:00+01:00")
    store.observe(record(3))
    assert confirmed(store) == []
    assert confirmed(store, at="2026-11-04T10:00:00")[0].frames_seen == 3
    assert store.body(BODY).before[0].frames_seen == 3


def test_a_cleaning_told_late_moves_the_frames_taken_after_it(store):
    for n in (0, 1, 2, 14):
        store.observe(record(n))
    store.cleaned(BODY, "2026-11-10T09:00:00")
    assert [epoch.frames for epoch in store.epochs(BODY)] == [3, 1]
    assert [particle.frames_seen for particle in confirmed(store, at="2026-11-02T10:00:00")] == [3]
    assert store.state(BODY).particles[0].remembered


def test_a_cleaning_told_twice_is_one(store):
    store.observe(record(0))
    for _ in range(2):
        store.cleaned(BODY, "2026-11-10T09:00:00")
    assert len(store.body(BODY).cleanings) == 1


def test_a_cleaning_of_an_unknown_body_is_refused(store):
    assert not store.cleaned("nobody", "2026-11-10T09:00:00")


def test_a_rebuild_keeps_the_cleanings_and_sorts_frames_into_their_epochs(store):
    records = [record(n) for n in (0, 1, 2, 14, 15)]
    for each in records:
        store.observe(each)
    store.cleaned(BODY, "2026-11-10T09:00:00")
    before = everything(store)
    assert store.rebuild(records) == 5
    assert everything(store) == before
    assert [epoch.frames for epoch in store.epochs(BODY)] == [3, 2]


def test_a_rebuild_leaves_other_bodies_alone(store):
    store.observe(record(0, body="A"))
    store.observe(record(0, body="B"))
    before = store.body("A")
    store.rebuild([record(1, body="B")])
    assert store.body("A") == before
    assert store.body("B").frames == 1


spots = st.lists(
    st.builds(
        Spot,
        id=st.integers(0, 99),
        x=st.sampled_from([700.0, 710.0, 960.0, 1200.0]),
        y=st.sampled_from([500.0, 640.0]),
        diameter_px=st.sampled_from([20.0, 30.0]),
        edge_px=st.just(5.0),
        attenuation=st.sampled_from([0.05, 0.2]),
        score=st.sampled_from([0.15, 0.5, 0.9]),
    ),
    max_size=4,
    unique_by=lambda spot: spot.id,
)
sessions = st.lists(
    st.tuples(st.integers(0, 19), spots, st.sampled_from([2.8, 8.0, 16.0, None]), st.integers(0, 7)),
    min_size=1,
    max_size=8,
    unique_by=lambda frame: frame[0],
)


@given(sessions, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_rebuild_from_any_order_and_any_repetition_is_the_map_learnt_in_capture_order(session, random):
    records = [
        record(n, spots=tuple(found), f_number=f, scene=scene) for n, found, f, scene in sorted(session, key=str)
    ]
    in_order = sorted(records, key=lambda each: each.camera.taken_at)
    shuffled = records + random.sample(records, k=len(records) // 2)
    random.shuffle(shuffled)
    with Store.open(":memory:") as rebuilt:
        rebuilt.observe(record(50 % 28, spots=()))
        rebuilt.rebuild(sidecar.decode(sidecar.encode(each)) for each in shuffled)
        assert everything(rebuilt) == learnt(in_order)


def test_observations_tell_sightings_from_misses(store):
    for n in range(3):
        store.observe(record(n))
    store.observe(record(3, spots=()))
    (particle,) = store.state(BODY).particles
    told = observations(store, BODY, particle.id)
    assert [kind for _, kind, _ in told] == ["seen", "seen", "seen", "missed"]
    assert [frame_id for frame_id, _, _ in told] == ["frame0", "frame1", "frame2", "frame3"]
    assert told[-1][2] == pytest.approx(particle.log_odds, abs=0.001)


def test_maps_survive_closing_and_opening(tmp_path):
    path = tmp_path / "state" / "maps.sqlite"
    with Store.open(path) as first:
        first.observe(record(0))
        before = everything(first)
    with Store.open(path) as again:
        assert everything(again) == before
        with again._database.reading() as db:
            assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_crash_in_the_middle_of_a_frame_loses_only_that_frame(tmp_path, monkeypatch):
    path = tmp_path / "maps.sqlite"
    with Store.open(path) as store:
        store.observe(record(0))
        before = everything(store)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("dustd.dustmap.folding.write_state", interrupt)
            store.observe(record(1))
        assert everything(store) == before
        assert store.observe(record(1))
    with Store.open(path) as again:
        assert again.body(BODY).frames == 2


def test_a_failed_rebuild_changes_nothing(store, monkeypatch):
    store.observe(record(0))
    before = everything(store)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("dustd.dustmap.folding.write_state", interrupt)
        store.rebuild([record(0), record(1)])
    assert everything(store) == before


def test_two_processes_may_observe_the_same_frame(tmp_path):
    path = tmp_path / "maps.sqlite"
    with Store.open(path) as one, Store.open(path) as other:
        assert one.observe(record(0))
        assert not other.observe(record(0))
        assert other.observe(record(1))
        assert one.body(BODY).frames == 2


def test_a_damaged_store_is_put_aside_with_a_remedy(tmp_path):
    path = tmp_path / "maps.sqlite"
    for number in (1, 2):
        path.write_bytes(b"this was a database once" * 100)
        with pytest.raises(SurroundingsError) as caught:
            Store.open(path)
        assert "dustd map rebuild FOLDER" in caught.value.remedy
        assert (tmp_path / f"maps.sqlite.damaged-{number}").read_bytes().startswith(b"this was")
    with Store.open(path) as fresh:
        assert fresh.bodies() == ()


def test_damage_found_later_is_told_as_well(tmp_path):
    path = tmp_path / "maps.sqlite"
    with Store.open(path) as store:
        for n in range(8):
            store.observe(record(n))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(SurroundingsError, match="damaged"), Store.open(path) as store:
        store.observe(record(9))
    assert (tmp_path / "maps.sqlite.damaged-1").exists()


def test_a_store_of_a_newer_dustd_is_left_alone(tmp_path):
    path = tmp_path / "maps.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(SurroundingsError, match="newer dustd"):
        Store.open(path)
    assert path.exists()


def test_a_folder_in_the_way_is_a_fault_of_the_surroundings(tmp_path):
    with pytest.raises(SurroundingsError):
        Store.open(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SurroundingsError):
        Store.open(tmp_path / "file" / "maps.sqlite")


@pytest.mark.parametrize(
    ("at", "in_utc"),
    [
        ("2026-11-23T10:00:00.25+01:00", "2026-11-23T09:00:00.25"),
        ("2026-11-23 22:00:00-0800", "2026-11-24T06:00:00"),
        ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00"),
        ("2026-11-23T10:00:00", "2026-11-23T15:00:00"),  # the computer is in New York
        ("2026-07-23T10:00:00", "2026-07-23T14:00:00"),
        ("2026-11-23", "2026-11-23"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00"),  # no calendar has the year before
    ],
)
def test_times_of_all_zones_are_compared_as_moments(at, in_utc, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert utc(at) == in_utc
    finally:
        monkeypatch.undo()
        time.tzset()


# --- the order in which frames arrive -------------------------------------------------------------------------------


def chained(state, view, spots):
    """A fold in which every frame and its order matter, and some notice a cleaning: arithmetic instead of dust."""
    number = sum(view.frame_id.encode())
    total = (31 * int(state.optics.blur_constant or 7) + number) % 10007
    cleaning = state.cleaning
    if number % 3 == 0:  # speaks for a cleaning
        since = cleaning.since or (view.frame_id, view.taken_at)
        ratio = cleaning.log_ratio + 1
        fires = ratio >= 2 and total % 2 == 0
        cleaning = Cleaning(log_ratio=ratio, since=since, noticed_at=since if fires else None)
    elif number % 5 == 0:
        cleaning = Cleaning()
    return State(optics=dataclasses.replace(state.optics, blur_constant=float(total)), cleaning=cleaning)


def chained_after_cleaning(state):
    total = (int(state.optics.blur_constant or 7) + 5000) % 10007
    return State(optics=dataclasses.replace(state.optics, blur_constant=float(total)))


@pytest.fixture
def arithmetic(monkeypatch):
    """Frames of arithmetic, two kept states in a row, few frames that can be folded anew."""
    monkeypatch.setattr("dustd.dustmap.history.observe", chained)
    monkeypatch.setattr("dustd.dustmap.history.after_cleaning", chained_after_cleaning)
    for module in ("folding", "queries"):
        monkeypatch.setattr(f"dustd.dustmap.{module}.STRIDE", 3)


def lines(store):
    """What a store believes of the body, by epoch."""
    with store._database.reading() as db:
        found = db.execute(schema.epochs.select().order_by(schema.epochs.c.place)).all()
    return [
        (epoch.how, epoch.started_at, mapjson.encode(store.state(BODY, epoch.started_at or "2000-01-01")))
        for epoch in found
    ]


def shot(n, day=1):
    return dataclasses.replace(
        record(n, taken_at=f"2026-11-{day:02}T10:{n:02}:00", spots=()), evidence=BLANK | {"frame_id": f"f{n}"}
    )


BLANK = evidence.to_dict(evidence.look(np.full((40, 60), 0.3, np.float32), STEP))

arrivals = st.permutations(range(9)).map(list)
cleanings = st.lists(st.integers(0, 9), max_size=2, unique=True)


@given(order=arrivals, told=cleanings, twice=st.lists(st.integers(0, 8), max_size=2))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_frames_in_any_order_and_twice_give_the_same_epochs_as_in_capture_order(arithmetic, order, told, twice):
    def learnt_from(numbers, stop):
        with Store.open(":memory:") as store:
            for n in numbers[:stop]:
                store.observe(shot(n))
            for minute in told:
                store.cleaned(BODY, f"2026-11-01T10:{minute:02}:00")
            for n in numbers[stop:]:
                store.observe(shot(n))
            return lines(store)

    assert learnt_from(order + twice, 5) == learnt_from(sorted(order), 9)


@given(order=arrivals, told=cleanings)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_rebuild_gives_the_map_learnt_live(arithmetic, order, told):
    with Store.open(":memory:") as store:
        store.observe(shot(order[0]))
        for minute in told:
            store.cleaned(BODY, f"2026-11-01T10:{minute:02}:00")
        for n in order[1:]:
            store.observe(shot(n))
        before, counted = lines(store), [(e.how, e.started_at, e.frames) for e in store.epochs(BODY)]
        assert store.rebuild([shot(n) for n in reversed(order)]) == 9
        assert lines(store) == before
        assert [(e.how, e.started_at, e.frames) for e in store.epochs(BODY)] == counted


@given(order=arrivals, kept=st.integers(2, 6))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_frames_too_late_to_be_folded_where_they_belong_are_counted_all_the_same(arithmetic, monkeypatch, order, kept):
    monkeypatch.setattr("dustd.dustmap.folding.KEPT", kept)
    with Store.open(":memory:") as store:
        for n in order:
            assert store.observe(shot(n))
            assert not store.observe(shot(n))
        assert sum(epoch.frames for epoch in store.epochs(BODY)) == 9
        store.rebuild([shot(n) for n in order])
        healed = lines(store)
    with Store.open(":memory:") as store:
        store.rebuild([shot(n) for n in sorted(order)])
        assert lines(store) == healed


def test_frames_late_within_the_bound_change_nothing_and_what_lies_before_is_let_go(arithmetic, monkeypatch):
    monkeypatch.setattr("dustd.dustmap.folding.KEPT", 6)
    monkeypatch.setattr("dustd.dustmap.history.observe", lambda *frame: history.undecided(chained(*frame)))
    orders = [list(range(40)), [n for start in range(0, 40, 5) for n in range(start + 4, start - 1, -1)]]
    told = []
    for order in orders:
        with Store.open(":memory:") as store:
            for n in order:
                store.observe(shot(n))
            told.append(lines(store))
            with store._database.reading() as db:
                inputs = db.execute(schema.frames.select().where(schema.frames.c.input.is_not(None))).all()
                assert 6 <= len(inputs) < 12
                assert len(db.execute(schema.scenes.select()).all()) <= len(inputs) + 8
    assert told[0] == told[1]


def test_a_frame_without_a_time_is_placed_by_that_of_its_file(store):
    at = datetime.datetime(2026, 11, 5, 12).timestamp()
    for n in (0, 9):
        store.observe(record(n))
    undated = record(3, taken_at=None)
    store.observe(dataclasses.replace(undated, source=dataclasses.replace(undated.source, mtime_ns=int(at) * 10**9)))
    store.cleaned(BODY, "2026-11-06T00:00:00")
    assert [epoch.frames for epoch in store.epochs(BODY)] == [2, 1]


# --- cleanings that nobody declared ---------------------------------------------------------------------------------


def wiped(store):
    """A session of real folds: dust confirmed, then gone. Returns its records."""
    dust = [
        Spot(id=i, x=500.0 + 160 * i, y=500.0 + 60 * (i % 3), diameter_px=28.0, edge_px=8.0, attenuation=0.3, score=0.8)
        for i in range(6)
    ]
    records = [record(n, spots=tuple(dust) if n < 8 else (), scene=n % 8) for n in range(20)]
    for each in records:
        store.observe(each)
    return records


def test_a_cleaning_is_noticed_and_opens_an_epoch_before_the_first_clean_frame(store):
    wiped(store)
    first, second = store.epochs(BODY)
    assert (first.how, first.confirmed) == ("first", 6)
    assert first.frames in (8, 9) and second.frames == 20 - first.frames  # not every frame tells
    assert (second.how, second.started_at) == ("noticed", f"2026-11-{first.frames + 1:02}T10:00:00")
    assert (second.before, second.seen_since) == (6, 0)
    body = store.body(BODY)
    assert body.cleaning_noticed and body.cleanings == (second.started_at,) and len(body.before) == 6
    assert confirmed(store) == []


def test_a_cleaning_wrongly_noticed_is_taken_back_and_not_noticed_again_in_the_same_frames(store):
    records = wiped(store)
    assert store.undo_cleaning(BODY)
    assert [(epoch.how, epoch.frames) for epoch in store.epochs(BODY)] == [("first", 20)]
    before = mapjson.encode(store.state(BODY))
    store.rebuild(records)
    assert mapjson.encode(store.state(BODY)) == before
    assert not store.undo_cleaning(BODY)


def test_a_declared_cleaning_taken_back_leaves_no_trace(store):
    for n in range(3):
        store.observe(record(n))
    before = store.state(BODY), store.epochs(BODY)
    store.cleaned(BODY, "2026-11-02T12:00:00")
    assert [epoch.how for epoch in store.epochs(BODY)] == ["first", "declared"]
    assert store.undo_cleaning(BODY)
    assert (store.state(BODY), store.epochs(BODY)) == before
    assert not store.undo_cleaning(BODY)
    assert not store.undo_cleaning("nobody")


def test_what_was_said_of_cleanings_outlives_the_maps(tmp_path):
    with Store.open(tmp_path / "maps.sqlite") as store:
        records = wiped(store)
        assert store.undo_cleaning(BODY)  # the noticed one
        store.cleaned(BODY, "2026-11-03T12:00:00")
        store.cleaned(BODY, "2026-11-05T12:00:00")
        assert store.undo_cleaning(BODY)
        before = everything(store), store.epochs(BODY)
    assert [epoch.how for epoch in before[1]] == ["first", "declared"]
    (tmp_path / "maps.sqlite").unlink()
    with Store.open(tmp_path / "maps.sqlite") as store:
        store.rebuild(records)
        assert (everything(store), store.epochs(BODY)) == before


def test_the_note_of_cleanings_keeps_what_it_knows_of_bodies_that_are_lost(tmp_path):
    path = tmp_path / "maps.sqlite"
    for body in "AB":
        with Store.open(path) as store:
            store.observe(record(0, body=body))
            store.cleaned(body, "2026-11-10T09:00:00")
        path.unlink()
    with Store.open(path) as store:
        store.rebuild([record(0, body=body) for body in "AB"])
        assert [[epoch.how for epoch in store.epochs(body)] for body in "AB"] == [["first", "declared"]] * 2


def test_a_forgotten_body_is_forgotten_in_the_note_of_cleanings_too(tmp_path):
    with Store.open(tmp_path / "maps.sqlite") as store:
        store.observe(record(0))
        store.cleaned(BODY, "2026-11-10T09:00:00")
        store.forget(BODY)
        store.rebuild([record(0)])
        assert [epoch.how for epoch in store.epochs(BODY)] == ["first"]


def test_a_rebuild_repeats_what_was_said_only_of_its_own_bodies(tmp_path):
    with Store.open(tmp_path / "maps.sqlite") as store:
        for body in "AB":
            store.observe(record(0, body=body))
            store.cleaned(body, "2026-11-10T09:00:00")
        before = store.epochs("A")
        store.rebuild([record(1, body="B")])
        assert store.epochs("A") == before


def test_an_undone_cleaning_older_than_what_can_be_folded_anew_keeps_the_older_map(arithmetic, monkeypatch):
    monkeypatch.setattr("dustd.dustmap.folding.KEPT", 4)
    monkeypatch.setattr(
        "dustd.dustmap.history.observe",
        lambda state, view, spots: chained(state, view, spots) if view.frame_id != "f1" else state,
    )
    with Store.open(":memory:") as store:
        store.observe(shot(1))
        store.cleaned(BODY, "2026-11-01T10:02:00")
        for n in (2, 4, 8, 10, 13, 14, 16, 17, 19, 20, 22, 23, 25, 26):
            store.observe(shot(n))
        while store.undo_cleaning(BODY):
            pass
        assert [(epoch.how, epoch.frames) for epoch in store.epochs(BODY)] == [("first", 15)]
        assert store.observe(shot(29))


# --- export, import, older files -------------------------------------------------------------------------------------


def test_an_exported_map_is_whole(store):
    records = wiped(store)
    store.cleaned(BODY, "2026-11-22T10:00:00")
    exported = json.loads(json.dumps(store.export(BODY)))
    with Store.open(":memory:") as other:
        assert other.import_(exported) == BODY
        assert (other.state(BODY), other.epochs(BODY), everything(other)) == (
            store.state(BODY),
            store.epochs(BODY),
            everything(store),
        )
        assert not other.observe(records[3])
        for each in (other, store):
            each.undo_cleaning(BODY)
            each.observe(record(20, spots=()))
        assert everything(other) == everything(store)
    assert store.export("nobody") is None


def test_what_a_later_dustd_adds_to_an_export_is_passed_over(store):
    for n in range(3):
        store.observe(record(n))
    exported = json.loads(json.dumps(store.export(BODY)))
    for row in exported["frames"]:
        row["observed"] = {"seen": {}, "missed": {}}  # by particle: any key may be there
    with Store.open(":memory:") as one, Store.open(":memory:") as other:
        later = with_news(exported)
        for before, row in zip(exported["frames"], later["frames"], strict=True):
            row["observed"] = before["observed"]
        one.import_(exported)
        other.import_(later)
        assert mapjson.encode(one.state(BODY)) == mapjson.encode(other.state(BODY))
        one.observe(record(3))
        other.observe(record(3))
        assert mapjson.encode(one.state(BODY)) == mapjson.encode(other.state(BODY))


def damaged_exports():
    with Store.open(":memory:") as store:
        for n in range(2):
            store.observe(record(n))
        whole = store.export(BODY)
    for part in ("epochs", "frames", "states", "scenes", "dismissed", "body"):
        yield {key: value for key, value in whole.items() if key != part}
        yield {**whole, part: [{"x": 1}]}
    for part, changed in (("scenes", []), ("epochs", []), ("frames", whole["frames"] * 2)):
        yield {**whole, part: changed}
    yield {**whole, "states": [{**row, "state": {}} for row in whole["states"]]}
    yield {**whole, "frames": [{**row, "place": 3} for row in whole["frames"]]}
    yield {**whole, "frames": [{**row, "input": {"view": {}}} for row in whole["frames"]]}


def test_an_import_that_is_not_whole_is_refused_and_changes_nothing(store):
    store.observe(record(5))
    before = everything(store)
    for data in damaged_exports():
        with pytest.raises(UsageError):
            store.import_(data, replace=True)
        assert everything(store) == before


def test_a_file_of_the_first_schema_keeps_its_maps(tmp_path):
    """The file was written by dustd as of commit 179175e."""
    path, nikon = tmp_path / "maps.sqlite", "Nikon Z 8 #1"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript((Path(__file__).parents[1] / "data" / "maps-schema-1.sql").read_text())
    for _ in range(2):
        with Store.open(path) as store:
            assert [(body.body_id, body.frames) for body in store.bodies()] == [
                ("Canon EOS R6 (no serial)", 1),
                (nikon, 3),
            ]
            one, other = store.state(nikon).particles
            assert (one.id, one.confirmed, one.frames_seen) == ("pad74ef015f04", False, 1)
            assert (other.id, other.confirmed, other.log_odds) == ("paeeb604abb89", True, 5.0)
            assert [p.confirmed for p in store.state(nikon, "2026-11-02").particles] == [True, False]
            assert store.body(nikon).cleanings == ("2026-11-10T09:00:00",)
            assert [(e.how, e.frames, e.before) for e in store.epochs(nikon)] == [("first", 3, 0), ("declared", 3, 1)]
            assert len(observations(store, nikon, other.id)) == 2
    with Store.open(path) as store:
        late, next_ = (dataclasses.replace(record(n, body=nikon), width=960, height=640) for n in (1, 25))
        assert store.observe(late) and store.observe(next_)
        assert [epoch.frames for epoch in store.epochs(nikon)] == [4, 4]


# --- bodies ---------------------------------------------------------------------------------------------------------


def test_bodies_of_one_model_never_mix_and_those_without_a_number_are_labelled(store):
    names = [body_id("Nikon", "Z 8", serial) for serial in ("2001", "2002", None)]
    assert len(set(names)) == 3 and "no serial" in names[2]
    spots = [(dataclasses.replace(record(0).spots[0], x=x),) for x in (400.0, 900.0, 1400.0)]
    for n in range(15):
        store.observe(record(n, body=names[n % 3], spots=spots[n % 3], scene=n // 3))
    for name, (spot,) in zip(names, spots, strict=True):
        (particle,) = store.state(name).particles
        assert particle.confirmed and abs(particle.mx - (spot.x - (WIDTH - 1) / 2)) < 3


def test_crop_modes_and_margins_of_another_firmware_lie_on_the_same_sensor(store):
    store.observe(record(0))
    for n, (left, top) in enumerate(((320, 160), (16, 8)), start=1):
        small = cropped(n, left, top)
        dust = dataclasses.replace(record(0).spots[0], x=960.0 - left, y=640.0 - top)
        store.observe(dataclasses.replace(small, spots=(dust,)))
    (particle,) = store.state(BODY).particles
    assert particle.confirmed and particle.frames_seen == 3
    assert (particle.mx, particle.my) == pytest.approx((0.5, 0.5), abs=0.01)
    assert (store.body(BODY).width, store.body(BODY).height) == (WIDTH, HEIGHT)


def cropped(n, left, top):
    """A frame of a crop mode: the margins on all sides are missing."""
    light = np.random.default_rng(n).uniform(0.2, 0.5, (HEIGHT // STEP, WIDTH // STEP)).astype(np.float32)
    light = cv2.GaussianBlur(light, (0, 0), 4) * (0.5 + 0.5 * n)
    rows, columns = math.ceil(top / STEP), math.ceil(left / STEP)
    seen = evidence.look(light[rows : light.shape[0] - rows, columns : light.shape[1] - columns], STEP)
    width, height = WIDTH - 2 * left, HEIGHT - 2 * top
    seen = dataclasses.replace(seen, width=width, height=height)
    return dataclasses.replace(
        record(n), width=width, height=height, evidence={**evidence.to_dict(seen), "frame_id": f"crop{n}"}
    )


# --- several stations ------------------------------------------------------------------------------------------------


def station(where, numbers):
    """What another process does: count frames of the same body."""
    with Store.open(where) as store:
        for n in numbers:
            store.observe(record(n))


def count_at_two_stations(where):
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=station, args=(where, numbers)) for numbers in (range(0, 12, 2), range(1, 12, 2))]
    for process in others:
        process.start()
    for process in others:
        process.join(120)
        assert process.exitcode == 0
    with Store.open(where) as store:
        return store.body(BODY).frames, mapjson.encode(store.state(BODY))


def alone():
    with Store.open(":memory:") as store:
        for n in range(12):
            store.observe(record(n))
        return 12, mapjson.encode(store.state(BODY))


def test_two_processes_counting_frames_of_one_body_at_once_lose_nothing(tmp_path):
    assert count_at_two_stations(tmp_path / "maps.sqlite") == alone()


def test_a_station_killed_while_it_counts_leaves_whole_frames(tmp_path):
    path = tmp_path / "maps.sqlite"
    process = multiprocessing.get_context("spawn").Process(target=station, args=(path, range(25)))
    process.start()
    with Store.open(path) as store:
        while process.is_alive() and (store.body(BODY) is None or store.body(BODY).frames < 3):
            time.sleep(0.01)
        process.kill()
        process.join()
        counted = store.body(BODY).frames
        with Store.open(":memory:") as again:
            for n in range(counted):
                again.observe(record(n))
            assert everything(again) == everything(store)
        assert store.observe(record(counted))


@pytest.fixture(scope="module")
def postgres():
    """The URL of a database on a real PostgreSQL server on a socket in a folder of its own."""
    pytest.importorskip("psycopg")
    with serving(installed_initdb() or Path(installed("initdb"))) as server:
        yield server.url


@pytest.fixture
def shared(postgres):
    """An empty database."""
    import psycopg

    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres


def test_a_real_postgresql_says_the_same_as_sqlite(shared):
    stores = Store.open(":memory:"), Store.open(shared)
    for store in stores:
        with store:
            records = wiped(store)
            store.cleaned(BODY, "2026-11-16T09:00:00")
            store.observe(record(3, body="Ünïcode 雪 (no serial)", name="Bild ~ 雪.NEF"))
            store.undo_cleaning(BODY)
            stored = everything(store), store.epochs(BODY), store.export(BODY)
            if store is stores[0]:
                expected = stored
            assert stored == expected
            store.rebuild(records)
            assert everything(store) == stored[0]
            store.forget(BODY)
            assert store.import_(json.loads(json.dumps(stored[2]))) == BODY
            assert everything(store) == stored[0]


def test_a_postgresql_database_keeps_its_maps_and_refuses_what_is_newer(shared):
    import psycopg

    with Store.open(shared) as store:
        store.observe(record(0))
        before = everything(store)
    with Store.open(shared) as store:
        assert everything(store) == before
    with psycopg.connect(shared.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(SurroundingsError, match="newer dustd"):
        Store.open(shared)


def test_what_cannot_be_read_on_a_server_is_told_and_begins_nothing_anew(shared, tmp_path):
    import psycopg

    with Store.open(shared) as store:
        for n in range(3):
            store.observe(record(n))
    with psycopg.connect(shared.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE states SET state = 'no zlib'")
    with open_store(shared, [tmp_path]) as store:
        for question in (store.bodies, lambda: store.observe(record(3))):
            with pytest.raises(SurroundingsError, match="nothing of them was changed") as caught:
                question()
            assert not isinstance(caught.value, DamagedError)
        assert not store.damaged
    with psycopg.connect(shared.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT count(*) FROM frames").fetchone() == (3,)
    for n in range(3):
        (tmp_path / f"{n}.NEF.dustd.json").write_bytes(sidecar.encode(record(n)))
    assert main(["map", "repair", str(tmp_path), "--store", shared]) == 0
    with Store.open(shared) as store:
        assert store.observe(record(3)) and store.body(BODY).frames == 4


def test_missing_rights_on_a_server_are_a_fault_of_the_surroundings(shared):
    import psycopg

    with Store.open(shared) as store:
        store.observe(record(0))
    with psycopg.connect(shared.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(SurroundingsError, match="may not be used") as caught:
        Store.open(shared.replace("dustd@", "guest@"))
    assert "GRANT" in caught.value.remedy


def test_rights_that_are_revoked_while_dustd_runs_are_no_frames_fault(shared):
    import psycopg

    with Store.open(shared) as store, psycopg.connect(shared.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS assistant")
        connection.execute("CREATE ROLE assistant LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA public TO assistant")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO assistant")
        with Store.open(shared.replace("dustd@", "assistant@")) as station:
            assert station.observe(record(0))
            connection.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM assistant")
            with pytest.raises(SurroundingsError, match="may not be used"):
                station.observe(record(1))
            connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO assistant")
            assert station.observe(record(1))
        connection.execute("DROP OWNED BY assistant")
        assert store.body(BODY).frames == 2


def test_two_stations_counting_frames_of_one_body_at_once_lose_nothing(shared):
    assert count_at_two_stations(shared) == alone()


def test_a_server_that_is_away_is_a_fault_of_the_surroundings_and_its_password_is_not_told(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(SurroundingsError, match="cannot be used now") as caught:
        Store.open(f"postgresql+psycopg://dustd:secret@/dust?host={tmp_path}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://nas/dust", "postgresql://nas:port/dust", "sqlite:///x"])
def test_a_url_of_another_kind_is_a_wrong_configuration(url):
    with pytest.raises(ConfigError):
        Store.open(url)
