"""The errors dustd raises on purpose: each names the problem, the remedy and, where there is one, the file.

Five kinds, because five different things happen next: a wrong command ends the program with exit code 2, a wrong
configuration with 78, a broken frame costs that frame only, a fault of the surroundings (disk full, share away) is
waited out, and an unusable model stops the start.
"""

from pathlib import Path


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


class SurroundingsError(DustdError):
    """Disk, folder or share is in the way; the same frame may work later."""


class ModelError(DustdError):
    """The detector's files are missing, changed or unusable."""
