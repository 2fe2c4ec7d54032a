"""`dustd reject`: a person takes corrections back, or that back: in the cleaned file, the sidecar and the map.

The samples of a rejected spot become those of the original again; how that is written, `dustd.pipeline.rewrite` says.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from dustd import files
from dustd.config import Config
from dustd.dustmap.store import Store
from dustd.errors import UsageError
from dustd.output.sidecar import Record
from dustd.pipeline.rewrite import Told, keep_examples, opened, revised, write
from dustd.pipeline.worker_client import WorkerClient
from dustd.spots.spot import Spot

_REJECTED, _BEFORE = "rejected by a person", " (before: "


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
    with opened(path, worker=worker, settings=settings, source=source) as done:
        record = done.record
        asked = _asked(record, spot_ids, done.path)
        changed = {spot.id for spot in asked if spot.rejected == undo}
        if changed:
            spots = [_judged(spot, undo=undo) if spot.id in changed else spot for spot in record.spots]
            record, counted = write(done, revised(done, spots, changed, worker), worker, settings.output, store)
        else:
            counted = store.judge(record)
        ids = tuple(spot.id for spot in asked)
        told = Told(
            sidecar=done.path,
            record=record,
            spots=ids,
            changed=tuple(number for number in ids if number in changed),
            counted=counted,
        )
        if labelled is not None:
            keep_examples(labelled, record, told, worker)
    files.release(told.sidecar)
    return told


def _asked(record: Record, spot_ids: Collection[int], path: Path) -> list[Spot]:
    known = {spot.id for spot in record.spots}
    unknown = sorted(set(spot_ids) - known)
    if unknown:
        listed = ", ".join(str(spot_id) for spot_id in sorted(known)) or "none"
        problem = f"it has no spot {', '.join(str(spot_id) for spot_id in unknown)}"
        raise UsageError(problem, remedy=f"Its spots are {listed}", path=path)
    return [spot for spot in record.spots if spot.id in spot_ids]


def _judged(spot: Spot, *, undo: bool) -> Spot:
    """Put a verdict on a spot; the reason that it had is kept in the new one."""
    if not undo:
        reason = f"{_REJECTED}{_BEFORE}{spot.reason})"
        return replace(spot, rejected=True, wanted=False, reason=reason)
    before = spot.reason.partition(_BEFORE)[2].removesuffix(")") or "a person wants it corrected"
    return replace(spot, rejected=False, wanted=True, reason=before)
