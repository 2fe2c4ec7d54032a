"""After a campaign: was every promise kept? Looks at files and store only, and lists what is wrong."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from dustd.daemon.status import Status
from dustd.output import sidecar
from dustd.output.sidecar import Record
from tests.soak.writers import Landed


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """Watched folders with their output folders, the store, and folders that were renamed away (their outputs stay)."""

    folders: dict[Path, Path]
    store: Path
    url: str = ""  # of the server that keeps the store instead
    gone: Sequence[Path]

    def out(self, path: Path) -> Path:
        """Name the folder that the outputs of *path* go to."""
        root = next(root for root in self.folders if path.is_relative_to(root))
        return self.folders[root] / path.parent.relative_to(root)


def audit(studio: Studio, landed: Sequence[Landed], status: Status) -> list[str]:
    """List every broken promise; an empty list is what everybody wants."""
    broken = [f"{each.path.name[:60]!r}: {wrong}" for each in landed for wrong in _file(studio, each, status)]
    return [*broken, *_outputs(studio, landed), *_store(studio, landed)]


def counts(studio: Studio, landed: Sequence[Landed]) -> Counter:
    """Count the files by what became of them."""
    found: Counter = Counter()
    for each in landed:
        record = _record(studio, each)
        found[f"{each.fate} wanted: {record.status if record else 'no sidecar'}"] += 1
    return found


def _file(studio: Studio, each: Landed, status: Status) -> Iterator[str]:
    if each.fate == "gone":
        return
    if not each.path.is_file() or _sha256(each.path) != each.sha256:
        yield "the original is not what it was"
    record = _record(studio, each)
    if each.fate == "nothing":
        if record:
            yield "it is no frame, but has a sidecar"
        return
    if each.fate == "unnamed":
        if record or str(each.path) not in [trouble.path for trouble in status.failed]:
            yield "its name is too long for a sidecar, and the status does not say so"
        return
    if record is None:
        yield "no sidecar, the frame was lost"
        return
    if record.source.sha256 != each.sha256:
        yield "the sidecar speaks of an earlier content"
    if record.status == "failed":
        if each.fate == "cleaned":
            yield f"failed: {record.error.problem if record.error else 'no reason'}"
        if not (record.error and record.error.problem and record.error.remedy) or record.outputs:
            yield "failed without a reason, or with a cleaned file"
    elif each.fate == "failed":
        yield f"it is broken, but the sidecar says {record.status}"
    else:
        if len(record.outputs) != 1:
            yield f"{len(record.outputs)} cleaned files"
        if each.frame_ids and record.evidence["frame_id"] != each.frame_ids[-1]:
            yield "the sidecar names another exposure"
    if each.stranger and each.stranger.read_bytes() != b"somebody else's":
        yield "a stranger's file was written over"


def _outputs(studio: Studio, landed: Sequence[Landed]) -> Iterator[str]:
    """Hold what lies in the output folders against the sidecars: nothing twice, nothing left behind."""
    strangers = {each.stranger for each in landed}
    wanted = {studio.out(each.path) / sidecar.sidecar_name(each.path.name) for each in landed}
    exposures = {frame_id for each in landed for frame_id in each.frame_ids}
    for root in studio.folders.values():
        listed: Counter = Counter()
        files = {path for path in root.rglob("*") if path.is_file()}
        for path in sorted(path for path in files if path.name.endswith(sidecar.SUFFIX)):
            record = sidecar.decode(path.read_bytes())
            # Another exposure has its name now: it was set aside, with its cleaned file.
            aside = path.with_name(sidecar.sidecar_name(record.source.name)) in wanted and (
                (record.evidence or {}).get("frame_id") in exposures
            )
            if path not in wanted and not aside and not any(path.is_relative_to(gone) for gone in studio.gone):
                yield f"{path.name[:60]!r}: a sidecar of no frame"
            for output in record.outputs:
                listed[path.parent / output.path] += 1
                if not (path.parent / output.path).is_file() or _sha256(path.parent / output.path) != output.sha256:
                    yield f"{output.path[:60]!r} is not what its sidecar says"
        # A kill leaves a note about a frame that nobody will finish if its folder is renamed before the next start.
        notes = {path for path in files if path.suffix == ".claim" and path.parent in studio.gone}
        for path in files - strangers - notes - set(listed):
            if not path.name.endswith(sidecar.SUFFIX):
                yield f"{path.name[:60]!r}: nobody vouches for it"
        yield from (f"{path.name[:60]!r}: listed {times} times" for path, times in listed.items() if times > 1)


def _store(studio: Studio, landed: Sequence[Landed]) -> Iterator[str]:
    engine = sa.create_engine(studio.url or sa.URL.create("sqlite", database=str(studio.store)))
    with engine.connect() as db:
        rows = db.execute(sa.text("SELECT frame_id, body_id FROM frames")).fetchall()
        if not studio.url and db.execute(sa.text("PRAGMA integrity_check")).scalar_one() != "ok":
            yield "the store is damaged"
    engine.dispose()
    times = Counter(frame_id for frame_id, _ in rows)
    yield from (f"exposure {frame_id} was counted {n} times" for frame_id, n in times.items() if n > 1)
    records = [record for each in landed if (record := _record(studio, each)) and record.evidence]
    told = {record.evidence["frame_id"] for record in records}
    known = told | {frame_id for each in landed for frame_id in each.frame_ids}
    yield from (f"exposure {frame_id} is in no sidecar" for frame_id in set(times) - known)
    yield from (f"exposure {frame_id} was never counted" for frame_id in told - set(times))


def _record(studio: Studio, each: Landed) -> Record | None:
    try:
        return sidecar.decode((studio.out(each.path) / sidecar.sidecar_name(each.path.name)).read_bytes())
    except OSError:
        return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
