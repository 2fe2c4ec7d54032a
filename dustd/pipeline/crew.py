"""Who works on the frames of a shoot, and the boundary around each: whatever breaks a frame costs that frame alone.

`Here` works in this process; `dustd.cluster` has a crew of many machines. What they do to a frame is
`dustd.pipeline.shoot`'s.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from dustd import files
from dustd.errors import DustdError, FrameError, OwnOutputError, SurroundingsError, UnreadableError
from dustd.output import life
from dustd.output.sidecar import Problem, Record, Source, sidecar_name
from dustd.pipeline.revisit import Visit
from dustd.pipeline.shoot import Job, Place, waves
from dustd.raw.frame import Camera

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an act on a frame came to: what it gave (*visit*), or why there is nothing.

    *failed* is the record of a frame that failed, *own* says that it is a cleaned file of dustd's, left alone.
    """

    visit: Visit | None = None
    failed: Record | None = None
    own: bool = False

    @property
    def is_fine(self) -> bool:
        """Tell whether the frame goes on to the next act."""
        return self.failed is None and not self.own


class Fails(Protocol):
    """What records a failure."""

    def fail(self, source: Path, out_folder: Path, error: DustdError) -> Record:
        """See `dustd.pipeline.frame_pipeline.Pipeline.fail`."""


class Acts(Fails, Protocol):
    """The acts; see `dustd.pipeline.shoot.Shoot`."""

    def see(self, source: Path, out_folder: Path) -> None: ...  # noqa: D102
    def fold(self, source: Path, out_folder: Path) -> Place: ...  # noqa: D102
    def finish(self, source: Path, out_folder: Path, *, always: bool = False) -> Visit: ...  # noqa: D102
    def is_seen(self, source: Path, out_folder: Path) -> bool: ...  # noqa: D102


class Crew(ABC):
    """Takes the frames of a shoot through its acts. Raises SurroundingsError if disk or folder is in the way."""

    def __init__(self, shoot: Acts, output: Path) -> None:
        """*output* is the absolute folder below which all outputs go."""
        self.shoot, self.output = shoot, output

    @abstractmethod
    def see(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Look at frames, and give each when it is done, in any order."""

    @abstractmethod
    def finish(self, jobs: Sequence[Job], *, always: bool) -> Iterator[tuple[Job, Outcome]]:
        """Decide on frames and deliver them; see `see`. With *always*, those that are done are decided on anew."""

    def fold(self, job: Job) -> Outcome:
        """Tell the map of a frame, in its turn."""

        def act() -> None:
            self.shoot.fold(job.source, job.out_folder)

        return attempt(act, self.shoot, job)

    def look_at_all(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Look at frames in capture order, and tell the maps. One that breaks in its fold comes a second time."""
        for wave in waves(jobs):
            broken = set()
            for job, outcome in self.see(wave):
                if not outcome.is_fine:
                    broken.add(job)
                yield job, outcome
            for job in wave:
                if job not in broken and not (outcome := self.fold(job)).is_fine:
                    yield job, outcome


class Here(Crew):
    """Works in this process, frame by frame."""

    def see(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Look at frames in order."""
        for job in jobs:
            yield job, see(self.shoot, job, self.output)

    def finish(self, jobs: Sequence[Job], *, always: bool) -> Iterator[tuple[Job, Outcome]]:
        """Decide on frames and deliver them, in order."""
        for job in jobs:
            yield job, finish(self.shoot, job, always=always)


def see(shoot: Acts, job: Job, output: Path) -> Outcome:
    """Look at a frame; its folder below *output* is made."""
    files.make_output_folder(job.out_folder, output)
    return attempt(lambda: shoot.see(job.source, job.out_folder), shoot, job)


def finish(shoot: Acts, job: Job, *, always: bool) -> Outcome:
    """Decide on a frame and deliver it. What breaks one that was done already leaves it as it is."""
    if shoot.is_seen(job.source, job.out_folder):
        return attempt(lambda: shoot.finish(job.source, job.out_folder, always=always), shoot, job)
    return Outcome(visit=visit(lambda: shoot.finish(job.source, job.out_folder, always=always), job))


def visit(act: Callable[[], Visit], job: Job) -> Visit:
    """Decide anew on a frame that is done; what breaks it leaves it as it is. Raises SurroundingsError."""
    try:
        return act()
    except SurroundingsError:
        raise
    except DustdError as error:
        log.warning("frame_left_as_it_is", frame=job.source.name, problem=error.problem, remedy=error.remedy)
        return Visit(record=_standing(job), left_alone=error.problem)
    except Exception as exc:  # the frame boundary
        log.exception("frame_crashed", frame=job.source.name)
        return Visit(record=_standing(job), left_alone=_unknown(exc, job).problem)


def attempt(act: Callable[[], Visit | None], pipeline: Fails, job: Job) -> Outcome:
    """Do something with a frame, at the second try where it could not be read at the first; record it if it fails.

    Raises SurroundingsError if disk or folder is in the way.
    """
    try:
        try:
            return Outcome(visit=act())
        except UnreadableError as error:
            log.info("frame_tried_again", frame=job.source.name, problem=error.problem)
            return Outcome(visit=act())
    except OwnOutputError as error:
        log.info("own_output_left_alone", path=str(job.source), problem=error.problem)
        return Outcome(own=True)
    except SurroundingsError:
        raise
    except DustdError as error:
        return Outcome(failed=fail(pipeline, job, error))
    except Exception as exc:  # the frame boundary: nothing that goes wrong with one frame ends the run
        log.exception("frame_crashed", frame=job.source.name)
        return Outcome(failed=fail(pipeline, job, _unknown(exc, job)))


def fail(pipeline: Fails, job: Job, error: DustdError) -> Record:
    """Record a failure; where even that fails (file gone, a stranger's sidecar), tell it at least."""
    log.warning("frame_failed", frame=job.source.name, problem=error.problem, remedy=error.remedy)
    try:
        if files.is_there(job.source):
            return pipeline.fail(job.source, job.out_folder, error)
    except (FrameError, OSError) as exc:
        log.warning("failure_not_recorded", frame=job.source.name, problem=str(exc))
    source = Source(name=job.source.name, size=0, sha256="", mtime_ns=0)
    problem = Problem(problem=error.problem, remedy=error.remedy)
    return Record(source=source, camera=Camera(), status="failed", error=problem)


def _standing(job: Job) -> Record | None:
    return life.read(job.out_folder / sidecar_name(job.source.name))


def _unknown(exc: Exception, job: Job) -> FrameError:
    problem = f"dustd met an error it does not know ({type(exc).__name__}: {exc})"
    remedy = "Please report it with the log; the original is untouched"
    return FrameError(problem, remedy=remedy, path=job.source)
