"""A body's map as JSON, to carry it to another store: laid out, checked and taken in, whole or not at all."""

import datetime
from typing import Any

import sqlalchemy as sa

from dustd import __version__
from dustd.dustmap import places
from dustd.dustmap.queries import decoded_state, inputs_after, verdicts_of
from dustd.dustmap.schema import (
    PARTS,
    GarbledError,
    bodies,
    rejections,
    states,
)
from dustd.errors import UsageError

SCHEMA = "dustd.map"
SCHEMA_VERSION = "1.2"  # 1.1: rejections; 1.2: places in UTC
_IN_WALL_TIME = ("1.0", "1.1")
_PLACES = ("place", "epoch", "decided_at", "since", "until", "horizon")  # columns that hold places

Parts = dict[str, list[dict[str, Any]]]
IMPORT_REMEDY = "Name a file that dustd map export wrote"


def checked(data: Any) -> tuple[dict[str, Any], Parts]:
    """Take an exported map apart: its body and the rows of each table. Raises UsageError if it is none."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise UsageError("it is no exported dust map", remedy=IMPORT_REMEDY)
    major = str(data.get("schema_version")).partition(".")[0]
    if major != SCHEMA_VERSION.partition(".")[0]:
        problem = f"it is a dust map of version {data.get('schema_version')}; this dustd reads {SCHEMA_VERSION}"
        raise UsageError(problem, remedy="Use the dustd that wrote it, or update this one")
    data = {rejections.name: [], **data}  # versions before 1.1 had none
    body, *_ = _rows([data.get("body")], bodies)
    parts = {part.name: _rows(data.get(part.name), part) for part in PARTS}
    return (body, parts) if data.get("schema_version") not in _IN_WALL_TIME else in_utc(body, parts)


def in_utc(body: dict[str, Any], parts: Parts) -> tuple[dict[str, Any], Parts]:
    """Turn what dustd wrote while places were in the time that clocks showed, as if all had run in this zone."""
    offset = datetime.datetime.now().astimezone().utcoffset() or datetime.timedelta(0)

    def shifted(row: dict[str, Any]) -> dict[str, Any]:
        return {
            key: places.earlier_by(value, offset) if key in _PLACES and isinstance(value, str) else value
            for key, value in row.items()
        }

    return shifted(body), {name: [shifted(row) for row in rows] for name, rows in parts.items()}


def _rows(rows: Any, table: sa.Table) -> list[dict[str, Any]]:
    """Take rows of an exported map that have the columns of a table, with values that they can hold, and no others.

    What a later dustd wrote besides is passed over. Raise UsageError on anything else.
    """
    columns = [column for column in table.columns if column.name != "body_id" or table is bodies]
    kinds: dict[type, Any] = {sa.Text: str, sa.Integer: int, sa.Float: (int, float)}
    expected = {column.name: kinds.get(type(column.type), object) for column in columns}
    if not isinstance(rows, list) or not all(_fits(row, expected) for row in rows):
        raise UsageError(f"it is no whole dust map ({table.name} are garbled)", remedy=IMPORT_REMEDY)
    return [{name: row[name] for name in expected} for row in rows]


def _fits(row: Any, expected: dict[str, Any]) -> bool:
    if not isinstance(row, dict) or not row.keys() >= expected.keys():
        return False
    return all(row[name] is None or isinstance(row[name], kind) for name, kind in expected.items())


def laid_out(db: sa.Connection, body_id: str) -> dict[str, Any] | None:
    """Lay all that is known about a body out for JSON; None if nothing is."""
    body = db.execute(sa.select(bodies).where(bodies.c.body_id == body_id)).mappings().first()
    if body is None:
        return None
    parts = {}
    for table in PARTS:
        columns = [column for column in table.columns if column.name != "body_id"]
        rows = db.execute(sa.select(*columns).where(table.c.body_id == body_id).order_by(*table.primary_key.columns))
        parts[table.name] = [dict(row) for row in rows.mappings()]
    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "dustd_version": __version__}
    return {**head, "body": dict(body), **parts}


def take_in(db: sa.Connection, body: dict[str, Any], parts: Parts) -> None:
    """Write what `checked` found into the tables, and read it back. Raises UsageError if it is no whole map."""
    body_id = body["body_id"]
    try:
        with db.begin_nested():
            write(db, body, parts)
            for place in db.scalars(sa.select(states.c.place).where(states.c.body_id == body_id)).all():
                decoded_state(db, body_id, place)
            list(inputs_after(db, body_id, body["horizon"]))
            verdicts_of(db, body_id)
    except (sa.exc.IntegrityError, sa.exc.StatementError, GarbledError) as exc:
        raise UsageError(f"it is no whole dust map ({exc})", remedy=IMPORT_REMEDY) from exc


def write(db: sa.Connection, body: dict[str, Any], parts: Parts) -> None:
    """Write a body's rows into the tables, where there are none of it."""
    db.execute(bodies.insert(), body)
    for table in PARTS:
        if parts[table.name]:
            db.execute(table.insert(), [{**row, "body_id": body["body_id"]} for row in parts[table.name]])
