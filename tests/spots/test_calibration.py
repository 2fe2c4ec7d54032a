"""Probabilities: score and light both speak, neither breaks the scale."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd.spots.calibration import LEAST_SECOND, Calibration

CALIBRATION = Calibration(slope=3.0, second=0.7, light=0.5, intercept=-4.0, measured_from=0.4)
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
    logit = 3.0 * math.log(0.7 / 0.3) + 0.7 * math.log(0.4 / 0.6) + 0.5 * math.log1p(9.0) - 4.0
    assert CALIBRATION.probability(0.7, 9.0, 0.4) == pytest.approx(1 / (1 + math.exp(-logit)))


@given(score=scores, gain=gains, second=scores, other=scores)
def test_what_is_seen_at_both_sizes_is_never_less_likely(score, gain, second, other):
    low, high = sorted((second, other))
    assert CALIBRATION.probability(score, gain, low) <= CALIBRATION.probability(score, gain, high)


def test_silence_at_the_other_size_counts_as_a_low_score_not_as_certainty():
    assert CALIBRATION.probability(0.9, 9.0, 0.0) == CALIBRATION.probability(0.9, 9.0, LEAST_SECOND)
