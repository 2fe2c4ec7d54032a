"""What tether programs leave in a folder, and what that asks of the configuration.

Looks at names only, and only at the folder, those around it and what lies directly in it.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_LOOKED_AT = 2000  # names in a folder; a layout shows in the first few


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a folder is to be watched: *watch* is the folder itself or the one in it that frames land in.

    *output* is where cleaned files go, None for the usual folder inside. *quiet_s* is longer than usual where the
    program comes back to a file; *why* says for the configuration what was seen.
    """

    program: str
    watch: Path
    why: str
    output: Path | None = None
    order: Literal["oldest", "newest"] = "oldest"
    quiet_s: float | None = None


def recognise(folder: Path) -> Layout:
    """Tell which program's folder *folder* is, by its layout. Raises OSError if it cannot be read."""
    for known in (_capture_one, _digicamcontrol, _gphoto2, _lightroom):
        layout = known(folder)
        if layout is not None:
            return layout
    return Layout(program="", watch=folder, why="cleaned files go into Cleaned inside it")


def _capture_one(folder: Path) -> Layout | None:
    """A session: SESSION.cosessiondb beside the folders Capture, Selects, Output and Trash."""
    session = next((each for each in (folder, folder.parent) if _has(each, r".*\.cosessiondb")), None)
    if session is None or (folder != session and folder.name != "Capture"):
        return None
    watch = session / "Capture"
    return Layout(
        program="Capture One",
        watch=watch if watch.is_dir() else session,
        output=session / "Cleaned" if watch.is_dir() else None,
        order="newest",
        why=f"the Capture folder of the session {session.name}; cleaned files go beside it, where they are a folder of "
        "the session's own",
    )


def _digicamcontrol(folder: Path) -> Layout | None:
    """A session folder, which digiCamControl makes below Pictures/digiCamControl."""
    if not any(part.lower() == "digicamcontrol" for part in folder.parts):
        return None
    return Layout(
        program="digiCamControl",
        watch=folder,
        order="newest",
        quiet_s=3.0,
        why="a session of digiCamControl, which writes its tags into a file after it has landed: hence the longer rest",
    )


def _gphoto2(folder: Path) -> Layout | None:
    """Where gphoto2 --capture-tethered writes: capt0000.cr2, and tmpfileXXXXXX while it does."""
    if not _has(folder, r"capt\d{4}\.\w+|tmpfile\w{6}"):
        return None
    return Layout(
        program="gphoto2",
        watch=folder,
        why="written by gphoto2, which gives each file the camera's time: so the order is that of the shots",
    )


def _lightroom(folder: Path) -> Layout | None:
    """A catalogue's folder or one below it (NAME.lrcat, NAME Previews.lrdata), or one named as Lightroom does."""
    near = any(_has(each, r".*\.(lrcat|lrdata)") for each in (folder, *folder.parents[:2]))
    if not near and folder.name != "Studio Session":
        return None
    return Layout(
        program="Lightroom",
        watch=folder,
        order="newest",
        why="a tether folder of Lightroom; Synchronize Folder takes the cleaned files in",
    )


def _has(folder: Path, pattern: str) -> bool:
    """Tell whether a name in *folder* matches; a folder that is not there has none."""
    if not folder.is_dir():
        return False
    return any(re.fullmatch(pattern, each.name) for each in itertools.islice(folder.iterdir(), _LOOKED_AT))
