"""Export of a network for OpenVINO: what `proposals` runs, in 8-bit integers, as `network.xml` and `network.bin`."""

import warnings
from pathlib import Path

import numpy as np
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


def export(network: nn.Module, architecture: Architecture, tiles: np.ndarray, folder: Path) -> None:
    """Write `network.xml` and `network.bin` into *folder*, for tiles one at a time.

    Multiplications are done in int8, with ranges taken from *tiles* (n, channels, TILE_PX, TILE_PX), encoded as in
    training; the rest is float16 in the file, and what the engine likes when it runs: bfloat16 where the CPU has it.
    What int8 costs and gives is in docs/detector.md.
    """
    import nncf  # slow to import, and only here

    set_crop(network, TILE_PX)
    example = torch.zeros(1, architecture.channels, TILE_PX, TILE_PX)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined] # shapes are constant
        warnings.simplefilter("ignore", FutureWarning)  # OpenVINO's converter traces, which torch will give up
        model = ov.convert_model(_Proposals(network.eval()), example_input=example, input=[list(example.shape)])
    quantised = nncf.quantize(
        model,
        nncf.Dataset(tiles, lambda tile: tile[None].astype(np.float32)),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(tiles),
    )
    ov.save_model(quantised, folder / EXPORTED, compress_to_fp16=True)
