"""The report as one self-contained HTML page: readable on a phone, in the light and in the dark, and without eyes.

Values in, text out; what the report says is `dustd.report.report`'s, how it looks is `pages/report.html`'s. Pictures
are data URIs, charts inline SVG; a content security policy forbids the browser to load anything else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import cv2
import numpy as np

from dustd.dustmap.particle import DustMap, Particle
from dustd.report.advice import SHOWS, Advice, moment
from dustd.report.report import Summary
from dustd.report.report_text import WORST_SHOWN, cleaning_text, figure_rows, minute, period_text, steps, text_report
from dustd.report.sensor_picture import PRINT_F_NUMBER, Crop, drawn, place, sensor_picture, where_from_front
from dustd.report.templates import data_uri, render
from dustd.text import counted

_TITLE = "dustd: sensor dust"
_SENSOR_WIDTH, _BAND = 1000, 56  # units of the drawing of the sensor; the band above it names the top
_CHART_WIDTH, _CHART_HEIGHT, _CHART_LEFT, _CHART_BOTTOM = 700, 180, 44, 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A ring around a particle on the drawing of the sensor, and its number beside it; None: it has none."""

    x: float
    y: float
    radius: float
    number: int | None
    text_x: float
    text_y: float
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """The drawing of the sensor, *width* × (*band* + *height*) units; *places* puts it into words."""

    width: int
    height: int
    band: int
    picture: str
    places: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The growth as steps: *path* is SVG's, *zero* the height of none, *most_y* and *zero_y* those of words."""

    width: int
    height: int
    left: int
    path: str
    zero: str
    zero_y: str
    most_y: str
    first: date
    last: date
    least: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """One of the worst particles: its picture, and its row of the table."""

    number: int
    caption: str
    picture: str
    row: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What the page says of one body; tables are rows of words."""

    number: int
    name: str
    advice: Advice
    kind: str  # the advice as CSS calls it
    why: str
    visible: int
    last_cleaned: str
    last_frame: str
    facts: tuple[tuple[str, str], ...]
    sensor: Sensor
    apertures: tuple[tuple[str, ...], ...]
    chart: Chart | None
    growth: tuple[tuple[str, ...], ...]
    worst: tuple[Worst, ...]
    figures: tuple[Sequence[str], ...]


def html_report(summaries: Sequence[Summary], crops: Mapping[str, Crop] | None = None) -> str:
    """Write the report as a page that needs no other file, the bodies in the order given.

    *crops* are pictures of particles by id, cut from frames; the other worst ones are drawn as predicted.
    """
    return render(
        "report.html",
        title=_TITLE,
        nothing=text_report(()).strip(),
        shows=f"A particle shows where it takes {SHOWS:.0%} of the light or more",
        bodies=[_body(number, each, crops or {}) for number, each in enumerate(summaries, start=1)],
    )


def is_page(data: bytes) -> bool:
    """Tell whether a file's content is a report, so that it may be replaced by a newer one."""
    return f"<title>{_TITLE}</title>".encode() in data[:1000]


def _body(number: int, summary: Summary, crops: Mapping[str, Crop]) -> Body:
    dust = summary.dust
    return Body(
        number=number,
        name=summary.name,
        advice=summary.advice,
        kind=summary.advice.replace(" ", "-"),
        why=summary.why,
        visible=summary.figures.visible_at_f11,
        last_cleaned=minute(summary.cleaning.at)[:10] if summary.cleaning else "not known",
        last_frame=minute(dust.last_frame_at)[:10] or "not known",
        facts=(
            ("Particles", f"{len(summary.confirmed)} confirmed, {len(summary.suspected)} suspected"),
            ("Last cleaned", cleaning_text(summary)),
            ("Frames", f"{dust.frames}, {dust.frames_stopped_down} of them at f/8 or narrower"),
            ("Taken", period_text(dust)),
        ),
        sensor=_sensor(summary),
        apertures=tuple((f"f/{a.f_number:g}", str(a.visible), f"{a.light_lost:.0%}") for a in summary.apertures),
        chart=_chart(summary) if summary.growth else None,
        growth=tuple((when, str(count)) for when, count in steps(summary.growth)) if summary.growth else (),
        worst=tuple(_worst(n, each, dust, crops) for n, each in enumerate(summary.confirmed[:WORST_SHOWN], start=1)),
        figures=tuple(figure_rows(summary)),
    )


def _sensor(summary: Summary) -> Sensor:
    """Draw the sensor as you look into the camera, the worst particles numbered."""
    dust = summary.dust
    height = round(_SENSOR_WIDTH * dust.height / dust.width)
    picture = sensor_picture(summary.confirmed, dust.width, dust.height, from_front=True)
    return Sensor(
        width=_SENSOR_WIDTH,
        height=height,
        band=_BAND,
        picture=_png(picture[:, :, 0]),
        places=_places(summary),
        marks=tuple(
            _mark(index, particle, dust, height)
            for index, particle in enumerate(summary.confirmed, start=1)
            if particle.attenuation_at(PRINT_F_NUMBER) >= SHOWS
        ),
    )


def _mark(index: int, particle: Particle, dust: DustMap, height: int) -> Mark:
    """Ring a particle, numbered if it is among the worst."""
    scale = _SENSOR_WIDTH / dust.width
    x, y = place(particle, dust.width, dust.height)
    x, y = scale * (x + 0.5), height - scale * (y + 0.5)
    radius = 12 + scale * particle.diameter_px_at(PRINT_F_NUMBER) / 2
    side, anchor = (1, "start") if x < _SENSOR_WIDTH - 70 else (-1, "end")
    return Mark(
        x=x,
        y=y,
        radius=radius,
        number=index if index <= WORST_SHOWN else None,
        text_x=x + side * (radius + 5),
        text_y=min(max(y + 10, 26), height - 6),
        anchor=anchor,
    )


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


def _chart(summary: Summary) -> Chart:
    """Draw the growth as steps from the map's first day to its last frame."""
    growth = summary.growth
    first, most = growth[0][0], growth[-1][1]
    end = moment(summary.dust.last_frame_at)
    last = max(growth[-1][0], end.date() if end else first)
    days = max((last - first).days, 1)

    def across(day: date) -> float:
        return _CHART_LEFT + (_CHART_WIDTH - _CHART_LEFT - 10) * (day - first).days / days

    def up(count: int) -> float:
        return _CHART_HEIGHT - _CHART_BOTTOM - (_CHART_HEIGHT - _CHART_BOTTOM - 16) * count / most

    path, now = f"M{_CHART_LEFT} {up(0):.1f}", 0
    for day, count in growth:
        path += f"L{across(day):.1f} {up(now):.1f}V{up(count):.1f}"
        now = count
    return Chart(
        width=_CHART_WIDTH,
        height=_CHART_HEIGHT,
        left=_CHART_LEFT,
        path=f"{path}H{across(last):.1f}",
        zero=f"{up(0):.1f}",
        zero_y=f"{up(0) + 5:.1f}",
        most_y=f"{up(most) + 5:.1f}",
        first=first,
        last=last,
        least=growth[0][1],
        most=most,
    )


def _worst(number: int, particle: Particle, dust: DustMap, crops: Mapping[str, Crop]) -> Worst:
    """Show a particle as a crop, cut from a frame if there is one, else drawn."""
    crop = crops.get(particle.id) or drawn(particle)
    return Worst(
        number=number,
        caption=crop.caption,
        picture=_jpeg(crop.picture),
        row=(
            str(number),
            where_from_front(particle, dust.width, dust.height),
            particle.shape or "–",
            *(f"{particle.attenuation_at(n):.1%}" for n in (8.0, 11.0, 16.0)),
            f"{particle.confidence:.0%}",
            f"{particle.frames_seen} of {particle.frames_eligible}",
            (particle.first_seen or "not known")[:10],
        ),
    )


def _png(picture: np.ndarray) -> str:
    """Pack a grey picture, (h, w) uint8, into a URI."""
    return data_uri("png", cv2.imencode(".png", picture)[1].tobytes())


def _jpeg(picture: np.ndarray) -> str:
    """Pack a picture, (h, w, 3) RGB uint8, into a URI; 95 keeps a shadow of 5 % as it is."""
    return data_uri("jpeg", cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
