"""The session page as the daemon knows it: served by a process of its own, told what happens, its commands heard.

Commands wait until the loop asks for them, between two frames; only the loop's thread does anything. What goes wrong
with the page costs the page.
"""

import contextlib
import queue
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from dustd.config import Config, WebSettings
from dustd.daemon.commands import refused, sidecar_path
from dustd.daemon.loop import WAKE, Control
from dustd.daemon.plan import Plan
from dustd.daemon.status import FolderState, FrameState, Status, Trouble
from dustd.daemon.tally import now
from dustd.daemon.watch import WatchedFolder
from dustd.errors import DustdError, SurroundingsError
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.web import access
from dustd.web.client import PageClient, listen_at
from dustd.web.messages import (
    Access,
    Bodies,
    BodyNow,
    Command,
    FolderNow,
    FrameNews,
    Matter,
    Result,
    Setup,
    Snapshot,
    Watched,
)

log = structlog.get_logger()

MOST_COMMANDS = 200  # that wait; a person clicks no faster
NEXT_UP, NEXT_UP_S = 200, 0.5  # so many waiting frames are told by name, so often at least
MANY_WAIT = 1000  # from here on, not more often either: all are looked through
BODIES_S, BODIES_SHARE = 10.0, 0.01  # between readings of all maps, and the share of the time that these may take


class SessionPage:
    """Joins *pipeline*'s results and the daemon's status with the page; does nothing before `connect`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._commands: queue.Queue[Command] = queue.Queue(MOST_COMMANDS)
        self._client: PageClient | None = None
        self._control: Control | None = None
        self._setup: Setup | None = None
        self._watched: tuple[WatchedFolder, ...] = ()
        self._in_hand: Path | None = None
        self._status: Status | None = None
        self._plan: Plan | None = None
        self._next_up: tuple[str, ...] = ()
        self._next_up_at = self._bodies_at = 0.0
        self._waiting = -1
        self._are_bodies_told = False
        self.address = ""

    # --- whether and how it is served --------------------------------------------------------------------------

    def connect(self, control: Control) -> None:
        """Take in how to reach the loop."""
        self._control = control

    def configure(
        self,
        settings: Config,
        watched: Sequence[WatchedFolder],
        file: Path | None,
        loaded_at: str,
        said: Sequence[tuple[str, str]] = (),
    ) -> Trouble | None:
        """Serve the page as *settings* from *file* ask for; *said* is what was asked for on it, for people to read.

        Return what is in the way, if anything.
        """
        web, state_folder, self._watched = settings.web, settings.map.state_folder, tuple(watched)
        try:
            if self._client is None or self._setup is None or self._setup.config.web != web:
                self._serve(web, state_folder)
            if self._client is None:
                return None
            self._setup = Setup(
                access=Access(
                    secret=bytes.fromhex(access.keep(state_folder, self.address).secret),
                    listen=web.listen,
                    port=int(self.address.rpartition(":")[2]),
                    password=access.read_password(web.password_file),
                ),
                watched=tuple(Watched(path=each.path, output=each.output) for each in watched),
                config=settings,
                file=file,
                loaded_at=loaded_at,
                pictures=state_folder / "web" / "pictures",
                scale=self._pipeline.scale,
                said=tuple(said),
            )
        except (DustdError, OSError) as exc:
            self._stop()
            problem = exc.problem if isinstance(exc, DustdError) else f"the session page cannot be served ({exc})"
            remedy = exc.remedy if isinstance(exc, DustdError) else "Check the state folder's disk and rights"
            log.warning("no_page", problem=problem, remedy=remedy)
            return Trouble(path="session page", problem=problem, remedy=remedy)
        self._client.tell(self._setup)
        self._are_bodies_told = False
        return None

    def _serve(self, web: WebSettings, state_folder: Path) -> None:
        """Listen where the settings say, if anywhere. Raises SurroundingsError, OSError."""
        self._stop()
        access.keep(state_folder, None)
        if web.port:
            listening = listen_at(web.listen, web.port)
            self.address = access.address(web.listen, listening.getsockname()[1])
            self._client = PageClient(listening, self._hear)
            log.info("page_served", address=self.address)

    def close(self) -> None:
        """End the page's process."""
        setup = self._setup
        self._stop()
        if setup is not None:
            with contextlib.suppress(OSError):
                access.keep(setup.config.map.state_folder, None)

    def _stop(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self.address = None, ""

    # --- what it is told ---------------------------------------------------------------------------------------

    def tell(self, status: Status, plan: Plan) -> None:
        """Tell how the daemon does, and by which plan."""
        self._status, self._plan = status, plan
        self._tell_snapshot()

    def working(self, source: Path | None) -> None:
        """Tell which frame is in hand."""
        self._in_hand = source
        self._tell_snapshot()

    def note(self, source: Path, state: FrameState | None) -> None:
        """Tell what became of a frame."""
        if state is not None:
            self.read_again(source, state.status, seconds=state.seconds or None, change=state.change)

    def read_again(self, source: Path, status: str, *, seconds: float | None = None, change: str = "") -> None:
        """Tell that a frame's sidecar is another one now."""
        folder = self._folder_of(source)
        if self._client is not None and folder is not None:
            self._are_bodies_told = False
            path = sidecar_path(source, folder)
            self._client.tell(
                FrameNews(source=source, sidecar=path, status=status, at=now(), seconds=seconds, change=change)
            )

    def look_after_bodies(self) -> None:
        """Tell what is known of the sensors, if that may have changed; not often, as it reads all maps."""
        store, now = self._pipeline.store, time.monotonic()
        if (
            self._client is None
            or self._are_bodies_told
            or now < self._bodies_at
            or store.damaged
            or store.lost
            or store.away
        ):
            return
        assert self._setup is not None
        try:
            bodies = tuple(
                BodyNow(
                    dust=dust,
                    state=store.state(dust.body_id),
                    verdicts=store.rejections(dust.body_id),
                    can_undo_cleaning=len(store.epochs(dust.body_id)) > 1,
                )
                for dust in store.bodies()
            )
            self._client.tell(Bodies(bodies=bodies, rules=self._setup.config.report))
            self._are_bodies_told = True
        except DustdError as error:
            log.info("bodies_not_told", problem=error.problem)
        took_s = time.monotonic() - now
        self._bodies_at = time.monotonic() + max(BODIES_S, took_s / BODIES_SHARE)

    def _tell_snapshot(self) -> None:
        status, plan = self._status, self._plan
        if self._client is None or status is None or plan is None or self._control is None:
            return
        now, progress = time.monotonic(), status.progress
        due_s = NEXT_UP_S if progress.waiting > MANY_WAIT or progress.waiting == self._waiting else 0.0
        if now - self._next_up_at >= due_s:
            self._next_up_at, self._waiting = now, progress.waiting
            self._next_up = tuple(map(str, self._control.next_up(NEXT_UP)))
        in_hand = self._folder_of(self._in_hand) if self._in_hand is not None else None
        self._client.tell(
            Snapshot(
                doing=progress.doing if self._in_hand is None else f"cleaning {self._in_hand.name}",
                paused=plan.paused,
                order="newest" if plan.timing.newest_first else "oldest",
                waiting=progress.waiting - (in_hand is not None),
                in_hand=str(self._in_hand) if self._in_hand else None,
                next_up=self._next_up,
                seconds_per_frame=progress.seconds_per_frame,
                backlog_s=progress.backlog_s,
                counts=status.frames,
                folders=tuple(_folder_now(each, in_hand) for each in progress.folders),
                failed=tuple(map(_matter, status.failed)),
                config_problem=_matter(status.config_problem) if status.config_problem else None,
                troubles=tuple(map(_matter, status.troubles)),
                reminders=status.reminders,
            )
        )

    def _folder_of(self, source: Path) -> WatchedFolder | None:
        return next((each for each in self._watched if source.is_relative_to(each.path)), None)

    # --- what it asks for --------------------------------------------------------------------------------------

    def asked(self) -> list[Command]:
        """Give the commands that have come, the first one first."""
        return [self._commands.get_nowait() for _ in range(self._commands.qsize())]

    def answer(self, result: Result) -> None:
        """Tell what became of a command; it may have changed what is known of the bodies."""
        self._are_bodies_told, self._bodies_at = False, 0.0
        if self._client is not None:
            self._client.tell(result)

    def _hear(self, command: Command) -> None:
        """Take a command, in another thread; the loop asks for it when it comes by."""
        try:
            self._commands.put_nowait(command)
        except queue.Full:
            error = SurroundingsError("too much is asked for at a time", remedy="Ask again in a moment")
            self.answer(refused(command, error).result)
        if self._control is not None:
            self._control.post(WAKE)


def _matter(each: Trouble) -> Matter:
    return Matter(path=each.path, problem=each.problem, remedy=each.remedy, retry_at=each.retry_at)


def _folder_now(each: FolderState, in_hand: WatchedFolder | None) -> FolderNow:
    """Say how a folder does; the frame *in_hand* waits no more."""
    taken = in_hand is not None and each.path == str(in_hand.path)
    return FolderNow(
        path=each.path,
        output=each.output,
        present=each.present,
        waiting=each.waiting - taken,
        paused=_matter(each.paused) if each.paused else None,
        put_off=tuple(map(_matter, each.put_off)),
        held=tuple(map(_matter, each.held)),
        unreadable=each.unreadable,
    )
