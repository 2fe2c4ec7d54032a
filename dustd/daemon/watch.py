"""Watching folders: when the operating system spoke of which path.

The only module that knows watchdog. Its threads do nothing but put (folder, path, time) on a queue. Events are a
hint to look, never the truth: they get lost in overflows, between mkdir and the new watch, with a thread that dies,
and on shares there are none at all; so the daemon scans as well.
"""

import contextlib
import os
import queue
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from dustd.daemon.scan import is_candidate, is_network

log = structlog.get_logger()

# Opened and closed without writing are left out: dustd's own reading makes those.
_EVENTS = [FileCreatedEvent, FileModifiedEvent, FileClosedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedFolder:
    """A folder to watch with everything below it, and where its cleaned files go; both absolute."""

    path: Path
    output: Path


_Identity = tuple[int, int, bool]  # device, inode, whether it may be read: a change of any means to watch it anew
Event = tuple[WatchedFolder | None, Path, float]  # None: nothing happened, only wake up


class Watch:
    """The operating system's events of several folders, as one queue.

    Folders may be missing, come and go: `refresh` notices. *clock* stamps each event where it arrives. Each folder has
    an observer of its own, because a dead thread cannot be seen from outside and only a new observer has a new one.
    """

    def __init__(self, folders: Sequence[WatchedFolder], clock: Callable[[], float] = time.monotonic) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._folders = tuple(folders)
        self._clock = clock
        self._observers: dict[WatchedFolder, BaseObserver] = {}
        self._seen: dict[WatchedFolder, _Identity | None] = {}  # None while it is missing

    def __enter__(self) -> "Watch":
        # Said whenever a folder appears with folders in it, in the thread that reads events: where warnings raise,
        # that thread would end, and with it all events.
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
        return self

    def __exit__(self, *_: object) -> None:
        for folder in tuple(self._observers):
            self.release(folder)

    def refresh(self) -> tuple[WatchedFolder, ...]:
        """Watch what has (re)appeared, let go what has gone; return the folders that need a scan now."""
        return tuple(folder for folder in self._folders if self._refresh(folder))

    def change(self, folders: Sequence[WatchedFolder]) -> None:
        """Watch these folders from the next refresh on, and no others."""
        for gone in set(self._seen) - set(folders):
            self.release(gone)
        self._folders = tuple(folders)

    def release(self, folder: WatchedFolder) -> None:
        """Let go of a folder; if it is still one of those to watch, the next refresh watches it anew."""
        self._seen.pop(folder, None)
        observer = self._observers.pop(folder, None)
        if observer is not None:
            _end(observer)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Where nothing is a frame."""
        return tuple(folder.output for folder in self._folders)

    def is_present(self, folder: WatchedFolder) -> bool:
        """Tell whether *folder* was there at the last refresh."""
        return self._seen.get(folder) is not None

    def has_events(self, folder: WatchedFolder) -> bool:
        """Tell whether events can be expected; if not, only scans find anything."""
        return folder in self._observers

    def _refresh(self, folder: WatchedFolder) -> bool:
        identity = _identity(folder.path)
        known = folder in self._seen
        broken = folder in self._observers and not _is_alive(self._observers[folder])
        if known and identity == self._seen[folder] and not broken:
            return False
        self.release(folder)
        self._seen[folder] = identity
        if identity is None:
            log.warning("folder_missing", folder=str(folder.path), remedy="connect or create it; dustd waits for it")
            return False
        self._schedule(folder)
        events = folder in self._observers
        log.info("folder_watched", folder=str(folder.path), output=str(folder.output), events=events)
        return True

    def _schedule(self, folder: WatchedFolder) -> None:
        if is_network(real := folder.path.resolve()):
            return
        try:
            self._observers[folder] = _begin(_Handler(folder, real, self, self._clock), real)
        except OSError as exc:
            log.warning(
                "no_events",
                folder=str(folder.path),
                problem=str(exc),
                remedy="dustd scans it instead; if a limit was reached, raise fs.inotify.max_user_watches "
                "or fs.inotify.max_user_instances",
            )


class _Handler(FileSystemEventHandler):
    """Runs in watchdog's thread: filter by name, stamp, queue."""

    def __init__(
        self,
        folder: WatchedFolder,
        real: Path,
        watch: Watch,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._real = real
        self._watch = watch
        self._clock = clock

    def dispatch(self, event: FileSystemEvent) -> None:
        """Queue the path that is there now: a moved file's destination, else the source."""
        raw = os.fsdecode(event.dest_path or event.src_path)
        try:
            path = self._folder.path / Path(raw).relative_to(self._real)
        except ValueError:  # moved out of the folder
            return
        if event.is_directory or is_candidate(path, self._folder.path, self._watch.outputs):
            self._watch.events.put((self._folder, path, self._clock()))


def _begin(handler: FileSystemEventHandler, folder: Path) -> BaseObserver:
    """Start to watch *folder* with everything below it. Raises OSError."""
    observer = Observer()
    try:
        observer.schedule(handler, str(folder), recursive=True, event_filter=_EVENTS)
        observer.start()
    except OSError:
        _end(observer)
        raise
    return observer


def _end(observer: BaseObserver) -> None:
    with contextlib.suppress(OSError):
        observer.stop()
    with contextlib.suppress(RuntimeError):  # it was never started
        observer.join()


def _is_alive(observer: BaseObserver) -> bool:
    """Tell of the threads that can be asked; of the one that reads, only missing events tell."""
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)


def _identity(path: Path) -> _Identity | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    readable = os.access(path, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)
    return (stat.st_dev, stat.st_ino, readable) if S_ISDIR(stat.st_mode) else None
