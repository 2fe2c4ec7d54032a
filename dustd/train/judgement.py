"""From what detectors found on the test set to figures: headline, strata, bars, and a table that a person reads."""

import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dustd.spots.calibration import SPOTS_PER_MP
from dustd.spots.spot import Detection
from dustd.train import testset
from dustd.train.calibration import (
    DEFAULT_SENSITIVITY,
    MEASURED_FALSE_PER_MP,
    Reliability,
    thresholds_from_others,
)
from dustd.train.froc import (
    FALSE_POSITIVES_PER_MP,
    Judged,
    Truth,
    false_per_mp_above,
    judge,
    mean_froc,
    mean_froc_ratio,
    only,
    recall,
    recall_above,
    recall_at,
    threshold_for,
)
from dustd.train.looking import Looked
from dustd.train.testset import PlacedSpot

ATTENUATION_BANDS = ((0.01, 0.03), (0.03, 0.08), (0.08, 0.20), (0.20, 1.0))
WIDTH_BANDS_PX = ((0, 12), (12, 24), (24, 48), (48, math.inf))
WORKING_FALSE_PER_MP = 0.05
REAL_FALSE_PER_MP = (0.5, 1.0, 2.0, 4.0)
DEEP, DEEP_SMOOTH = "A ≥ 5 %", "A ≥ 5 %, smooth ground"
NEAR_EDGE = f"{DEEP_SMOOTH}, within {testset.NEAR_WIDTHS:g} widths of an edge"
MODEL, BASELINE = "model", "baseline"

Figures = dict[str, Any]  # of an evaluation, as in `evaluation.json`


@dataclass(frozen=True, slots=True, kw_only=True)
class RealFrame:
    """A real dusty frame judged: its *labels*, and model and baseline against them."""

    name: str
    labels: tuple[Truth, ...]
    model: Judged
    baseline: Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """The test set judged, image by image: the model on *clean* and *dusty* frames, the better classical filter, by
    name, and both once more by the stricter reading, sensor noise only."""

    clean: list[Judged]
    dusty: list[Judged]
    baseline_name: str
    classical: dict[str, list[Judged]]
    strict: dict[str, list[Judged]]

    @property
    def baseline(self) -> list[Judged]:
        """The better of the classical filters."""
        return self.classical[self.baseline_name]


def judge_all(looked: Sequence[Looked]) -> Verdicts:
    """Judge every photograph; the classical filter with the larger mean FROC is the baseline."""

    def judged(found: Sequence[tuple[Detection, ...]], *, strict: bool = False) -> list[Judged]:
        return [
            judge(boxes, [s.truth(sensor_noise_only=strict) for s in look.spots], look.megapixels)
            for boxes, look in zip(found, looked, strict=True)
        ]

    found = {family: [look.classical[family] for look in looked] for family in looked[0].classical}
    classical = {family: judged(boxes) for family, boxes in found.items()}
    best = max(classical, key=lambda family: mean_froc(classical[family]).value)
    dusty = [look.dusty for look in looked]
    return Verdicts(
        clean=[judge(look.clean, [], look.megapixels) for look in looked],
        dusty=judged(dusty),
        baseline_name=best,
        classical=classical,
        strict={MODEL: judged(dusty, strict=True), BASELINE: judged(found[best], strict=True)},
    )


def summarise(looked: Sequence[Looked], verdicts: Verdicts, threshold: float, real: Sequence[RealFrame]) -> Figures:
    """Put all figures of an evaluation together; *threshold* is the score at the default sensitivity."""
    strata = {
        name: _both(
            *(
                [only(j, mask) for j, mask in zip(side, masks, strict=True)]
                for side in (verdicts.dusty, verdicts.baseline)
            )
        )
        for name, masks in strata_masks(looked).items()
    }
    figures: Figures = {
        "test_set": _about_test_set(looked, verdicts),
        "all": _both(verdicts.dusty, verdicts.baseline),
        "ratio": asdict(mean_froc_ratio(verdicts.dusty, verdicts.baseline)),
        "baseline": {
            "chosen": verdicts.baseline_name,
            "mean_froc": {family: asdict(mean_froc(judged)) for family, judged in verdicts.classical.items()},
        },
        "froc": {
            name: {rate: asdict(recall_at(judged, rate)) for rate in FALSE_POSITIVES_PER_MP}
            for name, judged in ((MODEL, verdicts.dusty), (BASELINE, verdicts.baseline))
        },
        "strata": strata,
        "sensor_noise_only": {
            **_both(verdicts.strict[MODEL], verdicts.strict[BASELINE]),
            "ratio": asdict(mean_froc_ratio(verdicts.strict[MODEL], verdicts.strict[BASELINE])),
        },
        "default_sensitivity": {
            "threshold": threshold,
            "recall": asdict(recall_above(verdicts.dusty, threshold)),
            "false_per_mp_without_dust": asdict(false_per_mp_above(verdicts.clean, [threshold] * len(looked))),
            "false_per_mp_without_dust_at_thresholds_from_the_other_frames": asdict(
                false_per_mp_above(verdicts.clean, thresholds_from_others(verdicts.clean))
            ),
        },
        "real_frames": {frame.name: _real(frame, threshold) for frame in real},
    }
    figures["bars"] = _bars(figures)
    return figures


def _about_test_set(looked: Sequence[Looked], verdicts: Verdicts) -> dict[str, Any]:
    spots = [spot for look in looked for spot in look.spots]
    return {
        "photographs": [look.name for look in looked],
        "megapixels": round(sum(look.megapixels for look in looked), 1),
        "spots": len(spots),
        "spots_that_count": counted(verdicts.dusty),
        "spots_that_count_by_sensor_noise_only": counted(verdicts.strict[MODEL]),
        "fingerprint": hashlib.sha256(repr([s.numbers for s in spots]).encode()).hexdigest()[:16],
        "counts_if": f"A >= {testset.LEAST_ATTENUATION:g} and local SNR >= {testset.LEAST_SNR:g}",
        "smooth_if": f"scene varies < {testset.SMOOTH_BELOW:g} of light in the band of "
        f"{testset.TEXTURE_BAND_PX[0]:g} to {testset.TEXTURE_BAND_PX[1]:g} px",
        "edge_if": f"light changes by {testset.EDGE_STEP:g} (ln) over {testset.EDGE_PX} px",
    }


def strata_masks(looked: Sequence[Looked]) -> dict[str, list[np.ndarray]]:
    """Say for each stratum which spots of each photograph are in it."""

    def where(chosen: Callable[[PlacedSpot], bool]) -> list[np.ndarray]:
        return [np.array([chosen(spot) for spot in look.spots], bool) for look in looked]

    strata = {
        DEEP_SMOOTH: where(lambda s: s.attenuation >= 0.05 and s.smooth),
        NEAR_EDGE: where(lambda s: s.attenuation >= 0.05 and s.smooth and s.near_edge),
        DEEP: where(lambda s: s.attenuation >= 0.05),
    }
    strata |= {"smooth ground": where(lambda s: s.smooth), "textured ground": where(lambda s: not s.smooth)}
    for low, high in ATTENUATION_BANDS:
        strata[f"A {low:.0%} to {high:.0%}"] = where(functools.partial(_within, "attenuation", low, high))
    for low, high in WIDTH_BANDS_PX:
        strata[f"width {low} to {high} px"] = where(functools.partial(_within, "diameter_px", low, high))
    return strata


def _within(field: str, low: float, high: float, spot: PlacedSpot) -> bool:
    return bool(low <= getattr(spot, field) < high)


def card_calibration(scores: Mapping[float, float], measured: Reliability | None) -> dict[str, Any]:
    """Lay out `calibration` of `model.yaml`: thresholds of probabilities, and how scores and light become these."""
    calibration: dict[str, Any] = {
        "measured_on": "held-out photographs without dust, whole frames",
        "threshold_by_fp_per_mp": dict(scores),
    }
    if measured is not None:
        calibration["probability"] = reliability_figures(measured)
    return calibration


def reliability_figures(measured: Reliability) -> dict[str, Any]:
    """Lay out the map from scores and gains to probabilities, and what it is worth."""
    return {
        "map": "sigmoid(slope * logit(score) + second * logit(second score) + light * ln(1 + gain) + intercept)",
        **{name: round(value, 4) for name, value in asdict(measured.calibration).items()},
        "spots_per_mp": SPOTS_PER_MP,
        "detections": f"scores up to {MEASURED_FALSE_PER_MP:g} false positives per megapixel",
        "expected_calibration_error_before": round(measured.error_before, 4),
        "expected_calibration_error_after": round(measured.error_after, 4),
    }


def card_figures(figures: Figures) -> dict[str, Any]:
    """Pick what `model.yaml` says of an evaluation; the whole is in `evaluation.json`."""

    def short(interval: dict[str, float]) -> list[float]:
        return [round(interval[key], 3) for key in ("value", "low", "high")]

    strata = {"all": figures["all"], **figures["strata"]}
    return {
        "test_set": {k: figures["test_set"][k] for k in ("megapixels", "spots_that_count", "fingerprint")},
        "reached_all_bars": all(bar["reached"] for bar in figures["bars"]),
        "value_and_95_percent_interval": True,
        "mean_froc": short(figures["all"][MODEL]["mean_froc"]),
        "baseline_mean_froc": short(figures["all"][BASELINE]["mean_froc"]),
        "mean_froc_over_baseline": short(figures["ratio"]),
        "recall_by_fp_per_mp": {rate: short(interval) for rate, interval in figures["froc"][MODEL].items()},
        "recall_at_0.05_fp_per_mp": {name: short(stratum[MODEL]["recall"]) for name, stratum in strata.items()},
        "real_frames": {
            name: {"labels": frame["labels"], "recall_by_fp_per_mp": frame["recall"][MODEL]}
            for name, frame in figures["real_frames"].items()
        },
    }


def table(figures: Mapping[str, Any]) -> str:
    """Lay the figures out as Markdown."""
    ratio = figures["ratio"]
    lines = [
        *_heading(figures),
        "## Bars",
        "",
        "| wanted | measured | reached |",
        "|---|---|---|",
        *(f"| {bar['wanted']} | {bar['measured']} | {'yes' if bar['reached'] else 'no'} |" for bar in figures["bars"]),
        "",
        "## FROC",
        "",
        "| false positives per megapixel | model | baseline |",
        "|---|---|---|",
        *(
            f"| {rate} | {text(figures['froc'][MODEL][rate])} | {text(figures['froc'][BASELINE][rate])} |"
            for rate in FALSE_POSITIVES_PER_MP
        ),
        f"| mean | {text(figures['all'][MODEL]['mean_froc'])} | {text(figures['all'][BASELINE]['mean_froc'])} |",
        "",
        f"Model over baseline, paired: {text(ratio)}. Filters: "
        + ", ".join(f"{family} {text(value)}" for family, value in figures["baseline"]["mean_froc"].items())
        + ".",
        "",
        "## Strata",
        "",
        f"R: recall at {WORKING_FALSE_PER_MP:g} false positives per megapixel; F: mean FROC.",
        "",
        "| spots | count | R model | R baseline | F model | F baseline |",
        "|---|---|---|---|---|---|",
        *(_stratum_row(name, stratum) for name, stratum in {"all": figures["all"], **figures["strata"]}.items()),
        _stratum_row("all, hidden by sensor noise only", figures["sensor_noise_only"]),
        "",
        "The last row is the stricter reading: dust that only texture hides counts, too "
        f"(model over baseline {text(figures['sensor_noise_only']['ratio'])}).",
        "",
        *_default_lines(figures["default_sensitivity"]),
        "",
        *_real_lines(figures["real_frames"]),
        *_probability_lines(figures["reliability"]),
    ]
    return "\n".join(lines) + "\n"


def _heading(figures: Mapping[str, Any]) -> list[str]:
    about = figures["test_set"]
    return [
        f"# {figures['model']['id']} ({figures['model']['sha256'][:12]})",
        "",
        f"{len(about['photographs'])} held-out photographs, {about['megapixels']} megapixels, {about['spots']} "
        f"synthetic spots, of which {about['spots_that_count']} count ({about['counts_if']}). In brackets: 95 % "
        f"bootstrap intervals over the photographs. Smooth ground: {about['smooth_if']}.",
        "",
        f"The baseline is the better of two classical filters ({figures['baseline']['chosen']}), tuned on this very "
        "set.",
        "",
    ]


def _both(model: list[Judged], baseline: list[Judged]) -> dict[str, Any]:
    return {
        "spots": counted(model),
        **{
            name: {
                "mean_froc": asdict(mean_froc(judged)),
                "recall": asdict(recall_at(judged, WORKING_FALSE_PER_MP)),
            }
            for name, judged in ((MODEL, model), (BASELINE, baseline))
        },
    }


def counted(judged: Sequence[Judged]) -> int:
    """Count the spots that count."""
    return int(sum(j.counts.sum() for j in judged))


def _real(frame: RealFrame, threshold: float) -> dict[str, Any]:
    """Recall against the frame's own false positives; unlabelled dust counts as false, as nobody can tell."""

    def by_rate(judged: Judged) -> dict[float, float]:
        return {rate: recall([judged], threshold_for([judged], rate)) for rate in REAL_FALSE_PER_MP}

    return {
        "labels": len(frame.labels),
        "megapixels": round(frame.model.megapixels, 2),
        "recall": {MODEL: by_rate(frame.model), BASELINE: by_rate(frame.baseline)},
        "recall_at_default_sensitivity": recall([frame.model], threshold),
        "false_positives_at_default_sensitivity": int((frame.model.false >= threshold).sum()),
    }


def _bars(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Hold the figures against what the shipped default must reach; a model that does not is marked as a preview."""
    deep_smooth, near_edge, deep = (figures["strata"][name][MODEL]["recall"] for name in (DEEP_SMOOTH, NEAR_EDGE, DEEP))
    false = figures["default_sensitivity"]["false_per_mp_without_dust_at_thresholds_from_the_other_frames"]
    rows = [
        ("mean FROC at least 2 times the baseline's", text(figures["ratio"]), figures["ratio"]["value"] >= 2),
        (f"recall at 0.05 FP/MP ≥ 0.90 for {DEEP_SMOOTH}", text(deep_smooth), deep_smooth["value"] >= 0.9),
        (f"recall at 0.05 FP/MP ≥ 0.85 for {NEAR_EDGE}", text(near_edge), near_edge["value"] >= 0.85),
        (f"recall at 0.05 FP/MP ≥ 0.60 for {DEEP}", text(deep), deep["value"] >= 0.6),
        (
            f"less than one false positive per 12 MP without dust at sensitivity {DEFAULT_SENSITIVITY:g}",
            f"{12 * false['value']:.2f} [{12 * false['low']:.2f}, {12 * false['high']:.2f}]",
            false["value"] < 1 / 12,
        ),
    ]
    for name, frame in figures["real_frames"].items():
        found = frame["recall"][MODEL][2.0]
        rows.append((f"{name}: recall at 2 FP/MP ≥ 0.80", f"{found:.2f}", found >= 0.8))
    return [{"wanted": wanted, "measured": measured, "reached": bool(reached)} for wanted, measured, reached in rows]


def _stratum_row(name: str, stratum: Mapping[str, Any]) -> str:
    cells = [text(stratum[side][figure]) for figure in ("recall", "mean_froc") for side in (MODEL, BASELINE)]
    return f"| {name} | {stratum['spots']} | " + " | ".join(cells) + " |"


def _default_lines(default: Mapping[str, Any]) -> list[str]:
    own = default["false_per_mp_without_dust"]
    left_out = default["false_per_mp_without_dust_at_thresholds_from_the_other_frames"]
    return [
        "## At the default sensitivity",
        "",
        f"Score threshold {default['threshold']:.3f}: recall {text(default['recall'])}; false positives per megapixel "
        f"on the same photographs without dust {text(own, 3)}, and {text(left_out, 3)} if each photograph is judged "
        "at the threshold measured on the others.",
    ]


def _real_lines(frames: Mapping[str, Any]) -> list[str]:
    if not frames:
        return []
    lines = [
        "## Real dusty frames",
        "",
        "Recall at false positives per megapixel of the frame itself, model / baseline; dust that the labels lack "
        "counts as false.",
        "",
        "| frame | labels | " + " | ".join(f"{rate:g}" for rate in REAL_FALSE_PER_MP) + " | default sensitivity |",
        "|---|---|" + "---|" * (len(REAL_FALSE_PER_MP) + 1),
    ]
    for name, frame in frames.items():
        cells = [f"{frame['recall'][MODEL][r]:.2f} / {frame['recall'][BASELINE][r]:.2f}" for r in REAL_FALSE_PER_MP]
        at_default = (
            f"{frame['recall_at_default_sensitivity']:.2f}, {frame['false_positives_at_default_sensitivity']} false"
        )
        lines.append(f"| {name} | {frame['labels']} | " + " | ".join([*cells, at_default]) + " |")
    return [*lines, ""]


def _probability_lines(measured: Mapping[str, Any] | None) -> list[str]:
    if measured is None:
        return ["Too few hits or false positives to say how far scores are probabilities."]
    return [
        "## Scores as probabilities",
        "",
        f"At {measured['spots_per_mp']:g} visible spots per megapixel, for {measured['detections']}: expected "
        f"calibration error {measured['expected_calibration_error_before']:.3f} as they are, "
        f"{measured['expected_calibration_error_after']:.3f} mapped by {measured['map']} with slope "
        f"{measured['slope']:.2f}, second {measured['second']:.2f}, light {measured['light']:.2f} and intercept "
        f"{measured['intercept']:.2f} (each photograph by a fit to the others).",
    ]


def text(interval: Mapping[str, float], digits: int = 2) -> str:
    """Say a value with its interval."""
    if math.isnan(interval["value"]):
        return "–"
    value, low, high = (f"{interval[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
