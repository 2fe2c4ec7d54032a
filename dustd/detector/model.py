"""The shipped detector: reads `models/<id>/`, loads its network into an engine, keeps it warm, answers for tiles.

Two engines run the same network: OpenVINO on CPUs, from the exported file beside the weights, and torch on CUDA, MPS
or where it is asked for. Only `engines`, `torch_engine`, `network`, `encoding_torch` and `dustd.train` know torch,
only `openvino_engine` and `train.export` know OpenVINO.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dustd.config import ModelSettings
from dustd.detector.encoding import CONTEXT_PX, ENCODING, encode
from dustd.detector.engines import choose_engine
from dustd.errors import DustdError, ModelError, SurroundingsError
from dustd.spots.calibration import Calibration

# Below this a proposal is never dust, whatever else is known: a score of .1, which tokens on rough ground reach.
FLOOR_LOGIT = -2.2
# And of one tile's no more than so many: 760 per megapixel, before merging.
MOST_BOXES = 200
DEFAULT_MODEL = "dust-small"
# So many tiles are handed to an engine at once.
BATCH_TILES = 16
CALIBRATION = ("slope", "second", "light", "intercept", "measured_from")  # keys of `calibration.probability` on a card


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What `model.yaml` says, as far as running the model needs it."""

    folder: Path
    id: str
    weights: Path
    sha256: str
    exported: Path | None
    exported_sha256: str
    encoding: str
    tile_px: int
    max_spot_px: int
    architecture: Mapping[str, Any]
    output: str
    false_positive_scores: Mapping[float, float]
    calibration: Calibration
    preview: bool


def find_model(name: str) -> ModelCard:
    """Read the card of a model: "default", an id below `models/`, or a folder's path.

    Raises ModelError if there is no such model or its card is incomplete.
    """
    if name == "default":
        name = DEFAULT_MODEL
    package = Path(__file__).resolve().parents[1]
    places = [Path(name).expanduser(), package / "models" / name, package.parent / "models" / name]
    folder = next((p for p in places if (p / "model.yaml").is_file()), None)
    if folder is None:
        known = sorted({p.parent.name for base in places[1:] for p in base.parent.glob("*/model.yaml")})
        raise ModelError(
            f"there is no model {name!r}", remedy=f"Set model.id to one of {', '.join(known) or '(none installed)'}"
        )
    try:
        card = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
        probability = card["calibration"].get("probability", {})
        return ModelCard(
            folder=folder,
            id=card["id"],
            weights=folder / card["weights"],
            sha256=card["sha256"],
            exported=folder / card["openvino"]["file"] if "openvino" in card else None,
            exported_sha256=card["openvino"]["sha256"] if "openvino" in card else "",
            encoding=card["encoding"],
            tile_px=card["tile_px"],
            max_spot_px=card["max_spot_px"],
            architecture=card["architecture"],
            output=card.get("output", "proposals"),
            false_positive_scores={
                float(k): float(v) for k, v in card["calibration"]["threshold_by_fp_per_mp"].items()
            },
            calibration=Calibration(**{k: float(probability[k]) for k in CALIBRATION if k in probability}),
            preview=bool(card.get("preview", False)),
        )
    except (KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError, OSError) as exc:
        raise ModelError(
            f"its model.yaml is incomplete ({exc})", remedy="Install dustd again or choose another model", path=folder
        ) from exc


def verify(card: ModelCard) -> None:
    """Check weights and exported network against the card. Raises ModelError if they are missing or changed."""
    files = [(card.weights, card.sha256)]
    if card.exported is not None:
        files.append((card.exported.with_suffix(".bin"), card.exported_sha256))
    for path, sha256 in files:
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as exc:
            raise ModelError(
                f"the weights cannot be read ({exc.strerror})", remedy="Install dustd again", path=path
            ) from exc
        if digest != sha256:
            raise ModelError(
                "the weights are not the ones model.yaml describes", remedy="Install dustd again", path=path
            )


def load_as_set(model: ModelSettings) -> "RfDetrDetector":
    """Load and warm the model that the settings name. Raises ModelError if it cannot be used."""
    return load_detector(
        model.id, engine=model.engine, device=model.device, batch_tiles=model.batch_tiles, threads=model.threads
    )


def load_detector(
    model: str = "default",
    *,
    engine: str = "auto",
    device: str = "auto",
    batch_tiles: int | None = None,
    threads: int | None = None,
) -> "RfDetrDetector":
    """Load a model into an engine ("auto", "openvino" or "torch") on a device and warm it up.

    *threads* is how many of a CPU's cores it may use, by default all. Raises ModelError if model, engine or device
    cannot be used.
    """
    card = find_model(model)
    verify(card)
    if card.encoding != ENCODING:
        raise ModelError(
            f"it was trained on the encoding {card.encoding}, this dustd makes {ENCODING}",
            remedy="Install the dustd version that came with the model",
            path=card.folder,
        )
    name, device = choose_engine(engine, device, card)
    threads = threads or os.cpu_count() or 1
    try:
        network, encode_there = _load_network(card, name, device, threads)
        detector = RfDetrDetector(card, network, encode_there, f"{device} ({name})", batch_tiles or BATCH_TILES)
        detector.warm_up()
    except DustdError:
        raise
    except Exception as exc:  # the libraries have many ways to refuse a shape, a key, a device
        remedy = "Install the dustd version that came with the model, or name another model.engine or model.device"
        problem = f"the model cannot be loaded on {device} ({name}; {type(exc).__name__}: {exc})"
        raise ModelError(problem, remedy=remedy, path=card.folder) from exc
    return detector


def _load_network(
    card: "ModelCard", engine: str, device: str, threads: int
) -> "tuple[Network, Callable[[np.ndarray], np.ndarray]]":
    """Load the network into an engine, and give the encoding that goes with it."""
    if engine == "openvino":
        from dustd.detector import openvino_engine

        return openvino_engine.load_network(card, threads), encode
    from dustd.detector import torch_engine

    return torch_engine.load_network(card, device, threads), torch_engine.make_encoder(device)


# Encoded tiles, n of (C, side, side), to logits (n, k) and boxes (n, k, 4): centre and size, px from the tile's corner.
Network = Callable[[Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray]]


class RfDetrDetector:
    """A loaded model; follows `dustd.detector.detect.Detector`. To be called from one thread; another may encode
    meanwhile."""

    def __init__(
        self,
        card: ModelCard,
        network: Network,
        encode_there: Callable[[np.ndarray], np.ndarray],
        device: str,
        batch_tiles: int,
    ) -> None:
        self.folder = card.folder
        self.model_id = card.id
        self.sha256 = card.sha256
        self.preview = card.preview
        self.device = device
        self.tile_px = card.tile_px
        self.context_px = CONTEXT_PX
        self.max_spot_px = card.max_spot_px
        self.batch_tiles = batch_tiles
        self.false_positive_scores = card.false_positive_scores
        self.calibration = card.calibration
        self._encode = encode_there
        self._network = network

    def warm_up(self) -> None:
        """Look at one tile of nothing, so that the first frame does not pay for allocation and compilation."""
        self([self.encode(np.full((self.tile_px, self.tile_px, 3), 0.2, np.float32))])

    def encode(self, light: np.ndarray) -> np.ndarray:
        """Encode light for the network: `dustd.detector.detect.Detector`. Raise SurroundingsError as a call does."""
        with self._of_the_device():
            return self._encode(light)

    @contextlib.contextmanager
    def _of_the_device(self) -> Iterator[None]:
        """Lay what an engine raises on its device: all tiles are alike, so no frame is to blame."""
        try:
            yield
        except (RuntimeError, MemoryError) as exc:  # out of memory, a driver that was updated, a GPU that fell off
            said = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
            raise SurroundingsError(
                f"the model cannot run on {self.device} ({said})",
                remedy="Free memory there; if that does not help, restart dustd, or choose another model.device",
            ) from exc

    def __call__(self, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Detect in encoded tiles: `dustd.detector.detect.Detector`. Raise SurroundingsError if the device fails."""
        with self._of_the_device():
            logits, boxes = self._network(images)
        return [to_boxes(one, places) for one, places in zip(logits, boxes, strict=True)]


def to_boxes(logits: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Turn one tile's answers, logits (n,) and boxes (n, 4) px as centre and size, into boxes with scores (k, 5).

    Token coordinates count from the tile's corner; detections count pixel centres from zero, half a pixel less.
    """
    keep = logits > FLOOR_LOGIT
    scores = 1 / (1 + np.exp(-logits[keep].astype(np.float32)))
    found = np.concatenate([boxes[keep].astype(np.float32), scores[:, None]], 1)
    found[:, :2] -= 0.5
    return found[np.argsort(-scores, kind="stable")[:MOST_BOXES]]
