"""What daemon and page say to each other.

The daemon sends values, as pickles on a line that is theirs alone. The page's process speaks to browsers, so what it
sends back is JSON, and the daemon takes from it only what a `Command` may say.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dustd.config import AdviceRules, Config
from dustd.dustmap.match import State
from dustd.dustmap.particle import DustMap
from dustd.dustmap.rejection import Rejection
from dustd.pipeline.decide import Scale

Kind = Literal[
    "pause", "resume", "order", "reject", "undo", "correct", "retry", "sensitivity", "cleaned", "cleaned_undo"
]
Scope = Literal["frame", "from_here", "shoot"]
Order = Literal["oldest", "newest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may look, and from where: *secret* signs tickets, *port* and *listen* are where the daemon listens.

    *password* is asked for where a person comes without a ticket; None: nobody gets in without one.
    """

    secret: bytes
    listen: str
    port: int
    password: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A watched folder and where its cleaned files go."""

    path: Path
    output: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What holds until the configuration changes; *file* is where it came from, None for the defaults.

    *pictures* is the folder for pictures that were made for the page. *scale* says what the model's scores mean. *said*
    is what was asked for on the page and is in force: key and value, in words.
    """

    access: Access
    watched: tuple[Watched, ...]
    config: Config
    file: Path | None
    loaded_at: str
    pictures: Path
    scale: Scale | None = None
    said: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """Something that is wrong with *path*, what to do, and when dustd tries again by itself (None: it does not)."""

    path: str
    problem: str
    remedy: str
    retry_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderNow:
    """How a watched folder does; see `dustd.daemon.status.FolderState`."""

    path: str
    output: str
    present: bool
    waiting: int
    paused: Matter | None = None
    put_off: tuple[Matter, ...] = ()
    held: tuple[Matter, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """How the daemon does now. *next_up* are sources that wait, the first ones first, not all of them if many do.

    *counts* are frames by what became of them since the start.
    """

    doing: str
    paused: bool
    order: Order
    waiting: int
    in_hand: str | None
    next_up: tuple[str, ...]
    seconds_per_frame: float | None
    backlog_s: float | None
    counts: dict[str, int]
    folders: tuple[FolderNow, ...]
    failed: tuple[Matter, ...] = ()
    config_problem: Matter | None = None
    troubles: tuple[Matter, ...] = ()
    reminders: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameNews:
    """What has just become of the frame at *source*, whose sidecar is *sidecar*; *change* says what an improvement
    changed, in words."""

    source: Path
    sidecar: Path
    status: str
    at: str
    seconds: float | None = None
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyNow:
    """What is known of a body's sensor: its map for people, and for decisions."""

    dust: DustMap
    state: State
    verdicts: tuple[Rejection, ...]
    can_undo_cleaning: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """All bodies, and from where on a sensor wants cleaning."""

    bodies: tuple[BodyNow, ...]
    rules: AdviceRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a command: *said* to a person, or *problem* and *remedy*. *frame* is the source it was about."""

    id: str
    kind: str
    state: Literal["done", "refused"]
    said: str = ""
    problem: str | None = None
    remedy: str | None = None
    frame: str | None = None


News = Setup | Snapshot | FrameNews | Bodies | Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a person asks for. *frame* is a source's path, *body* a body's key; what a kind does not need stays empty.

    *x* and *y* are px of the unrotated frame.
    """

    id: str
    kind: Kind
    frame: str | None = None
    body: str | None = None
    spots: tuple[int, ...] = field(default=())
    x: float = 0.0
    y: float = 0.0
    value: float = 0.0
    scope: Scope = "frame"
    order: Order = "oldest"
