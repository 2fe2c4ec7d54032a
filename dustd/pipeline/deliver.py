"""The third act: deliver. What was made for a frame goes to disk and into the map, in the order that loses nothing.

Cleaned file, edits, then sidecar (its presence means "done"), then the map, in one transaction keyed by the frame's
identity. A note beside the sidecar (`files.claim`) lasts until the map knows, so that a restart finishes what a kill
interrupted and counts nothing twice. What an earlier run left for the same exposure is replaced, what it left for
another steps aside (`dustd.output.life`). The daemon, `dustd clean` and `dustd reject` all deliver here.
"""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dustd import files
from dustd.config import EditProgram, OutputSettings
from dustd.output import edits, ledger, life, sidecar
from dustd.output.life import PICTURES, SUFFIXES, Earlier
from dustd.output.sidecar import Output, Record
from dustd.spots.heal import Healing


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What was made for a frame and is not on disk yet: the cleaned file's bytes, and heals for *programs*.

    *image* None: no cleaned file is to be written. *settings* are those the image was made with. *place* is the cleaned
    file to replace, None to choose a name. *samples* is the identity of a DNG's
    cleaned samples, *left_out* what it lacks of its source's words.
    """

    image: bytes | None
    settings: OutputSettings
    healing: Healing | None
    programs: tuple[EditProgram, ...]
    place: Path | None = None
    samples: str | None = None
    left_out: tuple[str, ...] = ()


def deliver(
    record: Record,
    results: Results,
    *,
    source: Path,
    path: Path,
    tell: Callable[[Record], bool],
    earlier: Earlier | None,
    timings_ms: Callable[[], dict[str, float]] | None = None,
) -> tuple[Record, bool]:
    """Write cleaned file, edits and the sidecar *path* of the frame at *source*, then *tell* the map.

    Outputs and edits that *record* lists already stay listed, except those replaced. *earlier* is what a run before
    left for this exposure, None for one that is new here: what it lists and *record* does not is retired. *timings_ms*
    is asked when all but the sidecar is written. Returns the record as written, and what *tell* answered. Raises
    FrameError if a name is taken, SurroundingsError if disk or folder is in the way.
    """
    image, healing, programs = results.image, results.healing, results.programs
    if earlier is not None and not life.goes_along(earlier, path, results.settings.follow):
        earlier = None
    drafts = edits.draft(source, healing, programs) if healing is not None else ()
    with files.claim(path, image or b"", *(each.data for each in drafts if each.data)) as claimed:
        if earlier is None or earlier.path != path:
            life.set_aside(path, renounce_edits=True)
        ours = ledger.vouched(path) | claimed | (ledger.vouched(earlier.path) if earlier else frozenset())
        outputs, edited = record.outputs, record.edits
        if image is not None:
            new = _publish_picture(image, results, source, path.parent, ours)
            outputs = (new, *(each for each in outputs if each.kind not in PICTURES))
        if healing is not None:
            written, own = edits.publish(drafts, healing, results.settings, path.parent, ours)
            outputs = (*(each for each in outputs if each.kind not in programs), *own)
            edited = (*(each for each in edited if each.program not in programs), *written)
        if earlier is not None and earlier.path == path:  # before the sidecar forgets them
            life.retire(path.parent, earlier.record.outputs, [path.parent / each.path for each in outputs])
        record = replace(record, outputs=outputs, edits=edited)
        if timings_ms is not None:
            record = replace(record, timings_ms=timings_ms())
        files.publish(path, sidecar.encode(record), ours=ours)
        told = tell(record)
        if earlier is not None and earlier.path != path:
            life.retire_sidecar(earlier, [path.parent / each.path for each in outputs])
    return record, told


def _publish_picture(image: bytes, results: Results, source: Path, out_folder: Path, ours: frozenset[str]) -> Output:
    """Write the cleaned file. Return what the sidecar says of it."""
    target = results.place or _target(source, out_folder, SUFFIXES[results.settings.format], ours)
    files.publish(target, image, ours=ours)
    kind, profile, quality = appearance(results.settings)
    return Output(
        kind=kind,
        path=target.name,
        sha256=hashlib.sha256(image).hexdigest(),
        profile=profile,
        quality=quality,
        samples=results.samples,
        left_out=results.left_out,
    )


def appearance(output: OutputSettings) -> tuple[str, str | None, int | None]:
    """Say which settings show in a cleaned file: its kind, the colour space unless it is raw, the quality of a JPEG."""
    profile = None if output.format == "dng" else output.profile
    return output.format, profile, output.jpeg_quality if output.format == "jpeg" else None


def _target(source: Path, out_folder: Path, suffix: str, ours: frozenset[str]) -> Path:
    """Name the cleaned file: <stem>.dng, or where another file has that name <source name>.dng, then ….CR3-2.dng."""
    numbered = (f"{source.name}-{number}{suffix}" for number in itertools.count(2))
    for name in itertools.chain((source.stem + suffix, source.name + suffix), numbered):
        place = out_folder / name
        if files.is_long_name(name) or not place.exists() or files.sha256_file(place) in ours:
            return place  # a name that is too long is told by `files.publish`
    raise AssertionError("numbers do not end")
