"""What operating systems do differently, in one place: no other module imports what only some of them have.

dustd runs on Linux. What is said of macOS is from its documentation, and untested; on Windows dustd does not run yet,
as its worker process inherits file descriptors (`dustd.pipeline.worker_client`). See docs/platforms.md.
"""

import contextlib
import ctypes
import errno
import functools
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import fcntl
    import pwd
    import resource
except ImportError:  # Windows
    HAS_POSIX = False
else:
    HAS_POSIX = True

# Sent by `systemctl reload` and by a terminal that is closed; None where there is no such thing.
HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
NAME_LIMIT_BYTES = 255  # of every common file system (NAME_MAX)
# Options of glibc's mallopt (malloc.h): no pieces of their own for large arrays (M_MMAP_MAX), the end of the heap is
# never given back by itself (M_TRIM_THRESHOLD), and all threads share one heap (M_ARENA_MAX).
_ONE_HEAP = ((-4, 0), (-1, -1), (-8, 1))


# --- files ------------------------------------------------------------------------------------------------------


def lock(fd: int) -> None:
    """Lock an open file until it is closed. Raises BlockingIOError if another process did, OSError if none can."""
    if not HAS_POSIX:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def set_rights(fd: int, mode: int) -> None:
    """Set an open file's permission bits. Raises OSError where there are none."""
    if not hasattr(os, "fchmod"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    os.fchmod(fd, mode)


def is_read_by_others(path: Path) -> bool:
    """Tell whether other users may read a file; False where files know no users."""
    try:
        return HAS_POSIX and bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


def rename_exclusive(source: Path, target: Path) -> None:
    """Rename a file in one step that fails if the name is taken. Raises FileExistsError, OSError if it cannot."""
    if sys.platform == "win32":  # there a rename is so
        source.rename(target)
        return
    names = os.fsencode(source), os.fsencode(target)
    libc = _libc()
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(*names, 4)  # RENAME_EXCL
    elif hasattr(libc, "renameat2"):
        failed = libc.renameat2(-100, names[0], -100, names[1], 1)  # AT_FDCWD, RENAME_NOREPLACE
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(target))


def sync_folder(folder: Path) -> None:
    """Make new names in *folder* survive a power cut. Raises OSError where that cannot be asked for."""
    fd = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def name_limit_bytes(folder: Path) -> int:
    """Tell how long names in *folder* may be."""
    return os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else NAME_LIMIT_BYTES


def mounts() -> str:
    """Give the table of mounts as Linux has it; "" elsewhere."""
    try:
        return Path("/proc/mounts").read_text(errors="surrogateescape")
    except OSError:
        return ""


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def keep_freed_memory() -> None:
    """Keep memory that is freed for the next use, instead of asking the system anew for it. glibc only.

    A frame's pictures come and go in pieces of many MB, and each page of them that is new costs the system a fault: a
    sixth of a frame's time, measured on one machine (docs/detector.md). `return_freed_memory` gives back what rests.
    """
    libc = _libc()
    if sys.platform == "linux" and hasattr(libc, "mallopt"):
        for option, value in _ONE_HEAP:
            libc.mallopt(option, value)


def return_freed_memory() -> None:
    """Give the system back what `keep_freed_memory` has kept. glibc only."""
    libc = _libc()
    if sys.platform == "linux" and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


# --- people -----------------------------------------------------------------------------------------------------


def user_id() -> int | None:
    """Give the number of the user who runs this, 0 for root; None where users have none."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def user_named(name: str) -> tuple[int, Path] | None:
    """Give the number and the home of a user; None if there is no such user."""
    if not HAS_POSIX:
        return None
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return found.pw_uid, Path(found.pw_dir)


# --- processes --------------------------------------------------------------------------------------------------


def ignore_hangup() -> None:
    """Let a hang-up pass."""
    if HANGUP is not None:
        signal.signal(HANGUP, signal.SIG_IGN)


def hang_up(pid: int) -> bool:
    """Send a hang-up to a process; False if that cannot be, for it is another user's or there is no such signal."""
    if HANGUP is None:
        return False
    try:
        os.kill(pid, HANGUP)
    except OSError:
        return False
    return True


def kill_family(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process that was started in a session of its own, with all that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def shared_memory() -> int:
    """Give the file descriptor of memory, empty yet, that a child process can inherit. The caller closes it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("dustd-frame")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def limit_memory(share: float, enough_bytes: int) -> None:
    """Let this process allocate no more than *share* of the machine's memory, and than *enough_bytes*.

    Counted is what it allocates, not what it maps. macOS takes the limit and does not keep it, Windows has none.
    """
    if not HAS_POSIX:
        return
    with contextlib.suppress(OSError, ValueError):
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        limit = min(int(machine * share), enough_bytes)
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def memory_limit() -> int | None:
    """Give the bytes that this process may allocate; None if nothing limits it."""
    if not HAS_POSIX:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if limit == resource.RLIM_INFINITY else limit


def be_nicer(by: int) -> None:
    """Let others go first: raise this process' nice value. POSIX only."""
    if hasattr(os, "nice"):
        os.nice(by)


def be_the_first_to_go() -> None:
    """Where memory runs out, the kernel had better take this process than its parent. Linux only."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")
