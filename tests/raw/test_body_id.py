"""Names of bodies: one body has one name, two bodies have two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dustd.raw.body_id import adobe_model, body_id, is_serial


@pytest.mark.parametrize(
    ("make", "model", "serial", "name"),
    [
        ("Canon", "Canon EOS R6", "093022004357", "Canon EOS R6 #93022004357"),
        ("NIKON CORPORATION", "NIKON D70s", "NO= 1005a431", "NIKON D70s #1005a431"),
        ("Leica Camera AG", "LEICA M10", None, "LEICA M10 (no serial)"),
        ("GoPro", "HERO6 Black", None, "GoPro HERO6 Black (no serial)"),
        ("Konica Minolta Camera, Inc.", "DiMAGE A2", None, "Konica Minolta DiMAGE A2 (no serial)"),
        ("OM Digital Solutions", "OM-1", "BJRA01", "OM Digital Solutions OM-1 #BJRA01"),
        ("RaspberryPi", "PiDNG / PiCamera2", "..\\..", "RaspberryPi PiDNG - PiCamera2 #..-.."),
        (None, "X100", "12:34", "X100 #12-34"),
        ("SONY", None, None, "SONY (no serial)"),
        (None, None, "77777", "unknown #77777"),
        (None, None, None, "unknown"),
    ],
)
def test_a_body_is_named_by_make_model_and_number(make, model, serial, name):
    assert body_id(make, model, serial) == name


def test_a_number_that_lost_its_leading_zeros_names_the_same_body():
    assert body_id("Canon", "Canon EOS 6D", "033024001432") == body_id("Canon", "Canon EOS 6D", "33024001432")


@pytest.mark.parametrize("serial", ["", " ", "0000000", "ffffffffff", "XXXXXXX", "None", "No= 0000", "--", "7", "ÿÿÿÿ"])
def test_a_placeholder_is_no_serial_number(serial):
    assert not is_serial(serial)


@pytest.mark.parametrize("serial", ["093022004357", "2c000000bf0c", "FPX20582698 592D3131", "LD001055", "0123"])
def test_real_numbers_are_serial_numbers(serial):
    assert is_serial(serial)


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_no_name_holds_a_path_separator_or_is_long(make, model, serial):
    name = body_id(" ".join(make.split()) or None, " ".join(model.split()) or None, serial or None)
    assert name
    assert len(name) <= 140
    assert not set(name) & set("/\\:")


@pytest.mark.parametrize(
    ("make", "model", "name"),
    [
        ("NIKON CORPORATION", "NIKON Z 6", "Nikon Z 6"),
        ("SONY", "ILCE-7M3", "Sony ILCE-7M3"),
        ("FUJIFILM", "X-T2", "Fujifilm X-T2"),
        ("Canon", "Canon EOS 350D DIGITAL", "Canon EOS 350D"),
        (None, None, None),
    ],
)
def test_models_are_spelled_as_adobe_does(make, model, name):
    assert adobe_model(make, model) == name
