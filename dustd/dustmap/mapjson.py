"""A dust map as JSON: for the store's rows, for export and import. Scenes are told by the ids of their frames.

The surroundings that a map refers to are large and shared between particles, so they are kept beside it: `scenes`
lists them, and whoever decodes a map brings them along.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dustd.codec import Codec
from dustd.dustmap.match import State
from dustd.dustmap.particle import Scene, Sighting, places_of

SCHEMA_VERSION = 1


def encode(state: State) -> dict[str, Any]:
    """Lay a map out for JSON."""
    return {"schema_version": SCHEMA_VERSION, **_CODEC.plain(state)}


def decode(data: Mapping[str, Any], scenes: Mapping[str, Scene]) -> State:
    """Read a map back, *scenes* by frame id; unknown keys are ignored.

    Raise ValueError if *data* is not a map of this schema version, lacks a field or refers to a scene that is missing.
    """
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"map of schema version {version!r}, this dustd reads {SCHEMA_VERSION}")
    try:
        cleaning = {**data["cleaning"], "scenes": [scenes[frame_id] for frame_id in data["cleaning"]["scenes"]]}
        parts = {
            "particles": [_with_scenes(entry, scenes) for entry in data["particles"]],
            "optics": {"lenses": data["optics"]["lenses"], **data["optics"]},
            "cleaning": cleaning,
        }
        return _CODEC.read(State, parts)
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise ValueError(f"not a dust map: {exc!r}") from exc


def scenes(state: State) -> dict[str, Scene]:
    """Collect the surroundings that a map refers to, by frame id."""
    return {scene.frame_id: scene for scene in _scenes(state)}


def _with_scenes(particle: Mapping[str, Any], scenes: Mapping[str, Scene]) -> dict[str, Any]:
    """Put the scenes in that a particle refers to; one written before places were kept gets its sightings'."""
    sightings = [{**each, "scene": scenes[each["scene"]]} for each in particle["sightings"]]
    places = {} if "places" in particle else {"places": places_of(_CODEC.read(tuple[Sighting, ...], sightings))}
    missed_in = [scenes[frame_id] for frame_id in particle["missed_in"]]
    return {**particle, **places, "sightings": sightings, "missed_in": missed_in}


def _scenes(state: State) -> Iterator[Scene]:
    for particle in state.particles:
        yield from (sighting.scene for sighting in particle.sightings)
        yield from particle.missed_in
    yield from state.cleaning.scenes


_CODEC = Codec(told_as={Scene: lambda scene: scene.frame_id})
