"""What people said of cleanings, kept a second time beside the maps: no sidecar knows it.

Beside maps.sqlite, maps.sqlite.cleanings.json tells of each body which cleanings were declared and which noticed ones
were taken back. It is written anew with every such word, before that counts, and read when maps are learnt again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from dustd import codec, files

log = structlog.get_logger()

SUFFIX = ".cleanings.json"
SCHEMA, SCHEMA_VERSION = "dustd.cleanings", "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Of one body: when it was *cleaned* (ISO 8601), and from which place to which on its line
    (`dustd.dustmap.places`) no cleaning is noticed because a person said that there was none: *dismissed*.

    *at_once* are those of *cleaned* of which was told when they were made: every frame known then came before.
    """

    body_id: str
    cleaned: tuple[str, ...]
    dismissed: tuple[tuple[str, str], ...]
    at_once: tuple[str, ...] = ()


def save(store: Path, bodies: Iterable[Declared]) -> None:
    """Write down all that was said of the bodies in *store*. Raises SurroundingsError if the disk is in the way."""
    path = _beside(store)
    data = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "bodies": codec.DEFAULT.plain(tuple(bodies))}
    ours = {files.sha256_file(path)} if path.exists() else ()
    files.publish(path, codec.to_bytes(data, indent=2), ours=ours)


def load(store: Path) -> tuple[Declared, ...]:
    """Read what was said; what cannot be read is logged and counts as nothing."""
    path = _beside(store)
    try:
        said = codec.require(codec.parse(path.read_bytes()), SCHEMA, SCHEMA_VERSION)
        return codec.DEFAULT.read(tuple[Declared, ...], said["bodies"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError) as exc:
        remedy = "If sensors were declared clean, repeat that: dustd map cleaned BODY"
        log.warning("cleanings_unreadable", path=str(path), problem=str(exc), remedy=remedy)
        return ()


def _beside(store: Path) -> Path:
    return store.with_name(store.name + SUFFIX)
