"""Pointing: a shadow is measured wherever a person points at it, and none is where there is none."""

import numpy as np
import pytest

from dustd.raw.frame import Camera, Frame
from dustd.spots.point import candidate_at

SIZE, X, Y = 400, 201.4, 187.7
YS, XS = np.mgrid[:SIZE, :SIZE].astype(np.float32)


def frame(light):
    """Expose (SIZE, SIZE) *light*, 0 to 1, at f/11 with 20000 electrons full well."""
    electrons = np.random.default_rng(3).poisson(light * 20000)
    return Frame(
        raw=np.clip(np.rint(512 + 15871 * electrons / 20000), 0, 16383).astype(np.uint16),
        visible=(0, 0, SIZE, SIZE),
        kind="bayer",
        cfa=((0, 1), (1, 2)),
        black=np.full((2, 2), 512, np.float32),
        white=16383,
        wb=(1, 1, 1),
        xyz_to_camera=None,
        camera=Camera(f_number=11.0),
    )


def shaded(diameter=40.0, ramp=16.0, attenuation=0.05):
    t = np.clip((np.hypot(XS - X, YS - Y) - (diameter - ramp) / 2) / ramp, 0, 1)
    return 0.4 * (1 + 0.2 * XS / SIZE) * (1 - attenuation * (1 - t * t * (3 - 2 * t)))


@pytest.mark.parametrize("diameter", [12.0, 25.0, 50.0, 100.0])
def test_a_shadow_of_any_width_is_measured_from_a_place_beside_its_middle(diameter):
    found = candidate_at(frame(shaded(diameter, 0.4 * diameter)), X + 4, Y - 3)
    assert np.hypot(found.shadow_x - X, found.shadow_y - Y) < 1
    assert found.diameter_px == pytest.approx(diameter, rel=0.1)
    assert found.attenuation == pytest.approx(0.05, rel=0.15)


@pytest.mark.parametrize("away", [(60, 0), (-80, 70)])
def test_beside_a_shadow_there_is_none(away):
    assert candidate_at(frame(shaded()), X + away[0], Y + away[1]) is None


def test_on_a_plain_ground_and_in_the_light_there_is_none():
    assert candidate_at(frame(np.full((SIZE, SIZE), 0.3)), X, Y) is None
    assert candidate_at(frame(np.ones((SIZE, SIZE))), X, Y) is None


def test_what_lies_in_the_circles_of_others_is_not_looked_at():
    other = 1 - 0.4 * (np.hypot(XS - X - 50, YS - Y) < 20)
    found = candidate_at(frame(shaded() * other), X, Y, avoid=np.array([[X + 50, Y, 22]], np.float32))
    assert found.diameter_px == pytest.approx(40, rel=0.1)
