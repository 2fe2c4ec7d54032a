"""Calibration: thresholds from dust-free frames, and scores that become probabilities."""

import numpy as np
import pytest

from dustd.train.calibration import (
    CALIBRATED_RATES,
    SPOTS_PER_MP,
    bins,
    expected_error,
    reliability,
    thresholds,
    thresholds_from_others,
)
from dustd.train.froc import Judged


def judged(found, false, megapixels=100.0) -> Judged:
    found, false = np.array(found, float), np.sort(np.array(false, float))[::-1]
    return Judged(
        found=found,
        counts=np.ones(len(found), bool),
        false=false,
        false_places=np.zeros((len(false), 2)),
        megapixels=megapixels,
        found_by=np.arange(len(found)),
        false_by=np.arange(len(false)),
    )


def silent(clean, dusty):
    """Light and another size that say nothing."""
    return [np.zeros((300, 2))] * len(clean), [np.zeros((300, 2))] * len(dusty)


def signs(gains=0.0, seconds=0.0):
    return np.stack(np.broadcast_arrays(np.asarray(gains), np.asarray(seconds), np.zeros(300))[:2], 1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def clean():
    rng = np.random.default_rng(4)
    return [judged([], sigmoid(rng.normal(-2, 1.2, 300))) for _ in range(8)]


def test_a_threshold_lets_through_as_many_false_positives_as_asked(clean):
    scores = thresholds(clean)
    everything = np.concatenate([j.false for j in clean])
    for rate in (0.05, 0.5):
        assert (everything >= scores[rate] - 1e-4).sum() == pytest.approx(rate * 800, abs=2)


def test_stricter_rates_have_higher_thresholds_also_where_nothing_was_measured(clean):
    scores = thresholds(clean)
    assert list(scores) == list(CALIBRATED_RATES)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert scores[0.001] > scores[0.005] > scores[0.02]


def test_a_frame_is_forecast_from_the_others_only(clean):
    bold = judged([], [0.99] * 50)
    limits = thresholds_from_others([*clean, bold])
    assert limits[-1] < 0.99
    assert min(limits[:-1]) > limits[-1]


def test_overconfident_scores_become_probabilities(clean):
    rng = np.random.default_rng(6)
    dusty = [judged([*sigmoid(rng.normal(1.5, 1.5, 150)), *[np.nan] * 50], j.false) for j in clean]
    measured = reliability(clean, dusty, *silent(clean, dusty), least=0.0)
    assert measured.error_after < 0.5 * measured.error_before
    assert measured.error_after < 0.1
    assert measured.calibration.slope > 0
    assert measured.calibration.light == 0
    # Each hit stands for as many spots per megapixel as a body really has.
    assert measured.weight[measured.true][0] == pytest.approx(SPOTS_PER_MP * 800 / (8 * 200))


def test_too_little_data_say_nothing(clean):
    lone, nothing = [judged([0.9] * 30, [])], [judged([], []) for _ in clean]
    assert reliability(clean[:1], lone, *silent(clean[:1], lone), least=0.0) is None
    assert reliability(clean, nothing, *silent(clean, nothing), least=0.0) is None


def test_the_calibration_says_from_which_score_on_it_was_measured(clean):
    dusty = [judged([0.9] * 150, j.false) for j in clean]
    assert reliability(clean, dusty, *silent(clean, dusty), least=0.3).calibration.measured_from == 0.3


def test_light_that_tells_dust_from_others_counts(clean):
    rng = np.random.default_rng(8)
    dusty = [judged(sigmoid(rng.normal(-1, 1.2, 150)), j.false) for j in clean]
    of_clean = [signs(gains=rng.uniform(0, 3, 300)) for _ in clean]
    of_dusty = [signs(gains=rng.uniform(2, 40, 300)) for _ in clean]
    deaf, told = (
        reliability(clean, dusty, *gains, least=0.0) for gains in (silent(clean, dusty), (of_clean, of_dusty))
    )
    assert told.calibration.light > 0.5
    assert told.mapped[told.true].mean() > deaf.mapped[deaf.true].mean() + 0.1


def test_what_is_seen_at_both_sizes_counts_for_more(clean):
    rng = np.random.default_rng(9)
    dusty = [judged(sigmoid(rng.normal(-1, 1.2, 150)), j.false) for j in clean]
    of_clean = [signs(seconds=sigmoid(rng.normal(-3, 1, 300))) for _ in clean]
    of_dusty = [signs(seconds=sigmoid(rng.normal(-1, 1, 300))) for _ in clean]
    told = reliability(clean, dusty, of_clean, of_dusty, least=0.0)
    assert told.calibration.second > 0.5
    assert told.calibration.light == 0


def test_true_probabilities_have_no_error_and_bins_hold_equal_weight():
    rng = np.random.default_rng(7)
    said = rng.uniform(0, 1, 40_000)
    true, weight = rng.uniform(0, 1, 40_000) < said, rng.uniform(0.5, 2, 40_000)
    assert expected_error(said, true, weight) < 0.015
    assert expected_error(said**3, true, weight) > 0.1
    assert bins(said, true, weight)[:, 2] == pytest.approx(np.full(10, 0.1), abs=0.001)
