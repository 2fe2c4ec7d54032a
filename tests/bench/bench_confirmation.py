"""How many frames it takes until dust is confirmed: `python tests/bench/bench_confirmation.py [--cache FOLDER]`.

Sessions of eight frames with dust under them, in which the product is swapped, the aperture changed, the camera held by
hand, or nothing changes. The detector is played by the truth, so that only the map is judged: whatever a person could
see is a candidate, measured in the light. To hold one version against another, let both read the same *cache*.
"""

import argparse
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bench_restraint import MARK_PX, MARKS, backdrop, body_with, product, shot
from lookalike_scenes import HEIGHT, WIDTH, ground, strewn
from tqdm import tqdm

from dustd.config import OutputSettings
from dustd.demo import scenes
from dustd.demo.scenes import SESSION
from dustd.demo.verdict import is_visible
from dustd.demo.virtual import Exposure, VirtualBody, frame_of
from dustd.detector.model import find_model
from dustd.dustmap import evidence
from dustd.dustmap.store import Store
from dustd.output.sidecar import Record, Source
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.pipeline.look import Look
from dustd.pipeline.worker_client import WorkerClient
from dustd.raw.frame import Frame, frame_identity
from dustd.raw.light import overview
from dustd.spots.candidates import candidate_in
from dustd.spots.spot import Detection

FRAMES, GRAINS, BODIES = 8, 24, 5
AFTER = (2, 3, 4, 6, 8)  # frames
SURE = 0.97  # score of the network that is played
BOX_OF_SHADOW = 1.1  # the side of its boxes, in widths of the shadow (`spots.company.BOX_SHARE`)
SAME_PX = 14.0  # a particle is the grain that lies as near
FAR = (-1e6, -1e6)
STEP_PX = 8


class Played:
    """Stands for a detector as far as the pipeline asks about it."""

    device = "cpu"

    def __init__(self) -> None:
        card = find_model("default")
        self.model_id, self.sha256 = "truth", "0" * 64
        self.calibration, self.false_positive_scores = card.calibration, card.false_positive_scores


def look_at(exposure: Exposure, frame: Frame, marks: np.ndarray) -> Look:
    """Take the shadows that a person could see, and the *marks* of the scene (n, 3: x, y, width), for what a network
    saw."""
    shadows = [(s.x, s.y, s.diameter_px) for s in exposure.shadows if is_visible(s, exposure.clean)]
    boxes = [
        Detection(
            x=x, y=y, width_px=BOX_OF_SHADOW * width, height_px=BOX_OF_SHADOW * width, score=SURE, second_score=SURE
        )
        for x, y, width in (*shadows, *marks.tolist())
    ]
    return Look(
        camera=frame.camera,
        frame_id=frame_identity(frame),
        width=frame.width,
        height=frame.height,
        candidates=tuple(candidate_in(frame, box) for box in boxes),
        refused=(),
        scene=evidence.look(overview(frame, STEP_PX), STEP_PX, frame.camera),
        model_id="truth",
        sha256="0" * 64,
        device="cpu",
        tiles=0,
        skipped_tiles=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A body, what it takes and at which f-numbers; *places* (n, 2) are those of the marks of the *board* behind."""

    name: str
    body: VirtualBody
    drawn: Sequence[np.ndarray]
    f_numbers: Sequence[float]
    board: np.ndarray | None = None
    places: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))

    def marks(self, number: int) -> np.ndarray:
        """Say which marks nothing covers in a frame: (n, 3) x, y, width."""
        if self.board is None:
            return np.empty((0, 3))
        columns, rows = np.clip(self.places.astype(int), 0, (WIDTH - 1, HEIGHT - 1)).T
        bare = (self.drawn[number][rows, columns] == self.board[rows, columns]).all(-1)
        return np.column_stack([self.places, np.full(len(self.places), MARK_PX)])[bare]


def sessions(seed: int) -> Iterator[Session]:
    """Give sessions with dust, and with marks on a board but none."""
    rngs = [np.random.default_rng([seed, number]) for number in range(FRAMES)]
    dusty, clean = body_with(GRAINS, 40 + seed, f"CONFIRM-{seed}"), body_with(0, 1, f"BOARD-{seed}")
    plain = ground(np.random.default_rng(seed), 0.5, grain=0.004)
    still = product(plain, np.random.default_rng([seed, 99]), 0.5)
    wide = scenes.bottle_on_seamless(np.random.default_rng(seed), 2 * HEIGHT, 2 * WIDTH)
    tremble = np.array([HEIGHT // 2, WIDTH // 2]) + np.cumsum(rngs[1].uniform(-60, 60, (FRAMES, 2)), 0).astype(int)
    held = [wide[y : y + HEIGHT, x : x + WIDTH] for y, x in np.clip(tremble, 0, (HEIGHT, WIDTH)).tolist()]
    others = [SESSION[number % len(SESSION)](rng, HEIGHT, WIDTH) for number, rng in enumerate(rngs)]
    swapped, small = ([product(plain, rng, size) for rng in rngs] for size in (0.95, 0.4))
    at_16 = (16.0,) * FRAMES
    for name, drawn, f_numbers in (
        ("nothing changes, f/16", [still] * FRAMES, at_16),
        ("product swapped, nearly as high as the frame, f/16", swapped, at_16),
        ("product swapped, less than half as high, f/16", small, at_16),
        ("fixed scene, f/8, f/11, f/16 by turns", [still] * FRAMES, (8.0, 11.0, 16.0) * 3),
        ("hand-held, some 60 px between frames, f/16", held, at_16),
        ("other scenes, f/16", others, at_16),
    ):
        yield Session(name=name, body=dusty, drawn=drawn, f_numbers=f_numbers)
    places = strewn(np.random.default_rng(seed), MARKS)
    board = backdrop(np.random.default_rng(seed), places)
    for name, size, f_numbers in (
        ("no dust, board with marks, product moves, f/11", 0.35, (11.0,) * FRAMES),
        ("the same, f/8 and f/11 by turns", 0.35, (8.0, 11.0) * FRAMES),
        ("the same, product nearly fills the frame, f/11", 0.75, (11.0,) * FRAMES),
    ):
        drawn = [product(board, rng, size) for rng in rngs]
        yield Session(name=name, body=clean, drawn=drawn, f_numbers=f_numbers, board=board, places=places)


def played(session: Session, cache: Path | None) -> list[int]:
    """Play a session into an empty map. Return how many grains show in two frames at least, how many of these are
    confirmed after AFTER frames, and how many particles are confirmed at the end that are no grain."""
    seen: Counter[int] = Counter()
    after = []
    with Store.open(":memory:") as store:
        pipeline = Pipeline(
            detector=Played(),
            store=store,
            worker=WorkerClient(),
            output=OutputSettings(),
            sensitivity_of=lambda *_: 50.0,
        )
        for number, scene in enumerate(session.drawn):
            exposure = shot(
                np.ascontiguousarray(scene), body=session.body, number=number, f_number=session.f_numbers[number]
            )
            frame = frame_of(exposure)
            kept = cache / f"{frame_identity(frame)}.pickle" if cache else None
            looked = pickle.loads(kept.read_bytes()) if kept and kept.exists() else None
            looked = looked or look_at(exposure, frame, session.marks(number))
            if kept and not kept.exists():
                kept.write_bytes(pickle.dumps(looked))
            decision, _ = pipeline.decide(looked, 50.0, frame)
            store.observe(
                Record(
                    source=Source(name=f"{number:03d}", size=0, sha256="", mtime_ns=0),
                    camera=frame.camera,
                    width=frame.width,
                    height=frame.height,
                    detector=decision.detector_info(looked),
                    spots=decision.spots,
                    status="cleaned",
                    evidence=decision.evidence(looked),
                )
            )
            seen.update(shadow.grain for shadow in exposure.shadows if is_visible(shadow, exposure.clean))
            sure = [each for each in store.state(frame.camera.body_id).particles if each.confirmed]
            places = [(each.mx + (WIDTH - 1) / 2, each.my + (HEIGHT - 1) / 2) for each in sure]
            shadows = [(shadow.x, shadow.y) for shadow in exposure.shadows]
            right = [at for at in places if min(np.hypot(x - at[0], y - at[1]) for x, y in [*shadows, FAR]) < SAME_PX]
            if number + 1 in AFTER:
                after.append(len(right))
    return [sum(count > 1 for count in seen.values()), *after, len(sure) - len(right)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, help="folder where looks are kept")
    options = parser.parse_args()
    if options.cache:
        options.cache.mkdir(parents=True, exist_ok=True)
    rows: dict[str, np.ndarray] = {}
    with tqdm(unit="session") as bar:
        for seed in range(1, BODIES + 1):
            for session in sessions(seed):
                rows[session.name] = rows.get(session.name, 0) + np.array(played(session, options.cache))
                bar.update()
    print("| session | grains seen twice |" + "".join(f" after {n} frames |" for n in AFTER) + " wrongly |")
    print("|---|---|" + "---|" * (len(AFTER) + 1))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
