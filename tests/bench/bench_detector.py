"""How fast each network looks at tiles on this CPU: `python tests/bench/bench_detector.py [--batches 1 2 4 8]`.

All cases run in one process, round after round, and the best round of each counts: machines differ and are noisy, so
read the ratios. Weights are random, which costs the same time as trained ones; encoding and merging are left out. A
second table says what skipping tiles that cannot show dust costs and saves.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from dustd.detector.detect import SCALES, _cannot_show_dust, _cut, _windows, detect
from dustd.detector.model import load_detector
from dustd.detector.network import ARCHITECTURES, OUTPUTS, TILE_PX, TOKEN_PX, build, quiet_library, set_crop
from dustd.raw.frame import Camera, Frame

STOCK = "RF-DETR Medium of the library, whole"
THREADS = os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A network with the way it is asked; *look* takes (B, *channels*, 512, 512) tiles."""

    name: str
    number: str
    channels: int
    look: Callable[[Tensor], object]


def cases() -> list[Case]:
    """List our networks, by both outputs, and the library's own, each in three kinds of numbers."""
    found = []
    for name, shape in ARCHITECTURES.items():
        network = prepared(build(shape))
        set_crop(network, TILE_PX)
        for output, look in OUTPUTS.items():
            found += in_all_numbers(f"{name}, {output}", shape.channels, network, look)
    with quiet_library():
        from rfdetr.config import RFDETRMediumConfig
        from rfdetr.models import build_model_from_config
        from rfdetr.utilities.tensors import nested_tensor_from_tensor_list

        config = RFDETRMediumConfig(
            num_classes=1,
            pretrain_weights=None,
            device="cpu",
            resolution=TILE_PX,
            positional_encoding_size=TILE_PX // TOKEN_PX,
        )
        stock = prepared(build_model_from_config(config))
    return in_all_numbers(STOCK, 3, stock, lambda model, x: model(nested_tensor_from_tensor_list(x))) + found


def prepared(network: nn.Module) -> nn.Module:
    """Set *network* to look, not to learn."""
    return network.eval().requires_grad_(False)


def in_all_numbers(name: str, channels: int, network: nn.Module, look: Callable[[nn.Module, Tensor], object]) -> list:
    """Make a case each of float32, bfloat16 where torch thinks it safe, and linear layers in 8-bit integers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has announced that these will move
        small = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)

    def halved(x: Tensor) -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return look(network, x)

    return [
        Case(name=name, number="fp32", channels=channels, look=lambda x: look(network, x)),
        Case(name=name, number="bf16", channels=channels, look=halved),
        Case(name=name, number="int8 linears", channels=channels, look=lambda x: look(small, x)),
    ]


def seconds(case: Case, batch: int, *, side_by_side: bool, pool: ThreadPoolExecutor) -> float:
    """Time one look at *batch* tiles by all threads, or at as many batches *side_by_side* as there are threads.

    Returns seconds per tile.
    """
    torch.set_num_threads(1 if side_by_side else THREADS)
    jobs = THREADS if side_by_side else 1
    tiles = torch.randn(jobs, batch, case.channels, TILE_PX, TILE_PX)

    def one(index: int) -> None:
        with torch.inference_mode():
            case.look(tiles[index])

    begun = time.perf_counter()
    if side_by_side:
        list(pool.map(one, range(jobs)))
    else:
        one(0)
    return (time.perf_counter() - begun) / (jobs * batch)


def bench_networks(batches: list[int], rounds: int) -> None:
    """Print tiles per second of every case, and its time as a share of the library's RF-DETR Medium."""
    layouts = {f"1 × {THREADS} threads": False, f"{THREADS} × 1 thread": True}
    ways = [(layout, batch) for layout in layouts for batch in batches]
    best: dict[tuple[str, str, str, int], float] = {}
    every = cases()
    with ThreadPoolExecutor(THREADS) as pool:
        for number in range(rounds + 1):  # the first is to warm up
            for case in every:
                for layout, batch in ways:
                    key = (case.name, case.number, layout, batch)
                    took = seconds(case, batch, side_by_side=layouts[layout], pool=pool)
                    best[key] = took if number <= 1 else min(best[key], took)
    print("Tiles per second (time as a share of the library's RF-DETR Medium, fp32, in the same column)\n")
    heads = [f"{layout}, batch {batch}" for layout, batch in ways]
    print("| network | numbers | " + " | ".join(heads) + " |")
    print("|---|---|" + "---|" * len(heads))
    for case in every:
        cells = []
        for layout, batch in ways:
            took = best[case.name, case.number, layout, batch]
            cells.append(f"{1 / took:.2f} ({took / best[STOCK, 'fp32', layout, batch]:.2f})")
        print(f"| {case.name} | {case.number} | " + " | ".join(cells) + " |")


def bench_skipping() -> None:
    """Print what it costs to ask whether a tile can show dust, and what it saves on a frame half of which cannot."""
    detector = load_detector(device="cpu")
    light = np.random.default_rng(1).normal(20000, 200, (2000, 3000, 3)).round().astype(np.uint16)
    frame = Frame(
        raw=light,
        visible=(0, 0, *light.shape[:2]),
        kind="linear",
        cfa=((1,),),
        black=np.zeros(3, np.float32),
        white=65535,
        wb=(1.0, 1.0, 1.0),
        xyz_to_camera=None,
        camera=Camera(),
    )
    half = light.copy()
    half[:, :1500] = 65535
    tiles = [_cut(frame, window, scale, detector.context_px) for window, scale in _windows(frame, detector)]
    begun = time.perf_counter()
    for tile in tiles:
        _cannot_show_dust(tile, frame)
    ask_ms = (time.perf_counter() - begun) / len(tiles) * 1000
    print(f"\nSkipping, on a frame of 6 MP at {len(SCALES)} scales: asking costs {ask_ms:.2f} ms a tile")
    for name, shot in (("all lit", frame), ("half of it clipped", replace(frame, raw=half))):
        begun = time.perf_counter()
        seen = detect(shot, detector)
        took = time.perf_counter() - begun
        print(f"  {name}: {took:.1f} s, {seen.tiles} tiles looked at, {seen.skipped_tiles} skipped")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    bench_networks(arguments.batches, arguments.rounds)
    bench_skipping()
