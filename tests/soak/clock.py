"""A computer's clock that is set wrong while dustd runs, as this process sees it; the even clock goes on as it did."""

import datetime
import time
from pathlib import Path


def set_off(note: Path, seconds: float) -> None:
    """Tell the processes that follow *note* by how much their clock is off."""
    temp = note.with_suffix(".new")
    temp.write_text(str(seconds))
    temp.replace(note)


def follow(note: Path) -> None:
    """Let Python's clocks of this process be off by what *note* says; before anything imports `datetime` by parts."""
    real = time.time

    def off_s() -> float:
        return float(note.read_text())

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Clock":
            return cls.fromtimestamp(real() + off_s(), tz)

    time.time = lambda: real() + off_s()
    datetime.datetime = Clock  # type: ignore[misc]
