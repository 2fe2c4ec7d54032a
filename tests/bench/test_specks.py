import numpy as np
import pytest

from tests.bench.specks import framed, specked


def test_a_camera_sees_the_part_of_a_set_that_it_points_at():
    rng = np.random.default_rng(1)
    wide = rng.random((60, 80, 3), np.float32)
    assert np.array_equal(framed(wide, 31, 41, centre=(50.0, 25.0)), wide[10:41, 30:71])


def test_zooming_in_shows_a_smaller_part_of_the_set():
    x = np.broadcast_to(np.arange(80, dtype=np.float32)[None, :, None], (60, 80, 3)).copy()
    seen = framed(x, 31, 41, centre=(40.0, 30.0), zoom=2.0)
    assert seen[15, 20] == pytest.approx(40)
    assert seen[15, 40] == pytest.approx(50)


def test_a_speck_takes_its_light_within_its_width_and_nothing_beyond():
    plain = np.full((100, 120, 3), 0.5, np.float32)
    scene = specked(plain, np.array([(70.0, 40.0)]), np.array([20.0]), np.array([0.3]), np.array([0.4]))
    assert scene[40, 70] == pytest.approx(0.35)
    assert scene[40, 70 + 10] == pytest.approx(0.5 * (1 - 0.15))  # half as deep at half its width
    beyond = np.hypot(*np.mgrid[-40:60, -70:50]) > 10 * 1.4 + 1
    assert (scene[beyond] == plain[beyond]).all()
    assert (plain == 0.5).all()
