"""Beginning and ending epochs by what people say: cleanings declared, cleanings taken back, and the note of both.

Every function works inside a transaction of `dustd.dustmap.store`. A cleaning is of the sensor, so of all maps of a
body (`dustd.dustmap.pixels`).
"""

from pathlib import Path

import sqlalchemy as sa

from dustd.dustmap import declared_cleanings as declared
from dustd.dustmap import places
from dustd.dustmap.folding import fold_again
from dustd.dustmap.places import BEGINNING, Cut
from dustd.dustmap.queries import Latest, exists, insert_new, last_state, lock_body, maps_of, rows_of
from dustd.dustmap.schema import bodies, dismissed, epochs, frames, states


def declare(db: sa.Connection, latest: Latest, body_id: str, at: str, *, after_all: bool) -> None:
    """Begin an epoch of each map of a body; *after_all*: no frame known was taken later, whatever its clock showed."""
    names = maps_of(db, body_id)
    last = sa.select(sa.func.max(frames.c.place)).where(frames.c.body_id.in_(names))
    # A space sorts before whatever may follow a frame.
    place = max(places.cleaning_place(at), (db.scalar(last) or BEGINNING) + " " if after_all else BEGINNING)
    for name in names:
        body = lock_body(db, name)
        # One noticed there gives way, unless its frames are too old to be folded anew.
        stays = (epochs.c.how == "declared") | (epochs.c.place <= body.horizon)
        if exists(db, epochs, name, epochs.c.started_at == at, stays):
            continue
        here = max(place, body.horizon + " ")
        told = {"how": "declared", "started_at": at, "decided_at": places.utc(at) if after_all else None}
        if not insert_new(db, epochs, {"body_id": name, "place": here, **told}):
            # No frame lies between it and one known already.
            there = (epochs.c.body_id == name, epochs.c.place == here)
            db.execute(epochs.update().where(*there).values(**told))
        fold_again(db, latest, body, here)


def take_back(db: sa.Connection, latest: Latest, body_id: str) -> bool:
    """Take back the last cleaning of a map; of one declared, on the body's other maps, too. False if there is none."""
    last = _last(db, body_id)
    if last is None or last.how == "first":
        return False
    for name in maps_of(db, body_id) if last.how == "declared" else [body_id]:
        each = _last(db, name)
        if each is not None and (each.how, each.started_at) == (last.how, last.started_at):
            _join(db, latest, name, each)
    return True


def note(db: sa.Connection, store: Path | None, forgotten: str | None = None) -> None:
    """Write beside the maps, too, what people said of cleanings; a server's database is not ours to mend.

    What the note tells of bodies that are not known stays: they may be learnt again.
    """
    if store is None:
        return
    known = db.scalars(sa.select(bodies.c.body_id).order_by(bodies.c.body_id)).all()
    said = [each for each in declared.load(store) if each.body_id not in (*known, forgotten)]
    for body_id in known:
        told = rows_of(db, epochs, body_id, epochs.c.how == "declared")
        cleaned = tuple(row.started_at for row in told)
        at_once = tuple(row.started_at for row in told if row.decided_at is not None)
        dismissals = tuple((row.since, row.until) for row in rows_of(db, dismissed, body_id))
        if cleaned or dismissals:
            said.append(declared.Declared(body_id=body_id, cleaned=cleaned, dismissed=dismissals, at_once=at_once))
    declared.save(store, said)


def repeat(db: sa.Connection, store: Path | None, body_id: str) -> None:
    """Say again, of a map whose frames are about to be folded from the first, what was said of cleanings.

    That is what the note beside the maps tells, and the cleanings of the body's other maps.
    """
    if lock_body(db, body_id) is None:
        return
    for each in _noted(store, body_id):
        for at in each.cleaned:
            place = places.cleaning_place(at)
            told = {"how": "declared", "started_at": at, "decided_at": place if at in each.at_once else None}
            insert_new(db, epochs, {"body_id": body_id, "place": place, **told})
        for since, until in each.dismissed:
            insert_new(db, dismissed, {"body_id": body_id, "since": since, "until": until})
    for other in maps_of(db, body_id):
        for row in rows_of(db, epochs, other, epochs.c.how == "declared") if other != body_id else ():
            if not exists(db, epochs, body_id, epochs.c.started_at == row.started_at):
                insert_new(db, epochs, {**row._mapping, "body_id": body_id})


def noted_cuts(store: Path | None, body_id: str) -> list[Cut]:
    """List the cleanings of a body that the note tells of as told at once, in order."""
    cleaned = sorted(places.cleaning_place(at) for each in _noted(store, body_id) for at in each.at_once)
    return [Cut(place=place, began=place) for place in cleaned]


def _noted(store: Path | None, body_id: str) -> list[declared.Declared]:
    return [each for each in declared.load(store) if each.body_id == body_id] if store else []


def _last(db: sa.Connection, body_id: str) -> "sa.Row[tuple[object, ...]] | None":
    return db.execute(sa.select(epochs).where(epochs.c.body_id == body_id).order_by(epochs.c.place.desc())).first()


def _join(db: sa.Connection, latest: Latest, body_id: str, last: "sa.Row[tuple[object, ...]]") -> None:
    """Join a map's last epoch to the one before."""
    body = lock_body(db, body_id)
    if last.how == "noticed":
        until = last_state(db, body_id).place
        db.execute(dismissed.insert(), {"body_id": body_id, "since": last.place, "until": until})
    db.execute(epochs.delete().where(epochs.c.body_id == body_id, epochs.c.place == last.place))
    if last.place <= body.horizon:  # its first frames cannot be folded anew: go on from the horizon
        kept = last_state(db, body_id).place
        moved = states.update().where(states.c.body_id == body_id, states.c.place == kept)
        db.execute(moved.values(place=body.horizon))
    fold_again(db, latest, body, max(last.place, body.horizon + " "))
