"""Damaged dust maps: the store puts them aside, and here they are learnt again from the sidecars beside the frames.

What a person said of cleanings (`dustd map cleaned`) no sidecar knows; the store has noted that
(`dustd.dustmap.declared_cleanings`).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import structlog

from dustd.dustmap.store import Store
from dustd.errors import DamagedError
from dustd.output import sidecar
from dustd.output.sidecar import Record

log = structlog.get_logger()


def open_store(where: Path | str, outputs: Sequence[Path], *, heartbeat: Callable[[], None] = lambda: None) -> Store:
    """Open the maps. Damaged ones, also those put aside before a crash, are learnt again from sidecars in *outputs*.

    Raises what `Store.open` does, but DamagedError.
    """
    try:
        store = Store.open(where)
    except DamagedError as error:
        log.warning("maps_damaged", problem=error.problem)
        store = Store.open(where)
    if _is_lost(store):
        relearn(store, outputs, heartbeat=heartbeat)
    return store


def _is_lost(store: Store) -> bool:
    """Tell whether the maps were put aside, now or before, and nothing has been learnt since."""
    try:
        known = store.body_ids()
    except DamagedError as error:  # its first page is whole, others are not
        log.warning("maps_damaged", problem=error.problem)
        return True
    return store.path is not None and not known and any(store.path.parent.glob(f"{store.path.name}.damaged-*"))


def relearn(store: Store, outputs: Sequence[Path], *, heartbeat: Callable[[], None] = lambda: None) -> None:
    """Make an empty store of one that was put aside, and tell it all that the sidecars below *outputs* know.

    Raises SurroundingsError if disk or folder is in the way; the store stays `damaged` then.
    """
    store.begin_anew()
    counted = store.rebuild(list(_records(outputs, heartbeat)))
    log.warning("maps_learnt_again", frames=counted)


def _records(outputs: Sequence[Path], heartbeat: Callable[[], None]) -> Iterator[Record]:
    for output in outputs:
        for path in sorted(output.rglob("*" + sidecar.SUFFIX)):
            heartbeat()
            try:
                yield sidecar.decode(path.read_bytes())
            except (OSError, ValueError) as exc:
                log.warning("sidecar_left_out", path=str(path), problem=str(exc))
