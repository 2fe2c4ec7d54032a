"""`dustd run` as a child process: started, listened to and stopped the way systemd does it (sd_notify, SIGTERM)."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dustd.errors import SurroundingsError

READY_S, STOP_S = 180.0, 60.0
DUSTD = (sys.executable, "-m", "dustd")


class Daemon:
    """The real daemon with the configuration *config*; what it says to people goes to *log*. A context manager.

    *program* is the command that stands for `dustd`.
    """

    def __init__(self, config: Path, log: Path, *, program: Sequence[str] = DUSTD) -> None:
        self.config = config
        self.log = log
        self.program = program

    def __enter__(self) -> "Daemon":
        # The name of a socket must be short, which the demo's folder may not be.
        self._socket_folder = tempfile.TemporaryDirectory(prefix="dustd-")
        address = str(Path(self._socket_folder.name, "notify"))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(0.2)
        self._log_file = self.log.open("wb")
        self._process = subprocess.Popen(
            [*self.program, "run", "-c", str(self.config)],
            env={**os.environ, "NOTIFY_SOCKET": address},
            stdin=subprocess.DEVNULL,
            stdout=self._log_file,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log_file.close()
        self._socket.close()
        self._socket_folder.cleanup()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def kill(self) -> None:
        """End the daemon without warning (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def hear(self) -> list[str]:
        """Return what the daemon has said ("READY=1", "STATUS=…"), after waiting a moment for it to speak.

        Raises SurroundingsError if it has ended by itself.
        """
        said: list[str] = []
        until = time.monotonic() + 0.5
        with contextlib.suppress(TimeoutError):
            while time.monotonic() < until:
                said += self._socket.recv(4096).decode(errors="replace").splitlines()
        if self._process.poll() is not None:
            raise self._trouble(f"dustd run ended by itself with exit code {self._process.returncode}")
        return said

    def wait_until_ready(self) -> None:
        """Wait for the model to be warm. Raises SurroundingsError if that takes longer than READY_S."""
        until = time.monotonic() + READY_S
        while "READY=1" not in self.hear():
            if time.monotonic() > until:
                raise self._trouble(f"dustd run was not ready after {READY_S:g} s")

    def stop(self) -> int:
        """End the daemon with SIGTERM and return its exit code; -9 if it had to be killed."""
        self._process.terminate()
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _trouble(self, problem: str) -> SurroundingsError:
        last = " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-4:])
        return SurroundingsError(problem, remedy=f"Read {self.log}; it ends with: {last}")
