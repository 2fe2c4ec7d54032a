"""Lost or damaged maps are learnt again from the sidecars, and maps that are away opened; what is in the way is told,
and tried again, later and later."""

import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from dustd.daemon import systemd
from dustd.daemon.status import Trouble
from dustd.dustmap.recovery import relearn
from dustd.dustmap.store import Store
from dustd.errors import DustdError

log = structlog.get_logger()

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 900.0


class Relearning:
    """Looks after the maps in *store*; *trouble* is what is in the way, if anything."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._at = self._pause_s = 0.0
        self.trouble: Trouble | None = None

    def turn(self, outputs: Sequence[Path]) -> None:
        """Learn from the sidecars in *outputs*, or reach maps that are away, if that is called for."""
        if not (self._store.damaged or self._store.lost or self._store.away):
            self.trouble = None
            return
        if time.monotonic() < self._at:
            return
        try:
            systemd.status("opening the dust maps")
            relearn(self._store, outputs, systemd.heartbeat)
        except DustdError as error:
            log.warning("maps_wait", problem=error.problem, remedy=error.remedy)
            path = str(error.path or "dust maps")
            self.trouble = Trouble(path=path, problem=error.problem, remedy=error.remedy)
            self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            self._at = time.monotonic() + self._pause_s
        else:
            self._pause_s, self.trouble = 0.0, None
