"""Where the time of a frame goes, and how much memory it takes: `python tests/bench/bench_frame.py [MEGAPIXELS]`.

A frame of the virtual body, repeated to the wanted size, goes through the real pipeline with the shipped model. Read
the shares, not the seconds: machines differ and are noisy. Also compares tiles per second by threads and batch size.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dustd.config import OutputSettings
from dustd.darkroom import Darkroom
from dustd.dng import encode_dng
from dustd.frame import Frame
from dustd.metadata import SourceMetadata
from dustd.model import load_detector
from dustd.pipeline import Pipeline
from dustd.scenes import SESSION
from dustd.store import Store
from dustd.virtual import Lens, expose, frame_of, make_body


def big_dng(megapixels: float) -> bytes:
    """Repeat a 1500×1000 frame until it has so many megapixels."""
    body = make_body("V6-BENCH", seed=3, width=1500, height=1000)
    exposure = expose(
        body,
        SESSION[0](np.random.default_rng(1), 1000, 1500),
        f_number=16,
        lens=Lens(name="Virtual 28mm F2.8", focal_length_mm=28, exit_pupil_mm=52),
        seed=1,
        taken_at="2026-11-23T10:00:00",
        exposure_s=0.01,
    )
    times = max(1, round((megapixels / 1.5) ** 0.5))
    raw = np.tile(exposure.mosaic, (times, times))
    small = frame_of(exposure)
    values = {name: getattr(small, name) for name in small.__slots__}
    frame = Frame(**values | {"raw": raw, "visible": (0, 0, *raw.shape)})
    preview = np.zeros((raw.shape[0] // 2, raw.shape[1] // 2, 3), np.uint8)
    return encode_dng(frame, raw, SourceMetadata(), preview_rgb=preview, original_name="BENCH.DNG")


def bench_frame(megapixels: float) -> None:
    """Print the share of each step and the peak of memory."""
    detector = load_detector()
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as name, Store.open(":memory:") as store, Darkroom() as darkroom:
        source, out = Path(name, "BENCH.DNG"), Path(name, "out")
        source.write_bytes(big_dng(megapixels))
        out.mkdir()
        pipeline = Pipeline(
            detector=detector,
            store=store,
            darkroom=darkroom,
            output=OutputSettings(),
            sensitivity_of=lambda body, path: 50.0,
        )
        record = pipeline.process(source, out)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    total = record.timings_ms["total"]
    pixels = record.width * record.height / 1e6
    print(f"{record.width}×{record.height} ({pixels:.1f} MP), {record.detector.tiles} tiles, {len(record.spots)} spots")
    for step, ms in record.timings_ms.items():
        print(f"  {step:10} {ms / 1000:7.2f} s  {ms / total:6.1%}")
    print(f"  memory: {before_mb:.0f} MB with the model loaded, {peak_mb:.0f} MB at the peak")


def bench_tiles() -> None:
    """Print tiles per second for one thread and for all, relative to one."""
    rates = []
    for threads in (1, 0):
        detector = load_detector(device="cpu", threads=threads)
        side = detector.tile_px + 2 * detector.context_px
        tiles = np.random.default_rng(0).uniform(0.1, 0.6, (8, side, side, 3)).astype(np.float32)
        detector(tiles)
        began = time.perf_counter()
        detector(tiles)
        rates.append(8 / (time.perf_counter() - began))
        print(f"  threads {threads or 'all'}: {rates[-1]:5.2f} tiles/s, {rates[-1] / rates[0]:.2f} × one thread")


if __name__ == "__main__":
    bench_tiles()
    bench_frame(float(sys.argv[1]) if len(sys.argv) > 1 else 6.0)
