"""The daemon's loop: watch, settle, process one frame at a time, oldest first, for months.

Two threads: watchdog's, which only queues events, and this one, which does everything else, so there are no locks.
A frame meets one of three fates. Its own fault (FrameError, or an error nobody foresaw): it is tried once more when
it changes or has had time to arrive whole, then recorded as failed. The surroundings' fault (disk full, share away):
its folder pauses and the same frame is tried again, later and later. Otherwise it is done. What a frame *is* and
what processing means, this module does not know.
"""

import contextlib
import fcntl
import os
import queue
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog

from dustd import files, notify
from dustd.errors import ConfigError, DustdError, FrameError, ModelError, SurroundingsError
from dustd.ledger import is_own_output
from dustd.settle import Look, Settle
from dustd.walk import look_at, scan
from dustd.watch import Watch, WatchedFolder

log = structlog.get_logger()

TICK_S = 1.0  # the longest sleep: heartbeat, folders that come and go
SCAN_TURN_S = 0.25  # a big share is scanned in turns, between frames
POLL_S = 3.0  # scan period where no events arrive
SCAN_SHARE = 4  # between two scans, rest this many times as long as a scan took
MAX_WAITING = 20_000  # files held in memory per folder; a scan finds the others when there is room
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """*quiet_s* without change before a file is read; *give_up_s* after its last change before it counts as broken;
    *rescan_s* between scans, the net under lost events.
    """  # fmt: skip

    quiet_s: float
    give_up_s: float
    rescan_s: float


Process = Callable[[Path, WatchedFolder], Literal["done", "retry"]]
Fail = Callable[[Path, WatchedFolder, DustdError], None]
IsDone = Callable[[Path, WatchedFolder], bool]
Between = Callable[[], str]


def serve(
    folders: Sequence[WatchedFolder],
    timing: Timing,
    *,
    process: Process,
    fail: Fail,
    is_done: IsDone,
    between: Between = str,
) -> None:
    """Process every frame that is in *folders* or arrives there, until SIGTERM or SIGINT.

    *process* cleans one frame, with its model warmed before this call, and calls `notify.heartbeat` when it takes
    long; "retry" says that the file changed while it was read. *fail* records a failed frame. Both may raise
    SurroundingsError. *is_done* tells whether a frame as it is now needs nothing any more; *between* is called between
    frames and returns what else the status line should say, if anything; both must be quick.
    The first signal lets the current frame finish, the second ends the program at once. Main thread only.
    """
    for folder in folders:
        files.remove_stale_temps(folder.output)
    with Watch(folders) as watching:
        loop = _Loop(watching, folders, timing, process=process, fail=fail, is_done=is_done, between=between)
        with _stop_on_signals(loop.stop):
            notify.ready()
            loop.run()
    notify.stopping()
    log.info("stopped")


@contextlib.contextmanager
def only_one(state_folder: Path) -> Iterator[None]:
    """Hold the lock that only one daemon per state folder can have. Raises SurroundingsError if it is taken."""
    state_folder.mkdir(parents=True, exist_ok=True)
    with (state_folder / "dustd.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            lock.seek(0)
            raise SurroundingsError(
                f"another dustd (process {lock.read().strip() or 'unknown'}) already uses these dust maps",
                remedy="Stop it first, or give this one its own map.store",
                path=state_folder,
            ) from exc
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@dataclass(slots=True, kw_only=True)
class _Lane:
    """All that goes on in one watched folder; a pause of one does not hold up the others."""

    folder: WatchedFolder
    settle: Settle
    scans: deque[Iterator[tuple[Path, Look] | None]] = field(default_factory=deque)
    scan_started_at: float = 0.0
    next_scan_at: float = 0.0
    pause_s: float = 0.0
    paused_until: float = 0.0
    problem: str = ""
    hopeless: dict[Path, Look] = field(default_factory=dict)  # failed, and not even that could be recorded


class _Loop:
    def __init__(
        self,
        watching: Watch,
        folders: Sequence[WatchedFolder],
        timing: Timing,
        *,
        process: Process,
        fail: Fail,
        is_done: IsDone,
        between: Between,
    ) -> None:
        self.watching = watching
        self.timing = timing
        self.process = process
        self.fail = fail
        self.is_done = is_done
        self.between = between
        self.outputs = tuple(folder.output for folder in folders)
        self.lanes = {
            folder: _Lane(folder=folder, settle=Settle(quiet_s=timing.quiet_s, give_up_s=timing.give_up_s))
            for folder in folders
        }
        self.stopping = False
        self.next_refresh_at = 0.0
        self.status = self.aside = ""
        self.unreadable: set[str] = set()

    def stop(self) -> None:
        """End after the current frame; safe in a signal handler."""
        self.stopping = True
        self.watching.events.put((None, Path(), 0.0))

    def run(self) -> None:
        while not self.stopping:
            self._drain(self._idle_s(time.monotonic()))
            self._refresh(time.monotonic())
            for lane in self.lanes.values():
                self._scan(lane)
            notify.heartbeat()
            self.aside = self.between()
            self._process_next()

    def _idle_s(self, now: float) -> float:
        """Say how long there is nothing to do but wait for an event."""
        wake_at = now + TICK_S
        for lane in self.lanes.values():
            if lane.scans and len(lane.settle) < MAX_WAITING:
                return 0.0
            due = lane.settle.next_due()
            if due is not None:
                wake_at = min(wake_at, max(due, lane.paused_until))
        return max(0.0, wake_at - now)

    def _drain(self, wait_s: float) -> None:
        """Take the events that are there, waiting for the first; many about one path are one."""
        latest: dict[tuple[WatchedFolder, Path], float] = {}
        with contextlib.suppress(queue.Empty):
            folder, path, at = self.watching.events.get(timeout=wait_s) if wait_s else self.watching.events.get_nowait()
            for _ in range(self.watching.events.qsize() + 1):
                if folder is not None:
                    latest[folder, path] = at
                folder, path, at = self.watching.events.get_nowait()
        for (folder, path), at in latest.items():
            lane = self.lanes[folder]
            look = look_at(path)
            if look is None:
                continue
            if not look.regular:
                if path.is_dir() and not path.is_symlink():  # what was put in before it was watched made no events
                    lane.scans.append(self._walk(lane, path))
            elif len(lane.settle) < MAX_WAITING or path in lane.settle:
                lane.settle.touch(path, at, look)
            else:
                lane.next_scan_at = 0.0

    def _refresh(self, now: float) -> None:
        if now < self.next_refresh_at:
            return
        self.next_refresh_at = now + TICK_S
        for folder in self.watching.refresh():
            self.lanes[folder].next_scan_at = 0.0

    def _scan(self, lane: _Lane) -> None:
        """Take a turn at scanning; what is found is offered to settling."""
        now = time.monotonic()
        if not lane.scans and now >= lane.next_scan_at and self.watching.is_present(lane.folder):
            lane.scans.append(self._walk(lane, lane.folder.path))
            lane.scan_started_at = now
        elif not lane.scans:
            return
        while lane.scans and len(lane.settle) < MAX_WAITING:
            for item in lane.scans[0]:
                if item is not None:
                    self._offer(lane, *item)
                if len(lane.settle) >= MAX_WAITING or time.monotonic() - now > SCAN_TURN_S:
                    return
            lane.scans.popleft()
        if not lane.scans:
            period_s = self.timing.rescan_s if self.watching.has_events(lane.folder) else POLL_S
            took_s = time.monotonic() - lane.scan_started_at
            lane.next_scan_at = time.monotonic() + max(min(period_s, self.timing.rescan_s), SCAN_SHARE * took_s)

    def _walk(self, lane: _Lane, start: Path) -> Iterator[tuple[Path, Look] | None]:
        return scan(start, lane.folder.path, self.outputs, self._complain)

    def _complain(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) and str(error) not in self.unreadable:
            self.unreadable.add(str(error))
            log.warning("folder_unreadable", problem=str(error), remedy="give dustd's user read permission")

    def _offer(self, lane: _Lane, path: Path, look: Look) -> None:
        known = path in lane.settle
        if known or (lane.hopeless.get(path) != look and not self.is_done(path, lane.folder)):
            lane.settle.found(path, time.monotonic(), look)

    def _process_next(self) -> None:
        """Process the first ready frame of each folder that is not paused."""
        for lane in self.lanes.values():
            now = time.monotonic()
            if not self.stopping and now >= lane.paused_until:
                path = lane.settle.take(now, look_at)
                if path is not None:
                    self._process(lane, path)
        waiting = sum(len(lane.settle) for lane in self.lanes.values())
        problems = [lane.problem for lane in self.lanes.values() if lane.problem]
        self._say("; ".join(f"paused: {problem}" for problem in problems) or "idle", waiting)

    def _process(self, lane: _Lane, path: Path) -> None:
        """The frame boundary: nothing that goes wrong with one frame gets past it."""
        try:
            if self._needs_nothing(lane, path):
                lane.settle.done(path)
                return
            self._say(f"cleaning {path.name}", len(lane.settle) - 1)
            log.info("frame_ready", path=str(path), waiting=len(lane.settle) - 1)
            outcome = self.process(path, lane.folder)
        except (ConfigError, ModelError):
            raise
        except SurroundingsError as error:
            self._pause(lane, path, error)
        except DustdError as error:
            self._give_up(lane, path, error)
        except Exception as exc:
            log.exception("frame_crashed", path=str(path))
            problem = f"dustd met an error it does not know ({type(exc).__name__}: {exc})"
            error = FrameError(problem, remedy="Please report it with the log; the original is untouched", path=path)
            self._give_up(lane, path, error)
        else:
            self._resume(lane)
            look = look_at(path)
            if outcome == "retry" and look is not None:
                lane.settle.touch(path, time.monotonic(), look)
            lane.settle.done(path)

    def _needs_nothing(self, lane: _Lane, path: Path) -> bool:
        return self.is_done(path, lane.folder) or is_own_output(path)

    def _give_up(self, lane: _Lane, path: Path, error: DustdError) -> None:
        """Hold the frame back while it may still be arriving, else record that it failed."""
        look = look_at(path)
        if look is None:
            log.info("frame_vanished", path=str(path))
            lane.settle.done(path)
            return
        if lane.settle.hold_back(path, time.monotonic(), look):
            log.info("frame_held_back", path=str(path), problem=error.problem)
            return
        try:
            self.fail(path, lane.folder, error)
        except SurroundingsError as surroundings:
            self._pause(lane, path, surroundings)
            return
        except Exception:
            log.exception("failure_not_recorded", path=str(path))
            lane.hopeless[path] = look
        log.error("frame_failed", path=str(path), problem=error.problem, remedy=error.remedy)
        lane.settle.done(path)

    def _pause(self, lane: _Lane, path: Path, error: SurroundingsError) -> None:
        lane.settle.put_back(path)
        pause_s = min(max(FIRST_PAUSE_S, 2 * lane.pause_s), LONGEST_PAUSE_S)
        if (str(error), pause_s) != (lane.problem, lane.pause_s):
            log.warning("paused", folder=str(lane.folder.path), problem=str(error), retry_s=pause_s)
        lane.problem, lane.pause_s = str(error), pause_s
        lane.paused_until = time.monotonic() + pause_s

    def _resume(self, lane: _Lane) -> None:
        if lane.problem:
            log.info("resumed", folder=str(lane.folder.path))
        lane.problem, lane.pause_s = "", 0.0

    def _say(self, doing: str, waiting: int) -> None:
        status = f"{doing}, {waiting} waiting" + (f"; {self.aside}" if self.aside else "")
        if status != self.status:
            self.status = status
            notify.status(status)


@contextlib.contextmanager
def _stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call *stop* at the first SIGTERM or SIGINT; the second does what it does by default: end at once."""
    signals = (signal.SIGTERM, signal.SIGINT)

    def handle(*_: object) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_DFL)
        stop()

    previous = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
