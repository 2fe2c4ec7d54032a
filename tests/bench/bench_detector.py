"""How fast each engine looks at tiles on this CPU: `python tests/bench/bench_detector.py [--tiles 8] [--rounds 3]`.

All cases run in one process, round after round, and the best round of each counts: machines differ and are noisy, so
read the ratios. Encoding and merging are left out (`bench_frame.py`). dust-small runs with its shipped weights, the
library's own network with random ones, which costs the same time.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from dustd.detector import openvino_engine, torch_engine
from dustd.detector.model import find_model
from dustd.detector.network import TILE_PX, TOKEN_PX, quiet_library

STOCK = "RF-DETR Medium of the library, torch"
CORES = os.cpu_count() or 1

Case = Callable[[np.ndarray], object]


def cases() -> dict[str, tuple[int, Case]]:
    """List what is compared: name to the channels that it takes, and what looks at (n, channels, side, side) tiles."""
    card = find_model("default")
    channels = card.architecture["channels"]
    found: dict[str, tuple[int, Case]] = {STOCK: (3, stock())}
    for threads in sorted({1, CORES}):
        side_by_side = f"{threads} side by side"
        found[f"{card.id}, torch, {side_by_side}"] = (channels, torch_engine.load_network(card, "cpu", threads))
        found[f"{card.id}, OpenVINO, {side_by_side}"] = (channels, openvino_engine.load_network(card, threads))
    return found


def stock() -> Case:
    """Build the library's RF-DETR Medium for one class; as many tiles side by side as there are cores."""
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
        network = build_model_from_config(config).eval().requires_grad_(False)
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(CORES)

    def one(tile: np.ndarray) -> object:
        with torch.inference_mode():
            return network(nested_tensor_from_tensor_list(torch.from_numpy(tile[None])))

    return lambda tiles: list(pool.map(one, tiles))


def main() -> None:
    """Print tiles per second of every case, and its time as a share of the library's RF-DETR Medium."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiles", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    every = cases()
    best = dict.fromkeys(every, float("inf"))
    for number in range(options.rounds + 1):  # the first is to warm up
        for name, (channels, look) in every.items():
            tiles = np.random.default_rng(number).standard_normal(
                (options.tiles, channels, TILE_PX, TILE_PX), np.float32
            )
            begun = time.perf_counter()
            look(tiles)
            took = (time.perf_counter() - begun) / options.tiles
            best[name] = min(best[name], took) if number else best[name]
    print("| network | tiles per second | time as a share of the library's |\n|---|---|---|")
    for name, took in best.items():
        print(f"| {name} | {1 / took:.2f} | {took / best[STOCK]:.2f} |")


if __name__ == "__main__":
    main()
