"""A frame that is done, changed by a person's word: its files are found, some spots corrected anew, and all delivered.

The samples of other spots stay as they are (`dustd.spots.revise`). The order of writing is the pipeline's: cleaned
file, sidecar, map, under a claim that ends when the map knows, so that after a kill the same command finishes what it
began. A cut-out of the frame with its labels is kept for training, on this computer only
(`dustd.pipeline.training_example`).
"""

import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from dustd import files
from dustd.config import ColourSpace, Config, EditProgram, OutputSettings, PictureFormat
from dustd.dustmap.store import Store
from dustd.errors import FrameError, UsageError
from dustd.output import ledger, sidecar
from dustd.output.life import PICTURES, Earlier
from dustd.output.sidecar import Output, Record, Status
from dustd.pipeline import training_example
from dustd.pipeline.deliver import Results, deliver
from dustd.pipeline.worker_client import WorkerClient
from dustd.raw.frame import Frame
from dustd.spots.revise import known_from_dict
from dustd.spots.spot import Spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of a command: the sidecar's path and its new record, the ids of the *spots* that it was about, and of
    those that changed now. *counted*: the map knows the frame."""

    sidecar: Path
    record: Record
    spots: tuple[int, ...]
    changed: tuple[int, ...]
    counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A frame that is done: its sidecar (*path*, *record*) and its original, decoded, which the worker holds, too."""

    path: Path
    record: Record
    original: Path
    frame: Frame


@contextmanager
def opened(path: Path, *, worker: WorkerClient, settings: Config, source: Path | None) -> Iterator[Done]:
    """Open the frame that *path* names (cleaned file, sidecar or original); at the end the worker lets go of it.

    *source* names the original, or the folder that it is in, if it was moved. Raises UsageError if the frame is not
    there, FrameError if the original is another file now or cannot be decoded.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - without "..", and links stay as the daemon names them
    found = find_sidecar(path, settings)
    record = _read(found)
    is_original = path.name == record.source.name and path.parent != found.parent
    original = find_source(record, found, source or (path if is_original else None))
    frame = worker.decode(original, worker.read_camera(original))
    try:
        yield Done(path=found, record=record, original=original, frame=frame)
    finally:
        worker.clear()


def find_sidecar(path: Path, settings: Config) -> Path:
    """Find the sidecar of the frame that *path*, absolute, names. Raises UsageError if there is none."""
    if path.name.endswith(sidecar.SUFFIX):
        candidates: Iterable[Path] = [path]
    else:
        folder = settings.folder_of(path)
        beside = [path.parent]
        if folder is not None:
            inside = path.is_relative_to(folder.path)  # else by a link
            place, root = (path, folder.path) if inside else (path.resolve(), folder.path.resolve())
            beside.append(files.output_folder_for(place, root, settings.output_folder(folder)))
        candidates = [place / sidecar.sidecar_name(path.name) for place in beside]
        candidates = itertools.chain(candidates, _listing(path))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UsageError(
        "there is no sidecar of this frame", remedy="Name the cleaned file, or its sidecar (….dustd.json)", path=path
    )


def _listing(path: Path) -> Iterator[Path]:
    """Find the sidecars beside a cleaned file that list it: first those that are named like it."""
    if not path.parent.is_dir():
        return
    names = ledger.sidecars_by_stem(os.listdir(path.parent))  # noqa: PTH208 - names are all it needs
    alike = {*names.get(path.stem, ()), *names.get(Path(path.stem).stem, ())}
    for name in (*sorted(alike), *sorted({name for group in names.values() for name in group} - alike)):
        if ledger.is_listed(path, {path.stem: (name,)}):
            yield path.parent / name


def find_source(record: Record, found: Path, named: Path | None) -> Path:
    """Find the original that a sidecar speaks of, by its hash.

    Raises UsageError if it is not where it was nor where it was *named*, FrameError if that is another file.
    """
    if named is not None:
        path = named / record.source.name if named.is_dir() else named
    elif record.source.folder is not None:
        path = Path(os.path.normpath(found.parent / record.source.folder / record.source.name))
    else:
        path = found.parent.parent / record.source.name
    if not path.is_file():
        remedy = "Say where it is now: --source FILE or FOLDER"
        raise UsageError("the original is not there any more", remedy=remedy, path=path)
    if files.sha256_file(path) != record.source.sha256:
        remedy = "Name the one that was cleaned: --source FILE; or clean this one anew first"
        raise FrameError("it is not the file that was cleaned, or was changed since", remedy=remedy, path=path)
    return path


def _read(path: Path) -> Record:
    try:
        record = sidecar.decode(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise UsageError(f"this sidecar cannot be read ({exc})", remedy="Clean the frame anew", path=path) from exc
    if record.status == "failed":
        raise UsageError("this frame failed, so there is nothing to change", remedy="See dustd status", path=path)
    return record


def revised(done: Done, spots: Sequence[Spot], asked: Collection[int], worker: WorkerClient) -> tuple[Spot, ...]:
    """Correct the spots *asked* for (ids) as they are due now, in the worker; *spots* are all of the frame's.

    They come back with their new actions. Raises FrameError if somebody else has changed the cleaned file.
    """
    picture = _picture(done.record)
    if picture is not None and files.sha256_file(done.path.parent / picture.path) != picture.sha256:
        _require_claimed(done.path, done.path.parent / picture.path)
    known = known_from_dict((done.record.evidence or {}).get("known", {}))
    cleaned = done.path.parent / picture.path if picture is not None and picture.kind == "dng" else None
    worker.recall(cleaned, done.record.spots, known)
    return worker.revise(spots, known, asked)


def write(
    done: Done, spots: tuple[Spot, ...], worker: WorkerClient, output: OutputSettings, store: Store
) -> tuple[Record, bool]:
    """Write cleaned file, edits and sidecar with the *spots* that `revised` gave, and tell the map, under one claim.

    Returns the new record, and whether the map knows the frame. Of the edits those are written anew that are wholly
    dustd's; heals that were merged into somebody's file stay there. A frame that had no cleaned file, as nothing was
    corrected in it, gets one.
    """
    record, picture = done.record, _picture(done.record)
    status: Status = "cleaned" if any(spot.action != "left" for spot in spots) else "clean"
    bare = record.status == "clean"
    wanted = picture is not None or (bare and status == "cleaned")
    as_before = _settings_of(picture, output) if picture is not None else output
    is_dng = wanted and as_before.format == "dng"
    again = [each for each in record.edits if each.result == "written" or (each.result == "none" and bare)]
    programs = tuple(cast(EditProgram, each.program) for each in again)
    results = Results(
        image=worker.encode(as_before) if wanted else None,
        settings=as_before,
        healing=worker.healing(spots) if programs else None,
        programs=programs,
        place=done.path.parent / picture.path if picture is not None else None,
        samples=worker.identity() if is_dng else None,
        left_out=worker.left_out() if is_dng else (),
    )
    record = replace(record, spots=spots, status=status)
    earlier = Earlier(done.path, done.record)
    return deliver(record, results, source=done.original, path=done.path, tell=store.judge, earlier=earlier)


def keep_examples(folder: Path, record: Record, told: Told, worker: WorkerClient) -> None:
    """Keep cut-outs around the spots that a person spoke of, or let go of them where that was taken back."""
    spots = {spot.id: spot for spot in record.spots}
    for number in told.spots:
        name = training_example.name_of((record.evidence or {}).get("frame_id") or record.source.sha256, number)
        spot = spots.get(number)
        if spot is None or not (spot.rejected or spot.asked):
            training_example.remove(folder, name)
        elif number in told.changed or not training_example.is_kept(folder, name):
            picture, left, top = worker.cut_out(spot)
            dust = training_example.boxes(record.spots, left, top, picture.shape[:2])
            training_example.keep(folder, name, picture, dust, record, spot)


def _picture(record: Record) -> Output | None:
    return next((each for each in record.outputs if each.kind in PICTURES), None)


def _settings_of(picture: Output, output: OutputSettings) -> OutputSettings:
    """Give the settings with which a cleaned file was written, so that it stays the same elsewhere."""
    quality = picture.quality or output.jpeg_quality
    profile = cast(ColourSpace, picture.profile or output.profile)
    return replace(output, format=cast(PictureFormat, picture.kind), jpeg_quality=quality, profile=profile)


def _require_claimed(path: Path, cleaned: Path) -> None:
    """Take a cleaned file that is not as the sidecar says for our own only if an earlier try was cut short there."""
    if not files.is_claimed(path):
        raise FrameError(
            "somebody has changed it since dustd wrote it",
            remedy="Move it away and clean the frame anew, then say it again",
            path=cleaned,
        )
