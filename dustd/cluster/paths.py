"""How workers name what this machine names otherwise: the same share may be mounted elsewhere there."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dustd.errors import UsageError


@dataclass(frozen=True, slots=True)
class PathMap:
    """Pairs of folders, here and there; the longest that fits counts. Without any, names are the same."""

    pairs: tuple[tuple[Path, Path], ...] = ()

    @classmethod
    def read(cls, texts: Iterable[str]) -> Self:
        """Read LOCAL=REMOTE, both absolute. Raises UsageError."""
        pairs = []
        for text in texts:
            here, _, there = text.partition("=")
            if not (Path(here).is_absolute() and Path(there).is_absolute()):
                raise UsageError(
                    f"--map-path {text} does not name two absolute folders", remedy="Say --map-path /here=/there"
                )
            pairs.append((Path(here), Path(there)))
        return cls(tuple(sorted(pairs, key=lambda pair: -len(pair[0].parts))))

    def there(self, path: Path) -> Path:
        """Name an absolute path of this machine as workers do."""
        for here, there in self.pairs:
            if path.is_relative_to(here):
                return there / path.relative_to(here)
        return path
