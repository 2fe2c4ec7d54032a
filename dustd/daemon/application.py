"""One computer's dustd while it runs: pipeline, reminders, configuration and status, joined to the daemon's loop."""

import contextlib
import dataclasses
import datetime
import os
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import structlog

from dustd import files, log
from dustd.config import Config, ModelSettings
from dustd.daemon import loop, metrics, reminder_channels, status, systemd
from dustd.daemon.folder_queue import Timing
from dustd.daemon.loop import Plan
from dustd.daemon.output_folders import OutputFolders
from dustd.daemon.reload import ConfigFile, needs_restart
from dustd.daemon.reminders import Reminders
from dustd.daemon.revisits import Revisits
from dustd.daemon.status import BodyState, FrameState, Progress, Status, Trouble
from dustd.daemon.watch import WatchedFolder
from dustd.detector.detect import Detector
from dustd.dustmap.recovery import relearn
from dustd.errors import DustdError, ModelError
from dustd.output import ledger, sidecar
from dustd.output.tree import OutputTree
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.report.review_book import SESSION_NAME, SessionPages
from dustd.text import spots_changed

logger = structlog.get_logger()

LAST_FRAMES = 10
FAILED_LISTED = 100
WRITE_S = 10.0  # the status file is written this often even if nothing changes: it shows that dustd lives
REST_S, FAST_S = 0.5, 1.0  # where frames take less than FAST_S, it is written at most so often
PRUNE_S = 60.0
FIRST_LEARN_PAUSE_S, LONGEST_LEARN_PAUSE_S = 2.0, 900.0  # between tries to learn lost maps again

LoadModel = Callable[[ModelSettings], Detector]


def serve(
    settings: Config, pipeline: Pipeline, *, file: ConfigFile | None = None, load_model: LoadModel | None = None
) -> None:
    """Watch the configured folders and clean with *pipeline* what lands in them, until a signal says stop.

    *file* is looked at again between frames; *load_model* makes another detector when it asks for one.
    """
    application = Application(settings, pipeline, file=file, load_model=load_model)
    plan = plan_of(settings)
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
        )


def _loaded(load_model: LoadModel, model: ModelSettings) -> Detector:
    """Load a model. Raises ModelError whatever goes wrong: memory of a GPU, a shape that the library refuses."""
    try:
        return load_model(model)
    except DustdError:
        raise
    except Exception as exc:
        remedy = "The model in force stays; correct model.id, model.device or model.engine"
        problem = f"the model {model.id!r} cannot be loaded ({type(exc).__name__}: {exc})"
        raise ModelError(problem, remedy=remedy) from exc


def plan_of(settings: Config) -> Plan:
    """Say what to watch, and how."""
    watch = settings.watch
    return Plan(
        folders=tuple(WatchedFolder(path=each.path, output=settings.output_folder(each)) for each in settings.folders),
        timing=Timing(
            quiet_s=watch.quiet_s,
            give_up_s=watch.give_up_s,
            rescan_s=watch.rescan_s,
            newest_first=watch.order == "newest",
        ),
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
        self._outputs = OutputFolders()
        self._pipeline.reviewer = self._reviewer(settings)
        self._pipeline.tree = _output_tree(settings)
        self._revisits = self._make_revisits(settings)
        self._reminders = self._make_reminders(settings)
        self._metrics: metrics.MetricsServer | None = None
        self._started_at = self._loaded_at = now()
        self._config_problem: Trouble | None = None
        self._counts: Counter[str] = Counter()
        self._last: deque[FrameState] = deque(maxlen=LAST_FRAMES)
        self._bodies: dict[str, BodyState] = {}
        self._failed: dict[Path, Trouble] = {}
        self._counted_as_failed: set[Path] = set()
        self._reminding = ""
        self._troubles: dict[Literal["maps", "metrics"], Trouble] = {}
        self._learn_at = self._learn_pause_s = 0.0
        self._progress = Progress(doing="starting", folders=())
        self._written: Status | None = None
        self._written_at = self._pruned_at = time.monotonic()
        self._serve_metrics(settings.metrics.port)

    # --- frames ------------------------------------------------------------------------------------------------

    def is_done(self, source: Path, folder: WatchedFolder) -> bool:
        """Tell whether a frame needs nothing any more; note if that is because it failed."""
        systemd.heartbeat()  # it may read the whole file, and a search asks for thousands
        path = _out_folder(source, folder) / sidecar.sidecar_name(source.name)
        done = ledger.is_done(source, path) and not files.is_claimed(path)  # claimed: the map may not know it yet
        failure = ledger.failure(path) if done else None
        if failure:
            self._failed[source] = Trouble(path=str(source), problem=failure[0], remedy=failure[1])
        else:
            self._failed.pop(source, None)
        return done

    def process(self, source: Path, folder: WatchedFolder) -> None:
        """Clean one frame."""
        self._outputs.make(_out_folder(source, folder), folder.output)
        began = time.monotonic()
        record = self._pipeline.process(source, _out_folder(source, folder))
        body_id = record.camera.body_id
        self._reminders.seen(body_id)
        self._failed.pop(source, None)
        frames = self._bodies[body_id].frames if body_id in self._bodies else 0
        self._bodies[body_id] = BodyState(body_id=body_id, frames=frames + 1, last_at=now())
        corrected = sum(spot.action != "left" for spot in record.spots)
        self._note(source, record.status, body_id, time.monotonic() - began, len(record.spots), corrected)
        self._revisits.note(source, _out_folder(source, folder), record)

    def idle(self) -> bool:
        """Decide anew on one of the latest frames, if the maps have learnt what matters to it; tell if more are due."""
        began = time.monotonic()
        improved, more = self._revisits.turn()
        if improved is not None and improved.visit.record is not None:
            visit, record = improved.visit, improved.visit.record
            corrected = sum(spot.action != "left" for spot in record.spots)
            kind = status.KEPT if visit.left_alone else status.IMPROVED
            seconds, change = time.monotonic() - began, spots_changed(visit.more, visit.fewer)
            spots = len(record.spots)
            self._note(improved.source, kind, record.camera.body_id, seconds, spots, corrected, change=change)
        return more

    def fail(self, source: Path, folder: WatchedFolder, error: DustdError) -> None:
        """Record a failed frame."""
        self._failed[source] = Trouble(path=str(source), problem=error.problem, remedy=error.remedy)
        self._note(source, "failed", count=source not in self._counted_as_failed)
        self._counted_as_failed.add(source)
        self._outputs.make(_out_folder(source, folder), folder.output)
        self._pipeline.fail(source, _out_folder(source, folder), error)

    def vanished(self, source: Path) -> None:
        """Note a frame that was gone before it was cleaned."""
        self._note(source, status.VANISHED)

    def _note(
        self,
        source: Path,
        kind: str,
        body_id: str = "unknown",
        seconds: float = 0.0,
        spots: int = 0,
        corrected: int = 0,
        *,
        count: bool = True,
        change: str = "",
    ) -> None:
        self._counts[kind] += count
        self._last.append(
            FrameState(
                name=source.name,
                body_id=body_id,
                status=kind,
                at=now(),
                seconds=round(seconds, 2),
                spots=spots,
                corrected=corrected,
                change=change,
            )
        )

    # --- between frames ----------------------------------------------------------------------------------------

    def between(self) -> str:
        """Look after the maps and the reminders; say what the status line should say of these."""
        store = self._pipeline.store
        if (store.damaged or store.lost) and time.monotonic() >= self._learn_at:
            self._learn_again()
        self._reminding = self._reminders.turn()
        return "; ".join([*(each.problem for each in self._troubles.values()), *filter(None, [self._reminding])])

    def reload(self, asked: bool) -> Plan | None:
        """Take in a changed configuration. What cannot be used is told and leaves the one in force."""
        if self._file is None:
            return None
        try:
            new = self._file.read_again(asked=asked)
            return None if new is None else self._take_in(new)
        except DustdError as error:
            logger.warning("configuration_refused", problem=error.problem, remedy=error.remedy)
            self._config_problem = Trouble(path=str(self._file.path), problem=error.problem, remedy=error.remedy)
            return None

    def tell(self, progress: Progress) -> None:
        """Leave the status where `dustd status` finds it."""
        self._progress = progress
        if time.monotonic() - self._pruned_at > PRUNE_S:
            self._pruned_at = time.monotonic()
            watched = [folder.path for folder in self._settings.folders]
            self._failed = {
                path: each
                for path, each in self._failed.items()
                if any(path.is_relative_to(folder) for folder in watched) and os.path.lexists(path)
            }
        self._write()

    def close(self) -> None:
        """Say goodbye."""
        self._reminders.close()
        if self._metrics:
            self._metrics.close()
        self._progress = dataclasses.replace(self._progress, doing="stopped")
        self._write(stopped=True)

    def _learn_again(self) -> None:
        """Learn damaged maps again from the sidecars; what is in the way is told, and tried again, later and later."""
        try:
            systemd.status("learning the dust maps again from the sidecars")
            outputs = [folder.output for folder in plan_of(self._settings).folders]
            relearn(self._pipeline.store, outputs, systemd.heartbeat)
        except DustdError as error:
            logger.warning("maps_wait", problem=error.problem, remedy=error.remedy)
            self._troubles["maps"] = Trouble(
                path=str(error.path or "dust maps"), problem=error.problem, remedy=error.remedy
            )
            self._learn_pause_s = min(max(2 * self._learn_pause_s, FIRST_LEARN_PAUSE_S), LONGEST_LEARN_PAUSE_S)
            self._learn_at = time.monotonic() + self._learn_pause_s
        else:
            self._learn_pause_s = 0.0
            self._troubles.pop("maps", None)

    def _take_in(self, new: Config) -> Plan | None:
        old, stuck = self._settings, needs_restart(self._settings, new)
        self._config_problem = None
        if stuck:
            remedy = "Restart dustd; all else is in force"
            problem = f"{' and '.join(stuck)} cannot change while dustd runs"
            logger.warning("restart_needed", keys=stuck, remedy=remedy)
            self._config_problem = Trouble(path=str(self._file and self._file.path), problem=problem, remedy=remedy)
            new = dataclasses.replace(new, map=old.map)
        if new == old:
            return None
        if new.model != old.model and self._load_model:
            logger.info("loading_model", id=new.model.id, device=new.model.device)
            # First, as it may fail, and then nothing has changed.
            self._pipeline.detector = _loaded(self._load_model, new.model)
        self._pipeline.output = new.output
        self._pipeline.sensitivity_of = new.sensitivity_of
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
        return plan_of(new)

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
        self._metrics = None
        self._troubles.pop("metrics", None)
        if port:
            try:
                self._metrics = metrics.MetricsServer(port)
                logger.info("metrics_served", address=f"http://{metrics.HOST}:{self._metrics.port}/metrics")
            except DustdError as error:
                logger.warning("no_metrics", problem=error.problem, remedy=error.remedy)
                self._troubles["metrics"] = Trouble(path="metrics", problem=error.problem, remedy=error.remedy)

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
            frames=dict(self._counts),
            last_frames=tuple(self._last),
            bodies=tuple(self._bodies.values()),
            reminders=self._reminding,
            failed=tuple(self._failed.values())[-FAILED_LISTED:],
            failed_total=len(self._failed),
            stopped=stopped,
            troubles=tuple(self._troubles.values()),
        )


def _output_tree(settings: Config) -> OutputTree:
    return OutputTree([folder.output for folder in plan_of(settings).folders])


def now() -> str:
    """Give the time, ISO 8601 with offset."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def _out_folder(source: Path, folder: WatchedFolder) -> Path:
    return files.output_folder_for(source, folder.path, folder.output)
