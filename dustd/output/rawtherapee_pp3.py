"""Heals as an edit of RawTherapee: the section Spot removal of the sidecar IMG.CR3.pp3.

Tried with RawTherapee 5.9, which clones: the source is laid over the spot as it is. Places are whole pixels of the
upright picture, after the turns that the sidecar itself asks for, without the border that demosaicing costs.
"""

import itertools
import re
from collections.abc import Sequence

from dustd.raw.frame import upright
from dustd.spots.heal import Heal, Healing, not_at

BORDER_PX = {"bayer": 4, "xtrans": 7}  # whatever the sidecar's own Border says
RADIUS_PX = (2, 200)

# A sidecar counts as the whole edit. These are the settings in which RawTherapee's default for raw files (the profile
# "Auto-Matched Curve - ISO Low") differs from its neutral values, so that the frame looks as if it had no sidecar.
_SIDECAR = """[Version]
AppVersion=5.9
Version=349

[Exposure]
Auto=false
HistogramMatching=true

[HLRecovery]
Enabled=true
Method=Blend

[LensProfile]
LcMode=lfauto
UseDistortion=true
UseVignette=true
UseCA=false

[Color Management]
ToneCurve=false
ApplyLookTable=true
ApplyBaselineExposureOffset=true
ApplyHueSatMap=true
DCPIlluminant=0

[RAW]
CA=true

[PostDemosaicSharpening]
Enabled=true

[Spot removal]
Enabled=true
"""


def new_sidecar(healing: Healing) -> tuple[bytes, int]:
    """Write a sidecar that holds the heals on top of RawTherapee's default for raw files; say how many."""
    turns = _turns(healing.orientation, [])
    return (_SIDECAR + "".join(_lines(healing.heals, healing, turns, first=1))).encode(), len(healing.heals)


def merged(existing: bytes, healing: Healing) -> tuple[bytes, int]:
    """Add the heals to a sidecar's spots, everything else as it was; say how many.

    Spots that it removes already are left out. Raises ValueError, in words for a person, if it cannot take them.
    """
    text = existing.decode()  # UnicodeDecodeError is a ValueError
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += newline
    if "[Spot removal]" not in map(str.strip, lines):
        lines += [newline, "[Spot removal]" + newline, "Enabled=false" + newline]
    turns = _turns(healing.orientation, _section(lines, "Coarse Transformation")[1])
    begin, section = _section(lines, "Spot removal")
    there = [match for match in map(_SPOT.match, section) if match]
    switch = next((k for k, line in enumerate(section) if line.startswith("Enabled=")), None)
    if switch is None or (there and section[switch].strip() != "Enabled=true"):
        raise ValueError("its spot removal is switched off; switch it on in RawTherapee first")
    if [int(match[1]) for match in there] != list(range(1, len(there) + 1)):
        raise ValueError("its spots are not numbered one by one")
    healed = [_unplaced(int(match[2]), int(match[3]), healing, turns) for match in there]
    heals = not_at(healing.heals, healed)
    if not heals:
        return existing, 0
    section[switch] = "Enabled=true" + newline
    after = 1 + max(k for k, line in enumerate(section) if k == switch or _SPOT.match(line))
    section[after:after] = [line.replace("\n", newline) for line in _lines(heals, healing, turns, first=len(there) + 1)]
    old = len(_section(lines, "Spot removal")[1])
    return "".join([*lines[:begin], *section, *lines[begin + old :]]).encode(), len(heals)


_SPOT = re.compile(r"Spot(\d+)=-?\d+;-?\d+;(-?\d+);(-?\d+);")


def _section(lines: Sequence[str], name: str) -> tuple[int, list[str]]:
    """Find a section's lines and the number of the first; none if it is not there."""
    headings = [k for k, line in enumerate(lines) if line.startswith("[")] + [len(lines)]
    for heading, following in itertools.pairwise(headings):
        if lines[heading].strip() == f"[{name}]":
            return heading + 1, list(lines[heading + 1 : following])
    return len(lines), []


def _turns(orientation: int, coarse: Sequence[str]) -> tuple[int, ...]:
    """List the turns, as Exif orientations, from the sensor to the picture that spots are placed in.

    RawTherapee knows no mirrored orientations. Its own coarse turn and flips, *coarse*, come before the spots.
    """
    wanted = dict(line.strip().split("=", 1) for line in coarse if "=" in line)
    turns = [
        orientation if orientation in (3, 6, 8) else 1,
        {"90": 6, "180": 3, "270": 8}.get(wanted.get("Rotate", "0"), 1),
        2 if wanted.get("HorizontalFlip") == "true" else 1,
        4 if wanted.get("VerticalFlip") == "true" else 1,
    ]
    return tuple(turn for turn in turns if turn != 1)


def _lines(heals: Sequence[Heal], healing: Healing, turns: Sequence[int], *, first: int) -> list[str]:
    """Write spots as source x and y; x and y; radius; feather; opacity."""
    lines = []
    for number, heal in enumerate(heals, first):
        x, y = (round(place) for place in _placed(heal.x, heal.y, healing, turns))
        away = _placed(heal.source_x, heal.source_y, healing, turns)
        source_x, source_y = (round(place) for place in away)
        radius = min(max(round(heal.radius_px), RADIUS_PX[0]), RADIUS_PX[1])
        feather = heal.feather_px / heal.radius_px
        lines.append(f"Spot{number}={source_x};{source_y};{x};{y};{radius};{feather:.3f};1;\n")
    return lines


def _placed(x: float, y: float, healing: Healing, turns: Sequence[int]) -> tuple[float, float]:
    """Say where a place of the frame lies for RawTherapee."""
    height, width = healing.visible[2:]
    for turn in turns:
        x, y = upright(x, y, width=width, height=height, orientation=turn)
        if turn in (6, 8):
            width, height = height, width
    border = BORDER_PX.get(healing.kind, 0)
    return x - border, y - border


def _unplaced(x: float, y: float, healing: Healing, turns: Sequence[int]) -> tuple[float, float]:
    """Undo `_placed`."""
    border = BORDER_PX.get(healing.kind, 0)
    x, y = x + border, y + border
    height, width = healing.visible[2:]
    if sum(turn in (6, 8) for turn in turns) % 2:
        width, height = height, width
    for turn in reversed(turns):
        x, y = upright(x, y, width=width, height=height, orientation={6: 8, 8: 6}.get(turn, turn))
        if turn in (6, 8):
            width, height = height, width
    return x, y
