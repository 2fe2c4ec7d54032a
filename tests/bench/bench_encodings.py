"""Which input encoding lets the detector learn fastest: `python tests/bench/bench_encodings.py --photos FOLDER`.

Networks that differ in nothing but their input learn side by side from the same crops, batch by batch: same light,
same dust, same noise, same start (per seed), same number of steps, same held-out crops to be judged on. A small
network (two encoder layers, 128-px crops) makes it affordable; what the table says holds for a short training.
Writes `encodings.md` and `encodings.json` into --out; intervals are 95 % bootstraps over the held-out crops.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dustd.detector.encoding import CONTEXT_PX, ENCODING, LIGHT_FLOOR, TEXTURE_FLOOR, TEXTURE_SIGMA_PX, blur, encode
from dustd.detector.model import to_detections
from dustd.detector.network import Architecture, build, is_proposal_part, proposals, set_crop
from dustd.train.backgrounds import Backgrounds, is_validation, photo_paths
from dustd.train.data import cut, stands_out
from dustd.train.dense import dense_loss
from dustd.train.exposure import expose
from dustd.train.froc import Judged, Truth, judge, recalls, resamples
from dustd.train.synth import draw_dust

CROP_PX = 128
BATCH = 16
RATE = 6e-4
WARMUP_STEPS = 50
# Short trainings say nothing yet at the strict rates of the headline figure.
FALSE_POSITIVES_PER_MP = (0.5, 1.0, 2.0, 4.0, 8.0)
HELD_OUT_SEED = 5
# Judged by depth alone: which spots "stand out" is told by difference-of-Gaussians, which one encoding is made of.
COUNTED_ATTENUATION = 0.03


def log_rgb(rgb: Tensor) -> Tensor:
    """Plain log of linear light, three channels, centred on middle grey."""
    return (torch.log(rgb.clamp_min(0) + LIGHT_FLOOR) + 2.0) / 1.5


def flat_texture(rgb: Tensor) -> Tensor:
    """Log luminance flattened at two scales, and the texture level: three channels."""
    luma = torch.log((0.25 * rgb[:, 0:1] + 0.5 * rgb[:, 1:2] + 0.25 * rgb[:, 2:3]).clamp_min(0) + LIGHT_FLOOR)
    fine = luma - blur(luma, 8.0)
    wide = luma - blur(luma, TEXTURE_SIGMA_PX)
    texture = (blur((luma - blur(luma, 2.0)).square(), TEXTURE_SIGMA_PX) + TEXTURE_FLOOR**2).sqrt()
    return torch.cat([(fine / 0.1).clamp(-3, 3), (wide / 0.1).clamp(-3, 3), (0.5 * torch.log(texture / 0.01))], 1)


ENCODINGS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "log RGB (3 channels)": (3, log_rgb),
    "flat log at 8 and 24 px, texture level (3 channels)": (3, flat_texture),
    f"{ENCODING} (8 channels)": (8, encode),
}


def main() -> None:
    """Train, judge and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/encodings"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--held-out-crops", type=int, default=1600)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    paths = photo_paths(options.photos)
    held_out = draw(Backgrounds([p for p in paths if is_validation(p)]), HELD_OUT_SEED, options.held_out_crops // BATCH)
    backgrounds = Backgrounds([p for p in paths if not is_validation(p)])
    results: dict[str, list[list[Judged]]] = {name: [] for name in ENCODINGS}
    for seed in range(options.seeds):
        models = train(backgrounds, seed, options.steps)
        for name, model in models.items():
            results[name].append(judge_all(model, ENCODINGS[name][1], held_out))
    write(options, results)


def draw(backgrounds: Backgrounds, seed: int, batches: int):
    """Draw batches of linear light (B, 3, S, S) float16 with boxes, which of them stand out, and which count."""
    generator = torch.Generator().manual_seed(seed)
    return [one_batch(backgrounds, generator) for _ in tqdm(range(batches), desc="held-out crops")]


def one_batch(backgrounds: Backgrounds, generator: torch.Generator):
    """Draw one batch; the labels do not depend on the encoding that is judged."""
    size = CROP_PX + 2 * CONTEXT_PX
    light, _ = backgrounds.draw(BATCH, size, generator)
    dust = draw_dust(BATCH, size, generator)
    rgb = expose(light, dust.transmission, generator)
    inner = encode(rgb)[..., CONTEXT_PX:-CONTEXT_PX, CONTEXT_PX:-CONTEXT_PX]
    boxes, visible, counted = [], [], []
    for index, (found, depth) in enumerate(zip(dust.boxes, dust.attenuations, strict=True)):
        inside, kept = cut(found - torch.tensor([CONTEXT_PX, CONTEXT_PX, 0, 0]), CROP_PX)
        boxes.append(inside)
        visible.append(stands_out(inner[index], inside))
        counted.append(depth[kept] >= COUNTED_ATTENUATION)
    return rgb.half(), tuple(boxes), tuple(visible), tuple(counted)


def train(backgrounds: Backgrounds, seed: int, steps: int) -> dict[str, torch.nn.Module]:
    """Train one network per encoding, in lockstep on the same batches; return them by name."""
    models, optimizers = {}, {}
    for name, (channels, _) in ENCODINGS.items():
        torch.manual_seed(seed)
        model = build(Architecture(encoder_layers=2, out_feature_indexes=(1, 2), channels=channels)).train()
        set_crop(model, CROP_PX)
        parts = [p for part, p in model.named_parameters() if is_proposal_part(part)]
        models[name], optimizers[name] = model, torch.optim.AdamW(parts, lr=RATE, weight_decay=0.02, betas=(0.9, 0.98))
    generator = torch.Generator().manual_seed(1000 + seed)
    for step in tqdm(range(steps), desc=f"seed {seed}"):
        rgb, boxes, visible, _ = one_batch(backgrounds, generator)
        rate = RATE * min(1, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + np.cos(np.pi * step / steps))
        for name, (_, encoding) in ENCODINGS.items():
            optimizer = optimizers[name]
            for group in optimizer.param_groups:
                group["lr"] = rate
            logits, found = proposals(models[name], see(encoding, rgb))
            losses, _ = dense_loss(logits, found, boxes, visible)
            optimizer.zero_grad()
            (losses["focal"] + 0.5 * losses["giou"] + 0.5 * losses["l1"]).backward()
            torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
            optimizer.step()
    return models


def see(encoding: Callable[[Tensor], Tensor], rgb: Tensor) -> Tensor:
    """Encode with context and cut the context away."""
    return encoding(rgb.float())[..., CONTEXT_PX:-CONTEXT_PX, CONTEXT_PX:-CONTEXT_PX].contiguous()


@torch.no_grad()
def judge_all(model: torch.nn.Module, encoding: Callable[[Tensor], Tensor], batches) -> list[Judged]:
    """Judge every held-out crop."""
    model.eval()
    judged = []
    for rgb, boxes, _, counted in batches:
        logits, found = proposals(model, see(encoding, rgb))
        for index in range(BATCH):
            truths = [
                Truth(x=x - 0.5, y=y - 0.5, diameter_px=max(w, h), ignore=not c)
                for (x, y, w, h), c in zip(boxes[index].tolist(), counted[index].tolist(), strict=True)
            ]
            judged.append(judge(to_detections(logits[index], found[index]), truths, CROP_PX**2 / 1e6))
    return judged


def write(options: argparse.Namespace, results: dict[str, list[list[Judged]]]) -> None:
    """Write the table: per encoding and seed the recalls, and how far the last (ours) leads, paired over crops."""
    weights = resamples(len(next(iter(results.values()))[0]))
    means = {
        name: [recalls(judged, FALSE_POSITIVES_PER_MP, weights).mean(-1) for judged in seeds]
        for name, seeds in results.items()
    }
    points = {
        name: [recalls(judged, FALSE_POSITIVES_PER_MP, np.ones((1, weights.shape[1])))[0] for judged in seeds]
        for name, seeds in results.items()
    }
    lines = [
        f"{options.steps * BATCH} crops of {CROP_PX} px each, two encoder layers, {options.seeds} seeds, "
        f"{weights.shape[1]} held-out crops",
        "",
        "| encoding | seed | " + " | ".join(f"recall at {r:g} FP/MP" for r in FALSE_POSITIVES_PER_MP) + " | mean |",
        "|---|---|" + "---|" * (len(FALSE_POSITIVES_PER_MP) + 1),
    ]
    kept = {}
    for name, seeds in points.items():
        for seed, row in enumerate(seeds):
            low, high = np.nanquantile(means[name][seed], [0.025, 0.975])
            cells = " | ".join(f"{v:.3f}" for v in row)
            lines.append(f"| {name} | {seed} | {cells} | {row.mean():.3f} ({low:.3f} to {high:.3f}) |")
            kept.setdefault(name, []).append({"recalls": row.tolist(), "interval": [float(low), float(high)]})
    lines += ["", "Difference of the means, both seeds together (95 % paired bootstrap over crops):", ""]
    ours = list(ENCODINGS)[-1]
    for name in list(ENCODINGS)[:-1]:
        gaps = np.mean([a - b for a, b in zip(means[ours], means[name], strict=True)], 0)
        gap = np.mean([a.mean() - b.mean() for a, b in zip(points[ours], points[name], strict=True)])
        low, high = np.nanquantile(gaps, [0.025, 0.975])
        verdict = "a tie" if low <= 0 <= high else "better" if low > 0 else "worse"
        lines.append(f"* {ours} minus {name}: {gap:+.3f} ({low:+.3f} to {high:+.3f}): {verdict}")
    text = "\n".join(lines) + "\n"
    print(text)
    (options.out / "encodings.md").write_text(text, encoding="utf-8")
    (options.out / "encodings.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
