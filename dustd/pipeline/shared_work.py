"""Measuring the spots of a frame on two cores: half of them here, half in the worker process, which holds it, too.

Measuring a spot is hundreds of small steps of Python, so that threads do not help: each waits for the other's.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Sequence[Result]]


def share(items: Sequence[Item], here: Work[Item, Result], there: Work[Item, Result] | None) -> list[Result]:
    """Let *here* do every other item and *there* the rest, at the same time; return what each gave, in order.

    Without *there*, *here* does all. Raises what either raises, when both are done.
    """
    if there is None or len(items) < 2:
        return list(here(items))
    with ThreadPoolExecutor(1) as beside:
        others = beside.submit(there, items[1::2])
        mine = here(items[::2])
        theirs = others.result()
    results = [*mine, *theirs]
    results[::2], results[1::2] = mine, theirs
    return results
