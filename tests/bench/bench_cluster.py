"""What a cluster costs besides the work: `python -m tests.bench.bench_cluster [--noops 2000] [--folds 200]`.

Frames that need nothing go through the crew of a local cluster, which gives what Dask and its client take per frame.
Small generated frames, seen by a stand-in for the network (`tests/dips.py`), give what travels per frame, what folding
takes, and how long a shoot takes in one process and with one and two workers. Processor times are told beside the
clock's, as machines are seldom idle. The figures are those of docs/archives.md.
"""

import argparse
import dataclasses
import os
import pickle
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, LocalCluster

from dustd import files
from dustd.cluster.dask_crew import DaskCrew
from dustd.cluster.known import Known, Maps
from dustd.cluster.paths import PathMap
from dustd.cluster.tasks import Answer, Task, Terms
from dustd.config import Config
from dustd.detector import model
from dustd.dustmap.store import Store
from dustd.output import life, sidecar
from dustd.pipeline.crew import Here, Outcome
from dustd.pipeline.shoot import Job, Shoot
from dustd.pipeline.worker_client import WorkerClient
from tests.dips import SURE, Dips, shot

BODIES, SHOTS, FRAMES = 20, 6, 12


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--noops", type=int, default=2000)
    parser.add_argument("--folds", type=int, default=200)
    args = parser.parse_args()
    print(f"Load at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        shoot = root / "shoot"
        shoot.mkdir()
        data = [shot(number) for number in range(SHOTS)]
        for number in range(FRAMES):
            (shoot / f"R{number:02d}.DNG").write_bytes(data[number % SHOTS])
        jobs = [Job(source=each, out_folder=root / "out", body_id="x") for each in sorted(shoot.iterdir())]
        with crew(root / "out", None) as here:
            took("One process, frames", FRAMES, lambda: clean(here, jobs))
            what_travels(here, jobs[0])
        folding(root, args.folds)
        for workers in (1, 2):
            with (
                LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None) as dask,
                Client(dask) as client,
                crew(root / f"out{workers}", client) as there,
            ):
                client.run(stand_in)
                those = [dataclasses.replace(job, out_folder=root / f"out{workers}") for job in jobs]
                first = those[:workers]
                took(f"{workers} workers, warming up", workers, lambda here=there, jobs=first: clean(here, jobs))
                took(f"{workers} workers, frames", FRAMES - workers, lambda here=there, jobs=those: clean(here, jobs))
                if workers == 2:
                    took("No-op frames", args.noops, lambda here=there: noops(here, args.noops))


def clean(crew, jobs) -> None:
    """Take jobs through all acts."""
    assert all(outcome.is_fine for _, outcome in crew.look_at_all(jobs))
    assert all(outcome.is_fine for _, outcome in crew.finish(jobs, always=False))


@contextmanager
def crew(out: Path, client: Client | None) -> Iterator[Here | DaskCrew]:
    """A crew of this process, or of a cluster."""
    with Store.open(out.with_suffix(".sqlite")) as store, WorkerClient() as worker:
        detector, settings = Dips(SURE), Config()
        shoot = Shoot(
            detector=detector, store=store, worker=worker, output=settings.output, sensitivity_of=lambda *_: 50.0
        )
        if client is None:
            yield Here(shoot, out)
        else:
            terms = Terms(settings=settings, sensitivity=None, output=out, sha256=detector.sha256, level="error")
            yield DaskCrew(shoot, out, client=client, terms=terms, paths=PathMap())


def stand_in() -> None:
    """Let a worker see with the stand-in."""
    model.load_detector = lambda *_, **__: Dips(SURE)


def noop(_terms: Terms, _known: Known, _task: Task) -> Answer:
    """Do nothing to a frame."""
    return Answer(outcome=Outcome())


def noops(crew: DaskCrew, frames: int) -> None:
    """Take frames that need nothing through a cluster, as those are that need something."""
    known = Known(sizes={}, states={})
    jobs = [
        Job(source=Path(f"/archive/2024/05/IMG_{n}.CR3"), out_folder=Path("/cleaned/2024/05")) for n in range(frames)
    ]

    def submit(job):
        return crew._client.submit(noop, crew._terms, known, crew._task(job), pure=False)

    assert sum(1 for _ in crew._each(jobs, submit)) == frames


def what_travels(crew: Here, job: Job) -> None:
    """Weigh what goes to the workers and comes back."""
    shoot = crew.shoot
    path = job.out_folder / sidecar.sidecar_name(job.source.name)
    record = life.read(path)
    terms = Terms(settings=Config(), sensitivity=None, output=job.out_folder, sha256="0" * 64, level="error")
    task, known = Task(job=job, named=job.source), Known.for_looking(shoot.store, [record.camera.body_id])
    place = shoot.fold(job.source, job.out_folder)
    deciding = Known.for_deciding(shoot.store, place)
    answer = Answer(outcome=Outcome(visit=None), told=(record,))
    print(
        f"Bytes: look {size((terms, known, task))} there, {size(Answer(outcome=Outcome()))} back; deliver"
        f" {size((terms, task))} there, {size(answer)} back; sidecar {path.stat().st_size}; the map of a body"
        f" ({len(shoot.store.state(place.body_id).particles)} particles) {size(deciding)}, once per worker"
    )
    assert not Maps(known).told


def size(value: object) -> int:
    return len(pickle.dumps(value, protocol=5))


def folding(root: Path, frames: int) -> None:
    """Fold frames of many bodies, each with a note as the first act leaves it, into one store."""
    out = root / "fold"
    out.mkdir()
    (root / "raw").mkdir()
    with crew(root / "seed", None) as here:
        (root / "seed").mkdir()
        seen = []
        for source in sorted((root / "shoot").iterdir())[:SHOTS]:
            here.shoot.see(source, root / "seed")
            seen.append(life.read(files.hidden(root / "seed" / sidecar.sidecar_name(source.name), "seen")))
    with crew(out, None) as here:
        for number in range(frames):
            source = root / "raw" / f"F{number:06d}.CR3"
            source.write_bytes(b"")
            about, record = source.stat(), seen[number % SHOTS]
            taken_at = f"2026-{1 + number // 672 % 12:02d}-{1 + number // 24 % 28:02d}T{number % 24:02d}:00:00"
            camera = dataclasses.replace(record.camera, body_id=f"Body #{number % BODIES}", taken_at=taken_at)
            stamp = dataclasses.replace(
                record.source, name=source.name, size=0, mtime_ns=about.st_mtime_ns, ctime_ns=about.st_ctime_ns
            )
            told = dataclasses.replace(
                record, source=stamp, camera=camera, evidence={**record.evidence, "frame_id": f"{number:064x}"}
            )
            files.keep(out / sidecar.sidecar_name(source.name), "seen", sidecar.encode(told))
        half = frames // 2
        for part in (range(half), range(half, frames)):
            took(
                f"Folds {part.start} to {part.stop} of {BODIES} bodies",
                len(part),
                lambda part=part: [here.shoot.fold(root / "raw" / f"F{n:06d}.CR3", out) for n in part],
            )


def took(what: str, frames: int, act) -> None:
    """Say how long something takes per frame."""
    began, worked = time.monotonic(), time.process_time()
    act()
    clock_ms, mine_ms = (
        1000 * (now - then) / frames for now, then in ((time.monotonic(), began), (time.process_time(), worked))
    )
    print(f"{what}: {frames}, {clock_ms:.1f} ms each by the clock, {mine_ms:.1f} ms of this process's time", flush=True)


if __name__ == "__main__":
    main()
