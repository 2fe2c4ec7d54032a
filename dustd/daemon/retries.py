"""Trying failed frames again: a frame is looked at again when its sidecar is gone."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dustd.daemon.watch import WatchedFolder
from dustd.errors import UsageError
from dustd.output import ledger
from dustd.output.sidecar import SUFFIX


def failed(folders: Sequence[WatchedFolder], wanted: Sequence[Path] = ()) -> Iterator[tuple[Path, Path]]:
    """Give (source, sidecar) of every frame whose sidecar says that it failed and whose source is still there.

    *wanted*: only these frames, or those below these folders. Raises UsageError for one that is not watched.
    """
    wanted = [Path(os.path.abspath(path)) for path in wanted]  # noqa: PTH100 - links stay as the daemon names them
    for path in wanted:
        if not any(path.is_relative_to(folder.path) for folder in folders):
            raise UsageError("it lies in no watched folder", remedy="Name a frame or folder that is watched", path=path)
    for folder in folders:
        for parent, _, names in os.walk(folder.output):
            for name in names:
                sidecar = Path(parent, name)
                source_name = name.removesuffix(SUFFIX)
                if source_name in ("", name):
                    continue
                source = folder.path / sidecar.relative_to(folder.output).with_name(source_name)
                if wanted and not any(source.is_relative_to(path) for path in wanted):
                    continue
                if is_failed(source, sidecar):
                    yield source, sidecar


def is_failed(source: Path, sidecar: Path) -> bool:
    """Tell whether a frame's sidecar says that it failed, and its source is still there."""
    return os.path.lexists(source) and ledger.failure(sidecar) is not None
