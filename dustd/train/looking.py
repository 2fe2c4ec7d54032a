"""Looking at the photographs of the test set, with the model and the classical filters, and remembering the answers.

What the model finds is then measured in the light, as the pipeline does, and both together make a probability.
`look_as_in_use` is for frames whose files name the aperture.
"""

import functools
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dustd.detector import detect as detecting
from dustd.detector.detect import Detector
from dustd.raw.frame import Frame
from dustd.spots import measure, optics, physics, surroundings
from dustd.spots.calibration import Calibration
from dustd.spots.candidates import candidate_in
from dustd.spots.spot import Detection
from dustd.train import baseline, testset
from dustd.train.froc import Truth
from dustd.train.testset import PlacedSpot


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One photograph of the test set and what was found on it: by the model without and with dust (*clean*, *dusty*),
    and by each classical filter with dust.

    The gains say what the light adds to each of the model's detections (`Shadow.gain`), once they are measured.
    """

    name: str
    megapixels: float
    spots: tuple[PlacedSpot, ...]
    clean: tuple[Detection, ...]
    dusty: tuple[Detection, ...]
    classical: Mapping[str, tuple[Detection, ...]]
    clean_gains: tuple[float, ...] = ()
    dusty_gains: tuple[float, ...] = ()


def look(path: Path, detector: Detector, cache: Path, own_dust: Sequence[Truth] = ()) -> Looked:
    """Let the model look at a photograph of the test set without and with dust, and the classical filters with dust.

    What anyone finds on the photograph's *own_dust* is dropped: it is no mistake, and nobody is asked for it.
    """
    cache.mkdir(exist_ok=True)
    twins = testset.draw_twins(path)
    clean, dusty = (_fingerprint(frame) for frame in (twins.clean, twins.dusty))

    def remembered(part: str, key: str, compute: Callable[[], Sequence[Any]]) -> list[list[float]]:
        """Remember dataclasses of numbers."""
        return _remembered(cache / f"{path.stem}.{part}.json", key, lambda: [list(astuple(row)) for row in compute()])

    def classical(family: str) -> list[list[float]]:
        key = f"{dusty} {_code(baseline)}"
        return remembered(
            family, key, lambda: baseline.find(testset.log_luminance(twins.dusty), baseline.TUNED[family])
        )

    spots = _remembered(
        cache / f"{path.stem}.spots.json",
        f"{clean} {dusty} {_code(testset)}",
        lambda: [list(spot.numbers.values()) for spot in testset.measure_spots(twins)],
    )
    found = {
        name: remembered(
            f"{name}-{detector.sha256[:12]}",
            f"{digest} {_code(detecting)}",
            functools.partial(_detected, frame, detector),
        )
        for name, digest, frame in (("clean", clean, twins.clean), ("dusty", dusty, twins.dusty))
    }
    return Looked(
        name=path.stem,
        megapixels=twins.megapixels,
        spots=tuple(_with_numbers(placed, row) for placed, row in zip(twins.spots, spots, strict=True)),
        clean=_apart(_detections(found["clean"]), own_dust),
        dusty=_apart(_detections(found["dusty"]), own_dust),
        classical={family: _apart(_detections(classical(family)), own_dust) for family in baseline.TUNED},
    )


def _with_numbers(spot: PlacedSpot, numbers: Sequence[Any]) -> PlacedSpot:
    return replace(spot, **dict(zip(spot.numbers, numbers, strict=True)))


def measured(path: Path, seen: Looked, least_score: float, cache: Path) -> Looked:
    """Measure the model's detections on a photograph that score at least *least_score*; the others are dropped."""
    clean = tuple(d for d in seen.clean if d.score >= least_score)
    dusty = tuple(d for d in seen.dusty if d.score >= least_score)
    twins = testset.draw_twins(path)

    def gains(frame: Frame, detections: Sequence[Detection]) -> list[list[float]]:
        code = f"{_code(measure)} {_code(surroundings)}"
        key = f"{_fingerprint(frame)} {code} {hashlib.sha256(repr(detections).encode()).hexdigest()[:16]}"
        name = "clean" if frame is twins.clean else "dusty"
        return _remembered(
            cache / f"{path.stem}.{name}-gains.json",
            key,
            lambda: [[measure.shadow_in(frame, d)[0].gain] for d in detections],
        )

    return replace(
        seen,
        clean=clean,
        dusty=dusty,
        clean_gains=tuple(gain for (gain,) in gains(twins.clean, clean)),
        dusty_gains=tuple(gain for (gain,) in gains(twins.dusty, dusty)),
    )


def rescored(seen: Looked, calibration: Calibration) -> Looked:
    """Put probabilities in the place of the model's scores."""

    clean = by_probability(zip(seen.clean, seen.clean_gains, strict=True), calibration)
    dusty = by_probability(zip(seen.dusty, seen.dusty_gains, strict=True), calibration)
    return replace(
        seen,
        clean=tuple(d for d, _ in clean),
        clean_gains=tuple(gain for _, gain in clean),
        dusty=tuple(d for d, _ in dusty),
        dusty_gains=tuple(gain for _, gain in dusty),
    )


def look_as_in_use(
    path: Path, detector: Detector, calibration: Calibration, cache: Path, own_dust: Sequence[Truth] = ()
) -> Looked:
    """Look at a photograph whose dust one lens made and whose file names the aperture; scores are probabilities.

    The file in *cache* remembers what was found and how the light was measured, not the *calibration*. See `look`.
    """
    twins = testset.draw_twins(path, testset.draw_lens(path))
    code = " ".join(str(_code(module)) for module in (detecting, measure, surroundings, optics, physics))

    def possible(name: str, frame: Frame) -> tuple[Detection, ...]:
        rows = _remembered(
            cache / f"{path.stem}.{name}-in-use-{detector.sha256[:12]}.json",
            f"{_fingerprint(frame)} {code} {calibration.measured_from}",
            lambda: [[*astuple(d), gain] for d, gain in possible_in(frame, detector, calibration.measured_from)],
        )
        found = zip(_detections([row[:-1] for row in rows]), (row[-1] for row in rows), strict=True)
        return _apart(tuple(d for d, _ in by_probability(found, calibration)), own_dust)

    return Looked(
        name=path.stem,
        megapixels=twins.megapixels,
        spots=testset.measure_spots(twins),
        clean=possible("clean", twins.clean),
        dusty=possible("dusty", twins.dusty),
        classical={},
    )


def possible_in(frame: Frame, detector: Detector, least_score: float) -> list[tuple[Detection, float]]:
    """Find what may be dust in a frame as the pipeline does: at the aperture's scales, measured from *least_score*
    on, without what no shadow can be at that aperture. Return detections and the gains of the light."""
    camera = frame.camera
    known = camera.f_number, camera.pixel_pitch_um, max(frame.width, frame.height)
    narrowest_px = optics.narrowest_px(*known)
    found = detecting.detect(frame, detector, typical_px=optics.typical_px(*known)).detections
    measured_ones = ((d, candidate_in(frame, d)) for d in found if d.score >= least_score)
    return [
        (d, candidate.gain)
        for d, candidate in measured_ones
        if physics.impossible(candidate, frame, narrowest_px) is None
    ]


def by_probability(found: Iterable[tuple[Detection, float]], calibration: Calibration) -> list[tuple[Detection, float]]:
    """Put probabilities in the place of the scores of detections *found* with the gains of the light, best first."""
    surer = [(replace(d, score=calibration.probability(d.score, gain, d.second_score)), gain) for d, gain in found]
    return sorted(surer, key=lambda pair: -pair[0].score)


def _remembered(file: Path, key: str, compute: Callable[[], list[list[float]]]) -> list[list[float]]:
    """Keep the rows that *compute* gives beside the *key* of what they were computed from."""
    if file.exists() and (kept := json.loads(file.read_text()))["key"] == key:
        return kept["rows"]
    rows = json.loads(json.dumps(compute()))  # the same numbers whether remembered or not
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps({"key": key, "rows": rows}))
    temporary.replace(file)
    return rows


def _detected(frame: Frame, detector: Detector) -> tuple[Detection, ...]:
    return detecting.detect(frame, detector).detections


def _fingerprint(frame: Frame) -> str:
    return hashlib.sha256(frame.raw.tobytes()).hexdigest()[:16]


def _detections(rows: Sequence[Sequence[float]]) -> tuple[Detection, ...]:
    return tuple(Detection(**dict(zip(Detection.__dataclass_fields__, row, strict=True))) for row in rows)


def _apart(detections: tuple[Detection, ...], own_dust: Sequence[Truth]) -> tuple[Detection, ...]:
    """Leave out detections within reach of *own_dust* (`froc.judge`)."""
    return tuple(
        d for d in detections if all(np.hypot(d.x - t.x, d.y - t.y) > max(t.diameter_px / 2, 4.0) for t in own_dust)
    )


def _code(module: Any) -> int:
    """Tell one state of a module from another, so that a changed one computes anew."""
    return zlib.crc32(Path(module.__file__).read_bytes())
