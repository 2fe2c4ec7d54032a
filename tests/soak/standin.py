"""A stand-in for the detector: takes the darkest place of every tile for dust, in no time and without a network.

For campaigns that put the daemon through its paces and not the model: `python -m tests.soak.standin run …` is `dustd
run …` with it. Every sidecar names it as the model.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from dustd.cli.main import main
from dustd.detector import model
from dustd.spots.calibration import Calibration
from tests.soak import clock

SMOOTH_PX = 2.0
BOX_PX = 16.0
SCORE = 0.9


class DarkestPlace:
    """Follows `dustd.detector.detect.Detector`."""

    model_id = "darkest-place"
    sha256 = "0" * 64
    device = "cpu"
    preview = True
    tile_px = 256
    context_px = 0
    batch_tiles = 8
    max_spot_px = 80
    calibration = Calibration()
    false_positive_scores: Mapping[float, float] = {0.001: 0.99, 0.02: 0.5, 0.1: 0.4, 0.5: 0.1}

    def encode(self, light: np.ndarray) -> np.ndarray:
        """Take green light as it is."""
        return light[..., 1][None]

    def __call__(self, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """See one spot per tile; see `dustd.detector.detect.Detector`."""
        return [_darkest(tile[0]) for tile in images]


def _darkest(tile: np.ndarray) -> np.ndarray:
    smooth = cv2.GaussianBlur(tile, (0, 0), SMOOTH_PX)
    y, x = np.unravel_index(np.argmin(smooth), smooth.shape)
    return np.array([[x, y, BOX_PX, BOX_PX, SCORE]], np.float32)


if __name__ == "__main__":
    if "SOAK_CLOCK" in os.environ:
        clock.follow(Path(os.environ["SOAK_CLOCK"]))
    model.load_detector = lambda *_, **__: DarkestPlace()
    sys.exit(main())
