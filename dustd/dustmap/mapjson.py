"""A dust map as JSON: for the store's rows, for export and import. Scenes are told by the ids of their frames.

The surroundings that a map refers to are large and shared between particles, so they are kept beside it: `scenes`
lists them, and whoever decodes a map brings them along.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from dustd.dustmap.cleaning import Cleaning
from dustd.dustmap.lenses import BodyOptics, LensScale
from dustd.dustmap.match import State
from dustd.dustmap.particle import Particle, Place, Scene, Sighting, places_of
from dustd.spots import shape

SCHEMA_VERSION = 1


def encode(state: State) -> dict[str, Any]:
    """Lay a map out for JSON."""
    return {
        "schema_version": SCHEMA_VERSION,
        "optics": encode_optics(state.optics),
        "cleaning": encode_cleaning(state.cleaning),
        "particles": [encode_particle(particle) for particle in state.particles],
    }


def decode(data: Mapping[str, Any], scenes: Mapping[str, Scene]) -> State:
    """Read a map back, *scenes* by frame id; unknown keys are ignored.

    Raises ValueError if *data* is not a map of this schema version, lacks a field or refers to a scene that is missing.
    """
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"map of schema version {version!r}, this dustd reads {SCHEMA_VERSION}")
    try:
        return State(
            particles=tuple(decode_particle(entry, scenes) for entry in data["particles"]),
            optics=decode_optics(data["optics"]),
            cleaning=decode_cleaning(data["cleaning"], scenes),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"not a dust map: {exc!r}") from exc


def scenes(state: State) -> dict[str, Scene]:
    """Collect the surroundings that a map refers to, by frame id."""
    return {scene.frame_id: scene for scene in _scenes(state)}


def encode_particle(particle: Particle) -> dict[str, Any]:
    """Lay one particle out for JSON."""
    return {
        **_fields(particle),
        "outline": shape.to_dict(particle.outline),
        "f_numbers": list(particle.f_numbers),
        "places": [_fields(place) for place in particle.places],
        "sightings": [{**_fields(each), "scene": each.scene.frame_id} for each in particle.sightings],
        "missed_in": [scene.frame_id for scene in particle.missed_in],
    }


def decode_particle(data: Mapping[str, Any], scenes: Mapping[str, Scene]) -> Particle:
    """Read one particle back; one written before places were kept gets those of its sightings, and has no outline."""
    sightings = tuple(_known(Sighting, {**each, "scene": scenes[each["scene"]]}) for each in data["sightings"])
    places = tuple(_known(Place, each) for each in data["places"]) if "places" in data else places_of(sightings)
    rest = {
        "outline": shape.from_dict(data.get("outline")),
        "f_numbers": tuple(data["f_numbers"]),
        "places": places,
        "sightings": sightings,
        "missed_in": tuple(scenes[frame_id] for frame_id in data["missed_in"]),
    }
    return _known(Particle, {**data, **rest})


def encode_optics(optics: BodyOptics) -> dict[str, Any]:
    """Lay a body's optics out for JSON."""
    return {**_fields(optics), "lenses": [_fields(lens) for lens in optics.lenses]}


def decode_optics(data: Mapping[str, Any]) -> BodyOptics:
    """Read a body's optics back."""
    return _known(BodyOptics, {**data, "lenses": tuple(_known(LensScale, lens) for lens in data["lenses"])})


def encode_cleaning(cleaning: Cleaning) -> dict[str, Any]:
    """Lay the state of the cleaning test out for JSON."""
    return {**_fields(cleaning), "scenes": [scene.frame_id for scene in cleaning.scenes]}


def decode_cleaning(data: Mapping[str, Any], scenes: Mapping[str, Scene]) -> Cleaning:
    """Read the state of the cleaning test back."""
    moments = {name: tuple(data[name]) if data.get(name) else None for name in ("since", "noticed_at")}
    doubted = tuple((lens, worth) for lens, worth in data.get("doubted", ()))
    told = tuple(scenes[frame_id] for frame_id in data["scenes"])
    return _known(Cleaning, {**data, **moments, "doubted": doubted, "scenes": told})


def _scenes(state: State) -> Iterator[Scene]:
    for particle in state.particles:
        yield from (sighting.scene for sighting in particle.sightings)
        yield from particle.missed_in
    yield from state.cleaning.scenes


def _fields(value: Any) -> dict[str, Any]:
    cls: type = type(value)
    return {name: getattr(value, name) for name in _names(cls)}


def _known(cls: type, data: Mapping[str, Any]) -> Any:
    """Build *cls* from the keys it knows."""
    names = _names(cls)
    return cls(**{key: value for key, value in data.items() if key in names})


@functools.cache
def _names(cls: type) -> tuple[str, ...]:
    """Name a dataclass's fields; a map has thousands of values, and is written with every frame."""
    return tuple(f.name for f in dataclasses.fields(cls))
