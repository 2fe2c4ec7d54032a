"""Tell systemd how the service does (sd_notify): ready, alive, what it is doing, stopping.

One datagram per message to the socket named in NOTIFY_SOCKET; without that variable, nothing happens. Nothing waits
and no error counts: a message that is lost because the listener is busy or away is no reason to stop cleaning frames.
"""

import contextlib
import os
import socket
import time

LONGEST_STEP_S = 600  # between two heartbeats; as WatchdogSec in systemd/dustd.service


def ready() -> None:
    """Say that start-up, or reading the configuration again, is over."""
    _send("READY=1")


def reloading() -> None:
    """Say that the configuration is read again; `ready` ends it."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def heartbeat() -> None:
    """Say that work goes on. Call it from the code that does the work, never from a timer.

    Start and stop may take as long as this is heard: thousands of sidecars are read again after damage, say.
    """
    _send(f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={LONGEST_STEP_S * 1_000_000}")


def status(text: str) -> None:
    """Set the one line that `systemctl status` shows."""
    _send("STATUS=" + " ".join(text.split()))


def stopping() -> None:
    """Say that the service is shutting down."""
    _send("STOPPING=1")


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # abstract socket: its name starts with a null byte
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(message.encode(), address)
