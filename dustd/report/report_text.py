"""The report in words, 80 columns of plain text, and the wording that the HTML page shares.

What it says is `dustd.report.report`'s; here is only how.
"""

import textwrap
from collections.abc import Sequence
from datetime import date, timedelta

from dustd.dustmap.particle import TOUCHED_FROM, DustMap
from dustd.report.advice import SHOWS
from dustd.report.report import Aperture, Summary
from dustd.report.sensor_picture import braille_picture, where_from_front

WORST_SHOWN = 10
STEPS_SHOWN = 10  # of growth; more are told week by week
_FIGURES = (
    ("visible_at_f11", "Particles that show at f/11", "{:d}"),
    ("light_lost_at_f11", "Light the worst one takes at f/11", "{:.0%}"),
    ("frames_touched", f"Frames that show {TOUCHED_FROM} or more", "{:.0%}"),
    ("new_per_week", "New particles a week", "{:.1f}"),
)


def text_report(summaries: Sequence[Summary]) -> str:
    """Write the report for people: an overview where there are several bodies, then each; 80 columns, plain text."""
    if not summaries:
        return "No body has been seen yet. Maps grow while dustd cleans frames.\n"
    overview = [_overview(summaries)] if len(summaries) > 1 else []
    return "\n".join([*overview, *map(_body_text, summaries)])


def steps(growth: Sequence[tuple[date, int]]) -> list[tuple[str, int]]:
    """Name the steps of growth for a table: by day, or by week (its Monday) where there are many."""
    if len(growth) <= STEPS_SHOWN:
        return [(day.isoformat(), count) for day, count in growth]
    weeks = {day - timedelta(days=day.weekday()): count for day, count in growth}
    return [(f"week of {monday.isoformat()}", count) for monday, count in weeks.items()]


def figure_rows(summary: Summary) -> list[tuple[str, str, str, str]]:
    """Tabulate what the advice rests on: figure, value, and its limits for soon and for now."""

    def limit(form: str, value: float) -> str:
        return form.format(value) if value else "never"

    soon, now, of = summary.rules.soon, summary.rules.now, summary.figures
    return [
        (
            words,
            "not yet" if getattr(of, name) is None else form.format(getattr(of, name)),
            limit(form, getattr(soon, name)),
            limit(form, getattr(now, name)),
        )
        for name, words, form in _FIGURES
    ]


def cleaning_text(summary: Summary) -> str:
    """Say when the sensor was last cleaned and whether that worked."""
    last = summary.cleaning
    if last is None:
        return "not known (dustd map cleaned BODY notes it)"
    how = "noticed by dustd" if last.noticed else "declared"
    return f"{minute(last.at)}, {how}: {last.verdict}"


def period_text(dust: DustMap) -> str:
    """Say from when to when the map's frames were taken."""
    return f"{minute(dust.first_frame_at)} to {minute(dust.last_frame_at)}" if dust.first_frame_at else "not known"


def minute(at: str | None) -> str:
    """Shorten an ISO 8601 time to the minute."""
    return (at or "")[:16].replace("T", " ")


def _overview(summaries: Sequence[Summary]) -> str:
    """Tabulate which bodies need the swab, most urgent first."""
    wide = min(max(len(s.name) for s in summaries), 34)
    lines = [f"{'Body':{wide}}  {'Advice':13}  show at f/11  last cleaned"]
    for s in summaries:
        cleaned = minute(s.cleaning.at)[:10] if s.cleaning else "not known"
        lines.append(f"{_short(s.name, wide):{wide}}  {s.advice:13}  {s.figures.visible_at_f11:12d}  {cleaned}")
    return "\n".join(lines) + "\n"


def _short(text: str, width: int) -> str:
    """Shorten in the middle: the serial number is at the end."""
    return text if len(text) <= width else f"{text[: width // 2 - 1]}…{text[-(width - width // 2) :]}"


def _body_text(summary: Summary) -> str:
    dust = summary.dust
    lines = [
        summary.name,
        "=" * len(summary.name),
        *_wrapped("Advice", f"{summary.advice}: {summary.why}"),
        f"Particles    {len(summary.confirmed)} confirmed, {len(summary.suspected)} suspected",
        f"Frames       {dust.frames}, {dust.frames_stopped_down} of them at f/8 or narrower",
        f"Taken        {period_text(dust)}",
        *_wrapped("Last cleaned", cleaning_text(summary)),
        "",
        f"{'Figure':36}{'value':>8}{'soon from':>12}{'now from':>12}",
        *(f"{name:36}{value:>8}{soon:>12}{now:>12}" for name, value, soon, now in figure_rows(summary)),
    ]
    if summary.confirmed:
        lines += ["", *_aperture_lines(summary.apertures)]
        lines += ["", "Growth", *_growth_lines(steps(summary.growth))] if summary.growth else []
        lines += ["", braille_picture(summary.confirmed, dust.width, dust.height, from_front=True)]
        lines += [
            "The sensor as you look into the camera, top of the camera up; in",
            "photographs top and bottom are swapped.",
        ]
        lines += ["", *_worst_lines(summary)]
    return "\n".join(lines) + "\n"


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(f"{label:13}{text}", 80, subsequent_indent=" " * 13, break_on_hyphens=False)


def _aperture_lines(apertures: Sequence[Aperture]) -> list[str]:
    return [
        "At           " + "".join(f"{f'f/{each.f_number:g}':>8}" for each in apertures),
        "show         " + "".join(f"{each.visible:8d}" for each in apertures),
        "worst takes  " + "".join(f"{f'{each.light_lost:.0%}':>8}" for each in apertures),
        f"A particle shows where it takes {SHOWS:.0%} of the light or more.",
    ]


def _growth_lines(growth: Sequence[tuple[str, int]]) -> list[str]:
    """Show the latest steps as bars."""
    most = growth[-1][1]
    return [
        f"  {when:18} {count:4d} " + "▇" * max(1, round(40 * count / most)) for when, count in growth[-STEPS_SHOWN:]
    ]


def _worst_lines(summary: Summary) -> list[str]:
    """Tabulate the worst particles: shape, place, what they take at the usual apertures, how sure, how often seen."""
    dust = summary.dust
    lines = [f"Worst shape  {'looking in':13}{'f/8':>7}{'f/11':>7}{'f/16':>7}   sure  frames  first seen"]
    for number, particle in enumerate(summary.confirmed[:WORST_SHOWN], start=1):
        losses = "".join(f"{particle.attenuation_at(n):7.1%}" for n in (8.0, 11.0, 16.0))
        sure = f"{particle.confidence:6.0%} {particle.frames_seen:7d}"
        place_ = where_from_front(particle, dust.width, dust.height)
        first = (particle.first_seen or "not known")[:10]
        lines.append(f"{number:3d}   {particle.shape or '–':7}{place_:13}{losses} {sure}  {first}")
    if len(summary.confirmed) > WORST_SHOWN:
        lines.append(f"and {len(summary.confirmed) - WORST_SHOWN} more")
    return lines
