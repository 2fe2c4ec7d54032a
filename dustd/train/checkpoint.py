"""What a run folder keeps: `last.pt` with everything to resume from, `best.pt` with the best averaged weights."""

import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dustd.detector.encoding import ENCODING
from dustd.detector.network import Architecture
from dustd.errors import ModelError
from dustd.train import setloss

LAST, BEST = "last.pt", "best.pt"


def new_state(spots: int = 0) -> dict[str, float]:
    """Count from zero: steps, seconds, and the best mean FROC; *spots* have been seen before."""
    return {"step": 0, "elapsed_s": 0.0, "spots": spots, "best": -1.0}


def save_last(
    folder: Path,
    architecture: Architecture,
    model: nn.Module,
    ema: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, float],
    hardness: Tensor,
) -> None:
    """Write everything that `resume` needs."""
    _save(
        folder / LAST,
        architecture,
        {
            "model": model.state_dict(),
            "ema": ema.state_dict(),
            "optimizer": optimizer.state_dict(),
            "state": dict(state),
            "hardness": hardness,
        },
    )


def save_best(folder: Path, architecture: Architecture, ema: nn.Module, state: dict[str, float], output: str) -> None:
    """Write the averaged weights, and which of `network.OUTPUTS` they were judged by."""
    device = str(next(ema.parameters()).device)
    kept = {"ema": ema.state_dict(), "state": dict(state), "output": output, "device": device}
    _save(folder / BEST, architecture, kept)


def resume(
    folder: Path,
    architecture: Architecture,
    device: str,
    model: nn.Module,
    ema: nn.Module,
    optimizer: torch.optim.Optimizer,
    hardness: Tensor,
) -> dict[str, float]:
    """Fill everything in place from `last.pt` and return the state; from nothing, a new one.

    Raises ModelError if the folder belongs to another network or encoding.
    """
    if not (folder / LAST).exists():
        return new_state()
    saved = load(folder / LAST, architecture, device)
    model.load_state_dict(saved["model"])
    ema.load_state_dict(saved["ema"])
    for group in saved["optimizer"]["param_groups"]:
        group["fused"] = True  # runs begun before that was the rule
    optimizer.load_state_dict(saved["optimizer"])
    hardness.copy_(saved.get("hardness", hardness))
    return saved["state"]


def begin_set(
    run: Path, architecture: Architecture, device: str, model: nn.Module, ema: nn.Module, hardness: Tensor
) -> dict[str, float]:
    """Start set prediction from the best averaged weights of the dense stage in the folder *run*.

    Returns a state that counts on from the spots seen there. Raises ModelError if there are no such weights.
    """
    source = next((run / name for name in (BEST, LAST) if (run / name).exists()), None)
    if source is None:
        raise ModelError(
            "it holds no weights to start set prediction from",
            remedy="Train its dense stage first: the same command without --stage set",
            path=run,
        )
    saved = load(source, architecture, device)
    model.load_state_dict(saved["ema"])
    setloss.begin(model)
    ema.load_state_dict(model.state_dict())
    if (run / LAST).exists():
        hardness.copy_(load(run / LAST, architecture, "cpu").get("hardness", hardness))
    dense = saved["state"]
    return {**new_state(dense["spots"]), "dense_steps": dense["step"], "dense_s": dense["elapsed_s"]}


def load(path: Path, architecture: Architecture, device: str) -> dict[str, Any]:
    """Read a checkpoint and check whose it is. Raises ModelError if it cannot be used for *architecture*."""
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, pickle.UnpicklingError) as exc:
        raise ModelError(
            "it cannot be read as a checkpoint", remedy="Delete it, or give --run another folder", path=path
        ) from exc
    # The first runs noted neither; all of them were of the default architecture.
    found = saved.get("architecture", asdict(Architecture()))
    if found != asdict(architecture):
        here = asdict(architecture)
        unlike = ", ".join(f"{k} {found.get(k)} there, {here[k]} here" for k in here if found.get(k) != here[k])
        raise ModelError(
            f"it is a run of another network ({unlike})",
            remedy="Choose the --model it was begun with, or give --run another folder",
            path=path,
        )
    if saved.get("encoding", ENCODING) != ENCODING:
        raise ModelError(
            f"it was trained on the encoding {saved['encoding']}, this dustd makes {ENCODING}",
            remedy="Give --run another folder",
            path=path,
        )
    return saved


def _save(path: Path, architecture: Architecture, data: dict[str, Any]) -> None:
    """Write so that a kill leaves the old file or the new one."""
    temporary = path.with_suffix(".tmp")
    torch.save({**data, "encoding": ENCODING, "architecture": asdict(architecture)}, temporary)
    temporary.replace(path)
