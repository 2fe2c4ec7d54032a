"""Learning maps from the sidecars beside the frames: what was lost with a damaged database, or what somebody brings.

A damaged database is put aside by the store, with a mark beside the maps that stays until all has been learnt again:
whatever cuts that short, the next try goes on where it stood. What a person said of cleanings (`dustd map cleaned`) no
sidecar knows; the store has noted that (`dustd.dustmap.declared_cleanings`).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from dustd import files
from dustd.dustmap import places
from dustd.dustmap.history import counted
from dustd.dustmap.places import Reading
from dustd.dustmap.store import Store
from dustd.errors import DamagedError, DustdError, SurroundingsError
from dustd.output import sidecar
from dustd.output.sidecar import Record
from dustd.raw.body_id import NO_BODY

log = structlog.get_logger()

Heartbeat = Callable[[], None]
LeftOut = Callable[[Path, Exception], None]
TOGETHER = 64  # frames that are counted in one transaction: some seconds' work


def _log_left_out(path: Path, exc: Exception) -> None:
    log.warning("sidecar_left_out", path=str(path), problem=str(exc))


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Where a sidecar is, when its frame was taken and which it is. Whole records of 20,000 frames fill the memory."""

    path: Path
    reading: Reading
    sha256: str

    @property
    def frame_id(self) -> str:
        """Which exposure it tells of; "None" if it does not say."""
        return self.reading.place.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The sidecars below some folders: *read* could be read, *left_out* could not.

    *bodies* lists those of each body; frames of no known body are in none.
    """

    bodies: dict[str, tuple[Sidecar, ...]]
    read: int
    left_out: int


def find_sidecars(
    folders: Sequence[Path], heartbeat: Heartbeat = lambda: None, left_out: LeftOut = _log_left_out
) -> Found:
    """Look through all sidecars below *folders*; *heartbeat* is called for each, *left_out* for what cannot be read.

    Raises SurroundingsError if a disk or share does not answer.
    """
    found: dict[str, list[Sidecar]] = {}
    read = failed = 0

    def unread(folder: Path, path: Path, exc: OSError | ValueError) -> None:
        nonlocal failed
        if isinstance(exc, OSError) and not files.is_folder(folder):
            raise _away(folder) from exc
        failed += 1
        left_out(path, exc)

    for path in (path for folder in folders for path in _sidecars(folder, unread)):
        heartbeat()
        try:
            record = sidecar.decode(files.read(path))
        except (OSError, ValueError) as exc:
            unread(path.parent, path, exc)
            continue
        read += 1
        if record.camera.body_id != NO_BODY and counted(record) is not None:
            entry = Sidecar(path, places.reading_of(record), record.source.sha256)
            found.setdefault(record.camera.body_id, []).append(entry)
    bodies = {body_id: tuple(found[body_id]) for body_id in sorted(found)}
    return Found(bodies=bodies, read=read, left_out=failed)


def _sidecars(folder: Path, unread: Callable[[Path, Path, OSError], None]) -> Iterator[Path]:
    def unlisted(exc: OSError) -> None:
        if not isinstance(exc, FileNotFoundError):  # nothing was written there yet, or it is gone by now
            unread(path := Path(os.fsdecode(exc.filename)), path, exc)

    for parent, folders, names in os.walk(folder, onerror=unlisted):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(sidecar.SUFFIX))


def learn(store: Store, found: Found, heartbeat: Heartbeat = lambda: None, *, replace: bool = False) -> int:
    """Count the frames of *found* that the maps do not know yet. Returns how many these were.

    Body by body, some frames to a transaction: what is counted stays, whatever happens then. With *replace* each body's
    map is learnt anew from these frames alone, in one transaction.
    """
    learnt = 0
    for body_id, sidecars in found.bodies.items():
        belong = store.places(body_id, [each.reading for each in sidecars], anew=replace)
        line = sorted(zip(sidecars, belong, strict=True), key=lambda pair: (pair[1], pair[0].sha256))
        if replace:
            learnt += store.replace(body_id, _records(line, heartbeat))
            continue
        for start in range(0, len(line), TOGETHER):
            learnt += store.count(_records(line[start : start + TOGETHER], heartbeat))
    return learnt


def _records(line: Sequence[tuple[Sidecar, str]], heartbeat: Heartbeat) -> Iterator[tuple[Record, str]]:
    """Read sidecars one by one; one that is gone by now is left out."""
    for each, place in line:
        heartbeat()
        try:
            yield sidecar.decode(files.read(each.path)), place
        except (OSError, ValueError) as exc:
            _log_left_out(each.path, exc)


def open_store(where: Path | str, outputs: Sequence[Path], heartbeat: Heartbeat = lambda: None) -> Store:
    """Open the maps. Damaged ones, also those put aside before a crash, are learnt again from sidecars in *outputs*.

    *heartbeat* is called for every sidecar, as there may be many. What is in the way, of learning too, is told, and
    `Store.away` and `Store.lost` stay. Raises ConfigError for a URL that cannot be used.
    """
    try:
        store = Store.open(where, wait=True)
        if not store.away:
            store.body_ids()  # its first page may be whole, others not
    except DamagedError as error:
        log.warning("maps_damaged", problem=error.problem)
        store = Store.open(where, wait=True)
    if store.lost or store.away:
        try:
            relearn(store, outputs, heartbeat)
        except DustdError as error:
            log.warning("maps_wait", problem=error.problem, remedy=error.remedy)
    return store


def relearn(store: Store, outputs: Sequence[Path], heartbeat: Heartbeat = lambda: None) -> None:
    """Tell a store that was put aside all that the sidecars below *outputs* know; it may be open and know some of it.

    One that was away and has lost nothing is opened. Raises SurroundingsError if disk or folder is in the way;
    `Store.away` or `Store.lost` stays then.
    """
    if store.damaged or store.away:
        store.begin_anew()
    if not store.lost:
        return
    # An output folder is made by the daemon, the folder that it is in never is: that one is away.
    away = [output for output in outputs if not files.is_folder(output.parent)]
    read = store.lost.read()
    for output in outputs:
        if output in away or str(output) in read:
            continue
        found = find_sidecars([output], heartbeat)
        log.warning("maps_learnt_again", frames=learn(store, found, heartbeat), sidecars=found.read, path=str(output))
        store.lost.note_read(output)
    if away:
        raise _away(away[0])
    store.lost.end()


def _away(folder: Path) -> SurroundingsError:
    problem = "the dust maps lack the frames in this folder, which is away"
    return SurroundingsError(problem, remedy="Connect its disk or share again; its sidecars are read then", path=folder)
