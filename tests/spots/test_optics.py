import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd.spots import optics

f_numbers = st.floats(1.2, 32)
strengths = st.floats(1, 1e5)


@pytest.mark.parametrize(("f_number", "blur"), [(5.6, 81), (8, 57), (11, 41), (16, 28), (22, 21)])
def test_the_blur_is_that_of_the_published_table(f_number, blur):
    # facts/optics-and-evidence.md §1.2, first body: stack 2.0 mm, pixels 4.4 µm.
    assert optics.blur_px(f_number, 2000 / 4.4) == pytest.approx(blur, abs=0.6)


@pytest.mark.parametrize(("f_number", "attenuation"), [(5.6, 0.028), (8, 0.058), (11, 0.11), (16, 0.23), (22, 0.44)])
def test_a_60_um_speck_takes_the_light_that_the_published_table_says(f_number, attenuation):
    strength = math.pi * (60 / 4.4) ** 2 / 4
    predicted = optics.predict_attenuation(strength, optics.blur_px(f_number, 2000 / 4.4))
    assert predicted == pytest.approx(attenuation, rel=0.05)


def test_without_a_pixel_pitch_the_prior_is_409_px_f_number():
    assert optics.blur_constant_px() == pytest.approx(409, abs=0.1)


@given(strengths, f_numbers)
def test_what_is_predicted_measures_as_the_strength_it_was_predicted_from(strength, f_number):
    blur = optics.blur_px(f_number, 409)
    attenuation = optics.predict_attenuation(strength, blur)
    width = optics.predict_diameter_px(strength, blur)
    assert optics.strength_px2(attenuation, width) == pytest.approx(strength)


@given(strengths, f_numbers, f_numbers, st.floats(0.1, 1))
def test_stopping_down_never_makes_a_spot_paler_or_wider(strength, one, other, opacity):
    wide, narrow = (optics.blur_px(n, 409) for n in sorted((one, other)))
    assert optics.predict_attenuation(strength, wide, opacity) <= optics.predict_attenuation(strength, narrow, opacity)
    assert optics.predict_diameter_px(strength, wide, opacity) >= optics.predict_diameter_px(strength, narrow, opacity)


@given(strengths, f_numbers, st.floats(0.05, 1))
def test_a_spot_is_never_darker_than_its_particle_is_opaque(strength, f_number, opacity):
    assert optics.predict_attenuation(strength, optics.blur_px(f_number, 409), opacity) <= opacity


def test_a_spot_wider_than_any_blur_shows_its_opacity():
    assert optics.observed_opacity(0.4, 300, 16, 409) == 0.4
    assert optics.observed_opacity(0.4, 30, 16, 409) == 1.0


def test_a_pinpoint_is_no_dust_at_an_open_aperture():
    # The thinnest glass there is, .6 mm over pixels of 4.4 µm: .6 mm / 2.8 is 49 px, / 16 is 8.5 px.
    assert optics.narrowest_px(2.8, 4.4, 8256) > 10
    assert optics.narrowest_px(16, 4.4, 8256) < 10


def test_a_large_picture_of_unknown_pitch_has_small_pixels():
    # The widest sensor is 53.9 mm: of 8256 px none is wider than 6.5 µm. Of 3000 px some may be 8.5 µm wide, as a D3's.
    assert optics.narrowest_px(11, None, 8256) == pytest.approx(600 / (53_900 / 8256) / 11)
    assert optics.narrowest_px(11, None, 3000) == pytest.approx(600 / 8.5 / 11)


def test_the_match_radius_grows_with_the_spot():
    assert optics.match_radius_px(28) == pytest.approx(4 + 7)
