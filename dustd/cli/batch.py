"""Cleaning once over files and folders: what to take, in which order, and what became of each.

It decides nothing about a frame and prints nothing; see `dustd.pipeline.frame_pipeline` and `dustd.cli.main`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from dustd import files
from dustd.daemon import scan
from dustd.dustmap.places import utc
from dustd.errors import FrameError, UsageError
from dustd.output.sidecar import Record
from dustd.pipeline.crew import Fails, attempt, visit
from dustd.pipeline.revisit import Visit
from dustd.pipeline.shoot import Job
from dustd.raw.frame import Camera
from dustd.raw.integrity import holds_samples, no_raw_file
from dustd.raw.metadata import read_camera

_TIFF_SUFFIXES = {".tif", ".tiff"}


class Pipeline(Fails, Protocol):
    """What cleans a frame."""

    def process(self, source: Path, out_folder: Path) -> Record:
        """Clean and write a frame. Raises FrameError if it is broken, SurroundingsError if disk or folder is."""

    def revisit(self, source: Path, out_folder: Path, *, write: bool = True, always: bool = True) -> Visit:
        """Decide anew on a frame that is done, and deliver it anew if that changes it; raises as `process` does."""


LeftOut = Callable[[Path, str], object]


def collect(paths: Iterable[Path], output: Path, left_out: LeftOut = lambda _path, _what: None) -> tuple[Job, ...]:
    """Find the frames that *paths* name, each once: files whatever their suffix, folders with all RAW files below.

    What lies below a folder is mirrored into *output*. *left_out* hears of what was named or met and is no frame:
    pictures, notes beside them, links to folders. Raises UsageError if a path is not there or cannot be read, none that
    is named is a RAW file, two sources would share one sidecar, or cleaned files would land among the originals.
    """
    output = absolute(output)
    jobs: dict[Path, Job] = {}
    named = []
    for path in map(absolute, paths):
        if path.is_dir():
            _refuse_inside(path, output)
            found = _below(path, output, left_out)
        else:
            found, what = [_named(path)], no_raw_file(path)
            if what is not None:
                named.append((path, what))
                continue
        for source in found:
            root = path if path.is_dir() else source.parent
            job = Job(source=source, out_folder=files.output_folder_for(source, root, output))
            jobs.setdefault(source, job)
    if named and not jobs:
        path, what = named[0]
        remedy = "Name RAW files, or a folder with RAW files in it"
        raise UsageError(f"this is {what}, not a RAW file", remedy=remedy, path=path)
    for path, what in named:
        left_out(path, what)
    _refuse_collisions(jobs.values())
    return tuple(jobs.values())


def in_capture_order(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """Sort by the time in the metadata, then by name, so that the dust map learns in the order of life.

    Frames without a readable time come last. Each names its body from then on.
    """
    read = [(job, _camera(job.source)) for job in jobs]
    read.sort(key=lambda each: (_time(each[1]) or "~", each[0].source.name, each[0].source))
    return tuple(replace(job, body_id=camera.body_id if camera else "") for job, camera in read)


def make_parents(output: Path) -> None:
    """Create the folders above *output*. Raises UsageError if that is impossible."""
    output = absolute(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        remedy = "Name another folder with -o"
        raise UsageError(f"it cannot be created ({exc.strerror})", remedy=remedy, path=output) from exc


def clean_all(jobs: Iterable[Job], pipeline: Pipeline, output: Path) -> Iterator[Record | None]:
    """Clean frame after frame below *output*, and give each record; None for a cleaned file that was left alone.

    Whatever breaks a frame, it counts as failed. Raises SurroundingsError if disk or folder is in the way.
    """
    output = absolute(output)
    for job in jobs:
        files.make_output_folder(job.out_folder, output)

        def act(job: Job = job) -> Visit:
            return Visit(record=pipeline.process(job.source, job.out_folder))

        outcome = attempt(act, pipeline, job)
        yield outcome.visit.record if outcome.visit else outcome.failed


def what_would_change(jobs: Iterable[Job], pipeline: Pipeline) -> Iterator[tuple[Job, Visit]]:
    """Say frame by frame what deciding anew would change, and write nothing. Raises SurroundingsError."""
    for job in jobs:

        def act(job: Job = job) -> Visit:
            return pipeline.revisit(job.source, job.out_folder, write=False)

        yield job, visit(act, job)


def absolute(path: Path) -> Path:
    """Make a path absolute, without "..", with the links in it as they are named."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolving would follow links


def _refuse_inside(folder: Path, output: Path) -> None:
    real, real_output = folder.resolve(), output.resolve()
    if real == real_output:
        problem = "the folder to clean and the folder for cleaned files are the same"
        raise UsageError(problem, remedy="Name another folder with -o, e.g. Cleaned", path=folder)
    if real.is_relative_to(real_output):
        problem = f"it lies in the folder for cleaned files ({output}), where nothing is taken for a frame"
        raise UsageError(problem, remedy="Name another folder with -o, e.g. Cleaned", path=folder)


def _named(path: Path) -> Path:
    if not path.is_file():
        kind = "is neither a file nor a folder" if path.exists() else "is not there"
        raise UsageError(f"it {kind}", remedy="Check the path", path=path)
    return path


def _below(folder: Path, output: Path, left_out: LeftOut) -> list[Path]:
    def complain(exc: OSError) -> None:
        problem = f"the folder cannot be read ({exc.strerror})"
        raise UsageError(problem, remedy="Check its permissions", path=Path(exc.filename or folder)) from exc

    def link(path: Path) -> None:
        left_out(path, "a link to a folder")

    found = scan.scan(folder, folder, [output], complain, scan.RAW_SUFFIXES | _TIFF_SUFFIXES, link)
    paths = [path for path, _ in filter(None, found)]
    return [path for path in paths if path.suffix.lower() not in _TIFF_SUFFIXES or holds_samples(path)]


def _refuse_collisions(jobs: Iterable[Job]) -> None:
    seen: dict[tuple[Path, str], Path] = {}
    for job in jobs:
        if job.source.parent.resolve() == job.out_folder.resolve():
            remedy = "Name another folder with -o, e.g. Cleaned"
            raise UsageError("its cleaned file would land beside it", remedy=remedy, path=job.source)
        other = seen.setdefault((job.out_folder, job.source.name), job.source)
        if other != job.source:
            raise UsageError(
                f"its outputs would have the names of those of {other}",
                remedy="Clean the two into different folders, or name a folder above both",
                path=job.source,
            )


def _camera(source: Path) -> Camera | None:
    try:
        return read_camera(source)
    except FrameError:
        return None


def _time(camera: Camera | None) -> str | None:
    return utc(camera.taken_at) if camera and camera.taken_at else None
