"""The daemon's end of the session page: starts the page's process, tells it news, hears commands.

Nothing here ever holds up the daemon: what is to be told waits in memory of bounded size for a thread that sends, and
of snapshots only the latest counts. If the process dies, another one takes its place, later each time, and is told
what holds now; the daemon keeps the socket meanwhile, so that the address stays and browsers wait.
"""

import collections
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import structlog

from dustd import codec
from dustd.errors import SurroundingsError
from dustd.web.messages import Bodies, Command, FrameNews, News, Result, Setup, Snapshot

log = structlog.get_logger()

KEPT_NEWS = 1000  # what a process that is away misses beyond, it reads from the sidecars
BACKLOG = 128  # connections that wait to be accepted
FIRST_PAUSE_S, LONGEST_PAUSE_S, LIVED_S = 0.5, 60.0, 60.0
PAUSE_S = 0.2  # between two times that something is sent
MOST_COMMAND_BYTES = 256 << 10
END_S = 2.0


def listen_at(address: str, port: int) -> socket.socket:
    """Listen for browsers. Raises SurroundingsError if that is impossible."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock: socket.socket | None = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError as exc:
        if sock is not None:
            sock.close()
        raise cannot_be_served(address, port, exc) from exc
    return sock


def cannot_be_served(address: str, port: int, exc: OSError) -> SurroundingsError:
    """Say why no page comes from an address."""
    return SurroundingsError(
        f"the session page cannot be served at {address}, port {port} ({exc.strerror or exc})",
        remedy="Choose another web.port (0: none) or web.listen",
    )


class PageClient:
    """The page's process, served through the socket *listening*; *hear* is called with commands, in a thread."""

    def __init__(self, listening: socket.socket, hear: Callable[[Command], None]) -> None:
        self._listening, self._hear = listening, hear
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None
        self._closing = threading.Event()
        self._told = threading.Condition()
        self._standing: dict[type, News] = {}  # told again to every new process
        self._waiting: dict[type, News] = {}  # of these what the present one was not told yet
        self._news: collections.deque[News] = collections.deque(maxlen=KEPT_NEWS)
        self._supervisor = threading.Thread(target=self._supervise, name="dustd-page", daemon=True)
        self._supervisor.start()
        threading.Thread(target=self._send, name="dustd-page-news", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The process id, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def tell(self, news: News) -> None:
        """Have the process told; returns at once."""
        with self._told:
            if isinstance(news, FrameNews | Result):
                self._news.append(news)
            else:
                self._standing[type(news)] = self._waiting[type(news)] = news
            self._told.notify()

    def close(self) -> None:
        """End the process, which holds nothing that could be lost, and stop listening."""
        self._closing.set()
        with self._told:
            self._told.notify()
        process = self._process
        if process is not None:
            process.kill()
        self._supervisor.join()
        self._listening.close()

    def _send(self) -> None:
        """Send what is told, the standing things first; in a thread of its own, as the process may be slow.

        What comes within PAUSE_S goes together: each time that this thread wakes, the daemon's waits for it.
        """
        while not self._closing.is_set():
            with self._told:
                line = self._line
                if line is None or not (self._waiting or self._news):
                    self._told.wait()
                    continue
                told = [self._waiting[kind] for kind in (Setup, Bodies, Snapshot) if kind in self._waiting]
                told += self._news
                self._waiting.clear()
                self._news.clear()
            with contextlib.suppress(OSError):  # it has died; `_supervise` sees to that
                for each in told:
                    line.send(each)
            self._closing.wait(PAUSE_S)

    def _supervise(self) -> None:
        """Start the process and listen to it; when it ends, begin again."""
        pause_s = FIRST_PAUSE_S
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                line = self._start()
            except OSError as exc:
                end = exc.strerror or str(exc)
            else:
                self._listen(line)
                end = self._end(line)
            if self._closing.is_set():
                return
            pause_s = FIRST_PAUSE_S if time.monotonic() - began > LIVED_S else min(2 * pause_s, LONGEST_PAUSE_S)
            log.warning("session_page_ended", how=end, retry_s=pause_s)
            self._closing.wait(pause_s)

    def _start(self) -> Connection:
        """Start the process and have it told all that holds. Raises OSError."""
        ours, theirs = Pipe()
        fds = (theirs.fileno(), self._listening.fileno())
        with theirs:
            # In a session of its own: Ctrl-C on a terminal means the daemon, which ends it when it is done.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dustd.web.server", *map(str, fds)],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        with self._told:
            self._waiting = dict(self._standing)
            self._line = ours
            self._told.notify()
        return ours

    def _listen(self, line: Connection) -> None:
        """Hear commands until the process is gone."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                said = line.recv_bytes(MOST_COMMAND_BYTES)
                try:
                    command = codec.DEFAULT.read(Command, codec.parse(said))
                except ValueError as exc:
                    log.warning("command_not_understood", problem=str(exc))
                else:
                    self._hear(command)

    def _end(self, line: Connection) -> str:
        """Take away a process that has hung up, and say how it ended."""
        with self._told:
            self._line = None
        line.close()
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._process.kill()
        code = self._process.wait()
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
