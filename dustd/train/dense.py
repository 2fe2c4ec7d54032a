"""Dense supervision of RF-DETR's proposal head: every token inside a spot answers for it.

Set prediction starved of pretraining learns slowly; the proposal stage sees every token and can be taught like a
one-stage detector (facts: detector-training §2, §4).
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from dustd.detector.network import TOKEN_PX


def assign(boxes: Tensor, visible: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give tokens of a side × side grid to boxes (n, 4) px: inside 0.7 of the half box, or nearest to its centre.

    The smallest box wins a contested token. Returns labels (side²,) float (1 dust, 0 none, -1 ignore: an invisible
    spot's token) and box index per token (side²,) long, and the mask of positive tokens.
    """
    labels = torch.zeros(side * side)
    owner = torch.zeros(side * side, dtype=torch.long)
    axis = (torch.arange(side) + 0.5) * TOKEN_PX
    ys, xs = (grid.reshape(-1) for grid in torch.meshgrid(axis, axis, indexing="ij"))
    area = boxes[:, 2] * boxes[:, 3]
    for index in torch.argsort(area, descending=True).tolist():
        x, y, w, h = boxes[index].tolist()
        inside = ((xs - x).abs() <= 0.35 * w) & ((ys - y).abs() <= 0.35 * h)
        column = min(max(int(x / TOKEN_PX), 0), side - 1)
        row = min(max(int(y / TOKEN_PX), 0), side - 1)
        inside[row * side + column] = True
        if visible[index]:
            labels[inside] = 1.0
            owner[inside] = index
        else:
            labels[inside & (labels < 1)] = -1.0
    return labels, owner, labels > 0


def dense_loss(
    logits: Tensor, boxes: Tensor, truth: tuple[Tensor, ...], visible: tuple[Tensor, ...]
) -> tuple[dict[str, Tensor], Tensor]:
    """Focal, GIoU and L1 losses of proposals (B, n), (B, n, 4) px against boxes per crop, each per positive token.

    Also returns the tokens' labels (B, n) as `assign` gives them.
    """
    side = int(logits.shape[1] ** 0.5)
    labels, targets, positives = [], [], []
    for crop_boxes, crop_visible in zip(truth, visible, strict=True):
        label, owner, positive = assign(crop_boxes, crop_visible, side)
        labels.append(label)
        positives.append(positive)
        targets.append(crop_boxes[owner[positive]])
    label = torch.stack(labels).to(logits.device)
    positive = torch.stack(positives).to(logits.device)
    target = torch.cat(targets).to(logits.device)
    count = max(int(positive.sum()), 1)
    counted = label >= 0
    focal = sigmoid_focal_loss(logits[counted].float(), label[counted], alpha=0.5, gamma=2.0, reduction="sum") / count
    chosen = boxes[positive].float()
    if len(target) == 0:
        zero = boxes.sum() * 0
        return {"focal": focal, "giou": zero, "l1": zero}, label
    giou = generalized_box_iou_loss(_corners(chosen), _corners(target), reduction="sum") / count
    centre = F.smooth_l1_loss(chosen[:, :2] / 8, target[:, :2] / 8, reduction="sum")
    size = F.smooth_l1_loss(chosen[:, 2:].clamp_min(1).log(), target[:, 2:].clamp_min(1).log(), reduction="sum")
    return {"focal": focal, "giou": giou, "l1": (centre + size) / count}, label


def _corners(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
