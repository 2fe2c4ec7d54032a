"""What the session page costs the daemon: python -m tests.bench.bench_web [--streams 50] [--seconds 60]

The real daemon, loop and page, and frames of a stand-in that takes some 10 ms each and writes true sidecars, ten a
second. Stretches with the page open in many browsers take turns with stretches without a page, so that whatever else
the machine does falls on both. Latency is from the end of a file's quiet period to its sidecar.
"""

import argparse
import asyncio
import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import types
from pathlib import Path

import cv2
import numpy as np

from dustd import codec, config, files
from dustd.daemon import application
from dustd.daemon.lock import only_one
from dustd.daemon.reload import ConfigFile
from dustd.dustmap.store import Store
from dustd.output import ledger, sidecar
from dustd.output.sidecar import DetectorInfo, Record, Source
from dustd.raw.frame import Camera
from dustd.spots.spot import Spot
from dustd.web import access

RATE, QUIET_S, WORK = 10.0, 0.3, 1
LOOK = DetectorInfo(
    model_id="stand-in", sha256="", device="cpu", sensitivity=50, threshold=0.5, tiles=1, skipped_tiles=0
)


class Pipeline:
    """Does a fixed amount of work for a frame, and writes its sidecar."""

    scale = None

    def __init__(self, store, settings) -> None:
        self.store, self.output, self.sensitivity_of = store, settings.output, settings.sensitivity_of
        self.detector = types.SimpleNamespace(model_id="stand-in", device="cpu")
        self._light = np.random.default_rng(1).random((1000, 1500), np.float32)

    def process(self, source, out_folder):
        for _ in range(WORK):
            cv2.GaussianBlur(self._light, (0, 0), 3)
        made = record_of(source)
        path = out_folder / sidecar.sidecar_name(source.name)
        files.publish(path, sidecar.encode(made), ours=ledger.vouched(path))
        return made


def record_of(source: Path) -> Record:
    about = source.stat()
    spots = tuple(
        Spot(id=n, x=40.0 * n, y=30.0 * n, diameter_px=20, attenuation=0.1, score=0.8, wanted=True, action="divided")
        for n in range(1, 14)
    )
    return Record(
        source=Source(name=source.name, size=about.st_size, sha256=source.name, mtime_ns=about.st_mtime_ns),
        camera=Camera(make="Nikon", model="Z 8", body_id="Nikon Z 8 #1", f_number=16.0),
        width=6000,
        height=4000,
        detector=LOOK,
        spots=spots,
        status="cleaned",
    )


def serve(home: Path) -> None:
    """Be the daemon."""
    cv2.setNumThreads(1)
    file = ConfigFile(home / "config.yaml")
    settings = config.load(file.path)
    with only_one(settings.map.state_folder), Store.open(settings.map.store) as store:
        application.serve(settings, Pipeline(store, settings), file=file)


def configure(home: Path, port: int) -> None:
    temp = home / "config.new"
    temp.write_text(
        f"watch: {{quiet_s: {QUIET_S}}}\nmap: {{store: state/maps.sqlite}}\nrevisit: {{hours: 0}}\n"
        f"folders: [{{path: shoot}}]\nweb: {{port: {port}}}\n"
    )
    temp.replace(home / "config.yaml")


class Browsers:
    """So many event streams, read by a thread; *heard* counts frames that they were told of."""

    def __init__(self, home: Path, streams: int) -> None:
        self.heard, self._home, self._streams = 0, home, streams
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.run_until_complete(self._read_all())

    async def _read_all(self) -> None:
        await asyncio.gather(*(self._read() for _ in range(self._streams)))

    async def _read(self) -> None:
        door = access.read(self._home / "state")
        host, port = door.address.removeprefix("http://").split(":")
        cookie = access.ticket(bytes.fromhex(door.secret), "stay")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
        writer.write(f"GET /api/v1/events HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: dustd={cookie}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError, asyncio.LimitOverrunError):
            while line := await reader.readline():
                self.heard += line.startswith(b"event: frame")

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)


def shoot(home: Path, seconds: float, first: int) -> list[float]:
    """Let frames land, and give the latency of each, ms."""
    names = []
    for number in range(round(seconds * RATE)):
        began = time.monotonic()
        name = f"F{first + number:06}.NEF"
        (home / "shoot" / name).write_bytes(b"raw")
        names.append(name)
        time.sleep(max(0.0, 1 / RATE - (time.monotonic() - began)))
    took = []
    for name in names:
        path = home / "shoot" / "Cleaned" / sidecar.sidecar_name(name)
        until = time.monotonic() + 60
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.05)
        took.append((path.stat().st_mtime - (home / "shoot" / name).stat().st_mtime - QUIET_S) * 1000)
    return took


def children(pid: int) -> list[tuple[int, str]]:
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((each / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append((int(each.name), (each / "cmdline").read_text()))
    return found


def memory_mb(pid: int) -> float:
    said = Path(f"/proc/{pid}/status").read_text()
    return int(said.split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    """Give the processor time that a process has taken."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def get(home: Path, path: str) -> tuple[float, object]:
    door = access.read(home / "state")
    connection = http.client.HTTPConnection(door.address.removeprefix("http://"), timeout=60)
    cookie = access.ticket(bytes.fromhex(door.secret), "stay")
    began = time.perf_counter()
    connection.request("GET", f"/api/v1/{path}", headers={"Cookie": f"dustd={cookie}"})
    data = connection.getresponse().read()
    return (time.perf_counter() - began) * 1000, codec.parse(data)


def wait_for(look, limit_s: float = 120.0):
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        with contextlib.suppress(OSError, AttributeError, KeyError, http.client.HTTPException):
            if look():
                return
        time.sleep(0.05)
    raise TimeoutError


def listed(home: Path, frames: int) -> None:
    """Leave the sidecars of *frames* earlier frames."""
    out = home / "shoot" / "Cleaned"
    out.mkdir(parents=True)
    for number in range(frames):
        source = home / "shoot" / f"E{number:05}.NEF"
        source.write_bytes(b"raw")
        made = record_of(source)
        (out / sidecar.sidecar_name(source.name)).write_bytes(sidecar.encode(made))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--port", type=int, default=18399)
    parser.add_argument("--serve", type=Path)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), args)


def measure(home: Path, args: argparse.Namespace) -> None:
    listed(home, args.frames)
    configure(home, 0)
    daemon = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bench_web", "--serve", str(home)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: (home / "state" / "status.json").exists())
        shoot(home, 2.0, 900_000)
        latencies: dict[str, list[float]] = {"without": [], "with": []}
        heard, stretch = 0, args.seconds / 2
        for turn in range(4):
            which = "with" if turn % 2 else "without"
            configure(home, args.port if which == "with" else 0)
            if which == "with":
                began = time.perf_counter()
                wait_for(lambda: get(home, "state")[0])
                wait_for(lambda: get(home, "frames?limit=1")[1]["total"] >= args.frames)
                print(f"page with {args.frames} frames complete after {time.perf_counter() - began:.1f} s")
                browsers = Browsers(home, args.streams)
                time.sleep(1.0)
                (page,) = [pid for pid, command in children(daemon.pid) if "dustd.web.server" in command]
                before = memory_mb(page), memory_mb(daemon.pid)
            else:
                wait_for(lambda: access.read(home / "state").address is None)
            began_s, page_s = cpu_s(daemon.pid), cpu_s(page) if which == "with" else 0.0
            latencies[which] += shoot(home, stretch, turn * 100_000)
            per_frame_ms = 1000 * (cpu_s(daemon.pid) - began_s) / (stretch * RATE)
            print(f"{which:8} page: {per_frame_ms:.1f} ms of processor time a frame in the daemon")
            if which == "with":
                print(f"page: {(cpu_s(page) - page_s) / stretch:.0%} of a processor")
                after = memory_mb(page), memory_mb(daemon.pid)
                print(f"memory, MB: page {before[0]:.0f} -> {after[0]:.0f}, daemon {before[1]:.0f} -> {after[1]:.0f}")
                for path in ("frames?limit=60", "frames?limit=500", "state"):
                    times = [get(home, path)[0] for _ in range(20)]
                    print(f"GET {path}: {statistics.median(times):.1f} ms")
                heard += browsers.heard
                browsers.close()
        report(latencies, heard, args)
    finally:
        daemon.terminate()
        daemon.wait(30)


def report(latencies: dict[str, list[float]], heard: int, args: argparse.Namespace) -> None:
    for which, took in latencies.items():
        said = {
            "median": statistics.median(took),
            "mean": statistics.mean(took),
            "p90": statistics.quantiles(took, n=10)[8],
        }
        print(f"{which:8} page:", ", ".join(f"{name} {value:.1f} ms" for name, value in said.items()))
    for name, mean in (("median", statistics.median), ("mean", statistics.mean)):
        print(f"growth of the {name}: {mean(latencies['with']) / mean(latencies['without']) - 1:+.1%}")
    print(f"{heard / args.streams:.0f} frame events a stream, {args.streams} streams")


if __name__ == "__main__":
    main()
