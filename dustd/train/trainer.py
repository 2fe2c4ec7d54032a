"""`dustd train`: teach RF-DETR to see dust, from random weights, resumable, on whatever device there is.

The schedule is a share of the time given (`--hours`), not of a step count, as training time is what a machine has.
A run folder holds `last.pt` (everything to resume), `best.pt` (EMA weights best by mean FROC on held-out
photographs), `log.csv` and `curves.png`.
"""

import argparse
import copy
import csv
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from dustd.encoding import ENCODING
from dustd.model import to_detections
from dustd.network import Architecture, build, is_proposal_part, proposals, set_crop
from dustd.train.backgrounds import Backgrounds, is_validation, photo_paths
from dustd.train.data import Batch, Crops, draw_batch
from dustd.train.dense import dense_loss
from dustd.train.froc import Judged, Truth, froc, judge, recall, threshold_for
from dustd.train.mining import new_hardness, note

EMA_DECAY = 0.998
WARMUP_STEPS = 200
LOSS_WEIGHTS = {"focal": 1.0, "giou": 0.5, "l1": 0.5}
VALIDATION_SEED = 20_261_123
CHECKPOINT_STEPS = 200


def main(argv: list[str]) -> int:
    """Run `dustd train`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="dustd train", description="Train a detector from scratch.")
    parser.add_argument("--photos", type=Path, required=True, help="folder of dust-free photographs (backgrounds)")
    parser.add_argument("--run", type=Path, default=Path("runs/dust-small"), help="folder for checkpoints and curves")
    parser.add_argument("--hours", type=float, default=2.0, help="training time; the learning rate ends at zero then")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=256, help="crop side, px: 256 on a CPU, 512 on a GPU")
    parser.add_argument("--rate", type=float, default=4e-4, help="peak learning rate")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=None, help="stop after so many steps even if time is left")
    parser.add_argument("--validation-crops", type=int, default=240)
    parser.add_argument("--evaluate-every", type=float, default=12.0, metavar="MINUTES")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network: 90 s at first, then faster")
    arguments = parser.parse_args(argv)
    train(arguments)
    return 0


def train(options: argparse.Namespace) -> None:
    """Train until the time is used up; killing and starting again continues."""
    options.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    paths = photo_paths(options.photos)
    held_out = [p for p in paths if is_validation(p)]
    validation = validation_set(held_out, crops=options.validation_crops)
    architecture = Architecture()
    model = build(architecture).to(options.device)
    set_crop(model, options.crop)
    trained = [p for name, p in model.named_parameters() if is_proposal_part(name)]
    optimizer = torch.optim.AdamW(trained, lr=options.rate, weight_decay=0.02, betas=(0.9, 0.98))
    state = {"step": 0, "elapsed_s": 0.0, "spots": 0, "best": -1.0}
    ema = copy.deepcopy(model).eval()
    hardness = new_hardness()
    last = options.run / "last.pt"
    if last.exists():
        saved = torch.load(last, map_location=options.device, weights_only=True)
        model.load_state_dict(saved["model"])
        ema.load_state_dict(saved["ema"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
        hardness.copy_(saved.get("hardness", hardness))
    crops = Crops(
        [p for p in paths if not is_validation(p)],
        batch=options.batch,
        crop_px=options.crop,
        seed=options.seed * 1000 + state["step"],
        hardness=hardness,
    )
    loader = torch.utils.data.DataLoader(
        crops, batch_size=None, num_workers=options.workers, prefetch_factor=4 if options.workers else None
    )
    budget_s = options.hours * 3600
    see = torch.compile(proposals) if options.compile else proposals
    begun = time.monotonic() - state["elapsed_s"]
    evaluated = state["elapsed_s"]
    sums: dict[str, float] = {}
    seen = 0
    for batch in loader:
        state["elapsed_s"] = time.monotonic() - begun
        rate = options.rate * schedule(state["step"], state["elapsed_s"] / budget_s)
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        losses = step(model, see, optimizer, batch, options.device, hardness)
        update_ema(ema, model, state["step"])
        state["step"] += 1
        state["spots"] += sum(len(b) for b in batch.boxes)
        seen += 1
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value
        if state["step"] % 50 == 0:
            means = {name: total / seen for name, total in sums.items()}
            print(
                f"{state['elapsed_s'] / 60:6.1f} min  step {state['step']:6d}  spots {state['spots']:7d}  "
                + "  ".join(f"{name} {value:.4f}" for name, value in means.items()),
                flush=True,
            )
        done = state["elapsed_s"] >= budget_s or state["step"] == options.steps
        if done or state["elapsed_s"] - evaluated >= options.evaluate_every * 60:
            evaluated = state["elapsed_s"]
            row = {name: total / seen for name, total in sums.items()}
            sums, seen = {}, 0
            row |= evaluate(ema, validation, options.device)
            log_row(options.run / "log.csv", {**state, "rate": rate, **row})
            draw_curves(options.run)
            print("  validation  " + "  ".join(f"{k} {v:.3f}" for k, v in row.items()), flush=True)
            if row["mean_froc"] > state["best"]:
                state["best"] = row["mean_froc"]
                save(options.run / "best.pt", {"ema": ema.state_dict(), "state": dict(state), "encoding": ENCODING})
        if done or state["step"] % CHECKPOINT_STEPS == 0:
            save(
                last,
                {
                    "model": model.state_dict(),
                    "ema": ema.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "state": dict(state),
                    "hardness": hardness,
                },
            )
        if done:
            break


def schedule(step: int, progress: float) -> float:
    """Learning rate as a share of the peak: linear warm-up over 200 steps, then cosine to zero with *progress*."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def step(
    model: nn.Module,
    see: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    device: str,
    hardness: Tensor,
) -> dict[str, float]:
    """Take one optimiser step, *see* being `proposals`, compiled or not; return the losses.

    Notes in *hardness* what fooled the network.
    """
    image = batch.image.to(device).float()
    logits, boxes = see(model, image)
    losses, labels = dense_loss(logits, boxes, batch.boxes, batch.visible)
    note(hardness, batch.cells, logits, labels)
    total = sum(LOSS_WEIGHTS[name] * value for name, value in losses.items())
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
    optimizer.step()
    return {name: float(value.detach()) for name, value in losses.items()}


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, step_number: int) -> None:
    """Move the averaged weights towards the trained ones, faster at first."""
    decay = min(EMA_DECAY, (1 + step_number) / (10 + step_number))
    for averaged, current in zip(ema.parameters(), model.parameters(), strict=True):
        averaged.lerp_(current, 1 - decay)


def validation_set(paths: list[Path], *, crops: int, batch: int = 8, crop_px: int = 256) -> list[Batch]:
    """Draw the crops that every evaluation of a run uses, from photographs that training never sees."""
    generator = torch.Generator().manual_seed(VALIDATION_SEED)
    backgrounds = Backgrounds(paths, photo_share=0.85)
    return [draw_batch(backgrounds, batch, crop_px, generator) for _ in range(max(1, crops // batch))]


@torch.no_grad()
def evaluate(model: nn.Module, batches: list[Batch], device: str) -> dict[str, float]:
    """Mean FROC, and recall at 0.5 and 2 false positives per megapixel, over visible spots of A >= 1 %."""
    model.eval()
    judged: list[Judged] = []
    for batch in batches:
        logits, boxes = proposals(model, batch.image.to(device).float())
        judged += [judge_crop(logits[index], boxes[index], batch, index) for index in range(len(batch.boxes))]
    rates = froc(judged)
    return {
        "mean_froc": sum(rates.values()) / len(rates),
        "recall_0.1": rates[0.1],
        "recall_0.5": rates[0.5],
        "recall_2": recall(judged, threshold_for(judged, 2.0)),
    }


def judge_crop(logits: Tensor, boxes: Tensor, batch: Batch, index: int) -> Judged:
    """Judge one crop's proposals against its labels, which count from its corner, detections from pixel centres."""
    side = batch.image.shape[-1]
    truths = [
        Truth(x=x - 0.5, y=y - 0.5, diameter_px=max(w, h), attenuation=a, ignore=not v or a < 0.01)
        for (x, y, w, h), a, v in zip(
            batch.boxes[index].tolist(), batch.attenuations[index].tolist(), batch.visible[index].tolist(), strict=True
        )
    ]
    return judge(to_detections(logits, boxes), truths, side * side / 1e6)


def save(path: Path, data: dict) -> None:
    """Write a checkpoint so that a kill leaves the old one or the new one."""
    temporary = path.with_suffix(".tmp")
    torch.save(data, temporary)
    temporary.replace(path)


def log_row(path: Path, row: dict[str, float]) -> None:
    """Append one evaluation to the run's CSV."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def draw_curves(run: Path) -> None:
    """Draw losses and validation recall over the spots seen, from log.csv into curves.png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with (run / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    spots = [int(row["spots"]) for row in rows]
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, recalls = figure.subplots(1, 2)
    for name in LOSS_WEIGHTS:
        losses.plot(spots, [float(row[name]) for row in rows], label=name)
    for name in ("mean_froc", "recall_0.1", "recall_0.5", "recall_2"):
        recalls.plot(spots, [float(row[name]) for row in rows], label=name)
    losses.set(title="training loss", xlabel="spots seen")
    recalls.set(title="validation crops", xlabel="spots seen", ylim=(0, 1))
    losses.legend()
    recalls.legend()
    figure.savefig(run / "curves.png", dpi=110)
