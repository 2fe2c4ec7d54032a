"""The errors dustd raises on purpose: each names the problem, the remedy and, where there is one, the file.

Six kinds, because six different things happen next: a wrong command ends the program with exit code 2, a wrong
configuration with 78, a broken frame costs that frame only, one that cannot be read just now is tried again later and
later, a fault of the surroundings (disk full, share away) is waited out, and an unusable model stops the start.
"""

import errno
import re
from pathlib import Path

# What the operating system or a library says when the content is at fault; all else (rights, media, shares, limits) may
# pass. None: a library's own OSError.
_OF_CONTENT = {None, errno.EINVAL, errno.EOVERFLOW, errno.ERANGE, errno.EDOM, errno.EISDIR, errno.ELOOP, errno.EILSEQ}


class DustdError(Exception):
    """A problem that a person can do something about.

    *problem* says what is wrong, *remedy* what to do now, *path* which file it is about. All three are plain
    sentences without a trailing full stop.
    """

    def __init__(self, problem: str, *, remedy: str, path: Path | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.path = path

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path is not None else ""
        return f"{where}{self.problem}. {self.remedy}."


class UsageError(DustdError):
    """The command asks for something that is not there or makes no sense; exit code 2."""


class ConfigError(DustdError):
    """The configuration cannot be used; exit code 78."""


class FrameError(DustdError):
    """This frame cannot be processed; the next one is not affected."""


class UnreadableError(FrameError):
    """This frame's file cannot be read just now; it may be later, and the other frames are not affected."""


class OwnOutputError(FrameError):
    """This is no exposure but a cleaned file that dustd made; it is left alone."""


class SurroundingsError(DustdError):
    """Disk, folder or share is in the way; the same frame may work later."""


class DamagedError(SurroundingsError):
    """The dust maps are damaged; the file was put aside, and the sidecars know it all."""


class ModelError(DustdError):
    """The detector's files are missing, changed or unusable."""


def cannot_be_read(exc: OSError, path: Path) -> FrameError:
    """Tell what *exc*, met while reading a frame's file, means for the frame: gone, out of reach, or broken."""
    if exc.errno in (errno.ENOENT, errno.ENOTDIR):
        return FrameError("the file is gone", remedy="Nothing to do if it was moved on purpose", path=path)
    if exc.errno not in _OF_CONTENT:
        remedy = "Check the disk or share and the file's permissions"
        return UnreadableError(f"it cannot be read ({exc.strerror})", remedy=remedy, path=path)
    remedy = "Copy it again from the card"
    return FrameError(f"it cannot be read ({exc.strerror or exc})", remedy=remedy, path=path)


def without_folders(text: str) -> str:
    """Cut the folders off the absolute paths in *text*, for what leaves this computer: "…/a.nef"."""
    return re.sub(r"(?<![\w.:/…])~?/(?:[^/\n\"']*[^/\n\"'\s]/)+", "…/", text)
