"""Bringing the tables of older databases up to date, one version after the other.

Version 1 had a row per particle, per scene and per observation, and knew declared cleanings only. Version 2 never left
the developers' hands: it is 1 with two more columns, which are left out. What frames brought was not kept then, so the
frames of such a database cannot be folded anew. Version 3 knew no rejections. Up to version 4 no cleaned files were
known, and places were in the time that clocks showed; since then they are in UTC.
"""

import json
from collections import defaultdict
from typing import Any

import sqlalchemy as sa

from dustd.dustmap import exchange, mapjson, places
from dustd.dustmap.match import State
from dustd.dustmap.schema import PARTS, GarbledError, bodies, epochs, frames, metadata, scenes, states

_V1_TABLES = ("bodies", "epochs", "frames", "particles", "scenes", "observations")


def create(db: sa.Connection, version: int) -> None:
    """Make the tables of today in a database of an older *version*, 0 for an empty one; keep what it holds."""
    old = version in (1, 2)
    if old:
        for name in _V1_TABLES:
            db.exec_driver_sql(f"ALTER TABLE {name} RENAME TO old_{name}")
    metadata.create_all(db)
    if old:
        for body in _old(db, "SELECT * FROM old_bodies"):
            _copy_body(db, body)
        for name in reversed(_V1_TABLES):
            db.exec_driver_sql(f"DROP TABLE old_{name}")
    elif version in (3, 4):
        for body_id in db.scalars(sa.select(bodies.c.body_id)).all():
            _move_to_utc(db, body_id)


def _move_to_utc(db: sa.Connection, body_id: str) -> None:
    try:
        data = exchange.laid_out(db, body_id)
    except GarbledError:  # dustd map repair comes later
        return
    assert data is not None, "it was there a moment ago"
    body, parts = exchange.in_utc(data["body"], {table.name: data[table.name] for table in PARTS})
    db.execute(bodies.delete().where(bodies.c.body_id == body_id))
    exchange.write(db, body, parts)


def _copy_body(db: sa.Connection, body: Any) -> None:
    body_id = body["body_id"]
    db.execute(bodies.insert(), {**body, "horizon": places.BEGINNING, "revision": 0})
    spans = _old(db, "SELECT * FROM old_epochs WHERE body_id = ? ORDER BY started_at NULLS FIRST", body_id)
    starts = [places.cleaning_place(epoch["started_at"] or places.BEGINNING) for epoch in spans]
    place, n = places.BEGINNING, 0
    for epoch, start, end in zip(spans, starts, [*starts[1:], None], strict=True):
        how = "declared" if epoch["started_at"] else "first"
        row = {"body_id": body_id, "place": start, "how": how, "started_at": epoch["started_at"], "decided_at": None}
        db.execute(epochs.insert(), row)
        found = [_frame(row, start, end) for row in _old(db, "SELECT * FROM old_frames WHERE epoch = ?", epoch["id"])]
        observed = _observed(db, epoch["id"])
        for frame in found:
            db.execute(frames.insert(), {**frame, "observed": observed[frame["frame_id"]], "input": None})
        place, n = max((frame["place"] for frame in found), default=start), n + len(found)
        particles = [json.loads(row["data"]) for row in _old(db, _OF_EPOCH.format("particles"), epoch["id"])]
        row = {"body_id": body_id, "place": place, "epoch": start, "n": n}
        state = {**mapjson.encode(State()), "particles": particles}
        kept = _old(db, _OF_EPOCH.format("scenes"), epoch["id"])
        db.execute(states.insert(), {**row, "state": state, "scenes": sorted(scene["frame_id"] for scene in kept)})
        for scene in kept:
            row = {"body_id": body_id, "frame_id": scene["frame_id"], "evidence": json.loads(scene["data"])}
            db.execute(scenes.insert(), row)
    db.execute(bodies.update().where(bodies.c.body_id == body_id).values(horizon=place))


_OF_EPOCH = "SELECT * FROM old_{} WHERE epoch = ?"


def _frame(old: dict[str, Any], start: str, end: str | None) -> dict[str, Any]:
    """Place a frame inside the epoch in which it was counted, whatever its time."""
    clock = places.cleaning_place(old["taken_at"]) if old["taken_at"] else start
    if clock < start or (end is not None and clock >= end):
        clock = start
    frame = {key: old[key] for key in ("body_id", "frame_id", "name", "taken_at", "f_number")}
    return {**frame, "place": f"{clock} {old['name']}/{old['frame_id']}"}


def _observed(db: sa.Connection, epoch: int) -> dict[str, Any]:
    told: dict[str, Any] = defaultdict(lambda: {"seen": {}, "missed": {}})
    for row in _old(db, _OF_EPOCH.format("observations"), epoch):
        told[row["frame_id"]]["seen" if row["seen"] else "missed"][row["particle_id"]] = round(row["log_odds"], 3)
    return told


def _old(db: sa.Connection, query: str, *values: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in db.exec_driver_sql(query, values).mappings()]
