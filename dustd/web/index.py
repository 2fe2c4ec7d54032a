"""The frames that the page lists: small rows in memory. Used from one thread alone; knows no files.

What waits or is in hand comes from the daemon's snapshots and lies over what an earlier run left of the same frame.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dustd.output.sidecar import sidecar_name
from dustd.web.messages import Matter, Snapshot, Watched
from dustd.web.rows import Row, iso, key_of

MOST_FRAMES = 20_000  # the latest; older ones are on disk, not on the page
VANISHED = "vanished"  # the status of a frame that was gone before it was cleaned
_Key = tuple[float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which frames a list holds (None: any), and whether those that need a look, the riskiest first."""

    body: str | None = None
    folder: str | None = None
    status: str | None = None
    by_risk: bool = False

    def holds(self, row: Row) -> bool:
        """Tell whether a frame belongs to the list."""
        return (
            (self.body is None or (row.body != "" and key_of(row.body) == self.body))
            and self.folder in (None, row.folder)
            and self.status in (None, row.status)
            and (row.needs_look or not self.by_risk)
        )

    def key(self, row: Row) -> _Key:
        """Give what the list is sorted by, the least first."""
        return (-(row.risk if self.by_risk else row.order), row.id)


class Index:
    """Rows by id; *revision* changes with them."""

    def __init__(self) -> None:
        self.revision = 0
        self._done: dict[str, Row] = {}
        self._over: dict[str, Row] = {}
        self._sorted: dict[Wanted, tuple[int, list[Row], list[_Key]]] = {}

    def get(self, row_id: str) -> Row | None:
        """Give the row of an id, None if there is no such frame."""
        return self._over.get(row_id) or self._done.get(row_id)

    def put(self, row: Row) -> bool:
        """Take in what a sidecar says now; tell whether it is news."""
        before = self._done.get(row.id)
        if before is not None and before.version == row.version != "":
            row = replace(row, status=before.status, change=before.change, seconds=before.seconds)
        if before == row:
            return False
        self._done[row.id] = row
        self.revision += 1
        if len(self._done) > 1.1 * MOST_FRAMES:
            for old in sorted(self._done.values(), key=lambda each: each.order)[: len(self._done) - MOST_FRAMES]:
                del self._done[old.id]
        return True

    def is_known(self, row_id: str, version: str) -> bool:
        """Tell whether this version of a sidecar has been read."""
        row = self._done.get(row_id)
        return row is not None and row.version == version

    def forget(self, row_ids: Iterable[str]) -> None:
        """Leave out frames whose sidecar is gone."""
        for row_id in row_ids:
            self.revision += self._done.pop(row_id, None) is not None

    def sidecars(self) -> dict[str, str]:
        """Give the path of each sidecar by its frame's id."""
        return {row.id: row.sidecar for row in self._done.values() if row.version}

    def take(self, now: Snapshot, watched: Sequence[Watched]) -> list[Row]:
        """Take in what waits and is in hand; return the rows that are shown otherwise now."""
        over: dict[str, Row] = {}
        troubled = {each.path: each for folder in now.folders for each in (*folder.put_off, *folder.held)}
        waiting = dict.fromkeys((*now.next_up, *troubled))
        for number, source in enumerate(dict.fromkeys((*filter(None, [now.in_hand]), *waiting))):
            row = self._pending(source, watched, number, troubled.get(source))
            if row is not None:
                over[row.id] = replace(row, status="working") if source == now.in_hand else row
        changed = [row for row in over.values() if self._over.get(row.id) != row]
        gone = [row for row_id, row in self._over.items() if row_id not in over]
        self._over = over
        self.revision += bool(changed or gone)
        return changed + [self._done[row.id] for row in gone if row.id in self._done]

    def page(self, wanted: Wanted, limit: int, before: str | None) -> tuple[list[Row], str | None, int]:
        """Give *limit* rows of a list after the cursor *before*, the cursor to go on from, and the list's length.

        Raises ValueError for a cursor that is none.
        """
        rows, keys = self._list(wanted)
        start = 0
        if before is not None:
            number, _, row_id = before.partition("~")
            start = bisect_left(keys, (float(number), row_id))
            start += start < len(keys) and keys[start] == (float(number), row_id)
        found = rows[start : start + limit]
        more = start + limit < len(rows)
        cursor = f"{keys[start + limit - 1][0]!r}~{keys[start + limit - 1][1]}" if more else None
        return found, cursor, len(rows)

    def neighbours(self, row: Row) -> tuple[str | None, str | None]:
        """Give the ids of the frames before and after one in the list of all, the latest first."""
        rows, keys = self._list(Wanted())
        at = bisect_left(keys, Wanted().key(row))
        return (rows[at - 1].id if at else None), (rows[at + 1].id if at + 1 < len(rows) else None)

    def counts(self) -> Counter[str]:
        """Count the frames by status."""
        return Counter(row.status for row in self._list(Wanted())[0])

    def failed(self) -> list[Row]:
        """Give the frames that failed."""
        return self._list(Wanted(status="failed"))[0]

    def needs_look(self) -> int:
        """Count the frames that a person had better look at."""
        return len(self._list(Wanted(by_risk=True))[0])

    def _list(self, wanted: Wanted) -> tuple[list[Row], list[_Key]]:
        known = self._sorted.get(wanted)
        if known is None or known[0] != self.revision:
            shown = {**self._done, **self._over}.values()
            rows = sorted((row for row in shown if wanted.holds(row)), key=wanted.key)
            self._sorted = {key: each for key, each in self._sorted.items() if each[0] == self.revision}
            known = self._sorted[wanted] = (self.revision, rows, [wanted.key(row) for row in rows])
        return known[1], known[2]

    def _pending(self, source: str, watched: Sequence[Watched], number: int, trouble: Matter | None) -> Row | None:
        """Make the row of a frame that waits; the *number* keeps those in order that came at once."""
        folder = next((each for each in watched if Path(source).is_relative_to(each.path)), None)
        if folder is None:
            return None
        path = str(sidecar_of(Path(source), folder))
        row_id = key_of(path)
        before = self._over.get(row_id)
        order = before.order if before is not None else time.time() - number / 1000
        return Row(
            id=row_id,
            source=source,
            sidecar=path,
            folder=key_of(str(folder.path)),
            status="waiting",
            at=iso(order),
            order=order,
            problem=trouble.problem if trouble else None,
            remedy=trouble.remedy if trouble else None,
        )


def sidecar_of(source: Path, folder: Watched) -> Path:
    """Say where the sidecar of a source in a watched folder is."""
    return folder.output / source.parent.relative_to(folder.path) / sidecar_name(source.name)
