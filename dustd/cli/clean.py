"""`dustd clean`: clean files and folders once, with a progress bar."""

import argparse
import collections
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from dustd import log
from dustd.cli import batch
from dustd.cli.common import FINE, SOME_FAILED, make_pipeline, publish, settings_of
from dustd.config import Config
from dustd.dustmap.store import Store
from dustd.errors import UsageError
from dustd.output.edits import NOT_INTO_ORIGINALS
from dustd.output.sidecar import Edit, Record
from dustd.output.tree import OutputTree
from dustd.pipeline.worker_client import WorkerClient
from dustd.report import review_page
from dustd.report.review_book import Book
from dustd.text import counted

LOOKING = 0.9  # of a frame's time on a CPU, about


def run(args: argparse.Namespace) -> int:
    """Clean files and folders once."""
    if args.review and args.review.suffix.lower() not in (".html", ".htm"):
        raise UsageError("the page's name must end in .html", remedy="Name another file", path=args.review)
    settings = _overridden(settings_of(args), args)
    with_bar = sys.stderr.isatty() and args.level is None
    log.insist_on(args.level or ("error" if with_bar else None))  # the bar speaks for the rest
    log.setup(settings.log.format, settings.log.level)
    jobs = batch.in_capture_order(batch.collect(args.paths, args.output, _tell_left_out))
    if not jobs:
        print("There are no RAW files to clean.")
        return FINE
    sensitivity_of = settings.sensitivity_of if args.sensitivity is None else lambda *_: args.sensitivity
    records: list[Record] = []
    own = 0
    book = Book(batch.absolute(args.output), len(jobs)) if args.review else None
    with Store.open(args.store or settings.map.store) as store, WorkerClient() as worker:
        pipeline = make_pipeline(settings, store, worker, sensitivity_of)
        pipeline.reviewer = book
        pipeline.tree = OutputTree([batch.absolute(args.output)])
        results = batch.clean_all(jobs, pipeline, args.output)
        try:
            with _bar(len(jobs), shown=with_bar) as bar:
                pipeline.progress = lambda share: bar.update(len(records) + own + LOOKING * share - bar.n)
                for record in results:
                    if record is None:
                        own += 1
                    else:
                        records.append(dataclasses.replace(record, evidence=None))
                    bar.update(len(records) + own - bar.n)
        finally:
            print_summary(records, own, len(jobs), args.output)
            if book is not None:
                publish(args.review, book.text().encode(), ours=review_page.is_page)
                print(f"Spot by spot, worst first: {args.review}")
    return SOME_FAILED if any(record.status == "failed" for record in records) else FINE


def _bar(frames: int, *, shown: bool) -> "tqdm[NoReturn]":
    """Make a bar that counts within a frame, too."""
    form = "{percentage:3.0f}% |{bar}| {n:.1f} of " + counted(frames, "frame") + ", {elapsed}, {remaining} left"
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
    print(
        f"{counts['cleaned']} cleaned, {counts['clean']} without dust, {counts['failed']} failed{stopped}: in {output}"
    )
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
