"""Dust beside a strong edge: `python tests/bench/bench_edges.py`; how much of it is corrected, by its distance.

A straight step of light of random direction, and on its plain side one soft disc as a grain throws it at f/11; one
frame, an empty map, the pipeline's own looking, deciding and correcting with the shipped model at sensitivity 50. Looks
are kept as `bench_restraint` keeps them. The table is that of docs/detector.md.
"""

import argparse
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bench_restraint import Looker, corrected_in
from tqdm import tqdm

from dustd.raw.frame import Camera, Frame
from dustd.spots.measure import soft_disc
from dustd.train.testset import record

WIDTH, HEIGHT = 1024, 768
CAMERA = Camera(f_number=11.0, pixel_pitch_um=4.4)  # a usual shadow is 37 px wide
LIGHT, BEYOND = 0.35, (0.1, 0.3, 2.5)  # share of white on the dust's side, and times as much beyond the edge
ATTENUATIONS, DIAMETERS_PX = (0.04, 0.07, 0.12, 0.20), (26.0, 40.0, 60.0)
DISTANCES_PX = (5.0, 15.0, 40.0, 110.0)  # from the disc's rim to the edge
ELECTRONS, READ_E = 20_000.0, 3.0  # at white; ISO 200 of a full-frame sensor
EDGE_BLUR_PX = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One disc beside one edge."""

    beyond: float
    attenuation: float
    diameter_px: float
    distance_px: float


def cases() -> Iterator[Case]:
    """Give every combination."""
    for beyond, depth, width, away in itertools.product(BEYOND, ATTENUATIONS, DIAMETERS_PX, DISTANCES_PX):
        yield Case(beyond=beyond, attenuation=depth, diameter_px=width, distance_px=away)


def photographed(case: Case, rng: np.random.Generator) -> tuple[Frame, float, float]:
    """Photograph a case; also return where the disc is, px."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    x, y = rng.uniform(0.4, 0.6) * WIDTH, rng.uniform(0.4, 0.6) * HEIGHT
    turn = rng.uniform(0, 2 * math.pi)
    along = (xs - x) * math.cos(turn) + (ys - y) * math.sin(turn) - case.diameter_px / 2 - case.distance_px
    share = 1 / (1 + np.exp(-np.clip(along / EDGE_BLUR_PX, -30, 30)))
    ramp_px = max(case.diameter_px * math.sqrt(case.attenuation), 2.0)  # a grain's width: optics facts §1.1
    shade = case.attenuation * soft_disc(np.hypot(xs - x, ys - y), case.diameter_px, ramp_px)
    signal = LIGHT * (1 + (case.beyond - 1) * share) * (1 - shade)
    noise = rng.standard_normal((HEIGHT, WIDTH), np.float32)
    frame = record(
        signal.astype(np.float32),
        noise,
        electrons=ELECTRONS,
        read=READ_E / ELECTRONS,
        gains=(1.0, 1.0, 1.0),
        camera=CAMERA,
    )
    return frame, x, y


def main() -> None:
    """Print how many discs are corrected, and what else is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2, help="frames of each combination")
    repeats = parser.parse_args().repeats
    looker = Looker()
    found: dict[Case, list[bool]] = {}
    elsewhere = 0
    for case, number in tqdm(list(itertools.product(cases(), range(repeats))), unit="frame"):
        seed = hash((case.beyond, case.attenuation, case.diameter_px, case.distance_px, number)) % 2**32
        frame, x, y = photographed(case, np.random.default_rng(seed))
        spots, _ = corrected_in(frame, looker.seen(frame), looker, 50.0)
        here = [spot for spot in spots if math.hypot(spot.x - x, spot.y - y) < case.diameter_px / 2]
        found.setdefault(case, []).append(bool(here))
        elsewhere += len(spots) - len(here)

    def share(**chosen: float) -> str:
        hits = [
            hit
            for case, each in found.items()
            if all(getattr(case, name) == value for name, value in chosen.items())
            for hit in each
        ]
        return f"{np.mean(hits):.2f}"

    print("| corrected | " + " | ".join(f"{away:g} px" for away in DISTANCES_PX) + " |")
    print("|---|" + "---|" * len(DISTANCES_PX))
    rows: list[tuple[str, dict[str, float]]] = [("all", {})]
    rows += [(f"light beyond the edge × {beyond:g}", {"beyond": beyond}) for beyond in BEYOND]
    rows += [(f"A = {depth:.0%}", {"attenuation": depth}) for depth in ATTENUATIONS]
    rows += [(f"{width:g} px wide", {"diameter_px": width}) for width in DIAMETERS_PX]
    for name, chosen in rows:
        print(f"| {name} | " + " | ".join(share(**chosen, distance_px=away) for away in DISTANCES_PX) + " |")
    print(f"\n{sum(map(len, found.values()))} frames; corrected elsewhere: {elsewhere}")


if __name__ == "__main__":
    main()
