"""When to clean a sensor: a map's figures, the limits that are set for them, and what follows.

Pure: values in, values out. The defaults below come with their reasons in config.example.yaml; the numbers about real
sensors are those of facts/optics-and-evidence.md §1.2, §4 and §5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Literal

from dustd.config import AdviceRules, NowLimits, SoonLimits
from dustd.dustmap.particle import TOUCHED_FROM, DustMap, Particle

Advice = Literal["clean now", "clean soon", "not known yet", "not needed"]
URGENCY: tuple[Advice, ...] = ("clean now", "clean soon", "not known yet", "not needed")

SHOWS = 0.05  # share of the light from which a spot shows in plain areas (§1.2: 30 to 60 µm at f/11 to f/22)
USUAL_F_NUMBER = 11.0  # narrow enough for dust to show, wide enough to be used every day
FINEST_F_NUMBER = 16.0
FRAMES_NEEDED = 10  # at f/8 or narrower: the map then knows nearly all dust that shows
LEARNING = timedelta(days=7)  # what is first seen in a map's first week was there before
RECENT = timedelta(days=28)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the rules look at, of confirmed particles only; None where it cannot be known yet.

    *light_lost_at_f11* is the worst particle's, *frames_touched* the share of recent frames that showed TOUCHED_FROM
    particles or more, *new_per_week* counts particles that show at f/16.
    """

    visible_at_f11: int
    light_lost_at_f11: float
    frames_touched: float | None
    new_per_week: float | None


def figures(dust: DustMap) -> Figures:
    """Take the figures of a map."""
    lost = [particle.attenuation_at(USUAL_F_NUMBER) for particle in dust.particles if particle.confirmed]
    return Figures(
        visible_at_f11=sum(each >= SHOWS for each in lost),
        light_lost_at_f11=max(lost, default=0.0),
        frames_touched=dust.recent_touched / dust.recent_frames if dust.recent_frames >= FRAMES_NEEDED else None,
        new_per_week=_new_per_week(dust),
    )


def advise(of: Figures, dust: DustMap, rules: AdviceRules, *, slack: float = 1.0) -> tuple[Advice, str]:
    """Give the advice and the reasons for it, the strongest advice first. *slack* multiplies all limits."""
    strongest_first: tuple[tuple[Advice, NowLimits | SoonLimits], ...] = (
        ("clean now", rules.now),
        ("clean soon", rules.soon),
    )
    for advice, limits in strongest_first:
        reasons = [
            _REASONS[name].format(value=value, limit=limit, shows="particle shows" if value == 1 else "particles show")
            for name, value, limit in _compared(of, limits)
            if limit and value is not None and value >= slack * limit
        ]
        if reasons:
            return advice, "; ".join(reasons)
    if dust.frames_stopped_down < FRAMES_NEEDED:
        seen = "1 frame" if dust.frames_stopped_down == 1 else f"{dust.frames_stopped_down} frames"
        return "not known yet", f"{seen} at f/8 or narrower so far; it takes {FRAMES_NEEDED}, of different scenes"
    return "not needed", f"{showing(of.visible_at_f11)} at f/11, and no figure has reached its limit"


def showing(count: int) -> str:
    """Say how many particles show."""
    return "1 particle shows" if count == 1 else f"{count} particles show"


def visible_at(particles: tuple[Particle, ...], f_number: float) -> int:
    """Count the particles that show in plain areas at an aperture."""
    return sum(particle.attenuation_at(f_number) >= SHOWS for particle in particles)


def moment(at: str | None) -> datetime | None:
    """Read the wall time of an ISO 8601 text; None where there is none."""
    try:
        return datetime.fromisoformat((at or "")[:19])
    except ValueError:
        return None


def epoch_start(dust: DustMap) -> datetime | None:
    """Say when the map began: with the last cleaning, else with the first frame."""
    return moment(dust.cleanings[-1] if dust.cleanings else dust.first_frame_at)


_REASONS: Mapping[str, str] = {
    "visible_at_f11": "{value} {shows} at f/11 (limit {limit})",
    "light_lost_at_f11": "the worst particle takes {value:.0%} of the light at f/11 (limit {limit:.0%})",
    "frames_touched": f"{{value:.0%}} of the latest frames show {TOUCHED_FROM} particles or more (limit {{limit:.0%}})",
    "new_per_week": "{value:.1f} new particles a week (limit {limit:g})",
}


def _compared(of: Figures, limits: SoonLimits | NowLimits) -> list[tuple[str, float | None, float]]:
    return [(each.name, getattr(of, each.name), getattr(limits, each.name)) for each in fields(limits)]


def _new_per_week(dust: DustMap) -> float | None:
    """Count what came after the first week, over the last four; None before a week of that has gone by."""
    start, end = epoch_start(dust), moment(dust.last_frame_at)
    if start is None or end is None:
        return None
    since = max(start + LEARNING, end - RECENT)
    weeks = (end - since) / timedelta(days=7)
    if weeks < 1:
        return None
    came = [
        first
        for particle in dust.particles
        if particle.confirmed and particle.attenuation_at(FINEST_F_NUMBER) >= SHOWS
        if (first := moment(particle.first_seen)) is not None and first >= since
    ]
    return len(came) / weeks
