"""What the page shows of a frame and of its spots, from its sidecar: values in, values out.

Places and sizes are px of the upright picture of full size.
"""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dustd.codec import Json
from dustd.dustmap import evidence
from dustd.dustmap.evidence import Evidence
from dustd.output.life import PICTURES
from dustd.output.sidecar import Record
from dustd.pipeline.exhibit import in_order, risk
from dustd.raw.frame import upright
from dustd.report.review_page import about, figures
from dustd.spots.spot import Spot
from dustd.text import counted

# Our choice: from this risk on a frame is among those that need a look.
NEEDS_LOOK = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A frame in the list. *order* is when it came (Unix time), *version* changes with the sidecar.

    *risk* is that of its worst correction, 0 to 1; *folder* the id of its watched folder, *body* the body's key.
    *width* and *height* are those of the upright picture, *orientation* is Exif's. *cleaned* is the path of the cleaned
    file, empty where there is none.
    """

    id: str
    source: str
    sidecar: str
    folder: str
    status: str
    at: str
    order: float
    body: str = ""
    seconds: float | None = None
    found: int = 0
    corrected: int = 0
    wanted_left: int = 0
    risk: float = 0.0
    change: str = ""
    version: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    cleaned: str = ""
    problem: str | None = None
    remedy: str | None = None

    @property
    def name(self) -> str:
        """The source's name, without its folder."""
        return Path(self.source).name

    @property
    def needs_look(self) -> bool:
        """Tell whether a person had better look at it."""
        return self.risk >= NEEDS_LOOK


def key_of(text: str) -> str:
    """Name something in 16 hexadecimal digits: a frame by its sidecar's path, a folder, a body."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def row_of(
    record: Record, *, source: str, sidecar: str, folder: str, version: str, came: float, seconds: float | None = None
) -> Row:
    """Sum a frame up. *came* is when it came if its sidecar does not tell (Unix time)."""
    seen = _scene(record)
    order = unix(record.source.read_at)
    order = came if order is None else order
    worst = max((risk(spot, seen) for spot in record.spots), default=0.0) if seen is not None else 0.0
    width, height = _upright_size(record)
    total = record.timings_ms.get("total")
    picture = next((each for each in record.outputs if each.kind in PICTURES), None)
    return Row(
        id=key_of(sidecar),
        source=source,
        sidecar=sidecar,
        folder=folder,
        body=record.camera.body_id,
        status=record.status,
        at=iso(order),
        order=order,
        seconds=seconds if seconds is not None else None if total is None else round(total / 1000, 2),
        found=len(record.spots),
        corrected=sum(spot.action != "left" for spot in record.spots),
        wanted_left=sum(spot.action == "left" and spot.wanted for spot in record.spots),
        risk=share(worst),
        version=version,
        width=width,
        height=height,
        orientation=record.camera.orientation,
        cleaned=str(Path(sidecar).parent / picture.path) if picture is not None else "",
        problem=record.error.problem if record.error else None,
        remedy=record.error.remedy if record.error else None,
    )


def row_json(row: Row) -> dict[str, Json]:
    """Lay a row out as a FrameRow of the API."""
    shown = row.status not in ("waiting", "working", "failed", "vanished") and row.version
    trouble = {"problem": row.problem, "remedy": row.remedy or ""} if row.problem else None
    return {
        "id": row.id,
        "name": row.name,
        "folder": row.folder,
        "body": key_of(row.body) if row.body else None,
        "status": row.status,
        "at": row.at,
        "seconds": row.seconds,
        "found": row.found,
        "corrected": row.corrected,
        "wanted_left": row.wanted_left,
        "risk": row.risk,
        "needs_look": row.needs_look,
        "change": row.change,
        "thumbnail": f"/api/v1/frames/{row.id}/thumbnail.jpg?v={row.version}" if shown else None,
        "width": row.width,
        "height": row.height,
        "problem": trouble,
    }


def frame_json(row: Row, record: Record) -> dict[str, Json]:
    """Lay out what the frame's own page shows besides its neighbours."""
    address, kept = f"/api/v1/frames/{row.id}", bool(record.width)

    def picture(which: str, size: str) -> str | None:
        return f"{address}/picture/{which}.jpg?size={size}&v={row.version}" if kept else None

    return {
        **row_json(row),
        "about": about(record),
        "sensitivity": record.detector.sensitivity if record.detector else None,
        "spots": spots_json(row, record),
        "candidates_kept": record.candidates is not None and record.evidence is not None,
        "pictures": {
            "before": picture("before", "full"),
            "after": picture("after", "full"),
            "overview_before": picture("before", "fit"),
            "overview_after": picture("after", "fit"),
        },
    }


def spots_json(row: Row, record: Record) -> list[dict[str, Json]]:
    """Lay the spots out, the riskiest first."""
    seen = _scene(record)
    ordered = in_order(record.spots, seen) if seen is not None else record.spots
    return [_spot_json(spot, seen, row, record) for spot in ordered]


def _spot_json(spot: Spot, seen: Evidence | None, row: Row, record: Record) -> dict[str, Json]:
    orientation = record.camera.orientation
    x, y = upright(spot.x, spot.y, width=record.width, height=record.height, orientation=orientation)
    crop = f"/api/v1/frames/{row.id}/spots/{spot.id}"
    return {
        "id": spot.id,
        "x": round(x, 1),
        "y": round(y, 1),
        "diameter_px": round(spot.diameter_px, 1),
        "attenuation": spot.attenuation,
        "score": spot.score,
        "confidence": spot.confidence,
        "action": spot.action,
        "corrected": spot.action != "left",
        "wanted": spot.wanted,
        "rejected": spot.rejected,
        "by_person": spot.rejected or spot.asked,
        "reason": why(spot),
        "details": spot.reason,
        "figures": figures(spot),
        "risk": share(risk(spot, seen)) if seen is not None else 0.0,
        "crop_before": f"{crop}/before.jpg?v={row.version}",
        "crop_after": f"{crop}/after.jpg?v={row.version}",
    }


def why(spot: Spot) -> str:
    """Say in plain words what decided about a spot; the figures are in its own reason."""
    known = f"dust that is known here, seen in {counted(spot.frames_seen, 'frame')}" if spot.frames_seen else ""
    if spot.rejected:
        return "You took the correction back"
    if spot.action != "left":
        found = "You asked for it" if spot.asked else known or f"By its looks alone, {spot.score:.0%} sure to be dust"
        done = "the light it took was given back" if spot.action == "divided" else "filled in from around it"
        return f"{found[:1].upper()}{found[1:]}: {done}"
    if spot.wanted or spot.asked:
        return "Dust, but it could not be corrected well, so it was left alone"
    if spot.reason.startswith("a person rejected the same"):
        return "You took the correction of the same thing back in another frame"
    if known:
        return f"Where there may be {known}, but not sure enough here: left alone"
    return f"Not sure enough to be dust by its looks alone ({spot.score:.0%}): left alone"


def share(harm: float) -> float:
    """Bring a risk, which has no upper end, to 0 to 1."""
    return round(harm / (1 + harm), 4) if math.isfinite(harm) else 1.0


def iso(at: float) -> str:
    """Say a time (Unix) in ISO 8601 with this computer's offset."""
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")


def _upright_size(record: Record) -> tuple[int, int]:
    turned = record.camera.orientation in (5, 6, 7, 8)
    return (record.height, record.width) if turned else (record.width, record.height)


def _scene(record: Record) -> Evidence | None:
    try:
        return evidence.from_dict(record.evidence) if record.evidence is not None else None
    except ValueError:
        return None


def unix(at: str | None) -> float | None:
    """Give a time (ISO 8601) as Unix time; None if there is none, or it is none that can be."""
    try:
        return datetime.fromisoformat(at).timestamp() if at else None
    except (ValueError, OverflowError, OSError):
        return None
