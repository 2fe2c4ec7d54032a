"""Which engine and device can run the network here: what is installed, and what this machine has.

The light core brings OpenVINO for CPUs; torch, for GPUs, comes with the extra `dustd[gpu]`.
"""

import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dustd.errors import ModelError

if TYPE_CHECKING:
    from dustd.detector.model import ModelCard

GPU_EXTRA = "pip install 'dustd[gpu]'"
_NEEDED_FOR_TORCH = ("torch", "torchvision", "rfdetr")
_NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")  # a folder per GPU, from NVIDIA's driver for Linux
# GPUs of AMD, which a torch built for them uses, and whatever GPU Windows lends to a Linux inside it (WSL).
_OTHER_GPUS = (Path("/dev/kfd"), Path("/dev/dxg"))


def has_torch() -> bool:
    """Tell whether all that the engine torch needs is installed."""
    return all(find_spec(name) is not None for name in _NEEDED_FOR_TORCH)


def gpu_here() -> str | None:
    """Name the maker of a GPU that torch could use, found without torch: "NVIDIA", "Apple", or None."""
    if sys.platform == "darwin":
        return "Apple" if platform.machine() == "arm64" else None
    if sys.platform == "win32":
        return "NVIDIA" if shutil.which("nvidia-smi") else None
    return "NVIDIA" if any(_NVIDIA_GPUS.glob("*")) else None


def choose_engine(
    wanted_engine: str, wanted_device: str, card: "ModelCard"
) -> tuple[Literal["openvino", "torch"], str]:
    """Turn "auto" into the best engine and device there are for a model; check that wanted ones exist.

    CUDA and MPS run torch, a CPU runs OpenVINO; "auto" does not even load torch where there is no trace of a GPU.
    Raises ModelError if what is wanted is not there.
    """
    torch_there = has_torch()
    if wanted_engine == "torch" and not torch_there:
        raise ModelError(
            "the engine torch is not installed", remedy=f"Install it: {GPU_EXTRA}; or set model.engine to auto"
        )
    if wanted_device in ("cuda", "mps") and wanted_engine == "openvino":
        raise ModelError(
            f"the engine openvino runs on CPUs, not on {wanted_device}",
            remedy="Set model.device or model.engine to auto",
        )
    if wanted_device in ("cuda", "mps") and not torch_there:
        raise ModelError(
            f"the device {wanted_device} needs the engine torch, which is not installed",
            remedy=f"Install it: {GPU_EXTRA}; or set model.device to auto",
        )
    device = "cpu"
    may_be_gpu = gpu_here() is not None or any(trace.exists() for trace in _OTHER_GPUS)
    worth_asking = wanted_device in ("cuda", "mps") or (wanted_device == "auto" and may_be_gpu)
    if worth_asking and torch_there and wanted_engine != "openvino":
        device = choose_device(wanted_device)
    if device != "cpu" or wanted_engine == "torch":
        return "torch", device
    if card.exported is not None:
        return "openvino", device
    if wanted_engine == "openvino" or not torch_there:
        raise ModelError(
            "the model has no exported network for the engine openvino",
            remedy=f"Choose another model, or let torch run it: {GPU_EXTRA}, with model.engine set to auto",
            path=card.folder,
        )
    return "torch", device


def choose_device(wanted: str) -> str:
    """Turn "auto" into the best device torch has; check that a wanted one exists. Raises ModelError if not."""
    devices = _devices()
    if wanted == "auto":
        return devices[0]
    if wanted not in devices:
        raise ModelError(f"this machine has no {wanted} device for the model", remedy="Set model.device to auto")
    return wanted


def _devices() -> tuple[str, ...]:
    """List the devices that torch has here, best first."""
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return tuple(name for name, there in available.items() if there)
