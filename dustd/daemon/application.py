"""One computer's dustd while it runs: pipeline, reminders, configuration and status, joined to the daemon's loop."""

import contextlib
import dataclasses
import os
import time
from pathlib import Path
from typing import Literal

import structlog

from dustd import files, log, system
from dustd.config import Config
from dustd.daemon import loop, metrics, reminder_channels, status, systemd
from dustd.daemon.commands import Commands
from dustd.daemon.loop import Control
from dustd.daemon.output_folders import OutputFolders
from dustd.daemon.plan import Plan, out_folder, plan_of
from dustd.daemon.relearning import Relearning
from dustd.daemon.reload import ConfigFile, LoadModel, loaded, needs_restart
from dustd.daemon.reminders import Reminders
from dustd.daemon.revisits import Revisits
from dustd.daemon.session_page import SessionPage
from dustd.daemon.status import Progress, Status, Trouble
from dustd.daemon.tally import Tally, now
from dustd.daemon.watch import WatchedFolder
from dustd.daemon.wishes import Wishes
from dustd.errors import DustdError
from dustd.output import ledger, sidecar
from dustd.output.tree import OutputTree
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.report.review_book import SESSION_NAME, SessionPages

logger = structlog.get_logger()

FAILED_LISTED = 100
WRITE_S = 10.0  # the status file is written this often even if nothing changes: it shows that dustd lives
REST_S, FAST_S = 0.5, 1.0  # where frames take less than FAST_S, it is written at most so often
PRUNE_S = 60.0
AT_REST_S = 60.0  # without a frame, until the memory that is kept for the next one is given back


def serve(
    settings: Config, pipeline: Pipeline, *, file: ConfigFile | None = None, load_model: LoadModel | None = None
) -> None:
    """Watch the configured folders and clean with *pipeline* what lands in them, until a signal says stop.

    *file* is looked at again between frames; *load_model* makes another detector when it asks for one.
    """
    application = Application(settings, pipeline, file=file, load_model=load_model)
    plan = application.plan
    with contextlib.closing(application):
        loop.serve(
            plan.folders,
            plan.timing,
            process=application.process,
            fail=application.fail,
            is_done=application.is_done,
            between=application.between,
            reload=application.reload,
            tell=application.tell,
            vanished=application.vanished,
            idle=application.idle,
            connect=application.connect,
        )


class Application:
    """What the loop calls: its methods are the arguments of `daemon.serve`."""

    def __init__(
        self,
        settings: Config,
        pipeline: Pipeline,
        *,
        file: ConfigFile | None = None,
        load_model: LoadModel | None = None,
    ) -> None:
        self._settings, self._pipeline, self._file, self._load_model = settings, pipeline, file, load_model
        self._plan = plan_of(settings)
        self._outputs = OutputFolders()
        self._wishes = Wishes(settings.map.state_folder)
        self._commands = Commands(pipeline, self._wishes)
        self._page = SessionPage(pipeline)
        self._maps = Relearning(pipeline.store)
        self._control: Control | None = None
        self._pipeline.reviewer = self._reviewer(settings)
        self._pipeline.tree = _output_tree(settings)
        self._pipeline.sensitivity_of = self._sensitivity_of
        self._revisits = self._make_revisits(settings)
        self._reminders = self._make_reminders(settings)
        self._metrics: metrics.MetricsServer | None = None
        self._started_at = self._loaded_at = now()
        self._config_problem: Trouble | None = None
        self._tally = Tally()
        self._reminding = ""
        self._troubles: dict[Literal["metrics", "page"], Trouble] = {}
        self._progress = Progress(doing="starting", folders=())
        self._written: Status | None = None
        self._written_at = self._pruned_at = time.monotonic()
        self._worked_at: float | None = time.monotonic()  # None at rest
        self._serve_metrics(settings.metrics.port)

    # --- frames ------------------------------------------------------------------------------------------------

    def is_done(self, source: Path, folder: WatchedFolder) -> bool:
        """Tell whether a frame needs nothing any more; note if that is because it failed."""
        systemd.heartbeat()  # it may read the whole file, and a search asks for thousands
        path = out_folder(source, folder) / sidecar.sidecar_name(source.name)
        done = ledger.is_done(source, path) and not files.is_claimed(path)  # claimed: the map may not know it yet
        failure = ledger.failure(path) if done else None
        if failure:
            self._tally.failed[source] = Trouble(path=str(source), problem=failure[0], remedy=failure[1])
        else:
            self._tally.failed.pop(source, None)
        return done

    def process(self, source: Path, folder: WatchedFolder) -> None:
        """Clean one frame."""
        self._outputs.make(out_folder(source, folder), folder.output)
        began = time.monotonic()
        self._page.working(source)
        try:
            record = self._pipeline.process(source, out_folder(source, folder))
        finally:
            self._page.working(None)
            self._worked_at = time.monotonic()
        self._reminders.seen(record.camera.body_id)
        self._page.note(source, self._tally.cleaned(source, record, time.monotonic() - began))
        self._revisits.note(source, out_folder(source, folder), record)

    def idle(self) -> bool:
        """Decide anew on one of the latest frames, if the maps have learnt what matters to it; tell if more are due."""
        began = time.monotonic()
        improved, more = self._revisits.turn()
        if improved is not None:
            self._worked_at = time.monotonic()
            self._page.note(
                improved.source, self._tally.visited(improved.source, improved.visit, time.monotonic() - began)
            )
        return more

    def fail(self, source: Path, folder: WatchedFolder, error: DustdError) -> None:
        """Record a failed frame."""
        state = self._tally.failed_by(source, error)
        self._outputs.make(out_folder(source, folder), folder.output)
        self._pipeline.fail(source, out_folder(source, folder), error)
        self._page.note(source, state)

    def vanished(self, source: Path) -> None:
        """Note a frame that was gone before it was cleaned."""
        self._page.note(source, self._tally.vanished(source))

    # --- between frames ----------------------------------------------------------------------------------------

    def between(self) -> str:
        """Look after the maps and the reminders; say what the status line should say of these."""
        self._maps.turn([folder.output for folder in self._plan.folders])
        self._reminding = self._reminders.turn()
        self._page.look_after_bodies()
        if self._worked_at is not None and time.monotonic() - self._worked_at >= AT_REST_S:
            self._worked_at = None
            system.return_freed_memory()
        return "; ".join([*(each.problem for each in self._told_troubles()), *filter(None, [self._reminding])])

    def connect(self, control: Control) -> None:
        """Take in how to reach the loop, and serve the session page."""
        self._control = control
        self._page.connect(control)
        self._configure_page()

    def reload(self, asked: bool) -> Plan | None:
        """Do what was asked for on the session page, and take in a changed configuration.

        What cannot be used is told and leaves the one in force.
        """
        self._obey()
        if self._file is not None:
            try:
                new = self._file.read_again(asked=asked)
                if new is not None:
                    self._take_in(new)
            except DustdError as error:
                logger.warning("configuration_refused", problem=error.problem, remedy=error.remedy)
                self._config_problem = Trouble(path=str(self._file.path), problem=error.problem, remedy=error.remedy)
        plan = self.plan
        if plan == self._plan:
            return None
        self._plan = plan
        return plan

    @property
    def plan(self) -> Plan:
        """What to watch, and how, as configured and asked for."""
        plan, order = plan_of(self._settings), self._wishes.order
        timing = dataclasses.replace(plan.timing, newest_first=order == "newest") if order else plan.timing
        return dataclasses.replace(plan, timing=timing, paused=self._commands.paused)

    def _obey(self) -> None:
        for command in self._page.asked():
            assert self._control is not None, "nobody can ask before the loop is there"
            done = self._commands.perform(command, self._control)
            if done.source is not None:
                self._worked_at = time.monotonic()
            if done.source is not None and done.visit is not None and done.visit.differs:
                self._page.note(done.source, self._tally.visited(done.source, done.visit, 0.0))
            elif done.source is not None:
                self._page.read_again(done.source, done.status)
            if done.sensitivity:  # the other frames are decided on anew
                self._revisits = self._make_revisits(self._settings)
            self._page.answer(done.result)
            if command.kind in ("order", "sensitivity"):
                self._configure_page()

    def tell(self, progress: Progress) -> None:
        """Leave the status where `dustd status` finds it."""
        self._progress = progress
        if time.monotonic() - self._pruned_at > PRUNE_S:
            self._pruned_at = time.monotonic()
            self._tally.prune(folder.path for folder in self._settings.folders)
        self._write()

    def close(self) -> None:
        """Say goodbye."""
        self._reminders.close()
        self._page.close()
        if self._metrics:
            self._metrics.close()
        self._progress = dataclasses.replace(self._progress, doing="stopped")
        self._write(stopped=True)

    def _take_in(self, new: Config) -> None:
        old, stuck = self._settings, needs_restart(self._settings, new)
        self._config_problem = None
        if stuck:
            remedy = "Restart dustd; all else is in force"
            problem = f"{' and '.join(stuck)} cannot change while dustd runs"
            logger.warning("restart_needed", keys=stuck, remedy=remedy)
            self._config_problem = Trouble(path=str(self._file and self._file.path), problem=problem, remedy=remedy)
            new = dataclasses.replace(new, map=old.map)
        if new == old:
            return
        if new.model != old.model and self._load_model:
            logger.info("loading_model", id=new.model.id, device=new.model.device)
            # First, as it may fail, and then nothing has changed.
            self._pipeline.detector = loaded(self._load_model, new.model)
        self._pipeline.output = new.output
        self._pipeline.reviewer = self._reviewer(new)
        self._pipeline.tree = _output_tree(new)
        self._revisits = self._make_revisits(new)
        if (new.reminders, new.report) != (old.reminders, old.report):
            self._reminders.close()
            self._reminders = self._make_reminders(new)
        if new.metrics != old.metrics:
            self._serve_metrics(new.metrics.port)
        if new.log != old.log:
            log.setup(new.log.format, new.log.level)
        changed = [
            each.name for each in dataclasses.fields(Config) if getattr(new, each.name) != getattr(old, each.name)
        ]
        self._settings, self._loaded_at = new, now()
        logger.info("configuration_changed", keys=changed)
        self._configure_page()

    def _configure_page(self) -> None:
        """Serve the session page as the settings ask for."""
        folders, file = self.plan.folders, self._file.path if self._file else None
        self._commands.configure(self._settings, folders)
        said = self._wishes.words(self._settings)
        trouble = self._page.configure(self._settings, folders, file, self._loaded_at, said)
        self._note_trouble("page", trouble)

    def _reviewer(self, settings: Config) -> SessionPages | None:
        """Make the pages on which frames are checked, if they are wanted."""
        if settings.output.review == "none":
            return None
        outputs = [folder.output for folder in plan_of(settings).folders]
        for output in outputs:
            logger.info("review_page", path=str(output / SESSION_NAME))
        return SessionPages(outputs, settings.map.state_folder / "review")

    def _make_revisits(self, settings: Config) -> Revisits:
        return Revisits(self._pipeline, plan_of(settings).folders, settings.revisit.hours)

    def _make_reminders(self, settings: Config) -> Reminders:
        state_file = settings.map.state_folder / "reminders.json"
        return Reminders(
            self._pipeline.store, settings.report, reminder_channels.configured(settings.reminders), state_file
        )

    def _serve_metrics(self, port: int) -> None:
        if self._metrics:
            self._metrics.close()
        self._metrics, trouble = None, None
        if port:
            try:
                self._metrics = metrics.MetricsServer(port)
                logger.info("metrics_served", address=f"http://{metrics.HOST}:{self._metrics.port}/metrics")
            except DustdError as error:
                logger.warning("no_metrics", problem=error.problem, remedy=error.remedy)
                trouble = Trouble(path="metrics", problem=error.problem, remedy=error.remedy)
        self._note_trouble("metrics", trouble)

    def _note_trouble(self, with_what: Literal["metrics", "page"], trouble: Trouble | None) -> None:
        self._troubles.pop(with_what, None)
        if trouble is not None:
            self._troubles[with_what] = trouble

    def _write(self, *, stopped: bool = False) -> None:
        """Write the status if it has changed, or was not written for a while."""
        since_s = time.monotonic() - self._written_at
        if not stopped and (self._progress.seconds_per_frame or FAST_S) < FAST_S and since_s < REST_S:
            return
        state = self._status(stopped=stopped)
        same = self._written is not None and state == dataclasses.replace(self._written, written_at=state.written_at)
        if same and since_s < WRITE_S:
            return
        self._written, self._written_at = state, time.monotonic()
        if self._metrics:
            self._metrics.publish(metrics.text(state))
        self._page.tell(state, self._plan)
        path = self._settings.map.state_folder / status.FILE_NAME
        try:
            files.overwrite(path, status.encode(state))
        except OSError as exc:  # the disk is full, say: frames go first
            logger.debug("status_not_written", path=str(path), problem=str(exc))

    def _status(self, *, stopped: bool) -> Status:
        detector = self._pipeline.detector
        return Status(
            pid=os.getpid(),
            started_at=self._started_at,
            written_at=now(),
            config=str(self._file.path) if self._file else "",
            config_loaded_at=self._loaded_at,
            config_problem=self._config_problem,
            model_id=detector.model_id,
            device=detector.device,
            progress=self._progress,
            frames=dict(self._tally.counts),
            last_frames=tuple(self._tally.last),
            bodies=tuple(self._tally.bodies.values()),
            reminders=self._reminding,
            failed=tuple(self._tally.failed.values())[-FAILED_LISTED:],
            failed_total=len(self._tally.failed),
            stopped=stopped,
            troubles=self._told_troubles(),
            page=self._page.address,
        )

    def _told_troubles(self) -> tuple[Trouble, ...]:
        return tuple(filter(None, (self._maps.trouble, *self._troubles.values())))

    def _sensitivity_of(self, body_id: str, source: Path) -> float:
        return self._wishes.sensitivity_of(body_id, source, self._settings)


def _output_tree(settings: Config) -> OutputTree:
    return OutputTree([folder.output for folder in plan_of(settings).folders])
