"""A stand-in for the network that sees every dip in the light, and small frames of a dusty body to show it."""

from types import MappingProxyType

import cv2
import numpy as np

from dustd.demo.virtual import Lens, expose, frame_of, make_body
from dustd.output.dng import encode_dng
from dustd.raw.copied_tags import SourceMetadata
from dustd.spots.calibration import Calibration

WIDTH, HEIGHT = 900, 600
LENS = Lens(name="Virtual 70mm F2.8", focal_length_mm=70, exit_pupil_mm=78)
DOUBTFUL, SURE = 0.4, 0.9


class Dips:
    """Stands in for the network: takes every dip in the light for dust, each with the score that it is told."""

    model_id, sha256, device, preview = "dips", "d" * 64, "cpu", False
    tile_px, context_px, max_spot_px, batch_tiles = 256, 0, 40, 4
    calibration = Calibration()
    false_positive_scores = MappingProxyType({0.001: 0.95, 0.02: 0.6, 0.1: 0.3, 0.5: 0.05})

    def __init__(self, score=DOUBTFUL):
        self.score, self.tiles = score, 0

    def encode(self, light):
        return light[..., 1][None]

    def __call__(self, images):
        self.tiles += len(images)
        return [self._dips(tile[0]) for tile in images]

    def _dips(self, tile):
        log = np.log(np.maximum(tile, 1e-4))
        dark = (log - cv2.medianBlur(log.astype(np.float32), 5) < -1) | (log - cv2.GaussianBlur(log, (0, 0), 8) < -0.08)
        count, _, stats, centres = cv2.connectedComponentsWithStats(dark.astype(np.uint8))
        rows = [
            (x, y, max(w, 3), max(h, 3), self.score)
            for (_, _, w, h, area), (x, y) in zip(stats[1:count], centres[1:count], strict=True)
            if area >= 6
        ]
        return np.array(rows, np.float32).reshape(-1, 5)


def shot(number: int) -> bytes:
    """One frame of a dusty body, each before another smooth backdrop."""
    rng = np.random.default_rng(100 + number)
    coarse = rng.uniform(0.2, 0.6, (5, 7)).astype(np.float32)
    light = np.clip(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), 0.05, 0.9)
    exposure = expose(
        make_body("AGAIN", seed=3, grains=8, width=WIDTH, height=HEIGHT),
        np.repeat(light[..., None], 3, -1),
        f_number=16,
        lens=LENS,
        seed=number,
        taken_at=f"2026-11-23T10:{number:02d}:00",
        exposure_s=1 / 125,
    )
    preview = np.zeros((120, 180, 3), np.uint8)
    frame = frame_of(exposure)
    return encode_dng(frame, exposure.mosaic, SourceMetadata(), preview_rgb=preview, original_name=f"R{number}.DNG")
