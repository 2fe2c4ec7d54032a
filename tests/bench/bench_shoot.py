"""What deciding with the whole shoot is worth to its first frames: `python tests/bench/bench_shoot.py [--shoots N]`.

A shoot is thirty frames of a virtual body with known dust: other subjects in each, f/8 to f/16. Its first and last five
frames show the same kinds of scenes at the same apertures. It is cleaned with the shipped model as the frames come
(`dustd clean --one-pass`, the daemon), these are then decided on anew (the daemon while nothing waits), and it is
cleaned in two passes (`dustd clean`). Recall counts the spots that a person could see (`dustd.demo.verdict`), wrong the
corrected places without dust. What the network says of a tile is kept below runs/bench-shoot.
"""

import argparse
import hashlib
import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dustd.cli import batch
from dustd.config import OutputSettings
from dustd.demo.scenes import SESSION
from dustd.demo.verdict import is_near, is_visible, match
from dustd.demo.virtual import Exposure, Lens, expose, frame_of, make_body
from dustd.detector.model import load_detector
from dustd.dustmap.store import Store
from dustd.output import sidecar
from dustd.output.dng import encode_dng
from dustd.output.sidecar import Record
from dustd.pipeline.crew import Here
from dustd.pipeline.shoot import Shoot
from dustd.pipeline.worker_client import WorkerClient
from dustd.raw.copied_tags import SourceMetadata

CACHE = Path(__file__).resolve().parents[2] / "runs" / "bench-shoot"
FRAMES, ENDS, WIDTH, HEIGHT, GRAINS = 30, 5, 1200, 900, 14
LENS = Lens(name="Virtual 70mm F2.8", focal_length_mm=70, exit_pupil_mm=100)
F_NUMBERS = (8.0, 11.0, 16.0, 11.0, 13.0)
WAYS = ("as they come", "then decided anew", "in two passes")


class Kept:
    """The shipped model, asked about each tile once."""

    def __init__(self) -> None:
        self._detector = load_detector(device="cpu", threads=1)
        self._path = CACHE / f"{self._detector.sha256[:16]}.pickle"
        self._answers = pickle.loads(self._path.read_bytes()) if self._path.exists() else {}

    def __getattr__(self, name: str):
        return getattr(self._detector, name)

    def __call__(self, tiles: np.ndarray) -> list[np.ndarray]:
        keys = [hashlib.sha256(tile.tobytes()).digest() for tile in tiles]
        new = {key: tile for key, tile in zip(keys, tiles, strict=True) if key not in self._answers}
        if new:
            self._answers.update(zip(new, self._detector(np.stack(list(new.values()))), strict=True))
            CACHE.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(pickle.dumps(self._answers))
        return [self._answers[key] for key in keys]


def shot(shoot: int, number: int) -> Exposure:
    """Take a frame; those at the end show what those at the beginning do, of other subjects."""
    kind = number if number < FRAMES - ENDS else number - (FRAMES - ENDS)
    scene = SESSION[(kind + 3 * shoot) % len(SESSION)]
    return expose(
        make_body(f"SHOOT-{shoot}", seed=shoot, grains=GRAINS, width=WIDTH, height=HEIGHT),
        scene(np.random.default_rng([shoot, number]), HEIGHT, WIDTH),
        f_number=F_NUMBERS[kind % len(F_NUMBERS)],
        lens=LENS,
        seed=1000 * shoot + number,
        taken_at=f"2026-11-23T10:{number:02d}:00",
        exposure_s=1 / 125,
    )


def cleaned(folder: Path, detector: Kept, way: str) -> list[Record]:
    """Clean a shoot in one of the ways; gives the sidecars in order."""
    with tempfile.TemporaryDirectory() as place, WorkerClient() as worker:
        out = Path(place, "out")
        out.mkdir()
        with Store.open(Path(place, "maps.sqlite")) as store:
            pipeline = Shoot(
                detector=detector,
                store=store,
                worker=worker,
                output=OutputSettings(),
                sensitivity_of=lambda *_: 50.0,
                stacks=None if way == WAYS[2] else Path(place, "stacks"),
            )
            jobs = batch.in_capture_order(batch.collect([folder], out))
            if way == WAYS[2]:
                crew = Here(pipeline, out)
                assert all(outcome.is_fine for _, outcome in crew.look_at_all(jobs))
                assert all(outcome.is_fine for _, outcome in crew.finish(jobs, always=False))
            else:
                for job in jobs:
                    pipeline.process(job.source, job.out_folder)
            if way == WAYS[1]:
                for job in reversed(jobs):
                    pipeline.revisit(job.source, job.out_folder, always=False)
        return [sidecar.decode((out / sidecar.sidecar_name(job.source.name)).read_bytes()) for job in jobs]


def counts(exposures: Sequence[Exposure], records: Sequence[Record]) -> np.ndarray:
    """Count per frame: visible shadows, those removed, corrected places without dust; (frames, 3)."""
    rows = []
    for exposure, record in zip(exposures, records, strict=True):
        visible = {shadow.grain for shadow in exposure.shadows if is_visible(shadow, exposure.clean)}
        corrected = [spot for spot in record.spots if spot.action != "left"]
        removed = {shadow.grain for shadow in match(exposure.shadows, corrected).values()}
        wrong = [spot for spot in corrected if not any(is_near(shadow, spot) for shadow in exposure.shadows)]
        rows.append((len(visible), len(visible & removed), len(wrong)))
    return np.array(rows)


def main() -> None:
    """Print the table of docs/dustmap.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shoots", type=int, default=3)
    shoots = parser.parse_args().shoots
    detector = Kept()
    totals = {way: np.zeros((FRAMES, 3), int) for way in WAYS}
    for shoot in range(1, shoots + 1):
        with tempfile.TemporaryDirectory() as place:
            exposures = [shot(shoot, number) for number in range(FRAMES)]
            for number, each in enumerate(exposures):
                preview = np.zeros((120, 160, 3), np.uint8)
                name = f"S{number:02d}.DNG"
                data = encode_dng(
                    frame_of(each), each.mosaic, SourceMetadata(), preview_rgb=preview, original_name=name
                )
                Path(place, name).write_bytes(data)
            for way in WAYS:
                totals[way] += counts(exposures, cleaned(Path(place), detector, way))
                print(shoot, way, *(totals[way][part].sum(0).tolist() for part in (slice(ENDS), slice(-ENDS, None))))
    print(f"\n{shoots} shoots of {FRAMES} frames, {WIDTH} × {HEIGHT} px; model {detector.model_id}\n")
    print(f"| | first {ENDS} frames | last {ENDS} | all | wrong |\n|---|---|---|---|---|")
    for way, table in totals.items():
        parts = (table[:ENDS].sum(0), table[-ENDS:].sum(0), table.sum(0))
        shares = " | ".join(f"{removed / seen:.3f} ({removed} of {seen})" for seen, removed, _ in parts)
        print(f"| {way} | {shares} | {parts[2][2]} |")


if __name__ == "__main__":
    main()
