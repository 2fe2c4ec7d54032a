"""Finding what cannot be read of the maps, body by body.

A server's database is never begun anew by itself, as other stations work with it; here a person has it looked at.
Nothing is changed here; `dustd.dustmap.recovery.learn` learns a damaged map again from sidecars.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from dustd.dustmap.queries import decoded_state, dust_map, inputs_after, last_state, spans_of, verdicts_of
from dustd.dustmap.schema import GarbledError, bodies, frames, states


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What cannot be read of a body's map, in words, and the ids of the frames that it has counted."""

    body_id: str
    problems: tuple[str, ...]
    frame_ids: frozenset[str]


def damage_in(db: sa.Connection) -> tuple[Damage, ...]:
    """Read all that the maps hold, and tell of those of which something cannot be read."""
    found = []
    for body_id in db.scalars(sa.select(bodies.c.body_id).order_by(bodies.c.body_id)).all():
        problems = tuple(_problems(db, body_id))
        if problems:
            known = db.scalars(sa.select(frames.c.frame_id).where(frames.c.body_id == body_id))
            found.append(Damage(body_id=body_id, problems=problems, frame_ids=frozenset(known)))
    return tuple(found)


def _problems(db: sa.Connection, body_id: str) -> Iterator[str]:
    body = db.execute(sa.select(bodies).where(bodies.c.body_id == body_id)).mappings().one()
    kept = db.scalars(sa.select(states.c.place).where(states.c.body_id == body_id)).all()
    observed = sa.select(frames.c.observed).where(frames.c.body_id == body_id)
    trials: tuple[tuple[str, Callable[[], object]], ...] = (
        ("what was believed", lambda: [decoded_state(db, body_id, place) for place in kept]),
        ("what its latest frames brought", lambda: list(inputs_after(db, body_id, body["horizon"]))),
        ("what frames said of particles", lambda: db.scalars(observed).all()),
        ("what a person rejected", lambda: verdicts_of(db, body_id)),
        ("its epochs", lambda: [last_state(db, body_id, states.c.epoch == place) for place in _epochs(db, body_id)]),
        ("its report", lambda: dust_map(db, {}, body)),
    )
    for what, trial in trials:
        try:
            trial()
        except (GarbledError, sa.exc.NoResultFound, ValueError, LookupError) as exc:
            yield f"{what} cannot be read ({exc})"


def _epochs(db: sa.Connection, body_id: str) -> list[str]:
    found = [epoch.place for epoch, _ in spans_of(db, body_id)]
    if not found:
        raise LookupError("there are none")
    return found
