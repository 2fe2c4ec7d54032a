"""The dust maps on disk: one SQLite file for all bodies.

Each frame is counted once, in one transaction keyed by its identity, so a crash or a restart neither loses nor doubles
it; and the maps are a fold over sidecar records, so they can be learnt again from those alone. This module keeps and
fetches; what a frame means for a particle is `dustd.dustmap`.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dustd import dustmap, evidence, mapjson
from dustd.dustmap import State
from dustd.errors import SurroundingsError
from dustd.particle import DustMap, Particle, Scene, View, view_of
from dustd.sidecar import Record

BUSY_TIMEOUT_MS = 10_000
STOPPED_DOWN = 8.0  # from this f-number dust is expected to show

# One entry per schema version, applied in order; never edit one that was released. An epoch that starts at NULL is the
# body's first. *scenes* holds the surroundings that particles still refer to, once per frame.
MIGRATIONS = (
    """
    CREATE TABLE bodies (body_id TEXT PRIMARY KEY, make TEXT, model TEXT, width INTEGER NOT NULL,
        height INTEGER NOT NULL);
    CREATE TABLE epochs (id INTEGER PRIMARY KEY, body_id TEXT NOT NULL REFERENCES bodies ON DELETE CASCADE,
        started_at TEXT);
    CREATE UNIQUE INDEX epoch_start ON epochs (body_id, coalesce(started_at, ''));
    CREATE TABLE frames (body_id TEXT NOT NULL REFERENCES bodies ON DELETE CASCADE, frame_id TEXT NOT NULL,
        epoch INTEGER NOT NULL REFERENCES epochs ON DELETE CASCADE, name TEXT NOT NULL, taken_at TEXT, f_number REAL,
        PRIMARY KEY (body_id, frame_id)) WITHOUT ROWID;
    CREATE INDEX frame_epoch ON frames (epoch);
    CREATE TABLE particles (epoch INTEGER NOT NULL REFERENCES epochs ON DELETE CASCADE, id TEXT NOT NULL,
        data TEXT NOT NULL, PRIMARY KEY (epoch, id));
    CREATE TABLE scenes (epoch INTEGER NOT NULL REFERENCES epochs ON DELETE CASCADE, frame_id TEXT NOT NULL,
        data TEXT NOT NULL, PRIMARY KEY (epoch, frame_id));
    CREATE TABLE observations (epoch INTEGER NOT NULL, particle_id TEXT NOT NULL, n INTEGER NOT NULL,
        frame_id TEXT NOT NULL, taken_at TEXT, seen INTEGER NOT NULL, log_odds REAL NOT NULL,
        PRIMARY KEY (epoch, particle_id, n),
        FOREIGN KEY (epoch, particle_id) REFERENCES particles (epoch, id) ON DELETE CASCADE) WITHOUT ROWID;
    """,
    "ALTER TABLE epochs ADD COLUMN optics TEXT; ALTER TABLE epochs ADD COLUMN cleaning TEXT",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one frame said about a particle: seen, or missed though visible; and what was believed afterwards."""

    frame_id: str
    taken_at: str | None
    seen: bool
    log_odds: float


class Store:
    """The maps of all bodies. Use as a context manager, from one thread; several processes may share the file.

    Every method raises SurroundingsError if the disk is in the way. A damaged file is renamed, not deleted.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open or create the store; ":memory:" keeps it in memory only. Older files are brought up to date."""
        file = None if str(path) == ":memory:" else Path(path)
        try:
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
            store = cls(sqlite3.connect(file or ":memory:", isolation_level=None), file)
        except (OSError, sqlite3.Error) as exc:
            raise SurroundingsError(
                f"the dust maps cannot be opened ({exc})", remedy="Make the folder writable or set map.store", path=file
            ) from exc
        try:
            with store._guarded():
                store._prepare()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the file; what was observed is already safe."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state(self, body_id: str, at: str | None = None) -> State:
        """Fetch what is known of a body in the epoch in which *at* (ISO 8601) lies; None: now."""
        with self._guarded():
            return self._load(self._epoch(body_id, at))

    def bodies(self) -> tuple[DustMap, ...]:
        """Fetch the current map of every body, by its key."""
        with self._guarded():
            rows = self._connection.execute("SELECT body_id FROM bodies ORDER BY body_id").fetchall()
            return tuple(self._map(body_id) for (body_id,) in rows)

    def body(self, body_id: str) -> DustMap | None:
        """Fetch a body's current map, None if there is none."""
        with self._guarded():
            known = self._connection.execute("SELECT 1 FROM bodies WHERE body_id = ?", (body_id,)).fetchone()
            return self._map(body_id) if known else None

    def observations(self, particle: Particle) -> tuple[Observation, ...]:
        """Fetch what each frame said about a particle, in the order in which they were counted."""
        query = "SELECT frame_id, taken_at, seen, log_odds FROM observations WHERE particle_id = ? ORDER BY epoch, n"
        with self._guarded():
            return tuple(
                Observation(frame_id=frame_id, taken_at=taken_at, seen=bool(seen), log_odds=log_odds)
                for frame_id, taken_at, seen, log_odds in self._connection.execute(query, (particle.id,))
            )

    def observe(self, record: Record) -> bool:
        """Count a frame, in one transaction.

        Returns False, and changes nothing, if it was counted before, failed, or its record lacks evidence.
        """
        with self._transaction():
            return self._count(record)

    def rebuild(self, records: Iterable[Record]) -> int:
        """Learn the maps of all bodies in *records* anew, in capture order; all or nothing. Returns the frames counted.

        The order and repetition of *records* do not matter. Declared cleanings stay: no sidecar tells of them.
        """
        ordered = sorted(records, key=capture_order)
        with self._transaction():
            for body_id in {record.camera.body_id for record in ordered}:
                self._connection.execute("DELETE FROM frames WHERE body_id = ?", (body_id,))
                for table in ("particles", "scenes"):
                    query = f"DELETE FROM {table} WHERE epoch IN (SELECT id FROM epochs WHERE body_id = ?)"
                    self._connection.execute(query, (body_id,))
                query = "UPDATE epochs SET optics = NULL, cleaning = NULL WHERE body_id = ?"
                self._connection.execute(query, (body_id,))
            return sum(self._count(record) for record in ordered)

    def cleaned(self, body_id: str, at: str) -> bool:
        """Note that a body's sensor was cleaned *at* (ISO 8601): a new epoch, the old one stays. False if unknown.

        Frames taken later that are counted already stay where they are, until a rebuild.
        """
        with self._transaction():
            known = self._connection.execute("SELECT 1 FROM bodies WHERE body_id = ?", (body_id,)).fetchone()
            if known:
                self._connection.execute(
                    "INSERT OR IGNORE INTO epochs (body_id, started_at) VALUES (?, ?)", (body_id, wall_time(at))
                )
            return known is not None

    def forget(self, body_id: str) -> bool:
        """Delete all that is known about a body, its cleanings too. False if nothing was."""
        with self._transaction():
            return self._connection.execute("DELETE FROM bodies WHERE body_id = ?", (body_id,)).rowcount > 0

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")  # a counted frame survives a power cut, as its sidecar does
        execute("PRAGMA foreign_keys = ON")
        with self._transaction():
            (version,) = execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise SurroundingsError(
                    f"the dust maps were written by a newer dustd (schema {version})",
                    remedy="Update dustd, or set map.store to another file",
                    path=self._path,
                )
            for script in MIGRATIONS[version:]:
                for statement in script.split(";"):
                    execute(statement)
            execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Do all of the block or nothing of it, alone on the file."""
        with self._guarded():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # some errors, such as a full disk, have rolled back already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn SQLite's errors into ours; put a damaged file aside."""
        try:
            yield
        except sqlite3.OperationalError as exc:
            raise SurroundingsError(
                f"the dust maps cannot be used now ({exc})",
                remedy="See that the disk is writable and not full, and that no other program holds the file",
                path=self._path,
            ) from exc
        except sqlite3.DatabaseError as exc:
            if isinstance(exc, sqlite3.IntegrityError | sqlite3.ProgrammingError):  # ours, not the disk's
                raise
            self.close()
            kept = _put_aside(self._path) if self._path is not None else None
            raise SurroundingsError(
                f"the dust maps are damaged ({exc})" + (f" and were put aside as {kept.name}" if kept else ""),
                remedy="Learn them again from the sidecars: dustd map rebuild FOLDER (then repeat: dustd map cleaned)",
                path=self._path,
            ) from exc

    def _count(self, record: Record) -> bool:
        view = _view(record)
        if view is None:
            return False
        body_id, execute = record.camera.body_id, self._connection.execute
        if execute("SELECT 1 FROM frames WHERE body_id = ? AND frame_id = ?", (body_id, view.frame_id)).fetchone():
            return False
        execute(
            "INSERT INTO bodies VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " width = max(width, excluded.width), height = max(height, excluded.height)",
            (body_id, record.camera.make, record.camera.model, record.width, record.height),
        )
        execute("INSERT OR IGNORE INTO epochs (body_id, started_at) VALUES (?, NULL)", (body_id,))
        epoch = self._epoch(body_id, view.taken_at)
        frame = (body_id, view.frame_id, epoch, record.source.name, view.taken_at, view.f_number)
        execute("INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?)", frame)
        before = self._load(epoch)
        self._save(epoch, before, dustmap.observe(before, view, record.spots), view)
        return True

    def _epoch(self, body_id: str, at: str | None) -> int | None:
        """Find the epoch in which a time lies; the current one if it is not known."""
        query = (
            "SELECT id FROM epochs WHERE body_id = ? AND (? IS NULL OR started_at IS NULL OR started_at <= ?)"
            " ORDER BY started_at DESC NULLS LAST LIMIT 1"
        )
        time = wall_time(at) if at else None
        row = self._connection.execute(query, (body_id, time, time)).fetchone()
        return row[0] if row else None

    def _load(self, epoch: int | None) -> State:
        execute = self._connection.execute
        scenes = {
            frame_id: Scene(frame_id=frame_id, evidence=evidence.from_dict(json.loads(data)))
            for frame_id, data in execute("SELECT frame_id, data FROM scenes WHERE epoch = ?", (epoch,))
        }
        rows = execute("SELECT data FROM particles WHERE epoch = ? ORDER BY id", (epoch,))
        particles = tuple(mapjson.decode_particle(json.loads(data), scenes) for (data,) in rows)
        optics, cleaning = execute("SELECT optics, cleaning FROM epochs WHERE id = ?", (epoch,)).fetchone() or (0, 0)
        if not optics:
            return State(particles=particles)
        return State(
            particles=particles,
            optics=mapjson.decode_optics(json.loads(optics)),
            cleaning=mapjson.decode_cleaning(json.loads(cleaning), scenes),
        )

    def _save(self, epoch: int | None, before: State, after: State, view: View) -> None:
        """Write what a frame changed: particles, its observations, and the scenes that are still referred to."""
        execute, executemany = self._connection.execute, self._connection.executemany
        old = {particle.id: particle for particle in before.particles}
        gone = old.keys() - {particle.id for particle in after.particles}
        changed = [particle for particle in after.particles if particle != old.get(particle.id)]
        executemany("DELETE FROM particles WHERE epoch = ? AND id = ?", [(epoch, id_) for id_ in sorted(gone)])
        executemany(
            "INSERT INTO particles VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data",
            [(epoch, particle.id, json.dumps(mapjson.encode_particle(particle))) for particle in changed],
        )
        executemany(
            "INSERT INTO observations VALUES (?, ?, ?, ?, ?, ?, ?)",
            [_observation(epoch, old.get(particle.id), particle, view) for particle in changed],
        )
        optics, cleaning = mapjson.encode_optics(after.optics), mapjson.encode_cleaning(after.cleaning)
        row = (json.dumps(optics), json.dumps(cleaning), epoch)
        execute("UPDATE epochs SET optics = ?, cleaning = ? WHERE id = ?", row)
        referred = mapjson.scenes(after).keys()
        stored = {frame_id for (frame_id,) in execute("SELECT frame_id FROM scenes WHERE epoch = ?", (epoch,))}
        unneeded = [(epoch, frame_id) for frame_id in sorted(stored - referred)]
        executemany("DELETE FROM scenes WHERE epoch = ? AND frame_id = ?", unneeded)
        if view.frame_id in referred:
            data = json.dumps(evidence.to_dict(view.evidence))
            execute("INSERT INTO scenes VALUES (?, ?, ?)", (epoch, view.frame_id, data))

    def _map(self, body_id: str) -> DustMap:
        execute = self._connection.execute
        make, model, width, height = execute(
            "SELECT make, model, width, height FROM bodies WHERE body_id = ?", (body_id,)
        ).fetchone()
        epoch = self._epoch(body_id, None)
        count, stopped_down, first, last = execute(
            "SELECT count(*), coalesce(sum(f_number >= ?), 0), min(taken_at), max(taken_at) FROM frames"
            " WHERE epoch = ?",
            (STOPPED_DOWN, epoch),
        ).fetchone()
        cleanings = execute(
            "SELECT started_at FROM epochs WHERE body_id = ? AND started_at IS NOT NULL ORDER BY 1", (body_id,)
        )
        return DustMap(
            body_id=body_id,
            make=make,
            model=model,
            width=width,
            height=height,
            frames=count,
            frames_stopped_down=stopped_down,
            first_frame_at=first,
            last_frame_at=last,
            cleanings=tuple(at for (at,) in cleanings),
            particles=self._load(epoch).particles,
        )


def wall_time(at: str) -> str:
    """Strip the UTC offset of an ISO 8601 time: what remains is what the clock showed, and sorts by it."""
    return re.sub(r"(?<=\d)(Z|[+-]\d\d:?\d\d)$", "", at) if "T" in at or " " in at else at


def capture_order(record: Record) -> tuple[str, str, str]:
    """Key that sorts records by the camera's clock, then by name; frames without a time come last."""
    taken_at = record.camera.taken_at
    return (wall_time(taken_at) if taken_at else "~", record.source.name, record.source.sha256)


def _view(record: Record) -> View | None:
    """Take from a record what the map needs; None if it has not got it."""
    data = record.evidence or {}
    if record.status == "failed" or not data.get("frame_id") or not record.width or not record.height:
        return None
    try:
        seen = evidence.from_dict(data)
    except ValueError:
        return None
    return view_of(
        record.camera,
        frame_id=data["frame_id"],
        width=record.width,
        height=record.height,
        evidence=seen,
        score=data.get("evidence_score"),
    )


def _observation(epoch: int | None, old: Particle | None, new: Particle, view: View) -> tuple[Any, ...]:
    seen = old is None or new.frames_seen > old.frames_seen
    return (epoch, new.id, new.frames_eligible, view.frame_id, view.taken_at, seen, new.log_odds)


def _put_aside(path: Path) -> Path:
    """Rename a damaged database, its journal files too, to the first free name."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        journal = path.with_name(path.name + suffix)
        if journal.exists():
            journal.rename(kept.with_name(kept.name + suffix))
    path.rename(kept)
    return kept
