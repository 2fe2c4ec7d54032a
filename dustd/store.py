"""The dust maps of all bodies, kept in SQLite, or in PostgreSQL where several stations share them.

Each frame is counted once, in one transaction keyed by its identity, so a crash or a restart neither loses nor doubles
it. It is folded where it belongs in capture order, whenever it arrives: what the latest frames brought is kept, and
states of the map between them to fold anew from. A frame older than all that counts as if taken when it arrived, until
the maps are learnt again from the sidecars. This module keeps and fetches; the line of frames is `dustd.history`, what
a frame means for a particle `dustd.dustmap`, the tables are `dustd.schema`.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dustd import __version__, evidence, history, mapjson
from dustd.dustmap import State
from dustd.errors import UsageError
from dustd.history import BEGINNING, Counted, Step
from dustd.particle import DustMap, Scene
from dustd.schema import PARTS, Database, GarbledError, bodies, dismissed, epochs, frames, scenes, states
from dustd.sidecar import Record

SCHEMA = "dustd.map"
SCHEMA_VERSION = "1.0"
STOPPED_DOWN = 8.0  # from this f-number dust is expected to show
KEPT = 192  # frames of a body that can at least be folded anew: a morning's work, some 7 kB each
STRIDE = 32  # frames between two kept states: the most that are folded anew for nothing
RECENT = 100  # frames of which the report tells how many show dust
LEFT_BY_CLEANING = 4  # particles; 2 and 4 were left on two cleaned bodies (facts §1.2)
BODIES_REMEMBERED = 8  # whose current maps stay in memory, a few MB each


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one frame said about a particle: seen, or missed though visible; and what was believed afterwards."""

    frame_id: str
    taken_at: str | None
    seen: bool
    log_odds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The time between two cleanings. *started_at* is what the clock showed, None for a body's first epoch.

    *before* counts the particles that were confirmed when the cleaning came, *seen_since* those of them that have been
    seen after it; the cleaning worked as far as these are fewer.
    """

    started_at: str | None
    how: Literal["first", "declared", "noticed"]
    frames: int
    confirmed: int
    before: int
    seen_since: int


class Store:
    """The maps of all bodies. Use as a context manager, from one thread; several processes may share the database.

    Every method raises SurroundingsError if disk or server is in the way. A damaged file is renamed, not deleted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest: dict[str, tuple[int, str, State]] = {}  # body: revision, place and state

    @classmethod
    def open(cls, where: Path | str) -> Self:
        """Open or create the store: a file, ":memory:", or postgresql+psycopg://user:password@host/database.

        Older databases are brought up to date. Raises ConfigError for a URL that cannot be used.
        """
        return cls(Database(where))

    def close(self) -> None:
        """Close the database; what was observed is already safe."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state(self, body_id: str, at: str | None = None) -> State:
        """Fetch what is known of a body in the epoch in which *at* (ISO 8601) lies; None: now."""
        with self._database.reading() as db:
            place = history.cleaning_place(at) if at else None
            epoch = _epoch(db, body_id, place)
            return (
                self._state(db, body_id, _last(db, body_id, states.c.epoch == epoch)) if epoch is not None else State()
            )

    def bodies(self) -> tuple[DustMap, ...]:
        """Fetch the current map of every body, by its key."""
        with self._database.reading() as db:
            found = db.execute(sa.select(bodies).order_by(bodies.c.body_id)).mappings().all()
            return tuple(self._map(db, body) for body in found)

    def body(self, body_id: str) -> DustMap | None:
        """Fetch a body's current map, None if there is none."""
        with self._database.reading() as db:
            body = db.execute(sa.select(bodies).where(bodies.c.body_id == body_id)).mappings().first()
            return self._map(db, body) if body else None

    def epochs(self, body_id: str) -> tuple[Epoch, ...]:
        """Fetch a body's epochs, the first one first."""
        with self._database.reading() as db:
            found, before = [], frozenset()
            for epoch, end in _spans(db, body_id):
                state = self._state(db, body_id, _last(db, body_id, states.c.epoch == epoch.place))
                confirmed = frozenset(particle.id for particle in state.particles if particle.confirmed)
                query = sa.select(frames.c.observed).where(_within(body_id, epoch.place, end))
                told = [row.observed["seen"] for row in db.execute(query)]
                found.append(
                    Epoch(
                        started_at=epoch.started_at,
                        how=epoch.how,
                        frames=len(told),
                        confirmed=len(confirmed),
                        before=len(before),
                        seen_since=len(before.intersection(*[{id_ for seen in told for id_ in seen}])),
                    )
                )
                before = confirmed
            return tuple(found)

    def observations(self, body_id: str, particle_id: str) -> tuple[Observation, ...]:
        """Fetch what each frame said about a particle, in capture order."""
        query = sa.select(frames).where(frames.c.body_id == body_id).order_by(frames.c.place)
        with self._database.reading() as db:
            return tuple(
                Observation(
                    frame_id=row.frame_id, taken_at=row.taken_at, seen=kind == "seen", log_odds=told[particle_id]
                )
                for row in db.execute(query)
                for kind, told in row.observed.items()
                if particle_id in told
            )

    def observe(self, record: Record) -> bool:
        """Count a frame, in one transaction.

        Returns False, and changes nothing, if it was counted before, failed, or its record lacks evidence.
        """
        with self._changing() as db:
            return self._count(db, record)

    def rebuild(self, records: Iterable[Record]) -> int:
        """Learn the maps of all bodies in *records* anew, in capture order; all or nothing. Returns the frames counted.

        The order and repetition of *records* do not matter. Declared and undone cleanings stay: no sidecar tells of
        them. Cleanings are noticed anew.
        """
        ordered = sorted(records, key=lambda record: (history.place_of(record), record.source.sha256))
        with self._changing() as db:
            for body_id in sorted({record.camera.body_id for record in ordered}):
                self._begin_again(db, body_id)
            return sum(self._count(db, record) for record in ordered)

    def cleaned(self, body_id: str, at: str) -> bool:
        """Note that a body's sensor was cleaned *at* (ISO 8601): a new epoch, the old one stays. False if unknown.

        Frames taken later that are counted already move to the new epoch, as far back as they can be folded anew.
        """
        place = history.cleaning_place(at)
        with self._changing() as db:
            body = _lock(db, body_id)
            if body is None:
                return False
            if not _exists(db, epochs, body_id, epochs.c.started_at == place):
                place = max(place, body.horizon + " ")  # a space sorts before whatever may follow the horizon
                row = {"body_id": body_id, "place": place, "how": "declared", "started_at": history.cleaning_place(at)}
                db.execute(epochs.insert(), row)
                self._fold_again(db, body, place)
            return True

    def undo_cleaning(self, body_id: str) -> bool:
        """Take back the last cleaning, declared or noticed: its epoch joins the one before. False if there is none.

        A cleaning once noticed and undone is not noticed again in the same frames. Frames of the undone epoch that are
        too old to be folded anew count again after a rebuild.
        """
        with self._changing() as db:
            body = _lock(db, body_id)
            *_, last = db.execute(
                sa.select(epochs).where(epochs.c.body_id == body_id).order_by(epochs.c.place)
            ).all() or [None]
            if body is None or last is None or last.how == "first":
                return False
            if last.how == "noticed":
                until = _last(db, body_id).place
                db.execute(dismissed.insert(), {"body_id": body_id, "since": last.place, "until": until})
            db.execute(epochs.delete().where(epochs.c.body_id == body_id, epochs.c.place == last.place))
            if last.place <= body.horizon:  # its first frames cannot be folded anew: go on from the horizon
                kept = _last(db, body_id)
                db.execute(states.update().where(_is(states, kept)).values(place=body.horizon))
            self._fold_again(db, body, max(last.place, body.horizon + " "))
            return True

    def forget(self, body_id: str) -> bool:
        """Delete all that is known about a body, its cleanings too. False if nothing was."""
        with self._changing() as db:
            return db.execute(bodies.delete().where(bodies.c.body_id == body_id)).rowcount > 0

    def export(self, body_id: str) -> dict[str, Any] | None:
        """Lay all that is known about a body out for JSON, its history and cleanings too; None if nothing is."""
        with self._database.reading() as db:
            body = db.execute(sa.select(bodies).where(bodies.c.body_id == body_id)).mappings().first()
            if body is None:
                return None
            parts = {}
            for table in PARTS:
                columns = [column for column in table.columns if column.name != "body_id"]
                rows = db.execute(
                    sa.select(*columns).where(table.c.body_id == body_id).order_by(*table.primary_key.columns)
                )
                parts[table.name] = [dict(row) for row in rows.mappings()]
        head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "dustd_version": __version__}
        return {**head, "body": dict(body), **parts}

    def import_(self, data: Any, *, replace: bool = False) -> str:
        """Take in a body's map as `export` laid it out. Returns the body's key.

        Raises UsageError if *data* is no such thing, or the body has a map already and *replace* is not said.
        """
        body, parts = _checked(data)
        body_id = body["body_id"]
        with self._changing() as db:
            if _exists(db, bodies, body_id):
                if not replace:
                    raise UsageError(
                        f"{body_id} has a dust map already",
                        remedy="Say --replace to put the imported one in its place; export the old one first",
                    )
                db.execute(bodies.delete().where(bodies.c.body_id == body_id))
            try:
                with db.begin_nested():
                    db.execute(bodies.insert(), body)
                    for table in PARTS:
                        if parts[table.name]:
                            db.execute(table.insert(), [{**row, "body_id": body_id} for row in parts[table.name]])
                    for row in db.execute(sa.select(states).where(states.c.body_id == body_id)):
                        self._state(db, body_id, row)
                    list(_inputs(db, body_id, BEGINNING))
            except (sa.exc.IntegrityError, sa.exc.StatementError, GarbledError) as exc:
                raise UsageError(f"it is no whole dust map ({exc})", remedy=_IMPORT_REMEDY) from exc
        return body_id

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        try:
            with self._database.changing() as db:
                yield db
        except BaseException:
            self._latest.clear()  # it may hold what was rolled back
            raise

    def _count(self, db: sa.Connection, record: Record) -> bool:
        frame = history.counted(record)
        if frame is None:
            return False
        body_id = record.camera.body_id
        body = _lock(db, body_id) or self._begin(db, record)
        if _exists(db, frames, body_id, frames.c.frame_id == frame.view.frame_id):
            return False
        size = {"width": max(body.width, record.width), "height": max(body.height, record.height)}
        db.execute(bodies.update().where(bodies.c.body_id == body_id).values(**size))
        late = frame.place <= body.horizon
        if late:
            frame, end = self._place_late(db, body, frame)
        settled = late and end is not None and end <= body.horizon
        row = {
            "body_id": body_id,
            "frame_id": frame.view.frame_id,
            "place": frame.place,
            "name": record.source.name.encode(errors="backslashreplace").decode(),
            "taken_at": record.camera.taken_at,
            "f_number": record.camera.f_number,
            "observed": {"seen": {}, "missed": {}},
            "input": None if settled else history.to_dict(frame),
        }
        db.execute(frames.insert(), row)
        scene = {"body_id": body_id, "frame_id": frame.view.frame_id, "evidence": evidence.to_dict(frame.view.evidence)}
        _insert_new(db, scenes, scene)
        if settled:
            self._fold_into_old_epoch(db, body, frame)
        else:
            self._fold_again(db, body, frame.place, frame)
        return True

    def _begin(self, db: sa.Connection, record: Record) -> Any:
        """Make room for a new body; whoever is first makes it."""
        body_id, camera = record.camera.body_id, record.camera
        size = {"width": record.width, "height": record.height, "horizon": BEGINNING, "revision": 0}
        if _insert_new(db, bodies, {"body_id": body_id, "make": camera.make, "model": camera.model, **size}):
            db.execute(epochs.insert(), {"body_id": body_id, "place": BEGINNING, "how": "first"})
            _write(db, body_id, Step(place=BEGINNING, epoch=BEGINNING, n=0, state=State()))
        return _lock(db, body_id)

    def _begin_again(self, db: sa.Connection, body_id: str) -> None:
        """Forget the frames of a body and what was learnt from them, but not what a person said."""
        if _lock(db, body_id) is None:
            return
        for table in (states, frames, scenes):
            db.execute(table.delete().where(table.c.body_id == body_id))
        db.execute(epochs.delete().where(epochs.c.body_id == body_id, epochs.c.how == "noticed"))
        declared = epochs.update().where(epochs.c.body_id == body_id, epochs.c.how == "declared")
        db.execute(declared.values(place=epochs.c.started_at))
        db.execute(bodies.update().where(bodies.c.body_id == body_id).values(horizon=BEGINNING, width=0, height=0))
        _write(db, body_id, Step(place=BEGINNING, epoch=BEGINNING, n=0, state=State()))
        self._fold_again(db, _lock(db, body_id), BEGINNING + " ")

    def _place_late(self, db: sa.Connection, body: Any, frame: Counted) -> tuple[Counted, str | None]:
        """Move a frame whose place cannot be reached any more to the end of its epoch; give that end, too."""
        epoch, end = next(span for span in _spans(db, body.body_id) if span[1] is None or frame.place < span[1])
        query = sa.select(sa.func.max(frames.c.place)).where(_within(body.body_id, epoch.place, end))
        last = db.execute(query).scalar_one() or epoch.place
        place = history.place_after(last, body.revision, frame.place)
        return dataclasses.replace(frame, place=place), end

    def _fold_into_old_epoch(self, db: sa.Connection, body: Any, frame: Counted) -> None:
        """Fold a frame that comes after all others into an epoch that is over; later epochs stay as they are."""
        row = _last(db, body.body_id, states.c.epoch == _epoch(db, body.body_id, frame.place))
        step = history.after(_step(row, self._state(db, body.body_id, row)), frame)
        step = dataclasses.replace(step, place=row.place, state=history.undecided(step.state))
        db.execute(states.delete().where(_is(states, row)))
        _write(db, body.body_id, step)
        _write_observed(db, body.body_id, [dataclasses.replace(step, place=frame.place)])
        db.execute(bodies.update().where(bodies.c.body_id == body.body_id).values(revision=body.revision + 1))

    def _fold_again(self, db: sa.Connection, body: Any, since: str, new: Counted | None = None) -> None:
        """Fold anew whatever lies at *since* and after it; all of it lies after the horizon.

        A noticed cleaning cuts the line before the frame that it came before, so that the fold begins again there.
        """
        body_id = body.body_id
        declined = [
            tuple(row)
            for row in db.execute(sa.select(dismissed.c.since, dismissed.c.until).where(dismissed.c.body_id == body_id))
        ]
        found: set[str] = set()
        while True:
            start = self._start(db, body, since, found)
            known = {new.place: new} if new else {}
            line = _inputs(db, body_id, start.place, known)
            cuts = db.scalars(
                sa.select(epochs.c.place)
                .where(epochs.c.body_id == body_id, epochs.c.place > start.place)
                .order_by(epochs.c.place)
            ).all()
            steps, cut = [], None
            for step in history.fold(start, line, cuts, declined):
                steps.append(step)
                if step.state.cleaning.noticed_at is not None:
                    cut = self._cut(db, body, step)
                    if cut is not None:
                        break
            ...
