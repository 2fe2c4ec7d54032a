"""What an earlier run left of a frame: whether it is as the settings ask for, and whether it can be decided on anew,
and what a person has said of it.
"""

from pathlib import Path

from dustd import files
from dustd.config import OutputSettings
from dustd.dustmap.particle import View
from dustd.dustmap.rejection import Rejection, rejections_of
from dustd.output import edits, ledger
from dustd.output.life import PICTURES
from dustd.output.sidecar import Record
from dustd.pipeline.deliver import appearance
from dustd.pipeline.look import look_of
from dustd.spots.spot import Spot

NOT_CLEANED = "it has not been cleaned yet, or was changed since"
OTHER_OUTPUT = "its cleaned file is gone, or was written with other settings"
NOT_KNOWN = "the dust map does not know it; it may have been forgotten"
NOT_SEEN = "its sidecar does not keep what these weights saw"


def stands(
    record: Record, source: Path, path: Path, output: OutputSettings, *, sha256: str, sensitivity: float
) -> bool:
    """Tell whether an earlier run did for this very file what these very settings ask for.

    *record* is the sidecar *path* of the frame at *source*, *sha256* of the weights.
    """
    info = record.detector
    if not ledger.is_done(source, path) or record.status == "failed" or info is None:
        return False
    return (info.sha256, info.sensitivity) == (sha256, sensitivity) and _is_as_asked(record, path, output)


def why_not_again(record: Record | None, source: Path, path: Path, output: OutputSettings, sha256: str) -> str:
    """Say why a frame cannot be decided on anew; empty if it can. The arguments are as for `stands`."""
    if record is None or record.status == "failed" or not ledger.is_done(source, path):
        return NOT_CLEANED
    if not _is_as_asked(record, path, output) or files.is_claimed(path):
        return OTHER_OUTPUT
    seen = look_of(record)
    return "" if seen is not None and seen.sha256 == sha256 else NOT_SEEN


def is_as_written(record: Record, out_folder: Path) -> bool:
    """Tell whether a frame's cleaned file is still what dustd wrote. Raises FrameError if it cannot be read."""
    pictures = [each for each in record.outputs if each.kind in PICTURES]
    return all(files.sha256_file(out_folder / each.path) == each.sha256 for each in pictures)


def rejected_before(earlier: Record | None, view: View) -> tuple[Rejection, ...]:
    """Give a person's verdicts about this frame from an earlier sidecar: the map may have been forgotten since."""
    if earlier is None or (earlier.evidence or {}).get("frame_id") != view.frame_id:
        return ()
    return rejections_of(earlier.spots, view, earlier.source.name)


def asked_before(earlier: Record | None, frame_id: str) -> tuple[Spot, ...]:
    """Give the spots of this frame that a person asked to have corrected, from an earlier sidecar."""
    if earlier is None or (earlier.evidence or {}).get("frame_id") != frame_id:
        return ()
    return tuple(spot for spot in earlier.spots if spot.asked and not spot.rejected)


def _is_as_asked(record: Record, path: Path, output: OutputSettings) -> bool:
    """Tell whether the outputs are there, and as the settings ask for."""
    whole = all(files.is_there(path.parent / each.path) for each in record.outputs)
    if whole and files.is_claimed(path):  # `dustd reject` may have been killed between cleaned file and sidecar
        whole = all(files.sha256_file(path.parent / each.path) == each.sha256 for each in record.outputs)
    pictures = [(each.kind, each.profile, each.quality) for each in record.outputs if each.kind in PICTURES]
    right = pictures == [appearance(output)] or (
        not pictures and record.status == "clean" and output.when_clean == "skip"
    )
    return whole and right and edits.are_done(record.edits, output)
