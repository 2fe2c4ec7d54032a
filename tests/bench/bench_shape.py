"""How well the shapes of dust are told: `python tests/bench/bench_shape.py [--grains N] [--seed N]`.

Grains of every kind that the detector learns from (`dustd.train.grains`: their optics, waves and pupils that are not
round) are seen at four apertures over generated ground, smooth and softly textured (`dusty.py`), each in a box such as
a detector gives, and go through dustd's own measuring. Prints the tables of docs/dustmap.md.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce

import cv2
import numpy as np
import torch
from dusty import SCENES

from dustd.demo.virtual import BLACK, CFA, FULL_WELL_E, READ_NOISE_E, WHITE
from dustd.dustmap.particle import FAINT
from dustd.raw.frame import Camera, Frame
from dustd.spots.candidates import measure
from dustd.spots.outline import outline_in
from dustd.spots.shape import Outline, pooled, shape_of
from dustd.spots.spot import Detection
from dustd.train.grain_draws import KIND_SHARES, draw_spots
from dustd.train.grains import KINDS, Spots
from dustd.train.shadows import PATCH_PX, cast_shadows, label_boxes

F_NUMBERS = (8.0, 11.0, 16.0, 22.0)
GROUNDS = ("smooth", "soft")
SIDE_PX = 480
FULL_SIZE_PITCH_UM = 6.5  # wider pixels are two of the sensor's (`dustd.train.grain_draws`)
WAVES_PX = 64  # a wave's patch
ANSWERS = ("speck", "fibre", "ring", None)
RIGHT = {"speck": "speck", "clump": "speck", "short fibre": "fibre", "long fibre": "fibre", "droplet ring": "ring"}
TIMES_AS_MANY = {"speck": 5, "clump": 2}  # nearly all dust is such: what is told wrongly of it counts most


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What one frame says of one grain; *seconds* for measuring and for the outline."""

    kind: str
    grain: int
    f_number: float
    ground: str
    outline: Outline | None
    seconds: tuple[float, float]


def look(grains: int, seed: int) -> Iterator[Looked]:
    """Draw *grains* of each kind, and look at each at every aperture at which it takes FAINT of the light or more."""
    rng = np.random.default_rng(seed)
    scenes = {ground: [make(rng).clip(0.003, 0.97) for make in SCENES[ground] * 2] for ground in GROUNDS}
    for number, kind in enumerate(KINDS):
        count = grains * TIMES_AS_MANY.get(kind, 1)
        drawn = draw_spots(count, torch.Generator().manual_seed(1000 * seed + number), kind=number)
        for f_number in F_NUMBERS:
            seen = replace(drawn, f_number=torch.full_like(drawn.f_number, f_number))
            seen = replace(seen, wave=seen.wave & (seen.room_px <= WAVES_PX))
            for grain in torch.nonzero(seen.room_px <= PATCH_PX).flatten().tolist():
                shadow, box = _shadow(seen, grain)
                if shadow[..., 1].max() < FAINT:
                    continue
                for ground in GROUNDS:
                    scene = scenes[ground][rng.integers(len(scenes[ground]))]
                    frame, detection = _frame(scene, shadow, rng), _detected(box, rng)
                    began = time.perf_counter()
                    spot = measure(frame, detection, 1)
                    between = time.perf_counter()
                    outline = outline_in(frame, spot, detection)
                    seconds = between - began, time.perf_counter() - between
                    yield Looked(
                        kind=kind, grain=grain, f_number=f_number, ground=ground, outline=outline, seconds=seconds
                    )


def _shadow(spots: Spots, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Cast one shadow at the sensor's full size: (n, n, 3) light lost, and its box (4,) in it, as `label_boxes` has."""
    one = Spots(**{f.name: getattr(spots, f.name)[index : index + 1] for f in fields(Spots)})
    cast = cast_shadows(one)
    box = label_boxes(cast[:, 1], torch.zeros(1, 2, dtype=torch.long), PATCH_PX)[0].numpy()
    shadow = cast[0].permute(1, 2, 0).numpy()
    if one.pitch_um > FULL_SIZE_PITCH_UM:
        shadow, box = cv2.resize(shadow, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR), 2 * box
    return shadow, box + np.array([1, 1, 0, 0]) * (SIDE_PX - len(shadow)) / 2


def _frame(scene: np.ndarray, shadow: np.ndarray, rng: np.random.Generator) -> Frame:
    """Photograph a piece of *scene* with the shadow in its middle."""
    top, left = (int(rng.integers(side - SIDE_PX)) for side in scene.shape[:2])
    light = scene[top : top + SIDE_PX, left : left + SIDE_PX].astype(np.float32)
    edge = (SIDE_PX - len(shadow)) // 2
    light[edge : SIDE_PX - edge, edge : SIDE_PX - edge] *= 1 - shadow
    axis = np.arange(SIDE_PX) % 2
    colour = np.asarray(CFA)[axis[:, None], axis]
    electrons = np.take_along_axis(light, colour[..., None], 2)[..., 0] * FULL_WELL_E
    electrons += np.sqrt(electrons + READ_NOISE_E**2) * rng.standard_normal(electrons.shape, dtype=np.float32)
    raw = np.rint(BLACK + (WHITE - BLACK) * electrons / FULL_WELL_E).clip(0, WHITE).astype(np.uint16)
    return Frame(
        raw=raw, visible=(0, 0, SIDE_PX, SIDE_PX), kind="bayer", cfa=CFA, black=np.full((2, 2), BLACK, np.float32),
        white=WHITE, wb=(1, 1, 1), xyz_to_camera=None, camera=Camera(),
    )  # fmt: skip


def _detected(box: np.ndarray, rng: np.random.Generator) -> Detection:
    """Draw a detector's box: 5 % of its size off in place and size."""
    x, y, width, height = box + rng.normal(0, 0.05, 4) * box[2:].max()
    return Detection(x=x - 0.5, y=y - 0.5, width_px=max(width, 4), height_px=max(height, 4), score=0.9)


def table(found: Sequence[Looked]) -> str:
    """Tabulate in per cent how often dust is called speck / fibre / ring / nothing, by one frame and by all of them."""
    heads = ["ground", "dust", "grains", *(f"f/{f_number:g}" for f_number in F_NUMBERS), "together"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for ground in (*GROUNDS, "both"):
        for kind in KINDS:
            own = [each for each in found if each.kind == kind and ground in (each.ground, "both")]
            joined = together(own)
            single = [
                [shape_of(each.outline) for each in own if each.f_number == f_number and ground != "both"]
                for f_number in F_NUMBERS
            ]
            lines.append(_line([ground, kind, str(len(joined)), *map(_told, single), _told(joined)]))
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _told(answers: Sequence[str | None]) -> str:
    counts = Counter(answers)
    return " / ".join(f"{counts[answer] / len(answers):.0%}"[:-1] for answer in ANSWERS) if answers else ""


def together(found: Iterable[Looked]) -> list[str | None]:
    """Give the answer about each grain that its frames give together."""
    frames = defaultdict(list)
    for each in found:
        frames[each.kind, each.grain].append(each.outline)
    return [shape_of(reduce(pooled, outlines)) for outlines in frames.values()]


def right_table(found: Sequence[Looked]) -> str:
    """Tabulate how often an answer is right where kinds are as frequent as on sensors (facts §7)."""
    heads = ["ground", "frames", "speck", "fibre", "ring"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for ground in (*GROUNDS, "both"):
        there = [each for each in found if ground in (each.ground, "both")]
        single = {kind: [shape_of(each.outline) for each in there if each.kind == kind] for kind in KINDS}
        joined = {kind: together(each for each in there if each.kind == kind) for kind in KINDS}
        for frames, answers in (("one", single), ("together", joined)):
            lines.append(_line([ground, frames, *(_rightness(answers, answer) for answer in ANSWERS[:-1])]))
    return "\n".join(lines)


def _rightness(answers: Mapping[str, Sequence[str | None]], answer: str | None) -> str:
    """Give how often *answer* is right, and how many times it was given rightly and wrongly."""
    told = {kind: Counter(answers[kind])[answer] for kind in KINDS}
    shares = {
        kind: share * told[kind] / max(len(answers[kind]), 1) for kind, share in zip(KINDS, KIND_SHARES, strict=True)
    }
    right = [kind for kind in KINDS if RIGHT[kind] == answer]
    if not sum(shares.values()):
        return "never said"
    counts = sum(told[kind] for kind in right), sum(told.values())
    return f"{sum(shares[k] for k in right) / sum(shares.values()):.0%} ({counts[0]} of {counts[1]})"


def main() -> None:
    """Look, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grains", type=int, default=60, help="of each kind; more of specks and clumps")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found = list(look(args.grains, args.seed))
    print(table(found), right_table(found), sep="\n\n")
    measuring, outlining = (1000 * np.median([each.seconds[i] for each in found]) for i in (0, 1))
    print(f"\n{len(found)} looks; measuring a spot {measuring:.1f} ms, its outline {outlining:.1f} ms (medians)")


if __name__ == "__main__":
    main()
