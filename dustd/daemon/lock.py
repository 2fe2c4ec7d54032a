"""The lock that only one daemon per state folder can have, and who has it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dustd.errors import SurroundingsError

_NAME, _PID_NAME = "dustd.lock", "dustd.pid"  # two files: where locks are not advisory, nobody may read a locked one
_WAIT_S, _PAUSE_S = 0.25, 0.05  # `holder` borrows the lock for a moment


@contextlib.contextmanager
def only_one(state_folder: Path) -> Iterator[None]:
    """Hold the lock of *state_folder*. Raises SurroundingsError if it is taken, or cannot be made."""
    lock = FileLock(state_folder / _NAME)
    try:
        state_folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # as the XDG rules have it
        lock.acquire(timeout=_WAIT_S, poll_interval=_PAUSE_S)
    except Timeout as exc:
        raise SurroundingsError(
            f"another dustd (process {_pid(state_folder) or 'unknown'}) already uses these dust maps",
            remedy="Stop it first, or give this one its own map.store",
            path=state_folder,
        ) from exc
    except OSError as exc:
        raise SurroundingsError(
            f"the state folder cannot be written to ({exc.strerror or exc})",
            remedy="Make it writable and room on its disk, or set map.store",
            path=state_folder,
        ) from exc
    try:
        with contextlib.suppress(OSError):  # the disk is full, say: frames go first
            (state_folder / _PID_NAME).write_text(f"{os.getpid()}\n")
        yield
    finally:
        lock.release()


def holder(state_folder: Path) -> int | None:
    """Give the process id of the daemon that lives, 0 if it does not say; None if there is none."""
    if not (state_folder / _NAME).exists():
        return None
    lock = FileLock(state_folder / _NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _pid(state_folder)
    except OSError:
        return None
    lock.release()
    return None


def _pid(state_folder: Path) -> int:
    """Read the process id that the holder left; 0 if it left none."""
    try:
        number = (state_folder / _PID_NAME).read_text().strip()
    except OSError:
        return 0
    return int(number) if number.isdecimal() else 0
