"""Server-sent events: what happens, told to every open page at once, encoded once.

A page that does not keep up is dropped; its browser connects again and reads anew what is shown.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Literal

from dustd import codec
from dustd.codec import Json

HEARTBEAT_S = 15.0
GATHER_S = 0.1  # so long events wait for others: fewer and larger pieces for many pages
MOST_BEHIND = 100  # such pieces that wait for one page
MOST_PAGES = 200
Name = Literal["state", "frame", "command", "bodies", "trouble"]


class Hub:
    """All open pages. Used from the event loop's thread alone."""

    def __init__(self) -> None:
        self._pages: set[asyncio.Queue[bytes | None]] = set()
        self._number = 0
        self._gathered: list[bytes] = []

    @property
    def is_full(self) -> bool:
        """Tell whether no more pages can be told."""
        return len(self._pages) >= MOST_PAGES

    @property
    def is_heard(self) -> bool:
        """Tell whether any page listens."""
        return bool(self._pages)

    def tell(self, name: Name, data: Json = None) -> None:
        """Tell all pages, together with what comes within a moment."""
        if not self._pages:
            return
        self._gathered.append(self._event(name, data))
        if len(self._gathered) == 1:
            asyncio.get_running_loop().call_later(GATHER_S, self._flush)

    def _flush(self) -> None:
        events, self._gathered = b"".join(self._gathered), []
        for page in tuple(self._pages):
            try:
                page.put_nowait(events)
            except asyncio.QueueFull:
                self._drop(page)

    async def listen(self, first: Json) -> AsyncIterator[bytes]:
        """Give what one page is told, beginning with the state *first*, until it goes or does not keep up."""
        page: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_BEHIND)
        self._pages.add(page)
        try:
            yield b"retry: 1000\n\n" + self._event("state", first)
            while True:
                try:
                    event = await asyncio.wait_for(page.get(), HEARTBEAT_S)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if event is None:
                    return
                yield event
        finally:
            self._pages.discard(page)

    def _event(self, name: Name, data: Json) -> bytes:
        self._number += 1
        return f"id: {self._number}\nevent: {name}\ndata: ".encode() + codec.to_bytes(data) + b"\n"

    def _drop(self, page: asyncio.Queue[bytes | None]) -> None:
        self._pages.discard(page)
        while not page.empty():
            page.get_nowait()
        with contextlib.suppress(asyncio.QueueFull):
            page.put_nowait(None)
