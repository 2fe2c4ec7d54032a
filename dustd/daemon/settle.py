"""When a file that arrives has come to rest: a pure state machine without clock, stat or sleep.

A file is ready when nothing was heard of it for a quiet period, its size and mtime are what they were before that
period, and it is regular; an empty one, which may be a placeholder, only when it is not going to be filled. Neither
sign is enough alone: FTP and tether programs write in pieces with pauses, some stamp the time of the camera, some
write tags into the file after it has landed, and shares send no events at all. Files that look finished but cannot be
decoded are held back, for they may have been cut short.

A path is in at most one of three places: waiting (not quiet yet), quiet (may be taken), taken (in flight).
"""

import heapq
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at a path showed. The inode is left out: some shares give a new one each time."""

    size: int
    mtime_ns: int
    regular: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Track:
    look: Look
    changed_at: float
    due_at: float
    held: bool = False


class Settle:
    """Every file between its first event and its last processing. Times are seconds of any steady clock."""

    def __init__(self, *, quiet_s: float, give_up_s: float, newest_first: bool = False) -> None:
        self.quiet_s = quiet_s
        self.give_up_s = give_up_s
        self._newest_first = newest_first
        self._waiting: dict[Path, _Track] = {}
        self._quiet: dict[Path, _Track] = {}
        self._order: list[tuple[int, str]] = []  # (rank, path) of the quiet ones; stale entries are skipped
        self._taken: dict[Path, _Track] = {}
        self._again: dict[Path, tuple[float, Look]] = {}  # touched while taken
        self._vanished: list[Path] = []
        self._empty: list[Path] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._quiet) + len(self._taken)

    def __contains__(self, path: Path) -> bool:
        return path in self._waiting or path in self._quiet or path in self._taken

    def retime(self, *, quiet_s: float, give_up_s: float, newest_first: bool) -> None:
        """Take in other settings; what waits goes on waiting."""
        self.quiet_s, self.give_up_s, self._newest_first = quiet_s, give_up_s, newest_first
        self._order = [(self._rank(track), os.fspath(path)) for path, track in self._quiet.items()]
        heapq.heapify(self._order)

    def touch(self, path: Path, now: float, look: Look) -> None:
        """Note an event that arrived at *now*: the quiet period starts again.

        A file that is held back only starts again if it really changed, a taken one after it is done.
        """
        if path in self._taken:
            self._again[path] = (now, look)
            return
        track = self._waiting.get(path)
        if track is not None and track.held and track.look == look:
            return
        self._quiet.pop(path, None)
        self._waiting[path] = _Track(look=look, changed_at=now, due_at=now + self.quiet_s)

    def found(self, path: Path, now: float, look: Look) -> None:
        """Note what a scan saw at *now*: as `touch` if the file is new or changed, else nothing."""
        track = self._waiting.get(path) or self._quiet.get(path) or self._taken.get(path)
        if track is None or track.look != look:
            self.touch(path, now, look)

    def next_due(self) -> float | None:
        """Say when `take` could next give something; None if nothing is waiting."""
        if self._quiet:
            return float("-inf")
        return min((track.due_at for track in self._waiting.values()), default=None)

    def take(self, now: float, look_at: Callable[[Path], Look | None]) -> Path | None:
        """Give the ready file whose turn it is (by mtime, then name), or None; it stays taken until told otherwise.

        *look_at* returns None for a path that is gone. Vanished files, which `vanished` tells, and irregular ones are
        dropped: whatever writes to them next brings them back. An empty one is held back for give_up_s.
        """
        for path in [path for path, track in self._waiting.items() if track.due_at <= now]:
            self._make_quiet(path, self._waiting.pop(path))
        while self._order:
            rank, name = heapq.heappop(self._order)
            path = Path(name)
            track = self._quiet.get(path)
            if track is None or self._rank(track) != rank:
                continue
            del self._quiet[path]
            look = look_at(path)
            if look is None:
                self._vanished.append(path)
                continue
            if not look.regular:
                continue
            if look != track.look:
                self.touch(path, now, look)
                continue
            last_try_at = track.changed_at + self.give_up_s
            if look.size == 0 and now < last_try_at:
                self._waiting[path] = _Track(look=look, changed_at=track.changed_at, due_at=last_try_at, held=True)
                self._empty.append(path)
                continue
            self._taken[path] = track
            return path
        return None

    def first(self, count: int) -> list[Path]:
        """Give up to *count* of the files that wait: the ready ones in their order, then those that still rest."""
        ready = heapq.nsmallest(count, self._quiet, key=lambda path: (self._rank(self._quiet[path]), os.fspath(path)))
        resting = (path for path, track in self._waiting.items() if not track.held)
        return [*ready, *itertools.islice(resting, count - len(ready))]

    def vanished(self) -> list[Path]:
        """Give the files that were gone when their turn came, each once."""
        gone, self._vanished = self._vanished, []
        return gone

    def found_empty(self) -> list[Path]:
        """Give the files that are held back because they were empty when their turn came, each once."""
        empty, self._empty = self._empty, []
        return empty

    def held_until(self, path: Path) -> float | None:
        """Say when a file that is held back or put off is due; None if it is neither."""
        track = self._waiting.get(path)
        return track.due_at if track is not None and track.held else None

    def done(self, path: Path) -> None:
        """Forget a taken file, unless it was touched meanwhile: then it waits again."""
        self._taken.pop(path)
        if path in self._again:
            self.touch(path, *self._again.pop(path))

    def put_back(self, path: Path) -> None:
        """Make a taken file available again at once: something else was in the way."""
        track = self._taken.pop(path)
        if path in self._again:
            self.touch(path, *self._again.pop(path))
        else:
            self._make_quiet(path, track)

    def put_off(self, path: Path, due_at: float) -> None:
        """Make a taken file available again at *due_at*, or when it changes: it could not be read just now."""
        track = self._taken.pop(path)
        if path in self._again:
            self.touch(path, *self._again.pop(path))
        else:
            self._waiting[path] = _Track(look=track.look, changed_at=track.changed_at, due_at=due_at, held=True)

    def check_now(self, path: Path, now: float) -> None:
        """Make a file that was put off available at once; nothing if it does not wait."""
        track = self._waiting.get(path)
        if track is not None and track.held:
            self._waiting[path] = _Track(look=track.look, changed_at=track.changed_at, due_at=now, held=True)

    def hold_back(self, path: Path, now: float, look: Look) -> bool:
        """Keep a taken file that could not be decoded until it changes, or for a last try after give_up_s.

        Returns False, and leaves it taken, when it has not changed for give_up_s: it is not going to get better.
        """
        track = self._taken[path]
        if look != track.look:
            self._again.setdefault(path, (now, look))
        if path in self._again:
            self.done(path)
            return True
        last_try_at = track.changed_at + self.give_up_s
        if now >= last_try_at:
            return False
        del self._taken[path]
        self._waiting[path] = _Track(look=look, changed_at=track.changed_at, due_at=last_try_at, held=True)
        return True

    def _make_quiet(self, path: Path, track: _Track) -> None:
        self._quiet[path] = track
        heapq.heappush(self._order, (self._rank(track), os.fspath(path)))

    def _rank(self, track: _Track) -> int:
        return -track.look.mtime_ns if self._newest_first else track.look.mtime_ns
