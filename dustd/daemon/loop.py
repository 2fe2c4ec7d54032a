"""The daemon's loop: watch, settle, process one frame at a time, for months.

Two threads: watchdog's, which only queues events, and this one, which does everything else, so there are no locks.
A frame meets one of four fates. Its own fault (FrameError, or an error nobody foresaw): it is tried once more when
it changes or has had time to arrive whole, then recorded as failed. Its file cannot be read just now
(UnreadableError): it is tried again, later and later. The surroundings' fault (disk full, share away): its folder
pauses and the same frame is tried again. Otherwise it is done. What a frame *is* and what processing means, this
module does not know.
"""

import contextlib
import queue
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from dustd import files, system
from dustd.daemon import systemd
from dustd.daemon.folder_queue import FolderQueue, IsDone, Timing
from dustd.daemon.plan import Plan
from dustd.daemon.scan import look_at
from dustd.daemon.status import Progress, duration
from dustd.daemon.watch import Event, Watch, WatchedFolder
from dustd.errors import (
    ConfigError,
    DustdError,
    FrameError,
    ModelError,
    OwnOutputError,
    SurroundingsError,
    UnreadableError,
    cannot_be_read,
)
from dustd.output.ledger import is_own_output

log = structlog.get_logger()

TICK_S = 1.0  # the longest sleep: heartbeat, folders that come and go
PACE_FRAMES = 20  # the time per frame is the mean of so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What others may ask of the loop. *post* puts an event on its queue, from any thread: it looks at the path of a
    watched folder, or only wakes up. *next_up* gives the first frames that wait, up to a number; in the loop's thread.
    """

    post: Callable[[Event], None]
    next_up: Callable[[int], list[Path]]


WAKE: Event = (None, Path(), 0.0)

Process = Callable[[Path, WatchedFolder], None]
Fail = Callable[[Path, WatchedFolder, DustdError], None]
Between = Callable[[], str]
Reload = Callable[[bool], Plan | None]
Tell = Callable[[Progress], None]
Vanished = Callable[[Path], None]
Idle = Callable[[], bool]
Connect = Callable[[Control], None]


def serve(
    folders: Sequence[WatchedFolder],
    timing: Timing,
    *,
    process: Process,
    fail: Fail,
    is_done: IsDone,
    between: Between = str,
    reload: Reload = lambda _asked: None,
    tell: Tell = lambda _progress: None,
    vanished: Vanished = lambda _path: None,
    idle: Idle = lambda: False,
    connect: Connect = lambda _control: None,
) -> None:
    """Process every frame that is in *folders* or arrives there, until SIGTERM or SIGINT.

    *process* cleans one frame, with its model warmed before this call, and calls `systemd.heartbeat` when it takes
    long. *fail* records a failed frame. Both may raise SurroundingsError. *is_done* tells whether a frame as it is now
    needs nothing any more. Called between frames:
    *between*, which returns what else the status line should say, if anything; *reload*, which gives a new plan if
    there is one (told True after SIGHUP, else False); *tell*, which hears of every turn of the loop. These must be
    quick. *vanished* hears of frames that were gone when their turn came, or while they were read. *idle* is
    called while no frame waits: it works on one frame at most, and tells whether it has more to do. *connect* is
    called once, with a way to ask things of the loop. SIGHUP also tries
    again at once what was put off, and searches all folders.
    The first signal lets the current frame finish, the second ends the program at once. Main thread only.
    """
    _remove_stale_temps(folders)
    with Watch(folders) as watching:
        loop = _Loop(watching, Plan(folders=tuple(folders), timing=timing), process, fail, is_done)
        loop.vanished, loop.idle = vanished, idle
        connect(Control(post=watching.events.put, next_up=loop.next_up))
        with _on_signals(loop.stop, loop.reload_now):
            systemd.ready()
            log.info("ready")
            loop.run(between, reload, tell)
    systemd.stopping()
    log.info("stopped")


class _Loop:
    def __init__(self, watching: Watch, plan: Plan, process: Process, fail: Fail, is_done: IsDone) -> None:
        self.watching = watching
        self.process = process
        self.fail = fail
        self.is_done = is_done
        self.folder_queues: dict[WatchedFolder, FolderQueue] = {}
        self.stopping = self.reload_asked = False
        self.next_refresh_at = 0.0
        self.status = self.aside = ""
        self.paces_s: deque[float] = deque(maxlen=PACE_FRAMES)
        self.tell: Tell = lambda _progress: None
        self.vanished: Vanished = lambda _path: None
        self.idle: Idle = lambda: False
        self.has_more = False
        self.apply(plan)

    def apply(self, plan: Plan) -> None:
        """Watch what *plan* says; folders that stay keep what waits in them."""
        self.outputs = tuple(folder.output for folder in plan.folders)
        self.paused = plan.paused
        for folder, folder_queue in self.folder_queues.items():
            if folder not in plan.folders:
                log.info("folder_released", folder=str(folder.path), waiting=len(folder_queue.settle))
        self.folder_queues = {
            folder: self.folder_queues.get(folder) or FolderQueue(folder, plan.timing, self.is_done)
            for folder in plan.folders
        }
        for folder_queue in self.folder_queues.values():
            folder_queue.retime(plan.timing)
        self.watching.change(plan.folders)
        self.next_refresh_at = 0.0

    def stop(self) -> None:
        """End after the current frame; safe in a signal handler."""
        self.stopping = True
        self.watching.events.put(WAKE)

    def reload_now(self) -> None:
        """Reload and try everything again after the current frame; safe in a signal handler."""
        self.reload_asked = True
        self.watching.events.put(WAKE)

    def run(self, between: Between, reload: Reload, tell: Tell) -> None:
        self.tell = tell
        while not self.stopping:
            self._drain(self._idle_s(time.monotonic()))
            self._reload(reload)
            self._refresh(time.monotonic())
            for folder, folder_queue in self.folder_queues.items():
                folder_queue.scan(
                    self.outputs,
                    present=self.watching.is_present(folder),
                    has_events=self.watching.has_events(folder),
                )
            systemd.heartbeat()
            self.aside = between()
            self._process_next()
            self.has_more = self._is_idle() and self.idle()

    def next_up(self, count: int) -> list[Path]:
        """Give the first frames that wait, folder by folder."""
        return [path for each in self.folder_queues.values() for path in each.settle.first(count)][:count]

    def _is_idle(self) -> bool:
        """Tell whether no frame waits, rests or may just have come."""
        busy = self.stopping or self.paused or self.reload_asked or not self.watching.events.empty()
        return not busy and all(folder_queue.is_idle() for folder_queue in self.folder_queues.values())

    def _idle_s(self, now: float) -> float:
        """Say how long there is nothing to do but wait for an event."""
        if self.has_more:
            return 0.0
        queues = () if self.paused else self.folder_queues.values()
        due_at = min((folder_queue.due_at() for folder_queue in queues), default=float("inf"))
        return max(0.0, min(now + TICK_S, due_at) - now)

    def _drain(self, wait_s: float) -> None:
        """Take the events that are there, waiting for the first; many about one path are one."""
        latest = {(folder, path): at for folder, path, at in take_events(self.watching.events, wait_s) if folder}
        for (folder, path), at in latest.items():
            if folder in self.folder_queues:
                self.folder_queues[folder].heard(path, at, self.outputs)

    def _reload(self, reload: Reload) -> None:
        asked, self.reload_asked = self.reload_asked, False
        if asked:
            systemd.reloading()
        plan = reload(asked)
        if plan is not None:
            _remove_stale_temps([folder for folder in plan.folders if folder not in self.folder_queues])
            self.apply(plan)
        if asked:
            for folder_queue in self.folder_queues.values():
                folder_queue.try_again()
            systemd.ready()

    def _refresh(self, now: float) -> None:
        if now < self.next_refresh_at:
            return
        self.next_refresh_at = now + TICK_S
        for folder, folder_queue in self.folder_queues.items():
            if self.watching.has_events(folder) and folder_queue.misses_events():
                log.warning("watching_anew", folder=str(folder.path))
                self.watching.release(folder)
        for folder in self.watching.refresh():
            self.folder_queues[folder].try_again()

    def _process_next(self) -> None:
        """Process the first ready frame of each folder that is not paused."""
        for folder_queue in self.folder_queues.values():
            path = None if self.stopping or self.paused else folder_queue.take()
            for gone in folder_queue.vanished():
                self._note_vanished(folder_queue, gone)
            if path is not None:
                self._process(folder_queue, path)
        problems = [str(folder_queue.paused) for folder_queue in self.folder_queues.values() if folder_queue.paused]
        resting = "paused" if self.paused else "idle"
        self._say("; ".join(f"paused: {problem}" for problem in problems) or resting)

    def _process(self, folder_queue: FolderQueue, path: Path) -> None:
        """The frame boundary: nothing that goes wrong with one frame gets past it."""
        try:
            if self._needs_nothing(folder_queue, path):
                folder_queue.finish(path)
                return
            self._say(f"cleaning {path.name}", in_hand=1)
            log.info("frame_ready", path=str(path), waiting=len(folder_queue.settle) - 1)
            began = time.monotonic()
            self.process(path, folder_queue.folder)
        except (ConfigError, ModelError):
            raise
        except SurroundingsError as error:
            folder_queue.pause(path, error)
        except OwnOutputError as error:
            self._leave_alone(folder_queue, path, error)
        except DustdError as error:
            self._give_up(folder_queue, path, error)
        except OSError as exc:
            self._give_up(folder_queue, path, cannot_be_read(exc, path))
        except Exception as exc:
            log.exception("frame_crashed", path=str(path))
            problem = f"dustd met an error it does not know ({type(exc).__name__}: {exc})"
            remedy = "Please report it with the log; the original is untouched"
            self._give_up(folder_queue, path, FrameError(problem, remedy=remedy, path=path))
        else:
            self.paces_s.append(time.monotonic() - began)
            folder_queue.resume(path)
            folder_queue.finish(path)

    def _needs_nothing(self, folder_queue: FolderQueue, path: Path) -> bool:
        return self.is_done(path, folder_queue.folder) or is_own_output(path)

    def _leave_alone(self, folder_queue: FolderQueue, path: Path, error: OwnOutputError) -> None:
        """Pass over a cleaned file that came back, until it changes."""
        log.info("own_output_left_alone", path=str(path), problem=error.problem)
        look = look_at(path)
        if look is not None:
            folder_queue.give_up(path, look)
        folder_queue.finish(path)

    def _give_up(self, folder_queue: FolderQueue, path: Path, error: DustdError) -> None:
        """Hold the frame back while it may still be arriving or cannot be read, else record that it failed."""
        look = look_at(path)
        if look is None:
            self._note_vanished(folder_queue, path)
            folder_queue.finish(path)
            return
        if isinstance(error, UnreadableError):
            folder_queue.put_off(path, error)
            return
        if folder_queue.hold_back(path, look, error):
            log.info("frame_held_back", path=str(path), problem=error.problem)
            return
        try:
            self.fail(path, folder_queue.folder, error)
        except SurroundingsError as surroundings:
            folder_queue.pause(path, surroundings)
            return
        except DustdError as unrecorded:  # its sidecar's name is too long, or a stranger's
            log.warning("failure_not_recorded", path=str(path), problem=unrecorded.problem, remedy=unrecorded.remedy)
            folder_queue.give_up(path, look)
        except Exception:
            log.exception("failure_not_recorded", path=str(path))
            folder_queue.give_up(path, look)
        log.error("frame_failed", path=str(path), problem=error.problem, remedy=error.remedy)
        folder_queue.finish(path)

    def _note_vanished(self, folder_queue: FolderQueue, path: Path) -> None:
        """Tell that a frame was moved away or deleted before it was cleaned; not if the whole folder is away."""
        if files.is_folder(folder_queue.folder.path):
            log.info("frame_vanished", path=str(path))
            self.vanished(path)

    def _say(self, doing: str, *, in_hand: int = 0) -> None:
        """Tell service manager and status file; *in_hand* frames are being worked on and do not wait."""
        progress = Progress(
            doing=doing,
            folders=tuple(
                folder_queue.state(
                    present=self.watching.is_present(folder), has_events=self.watching.has_events(folder)
                )
                for folder, folder_queue in self.folder_queues.items()
            ),
            seconds_per_frame=sum(self.paces_s) / len(self.paces_s) if self.paces_s else None,
        )
        self.tell(progress)
        time_left = f" (about {duration(progress.backlog_s)})" if progress.waiting and progress.backlog_s else ""
        status = f"{doing}, {progress.waiting - in_hand} waiting{time_left}" + (f"; {self.aside}" if self.aside else "")
        if status != self.status:
            self.status = status
            systemd.status(status)


def take_events(events: "queue.SimpleQueue[Event]", wait_s: float) -> list[Event]:
    """Take the events that are there, waiting up to *wait_s* seconds for the first.

    What comes while they are taken stays for the next turn, so that a flood does not keep the loop here.
    """
    taken: list[Event] = []
    with contextlib.suppress(queue.Empty):
        taken.append(events.get(timeout=wait_s) if wait_s else events.get_nowait())
        taken.extend(events.get_nowait() for _ in range(events.qsize()))
    return taken


def _remove_stale_temps(folders: Sequence[WatchedFolder]) -> None:
    for folder in folders:
        files.remove_stale_temps(folder.output)


def ignore_hangup() -> None:
    """Let a SIGHUP that comes before `serve` pass: all is read and tried anyway. On a terminal it means goodbye."""
    if not sys.stderr.isatty():
        system.ignore_hangup()


@contextlib.contextmanager
def _on_signals(stop: Callable[[], None], reload_now: Callable[[], None]) -> Iterator[None]:
    """Call *stop* at the first SIGTERM or SIGINT; the second does what it does by default: end at once.

    Call *reload_now* at SIGHUP, unless it says that the terminal has been closed: that stops, too.
    """
    ending = (signal.SIGTERM, signal.SIGINT)
    on_terminal = sys.stderr.isatty()

    def end(*_: object) -> None:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)
        stop()

    def hang_up(*_: object) -> None:
        if on_terminal and not sys.stderr.isatty():
            end()
        else:
            reload_now()

    handlers: dict[signal.Signals, Callable[..., None]] = dict.fromkeys(ending, end)
    if system.HANGUP is not None:
        handlers[system.HANGUP] = hang_up
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
