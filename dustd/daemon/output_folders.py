"""Output folders that were on a disk of their own: nothing is made under their mount point while the disk is away."""

from dataclasses import dataclass
from pathlib import Path

from dustd import files
from dustd.errors import SurroundingsError


@dataclass(frozen=True, slots=True)
class _Place:
    device: int
    is_mount: bool


class OutputFolders:
    """Makes output folders and remembers on which disk each root was, for as long as the program runs."""

    def __init__(self) -> None:
        self._places: dict[Path, _Place] = {}

    def make(self, folder: Path, root: Path) -> None:
        """Create *folder* below *root*, as `files.make_output_folder`.

        Raises SurroundingsError also if *root*, or the folder that it was in, was a disk or share that is away now:
        what remains of it is an empty mount point.
        """
        before = self._places.get(root)
        if before is not None and _is_away(root, before):
            raise SurroundingsError(
                "the disk or share of the output folder is away",
                remedy="Connect it again; dustd goes on by itself. If it was moved on purpose, restart dustd",
                path=root,
            )
        files.make_output_folder(folder, root)
        try:
            self._places[root] = _Place(root.stat().st_dev, root.is_mount())
        except OSError:  # gone again; the next frame tells
            self._places.pop(root, None)


def _is_away(root: Path, before: _Place) -> bool:
    try:
        if root.exists():
            return before.is_mount and not root.is_mount()
        return root.parent.exists() and root.parent.stat().st_dev != before.device and not before.is_mount
    except OSError:
        return False
