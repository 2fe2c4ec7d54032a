"""Where frames and cleanings lie on a body's line, whatever the clocks say.

A *place* is a text that sorts: for a frame the time, then its name, then its identity. Times are in UTC: where Exif
gives an offset, as they were; where it gives none, the camera's clock is taken to run in this computer's time zone.
Clocks may be wrong by hours or years, and a cleaning is dated by another one than the frames. So a frame's time is
believed only as far as it puts the frame on that side of each cleaning on which it can have been: `settled`. Pure.
"""

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dustd.output.sidecar import Record, Source

BEGINNING = ""
_LATER_THAN_ANY_NAME = "\U0010ffff"
_LAST_NUMBER = 999_999_999  # of frames that come too late
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
# Our choice: a file untouched for so long before a cleaning was no frame after it, though it is read after it now.
UNTOUCHED = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is known of when a frame was taken, times in UTC.

    *place* follows the camera's clock, which *zoned* says was given with its offset. *read_at* is when dustd first
    read the file, *touched_at* when the system last changed anything about it; None where the sidecar does not say.
    """

    place: str
    zoned: bool
    read_at: str | None
    touched_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A cleaning that a person told of when it was made: its *place* on the line and when it *began*, in UTC."""

    place: str
    began: str


# The latest time that a camera's clock showed in any frame known before a cleaning, None if none is.
ShownBefore = Callable[[Cut], str | None]


def wall_time(at: str) -> str:
    """Strip the UTC offset of an ISO 8601 time: what remains is what the clock showed."""
    return re.sub(r"(?<=\d)(Z|[+-]\d\d:?\d\d)$", "", at) if "T" in at or " " in at else at


def utc(at: str) -> str:
    """Give a time (ISO 8601) in UTC, without saying so, as a text that sorts.

    One without an offset is taken to be in this computer's zone; what is no time of day stays as it is.
    """
    found = _TIME.fullmatch(at)
    if found is None:
        return wall_time(at).replace(" ", "T")
    day, time, fraction, zone = found.groups("")
    try:
        moment = datetime.datetime.fromisoformat(f"{day}T{time}{zone}").astimezone(datetime.UTC)
    except (ValueError, OverflowError, OSError):  # years that no calendar has
        return f"{day}T{time}{fraction}"
    return moment.replace(tzinfo=None).isoformat() + fraction


def place_of(record: Record) -> str:
    """Say where a record's frame belongs by the camera's clock; one without a time is placed by that of its file."""
    name = record.source.name.encode(errors="backslashreplace").decode()  # need not be Unicode
    rest = f"{name}/{(record.evidence or {}).get('frame_id')}"
    return f"{_clock(record.camera.taken_at, record.source)} {rest}"


def reading_of(record: Record) -> Reading:
    """Gather what a record says of when its frame was taken."""
    return _reading(place_of(record), record.camera.taken_at, record.source)


def reading_at(taken_at: str, source: Source) -> Reading:
    """Gather the same of a frame that is not on the line yet: its place is behind all that show the same time."""
    return _reading(latest_place_at(taken_at), taken_at, source)


def cleaning_place(at: str) -> str:
    """Say where a cleaning at a time (ISO 8601) lies: before all frames of this time or a later one."""
    return utc(at)


def latest_place_at(at: str) -> str:
    """Give the place behind all frames of a time (ISO 8601) or an earlier one."""
    return f"{utc(at)} {_LATER_THAN_ANY_NAME}"


def place_before(place: str) -> str:
    """Give the place just before a frame's: any frame between would have the same time and name."""
    return place[: place.rindex("/") + 1]


def place_after(place: str, number: int, frame_place: str) -> str:
    """Give a frame that comes too late for its own place one after another's; *number* orders several of them."""
    return f"{clock_of(place)} {_LATER_THAN_ANY_NAME}{number:09} {frame_place.partition(' ')[2]}"


def clock_of(place: str) -> str:
    """Take the time out of a place."""
    return place.partition(" ")[0]


def earlier_by(place: str, by: datetime.timedelta) -> str:
    """Move a place back in time, name and all; one without a time of day stays where it is."""
    clock, space, rest = place.partition(" ")
    found = _TIME.fullmatch(clock)
    if found is None:
        return place
    try:
        moved = datetime.datetime.fromisoformat(clock[:19]) - by
    except (ValueError, OverflowError):
        return place
    return moved.isoformat() + (found[3] or "") + space + rest


def settled(reading: Reading, cuts: Sequence[Cut], shown_before: ShownBefore) -> str:
    """Place a frame on the right side of every cleaning, of which *cuts* are in order.

    Its own time counts where that can be true. A frame that was read before a cleaning lies before it. One read later
    may lie on either side: where the camera's time says "before", but has no offset and is later than that of every
    frame known before the cleaning, or is more than a year behind these (a clock that was reset), it lies after it.
    """
    if reading.read_at is None:
        return reading.place
    before: str | None = None  # the nearest cleaning that the frame lies before though its time may say otherwise
    for cut in reversed(cuts):
        if reading.read_at < cut.began:
            before = cut.place
            continue
        # A cleaning's place is later than its time where the clocks of the frames before it run ahead.
        if reading.place >= min(cut.place, cut.began) or _runs_behind(reading, cut, shown_before):
            inside = cut.place <= reading.place and (before is None or reading.place < before)
            return reading.place if inside else _place_by_reading(reading, cut.place)
    return reading.place if before is None or reading.place < before else _place_by_reading(reading, BEGINNING)


def _runs_behind(reading: Reading, cut: Cut, shown_before: ShownBefore) -> bool:
    """Ask whether a camera's time from before a cleaning is wrong, of a frame that was read after it."""
    if reading.touched_at is not None and reading.touched_at < _earlier(cut.began, UNTOUCHED):
        return False
    clock, last = clock_of(reading.place), shown_before(cut)
    if clock < _a_year_before(last or cut.began):
        return True
    return not reading.zoned and (last is None or clock > last)


def _place_by_reading(reading: Reading, low: str) -> str:
    """Place a frame by when it was read, but after *low*."""
    place = f"{reading.read_at} {reading.place.partition(' ')[2]}"
    return place if place > low else place_after(low, _LAST_NUMBER, reading.place)


def _reading(place: str, taken_at: str | None, source: Source) -> Reading:
    found = _TIME.fullmatch(taken_at or "")
    return Reading(
        place=place,
        zoned=found is not None and found[4] is not None,
        read_at=utc(source.read_at) if source.read_at else None,
        touched_at=_moment(source.ctime_ns) if source.ctime_ns is not None else None,
    )


def _clock(taken_at: str | None, source: Source) -> str:
    return utc(taken_at) if taken_at else _moment(source.mtime_ns) or BEGINNING


def _moment(time_ns: int) -> str | None:
    """Write a file's time; None for one that no calendar has."""
    try:
        return datetime.datetime.fromtimestamp(time_ns // 10**9, datetime.UTC).replace(tzinfo=None).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def _earlier(at: str, by: datetime.timedelta) -> str:
    try:
        return (datetime.datetime.fromisoformat(at) - by).isoformat()
    except (ValueError, OverflowError):
        return at


def _a_year_before(place: str) -> str:
    year = place[:4]
    return f"{int(year) - 1:04}{place[4:]}" if year.isdecimal() and int(year) > 0 else place
