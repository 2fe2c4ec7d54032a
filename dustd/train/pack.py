"""Packing a training run as `models/<id>/`: averaged weights as float16, the network exported for OpenVINO, and
`model.yaml`, which says what they are.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from dustd.detector.network import TILE_PX, Architecture, architecture_of, build, is_part
from dustd.train.backgrounds import Backgrounds
from dustd.train.calibration import CALIBRATED_RATES
from dustd.train.checkpoint import BEST
from dustd.train.data import draw_batch
from dustd.train.export import EXPORTED, export

CARD = "model.yaml"
MAX_SPOT_PX = 80
TILES, PHOTOS, SEED = 64, 25, 7  # that the exported network's number ranges are taken from
UNCALIBRATED: dict[str, Any] = {"threshold_by_fp_per_mp": dict.fromkeys(CALIBRATED_RATES, 0.5)}


def pack(run: Path, folder: Path, photos: Sequence[Path]) -> None:
    """Write the run's best averaged weights into a model folder as float16, with a card still to be calibrated.

    The exported network's number ranges are taken from crops of *photos*, with dust on them, as in training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    best = _best(run)
    weights = {k: v.half() for k, v in best["ema"].items() if is_part(k, best["output"])}
    torch.save(weights, folder / "weights.pt")
    if best["output"] == "proposals":
        architecture = architecture_of(best["architecture"])
        network = build(architecture)
        network.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
        export(network, architecture, _tiles(photos), folder)
    _write_card(run, folder)


def _tiles(photos: Sequence[Path]) -> np.ndarray:
    """Draw encoded tiles, (TILES, channels, TILE_PX, TILE_PX) float16 to save memory."""
    backgrounds = Backgrounds(photos[:: max(1, len(photos) // PHOTOS)])
    generator = torch.Generator().manual_seed(SEED)
    rows = [draw_batch(backgrounds, 4, TILE_PX, generator).image.half().numpy() for _ in range(TILES // 4)]
    return np.concatenate(rows)


def calibrate(folder: Path, calibration: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Write what was measured of a packed model into its card."""
    card = yaml.safe_load((folder / CARD).read_text(encoding="utf-8"))
    card |= {
        "preview": not figures.get("reached_all_bars", False),
        "calibration": dict(calibration),
        "figures": dict(figures),
    }
    (folder / CARD).write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")


def _write_card(run: Path, folder: Path) -> None:
    """Write `model.yaml`: identity, shape and provenance, calibration and figures still to be measured."""
    best = _best(run)
    state = best["state"]
    card = {
        "id": folder.resolve().name,
        "preview": True,
        "weights": "weights.pt",
        "sha256": hashlib.sha256((folder / "weights.pt").read_bytes()).hexdigest(),
        **_exported(folder),
        "licence": "Apache-2.0",
        "encoding": best["encoding"],
        "tile_px": TILE_PX,
        "max_spot_px": MAX_SPOT_PX,
        "architecture": {k: list(v) if isinstance(v, tuple) else v for k, v in best["architecture"].items()},
        "output": best["output"],
        "training": {
            "from": state.get("from", "random weights"),
            "data": "synthetic dust over photographs and procedural fields, drawn on the fly (dustd.train)",
            "spots_seen": state["spots"],
            "steps": state["step"] + state.get("dense_steps", 0),
            "hours": round((state["elapsed_s"] + state.get("dense_s", 0.0)) / 3600, 2),
            "device": best.get("device", "cpu"),  # the first runs did not note it
            "best_mean_froc_on_validation_crops": round(state["best"], 4),
        },
        "calibration": UNCALIBRATED,
        "figures": {},
    }
    (folder / CARD).write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")


def _exported(folder: Path) -> dict[str, Any]:
    """Say which exported network lies beside the weights, if one does."""
    path = folder / EXPORTED
    if not path.exists():
        return {}
    return {"openvino": {"file": EXPORTED, "sha256": hashlib.sha256(path.with_suffix(".bin").read_bytes()).hexdigest()}}


def _best(run: Path) -> dict[str, Any]:
    """Read a run's best checkpoint; the first runs noted neither shape nor output, which were these."""
    best = torch.load(run / BEST, map_location="cpu", weights_only=True)
    return {"architecture": dataclasses.asdict(Architecture()), "output": "proposals", **best}
