"""What dustd leaves alone, and what that costs: `python tests/bench/bench_restraint.py [--photos F] [--dusty F …]`.

Twenty-two kinds of look-alikes (`lookalike_scenes.py`) and ten of things with few marks beside their outlines
(`outline_scenes.py`), each twice without dust and once with it; sessions on a tripod and hand-held with marks of the
scene that are as like dust as marks can be; photographs without dust; real dusty frames.
The pipeline's own looking, deciding and correcting, with the shipped model. Looks are kept below
`runs/bench-restraint`, by the frame's samples and the model's sha256, so that changed judgement is measured again in a
minute. The tables are those of docs/restraint.md; `--sheet` draws the scenes with what is corrected.
"""

import argparse
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from lookalike_scenes import HEIGHT, KINDS, WIDTH, ground, mark, strewn
from outline_scenes import OUTLINE_KINDS
from tqdm import tqdm

from dustd.config import OutputSettings
from dustd.demo.verdict import is_visible, match
from dustd.demo.virtual import Exposure, Lens, VirtualBody, expose, frame_of, make_body
from dustd.detector.model import find_model, load_detector
from dustd.dustmap.match import State
from dustd.dustmap.store import Store
from dustd.output.sidecar import Source
from dustd.pipeline.decide import Scale, decide
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.pipeline.frame_record import record_of
from dustd.pipeline.look import Look, look
from dustd.pipeline.worker_client import WorkerClient
from dustd.raw.frame import Frame, frame_identity
from dustd.spots.correct import correct
from dustd.spots.spot import Spot
from dustd.train.realframes import labelled_frames, read_frame

CACHE = Path(__file__).resolve().parents[2] / "runs" / "bench-restraint"
LENS = Lens(name="Virtual 50mm F2.8", focal_length_mm=50, exit_pupil_mm=70)
SENSITIVITIES = (0.0, 25.0, 50.0, 75.0, 100.0)
SHOWN = (0.0, 50.0, 100.0)  # of each kind
GRAINS = 14
MARKS, MARK_PX = 12, 37.0  # of a board: how many, how wide
HARMED = 0.02  # a sample changed by more than this share of its light
SHEET_COLUMNS = 6
PHOTO_PX = 1600  # of a photograph, the middle of so many px is taken
PHOTOGRAPHS = (  # of products, fabric, paper and skin, in shared/data/photos
    "digicam_Canon_EOS5D-MIII__K6A7941.JPG",
    "digicam_Canon_EOS_RP__MG_0631.JPG",
    "eos_desk-plants.jpg",
    "eos_jairo-alzate.jpg",
    "eos_pawe-czerwinski-leaves.jpg",
    "immich_book-beside-flowers.jpg",
    "immich_handwritten-notes.jpg",
    "mei_canon-eos-30d-4.jpg",
    "mei_canon-powershot-a2500.jpg",
    "mei_canon-powershot-a70.jpg",
    "mei_issue-266.jpg",
    "mei_issue-525.jpg",
    "mei_leica-t-typ-701.jpg",
    "mei_nikon-d90.jpg",
)


class Looker:
    """The shipped detector, loaded for what it has not yet seen."""

    device = "cpu"

    def __init__(self) -> None:
        card = find_model("default")
        self.model_id, self.sha256 = card.id, card.sha256
        self.calibration, self.false_positive_scores = card.calibration, card.false_positive_scores
        self.scale = Scale(calibration=card.calibration, false_positive_scores=card.false_positive_scores)
        self._loaded = lru_cache(1)(lambda: load_detector(device="cpu"))

    def seen(self, frame: Frame) -> Look:
        """Say what the detector sees in a frame, by its samples."""
        kept = CACHE / f"{frame_identity(frame)[:24]}-{self.sha256[:12]}.pickle"
        if kept.exists():
            return pickle.loads(kept.read_bytes())
        seen = look(frame, self._loaded())
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(seen))
        return seen


def shot(scene: np.ndarray, *, body: VirtualBody, number: int = 0, f_number: float = 11.0) -> Exposure:
    """Photograph a scene."""
    return expose(
        body,
        np.clip(scene, 0.002, 0.95).astype(np.float32),
        f_number=f_number,
        lens=LENS,
        seed=number,
        taken_at=f"2026-11-20T10:{number // 60:02d}:{number % 60:02d}",
        exposure_s=0.01,
    )


def body_with(grains: int, seed: int, serial: str) -> VirtualBody:
    """Make a body whose sensor is as large as a scene."""
    return make_body(serial, seed=seed, grains=grains, width=WIDTH, height=HEIGHT, pitch_um=4.4)


def corrected_in(frame: Frame, seen: Look, looker: Looker, sensitivity: float) -> tuple[list[Spot], np.ndarray]:
    """Decide and correct with an empty map; give what was corrected, and the new samples."""
    spots = decide(seen, State(), scale=looker.scale, sensitivity=sensitivity, frame=frame).spots
    done = correct(frame, spots)
    return [spot for spot in done.spots if spot.action != "left"], done.raw


def alone(seen: Look, looker: Looker, sensitivity: float = 50.0) -> int:
    """Count what would be wanted if every mark were judged by itself."""
    spots = decide(seen, State(), scale=looker.scale, sensitivity=sensitivity).spots
    limit = decide(seen, State(), scale=looker.scale, sensitivity=sensitivity).threshold
    return sum((spot.score if spot.score_alone is None else spot.score_alone) >= limit for spot in spots)


Sheet = list[tuple[str, np.ndarray, list[Spot]]]
Kinds = Mapping[str, Callable[[np.random.Generator], np.ndarray]]


def table_of_kinds(looker: Looker, kinds: Kinds, bar: tqdm) -> tuple[str, Sheet, np.ndarray]:
    """Correct each of *kinds* of scene without dust, twice, and with dust, once. Also return what is corrected in all
    scenes without dust at each of SENSITIVITIES."""
    lines = [
        "| scene | wanted alone | corrected at 0 | at 50 | at 100 | samples harmed at 50 | dust seen | corrected |",
        "|---|---|---|---|---|---|---|---|",
    ]
    totals = np.zeros(7, int)
    counts = np.zeros(len(SENSITIVITIES), int)
    sheet = []
    for name, draw in kinds.items():
        row = np.zeros(7, int)
        for seed in (1, 2):
            exposure = shot(draw(np.random.default_rng(seed)), body=body_with(0, 1, "LIKE"), number=seed)
            frame = frame_of(exposure)
            seen = looker.seen(frame)
            row[0] += alone(seen, looker)
            for place, sensitivity in enumerate(SENSITIVITIES):
                spots, raw = corrected_in(frame, seen, looker, sensitivity)
                counts[place] += len(spots)
                if sensitivity in SHOWN:
                    row[1 + SHOWN.index(sensitivity)] += len(spots)
                if sensitivity == 50.0:
                    light = np.maximum(frame.raw.astype(float) - 512, 50)
                    row[4] += int((np.abs(raw.astype(float) - frame.raw) / light > HARMED).sum())
                    if seed == 1:
                        sheet.append((name, exposure.clean, spots))
        exposure = shot(draw(np.random.default_rng(3)), body=body_with(GRAINS, 7, "DUST"), number=3)
        frame = frame_of(exposure)
        seen = looker.seen(frame)
        spots, _ = corrected_in(frame, seen, looker, 50.0)
        visible = [each for each in exposure.shadows if is_visible(each, exposure.clean)]
        removed = {each.grain for each in match(exposure.shadows, spots).values()}
        row[5], row[6] = len(visible), sum(each.grain in removed for each in visible)
        totals += row
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(str(value) for value in row) + " |")
        bar.update()
    lines.append("| **all** | " + " | ".join(f"**{value}**" for value in totals) + " |")
    return "\n".join(lines), sheet, counts


def backdrop(rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
    """Draw a grey board with marks at *places* (n, 2), as like the shadows of one lens as marks can be: one width, any
    depth."""
    light = ground(rng, 0.5, grain=0.004)
    for place in places:
        mark(light, place, MARK_PX * np.exp(rng.normal(0, 0.04)), float(np.exp(rng.uniform(-3.5, -1.5))), edge=0.35)
    return light


def product(light: np.ndarray, rng: np.random.Generator, size: float) -> np.ndarray:
    """Put something before a backdrop: a body with stripes and lettering, *size* of the frame's height."""
    light = light.copy()
    x, y = int(rng.uniform(0.35, 0.65) * WIDTH), int(rng.uniform(0.4, 0.6) * HEIGHT)
    half = int(size * HEIGHT / 2)
    tone = tuple(float(v) for v in rng.uniform(0.03, 0.6, 3))
    if rng.random() < 0.5:
        cv2.ellipse(light, (x, y), (half, int(0.8 * half)), float(rng.uniform(0, 90)), 0, 360, tone, -1)
    else:
        cv2.rectangle(light, (x - half, y - half), (x + half, y + half), tone, -1)
    for _ in range(12):
        ends = [(int(x + rng.uniform(-0.7, 0.7) * half), int(y + rng.uniform(-0.7, 0.7) * half)) for _ in range(2)]
        cv2.line(light, *ends, tuple(float(v) for v in rng.uniform(0.03, 0.7, 3)), int(rng.integers(2, 8)))
    return light


def sessions() -> Iterator[tuple[str, VirtualBody, list[np.ndarray], Sequence[float]]]:
    """Give sessions: a name, the body, the scenes in order and the f-numbers."""
    clean, dusty = body_with(0, 1, "TRIPOD"), body_with(GRAINS, 5, "TRIPOD-DUST")
    board = backdrop(np.random.default_rng(4), strewn(np.random.default_rng(4), MARKS))
    plain = ground(np.random.default_rng(4), 0.5, grain=0.004)
    rngs = [np.random.default_rng(100 + n) for n in range(8)]
    constant = (11.0,) * 8
    yield "fixed board with marks, product moves", clean, [product(board, rng, 0.35) for rng in rngs], constant
    yield "the same, product fills the frame", clean, [product(board, rng, 0.75) for rng in rngs], constant
    yield "the same, f/8 and f/11 by turns", clean, [product(board, rng, 0.35) for rng in rngs], (8.0, 11.0) * 4
    cloth = KINDS["polka_dots"](np.random.default_rng(9))
    shifts = np.random.default_rng(8).uniform(-3, 3, (8, 2))
    moved = [
        cv2.warpAffine(cloth, np.array([[1, 0, dx], [0, 1, dy]], np.float32), (WIDTH, HEIGHT), borderMode=2)
        for dx, dy in shifts
    ]
    yield "dotted cloth, 1-3 px between frames", clean, moved, constant
    wide = cv2.resize(board, (2 * WIDTH, HEIGHT))
    panned = [np.ascontiguousarray(wide[:, 130 * n : 130 * n + WIDTH]) for n in range(8)]
    yield "board with marks, hand-held (pans)", clean, panned, constant
    yield "dust, plain backdrop, product swapped", dusty, [product(plain, rng, 0.5) for rng in rngs], constant
    yield "dust, fixed scene, f/8, f/11, f/16 by turns", dusty, [product(plain, rngs[0], 0.3)] * 8, (8, 11, 16) * 3
    kinds = ("cork", "stains", "terrazzo", "rain_on_stone", "beach", "moles", "birds", "seam")
    scenes = [KINDS[kind](rng) for kind, rng in zip(kinds, rngs, strict=True)]
    yield "dust, eight other scenes", dusty, scenes, constant


def table_of_sessions(looker: Looker, bar: tqdm) -> str:
    """Play sessions into empty maps: what is confirmed, of dust and of the scene, and after how many frames."""
    lines = [
        "| session | frames | grains seen twice | confirmed | first in frame | marks confirmed | suspected |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, body, scenes, f_numbers in sessions():
        first: int | None = None
        times: dict[int, int] = {}
        with Store.open(":memory:") as store:
            pipeline = Pipeline(
                detector=looker,
                store=store,
                worker=WorkerClient(),
                output=OutputSettings(),
                sensitivity_of=lambda *_: 50.0,
            )
            for number, scene in enumerate(scenes):
                exposure = shot(scene, body=body, number=number, f_number=f_numbers[number])
                frame = frame_of(exposure)
                seen = looker.seen(frame)
                decision, _ = pipeline.decide(seen, 50.0, frame)
                spots = correct(frame, decision.spots, decision.known).spots
                stamp = Source(name=f"{number:03d}", size=0, sha256="", mtime_ns=0)
                record = record_of(stamp, frame.camera, seen, decision, spots)
                store.observe(record)
                for shadow in exposure.shadows:
                    if is_visible(shadow, exposure.clean):
                        times[shadow.grain] = times.get(shadow.grain, 0) + 1
                state = store.state(frame.camera.body_id)
                confirmed = [particle for particle in state.particles if particle.confirmed]
                if confirmed and first is None:
                    first = number + 1
                last = exposure.shadows
        right = sum(
            any(np.hypot(p.mx + WIDTH / 2 - s.x, p.my + HEIGHT / 2 - s.y) < 14 for s in last) for p in confirmed
        )
        twice = sum(count >= 2 for count in times.values())
        lines.append(
            f"| {name} | {len(scenes)} | {twice} | {right} | {first or '–'} | {len(confirmed) - right} |"
            f" {len(state.particles) - len(confirmed)} |"
        )
        bar.update()
    return "\n".join(lines)


def table_of_sensitivities(looker: Looker, folder: Path | None, of_kinds: np.ndarray, bar: tqdm) -> str:
    """Correct the middle of photographs that show no dust at each sensitivity, beside the scenes of look-alikes."""
    lines = [
        "| what | frames | megapixels |" + "".join(f" at {each:g} |" for each in SENSITIVITIES),
        "|---|---|---|" + "---|" * len(SENSITIVITIES),
    ]

    def say(what: str, frames: int, megapixels: float, counts: np.ndarray) -> None:
        rates = " | ".join(f"{count} ({count / megapixels:.3f}/MP)" for count in counts)
        lines.append(f"| {what} | {frames} | {megapixels:.0f} | {rates} |")

    if folder is not None:
        area, counts = 0.0, np.zeros(len(SENSITIVITIES), int)
        for name in PHOTOGRAPHS:
            frame = _middle(read_frame(folder / name))
            seen = looker.seen(frame)
            counts += [len(corrected_in(frame, seen, looker, each)[0]) for each in SENSITIVITIES]
            area += frame.width * frame.height / 1e6
            bar.update()
        say("photographs of products, fabric, paper, skin", len(PHOTOGRAPHS), area, counts)
    say("scenes of look-alikes", 2 * len(KINDS), 2 * len(KINDS) * WIDTH * HEIGHT / 1e6, of_kinds)
    return "\n".join(lines)


def _middle(frame: Frame) -> Frame:
    height, width = frame.raw.shape[:2]
    rows, columns = min(height, PHOTO_PX), min(width, PHOTO_PX)
    top, left = (height - rows) // 2, (width - columns) // 2
    raw = np.ascontiguousarray(frame.raw[top : top + rows, left : left + columns])
    return replace(frame, raw=raw, visible=(0, 0, rows, columns))


def table_of_real_dust(looker: Looker, folders: Sequence[Path], bar: tqdm) -> str:
    """Wanted spots of real dusty frames by themselves and in company, those near a label and others."""
    lines = [
        "| frame | labels | alone: at a label | elsewhere | in company: at a label | elsewhere | lost |",
        "|---|---|---|---|---|---|---|",
    ]
    for folder in folders:
        for name, frame, labels in labelled_frames(folder):
            decision = decide(looker.seen(frame), State(), scale=looker.scale, sensitivity=50.0)
            limit = decision.threshold

            def near(spot: Spot, labels: Sequence = labels) -> bool:
                return any(np.hypot(t.x - spot.x, t.y - spot.y) < max(t.diameter_px / 2, 6) for t in labels)

            before = {s.id for s in decision.spots if (s.score if s.score_alone is None else s.score_alone) >= limit}
            after = {s.id for s in decision.spots if s.score >= limit}
            at = {s.id for s in decision.spots if near(s)}
            figures = (len(before & at), len(before - at), len(after & at), len(after - at), len(before - after))
            lines.append(f"| {name} | {len(labels)} | " + " | ".join(map(str, figures)) + " |")
            bar.update()
    return "\n".join(lines)


def draw_sheet(target: Path, scenes: Sequence[tuple[str, np.ndarray, list[Spot]]]) -> None:
    """Draw the scenes with a ring around everything corrected."""
    tiles = []
    for name, mosaic, spots in scenes:
        light = np.clip((mosaic[::2, 1::2].astype(np.float32) - 512) / 15359, 0, 1)
        grey = np.uint8(255 * (light / max(np.percentile(light, 99), 1e-3)).clip(0, 1) ** (1 / 2.2))
        tile = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        for spot in spots:
            place = (round(spot.x / 2), round(spot.y / 2))
            cv2.circle(tile, place, round(spot.diameter_px / 2) + 6, (0, 0, 255), 2, cv2.LINE_AA)
        cv2.putText(tile, f"{name.replace('_', ' ')}: {len(spots)}", (8, 28), 0, 0.9, (255, 255, 255), 4, cv2.LINE_AA)
        cv2.putText(tile, f"{name.replace('_', ' ')}: {len(spots)}", (8, 28), 0, 0.9, (0, 0, 0), 2, cv2.LINE_AA)
        tiles.append(cv2.resize(tile, (360, 270), interpolation=cv2.INTER_AREA))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % SHEET_COLUMNS)
    rows = [np.hstack(tiles[n : n + SHEET_COLUMNS]) for n in range(0, len(tiles), SHEET_COLUMNS)]
    cv2.imwrite(str(target), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 82])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, help="folder of photographs without dust")
    parser.add_argument("--dusty", type=Path, nargs="*", default=[], help="folders of real frames with dust_labels.csv")
    parser.add_argument("--sheet", type=Path, help="picture of the scenes with what is corrected")
    options = parser.parse_args()
    looker = Looker()
    print(f"Model {looker.model_id}, {looker.sha256[:16]}; scenes of {WIDTH} × {HEIGHT} px\n")
    parts: list[Callable[[], str]] = []
    with tqdm(unit="step") as bar:
        table, sheet, of_kinds = table_of_kinds(looker, KINDS, bar)
        print(table, flush=True)
        table, more, _ = table_of_kinds(looker, OUTLINE_KINDS, bar)
        print("\n" + table, flush=True)
        if options.sheet:
            draw_sheet(options.sheet, sheet + more)
        parts.append(lambda: table_of_sessions(looker, bar))
        if options.dusty:
            parts.append(lambda: table_of_real_dust(looker, options.dusty, bar))
        parts.append(lambda: table_of_sensitivities(looker, options.photos, of_kinds, bar))
        for part in parts:
            print("\n" + part(), flush=True)


if __name__ == "__main__":
    main()
