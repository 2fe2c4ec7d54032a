"""The page's process, started by `dustd.web.client` as `python -m dustd.web.server FD FD`.

It hears the daemon on the one descriptor, browsers on the other, and ends when the daemon hangs up.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dustd import codec, log, system
from dustd.web.app import application
from dustd.web.messages import Command, News, Setup
from dustd.web.site import Site

logger = structlog.get_logger()

NICENESS = 5  # the frames, and whoever edits them, go first
HEADERS_S = 10.0  # for a request to be sent whole
MOST_CONNECTIONS = 400
MOST_HEADER_BYTES = 16 << 10


class Protocol(H11Protocol):
    """HTTP/1.1 that waits for a request no longer than HEADERS_S: a browser needs no time to say what it wants."""

    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._be_patient()

    def data_received(self, data: bytes) -> None:
        """Take in a piece of a request."""
        if self._impatience is None:
            self._be_patient()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Begin anew with the next request; between two, uvicorn waits for as long as it was told."""
        self._stop_waiting()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _be_patient(self) -> None:
        self._impatience = self.loop.call_later(HEADERS_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
        self._impatience = None

    def _give_up(self) -> None:
        """Close a connection on which nothing, or only a part of a request, has come."""
        self._impatience = None
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not is_answering or self.conn.their_state is h11.SEND_BODY:
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn that leaves signals alone: the daemon ends this process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Change nothing."""
        yield


def main() -> None:
    """Serve until the daemon is gone."""
    line, listening = Connection(int(sys.argv[1])), socket.socket(fileno=int(sys.argv[2]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    system.ignore_hangup()
    system.be_nicer(NICENESS)
    system.be_the_first_to_go()
    with contextlib.suppress(EOFError, OSError):
        first = line.recv()
        assert isinstance(first, Setup), "the daemon begins with the setup"
        log.setup(first.config.log.format, first.config.log.level)
        logging.getLogger("uvicorn").setLevel(logging.ERROR)  # strangers' requests are no news
        asyncio.run(_serve(line, listening, first))


async def _serve(line: Connection, listening: socket.socket, first: Setup) -> None:
    loop, sending = asyncio.get_running_loop(), threading.Lock()

    def send(command: Command) -> None:
        with sending:
            line.send_bytes(codec.to_bytes(codec.DEFAULT.plain(command)))

    site = Site(first, send)

    def hear() -> None:
        """Take news from the daemon, in a thread; its end is ours."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                news: News = line.recv()
                loop.call_soon_threadsafe(site.take, news)
        os._exit(0)

    threading.Thread(target=hear, daemon=True).start()
    server = Server(
        uvicorn.Config(
            application(site),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            limit_concurrency=MOST_CONNECTIONS,
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        )
    )
    await server.serve(sockets=[listening])


if __name__ == "__main__":
    main()
