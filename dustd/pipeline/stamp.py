"""What a source file is when it is read: its size, times and hash, and the way to it from the sidecar."""

import os
from dataclasses import replace
from pathlib import Path

from dustd import files
from dustd.dustmap.places import Reading, reading_at
from dustd.errors import FrameError, cannot_be_read
from dustd.output.sidecar import Source
from dustd.raw.frame import Camera


def stamp(source: Path) -> Source:
    """Take size, time and hash of a source file. Raises FrameError if it is gone or cannot be read."""
    try:
        before = source.stat()
    except OSError as exc:
        raise cannot_be_read(exc, source) from exc
    return Source(
        name=source.name,
        size=before.st_size,
        sha256=files.sha256_file(source),
        mtime_ns=before.st_mtime_ns,
        ctime_ns=before.st_ctime_ns,
    )


def stamp_or_name(source: Path) -> Source:
    """Take the stamp of a failed frame's file, or its name alone where nothing more can be had."""
    try:
        return stamp(source)
    except FrameError:
        return Source(name=source.name, size=0, sha256="", mtime_ns=0)


def time_of(camera: Camera, source: Source | None) -> str | Reading | None:
    """Say when a frame was taken; *source* tells when it came, for the case that its clock is wrong."""
    return reading_at(camera.taken_at, source) if camera.taken_at and source else camera.taken_at


def _way_to(folder: Path, start: Path) -> str | None:
    """Say how to get from *start* to a folder, None if that told a stranger where the user keeps things."""
    folder, start = folder.absolute(), start.absolute()
    shared = Path(os.path.commonpath((folder, start)))
    return None if shared in (Path(shared.anchor), *Path.home().parents) else os.path.relpath(folder, start)


def settled(before: Source, source: Path, path: Path) -> Source:
    """Give a stamp taken before with the way to its file, for the sidecar *path*. Raises FrameError if that changed."""
    if replace(stamp(source), read_at=before.read_at) != before:
        raise FrameError("it changed while it was read", remedy="dustd tries again when it rests", path=source)
    return replace(before, folder=_way_to(source.parent, path.parent))
