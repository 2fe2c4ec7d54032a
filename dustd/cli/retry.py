"""`dustd retry`: failed frames are tried again; a frame is looked at again when its sidecar is gone."""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dustd import config, system
from dustd.cli.common import FINE
from dustd.daemon import application, lock
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
                if os.path.lexists(source) and ledger.failure(sidecar):
                    yield source, sidecar


def run(args: argparse.Namespace) -> int:
    """Have failed frames tried again, and what waits for disk or share at once."""
    settings = config.load(args.config or config.default_path())
    frames = 0
    for _, sidecar in failed(application.plan_of(settings).folders, args.paths):
        sidecar.unlink(missing_ok=True)
        frames += 1
    pid = lock.holder(settings.map.state_folder)
    when = (
        "now" if pid and system.hang_up(pid) else f"within {settings.watch.rescan_s:g} s" if pid else "when dustd runs"
    )
    print(f"{frames} failed {'frame is' if frames == 1 else 'frames are'} tried again {when}.")
    return FINE
