import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.dustmap import lenses
from dustd.dustmap.lenses import BodyOptics, LensScale, focal_bin_mm
from dustd.spots import optics

# Between two lenses with pupils at 45 and 90 mm over a stack of 2 mm, facts/optics-and-evidence.md §1.2.
MOST = math.log((1 + 2 / 45) / (1 + 2 / 90))


def places(seed, count):
    return np.random.default_rng(seed).uniform((-3000, -2000), (3000, 2000), (count, 2))


def test_the_reference_shows_places_as_they_are():
    body = BodyOptics().with_scale("50 mm", 50.797)
    assert body.place(100, -200, "50 mm", 50.0) == (100, -200, 0)


def test_a_lens_not_seen_before_is_uncertain_by_the_spread_of_lenses():
    body = BodyOptics().with_scale("50 mm", None)
    x, y, sigma = body.place(2000, 0, "90 mm", None)
    assert (x, y) == (2000, 0)
    assert sigma == pytest.approx(2000 * lenses.LENS_SPREAD)


def test_before_any_lens_is_known_by_name_all_frames_share_one():
    assert BodyOptics().place(2000, 0, None, None)[2] == 0


def test_a_zoom_is_expected_to_behave_like_its_nearest_focal_length():
    wide = LensScale(lens="zoom", focal_mm=focal_bin_mm(24), log_scale=0.02, sigma=0.001)
    body = BodyOptics(lenses=(LensScale(lens="50 mm", focal_mm=None), wide))
    near, far, other = (body.scale(lens, focal_bin_mm(f)) for lens, f in (("zoom", 28), ("zoom", 70), ("prime", 28)))
    assert near[0] == far[0] == 0.02
    assert near[1] < far[1] < other[1] == lenses.LENS_SPREAD


@given(st.floats(4, 1200))
@settings(deadline=None)
def test_a_focal_length_lies_within_3_percent_of_its_bin(focal_length_mm):
    assert focal_bin_mm(focal_length_mm) == pytest.approx(focal_length_mm, rel=0.03)


@pytest.mark.parametrize("focal_length_mm", [None, 0.0, -1.0])
def test_a_focal_length_that_is_none_has_no_bin(focal_length_mm):
    assert focal_bin_mm(focal_length_mm) is None


@given(st.integers(0, 10_000), st.integers(4, 60), st.integers(0, 25), st.floats(-MOST, MOST))
@settings(max_examples=60, deadline=None)
def test_the_scale_of_a_new_lens_is_found_before_any_spot_is_matched(seed, shared, strangers, log_scale):
    rng = np.random.default_rng(seed)
    known = places(seed, shared + 10)
    spots = known[:shared] * math.exp(log_scale) + rng.normal(0, 1.5, (shared, 2))
    spots = np.concatenate([spots, places(seed + 1, strangers)])
    rng.shuffle(spots)
    slack, weights = np.full(len(known), 11.0), np.full(len(known), 0.8)
    found, sigma, particles = lenses.vote(0.0, lenses.LENS_SPREAD, known, slack, weights, spots)
    assert particles >= min(shared, 3)
    assert abs(found - log_scale) * 3500 < 11
    assert 0 < sigma < 0.004


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_strangers_agree_on_no_scale_that_many_would_share(seed):
    known, spots = places(seed, 30), places(seed + 10_001, 20)
    _, _, particles = lenses.vote(0.0, lenses.LENS_SPREAD, known, np.full(30, 11.0), np.full(30, 0.8), spots)
    assert particles <= 4


@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_spots_are_too_few_to_tell_a_scale(count):
    known = places(3, count)
    answer = lenses.vote(0.01, 0.02, known, np.full(count, 11.0), np.full(count, 0.8), known * 1.02)
    assert answer == (0.01, 0.02, 0)


@given(st.integers(0, 10_000), st.integers(3, 40), st.floats(-MOST, MOST))
@settings(max_examples=60, deadline=None)
def test_a_scale_is_recovered_within_its_error_although_a_match_is_wrong(seed, count, log_scale):
    rng = np.random.default_rng(seed)
    known = places(seed, count)
    shown = known * math.exp(log_scale) + rng.normal(0, lenses.PLACE_ERROR_PX, (count, 2))
    if count >= 8:
        shown[0] *= 1.03
    variance = np.full(count, lenses.PLACE_ERROR_PX**2)
    found, sigma = lenses.fit_scale(shown, variance, known, variance, np.zeros(count))
    assert abs(found - log_scale) < max(5 * sigma, 0.002)


def test_a_scale_is_known_the_better_the_more_particles_show_it():
    sigmas = []
    for count in (3, 10, 40):
        known, variance = places(7, count), np.full(count, 4.0)
        sigmas.append(lenses.fit_scale(known * 1.01, variance, known, variance, np.zeros(count))[1])
    assert sigmas[0] > sigmas[1] > sigmas[2]


def test_a_scale_is_known_no_better_than_the_lens_that_it_was_measured_against():
    known, variance = places(7, 40), np.full(40, 4.0)
    assert lenses.fit_scale(known, variance, known, variance, np.full(40, 0.01**2))[1] > 0.01


@given(st.integers(0, 10_000), st.floats(0.5, 2.0), st.integers(8, 60))
@settings(max_examples=60, deadline=None)
def test_the_blur_of_a_body_is_recovered_from_its_particles(seed, ratio, count):
    prior = optics.blur_constant_px()
    # As errors fall in the long run, not as chance draws eight of them: those may well be off by more, all together.
    noise = [NormalDist(0, 0.15).inv_cdf((each + 0.5) / count) for each in range(count)]
    log_blurs = math.log(prior * ratio) + np.random.default_rng(seed).permutation(noise)
    log_blurs[0] += 1.5  # a large grain, or no dust at all
    blur, sigma = lenses.fit_blur(log_blurs, np.full(count, 3.0), prior)
    assert abs(math.log(blur / (prior * ratio))) < 0.1
    assert sigma < 0.1


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_how_well_the_blur_of_a_body_is_known_is_said_truly(ratio):
    prior = optics.blur_constant_px()
    off = []
    for seed in range(500):
        log_blurs = math.log(prior * ratio) + np.random.default_rng(seed).normal(0, 0.15, 8)
        log_blurs[0] += 1.5
        blur, sigma = lenses.fit_blur(log_blurs, np.full(8, 3.0), prior)
        off.append(abs(math.log(blur / (prior * ratio))) / sigma)
    assert np.mean(np.array(off) < 2) > 0.95


@given(st.permutations(range(12)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_measurements_does_not_matter(order):
    values = np.random.default_rng(1).normal(0, 1, 12)
    one = lenses.robust_mean(values, np.ones(12), 0, 1)
    assert lenses.robust_mean(values[order], np.ones(12), 0, 1) == pytest.approx(one)
