"""What a person asks for on the session page, done: between two frames, in the loop's thread, by the code that the
command line uses, too."""

import datetime
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from dustd.config import Config
from dustd.daemon import retries
from dustd.daemon.loop import Control
from dustd.daemon.plan import out_folder
from dustd.daemon.watch import WatchedFolder
from dustd.daemon.wishes import Wish, Wishes
from dustd.errors import DustdError, SurroundingsError, UsageError, without_folders
from dustd.output import sidecar
from dustd.output.sidecar import Record
from dustd.pipeline.correct_place import correct_place
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.pipeline.reject import reject
from dustd.pipeline.revisit import Visit
from dustd.report.review_book import SessionPages
from dustd.text import counted, spots_changed
from dustd.web.messages import Command, Result

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a command: the *result* for the page, and what the daemon has to know.

    *source* is a frame whose sidecar is another one now, with this *status*, or by this *visit*. *sensitivity*: other
    frames have another one now.
    """

    result: Result
    source: Path | None = None
    status: str = ""
    visit: Visit | None = None
    sensitivity: bool = False


class Commands:
    """Does what is asked for, with *pipeline*; *wishes* keeps what outlives a restart."""

    def __init__(self, pipeline: Pipeline, wishes: Wishes) -> None:
        self.paused = False
        self._pipeline, self._wishes = pipeline, wishes
        self._settings = Config()
        self._folders: tuple[WatchedFolder, ...] = ()
        self._do: dict[str, Callable[[Command, Control], Done]] = {
            "pause": self._pause,
            "resume": self._pause,
            "order": self._order,
            "reject": self._reject,
            "undo": self._reject,
            "correct": self._correct,
            "retry": self._retry,
            "sensitivity": self._sensitivity,
            "cleaned": self._cleaned,
            "cleaned_undo": self._cleaned_undo,
        }

    def configure(self, settings: Config, folders: Sequence[WatchedFolder]) -> None:
        """Take in the settings in force."""
        self._settings, self._folders = settings, tuple(folders)

    def perform(self, command: Command, control: Control) -> Done:
        """Do what is asked for, or say why not; whatever goes wrong, the daemon goes on."""
        try:
            done = self._do[command.kind](command, control)
        except DustdError as error:
            return refused(command, error)
        except OSError as exc:
            problem = f"disk or folder is in the way ({exc.strerror})"
            return refused(command, SurroundingsError(problem, remedy="Look at the disk, then ask again"))
        except Exception as exc:
            log.exception("command_crashed", command=command.kind)
            problem = f"dustd met an error it does not know ({type(exc).__name__}: {exc})"
            return refused(command, UsageError(problem, remedy="Please report it with the log"))
        log.info("command_done", command=command.kind, path=command.frame or command.body or "", said=done.result.said)
        return done

    def _pause(self, command: Command, _control: Control) -> Done:
        self.paused = command.kind == "pause"
        return _done(command, "Paused: frames wait" if self.paused else "Frames are cleaned again")

    def _order(self, command: Command, _control: Control) -> Done:
        self._wishes.order_now(command.order)
        return _done(command, f"The {command.order} frames go first")

    def _reject(self, command: Command, _control: Control) -> Done:
        source, folder = self._frame(command)
        told = reject(
            sidecar_path(source, folder),
            set(command.spots),
            worker=self._pipeline.worker,
            store=self._pipeline.store,
            settings=self._settings,
            labelled=self._labelled(),
            source=source if source.exists() else None,
            undo=command.kind == "undo",
        )
        how = "corrected after all" if command.kind == "undo" else "as the camera saw it again"
        return self._told(command, source, told.record, f"{counted(len(told.changed), 'spot')} {how}")

    def _correct(self, command: Command, _control: Control) -> Done:
        source, folder = self._frame(command)
        told = correct_place(
            sidecar_path(source, folder),
            command.x,
            command.y,
            worker=self._pipeline.worker,
            store=self._pipeline.store,
            settings=self._settings,
            labelled=self._labelled(),
            source=source if source.exists() else None,
        )
        numbers = ", ".join(map(str, told.spots))
        return self._told(command, source, told.record, f"spot {numbers} is corrected")

    def _retry(self, command: Command, control: Control) -> Done:
        source, folder = self._frame(command)
        path = sidecar_path(source, folder)
        if not retries.is_failed(source, path):
            raise UsageError("this frame has not failed, or its file is gone", remedy="Look at its state")
        path.unlink(missing_ok=True)
        control.post((folder, source, time.monotonic()))
        return _done(command, f"{source.name} is tried again")

    def _sensitivity(self, command: Command, _control: Control) -> Done:
        source, folder = self._frame(command)
        since_ns = source.stat().st_mtime_ns if command.scope == "from_here" else None
        frame = str(source) if command.scope == "frame" else None
        wish = Wish(folder=str(folder.path), value=command.value, frame=frame, since_ns=since_ns)
        self._wishes.add(wish, self._settings)
        visit = self._pipeline.revisit(source, sidecar_path(source, folder).parent)
        said = f"{source.name}: {visit.left_alone or spots_changed(visit.more, visit.fewer)}"
        others = {"frame": "", "from_here": "; later frames follow", "shoot": "; the other frames follow"}
        return Done(
            result=_done(command, f"{said}{others[command.scope]}").result,
            source=source if visit.record is not None else None,
            status=visit.record.status if visit.record is not None else "",
            visit=visit,
            sensitivity=command.scope != "frame",
        )

    def _cleaned(self, command: Command, _control: Control) -> Done:
        body_id = self._body(command)
        at = datetime.datetime.now().astimezone()
        self._pipeline.store.cleaned(body_id, at.isoformat(timespec="milliseconds"), after_all=True)
        return _done(command, f"{body_id}: cleaned. Its map starts afresh; the old one is kept")

    def _cleaned_undo(self, command: Command, _control: Control) -> Done:
        body_id = self._body(command)
        if not self._pipeline.store.undo_cleaning(body_id):
            raise UsageError("there is no cleaning to take back", remedy="Its report shows the last one")
        return _done(command, f"{body_id}: the last cleaning is taken back. The map goes on as before it")

    def _told(self, command: Command, source: Path, record: Record, said: str) -> Done:
        """Say on a review page, too, what a person's word changed in a frame."""
        outputs, state_folder = [each.output for each in self._folders], self._settings.map.state_folder
        _, folder = self._frame(command)
        SessionPages(outputs, state_folder / "review").retell(sidecar_path(source, folder).parent, record)
        result = _done(command, f"{source.name}: {said}").result
        return Done(result=result, source=source, status=record.status)

    def _frame(self, command: Command) -> tuple[Path, WatchedFolder]:
        """Find the frame that is meant. Raises UsageError for what is no place in a watched folder."""
        source = Path(command.frame or "")
        folder = next((each for each in self._folders if source.is_relative_to(each.path)), None)
        if folder is None or os.path.normpath(source) != str(source):
            raise UsageError("this frame lies in no watched folder any more", remedy="Read the list of frames anew")
        return source, folder

    def _body(self, command: Command) -> str:
        if command.body is None or command.body not in self._pipeline.store.body_ids():
            raise UsageError("there is no map of this body any more", remedy="Read the list of bodies anew")
        return command.body

    def _labelled(self) -> Path:
        """Name the folder for examples that training uses."""
        path = self._pipeline.store.path
        return (path.parent if path else self._settings.map.state_folder) / "labelled"


def sidecar_path(source: Path, folder: WatchedFolder) -> Path:
    """Say where the sidecar of a frame in a watched folder is."""
    return out_folder(source, folder) / sidecar.sidecar_name(source.name)


def refused(command: Command, error: DustdError) -> Done:
    """Say why a command was not done."""
    result = Result(
        id=command.id,
        kind=command.kind,
        state="refused",
        problem=without_folders(error.problem),
        remedy=without_folders(error.remedy),
        frame=command.frame,
    )
    return Done(result=result)


def _done(command: Command, said: str) -> Done:
    return Done(result=Result(id=command.id, kind=command.kind, state="done", said=said, frame=command.frame))
