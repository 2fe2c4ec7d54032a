"""What the page shows of bodies: their report (`dustd.report`), laid out as the API's JSON. Values in, values out."""

from collections import defaultdict
from collections.abc import Mapping

import cv2

from dustd.codec import Json
from dustd.report.advice import Advice
from dustd.report.report import Summary, ranked
from dustd.report.report_text import cleaning_text, period_text
from dustd.report.sensor_picture import sensor_picture
from dustd.text import printable
from dustd.web.messages import Bodies, BodyNow
from dustd.web.rows import key_of

_ADVICE: Mapping[Advice, str] = {
    "clean now": "now",
    "clean soon": "soon",
    "not known yet": "none",
    "not needed": "none",
}


def reports(news: Bodies) -> list[dict[str, Json]]:
    """Lay out `GET bodies`, those that need the swab most first."""
    known = {each.dust.body_id: each for each in news.bodies}
    return [_report(each, known[each.dust.body_id]) for each in ranked((of.dust for of in news.bodies), news.rules)]


def sensor_png(body: BodyNow) -> bytes:
    """Paint the sensor as you look into the camera, as the confirmed particles print at f/16."""
    dust = body.dust
    picture = sensor_picture(dust.particles, dust.width, dust.height, from_front=True)
    return cv2.imencode(".png", picture[:, :, 0])[1].tobytes()


def _report(summary: Summary, body: BodyNow) -> dict[str, Json]:
    dust, body_id = summary.dust, key_of(summary.dust.body_id)
    # The picture's address changes with what it shows.
    version = key_of(repr([(each.id, each.log_odds, each.places) for each in summary.confirmed]))
    return {
        "id": body_id,
        "name": summary.name,
        "advice": _ADVICE[summary.advice],
        "advice_words": summary.advice,
        "why": summary.why,
        "facts": [
            ["Particles", f"{len(summary.confirmed)} confirmed, {len(summary.suspected)} suspected"],
            ["Show at f/11", summary.figures.visible_at_f11],
            ["Last cleaned", cleaning_text(summary) if summary.cleaning else "not known"],
            ["Frames", f"{dust.frames}, {dust.frames_stopped_down} of them at f/8 or narrower"],
            ["Taken", period_text(dust)],
        ],
        "picture": f"/api/v1/bodies/{body_id}/sensor.png?v={version}",
        "apertures": [[f"f/{each.f_number:g}", each.visible, each.light_lost] for each in summary.apertures],
        "growth": [[day.isoformat(), count] for day, count in summary.growth],
        "lenses": _lenses(summary),
        "last_cleaned": summary.cleaning.at if summary.cleaning else None,
        "can_undo_cleaning": body.can_undo_cleaning,
        "frames": dust.frames,
    }


def _lenses(summary: Summary) -> list[list[Json]]:
    """Count for each lens the confirmed particles that it has shown, those that showed most first."""
    shown: dict[str, set[str]] = defaultdict(set)
    for particle in summary.confirmed:
        for place in particle.places:
            shown[printable(place.lens or "not known")].add(particle.id)
    return sorted(([lens, len(particles)] for lens, particles in shown.items()), key=lambda row: (-row[1], row[0]))
