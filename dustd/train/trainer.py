"""`dustd train`: teach RF-DETR to see dust, from random weights, resumable, on whatever device there is.

Two stages. `--stage dense` teaches encoder, projector and proposal head token by token; `--stage set` goes on from
there and teaches the decoder by the library's set prediction, the dense loss beside it. The schedule is a share of the
time given (`--hours`), not of a step count, as training time is what a machine has.

A run folder holds `last.pt` (everything to resume), `best.pt` (EMA weights best by mean FROC on held-out photographs),
`log.csv` and `curves.png`; the set stage keeps the same in the folder `set` inside it.
"""

import argparse
import copy
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from dustd import system
from dustd.detector.engines import choose_device
from dustd.detector.network import (
    ARCHITECTURES,
    TILE_PX,
    Architecture,
    Parts,
    build,
    decode,
    features,
    is_proposal_part,
    propose,
    set_crop,
)
from dustd.errors import UsageError
from dustd.train import setloss
from dustd.train.backgrounds import LEAST_SIDE_PX, is_validation, photo_paths
from dustd.train.checkpoint import LAST, begin_from, begin_set, resume, save_best, save_last
from dustd.train.curves import draw_curves, log_row
from dustd.train.data import Batch, Crops, develop
from dustd.train.dense import dense_loss
from dustd.train.froc import Truth
from dustd.train.mining import new_hardness, note
from dustd.train.preview import write_preview
from dustd.train.realframes import dust_in_photographs
from dustd.train.validation import evaluate, fingerprint, validation_set

EMA_DECAY = 0.998
WARMUP_STEPS = 200
LOSS_WEIGHTS = {"focal": 1.0, "giou": 0.5, "l1": 0.5, "set": 1.0}
# In the set stage, what the dense stage taught moves slower than the decoder, which starts from nothing.
TAUGHT_RATE = 0.25
CHECKPOINT_S = 180.0
LINE_S = 60.0
WORKER_NICENESS = 14  # of data workers on a CPU
# Fewer validation crops choose the best weights by luck: at 240 crops of 256 px (16 MP) one false positive more or
# less moves the three strictest of the seven rates at once.
VALIDATION_MP = 31.5


def run(options: argparse.Namespace) -> None:
    """Run `dustd train`. Raises UsageError, ModelError if something is missing or does not fit."""
    if options.preview:
        write_preview(options.preview, options.photos)
        return
    if options.photos is None:
        raise UsageError("training needs photographs", remedy="Name a folder of them: --photos FOLDER")
    train(with_defaults(options))


def with_defaults(options: argparse.Namespace) -> argparse.Namespace:
    """Fill in what depends on model and device, in place. Raises UsageError, ModelError if it cannot be."""
    if options.model not in ARCHITECTURES:
        known = " or ".join(sorted(ARCHITECTURES))
        raise UsageError(f"there is no network of the shape {options.model!r}", remedy=f"Set --model to {known}")
    options.device = choose_device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    on_cpu = options.device == "cpu"
    chosen = {
        "run": Path("runs", options.model),
        "batch": 8 if on_cpu else 32,
        "crop": 256 if on_cpu else TILE_PX,
        # While the network waits for a batch, each core draws one.
        "workers": min(2, os.cpu_count() or 1) if on_cpu else max(1, (os.cpu_count() or 1) - 1),
    }
    for name, value in chosen.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.validation_crops is None:
        options.validation_crops = round(VALIDATION_MP * 1e6 / options.crop**2)
    per_tile = (TILE_PX // options.crop) ** 2 if options.crop > 0 and TILE_PX % options.crop == 0 else 0
    if not per_tile or (options.stage == "set" and options.batch % per_tile):
        raise UsageError(
            f"{options.batch} crops of {options.crop} px do not make whole tiles of {TILE_PX} px",
            remedy=f"Set --crop to 128, 256 or 512, and --batch to a multiple of {max(per_tile, 1)}",
        )
    return options


@dataclass(slots=True, kw_only=True)
class TrainingRun:
    """One training run as it stands: the networks, what teaches them, and how far they are (*state*).

    *output* is what of the network is judged, *criterion* is None in the dense stage. *hardness* is shared with the
    data workers.
    """

    options: argparse.Namespace
    folder: Path
    output: str
    architecture: Architecture
    model: nn.Module
    ema: nn.Module
    criterion: nn.Module | None
    optimizer: torch.optim.Optimizer
    hardness: Tensor
    state: dict[str, Any]

    def take(self, batch: Batch, see: Callable[[nn.Module, Tensor], Tensor], rate: float) -> dict[str, Tensor]:
        """Learn from one batch at a learning rate; *see* as in `step`. Return the losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        losses = step(self.model, see, self.criterion, self.optimizer, batch, self.hardness)
        update_ema(self.ema, self.model, self.state["step"])
        self.state["step"] += 1
        self.state["spots"] += sum(len(b) for b in batch.boxes)
        return losses

    def judge(self, validation: list[Batch], row: dict[str, float]) -> dict[str, float]:
        """Judge the averaged weights, keep them if they are the best, and log them with *row*. Return the figures."""
        device = self.options.device
        row = row | evaluate(self.ema, validation, device, self.output)
        if self.criterion is not None:
            other = evaluate(self.ema, validation, device, "proposals")
            row |= {f"proposals_{name}": value for name, value in other.items()}
        log_row(self.folder / "log.csv", {**self.state, **row})
        draw_curves(self.folder)
        if row["mean_froc"] > self.state["best"]:
            self.state["best"] = row["mean_froc"]
            save_best(self.folder, self.architecture, self.ema, self.state, self.output)
        return row

    def save(self) -> None:
        """Write all that a killed run needs to go on."""
        save_last(self.folder, self.architecture, self.model, self.ema, self.optimizer, self.state, self.hardness)


class Means:
    """Mean losses over the batches since the last reset; sums stay on their device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._count = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Count one batch."""
        self._count += 1
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def values(self) -> dict[str, float]:
        """Return the means."""
        return {name: float(total) / self._count for name, total in self._sums.items()}


def train(options: argparse.Namespace) -> None:
    """Train until the time is used up; killing and starting again continues."""
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")  # on CUDA; a CPU has nothing faster
    training, held_out = split_photos(options.photos)
    dust = dust_in_photographs(options.photos)
    current = begin(options)
    state = current.state
    crops = _crops(current, training, dust)
    validation = validation_set(held_out, crops=options.validation_crops, crop_px=options.crop, dust=dust)
    if state.get("validation") != (crops_id := fingerprint(validation)):  # the best of other crops says nothing here
        state |= {"validation": crops_id, "best": -1.0}
    budget_s = options.hours * 3600
    see = torch.compile(features) if options.compile else features
    begun = time.monotonic() - state["elapsed_s"]
    evaluated = saved = told = state["elapsed_s"]
    means, step_then = Means(), state["step"]
    bar = tqdm(
        total=budget_s / 60,
        initial=state["elapsed_s"] / 60,
        bar_format="{percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} min{postfix}",
        disable=None,  # shown on a terminal only; a log file gets lines
    )
    for batch in batches(crops, options.workers, options.device):
        state["elapsed_s"] = time.monotonic() - begun
        rate = options.rate * schedule(state["step"], state["elapsed_s"] / budget_s)
        means.add(current.take(batch, see, rate))
        done = state["elapsed_s"] >= budget_s or state["step"] == options.steps
        if state["elapsed_s"] - told >= (1.0 if not bar.disable else LINE_S):
            speed = (state["step"] - step_then) * options.batch / (state["elapsed_s"] - told)
            tell(bar, state, means.values(), speed)
            told, step_then = state["elapsed_s"], state["step"]
        if done or state["elapsed_s"] - evaluated >= options.evaluate_every * 60:
            evaluated = state["elapsed_s"]
            row = current.judge(validation, {"rate": rate, **means.values()})
            means = Means()
            bar.write("  validation  " + "  ".join(f"{k} {v:.3f}" for k, v in row.items() if k != "rate"))
            sys.stdout.flush()
        if done or state["elapsed_s"] - saved >= CHECKPOINT_S:
            saved = state["elapsed_s"]
            current.save()
        if done:
            break
    bar.close()


def begin(options: argparse.Namespace) -> TrainingRun:
    """Begin a run, or take one up where it was left."""
    device, is_set = options.device, options.stage == "set"
    folder = options.run / "set" if is_set else options.run
    architecture = ARCHITECTURES[options.model]
    model = build(architecture).to(device).train()
    set_crop(model, options.crop)
    ema = copy.deepcopy(model).eval()
    criterion = setloss.build_criterion(architecture).to(device) if is_set else None
    optimizer = make_optimizer(model, options.rate, everything=is_set)
    hardness = new_hardness()
    begun_before = (folder / LAST).exists()
    if options.start and not begun_before and not is_set:
        begin_from(options.start, model, ema)
    if is_set and not begun_before:
        state = begin_set(options.run, architecture, device, model, ema, hardness)
    else:
        state = resume(folder, architecture, device, model, ema, optimizer, hardness)
    folder.mkdir(parents=True, exist_ok=True)
    return TrainingRun(
        options=options,
        folder=folder,
        output="queries" if is_set else "proposals",
        architecture=architecture,
        model=model,
        ema=ema,
        criterion=criterion,
        optimizer=optimizer,
        hardness=hardness,
        state=state,
    )


def _crops(current: TrainingRun, training: list[Path], dust: Mapping[str, Sequence[Truth]]) -> Crops:
    """Open the stream of training crops, another one after each interruption. Raise UsageError if there are none."""
    options = current.options
    crops = Crops(
        training,
        batch=options.batch,
        crop_px=options.crop,
        seed=options.seed * 1000 + current.state["step"] + 500_000 * (current.criterion is not None),
        hardness=current.hardness,
        light_only=options.device != "cpu",
        labelled=options.labelled,
        dust=dust,
    )
    if not crops.backgrounds.photos:
        raise UsageError(
            f"none of its {len(training)} photographs can be used",
            remedy=f"Put photographs there that are at least {LEAST_SIDE_PX} px high and wide",
            path=options.photos,
        )
    return crops


def split_photos(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the photographs to train on and those held out. Raises UsageError if there are none."""
    if not folder.is_dir():
        raise UsageError(
            "there is no such folder", remedy="Give --photos a folder of dust-free photographs", path=folder
        )
    paths = photo_paths(folder)
    if not paths:
        raise UsageError("it holds no photographs", remedy="Put JPEG, PNG, TIFF or RAW files there", path=folder)
    return [p for p in paths if not is_validation(p)], [p for p in paths if is_validation(p)]


def make_optimizer(model: nn.Module, rate: float, *, everything: bool) -> torch.optim.Optimizer:
    """Train the proposal stage's parameters, or *everything*, the proposal stage's then at a share of the rate."""
    named = list(model.named_parameters())
    groups: list[dict[str, Any]] = [{"params": [p for name, p in named if is_proposal_part(name)], "share": 1.0}]
    if everything:
        groups[0]["share"] = TAUGHT_RATE
        groups.append({"params": [p for name, p in named if not is_proposal_part(name)], "share": 1.0})
    return torch.optim.AdamW(groups, lr=rate, weight_decay=0.02, betas=(0.9, 0.98), fused=True)


def batches(crops: Crops, workers: int, device: str) -> Iterator[Batch]:
    """Draw batches without end; on another device than the CPU, dust, noise and encoding are made there."""
    loader = torch.utils.data.DataLoader(
        crops,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=(4 if device == "cpu" else 2) if workers else None,
        pin_memory=device == "cuda",
        worker_init_fn=_give_way if device == "cpu" else None,
    )
    generator = torch.Generator(device).manual_seed(crops.seed)
    for drawn in loader:
        if isinstance(drawn, Batch):
            yield drawn
        else:
            light, cells, real = drawn
            yield develop(light.to(device, non_blocking=True), cells, real, generator)


def _give_way(_worker: int) -> None:
    """Let the network's threads go first: they wait for each other many times a step (8 % more crops on two cores)."""
    system.be_nicer(WORKER_NICENESS)


def schedule(step: int, progress: float) -> float:
    """Learning rate as a share of the peak: linear warm-up over 200 steps, then cosine to zero with *progress*."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def step(
    model: Parts,
    see: Callable[[nn.Module, Tensor], Tensor],
    criterion: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    hardness: Tensor,
) -> dict[str, Tensor]:
    """Take one optimiser step, *see* being `features`, compiled or not; return the losses, on their device.

    With a *criterion* the decoder learns, too. Notes in *hardness* what fooled the network. A step whose loss is not a
    number changes nothing.
    """
    device = next(model.parameters()).device
    seen = see(model, batch.image.to(device).float())
    logits, boxes = propose(model, seen)
    losses, labels = dense_loss(logits, boxes, batch.boxes, batch.visible)
    note(hardness, batch.cells, logits, labels)
    if criterion is not None:
        losses |= setloss.set_loss(criterion, decode(model, seen), batch, model.num_queries)
    parts = [weight * losses[name] for name, weight in LOSS_WEIGHTS.items() if name in losses]
    total = sum(parts[1:], start=parts[0])
    optimizer.zero_grad(set_to_none=True)
    if torch.isfinite(total):
        total.backward()
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
    return {name: value.detach() for name, value in losses.items()}


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, step_number: int) -> None:
    """Move the averaged weights towards the trained ones, faster at first."""
    decay = min(EMA_DECAY, (1 + step_number) / (10 + step_number))
    get_ema_multi_avg_fn(decay)(list(ema.parameters()), list(model.parameters()), step_number)


def tell(bar: "tqdm[NoReturn]", state: dict[str, float], losses: dict[str, float], crops_per_s: float) -> None:
    """Show how far the run is: in the bar on a terminal, as a line elsewhere."""
    figures = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
    if bar.disable:
        print(
            f"{state['elapsed_s'] / 60:6.1f} min  step {state['step']:6d}  spots {state['spots']:7d}  "
            f"{crops_per_s:6.1f} crops/s  {figures}",
            flush=True,
        )
    else:
        bar.n = min(state["elapsed_s"] / 60, bar.total or math.inf)
        bar.set_postfix_str(f"{state['spots']} spots  {crops_per_s:.0f} crops/s  {figures}")
