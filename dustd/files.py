"""Everything dustd writes to disk goes through here: whole or not at all, and never over a stranger's file.

A file is written under a hidden temporary name in its own folder, synced, and published under its real name in one
step that fails if the name is taken. Whoever may read and write in the folder may read and write the file. Only what
dustd wrote itself is ever replaced, and the proof is the content: its SHA-256 must be one the caller read from a
sidecar, or one claimed (see `claim`) before a crash.
"""

import contextlib
import errno
import hashlib
import itertools
import os
import stat
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from dustd import system
from dustd.errors import FrameError, SurroundingsError, cannot_be_read

PREFIX = ".dustd-"
_CLAIM = "claim"
_CHUNK_BYTES = 1 << 20
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_counter = itertools.count()

_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR}
_BAD_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
# What a file system answers that lacks the wanted kind of rename or link.
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EMLINK, errno.ENOTTY}


def publish(path: Path, data: bytes, *, ours: Collection[str] = ()) -> None:
    """Write *data* to *path*, whole or not at all, durably; its folder must exist.

    An existing file is replaced only if its SHA-256 (hex) is among *ours*; one that already holds *data* is left.
    Raises FrameError if the name is taken or impossible, SurroundingsError if disk or folder is in the way.
    """
    refuse_long_name(path)
    with _surroundings(path):
        temp = _write_temp(path.parent, data)
        try:
            try:
                _rename_new(temp, path)
            except FileExistsError:
                _replace(temp, path, hashlib.sha256(data).hexdigest(), ours)
        finally:
            temp.unlink(missing_ok=True)
        _sync_folder(path.parent)


@contextlib.contextmanager
def claim(path: Path, *data: bytes) -> Iterator[frozenset[str]]:
    """Leave a durable note that *data* is about to be published for *path*; give all hashes noted for it so far.

    Wrap the writing of a frame's files and its sidecar in it, and pass the hashes to `publish`. A kill between the two
    leaves a file which no sidecar vouches for; the note lets the next attempt replace it. The note goes away when
    the block ends well. Raises FrameError and SurroundingsError as `publish`.
    """
    refuse_long_name(path)
    note = hidden(path, _CLAIM)
    with _surroundings(note):
        with note.open("a+b") as file:
            file.seek(0)
            noted = {line for line in file.read().decode("ascii", "replace").split() if len(line) == 64}
            new = [hashlib.sha256(each).hexdigest() for each in data]
            file.write("\n".join(["", *new, ""]).encode())  # a torn line before it stays on its own
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    if noted:  # the fallback of `_rename_new` may have been killed after it reserved the name with an empty file
        noted.add(_EMPTY_SHA256)
    yield frozenset({*noted, *new})
    release(path)


def is_claimed(path: Path) -> bool:
    """Tell whether an earlier `claim` of *path* never ended, because the process was killed or the block failed."""
    return is_there(hidden(path, _CLAIM))


def is_there(path: Path) -> bool:
    """Tell whether something is at *path*. A share that broke off has nothing there, where `Path.exists` raises."""
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: Path) -> bool:
    """Tell whether *path* is a folder. A share that broke off has none, where `Path.is_dir` raises."""
    return os.path.isdir(path)  # noqa: PTH112


def release(path: Path) -> None:
    """End a claim whose work turned out to be done."""
    with contextlib.suppress(OSError):  # a note that stays costs one more look at the frame, no more
        hidden(path, _CLAIM).unlink()


def keep(path: Path, kind: str, data: bytes) -> None:
    """Keep *data* about *path* for later, durably, in place of what was kept. Raises as `publish`."""
    note = hidden(path, kind)
    publish(note, data, ours={sha256_file(note)} if is_there(note) else ())


def drop(path: Path, kind: str) -> None:
    """Let go of what was kept about *path*."""
    with contextlib.suppress(OSError):  # what stays is told by its content to be of no use any more
        hidden(path, kind).unlink()


def hidden(path: Path, kind: str) -> Path:
    """Name a note about *path*: hidden, beside it, whatever characters and length the name has."""
    key = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:32]
    return path.parent / f"{PREFIX}{key}.{kind}"


def overwrite(path: Path, data: bytes) -> None:
    """Replace *path*, whole or not at all, quickly and not durably: for what is stale after a power cut anyway.

    Raises OSError.
    """
    temp = path.with_name(f"{PREFIX}{path.name}.tmp")
    temp.write_bytes(data)
    temp.replace(path)


def refuse_long_name(path: Path, source: Path | None = None) -> None:
    """Raise FrameError, about *source* if given, if no file can have the name of *path*."""
    if is_long_name(path.name):
        length = len(os.fsencode(path.name))
        limit = system.NAME_LIMIT_BYTES
        excess = length - limit
        raise FrameError(
            f"a file to write for it would need a name of {length} bytes, and file systems allow {limit}",
            remedy=f"Give the RAW file a name that is shorter by {excess} {'byte' if excess == 1 else 'bytes'} or more",
            path=source or path,
        )


def read(path: Path) -> bytes:
    """Read a file. Raises OSError if there is none, and for what is no file: a pipe would keep us for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    return path.read_bytes()


def sha256_file(path: Path) -> str:
    """Hash a file, read-only; hex. Raises FrameError if it cannot be read."""
    try:
        return _sha256(path)
    except OSError as exc:
        raise cannot_be_read(exc, path) from exc


def remove(path: Path, sha256: str) -> bool:
    """Remove *path* if it still is what dustd wrote, known by its SHA-256 (hex); tell whether it is gone now.

    Raises SurroundingsError if disk or folder is in the way.
    """
    with _surroundings(path):
        try:
            before = path.lstat()
            if not stat.S_ISREG(before.st_mode) or _sha256(path) != sha256:
                return False
            now = path.lstat()
            if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
                return False
            path.unlink()
        except FileNotFoundError:
            pass
        _sync_folder(path.parent)
    return True


def rename(path: Path, new: Path) -> bool:
    """Give *path* the name *new* in the same folder, durably, if that is free; tell whether it has it now.

    Raises SurroundingsError if disk or folder is in the way.
    """
    with _surroundings(new):
        try:
            _rename_new(path, new)
        except FileExistsError:
            return False
        _sync_folder(new.parent)
    return True


def is_long_name(name: str) -> bool:
    """Tell whether no file can have this name."""
    return len(os.fsencode(name)) > system.NAME_LIMIT_BYTES


def remove_stale_temps(folder: Path, *, older_than_s: float = 86_400.0) -> int:
    """Remove temporary files that killed processes left anywhere below *folder*; return how many.

    A file whose writer lives is locked. Where the file system knows no locks, age decides. Folders that cannot be
    read are passed over.
    """
    removed = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(PREFIX) and name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    removed += _remove_if_stale(Path(parent, name), older_than_s)
    return removed


def output_folder_for(source: Path, watched_root: Path, output_folder: Path) -> Path:
    """Mirror the place of *source* below *watched_root* into *output_folder*."""
    return output_folder / source.parent.relative_to(watched_root)


def make_output_folder(folder: Path, output_root: Path) -> None:
    """Create *folder* below *output_root*. Raises SurroundingsError if that is impossible.

    The root itself is created only inside an existing folder: a whole missing path is rather a disk that is away,
    and frames must not be hidden under its mount point.
    """
    with _surroundings(folder):
        missing = [folder, *folder.parents]
        missing = missing[: missing.index(output_root) + 1]
        for each in reversed(missing):
            _make_folder(each)


def _make_folder(folder: Path) -> None:
    """Make *folder* if it is not there, for those who may use the folder that it is in."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    with contextlib.suppress(OSError):  # some file systems know no rights
        folder.chmod(folder.stat().st_mode & stat.S_ISGID | _rights(folder.parent) | 0o700)


def _rights(folder: Path) -> int:
    """Give the permission bits of *folder*; of one like /tmp, those that let only the owner write."""
    mode = folder.stat().st_mode
    return mode & (0o755 if mode & stat.S_ISVTX else 0o777)


def _write_temp(folder: Path, data: bytes) -> Path:
    temp = folder / f"{PREFIX}{os.getpid()}-{time.time_ns():x}-{next(_counter)}.tmp"
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with open(fd, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
            with contextlib.suppress(OSError):  # some file systems know no rights
                system.set_rights(fd, _rights(temp.parent) & 0o666 | 0o600)
            with contextlib.suppress(OSError):  # some shares know no locks
                system.lock(fd)
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            os.fsync(fd)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    return temp


def _rename_new(temp: Path, path: Path) -> None:
    """Give *temp* the name *path* if it is free. Raises FileExistsError if it is not."""
    for way in (system.rename_exclusive, _link_new):
        try:
            way(temp, path)
        except OSError as exc:
            if exc.errno not in _UNSUPPORTED:
                raise
        else:
            return
    # exFAT, some shares: reserve the name, then replace the reservation.
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        temp.replace(path)
    except BaseException:
        path.unlink()
        raise


def _link_new(temp: Path, path: Path) -> None:
    path.hardlink_to(temp)
    temp.unlink()


def _replace(temp: Path, path: Path, new: str, ours: Collection[str]) -> None:
    existing = _sha256(path) if path.is_file() and not path.is_symlink() else None
    if existing == new:
        return
    if existing is None or existing not in ours:
        raise FrameError(
            "a file that dustd did not write has this name; it was not touched",
            remedy="Move or rename it, or choose another output folder",
            path=path,
        )
    temp.replace(path)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut; some shares cannot, and need not."""
    with contextlib.suppress(OSError):
        system.sync_folder(folder)


def _remove_if_stale(temp: Path, older_than_s: float) -> bool:
    with temp.open("rb") as file:
        try:
            system.lock(file.fileno())
        except BlockingIOError:
            return False
        except OSError:
            if time.time() - temp.stat().st_mtime < older_than_s:
                return False
    temp.unlink()
    return True


@contextlib.contextmanager
def _surroundings(path: Path) -> Iterator[None]:
    """Turn what the operating system says into what a person can do."""
    try:
        yield
    except OSError as exc:
        raise _explain(exc, path) from exc


def _explain(exc: OSError, path: Path) -> FrameError | SurroundingsError:
    said = exc.strerror or str(exc)
    if exc.errno in _FULL:
        problem, remedy = "the disk is full", "Free some space; dustd goes on by itself"
    elif exc.errno in _READ_ONLY:
        problem = f"the folder cannot be written to ({said})"
        remedy = "Give dustd's user write permission, or mount the disk writable; dustd goes on by itself"
    elif exc.errno == errno.EFBIG:
        problem = "the file is larger than this file system or the process limit allows"
        return FrameError(problem, remedy="Choose another disk or a compressed output", path=path)
    elif exc.errno in _IN_THE_WAY:
        problem, remedy = "a file is where this folder should be", "Move or rename it, or name another output folder"
    elif exc.errno in _BAD_NAME:
        problem = f"the file system does not accept this name ({said})"
        return FrameError(problem, remedy="Rename the RAW file: shorter, and without special characters", path=path)
    else:
        problem = f"the folder is away or does not answer ({said})"
        remedy = "Connect the disk or share again, or create the folder; dustd goes on by itself"
    return SurroundingsError(problem, remedy=remedy, path=path)
