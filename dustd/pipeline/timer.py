"""How long each step of a frame takes, for its sidecar."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timer:
    """Adds up wall time by step, in milliseconds."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._ms: dict[str, float] = {}
        self._running: tuple[str, float] | None = None

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Count the time that the block takes towards *step*."""
        began = time.perf_counter()
        self._running = (step, began)
        yield
        self._running = None
        self._ms[step] = self._ms.get(step, 0.0) + (time.perf_counter() - began) * 1000

    def timings_ms(self) -> dict[str, float]:
        """All steps so far, a running one as far as it has come, and the total."""
        now = time.perf_counter()
        steps = dict(self._ms)
        if self._running is not None:
            step, began = self._running
            steps[step] = steps.get(step, 0.0) + (now - began) * 1000
        total = (now - self._began) * 1000
        return {step: round(ms, 1) for step, ms in steps.items()} | {"total": round(total, 1)}
