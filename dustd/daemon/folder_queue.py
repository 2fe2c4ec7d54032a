"""All that goes on in one watched folder: what waits there, searches in turns, pauses, frames put off.

The daemon has one folder_queue per folder, so that a pause of one does not hold up the others. A folder_queue decides
what is due and when to look again; it processes nothing.
"""

import datetime
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from dustd import files
from dustd.daemon.scan import look_at, scan
from dustd.daemon.settle import Look, Settle
from dustd.daemon.status import FolderState, Trouble
from dustd.daemon.watch import WatchedFolder
from dustd.errors import DustdError, FrameError

log = structlog.get_logger()

SCAN_TURN_S = 0.25  # a big share is scanned in turns, between frames
POLL_S = 3.0  # scan period where no events arrive
SCAN_SHARE = 4  # between two scans, rest this many times as long as a scan took
MAX_WAITING = 20_000  # files held in memory per folder; a scan finds the others when there is room
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # of a folder; of a frame that cannot be read:
LONGEST_PUT_OFF_S = 600.0
UNHEARD_S = 3.0  # an event takes half a second through watchdog

_EMPTY = FrameError("it is empty so far", remedy="Nothing to do if it is still being written; else copy it again")

IsDone = Callable[[Path, WatchedFolder], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """*quiet_s* without change before a file is read; *give_up_s* after its last change before it counts as broken;
    *rescan_s* between scans, the net under lost events; which of the ready frames goes first.
    """  # fmt: skip

    quiet_s: float
    give_up_s: float
    rescan_s: float
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _PutOff:
    error: DustdError
    pause_s: float
    until: float


class FolderQueue:
    """One watched folder. Times are monotonic seconds."""

    def __init__(self, folder: WatchedFolder, timing: Timing, is_done: IsDone) -> None:
        self.folder = folder
        self.timing = timing
        self.settle = Settle(quiet_s=timing.quiet_s, give_up_s=timing.give_up_s, newest_first=timing.newest_first)
        self.paused_until = 0.0
        self._is_done = is_done
        self._scans: deque[Iterator[tuple[Path, Look] | None]] = deque()
        self._whole: Iterator[tuple[Path, Look] | None] | None = None  # of the scans the one of the whole folder
        self._scan_started_at = self._next_scan_at = 0.0  # the next is at inf while one goes on and none is asked for
        self._listens = False  # a whole search was made since events were last in doubt
        self._unheard: tuple[Path, float] | None = None  # found by a search though events should have told of it
        self._pause_s = 0.0
        self._problem: DustdError | None = None
        self._put_off: dict[Path, _PutOff] = {}
        self._held: dict[Path, DustdError] = {}  # why files are held back, for the status only
        self._hopeless: dict[Path, Look] = {}  # failed, and not even that could be recorded
        self._unreadable: dict[str, str] = {}  # subfolder -> what the system said, at the last search
        self._complaints: dict[str, str] = {}  # the same of the search that goes on
        self._renew = False
        self._links: set[Path] = set()  # to folders, told once

    @property
    def paused(self) -> DustdError | None:
        """What the folder waits for to pass, if anything."""
        return self._problem

    def retime(self, timing: Timing) -> None:
        """Take in other settings."""
        self.timing = timing
        self.settle.retime(quiet_s=timing.quiet_s, give_up_s=timing.give_up_s, newest_first=timing.newest_first)

    def due_at(self) -> float:
        """Say when there is something to do: -inf for at once, inf for nothing."""
        if self._scans and len(self.settle) < MAX_WAITING:
            return float("-inf")
        due = self.settle.next_due()
        return float("inf") if due is None else max(due, self.paused_until)

    def is_idle(self) -> bool:
        """Tell whether no frame waits, but for those that cannot be read just now, and no search goes on."""
        return not self._scans and len(self.settle) == sum(path in self.settle for path in self._put_off)

    def heard(self, path: Path, at: float, outputs: Sequence[Path]) -> None:
        """Look at what an event spoke of."""
        if self._unheard and self._unheard[0] == path:
            self._unheard = None
        look = look_at(path)
        if look is None:
            return
        if not look.regular:
            if files.is_folder(path) and not path.is_symlink():  # what was put in before it was watched made no events
                self._scans.append(self._walk(path, outputs))
        elif len(self.settle) < MAX_WAITING or path in self.settle:
            self.settle.touch(path, at, look)
        else:
            self.search_now()

    def search_now(self) -> None:
        """Make a search due; what it finds casts no doubt on events."""
        self._next_scan_at = 0.0
        self._listens = False

    def scan(self, outputs: Sequence[Path], *, present: bool, has_events: bool) -> None:
        """Take a turn at searching the folder; what is found is offered to settling."""
        now = time.monotonic()
        if self._whole is None and now >= self._next_scan_at and present:
            self._whole = self._walk(self.folder.path, outputs)
            self._scans.append(self._whole)
            self._scan_started_at, self._next_scan_at = now, math.inf
        while self._scans and len(self.settle) < MAX_WAITING:
            for item in self._scans[0]:
                if item is not None:
                    self._offer(*item, at=now + SCAN_TURN_S)  # one moment for all: age decides whose turn it is
                if len(self.settle) >= MAX_WAITING or time.monotonic() - now > SCAN_TURN_S:
                    return
            if self._scans.popleft() is self._whole:
                self._end_whole(has_events)

    def _end_whole(self, has_events: bool) -> None:
        """Say when the whole folder is searched next, unless that was asked for meanwhile; note what can be read."""
        self._whole = None
        if self._next_scan_at == math.inf:
            period_s = self.timing.rescan_s if has_events else POLL_S
            took_s = time.monotonic() - self._scan_started_at
            self._next_scan_at = time.monotonic() + max(min(period_s, self.timing.rescan_s), SCAN_SHARE * took_s)
            self._listens = has_events
        if recovered := self._unreadable.keys() - self._complaints.keys():
            log.info("folder_readable", folders=sorted(recovered))
            self._renew = True
        self._unreadable, self._complaints = self._complaints, {}

    def misses_events(self) -> bool:
        """Tell, once, that some subfolder may be unwatched, so that all are to be watched anew.

        Either a search found what no event spoke of (the system's queue overflowed), or rights have come back.
        """
        overdue = self._unheard is not None and time.monotonic() - self._unheard[1] > UNHEARD_S
        if not (overdue or self._renew):
            return False
        self._unheard, self._renew = None, False
        self.search_now()
        return True

    def take(self) -> Path | None:
        """Give a frame that is ready, unless the folder pauses."""
        now = time.monotonic()
        path = self.settle.take(now, look_at) if now >= self.paused_until else None
        for empty in self.settle.found_empty():
            log.info("frame_held_back", path=str(empty), problem=_EMPTY.problem)
            self._held[empty] = _EMPTY
        return path

    def pause(self, path: Path, error: DustdError) -> None:
        """Put the frame *path* back and rest: the folder's surroundings are in the way of all its frames."""
        self.settle.put_back(path)
        pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
        if (str(error), pause_s) != (str(self._problem), self._pause_s):
            log.warning("paused", folder=str(self.folder.path), problem=str(error), retry_s=pause_s)
        self._problem, self._pause_s = error, pause_s
        self.paused_until = time.monotonic() + pause_s

    def resume(self, path: Path) -> None:
        """Note that *path* went through."""
        self._put_off.pop(path, None)
        if self._problem:
            log.info("resumed", folder=str(self.folder.path))
        self._problem, self._pause_s = None, 0.0

    def put_off(self, path: Path, error: DustdError) -> None:
        """Try a frame that cannot be read just now later, and later still each time."""
        before = self._put_off.get(path)
        pause_s = min(max(FIRST_PAUSE_S, 2 * before.pause_s if before else 0.0), LONGEST_PUT_OFF_S)
        if before is None or str(before.error) != str(error):
            log.warning("frame_put_off", path=str(path), problem=error.problem, remedy=error.remedy)
        until = time.monotonic() + pause_s
        self.settle.put_off(path, until)
        self._put_off[path] = _PutOff(error=error, pause_s=pause_s, until=until)

    def vanished(self) -> list[Path]:
        """Give the files that were gone when their turn came, each once."""
        return self.settle.vanished()

    def hold_back(self, path: Path, look: Look, error: DustdError) -> bool:
        """Keep a frame that could be read but not decoded for one more try; False if it is not going to get better."""
        self._put_off.pop(path, None)
        self._held[path] = error
        return self.settle.hold_back(path, time.monotonic(), look)

    def finish(self, path: Path) -> None:
        """Forget a frame that was taken, unless it changed meanwhile."""
        self._put_off.pop(path, None)
        self.settle.done(path)

    def give_up(self, path: Path, look: Look) -> None:
        """Leave a frame alone until it changes, as nothing can be written about it."""
        self._hopeless[path] = look

    def try_again(self) -> None:
        """Forget pauses and search: somebody has put right what was in the way, or thinks so."""
        now = time.monotonic()
        self.paused_until = self._pause_s = 0.0
        for path in self._put_off:
            self.settle.check_now(path, now)
        self._put_off.clear()
        self._hopeless.clear()
        self.search_now()

    def state(self, *, present: bool, has_events: bool) -> FolderState:
        """Say how the folder does."""
        now = time.monotonic()
        self._put_off = {path: each for path, each in self._put_off.items() if path in self.settle}
        until = {path: self.settle.held_until(path) for path in self._held if path not in self._put_off}
        self._held = {path: each for path, each in self._held.items() if path in self.settle}
        return FolderState(
            path=str(self.folder.path),
            output=str(self.folder.output),
            present=present,
            events=has_events,
            waiting=len(self.settle) - len(self._put_off),
            paused=_trouble(self._problem, self.folder.path, self.paused_until - now) if self._problem else None,
            unreadable=tuple(self._unreadable),
            put_off=tuple(_trouble(each.error, path, each.until - now) for path, each in self._put_off.items()),
            held=tuple(
                _trouble(self._held[path], path, due_at - now) for path, due_at in until.items() if due_at is not None
            ),
        )

    def _walk(self, start: Path, outputs: Sequence[Path]) -> Iterator[tuple[Path, Look] | None]:
        return scan(start, self.folder.path, outputs, self._complain, on_link=self._leave_out)

    def _leave_out(self, link: Path) -> None:
        if link not in self._links:
            self._links.add(link)
            log.warning("folder_link_left_out", path=str(link), remedy="watch the folder that it leads to as well")

    def _complain(self, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            return
        folder = str(error.filename)
        if folder not in self._unreadable and folder not in self._complaints:
            log.warning("folder_unreadable", problem=str(error), remedy="give dustd's user read permission")
        self._complaints[folder] = str(error)

    def _offer(self, path: Path, look: Look, at: float) -> None:
        if path in self.settle:
            self.settle.found(path, at, look)
        elif self._hopeless.get(path) != look and not self._is_done(path, self.folder):
            self.settle.found(path, at, look)
            if self._listens and self._unheard is None and look.size:
                self._unheard = path, time.monotonic()


def _trouble(error: DustdError, path: Path, seconds: float) -> Trouble:
    return Trouble(path=str(error.path or path), problem=error.problem, remedy=error.remedy, retry_at=_in(seconds))


def _in(seconds: float) -> str:
    at = datetime.datetime.now().astimezone() + datetime.timedelta(seconds=max(0.0, seconds))
    return at.isoformat(timespec="seconds")
