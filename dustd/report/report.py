"""What a dust map says to a photographer: how much dust, where, since when, what it will do, whether to clean.

Values in, text and values out; no files. The advice is `dustd.report.advice`'s, the pictures are
`dustd.report.sensor_picture`'s.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from dustd import codec
from dustd.config import AdviceRules
from dustd.dustmap.particle import DustMap, Particle
from dustd.report.advice import (
    FINEST_F_NUMBER,
    FRAMES_NEEDED,
    SHOWS,
    URGENCY,
    Advice,
    Figures,
    advise,
    epoch_start,
    figures,
    moment,
    visible_at,
)
from dustd.report.sensor_picture import place, where_from_front
from dustd.text import printable

F_NUMBERS = (5.6, 8.0, 11.0, 16.0, 22.0)
# Our choice, from facts §1.2: two measured swabs took 91 % and 79 % of the dust away.
WORKED, PARTLY = 0.7, 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Aperture:
    """How many confirmed particles show at an f-number, and what the darkest takes there."""

    f_number: float
    visible: int
    light_lost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """The last cleaning. Of *before* particles that showed at f/16, *gone* did not come back; None: not known yet.

    *new* counts the confirmed particles that were not there before it. *verdict* says in words whether it worked.
    """

    at: str
    noticed: bool
    before: int
    gone: int | None
    new: int
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A body's report as values: confirmed particles with the worst first, suspected ones, growth by day, advice."""

    dust: DustMap
    rules: AdviceRules
    figures: Figures
    advice: Advice
    why: str
    confirmed: tuple[Particle, ...]
    suspected: tuple[Particle, ...]
    apertures: tuple[Aperture, ...]
    growth: tuple[tuple[date, int], ...]
    cleaning: Cleaning | None

    @property
    def name(self) -> str:
        """The body's name as it may be shown: what a stranger's file puts into it stays harmless on a terminal."""
        return printable(self.dust.body_id)


def summarise(dust: DustMap, rules: AdviceRules) -> Summary:
    """Sort out a map and judge it; *growth* is how many confirmed particles there were at the end of a day."""
    confirmed = tuple(
        sorted((p for p in dust.particles if p.confirmed), key=lambda p: (-p.attenuation_at(FINEST_F_NUMBER), p.id))
    )
    taken = figures(dust)
    advice, why = advise(taken, dust, rules)
    return Summary(
        dust=dust,
        rules=rules,
        figures=taken,
        advice=advice,
        why=why,
        confirmed=confirmed,
        suspected=tuple(p for p in dust.particles if not (p.confirmed or p.remembered) and p.log_odds > 0),
        apertures=tuple(
            Aperture(
                f_number=n,
                visible=visible_at(confirmed, n),
                light_lost=max((p.attenuation_at(n) for p in confirmed), default=0.0),
            )
            for n in F_NUMBERS
        ),
        growth=_growth(dust, confirmed),
        cleaning=_cleaning(dust, confirmed),
    )


def ranked(maps: Iterable[DustMap], rules: AdviceRules) -> tuple[Summary, ...]:
    """Summarise all bodies, those that need the swab most first."""
    summaries = [summarise(dust, rules) for dust in maps]
    return tuple(sorted(summaries, key=lambda s: (URGENCY.index(s.advice), -s.figures.visible_at_f11, s.name)))


def to_dict(summary: Summary) -> dict[str, Any]:
    """Lay a body's report out for JSON; positions in px of the unrotated frame of *sensor* size."""
    dust = summary.dust
    return {
        "body_id": dust.body_id,
        "make": dust.make,
        "model": dust.model,
        "sensor": {"width": dust.width, "height": dust.height},
        "frames": dust.frames,
        "frames_stopped_down": dust.frames_stopped_down,
        "first_frame_at": dust.first_frame_at,
        "last_frame_at": dust.last_frame_at,
        "cleanings": list(dust.cleanings),
        "last_cleaning": codec.DEFAULT.plain(summary.cleaning),
        "advice": summary.advice,
        "why": summary.why,
        "figures": codec.DEFAULT.plain(summary.figures),
        "rules": codec.DEFAULT.plain(summary.rules),
        "apertures": codec.DEFAULT.plain(summary.apertures),
        "growth": [{"day": day.isoformat(), "particles": count} for day, count in summary.growth],
        "particles": [_particle_dict(particle, dust) for particle in (*summary.confirmed, *summary.suspected)],
    }


def _growth(dust: DustMap, confirmed: Sequence[Particle]) -> tuple[tuple[date, int], ...]:
    """Add up the confirmed particles by the day they were first seen; what an older map knew counts from the start."""
    start = epoch_start(dust)
    days: Counter[date] = Counter()
    for particle in confirmed:
        first = moment(particle.first_seen) or start
        if first is not None:
            days[max(first, start or first).date()] += 1
    growth, total = [], len(confirmed) - days.total()
    for day in sorted(days):
        total += days[day]
        growth.append((day, total))
    return tuple(growth)


def _cleaning(dust: DustMap, confirmed: Sequence[Particle]) -> Cleaning | None:
    """Judge the last cleaning by the particles that showed before it; a survivor is one that is confirmed again."""
    if not dust.cleanings:
        return None
    showed = [p for p in dust.before if p.confirmed and p.attenuation_at(FINEST_F_NUMBER) >= SHOWS]
    gone = sum(not any(_same(old, now) for now in confirmed) for old in showed)
    judged = dust.frames_stopped_down >= FRAMES_NEEDED and bool(showed)
    return Cleaning(
        at=dust.cleanings[-1],
        noticed=dust.cleaning_noticed,
        before=len(showed),
        gone=gone if judged else None,
        new=sum(not any(_same(old, now) for old in dust.before) for now in confirmed),
        verdict=_cleaning_verdict(gone, len(showed), dust.frames_stopped_down),
    )


def _cleaning_verdict(gone: int, before: int, frames: int) -> str:
    if not before:
        return "no particle that showed was known before it"
    if frames < FRAMES_NEEDED:
        return f"whether it worked shows after {FRAMES_NEEDED} frames at f/8 or narrower, so far {frames}"
    share = gone / before
    word = "it worked" if share >= WORKED else "it worked in part" if share >= PARTLY else "it did not work"
    return f"{word}, {gone} of the {before} particles that showed are gone"


def _same(old: Particle, new: Particle) -> bool:
    """Ask whether two epochs speak of one particle: by its id, else by its place."""
    return old.id == new.id or math.hypot(old.mx - new.mx, old.my - new.my) <= old.diameter_px_at(FINEST_F_NUMBER)


def _particle_dict(particle: Particle, dust: DustMap) -> dict[str, Any]:
    x, y = place(particle, dust.width, dust.height)
    return {
        "id": particle.id,
        "x": x,
        "y": y,
        "where_looking_in": where_from_front(particle, dust.width, dust.height),
        "shape": particle.shape,
        "confirmed": particle.confirmed,
        "confidence": particle.confidence,
        "frames_seen": particle.frames_seen,
        "frames_eligible": particle.frames_eligible,
        "first_seen": particle.first_seen,
        "last_seen": particle.last_seen,
        "f_numbers": list(particle.f_numbers),
        "attenuation_at": {f"{n:g}": particle.attenuation_at(n) for n in F_NUMBERS},
        "diameter_at": {f"{n:g}": particle.diameter_px_at(n) for n in F_NUMBERS},
    }
