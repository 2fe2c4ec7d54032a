"""Detection over tiles: the whole frame is looked at, nothing is reported twice, useless tiles are skipped."""

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.detector.detect import BLACK_LIGHT, FEW_TILES, MOST_AGAIN, detect, threshold
from dustd.raw.frame import Camera, Frame
from dustd.spots.calibration import Calibration
from dustd.spots.spot import Detection


class DipFinder:
    """Answers with one box per dark square of a bright tile: enough to test geometry, no substitute for the model."""

    model_id = "dip-finder"
    sha256 = ""
    device = "cpu"
    tile_px = 128
    context_px = 16
    max_spot_px = 24
    batch_tiles = 3
    score = 0.8
    calibration = Calibration()
    false_positive_scores = MappingProxyType({0.001: 0.9, 0.02: 0.5, 0.5: 0.1})

    def __call__(self, tiles: np.ndarray) -> Sequence[Sequence[Detection]]:
        import cv2

        answers = []
        for tile in tiles:
            part = tile[16:-16, 16:-16, 1]
            count, _, stats, _ = cv2.connectedComponentsWithStats((part < 0.3).astype(np.uint8))
            answers.append(
                [
                    Detection(x=x + (w - 1) / 2, y=y + (h - 1) / 2, width_px=w, height_px=h, score=self.score)
                    for x, y, w, h, _ in stats[1:count].tolist()
                ]
            )
        return answers


def painted(spots, *, width=400, height=300, level=30000) -> Frame:
    raw = np.full((height, width), level, np.uint16)
    for x, y, side in spots:
        raw[y : y + side, x : x + side] = level // 4
    return Frame(
        raw=raw,
        visible=(0, 0, height, width),
        kind="mono",
        cfa=((1,),),
        black=np.zeros((1, 1), np.float32),
        white=65535,
        wb=(1.0, 1.0, 1.0),
        xyz_to_camera=None,
        camera=Camera(),
    )


@settings(deadline=None)  # a busy machine is no failure
@given(x=st.integers(0, 380), y=st.integers(0, 280))
def test_a_spot_is_found_once_wherever_it_lies(x, y):
    seen = detect(painted([(x, y, 20)]), DipFinder())
    assert len(seen.detections) == 1
    found = seen.detections[0]
    assert (found.x, found.y) == pytest.approx((x + 9.5, y + 9.5), abs=1.0)


def test_a_spot_too_wide_for_full_size_is_found_at_half_size():
    seen = detect(painted([(160, 120, 44)]), DipFinder())
    assert [round(d.width_px / 4) for d in seen.detections] == [11]


@settings(deadline=None)
@given(x=st.integers(0, 380), y=st.integers(0, 280), side=st.sampled_from([8, 20, 44]))
def test_what_looks_the_same_from_every_side_keeps_its_score(x, y, side):
    seen = detect(painted([(x, y, min(side, 400 - x, 300 - y))]), DipFinder())
    assert [d.score for d in seen.detections] == [pytest.approx(DipFinder.score)]


def test_what_is_not_seen_again_when_it_is_turned_loses_score():
    class UprightFinder(DipFinder):
        def __call__(self, tiles):
            return [[box for box in boxes if box.height_px > box.width_px] for boxes in super().__call__(tiles)]

    frame = painted([(200, 150, 12), (200, 160, 12)])
    assert [d.score for d in detect(frame, DipFinder()).detections] == [pytest.approx(DipFinder.score)]
    assert [d.score < 0.1 for d in detect(frame, UprightFinder()).detections] == [True]


def test_a_fabric_full_of_dots_is_looked_at_again_only_so_often_and_the_rest_is_left_alone():
    dots = [(x, y, 6) for x in range(10, 390, 20) for y in range(10, 290, 20)]
    windows = []

    class Counter(DipFinder):
        def __call__(self, tiles):
            windows.extend(tile for tile in tiles if tile.shape[0] == self.tile_px // 2 + 2 * self.context_px)
            return super().__call__(tiles)

    seen = detect(painted(dots), Counter())
    assert len(windows) == 2 * MOST_AGAIN * max(seen.tiles, FEW_TILES) < 2 * len(dots)
    assert sum(d.score > 0.7 for d in seen.detections) < len(dots)
    assert sum(d.score < 0.1 for d in seen.detections) > 0


def test_black_and_clipped_tiles_are_skipped_and_counted():
    seen = detect(painted([], level=0), DipFinder())
    assert (seen.tiles, seen.detections) == (0, ())
    assert seen.skipped_tiles > 0
    assert detect(painted([], level=65535), DipFinder()).tiles == 0


def test_a_black_tile_is_skipped_for_all_its_noise():
    frame = painted([], level=0)
    noise = np.random.default_rng(2).normal(0, 12, frame.raw.shape).clip(0).astype(np.uint16)
    assert noise.max() > BLACK_LIGHT * frame.white
    assert detect(replace(frame, raw=noise), DipFinder()).tiles == 0


def test_a_tile_with_one_colour_left_below_clipping_is_looked_at():
    light = np.full((300, 400, 3), 65535, np.uint16)
    colours = replace(painted([]), raw=light, kind="linear", black=np.zeros(3, np.float32), wb=(2.0, 1.0, 1.5))
    assert detect(colours, DipFinder()).tiles == 0
    light[..., 0] = 40000  # red, with its gain of 2, is still above 1
    assert detect(colours, DipFinder()).skipped_tiles == 0


def test_the_caller_hears_from_every_batch():
    beats = []
    seen = detect(painted([]), DipFinder(), between_batches=lambda: beats.append(1))
    assert len(beats) == -(-seen.tiles // 3)


@pytest.mark.parametrize(("sensitivity", "score"), [(0, 0.9), (50, 0.5), (100, 0.1)])
def test_sensitivity_means_false_positives_per_megapixel(sensitivity, score):
    assert threshold(sensitivity, DipFinder.false_positive_scores) == pytest.approx(score)


@given(a=st.floats(0, 100), b=st.floats(0, 100))
def test_more_sensitivity_never_raises_the_threshold(a, b):
    low, high = sorted((a, b))
    scores = DipFinder.false_positive_scores
    assert threshold(high, scores) <= threshold(low, scores) + 1e-12
