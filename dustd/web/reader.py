"""Reading sidecars for the page, in threads: one that there is news of, and all that lie in the output folders.

Each is read once for each of its versions. Candidates and refused marks, most of a sidecar, are left out of the list.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dustd import codec
from dustd.output.sidecar import SUFFIX, Record, decode, from_dict
from dustd.web.index import MOST_FRAMES
from dustd.web.messages import Watched
from dustd.web.rows import Row, key_of, row_of


def read_row(source: str, sidecar: str, folder: str) -> Row | None:
    """Sum up the frame of a sidecar; None if there is none that can be read."""
    try:
        version = os.stat(sidecar)  # noqa: PTH116 - a path's text is all there is
        data = codec.parse(Path(sidecar).read_bytes())
        data = {**data, "candidates": None, "refused": []} if isinstance(data, dict) else data
        record = from_dict(data)
    except (OSError, ValueError):
        return None
    return row_of(
        record,
        source=source,
        sidecar=sidecar,
        folder=folder,
        version=f"{version.st_mtime_ns:x}",
        came=version.st_mtime,
    )


def read_record(row: Row) -> Record | None:
    """Read all of a frame's sidecar; None if it is gone or garbled."""
    try:
        return decode(Path(row.sidecar).read_bytes())
    except (OSError, ValueError):
        return None


async def in_thread(row: Row) -> Record | None:
    """Do so without holding up anybody."""
    return await asyncio.to_thread(read_record, row)


def find(watched: Sequence[Watched], is_known: Callable[[str, str], bool]) -> Iterator[tuple[str, str, str]]:
    """Find the sidecars that *is_known*(id, version) does not know, the latest first: source, sidecar, folder's id."""
    found: list[tuple[float, str, str, str]] = []
    for folder in watched:
        for path, version in _sidecars(folder.output):
            if not is_known(key_of(path), f"{version.st_mtime_ns:x}"):
                place = Path(path).relative_to(folder.output)
                source = folder.path / place.with_name(place.name.removesuffix(SUFFIX))
                found.append((version.st_mtime, str(source), path, key_of(str(folder.path))))
    found.sort(reverse=True)
    for _, *named in found[:MOST_FRAMES]:
        yield named[0], named[1], named[2]


def gone(sidecars: dict[str, str], watched: Sequence[Watched]) -> list[str]:
    """Give the ids of those *sidecars* (paths by id) that are not there any more; not if their whole folder is away."""
    present = [str(folder.output) + os.sep for folder in watched if folder.output.is_dir()]
    return [
        row_id
        for row_id, path in sidecars.items()
        if any(path.startswith(root) for root in present) and not os.path.exists(path)  # noqa: PTH110
    ]


def _sidecars(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Walk over the sidecars below an output folder, with what the system says of each."""
    waiting = [str(root)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif entry.name.endswith(SUFFIX) and entry.name != SUFFIX:
                            yield entry.path, entry.stat()
                    except OSError:
                        continue
        except OSError:
            continue
