"""The report's values are those of the map, and the text tells them in 80 columns."""

import datetime
import json

import pytest

from dustd.config import Rules
from dustd.report.report import ranked, summarise, to_dict
from dustd.report.report_text import steps, text_report
from dustd.spots.shape import Outline
from dustd.text import printable

RULES = Rules()
DAY = datetime.date(2026, 11, 1)


def test_growth_adds_up_day_by_day(dust, particle):
    days = ["2026-11-01T10:00:00", "2026-11-01T12:00:00", "2026-11-09T10:00:00", None]
    summary = summarise(dust(*(particle(n, first_seen=day) for n, day in enumerate(days))), RULES)
    assert summary.growth == ((DAY, 3), (datetime.date(2026, 11, 9), 4))


def test_what_survived_a_cleaning_counts_from_its_day(dust, particle):
    body = dust(particle(), particle(1, first_seen="2026-11-12T10:00:00"), cleanings=("2026-11-10T09:00:00",))
    assert summarise(body, RULES).growth == ((datetime.date(2026, 11, 10), 1), (datetime.date(2026, 11, 12), 2))


def test_many_steps_are_told_week_by_week():
    growth = [(DAY + datetime.timedelta(days=n), n + 1) for n in range(30)]
    told = steps(growth)
    assert told[0] == ("week of 2026-10-26", 1)  # a Sunday is its week's last day
    assert told[1] == ("week of 2026-11-02", 8)
    assert told[-1][1] == 30


def test_the_worst_particles_come_first(dust, particle):
    summary = summarise(dust(particle(1, at_16=0.1), particle(2, at_16=0.3), particle(3, at_16=0.2)), RULES)
    assert [p.id[-1] for p in summary.confirmed] == ["2", "3", "1"]


def test_a_worst_particle_that_is_a_fibre_is_called_one(dust, particle):
    thread = Outline(slenderness=9.0, angle_deg=30.0, error=0.5, feigned=0.5, hollow=0.0, hollow_error=0.1)
    summary = summarise(dust(particle(1, at_16=0.3, outline=thread), particle(2)), RULES)
    first, second = [line.split()[:2] for line in text_report([summary]).splitlines() if line.startswith("  ")][-2:]
    assert (first, second) == (["1", "fibre"], ["2", "–"])
    assert [each["shape"] for each in to_dict(summary)["particles"]] == ["fibre", None]


def test_apertures_count_what_takes_five_per_cent(dust, particle):
    summary = summarise(dust(particle(1, at_16=0.06), particle(2, at_16=0.12)), RULES)
    assert {a.f_number: a.visible for a in summary.apertures} == {5.6: 0, 8: 0, 11: 1, 16: 2, 22: 2}


def test_bodies_that_need_the_swab_most_come_first(dust, particle):
    many, some = [particle(n, at_16=0.2) for n in range(20)], [particle(n, at_16=0.2) for n in range(8)]
    bodies = [
        dust(body_id="fine"),
        dust(body_id="unknown", frames_stopped_down=0),
        dust(*some, body_id="soon"),
        dust(*many, body_id="now"),
        dust(*many, particle(99, at_16=0.2), body_id="worse"),
    ]
    assert [s.name for s in ranked(bodies, RULES)] == ["worse", "now", "soon", "unknown", "fine"]


# --- the last cleaning --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (10, "it worked, 10 of the 10"),
        (7, "it worked, 7 of the 10"),
        (5, "it worked in part, 5 of the 10"),
        (2, "it did not work, 2 of the 10"),
    ],
)
def test_a_cleaning_is_judged_by_what_showed_before_it(dust, particle, gone, words):
    before = tuple(particle(n, mx=300.0 * n) for n in range(10))
    body = dust(*before[gone:], before=before, cleanings=("2026-11-10T09:00:00",))
    cleaning = summarise(body, RULES).cleaning
    assert (cleaning.before, cleaning.gone, cleaning.new) == (10, gone, 0)
    assert words in cleaning.verdict


def test_a_survivor_is_known_by_its_place_as_well(dust, particle):
    before = (particle(1, mx=1000.0), particle(2, mx=-1000.0))
    body = dust(particle(3, mx=1004.0), particle(4, my=500.0), before=before, cleanings=("2026-11-10T09:00:00",))
    cleaning = summarise(body, RULES).cleaning
    assert (cleaning.gone, cleaning.new) == (1, 1)


def test_too_few_frames_after_a_cleaning_prove_nothing(dust, particle):
    body = dust(before=(particle(),), cleanings=("2026-11-10T09:00:00",), frames_stopped_down=3)
    cleaning = summarise(body, RULES).cleaning
    assert cleaning.gone is None
    assert "so far 3" in cleaning.verdict


def test_a_cleaning_of_a_sensor_nobody_knew_is_not_judged(dust):
    body = dust(cleanings=("2026-11-10T09:00:00",))
    assert summarise(body, RULES).cleaning.gone is None
    assert summarise(dust(), RULES).cleaning is None


# --- text ---------------------------------------------------------------------------------------------------------


def test_the_text_says_what_a_photographer_wants_to_know(dust, particle):
    body = dust(
        particle(at_16=0.16, mx=2900.0, my=-1900.0),
        before=(particle(5, mx=-2000.0),),
        cleanings=("2026-10-30T09:00:00",),
        cleaning_noticed=True,
        recent_frames=20,
        recent_touched=2,
    )
    text = text_report([summarise(body, RULES)])
    for words in (
        "Nikon Z 8 #123",
        "not needed: 1 particle shows at f/11",
        "1 confirmed, 0 suspected",
        "30, 20 of them at f/8 or narrower",
        "2026-11-01 10:00 to 2026-11-20 18:30",
        "2026-10-30 09:00, noticed by dustd: it worked, 1 of the 1",
        "Frames that show 5 or more 10% 50% never",
        "f/5.6 f/8 f/11 f/16 f/22 show 0 0 1 1 1",
        "lower right 4.0% 7.6% 16.0% 98% 3 2026-11-01",
        "top of the camera",
    ):
        assert words in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 80


def test_an_empty_store_is_explained():
    assert "No body" in text_report([])


def test_several_bodies_begin_with_an_overview(dust, particle):
    bodies = [dust(body_id="Canon"), dust(*(particle(n, at_16=0.2) for n in range(20)), body_id="x" * 60 + "#7")]
    lines = text_report(ranked(bodies, RULES)).splitlines()
    assert lines[1].startswith("xxxx") and "#7  clean now" in lines[1]
    assert lines[2].startswith("Canon") and "not needed" in lines[2]
    assert "Advice         show" not in text_report(ranked(bodies[:1], RULES))
    assert max(map(len, lines[:3])) <= 80


def test_a_map_without_dust_has_no_picture(dust):
    text = text_report([summarise(dust(), RULES)])
    assert "0 confirmed" in text
    assert "┌" not in text


def test_a_name_cannot_steer_the_terminal(dust):
    text = text_report([summarise(dust(body_id="Canon\x1b[2J\n#1"), RULES)])
    assert "\x1b" not in text and "Canon�[2J�#1" in text
    assert printable("Z 8 \udcff") == "Z 8 �"


# --- JSON ---------------------------------------------------------------------------------------------------------


def test_json_has_everything_in_frame_coordinates(dust, particle):
    body = dust(particle(mx=100.0, my=-50.0, at_16=0.16), cleanings=("2026-10-30T09:00:00",))
    told = json.loads(json.dumps(to_dict(summarise(body, RULES))))
    (first,) = told["particles"]
    assert (first["x"], first["y"]) == (3099.5, 1949.5)
    assert first["attenuation_at"]["8"] == pytest.approx(0.04)
    assert told["advice"] == "not needed"
    assert told["growth"] == [{"day": "2026-11-01", "particles": 1}]
    assert told["figures"]["visible_at_f11"] == 1
    assert told["rules"]["now"]["visible_at_f11"] == 20
    assert told["apertures"][0] == {"f_number": 5.6, "visible": 0, "light_lost": pytest.approx(0.0196)}
    assert told["last_cleaning"]["gone"] is None
