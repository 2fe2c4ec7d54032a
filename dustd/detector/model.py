"""The shipped detector: reads `models/<id>/`, builds RF-DETR, keeps it warm, answers for tiles.

With `dustd.detector.network` and `dustd.detector.encoding` the only modules outside `dustd.train` that know torch.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dustd.detector.tiles import merge
from dustd.errors import ModelError
from dustd.spots.calibration import Calibration
from dustd.spots.spot import Detection

# Below this score a proposal is never dust, whatever else is known.
FLOOR_SCORE = 0.02
DEFAULT_MODEL = "dust-small"
CALIBRATION = ("slope", "light", "intercept", "measured_from")  # keys of `calibration.probability` on a card


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What `model.yaml` says, as far as running the model needs it."""

    folder: Path
    id: str
    weights: Path
    sha256: str
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
    here = Path(__file__).resolve().parents[1]
    places = [Path(name).expanduser(), here / "models" / name, here.parent / "models" / name]
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
    """Check the weights against the card's sha256. Raises ModelError if they are missing or changed."""
    try:
        digest = hashlib.sha256(card.weights.read_bytes()).hexdigest()
    except OSError as exc:
        raise ModelError(
            f"the weights cannot be read ({exc.strerror})", remedy="Install dustd again", path=card.weights
        ) from exc
    if digest != card.sha256:
        raise ModelError(
            "the weights are not the ones model.yaml describes", remedy="Install dustd again", path=card.weights
        )


def choose_device(wanted: str) -> str:
    """Turn "auto" into the best device there is; check that a wanted one exists. Raises ModelError if not."""
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available.get(wanted, False):
        raise ModelError(f"this machine has no {wanted} device for the model", remedy="Set model.device to auto")
    return wanted


def load_detector(
    model: str = "default", *, device: str = "auto", batch_tiles: int | None = None, threads: int | None = None
) -> "RfDetrDetector":
    """Load a model onto a device and warm it up.

    On a CPU *threads* tiles (by default as many as there are cores) are looked at side by side, each by one thread.
    Letting torch share one tile between threads is no faster, and beside another busy program ten times slower
    (3.6 s against 0.37 s a tile on two cores), as its threads spin while they wait for each other. Elsewhere
    *batch_tiles* go through the network at once, by default 16. Raises ModelError if model or device cannot be used.
    """
    card = find_model(model)
    verify(card)

    import torch

    from dustd.detector.encoding import ENCODING
    from dustd.detector.network import OUTPUTS, Architecture, build, is_part, set_crop

    if card.encoding != ENCODING:
        raise ModelError(
            f"it was trained on the encoding {card.encoding}, this dustd makes {ENCODING}",
            remedy="Install the dustd version that came with the model",
            path=card.folder,
        )
    if card.output not in OUTPUTS:
        raise ModelError(
            f"its model.yaml asks for the output {card.output!r}, this dustd knows {', '.join(OUTPUTS)}",
            remedy="Install the dustd version that came with the model",
            path=card.folder,
        )
    device = choose_device(device)
    threads = threads or os.cpu_count() or 1
    if device == "cpu":
        torch.set_num_threads(1)
        batch_tiles = batch_tiles or threads
    shape = {k: tuple(v) if isinstance(v, list) else v for k, v in card.architecture.items()}
    network = build(Architecture(**shape))
    weights = torch.load(card.weights, map_location="cpu", weights_only=True)
    try:
        missing, unexpected = network.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    except RuntimeError:  # torch's, for tensors of another shape
        missing, unexpected = [], ["?"]
    if unexpected or any(is_part(name, card.output) for name in missing):
        raise ModelError("the weights do not fit the network", remedy="Install dustd again", path=card.weights)
    set_crop(network, card.tile_px)
    network.eval().requires_grad_(False).to(device)
    detector = RfDetrDetector(card, network, device, batch_tiles or 16, threads)
    detector.warm_up()
    return detector


class RfDetrDetector:
    """A loaded model; follows `dustd.detector.detect.Detector`. To be called from one thread."""

    def __init__(self, card: ModelCard, network: Any, device: str, batch_tiles: int, threads: int) -> None:
        from dustd.detector.encoding import CONTEXT_PX

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
        self._network = network
        self._side_px = card.tile_px  # what the network is set to
        self._output = card.output
        self._pool = ThreadPoolExecutor(threads) if device == "cpu" and threads > 1 else None

    def warm_up(self) -> None:
        """Run one batch of nothing, so that the first frame does not pay for allocation and compilation."""
        side = self.tile_px + 2 * self.context_px
        self(np.full((self.batch_tiles, side, side, 3), 0.2, np.float32))

    def __call__(self, tiles: np.ndarray) -> Sequence[Sequence[Detection]]:
        """Detect in a batch of tiles; see `dustd.detector.detect.Detector`."""
        from dustd.detector.network import set_crop

        side_px = tiles.shape[1] - 2 * self.context_px
        if side_px != self._side_px:
            set_crop(self._network, side_px)
            self._side_px = side_px
        if self._pool is None:
            return self._detect(tiles)
        return [boxes for answers in self._pool.map(self._detect, tiles[:, None]) for boxes in answers]

    def _detect(self, tiles: np.ndarray) -> Sequence[Sequence[Detection]]:
        import torch

        from dustd.detector.encoding import encode
        from dustd.detector.network import OUTPUTS

        context = self.context_px
        with torch.inference_mode():
            light = torch.from_numpy(tiles).permute(0, 3, 1, 2).to(self.device)
            image = encode(light)[..., context:-context, context:-context].contiguous()
            logits, boxes = OUTPUTS[self._output](self._network, image)
            return [to_detections(logits[i].cpu(), boxes[i].cpu()) for i in range(len(tiles))]


def to_detections(logits: Any, boxes: Any) -> tuple[Detection, ...]:
    """Turn one tile's answers, logits (n,) and boxes (n, 4) px as centre and size, into merged detections.

    Token coordinates count from the tile's corner; detections count pixel centres from zero, half a pixel less.
    """
    scores = logits.sigmoid()
    keep = scores > FLOOR_SCORE
    return merge(
        Detection(x=x - 0.5, y=y - 0.5, width_px=w, height_px=h, score=s)
        for (x, y, w, h), s in zip(boxes[keep].tolist(), scores[keep].tolist(), strict=True)
    )
