"""Review pages on disk: one for a run of `dustd clean`, and one beside the cleaned files that the daemon carries on.

What goes wrong here is logged and costs the page, never a frame.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from dustd import codec, files
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
        self._sections: dict[str, Section] = {}

    def add(self, out_folder: Path, record: Record, exhibit: Exhibit | None) -> None:
        """Take a frame; see `dustd.pipeline.frame_pipeline.Reviewer`."""
        new = section(self.root, out_folder, record, exhibit)
        self._sections[new.key] = new  # in the place of what was decided first

    def text(self) -> str:
        """Give the page, the frame with the worst spot first."""
        corrected = sum(each.corrected for each in self._sections.values())
        said = f"{counted(len(self._sections), 'frame')}, {counted(corrected, 'spot')} corrected."
        return review_page.page("What dustd corrected", said, review_page.worst_first(tuple(self._sections.values())))


class SessionPages:
    """The daemon's pages, one per output folder: the latest frames, the last one first.

    What is on a page is kept beside it as data, a file per frame in the folder *kept*, so that a restart carries it
    on; a page that a person deletes begins anew. *roots* are the output folders.
    """

    room_bytes = SESSION_ROOM_BYTES

    def __init__(self, roots: Sequence[Path], kept: Path) -> None:
        self._roots, self._kept = roots, kept

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
            files.overwrite(path, _session_page(self._carry_on(root, new, begun=bool(before))).encode())
        except (DustdError, OSError) as exc:
            log.warning("no_session_page", path=str(path), problem=str(exc))

    def retell(self, out_folder: Path, record: Record) -> None:
        """Say on its page what a person's verdicts changed in a frame; a frame that is on none changes nothing."""
        root = next((root for root in self._roots if out_folder.is_relative_to(root)), None)
        if root is None or not (root / SESSION_NAME).is_file():
            return
        try:
            key, cleaned = _names(root, out_folder, record)
            kept = [
                review_page.retold(each, record, cleaned) if each.key == f"f{key}" else each
                for each in _read(self._folder(root))
            ]
            for each in kept:
                if each.key == f"f{key}":
                    files.overwrite(self._folder(root) / f"{each.key}.json", _laid_out(each))
                    files.overwrite(root / SESSION_NAME, _session_page(kept).encode())
        except (DustdError, OSError) as exc:
            log.warning("no_session_page", path=str(root / SESSION_NAME), problem=str(exc))

    def _folder(self, root: Path) -> Path:
        return self._kept / _key(root.absolute().as_posix())

    def _carry_on(self, root: Path, new: Section, *, begun: bool) -> list[Section]:
        """Put a frame in front of the others of a page; the oldest roll off when it is full.

        The others are read anew, as `dustd reject` may have changed them since.
        """
        folder = self._folder(root)
        folder.mkdir(parents=True, exist_ok=True)
        known = _read(folder)
        new = replace(new, number=1 + max((each.number for each in known), default=0))
        kept, left = [new], SESSION_PAGE_BYTES - new.size
        for each in known if begun else ():
            left -= each.size
            if left < 0:
                break
            if each.key != new.key:
                kept.append(each)
        files.overwrite(folder / f"{new.key}.json", _laid_out(new))
        names = {f"{each.key}.json" for each in kept}
        for path in folder.glob("*.json"):
            if path.name not in names:
                path.unlink()
        return kept


def section(root: Path, out_folder: Path, record: Record, exhibit: Exhibit | None) -> Section:
    """Lay out one frame; its command names the cleaned file as seen from *root*."""
    key, cleaned = _names(root, out_folder, record)
    return review_page.section(key, record, exhibit, cleaned)


def _names(root: Path, out_folder: Path, record: Record) -> tuple[str, str]:
    """Give a frame's key on the page of *root*, and its cleaned file as seen from there."""
    picture = next((out.path for out in record.outputs if out.kind in ("dng", "tiff", "jpeg")), None)
    name = picture or sidecar_name(record.source.name)
    cleaned = (out_folder.absolute() / name).relative_to(root.absolute()).as_posix()
    place = (out_folder.absolute() / record.source.name).relative_to(root.absolute()).as_posix()
    return _key(place), cleaned


def _laid_out(each: Section) -> bytes:
    return codec.to_bytes(codec.DEFAULT.plain(each))


def _read(folder: Path) -> list[Section]:
    """Read the frames that were kept, the last one first; what cannot be read is left out."""
    found = []
    for path in folder.glob("*.json"):
        try:
            found.append(codec.DEFAULT.read(Section, codec.parse(path.read_bytes())))
        except ValueError:
            log.warning("kept_frame_unreadable", path=str(path), remedy="Nothing to do; the page does without it")
    return sorted(found, key=lambda each: -each.number)


def _session_page(sections: Sequence[Section]) -> str:
    corrected = sum(each.corrected for each in sections)
    frames = f"The latest {len(sections)} frames" if len(sections) != 1 else "The latest frame"
    said = f"{frames}, the last one first; {counted(corrected, 'spot')} corrected in all."
    return review_page.page("What dustd corrects in this session", said, sections)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
