"""A stand-in for the detector: takes the darkest place of every tile for dust, in no time and without torch.

For campaigns that put the daemon through its paces and not the model: `python -m tests.soak.standin run …` is `dustd
run …` with it. Every sidecar names it as the model.
"""

import sys
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from dustd.cli.main import main
from dustd.detector import model
from dustd.spots.calibration import Calibration
from dustd.spots.spot import Detection

CELL_PX = 8
BOX_PX = 24.0
SCORE = 0.9


class DarkestPlace:
    """Follows `dustd.detector.detect.Detector`."""

    model_id = "darkest-place"
    sha256 = "0" * 64
    device = "cpu"
    tile_px = 256
    context_px = 0
    batch_tiles = 8
    max_spot_px = 80
    calibration = Calibration()
    false_positive_scores: Mapping[float, float] = {0.001: 0.99, 0.02: 0.5, 0.1: 0.4, 0.5: 0.1}

    def __call__(self, tiles: np.ndarray) -> Sequence[Sequence[Detection]]:
        """See one spot per tile; see `dustd.detector.detect.Detector`."""
        return [(_darkest(tile),) for tile in tiles]


def _darkest(tile: np.ndarray) -> Detection:
    cells = cv2.resize(tile[..., 1], None, fx=1 / CELL_PX, fy=1 / CELL_PX, interpolation=cv2.INTER_AREA)
    row, column = np.unravel_index(np.argmin(cells), cells.shape)
    x, y = ((place + 0.5) * CELL_PX - 0.5 for place in (column, row))
    return Detection(x=float(x), y=float(y), width_px=BOX_PX, height_px=BOX_PX, score=SCORE)


if __name__ == "__main__":
    model.load_detector = lambda *_, **__: DarkestPlace()
    sys.exit(main())
