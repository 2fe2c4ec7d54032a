"""Measuring the light at a place that a person points at, where no network has drawn a box.

How wide a shadow is, the aperture tells only roughly, so boxes of several sizes are tried, and the shadow is believed
that the light speaks for most. Pure.
"""

import math

import numpy as np

from dustd.raw.frame import Frame
from dustd.spots import optics
from dustd.spots.candidates import candidate_in
from dustd.spots.measure import DIAMETER_LIMITS_PX
from dustd.spots.spot import Candidate, Detection

# Sides of the boxes tried, px: in one, shadows of half its side to a little more are found.
SIDES_PX = tuple(DIAMETER_LIMITS_PX[1] / 2**halvings for halvings in range(5))
NEAR_PX = 8.0  # our choice: how far beside a shadow a person may point; 3 px of a screen that shows a frame whole
# Our choice, natural log: of 75 visible shadows in generated frames 6 had less, of which one could have been corrected;
# of 219 places without dust 7 had more, of which one was.
LEAST_GAIN = 5.0


def is_at(x: float, y: float, shadow_x: float, shadow_y: float, diameter_px: float) -> bool:
    """Tell whether a person who points at (x, y) may mean the shadow there, px all."""
    return math.hypot(shadow_x - x, shadow_y - y) <= diameter_px / 2 + NEAR_PX


def candidate_at(
    frame: Frame, x: float, y: float, *, blur_constant: float | None = None, avoid: np.ndarray | None = None
) -> Candidate | None:
    """Measure the shadow at (x, y), px; None if there is none to be told from its surroundings.

    *blur_constant* (px·f-number) is what is known of the body's distance from dust to sensor, None if nothing is;
    *avoid* (n, 3) are x, y, radius of other spots. The candidate's network score is 0: no network saw it.
    """
    best, most = None, LEAST_GAIN
    for side in SIDES_PX:
        box = Detection(x=x, y=y, width_px=side, height_px=side, score=0.0)
        found = candidate_in(frame, box, avoid)
        if not is_at(x, y, found.shadow_x, found.shadow_y, found.diameter_px):
            continue
        worth = found.gain - _unlikely(found.diameter_px, frame, blur_constant)
        if worth >= most:
            best, most = found, worth
    return best


def _unlikely(diameter_px: float, frame: Frame, blur_constant: float | None) -> float:
    """Say how much less likely a width is at the frame's aperture than the likeliest, natural log, 0 or more."""
    f_number, pitch_um = frame.camera.f_number, frame.camera.pixel_pitch_um or optics.PITCH_UM
    if not f_number:
        return 0.0
    expected_px = optics.blur_px(f_number, blur_constant or optics.STACK_MEDIAN_UM / pitch_um)
    return 0.5 * (math.log(diameter_px / expected_px) / optics.STACK_SPREAD) ** 2
