"""Pictures made for the page, kept on disk up to a size; those that were looked at longest ago go first."""

import collections
import contextlib
import os
import threading
from pathlib import Path

from dustd import files

MOST_BYTES = 512 << 20


class Cache:
    """Files in *folder*, which is made when it is needed, by name. May be used from several threads."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        self._lock = threading.Lock()
        self._sizes: collections.OrderedDict[str, int] = collections.OrderedDict()  # the latest used last
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            found = sorted((entry.stat().st_mtime, entry.name, entry.stat().st_size) for entry in entries)
            self._sizes.update((name, size) for _, name, size in found)

    def get(self, name: str) -> bytes | None:
        """Read a file; None if it is not kept."""
        with self._lock:
            if name not in self._sizes:
                return None
            self._sizes.move_to_end(name)
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Keep a file; where the disk has no room, it is not kept."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            files.overwrite(self._folder / name, data)
            with self._lock:
                self._sizes[name] = len(data)
                self._sizes.move_to_end(name)
                gone = []
                while sum(self._sizes.values()) > self._most_bytes and len(self._sizes) > 1:
                    gone.append(self._sizes.popitem(last=False)[0])
            for each in gone:
                (self._folder / each).unlink(missing_ok=True)
