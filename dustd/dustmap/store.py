"""The dust maps of all bodies, kept in SQLite, or in PostgreSQL where several stations share them.

Each frame is counted once, in one transaction keyed by its identity, so a crash or a restart neither loses nor doubles
it. It is folded where it belongs in capture order, whenever it arrives (`folding`); a frame too old for that counts as
if taken when it arrived, until the maps are learnt again from the sidecars. Each method is one transaction; the line of
frames is `history`, what a frame means for a particle `update`, the rest `queries`, `exchange` (JSON) and `schema`.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa

from dustd.dustmap import places
from dustd.dustmap.epochs import declare, note, noted_cuts, repeat, take_back
from dustd.dustmap.exchange import checked, laid_out, take_in
from dustd.dustmap.folding import begin_again, enter, fold_again, fold_into_old_epoch, note_cleaned, take_in_words
from dustd.dustmap.lost import Lost
from dustd.dustmap.match import State
from dustd.dustmap.particle import DustMap
from dustd.dustmap.pixels import Pixels, body_of, map_for, pixels_in
from dustd.dustmap.places import BEGINNING, Cut, Reading
from dustd.dustmap.queries import (
    Latest,
    cuts_of,
    dust_map,
    epoch_at,
    exists,
    last_state,
    lock_body,
    maps_of,
    settled_place,
    shown_before,
    sizes_of,
    spans_of,
    state_at,
    verdicts_of,
    within,
)
from dustd.dustmap.rejection import Rejection
from dustd.dustmap.repair import Damage, damage_in
from dustd.dustmap.schema import Database, bodies, cleaned, frames, states
from dustd.errors import UsageError
from dustd.output.sidecar import Record
from dustd.raw.body_id import NO_BODY
from dustd.raw.frame import Camera


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
        self.lost = Lost(database.path)  # frames of a file that was put aside, until they are learnt again
        self._latest: Latest = {}  # body: revision, place and state

    @classmethod
    def open(cls, where: Path | str, *, wait: bool = False) -> Self:
        """Open or create the store: a file, ":memory:", or postgresql+psycopg://user:password@host/database.

        Older databases are brought up to date. Raises ConfigError for a URL that cannot be used. With *wait*, what is
        in the way is told by whatever uses the store until it can be reached.
        """
        return cls(Database(where, wait=wait))

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
    def away(self) -> bool:
        """Tell whether it could not be reached yet since it was opened."""
        return self._database.away

    def begin_anew(self) -> None:
        """Make an empty store in the place of one that was put aside; open one that was away."""
        self._latest.clear()
        self._database.begin_anew()

    def state(self, body_id: str, at: str | Reading | None = None) -> State:
        """Fetch what is known of a body in the epoch in which *at* (ISO 8601, or a frame) lies; None: now."""
        with self._database.reading() as db:
            epoch = epoch_at(db, body_id, _place_at(db, body_id, at))
            if epoch is None:
                return State()
            return state_at(db, self._latest, body_id, last_state(db, body_id, states.c.epoch == epoch))

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
            found = db.execute(sa.select(bodies).order_by(bodies.c.body_id)).mappings()
            return tuple(dust_map(db, self._latest, body) for body in found.all())

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

    def damage(self) -> tuple[Damage, ...]:
        """Read all maps, and tell of those of which something cannot be read; nothing is put aside for that."""
        with self._database.reading() as db:
            return damage_in(db)

    def observe(self, record: Record) -> bool:
        """Count a frame, in one transaction.

        Returns False, and changes nothing, if it was counted before, failed, or its record lacks evidence. Verdicts
        of a person in the record (`judge`) are taken in even then.
        """
        return self.count([(record, None)]) == 1

    def count(self, line: Iterable[tuple[Record, str | None]]) -> int:
        """Count frames in one transaction, each at a place (`places`), None: where its clocks say.

        Returns how many were counted now. What is said of `observe` holds for each.
        """
        with self._changing() as db:
            known = set(db.scalars(sa.select(bodies.c.body_id)))
            counted = 0
            changed: dict[str, list[str]] = {}
            for given, place in line:
                record = _on_its_map(db, given)
                name = record.camera.body_id
                frame = enter(db, record, place)
                if told := take_in_words(db, record, take_back=False):
                    changed.setdefault(name, []).extend(told)
                if frame is None:
                    continue
                counted += 1
                body = lock_body(db, name)
                if frame.place > body.horizon:
                    changed.setdefault(name, []).append(frame.place)
                else:
                    fold_into_old_epoch(db, self._latest, body, frame)
            for name, since in changed.items():
                if name not in known:  # a person may have spoken of it before its map was lost
                    repeat(db, self.path, name)
                fold_again(db, self._latest, lock_body(db, name), min(since))
        return counted

    def map_for(self, camera: Camera, width: int, height: int) -> str:
        """Name the map on which a body's pictures of this size belong (`dustd.dustmap.pixels`)."""
        return map_for(camera.body_id, self.sizes(camera.body_id), pixels_in(camera, width, height))

    def sizes(self, body_id: str) -> dict[str, Pixels | None]:
        """Give the maps of a body with the pictures on each (`dustd.dustmap.pixels.map_for`)."""
        with self._database.reading() as db:
            return sizes_of(db, body_id)

    def judge(self, record: Record) -> bool:
        """Take in what a person said of a frame: the rejected spots of *record* and those asked for, and no others.

        Returns False, and changes nothing, if the frame was not counted. The verdict about one that is too old to be
        folded anew counts from now on; what was asked for in it counts when the map is rebuilt.
        """
        with self._changing() as db:
            record = _on_its_map(db, record)
            frame_id = (record.evidence or {}).get("frame_id")
            if not exists(db, frames, record.camera.body_id, frames.c.frame_id == frame_id):
                return False
            note_cleaned(db, record)
            if changed := take_in_words(db, record, take_back=True):
                fold_again(db, self._latest, lock_body(db, record.camera.body_id), min(changed))
            return True

    def is_cleaned(self, body_id: str, frame_id: str) -> bool:
        """Tell whether samples of this identity are those of a cleaned file of dustd's, and no exposure."""
        with self._database.reading() as db:
            return exists(db, cleaned, body_id, cleaned.c.frame_id == frame_id)

    def knows(self, body_id: str, frame_id: str) -> bool:
        """Tell whether a frame was counted, and not forgotten."""
        with self._database.reading() as db:
            return exists(db, frames, body_id, frames.c.frame_id == frame_id)

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
            cuts = cuts_of(db, body_id) if known else noted_cuts(self.path, body_id)
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
            touched = {body_id}
            for given, place in line:
                record = _on_its_map(db, given)
                touched.add(record.camera.body_id)
                counted += enter(db, record, place) is not None
                take_in_words(db, record, take_back=False)
            for name in sorted(touched):
                repeat(db, self.path, name)
                body = lock_body(db, name)
                if body is not None:
                    fold_again(db, self._latest, body, body.horizon + " ")
            return counted

    def cleaned(self, body_id: str, at: str, *, after_all: bool = False) -> bool:
        """Note that a body's sensor was cleaned *at* (ISO 8601): a new epoch, the old one stays. False if unknown.

        Frames taken later that are counted already move to the new epoch, as far back as they can be folded anew; with
        *after_all* none was taken later, whatever the camera's clock showed.
        """
        with self._changing() as db:
            if lock_body(db, body_id) is None:
                return False
            declare(db, self._latest, body_id, at, after_all=after_all)
            note(db, self.path)
            return True

    def undo_cleaning(self, body_id: str) -> bool:
        """Take back the last cleaning, declared or noticed: its epoch joins the one before. False if there is none.

        A cleaning once noticed and undone is not noticed again in the same frames. Frames of the undone epoch that are
        too old to be folded anew count again after a rebuild.
        """
        with self._changing() as db:
            found = take_back(db, self._latest, body_id)
            if found:
                note(db, self.path)
            return found

    def forget(self, body_id: str) -> bool:
        """Delete all that is known about a body, its cleanings too. False if nothing was.

        The name of a body stands for all its maps, that of one for pictures of some size (`dustd.dustmap.pixels`) for
        that one.
        """
        with self._changing() as db:
            names = maps_of(db, body_id) if body_of(body_id) == body_id else [body_id]
            found = db.execute(bodies.delete().where(bodies.c.body_id.in_(names))).rowcount > 0
            for name in names:
                self._latest.pop(name, None)
                note(db, self.path, forgotten=name)
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
            note(db, self.path)
        return body_id

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        try:
            with self._database.changing() as db:
                yield db
        except BaseException:
            self._latest.clear()  # it may hold what was rolled back
            raise


def _on_its_map(db: sa.Connection, record: Record) -> Record:
    """Name a record after the map on which its frame belongs: a body may have one for each size of its pictures."""
    if not (record.width and record.height):
        return record
    size = pixels_in(record.camera, record.width, record.height)
    name = map_for(record.camera.body_id, sizes_of(db, record.camera.body_id), size)
    return record if name == record.camera.body_id else replace(record, camera=replace(record.camera, body_id=name))


def _place_at(db: sa.Connection, body_id: str, at: str | Reading | None) -> str | None:
    """Say which place a time or a frame means."""
    if isinstance(at, Reading):
        return settled_place(db, body_id, at)
    return places.latest_place_at(at) if at else None
