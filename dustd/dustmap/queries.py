"""What is asked of the tables: rows, epochs, kept states, and the frames that a map is folded from.

Every function takes a connection; none changes what is believed. `dustd.dustmap.schema` has the tables.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dustd.dustmap import evidence, history, mapjson, pixels, places, rejection
from dustd.dustmap.history import Counted
from dustd.dustmap.match import State
from dustd.dustmap.particle import TOUCHED_FROM, DustMap, Scene
from dustd.dustmap.pixels import Pixels
from dustd.dustmap.places import Cut, Reading
from dustd.dustmap.rejection import Rejection
from dustd.dustmap.schema import (
    GarbledError,
    bodies,
    epochs,
    frames,
    rejections,
    scenes,
    states,
)
from dustd.errors import SurroundingsError

STOPPED_DOWN = 8.0  # from this f-number dust is expected to show
STRIDE = 32  # frames between two kept states: the most that are folded anew for nothing
VARIABLES = 10_000  # values in one statement; SQLite takes 32,766, PostgreSQL 65,535
RECENT = 100  # frames of which the report tells how many show dust


# Each body's current state in memory: revision, place and state.
Latest = dict[str, tuple[int, str, State]]


def lock_body(db: sa.Connection, body_id: str) -> Any:
    """Fetch a body's row, None if it is not known, and keep other stations from changing the body meanwhile."""
    return db.execute(sa.select(bodies).where(bodies.c.body_id == body_id).with_for_update()).first()


def insert_new(db: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    """Insert a row unless there is one with its key; say whether."""
    insert = sqlite.insert(table) if db.dialect.name == "sqlite" else postgresql.insert(table)
    query = insert.values(row).on_conflict_do_nothing().returning(table.c.body_id)
    return db.execute(query).first() is not None


def exists(db: sa.Connection, table: sa.Table, body_id: str, *where: Any) -> bool:
    """Tell whether a body has such a row."""
    return db.execute(sa.select(table.c.body_id).where(table.c.body_id == body_id, *where)).first() is not None


def rows_of(db: sa.Connection, table: sa.Table, body_id: str, *where: Any) -> Sequence[Any]:
    """Fetch a body's rows, in the order of their keys."""
    query = sa.select(table).where(table.c.body_id == body_id, *where)
    return db.execute(query.order_by(*table.primary_key.columns)).all()


def last_state(db: sa.Connection, body_id: str, *where: Any) -> Any:
    """Find the latest of a body's kept states: its place, epoch and n, and the body's revision."""
    query = sa.select(states.c.place, states.c.epoch, states.c.n, bodies.c.revision).join_from(states, bodies)
    return db.execute(query.where(states.c.body_id == body_id, *where).order_by(states.c.place.desc()).limit(1)).one()


def epoch_at(db: sa.Connection, body_id: str, place: str | None) -> str | None:
    """Find the epoch in which a place lies, the current one if it is not given; None if the body is not known."""
    query = sa.select(sa.func.max(epochs.c.place)).where(epochs.c.body_id == body_id)
    return db.execute(query.where(epochs.c.place <= place) if place is not None else query).scalar()


def maps_of(db: sa.Connection, body_id: str) -> list[str]:
    """Name all maps of the body that *body_id* names or whose map it names, the body's own name first."""
    known = db.scalars(sa.select(bodies.c.body_id).order_by(bodies.c.body_id)).all()
    return [name for name in known if pixels.body_of(name) == pixels.body_of(body_id)]


def sizes_of(db: sa.Connection, body_id: str) -> dict[str, Pixels | None]:
    """Give the maps of a body with the pictures on each, None if there are none; the body's own name first."""
    return {name: _pixels_of(db, name) for name in maps_of(db, body_id)}


def _pixels_of(db: sa.Connection, body_id: str) -> Pixels | None:
    """Say what pictures are on a map: the size of the largest, and the pitch of the latest; None if there are none."""
    query = sa.select(frames.c.input).where(frames.c.body_id == body_id, frames.c.input.is_not(None))
    latest = db.scalar(query.order_by(frames.c.place.desc()).limit(1))
    body = rows_of(db, bodies, body_id)[0]
    pitch_um = latest["view"].get("pixel_pitch_um") if latest else None
    if not (body.width and body.height):
        return None
    return Pixels(width=body.width, height=body.height, pitch_um=pitch_um)


def cuts_of(db: sa.Connection, body_id: str) -> list[Cut]:
    """List a body's cleanings in order that a person told of when they were made."""
    found = rows_of(db, epochs, body_id, epochs.c.how == "declared", epochs.c.decided_at.is_not(None))
    return [Cut(place=epoch.place, began=places.utc(epoch.started_at)) for epoch in found]


def shown_before(db: sa.Connection, body_id: str, cut: Cut) -> str | None:
    """Give the latest time that the camera's clock showed in a frame before a cleaning, in UTC."""
    query = sa.select(sa.func.max(frames.c.taken_at)).where(frames.c.body_id == body_id, frames.c.place < cut.place)
    last = db.scalar(query)
    return places.utc(last) if last else None


def settled_place(db: sa.Connection, body_id: str, reading: Reading) -> str:
    """Say where a frame belongs among the cleanings of its body."""
    return places.settled(reading, cuts_of(db, body_id), functools.partial(shown_before, db, body_id))


def spans_of(db: sa.Connection, body_id: str) -> list[tuple[Any, str | None]]:
    """List a body's epochs, each with the place at which the next one begins."""
    found = rows_of(db, epochs, body_id)
    return list(zip(found, [*(epoch.place for epoch in found[1:]), None], strict=True))


def within(body_id: str, start: str, end: str | None) -> Any:
    """Select a body's frames from a place up to another."""
    here = sa.and_(frames.c.body_id == body_id, frames.c.place >= start)
    return here if end is None else sa.and_(here, frames.c.place < end)


def inputs_after(db: sa.Connection, body_id: str, after: str) -> Iterator[Counted]:
    """Give what the frames after a place brought, in order."""
    same = sa.and_(frames.c.body_id == scenes.c.body_id, frames.c.frame_id == scenes.c.frame_id)
    query = sa.select(frames.c.place, frames.c.input, scenes.c.evidence).join_from(frames, scenes, same, isouter=True)
    query = query.where(frames.c.body_id == body_id).order_by(frames.c.place).limit(STRIDE)
    while rows := db.execute(query.where(frames.c.place > after)).all():
        for row in rows:
            with whole():
                frame = history.from_dict(row.input, row.place, evidence.from_dict(row.evidence))
            yield frame
        after = rows[-1].place
        if len(rows) < STRIDE:
            break


def verdicts_of(db: sa.Connection, body_id: str) -> list[tuple[str, Rejection]]:
    """Fetch a body's verdicts and the places from which they count, in that order."""
    query = sa.select(rejections.c.place, rejections.c.told).where(rejections.c.body_id == body_id)
    with whole():
        return [(row.place, rejection.from_dict(row.told)) for row in db.execute(query.order_by(rejections.c.place))]


def decoded_state(db: sa.Connection, body_id: str, place: str) -> State:
    """Fetch the state kept at a place."""
    query = sa.select(states.c.state, states.c.scenes)
    row = db.execute(query.where(states.c.body_id == body_id, states.c.place == place)).one()
    with whole():
        if row.state["schema_version"] > mapjson.SCHEMA_VERSION:
            raise SurroundingsError(f"the map of {body_id} was written by a newer dustd", remedy="Update this dustd")
        return mapjson.decode(row.state, scenes_of(db, body_id, row.scenes))


def some_at_a_time(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Give values in lists that fit into one statement."""
    listed = list(values)
    for start in range(0, len(listed), VARIABLES):
        yield listed[start : start + VARIABLES]


def scenes_of(db: sa.Connection, body_id: str, frame_ids: Sequence[str]) -> dict[str, Scene]:
    """Fetch what frames looked like, by frame."""
    query = sa.select(scenes.c.frame_id, scenes.c.evidence).where(scenes.c.body_id == body_id)
    found = [row for some in some_at_a_time(frame_ids) for row in db.execute(query.where(scenes.c.frame_id.in_(some)))]
    return {row.frame_id: Scene(frame_id=row.frame_id, evidence=evidence.from_dict(row.evidence)) for row in found}


def names_of(db: sa.Connection, body_id: str, frame_ids: Iterable[str]) -> dict[str, str]:
    """Fetch the file names of frames, by frame."""
    query = sa.select(frames.c.frame_id, frames.c.name).where(frames.c.body_id == body_id)
    found = [row for some in some_at_a_time(frame_ids) for row in db.execute(query.where(frames.c.frame_id.in_(some)))]
    return {row.frame_id: row.name for row in found}


@contextmanager
def whole() -> Iterator[None]:
    """Say that what cannot be read back is garbled."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise GarbledError(f"what the database holds is no dust map: {exc}") from exc


def state_at(db: sa.Connection, latest: Latest, body_id: str, row: Any) -> State:
    """Fetch the state of a row of `last_state`, from memory if it is the latest and nobody has changed it since."""
    if latest.get(body_id, ())[:2] == (row.revision, row.place):
        return latest[body_id][2]
    return decoded_state(db, body_id, row.place)


def dust_map(db: sa.Connection, latest: Latest, body: Any) -> DustMap:
    """Put together what the report needs of a body's current epoch."""
    *earlier, (epoch, _) = spans_of(db, body.body_id)
    state = state_at(db, latest, body.body_id, last_state(db, body.body_id))
    before = State()
    if earlier:
        row = last_state(db, body.body_id, states.c.epoch == earlier[-1][0].place)
        before = state_at(db, latest, body.body_id, row)
    here = within(body.body_id, epoch.place, None)
    stopped_down = sa.func.coalesce(sa.func.sum(sa.case((frames.c.f_number >= STOPPED_DOWN, 1), else_=0)), 0)
    count = db.execute(
        sa.select(
            sa.func.count().label("frames"),
            stopped_down.label("stopped_down"),
            sa.func.min(frames.c.taken_at).label("first"),
            sa.func.max(frames.c.taken_at).label("last"),
        ).where(here)
    ).one()
    recent = db.scalars(sa.select(frames.c.observed).where(here).order_by(frames.c.place.desc()).limit(RECENT)).all()
    confirmed = {particle.id for particle in state.particles if particle.confirmed}
    return DustMap(
        body_id=body.body_id,
        make=body.make,
        model=body.model,
        width=body.width,
        height=body.height,
        frames=count.frames,
        frames_stopped_down=count.stopped_down,
        first_frame_at=count.first,
        last_frame_at=count.last,
        cleanings=tuple(each.started_at for each, _ in [*earlier, (epoch, None)][1:]),
        particles=state.particles,
        before=tuple(particle for particle in before.particles if particle.confirmed),
        cleaning_noticed=epoch.how == "noticed",
        recent_frames=len(recent),
        recent_touched=sum(len(confirmed & told["seen"].keys()) >= TOUCHED_FROM for told in recent),
        frame_names=names_of(db, body.body_id, mapjson.scenes(state)),
    )
