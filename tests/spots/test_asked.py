"""What a person asked for stays as it was measured, unless the evidence wants the same by itself."""

from dataclasses import replace

import pytest

from dustd.spots.asked import ASKED, ask, insisted, unask
from dustd.spots.spot import Spot

LEFT = Spot(
    id=4, x=100.0, y=80.0, diameter_px=30.0, edge_px=9.0, attenuation=0.05, score=0.2, reason="score 0.20 below 0.90"
)
NEW = ask(replace(LEFT, id=1, reason="", score=0.0))


def test_taking_it_back_gives_what_was_before():
    assert unask(ask(LEFT)) == LEFT
    assert unask(ask(replace(LEFT, wanted=True))) == replace(LEFT, wanted=True)
    assert unask(NEW) is None


def test_nobody_needs_to_want_what_a_person_asked_for():
    assert not LEFT.due and ask(LEFT).due
    assert not replace(ask(LEFT), rejected=True).due


def test_decided_anew_it_stands_behind_the_others_with_a_number_of_its_own():
    other = replace(LEFT, id=7, x=500.0)
    kept, added = insisted([other], [replace(NEW, action="divided", reason=f"{ASKED}; 5% of the light given back")])
    assert kept == other
    assert added == replace(NEW, id=8)


@pytest.mark.parametrize("wanted", [False, True])
def test_decided_anew_it_is_the_spot_at_its_place(wanted):
    there = replace(LEFT, x=101.0, wanted=wanted, particle_id="p1")
    (spot,) = insisted([there], [NEW])
    assert (spot.id, spot.particle_id, spot.asked, spot.due) == (4, "p1", True, True)
    assert spot.x == (101.0 if wanted else 100.0)  # the evidence's place, or the person's
