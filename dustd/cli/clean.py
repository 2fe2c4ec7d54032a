"""`dustd clean`: clean files and folders once, with a progress bar."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from tqdm import tqdm

from dustd import log
from dustd.cli import batch
from dustd.cli.common import FINE, SOME_FAILED, make_pipeline, publish, settings_of
from dustd.cli.tally import Tally
from dustd.config import Config
from dustd.detector.model import find_model
from dustd.dustmap.store import Store
from dustd.errors import UsageError
from dustd.output.tree import OutputTree
from dustd.pipeline.crew import Crew, Here, Outcome
from dustd.pipeline.revisit import Visit
from dustd.pipeline.shoot import Job, Shoot
from dustd.pipeline.worker_client import WorkerClient
from dustd.report import review_page
from dustd.report.review_book import Book
from dustd.text import counted, spots_changed

if TYPE_CHECKING:
    from dustd.detector.detect import Detector
    from dustd.pipeline.frame_pipeline import Pipeline

LOOKING = 0.9  # of a frame's time on a CPU, about


def run(args: argparse.Namespace) -> int:
    """Clean files and folders once."""
    _refuse_what_does_not_go_together(args)
    settings = _overridden(settings_of(args), args)
    with_bar = sys.stderr.isatty() and args.level is None
    log.insist_on(args.level or ("error" if with_bar else None))  # the bar speaks for the rest
    log.setup(settings.log.format, settings.log.level)
    jobs = batch.in_capture_order(batch.collect(args.paths, args.output, _tell_left_out))
    if not jobs:
        print("There are no RAW files to clean.")
        return FINE
    if not args.dry_run:
        batch.make_parents(args.output)
    if args.cluster:
        return _over_cluster(args, settings, jobs, shown=with_bar)
    sensitivity_of = settings.sensitivity_of if args.sensitivity is None else lambda *_: args.sensitivity
    output = batch.absolute(args.output)
    with Store.open(args.store or settings.map.store) as store, WorkerClient() as worker:
        pipeline = make_pipeline(settings, store, worker, sensitivity_of)
        pipeline.tree = OutputTree([output])
        if args.dry_run:
            return _tell_changes(jobs, pipeline, shown=with_bar)
        book = Book(output, len(jobs)) if args.review else None
        pipeline.reviewer = book
        tally = Tally()
        try:
            if args.again or (len(jobs) > 1 and not args.one_pass):
                pipeline.stacks = None  # one frame after the other would have to be averaged, before any is delivered
                _in_two_passes(jobs, Here(pipeline, output), tally, pipeline, again=args.again, shown=with_bar)
            else:
                _in_one_pass(jobs, pipeline, output, tally, shown=with_bar)
        finally:
            tally.tell(len(jobs), args.output, bodies=len(tally.of_bodies) > 1)
            if book is not None:
                publish(args.review, book.text().encode(), ours=review_page.is_page)
                print(f"Spot by spot, worst first: {args.review}")
    return SOME_FAILED if tally.counts["failed"] else FINE


def _over_cluster(args: argparse.Namespace, settings: Config, jobs: Sequence[Job], *, shown: bool) -> int:
    """Clean frames on the workers of a Dask cluster; the maps are kept here."""
    if find_spec("distributed") is None:
        remedy = "Install it: pip install 'dustd[cluster]'"
        raise UsageError("--cluster needs Dask, which the light installation leaves out", remedy=remedy)
    from dustd.cluster import dask_crew
    from dustd.cluster.paths import PathMap
    from dustd.cluster.tasks import Terms

    paths, output = PathMap.read(args.map_path), batch.absolute(args.output)
    if args.cluster == dask_crew.LOCAL:  # each of its processes has one core
        settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, threads=1))
    card = find_model(settings.model.id)
    terms = Terms(
        settings=settings,
        sensitivity=args.sensitivity,
        output=paths.there(output),
        sha256=card.sha256,
        level=args.level or ("error" if shown else settings.log.level),
    )
    sensitivity_of = settings.sensitivity_of if args.sensitivity is None else lambda *_: args.sensitivity
    tally = Tally()
    with (
        Store.open(args.store or settings.map.store) as store,
        WorkerClient() as worker,
        dask_crew.connected(args.cluster) as client,
    ):
        print(f"Dask's dashboard: {client.dashboard_link}", flush=True)
        shoot = Shoot(
            detector=cast("Detector", card),  # what scores mean; the network is the workers'
            store=store,
            worker=worker,
            output=settings.output,
            sensitivity_of=sensitivity_of,
        )
        shoot.tree = OutputTree([output])
        crew = dask_crew.DaskCrew(shoot, output, client=client, terms=terms, paths=paths)
        crew.require_fit(jobs[0].source)
        try:
            _in_two_passes(jobs, crew, tally, shoot, again=args.again, shown=shown)
        finally:
            tally.tell(len(jobs), args.output, bodies=True)
    return SOME_FAILED if tally.counts["failed"] else FINE


def _in_one_pass(jobs: Sequence[Job], pipeline: "Pipeline", output: Path, tally: Tally, *, shown: bool) -> None:
    """Clean frames as they come, each with what the maps know by then."""
    with _bar(len(jobs), shown=shown) as bar:
        done = 0
        pipeline.progress = lambda share: bar.update(done + LOOKING * share - bar.n)
        for record in batch.clean_all(jobs, pipeline, output):
            if record is None:
                tally.own += 1
            else:
                tally.add(record)
            done += 1
            bar.update(done - bar.n)


def _in_two_passes(
    jobs: Sequence[Job], crew: Crew, tally: Tally, pipeline: "Pipeline", *, again: bool, shown: bool
) -> None:
    """Look at all frames, then decide on each with what all of them have proven, and deliver it."""
    looked: set[Job] = set()
    waiting: set[Job] = set()  # for pass 2

    def count(job: Job, outcome: Outcome) -> None:
        (waiting.add if outcome.is_fine and job not in looked else waiting.discard)(job)
        looked.add(job)
        tally.waiting = len(waiting)
        tally.own += outcome.own
        if outcome.failed is not None:
            tally.add(outcome.failed)
        elif outcome.visit is not None:
            tally.visited(job.source.name, outcome.visit)

    with _bar(len(jobs), "Pass 1 of 2: ", shown=shown) as bar:
        pipeline.progress = lambda share: bar.update(len(looked) + share - bar.n)
        for job, outcome in crew.look_at_all(jobs):
            count(job, outcome)
            bar.update(len(looked) - bar.n)
    left = [job for job in jobs if job in waiting]
    with _bar(len(left), "Pass 2 of 2: ", shown=shown) as bar:
        pipeline.progress = lambda _share: None
        for job, outcome in crew.finish(left, always=again):
            count(job, outcome)
            bar.update()


def _tell_changes(jobs: Sequence[Job], pipeline: "Pipeline", *, shown: bool) -> int:
    """Say what deciding anew would change, frame by frame, and write nothing."""
    visits: list[tuple[Job, Visit]] = []
    with _bar(len(jobs), shown=shown) as bar:
        for job, visit in batch.what_would_change(jobs, pipeline):
            visits.append((job, visit))
            bar.update()
    for job, visit in visits:
        name = job.source.name
        if visit.undone:
            print(f"{name}: would be cleaned; {visit.left_alone}")
        elif visit.left_alone:
            print(f"{name}: would be left alone; {visit.left_alone}")
        else:
            print(f"{name}: {spots_changed(visit.more, visit.fewer)}")
    changing = [visit for _, visit in visits if visit.differs and not visit.left_alone]
    in_all = f": {_in_all(changing)}" if changing else ""
    print(f"{len(changing)} of {counted(len(jobs), 'frame')} would change{in_all}. Nothing was written.")
    return FINE


def _in_all(visits: Sequence[Visit]) -> str:
    return spots_changed(sum(visit.more for visit in visits), sum(visit.fewer for visit in visits))


def _bar(frames: int, name: str = "", *, shown: bool) -> "tqdm[NoReturn]":
    """Make a bar that counts within a frame, too; *name* says of what it tells."""
    form = name + "{percentage:3.0f}% |{bar}| {n:.1f} of " + counted(frames, "frame") + ", {elapsed}, {remaining} left"
    return tqdm(total=frames, bar_format=form + ", {rate_fmt}", unit=" frames", disable=not shown)


def _tell_left_out(path: Path, what: str) -> None:
    print(f"{path}: {what}; left out.", file=sys.stderr)


def _refuse_what_does_not_go_together(args: argparse.Namespace) -> None:
    if args.review and args.review.suffix.lower() not in (".html", ".htm"):
        raise UsageError("the page's name must end in .html", remedy="Name another file", path=args.review)
    if args.dry_run and (args.review or not args.again):
        raise UsageError("--dry-run goes with --again, and without --review", remedy="Say --again --dry-run")
    if args.map_path and not args.cluster:
        raise UsageError("--map-path goes with --cluster", remedy="Say --cluster tcp://scheduler:8786, or leave it out")
    if args.cluster and (args.review or args.dry_run or args.one_pass):
        problem = "--cluster does not go with --review, --dry-run or --one-pass"
        raise UsageError(problem, remedy="Clean with --cluster, then say the same with --again instead of it")


def _overridden(settings: Config, args: argparse.Namespace) -> Config:
    """Put what the command line says in place of what the configuration says."""
    output, model = settings.output, settings.model
    if args.edits and "none" in args.edits and len(set(args.edits)) > 1:
        raise UsageError("--edits none goes with no other program", remedy="Leave one of them out")
    edits = () if args.edits == ["none"] else tuple(args.edits or output.edits)
    return dataclasses.replace(
        settings,
        output=dataclasses.replace(output, format=args.format or output.format, edits=edits),
        model=dataclasses.replace(model, id=args.model or model.id, device=args.device or model.device),
    )
