"""`dustd clean`: clean files and folders once, with a progress bar."""

import argparse
import collections
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tqdm import tqdm

from dustd import log
from dustd.cli import batch
from dustd.cli.batch import Job
from dustd.cli.common import FINE, SOME_FAILED, make_pipeline, publish, settings_of
from dustd.config import Config
from dustd.dustmap.store import Store
from dustd.errors import UsageError
from dustd.output.edits import NOT_INTO_ORIGINALS
from dustd.output.sidecar import Edit, Record
from dustd.output.tree import OutputTree
from dustd.pipeline.revisit import Visit
from dustd.pipeline.worker_client import WorkerClient
from dustd.report import review_page
from dustd.report.review_book import Book
from dustd.text import counted, spots_changed

if TYPE_CHECKING:
    from dustd.pipeline.frame_pipeline import Pipeline

LOOKING = 0.9  # of a frame's time on a CPU, about


def run(args: argparse.Namespace) -> int:
    """Clean files and folders once."""
    if args.review and args.review.suffix.lower() not in (".html", ".htm"):
        raise UsageError("the page's name must end in .html", remedy="Name another file", path=args.review)
    if args.dry_run and (args.review or not args.again):
        raise UsageError("--dry-run goes with --again, and without --review", remedy="Say --again --dry-run")
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
    sensitivity_of = settings.sensitivity_of if args.sensitivity is None else lambda *_: args.sensitivity
    with Store.open(args.store or settings.map.store) as store, WorkerClient() as worker:
        pipeline = make_pipeline(settings, store, worker, sensitivity_of)
        pipeline.tree = OutputTree([batch.absolute(args.output)])
        if args.dry_run:
            return _tell_changes(jobs, pipeline, shown=with_bar)
        return _clean(args, jobs, pipeline, shown=with_bar)


def _clean(args: argparse.Namespace, jobs: Sequence[Job], pipeline: "Pipeline", *, shown: bool) -> int:
    """Look at all frames and deliver them, then decide anew on each with what all of them have proven."""
    records: dict[Job, Record] = {}
    own = 0
    visits: list[tuple[Job, Visit]] = []
    book = Book(batch.absolute(args.output), len(jobs)) if args.review else None
    pipeline.reviewer = book
    second = args.again or (len(jobs) > 1 and not args.one_pass)
    try:
        with _bar(len(jobs), "Pass 1 of 2: " if second else "", shown=shown) as bar:
            pipeline.progress = lambda share: bar.update(len(records) + own + LOOKING * share - bar.n)
            for job, record in zip(jobs, batch.clean_all(jobs, pipeline, args.output), strict=True):
                if record is None:
                    own += 1
                else:
                    records[job] = dataclasses.replace(record, evidence=None)
                bar.update(len(records) + own - bar.n)
        done = [job for job, record in records.items() if record.status != "failed"]
        with _bar(len(done), "Pass 2 of 2: ", shown=shown and second) as bar:
            for job, visit in batch.decide_again(done if second else (), pipeline, always=args.again):
                visits.append((job, visit))
                if visit.record is not None:
                    records[job] = dataclasses.replace(visit.record, evidence=None)
                bar.update()
    finally:
        print_summary(tuple(records.values()), own, len(jobs), args.output)
        _print_visits(visits)
        if book is not None:
            publish(args.review, book.text().encode(), ours=review_page.is_page)
            print(f"Spot by spot, worst first: {args.review}")
    return SOME_FAILED if any(record.status == "failed" for record in records.values()) else FINE


def _tell_changes(jobs: Sequence[Job], pipeline: "Pipeline", *, shown: bool) -> int:
    """Say what deciding anew would change, frame by frame, and write nothing."""
    visits: list[tuple[Job, Visit]] = []
    with _bar(len(jobs), shown=shown) as bar:
        for job, visit in batch.decide_again(jobs, pipeline, write=False):
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


def _print_visits(visits: Sequence[tuple[Job, Visit]]) -> None:
    """Say what the second pass has changed, and what it left alone."""
    changed = [visit for _, visit in visits if visit.differs and not visit.left_alone]
    if changed:
        print(f"{counted(len(changed), 'frame')} improved by what the maps know now: {_in_all(changed)}.")
    for job, visit in visits:
        if visit.left_alone:
            print(f"  {job.source.name}: left as it is; {visit.left_alone}.")


def _in_all(visits: Sequence[Visit]) -> str:
    return spots_changed(sum(visit.more for visit in visits), sum(visit.fewer for visit in visits))


def _bar(frames: int, name: str = "", *, shown: bool) -> "tqdm[NoReturn]":
    """Make a bar that counts within a frame, too; *name* says of what it tells."""
    form = name + "{percentage:3.0f}% |{bar}| {n:.1f} of " + counted(frames, "frame") + ", {elapsed}, {remaining} left"
    return tqdm(total=frames, bar_format=form, disable=not shown)


def _tell_left_out(path: Path, what: str) -> None:
    print(f"{path}: {what}; left out.", file=sys.stderr)


def print_summary(records: Sequence[Record], own: int, total: int, output: Path) -> None:
    """Tell what became of *total* frames, *own* of which dustd wrote itself, and where the cleaned ones are."""
    counts = collections.Counter(record.status for record in records)
    spots = sum(spot.action != "left" for record in records for spot in record.spots)
    left = sum(spot.action == "left" for record in records for spot in record.spots)
    begun = len(records) + own
    stopped = f", {total - begun} not begun" if begun < total else ""
    print(f"{counts['cleaned']} cleaned, {counts['clean']} unchanged, {counts['failed']} failed{stopped}: in {output}")
    if own:
        print(f"{counted(own, 'cleaned file')} that dustd made left alone.")
    print(f"{counted(spots, 'spot')} corrected, {left} left alone; the sidecars say why.")
    edits = collections.Counter((edit.program, _became(edit)) for record in records for edit in record.edits)
    for (program, words), count in sorted(edits.items()):
        print(f"Edits for {program}: {count} {words}.")
    for record in records:
        if record.status == "failed" and record.error:
            print(f"  {record.source.name}: {record.error.problem}. {record.error.remedy}.")


def _became(edit: Edit) -> str:
    return f"not possible; {edit.reason}" if edit.reason == NOT_INTO_ORIGINALS else _EDIT_WORDS[edit.result]


_EDIT_WORDS = {
    "written": "written beside the originals",
    "merged": "added to sidecars that were there",
    "kept": "not written, for there are sidecars already",
    "none": "not needed",
    "failed": "failed; the sidecars say why",
}


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
