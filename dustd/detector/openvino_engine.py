"""The network in OpenVINO, for CPUs: several tiles side by side, each by its own stream of threads."""

from collections.abc import Callable, Sequence

import numpy as np
import openvino as ov

from dustd.detector.model import ModelCard
from dustd.errors import ModelError


def load_network(card: ModelCard, threads: int) -> Callable[[Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray]]:
    """Compile the exported network for *threads* cores; returns a `model.Network`.

    A stream per core is fastest: tiles have nothing to wait for each other about. bfloat16 is used where the CPU has
    it. Raises ModelError if the file cannot be loaded.
    """
    core = ov.Core()
    settings = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": str(threads),
        "INFERENCE_NUM_THREADS": str(threads),
    }
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        settings["INFERENCE_PRECISION_HINT"] = "bf16"
    try:
        compiled = core.compile_model(str(card.exported), "CPU", settings)
    except RuntimeError as exc:
        raise ModelError(
            "the exported network cannot be loaded", remedy="Install dustd again", path=card.exported
        ) from exc
    queue = ov.AsyncInferQueue(compiled, threads)

    def run(images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        nonlocal queue
        try:
            return ask(images)
        except RuntimeError:
            queue = ov.AsyncInferQueue(compiled, threads)  # what still runs there must not answer for the next frame
            raise

    def ask(images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        answers: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0), np.empty(0))] * len(images)

        def keep(request: ov.InferRequest, index: int) -> None:
            logits, boxes = (request.get_output_tensor(output).data.copy() for output in (0, 1))
            answers[index] = (logits[0], boxes[0])

        queue.set_callback(keep)
        inputs = [np.ascontiguousarray(image)[None] for image in images]  # kept: the network reads them where they are
        for index, image in enumerate(inputs):
            queue.start_async({0: image}, index, share_inputs=True)
        queue.wait_all()
        logits, boxes = zip(*answers, strict=True)
        return np.stack(logits), np.stack(boxes)

    return run
