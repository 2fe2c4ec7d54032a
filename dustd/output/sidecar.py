"""The JSON sidecar: what dustd saw and did in one frame, for people, other programs and itself.

Its presence beside the cleaned file means "done"; the dust map is a fold over sidecars (`Record.evidence` holds what
the map needs beyond the spots). Layout: `sidecar.schema.json` in this package. This module knows values and bytes,
no files.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from dustd import __version__
from dustd.raw.frame import Camera
from dustd.spots import shape
from dustd.spots.spot import Candidate, Refused, Spot

SCHEMA = "dustd.sidecar"
SCHEMA_VERSION = "1.1"  # 1.1: candidates
SUFFIX = ".dustd.json"

Status = Literal["cleaned", "clean", "failed"]
EditResult = Literal["written", "merged", "kept", "none", "failed"]
Evidence = dict[str, Any]  # what the map needs beyond the spots; JSON
_STATUSES = get_args(Status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The RAW file as it was when it was read; *name* has no folder.

    *folder* is where it lay then, counted from the sidecar's folder, so that both can be moved together; None unknown.
    *ctime_ns* is when the system last changed anything about it: another file of the same name, size and mtime has
    another. None in a sidecar that did not keep it.
    """

    name: str
    size: int
    sha256: str
    mtime_ns: int
    folder: str | None = None
    ctime_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorInfo:
    """Which model looked, and how. *tiles* were run, *skipped_tiles* could not show dust (clipped or black)."""

    model_id: str
    sha256: str
    device: str
    sensitivity: float
    threshold: float
    tiles: int
    skipped_tiles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file written for this frame; *path* is relative to the sidecar's folder.

    *kind* is "dng", "tiff" or "jpeg", or the program of an edit that is wholly dustd's. *profile* is the colour space
    of a TIFF or JPEG, *quality* that of a JPEG, 1 to 100; None of all else.
    """

    kind: str
    path: str
    sha256: str
    profile: str | None = None
    quality: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What became of the edit for a RAW developer (`dustd.output.edits`); *path* is relative to the sidecar's folder.

    *heals* is the number of spots that dustd healed in it, *reason* says what is left out or why nothing was written.
    """

    program: str
    path: str
    result: EditResult
    heals: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a frame failed and what to do about it."""

    problem: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything a sidecar says. *width* and *height* are 0 and *detector* None when the frame was never decoded.

    *candidates* is what the network saw, best first, None in a sidecar that did not keep it; *refused* what it saw and
    physics rules out.
    """

    source: Source
    camera: Camera
    width: int = 0
    height: int = 0
    detector: DetectorInfo | None = None
    spots: tuple[Spot, ...] = ()
    candidates: tuple[Candidate, ...] | None = None
    refused: tuple[Refused, ...] = ()
    outputs: tuple[Output, ...] = ()
    edits: tuple[Edit, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    status: Status
    error: Problem | None = None
    evidence: Evidence | None = None
    dustd_version: str = __version__


def sidecar_name(source_name: str) -> str:
    """Name the sidecar of a source file: IMG_0412.CR3 -> IMG_0412.CR3.dustd.json."""
    return source_name + SUFFIX


def to_dict(record: Record) -> dict[str, Any]:
    """Lay a record out as the published JSON object."""
    spots = []
    for spot in record.spots:
        entry = dataclasses.asdict(spot)
        entry["diameter"] = entry.pop("diameter_px")
        entry["edge"] = entry.pop("edge_px")
        spots.append(entry)
    camera = dataclasses.asdict(record.camera)
    orientation = camera.pop("orientation")
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "dustd_version": record.dustd_version,
        "status": record.status,
        "error": dataclasses.asdict(record.error) if record.error else None,
        "source": dataclasses.asdict(record.source),
        "camera": camera,
        "frame": {
            "coords": "raw-visible-px",
            "width": record.width,
            "height": record.height,
            "orientation": orientation,
        },
        "detector": dataclasses.asdict(record.detector) if record.detector else None,
        "spots": spots,
        "candidates": None if record.candidates is None else [_candidate_to_dict(each) for each in record.candidates],
        "refused": [
            {"x": each.x, "y": each.y, "diameter": each.diameter_px, "reason": each.reason} for each in record.refused
        ],
        "outputs": [dataclasses.asdict(output) for output in record.outputs],
        "edits": [dataclasses.asdict(edit) for edit in record.edits],
        "timings_ms": record.timings_ms,
        "evidence": record.evidence,
    }


def from_dict(data: dict[str, Any]) -> Record:
    """Read a record back; unknown fields are ignored.

    Raises ValueError if *data* is not a dustd sidecar of this major version, or lacks or garbles a field.
    """
    if data.get("schema") != SCHEMA:
        raise ValueError(f"not a {SCHEMA} file")
    major = str(data.get("schema_version", "")).partition(".")[0]
    if major != SCHEMA_VERSION.partition(".")[0]:
        raise ValueError(f"sidecar schema version {data.get('schema_version')!r} is not {SCHEMA_VERSION}")
    if data.get("status") not in _STATUSES:
        raise ValueError(f"{data.get('status')!r} is not a status")
    try:
        spots = tuple(
            _known(
                Spot,
                {
                    **spot,
                    "diameter_px": spot["diameter"],
                    "edge_px": spot.get("edge", 0.0),
                    "outline": shape.from_dict(spot.get("outline")),
                },
            )
            for spot in data["spots"]
        )
        return Record(
            source=_known(Source, data["source"]),
            camera=_known(Camera, {**data["camera"], "orientation": data["frame"]["orientation"]}),
            width=data["frame"]["width"],
            height=data["frame"]["height"],
            detector=_known(DetectorInfo, data["detector"]) if data["detector"] else None,
            spots=spots,
            candidates=_candidates(data.get("candidates")),
            refused=tuple(
                Refused(x=each["x"], y=each["y"], diameter_px=each["diameter"], reason=each["reason"])
                for each in data.get("refused", ())
            ),
            outputs=tuple(_known(Output, output) for output in data["outputs"]),
            edits=tuple(_known(Edit, edit) for edit in data.get("edits", ())),
            timings_ms=dict(data["timings_ms"]),
            status=data["status"],
            error=_known(Problem, data["error"]) if data["error"] else None,
            evidence=data.get("evidence"),
            dustd_version=data.get("dustd_version", ""),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"sidecar lacks or garbles a field: {exc}") from exc


# Keys of the published object where a field has another name.
_CANDIDATE_KEYS = {"width_px": "width", "height_px": "height", "diameter_px": "diameter", "edge_px": "edge"}


def _candidate_to_dict(candidate: Candidate) -> dict[str, float]:
    return {_CANDIDATE_KEYS.get(name, name): value for name, value in dataclasses.asdict(candidate).items()}


def _candidates(data: Any) -> tuple[Candidate, ...] | None:
    if data is None:
        return None
    names = [(field.name, _CANDIDATE_KEYS.get(field.name, field.name)) for field in dataclasses.fields(Candidate)]
    return tuple(Candidate(**{name: float(each[key]) for name, key in names}) for each in data)


def encode(record: Record) -> bytes:
    """Serialise a record for writing (UTF-8, indented, final newline). Numbers that JSON cannot say become null."""
    text = json.dumps(_finite(to_dict(record)), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode(errors="backslashreplace")  # a name that is not Unicode becomes JSON's \udcxx


def decode(data: bytes) -> Record:
    """Parse a sidecar's bytes. Raises ValueError on anything that is not one."""
    try:
        parsed = json.loads(data)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    if not isinstance(parsed, dict):
        raise ValueError(f"not a {SCHEMA} file")  # noqa: TRY004 - one kind of error for every bad content
    return from_dict(parsed)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _known(cls: type, data: dict[str, Any]) -> Any:
    """Build *cls* from the keys it knows."""
    names = {f.name for f in dataclasses.fields(cls)}
    return cls(**{key: value for key, value in data.items() if key in names})
