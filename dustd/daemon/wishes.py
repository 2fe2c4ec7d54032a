"""What a person asked for on the session page that outlives a restart: the order, and sensitivities of the shoot.

It is kept in the state folder; the configuration's file is the person's own and stays as it is. A later word counts
more than an earlier one, and a sensitivity that is changed in the configuration more than all that were said before.
"""

import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import structlog

from dustd import codec, files
from dustd.config import Config

log = structlog.get_logger()

FILE_NAME = "session.json"
SCHEMA, SCHEMA_VERSION = "dustd.session", "1.0"
MOST_WISHES = 1000
SHOWN = 50
Order = Literal["oldest", "newest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A sensitivity for one *frame* (its source), or for the frames of a watched *folder*: those whose files are not
    older than *since_ns* (mtime), or all."""

    folder: str
    value: float
    frame: str | None = None
    since_ns: int | None = None

    def holds(self, source: Path) -> bool:
        """Tell whether it is about a frame."""
        if self.frame is not None:
            return str(source) == self.frame
        if not source.is_relative_to(self.folder):
            return False
        return self.since_ns is None or _mtime_ns(source) >= self.since_ns

    def words(self) -> str:
        """Say it: "70 for IMG_1.CR3", "70 for /shoot from 2026-11-28T12:00:00+01:00 on"."""
        if self.frame is not None:
            return f"{self.value:g} for {Path(self.frame).name}"
        if self.since_ns is None:
            return f"{self.value:g} for {self.folder}"
        since = datetime.fromtimestamp(self.since_ns / 1e9).astimezone().isoformat(timespec="seconds")
        return f"{self.value:g} for {self.folder} from {since} on"

    def covers(self, other: "Wish") -> bool:
        """Tell whether nothing is left of an earlier wish."""
        if self.folder != other.folder or self.frame is not None:
            return self.frame is not None and self.frame == other.frame
        if self.since_ns is None:
            return True
        if other.frame is not None:
            return self.holds(Path(other.frame))
        return other.since_ns is not None and other.since_ns >= self.since_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    order: Order | None = None
    sensitivities: tuple[Wish, ...] = ()  # the last one first
    configured: str = ""  # what the configuration said of sensitivity then


class Wishes:
    """What was asked for, kept in *state_folder*."""

    def __init__(self, state_folder: Path) -> None:
        self._path = state_folder / FILE_NAME
        self._said = _read(self._path)

    @property
    def order(self) -> Order | None:
        """Which frames go first; None: as configured."""
        return self._said.order

    def order_now(self, order: Order) -> None:
        """Note another order. Raises OSError."""
        self._keep(replace(self._said, order=order))

    def add(self, wish: Wish, settings: Config) -> None:
        """Note a sensitivity. Raises OSError."""
        left = [each for each in self._said.sensitivities if not wish.covers(each)]
        wishes = (wish, *left)[:MOST_WISHES]
        self._keep(replace(self._said, sensitivities=wishes, configured=_configured(settings)))

    def sensitivity_of(self, body_id: str, source: Path, settings: Config) -> float:
        """Choose the sensitivity for a frame: the last one asked for, else as configured."""
        if self._said.sensitivities and self._said.configured == _configured(settings):
            for wish in self._said.sensitivities:
                if wish.holds(source):
                    return wish.value
        return settings.sensitivity_of(body_id, source)

    def words(self, settings: Config) -> tuple[tuple[str, str], ...]:
        """Say what is in force: keys and values."""
        said = [("watch.order", self._said.order)] if self._said.order else []
        wishes = self._said.sensitivities if self._said.configured == _configured(settings) else ()
        return (*said, *(("sensitivity", wish.words()) for wish in wishes[:SHOWN]))

    def _keep(self, said: _Said) -> None:
        data = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **codec.DEFAULT.plain(said)}
        files.overwrite(self._path, codec.to_bytes(data, indent=1))
        self._said = said


def _read(path: Path) -> _Said:
    try:
        return codec.DEFAULT.read(_Said, codec.require(codec.parse(path.read_bytes()), SCHEMA, SCHEMA_VERSION))
    except FileNotFoundError:
        return _Said()
    except (OSError, ValueError) as exc:
        log.warning("session_unreadable", path=str(path), problem=str(exc), remedy="Ask again on the session page")
        return _Said()


def _configured(settings: Config) -> str:
    """Sum up what the configuration says of sensitivity."""
    folders = [(str(each.path), each.sensitivity) for each in settings.folders]
    bodies = sorted((name, each.sensitivity) for name, each in settings.bodies.items())
    return repr((settings.sensitivity, folders, bodies))


def _mtime_ns(source: Path) -> int:
    try:
        return os.stat(source).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0
