"""RF-DETR as dustd builds it: the library's own network, told our channels, tile size and encoder depth.

Two changes of parts, none of code: the patch projection becomes a small stack of convolutions (networks trained from
scratch learn blobs far sooner through it; Xiao et al. 2021, "Early convolutions help transformers see better"), and
a short encoder is the first *encoder_layers* blocks of the library's.

The network answers in two ways: `proposals`, every token of the first stage for itself, or `queries`, the decoder's
set prediction. Boxes are in px; the library's own, inside `decode`, are shares of a full tile, whatever the crop.
"""

import functools
import itertools
import logging
import types
import warnings
from collections.abc import Iterator, Mapping
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


def architecture_of(said: Mapping[str, Any]) -> Architecture:
    """Read a shape as `model.yaml` and checkpoints keep it. Raises TypeError on a field that is unknown."""
    shape: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    return Architecture(**shape)


# RF-DETR Medium's encoder and decoder are those of RFDETRMediumConfig.
ARCHITECTURES = {
    "dust-small": Architecture(),
    "dust-medium": Architecture(
        encoder_layers=12, out_feature_indexes=(3, 6, 9, 12), decoder_layers=4, queries=300, query_groups=13
    ),
}


Parts = Any  # the library's model where its parts are named, which its types do not know


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
    with quiet_library():
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
    with quiet_library():
        from rfdetr.models import build_model_from_config

        model: Parts = build_model_from_config(*configs(architecture))
    encoder = model.backbone[0].encoder.encoder
    encoder.encoder.layer = encoder.encoder.layer[: architecture.encoder_layers]
    embeddings = encoder.embeddings
    embeddings.patch_embeddings.projection = Stem(architecture.channels, encoder.config.hidden_size)
    embeddings.patch_embeddings.num_channels = architecture.channels
    with torch.no_grad():  # the library draws them as large as the content, far too loud without pretraining
        embeddings.position_embeddings.mul_(0.02)
    embeddings.interpolate_pos_encoding = types.MethodType(_cut_positions, embeddings)
    return model


def set_crop(model: Parts, crop_px: int) -> None:
    """Make the network see crops of *crop_px* as it would see that part of a full tile (same attention windows)."""
    encoder = model.backbone[0].encoder.encoder
    windows = max(1, 2 * crop_px // TILE_PX)
    encoder.config.num_windows = windows
    encoder.encoder.num_windows = windows
    for module in encoder.modules():
        if hasattr(module, "num_windows"):
            module.num_windows = windows


def features(model: Parts, image: Tensor) -> Tensor:
    """Run encoder and projector: (B, C, H, W) encoded light to (B, width, H/16, W/16) float32.

    Training runs this part, nearly all of the work, in bfloat16 where the device has it (2.6 times as fast on a CPU
    with AVX-512 bf16). Where boxes are reckoned it would be too coarse: its 8 bits are 2 px of a tile.
    """
    backbone = model.backbone[0]
    with torch.autocast(image.device.type, torch.bfloat16, enabled=model.training and has_bfloat16(image.device.type)):
        return backbone.projector(backbone.encoder(image))[0].float()


@functools.cache
def has_bfloat16(device: str) -> bool:
    """Tell whether *device* multiplies bfloat16 matrices faster than float32 ones."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return device == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def propose(model: Parts, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Let every token of *seen* (`features`) speak: logits (B, h·w) and boxes (B, h·w, 4), centre and size in px.

    Tokens are in row-major order. Sizes are measured against 0.05 of a full tile, as the library's own proposals are,
    whatever the crop.
    """
    height, width = seen.shape[-2:]
    tokens = seen.flatten(2).transpose(1, 2)
    head = model.transformer
    hidden = head.enc_output_norm[0](head.enc_output[0](tokens))
    logits = head.enc_out_class_embed[0](hidden)[..., 0]
    delta = head.enc_out_bbox_embed[0](hidden)
    unit_px = 0.05 * TILE_PX
    ys, xs = torch.meshgrid(
        torch.arange(height, device=seen.device), torch.arange(width, device=seen.device), indexing="ij"
    )
    centres = (torch.stack([xs, ys], -1).reshape(1, -1, 2) + 0.5) * TOKEN_PX
    boxes = torch.cat([centres + delta[..., :2] * unit_px, delta[..., 2:].clamp(-4, 3).exp() * unit_px], -1)
    return logits, boxes


def proposals(model: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Run encoder, projector and proposal head over (B, C, H, W) encoded light; answers as `propose` gives them."""
    return propose(model, features(model, image))


def lay_out(seen: Tensor) -> Tensor:
    """Lay crops side by side, row by row, to full tiles: (B, C, h, w) to (B/n², C, n·h, n·w).

    The decoder then meets as many tokens per query, and the same distances, as it will in a tile. Raises ValueError
    unless n × n crops make a tile and B is a multiple of n².
    """
    across = TILE_PX // TOKEN_PX // seen.shape[-1]
    if across * seen.shape[-1] * TOKEN_PX != TILE_PX or len(seen) % across**2:
        raise ValueError(f"{len(seen)} crops of {seen.shape[-1] * TOKEN_PX} px do not make whole tiles")
    grid = seen.unflatten(0, (-1, across, across)).permute(0, 3, 1, 4, 2, 5)
    return grid.flatten(4, 5).flatten(2, 3)


def decode(model: Parts, seen: Tensor) -> dict[str, Any]:
    """Run the library's query selection and decoder over *seen* (`features`) and name the answers as the library does.

    Gives what the library's own `forward` gives for full tiles: `pred_logits` (T, q, 2) and `pred_boxes` (T, q, 4)
    of the last layer, the same of the others in `aux_outputs` and of the first stage in `enc_outputs`; boxes are
    centre and size as shares of a tile, of which there are T = B/n² (`lay_out`). In training q counts all groups.
    """
    sheet = lay_out(seen)
    nothing_padded = torch.zeros(len(sheet), *sheet.shape[-2:], dtype=torch.bool, device=sheet.device)
    rows = len(model.query_feat.weight) if model.training else model.num_queries
    # The third argument, position encodings, is taken but never read by the decoder.
    states, references, hidden, first_boxes, first_logits = model.transformer(
        [sheet], [nothing_padded], [sheet], model.refpoint_embed.weight[:rows], model.query_feat.weight[:rows]
    )
    if first_logits is None:  # one group only
        first_logits = model.transformer.enc_out_class_embed[0](hidden)
    delta = model.bbox_embed(states)
    centres = delta[..., :2] * references[..., 2:] + references[..., :2]
    boxes = torch.cat([centres, delta[..., 2:].exp() * references[..., 2:]], -1)
    *earlier, last = (
        {"pred_logits": logits, "pred_boxes": places}
        for logits, places in zip(model.class_embed(states), boxes, strict=True)
    )
    first = {"pred_logits": first_logits, "pred_boxes": first_boxes}
    return {**last, "aux_outputs": earlier, "enc_outputs": first}


def queries(model: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Run the whole network over (B, C, H, W) encoded light: logits (T, q) and boxes (T, q, 4), px of a full tile.

    Crops smaller than a tile answer together, as `lay_out` lays them; T = B for tiles.
    """
    answer = decode(model, features(model, image))
    return answer["pred_logits"][..., 0], answer["pred_boxes"] * TILE_PX


OUTPUTS = {"proposals": proposals, "queries": queries}


def is_proposal_part(name: str) -> bool:
    """Tell whether a parameter belongs to what `proposals` runs: encoder, projector, proposal head."""
    return name.startswith(("backbone.", *(f"transformer.enc_out{part}.0." for part in _HEAD_PARTS)))


def is_part(name: str, output: str) -> bool:
    """Tell whether a parameter belongs to what `OUTPUTS[output]` runs.

    Queries need all but the proposal heads of the further groups, which only training uses.
    """
    if output == "proposals" or name.startswith("transformer.enc_out"):
        return is_proposal_part(name)
    return True


_HEAD_PARTS = ("put", "put_norm", "_class_embed", "_bbox_embed")


@contextmanager
def quiet_library() -> Iterator[None]:
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
    top = left = torch.zeros(1, dtype=torch.long, device=table.device)
    if self.training:
        top = torch.randint(0, side - rows + 1, (1,), device=table.device)
        left = torch.randint(0, side - columns + 1, (1,), device=table.device)
    grid = table[:, 1:].reshape(1, side, side, -1)
    grid = grid.index_select(1, top + torch.arange(rows, device=table.device))
    grid = grid.index_select(2, left + torch.arange(columns, device=table.device))
    return torch.cat([table[:, :1], grid.reshape(1, rows * columns, -1)], 1)
