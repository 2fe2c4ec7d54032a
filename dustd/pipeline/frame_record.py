"""What a frame came to: its record, what the log says of it, and when it is none of ours to clean."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from dustd.errors import OwnOutputError
from dustd.output.sidecar import Record, Source
from dustd.pipeline.decide import Decision
from dustd.pipeline.look import Look
from dustd.raw.frame import Camera
from dustd.spots.spot import Spot

log = structlog.get_logger()


def record_of(stamp: Source, camera: Camera, seen: Look, decision: Decision, spots: tuple[Spot, ...]) -> Record:
    """Gather what the acts found, for the sidecar."""
    return Record(
        source=stamp,
        camera=camera,
        width=seen.width,
        height=seen.height,
        detector=decision.detector_info(seen),
        spots=spots,
        candidates=seen.candidates,
        refused=seen.refused,
        status="cleaned" if are_corrected(spots) else "clean",
        evidence=decision.evidence(seen),
    )


def are_corrected(spots: Sequence[Spot]) -> bool:
    """Tell whether any of the spots was corrected."""
    return any(spot.action != "left" for spot in spots)


def log_done(record: Record) -> None:
    """Tell what became of a frame."""
    corrected = sum(spot.action != "left" for spot in record.spots)
    total_ms = round(record.timings_ms["total"])
    log.info("frame_" + record.status, spots=len(record.spots), corrected=corrected, total_ms=total_ms)


def own_output(source: Path) -> OwnOutputError:
    """Say that a file is a cleaned one of dustd's."""
    return OwnOutputError("it is a cleaned file that dustd made", remedy="Nothing to do; it is left alone", path=source)


def now() -> str:
    """Give the time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
