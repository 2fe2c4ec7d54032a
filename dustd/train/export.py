"""Export of a network for OpenVINO: what `proposals` runs, with weights as float16 or, if asked for, 8-bit integers."""

import hashlib
from collections.abc import Iterable
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


def export(network: nn.Module, architecture: Architecture, folder: Path, tiles: Iterable[np.ndarray] = ()) -> str:
    """Write `network.xml` and `network.bin` into *folder*; returns the sha256 of the latter.

    With encoded *tiles* (C, 512, 512) to calibrate by, matrices become 8-bit integers, else float16.
    """
    set_crop(network, TILE_PX)
    module = _Proposals(network.eval())
    example = torch.zeros(1, architecture.channels, TILE_PX, TILE_PX)
    with torch.inference_mode():
        model = ov.convert_model(module, example_input=example, input=[list(example.shape)])
    calibration = list(tiles)
    if calibration:
        import nncf

        model = nncf.quantize(
            model,
            nncf.Dataset(calibration, lambda tile: np.ascontiguousarray(tile)[None]),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration),
        )
    ov.save_model(model, folder / EXPORTED, compress_to_fp16=True)
    return hashlib.sha256((folder / EXPORTED).with_suffix(".bin").read_bytes()).hexdigest()
