"""`dustd evaluate`: judge a detector beside the classical ones; on request, pack it as `models/<id>/` and calibrate it.

Held-out photographs without dust give false positives per megapixel, which is what sensitivity means; the same with
synthetic dust give recall; what is judged are probabilities, score and light together, each photograph's by the others'
calibration; real dusty frames with labels give the recall that nobody tuned for. The output folder holds
`evaluation.json`, `table.md`, `froc.png`, `reliability.png`, `overlays/`, and `cache/`, from which a killed evaluation
goes on.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from dustd import codec
from dustd.detector.detect import Detector, threshold
from dustd.detector.model import RfDetrDetector, load_detector
from dustd.raw.frame import Frame
from dustd.spots.calibration import Calibration
from dustd.spots.spot import Detection
from dustd.train import baseline, in_use, testset
from dustd.train.backgrounds import is_validation
from dustd.train.calibration import DEFAULT_SENSITIVITY, Reliability, measured_from, reliability, thresholds
from dustd.train.figures import draw_froc, draw_overlay, draw_reliability
from dustd.train.froc import Truth, judge, only
from dustd.train.judgement import (
    BASELINE,
    DEEP_SMOOTH,
    MODEL,
    Figures,
    RealFrame,
    Verdicts,
    card_calibration,
    card_figures,
    judge_all,
    reliability_figures,
    strata_masks,
    summarise,
    table,
)
from dustd.train.looking import Looked, by_probability, look, look_as_in_use, measured, possible_in, rescored
from dustd.train.pack import calibrate, pack
from dustd.train.pictures import photo_paths
from dustd.train.realframes import dust_in_photographs, labelled_frames
from dustd.train.tuning import tune_baseline


def run(arguments: argparse.Namespace) -> None:
    """Run `dustd evaluate`."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    photos = photo_paths(arguments.photos)
    paths = [p for p in photos if is_validation(p)][: arguments.frames]
    if arguments.tune_baseline:
        tune_baseline(paths, arguments.out)
        return
    if arguments.pack:
        pack(arguments.pack, Path(arguments.model), [p for p in photos if not is_validation(p)])
    evaluate(load_detector(arguments.model), paths, arguments)


def evaluate(detector: RfDetrDetector, paths: Sequence[Path], arguments: argparse.Namespace) -> None:
    """Judge *detector*, write what was found into `arguments.out`, and its card if it was packed just now."""
    out: Path = arguments.out
    own_dust = dust_in_photographs(arguments.photos)
    looked, least = _look_at(paths, detector, arguments, own_dust)
    reliable = _reliability(looked, least)
    calibration = detector.calibration
    of_others: Sequence[Calibration] = [detector.calibration] * len(looked)
    anew = bool(arguments.pack or arguments.calibrate)
    if anew and reliable:
        calibration, of_others = reliable.calibration, reliable.of_others
    looked = [rescored(seen, other) for seen, other in zip(looked, of_others, strict=True)]
    verdicts = judge_all(looked)
    scores = thresholds(verdicts.clean) if anew else detector.false_positive_scores
    limit = threshold(DEFAULT_SENSITIVITY, scores)
    as_in_use = [
        look_as_in_use(path, detector, other, out / "cache", own_dust.get(path.name, ()))
        for path, other in zip(tqdm(paths, desc="aperture known", unit="frame"), of_others, strict=True)
    ]
    (out / "overlays").mkdir(exist_ok=True)

    def ours(frame: Frame) -> tuple[Detection, ...]:
        return tuple(d for d, _ in by_probability(possible_in(frame, detector, least), calibration))

    real = _judge_real(arguments.dusty, ours, verdicts.baseline_name, out / "overlays", limit)
    figures: Figures = {
        "model": {"id": detector.model_id, "sha256": detector.sha256},
        **summarise(looked, verdicts, limit, real),
        "aperture_known": in_use.summarise(
            as_in_use, [float(testset.draw_lens(path).f_number) for path in paths], limit
        ),
        "reliability": reliable and reliability_figures(reliable),
    }
    (out / "evaluation.json").write_bytes(codec.to_bytes(figures, indent=1))
    page = table(figures) + "\n" + "\n".join(in_use.lines(figures["aperture_known"]))
    (out / "table.md").write_text(page, encoding="utf-8")
    _draw_froc(out / "froc.png", looked, verdicts)
    if reliable:
        draw_reliability(out / "reliability.png", reliable)
    if anew:
        calibrate(detector.folder, card_calibration(scores, reliable), card_figures(figures))
    print(page)
    for path, seen, judged in zip(tqdm(paths, desc="overlays", unit="frame"), looked, verdicts.dusty, strict=True):
        truths = [spot.truth() for spot in seen.spots]
        draw_overlay(out / "overlays" / f"{path.stem}.jpg", testset.draw_twins(path).dusty, judged, truths, limit)


def _look_at(
    paths: Sequence[Path],
    detector: Detector,
    arguments: argparse.Namespace,
    own_dust: Mapping[str, Sequence[Truth]],
) -> tuple[list[Looked], float]:
    """Look at the test set, and measure what scores at least the score that is returned, too."""
    cache = arguments.out / "cache"
    looked = [
        look(path, detector, cache, own_dust.get(path.name, ()))
        for path in tqdm(paths, desc="held-out photographs", unit="frame")
    ]
    anew = arguments.pack or arguments.calibrate
    least = measured_from(judge_all(looked).clean) if anew else detector.calibration.measured_from
    progress = tqdm(paths, desc="measured", unit="frame")
    return [measured(path, seen, least, cache) for path, seen in zip(progress, looked, strict=True)], least


def _judge_real(
    folders: Sequence[Path],
    ours: Callable[[Frame], tuple[Detection, ...]],
    baseline_name: str,
    overlays: Path,
    limit: float,
) -> list[RealFrame]:
    """Judge what *ours* and the classical filter find on real dusty frames, and draw it for scores from *limit* up."""
    real = []
    for folder in folders:
        for name, frame, labels in tqdm(labelled_frames(folder), desc=f"real frames in {folder.name}", unit="frame"):
            megapixels = frame.width * frame.height / 1e6
            judged = judge(ours(frame), labels, megapixels)
            classical = baseline.find(testset.log_luminance(frame), baseline.TUNED[baseline_name])
            real.append(
                RealFrame(name=name, labels=labels, model=judged, baseline=judge(classical, labels, megapixels))
            )
            draw_overlay(overlays / f"{Path(name).stem}.jpg", frame, judged, labels, limit)
    return real


def _draw_froc(path: Path, looked: Sequence[Looked], verdicts: Verdicts) -> None:
    masks = strata_masks(looked)[DEEP_SMOOTH]
    detectors = {MODEL: verdicts.dusty, f"{BASELINE} ({verdicts.baseline_name})": verdicts.baseline}
    smooth = {
        name: [only(j, mask) for j, mask in zip(judged, masks, strict=True)] for name, judged in detectors.items()
    }
    draw_froc(path, {"all spots that count": detectors, DEEP_SMOOTH: smooth})


def _reliability(looked: Sequence[Looked], least: float) -> Reliability | None:
    """Fit the map from scores and light to probabilities; None where there is too little to fit it to."""
    verdicts = judge_all(looked)
    return reliability(
        verdicts.clean,
        verdicts.dusty,
        [_signs(seen.clean, seen.clean_gains) for seen in looked],
        [_signs(seen.dusty, seen.dusty_gains) for seen in looked],
        least=least,
    )


def _signs(detections: Sequence[Detection], gains: Sequence[float]) -> list[tuple[float, float]]:
    return [(gain, each.second_score) for each, gain in zip(detections, gains, strict=True)]
