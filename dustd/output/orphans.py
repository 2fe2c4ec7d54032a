"""Outputs whose RAW is gone: they are kept until a person says otherwise, for they may be all that is left of it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dustd.output import ledger, life
from dustd.output.life import Earlier
from dustd.output.sidecar import SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A sidecar that has lost its RAW, which was at *source*, and the files that it lists and that are there."""

    sidecar: Path
    source: Path
    outputs: tuple[Path, ...]


def find(watched: Path, output: Path) -> Iterator[Orphan]:
    """Find the orphans below *output*, whose RAW files lay in *watched*; none if that is away as a whole."""
    if is_away(watched):
        return
    for parent, folders, names in os.walk(output):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if name.endswith(SUFFIX) and (
                source := ledger.lost_source(path, watched / path.parent.relative_to(output))
            ):
                record = life.read(path)
                listed = [path.parent / each.path for each in record.outputs] if record else []
                yield Orphan(sidecar=path, source=source, outputs=tuple(each for each in listed if each.exists()))


def is_away(watched: Path) -> bool:
    """Tell whether a watched folder is not there, cannot be read, or is empty, as where the disk of a mount is away."""
    try:
        return next(watched.iterdir(), None) is None
    except OSError:
        return True


def remove(orphan: Orphan) -> bool:
    """Remove an orphan's files, unless another program has changed or uses one of them; tell whether none is left.

    Raises SurroundingsError if disk or folder is in the way.
    """
    record = life.read(orphan.sidecar)
    if record is not None:
        life.retire_sidecar(Earlier(orphan.sidecar, record), keep=())
    return not orphan.sidecar.exists()
