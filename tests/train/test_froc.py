"""FROC: who hits what, what a rate of false positives allows, and how sure the figures are."""

import numpy as np
import pytest

from dustd.spots.spot import Detection
from dustd.train.froc import (
    FALSE_POSITIVES_PER_MP,
    Truth,
    false_per_mp_above,
    froc,
    judge,
    mean_froc,
    mean_froc_ratio,
    only,
    recall,
    recall_above,
    recall_at,
    recalls,
    resamples,
    threshold_for,
)


def box(x: float, y: float, score: float) -> Detection:
    return Detection(x=x, y=y, width_px=12, height_px=12, score=score)


def image(hits: list[float], misses: int, false: list[float], megapixels: float = 10.0):
    """One judged image with given scores of hits and false positives."""
    truths = [Truth(x=100.0 * i, y=100, diameter_px=12) for i in range(len(hits) + misses)]
    boxes = [box(100.0 * i, 100, score) for i, score in enumerate(hits)]
    return judge([*boxes, *(box(50.0 * i, 900, score) for i, score in enumerate(false))], truths, megapixels)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(3)
    return [
        image(list(rng.uniform(0.2, 1, 30)), 10, list(rng.uniform(0, 0.7, 40)), float(rng.uniform(5, 20)))
        for _ in range(6)
    ]


def test_a_duplicate_is_a_false_positive_and_an_ignored_spot_is_nothing():
    truths = [Truth(x=50, y=50, diameter_px=12), Truth(x=150, y=50, diameter_px=12, ignore=True)]
    judged = judge([box(50, 50, 0.9), box(51, 50, 0.8), box(150, 50, 0.7)], truths, 1.0)
    assert judged.false.tolist() == [0.8]
    assert judged.false_places.tolist() == [[51, 50]]
    assert recall([judged], 0.5) == 1.0


def test_a_hit_lies_within_half_the_width_but_four_pixels_are_always_near_enough():
    truths = [Truth(x=50, y=50, diameter_px=5), Truth(x=150, y=50, diameter_px=30)]
    judged = judge([box(54, 50, 0.9), box(164, 50, 0.8), box(166, 50, 0.7), box(45, 50, 0.6)], truths, 1.0)
    assert judged.found.tolist() == [0.9, 0.8]
    assert judged.false.tolist() == [0.7, 0.6]


def test_a_threshold_keeps_false_positives_at_the_asked_rate():
    judged = [judge([box(10 * i, 500, 0.1 * i) for i in range(1, 10)], [], 10.0)]
    for rate in (0.1, 0.5):
        limit = threshold_for(judged, rate)
        assert sum(float(s) >= limit for j in judged for s in j.false) <= rate * 10
    assert set(froc(judged)) == {0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5}


def test_scores_above_one_have_thresholds_too():
    assert recall([image([5.0, 9.0], 0, [7.0])], threshold_for([image([], 0, [7.0])], 0.01)) == 0.5


def test_the_fast_recalls_are_those_of_the_plain_definition(images):
    plain = list(froc(images).values())
    assert recalls(images, FALSE_POSITIVES_PER_MP, np.ones((1, 6), int))[0] == pytest.approx(plain)


def test_a_resample_is_judged_like_the_images_it_holds(images):
    weight = np.array([2, 0, 1, 0, 3, 0])
    held = [j for j, times in zip(images, weight, strict=True) for _ in range(times)]
    assert recalls(images, FALSE_POSITIVES_PER_MP, weight[None])[0] == pytest.approx(list(froc(held).values()))


def test_resamples_are_the_same_every_time_and_hold_as_many_images():
    assert (resamples(5) == resamples(5)).all()
    assert (resamples(5).sum(1) == 5).all()


def test_an_interval_holds_the_value_and_closes_when_all_images_are_alike(images):
    mixed = mean_froc(images)
    assert mixed.low < mixed.value < mixed.high
    alike = recall_at([image([0.9, 0.8], 2, [0.1])] * 5, 0.05)
    assert (alike.low, alike.value, alike.high) == (0.5, 0.5, 0.5)


def test_a_paired_ratio_is_surer_than_the_two_figures_apart(images):
    weaker = [image(list(j.found[:15]), 25, list(j.false), j.megapixels) for j in images]
    ratio = mean_froc_ratio(images, weaker)
    assert ratio.value == pytest.approx(mean_froc(images).value / mean_froc(weaker).value)
    assert ratio.low > mean_froc(images).low / mean_froc(weaker).high
    assert ratio.high < mean_froc(images).high / mean_froc(weaker).low


def test_a_baseline_that_finds_nothing_is_beaten_without_bound(images):
    assert mean_froc_ratio(images, [image([], 40, []) for _ in images]).value == np.inf


def test_a_stratum_counts_its_own_spots_against_everybodys_false_positives():
    judged = image([0.9, 0.2], 0, [0.5])
    assert recall_at([only(judged, np.array([False, True]))], 0.05).value == 0.0
    assert recall_at([only(judged, np.array([True, False]))], 0.05).value == 1.0


def test_figures_at_a_threshold():
    images = [image([0.9, 0.2], 2, [0.5, 0.1], 10.0), image([0.8], 0, [], 30.0)]
    assert recall_above(images, 0.4).value == pytest.approx(2 / 5)
    assert false_per_mp_above(images, [0.4, 0.4]).value == pytest.approx(1 / 40)


def test_what_lies_on_an_arm_of_a_fibre_is_neither_hit_nor_false():
    shadow = np.zeros((100, 20), bool)
    shadow[:, 8:12] = True  # a long one, centred at (10, 50)
    fibre = Truth(x=110, y=150, diameter_px=23, shadow=shadow, corner=(100, 100))
    arm, beside, whole = box(110, 190, 0.9), box(118, 190, 0.8), box(111, 150, 0.7)
    judged = judge([arm, beside, whole], [fibre], 1.0)
    assert judged.found.tolist() == [0.7]
    assert judged.false.tolist() == [0.8]


def test_a_second_answer_within_reach_of_the_centre_stays_false():
    disc = Truth(x=110, y=110, diameter_px=20, shadow=np.ones((20, 20), bool), corner=(100, 100))
    assert judge([box(110, 110, 0.9), box(113, 110, 0.8)], [disc], 1.0).false.tolist() == [0.8]
