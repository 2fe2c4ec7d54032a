import dataclasses
import sqlite3

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd import evidence, sidecar
from dustd.errors import SurroundingsError
from dustd.frame import Camera
from dustd.history import wall_time
from dustd.schema import PARTS, VERSION
from dustd.sidecar import Record, Source
from dustd.spot import Spot
from dustd.store import Store

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
    dust = Spot(id=0, x=960.0 + n % 3, y=640.0, diameter_px=28.0, edge_px=8.0, attenuation=0.2, score=0.8)
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
    return store.bodies(), [store.observations(body.body_id, p.id) for body in store.bodies() for p in body.particles]


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
    told = store.observations(BODY, particle.id)
    assert [each.seen for each in told] == [True, True, True, False]
    assert [each.frame_id for each in told] == ["frame0", "frame1", "frame2", "frame3"]
    assert told[-1].log_odds == pytest.approx(particle.log_odds, abs=0.001)


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
            patch.setattr("dustd.store._write", interrupt)
            store.observe(record(1))
        assert everything(store) == before
        assert store.observe(record(1))
    with Store.open(path) as again:
        assert again.body(BODY).frames == 2


def test_a_failed_rebuild_changes_nothing(store, monkeypatch):
    store.observe(record(0))
    before = everything(store)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("dustd.store._write", interrupt)
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
    ("at", "clock"),
    [
        ("2026-11-23T10:00:00.25+01:00", "2026-11-23T10:00:00.25"),
        ("2026-11-23T10:00:00-0800", "2026-11-23T10:00:00"),
        ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00"),
        ("2026-11-23T10:00:00", "2026-11-23T10:00:00"),
        ("2026-11-23", "2026-11-23"),
    ],
)
def test_times_are_compared_as_the_clock_showed_them(at, clock):
    assert wall_time(at) == clock
