"""The advice follows the figures and the limits that are set for them, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd.config import NowLimits, Rules, SoonLimits
from dustd.report.advice import URGENCY, advise, figures, moment

AT_11 = (11 / 16) ** 2  # what a particle takes at f/11, relative to f/16


def advice_of(dust_map, rules=None):
    return advise(figures(dust_map), dust_map, rules or Rules())[0]


@pytest.mark.parametrize(
    ("count", "at_11", "advice"),
    [
        (0, 0.0, "not needed"),
        (7, 0.06, "not needed"),
        (8, 0.06, "clean soon"),
        (8, 0.04, "not needed"),
        (19, 0.06, "clean soon"),
        (20, 0.06, "clean now"),
        (1, 0.24, "not needed"),
        (1, 0.26, "clean soon"),
        (1, 0.51, "clean now"),
    ],
)
def test_what_shows_at_f11_decides(dust, particle, count, at_11, advice):
    particles = [particle(n, strength_px2=at_11 * 3.14159 / 4 * (409 / 11) ** 2) for n in range(count)]
    assert advice_of(dust(*particles)) == advice


def test_suspected_particles_advise_nothing(dust, particle):
    assert advice_of(dust(*(particle(n, at_16=0.9, confirmed=False) for n in range(30)))) == "not needed"


@pytest.mark.parametrize(("touched", "advice"), [(49, "not needed"), (50, "clean soon"), (100, "clean soon")])
def test_touched_frames_advise_to_clean_soon_and_never_now(dust, touched, advice):
    assert advice_of(dust(recent_frames=100, recent_touched=touched)) == advice


def test_a_share_of_a_few_frames_is_not_a_share(dust):
    assert figures(dust(recent_frames=9, recent_touched=9)).frames_touched is None


def test_what_is_seen_in_the_first_week_is_not_new(dust, particle):
    first_week = [particle(n, first_seen="2026-11-07T10:00:00") for n in range(7)]
    assert figures(dust(*first_week)).new_per_week == 0
    later = [particle(10 + n, first_seen="2026-11-15T10:00:00") for n in range(4)]
    # from the 8th, 10:00, to the 20th, 18:30: 12.35 days
    assert figures(dust(*first_week, *later)).new_per_week == pytest.approx(4 / (12.35 / 7), rel=0.01)


def test_new_dust_counts_from_the_last_cleaning_and_over_four_weeks_at_most(dust, particle):
    particles = [particle(n, first_seen=f"2026-{n:02}-15T10:00:00") for n in range(1, 12)]
    old = dust(*particles, first_frame_at="2026-01-01T10:00:00")
    assert figures(old).new_per_week == pytest.approx(1 / 4)
    cleaned = dust(*particles, first_frame_at="2026-01-01T10:00:00", cleanings=("2026-11-08T10:00:00",))
    assert figures(cleaned).new_per_week is None
    cleaned = dust(*particles, first_frame_at="2026-01-01T10:00:00", cleanings=("2026-11-06T18:30:00",))
    assert figures(cleaned).new_per_week == pytest.approx(1)


def test_in_its_first_fortnight_a_map_knows_no_growth(dust):
    assert figures(dust(first_frame_at="2026-11-07T00:00:00")).new_per_week is None
    assert figures(dust(first_frame_at=None)).new_per_week is None


def test_fast_growth_advises_to_clean_soon(dust, particle):
    came = [particle(n, first_seen="2026-11-15T10:00:00") for n in range(8)]
    assert advice_of(dust(*came)) == "clean soon"


def test_without_enough_stopped_down_frames_nothing_is_known(dust):
    seldom = dust(frames_stopped_down=9)
    assert advise(figures(seldom), seldom, Rules())[1].startswith("9 frames at f/8 or narrower")
    assert advice_of(seldom) == "not known yet"


def test_what_is_seen_counts_even_before_enough_is_known(dust, particle):
    assert advice_of(dust(particle(at_16=1.0, strength_px2=9000.0), frames_stopped_down=2)) == "clean now"


def test_a_limit_of_zero_never_leads_to_the_advice(dust, particle):
    never = {"visible_at_f11": 0, "light_lost_at_f11": 0.0, "frames_touched": 0.0, "new_per_week": 0.0}
    rules = Rules(soon=SoonLimits(**never), now=NowLimits(**never))
    worst = dust(*(particle(n, at_16=0.9) for n in range(50)), recent_frames=100, recent_touched=100)
    assert advice_of(worst, rules) == "not needed"


def test_every_reason_is_told_with_its_limit(dust, particle):
    dirty = dust(*(particle(n, at_16=0.6) for n in range(8)), recent_frames=100, recent_touched=70)
    assert advise(figures(dirty), dirty, Rules())[1] == (
        "8 particles show at f/11 (limit 8); the worst particle takes 28% of the light at f/11 (limit 25%); "
        "70% of the latest frames show 5 particles or more (limit 50%)"
    )


@given(count=st.integers(0, 30), at_16=st.floats(0.01, 1.0), touched=st.integers(0, 100), slack=st.floats(0.1, 1.0))
def test_more_dust_is_never_less_urgent_and_looser_limits_never_more(dust, particle, count, at_16, touched, slack):
    def urgency(number, depth, frames, slack=1.0):
        body = dust(*(particle(n, at_16=depth) for n in range(number)), recent_frames=100, recent_touched=frames)
        return URGENCY.index(advise(figures(body), body, Rules(), slack=slack)[0])

    now = urgency(count, at_16, touched)
    assert urgency(count + 1, at_16, touched) <= now
    assert urgency(count, min(2 * at_16, 1.0), touched) <= now
    assert urgency(count, at_16, min(touched + 10, 100)) <= now
    assert urgency(count, at_16, touched, slack) <= now


@pytest.mark.parametrize("at", [None, "", "yesterday", "2026-13-45T10:00:00"])
def test_a_time_that_is_none_is_none(at):
    assert moment(at) is None
