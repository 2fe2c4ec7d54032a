"""What the sidecars on disk prove: which frames are done, and which files dustd wrote itself.

There is no other ledger. A sidecar that speaks about the source as it is now means "done", so restarts, rescans and
repeated events cost nothing, and deleting a sidecar makes dustd look at the frame again. Whose an output is, the
identity of its source says (its hash, and that of its samples), not its name: docs/outputs.md.
"""

import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dustd import codec, files
from dustd.errors import FrameError
from dustd.output.mark import is_marked
from dustd.output.sidecar import SCHEMA, SUFFIX, Evidence, Output, Problem, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    name: str
    folder: str | None
    frame_id: str | None
    size: int
    mtime_ns: int
    ctime_ns: int | None
    source_sha256: str
    sha256: str
    outputs: tuple[tuple[str, str], ...]  # path, sha256
    failure: tuple[str, str] | None  # problem, remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What of a sidecar is looked at here; the rest may be garbled."""

    status: str
    source: Source
    outputs: tuple[Output, ...]
    error: Problem | None = None
    evidence: Evidence | None = None


def is_done(source: Path, sidecar: Path) -> bool:
    """Tell whether *sidecar* speaks about *source* as it is now. Never raises.

    Size and mtime tell nearly always. Where the system has changed something about the file since (it was copied,
    renamed, given other rights, or another exposure came under its name), its content is asked, once.
    """
    entry = _read(sidecar)
    try:
        now = source.stat()
        if entry is None or (entry.size, entry.mtime_ns) != (now.st_size, now.st_mtime_ns):
            return False
        if entry.ctime_ns in (None, now.st_ctime_ns) or not entry.source_sha256:
            return True
        return _sha256_now(source) == entry.source_sha256
    except OSError:
        return False


def failure(sidecar: Path) -> tuple[str, str] | None:
    """Give problem and remedy if *sidecar* says that its frame failed. Never raises."""
    entry = _read(sidecar)
    return entry.failure if entry is not None else None


def vouched(sidecar: Path) -> frozenset[str]:
    """Give the SHA-256 (hex) of all that *sidecar* proves to be dustd's: itself and the outputs it lists.

    Empty if there is none. Never raises.
    """
    entry = _read(sidecar)
    if entry is not None:
        return frozenset({entry.sha256, *(sha256 for _, sha256 in entry.outputs)})
    try:  # a name reserved by `files.publish` just before a kill
        reserved = sidecar.stat().st_size == 0
    except OSError:
        reserved = False
    return frozenset({hashlib.sha256(b"").hexdigest()} if reserved else ())


def sha256_of(sidecar: Path) -> str | None:
    """Give the SHA-256 (hex) of a sidecar of dustd's, None if it is none. Never raises."""
    entry = _read(sidecar)
    return entry.sha256 if entry is not None else None


def left_behind(
    source: Path, path: Path, *, sha256: str = "", frame_id: str | None = None, elsewhere: Iterable[Path] = ()
) -> Iterator[Path]:
    """Find the other sidecars than *path* that speak of the exposure at *source* and have lost their own source.

    Beside *path* they have another name: their source was renamed since, or its name was taken by another exposure for
    a while (they were set aside). In the folders *elsewhere* they have the same: their source was moved, or its folder
    renamed. *sha256* is of the source, *frame_id* of its samples; either proves it. Sidecars that tell of failures are
    left out, and so are those of a copy that is still where it was. Never raises.
    """
    for each in (*_renamed(source, path), *(folder / path.name for folder in elsewhere)):
        entry = _read(each)
        if entry is None or entry.failure is not None or not entry.source_sha256:
            continue
        if each.parent != path.parent and entry.folder is None:  # nobody knows where its source was
            continue
        same = entry.source_sha256 == sha256 or (frame_id is not None and entry.frame_id == frame_id)
        if same and not _has_its_source(entry, each.parent, source):
            yield each


def lost_source(path: Path, folder: Path) -> Path | None:
    """Say where the source of the sidecar *path* lay, if it is no more in *folder*, where it should be; else None.

    A sidecar that was set aside has lost it when another exposure has its name. None, too, for what is no sidecar of
    dustd's. Never raises.
    """
    entry = _read(path)
    if entry is None:
        return None
    source = folder / entry.name
    if path.name == entry.name + SUFFIX:
        return None if os.path.lexists(source) else source
    return None if is_done(source, path) else source


def _renamed(source: Path, path: Path) -> list[Path]:
    """Find the sidecars beside *path* whose source is not beside *source* under its name."""
    try:
        present = set(os.listdir(source.parent))  # noqa: PTH208 - names are all it needs
        beside = [name for name in os.listdir(path.parent) if name.endswith(SUFFIX) and name != path.name]  # noqa: PTH208
    except OSError:
        return []
    return [path.parent / name for name in sorted(beside) if name.removesuffix(SUFFIX) not in present]


def _has_its_source(entry: _Entry, out_folder: Path, source: Path) -> bool:
    """Tell whether the file that *entry* speaks of is still where it was, and is not *source* itself."""
    folder = source.parent if entry.folder is None else Path(os.path.normpath(out_folder / entry.folder))
    place = folder / entry.name
    if os.path.abspath(place) == os.path.abspath(source):  # noqa: PTH100 - links stay
        return False
    try:
        now = place.stat()
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns) == (entry.size, entry.mtime_ns)


def is_own_output(path: Path) -> bool:
    """Tell whether dustd wrote the DNG *path*: a sidecar beside it lists it as it is. Never raises."""
    if path.suffix.lower() != ".dng":
        return False
    try:
        return is_vouched(path, sidecars_by_stem(os.listdir(path.parent)))  # noqa: PTH208 - names are all it needs
    except OSError:
        return False


def is_vouched(path: Path, sidecars: dict[str, tuple[str, ...]]) -> bool:
    """Tell the same with the folder's sidecars already grouped by `sidecars_by_stem`. Never raises."""
    try:
        return any(_is_marked_now(path) or sha256 == _sha256_now(path) for sha256 in _listed(path, sidecars))
    except OSError:
        return False


def is_listed(path: Path, sidecars: dict[str, tuple[str, ...]]) -> bool:
    """Tell whether a sidecar lists a file of this name, whatever has become of it. Never raises."""
    return any(_listed(path, sidecars))


def _listed(path: Path, sidecars: dict[str, tuple[str, ...]]) -> Iterator[str]:
    entries = (_read(path.parent / name) for name in sidecars.get(path.stem, ()))
    return (sha256 for entry in entries if entry is not None for output, sha256 in entry.outputs if output == path.name)


def sidecars_by_stem(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Group the sidecars among *names* by their source's stem: {"IMG_1": ("IMG_1.CR3.dustd.json",)}."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name.endswith(SUFFIX):
            stem = Path(name.removesuffix(SUFFIX)).stem
            found[stem] = (*found.get(stem, ()), name)
    return found


def _read(sidecar: Path) -> _Entry | None:
    try:
        version = sidecar.stat()
    except OSError:
        return None
    try:
        return _read_version(sidecar, version.st_mtime_ns, version.st_size)
    except OSError:  # not remembered: it may be read the next time
        return None


@functools.lru_cache(maxsize=200_000)
def _read_version(sidecar: Path, _mtime_ns: int, _size: int) -> _Entry | None:
    """Read each version of a sidecar once: every rescan asks for all of them."""
    data = files.read(sidecar)
    try:
        parsed = codec.parse(data)
        if parsed["schema"] != SCHEMA:
            return None
        kept = codec.DEFAULT.read(_Kept, parsed)
    except (ValueError, KeyError, TypeError):
        return None
    if kept.status == "failed" and kept.error is None:
        return None
    return _Entry(
        name=kept.source.name,
        folder=kept.source.folder,
        frame_id=(kept.evidence or {}).get("frame_id"),
        size=kept.source.size,
        mtime_ns=kept.source.mtime_ns,
        ctime_ns=kept.source.ctime_ns,
        source_sha256=kept.source.sha256,
        sha256=hashlib.sha256(data).hexdigest(),
        outputs=tuple((output.path, output.sha256) for output in kept.outputs),
        failure=(kept.error.problem, kept.error.remedy) if kept.status == "failed" and kept.error else None,
    )


def _sha256_now(path: Path) -> str:
    now = path.stat()
    return _sha256_of_version(path, now.st_size, now.st_mtime_ns, now.st_ctime_ns)


def _is_marked_now(path: Path) -> bool:
    now = path.stat()
    return _is_version_marked(path, now.st_size, now.st_mtime_ns, now.st_ctime_ns)


@functools.lru_cache(maxsize=200_000)
def _is_version_marked(path: Path, _size: int, _mtime_ns: int, _ctime_ns: int) -> bool:
    """Look for dustd's mark in each version of a file once: quicker than hashing it all."""
    try:
        return is_marked(path)
    except FrameError:
        return False


@functools.lru_cache(maxsize=200_000)
def _sha256_of_version(path: Path, _size: int, _mtime_ns: int, _ctime_ns: int) -> str:
    """Hash each version of a file once. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
