"""Review pages on disk: one for a run of `dustd clean`, and one beside the cleaned files that the daemon carries on.

What goes wrong here is logged and costs the page, never a frame.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import structlog

from dustd import files
from dustd.errors import DustdError
from dustd.output.sidecar import Record, sidecar_name
from dustd.pipeline.exhibit import Exhibit
from dustd.report import review_page
from dustd.report.review_page import Section
from dustd.text import counted

log = structlog.get_logger()

PAGE_BYTES = 18_000_000  # of a page for a whole run, which a laptop still opens at once
SESSION_PAGE_BYTES = 6_000_000  # of a page that is written anew with every frame
SESSION_ROOM_BYTES = 240_000  # for the pictures of one of its frames
LEAST_ROOM_BYTES, MOST_ROOM_BYTES = 20_000, 600_000
SESSION_NAME = "dustd-review.html"
_BASE64 = 4 / 3
_TEXT_SHARE = 0.85  # of a page's bytes are pictures, at most


class Book:
    """The page of one run over *frames* frames into *root*: collects sections until it is told to write."""

    def __init__(self, root: Path, frames: int) -> None:
        self.root = root.absolute()
        room = PAGE_BYTES * _TEXT_SHARE / _BASE64 / max(frames, 1)
        self.room_bytes = int(min(max(room, LEAST_ROOM_BYTES), MOST_ROOM_BYTES))
        self._sections: list[Section] = []

    def add(self, out_folder: Path, record: Record, exhibit: Exhibit | None) -> None:
        """Take a frame; see `dustd.pipeline.frame_pipeline.Reviewer`."""
        self._sections.append(section(self.root, out_folder, record, exhibit))

    def text(self) -> str:
        """Give the page, the frame with the worst spot first."""
        corrected = sum(each.corrected for each in self._sections)
        said = f"{counted(len(self._sections), 'frame')}, {counted(corrected, 'spot')} corrected."
        return review_page.page("What dustd corrected", said, review_page.worst_first(self._sections))


class SessionPages:
    """The daemon's pages, one per output folder: the latest frames, the last one first.

    A page is its own memory: what is in it is read before a frame is added, so that a restart carries it on, and what
    a person deletes is gone. *roots* are the output folders.
    """

    room_bytes = SESSION_ROOM_BYTES

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = roots

    def add(self, out_folder: Path, record: Record, exhibit: Exhibit | None) -> None:
        """Take a frame and write its page anew; see `dustd.pipeline.frame_pipeline.Reviewer`."""
        root = next((root for root in self._roots if out_folder.is_relative_to(root)), None)
        if root is None:
            return
        path = root / SESSION_NAME
        try:
            new = section(root, out_folder, record, exhibit)
            before = path.read_bytes() if path.is_file() else b""
            if before and not review_page.is_page(before):
                log.warning("no_session_page", path=str(path), problem="a file that dustd did not write has this name")
                return
            known = review_page.sections(before.decode(errors="replace"))
            files.overwrite(path, _carried_on(new, known).encode())
        except (DustdError, OSError) as exc:
            log.warning("no_session_page", path=str(path), problem=str(exc))


def section(root: Path, out_folder: Path, record: Record, exhibit: Exhibit | None) -> Section:
    """Lay out one frame; its command names the cleaned file as seen from *root*."""
    picture = next((out.path for out in record.outputs if out.kind in ("dng", "tiff", "jpeg")), None)
    name = picture or sidecar_name(record.source.name)
    cleaned = (out_folder.absolute() / name).relative_to(root.absolute()).as_posix()
    place = (out_folder.absolute() / record.source.name).relative_to(root.absolute()).as_posix()
    key = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:16]
    return review_page.section(key, record, exhibit, cleaned)


def _carried_on(new: Section, known: Sequence[Section]) -> str:
    """Put a frame in front of the others; the oldest roll off when the page is full."""
    kept, left = [new], SESSION_PAGE_BYTES - len(new.text)
    for each in known:
        left -= len(each.text)
        if left < 0:
            break
        if each.key != new.key:
            kept.append(each)
    corrected = sum(each.corrected for each in kept)
    frames = f"The latest {len(kept)} frames" if len(kept) != 1 else "The latest frame"
    said = f"{frames}, the last one first; {counted(corrected, 'spot')} corrected in all."
    return review_page.page("What dustd corrects in this session", said, kept)
