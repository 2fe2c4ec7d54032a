"""The dust maps of all bodies, kept in SQLite, or in PostgreSQL where several stations share them.

Each frame is counted once, in one transaction keyed by its identity, so a crash or a restart neither loses nor doubles
it. It is folded where it belongs in capture order, whenever it arrives: what the latest frames brought is kept, and
states of the map between them to fold anew from. A frame older than all that counts as if taken when it arrived, until
the maps are learnt again from the sidecars. This module keeps and fetches; the line of frames is
`dustd.dustmap.history`, what a frame means for a particle `dustd.dustmap.decide`, the tables are
`dustd.dustmap.schema`.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dustd import __version__
from dustd.dustmap import declared_cleanings, evidence, history, mapjson, rejection
from dustd.dustmap.decide import State
from dustd.dustmap.history import BEGINNING, Counted, Step
from dustd.dustmap.particle import TOUCHED_FROM, DustMap, Scene
from dustd.dustmap.rejection import Rejection, rejections_of, same_place
from dustd.dustmap.schema import (
    PARTS,
    Database,
    GarbledError,
    bodies,
    dismissed,
    epochs,
    frames,
    rejections,
    scenes,
    states,
)
from dustd.errors import SurroundingsError, UsageError
from dustd.output.sidecar import Record

SCHEMA = "dustd.map"
SCHEMA_VERSION = "1.1"
STOPPED_DOWN = 8.0  # from this f-number dust is expected to show
KEPT = 192  # frames of a body that can at least be folded anew: a morning's work, some 7 kB each
STRIDE = 32  # frames between two kept states: the most that are folded anew for nothing
NEAR = 4  # latest frames whose states are kept as well, because frames overtake each other on their way
RECENT = 100  # frames of which the report tells how many show dust
BODIES_REMEMBERED = 8  # whose current maps stay in memory, a few MB each


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

    Every method raises SurroundingsError if disk or server is in the way, DamagedError if the file is damaged: it is
    renamed, not deleted, and nothing works until `begin_anew`.
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

    @property
    def path(self) -> Path | None:
        """The database's file; None if it is in memory or on a server."""
        return self._database.path

    @property
    def damaged(self) -> bool:
        """Tell whether the file was found damaged and put aside."""
        return self._database.damaged

    def begin_anew(self) -> None:
        """Make an empty store in the place of one that was put aside."""
        self._latest.clear()
        self._database.begin_anew()

    def state(self, body_id: str, at: str | None = None) -> State:
        """Fetch what is known of a body in the epoch in which *at* (ISO 8601) lies; None: now."""
        with self._database.reading() as db:
            epoch = _epoch(db, body_id, history.latest_place_at(at) if at else None)
            return (
                self._state(db, body_id, _last(db, body_id, states.c.epoch == epoch)) if epoch is not None else State()
            )

    def epoch(self, body_id: str, at: str | None = None) -> str:
        """Name the epoch of a body in which *at* (ISO 8601) lies; None: now."""
        with self._database.reading() as db:
            return _epoch(db, body_id, history.latest_place_at(at) if at else None) or BEGINNING

    def body_ids(self) -> tuple[str, ...]:
        """Name the bodies that have a map."""
        with self._database.reading() as db:
            return tuple(db.scalars(sa.select(bodies.c.body_id).order_by(bodies.c.body_id)))

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

    def observe(self, record: Record) -> bool:
        """Count a frame, in one transaction.

        Returns False, and changes nothing, if it was counted before, failed, or its record lacks evidence. Verdicts
        of a person in the record (`judge`) are taken in even then.
        """
        with self._changing() as db:
            frame = self._enter(db, record)
            judged_from = self._judge(db, record, take_back=False)
            body = _lock(db, record.camera.body_id)
            places = [judged_from] if judged_from is not None else []
            if frame is not None and frame.place > body.horizon:
                places.append(frame.place)
            elif frame is not None:
                self._fold_into_old_epoch(db, body, frame)
                body = _lock(db, record.camera.body_id)
            if places:
                self._fold_again(db, body, min(places))
            return frame is not None

    def judge(self, record: Record) -> bool:
        """Take in a person's verdicts about a frame: the rejected spots of *record*, and of this frame no others.

        Returns False, and changes nothing, if the frame was not counted. The verdict about one that is too old to be
        folded anew counts from now on.
        """
        with self._changing() as db:
            frame_id = (record.evidence or {}).get("frame_id")
            if not _exists(db, frames, record.camera.body_id, frames.c.frame_id == frame_id):
                return False
            judged_from = self._judge(db, record, take_back=True)
            if judged_from is not None:
                self._fold_again(db, _lock(db, record.camera.body_id), judged_from)
            return True

    def rejections(self, body_id: str) -> tuple[Rejection, ...]:
        """Fetch what a person said is no dust in the frames of a body."""
        with self._database.reading() as db:
            return tuple(each for _, each in _verdicts(db, body_id))

    def rebuild(self, records: Iterable[Record]) -> int:
        """Learn the maps of all bodies in *records* anew, in capture order; all or nothing. Returns the frames counted.

        The order and repetition of *records* do not matter. Declared and undone cleanings stay, also those that only
        the note beside the maps still tells of (`dustd.dustmap.declared_cleanings`). Cleanings are noticed anew.
        """
        ordered = sorted(records, key=lambda record: (history.place_of(record), record.source.sha256))
        with self._changing() as db:
            body_ids = sorted({record.camera.body_id for record in ordered})
            for body_id in body_ids:
                self._begin_again(db, body_id)
            counted = sum(self._enter(db, record) is not None for record in ordered)
            self._declare_again(db, body_ids)
            for record in ordered:
                self._judge(db, record, take_back=False)
            for body_id in body_ids:
                body = _lock(db, body_id)
                if body is not None:
                    self._fold_again(db, body, BEGINNING + " ")
            return counted

    def cleaned(self, body_id: str, at: str) -> bool:
        """Note that a body's sensor was cleaned *at* (ISO 8601): a new epoch, the old one stays. False if unknown.

        Frames taken later that are counted already move to the new epoch, as far back as they can be folded anew.
        """
        place = history.cleaning_place(at)
        with self._changing() as db:
            body = _lock(db, body_id)
            if body is None:
                return False
            # One noticed there gives way, unless its frames are too old to be folded anew.
            stays = (epochs.c.how == "declared") | (epochs.c.place <= body.horizon)
            if not _exists(db, epochs, body_id, epochs.c.started_at == place, stays):
                place = max(place, body.horizon + " ")  # a space sorts before whatever may follow the horizon
                row = {"body_id": body_id, "place": place, "how": "declared", "started_at": history.cleaning_place(at)}
                db.execute(epochs.insert(), row)
                self._fold_again(db, body, place)
            self._note_declared(db)
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
                kept = _last(db, body_id).place
                query = states.update().where(states.c.body_id == body_id, states.c.place == kept)
                db.execute(query.values(place=body.horizon))
            self._fold_again(db, body, max(last.place, body.horizon + " "))
            self._note_declared(db)
            return True

    def forget(self, body_id: str) -> bool:
        """Delete all that is known about a body, its cleanings too. False if nothing was."""
        with self._changing() as db:
            self._latest.pop(body_id, None)
            found = db.execute(bodies.delete().where(bodies.c.body_id == body_id)).rowcount > 0
            self._note_declared(db, forgotten=body_id)
            return found

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
            self._latest.pop(body_id, None)
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
                    for place in db.scalars(sa.select(states.c.place).where(states.c.body_id == body_id)).all():
                        _decoded(db, body_id, place)
                    list(_inputs(db, body_id, body["horizon"]))
                    _verdicts(db, body_id)
            except (sa.exc.IntegrityError, sa.exc.StatementError, GarbledError) as exc:
                raise UsageError(f"it is no whole dust map ({exc})", remedy=_IMPORT_REMEDY) from exc
            self._note_declared(db)
        return body_id

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        try:
            with self._database.changing() as db:
                yield db
        except BaseException:
            self._latest.clear()  # it may hold what was rolled back
            raise

    def _enter(self, db: sa.Connection, record: Record) -> Counted | None:
        """Put a frame on its body's line; None if it is there already or is of no use to the map."""
        frame = history.counted(record)
        if frame is None:
            return None
        body_id, frame_id = record.camera.body_id, frame.view.frame_id
        body = _lock(db, body_id) or self._begin(db, record)
        if _exists(db, frames, body_id, frames.c.frame_id == frame_id):
            return None
        size = {"width": max(body.width, record.width), "height": max(body.height, record.height)}
        db.execute(bodies.update().where(bodies.c.body_id == body_id).values(**size))
        if frame.place <= body.horizon:
            frame = self._too_late(db, body, frame)
        row = {
            "body_id": body_id,
            "frame_id": frame_id,
            "place": frame.place,
            "name": record.source.name.encode(errors="backslashreplace").decode(),
            "taken_at": record.camera.taken_at,
            "f_number": record.camera.f_number,
            "observed": {"seen": {}, "missed": {}},
            "input": history.to_dict(frame) if frame.place > body.horizon else None,
        }
        db.execute(frames.insert(), row)
        seen = {key: record.evidence[key] for key in ("width", "height", "scene", "limits")}  # packed already
        _insert_new(db, scenes, {"body_id": body_id, "frame_id": frame_id, "evidence": seen})
        return frame

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
        for table in (states, frames, scenes, rejections):
            db.execute(table.delete().where(table.c.body_id == body_id))
        db.execute(epochs.delete().where(epochs.c.body_id == body_id, epochs.c.how == "noticed"))
        declared = epochs.update().where(epochs.c.body_id == body_id, epochs.c.how == "declared")
        db.execute(declared.values(place=epochs.c.started_at))
        db.execute(bodies.update().where(bodies.c.body_id == body_id).values(horizon=BEGINNING, width=0, height=0))
        _write(db, body_id, Step(place=BEGINNING, epoch=BEGINNING, n=0, state=State()))

    def _note_declared(self, db: sa.Connection, forgotten: str | None = None) -> None:
        """Write beside the maps, too, what people said of cleanings; a server's database is not ours to mend.

        What the note tells of bodies that are not known stays: they may be learnt again.
        """
        if self.path is None:
            return
        known = db.scalars(sa.select(bodies.c.body_id).order_by(bodies.c.body_id)).all()
        said = [each for each in declared_cleanings.load(self.path) if each.body_id not in (*known, forgotten)]
        for body_id in known:
            cleaned = tuple(row.started_at for row in _rows(db, epochs, body_id, epochs.c.how == "declared"))
            dismissals = tuple((row.since, row.until) for row in _rows(db, dismissed, body_id))
            if cleaned or dismissals:
                said.append(declared_cleanings.Declared(body_id=body_id, cleaned=cleaned, dismissed=dismissals))
        declared_cleanings.save(self.path, said)

    def _declare_again(self, db: sa.Connection, body_ids: Sequence[str]) -> None:
        """Repeat what the note beside the maps tells of bodies whose frames are about to be folded from the first."""
        for each in declared_cleanings.load(self.path) if self.path else ():
            if each.body_id not in body_ids or _lock(db, each.body_id) is None:
                continue
            for at in each.cleaned:
                _insert_new(db, epochs, {"body_id": each.body_id, "place": at, "how": "declared", "started_at": at})
            for since, until in each.dismissed:
                _insert_new(db, dismissed, {"body_id": each.body_id, "since": since, "until": until})

    def _judge(self, db: sa.Connection, record: Record, *, take_back: bool) -> str | None:
        """Write a frame's verdicts down, with *take_back* instead of those written before.

        Returns the place from which to fold anew, None if nothing has changed or the frame is not on the line.
        """
        counted = history.counted(record)
        if counted is None:
            return None
        body_id, frame_id = record.camera.body_id, counted.view.frame_id
        written = {row.number: row for row in _rows(db, rejections, body_id, rejections.c.frame_id == frame_id)}
        given = rejections_of(record.spots, counted.view, record.source.name)
        if not given and not (take_back and written):
            return None
        place = db.scalars(
            sa.select(frames.c.place).where(frames.c.body_id == body_id, frames.c.frame_id == frame_id)
        ).one_or_none()
        if place is None:
            return None
        with _whole():
            old = {number: rejection.from_dict(row.told) for number, row in written.items()}
        new = [each for each in given if not any(same_place(each, other) for other in old.values())]
        gone = [number for number, other in old.items() if not any(same_place(other, each) for each in given)]
        horizon = _lock(db, body_id).horizon
        if place <= horizon and _epoch(db, body_id, place) == _epoch(db, body_id, horizon):
            place = horizon + " "
        for number, each in enumerate(new, start=max(written, default=0) + 1):
            row = {"body_id": body_id, "frame_id": frame_id, "number": number, "place": place}
            db.execute(rejections.insert(), {**row, "told": rejection.to_dict(each)})
        changed = [place] * bool(new)
        if take_back and gone:
            changed += [written[number].place for number in gone]
            here = (rejections.c.body_id == body_id, rejections.c.frame_id == frame_id)
            db.execute(rejections.delete().where(*here, rejections.c.number.in_(gone)))
        return max(min(changed), horizon + " ") if changed else None

    def _too_late(self, db: sa.Connection, body: Any, frame: Counted) -> Counted:
        """Move a frame whose place is out of reach to the end of its epoch."""
        epoch, end = next(span for span in _spans(db, body.body_id) if span[1] is None or frame.place < span[1])
        query = sa.select(sa.func.max(frames.c.place)).where(_within(body.body_id, epoch.place, end))
        last = db.execute(query).scalar_one() or epoch.place
        return dataclasses.replace(frame, place=history.place_after(last, body.revision, frame.place))

    def _fold_into_old_epoch(self, db: sa.Connection, body: Any, frame: Counted) -> None:
        """Fold a frame that comes after all others into an epoch that is over; later epochs stay as they are."""
        body_id = body.body_id
        row = _last(db, body_id, states.c.epoch == _epoch(db, body_id, frame.place))
        start = Step(place=row.place, epoch=row.epoch, n=row.n, state=self._state(db, body_id, row))
        step = history.after(start, frame, _verdicts(db, body_id))
        db.execute(states.delete().where(states.c.body_id == body_id, states.c.place == row.place))
        _write(db, body_id, dataclasses.replace(step, place=row.place, state=history.undecided(step.state)))
        _write_observed(db, body_id, step)
        db.execute(bodies.update().where(bodies.c.body_id == body_id).values(revision=body.revision + 1))

    def _fold_again(self, db: sa.Connection, body: Any, since: str) -> None:
        """Fold anew whatever lies at *since* and after it, all of which lies after the horizon.

        Where a cleaning is noticed, the line is cut before the first frame after it, and folded anew from there.
        """
        body_id = body.body_id
        noticed: set[str] = set()
        declined = [(row.since, row.until) for row in _rows(db, dismissed, body_id)]
        verdicts = _verdicts(db, body_id)
        while True:
            start = self._start(db, body, since, noticed)
            cuts = [epoch.place for epoch in _rows(db, epochs, body_id, epochs.c.place > start.place)]
            line = history.fold(start, _inputs(db, body_id, start.place), cuts, declined, verdicts)
            last = _walk(db, body_id, start, line)
            if last.state.cleaning.noticed_at is None:
                break
            cut = self._cut(db, body, last)
            if cut is None:  # the line is cut there already
                declined.append((last.place, last.place))
            else:
                noticed.add(cut)
                since = min(since, cut)
        revision = body.revision + 1
        db.execute(bodies.update().where(bodies.c.body_id == body_id).values(revision=revision))
        if len(self._latest) >= BODIES_REMEMBERED:
            self._latest.clear()
        self._latest[body_id] = (revision, last.place, last.state)
        _thin(db, body_id, last.n - NEAR)
        if last.n // STRIDE > start.n // STRIDE:
            _prune(db, body_id, last.n - KEPT)

    def _start(self, db: sa.Connection, body: Any, since: str, noticed: set[str]) -> Step:
        """Go back to the last kept state before *since*, and forget what was believed after it.

        A cleaning noticed by a frame that is folded anew has to be noticed anew, except those just *noticed*.
        """
        body_id = body.body_id
        while True:
            row = _last(db, body_id, states.c.place < since)
            doubtful = [
                epoch.place
                for epoch in _rows(db, epochs, body_id, epochs.c.how == "noticed", epochs.c.place > body.horizon)
                if epoch.place not in noticed and (epoch.decided_at >= since or epoch.place > row.place)
            ]
            if not doubtful:
                break
            since = min(since, *doubtful)
            db.execute(epochs.delete().where(epochs.c.body_id == body_id, epochs.c.place.in_(doubtful)))
        start = Step(place=row.place, epoch=row.epoch, n=row.n, state=self._state(db, body_id, row))
        db.execute(states.delete().where(states.c.body_id == body_id, states.c.place > row.place))
        return start

    def _cut(self, db: sa.Connection, body: Any, step: Step) -> str | None:
        """Begin an epoch before the first frame after a noticed cleaning; None if one begins there already."""
        frame_id, taken_at = step.state.cleaning.noticed_at
        first = db.scalars(
            sa.select(frames.c.place).where(frames.c.body_id == body.body_id, frames.c.frame_id == frame_id)
        ).one_or_none()
        place = max(history.place_before(first or step.place), body.horizon + " ")
        row = {
            "body_id": body.body_id,
            "place": place,
            "how": "noticed",
            "started_at": history.wall_time(taken_at) if taken_at else place.partition(" ")[0],
            "decided_at": step.place,
        }
        return place if _insert_new(db, epochs, row) else None

    def _state(self, db: sa.Connection, body_id: str, row: Any) -> State:
        """Fetch the state of a row of `_last`, from memory if it is the latest and nobody has changed it since."""
        if self._latest.get(body_id, ())[:2] == (row.revision, row.place):
            return self._latest[body_id][2]
        return _decoded(db, body_id, row.place)

    def _map(self, db: sa.Connection, body: Any) -> DustMap:
        """Put together what the report needs of a body's current epoch."""
        *earlier, (epoch, _) = _spans(db, body.body_id)
        state = self._state(db, body.body_id, _last(db, body.body_id))
        before = State()
        if earlier:
            row = _last(db, body.body_id, states.c.epoch == earlier[-1][0].place)
            before = self._state(db, body.body_id, row)
        here = _within(body.body_id, epoch.place, None)
        stopped_down = sa.func.coalesce(sa.func.sum(sa.case((frames.c.f_number >= STOPPED_DOWN, 1), else_=0)), 0)
        count = db.execute(
            sa.select(
                sa.func.count().label("frames"),
                stopped_down.label("stopped_down"),
                sa.func.min(frames.c.taken_at).label("first"),
                sa.func.max(frames.c.taken_at).label("last"),
            ).where(here)
        ).one()
        recent = db.scalars(
            sa.select(frames.c.observed).where(here).order_by(frames.c.place.desc()).limit(RECENT)
        ).all()
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
            frame_names=_names(db, body.body_id, mapjson.scenes(state)),
        )


_IMPORT_REMEDY = "Name a file that dustd map export wrote"


def _checked(data: Any) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Take an exported map apart: its body and the rows of each table. Raises UsageError if it is none."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise UsageError("it is no exported dust map", remedy=_IMPORT_REMEDY)
    major = str(data.get("schema_version")).partition(".")[0]
    if major != SCHEMA_VERSION.partition(".")[0]:
        problem = f"it is a dust map of version {data.get('schema_version')}; this dustd reads {SCHEMA_VERSION}"
        raise UsageError(problem, remedy="Use the dustd that wrote it, or update this one")
    data = {rejections.name: [], **data}  # versions before 1.1 had none
    for table, rows in ((bodies, [data.get("body")]), *((part, data.get(part.name)) for part in PARTS)):
        if not isinstance(rows, list) or not all(_fits(row, table) for row in rows):
            raise UsageError(f"it is no whole dust map ({table.name} are garbled)", remedy=_IMPORT_REMEDY)
    return data["body"], {part.name: data[part.name] for part in PARTS}


def _fits(row: Any, table: sa.Table) -> bool:
    """Ask whether a row of an exported map has the columns of a table, with values that they can hold."""
    columns = [column for column in table.columns if column.name != "body_id" or table is bodies]
    if not isinstance(row, dict) or row.keys() != {column.name for column in columns}:
        return False
    kinds = {sa.Text: str, sa.Integer: int, sa.Float: (int, float)}
    values = [(row[column.name], kinds.get(type(column.type), object)) for column in columns]
    return all(value is None or isinstance(value, kind) for value, kind in values)


def _lock(db: sa.Connection, body_id: str) -> Any:
    """Fetch a body's row, None if it is not known, and keep other stations from changing the body meanwhile."""
    return db.execute(sa.select(bodies).where(bodies.c.body_id == body_id).with_for_update()).first()


def _insert_new(db: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    """Insert a row unless there is one with its key; say whether."""
    insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[db.dialect.name]
    query = insert(table).values(row).on_conflict_do_nothing().returning(table.c.body_id)
    return db.execute(query).first() is not None


def _exists(db: sa.Connection, table: sa.Table, body_id: str, *where: Any) -> bool:
    return db.execute(sa.select(table.c.body_id).where(table.c.body_id == body_id, *where)).first() is not None


def _rows(db: sa.Connection, table: sa.Table, body_id: str, *where: Any) -> Sequence[Any]:
    query = sa.select(table).where(table.c.body_id == body_id, *where)
    return db.execute(query.order_by(*table.primary_key.columns)).all()


def _last(db: sa.Connection, body_id: str, *where: Any) -> Any:
    """Find the latest of a body's kept states: its place, epoch and n, and the body's revision."""
    query = sa.select(states.c.place, states.c.epoch, states.c.n, bodies.c.revision).join_from(states, bodies)
    return db.execute(query.where(states.c.body_id == body_id, *where).order_by(states.c.place.desc()).limit(1)).one()


def _epoch(db: sa.Connection, body_id: str, place: str | None) -> str | None:
    """Find the epoch in which a place lies, the current one if it is not given; None if the body is not known."""
    query = sa.select(sa.func.max(epochs.c.place)).where(epochs.c.body_id == body_id)
    return db.execute(query.where(epochs.c.place <= place) if place is not None else query).scalar()


def _spans(db: sa.Connection, body_id: str) -> list[tuple[Any, str | None]]:
    """List a body's epochs, each with the place at which the next one begins."""
    found = _rows(db, epochs, body_id)
    return list(zip(found, [*(epoch.place for epoch in found[1:]), None], strict=True))


def _within(body_id: str, start: str, end: str | None) -> Any:
    """Select a body's frames from a place up to another."""
    here = sa.and_(frames.c.body_id == body_id, frames.c.place >= start)
    return here if end is None else sa.and_(here, frames.c.place < end)


def _inputs(db: sa.Connection, body_id: str, after: str) -> Iterator[Counted]:
    """Give what the frames after a place brought, in order."""
    same = sa.and_(frames.c.body_id == scenes.c.body_id, frames.c.frame_id == scenes.c.frame_id)
    query = sa.select(frames.c.place, frames.c.input, scenes.c.evidence).join_from(frames, scenes, same, isouter=True)
    query = query.where(frames.c.body_id == body_id).order_by(frames.c.place).limit(STRIDE)
    while rows := db.execute(query.where(frames.c.place > after)).all():
        for row in rows:
            with _whole():
                frame = history.from_dict(row.input, row.place, evidence.from_dict(row.evidence))
            yield frame
        after = rows[-1].place
        if len(rows) < STRIDE:
            break


def _verdicts(db: sa.Connection, body_id: str) -> list[tuple[str, Rejection]]:
    """Fetch a body's verdicts and the places from which they count, in that order."""
    query = sa.select(rejections.c.place, rejections.c.told).where(rejections.c.body_id == body_id)
    with _whole():
        return [(row.place, rejection.from_dict(row.told)) for row in db.execute(query.order_by(rejections.c.place))]


def _decoded(db: sa.Connection, body_id: str, place: str) -> State:
    """Fetch the state kept at a place."""
    query = sa.select(states.c.state, states.c.scenes)
    row = db.execute(query.where(states.c.body_id == body_id, states.c.place == place)).one()
    with _whole():
        if row.state["schema_version"] > mapjson.SCHEMA_VERSION:
            raise SurroundingsError(f"the map of {body_id} was written by a newer dustd", remedy="Update this dustd")
        return mapjson.decode(row.state, _scenes(db, body_id, row.scenes))


def _scenes(db: sa.Connection, body_id: str, frame_ids: Sequence[str]) -> dict[str, Scene]:
    query = sa.select(scenes.c.frame_id, scenes.c.evidence).where(scenes.c.body_id == body_id)
    found = db.execute(query.where(scenes.c.frame_id.in_(frame_ids))).all()
    return {row.frame_id: Scene(frame_id=row.frame_id, evidence=evidence.from_dict(row.evidence)) for row in found}


def _names(db: sa.Connection, body_id: str, frame_ids: Iterable[str]) -> dict[str, str]:
    query = sa.select(frames.c.frame_id, frames.c.name).where(frames.c.body_id == body_id)
    return {row.frame_id: row.name for row in db.execute(query.where(frames.c.frame_id.in_(list(frame_ids))))}


def _walk(db: sa.Connection, body_id: str, start: Step, line: Iterable[Step]) -> Step:
    """Write down what is folded on from *start*, which is kept: the last state of each epoch and one in every STRIDE.

    Returns the last step, which is written as well unless a cleaning was noticed there.
    """
    step = start
    for following in line:
        if following.epoch != step.epoch and step is not start and not _is_kept(step):
            _write(db, body_id, step)
        step = following
        _write_observed(db, body_id, step)
        if step.state.cleaning.noticed_at is not None:
            return step
        if _is_kept(step):
            _write(db, body_id, step)
    if step is not start and not _is_kept(step):
        _write(db, body_id, step)
    return step


def _is_kept(step: Step) -> bool:
    return step.place == step.epoch or step.n % STRIDE == 0


def _write(db: sa.Connection, body_id: str, step: Step) -> None:
    row = {"body_id": body_id, "place": step.place, "epoch": step.epoch, "n": step.n}
    data = {"state": mapjson.encode(step.state), "scenes": sorted(mapjson.scenes(step.state))}
    db.execute(states.insert(), {**row, **data})


def _write_observed(db: sa.Connection, body_id: str, step: Step) -> None:
    """Note what a frame said about the particles; a cleaning says nothing."""
    if step.place != step.epoch:
        here = frames.update().where(frames.c.body_id == body_id, frames.c.place == step.place)
        db.execute(here.values(observed={"seen": step.seen, "missed": step.missed}))


def _thin(db: sa.Connection, body_id: str, n: int) -> None:
    """Let go of the states up to the *n*-th frame that are none to keep."""
    here = states.c.body_id == body_id
    ends = sa.select(sa.func.max(states.c.place)).where(here).group_by(states.c.epoch)
    passing = (states.c.n <= n, states.c.n % STRIDE != 0, states.c.place != states.c.epoch, states.c.place.not_in(ends))
    horizon = sa.select(bodies.c.horizon).where(bodies.c.body_id == body_id).scalar_subquery()
    db.execute(states.delete().where(here, *passing, states.c.place > horizon))


def _prune(db: sa.Connection, body_id: str, n: int) -> None:
    """Let go of what is needed only to fold anew the frames up to the *n*-th of the line."""
    here = states.c.body_id == body_id
    query = sa.select(sa.func.max(states.c.place)).where(here, states.c.n <= n)
    horizon = db.execute(query).scalar()
    if horizon is None:
        return
    ends = sa.select(sa.func.max(states.c.place)).where(here).group_by(states.c.epoch)
    db.execute(states.delete().where(here, states.c.place < horizon, states.c.place.not_in(ends)))
    db.execute(frames.update().where(frames.c.body_id == body_id, frames.c.place <= horizon).values(input=None))
    db.execute(bodies.update().where(bodies.c.body_id == body_id).values(horizon=horizon))
    needed = {frame_id for row in db.scalars(sa.select(states.c.scenes).where(here)) for frame_id in row}
    needed.update(db.scalars(sa.select(frames.c.frame_id).where(frames.c.body_id == body_id, frames.c.place > horizon)))
    kept = db.scalars(sa.select(scenes.c.frame_id).where(scenes.c.body_id == body_id)).all()
    unneeded = [frame_id for frame_id in kept if frame_id not in needed]
    db.execute(scenes.delete().where(scenes.c.body_id == body_id, scenes.c.frame_id.in_(unneeded)))


@contextmanager
def _whole() -> Iterator[None]:
    """Say that what cannot be read back is garbled."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise GarbledError(f"what the database holds is no dust map: {exc}") from exc
