"""A configuration file that is edited while the daemon runs: when to read it again, and what takes effect.

A change counts once the file has rested for a moment: editors write in pieces, or replace the file. What cannot be
used is told and leaves the earlier configuration in force.
"""

import time
from collections.abc import Callable
from pathlib import Path

from dustd import config
from dustd.config import Config, ModelSettings
from dustd.detector.detect import Detector
from dustd.errors import DustdError, ModelError

REST_S = 1.0

LoadModel = Callable[[ModelSettings], Detector]

_Identity = tuple[int, int, int, int] | None


class ConfigFile:
    """The file at *path*, in force as it was when this was made. *clock* is monotonic seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path.absolute()
        self._clock = clock
        self._in_force = self._seen = _identity(path)
        self._seen_at = clock()

    def read_again(self, *, asked: bool) -> Config | None:
        """Give the configuration if the file has changed, or if somebody *asked*; else None.

        Raises ConfigError if it cannot be used, once per change.
        """
        identity, now = _identity(self.path), self._clock()
        if identity != self._seen:
            self._seen, self._seen_at = identity, now
        if not asked and (identity == self._in_force or now - self._seen_at < REST_S):
            return None
        self._in_force = self._seen = identity
        return config.load(self.path)


def needs_restart(old: Config, new: Config) -> tuple[str, ...]:
    """Name the keys that differ and that a running daemon cannot take in: the maps and the lock on them."""
    return ("map.store",) if old.map != new.map else ()


def loaded(load_model: LoadModel, model: ModelSettings) -> Detector:
    """Load a model. Raises ModelError whatever goes wrong: memory of a GPU, a shape that the library refuses."""
    try:
        return load_model(model)
    except DustdError:
        raise
    except Exception as exc:
        remedy = "The model in force stays; correct model.id, model.device or model.engine"
        problem = f"the model {model.id!r} cannot be loaded ({type(exc).__name__}: {exc})"
        raise ModelError(problem, remedy=remedy) from exc


def _identity(path: Path) -> _Identity:
    """Tell versions of a file apart without reading it; None if it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
