"""Noticing that a sensor was cleaned: many confirmed particles vanish at once (facts/optics-and-evidence.md §4).

A running log-likelihood ratio between "cleaned since the run began" and "not cleaned"; it falls back to nothing when
the dust is still there. Pure values; what a cleaning does to a map is `dustd.dustmap.after_cleaning`.
"""

from dataclasses import dataclass

from dustd.particle import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """How far the latest frames speak for a cleaning.

    *log_ratio* is that of the run of frames that began at *since*, (frame id, time taken); *frames* how many
    independent ones it rests on; *scenes* are theirs. *noticed_at* is *since* once the test has fired, None before.
    """

    log_ratio: float = 0.0
    since: tuple[str, str | None] | None = None
    frames: int = 0
    scenes: tuple[Scene, ...] = ()
    noticed_at: tuple[str, str | None] | None = None
