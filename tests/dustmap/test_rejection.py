"""What a person's verdict means for the map: in its frame, in frames of the same scene, in others, and for good."""

import dataclasses
import json
import sqlite3

import cv2
import numpy as np
import pytest

from dustd.dustmap import evidence, rejection
from dustd.dustmap.folding import KEPT
from dustd.dustmap.history import counted
from dustd.dustmap.rejection import refuted, rejections_of, settled
from dustd.dustmap.store import Store
from dustd.output import sidecar
from dustd.output.sidecar import Record, Source
from dustd.raw.frame import Camera
from dustd.spots.spot import Spot
from tests.later import with_news

WIDTH, HEIGHT, STEP = 1920, 1280, 16
BODY = "Nikon Z 8 #1"


def seen(seed):
    """Evidence of a scene of its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(22, 32)).astype(np.float32)
    light = 0.3 * np.exp(0.5 * cv2.resize(coarse, (WIDTH // STEP, HEIGHT // STEP), interpolation=cv2.INTER_CUBIC))
    return evidence.to_dict(evidence.look(light.astype(np.float32), STEP))


EVIDENCE = [seen(n) for n in range(8)]
DUST = Spot(id=1, x=960.0, y=640.0, diameter_px=28.0, edge_px=8.0, attenuation=0.2, score=0.8, wanted=True)
REJECTED = dataclasses.replace(DUST, rejected=True, wanted=False)


def record(n, *spots, scene=None):
    return Record(
        source=Source(name=f"DSC_{n:04d}.NEF", size=1, sha256=f"{n:064d}", mtime_ns=n),
        camera=Camera(
            body_id=BODY,
            f_number=16.0,
            lens="50 mm",
            focal_length_mm=50.0,
            taken_at=f"2026-11-01T{n // 60:02d}:{n % 60:02d}:00",
        ),
        width=WIDTH,
        height=HEIGHT,
        spots=spots,
        status="cleaned",
        evidence={**EVIDENCE[n % 8 if scene is None else scene], "frame_id": f"frame{n}"},
    )


@pytest.fixture
def store():
    with Store.open(":memory:") as opened:
        yield opened


def learn(store, records):
    for each in records:
        store.observe(each)


def particle(store):
    found = store.state(BODY).particles
    return min(found, key=lambda each: abs(each.mx) + abs(each.my)) if found else None


def known(store):
    """Everything the map says that does not depend on when it was told."""
    return store.state(BODY), store.rejections(BODY)


SURE = [record(n, DUST) for n in range(6)]


def test_a_verdict_unseats_a_confirmed_particle(store):
    learn(store, SURE)
    before = particle(store)
    assert before.confirmed
    assert store.judge(record(5, REJECTED))
    assert not particle(store).confirmed
    assert particle(store).log_odds <= before.log_odds - 5


def test_dust_that_shows_in_other_scenes_comes_back(store):
    learn(store, SURE[:3])
    store.judge(record(2, REJECTED))
    assert not particle(store).confirmed
    learn(store, [record(n, DUST) for n in range(3, 8)])
    assert particle(store).confirmed


def test_the_same_scene_never_promotes_it_again(store):
    learn(store, [record(0, DUST)])
    store.judge(record(0, REJECTED))
    learn(store, [record(n, DUST, scene=0) for n in range(1, 40)])
    assert particle(store) is None or not particle(store).confirmed
    assert particle(store) is None or particle(store).confidence < 0.5


def test_undo_is_as_if_nothing_had_been_said(store):
    learn(store, SURE)
    before = known(store)
    store.judge(record(3, REJECTED))
    assert known(store) != before
    store.judge(record(3, DUST))
    assert known(store) == before


def test_saying_it_twice_counts_once(store):
    learn(store, SURE)
    store.judge(record(3, REJECTED))
    once = known(store)
    store.judge(record(3, REJECTED))
    store.observe(record(3, dataclasses.replace(REJECTED, id=9, x=961.0)))  # cleaned again, numbered anew
    assert known(store) == once


def test_when_it_is_said_makes_no_difference(store):
    learn(store, [*SURE[:3], record(3, REJECTED), *SURE[4:]])
    with Store.open(":memory:") as other:
        learn(other, SURE)
        other.judge(record(3, REJECTED))
        assert known(other) == known(store)


def test_a_rebuild_learns_it_from_the_sidecars(store):
    learn(store, SURE)
    store.judge(record(3, REJECTED))
    before = known(store)
    sidecars = [*SURE[:3], record(3, REJECTED), *SURE[4:]]
    store.rebuild([sidecar.decode(sidecar.encode(each)) for each in sidecars])
    assert known(store) == before
    store.forget(BODY)
    store.rebuild(sidecars)
    assert known(store) == before


def test_the_daemon_goes_on_with_what_was_said_meanwhile(tmp_path):
    path = tmp_path / "maps.sqlite"
    with Store.open(path) as daemon, Store.open(path) as person:
        learn(daemon, SURE[:4])
        person.judge(record(3, REJECTED))
        learn(daemon, SURE[4:])
        after = known(daemon)
    with Store.open(":memory:") as alone:
        learn(alone, [*SURE[:3], record(3, REJECTED), *SURE[4:]])
        assert known(alone) == after


def test_it_travels_with_the_map(store):
    learn(store, SURE)
    store.judge(record(3, REJECTED))
    with Store.open(":memory:") as other:
        other.import_(json.loads(json.dumps(store.export(BODY))))
        assert known(other) == known(store)


def test_a_map_exported_before_there_were_verdicts_is_taken_in(store):
    learn(store, SURE)
    data = store.export(BODY)
    del data["rejections"]
    with Store.open(":memory:") as other:
        other.import_(data)
        assert other.state(BODY) == store.state(BODY)


def test_the_verdict_about_a_frame_that_is_too_old_to_be_folded_anew_counts_from_now_on(store):
    learn(store, [record(n, DUST) for n in range(2)])
    learn(store, [record(n) for n in range(2, 2 + KEPT + 64)])
    learn(store, [record(n, DUST) for n in range(400, 402)])
    before = particle(store)
    assert store.judge(record(0, REJECTED))
    assert particle(store).log_odds < before.log_odds - 3


def test_a_frame_that_the_map_does_not_know_cannot_be_judged(store):
    assert not store.judge(record(0, REJECTED))
    learn(store, SURE[:1])
    assert not store.judge(record(7, REJECTED))


def test_databases_of_the_version_before_are_brought_up_to_date(tmp_path):
    path = tmp_path / "maps.sqlite"
    with Store.open(path) as store:
        learn(store, SURE)
        before = store.state(BODY)
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE rejections")
        db.execute("PRAGMA user_version = 3")
    db.close()
    with Store.open(path) as store:
        assert store.state(BODY) == before
        assert store.judge(record(3, REJECTED))
        assert len(store.rejections(BODY)) == 1


# --- before correction ----------------------------------------------------------------------------------------------


def view(n, scene=None):
    return counted(record(n, DUST, scene=scene)).view


VERDICT = rejections_of([REJECTED], view(0), "DSC_0000.NEF")


def test_in_its_frame_the_spot_is_left(store):
    (spot,) = settled([DUST], view(0), VERDICT)
    assert (spot.wanted, spot.rejected) == (False, True)
    assert spot.reason.startswith("rejected by a person")


def test_in_a_frame_of_the_same_scene_it_is_left_and_the_reason_names_the_frame():
    (spot,) = settled([DUST], view(1, scene=0), VERDICT)
    assert (spot.wanted, spot.rejected) == (False, False)
    assert "rejected the same thing here in DSC_0000.NEF" in spot.reason


def test_in_another_scene_and_in_another_place_it_means_nothing():
    assert settled([DUST], view(1), VERDICT) == (DUST,)
    elsewhere = dataclasses.replace(DUST, x=1400.0)
    assert settled([elsewhere], view(0), VERDICT) == (elsewhere,)
    assert refuted(elsewhere, view(0), VERDICT) is None


def test_a_verdict_is_read_back_as_it_was_written():
    (verdict,) = VERDICT
    told = json.loads(json.dumps(rejection.to_dict(verdict)))
    assert rejection.from_dict(told) == rejection.from_dict(with_news(told)) == verdict
    with pytest.raises(ValueError, match="not a verdict"):
        rejection.from_dict({"mx": 1})
