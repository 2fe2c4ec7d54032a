"""RF-DETR as dustd builds it: the library's own network, told our channels, tile size and encoder depth.

Two changes of parts, none of code: the patch projection becomes a small stack of convolutions (networks trained from
scratch learn blobs far sooner through it; Xiao et al. 2021, "Early convolutions help transformers see better"), and
a short encoder is the first *encoder_layers* blocks of the library's.
"""

import itertools
import logging
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

TILE_PX = 512
TOKEN_PX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What `model.yaml` says of the network's shape."""

    encoder_layers: int = 4
    out_feature_indexes: tuple[int, ...] = (2, 4)
    decoder_layers: int = 2
    queries: int = 100
    query_groups: int = 4
    channels: int = 8


class Stem(nn.Module):
    """Four strided convolutions in place of one 16×16 projection: (B, C, H, W) to (B, width, H/16, W/16)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        widths = (channels, 32, 64, 128)
        blocks: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            blocks += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.GELU()]
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Conv2d(widths[-1], width, 3, stride=2, padding=1)

    @property
    def weight(self) -> Tensor:
        """The last weights; the library asks them for their dtype."""
        return self.out.weight

    def forward(self, image: Tensor) -> Tensor:
        """Project (B, C, H, W) to tokens (B, width, H/16, W/16)."""
        return self.out(self.blocks(image))


def configs(architecture: Architecture) -> tuple[Any, Any]:
    """Build the library's model and training configuration for *architecture*."""
    with _quiet_library():
        from rfdetr.config import RFDETRNanoConfig, TrainConfig

        model_config = RFDETRNanoConfig(
            num_classes=1,
            pretrain_weights=None,
            device="cpu",
            resolution=TILE_PX,
            positional_encoding_size=TILE_PX // TOKEN_PX,
            patch_size=TOKEN_PX,
            out_feature_indexes=list(architecture.out_feature_indexes),
            dec_layers=architecture.decoder_layers,
            num_queries=architecture.queries,
            num_select=architecture.queries,
            group_detr=architecture.query_groups,
        )
        train_config = TrainConfig(dataset_dir=".", output_dir=".")
    return model_config, train_config


def build(architecture: Architecture) -> nn.Module:
    """Build the network with random weights."""
    with _quiet_library():
        from rfdetr.models import build_model_from_config

        model = build_model_from_config(*configs(architecture))
    encoder = model.backbone[0].encoder.encoder
    encoder.encoder.layer = encoder.encoder.layer[: architecture.encoder_layers]
    embeddings = encoder.embeddings
    embeddings.patch_embeddings.projection = Stem(architecture.channels, encoder.config.hidden_size)
    embeddings.patch_embeddings.num_channels = architecture.channels
    with torch.no_grad():  # the library draws them as large as the content, far too loud without pretraining
        embeddings.position_embeddings.mul_(0.02)
    embeddings.interpolate_pos_encoding = types.MethodType(_cut_positions, embeddings)
    return model


def set_crop(model: nn.Module, crop_px: int) -> None:
    """Make the network see crops of *crop_px* as it would see that part of a full tile (same attention windows)."""
    encoder = model.backbone[0].encoder.encoder
    windows = max(1, 2 * crop_px // TILE_PX)
    encoder.config.num_windows = windows
    encoder.encoder.num_windows = windows
    for module in encoder.modules():
        if hasattr(module, "num_windows"):
            module.num_windows = windows


def proposals(model: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Run encoder, projector and proposal head, densely: every token speaks.

    *image* is (B, C, H, W) encoded light. Returns logits (B, h·w) and boxes (B, h·w, 4) as centre and size in px of
    the image, tokens in row-major order. Sizes are measured against 0.05 of a full tile, as the library's own
    proposals are, whatever the crop.
    """
    from rfdetr.utilities.tensors import nested_tensor_from_tensor_list

    features, _, _ = model.backbone(nested_tensor_from_tensor_list(image))
    source = features[0].tensors
    height, width = source.shape[-2:]
    tokens = source.flatten(2).transpose(1, 2)
    head = model.transformer
    hidden = head.enc_output_norm[0](head.enc_output[0](tokens))
    logits = head.enc_out_class_embed[0](hidden)[..., 0]
    delta = head.enc_out_bbox_embed[0](hidden)
    unit_px = 0.05 * TILE_PX
    ys, xs = torch.meshgrid(
        torch.arange(height, device=image.device), torch.arange(width, device=image.device), indexing="ij"
    )
    centres = (torch.stack([xs, ys], -1).reshape(1, -1, 2) + 0.5) * TOKEN_PX
    boxes = torch.cat([centres + delta[..., :2] * unit_px, delta[..., 2:].clamp(-4, 3).exp() * unit_px], -1)
    return logits, boxes


def is_proposal_part(name: str) -> bool:
    """Tell whether a parameter belongs to what `proposals` runs: encoder, projector, proposal head."""
    return name.startswith(("backbone.", *(f"transformer.enc_out{part}.0." for part in _HEAD_PARTS)))


_HEAD_PARTS = ("put", "put_norm", "_class_embed", "_bbox_embed")


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Keep the library from warning that nothing pretrained is loaded, which is our plan, and of its own imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import rfdetr  # noqa: F401 - sets up its logger, which must be there to be silenced

        logging.getLogger("rf-detr").setLevel(logging.ERROR)
        yield


def _cut_positions(self: Any, embeddings: Tensor, height: int, width: int) -> Tensor:  # noqa: ARG001
    """Give a crop a window of the tile's position table: random while training, the first otherwise.

    Interpolating the table, as the library does, would squeeze a tile's geometry into a crop.
    """
    table = self.position_embeddings
    side = TILE_PX // TOKEN_PX
    rows, columns = height // TOKEN_PX, width // TOKEN_PX
    if (rows, columns) == (side, side):
        return table
    top = left = 0
    if self.training:
        top = int(torch.randint(0, side - rows + 1, ()))
        left = int(torch.randint(0, side - columns + 1, ()))
    grid = table[:, 1:].reshape(1, side, side, -1)[:, top : top + rows, left : left + columns]
    return torch.cat([table[:, :1], grid.reshape(1, rows * columns, -1)], 1)
