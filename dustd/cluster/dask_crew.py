"""The crew of many machines: frames as tasks of Dask, only as many in flight as there are workers' threads.

So each worker has one frame in hand, and one that brings its worker down takes no other with it. Dask gives a lost
worker's frame to another; the scheduler's `allowed-failures` says how often. What has been done is on the shared
storage; a run that is cut off, or loses its scheduler, goes on there when it is started again.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed
from distributed.client import FutureCancelledError, FuturesCancelledError

from dustd import __version__
from dustd.cluster import tasks
from dustd.cluster.known import Known
from dustd.cluster.paths import PathMap
from dustd.cluster.tasks import Answer, Task, Terms
from dustd.errors import FrameError, SurroundingsError, UsageError
from dustd.pipeline.crew import Crew, Outcome, attempt, fail
from dustd.pipeline.shoot import Job, Place, Shoot
from dustd.pipeline.worker_protocol import Failure

LOCAL = "local"
GPU = "GPU"  # the Dask resource that workers with one declare: dask worker … --resources GPU=1
ANSWER_S = 20.0  # for a scheduler that lives
COUNT_S = 5.0  # between counts of workers: they come and go
TRIES = 2  # that a local cluster gives a frame which brings its worker down


@contextlib.contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to the scheduler at *address*, or start a cluster with one process per core ("local").

    Raises UsageError if nobody answers there.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)  # what matters of the rest, this module says
    if address == LOCAL:
        how = {"threads_per_worker": 1, "memory_limit": 0, "silence_logs": logging.ERROR}
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": TRIES - 1}),
            LocalCluster(n_workers=os.cpu_count() or 1, **how) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=ANSWER_S)
    except (OSError, ValueError) as exc:
        remedy = "Start one (dask scheduler), or say --cluster local"
        raise UsageError(f"no Dask scheduler answers at {address} ({exc})", remedy=remedy) from exc
    with client:
        yield client


class DaskCrew(Crew):
    """Takes frames through their acts on a cluster's workers; `Crew.fold` stays here."""

    def __init__(self, shoot: Shoot, output: Path, *, client: Client, terms: Terms, paths: PathMap) -> None:
        """*output* and the sources are as this machine names them, *terms* as workers do."""
        super().__init__(shoot, output)
        self._store, self._client, self._terms, self._paths = shoot.store, client, terms, paths
        self._places: dict[Job, Place] = {}
        self._counted_at = float("-inf")
        self._threads = self._with_gpu = 0

    def require_fit(self, source: Path) -> None:
        """Ask every worker whether it sees *source*, can write the outputs and has this dustd; wait for the first.

        Raises UsageError that names a worker which does not.
        """
        self._client.wait_for_workers(1)
        asked = (self._paths.there(source), self._terms.output, __version__)
        answers = self._client.run(tasks.what_is_wrong, *asked, on_error="return")
        for worker, answer in answers.items():
            if answer:
                what = answer if isinstance(answer, str) else f"it cannot run dustd ({answer})"
                remedy = "Install the same dustd there, and say with --map-path how workers name the folders"
                raise UsageError(f"the worker {worker} is of no use: {what}", remedy=remedy)

    def see(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Look at frames, where there are workers with a GPU on these."""
        known = Known.for_looking(self._store, (job.body_id for job in jobs))

        def submit(job: Job) -> "Future[Any]":
            where = {"resources": {GPU: 1}} if self._with_gpu else {}
            return self._client.submit(tasks.see, self._terms, known, self._task(job), pure=False, **where)

        return self._each(jobs, submit, on_gpu=True)

    def fold(self, job: Job) -> Outcome:
        """Tell the map of a frame, and remember on which it lies."""

        def act() -> None:
            self._places[job] = self.shoot.fold(job.source, job.out_folder)

        return attempt(act, self.shoot, job)

    def finish(self, jobs: Sequence[Job], *, always: bool) -> Iterator[tuple[Job, Outcome]]:
        """Decide on frames and deliver them; the map of each epoch goes to the workers once."""
        held: dict[tuple[str, str], Future[Any]] = {}

        def submit(job: Job) -> "Future[Any]":
            place = self._places.pop(job)
            key = place.body_id, self._store.epoch(place.body_id, place.at)
            if key not in held:
                held[key] = self._client.submit(
                    tasks.hold, Known.for_deciding(self._store, place), pure=False, priority=1
                )
                self._client.replicate(held[key])
            return self._client.submit(tasks.finish, self._terms, held[key], self._task(job), always, pure=False)

        return self._each(jobs, submit)

    def _task(self, job: Job) -> Task:
        there = Job(source=self._paths.there(job.source), out_folder=self._paths.there(job.out_folder))
        return Task(job=there, named=job.source)

    def _each(
        self, jobs: Sequence[Job], submit: Callable[[Job], "Future[Any]"], *, on_gpu: bool = False
    ) -> Iterator[tuple[Job, Outcome]]:
        """Keep the workers busy with frames, and give each that is done."""
        left = iter(jobs)
        running: dict[Any, Job] = {}
        done = as_completed()

        def fill() -> None:
            self._count_workers()
            threads = self._with_gpu if on_gpu and self._with_gpu else self._threads
            while len(running) < max(threads, 1) and (job := next(left, None)) is not None:
                future = submit(job)
                running[future.key] = job
                done.add(future)

        with self._lost_scheduler():
            fill()
            for future in done:
                job = running.pop(future.key)
                outcome = self._outcome(job, future)
                future.release()
                fill()
                yield job, outcome
        if running or next(left, None) is not None:
            raise _no_scheduler()

    def _outcome(self, job: Job, future: "Future[Any]") -> Outcome:
        """Take a task's answer in. Raises what is in the way of all frames."""
        try:
            answer: Answer = future.result()
        except KilledWorker:
            problem = "it brought down every worker process that was to clean it"
            remedy = "Left untouched; copy it again from the card. If that does not help, please report it"
            return Outcome(failed=fail(self.shoot, job, FrameError(problem, remedy=remedy, path=job.source)))
        if answer.stopped is not None:
            raise _as_error(answer.stopped)
        for record in answer.told:
            self._store.observe(record)
        assert answer.outcome is not None, "a task that was not stopped has an outcome"
        return answer.outcome

    def _count_workers(self) -> None:
        """See now and then how many frames can be in hand at once."""
        if time.monotonic() - self._counted_at < COUNT_S:
            return
        self._counted_at = time.monotonic()
        workers: list[dict[str, Any]] = list(self._client.scheduler_info(n_workers=-1)["workers"].values())
        self._threads = sum(worker["nthreads"] for worker in workers)
        self._with_gpu = int(sum(worker["resources"].get(GPU, 0) for worker in workers))

    @contextlib.contextmanager
    def _lost_scheduler(self) -> Iterator[None]:
        """Turn what Dask says when its scheduler is gone into what a person can do."""
        try:
            yield
        except (FutureCancelledError, FuturesCancelledError, OSError) as exc:
            raise _no_scheduler() from exc


def _no_scheduler() -> SurroundingsError:
    remedy = "Start it again, then the same command: it goes on where it was"
    return SurroundingsError("the Dask scheduler is gone", remedy=remedy)


def _as_error(failure: Failure) -> Exception:
    assert failure.kind is not None, "only errors of dustd's stop a run"
    return failure.kind(failure.problem, remedy=failure.remedy, path=failure.path)
