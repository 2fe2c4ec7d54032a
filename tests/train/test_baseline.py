"""The classical detectors: they find plain discs, are tuned one setting at a time, on windows with their truths."""

import cv2
import numpy as np
import pytest

from dustd.train.baseline import TUNED, Settings, find
from dustd.train.froc import Truth
from dustd.train.tuning import GRID, WINDOW_PX, tune, windows

EVERY = [pytest.param(settings, id=family) for family, settings in TUNED.items()]


def grainy(spots, *, height=400, width=500, grain=0.01) -> np.ndarray:
    """Log luminance of a plain ground with soft discs: (x, y, diameter, share of light lost, negative for gained)."""
    ys, xs = np.mgrid[:height, :width]
    image = np.random.default_rng(0).normal(0, grain, (height, width))
    for x, y, diameter, loss in spots:
        image += np.log1p(-loss * np.clip((diameter / 2 - np.hypot(xs - x, ys - y)) / 3 + 0.5, 0, 1))
    return image.astype(np.float32)


@pytest.mark.parametrize("settings", EVERY)
def test_a_shadow_is_the_best_answer_at_its_place_whatever_its_width(settings):
    for diameter in (10, 26, 80):
        best = find(grainy([(260, 190, diameter, 0.1)]), settings)[0]
        assert np.hypot(best.x - 260, best.y - 190) <= max(diameter / 6, 2)
        assert diameter / 2 <= best.width_px <= diameter * 2


@pytest.mark.parametrize("settings", EVERY)
def test_answers_are_best_first_and_apart_from_each_other(settings):
    found = find(grainy([(100, 100, 20, 0.2), (300, 250, 40, 0.1)]), settings)
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    assert all(0 < d.score < 1 for d in found)
    for i, one in enumerate(found):
        assert all(np.hypot(one.x - other.x, one.y - other.y) >= 4 for other in found[:i])


@pytest.mark.parametrize("settings", EVERY)
def test_something_bright_is_no_dust(settings):
    image = grainy([(150, 150, 24, -0.3), (350, 250, 24, 0.1)])
    best = find(image, settings)[0]
    assert np.hypot(best.x - 350, best.y - 250) < 4


def test_a_shadow_in_calm_ground_counts_more_than_a_deeper_dip_in_texture():
    rng = np.random.default_rng(5)
    image = grainy([(120, 200, 24, 0.05)], width=700)
    image[:, 350:] += 0.3 * cv2.GaussianBlur(rng.normal(0, 1, (400, 350)), (0, 0), 5).astype(np.float32) * 10
    for settings in TUNED.values():
        best = find(image, settings)[0]
        assert np.hypot(best.x - 120, best.y - 200) < 6


def test_pairs_do_not_answer_to_edges():
    edge = grainy([])
    edge[:, 250:] -= 0.5
    plain, pairs = (
        max((d.score for d in find(edge, Settings(family="disc", pairs=p)) if abs(d.x - 250) < 40), default=0.0)
        for p in (False, True)
    )
    assert pairs < plain


def test_tuning_never_tries_a_setting_twice_and_keeps_the_best():
    def value(settings: Settings) -> float:
        return -abs(settings.floor - 0.002) - abs(settings.apart - 1.5) + settings.pairs * 0.1

    tried = list(tune(value, Settings(family="disc")))
    assert len({settings for settings, _ in tried}) == len(tried) < 80
    best = max(tried, key=lambda t: t[1])[0]
    assert (best.floor, best.apart, best.pairs) == (0.002, 1.5, True)


def test_every_setting_is_tuned():
    assert set(GRID["disc"]) == {f for f in Settings.__dataclass_fields__ if f != "family"}


def test_a_window_takes_its_truths_along_and_ignores_cut_ones():
    image = np.zeros((WINDOW_PX, WINDOW_PX), np.float32)
    truths = [Truth(x=500, y=400, diameter_px=20), Truth(x=5, y=400, diameter_px=20)]
    ((window, inside),) = windows(image, truths, np.random.default_rng(0))
    assert window.shape == (WINDOW_PX, WINDOW_PX)
    assert [t.ignore for t in inside] == [False, True]
    wide = np.zeros((WINDOW_PX, 4 * WINDOW_PX), np.float32)
    marked = [Truth(x=WINDOW_PX * i + 300, y=200, diameter_px=20) for i in range(4)]
    for _, inside in windows(wide, marked, np.random.default_rng(0)):
        assert [(t.x, t.y) for t in inside] == [(300, 200)]
