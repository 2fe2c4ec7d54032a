"""A studio gone mad against the real daemon: `python -m tests.soak.soak [--frames 500] [--minutes 9] [--seed 1]`.

A randomised writer fills two watched folders (`tests.soak.writers`) while faults strike (`tests.soak.faults`): SIGKILL
of daemon and worker, full and read-only disks, damaged maps, maps that cannot be reached, clocks that jump, folders
that go and come back. Then a burst is cut by a kill and has to be resumed in order, and a quiet stretch shows whether
memory and file handles stay flat. In the end every promise is audited (`tests.soak.audit`). The detector is a stand-in
(`tests.soak.standin`): this is about the daemon. Faults of disks need root, for small file systems in memory; without
it they are left out, and it says so. --server: the maps are in PostgreSQL, whose server goes away.
"""

import argparse
import collections
import contextlib
import hashlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from dustd.daemon import status
from dustd.demo.child import Daemon
from dustd.errors import SurroundingsError
from dustd.output import ledger, sidecar
from tests import postgres
from tests.postgres import Server
from tests.soak import clock, faults, seeds
from tests.soak.audit import Studio, audit, counts
from tests.soak.faults import worker_of
from tests.soak.writers import Landed, land

CONFIG = """\
folders:
  - {{path: studio, output: ../cleaned/studio}}
  - {{path: location}}
map: {{store: "{store}"}}
web: {{port: 0}}
watch: {{quiet_s: 0.5, give_up_s: 8, rescan_s: 5}}
log: {{format: json}}
"""
PROGRAM = (sys.executable, "-m", "tests.soak.standin")
DISK_MB = 48
BURST, STEADY = 60, 150  # frames
DRAIN_S = 240.0  # for what waits when the last file has landed


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory in MB and open files of daemon and worker at a moment."""

    daemon_mb: float
    daemon_files: int
    worker_mb: float
    worker_files: int


@dataclass(kw_only=True)
class Campaign:
    """What is going on: folders, the daemon's lives, what has landed."""

    home: Path
    rng: random.Random
    disks: bool
    server: Server | None = None
    daemon: Daemon | None = None
    up: bool = False
    lives: list[tuple[float, Path, int]] = field(default_factory=list)  # start, log, files that waited
    landed: list[Landed] = field(default_factory=list)
    faults: collections.Counter = field(default_factory=collections.Counter)
    gone: list[Path] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def studio(self) -> Studio:
        """Where everything lies."""
        folders = {
            self.home / "studio": self.home / "cleaned" / "studio",
            self.home / "location": self.home / "location" / "Cleaned",
        }
        store = self.home / "state" / "maps.sqlite"
        return Studio(folders=folders, store=store, url=self.server.url if self.server else "", gone=self.gone)

    @property
    def clock(self) -> Path:
        """Where the daemon's clock is said to be off."""
        return self.home / "clock"

    def start(self) -> None:
        """Begin a life of the daemon; what it says goes where no disk is full, as to a journal."""
        log = self.home / "logs" / f"{len(self.lives):03d}.json"
        waiting = len(unfinished(self))
        self.lives.append((time.time(), log, waiting))
        self.up = False
        self.daemon = Daemon(self.home / "config.yaml", log, program=PROGRAM)
        self.daemon.__enter__()

    def listen(self) -> None:
        """Hear what the daemon says; if it has ended by itself, note that and start it anew."""
        try:
            self.up = "READY=1" in self.daemon.hear() or self.up
        except SurroundingsError as error:
            self.troubles.append(str(error))
            self.daemon.__exit__()
            self.start()

    def kill(self) -> None:
        """End it without warning."""
        self.daemon.kill()
        self.daemon.__exit__()


def unfinished(campaign: Campaign) -> list[Landed]:
    """List the frames that have landed and are not done as they are now."""
    with campaign.lock:
        landed = [each for each in campaign.landed if each.fate not in ("nothing", "unnamed", "gone")]
    studio = campaign.studio
    return [
        each
        for each in landed
        if not ledger.is_done(each.path, studio.out(each.path) / sidecar.sidecar_name(each.path.name))
    ]


# --- the studio ------------------------------------------------------------------------------------------------------


def shoot(campaign: Campaign, frames: int, seconds: float, bar: tqdm) -> None:
    """Land *frames* files within about *seconds*: bursts and rests, two bodies, folders that appear and are renamed."""
    rng = random.Random(campaign.rng.random())
    roots = list(campaign.studio.folders)
    folder, writing = roots[0], []
    began = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        for number in range(frames):
            if number % 12 == 0:
                folder = _new_folder(campaign, rng, roots, folder, writing)
                writing = []
            writing.append(pool.submit(_land, campaign, folder, number, random.Random(rng.random()), bar))
            late = time.monotonic() - began - seconds * number / frames
            if late < 0:
                time.sleep(0.1 if rng.random() < 0.7 else min(-late, 4.0))
        for future in writing:
            future.result()


def _land(campaign: Campaign, folder: Path, number: int, rng: random.Random, bar: tqdm) -> None:
    landed = land(folder, campaign.studio.out(folder / "x"), number, rng)
    with campaign.lock:
        campaign.landed += landed
        bar.update()


def _new_folder(campaign: Campaign, rng: random.Random, roots: list[Path], folder: Path, writing: list[Future]) -> Path:
    """Go to another folder, new or old; sometimes rename the one that was left."""
    if folder not in roots and rng.random() < 0.5:
        for future in writing:
            future.result()
        _rename(campaign, folder, folder.with_name(folder.name + " (selected)"))
    new = root = rng.choice(roots)
    if rng.random() < 0.7:
        new = root / f"Session {rng.randrange(10**6)}" / rng.choice(("a", "b/c", "é"))
        until = time.monotonic() + 30
        while not new.exists() and time.monotonic() < until:
            with contextlib.suppress(OSError):  # one by one: the watched folder may be away, and is not ours to make
                for each in (*reversed(new.relative_to(root).parents[:-1]), new.relative_to(root)):
                    (root / each).mkdir(exist_ok=True)
    return new


def _rename(campaign: Campaign, old: Path, new: Path) -> None:
    with campaign.lock:
        campaign.gone.append(campaign.studio.out(old / "x"))
        while True:
            with contextlib.suppress(FileNotFoundError):  # the watched folder is away
                old.rename(new)
                break
            time.sleep(0.2)
        for each in campaign.landed:
            if each.path.is_relative_to(old):
                each.path = new / each.path.relative_to(old)


def drain(campaign: Campaign, limit_s: float = DRAIN_S) -> float:
    """Wait until nothing is unfinished, while there is progress; give the seconds it took."""
    began = moved = time.monotonic()
    left = None
    while now_left := len(unfinished(campaign)):
        campaign.listen()
        if now_left != left:
            left, moved = now_left, time.monotonic()
        if time.monotonic() - moved > limit_s:
            break
    time.sleep(2.0)
    return time.monotonic() - began


# --- three measurements ----------------------------------------------------------------------------------------------


def resumed(campaign: Campaign, frames: int) -> tuple[float, float, bool]:
    """Kill the daemon in a burst and start it anew: seconds to its first frame, those of them that it computed (the
    rest it waited, for files to rest or for other programs), and whether the order was kept.
    """  # fmt: skip
    folder = campaign.home / "location" / "burst"
    folder.mkdir()
    order = list(range(frames))
    campaign.rng.shuffle(order)  # names say nothing about age
    began = time.time() - frames
    for place, name in enumerate(order):
        shot = seeds.shot(200_000 + place)
        path = folder / f"B{name:03d}.DNG"
        path.write_bytes(shot.data)
        os.utime(path, (began + place, began + place))
        campaign.landed.append(
            Landed(path=path, sha256=hashlib.sha256(shot.data).hexdigest(), fate="cleaned", frame_ids=[shot.frame_id])
        )
        time.sleep(0.1)
        if place == frames // 2:
            campaign.kill()
    campaign.start()
    start, log, _ = campaign.lives[-1]
    while not _frames_begun(log):
        campaign.listen()
    computed_s = _computed_s(campaign.daemon.pid)
    drain(campaign)
    ready = [(at, path) for at, path in _frames_begun(log) if path.parent == folder]
    ages = [path.stat().st_mtime for _, path in ready]
    return ready[0][0] - start, computed_s, ages == sorted(ages)


def steady(campaign: Campaign, frames: int) -> list[Sample]:
    """Let frames arrive evenly without any fault; sample memory and files once per ten frames."""
    folder = campaign.home / "studio" / "steady"
    folder.mkdir()
    samples = []
    for number in range(frames):
        shot = seeds.shot(300_000 + number)
        path = folder / f"T{number:05d}.DNG"
        path.write_bytes(shot.data)
        campaign.landed.append(
            Landed(path=path, sha256=hashlib.sha256(shot.data).hexdigest(), fate="cleaned", frame_ids=[shot.frame_id])
        )
        if number % 10 == 9:
            drain(campaign)
            samples.append(_sample(campaign.daemon.pid))
    return samples


def _frames_begun(log: Path) -> list[tuple[float, Path]]:
    """Read when the daemon took which frame in hand."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event") == "frame_ready":
                found.append((datetime.fromisoformat(event["timestamp"]).timestamp(), Path(event["path"])))
    return found


def _resumptions(campaign: Campaign) -> list[float]:
    """Measure all starts to which frames waited: seconds from the start of the process to its first frame."""
    begun = [(start, _frames_begun(log), waiting) for start, log, waiting in campaign.lives]
    took = [frames[0][0] - start for start, frames, waiting in begun if waiting and frames]
    return [each for each in took if 0 <= each < DRAIN_S]  # not where the clock was wrong


# --- the system ------------------------------------------------------------------------------------------------------


def _sample(pid: int) -> Sample:
    worker = worker_of(pid)
    return Sample(*_weight(pid), *(_weight(worker) if worker else (0.0, 0)))


def _weight(pid: int) -> tuple[float, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kb = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return kb / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _computed_s(pid: int) -> float:
    """Read the processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _home(server: Server | None) -> Iterator[tuple[Path, bool]]:
    """Make the folders, the outputs' and the state's on small disks of their own; tell whether that was possible."""
    home = Path(tempfile.mkdtemp(prefix="dustd-soak-"))
    disks = [home / "cleaned", home / "state"]
    for folder in (home / "studio", home / "location", home / "logs", *disks):
        folder.mkdir()
    config = CONFIG.format(store=server.url if server else "state/maps.sqlite")
    (home / "config.yaml").write_text(config, encoding="utf-8")
    (home / "elsewhere.dng").write_bytes(seeds.shot(0).data)
    mounted = [disk for disk in disks if faults.mount("-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", disk)]
    try:
        yield home, len(mounted) == len(disks)
    finally:
        for disk in mounted:
            faults.unmount(disk)
        shutil.rmtree(home, ignore_errors=True)


def _initdb() -> Path | None:
    """Find what makes a PostgreSQL database, None where it is not installed."""
    found = postgres.installed_initdb() or shutil.which("initdb")
    return Path(found) if found else None


# --- the account -----------------------------------------------------------------------------------------------------


def run(frames: int, minutes: float, seed: int, keep: Path | None, server: Server | None = None) -> int:
    """Run the campaign and print the account; 0 if every promise was kept. With *server* it keeps the maps."""
    bar = tqdm(total=frames, unit="file", disable=None, file=sys.stdout)
    with _home(server) as (home, disks), bar:
        campaign = Campaign(home=home, rng=random.Random(seed), disks=disks, server=server)
        clock.set_off(campaign.clock, 0.0)
        os.environ |= {"XDG_STATE_HOME": str(home / "state"), "SOAK_CLOCK": str(campaign.clock)}  # of the daemon
        began = time.monotonic()
        campaign.start()
        writer = threading.Thread(target=shoot, args=(campaign, frames, 30 * minutes, bar))
        writer.start()
        faults.strike(campaign, until=lambda: not writer.is_alive())
        writer.join()
        bar.close()
        drained_s = drain(campaign)
        resumed_s, computed_s, in_order = resumed(campaign, BURST)
        samples = steady(campaign, STEADY)
        state_folder = home / "state" / ("dustd" if server else "")
        said = status.decode((state_folder / status.FILE_NAME).read_bytes())
        code = campaign.daemon.stop()
        campaign.daemon.__exit__()
        broken = audit(campaign.studio, campaign.landed, said)
        if code:
            broken.append(f"dustd ended with exit code {code}")
        broken += [*campaign.troubles, *_unsteady(samples)]
        if not in_order:
            broken.append("the burst was not resumed in its order")
        print(_account(campaign, samples, resumed_s, computed_s, drained_s, time.monotonic() - began))
        print("\n".join(f"PROMISE BROKEN: {line}" for line in broken[:60]) or "Every promise was kept.")
        if keep and broken:
            shutil.copytree(home, keep, symlinks=True, dirs_exist_ok=True)
    return 1 if broken else 0


def _unsteady(samples: list[Sample]) -> Iterator[str]:
    """Compare the last third of the quiet stretch with the first: handles must be equal, memory within a twentieth."""
    third = len(samples) // 3
    for name in Sample.__dataclass_fields__:
        first, last = (
            statistics.median(getattr(each, name) for each in part) for part in (samples[:third], samples[-third:])
        )
        allowed = first if name.endswith("files") else first * 1.05 + 4
        if last > allowed:
            yield f"{name} grew from {first:.0f} to {last:.0f}"


def _account(
    campaign: Campaign, samples: list[Sample], resumed_s: float, computed_s: float, drained_s: float, took_s: float
) -> str:
    starts = sorted(_resumptions(campaign))
    struck = ", ".join(f"{name} {count}" for name, count in sorted(campaign.faults.items()))
    lines = [
        f"{len(campaign.landed)} files, {len(campaign.lives)} lives of the daemon, {took_s / 60:.1f} minutes",
        f"faults: {struck}" + ("" if campaign.disks else " (none of disks: mounting needs root)"),
        f"maps in {'PostgreSQL' if campaign.server else 'SQLite'}; {_corrected(campaign)}",
        *(f"  {count:5d}  {what}" for what, count in sorted(counts(campaign.studio, campaign.landed).items())),
        f"backlog worked off {drained_s:.0f} s after the last file landed",
        f"resumed in the burst {resumed_s:.1f} s after the start of the process, {computed_s:.1f} s of computing",
        f"all starts with frames waiting: median {statistics.median(starts):.1f} s, slowest {starts[-1]:.1f} s"
        if starts
        else "no start with frames waiting",
        "frames  daemon MB  files  worker MB  files",
    ]
    for number, each in enumerate(samples, start=1):
        lines.append(
            f"{10 * number:6d}  {each.daemon_mb:9.1f}  {each.daemon_files:5d}"
            f"  {each.worker_mb:9.1f}  {each.worker_files:5d}"
        )
    return "\n".join(lines)


def _corrected(campaign: Campaign) -> str:
    """Count the frames in which something was corrected, at once or decided on anew."""
    sidecars = [path for root in campaign.studio.folders.values() for path in root.rglob("*" + sidecar.SUFFIX)]
    statuses = collections.Counter(sidecar.decode(path.read_bytes()).status for path in sidecars)
    events = collections.Counter(
        json.loads(line)["event"]
        for _, log, _ in campaign.lives
        for line in log.read_text(errors="replace").splitlines()
        if line.startswith("{") and line.endswith("}")
    )
    return f"{statuses['cleaned']} sidecars with corrections, {events['frame_improved']} frames improved later"


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=8.0, help="of which half is for the faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="where everything is copied to if a promise was broken")
    parser.add_argument("--server", action="store_true", help="keep the maps in PostgreSQL, and let its server go away")
    args = parser.parse_args()
    if not args.server:
        return run(args.frames, args.minutes, args.seed, args.keep)
    initdb = _initdb()
    if initdb is None:
        print("PostgreSQL is not installed, so none goes away.")
        return 0
    with postgres.serving(initdb) as server:
        return run(args.frames, args.minutes, args.seed, args.keep, server)


if __name__ == "__main__":
    sys.exit(main())
