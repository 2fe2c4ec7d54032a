"""Judging a network while it trains: always the same crops, from photographs that training never sees."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from dustd.detector.detect import as_detections
from dustd.detector.model import to_boxes
from dustd.detector.network import OUTPUTS, TILE_PX
from dustd.detector.tiles import merge
from dustd.train.backgrounds import Backgrounds
from dustd.train.data import Batch, draw_batch
from dustd.train.froc import Judged, Truth, judge, mean_froc, recall, threshold_for
from dustd.train.setloss import tiles

SEED = 20_261_123


def validation_set(
    paths: list[Path], *, crops: int, crop_px: int, dust: Mapping[str, Sequence[Truth]] = MappingProxyType({})
) -> list[Batch]:
    """Draw at least *crops* crops of *crop_px* in batches that make whole tiles; images in half precision.

    They keep away from the *dust* that the photographs themselves show (`Backgrounds`).
    """
    generator = torch.Generator().manual_seed(SEED)
    backgrounds = Backgrounds(paths, photo_share=0.85, dust=dust)
    batch = max(8, (TILE_PX // crop_px) ** 2)
    drawn = (draw_batch(backgrounds, batch, crop_px, generator) for _ in range(-(-crops // batch)))
    return [replace(one, image=one.image.half()) for one in drawn]


def fingerprint(batches: list[Batch]) -> int:
    """Tell one validation set from another: the checksum of its images."""
    checksum = 0
    for batch in batches:
        checksum = zlib.crc32(batch.image.numpy().tobytes(), checksum)
    return checksum


@torch.no_grad()
def evaluate(model: nn.Module, batches: list[Batch], device: str, output: str) -> dict[str, float]:
    """Judge one of `network.OUTPUTS` over visible spots of A >= 1 %.

    Gives the mean FROC with its 95 % interval, and recall at 0.1, 0.5 and 2 false positives per megapixel.
    """
    model.eval()
    judged: list[Judged] = []
    for batch in batches:
        logits, boxes = OUTPUTS[output](model, batch.image.to(device).float())
        judged += judge_batch(logits.cpu(), boxes.cpu(), batch)
    mean = mean_froc(judged)
    return {
        "mean_froc": mean.value,
        "mean_froc_low": mean.low,
        "mean_froc_high": mean.high,
        **{f"recall_{rate:g}": recall(judged, threshold_for(judged, rate)) for rate in (0.1, 0.5, 2.0)},
    }


def judge_batch(logits: Tensor, boxes: Tensor, batch: Batch) -> list[Judged]:
    """Judge answers (T, q) and (T, q, 4) px, per crop if there are as many, else per tile laid out of crops."""
    if len(logits) == len(batch.boxes):
        labels: Iterable[tuple[Tensor, Tensor, Tensor]] = zip(
            batch.boxes, batch.attenuations, batch.visible, strict=True
        )
        side_px = batch.image.shape[-1]
    else:
        labels, side_px = tiles(batch), TILE_PX
    megapixels = side_px * side_px / 1e6
    return [
        judge(as_detections(merge(to_boxes(logit, places))), _truths(*label), megapixels)
        for logit, places, label in zip(logits.numpy(), boxes.numpy(), labels, strict=True)
    ]


def _truths(boxes: Tensor, attenuations: Tensor, visible: Tensor) -> list[Truth]:
    """Make truths of labels, which count from the corner; detections count from pixel centres."""
    return [
        Truth(x=x - 0.5, y=y - 0.5, diameter_px=max(w, h), attenuation=a, ignore=not v or a < 0.01)
        for (x, y, w, h), a, v in zip(boxes.tolist(), attenuations.tolist(), visible.tolist(), strict=True)
    ]
