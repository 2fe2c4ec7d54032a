"""How `dustd.pipeline.worker_client` and `dustd.pipeline.worker` speak: pickles over a line, and samples through
memory that both share.

Both ends are dustd's own and the line is private to them, so that pickles are safe here. They take turns, so that one
piece of memory does for both directions.
"""

import os
import pickle
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dustd.errors import DustdError


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An answer that is an error: one of dustd's (*kind*), or one that nobody foresaw, its traceback as *remedy*."""

    kind: type[DustdError] | None
    problem: str
    remedy: str
    path: Path | None


def send(line: Connection, memory: int, value: object) -> None:
    """Send *value*, its arrays and `pickle.PickleBuffer`s through *memory*. Raises OSError if nobody is there."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    sizes: list[int] = []
    for buffer in buffers:
        _write(memory, buffer.raw(), sum(sizes))
        sizes.append(buffer.raw().nbytes)
    line.send((head, sizes))


def receive(line: Connection, memory: int) -> Any:
    """Wait for a value. Raises EOFError or OSError if the other side is gone."""
    head, sizes = line.recv()
    buffers, at = [], 0
    for size in sizes:
        buffers.append(_read(memory, size, at))
        at += size
    if at:
        os.ftruncate(memory, 0)
    return pickle.loads(head, buffers=buffers)


def _write(memory: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(memory, data, at)  # Linux writes at most 2 GiB at once
        data, at = data[written:], at + written


def _read(memory: int, size: int, at: int) -> bytearray:
    data = bytearray(size)
    left = memoryview(data)
    while left:
        count = os.preadv(memory, [left], at)
        if not count:
            raise EOFError
        left, at = left[count:], at + count
    return data
