"""Detection over tiles: the whole frame is looked at, nothing is reported twice, useless tiles are skipped."""

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dustd.detector import detect as detecting
from dustd.detector.detect import BLACK_LIGHT, TYPICAL_PX, detect, scales_for, threshold
from dustd.errors import SurroundingsError
from dustd.raw.frame import Camera, Frame
from dustd.spots.calibration import Calibration


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

    def encode(self, light: np.ndarray) -> np.ndarray:
        return light[..., 1][None]

    def __call__(self, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        answers = []
        for tile in images:
            count, _, stats, _ = cv2.connectedComponentsWithStats((tile[0] < 0.3).astype(np.uint8))
            rows = [[x + (w - 1) / 2, y + (h - 1) / 2, w, h, self.score] for x, y, w, h, _ in stats[1:count].tolist()]
            answers.append(np.array(rows, np.float32).reshape(-1, 5))
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


def test_the_frame_is_shrunk_as_far_as_a_usual_shadow_allows():
    assert scales_for(None) == (1, 2)
    assert scales_for(TYPICAL_PX) == (1, 2)
    assert scales_for(2 * TYPICAL_PX) == (2, 4)
    assert scales_for(5 * TYPICAL_PX) == (4, 8)
    assert scales_for(1000.0) == (8, 16)


@given(st.floats(0.1, 500))
def test_a_usual_shadow_stays_as_wide_as_the_detector_needs(typical_px):
    first, _ = scales_for(typical_px)
    assert first == 1 or typical_px / first >= TYPICAL_PX


@settings(deadline=None)
@given(x=st.integers(0, 370), y=st.integers(0, 270), typical_px=st.sampled_from([None, 12.0, 24.0, 48.0]))
def test_a_wide_spot_is_found_in_its_place_at_every_scale(x, y, typical_px):
    seen = detect(painted([(x, y, 16)]), DipFinder(), typical_px=typical_px)
    assert len(seen.detections) == 1
    assert (seen.detections[0].x, seen.detections[0].y) == pytest.approx((x + 7.5, y + 7.5), abs=6.0)


@settings(deadline=None)
@given(x=st.integers(0, 380), y=st.integers(0, 280))
def test_stripes_see_what_the_whole_frame_shows(x, y):
    frame = painted([(x, y, 20)])
    whole = detect(frame, DipFinder())
    kept, detecting.STRIPE_PX = detecting.STRIPE_PX, 1.0
    try:
        assert detect(frame, DipFinder()) == whole
    finally:
        detecting.STRIPE_PX = kept


def test_what_stops_the_encoding_stops_the_look():
    class Broken(DipFinder):
        def encode(self, light: np.ndarray) -> np.ndarray:
            raise SurroundingsError("no memory", remedy="Close other programs")

    with pytest.raises(SurroundingsError, match="no memory"):
        detect(painted([]), Broken())


def test_progress_goes_up_to_the_whole_frame():
    shares = []
    detect(painted([]), DipFinder(), between_batches=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1


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
    seen = detect(painted([]), DipFinder(), between_batches=beats.append)
    assert len(beats) == -(-seen.tiles // 3)
    assert beats == sorted(beats) and 0 < beats[0] < beats[-1] <= 1


@pytest.mark.parametrize(("sensitivity", "score"), [(0, 0.9), (50, 0.5), (100, 0.1)])
def test_sensitivity_means_false_positives_per_megapixel(sensitivity, score):
    assert threshold(sensitivity, DipFinder.false_positive_scores) == pytest.approx(score)


@given(a=st.floats(0, 100), b=st.floats(0, 100))
def test_more_sensitivity_never_raises_the_threshold(a, b):
    low, high = sorted((a, b))
    scores = DipFinder.false_positive_scores
    assert threshold(high, scores) <= threshold(low, scores) + 1e-12
