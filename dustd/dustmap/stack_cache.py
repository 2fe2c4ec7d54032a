"""The files in which averages of frames are kept, one per body: a cache beside the dust maps, safe to lose.

16 bytes per 8×8 px of the sensor: 11 MB for 45 megapixels.
"""

import contextlib
import hashlib
import os
from pathlib import Path

from dustd.dustmap.stack import Stack, decode, encode


def load(folder: Path, body_id: str) -> Stack:
    """Read a body's average; an empty one where there is none, or none that can be read."""
    try:
        return decode(_path(folder, body_id).read_bytes())
    except (OSError, ValueError):
        return Stack()


def save(folder: Path, body_id: str, stack: Stack) -> None:
    """Write a body's average, whole or not at all; on a full or forbidden disk, not at all."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        path = _path(folder, body_id)
        temp = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            temp.write_bytes(encode(stack))
            temp.replace(path)
        finally:
            temp.unlink(missing_ok=True)


def _path(folder: Path, body_id: str) -> Path:
    return folder / (hashlib.sha256(body_id.encode()).hexdigest()[:32] + ".npz")
