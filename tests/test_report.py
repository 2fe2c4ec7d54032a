import json
import math

import numpy as np
import pytest

from dustd import optics, report
from dustd.particle import DustMap, Particle


def particle(number=0, *, mx=0.0, my=0.0, at_16=0.1, confirmed=True, log_odds=4.0, first_seen="2026-11-01T10:00:00"):
    """A particle that takes *at_16* of the light at f/16."""
    constant = 409.0
    return Particle(
        id=f"p{number:012x}",
        mx=mx,
        my=my,
        strength_px2=optics.strength_px2(at_16, constant / 16),
        blur_constant=constant,
        opacity=1.0,
        log_odds=log_odds,
        confirmed=confirmed,
        first_seen=first_seen,
        last_seen=first_seen,
        frames_seen=3,
        f_numbers=(8.0, 16.0),
        sightings=(),
    )


def dust(*particles, cleanings=(), frames_stopped_down=20):
    return DustMap(
        body_id="Nikon Z 8 #123",
        make="Nikon",
        model="Z 8",
        width=6000,
        height=4000,
        frames=30,
        frames_stopped_down=frames_stopped_down,
        first_frame_at="2026-11-01T10:00:00+01:00",
        last_frame_at="2026-11-20T18:30:00+01:00",
        cleanings=cleanings,
        particles=particles,
    )


@pytest.mark.parametrize(
    ("particles", "advice"),
    [
        ([particle(at_16=0.2)] * 3, "not needed"),
        ([particle(at_16=0.06)] * 7, "not needed"),
        ([particle(at_16=0.06)] * 8, "clean soon"),
        ([particle(at_16=0.04)] * 40, "not needed"),
        ([particle(at_16=0.35)], "clean soon"),
        ([particle(at_16=0.9)], "clean now"),
        ([particle(at_16=0.06)] * 25, "clean now"),
        ([particle(at_16=0.9, confirmed=False)] * 30, "not needed"),
    ],
)
def test_the_advice_follows_the_stated_rules(particles, advice):
    summary = report.summarise(dust(*particles))
    assert summary.advice == advice
    assert summary.why


def test_without_stopped_down_frames_nothing_is_known():
    assert report.summarise(dust(frames_stopped_down=2)).advice == "not known yet"
    assert "2 frames at f/8 or narrower" in report.text_report([dust(frames_stopped_down=2)])


def test_growth_adds_up_day_by_day():
    days = ["2026-11-01T10:00:00", "2026-11-01T12:00:00", "2026-11-09T10:00:00", None]
    summary = report.summarise(dust(*(particle(n, first_seen=day) for n, day in enumerate(days))))
    assert summary.growth == (("2026-11-01", 3), ("2026-11-09", 4))


def test_the_worst_particles_come_first():
    summary = report.summarise(dust(particle(1, at_16=0.1), particle(2, at_16=0.3), particle(3, at_16=0.2)))
    assert [p.id[-1] for p in summary.confirmed] == ["2", "3", "1"]


def test_the_text_says_what_a_photographer_wants_to_know():
    text = report.text_report([dust(particle(at_16=0.16), cleanings=("2026-10-30T09:00:00",))])
    for words in (
        "Nikon Z 8 #123",
        "not needed: 1 particle takes 5 % of the light or more at f/16",
        "1 confirmed, 0 suspected",
        "30, 20 of them at f/8 or narrower",
        "2026-11-01 10:00 to 2026-11-20 18:30",
        "2026-10-30 09:00",
        "4.0 % 7.6 % 16.0 % 98 % 3 2026-11-01",
    ):
        assert words in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 80


def test_an_empty_store_is_explained():
    assert "No body" in report.text_report([])


def test_a_map_without_dust_has_no_picture():
    text = report.text_report([dust()])
    assert "0 confirmed" in text
    assert "┌" not in text


def test_the_braille_picture_puts_each_particle_in_its_place():
    picture = report.braille_picture([particle(mx=-2999.5, my=-1999.5), particle(mx=2999, my=1999)], 6000, 4000)
    lines = picture.splitlines()
    assert lines[1][1] == "⠁"
    assert lines[-2][-2] == "⢀"
    assert sum(character not in "⠀│┌┐└┘─\n" for character in picture) == 2


def test_what_is_only_suspected_is_not_drawn():
    assert set(report.braille_picture([particle(confirmed=False)], 600, 400)) <= set("⠀│┌┐└┘─\n")


def test_json_has_everything_in_frame_coordinates():
    told = json.loads(json.dumps(report.to_dict(dust(particle(mx=100.0, my=-50.0, at_16=0.16)))))
    (first,) = told["particles"]
    assert (first["x"], first["y"]) == (3099.5, 1949.5)
    assert first["attenuation_at"]["8"] == pytest.approx(0.04)
    assert told["advice"] == "not needed"
    assert told["growth"] == [{"day": "2026-11-01", "particles": 1}]


def test_the_sensor_picture_shows_each_shadow_where_it_is_and_nothing_else():
    picture = report.sensor_picture([particle(mx=-1500.0, my=1000.0, at_16=0.5)], 6000, 4000)
    assert picture.shape == (1000, 1500, 3)
    assert picture.dtype == np.uint8
    plain = picture[0, 0, 0]
    dark = np.argwhere(picture[:, :, 0] < plain)
    assert np.abs(dark.mean(axis=0) - (750, 375)).max() < 1
    assert len(dark) < 300
    assert (picture[:, :, 0] <= plain).all()


def test_the_sensor_picture_takes_as_much_light_as_the_particle():
    at_16 = 0.4
    picture = report.sensor_picture([particle(at_16=at_16)], 1400, 1000).astype(float)[:, :, 0]
    light = (picture / 255) ** 2.2
    lost = (1 - light / light[0, 0]).sum()
    assert lost == pytest.approx(at_16 * math.pi / 4 * (409 / 16) ** 2, rel=0.1)
