"""Export of a network for OpenVINO: what `proposals` runs, as `network.xml` and `network.bin`."""

import warnings
from pathlib import Path

import openvino as ov
import torch
from torch import Tensor, nn

from dustd.detector.network import TILE_PX, Architecture, proposals, set_crop

EXPORTED = "network.xml"


class _Proposals(nn.Module):
    """`network.proposals` as a module, which is what can be traced."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits (1, n) and boxes (1, n, 4) of one encoded tile."""
        return proposals(self.network, image)


def export(network: nn.Module, architecture: Architecture, folder: Path) -> None:
    """Write `network.xml` and `network.bin` into *folder*, for tiles one at a time; weights become float16.

    What it computes in is the engine's affair: bfloat16 where the CPU has it.
    """
    set_crop(network, TILE_PX)
    example = torch.zeros(1, architecture.channels, TILE_PX, TILE_PX)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined] # shapes are constant
        warnings.simplefilter("ignore", FutureWarning)  # OpenVINO's converter traces, which torch will give up
        model = ov.convert_model(_Proposals(network.eval()), example_input=example, input=[list(example.shape)])
    ov.save_model(model, folder / EXPORTED, compress_to_fp16=True)
