"""`dustd reject`: a person takes corrections back, or that back: in the cleaned file, the sidecar and the map.

The samples of a rejected spot become those of the original again; the others stay as they are (`dustd.spots.revise`).
The order of writing is the pipeline's: cleaned file, sidecar, map, under a claim that ends when the map knows, so that
after a kill the same command finishes what it began. A cut-out of the frame with its labels is kept for training, on
this computer only (`dustd.pipeline.training_example`).
"""

import itertools
import os
from collections.abc import Collection, Iterable, Iterator
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
from dustd.spots.revise import known_from_dict
from dustd.spots.spot import Spot

_REJECTED, _BEFORE = "rejected by a person", " (before: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of a command: the sidecar's path and its new record, and the ids of the spots that changed now."""

    sidecar: Path
    record: Record
    changed: tuple[int, ...]
    counted: bool


def reject(
    path: Path,
    spot_ids: Collection[int],
    *,
    worker: WorkerClient,
    store: Store,
    settings: Config,
    labelled: Path | None,
    source: Path | None = None,
    undo: bool = False,
) -> Told:
    """Reject spots of the frame that *path* names (cleaned file, sidecar or original), or with *undo* take that back.

    *source* names the original, or the folder that it is in, if it was moved. Examples go into *labelled*, if anywhere.
    Raises UsageError if frame or spots are not there, FrameError if the original is another file now or the cleaned
    file was changed by somebody else, SurroundingsError if disk or folder is in the way.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - without "..", and links stay as the daemon names them
    found = find_sidecar(path, settings)
    record = _read(found)
    asked = _asked(record, spot_ids, found)
    is_original = path.name == record.source.name and path.parent != found.parent
    original = find_source(record, found, source or (path if is_original else None))
    changed = tuple(spot.id for spot in asked if spot.rejected == undo)
    camera = worker.read_camera(original)
    worker.decode(original, camera)
    try:
        if changed:
            record, counted = _rewrite(record, found, original, set(changed), worker, settings.output, store, undo=undo)
        else:
            counted = store.judge(record)
        ids = {spot.id for spot in asked}
        for spot in record.spots:
            if spot.id in ids and labelled is not None:
                _keep_example(labelled, record, spot, worker)
    finally:
        worker.clear()
    files.release(found)
    return Told(sidecar=found, record=record, changed=changed, counted=counted)


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
        raise UsageError("this frame failed, so there is nothing to take back", remedy="See dustd status", path=path)
    return record


def _asked(record: Record, spot_ids: Collection[int], path: Path) -> list[Spot]:
    known = {spot.id for spot in record.spots}
    unknown = sorted(set(spot_ids) - known)
    if unknown:
        listed = ", ".join(str(spot_id) for spot_id in sorted(known)) or "none"
        problem = f"it has no spot {', '.join(str(spot_id) for spot_id in unknown)}"
        raise UsageError(problem, remedy=f"Its spots are {listed}", path=path)
    return [spot for spot in record.spots if spot.id in spot_ids]


def _rewrite(
    record: Record,
    path: Path,
    original: Path,
    changed: set[int],
    worker: WorkerClient,
    output: OutputSettings,
    store: Store,
    *,
    undo: bool,
) -> tuple[Record, bool]:
    """Write cleaned file, edits and sidecar with the verdicts in, and tell the map, under one claim.

    Returns the new record, and whether the map knows the frame.

    Of the edits those are written anew that are wholly dustd's; heals that were merged into somebody's file stay there.
    """
    earlier = Earlier(path, record)
    picture = next((each for each in record.outputs if each.kind in PICTURES), None)
    if picture is not None and files.sha256_file(path.parent / picture.path) != picture.sha256:
        _require_claimed(path, path.parent / picture.path)
    spots = tuple(_judged(spot, undo=undo) if spot.id in changed else spot for spot in record.spots)
    is_dng = picture is not None and picture.kind == "dng"
    cleaned = path.parent / picture.path if picture is not None and is_dng else None
    known = known_from_dict((record.evidence or {}).get("known", {}))
    worker.recall(cleaned, record.spots, known)
    spots = worker.revise(spots, known, changed)
    status: Status = "cleaned" if any(spot.action != "left" for spot in spots) else "clean"
    record = replace(record, spots=spots, status=status)
    image = worker.encode(_settings_of(picture, output)) if picture is not None else None
    programs = tuple(cast(EditProgram, each.program) for each in record.edits if each.result == "written")
    healing = worker.healing(spots) if programs else None
    results = Results(
        image=image,
        settings=_settings_of(picture, output) if picture is not None else output,
        healing=healing,
        programs=programs,
        place=path.parent / picture.path if picture is not None else None,
        samples=worker.identity() if is_dng else None,
        left_out=worker.left_out() if is_dng else (),
    )
    return deliver(record, results, source=original, path=path, tell=store.judge, earlier=earlier)


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
            remedy="Move it away and clean the frame anew, then reject again",
            path=cleaned,
        )


def _judged(spot: Spot, *, undo: bool) -> Spot:
    """Put a verdict on a spot; the reason that it had is kept in the new one."""
    if not undo:
        reason = f"{_REJECTED}{_BEFORE}{spot.reason})"
        return replace(spot, rejected=True, wanted=False, reason=reason)
    before = spot.reason.partition(_BEFORE)[2].removesuffix(")") or "a person wants it corrected"
    return replace(spot, rejected=False, wanted=True, reason=before)


def _keep_example(folder: Path, record: Record, spot: Spot, worker: WorkerClient) -> None:
    """Keep a cut-out around a rejected spot, or let go of it when the rejection was taken back."""
    name = training_example.name_of((record.evidence or {}).get("frame_id") or record.source.sha256, spot.id)
    if not spot.rejected:
        training_example.remove(folder, name)
    elif not training_example.is_kept(folder, name):
        picture, left, top = worker.cut_out(spot)
        training_example.keep(
            folder, name, picture, training_example.boxes(record.spots, left, top, picture.shape[:2]), record, spot
        )
