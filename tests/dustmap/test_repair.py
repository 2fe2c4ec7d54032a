"""`dustd map repair`: what cannot be read is told and learnt again from sidecars, and nothing is lost unasked."""

import sqlite3

import pytest

from dustd.cli.main import main
from dustd.dustmap.store import Store
from tests.dustmap.test_recovery import observed, write_sidecars

BODIES = ("Nikon Z 8 #1", "Nikon Z 8 #2")


@pytest.fixture
def store(tmp_path):
    """Maps of two bodies of six frames each, and their sidecars at two stations."""
    path = tmp_path / "maps.sqlite"
    with Store.open(path) as opened:
        for body in BODIES:
            for n in range(6):
                opened.observe(observed(n, body=body, name=f"{body[-1]}{n}.NEF"))
            opened.cleaned(body, "2026-11-04T00:00:00")
    for number, numbers in enumerate((range(4), range(4, 6))):
        for body in BODIES:
            write_sidecars(tmp_path / f"station{number}", numbers, body)
    return path


def garble(path, statement):
    with sqlite3.connect(path) as db:
        db.execute(statement, (BODIES[0],))


def everything(path):
    with Store.open(path) as opened:
        return opened.bodies(), [opened.epochs(body) for body in BODIES]


GARBLED = [
    "UPDATE states SET state = x'00' WHERE body_id = ?",
    "UPDATE frames SET observed = x'00' WHERE body_id = ?",
    "UPDATE frames SET input = x'00' WHERE body_id = ?",
    "UPDATE scenes SET evidence = x'00' WHERE body_id = ?",
    "DELETE FROM states WHERE body_id = ?",
]


@pytest.mark.parametrize("statement", GARBLED)
def test_a_garbled_map_is_learnt_again_and_the_others_stay_as_they_are(store, tmp_path, capsys, statement):
    before = everything(store)
    garble(store, statement)
    assert main(["map", "repair", "--store", str(store)]) == 1
    said = capsys.readouterr().out
    assert f"{BODIES[0]}: " in said and "cannot be read" in said and BODIES[1] not in said
    folders = [str(tmp_path / f"station{number}") for number in range(2)]
    assert main(["map", "repair", *folders, "--store", str(store)]) == 0
    assert "learnt again from 6 of 6 sidecars" in capsys.readouterr().out
    assert everything(store) == before
    assert not list(tmp_path.glob("*.damaged-*"))


def test_frames_of_another_station_are_not_lost_unasked(store, tmp_path, capsys):
    garble(store, GARBLED[0])
    one = str(tmp_path / "station0")
    assert main(["map", "repair", one, "--store", str(store)]) == 1
    assert "2 of its 6 frames have no sidecar in these folders" in capsys.readouterr().out
    with Store.open(store) as opened:
        assert len(opened.damage()) == 1
    assert main(["map", "repair", one, "--replace", "--store", str(store)]) == 0
    with Store.open(store) as opened:
        assert opened.damage() == () and opened.body(BODIES[0]).frames == 1
        assert [epoch.frames for epoch in opened.epochs(BODIES[0])] == [3, 1]


def test_whole_maps_are_left_alone(store, tmp_path, capsys):
    before = store.read_bytes()
    assert main(["map", "repair", str(tmp_path / "station0"), "--store", str(store)]) == 0
    assert "2 maps looked through: all can be read." in capsys.readouterr().out
    assert store.read_bytes() == before


def test_what_is_no_folder_is_a_wrong_command(store, tmp_path):
    assert main(["map", "repair", str(tmp_path / "gone"), "--store", str(store)]) == 2
