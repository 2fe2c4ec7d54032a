"""A cluster of separate processes on loopback, and shoots that are cleaned with it and without."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from distributed import Client

from dustd import system
from dustd.cli import batch
from dustd.cluster.dask_crew import DaskCrew
from dustd.cluster.paths import PathMap
from dustd.cluster.tasks import Terms
from dustd.config import Config
from dustd.dustmap.store import Store
from dustd.output import sidecar
from dustd.output.sidecar import SUFFIX
from dustd.pipeline.crew import Here
from dustd.pipeline.shoot import Shoot
from dustd.pipeline.worker_client import WorkerClient
from tests.dips import SURE, Dips, shot

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
NAMES_ARE_THE_SAME = PathMap()
OF_THE_RUN = ("read_at", "folder", "ctime_ns")  # what sidecars say of a source that differs where a run was, and when


class Cluster:
    """A scheduler, and two workers with nannies, which start them again."""

    def __init__(self, folder: Path) -> None:
        self.file, self._log = folder / "scheduler.json", folder / "cluster.log"
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        preload = ("--preload", str(ROOT / "tests/cluster/standin.py"))
        self.workers = self._start("worker", "--nworkers", "2", "--nthreads", "1", "--no-dashboard", *preload)

    def _start(self, *words: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "dask", *words, "--scheduler-file", str(self.file)]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)

    @contextmanager
    def client(self):
        with Client(scheduler_file=str(self.file), timeout=60) as client:
            yield client

    def worker_pids(self) -> list[int]:
        with self.client() as client:
            return sorted(client.run(os.getpid).values())

    def stop(self) -> None:
        for process in (self.workers, self.scheduler):
            with suppress(ProcessLookupError):
                system.kill_family(process)
            process.wait()


def shoot_into(folder: Path, frames: int) -> Path:
    """Write the frames of a shoot."""
    folder.mkdir()
    for number in range(frames):
        (folder / f"R{number}.DNG").write_bytes(shot(number))
    return folder


@contextmanager
def crew_with(out: Path, store: Path, client: Client | None = None, paths: PathMap = NAMES_ARE_THE_SAME):
    """A crew: of this process, or of a cluster, whose workers name folders as *paths* says."""
    with Store.open(store) as opened, WorkerClient() as worker:
        detector, settings = Dips(SURE), Config()
        made = Shoot(
            detector=detector, store=opened, worker=worker, output=settings.output, sensitivity_of=lambda *_: 50.0
        )
        if client is None:
            yield Here(made, out)
            return
        terms = Terms(
            settings=settings, sensitivity=None, output=paths.there(out), sha256=detector.sha256, level="warning"
        )
        yield DaskCrew(made, out, client=client, terms=terms, paths=paths)


def jobs_of(folder: Path, out: Path):
    return batch.in_capture_order(batch.collect([folder], out))


def clean(crew, jobs, looked=lambda _n: None, done=lambda _n: None):
    """Take jobs through all acts; *looked* and *done* hear how many have been. Gives the outcomes that are not fine."""
    bad = {}
    for number, (job, outcome) in enumerate(crew.look_at_all(jobs), start=1):
        if not outcome.is_fine:
            bad[job] = outcome
        looked(number)
    left = [job for job in jobs if job not in bad]
    for number, (job, outcome) in enumerate(crew.finish(left, always=False), start=1):
        if not outcome.is_fine:
            bad[job] = outcome
        done(number)
    return bad


def written(out: Path):
    """All that lies in an output folder: hashes of pictures, what sidecars say but for what differs between runs."""
    found = {}
    for path in out.iterdir():
        data = path.read_bytes()
        if path.name.endswith(SUFFIX):
            told = json.loads(data)
            sidecar.decode(data)
            del told["timings_ms"]
            told["source"] = {key: value for key, value in told["source"].items() if key not in OF_THE_RUN}
            found[path.name] = told
        else:
            found[path.name] = hashlib.sha256(data).hexdigest()
    return found


def map_in(store: Path):
    with Store.open(store) as opened:
        return opened.bodies(), [opened.epochs(body_id) for body_id in opened.body_ids()]


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
