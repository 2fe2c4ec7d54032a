"""What a dust map says to a photographer: how much dust, where, since when, what it will do, whether to clean.

Values in, text and pictures out; no files. Positions are those of the unrotated picture; whoever looks into the camera
sees the sensor with top and bottom swapped, because the lens turns the picture over.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from dustd.frame import from_centre
from dustd.particle import DustMap, Particle

F_NUMBERS = (8.0, 11.0, 16.0)
PICTURE_COLUMNS = 60  # characters
PICTURE_WIDTH_PX = 1500
PRINT_F_NUMBER = 16.0
WORST_SHOWN = 10

# When to clean. A spot of 5 % shows in plain areas (facts §1.2); 30 % is dark enough to show anywhere, and near the
# half above which light cannot be taken back by division (facts §5).
SHOWS, GLARING = 0.05, 0.30
NOW_COUNT, SOON_COUNT = 25, 8
FRAMES_NEEDED = 3

Advice = Literal["clean now", "clean soon", "not needed", "not known yet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A body's map in numbers: confirmed particles with the worst first, suspected ones, growth by day, the advice."""

    confirmed: tuple[Particle, ...]
    suspected: tuple[Particle, ...]
    growth: tuple[tuple[str, int], ...]
    advice: Advice
    why: str


def summarise(dust: DustMap) -> Summary:
    """Sort out a map; *growth* is how many confirmed particles there were at the end of each day that brought some."""
    confirmed = sorted(
        (p for p in dust.particles if p.confirmed), key=lambda p: (-p.attenuation_at(PRINT_F_NUMBER), p.id)
    )
    days = Counter(p.first_seen[:10] for p in confirmed if p.first_seen)
    growth, total = [], sum(p.first_seen is None for p in confirmed)
    for day in sorted(days):
        total += days[day]
        growth.append((day, total))
    advice, why = _advice(dust, confirmed)
    return Summary(
        confirmed=tuple(confirmed),
        suspected=tuple(p for p in dust.particles if not p.confirmed and p.log_odds > 0),
        growth=tuple(growth),
        advice=advice,
        why=why,
    )


def text_report(maps: Sequence[DustMap]) -> str:
    """Write the report for people, body after body; plain text with Braille pictures, 80 columns."""
    if not maps:
        return "No body has been seen yet. Maps grow while dustd cleans frames.\n"
    return "\n".join(_body_text(dust) for dust in maps)


def to_dict(dust: DustMap) -> dict[str, Any]:
    """Lay a body's report out for JSON; positions in px of the unrotated frame of *sensor* size."""
    summary = summarise(dust)
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
        "advice": summary.advice,
        "why": summary.why,
        "growth": [{"day": day, "particles": count} for day, count in summary.growth],
        "particles": [_particle_dict(particle, dust) for particle in (*summary.confirmed, *summary.suspected)],
    }


def sensor_picture(particles: Sequence[Particle], width: int, height: int) -> np.ndarray:
    """Paint a plain grey frame as the confirmed particles would mark it at f/16: (h, w, 3) uint8 sRGB.

    *width* and *height* are the sensor's; the picture is scaled to at most 1500 px across.
    """
    scale = min(1.0, PICTURE_WIDTH_PX / width)
    light = np.full((max(1, round(height * scale)), max(1, round(width * scale))), 0.6, np.float32)
    for particle in particles:
        if particle.confirmed:
            _shade(light, particle, width, height, scale)
    # sRGB, by the exponent that approximates it.
    grey = np.round(255 * light ** (1 / 2.2)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def braille_picture(particles: Sequence[Particle], width: int, height: int) -> str:
    """Draw the sensor in Braille dots, one per confirmed particle, inside a frame."""
    columns, rows = PICTURE_COLUMNS, max(1, round(PICTURE_COLUMNS / 2 * height / width))
    dots = np.zeros((rows * 4, columns * 2), bool)
    for particle in particles:
        if particle.confirmed:
            x, y = from_centre(particle.mx, particle.my, width=width, height=height)
            row = min(max(int((y + 0.5) / height * dots.shape[0]), 0), dots.shape[0] - 1)
            column = min(max(int((x + 0.5) / width * dots.shape[1]), 0), dots.shape[1] - 1)
            dots[row, column] = True
    # Unicode Braille: dots 1-3 and 7 in the left column from the top, 4-6 and 8 in the right.
    bits = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
    codes = (dots.reshape(rows, 4, columns, 2) * bits[:, None, :]).sum(axis=(1, 3))
    lines = ["│" + "".join(chr(0x2800 + code) for code in line) + "│" for line in codes.tolist()]
    return "\n".join(["┌" + "─" * columns + "┐", *lines, "└" + "─" * columns + "┘"])


def _advice(dust: DustMap, confirmed: Sequence[Particle]) -> tuple[Advice, str]:
    """Apply the cleaning rules, the strongest first."""
    glaring_11 = sum(p.attenuation_at(11.0) >= GLARING for p in confirmed)
    glaring_16 = sum(p.attenuation_at(16.0) >= GLARING for p in confirmed)
    showing = sum(p.attenuation_at(16.0) >= SHOWS for p in confirmed)
    if glaring_11:
        return (
            "clean now",
            f"{_count(glaring_11, 'particle')} take{_s(glaring_11)} 30 % of the light or more even at f/11",
        )
    if showing >= NOW_COUNT:
        return "clean now", f"{showing} particles take 5 % of the light or more at f/16; {NOW_COUNT} are too many"
    if glaring_16:
        return "clean soon", f"{_count(glaring_16, 'particle')} take{_s(glaring_16)} 30 % of the light or more at f/16"
    if showing >= SOON_COUNT:
        return (
            "clean soon",
            f"{showing} particles take 5 % of the light or more at f/16; up to {SOON_COUNT - 1} are fine",
        )
    if dust.frames_stopped_down < FRAMES_NEEDED:
        seen = _count(dust.frames_stopped_down, "frame")
        return "not known yet", f"{seen} at f/8 or narrower so far; it takes {FRAMES_NEEDED}, of different scenes"
    return "not needed", f"{_count(showing, 'particle')} take{_s(showing)} 5 % of the light or more at f/16"


def _body_text(dust: DustMap) -> str:
    summary = summarise(dust)
    cleaned = _time(dust.cleanings[-1]) if dust.cleanings else "not known (dustd map cleaned BODY notes it)"
    lines = [
        dust.body_id,
        "=" * len(dust.body_id),
        f"Advice       {summary.advice}: {summary.why}",
        f"Particles    {len(summary.confirmed)} confirmed, {len(summary.suspected)} suspected",
        f"Frames       {dust.frames}, {dust.frames_stopped_down} of them at f/8 or narrower",
        f"Taken        {_period(dust)}",
        f"Last cleaned {cleaned}",
    ]
    if summary.growth:
        lines += ["", "Growth", *_growth_lines(summary.growth)]
    if summary.confirmed:
        lines += ["", braille_picture(summary.confirmed, dust.width, dust.height)]
        lines += ["As in the unrotated picture. In the camera itself, top and bottom are swapped."]
        lines += ["", *_worst_lines(summary.confirmed, dust)]
    return "\n".join(lines) + "\n"


def _growth_lines(growth: Sequence[tuple[str, int]]) -> list[str]:
    """Show the latest days as bars."""
    most = growth[-1][1]
    return [f"  {day} {count:4d} " + "▇" * max(1, round(40 * count / most)) for day, count in growth[-10:]]


def _worst_lines(confirmed: Sequence[Particle], dust: DustMap) -> list[str]:
    """Tabulate the worst particles: place, what they take at the usual apertures, how sure, how often seen."""
    apertures = "".join(f"{f'f/{n:g}':>7}" for n in F_NUMBERS)
    lines = [f"Worst        {'x':>6}{'y':>6}{apertures}  sure  frames  first seen"]
    for particle in confirmed[:WORST_SHOWN]:
        x, y = from_centre(particle.mx, particle.my, width=dust.width, height=dust.height)
        losses = "".join(f"{100 * particle.attenuation_at(n):5.1f} %" for n in F_NUMBERS)
        sure = f"{100 * particle.confidence:4.0f} %{particle.frames_seen:7d}"
        lines.append(f"{particle.id:13}{x:6.0f}{y:6.0f}{losses}{sure}  {(particle.first_seen or 'not known')[:10]}")
    if len(confirmed) > WORST_SHOWN:
        lines.append(f"and {len(confirmed) - WORST_SHOWN} more")
    return lines


def _particle_dict(particle: Particle, dust: DustMap) -> dict[str, Any]:
    x, y = from_centre(particle.mx, particle.my, width=dust.width, height=dust.height)
    return {
        "id": particle.id,
        "x": x,
        "y": y,
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


def _shade(light: np.ndarray, particle: Particle, width: int, height: int, scale: float) -> None:
    """Multiply one particle's shadow into *light*: a disc, softened so that its width at half depth stays."""
    x, y = (scale * (c + 0.5) - 0.5 for c in from_centre(particle.mx, particle.my, width=width, height=height))
    radius = max(scale * particle.diameter_px_at(PRINT_F_NUMBER) / 2, 0.5)
    fixed_point = 4  # binary digits after the point
    disc = np.zeros_like(light)
    centre, size = (round(x * 2**fixed_point), round(y * 2**fixed_point)), round(radius * 2**fixed_point)
    cv2.circle(disc, centre, size, 1.0, -1, cv2.LINE_8, fixed_point)
    disc = cv2.GaussianBlur(disc, (0, 0), max(radius / 3, 0.4))
    light *= 1 - particle.attenuation_at(PRINT_F_NUMBER) * disc


def _period(dust: DustMap) -> str:
    return f"{_time(dust.first_frame_at)} to {_time(dust.last_frame_at)}" if dust.first_frame_at else "not known"


def _time(at: str | None) -> str:
    return (at or "")[:16].replace("T", " ")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _s(number: int) -> str:
    return "s" if number == 1 else ""
