"""What lies in a folder: which names may be frames, what a stat shows, and where the folder is mounted.

Knows no events and no watching; `dustd clean` walks folders with it as the daemon does.
"""

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from stat import S_ISREG

from dustd import system
from dustd.daemon.settle import Look
from dustd.output.ledger import is_vouched, sidecars_by_stem

# fmt: off
RAW_SUFFIXES = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mdc",
    ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".ori", ".pef", ".qtk", ".raf", ".raw", ".rw2", ".rwl", ".sr2",
    ".srf", ".srw", ".x3f",
})
# Folders of other programs, and what network storage keeps for itself; lower case, the hidden ones are refused anyway.
_FOREIGN_FOLDERS = frozenset({
    "captureone", "output", "nksc_param",
    "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "lost+found", "system volume information",
})
_NETWORK_TYPES = frozenset({
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.davfs2", "fuse.glusterfs", "fuse.gvfsd-fuse",
    "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.vmhgfs-fuse", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4",
    "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs",
})
# fmt: on


def is_candidate(path: Path, root: Path, outputs: Sequence[Path], suffixes: Collection[str] = RAW_SUFFIXES) -> bool:
    """Tell from the name alone whether *path*, below *root*, may be a frame: *suffixes* in lower case, with dot.

    Temporary names of tether and transfer programs carry no RAW suffix (tmpfileXXXXXX, *.tmp, *.part, …) or start
    with "." or "~"; nothing in an output folder is a frame.
    """
    if path.suffix.lower() not in suffixes or path.name.startswith("~"):
        return False
    return _is_open_to_us(path.parent, root, outputs) and not path.name.startswith(".")


def look_at(path: Path) -> Look | None:
    """Stat *path*, or the file that it links to; None if it is gone or out of reach."""
    try:
        return _look(path.stat())
    except OSError:
        return None


def scan(
    start: Path,
    root: Path,
    outputs: Sequence[Path],
    on_error: Callable[[OSError], object] = lambda _: None,
    suffixes: Collection[str] = RAW_SUFFIXES,
    on_link: Callable[[Path], object] = lambda _: None,
) -> Iterator[tuple[Path, Look] | None]:
    """Walk *start*, which is *root* or a folder below it, and give every candidate with its look.

    Gives None after each folder, so that a caller who takes turns gets one even where there is nothing to find.
    A link to a file counts as that file; links to folders, which may go round in circles, are passed to *on_link* and
    left out. What cannot be read is passed to *on_error* and left out, as are dustd's own files.
    """
    folders = [start] if _is_open_to_us(start, root, outputs) else []
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as exc:
            on_error(exc)
            continue
        sidecars = sidecars_by_stem(entry.name for entry in entries)
        for entry in entries:
            path = folder / entry.name
            with contextlib.suppress(OSError):  # vanished since it was listed
                if entry.is_dir():
                    if not _is_open_to_us(path, root, outputs):
                        continue
                    if entry.is_symlink():
                        on_link(path)
                    else:
                        folders.append(path)
                elif entry.is_file() and is_candidate(path, root, outputs, suffixes) and not is_vouched(path, sidecars):
                    yield path, _look(entry.stat())
        yield None


def is_network(path: Path, mounts: str | None = None) -> bool:
    """Tell whether *path* lies on a share, where writes by others cause no events.

    *mounts* is the text of /proc/mounts; by default it is read. Where there is none (macOS), the answer is False
    and only the ordinary rescan finds what others write.
    """
    if mounts is None:
        mounts = system.mounts()
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, this_kind, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
        if len(point) >= longest and path.is_relative_to(point):  # later mounts hide earlier ones
            kind, longest = this_kind, len(point)
    return kind in _NETWORK_TYPES


def _is_open_to_us(folder: Path, root: Path, outputs: Sequence[Path]) -> bool:
    if any(folder.is_relative_to(output) for output in outputs):
        return False
    return not any(_is_foreign(part.lower()) for part in folder.relative_to(root).parts)


def _is_foreign(part: str) -> bool:
    return part.startswith((".", "~")) or part in _FOREIGN_FOLDERS or part.endswith(".lrdata")


def _look(stat: os.stat_result) -> Look:
    return Look(size=stat.st_size, mtime_ns=stat.st_mtime_ns, regular=S_ISREG(stat.st_mode))
