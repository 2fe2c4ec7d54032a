import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.dustmap import mapjson
from dustd.dustmap.cleaning import Cleaning
from dustd.dustmap.evidence import look
from dustd.dustmap.match import State
from dustd.dustmap.particle import Scene, View
from dustd.dustmap.update import observe
from dustd.spots.shape import Outline
from dustd.spots.spot import Spot
from tests.later import with_news


def view(number, lens):
    light = np.random.default_rng(number).lognormal(-1.5, 0.3, (60, 90)).astype(np.float32)
    light[20:40, 30:60] = 0.1 + 0.1 * number
    return View(
        frame_id=f"frame{number}",
        width=1440,
        height=960,
        f_number=11.0,
        focal_length_mm=35.0,
        lens=lens,
        taken_at=f"2026-11-23T10:00:{number:02d}",
        evidence=look(light, 16),
    )


def spot(x, y, number):
    outline = Outline(slenderness=4.0 + number, angle_deg=20.0, error=0.5, feigned=0.7, hollow=-0.1, hollow_error=0.2)
    return Spot(
        id=number,
        x=x,
        y=y,
        diameter_px=30.0,
        edge_px=8.0,
        attenuation=0.2,
        score=0.9,
        outline=outline if number else None,
    )


def learnt(places, lenses=("35 mm", "35 mm", "90 mm")):
    state = State()
    for number, lens in enumerate(lenses):
        state = observe(state, view(number, lens), [spot(x, y, n) for n, (x, y) in enumerate(places)])
    scene = Scene(frame_id="frame9", evidence=view(9, "35 mm").evidence)
    noticed = ("frame9", "2026-11-23T10:00:09")
    return replace(state, cleaning=Cleaning(log_ratio=7.0, since=noticed, scenes=(scene,), doubted=(("90 mm", 1.5),)))


PLACES = [(700.0, 480.0), (600.0, 400.0), (760.0, 420.0)]


@given(st.lists(st.tuples(st.floats(500, 900), st.floats(350, 600)), max_size=4))
@settings(max_examples=25, deadline=None)
def test_a_map_survives_json(places):
    state = learnt(places)
    again = mapjson.decode(json.loads(json.dumps(mapjson.encode(state))), mapjson.scenes(state))
    assert again == state


def test_the_empty_map_survives_json():
    assert mapjson.decode(json.loads(json.dumps(mapjson.encode(State()))), {}) == State()


def test_scenes_are_told_by_the_ids_of_their_frames():
    state = learnt(PLACES)
    scenes = mapjson.scenes(state)
    assert set(scenes) == {"frame0", "frame1", "frame2", "frame9"}
    assert scenes["frame9"] is state.cleaning.scenes[0]
    assert "evidence" not in json.dumps(mapjson.encode(state))


def test_what_a_later_dustd_adds_is_ignored():
    data = with_news(json.loads(json.dumps(mapjson.encode(learnt(PLACES)))))
    assert mapjson.decode(data, mapjson.scenes(learnt(PLACES))) == learnt(PLACES)


def test_particles_from_before_outlines_were_kept_have_none():
    state = learnt(PLACES)
    old = mapjson.encode(state)
    for each in old["particles"]:
        del each["outline"]
    assert all(each.shape is None for each in mapjson.decode(old, mapjson.scenes(state)).particles)


def test_particles_from_before_places_were_kept_get_those_of_their_sightings():
    state = learnt(PLACES)
    old = mapjson.encode(state)
    for each in old["particles"]:
        for name in ("places", "remembered"):
            del each[name]
        for sighting in each["sightings"]:
            del sighting["worth"]
    again = mapjson.decode(old, mapjson.scenes(state))
    for one, before in zip(again.particles, state.particles, strict=True):
        assert {(p.lens, p.focal_mm) for p in one.places} == {(p.lens, p.focal_mm) for p in before.places}


@pytest.mark.parametrize(
    "damage",
    [
        {"schema_version": 2},
        {"schema_version": None},
        {"particles": None},
        {"particles": [{}]},
        {"optics": {}},
        {"cleaning": 3},
    ],
)
def test_what_is_no_map_is_refused(damage):
    state = learnt(PLACES)
    with pytest.raises(ValueError, match="map"):
        mapjson.decode({**mapjson.encode(state), **damage}, mapjson.scenes(state))


def test_a_missing_scene_is_told():
    with pytest.raises(ValueError, match="frame"):
        mapjson.decode(mapjson.encode(learnt(PLACES)), {})
