"""The mark beside a database that was put aside: frames are missing in the one that is there now.

It stays until all has been learnt again from sidecars, whatever happens in between, and lists the folders that have
been read. maps.sqlite has maps.sqlite.lacks-frames.
"""

import contextlib
from pathlib import Path

from dustd import files


class Lost:
    """The mark of the database *store*, None for one that is in memory or on a server and never put aside."""

    def __init__(self, store: Path | None) -> None:
        self._path = store.with_name(f"{store.name}.lacks-frames") if store else None

    def __bool__(self) -> bool:
        """Tell whether frames are missing."""
        return self._path is not None and files.is_there(self._path)

    def begin(self) -> None:
        """Note that all frames are missing. Raise OSError if the disk is in the way."""
        if self._path is not None:
            self._path.write_bytes(b"")

    def read(self) -> frozenset[str]:
        """Name the folders whose sidecars have been read since."""
        try:
            return (
                frozenset(self._path.read_text("utf-8", "surrogateescape").split("\0")) if self._path else frozenset()
            )
        except OSError:
            return frozenset()

    def note_read(self, folder: Path) -> None:
        """Note that the sidecars in a folder have been read; if that cannot be noted, they are read once more."""
        if self._path is not None:
            with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8", errors="surrogateescape") as mark:
                mark.write(f"{folder}\0")

    def end(self) -> None:
        """Note that none is missing any more; if that cannot be noted, all is learnt once more, which does no harm."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
