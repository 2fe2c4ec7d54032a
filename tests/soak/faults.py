"""What strikes a daemon in the soak: kills, disks that fill up, maps that are damaged or away, clocks that jump."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from dustd.demo.child import Daemon
from tests.postgres import Server
from tests.soak import clock
from tests.soak.audit import Studio

EVERY_S, LAST_S = 8.0, 4.0
LOCKED_S = 14.0  # longer than the store waits for a database that another program holds
DAY_S = 86_400.0
JUMPS_S = (-9000 * DAY_S, -DAY_S, -7200.0, 7200.0, 400 * DAY_S)  # reset to 2002, set by hand, put right again


class Campaign(Protocol):
    """What faults strike; see `tests.soak.soak.Campaign`."""

    home: Path
    rng: random.Random
    disks: bool
    server: Server | None
    daemon: Daemon | None
    up: bool
    faults: Counter
    troubles: list[str]

    @property
    def studio(self) -> Studio:
        """Where everything lies."""

    @property
    def clock(self) -> Path:
        """Where the daemon's clock is said to be off."""

    def start(self) -> None:
        """Begin a life of the daemon."""

    def kill(self) -> None:
        """End it without warning."""

    def listen(self) -> None:
        """Hear what it says."""


def kill_daemon(campaign: Campaign) -> None:
    """SIGKILL, and a new start."""
    campaign.kill()
    campaign.start()


def stop_daemon(campaign: Campaign) -> None:
    """SIGTERM as on a reboot, and a new start."""
    code = campaign.daemon.stop()
    if code not in (0, -signal.SIGTERM):  # it may not be up yet
        campaign.troubles.append(f"dustd ended with exit code {code} when it was asked to")
    campaign.daemon.__exit__()
    campaign.start()


def kill_worker(campaign: Campaign) -> None:
    """SIGKILL of the process that decodes."""
    worker = worker_of(campaign.daemon.pid)
    if worker:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def full_output(campaign: Campaign) -> None:
    """Fill the disk of cleaned files for a while."""
    with _filled(campaign.home / "cleaned"):
        time.sleep(LAST_S)


def full_state(campaign: Campaign) -> None:
    """Fill the disk of maps and status for a while; half of the times dustd starts on the full disk."""
    with _filled(campaign.home / "state"):
        if campaign.rng.random() < 0.5:
            kill_daemon(campaign)
        time.sleep(LAST_S)


def read_only_output(campaign: Campaign) -> None:
    """Make the disk of cleaned files read-only for a while."""
    if mount("-o", "remount,ro", campaign.home / "cleaned"):
        time.sleep(LAST_S)
        while not mount("-o", "remount,rw", campaign.home / "cleaned"):
            time.sleep(0.1)


def damaged_maps(campaign: Campaign) -> None:
    """Let a power cut garble the maps: their head, or all but the head."""
    campaign.kill()
    store = campaign.studio.store
    if store.exists():
        size = store.stat().st_size
        head = campaign.faults["damaged_maps"] % 2 == 0
        with store.open("r+b") as file:
            file.seek(0 if head else 4096)
            file.write(campaign.rng.randbytes(100 if head else max(0, size - 4096)))
    campaign.start()


def maps_held(campaign: Campaign) -> None:
    """Let another program, a backup say, hold the maps for longer than anybody waits."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(campaign.studio.store)) as other:
        other.isolation_level = None
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED_S)


def server_away(campaign: Campaign) -> None:
    """Switch the database's server off for a while; half of the times dustd starts without it."""
    campaign.server.go()
    if campaign.rng.random() < 0.5:
        kill_daemon(campaign)
    time.sleep(LAST_S)
    campaign.server.come()


def folder_away(campaign: Campaign) -> None:
    """Unplug a watched folder for a while."""
    studio = campaign.home / "studio"
    away = studio.with_name("studio unplugged")
    studio.rename(away)
    time.sleep(LAST_S)
    away.rename(studio)


def clock_jump(campaign: Campaign) -> None:
    """Set the computer's clock wrong for a while, as the daemon sees it; half of the times it starts with that."""
    clock.set_off(campaign.clock, campaign.rng.choice(JUMPS_S))
    if campaign.rng.random() < 0.5:
        kill_daemon(campaign)
    time.sleep(LAST_S)
    clock.set_off(campaign.clock, 0.0)


ANYWHERE = (kill_daemon, kill_worker, folder_away, stop_daemon, kill_daemon, kill_worker, clock_jump)
ON_DISKS = (full_output, full_state, read_only_output)


def possible(campaign: Campaign) -> list[Callable[[Campaign], None]]:
    """List the faults that can strike here, some twice."""
    maps = [server_away] if campaign.server else [damaged_maps, maps_held]
    return [
        *ANYWHERE,
        *maps,
        *(ON_DISKS if campaign.disks else ()),
    ]


def strike(campaign: Campaign, until: Callable[[], bool]) -> None:
    """Let faults strike, each as often as the others, until told to stop."""
    faults: list[Callable[[Campaign], None]] = []
    while not until():
        if not faults:
            faults = possible(campaign)
            campaign.rng.shuffle(faults)
        fault = faults.pop()
        fault(campaign)
        campaign.faults[fault.__name__] += 1
        _rest(campaign, until)


def _rest(campaign: Campaign, until: Callable[[], bool]) -> None:
    """Let the daemon work for a while; one that was started anew mostly until it is up, so that work goes on."""
    up = campaign.up or campaign.rng.random() < 0.3
    wake = time.monotonic() + campaign.rng.uniform(0.5, 1.5) * EVERY_S
    while (time.monotonic() < wake or not up) and not until():
        campaign.listen()
        up = up or campaign.up


def worker_of(pid: int) -> int | None:
    """Find the worker among the daemon's children."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"dustd.pipeline.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


def mount(*arguments: object) -> bool:
    """Mount something; tell whether that was possible."""
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False).returncode == 0


def unmount(disk: Path) -> None:
    """Take a disk away, also one that is in use."""
    subprocess.run([shutil.which("umount") or "umount", "-l", disk], check=False)


@contextlib.contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """Fill a disk to the last byte."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()
