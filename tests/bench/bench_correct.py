"""How much light correction gives back: `python tests/bench/bench_correct.py [--bodies N] [--sheet FILE]`.

Generated frames whose clean mosaic is known (`dusty.py`): smooth ground, soft and hard texture, dust that takes 5 to
45 % of the light at f/8 to f/22, drawn by the virtual body's optics and not by the soft disc that dustd fits. Inside
each spot (where a tenth of its depth or more is lost) the PSNR against the light of the clean mosaic, without noise,
peak = white, and against the clean mosaic with the same noise draws. Spots that were left alone count as uncorrected.
Prints the tables of docs/correction.md; --sheet writes its pictures.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from dusty import SCENES, Judged, judged_frames, psnr
from inpainters import INPAINTERS, mosaic_of, planes_of

from dustd.demo import virtual
from dustd.demo.virtual import BLACK, WHITE
from dustd.dustmap.second_look import shadows
from dustd.raw.frame import Frame
from dustd.raw.light import Window, linear_rgb
from dustd.spots.candidates import measure
from dustd.spots.correct import correct
from dustd.spots.measure import EDGE_SHARE, Shadow
from dustd.spots.paint import paint
from dustd.spots.spot import Detection, Spot

DEPTHS = ((0.04, 0.07), (0.07, 0.13), (0.13, 0.25), (0.25, 0.45))
WORSE_DB = 0.1
INSIDE, HIDDEN = 0.1, 0.02  # shares of a spot's depth: where it is judged, what inpainting is told to fill
PATCHES_EVERY = 12  # spots: the exhaustive search is slow
FALSE_PER_FRAME = 12
CELL_PX, ZOOM = 72, 3  # of the picture sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one spot: PSNR in dB by method, against the noise-free light and against the clean twin.

    *left* are the methods that declined, *noise* the ratio of the noise inside and around, by method.
    """

    kind: str
    f_number: float
    attenuation: float
    light_db: dict[str, float]
    twin_db: dict[str, float]
    left: frozenset[str]
    noise: dict[str, float]


def judged(frames: Iterable[Judged], keep: list | None = None) -> list[Result]:
    """Correct every frame in every way."""
    results = []
    for shot in frames:
        known = shadows(shot.spots, shot.state, shot.view)
        on_map = [spot for spot in shot.spots if spot.id in known]
        ours = {"first time": correct(shot.frame, shot.spots), "in the map": correct(shot.frame, on_map, known)}
        exact = (shot.frame.mosaic - np.float32(BLACK)) / shot.transmission + BLACK
        for spot in on_map:
            results.append(_result(shot, spot, ours, exact, patches=len(results) % PATCHES_EVERY == 0))
        if keep is not None:
            keep.append((shot, ours))
    return results


def _result(shot: Judged, spot: Spot, ours: dict, exact: np.ndarray, *, patches: bool) -> Result:
    truth = shot.truth[spot.id]
    rows, cols = _around(shot.frame, truth.x, truth.y, 2.5 * truth.diameter_px + 24)
    inside, around = _inside(shot, truth, rows, cols), shot.transmission[rows, cols] == 1
    light, twin = shot.light[rows, cols], (shot.clean[rows, cols] - np.float64(BLACK)) / (WHITE - BLACK)
    dusty = shot.frame.mosaic[rows, cols]
    made = {"none": dusty, "exact T": exact[rows, cols]}
    made |= {name: done.raw[rows, cols] for name, done in ours.items()}
    hidden = planes_of(_inside(shot, truth, rows, cols, HIDDEN)).any(0)
    planes = planes_of((dusty - np.float64(BLACK)) / (WHITE - BLACK))
    for name, inpaint in INPAINTERS.items():
        if name != "patches" or patches:
            made[name] = mosaic_of(inpaint(planes, hidden)) * (WHITE - BLACK) + BLACK
    made["ours, painted"] = _painted(shot.frame, spot, [s for s in shot.spots if s is not spot])[rows, cols]
    return Result(
        kind=shot.kind,
        f_number=shot.f_number,
        attenuation=truth.attenuation,
        light_db={name: psnr(samples, light, inside) for name, samples in made.items()},
        twin_db={name: psnr(samples, twin, inside) for name, samples in made.items()},
        left=frozenset(name for name, done in ours.items() if _action(done, spot) == "left"),
        noise={name: _noise_ratio(made[name], light, inside, around) for name in (*ours, "exact T", "ours, painted")},
    )


def _action(done, spot: Spot) -> str:
    return next(s.action for s in done.spots if s.id == spot.id)


def _around(frame: Frame, x: float, y: float, half: float) -> tuple[slice, slice]:
    """Cut out whole colour patterns around a place."""
    top, left = (max(0, int(v - half)) // 2 * 2 for v in (y, x))
    return slice(top, min(frame.height, int(y + half)) // 2 * 2), slice(left, min(frame.width, int(x + half)) // 2 * 2)


def _noise_ratio(samples: np.ndarray, light: np.ndarray, inside: np.ndarray, around: np.ndarray) -> float:
    """Compare the noise of neighbours of one colour inside and around, each against what its light makes of noise."""
    error = ((samples - np.float64(BLACK)) / (WHITE - BLACK) - light) / np.sqrt(light + 3e-4)
    step = (error[:, 2:] - error[:, :-2]) / np.sqrt(2)
    spread = [step[both[:, 2:] & both[:, :-2]].std() for both in (inside, around)]
    return float(spread[0] / spread[1])


def _painted(frame: Frame, spot: Spot, others: Sequence[Spot]) -> np.ndarray:
    work = replace(frame, raw=frame.raw.copy())
    shadow = Shadow(
        x=spot.x, y=spot.y, diameter_px=spot.diameter_px, ramp_px=spot.edge_px / EDGE_SHARE, attenuation=0.5
    )
    paint(work, shadow, others)
    return work.mosaic


def print_tables(results: Sequence[Result]) -> None:
    """Print what each way makes of the spots, by ground and depth."""
    columns = ("none", "exact T", "first time", "in the map", *INPAINTERS, "ours, painted")
    for what in ("light_db", "twin_db"):
        print(
            f"\nPSNR, dB, against {'the noise-free light' if what == 'light_db' else 'the clean mosaic with its noise'}"
        )
        print(f"| ground | A | spots | {' | '.join(columns)} |")
        print("|---|---|---|" + "---|" * len(columns))
        for kind, depths, some in _strata(results):
            cells = [[getattr(r, what)[c] for r in some if c in getattr(r, what)] for c in columns]
            means = [f"{np.mean(cell):.1f}" if cell else "" for cell in cells]
            print(f"| {kind} | {depths} | {len(some)} | {' | '.join(means)} |")
    print("\n| ground | A | way | left alone | worse than none | over best inpainting, dB | where corrected | noise |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, depths, some in _strata(results):
        for way in ("first time", "in the map"):
            done = [r for r in some if way not in r.left]
            worse = np.mean([r.light_db[way] < r.light_db["none"] - WORSE_DB for r in some])
            name, over = _over_best(some, way)
            over_done = f"{_over_best(done, way)[1]:+.1f}" if done else ""
            noise = f"{np.median([r.noise[way] for r in done]):.2f}" if done else ""
            left = 1 - len(done) / len(some)
            print(
                f"| {kind} | {depths} | {way} | {left:.0%} | {worse:.1%} | {over:+.1f} ({name})"
                f" | {over_done} | {noise} |"
            )


def print_noise(results: Sequence[Result]) -> None:
    """Print the noise inside over that around on smooth ground, where nothing else looks like noise."""
    print("\n| A | exact T | in the map | painted |\n|---|---|---|---|")
    for kind, depths, some in _strata(results):
        if kind == "smooth":
            ratios = [np.median([r.noise[way] for r in some]) for way in ("exact T", "in the map", "ours, painted")]
            print(f"| {depths} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")


def _strata(results: Sequence[Result]) -> Iterable[tuple[str, str, list[Result]]]:
    for kind in SCENES:
        for low, high in (*DEPTHS, (DEPTHS[0][0], DEPTHS[-1][1])):
            some = [r for r in results if r.kind == kind and low <= r.attenuation < high]
            if some:
                yield kind, f"{low:.0%}–{high:.0%}".replace("%–", "–"), some


def _over_best(some: Sequence[Result], way: str) -> tuple[str, float]:
    """Name the inpainting that does best on these spots on average, and say by how much *way* beats it."""
    means = {
        name: np.mean([r.light_db[name] for r in some]) for name in INPAINTERS if all(name in r.light_db for r in some)
    }
    best = max(means, key=means.__getitem__)
    return best, float(np.mean([r.light_db[way] for r in some]) - means[best])


def false_spots(frames: Iterable[Judged]) -> None:
    """Report dust where there is none, on the darkest specks of clean frames; print what correction does to them."""
    print("\n| ground | reported on | spots | declined | dPSNR mean, dB | worst 5 % | worst | light added, median |")
    print("|---|---|---|---|---|---|---|---|")
    told: dict[tuple[str, str], list[tuple[bool, float, float]]] = {}
    for shot in frames:
        clean = replace(shot.frame, raw=shot.clean)
        known = shadows(shot.spots, shot.state, shot.view)
        gone = [spot for spot in shot.spots if spot.id in known]
        for way, spots, result in (
            ("a dark speck of the scene", specks := _specks(clean), correct(clean, specks)),
            ("where dust was that is gone", gone, correct(clean, gone, known)),
        ):
            for spot, done in zip(spots, result.spots, strict=True):
                rows, cols = _around(clean, spot.x, spot.y, spot.diameter_px)
                ys, xs = np.ogrid[rows, cols]
                inside = np.hypot(xs - spot.x, ys - spot.y) < spot.diameter_px / 2
                light = shot.light[rows, cols]
                harm = psnr(result.raw[rows, cols], light, inside) - psnr(clean.raw[rows, cols], light, inside)
                added = np.median((result.raw[rows, cols][inside] - float(BLACK)) / (WHITE - BLACK) / light[inside]) - 1
                told.setdefault((shot.kind, way), []).append((done.action == "left", harm, float(added)))
    for (kind, way), each in sorted(told.items()):
        left, harm, added = (np.array(column) for column in zip(*each, strict=True))
        light = f"{np.median(added[~left]):.0%}" if not left.all() else ""
        print(
            f"| {kind} | {way} | {len(each)} | {left.mean():.0%} | {harm.mean():+.1f} | {np.percentile(harm, 5):+.1f} |"
            f" {harm.min():+.1f} | {light} |"
        )


def _specks(frame: Frame) -> list[Spot]:
    """Measure the places that look most like dust: minima of differences of Gaussians of dust's widths."""
    log = np.log(
        cv2.resize((frame.mosaic - np.float32(BLACK)).clip(1), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    )
    found: list[tuple[float, float, float, float]] = []
    for sigma in (3.0, 5.0, 8.0):
        dark = cv2.GaussianBlur(log, (0, 0), 1.6 * sigma) - cv2.GaussianBlur(log, (0, 0), sigma)
        top = (dark == cv2.dilate(dark, np.ones((int(4 * sigma) | 1,) * 2))) & (dark > 0.005)
        found += [(dark[y, x], 2.0 * x + 0.5, 2.0 * y + 0.5, 2 * 2.3 * sigma) for y, x in np.argwhere(top)]
    chosen: list[tuple[float, float, float, float]] = []
    for place in sorted(found, reverse=True):
        _, x, y, width = place
        clear = min(x, y, frame.width - x, frame.height - y) > 2 * width
        if clear and all(np.hypot(x - c[1], y - c[2]) > width + c[3] for c in chosen):
            chosen.append(place)
        if len(chosen) == FALSE_PER_FRAME:
            break
    boxes = [Detection(x=x, y=y, width_px=1.3 * w, height_px=1.3 * w, score=0.9) for _, x, y, w in chosen]
    return [replace(measure(frame, box, k), wanted=True) for k, box in enumerate(boxes)]


def sheet(kept: Sequence[tuple[Judged, dict]]) -> np.ndarray:
    """Draw crops of some spots: dusty, corrected at first sight and with the map, inpainted, without dust."""
    titles = ("dusty", "first time", "in the map", "inpainted", "without dust")
    rows = []
    for kind in SCENES:
        some = [(shot, ours, spot) for shot, ours in kept if shot.kind == kind for spot in ours["in the map"].spots]
        for depth in (0.1, 0.2, 0.35):
            shot, ours, spot = min(some, key=lambda s: abs(s[0].truth[s[2].id].attenuation - depth))
            some = [s for s in some if s[0] is not shot] or some
            rows.append(_row(shot, ours, spot))
    head = np.full((26, rows[0].shape[1], 3), 255, np.uint8)
    for k, title in enumerate(titles):
        _write(head, title, 8 + k * (CELL_PX * ZOOM + 4), 18)
    return np.concatenate([head, *rows])


def _row(shot: Judged, ours: dict, spot: Spot) -> np.ndarray:
    truth = shot.truth[spot.id]
    rows, cols = _around(shot.frame, truth.x, truth.y, 2.5 * truth.diameter_px + 24)
    hidden = planes_of(_inside(shot, truth, rows, cols, HIDDEN)).any(0)
    painted = shot.frame.raw.copy()
    planes = planes_of((painted[rows, cols] - np.float64(BLACK)) / (WHITE - BLACK))
    filled = mosaic_of(INPAINTERS["Telea"](planes, hidden)) * (WHITE - BLACK) + BLACK
    painted[rows, cols] = np.clip(np.rint(filled), 0, WHITE)
    frames = (shot.frame.raw, ours["first time"].raw, ours["in the map"].raw, painted, shot.clean)
    window = Window(left=round(truth.x) - CELL_PX // 2, top=round(truth.y) - CELL_PX // 2, side_px=CELL_PX)
    light = [linear_rgb(replace(shot.frame, raw=raw), window) for raw in frames]
    bright = 0.6 / max(float(np.percentile(light[-1], 90)), 1e-3)
    cells = [_developed(each * bright) for each in light]
    gap = np.full((CELL_PX * ZOOM, 4, 3), 255, np.uint8)
    strip = np.concatenate([part for cell in cells for part in (cell, gap)], axis=1)
    words = f"{shot.kind}, f/{shot.f_number:g}, {truth.attenuation:.0%} lost"
    foot = np.full((24, strip.shape[1], 3), 255, np.uint8)
    _write(foot, words, 8, 16)
    for k, way in enumerate(ours, start=1):
        before, after = (
            psnr(raw[rows, cols], shot.light[rows, cols], _inside(shot, truth, rows, cols))
            for raw in (shot.frame.raw, ours[way].raw)
        )
        _write(foot, f"{_action(ours[way], spot)}, {after - before:+.1f} dB", 8 + k * (CELL_PX * ZOOM + 4), 16)
    return np.concatenate([strip, foot])


def _inside(shot: Judged, truth: virtual.Shadow, rows: slice, cols: slice, share: float = INSIDE) -> np.ndarray:
    """Tell the samples of a window where a *share* of the spot's depth or more is lost."""
    ys, xs = np.ogrid[rows, cols]
    near = np.hypot(xs - truth.x, ys - truth.y) < 1.3 * truth.diameter_px + 8
    return near & (shot.transmission[rows, cols] < 1 - share * truth.attenuation)


def _developed(light: np.ndarray) -> np.ndarray:
    picture = np.clip(np.clip(light, 0, 1) ** (1 / 2.2) * 255, 0, 255).astype(np.uint8)
    return cv2.resize(picture, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)


def _write(picture: np.ndarray, words: str, x: int, y: int) -> None:
    cv2.putText(picture, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bodies", type=int, default=8, help="each gives three frames of up to 14 spots")
    parser.add_argument("--sheet", help="write the pictures here (.jpg)")
    options = parser.parse_args()
    kept: list[tuple[Judged, dict]] = []
    shots = list(judged_frames(options.bodies))
    false_spots(shots)
    results = judged(shots, kept)
    print_tables(results)
    print_noise(results)
    if options.sheet:
        cv2.imwrite(options.sheet, sheet(kept)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
