"""What each verb of the command line does: bring the parts together, print results, return the exit code.

Imports happen inside the verbs, so that help is instant.
"""

import argparse
import collections
import dataclasses
import datetime
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dustd.errors import DustdError, UsageError

if TYPE_CHECKING:
    from dustd.config import Config, ModelSettings
    from dustd.dustmap.store import Store
    from dustd.output.sidecar import Record
    from dustd.pipeline.worker_client import Darkroom

FINE, SOME_FAILED, USAGE, CONFIG, INTERRUPTED = 0, 1, 2, 78, 130  # exit codes; 78 is EX_CONFIG of sysexits.h


def run(args: argparse.Namespace) -> int:
    """Watch and clean until told to stop."""
    from dustd import config, log
    from dustd.daemon import application, loop, systemd
    from dustd.daemon.lock import only_one
    from dustd.daemon.reload import ConfigFile
    from dustd.dustmap.recovery import open_store
    from dustd.pipeline.worker_client import Darkroom

    loop.ignore_hurry()
    file = ConfigFile(args.config or config.default_path())
    settings = config.load(file.path)
    log.setup(settings.log.format, settings.log.level)
    outputs = [folder.output for folder in application.plan_of(settings).folders]
    with (
        only_one(settings.map.state_folder),
        open_store(settings.map.store, outputs, heartbeat=systemd.heartbeat) as store,
        Darkroom(heartbeat=systemd.heartbeat) as darkroom,
    ):
        pipeline = _pipeline(settings, store, darkroom, settings.sensitivity_of)
        pipeline.heartbeat = systemd.heartbeat
        application.serve(settings, pipeline, file=file, load_model=_detector)
    return FINE


def status(args: argparse.Namespace) -> int:
    """Say how the daemon does."""
    from dustd import config
    from dustd.daemon import lock, status

    state_folder = config.state_folder_of(args.config or config.default_path())
    pid = lock.holder(state_folder)
    try:
        state = status.decode((state_folder / status.FILE_NAME).read_bytes())
    except (OSError, ValueError):
        state = None
    if args.json:
        print(json.dumps({"running": pid is not None, **(status.to_dict(state) if state else {})}, indent=2))
    else:
        print(status.words(state, pid, datetime.datetime.now().astimezone()), end="")
    return FINE if pid is not None else SOME_FAILED


def service_install(args: argparse.Namespace) -> int:
    """Make dustd start by itself."""
    from dustd.cli import service

    return service.install(service.place(system=args.system), args.config, args.user)


def service_uninstall(args: argparse.Namespace) -> int:
    """Take that back."""
    from dustd.cli import service

    return service.uninstall(service.place(system=args.system))


def service_status(args: argparse.Namespace) -> int:
    """Say how the service manager sees dustd, then how dustd does."""
    from dustd.cli import service

    print(service.describe(service.place(system=args.system)))
    return status(args)


def retry(args: argparse.Namespace) -> int:
    """Have failed frames tried again, and what waits for disk or share at once."""
    from dustd import config
    from dustd.cli import retry
    from dustd.daemon import application, lock

    settings = config.load(args.config or config.default_path())
    frames = 0
    for _, sidecar in retry.failed(application.plan_of(settings).folders, args.paths):
        sidecar.unlink(missing_ok=True)
        frames += 1
    pid = lock.holder(settings.map.state_folder)
    when = "now" if pid and _hurry(pid) else f"within {settings.watch.rescan_s:g} s" if pid else "when dustd runs"
    print(f"{frames} failed {'frame is' if frames == 1 else 'frames are'} tried again {when}.")
    return FINE


def _hurry(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError:  # another user's
        return False
    return True


def clean(args: argparse.Namespace) -> int:
    """Clean files and folders once."""
    from tqdm import tqdm

    from dustd import log
    from dustd.cli import batch
    from dustd.dustmap.store import Store
    from dustd.pipeline.worker_client import Darkroom
    from dustd.report import review_page
    from dustd.report.review_book import Book

    if args.review and args.review.suffix.lower() not in (".html", ".htm"):
        raise UsageError("the page's name must end in .html", remedy="Name another file", path=args.review)
    settings = _overridden(_settings(args), args)
    on_terminal = sys.stderr.isatty()
    log.setup(settings.log.format, "error" if on_terminal else settings.log.level)  # the bar speaks for the rest
    jobs = batch.in_capture_order(batch.collect(args.paths, args.output))
    if not jobs:
        print("There are no RAW files to clean.")
        return FINE
    sensitivity_of = settings.sensitivity_of if args.sensitivity is None else lambda *_: args.sensitivity
    records: list[Record] = []
    book = Book(args.output, len(jobs)) if args.review else None
    with Store.open(args.store or settings.map.store) as store, Darkroom() as darkroom:
        pipeline = _pipeline(settings, store, darkroom, sensitivity_of)
        pipeline.reviewer = book
        results = batch.clean_all(jobs, pipeline, args.output)
        try:
            for record in tqdm(results, total=len(jobs), unit="frame", disable=not on_terminal):
                records.append(dataclasses.replace(record, evidence=None))  # noqa: PERF401 - kept if interrupted
        finally:
            _print_summary(records, len(jobs), args.output)
            if book is not None:
                _publish(args.review, book.text().encode(), ours=review_page.is_page)
                print(f"Spot by spot, worst first: {args.review}")
    return SOME_FAILED if any(record.status == "failed" for record in records) else FINE


def _print_summary(records: "Sequence[Record]", total: int, output: Path) -> None:
    counts = collections.Counter(record.status for record in records)
    spots = sum(spot.action != "left" for record in records for spot in record.spots)
    left = sum(spot.action == "left" for record in records for spot in record.spots)
    stopped = f", {total - len(records)} not begun" if len(records) < total else ""
    print(
        f"{counts['cleaned']} cleaned, {counts['clean']} without dust, {counts['failed']} failed{stopped}: in {output}"
    )
    print(f"{spots} spots corrected, {left} left alone; the sidecars say why.")
    edits = collections.Counter((edit.program, edit.result) for record in records for edit in record.edits)
    for (program, result), count in sorted(edits.items()):
        print(f"Edits for {program}: {count} {_EDIT_WORDS[result]}.")
    for record in records:
        if record.status == "failed" and record.error:
            print(f"  {record.source.name}: {record.error.problem}. {record.error.remedy}.")


_EDIT_WORDS = {
    "written": "written beside the originals",
    "merged": "added to sidecars that were there",
    "kept": "not written, for there are sidecars already",
    "none": "not needed",
    "failed": "failed; the sidecars say why",
}


def reject(args: argparse.Namespace) -> int:
    """Take corrections back, or that back."""
    from dustd import log
    from dustd.dustmap.store import Store
    from dustd.pipeline.reject import reject
    from dustd.pipeline.worker_client import Darkroom

    settings = _settings(args)
    log.setup(settings.log.format, "error")
    with Store.open(args.store or settings.map.store) as store, Darkroom() as darkroom:
        folder = store.path.parent if store.path else settings.map.state_folder
        told = reject(
            args.frame,
            set(args.spots),
            darkroom=darkroom,
            store=store,
            settings=settings,
            labelled=folder / "labelled",
            source=args.source,
            undo=args.undo,
        )
    name = told.record.source.name
    for spot in told.record.spots:
        if spot.id in args.spots:
            already = "" if spot.id in told.changed else "already "
            print(f"{name}, spot {spot.id}: {already}{spot.action}; {spot.reason}.")
    if not told.counted:
        print("The dust map does not know this frame; dustd map rebuild learns it, and the verdict, from the sidecar.")
    return FINE


def map_list(args: argparse.Namespace) -> int:
    """List the bodies."""
    with _store(args) as store:
        rows = [
            (
                each.body_id,
                str(sum(particle.confirmed for particle in each.particles)),
                str(sum(not (particle.confirmed or particle.remembered) for particle in each.particles)),
                str(each.frames),
                _day(each.last_frame_at),
                _day(each.cleanings[-1] if each.cleanings else None),
            )
            for each in store.bodies()
        ]
    _print_table(("body", "confirmed", "suspected", "frames", "last frame", "cleaned"), rows)
    return FINE


def map_show(args: argparse.Namespace) -> int:
    """Draw a body's sensor and list its particles."""
    from dustd.report import sensor_picture

    if args.png and args.png.suffix.lower() != ".png":
        raise UsageError("the picture's name must end in .png", remedy="Name another file", path=args.png)
    with _store(args) as store:
        dust_map = store.body(_body(store, args.body))
    assert dust_map is not None
    dust = (dust_map.particles, dust_map.width, dust_map.height)
    if args.png:
        import cv2

        _, png = cv2.imencode(".png", sensor_picture.sensor_picture(*dust))
        _publish(args.png, png.tobytes(), ours=_is_png)
        print(f"{dust_map.body_id}: an even grey frame at f/16 would show {args.png}.")
        return FINE
    period = f"{_day(dust_map.first_frame_at)} to {_day(dust_map.last_frame_at)}"
    print(f"{dust_map.body_id}: {dust_map.frames} frames, {period}")
    print(sensor_picture.braille_picture(*dust))
    print("The dots are confirmed particles, as in the upright picture.")
    print("x and y count from the middle of the sensor, in pixels; diameter and light lost are those at f/11.")
    by_confidence = sorted(dust_map.particles, key=lambda particle: -particle.confidence)
    rows = [
        (
            particle.id,
            f"{particle.mx:.0f}",
            f"{particle.my:.0f}",
            f"{particle.diameter_px_at(11):.0f}",
            f"{particle.attenuation_at(11):.1%}",
            f"{particle.confidence:.0%}",
            particle.shape or "-",
            "confirmed" if particle.confirmed else "remembered" if particle.remembered else "suspected",
            f"{particle.frames_seen}/{particle.frames_eligible}",
            _day(particle.last_seen),
        )
        for particle in by_confidence
    ]
    heads = ("particle", "x", "y", "diameter", "light", "confidence", "shape", "state", "seen", "last seen")
    _print_table(heads, rows)
    return FINE


def map_cleaned(args: argparse.Namespace) -> int:
    """Begin a new epoch now, or take the last one back."""
    if args.undo:
        with _store(args) as store:
            body_id = _body(store, args.body)
            last = store.epochs(body_id)[-1]
            if not store.undo_cleaning(body_id):
                raise UsageError(f"{body_id} has no cleaning to undo", remedy="dustd map list shows the last cleanings")
        print(
            f"{body_id}: the cleaning of {_day(last.started_at)}, {last.how}, is undone. The map goes on as before it."
        )
        return FINE
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    with _store(args) as store:
        body_id = _body(store, args.body)
        store.cleaned(body_id, now)
    print(f"{body_id}: cleaned {now}. Its map starts afresh; the old one is kept.")
    return FINE


def map_forget(args: argparse.Namespace) -> int:
    """Delete a body's map."""
    with _store(args) as store:
        body_id = _body(store, args.body)
        store.forget(body_id)
    print(f"{body_id}: forgotten. The sidecars still know; dustd map rebuild learns from them.")
    return FINE


def map_export(args: argparse.Namespace) -> int:
    """Write a body's map into a file."""
    with _store(args) as store:
        body_id = _body(store, args.body)
        data = store.export(body_id)
    _publish(args.output, json.dumps(data).encode() + b"\n", ours=_is_map)
    print(f"{body_id}: its map, with history and cleanings, is in {args.output}.")
    return FINE


def map_import(args: argparse.Namespace) -> int:
    """Take in a body's map from a file."""
    try:
        data = json.loads(args.file.read_bytes())
    except OSError as exc:
        raise UsageError(f"cannot be read ({exc.strerror})", remedy="Name another file", path=args.file) from exc
    except (ValueError, RecursionError) as exc:
        remedy = "Name a file that dustd map export wrote"
        raise UsageError("it is no exported dust map", remedy=remedy, path=args.file) from exc
    with _store(args) as store:
        body_id = store.import_(data, replace=args.replace)
    print(f"{body_id}: its map was taken in.")
    return FINE


def map_rebuild(args: argparse.Namespace) -> int:
    """Learn the maps again from sidecars."""
    from dustd.output import sidecar

    if not args.folder.is_dir():
        raise UsageError("it is not a folder", remedy="Name the folder that holds the sidecars", path=args.folder)
    records, unreadable = [], 0
    for path in sorted(args.folder.rglob("*" + sidecar.SUFFIX)):
        try:
            records.append(sidecar.decode(path.read_bytes()))
        except (OSError, ValueError) as exc:
            unreadable += 1
            print(f"dustd: {path}: this sidecar cannot be read ({exc}). It was left out", file=sys.stderr)
    with _store(args) as store:
        counted = store.rebuild(records)
    bodies = len({record.camera.body_id for record in records})
    print(f"The maps of {bodies} bodies were learnt again from {counted} of {len(records) + unreadable} sidecars.")
    return SOME_FAILED if unreadable else FINE


def report(args: argparse.Namespace) -> int:
    """Say how dusty the sensors are, in words, JSON or HTML."""
    from dustd.report import report, report_page, report_text

    if args.html and args.html.suffix.lower() not in (".html", ".htm"):
        raise UsageError("the page's name must end in .html", remedy="Name another file", path=args.html)
    settings = _settings(args)
    with _store(args) as store:
        maps = [store.body(_body(store, args.body))] if args.body else store.bodies()
    summaries = report.ranked(maps, settings.report)
    if args.html:
        from dustd.report import crops

        cut = crops.cut(summaries, args.frames or [folder.path for folder in settings.folders])
        _publish(args.html, report_page.html_report(summaries, cut).encode(), ours=report_page.is_page)
    if args.json:
        print(json.dumps([report.to_dict(each) for each in summaries], indent=2))
    elif not args.html:
        print(report_text.text_report(summaries), end="")
    return FINE


def check(args: argparse.Namespace) -> int:
    """Tell what would get in the way of a shoot."""
    from dustd import config
    from dustd.cli import check

    path = args.config or config.default_path()
    findings = check.check(path)
    for finding in findings:
        print(f"{_MARKS[finding.level]}  {finding.about}: {finding.detail}")
        if finding.remedy:
            print(f"      -> {finding.remedy}")
    failed = [finding for finding in findings if finding.level == "fail"]
    if any(finding.about == "configuration" for finding in failed):
        return CONFIG
    return SOME_FAILED if failed else FINE


_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def demo(args: argparse.Namespace) -> int:
    """Run the simulated session."""
    from dustd.demo import demo

    return demo.run(args.folder)


def train_or_evaluate(verb: str, argv: list[str]) -> int:
    """Make or judge a detector; the arguments are parsed there."""
    from dustd.train import evaluate, trainer

    return trainer.main(argv) if verb == "train" else evaluate.main(argv)


# --- what several verbs need --------------------------------------------------------------------------------------


def _settings(args: argparse.Namespace) -> "Config":
    """Read the configuration that was named, else the usual one if there is one, else take the defaults."""
    from dustd import config

    if args.config:
        return config.load(args.config, watching=False)
    usual = config.default_path()
    return config.load(usual, watching=False) if usual.exists() else config.Config()


def _store(args: argparse.Namespace) -> "Store":
    from dustd.dustmap.store import Store

    return Store.open(args.store or _settings(args).map.store)


def _body(store: "Store", wanted: str) -> str:
    """Find the body that *wanted* names, in full or by an unmistakable part."""
    known = store.body_ids()
    found = [body_id for body_id in known if body_id == wanted] or [
        body_id for body_id in known if wanted.casefold() in body_id.casefold()
    ]
    if len(found) != 1:
        problem = f"{wanted!r} may be any of {', '.join(found)}" if found else f"there is no map of {wanted!r}"
        raise UsageError(problem, remedy="dustd map list shows the bodies; name one of them")
    return found[0]


def _publish(path: Path, data: bytes, *, ours: Callable[[bytes], bool]) -> None:
    """Write a file whole or not at all; over an earlier one only if it is of the same kind."""
    from dustd import files

    path = path.absolute()
    try:
        old = path.read_bytes() if path.is_file() else b""
        files.publish(path, data, ours=[hashlib.sha256(old).hexdigest()] if ours(old) else ())
    except OSError as exc:
        raise UsageError(f"cannot be written ({exc.strerror})", remedy="Name another file", path=path) from exc
    except DustdError as error:
        raise UsageError(error.problem, remedy="Name another file", path=path) from error


def _is_png(data: bytes) -> bool:
    return data.startswith(b"\x89PNG")


def _is_map(data: bytes) -> bool:
    return data.startswith(b'{"schema": "dustd.map"')


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _day(at: str | None) -> str:
    return at[:10] if at else "-"


def _overridden(settings: "Config", args: argparse.Namespace) -> "Config":
    """Put what the command line says in place of what the configuration says."""
    output, model = settings.output, settings.model
    return dataclasses.replace(
        settings,
        output=dataclasses.replace(
            output, format=args.format or output.format, edits=tuple(args.edits or output.edits)
        ),
        model=dataclasses.replace(model, id=args.model or model.id, device=args.device or model.device),
    )


def _pipeline(
    settings: "Config", store: "Store", darkroom: "Darkroom", sensitivity_of: Callable[[str, Path], float]
) -> Any:
    """Load and warm the model, and join it with the maps."""
    from dustd.pipeline.frame_pipeline import Pipeline

    detector = _detector(settings.model)
    stacks = store.path.parent / "stacks" if store.path else None
    return Pipeline(
        detector=detector,
        store=store,
        darkroom=darkroom,
        output=settings.output,
        sensitivity_of=sensitivity_of,
        stacks=stacks,
    )


def _detector(model: "ModelSettings") -> Any:
    from dustd import log
    from dustd.detector.model import load_detector

    detector = load_detector(model.id, device=model.device, batch_tiles=model.batch_tiles, threads=model.threads)
    log.take_over_libraries()  # again: those just imported have brought handlers of their own
    return detector
