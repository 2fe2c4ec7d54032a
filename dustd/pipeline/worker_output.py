"""What a child process says on its standard output and error, for the log: C libraries print, they do not log.

However much it says, memory and log stay small: the first lines since the last report are kept, and the last ones.
"""

import os
from collections import deque

from dustd.text import printable

FIRST_LINES, LAST_LINES, LINE_CHARS = 10, 50, 300  # a crash in Python takes some thirty lines to say where
_READ_BYTES = 1 << 16


class WorkerOutput:
    """A pipe that a child process writes to at *write_end* and we read at *read_end*; both are file descriptors."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self._rest = b""
        self._forget()

    def read(self) -> bool:
        """Read a piece of what was written; False if there is nothing now."""
        try:
            data = os.read(self.read_end, _READ_BYTES)
        except BlockingIOError:
            return False
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._keep(line)
        self._rest = rest[:_READ_BYTES]
        return bool(data)

    def first(self) -> tuple[list[str], int]:
        """Give the first lines that were said since the last time, and the number of those that followed."""
        self._keep(self._rest)
        said = self._first, self._more
        self._forget()
        return said

    def last(self) -> str:
        """Give the last lines that were said since the last time, up to the very end."""
        while self.read():
            pass
        self._keep(self._rest)
        said = "\n".join(self._last)
        self._forget()
        return said

    def close(self) -> None:
        """Close our end; the other is the child's."""
        os.close(self.read_end)

    def _keep(self, line: bytes) -> None:
        text = printable(line.decode(errors="replace").rstrip())[:LINE_CHARS]
        if not text:
            return
        if len(self._first) < FIRST_LINES:
            self._first.append(text)
        else:
            self._more += 1
        self._last.append(text)

    def _forget(self) -> None:
        self._rest = b""
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._more = 0
