"""Probabilities: score and light both speak, neither breaks the scale."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd.spots.calibration import Calibration

CALIBRATION = Calibration(slope=3.0, light=0.5, intercept=-4.0, measured_from=0.4)
scores, gains = st.floats(0, 1), st.floats(0, 1e6)


@given(score=scores)
def test_by_itself_it_leaves_scores_as_they_are(score):
    assert Calibration().probability(score, 100.0) == pytest.approx(score, abs=2e-6)


@given(score=scores, gain=gains)
def test_a_probability_lies_between_zero_and_one(score, gain):
    assert 0 < CALIBRATION.probability(score, gain) <= 1


@given(score=scores, gain=gains, more=st.floats(0.1, 100))
def test_light_that_speaks_louder_never_makes_dust_less_likely(score, gain, more):
    assert CALIBRATION.probability(score, gain + more) >= CALIBRATION.probability(score, gain)


def test_the_formula_is_the_one_on_the_card():
    logit = 3.0 * math.log(0.7 / 0.3) + 0.5 * math.log1p(9.0) - 4.0
    assert CALIBRATION.probability(0.7, 9.0) == pytest.approx(1 / (1 + math.exp(-logit)))
