"""Which input encoding lets the detector learn best: `python tests/bench/bench_encodings.py --photos FOLDER`.

Networks that differ in nothing but their input learn side by side from the same crops, batch by batch: the shipped
weights with a fresh first convolution, same light, same dust, same noise, same number of steps, same held-out crops to
be judged on. Spots of A >= 3 % that outdo the scene in their own place count (`train.data.stands_out`, which knows none
of the encodings), those within three widths of an edge apart. What the table says holds for a short training.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from dustd.detector.detect import as_detections
from dustd.detector.encoding import CONTEXT_PX, LIGHT_FLOOR
from dustd.detector.encoding_torch import blur, bounded, log_luma
from dustd.detector.encoding_torch import encode as shipped
from dustd.detector.model import find_model, to_boxes
from dustd.detector.network import Architecture, build, features, is_proposal_part, propose, set_crop
from dustd.detector.tiles import merge
from dustd.train.backgrounds import Backgrounds, is_validation, photo_paths
from dustd.train.data import draw_light, expose_crops
from dustd.train.dense import dense_loss
from dustd.train.froc import Judged, Truth, judge, only, recall, recalls, resamples, threshold_for
from dustd.train.realframes import dust_in_photographs

CROP_PX, BATCH, CHANNELS = 256, 8, 11
RATE, WARMUP_STEPS = 3e-4, 50
# Short trainings say nothing yet at the strictest rates.
FALSE_POSITIVES_PER_MP = (0.1, 0.2, 0.5, 1.0, 2.0)
COUNTED_ATTENUATION, EDGE_WIDTHS, EDGE_STEP = 0.03, 3.0, 0.4
HELD_OUT_SEED = 5


def sparse_median(log: Tensor) -> Tensor:
    """Local level from 5 × 5 values of a quarter-size copy, 5 apart and again 2 apart: sharper, and noisier."""
    small = F.avg_pool2d(log, 4)
    height, width = small.shape[-2:]
    for step in (5, 2):
        padded = F.pad(small, (2 * step,) * 4, mode="replicate")
        starts = range(0, 4 * step + 1, step)
        small = (
            torch.stack([padded[..., y : y + height, x : x + width] for y in starts for x in starts]).median(0).values
        )
    return F.interpolate(small, size=log.shape[-2:], mode="bilinear", align_corners=False)


def differences(flat: Tensor) -> Tensor:
    """Differences of Gaussians at four scales."""
    return torch.cat([blur(flat, sigma) - blur(flat, 1.6 * sigma) for sigma in (1.2, 2.4, 4.8, 9.6)], 1)


def chroma(rgb: Tensor) -> Tensor:
    """How far the colour departs from its surroundings."""
    lights = rgb.clamp_min(0) + LIGHT_FLOOR
    ratios = torch.log(lights[:, 0::2] / lights[:, 1:2])
    return (blur(ratios, 3.0) - blur(ratios, 8.0)).square().sum(1, keepdim=True).sqrt()


def fixed_gains(rgb: Tensor) -> Tensor:
    """Bounded differences at two gains instead of division by texture: eleven channels."""
    log = log_luma(rgb)
    flat = bounded(log, sparse_median(log))
    dogs = differences(flat)
    gains = [1.5 * torch.tanh(dogs / 0.015), 1.5 * torch.tanh(dogs / 0.1)]
    return torch.cat([*gains, flat / 0.1, (chroma(rgb) / 0.05).clamp(0, 3), (log + 2) / 1.5], 1)


def both(rgb: Tensor) -> Tensor:
    """Differences divided by texture, log light at two gains, and how dark it is: nine channels."""
    log = log_luma(rgb)
    flat = bounded(log, sparse_median(log))
    fine, dogs = blur(flat, 1.0), differences(flat)
    texture = 1.48 * blur(dogs.abs().sqrt(), 24.0).square() + 0.0015
    level = (0.5 * torch.log(texture[:, 1:2] / 0.01)).clamp(-2, 3)
    tint = (chroma(rgb) / (texture[:, 2:3] + 0.005)).clamp(0, 6) / 2
    gains = [1.5 * torch.tanh(fine / 0.04), fine / 0.1]
    return torch.cat([(dogs / texture).clamp(-6, 6) / 2, *gains, level, tint, (log + 2) / 1.5], 1)


ENCODINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "median, differences over half-power texture (shipped, 8 channels)": shipped,
    "sparse median, differences at two fixed gains (11)": fixed_gains,
    "sparse median, both (9)": both,
}


def main() -> None:
    """Train, judge and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--held-out-crops", type=int, default=800)
    options = parser.parse_args()
    paths, dust = photo_paths(options.photos), dust_in_photographs(options.photos)
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    held_out = [
        draw(Backgrounds([p for p in paths if is_validation(p)], dust=dust), generator)
        for _ in range(options.held_out_crops // BATCH)
    ]
    backgrounds = Backgrounds([p for p in paths if not is_validation(p)], dust=dust, memory_bytes=3 << 30)
    rates = " | ".join(f"{rate:g} FP/MP" for rate in FALSE_POSITIVES_PER_MP)
    print(f"| encoding | seed | ground | {rates} | mean (95 %) |")
    print("|---|---|---|" + "---|" * (len(FALSE_POSITIVES_PER_MP) + 1))
    for seed in range(options.seeds):
        for name, model in train(backgrounds, seed, options.steps).items():
            report(name, seed, *judge_all(model, ENCODINGS[name], held_out))


def draw(backgrounds: Backgrounds, generator: torch.Generator) -> dict:
    """Draw a batch as photographed, with what training knows of it, and which spots are near an edge."""
    light, _, real = draw_light(backgrounds, BATCH, CROP_PX, generator)
    drawn = expose_crops(light, real, generator)
    near = []
    for scene, boxes in zip(drawn.scene, drawn.boxes, strict=True):
        log = cv2.GaussianBlur(np.log(scene.mean(0).clamp_min(0).numpy() + LIGHT_FLOOR), (0, 0), 1.5)
        steps = np.zeros_like(log)
        steps[:, 3:-3] = np.abs(log[:, 6:] - log[:, :-6])
        steps[3:-3] = np.maximum(steps[3:-3], np.abs(log[6:] - log[:-6]))
        away = cv2.distanceTransform((steps < EDGE_STEP).astype(np.uint8), cv2.DIST_L2, 5)
        places = (boxes[:, :2] + CONTEXT_PX).long().clamp(0, len(away) - 1)
        near.append([away[y, x] < (EDGE_WIDTHS + 0.5) * w for (x, y), w in zip(places, boxes[:, 2], strict=True)])
    return {
        "light": drawn.seen,
        "boxes": drawn.boxes,
        "depths": drawn.attenuations,
        "visible": drawn.visible,
        "near": near,
    }


class Stream(IterableDataset):
    """Encoded batches without end."""

    def __init__(self, backgrounds: Backgrounds, seed: int) -> None:
        self.backgrounds, self.seed = backgrounds, seed

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], dict]]:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            batch = draw(self.backgrounds, generator)
            yield {name: padded(encode(batch["light"])) for name, encode in ENCODINGS.items()}, batch


def padded(image: Tensor) -> Tensor:
    """Cut the context off and fill up with empty channels, so that all networks are the same."""
    image = image[..., CONTEXT_PX:-CONTEXT_PX, CONTEXT_PX:-CONTEXT_PX]
    return F.pad(image, (0, 0, 0, 0, 0, CHANNELS - image.shape[1])).contiguous()


def train(backgrounds: Backgrounds, seed: int, steps: int) -> dict[str, nn.Module]:
    """Train one network per encoding, in lockstep."""
    weights = torch.load(find_model("default").weights, map_location="cpu", weights_only=True)
    models, optimizers = {}, {}
    for name in ENCODINGS:
        torch.manual_seed(seed)
        model = build(Architecture(channels=CHANNELS))
        own = model.state_dict()
        fitting = {
            k: v.float() for k, v in weights.items() if own[k].shape == v.shape and "projection.blocks.0" not in k
        }
        model.load_state_dict(fitting, strict=False)
        set_crop(model, CROP_PX)
        models[name] = model.train()
        taught = [p for key, p in model.named_parameters() if is_proposal_part(key)]
        optimizers[name] = torch.optim.AdamW(taught, lr=RATE, weight_decay=0.02, betas=(0.9, 0.98), fused=True)
    batches = DataLoader(Stream(backgrounds, 1000 + seed), batch_size=None, num_workers=1, prefetch_factor=4)
    for step, (images, batch) in zip(tqdm(range(steps), desc=f"seed {seed}"), batches, strict=False):
        rate = RATE * min(1, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for name, model in models.items():
            for group in optimizers[name].param_groups:
                group["lr"] = rate
            logits, boxes = propose(model, features(model, images[name]))
            losses, _ = dense_loss(logits, boxes, batch["boxes"], batch["visible"])
            optimizers[name].zero_grad(set_to_none=True)
            (losses["focal"] + 0.5 * losses["giou"] + 0.5 * losses["l1"]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizers[name].step()
    return {name: model.eval() for name, model in models.items()}


@torch.no_grad()
def judge_all(
    model: nn.Module, encode: Callable[[Tensor], Tensor], held_out: list[dict]
) -> tuple[list[Judged], list[np.ndarray]]:
    """Judge a network on every held-out crop; with each the mask of spots near an edge."""
    judged, near = [], []
    for batch in held_out:
        logits, boxes = propose(model, features(model, padded(encode(batch["light"]))))
        for index in range(BATCH):
            truths = [
                Truth(
                    x=x - 0.5,
                    y=y - 0.5,
                    diameter_px=max(w, h),
                    attenuation=depth,
                    ignore=not visible or depth < COUNTED_ATTENUATION,
                )
                for (x, y, w, h), depth, visible in zip(
                    batch["boxes"][index].tolist(),
                    batch["depths"][index].tolist(),
                    batch["visible"][index].tolist(),
                    strict=True,
                )
            ]
            found = as_detections(merge(to_boxes(logits[index].numpy(), boxes[index].numpy())))
            judged.append(judge(found, truths, CROP_PX**2 / 1e6))
            near.append(np.array(batch["near"][index], bool))
    return judged, near


def report(name: str, seed: int, judged: list[Judged], near: list[np.ndarray]) -> None:
    """Print recalls at the thresholds of all spots, with the 95 % bootstrap of their mean."""
    limits = [threshold_for(judged, rate) for rate in FALSE_POSITIVES_PER_MP]
    for ground, masks in (("all", None), ("near an edge", near), ("away", [~mask for mask in near])):
        some = judged if masks is None else [only(j, mask) for j, mask in zip(judged, masks, strict=True)]
        values = [recall(some, limit) for limit in limits]
        drawn = recalls(some, FALSE_POSITIVES_PER_MP, resamples(len(some))).mean(0)
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        cells = " | ".join(f"{value:.3f}" for value in values)
        print(f"| {name} | {seed} | {ground} | {cells} | {np.mean(values):.3f} ({low:.3f} to {high:.3f}) |")


if __name__ == "__main__":
    main()
