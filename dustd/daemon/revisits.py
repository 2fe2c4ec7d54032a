"""Frames of late that are decided on anew while nothing waits: the map knows more in the evening than in the morning.

A body's frames become due when what its map holds for sure changes, or a verdict comes; at the start, and when the
configuration changes, all are. The newest goes first, one each turn, and only those of the present epoch. Whether
anything has changed that matters to a frame its sidecar tells (`Pipeline.revisit`), so that each is read at most once
for each such change, restarts or not.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from dustd.daemon.watch import WatchedFolder
from dustd.dustmap.places import reading_of
from dustd.dustmap.store import Store
from dustd.errors import DustdError, SurroundingsError
from dustd.output import life
from dustd.output.sidecar import SUFFIX, Record, sidecar_name
from dustd.pipeline.revisit import Visit

log = structlog.get_logger()

CHECK_S = 10.0  # between looks whether a map has changed by itself: another station, `dustd reject`
PAUSE_S = 60.0  # where disk or store is in the way
SEARCH_TURN_S = 0.2
HOUR_S = 3600.0


class Pipeline(Protocol):
    """What decides on a frame anew."""

    store: Store

    def revisit(self, source: Path, out_folder: Path, *, write: bool = True, always: bool = True) -> Visit:
        """See `dustd.pipeline.frame_pipeline.Pipeline.revisit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    out_folder: Path
    body_id: str
    read_at: float  # Unix time


@dataclass(frozen=True, slots=True, kw_only=True)
class Improved:
    """A frame whose decision is another one now, and what came of it."""

    source: Path
    visit: Visit


class Revisits:
    """Whose turn it is, one frame at a time; *folders* are searched once for frames of the last *hours*, 0: never.

    *clock* gives Unix time.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        folders: Sequence[WatchedFolder],
        hours: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pipeline, self._hours, self._clock = pipeline, hours, clock
        self._frames: dict[Path, _Frame] = {}
        self._due: deque[Path] = deque()
        self._keys: dict[str, object] = {}  # by body: what its map held when its frames became due
        self._search = _sidecars(folders, clock() - hours * HOUR_S) if hours else None
        self._check_at = self._rests_until = 0.0

    def note(self, source: Path, out_folder: Path, record: Record) -> None:
        """Remember a frame that is done."""
        read_at = _unix(record.source.read_at)
        if self._hours and record.status != "failed" and record.evidence is not None and read_at is not None:
            self._frames[source] = _Frame(out_folder=out_folder, body_id=record.camera.body_id, read_at=read_at)
            self._check_at = 0.0

    def turn(self) -> tuple[Improved | None, bool]:
        """Visit one frame, if one is due. Return what was improved, and whether there is more to do at once."""
        store = self._pipeline.store
        if not self._hours or time.monotonic() < self._rests_until or store.damaged or store.lost or store.away:
            return None, False
        try:
            if self._search is not None:
                self._go_on_searching()
                return None, True
            if time.monotonic() >= self._check_at:
                self._find_due()
            improved = self._visit(self._due[0]) if self._due else None
        except DustdError as error:
            log.info("revisits_wait", problem=error.problem, remedy=error.remedy)
            self._rests_until = time.monotonic() + PAUSE_S
            return None, False
        if self._due:
            self._due.popleft()
        return improved, bool(self._due)

    def _go_on_searching(self) -> None:
        """Read some of the sidecars that were there before."""
        assert self._search is not None
        until = time.monotonic() + SEARCH_TURN_S
        for source, path in self._search:
            record = life.read(path)
            if record is not None and source not in self._frames:
                self.note(source, path.parent, record)
            if time.monotonic() > until:
                return
        self._search = None

    def _find_due(self) -> None:
        """Line up the frames of bodies whose maps have changed, the newest first; forget those that are too old."""
        self._check_at = time.monotonic() + CHECK_S
        oldest = self._clock() - self._hours * HOUR_S
        self._frames = {source: frame for source, frame in self._frames.items() if frame.read_at >= oldest}
        changed = set()
        for body_id in {frame.body_id for frame in self._frames.values()}:
            key = self._held_for_sure(body_id)
            if self._keys.get(body_id) != key:
                self._keys[body_id] = key
                changed.add(body_id)
        left = set(self._due)
        due = [
            (frame.read_at, source)
            for source, frame in self._frames.items()
            if frame.body_id in changed or source in left
        ]
        self._due = deque(source for _, source in sorted(due, reverse=True))

    def _held_for_sure(self, body_id: str) -> object:
        """Sum up what of a body's map decides on frames."""
        store = self._pipeline.store
        confirmed = frozenset(each.id for each in store.state(body_id).particles if each.confirmed)
        verdicts = frozenset((each.frame_id, each.mx, each.my) for each in store.rejections(body_id))
        return store.epoch(body_id), confirmed, verdicts

    def _visit(self, source: Path) -> Improved | None:
        """Decide anew on a frame of the present epoch. Raises SurroundingsError; what else goes wrong leaves it."""
        frame = self._frames[source]
        try:
            record = life.read(frame.out_folder / sidecar_name(source.name))
            if record is None or not self._is_of_this_epoch(record):
                return None
            visit = self._pipeline.revisit(source, frame.out_folder, always=False)
        except SurroundingsError:
            raise
        except DustdError as error:
            log.info("frame_left_as_it_is", path=str(source), problem=error.problem, remedy=error.remedy)
            return None
        except Exception:  # the frame boundary: nothing that goes wrong with one frame gets past it
            log.exception("revisit_crashed", path=str(source))
            return None
        return Improved(source=source, visit=visit) if visit.differs else None

    def _is_of_this_epoch(self, record: Record) -> bool:
        store, body_id = self._pipeline.store, record.camera.body_id
        at = reading_of(record) if record.camera.taken_at else None
        return store.epoch(body_id, at) == store.epoch(body_id)


def _sidecars(folders: Sequence[WatchedFolder], oldest: float) -> Iterator[tuple[Path, Path]]:
    """Find the sidecars written since *oldest* (Unix time), each with its source, which is there."""
    for folder in folders:
        for parent, _, names in os.walk(folder.output):
            for name in names:
                path, source_name = Path(parent, name), name.removesuffix(SUFFIX)
                if source_name in ("", name) or not _is_later(path, oldest):
                    continue
                source = folder.path / path.relative_to(folder.output).with_name(source_name)
                if os.path.lexists(source):
                    yield source, path


def _unix(at: str | None) -> float | None:
    """Give a time (ISO 8601) as Unix time; None if there is none, or it is none that can be."""
    try:
        return datetime.fromisoformat(at).timestamp() if at else None
    except (ValueError, OverflowError, OSError):
        return None


def _is_later(path: Path, oldest: float) -> bool:
    try:
        return path.stat().st_mtime >= oldest
    except OSError:
        return False
