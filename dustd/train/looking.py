"""Looking at the photographs of the test set, with the model and the classical filters, and remembering the answers."""

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from dustd.detect import Detector, detect
from dustd.spot import Detection
from dustd.train import baseline, testset
from dustd.train.testset import PlacedSpot


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One photograph of the test set and what was found on it: by the model without and with dust (*clean*, *dusty*),
    and by each classical filter with dust."""

    name: str
    megapixels: float
    spots: tuple[PlacedSpot, ...]
    clean: tuple[Detection, ...]
    dusty: tuple[Detection, ...]
    classical: Mapping[str, tuple[Detection, ...]]


def look(path: Path, detector: Detector, cache: Path) -> Looked:
    """Let the model look at a photograph of the test set without and with dust, and the classical filters with dust."""
    cache.mkdir(exist_ok=True)
    twins = testset.draw_twins(path)
    clean, dusty = (hashlib.sha256(frame.raw.tobytes()).hexdigest()[:16] for frame in (twins.clean, twins.dusty))

    def remembered(part: str, key: str, compute: Callable[[], Sequence[Any]]) -> list[list[float]]:
        """Keep what *compute* says (dataclasses of numbers) beside the key of what it was computed from."""
        file = cache / f"{path.stem}.{part}.json"
        if file.exists() and (kept := json.loads(file.read_text()))["key"] == key:
            return kept["rows"]
        rows = [list(astuple(row)) for row in compute()]
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps({"key": key, "rows": rows}))
        temporary.replace(file)
        return rows

    def classical(family: str) -> list[list[float]]:
        key = f"{dusty} {_code(baseline)}"
        return remembered(
            family, key, lambda: baseline.find(testset.log_luminance(twins.dusty), baseline.TUNED[family])
        )

    spot_names = PlacedSpot.__dataclass_fields__
    spots = remembered("spots", f"{clean} {dusty} {_code(testset)}", lambda: testset.measure_spots(twins))
    # A model's card may map its scores, and says so by other thresholds.
    thresholds = sorted(detector.false_positive_scores.items())
    model = hashlib.sha256(f"{detector.sha256} {thresholds}".encode()).hexdigest()[:12]
    found = {
        name: remembered(f"{name}-{model}", digest, lambda frame=frame: detect(frame, detector).detections)
        for name, digest, frame in (("clean", clean, twins.clean), ("dusty", dusty, twins.dusty))
    }
    return Looked(
        name=path.stem,
        megapixels=twins.megapixels,
        spots=tuple(PlacedSpot(**dict(zip(spot_names, row, strict=True))) for row in spots),
        clean=_detections(found["clean"]),
        dusty=_detections(found["dusty"]),
        classical={family: _detections(classical(family)) for family in baseline.TUNED},
    )


def _detections(rows: Sequence[Sequence[float]]) -> tuple[Detection, ...]:
    return tuple(Detection(x=x, y=y, width_px=w, height_px=h, score=s) for x, y, w, h, s in rows)


def _code(module: Any) -> int:
    """Tell one state of a module from another, so that a changed one computes anew."""
    return zlib.crc32(Path(module.__file__).read_bytes())
