"""Which folders there are below the output folders: where the outputs of a folder lie that was renamed or moved."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

REST_S = 5.0  # a look is good for so long
REST_SHARE = 50  # and for so many times as long as it took: a big share is not searched for every frame


class OutputTree:
    """The folders below *roots*, looked for only now and then. *clock* gives seconds."""

    def __init__(self, roots: Sequence[Path] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._roots = tuple(roots)
        self._clock = clock
        self._folders: dict[Path, tuple[tuple[Path, ...], float]] = {}  # until when

    def others(self, out_folder: Path) -> tuple[Path, ...]:
        """Give the folders of all trees without *out_folder* itself; none if that lies in no tree."""
        if not any(out_folder.is_relative_to(root) for root in self._roots):
            return ()
        return tuple(folder for root in self._roots for folder in self._below(root) if folder != out_folder)

    def _below(self, root: Path) -> tuple[Path, ...]:
        began = self._clock()
        folders, good_until = self._folders.get(root, ((), began))
        if began >= good_until:
            folders = tuple(Path(parent) for parent, _, _ in os.walk(root))
            now = self._clock()
            self._folders[root] = (folders, now + max(REST_S, REST_SHARE * (now - began)))
        return folders
