"""The JSON sidecar: what dustd saw and did in one frame, for people, other programs and itself.

Its presence beside the cleaned file means "done"; the dust map is a fold over sidecars (`Record.evidence` holds what
the map needs beyond the spots). Layout: `sidecar.schema.json` in this package. This module knows values and bytes,
no files.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from dustd import __version__, codec
from dustd.codec import Codec
from dustd.raw.frame import Camera
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
    another. *read_at* is when dustd first read it (ISO 8601): cameras' clocks err. None in a sidecar that did not keep
    these.
    """

    name: str
    size: int
    sha256: str
    mtime_ns: int
    folder: str | None = None
    ctime_ns: int | None = None
    read_at: str | None = None


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
    of a TIFF or JPEG, *quality* that of a JPEG, 1 to 100; None of all else. *samples* is the identity of a DNG's
    cleaned samples, as `raw.frame.frame_identity` gives it; *left_out* says which of a source DNG's own words about
    developing them it lacks, and why.
    """

    kind: str
    path: str
    sha256: str
    profile: str | None = None
    quality: int | None = None
    samples: str | None = None
    left_out: tuple[str, ...] = ()


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
    data = _CODEC.plain(record)
    frame = {
        "coords": "raw-visible-px",
        "width": data.pop("width"),
        "height": data.pop("height"),
        "orientation": data["camera"].pop("orientation"),
    }
    first = {name: data[name] for name in ("dustd_version", "status", "error", "source", "camera")}
    return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **first, "frame": frame, **data}


def from_dict(data: dict[str, Any]) -> Record:
    """Read a record back; unknown fields are ignored.

    Raise ValueError if *data* is not a dustd sidecar of this major version, or lacks or garbles a field.
    """
    data = codec.require(data, SCHEMA, SCHEMA_VERSION)
    if data.get("status") not in _STATUSES:
        raise ValueError(f"{data.get('status')!r} is not a status")
    try:
        frame, always = data["frame"], {name: data[name] for name in _ALWAYS}
        camera = {**data["camera"], "orientation": frame["orientation"]}
        size = {"width": frame["width"], "height": frame["height"]}
    except (KeyError, TypeError) as exc:
        raise ValueError(f"sidecar lacks or garbles a field: {exc}") from exc
    return _CODEC.read(Record, {"dustd_version": "", **data, **always, **size, "camera": camera})


def encode(record: Record) -> bytes:
    """Serialise a record for writing (UTF-8, indented, final newline). Numbers that JSON cannot say become null."""
    return codec.to_bytes(to_dict(record), indent=2)


def decode(data: bytes) -> Record:
    """Parse a sidecar's bytes. Raise ValueError on anything that is not one."""
    return from_dict(codec.parse(data))


_ALWAYS = ("detector", "spots", "outputs", "timings_ms")  # in every sidecar, though a record can do without
# Keys of the published object where a field has another name.
_CODEC = Codec(
    {
        Spot: {"diameter_px": "diameter", "edge_px": "edge"},
        Candidate: {"width_px": "width", "height_px": "height", "diameter_px": "diameter", "edge_px": "edge"},
        Refused: {"diameter_px": "diameter", "edge_px": "edge", "box_px": "box"},
    }
)
