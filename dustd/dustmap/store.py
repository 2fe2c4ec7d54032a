"""The dust maps of all bodies, kept in SQLite, or in PostgreSQL where several stations share them.

Each frame is counted once, in one transaction keyed by its identity, so a crash or a restart neither loses nor doubles
it. It is folded where it belongs in capture order, whenever it arrives (`folding`); a frame too old for that counts as
if taken when it arrived, until the maps are learnt again from the sidecars. This module offers what other rooms ask
for, each in one transaction; the line of frames is `history`, what a frame means for a particle `update`, what is asked
of the tables `queries`, maps as JSON `exchange`, the tables are `schema`.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa

from dustd.dustmap import declared_cleanings as declared
from dustd.dustmap import places
from dustd.dustmap.exchange import checked, laid_out, take_in
from dustd.dustmap.folding import begin_again, enter, fold_again, fold_into_old_epoch, judge_frame, note_cleaned
from dustd.dustmap.match import State
from dustd.dustmap.particle import DustMap
from dustd.dustmap.places import BEGINNING, Cut, Reading
from dustd.dustmap.queries import (
    Latest,
    cuts_of,
    dust_map,
    epoch_at,
    exists,
    insert_new,
    last_state,
    lock_body,
    rows_of,
    settled_place,
    shown_before,
    spans_of,
    state_at,
    verdicts_of,
    within,
)
from dustd.dustmap.rejection import Rejection
from dustd.dustmap.schema import (
    Database,
    bodies,
    cleaned,
    dismissed,
    epochs,
    frames,
    states,
)
from dustd.errors import UsageError
from dustd.output.sidecar import Record
from dustd.raw.body_id import NO_BODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The time between two cleanings. *started_at* is when, None for a body's first epoch.

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
        self._latest: Latest = {}  # body: revision, place and state

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

    @property
    def lacks_frames(self) -> bool:
        """Tell whether a file was put aside here and not all that it knew has been learnt again."""
        return self._database.lacks_frames

    def lacks_none(self) -> None:
        """Note that all that a file put aside knew has been learnt again."""
        self._database.lacks_none()

    def begin_anew(self) -> None:
        """Make an empty store in the place of one that was put aside."""
        self._latest.clear()
        self._database.begin_anew()

    def state(self, body_id: str, at: str | Reading | None = None) -> State:
        """Fetch what is known of a body in the epoch in which *at* (ISO 8601, or a frame) lies; None: now."""
        with self._database.reading() as db:
            epoch = epoch_at(db, body_id, _place_at(db, body_id, at))
            return (
                state_at(db, self._latest, body_id, last_state(db, body_id, states.c.epoch == epoch))
                if epoch is not None
                else State()
            )

    def epoch(self, body_id: str, at: str | Reading | None = None) -> str:
        """Name the epoch of a body in which *at* (ISO 8601, or a frame) lies; None: now."""
        with self._database.reading() as db:
            return epoch_at(db, body_id, _place_at(db, body_id, at)) or BEGINNING

    def body_ids(self) -> tuple[str, ...]:
        """Name the bodies that have a map."""
        with self._database.reading() as db:
            return tuple(db.scalars(sa.select(bodies.c.body_id).order_by(bodies.c.body_id)))

    def bodies(self) -> tuple[DustMap, ...]:
        """Fetch the current map of every body, by its key."""
        with self._database.reading() as db:
            found = db.execute(sa.select(bodies).order_by(bodies.c.body_id)).mappings().all()
            return tuple(dust_map(db, self._latest, body) for body in found)

    def body(self, body_id: str) -> DustMap | None:
        """Fetch a body's current map, None if there is none."""
        with self._database.reading() as db:
            body = db.execute(sa.select(bodies).where(bodies.c.body_id == body_id)).mappings().first()
            return dust_map(db, self._latest, body) if body else None

    def epochs(self, body_id: str) -> tuple[Epoch, ...]:
        """Fetch a body's epochs, the first one first."""
        with self._database.reading() as db:
            found: list[Epoch] = []
            before: frozenset[str] = frozenset()
            for epoch, end in spans_of(db, body_id):
                state = state_at(db, self._latest, body_id, last_state(db, body_id, states.c.epoch == epoch.place))
                confirmed = frozenset(particle.id for particle in state.particles if particle.confirmed)
                query = sa.select(frames.c.observed).where(within(body_id, epoch.place, end))
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
        return self.count(record.camera.body_id, [(record, None)]) == 1

    def count(self, body_id: str, line: Iterable[tuple[Record, str | None]]) -> int:
        """Count frames of one body in one transaction, each at a place (`places`), None: where its clocks say.

        Returns how many were counted now. What is said of `observe` holds for each.
        """
        counted, changed = 0, []
        with self._changing() as db:
            is_new = lock_body(db, body_id) is None
            for record, place in line:
                frame = enter(db, record, place)
                judged_from = judge_frame(db, record, take_back=False)
                if judged_from is not None:
                    changed.append(judged_from)
                if frame is None:
                    continue
                counted += 1
                body = lock_body(db, body_id)
                if frame.place > body.horizon:
                    changed.append(frame.place)
                else:
                    fold_into_old_epoch(db, self._latest, body, frame)
            if is_new:  # a person may have spoken of it before its map was lost
                self._declare_again(db, body_id)
            if changed:
                fold_again(db, self._latest, lock_body(db, body_id), min(changed))
        return counted

    def judge(self, record: Record) -> bool:
        """Take in a person's verdicts about a frame: the rejected spots of *record*, and of this frame no others.

        Returns False, and changes nothing, if the frame was not counted. The verdict about one that is too old to be
        folded anew counts from now on.
        """
        with self._changing() as db:
            frame_id = (record.evidence or {}).get("frame_id")
            if not exists(db, frames, record.camera.body_id, frames.c.frame_id == frame_id):
                return False
            note_cleaned(db, record)
            judged_from = judge_frame(db, record, take_back=True)
            if judged_from is not None:
                fold_again(db, self._latest, lock_body(db, record.camera.body_id), judged_from)
            return True

    def is_cleaned(self, body_id: str, frame_id: str) -> bool:
        """Tell whether samples of this identity are those of a cleaned file of dustd's, and no exposure."""
        with self._database.reading() as db:
            return exists(db, cleaned, body_id, cleaned.c.frame_id == frame_id)

    def rejections(self, body_id: str) -> tuple[Rejection, ...]:
        """Fetch what a person said is no dust in the frames of a body."""
        with self._database.reading() as db:
            return tuple(each for _, each in verdicts_of(db, body_id))

    def places(self, body_id: str, readings: Sequence[Reading], *, anew: bool = False) -> tuple[str, ...]:
        """Say where frames belong on their body's line that are about to be counted together.

        *anew*: in the place of all that are known. Bodies that are not known have the cleanings that the note beside
        the maps tells of.
        """
        with self._database.reading() as db:
            known = exists(db, bodies, body_id)
            cuts = cuts_of(db, body_id) if known else self._noted_cuts(body_id)
            if anew:
                cuts = sorted((replace(cut, place=cut.began) for cut in cuts), key=lambda cut: cut.place)

            @functools.cache
            def before(cut: Cut) -> str | None:
                here = [places.clock_of(each.place) for each in readings if (each.read_at or each.place) < cut.began]
                there = shown_before(db, body_id, cut) if known and not anew else None
                return max(filter(None, [*here, there]), default=None)

            return tuple(places.settled(reading, cuts, before) for reading in readings)

    def rebuild(self, records: Iterable[Record]) -> int:
        """Learn the maps of all bodies in *records* anew, each as `replace` does. Returns the frames counted.

        The order and repetition of *records* do not matter. Frames of no known body are left out.
        """
        of_bodies: dict[str, list[Record]] = {}
        for record in records:
            if record.camera.body_id != NO_BODY:
                of_bodies.setdefault(record.camera.body_id, []).append(record)
        counted = 0
        for body_id, of_body in sorted(of_bodies.items()):
            found = self.places(body_id, [places.reading_of(record) for record in of_body], anew=True)
            line = sorted(zip(of_body, found, strict=True), key=lambda pair: (pair[1], pair[0].source.sha256))
            counted += self.replace(body_id, line)
        return counted

    def replace(self, body_id: str, line: Iterable[tuple[Record, str]]) -> int:
        """Learn a body's map anew from frames and their places, in order; all or nothing. Returns the frames counted.

        Declared and undone cleanings stay, also those that only the note beside the maps still tells of
        (`dustd.dustmap.declared_cleanings`). Cleanings are noticed anew.
        """
        with self._changing() as db:
            begin_again(db, body_id)
            counted = 0
            for record, place in line:
                counted += enter(db, record, place) is not None
                judge_frame(db, record, take_back=False)
            self._declare_again(db, body_id)
            body = lock_body(db, body_id)
            if body is not None:
                fold_again(db, self._latest, body, BEGINNING + " ")
            return counted

    def cleaned(self, body_id: str, at: str, *, after_all: bool = False) -> bool:
        """Note that a body's sensor was cleaned *at* (ISO 8601): a new epoch, the old one stays. False if unknown.

        Frames taken later that are counted already move to the new epoch, as far back as they can be folded anew; with
        *after_all* none was taken later, whatever the camera's clock showed.
        """
        place = places.cleaning_place(at)
        with self._changing() as db:
            body = lock_body(db, body_id)
            if body is None:
                return False
            # One noticed there gives way, unless its frames are too old to be folded anew.
            stays = (epochs.c.how == "declared") | (epochs.c.place <= body.horizon)
            if not exists(db, epochs, body_id, epochs.c.started_at == at, stays):
                # A space sorts before whatever may follow the horizon, or the last frame.
                place = max(place, body.horizon + " ")
                if after_all:
                    last = db.scalar(sa.select(sa.func.max(frames.c.place)).where(frames.c.body_id == body_id))
                    place = max(place, (last or BEGINNING) + " ")
                told = {"how": "declared", "started_at": at, "decided_at": places.utc(at) if after_all else None}
                if not insert_new(db, epochs, {"body_id": body_id, "place": place, **told}):
                    # No frame lies between it and one known already.
                    here = (epochs.c.body_id == body_id, epochs.c.place == place)
                    db.execute(epochs.update().where(*here).values(**told))
                fold_again(db, self._latest, body, place)
            self._note_declared(db)
            return True

    def undo_cleaning(self, body_id: str) -> bool:
        """Take back the last cleaning, declared or noticed: its epoch joins the one before. False if there is none.

        A cleaning once noticed and undone is not noticed again in the same frames. Frames of the undone epoch that are
        too old to be folded anew count again after a rebuild.
        """
        with self._changing() as db:
            body = lock_body(db, body_id)
            query = sa.select(epochs).where(epochs.c.body_id == body_id).order_by(epochs.c.place.desc())
            last = db.execute(query).first()
            if body is None or last is None or last.how == "first":
                return False
            if last.how == "noticed":
                until = last_state(db, body_id).place
                db.execute(dismissed.insert(), {"body_id": body_id, "since": last.place, "until": until})
            db.execute(epochs.delete().where(epochs.c.body_id == body_id, epochs.c.place == last.place))
            if last.place <= body.horizon:  # its first frames cannot be folded anew: go on from the horizon
                kept = last_state(db, body_id).place
                moved = states.update().where(states.c.body_id == body_id, states.c.place == kept)
                db.execute(moved.values(place=body.horizon))
            fold_again(db, self._latest, body, max(last.place, body.horizon + " "))
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
            return laid_out(db, body_id)

    def import_(self, data: Any, *, replace: bool = False) -> str:
        """Take in a body's map as `export` laid it out. Returns the body's key.

        Raises UsageError if *data* is no such thing, or the body has a map already and *replace* is not said.
        """
        body, parts = checked(data)
        body_id = body["body_id"]
        with self._changing() as db:
            self._latest.pop(body_id, None)
            if exists(db, bodies, body_id):
                if not replace:
                    raise UsageError(
                        f"{body_id} has a dust map already",
                        remedy="Say --replace to put the imported one in its place; export the old one first",
                    )
                db.execute(bodies.delete().where(bodies.c.body_id == body_id))
            take_in(db, body, parts)
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

    def _note_declared(self, db: sa.Connection, forgotten: str | None = None) -> None:
        """Write beside the maps, too, what people said of cleanings; a server's database is not ours to mend.

        What the note tells of bodies that are not known stays: they may be learnt again.
        """
        if self.path is None:
            return
        known = db.scalars(sa.select(bodies.c.body_id).order_by(bodies.c.body_id)).all()
        said = [each for each in declared.load(self.path) if each.body_id not in (*known, forgotten)]
        for body_id in known:
            told = rows_of(db, epochs, body_id, epochs.c.how == "declared")
            cleaned = tuple(row.started_at for row in told)
            at_once = tuple(row.started_at for row in told if row.decided_at is not None)
            dismissals = tuple((row.since, row.until) for row in rows_of(db, dismissed, body_id))
            if cleaned or dismissals:
                note = declared.Declared(body_id=body_id, cleaned=cleaned, dismissed=dismissals, at_once=at_once)
                said.append(note)
        declared.save(self.path, said)

    def _declare_again(self, db: sa.Connection, body_id: str) -> None:
        """Repeat what the note beside the maps tells of a body whose frames are about to be folded from the first."""
        if lock_body(db, body_id) is None:
            return
        for each in self._noted(body_id):
            for at in each.cleaned:
                place = places.cleaning_place(at)
                told = {"how": "declared", "started_at": at, "decided_at": place if at in each.at_once else None}
                insert_new(db, epochs, {"body_id": body_id, "place": place, **told})
            for since, until in each.dismissed:
                insert_new(db, dismissed, {"body_id": body_id, "since": since, "until": until})

    def _noted(self, body_id: str) -> list[declared.Declared]:
        return [each for each in declared.load(self.path) if each.body_id == body_id] if self.path else []

    def _noted_cuts(self, body_id: str) -> list[Cut]:
        cleaned = sorted(places.cleaning_place(at) for each in self._noted(body_id) for at in each.at_once)
        return [Cut(place=place, began=place) for place in cleaned]


def _place_at(db: sa.Connection, body_id: str, at: str | Reading | None) -> str | None:
    """Say which place a time or a frame means."""
    if isinstance(at, Reading):
        return settled_place(db, body_id, at)
    return places.latest_place_at(at) if at else None
