"""Damaged maps are put aside and learnt again from the sidecars: at the start, after a crash, and while dustd runs."""

import json
import math

import numpy as np
import pytest
from structlog.testing import capture_logs

from dustd.config import OutputSettings
from dustd.dustmap import evidence, folding, mapjson, queries, schema
from dustd.dustmap.recovery import open_store, relearn
from dustd.dustmap.store import Store
from dustd.errors import DamagedError, SurroundingsError
from dustd.output import sidecar
from dustd.output.sidecar import Record, Source
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.raw.frame import Camera
from dustd.spots.spot import Spot
from tests.soak import seeds
from tests.soak.standin import DarkestPlace


@pytest.fixture
def cleaned(tmp_path, worker):
    """A folder of two cleaned frames; gives it and the store that knows them, closed."""
    out = tmp_path / "out"
    out.mkdir()
    with Store.open(tmp_path / "maps.sqlite") as store:
        pipeline = Pipeline(
            detector=DarkestPlace(),
            store=store,
            worker=worker,
            output=OutputSettings(),
            sensitivity_of=lambda *_: 50.0,
        )
        for number in range(2):
            source = tmp_path / f"{number}.dng"
            source.write_bytes(seeds.shot(number).data)
            pipeline.process(source, out)
    return out, store.path


def damage(path, start=0):
    data = path.read_bytes()
    path.write_bytes(data[:start] + b"\xa5" * (len(data) - start))


@pytest.mark.parametrize("start", [0, 4096])  # all of it; all but the first page, which is read first
def test_damaged_maps_are_kept_aside_and_learnt_again_at_the_start(cleaned, start):
    out, path = cleaned
    damage(path, start)
    with open_store(path, [out]) as store:
        assert [body.frames for body in store.bodies()] == [2]
    assert path.with_name(path.name + ".damaged-1").exists()


def test_maps_put_aside_just_before_a_crash_are_learnt_again_at_the_next_start(cleaned):
    out, path = cleaned
    damage(path)
    with pytest.raises(DamagedError):
        Store.open(path)
    with open_store(path, [out]) as store:
        assert [body.frames for body in store.bodies()] == [2]


def test_maps_that_are_damaged_while_they_are_open_are_learnt_again(cleaned):
    out, path = cleaned
    with Store.open(path) as store:
        damage(path, start=4096)  # its first page is in memory
        with pytest.raises(DamagedError):
            store.bodies()
        assert store.damaged
        relearn(store, [out])
        assert not store.damaged
        assert [body.frames for body in store.bodies()] == [2]


def test_a_new_store_learns_nothing_by_itself(cleaned, tmp_path):
    out, _ = cleaned
    with open_store(tmp_path / "new" / "maps.sqlite", [out]) as store:
        assert store.bodies() == ()


def test_declared_cleanings_outlive_damaged_maps(cleaned):
    out, path = cleaned
    with Store.open(path) as store:
        (body_id,) = store.body_ids()
        first, second = sorted(each.camera.taken_at for each in records(out))
        assert first < second
        store.cleaned(body_id, second)
        before = store.epochs(body_id), store.state(body_id), store.state(body_id, first)
    damage(path)
    with open_store(path, [out]) as store:
        assert [(epoch.how, epoch.frames) for epoch in store.epochs(body_id)] == [("first", 1), ("declared", 1)]
        assert (store.epochs(body_id), store.state(body_id), store.state(body_id, first)) == before


def test_a_damaged_note_of_cleanings_is_told_and_stops_nothing(cleaned):
    out, path = cleaned
    with Store.open(path) as store:
        store.cleaned(*store.body_ids(), "2020-01-01T00:00:00")
    (note,) = path.parent.glob("*.cleanings.json")
    damage(note)
    damage(path)
    with capture_logs() as logs, open_store(path, [out]) as store:
        assert [body.frames for body in store.bodies()] == [2]
    assert "dustd map cleaned" in next(each["remedy"] for each in logs if each["event"] == "cleanings_unreadable")


def records(out):
    return [sidecar.decode(path.read_bytes()) for path in out.glob("*" + sidecar.SUFFIX)]


# --- many sidecars ---------------------------------------------------------------------------------------------------


class PowerCutError(BaseException):
    """Ends a program as a kill would: nothing catches it."""


def write_sidecars(out, numbers, body="Nikon Z 8 #1"):
    out.mkdir(exist_ok=True)
    for n in numbers:
        record = observed(n, body=body, name=f"{body[-1]}{n}.NEF")
        (out / sidecar.sidecar_name(record.source.name)).write_bytes(sidecar.encode(record))


def put_aside(tmp_path):
    """Leave a database that was put aside, and none in its place."""
    path = tmp_path / "maps.sqlite"
    path.write_bytes(b"this was a database once" * 100)
    with pytest.raises(DamagedError):
        Store.open(path)
    return path


def test_learning_again_that_is_cut_short_goes_on_where_it_stood(tmp_path, monkeypatch):
    monkeypatch.setattr("dustd.dustmap.recovery.TOGETHER", 4)
    write_sidecars(tmp_path / "out", range(20))
    path, beats = put_aside(tmp_path), iter(range(20 + 9))  # all are found, two bunches are counted

    def beat():
        if next(beats, None) is None:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        open_store(path, [tmp_path / "out"], beat)
    with Store.open(path) as store:
        assert 0 < store.body("Nikon Z 8 #1").frames < 20
        assert store.lost
    with open_store(path, [tmp_path / "out"]) as store:
        assert store.body("Nikon Z 8 #1").frames == 20
        assert not store.lost
        learnt = store.state("Nikon Z 8 #1")
    with Store.open(":memory:") as live:
        for n in range(20):
            live.observe(observed(n))
        assert mapjson.encode(live.state("Nikon Z 8 #1"))["particles"] == mapjson.encode(learnt)["particles"]


def test_frames_counted_after_the_loss_do_not_hide_that_others_are_missing(tmp_path):
    write_sidecars(tmp_path / "out", range(5))
    path = put_aside(tmp_path)
    with Store.open(path) as store:  # `dustd clean`, before the daemon comes
        store.observe(observed(7))
    with open_store(path, [tmp_path / "out"]) as store:
        assert store.body("Nikon Z 8 #1").frames == 6


def test_cleanings_stay_known_when_frames_come_before_all_is_learnt_again(tmp_path):
    write_sidecars(tmp_path / "out", range(5))
    with Store.open(tmp_path / "maps.sqlite") as store:
        store.observe(observed(0))
        store.cleaned("Nikon Z 8 #1", "2026-11-03T00:00:00")
    with Store.open(put_aside(tmp_path)) as store:
        store.observe(observed(7))
        assert [epoch.frames for epoch in store.epochs("Nikon Z 8 #1")] == [0, 1]
    with open_store(tmp_path / "maps.sqlite", [tmp_path / "out"]) as store:
        assert [epoch.frames for epoch in store.epochs("Nikon Z 8 #1")] == [2, 4]


def test_the_service_manager_hears_of_every_step(tmp_path):
    write_sidecars(tmp_path / "out", range(5))
    beats = []
    with open_store(put_aside(tmp_path), [tmp_path / "out"], lambda: beats.append(0)):
        assert len(beats) >= 2 * 5  # each sidecar is found, and counted


def test_frames_of_a_disk_that_is_away_stay_missing_until_it_is_back(tmp_path):
    write_sidecars(tmp_path / "out", range(2))
    away = tmp_path / "disk" / "out"
    with open_store(put_aside(tmp_path), [tmp_path / "out", away]) as store:
        assert store.body("Nikon Z 8 #1").frames == 2
        assert store.lost
        away.parent.mkdir()
        write_sidecars(away, range(2, 4))
        beats = []
        relearn(store, [tmp_path / "out", away], lambda: beats.append(0))
        assert len(beats) == 2 * 2  # what was read before the disk came back is not read again
        assert store.body("Nikon Z 8 #1").frames == 4
        assert not store.lost


def test_a_body_may_have_more_frames_than_a_statement_has_variables(tmp_path):
    body, many = "Nikon Z 8 #1", 33_000
    with Store.open(":memory:") as store:
        for n in range(40):
            store.observe(observed(n % 20, name=f"{n}", frame=n))
        with store._database.changing() as db:
            rows = [{"body_id": body, "frame_id": f"old{n}", "evidence": {}} for n in range(many)]
            db.execute(schema.scenes.insert(), rows)
            assert queries.names_of(db, body, [f"old{n}" for n in range(many)]) == {}
            folding.prune(db, body, 32)
            left = db.scalars(schema.scenes.select().where(schema.scenes.c.frame_id.like("old%"))).all()
        assert left == []


def observed(n, *, body="Nikon Z 8 #1", name=None, frame=None):
    """A frame with a grain of dust, on a day of its own."""
    frame = n if frame is None else frame
    rng = np.random.default_rng(n)
    scene = evidence.look(rng.uniform(0.2, 0.6, (40, 60)).astype(np.float32), 16)
    dust = Spot(id=0, x=480.0, y=320.0, diameter_px=28.0, edge_px=8.0, attenuation=0.2, score=0.8)
    return Record(
        source=Source(name=name or f"{n}.NEF", size=1, sha256=f"{frame:064d}", mtime_ns=n),
        camera=Camera(body_id=body, f_number=16.0, taken_at=f"2026-11-{n + 1:02}T10:00:{frame:02}"),
        width=960,
        height=640,
        spots=(dust,),
        status="cleaned",
        evidence={**evidence.to_dict(scene), "frame_id": f"{body}{frame}"},
    )


def test_maps_that_are_away_at_the_start_open_themselves_when_they_can_be_reached(cleaned):
    out, path = cleaned
    path.rename(path.with_name("elsewhere"))
    path.mkdir()
    with open_store(path, [out]) as store:
        assert store.away
        with pytest.raises(SurroundingsError):
            store.body_ids()
        path.rmdir()
        path.with_name("elsewhere").rename(path)
        assert [body.frames for body in store.bodies()] == [2]
        assert not store.away


GARBLED = [
    (("spots", 0, "x"), math.nan),
    (("spots", 0, "diameter"), 10**400),
    (("spots", 0, "score"), 1e308),
    (("camera", "f_number"), -16.0),
    (("camera", "f_number"), 10**400),
    (("camera", "make"), "\0"),
    (("camera", "body_id"), "\ud800"),
    (("camera", "taken_at"), "\ud800"),
    (("frame", "width"), 10**30),
    (("frame", "height"), -1),
    (("evidence", "frame_id"), "\ud800"),
    (("evidence", "frame_id"), {}),
    (("evidence", "evidence_score"), math.nan),
    (("evidence", "evidence_score"), "x"),
    (("evidence", "width"), 1e999),
    (("evidence", "scene"), "x"),
    (("outputs",), [{"kind": "dng", "path": "a.dng", "sha256": "0", "samples": "\ud800"}]),
]


@pytest.mark.parametrize(("where", "value"), GARBLED)
def test_a_sidecar_that_holds_what_cannot_be_costs_itself_only(tmp_path, where, value):
    write_sidecars(tmp_path / "out", range(2))
    garbled = tmp_path / "out" / "10.NEF.dustd.json"
    data = json.loads(garbled.read_bytes())
    part = data
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    garbled.write_text(json.dumps(data))
    with open_store(put_aside(tmp_path), [tmp_path / "out"]) as store:
        assert [body.frames for body in store.bodies()] == [1]
        assert not store.damaged and not store.lost


def test_frames_on_a_share_that_broke_off_stay_missing_until_it_answers_again(tmp_path, break_off):
    begin, end = break_off
    write_sidecars(tmp_path / "out", range(2))
    (tmp_path / "nas").mkdir()
    begin(tmp_path / "nas")
    outputs = [tmp_path / "out", tmp_path / "nas", tmp_path / "nas" / "Cleaned"]
    with open_store(put_aside(tmp_path), outputs) as store:
        assert store.body("Nikon Z 8 #1").frames == 2 and store.lost
        end(tmp_path / "nas")
        write_sidecars(tmp_path / "nas", range(2, 4))
        relearn(store, outputs)
        assert store.body("Nikon Z 8 #1").frames == 4 and not store.lost
