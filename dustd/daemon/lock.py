"""The lock that only one daemon per state folder can have, and who has it."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dustd.errors import SurroundingsError

_NAME = "dustd.lock"
_TRIES, _PAUSE_S = 5, 0.05  # `holder` borrows the lock for a moment


@contextlib.contextmanager
def only_one(state_folder: Path) -> Iterator[None]:
    """Hold the lock of *state_folder*. Raises SurroundingsError if it is taken."""
    state_folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # as the XDG rules have it
    with (state_folder / _NAME).open("a+") as lock:
        if not _take(lock):
            lock.seek(0)
            raise SurroundingsError(
                f"another dustd (process {lock.read().strip() or 'unknown'}) already uses these dust maps",
                remedy="Stop it first, or give this one its own map.store",
                path=state_folder,
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def holder(state_folder: Path) -> int | None:
    """Give the process id of the daemon that lives, 0 if it does not say; None if there is none."""
    try:
        with (state_folder / _NAME).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                number = lock.read().strip()
                return int(number) if number.isdecimal() else 0
    except OSError:
        return None
    return None


def _take(lock: IO[str]) -> bool:
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_PAUSE_S)
    return False
