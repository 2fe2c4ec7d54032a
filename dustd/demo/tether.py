"""How tether programs put files into a folder: three habits, and what is left when a cable comes loose.

`facts/products-and-hazards.md` §4a lists who does what.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

PIECES = 6
PAUSE_S = 0.25

Write = Callable[[Path, bytes, float], None]


def rename_in(path: Path, data: bytes, taken_at_s: float) -> None:
    """Write under a temporary name, then rename, with the camera's time: gphoto2 on one file system."""
    temp = path.with_name("tmpfileQx3vZa")
    temp.write_bytes(data)
    time.sleep(PAUSE_S)
    os.utime(temp, (taken_at_s, taken_at_s))
    temp.rename(path)


def stream_in(path: Path, data: bytes, taken_at_s: float) -> None:
    """Write into the final name piece by piece, then set the camera's time: darktable, gphoto2 across file systems."""
    _pour(path, data, PIECES)
    os.utime(path, (taken_at_s, taken_at_s))


def copy_and_rewrite(path: Path, data: bytes, _taken_at_s: float) -> None:
    """Copy, then open again and rewrite, as for tags added after landing: digiCamControl."""
    path.write_bytes(data)
    time.sleep(2 * PAUSE_S)
    path.write_bytes(data)


def break_off(path: Path, data: bytes, _taken_at_s: float) -> None:
    """Stream a part and never come back."""
    _pour(path, data[: len(data) * 6 // 10], PIECES)


HABITS: tuple[Write, ...] = (rename_in, stream_in, copy_and_rewrite)


def _pour(path: Path, data: bytes, pieces: int) -> None:
    size = -(-len(data) // pieces)
    with path.open("wb") as file:
        for start in range(0, len(data), size):
            file.write(data[start : start + size])
            file.flush()
            time.sleep(PAUSE_S)
