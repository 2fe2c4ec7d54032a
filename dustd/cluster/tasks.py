"""What a worker runs: the acts on one frame, with a model that stays warm from task to task.

A process of Dask's keeps one `Shoot` for all tasks that come with the same terms, and with it dustd's own worker
process, in which files are decoded: what brings LibRaw down ends that one, and the task has its second try.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import structlog

from dustd import __version__, log
from dustd.cluster.known import Known, Maps
from dustd.config import Config
from dustd.detector.model import load_as_set
from dustd.dustmap.store import Store
from dustd.errors import DustdError, ModelError, SurroundingsError
from dustd.output.sidecar import Record
from dustd.output.tree import OutputTree
from dustd.pipeline import crew
from dustd.pipeline.crew import Outcome
from dustd.pipeline.shoot import Job, Shoot
from dustd.pipeline.worker_client import WorkerClient
from dustd.pipeline.worker_protocol import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is the same for all frames of a run: settings, the *sensitivity* that was asked for, if one was, the folder
    for outputs as workers name it, the weights that the client goes by (*sha256*), and how loud to be."""

    settings: Config
    sensitivity: float | None
    output: Path
    sha256: str
    level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One frame as workers name it, and its RAW as the client does (*named*), whose folder may have a sensitivity."""

    job: Job
    named: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a task: its outcome and what to tell the maps; or *stopped*, what is in the way of all frames."""

    outcome: Outcome | None = None
    told: tuple[Record, ...] = ()
    stopped: Failure | None = None


def see(terms: Terms, known: Known, task: Task) -> Answer:
    """Look at a frame."""
    return _do(terms, known, task, lambda shoot: crew.see(shoot, task.job, terms.output))


def finish(terms: Terms, known: Known, task: Task, always: bool) -> Answer:
    """Decide on a frame and deliver it."""
    return _do(terms, known, task, lambda shoot: crew.finish(shoot, task.job, always=always))


def hold(known: Known) -> Known:
    """Keep on a worker what many tasks ask."""
    return known


def what_is_wrong(source: Path, output: Path, version: str) -> str:
    """Say why this worker cannot do what the client asks for; "" if it can. *output* may be yet to be made."""
    if version != __version__:
        return f"it has dustd {__version__}, the client {version}"
    if not source.exists():
        return f"it does not see {source}"
    folder = output if output.exists() else output.parent
    if not os.access(folder, os.W_OK):
        return f"it cannot write into {folder}"
    return ""


_turn = threading.Lock()  # one frame at a time: the model takes all the cores that it may have
_ready: tuple[Terms, Shoot] | None = None


def _do(terms: Terms, known: Known, task: Task, act: Callable[[Shoot], Outcome]) -> Answer:
    with _turn:
        try:
            shoot = _shoot(terms)
            maps = Maps(known)
            shoot.store = cast(Store, maps)  # it answers what a frame's acts ask, no more
            asked = terms.sensitivity
            settings = terms.settings
            shoot.sensitivity_of = lambda body, _: settings.sensitivity_of(body, task.named) if asked is None else asked
            return Answer(outcome=act(shoot), told=tuple(maps.told))
        except DustdError as error:
            failure = Failure(kind=type(error), problem=error.problem, remedy=error.remedy, path=error.path)
            return Answer(stopped=failure)
        except Exception as exc:  # noqa: BLE001 - no frame's, those are the crew's; Dask cannot carry all of them home
            structlog.get_logger().exception("worker_crashed", frame=task.job.source.name)
            problem = f"a worker of the cluster met an error that dustd does not know ({type(exc).__name__}: {exc})"
            remedy = "Look into the worker's log; the same command goes on where it was"
            return Answer(stopped=Failure(kind=SurroundingsError, problem=problem, remedy=remedy, path=None))


def _shoot(terms: Terms) -> Shoot:
    """Give the pipeline that is warm already, or warm one up."""
    global _ready
    if _ready is not None and _ready[0] == terms:
        return _ready[1]
    if _ready is not None:
        _ready[1].worker.close()
    log.setup_as_guest(terms.level)
    detector = load_as_set(terms.settings.model)
    if detector.sha256 != terms.sha256:
        remedy = "Install the same dustd, with the same models, on all machines"
        raise ModelError(f"a worker's model {detector.model_id} has other weights than the client's", remedy=remedy)
    shoot = Shoot(
        detector=detector,
        store=cast(Store, Maps(Known(sizes={}, states={}))),
        worker=WorkerClient(),
        output=terms.settings.output,
        sensitivity_of=terms.settings.sensitivity_of,
    )
    shoot.tree = OutputTree([terms.output])
    _ready = terms, shoot
    return shoot
