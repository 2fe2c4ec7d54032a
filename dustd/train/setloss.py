"""Set prediction: the library's matcher and criterion over tiles laid out of training crops.

The second stage of training starts from weights that the dense stage made; the proposal head goes on being taught
densely beside it (facts: detector-training §4.3).
"""

from typing import Any

import torch
from torch import Tensor, nn

from dustd.detector.network import TILE_PX, Architecture, Parts, configs, quiet_library
from dustd.train.data import Batch


def build_criterion(architecture: Architecture) -> nn.Module:
    """Build the library's criterion, Hungarian matcher and weights included, as `rfdetr` trains with it."""
    with quiet_library():
        from rfdetr.models import build_criterion_from_config

        criterion, _ = build_criterion_from_config(*configs(architecture))
    return criterion.train()


def begin(model: Parts) -> None:
    """Make a densely trained model ready for queries, in place.

    Every query group starts from the one proposal head that the dense stage taught. The library counts one class
    more than it is told; that class, never taught, is muted, as it would have a say in which tokens become queries.
    """
    head = model.transformer
    with torch.no_grad():
        head.enc_out_class_embed[0].weight[1:] = 0.0
        head.enc_out_class_embed[0].bias[1:] = -10.0
    for part in (head.enc_output, head.enc_output_norm, head.enc_out_class_embed, head.enc_out_bbox_embed):
        for group in part[1:]:
            group.load_state_dict(part[0].state_dict())


def set_loss(criterion: Parts, answer: dict[str, Any], batch: Batch, queries: int) -> dict[str, Tensor]:
    """Match the queries of `network.decode` with the spots of *batch* and weigh the losses as the library does.

    Returns `set`, the sum over all layers to be minimised, and of the last layer `class`, `box` and `overlap`
    unweighted, to be watched. *queries* is the number per group.
    """
    first = answer["enc_outputs"]
    # The first group's proposal head answers to the dense loss alone: "every token inside a spot" and "one token per
    # spot" cannot both be taught to it.
    first = {name: torch.cat([value[:, :queries].detach(), value[:, queries:]], 1) for name, value in first.items()}
    targets = [
        {
            "labels": torch.zeros(int(visible.sum()), dtype=torch.long, device=first["pred_boxes"].device),
            "boxes": (boxes[visible] / TILE_PX).to(first["pred_boxes"].device),
        }
        for boxes, _, visible in tiles(batch)
    ]
    losses = criterion({**answer, "enc_outputs": first}, targets)
    total = sum(losses[name] * weight for name, weight in criterion.weight_dict.items())
    return {
        "set": total,
        "class": losses["loss_ce"].detach(),
        "box": losses["loss_bbox"].detach(),
        "overlap": losses["loss_giou"].detach(),
    }


def tiles(batch: Batch) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Lay the labels of a batch out as `network.lay_out` lays its crops: per tile boxes (px), attenuations, visible."""
    crop_px = batch.image.shape[-1]
    across = TILE_PX // crop_px
    answers = []
    for start in range(0, len(batch.boxes), across**2):
        part = range(start, start + across**2)
        corners = [torch.tensor([i % across, i // across, 0, 0]) * crop_px for i in range(across**2)]
        moved = [batch.boxes[index] + corner for index, corner in zip(part, corners, strict=True)]
        answers.append(
            (
                torch.cat(moved),
                torch.cat([batch.attenuations[index] for index in part]),
                torch.cat([batch.visible[index] for index in part]),
            )
        )
    return answers
