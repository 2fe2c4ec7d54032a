"""The life of outputs beyond their making: set aside for another exposure, found again, retired.

An output belongs to the exposure that it was made of. Where another exposure takes that one's name, its cleaned file
keeps its place, and its sidecar steps aside to a name of its own; where the exposure comes back, or its RAW is renamed,
it is found by its identity. Only what is still as dustd wrote it is ever removed: docs/outputs.md.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from dustd import files
from dustd.output import ledger, sidecar
from dustd.output.sidecar import Output, Record

log = structlog.get_logger()

SUFFIXES = {"dng": ".dng", "tiff": ".tif", "jpeg": ".jpg"}  # of cleaned files
PICTURES = tuple(SUFFIXES)
_MARK = "~"  # between a source's name and its hash in the name of a sidecar that was set aside


@dataclass(frozen=True, slots=True)
class Earlier:
    """The sidecar *path* of an earlier run that speaks of an exposure, and what it says."""

    path: Path
    record: Record


def read(path: Path) -> Record | None:
    """Read a sidecar; None if there is none that can be read."""
    try:
        return sidecar.decode(files.read(path))
    except (OSError, ValueError):
        return None


def find(
    source: Path, path: Path, *, sha256: str = "", frame_id: str | None = None, elsewhere: Iterable[Path] = ()
) -> Earlier | None:
    """Find what an earlier run left for the exposure at *source*: at *path*, beside it, or in the folders *elsewhere*.

    *sha256* is of the source, *frame_id* of its samples; either proves that it is the same exposure.
    """
    others = ledger.left_behind(source, path, sha256=sha256, frame_id=frame_id, elsewhere=elsewhere)
    for each in itertools.chain((path,), others):
        record = read(each)
        if record is not None and _speaks_of(record, sha256, frame_id):
            return Earlier(each, record)
    return None


def set_aside(path: Path, *, renounce_edits: bool) -> None:
    """Give the sidecar *path* a name of its own, for another exposure, or a failure, has its source's name now.

    Its cleaned file stays where it is. With *renounce_edits* the edits beside the source, which are by its name for
    the exposure that has it now, go. A sidecar that tells of a failure stays to be replaced. Raises SurroundingsError.
    """
    record = read(path)
    if record is None or record.status == "failed":
        return
    if renounce_edits:
        for output in record.outputs:
            if output.kind not in PICTURES:
                files.remove(path.parent / output.path, output.sha256)
    name, digest = record.source.name, record.source.sha256
    names = (f"{name}{_MARK}{digest[:8]}", f"{name}{_MARK}{digest[:16]}", f"{name}{_MARK}{digest}", digest)
    for each in map(sidecar.sidecar_name, names):
        if not files.is_long_name(each) and files.rename(path, path.with_name(each)):
            log.info("outputs_set_aside", path=str(path.with_name(each)), problem="another file has its name now")
            return


def retire(folder: Path, outputs: Iterable[Output], keep: Iterable[Path]) -> bool:
    """Remove those of *outputs* in *folder* that are not at *keep*, unless somebody else changed or uses them.

    Returns whether none was left. Raises SurroundingsError.
    """
    kept = {os.path.normpath(path) for path in keep}
    complete = True
    for output in outputs:
        if output.kind in PICTURES and Path(output.path).name != output.path:  # no sidecar of dustd's says so
            continue
        path = folder / output.path
        if os.path.normpath(path) in kept:
            continue
        if (output.kind in PICTURES and _is_used(path)) or not files.remove(path, output.sha256):
            log.info("output_kept", path=str(path), problem="another program changed it, or uses it")
            complete = False
    return complete


def goes_along(earlier: Earlier, path: Path, follow: str) -> bool:
    """Tell whether what an earlier run left for an exposure gives way to what is made of it at *path*.

    By `output.follow` where the source was renamed or moved; always where the sidecar was set aside: the exposure has
    its own name back.
    """
    if follow == "renames" or earlier.path == path:
        return True
    return earlier.path.name != sidecar.sidecar_name(earlier.record.source.name)


def retire_sidecar(earlier: Earlier, keep: Iterable[Path]) -> None:
    """Retire the outputs that a sidecar in another place lists, then the sidecar, unless some have to stay.

    A folder that is empty then goes, too. Raises SurroundingsError.
    """
    folder, vouched = earlier.path.parent, ledger.sha256_of(earlier.path)
    if retire(folder, earlier.record.outputs, keep) and vouched is not None:
        files.remove(earlier.path, vouched)
    with contextlib.suppress(OSError):  # it is not empty, as nearly always
        for each in (folder, *folder.parents):
            each.rmdir()


def _speaks_of(record: Record, sha256: str, frame_id: str | None) -> bool:
    if record.status == "failed":
        return False
    if record.source.sha256 == sha256 != "":
        return True
    return frame_id is not None and (record.evidence or {}).get("frame_id") == frame_id


def _is_used(path: Path) -> bool:
    """Tell whether another program keeps something about a cleaned file beside it: IMG.dng.xmp, IMG.dng.pp3 …

    IMG.dng.dng is no such thing, but the cleaned file of another exposure.
    """
    try:
        names = os.listdir(path.parent)  # noqa: PTH208 - names are all it needs
    except OSError:
        return False
    return any(
        (name.startswith(f"{path.name}.") and not name.endswith((sidecar.SUFFIX, *SUFFIXES.values())))
        or name == f"{path.stem}.xmp"
        for name in names
    )
