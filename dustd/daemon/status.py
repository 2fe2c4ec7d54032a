"""What `dustd status` knows: how the daemon does, as values, as JSON and in words.

The daemon leaves a `Status` in a file of its state folder whenever something changes; readers need no connection to
it. Knows no clock and writes no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dustd import __version__, codec
from dustd.text import counted, printable, status_word

SCHEMA, SCHEMA_VERSION = "dustd.status", "1.0"
FILE_NAME = "status.json"
STALE_S = 600.0  # as WatchdogSec in systemd/dustd.service
VANISHED = "vanished"  # the status of a frame that was gone when its turn came
IMPROVED, KEPT = "improved", "kept"  # decided on anew: written anew, or left as another program has changed it
SHOWN = 10  # troubles in words; JSON has more


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that went wrong with *path*, what to do, and when dustd tries again by itself (None: it does not)."""

    path: str
    problem: str
    remedy: str
    retry_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderState:
    """A watched folder: whether it is there, whether the system tells of changes (else it is searched), what waits.

    *paused*: why none of its frames can be cleaned just now. *put_off*: frames that cannot be read just now. *held*:
    files that are not whole yet, and get a last try when they have not changed for a while.
    """

    path: str
    output: str
    present: bool
    events: bool
    waiting: int
    paused: Trouble | None = None
    unreadable: tuple[str, ...] = ()
    put_off: tuple[Trouble, ...] = ()
    held: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the loop says of itself; *seconds_per_frame* is None before the first."""

    doing: str
    folders: tuple[FolderState, ...]
    seconds_per_frame: float | None = None

    @property
    def waiting(self) -> int:
        """Frames that are there and not done."""
        return sum(folder.waiting for folder in self.folders)

    @property
    def backlog_s(self) -> float | None:
        """How long they will take, at the pace of late; None before the first frame."""
        return None if self.seconds_per_frame is None else self.waiting * self.seconds_per_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameState:
    """A frame that was dealt with lately; *corrected* counts spots, *change* says in words how many are more or fewer
    since it was decided on anew."""

    name: str
    body_id: str
    status: str
    at: str
    seconds: float
    spots: int
    corrected: int
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyState:
    """A body that took frames since the daemon's start."""

    body_id: str
    frames: int
    last_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All of it. Times are ISO 8601 with offset. *frames* counts by status since the start; a frame that fails again
    and again counts once as failed, one that was gone when its turn came as vanished, one that was decided on anew as
    improved, or kept where another program had changed it.

    *config_problem*: what is wrong with the configuration as it stands in the file; an older one is in force.
    *failed* lists the latest of *failed_total* frames whose cause does not pass by itself; *troubles* what is wrong
    beside the frames: maps that cannot be learnt again, figures that cannot be served. *page* is the session page's
    address, empty where none is served.
    """

    pid: int
    started_at: str
    written_at: str
    config: str
    config_loaded_at: str
    config_problem: Trouble | None
    model_id: str
    device: str
    progress: Progress
    frames: dict[str, int]
    last_frames: tuple[FrameState, ...]
    bodies: tuple[BodyState, ...]
    reminders: str
    failed: tuple[Trouble, ...]
    failed_total: int
    stopped: bool = False
    troubles: tuple[Trouble, ...] = ()
    page: str = ""


def encode(status: Status) -> bytes:
    """Serialise for the file (UTF-8 JSON)."""
    return codec.to_bytes(to_dict(status), indent=1)


def to_dict(status: Status) -> dict[str, Any]:
    """Lay out as the JSON object that `dustd status --json` prints, without whether the daemon lives."""
    progress = status.progress
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "dustd_version": __version__,
        **codec.DEFAULT.plain(status),
        "backlog": {"frames": progress.waiting, "seconds": progress.backlog_s},
    }


def decode(data: bytes) -> Status:
    """Parse what `encode` gave. Raises ValueError on anything else."""
    return codec.DEFAULT.read(Status, codec.require(codec.parse(data), SCHEMA, SCHEMA_VERSION))


def words(status: Status | None, pid: int | None, now: datetime) -> str:
    """Say it to a person. *pid* is the living daemon's, None if none lives."""
    if status is None:
        return "dustd is running and has not said how it does yet.\n" if pid is not None else "dustd is not running.\n"
    lines = [_life(status, pid, now)]
    if status.config_problem:
        lines += [f"The configuration was changed and is not in force: {status.config_problem.problem}"]
        lines += [f"  -> {status.config_problem.remedy}"]
    for each in status.troubles:
        lines += [f"{each.path}: {each.problem}", f"  -> {each.remedy}"]
    lines += [f"Configuration {status.config}, model {status.model_id} on {status.device}"]
    if pid is not None and status.page:
        lines += [f"Session page {status.page}: dustd open"]
    if pid is not None:
        lines += [f"Now: {status.progress.doing}{_backlog(status.progress)}"]
    lines += ["", "Watched folders:", *(line for folder in status.progress.folders for line in _folder(folder))]
    counts = ", ".join(f"{count} {status_word(kind)}" for kind, count in status.frames.items() if count)
    lines += ["", f"Frames since the start: {counts or 'none'}"]
    lines += [f"  {each.at[11:19]}  {each.name}: {_outcome(each)}" for each in status.last_frames]
    lines += [f"  {each.body_id}: {each.frames}, the last at {each.last_at[11:19]}" for each in status.bodies]
    if status.reminders:
        lines += ["", f"Reminders: {status.reminders}"]
    put_off = [each for folder in status.progress.folders for each in folder.put_off]
    if put_off:
        heading = f"{counted(len(put_off), 'frame')} cannot be read just now:"
        lines += ["", heading, *_troubles(put_off, len(put_off))]
    held = [each for folder in status.progress.folders for each in folder.held]
    if held:
        heading = f"{counted(len(held), 'file is', 'files are')} not whole yet:"
        lines += ["", heading, *_troubles(held, len(held))]
    if status.failed_total:
        heading = f"{counted(status.failed_total, 'frame')} failed and could not be cleaned since"
        lines += ["", f"{heading} (dustd retry has another try):"]
        lines += _troubles(status.failed, status.failed_total)
    return "\n".join(printable(line) for line in lines) + "\n"


def duration(seconds: float) -> str:
    """Say how long: "40 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _life(status: Status, pid: int | None, now: datetime) -> str:
    if pid is not None and pid != status.pid:
        who = f"process {pid or 'unknown'}"
        return f"dustd runs ({who}) and has not said how it does yet. When the one before it was last heard:"
    if pid is None:
        how = "was stopped" if status.stopped else "ended without saying so (crash, kill or power cut)"
        return f"dustd is not running; it {how} at {_moment(status.written_at)}."
    silent_s = (now - datetime.fromisoformat(status.written_at)).total_seconds()
    life = f"dustd runs (process {pid}), since {_moment(status.started_at)}."
    if silent_s > STALE_S:
        return f"{life} It has shown no progress for {duration(silent_s)}: restart it, and report it with its log."
    return life


def _backlog(progress: Progress) -> str:
    if not progress.waiting:
        return ""
    time = "" if progress.backlog_s is None else f", about {duration(progress.backlog_s)}"
    return f"; {progress.waiting} waiting{time}"


def _folder(folder: FolderState) -> list[str]:
    if not folder.present:
        return [f"  {folder.path}: not there; connect or create it, dustd waits for it"]
    how = "" if folder.events else ", searched every few seconds"
    lines = [f"  {folder.path}: {folder.waiting} waiting{how}"]
    if folder.paused:
        again = f" (next try {folder.paused.retry_at[11:19]})" if folder.paused.retry_at else ""
        lines += [f"    paused{again}: {folder.paused.path}: {folder.paused.problem}", f"    -> {folder.paused.remedy}"]
    lines += [f"    cannot be read: {path} -> give dustd's user read permission" for path in folder.unreadable[:SHOWN]]
    return lines


def _outcome(frame: FrameState) -> str:
    if frame.status == "failed":
        return "failed"
    if frame.status == VANISHED:
        return "gone before it was cleaned"
    if frame.status == IMPROVED:
        return f"improved: {frame.change}"
    if frame.status == KEPT:
        return f"left as another program has changed it (would have {frame.change})"
    corrected = f"{frame.corrected} of {counted(frame.spots, 'spot')} corrected"
    return f"{status_word(frame.status)}, {corrected}, {frame.seconds:.1f} s"


def _troubles(troubles: Sequence[Trouble], total: int) -> list[str]:
    lines = []
    for each in troubles[:SHOWN]:
        again = f" (next try {each.retry_at[11:19]})" if each.retry_at else ""
        lines += [f"  {each.path}: {each.problem}{again}", f"    -> {each.remedy}"]
    return lines + ([f"  … and {total - SHOWN} more"] if total > SHOWN else [])


def _moment(at: str) -> str:
    return at[:19].replace("T", " ") + at[19:]  # with the offset
