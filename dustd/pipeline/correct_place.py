"""`dustd correct`: a person points at dust that was left, and it is corrected: in the cleaned file, sidecar and map.

A spot that is listed there is corrected as it was measured; anywhere else the light is measured now
(`dustd.spots.point`). Both are corrected as all spots are, so what cannot be told from the scene stays as it is. To the
map it is a sighting that a person vouches for. How it is written, `dustd.pipeline.rewrite` says.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from dustd import files
from dustd.config import Config
from dustd.dustmap.store import Store
from dustd.errors import UsageError
from dustd.output.sidecar import Record
from dustd.pipeline.rewrite import Done, Told, keep_examples, opened, revised, write
from dustd.pipeline.worker_client import WorkerClient
from dustd.spots import optics
from dustd.spots.asked import ask, spot_of, unask
from dustd.spots.physics import impossible
from dustd.spots.point import candidate_at, is_at
from dustd.spots.spot import Spot

_REMEDY = "Point at the middle of the dust, in pixels of the unrotated frame, as its sidecar counts them"


def correct_place(
    path: Path,
    x: float,
    y: float,
    *,
    worker: WorkerClient,
    store: Store,
    settings: Config,
    labelled: Path | None,
    source: Path | None = None,
    undo: bool = False,
) -> Told:
    """Correct what is at (*x*, *y*) in the frame that *path* names (cleaned file, sidecar or original), or with *undo*
    take back what was asked for there.

    Coordinates are px of the unrotated visible area, as in the sidecar. *source* names the original, or the folder that
    it is in, if it was moved. Examples go into *labelled*, if anywhere. Raises UsageError if there is nothing that can
    be corrected, saying why, or the frame is not there; FrameError if the original is another file now or the cleaned
    file was changed by somebody else; SurroundingsError if disk or folder is in the way.
    """
    with opened(path, worker=worker, settings=settings, source=source) as done:
        record = done.record
        before = _spot_at(record, x, y)
        if undo:
            before = _asked_for(before, x, y, done.path)
            after = unask(before) or replace(before, asked=False)
            gone = unask(before) is None
        else:
            after, gone = _due(done, before, x, y, store), False
        if after == before:  # said once more
            counted = store.judge(record)
        else:
            spots = [spot for spot in record.spots if spot.id != after.id]
            spots = sorted([*spots, after], key=lambda spot: spot.id)
            made = revised(done, spots, {after.id}, worker)
            if not undo:
                _require_corrected(made, after, x, y, done.path)
            kept = tuple(spot for spot in made if not (gone and spot.id == after.id))
            record, counted = write(done, kept, worker, settings.output, store)
        changed = (after.id,) if after != before else ()
        told = Told(sidecar=done.path, record=record, spots=(after.id,), changed=changed, counted=counted)
        if labelled is not None:
            keep_examples(labelled, record, told, worker)
    files.release(told.sidecar)
    return told


def _spot_at(record: Record, x: float, y: float) -> Spot | None:
    """Find the listed spot that a person means, the nearest if there are several."""
    there = [spot for spot in record.spots if is_at(x, y, spot.x, spot.y, spot.diameter_px)]
    return min(there, key=lambda spot: math.hypot(spot.x - x, spot.y - y), default=None)


def _asked_for(spot: Spot | None, x: float, y: float, path: Path) -> Spot:
    if spot is None or not spot.asked:
        problem = f"nobody asked for a correction at ({x:g}, {y:g})"
        raise UsageError(problem, remedy="dustd reject takes any correction back, by its number", path=path)
    return spot


def _due(done: Done, spot: Spot | None, x: float, y: float, store: Store) -> Spot:
    """Give the spot that is to be corrected at a place where *spot* is listed. Raises UsageError if there is none."""
    if spot is None:
        return _measured(done, x, y, store)
    if spot.rejected:
        remedy = f"dustd reject --undo … {spot.id} has it corrected after all"
        raise UsageError(f"spot {spot.id} at ({x:g}, {y:g}) was rejected by a person", remedy=remedy, path=done.path)
    if spot.asked:
        return spot
    if spot.action != "left":
        remedy = f"Nothing to do; dustd reject … {spot.id} would take that back"
        raise UsageError(f"spot {spot.id} at ({x:g}, {y:g}) is corrected already", remedy=remedy, path=done.path)
    return ask(spot)


def _measured(done: Done, x: float, y: float, store: Store) -> Spot:
    """Measure the light at a place where no spot is listed. Raises UsageError if no dust can be there."""
    frame, record = done.frame, done.record
    if not (0 <= x < frame.width and 0 <= y < frame.height):
        problem = f"({x:g}, {y:g}) is outside the frame, which has {frame.width} × {frame.height} pixels"
        raise UsageError(problem, remedy=_REMEDY, path=done.path)
    constant = store.state(record.camera.body_id).optics.blur_constant
    circles = [(spot.x, spot.y, spot.diameter_px / 2 + spot.edge_px) for spot in record.spots]
    apart = np.array([each for each in circles if math.hypot(each[0] - x, each[1] - y) > each[2]], np.float32)
    found = candidate_at(frame, x, y, blur_constant=constant, avoid=apart.reshape(-1, 3))
    if found is None:
        raise _not_dust(x, y, "no loss of light can be told from its surroundings there", done.path)
    long_side_px = max(frame.width, frame.height)
    narrowest_px = optics.narrowest_px(frame.camera.f_number, frame.camera.pixel_pitch_um, long_side_px, constant)
    why = impossible(found, frame, narrowest_px)
    if why is not None:
        raise _not_dust(x, y, why, done.path)
    return spot_of(found, 1 + max((spot.id for spot in record.spots), default=0))


def _require_corrected(spots: Iterable[Spot], asked: Spot, x: float, y: float, path: Path) -> None:
    """Raise UsageError if the correction left what was asked for alone, saying why."""
    spot = next(spot for spot in spots if spot.id == asked.id)
    if spot.action == "left":
        raise _not_dust(x, y, spot.reason.rpartition("; ")[2].removeprefix("left alone: "), path)


def _not_dust(x: float, y: float, why: str, path: Path) -> UsageError:
    return UsageError(f"nothing was corrected at ({x:g}, {y:g}): {why}", remedy=_REMEDY, path=path)
