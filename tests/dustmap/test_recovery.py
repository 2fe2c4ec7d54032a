"""Damaged maps are put aside and learnt again from the sidecars: at the start, after a crash, and while dustd runs."""

import pytest
from structlog.testing import capture_logs

from dustd.config import OutputSettings
from dustd.dustmap.recovery import open_store, relearn
from dustd.dustmap.store import Store
from dustd.errors import DamagedError
from dustd.output import sidecar
from dustd.pipeline.frame_pipeline import Pipeline
from tests.soak import seeds
from tests.soak.standin import DarkestPlace


@pytest.fixture
def cleaned(tmp_path, darkroom):
    """A folder of two cleaned frames; gives it and the store that knows them, closed."""
    out = tmp_path / "out"
    out.mkdir()
    with Store.open(tmp_path / "maps.sqlite") as store:
        pipeline = Pipeline(
            detector=DarkestPlace(),
            store=store,
            darkroom=darkroom,
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
