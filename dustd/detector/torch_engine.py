"""The network in torch: on CUDA and MPS, and on a CPU where OpenVINO is not wanted."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from dustd.detector import encoding, encoding_torch
from dustd.detector.model import ModelCard
from dustd.detector.network import OUTPUTS, architecture_of, build, is_part, set_crop
from dustd.errors import ModelError


def load_network(
    card: ModelCard, device: str, threads: int
) -> Callable[[Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray]]:
    """Build the network, fill in its weights and put it on *device*; returns a `model.Network`.

    On a CPU *threads* tiles are looked at side by side, each by one thread. Letting torch share one tile between
    threads is no faster, and beside another busy program ten times slower (3.6 s against 0.37 s a tile on two cores),
    as its threads spin while they wait for each other. Raises ModelError if the weights do not fit.
    """
    if card.output not in OUTPUTS:
        raise ModelError(
            f"its model.yaml asks for the output {card.output!r}, this dustd knows {', '.join(OUTPUTS)}",
            remedy="Install the dustd version that came with the model",
            path=card.folder,
        )
    network = build(architecture_of(card.architecture))
    weights = torch.load(card.weights, map_location="cpu", weights_only=True)
    try:
        missing, unexpected = network.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    except RuntimeError:  # torch's, for tensors of another shape
        missing, unexpected = [], ["?"]
    if unexpected or any(is_part(name, card.output) for name in missing):
        raise ModelError("the weights do not fit the network", remedy="Install dustd again", path=card.weights)
    set_crop(network, card.tile_px)
    network.eval().requires_grad_(False).to(device)
    answer = OUTPUTS[card.output]

    def run(images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            logits, boxes = answer(network, torch.from_numpy(np.stack(images)).to(device))
            return logits.cpu().numpy(), boxes.cpu().numpy()

    if device != "cpu":
        return run
    torch.set_num_threads(1)
    if threads == 1:
        return run
    pool = ThreadPoolExecutor(threads)

    def side_by_side(images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        answers = list(pool.map(run, ([image] for image in images)))
        return np.concatenate([logits for logits, _ in answers]), np.concatenate([boxes for _, boxes in answers])

    return side_by_side


def make_encoder(device: str) -> Callable[[np.ndarray], np.ndarray]:
    """Give the encoding for *device*: on a CPU by OpenCV, else by torch there."""
    if device == "cpu":
        return encoding.encode

    def encode(light: np.ndarray) -> np.ndarray:
        height, width = light.shape[:2]
        grid = encoding.GRID_PX
        light = np.pad(light, ((0, -height % grid), (0, -width % grid), (0, 0)), mode="edge")
        with torch.inference_mode():
            image = encoding_torch.encode(torch.from_numpy(light).permute(2, 0, 1)[None].to(device))
            return image[0, :, :height, :width].cpu().numpy()

    return encode
