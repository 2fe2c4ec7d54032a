"""What became of frames since the daemon's start, for its status: counts, the last ones, bodies, those that failed."""

import datetime
import os
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path

from dustd.daemon.status import IMPROVED, KEPT, VANISHED, BodyState, FrameState, Trouble
from dustd.errors import DustdError
from dustd.output.sidecar import Record
from dustd.pipeline.revisit import Visit
from dustd.text import spots_changed

LAST_FRAMES = 10


class Tally:
    """Counts and remembers: *counts* by status, *last* the latest frames, *failed* by source what is still wrong."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.last: deque[FrameState] = deque(maxlen=LAST_FRAMES)
        self.bodies: dict[str, BodyState] = {}
        self.failed: dict[Path, Trouble] = {}
        self._counted_as_failed: set[Path] = set()

    def cleaned(self, source: Path, record: Record, seconds: float) -> FrameState:
        """Note a frame that was cleaned, or left unchanged."""
        self.failed.pop(source, None)
        body_id = record.camera.body_id
        frames = self.bodies[body_id].frames if body_id in self.bodies else 0
        self.bodies[body_id] = BodyState(body_id=body_id, frames=frames + 1, last_at=now())
        return self._note(source, record.status, record, seconds)

    def visited(self, source: Path, visit: Visit, seconds: float) -> FrameState | None:
        """Note a frame whose decision is another one now."""
        if visit.record is None:
            return None
        kind, change = KEPT if visit.left_alone else IMPROVED, spots_changed(visit.more, visit.fewer)
        return self._note(source, kind, visit.record, seconds, change=change)

    def failed_by(self, source: Path, error: DustdError) -> FrameState:
        """Note a frame that failed; one that fails again and again counts once."""
        self.failed[source] = Trouble(path=str(source), problem=error.problem, remedy=error.remedy)
        count = source not in self._counted_as_failed
        self._counted_as_failed.add(source)
        return self._note(source, "failed", count=count)

    def vanished(self, source: Path) -> FrameState:
        """Note a frame that was gone before it was cleaned."""
        return self._note(source, VANISHED)

    def prune(self, watched: Iterable[Path]) -> None:
        """Forget failed frames that are gone, or whose folder is watched no more."""
        roots = tuple(watched)
        self.failed = {
            path: each
            for path, each in self.failed.items()
            if any(path.is_relative_to(root) for root in roots) and os.path.lexists(path)
        }

    def _note(
        self,
        source: Path,
        kind: str,
        record: Record | None = None,
        seconds: float = 0.0,
        *,
        count: bool = True,
        change: str = "",
    ) -> FrameState:
        self.counts[kind] += count
        spots = record.spots if record is not None else ()
        state = FrameState(
            name=source.name,
            body_id=record.camera.body_id if record is not None else "unknown",
            status=kind,
            at=now(),
            seconds=round(seconds, 2),
            spots=len(spots),
            corrected=sum(spot.action != "left" for spot in spots),
            change=change,
        )
        self.last.append(state)
        return state


def now() -> str:
    """Give the time, ISO 8601 with offset."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
