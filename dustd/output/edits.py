"""Edits beside the RAW: sidecars of RAW developers in which each corrected spot is a heal that can be seen and undone.

Only when asked for, and never over somebody's file: a sidecar that is there already is left alone, or, when that is
asked for, too, the heals are added to it and what it was is kept beside it. What could not be written is said in
dustd's own sidecar and in the log; the cleaned file does not wait for it.
"""

import hashlib
import itertools
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from dustd import files
from dustd.config import EditProgram, OutputSettings
from dustd.errors import FrameError, SurroundingsError
from dustd.output import adobe_xmp, darktable_xmp, rawtherapee_pp3
from dustd.output.sidecar import Edit, EditResult, Output
from dustd.spots.heal import Healing

log = structlog.get_logger()

NOT_INTO_ORIGINALS = "Adobe programs read the edits of a DNG from inside it, and dustd does not write to originals"
BACKUP_SUFFIX = ".before-dustd"


@dataclass(frozen=True, slots=True)
class _Format:
    """*path* names a source's sidecar; *new* and *merged* make its bytes and say how many heals are in them."""

    path: Callable[[Path], Path]
    new: Callable[[Healing], tuple[bytes, int]]
    merged: Callable[[bytes, Healing], tuple[bytes, int]]


_FORMATS: dict[EditProgram, _Format] = {
    "darktable": _Format(
        lambda source: source.with_name(source.name + ".xmp"), darktable_xmp.new_sidecar, darktable_xmp.merged
    ),
    "rawtherapee": _Format(
        lambda source: source.with_name(source.name + ".pp3"), rawtherapee_pp3.new_sidecar, rawtherapee_pp3.merged
    ),
    "adobe": _Format(lambda source: source.with_suffix(".xmp"), adobe_xmp.new_sidecar, adobe_xmp.merged),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sidecar of *program* for *path* as it is written where none is yet; *data* None where there is no use for one.

    *heals* is the number of heals in it.
    """

    program: EditProgram
    path: Path
    data: bytes | None
    heals: int = 0
    reason: str = ""


def draft(source: Path, healing: Healing, programs: Sequence[EditProgram]) -> tuple[Draft, ...]:
    """Prepare the sidecars of *source*, without looking at what is there."""
    return tuple(_draft(source, healing, program) for program in dict.fromkeys(programs))


def publish(
    drafts: Sequence[Draft], healing: Healing, output: OutputSettings, out_folder: Path, ours: Collection[str]
) -> tuple[tuple[Edit, ...], tuple[Output, ...]]:
    """Write the sidecars or say why not. Returns what became of each, and the files that are wholly dustd's.

    *ours* are the SHA-256 of files that dustd wrote: they are replaced, or removed when there is nothing to heal any
    more. Paths in the result are relative to *out_folder*.
    """
    edits, outputs = [], []
    result: EditResult
    for each in drafts:
        relative = os.path.relpath(each.path.parent.resolve() / each.path.name, out_folder.resolve())
        try:
            result, heals, reason = _publish(each, healing, merge=output.edits_existing == "merge", ours=ours)
        except ValueError as exc:
            result, heals, reason = "failed", 0, f"nothing could be added to it: {exc}"
        except (FrameError, SurroundingsError) as error:
            result, heals, reason = "failed", 0, f"{error.problem}. {error.remedy}"
        except OSError as exc:
            result, heals, reason = "failed", 0, f"it cannot be read ({exc.strerror})"
        edits.append(Edit(program=each.program, path=relative, result=result, heals=heals, reason=reason))
        if result == "written":
            outputs.append(
                Output(kind=each.program, path=relative, sha256=hashlib.sha256(each.data or b"").hexdigest())
            )
        tell = log.warning if result == "failed" else log.info
        tell("edit_" + result, program=each.program, path=str(each.path), heals=heals, reason=reason)
    return tuple(edits), tuple(outputs)


def are_done(edits: Sequence[Edit], output: OutputSettings) -> bool:
    """Tell whether *edits* are what the settings ask for, or as near to it as trying again would come."""
    settled = {"written", "merged", "none", *(["kept"] if output.edits_existing == "keep" else [])}
    return set(output.edits) <= {edit.program for edit in edits if edit.result in settled}


def _draft(source: Path, healing: Healing, program: EditProgram) -> Draft:
    path = _FORMATS[program].path(source)
    if program == "adobe" and source.suffix.lower() == ".dng":
        return Draft(program=program, path=path, data=None, reason=NOT_INTO_ORIGINALS)
    if not healing.heals:
        reason = "no clean place near by to heal from" if healing.unhealed else "no spot was corrected"
        return Draft(program=program, path=path, data=None, reason=reason)
    data, heals = _FORMATS[program].new(healing)
    return Draft(program=program, path=path, data=data, heals=heals, reason=_missing(healing, heals))


def _missing(healing: Healing, heals: int) -> str:
    """Say what is not in a sidecar."""
    missing = []
    if healing.unhealed:
        missing.append(f"{len(healing.unhealed)} without a clean place near by to heal from")
    if heals < len(healing.heals):
        missing.append(f"{len(healing.heals) - heals} beyond the most that the program takes")
    return f"corrected spots left out: {', '.join(missing)}" if missing else ""


def _publish(each: Draft, healing: Healing, *, merge: bool, ours: Collection[str]) -> tuple[EditResult, int, str]:
    """Write one sidecar; return result, number of heals and reason. Raises what `publish` puts into words."""
    existing = each.path.read_bytes() if each.path.exists() else None
    found = hashlib.sha256(existing or b"").hexdigest() if existing is not None else ""
    if each.data is None:
        if found in ours:
            each.path.unlink()
        return "none", 0, each.reason
    if existing is None or found in ours:
        files.publish(each.path, each.data, ours=ours)
        return "written", each.heals, each.reason
    if not merge:
        return "kept", 0, "there was a sidecar already; it was not touched"
    data, heals = _FORMATS[each.program].merged(existing, healing)
    if data == existing:
        return "none", 0, "all its spots are healed in the sidecar that was there"
    backup = _keep(each.path, existing)
    files.publish(each.path, data, ours=[found])
    return "merged", heals, f"what it was before is in {backup.name}"


def _keep(path: Path, data: bytes) -> Path:
    """Keep what a sidecar was beside it, under the first name that is free or holds the same."""
    for number in itertools.count(1):
        backup = path.with_name(path.name + BACKUP_SUFFIX + (f"-{number}" if number > 1 else ""))
        if not backup.exists() or backup.read_bytes() == data:
            break
    files.publish(backup, data)
    return backup
