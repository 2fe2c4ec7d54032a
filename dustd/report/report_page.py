"""The report as one self-contained HTML page: readable on a phone, in the light and in the dark, and without eyes.

Values in, text out; what the report says is `dustd.report.report`'s. Pictures are data URIs, charts inline SVG; a
content security policy forbids the browser to load anything else. Whatever comes from a file, such as a body's name, is
escaped.
"""

import base64
import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date

import cv2
import numpy as np

from dustd.dustmap.particle import DustMap, Particle
from dustd.report.advice import SHOWS, moment
from dustd.report.report import Summary
from dustd.report.report_text import WORST_SHOWN, cleaning_text, figure_rows, minute, period_text, steps, text_report
from dustd.report.sensor_picture import PRINT_F_NUMBER, Crop, drawn, place, sensor_picture, where_from_front
from dustd.text import counted

_CSS = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #595959; --paper: #fff; --line: #c8c8c8; --bar: #2f6fb0;
  --now: #b3261e; --soon: #8a5a00; --fine: #1b6e3c; --unknown: #5f5f5f }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --soft: #a8a8a8; --paper: #161616; --line: #444;
  --bar: #6ea8e0; --now: #ff8a80; --soon: #f0b64a; --fine: #7fd19b; --unknown: #b0b0b0 } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere }
h1 { font-size: 1.6rem } h2 { font-size: 1.35rem; margin: 0 } h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem }
section { border-top: 3px solid var(--line); margin-top: 2.5rem; padding-top: 1.2rem }
a { color: inherit } figure { margin: .6rem 0 } figcaption, .soft { color: var(--soft); font-size: .9rem }
svg, img { display: block; max-width: 100%; height: auto }
svg.wide { width: 100% }
.table { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: normal } td { white-space: nowrap }
td.n, th.n { text-align: right } caption { text-align: left; color: var(--soft); font-size: .9rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem } dt { color: var(--soft) } dd { margin: 0 }
.advice { font-weight: 700; border-left: .4rem solid; padding-left: .6rem; margin: .5rem 0 }
.advice span { font-weight: 400; color: var(--ink) }
.clean-now { color: var(--now) } .clean-soon { color: var(--soon) }
.not-needed { color: var(--fine) } .not-known-yet { color: var(--unknown) }
.crops { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; padding: 0;
  list-style: none } .crops figure { margin: 0 } .crops img { width: 100%; image-rendering: auto }
@media (max-width: 32rem) { .overview :is(th, td):nth-child(5) { display: none } }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr } dd { margin-bottom: .4rem } }
@media print { section { break-before: page } }
"""
_TITLE = "<title>dustd: sensor dust</title>"
_HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
{_TITLE}
<style>{_CSS}</style></head><body>
<h1>Sensor dust</h1>
"""
_SENSOR_WIDTH, _BAND = 1000, 56  # units of the drawing of the sensor; the band above it names the top


def html_report(summaries: Sequence[Summary], crops: Mapping[str, Crop] | None = None) -> str:
    """Write the report as a page that needs no other file, the bodies in the order given.

    *crops* are pictures of particles by id, cut from frames; the other worst ones are drawn as predicted.
    """
    if not summaries:
        return f"{_HEAD}<p>{_text(text_report(()))}</p>\n</body></html>\n"
    parts = [_overview(summaries)] if len(summaries) > 1 else []
    parts += [_section(number, each, crops or {}) for number, each in enumerate(summaries, start=1)]
    return _HEAD + "\n".join(parts) + "\n</body></html>\n"


def is_page(data: bytes) -> bool:
    """Tell whether a file's content is a report, so that it may be replaced by a newer one."""
    return _TITLE.encode() in data[:1000]


def _overview(summaries: Sequence[Summary]) -> str:
    rows = [
        (
            f'<a href="#body-{number}">{_text(s.name)}</a>',
            f'<strong class="{_class(s)}">{s.advice}</strong>',
            str(s.figures.visible_at_f11),
            _text(minute(s.cleaning.at)[:10] if s.cleaning else "not known"),
            _text(minute(s.dust.last_frame_at)[:10] or "not known"),
        )
        for number, s in enumerate(summaries, start=1)
    ]
    head = ("Body", "Advice", "Show at f/11", "Last cleaned", "Last frame")
    table = _table("The most urgent first", head, rows, numbers={2})
    return f'<h2>Which bodies need the swab</h2><div class="overview">{table}</div>'


def _section(number: int, summary: Summary, crops: Mapping[str, Crop]) -> str:
    dust = summary.dust
    facts = (
        ("Particles", f"{len(summary.confirmed)} confirmed, {len(summary.suspected)} suspected"),
        ("Last cleaned", cleaning_text(summary)),
        ("Frames", f"{dust.frames}, {dust.frames_stopped_down} of them at f/8 or narrower"),
        ("Taken", period_text(dust)),
    )
    listed = "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in facts)
    return "\n".join(
        [
            f'<section id="body-{number}" aria-labelledby="name-{number}">',
            f'<h2 id="name-{number}">{_text(summary.name)}</h2>',
            f'<p class="advice {_class(summary)}">{summary.advice}<span>: {_text(summary.why)}</span></p>',
            f"<dl>{listed}</dl>",
            _sensor(number, summary),
            _apertures(summary),
            _growth(summary),
            _worst(summary, crops),
            "<h3>What the advice rests on</h3>",
            _table("", ("Figure", "Value", "Soon from", "Now from"), map(_escaped, figure_rows(summary)), {1, 2, 3}),
            "</section>",
        ]
    )


def _sensor(number: int, summary: Summary) -> str:
    """Draw the sensor as you look into the camera, the worst particles numbered, and the upright view to unfold."""
    dust, name = summary.dust, _text(summary.name)
    height = round(_SENSOR_WIDTH * dust.height / dust.width)
    picture = sensor_picture(summary.confirmed, dust.width, dust.height, from_front=True)
    marks = "".join(_mark(index, particle, dust, height) for index, particle in enumerate(summary.confirmed, start=1))
    size = f'width="{_SENSOR_WIDTH}" height="{height}"'
    return f"""<h3>The sensor</h3>
<figure><svg class="wide" viewBox="0 0 {_SENSOR_WIDTH} {height + _BAND}" role="img" aria-labelledby="sensor-{number}">
<title id="sensor-{number}">The sensor of {name} as you look into the camera, with its dust as it prints at f/16.
{_places(summary)}</title>
<text x="{_SENSOR_WIDTH // 2}" y="40" text-anchor="middle" font-size="30" fill="currentColor">▲ top of the camera</text>
<g transform="translate(0 {_BAND})"><image id="picture-{number}" {size} href="{_png(picture[:, :, 0])}"/>
{marks}</g></svg>
<figcaption>As you look into the camera, top of the camera up: the view with the swab in hand. Size and depth as at
f/16; the rings are there to find the particles, the numbers are those of the worst below.</figcaption></figure>
<details><summary>As in photographs</summary>
<figure><svg class="wide" viewBox="0 0 {_SENSOR_WIDTH} {height}" role="img" aria-label="The same as in photographs">
<use href="#picture-{number}" transform="matrix(1 0 0 -1 0 {height})"/></svg>
<figcaption>An even grey frame at f/16, not rotated: top and bottom are swapped against the view above.</figcaption>
</figure>
</details>"""


def _mark(index: int, particle: Particle, dust: DustMap, height: int) -> str:
    """Ring a particle that shows at f/16, numbered if it is among the worst."""
    if particle.attenuation_at(PRINT_F_NUMBER) < SHOWS:
        return ""
    scale = _SENSOR_WIDTH / dust.width
    x, y = place(particle, dust.width, dust.height)
    x, y = scale * (x + 0.5), height - scale * (y + 0.5)
    radius = 12 + scale * particle.diameter_px_at(PRINT_F_NUMBER) / 2
    ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="none" stroke="#8c1d18" stroke-width="2"/>'
    if index > WORST_SHOWN:
        return ring
    side, anchor = (1, "start") if x < _SENSOR_WIDTH - 70 else (-1, "end")
    at = f'x="{x + side * (radius + 5):.1f}" y="{min(max(y + 10, 26), height - 6):.1f}" text-anchor="{anchor}"'
    return f'{ring}<text {at} font-size="30" font-weight="700" fill="#8c1d18">{index}</text>'


def _places(summary: Summary) -> str:
    """Put the picture into words."""
    if not summary.confirmed:
        return "No dust is confirmed."
    dust = summary.dust
    worst = summary.confirmed[:WORST_SHOWN]
    said = (f"{n}: {where_from_front(p, dust.width, dust.height)}" for n, p in enumerate(worst, start=1))
    return (
        f"{counted(len(summary.confirmed), 'particle is', 'particles are')} confirmed; the worst at {', '.join(said)}."
    )


def _apertures(summary: Summary) -> str:
    rows = [(f"f/{a.f_number:g}", str(a.visible), f"{a.light_lost:.0%}") for a in summary.apertures]
    caption = f"A particle shows where it takes {SHOWS:.0%} of the light or more"
    return "<h3>Where it shows</h3>" + _table(
        caption, ("Aperture", "Particles that show", "The worst takes"), rows, {1, 2}
    )


def _growth(summary: Summary) -> str:
    if not summary.growth:
        return ""
    rows = [(when, str(count)) for when, count in steps(summary.growth)]
    table = _table("Confirmed particles", ("First seen by", "Particles"), rows, {1})
    return f"<h3>Growth</h3>{_chart(summary)}<details><summary>As a table</summary>{table}</details>"


def _chart(summary: Summary) -> str:
    """Draw the growth as steps from the map's first day to its last frame."""
    width, height, left, bottom = 700, 180, 44, 28
    growth = summary.growth
    first, most = growth[0][0], growth[-1][1]
    end = moment(summary.dust.last_frame_at)
    last = max(growth[-1][0], end.date() if end else first)
    days = max((last - first).days, 1)

    def across(day: date) -> float:
        return left + (width - left - 10) * (day - first).days / days

    def up(count: int) -> float:
        return height - bottom - (height - bottom - 16) * count / most

    path, now = f"M{left} {up(0):.1f}", 0
    for day, count in growth:
        path += f"L{across(day):.1f} {up(now):.1f}V{up(count):.1f}"
        now = count
    path += f"H{across(last):.1f}"
    area = f"{path}V{up(0):.1f}Z"
    label = f"Confirmed particles from {first} to {last}: from {growth[0][1]} to {most}"
    words = 'font-size="15" fill="currentColor"'
    return f"""<figure><svg class="wide" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">
<path d="{area}" fill="var(--bar)" opacity="0.25"/><path d="{path}" fill="none" stroke="var(--bar)" stroke-width="3"/>
<path d="M{left} 8V{up(0):.1f}H{width - 10}" fill="none" stroke="var(--line)" stroke-width="1.5"/>
<text x="{left - 6}" y="{up(most) + 5:.1f}" text-anchor="end" {words}>{most}</text>
<text x="{left - 6}" y="{up(0) + 5:.1f}" text-anchor="end" {words}>0</text>
<text x="{left}" y="{height - 6}" {words}>{first}</text>
<text x="{width - 10}" y="{height - 6}" text-anchor="end" {words}>{last}</text></svg>
<figcaption>Confirmed particles by the day they were first seen</figcaption></figure>"""


def _worst(summary: Summary, crops: Mapping[str, Crop]) -> str:
    """Show the worst particles as crops, cut from frames where there are any, else drawn, and in a table."""
    if not summary.confirmed:
        return ""
    dust, rows, cards = summary.dust, [], []
    for number, particle in enumerate(summary.confirmed[:WORST_SHOWN], start=1):
        where = where_from_front(particle, dust.width, dust.height)
        crop = crops.get(particle.id) or drawn(particle)
        caption = _text(f"{number}: {crop.caption}")
        cards.append(
            f'<li><figure><img alt="Particle {number}, {_text(crop.caption)}" src="{_jpeg(crop.picture)}">'
            f"<figcaption>{caption}</figcaption></figure></li>"
        )
        losses = [f"{particle.attenuation_at(n):.1%}" for n in (8.0, 11.0, 16.0)]
        seen = f"{particle.frames_seen} of {particle.frames_eligible}"
        first = _text((particle.first_seen or "not known")[:10])
        shape = particle.shape or "–"
        rows.append((str(number), where, shape, *losses, f"{particle.confidence:.0%}", seen, first))
    head = ("", "Looking in", "Shape", "At f/8", "f/11", "f/16", "Sure", "Seen in frames", "First seen")
    table = _table("The light that the worst particles take", head, rows, {0, 3, 4, 5, 6})
    return f'<h3>The worst</h3><ul class="crops">{"".join(cards)}</ul>{table}'


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()) -> str:
    """Lay out a table; cells are HTML. *numbers* are the columns aligned to the right."""

    def css(column: int) -> str:
        return ' class="n"' if column in numbers else ""

    heads = "".join(f'<th scope="col"{css(column)}>{name}</th>' for column, name in enumerate(head))
    body = "".join(
        f'<tr><th scope="row"{css(0)}>{row[0]}</th>'
        + "".join(f"<td{css(column)}>{cell}</td>" for column, cell in enumerate(row[1:], start=1))
        + "</tr>"
        for row in rows
    )
    title = f"<caption>{caption}</caption>" if caption else ""
    return f'<div class="table"><table>{title}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _class(summary: Summary) -> str:
    return summary.advice.replace(" ", "-")


def _escaped(row: Sequence[str]) -> list[str]:
    return [_text(cell) for cell in row]


def _text(text: str) -> str:
    """Escape text for content and attributes alike."""
    return html.escape(text.strip(), quote=True)


def _png(picture: np.ndarray) -> str:
    """Pack a grey picture, (h, w) uint8, into a URI."""
    _, data = cv2.imencode(".png", picture)
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _jpeg(picture: np.ndarray) -> str:
    """Pack a picture, (h, w, 3) RGB uint8, into a URI; 95 keeps a shadow of 5 % as it is."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
