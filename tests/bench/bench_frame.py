"""Where the time of a frame goes, and how much memory it takes: `bench_frame.py [MP [F_NUMBER]]`.

A frame of the virtual body, repeated to the wanted size, is decoded, corrected at 60 known spots, written: by the
worker alone, then by the real pipeline with the shipped model. Read the shares, not the seconds: machines
differ and are noisy. Also compares tiles per second by threads and batch size.
"""

import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dustd import files, system
from dustd.config import OutputSettings
from dustd.demo.scenes import SESSION
from dustd.demo.virtual import Lens, expose, focal_plane, frame_of, make_body
from dustd.detector.model import load_detector
from dustd.dustmap.store import Store
from dustd.output import preview
from dustd.output.dng import encode_dng
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.pipeline.worker_client import WorkerClient
from dustd.raw.copied_tags import SourceMetadata
from dustd.raw.frame import Frame
from dustd.spots.spot import Spot

DEFAULTS = ("6", "11")  # megapixels, f-number
PITCH_UM = 5.0
SPOTS = 60
RUNS = 7  # the first one warms up
FRAMES = 4  # of one body, the first of which warms up
REPEATS = 4  # of a small frame, each way


def make(megapixels: float, f_number: float, target: Path, seed: int) -> None:
    """Write a frame of so many megapixels (45: 8256×5504) as DNG, and its deepest spots beside it.

    The aperture decides at what sizes the detector looks at it; *seed* makes another exposure of the same.
    """
    width = round((megapixels * 1.5e6) ** 0.5 / REPEATS / 2) * 2
    height = round(width / 3) * 2
    body = make_body("V6-BENCH", seed=3, width=width, height=height, pitch_um=PITCH_UM)
    exposure = expose(
        body,
        SESSION[0](np.random.default_rng(1), height, width),
        f_number=f_number,
        lens=Lens(name="Virtual 28mm F2.8", focal_length_mm=28, exit_pupil_mm=52),
        seed=seed,
        taken_at="2026-11-23T10:00:00",
        exposure_s=0.01,
    )
    # Each copy is moved round by as many whole colour patterns as it likes: dust does not lie in rows.
    rng = np.random.default_rng(5)
    moves = 2 * rng.integers(0, (height // 2, width // 2), (REPEATS, REPEATS, 2))
    raw = np.block([[np.roll(exposure.mosaic, move, (0, 1)) for move in row] for row in moves.tolist()])
    small = frame_of(exposure)
    values = {name: getattr(small, name) for name in small.__slots__}
    frame = Frame(**values | {"raw": raw, "visible": (0, 0, *raw.shape)})
    picture = preview.develop(frame, raw)
    metadata = SourceMetadata(exif=focal_plane(body))
    target.write_bytes(encode_dng(frame, raw, metadata, preview_rgb=picture, original_name="BENCH.DNG"))
    seen = [
        (
            shadow.attenuation,
            (shadow.x + moves[row, column, 1]) % width + column * width,
            (shadow.y + moves[row, column, 0]) % height + row * height,
            shadow.diameter_px,
        )
        for shadow in exposure.shadows
        for row, column in np.ndindex(REPEATS, REPEATS)
    ]
    spots = [
        Spot(id=i, x=x, y=y, diameter_px=d, edge_px=d / 4, attenuation=a, score=0.9, wanted=True)
        for i, (a, x, y, d) in enumerate(sorted(seen, reverse=True)[:SPOTS])
    ]
    target.with_suffix(".spots").write_bytes(pickle.dumps(spots))


def bench_worker(source: Path) -> None:
    """Print what reading, correcting and writing take without the detector, and the peak of memory."""
    spots = pickle.loads(source.with_suffix(".spots").read_bytes())
    out = source.parent / "worker"
    out.mkdir()
    with WorkerClient() as worker:
        camera = worker.read_camera(source)
        ratios = []
        for run in range(RUNS):
            marks = [_clocks(worker)]
            files.sha256_file(source)
            frame = worker.decode(source, camera)
            marks.append(_clocks(worker))
            corrected = worker.correct(spots, {})
            marks.append(_clocks(worker))
            image = worker.encode(OutputSettings())
            files.publish(out / f"{run}.dng", image, ours=frozenset())
            hashlib.sha256(image).hexdigest()
            marks.append(_clocks(worker))
            steps = np.diff(marks, axis=0).T
            ratios.append((steps[0, 1] + steps[0, 2]) / steps[0, 0])
            for name, (read, correct, write) in zip(("wall", "CPU"), steps, strict=True):
                print(
                    f"run {run + 1}: {name:4} read {read:6.2f} s  correct {correct:6.2f} s  write {write:6.2f} s  "
                    f"(correct + write) / read = {(correct + write) / read:.2f}"
                )
        peak = (_peak_mb(os.getpid()), _peak_mb(worker.pid))
    later = ratios[1:]
    print(f"wall, from run 2 on: median {np.median(later):.2f}, {min(later):.2f} to {max(later):.2f}")
    done = Counter(spot.action for spot in corrected)
    print(f"{frame.width}×{frame.height}, {dict(done)}; {frame.raw.nbytes / 1e6:.0f} -> {len(image) / 1e6:.0f} MB")
    print(f"memory at the peak: {peak[0]:.0f} MB here + {peak[1]:.0f} MB in the worker")


def _clocks(worker: WorkerClient) -> tuple[float, float]:
    """Wall time, and the processor time of this process and the worker, in seconds."""
    user, system = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return time.perf_counter(), time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> float:
    """Peak of resident memory since the program started (unlike ru_maxrss, which a child inherits)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def bench_frame(sources: Sequence[Path]) -> None:
    """Print the share of each step of the pipeline, detector included, and the peak of memory.

    Of the exposures *sources* the first is not counted: the helper process has to start, and memory to be laid out. Of
    the others, which the map knows the body of, the one of the middle time is told.
    """
    system.keep_freed_memory()
    detector = load_detector()
    before_mb = _peak_mb(os.getpid())
    with Store.open(":memory:") as store, WorkerClient() as worker:
        out = sources[0].parent / "out"
        out.mkdir()
        pipeline = Pipeline(
            detector=detector,
            store=store,
            worker=worker,
            output=OutputSettings(),
            sensitivity_of=lambda body, path: 50.0,
        )
        _, *records = (pipeline.process(source, out) for source in sources)
        worker_mb = _peak_mb(worker.pid)
    records.sort(key=lambda each: each.timings_ms["total"])
    quickest, record, slowest = records[0], records[len(records) // 2], records[-1]
    total = record.timings_ms["total"]
    pixels = record.width * record.height / 1e6
    print(f"{record.width}×{record.height} ({pixels:.1f} MP), {record.detector.tiles} tiles, {len(record.spots)} spots")
    moved = sum(record.timings_ms.get(step, 0.0) for step in ("read", "write"))
    for step, ms in record.timings_ms.items():
        print(f"  {step:10} {ms / 1000:7.2f} s  {ms / total:6.1%}  {ms / moved:5.2f} × read and write")
    range_s = (quickest.timings_ms["total"] / 1000, slowest.timings_ms["total"] / 1000)
    print(f"  of {len(records)} frames {range_s[0]:.2f} to {range_s[1]:.2f} s")
    peak_mb = _peak_mb(os.getpid())
    print(
        f"  memory: {before_mb:.0f} MB with the model loaded, {peak_mb:.0f} + {worker_mb:.0f} MB (worker) at the peak"
    )


def bench_tiles() -> None:
    """Print tiles per second for one thread and for all, relative to one, and what encoding them costs."""
    rates = []
    for threads in (1, 0):
        detector = load_detector(device="cpu", threads=threads)
        light = np.random.default_rng(0).uniform(0.1, 0.6, (detector.tile_px, detector.tile_px, 3)).astype(np.float32)
        began = time.perf_counter()
        encoded = detector.encode(light)
        encoding_s = time.perf_counter() - began
        tiles = np.stack([encoded] * 8)
        detector(tiles)
        began = time.perf_counter()
        detector(tiles)
        tile_s = (time.perf_counter() - began) / len(tiles)
        rates.append(1 / tile_s)
        print(
            f"  threads {threads or 'all'}: {rates[-1]:5.2f} tiles/s, {rates[-1] / rates[0]:.2f} × one thread; "
            f"encoding takes {encoding_s / tile_s:.2f} of a tile's time"
        )


def main(arguments: list[str]) -> None:
    """Make the frame in a process of its own, so that its memory does not count."""
    if arguments[:1] == ["--make"]:
        make(float(arguments[1]), float(arguments[2]), Path(arguments[3]), int(arguments[4]))
        return
    with tempfile.TemporaryDirectory() as name:
        sources = [Path(name, f"BENCH{number}.DNG") for number in range(FRAMES)]
        asked = (*arguments, *DEFAULTS[len(arguments) :])
        for seed, target in enumerate(sources):
            subprocess.run([sys.executable, __file__, "--make", *asked, target, str(seed)], check=True)
        bench_worker(sources[0])
        bench_frame(sources)
        bench_tiles()


if __name__ == "__main__":
    main(sys.argv[1:])
