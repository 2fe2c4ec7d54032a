"""Damaged files against dustd: `python -m tests.soak.fuzz [--inputs 20000] [--seed 1] [--keep FOLDER]`.

Every input goes through the readers of metadata in this process and is decoded by the worker; every eighth goes through
the whole pipeline, with a stand-in for the detector. What may happen: the frame is decoded or cleaned, or refused with
a reason. A worker that dies or hangs costs the frame; here it is counted. Anything else is a bug, and the input is
kept.
"""

import argparse
import collections
import contextlib
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog
from tqdm import tqdm

from dustd.config import OutputSettings
from dustd.dustmap.store import Store
from dustd.errors import DustdError, FrameError
from dustd.output.sidecar import decode, encode
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.pipeline.worker_client import Darkroom
from dustd.raw.integrity import holds_samples, require_whole
from dustd.raw.metadata import read_camera, read_source_metadata
from tests.soak import mutations, seeds
from tests.soak.standin import DarkestPlace

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw"
READ_LIMIT_S = 5.0  # for the metadata of one file, in this process; they take milliseconds
DECODE_LIMIT_S = 20.0  # for one step in the worker
WHOLE_EVERY = 8
NEW_STORE_AFTER = 500  # so that the map of a body does not grow for ever
FORMATS: tuple[Literal["dng", "tiff", "jpeg"], ...] = ("dng", "dng", "tiff", "jpeg")

Kind = Literal["decoded", "cleaned", "refused", "worker died", "worker hung", "bug"]


@dataclass(kw_only=True)
class Tally:
    """What became of the inputs. *bugs* are (input, words); *slowest_s* and *most_mb* are of one input or worker."""

    kinds: collections.Counter = field(default_factory=collections.Counter)
    reasons: collections.Counter = field(default_factory=collections.Counter)
    bugs: list[tuple[str, str]] = field(default_factory=list)
    slowest_s: dict[str, float] = field(default_factory=lambda: {"metadata": 0.0, "decoding": 0.0, "pipeline": 0.0})
    most_mb: float = 0.0
    took_s: float = 0.0


def damaged(number: int, seed: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Make input *number* of the campaign *seed*: a name that says how it came about, and the bytes."""
    rng = random.Random(f"{seed}/{number}")
    virtual = [name for name in files if name.startswith("virtual-")]
    name = rng.choice(virtual if rng.random() < 0.5 else list(files))
    ways, data = mutations.mutate(files[name], rng, files[rng.choice(list(files))])
    return f"{number:06d}-{ways}-{name}", data


def campaign(inputs: Sequence[int], seed: int, files: dict[str, bytes], keep: Path | None = None) -> Tally:
    """Run the inputs whose numbers are given; keep those that show a bug, or end a worker, in *keep*."""
    tally, began = Tally(), time.monotonic()
    structlog.configure(processors=[_drop])
    with tempfile.TemporaryDirectory(prefix="dustd-fuzz-", dir=_memory()) as folder, Darkroom(DECODE_LIMIT_S) as room:
        pipelines = _pipelines(room, Path(folder))
        for number in tqdm(inputs, unit="file", file=sys.stdout, disable=None, smoothing=0):
            name, data = damaged(number, seed, files)
            path = Path(folder, "INPUT" + Path(name).suffix)
            path.write_bytes(data)
            kind, words = _one(path, room, next(pipelines) if number % WHOLE_EVERY == 0 else None, tally)
            tally.kinds[kind] += 1
            tally.reasons[f"{kind}: {re.sub(r'[0-9][0-9,.]*', 'N', words)[:90]}"] += 1
            if kind == "bug":
                tally.bugs.append((name, words))
            if keep is not None and kind not in ("decoded", "cleaned", "refused"):
                keep.mkdir(parents=True, exist_ok=True)
                (keep / name[:200]).write_bytes(data)
            tally.most_mb = max(tally.most_mb, _peak_mb(room.pid))
    tally.took_s = time.monotonic() - began
    return tally


def _pipelines(room: Darkroom, folder: Path) -> Iterator[Pipeline]:
    """Give a pipeline per input, one output format after the other, and a new store now and then."""
    detector = DarkestPlace()
    while True:
        with Store.open(":memory:") as store:
            for number in range(NEW_STORE_AFTER):
                output = OutputSettings(format=FORMATS[number % len(FORMATS)])
                yield Pipeline(
                    detector=detector, store=store, darkroom=room, output=output, sensitivity_of=lambda *_: 50.0
                )


def _one(path: Path, room: Darkroom, pipeline: Pipeline | None, tally: Tally) -> tuple[Kind, str]:
    try:
        with _timed(tally, "metadata"), _limit(READ_LIMIT_S):
            for read in (read_camera, read_source_metadata, holds_samples, require_whole):
                with contextlib.suppress(FrameError):
                    read(path)
        if pipeline is None:
            with _timed(tally, "decoding"):
                return "decoded", room.decode(path, read_camera(path)).kind
        with _timed(tally, "pipeline"):
            return "cleaned", _clean(path, pipeline)
    except FrameError as error:
        if "brought down the process" in error.problem:
            return "worker died", error.problem
        return ("worker hung" if "took longer than" in error.problem else "refused"), error.problem
    except DustdError as error:  # no surroundings are in the way here
        return "bug", f"{type(error).__name__}: {error}"
    except Exception as exc:  # noqa: BLE001 - what the campaign looks for
        return "bug", f"{type(exc).__name__}: {exc}"


def _clean(path: Path, pipeline: Pipeline) -> str:
    out = path.parent / "out"
    out.mkdir()
    try:
        return decode(encode(pipeline.process(path, out))).status
    finally:
        for left in out.iterdir():
            left.unlink()
        out.rmdir()


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer."""

    def over(*_: object) -> None:
        raise TimeoutError(f"took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _timed(tally: Tally, what: str) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        tally.slowest_s[what] = max(tally.slowest_s[what], time.monotonic() - began)


def _drop(*_: object) -> None:
    raise structlog.DropEvent


def _memory() -> str | None:
    """Name a folder in memory, where there is one: twenty thousand files are synced in vain on a disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _peak_mb(pid: int | None) -> float:
    """Read the worker's greatest resident memory; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def main() -> int:
    """Run the campaign and print what became of the inputs; 1 if there was a bug."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input, to repeat one")
    parser.add_argument("--keep", type=Path, help="where inputs go that show a bug or end a worker")
    args = parser.parse_args()
    files = seeds.virtual() | seeds.real_heads(REAL)
    tally = campaign(range(args.first, args.first + args.inputs), args.seed, files, args.keep)
    print(f"{args.inputs} inputs from {len(files)} files, seed {args.seed}, in {tally.took_s:.0f} s")
    for kind, count in tally.kinds.most_common():
        print(f"  {count:6d}  {kind}")
    print("by reason:")
    for reason, count in tally.reasons.most_common(40):
        print(f"  {count:6d}  {reason}")
    slowest = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in tally.slowest_s.items())
    print(f"slowest input: {slowest}; most memory of a worker: {tally.most_mb:.0f} MB")
    for name, words in tally.bugs[:50]:
        print(f"BUG {name}: {words[:300]}")
    return 1 if tally.bugs else 0


if __name__ == "__main__":
    sys.exit(main())
