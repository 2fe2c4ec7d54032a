"""What no shadow of dust can be, whatever the network says of it: too narrow, too sharp, or one defective pixel.

The aperture sets the least width (`optics.narrowest_px`). A grain of diameter d, blurred by b, takes A = κ(d/b)² of
the light and has an edge as wide as itself (facts/optics-and-evidence.md §1.1): a shallow shadow is a soft one, and
one law of it (`sharpest_edge_px`) serves the gate here, the company (`marks.Marks.sharp`) and the correction. A
defective pixel is one or two samples off while their neighbours, of other colours too, are not; a shadow takes them
all (§1.5).
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from dustd.raw.frame import Frame
from dustd.spots.measure import EDGE_SHARE, MEASURED_FROM
from dustd.spots.spot import Candidate

DEFECT = "a defective pixel"
# No grain stops less of the light that meets it (§7), so what takes less is smaller than its blur.
TRANSLUCENT_FROM = 0.3
# Of a disc's edge, for grains that are no discs; and what a measured edge errs by over the root of the light's gain (sd
# of ln). Less three errors nothing is sharper: of 2,123 shadows in generated frames and 116 in real ones, all below
# TRANSLUCENT_FROM, none was, of 293 look-alikes that the network saw 58.
LEAST_OF_DISC, EDGE_ERROR = 0.8, 0.55
# Larger boxes cannot come from one or two samples, even where a demosaic or a smaller scale has spread them.
LARGEST_DEFECT_PX = 32.0
# A sample is off if it differs from those of its colour around by so many of their robust deviations, and by this
# share.
OFF_SIGMAS, OFF_SHARE = 8.0, 0.05
MOST_OFF = 2
# Of the candidate's depth, what the samples that are not off may still show.
LEFT_SHARE = 0.35


def impossible(candidate: Candidate, frame: Frame, narrowest_px: float | None) -> str | None:
    """Say why a candidate cannot be dust, None if it can.

    *narrowest_px* is the width of the narrowest shadow possible in the frame, None without an f-number; then only
    defective pixels are told.
    """
    if is_defect(candidate, frame):
        return DEFECT
    if narrowest_px is None:
        return None
    if candidate.diameter_px < narrowest_px:
        return f"{candidate.diameter_px:.0f} px wide; no shadow is below {narrowest_px:.0f} px at this aperture"
    # As if the light told as little as it may where it is asked at all: what is nearer to the law has a voice among the
    # frame's other marks, and speaks against those that look like it.
    sharpest_px = sharpest_edge_px(candidate.diameter_px, candidate.attenuation, MEASURED_FROM, narrowest_px)
    if candidate.gain >= MEASURED_FROM and candidate.edge_px < sharpest_px:
        return f"its edge of {candidate.edge_px:.1f} px is too sharp for its depth"
    return None


def sharpest_edge_px(
    diameter_px: ArrayLike, attenuation: ArrayLike, gain: ArrayLike, blur_px: float = 0.0
) -> np.ndarray:
    """Return the least edge (10 to 90 %, px) that dust can be measured with, broadcast from the arguments' shapes.

    *diameter_px* is the width at half depth, *attenuation* the share of light lost, *gain* the light's
    (`spots.spot.Candidate`). A grain smaller than its blur b has an edge of d = b·√A. From TRANSLUCENT_FROM on it may
    be larger, and its edge is b: *blur_px* is the least blur of the frame, 0 where that is not known.
    """
    depth = np.maximum(attenuation, 0.0)
    small_px = np.sqrt(depth) * diameter_px
    grain_px = np.where(depth < TRANSLUCENT_FROM, small_px, np.minimum(blur_px, diameter_px))
    return LEAST_OF_DISC * EDGE_SHARE * np.exp(-3 * EDGE_ERROR / np.sqrt(np.maximum(gain, 0.01))) * grain_px


def is_defect(candidate: Candidate, frame: Frame) -> bool:
    """Tell whether one or two samples of the mosaic make up a candidate.

    False for frames without a mosaic: what a demosaic has spread cannot be told from a small shadow.
    """
    side = max(candidate.width_px, candidate.height_px)
    if frame.kind == "linear" or side > LARGEST_DEFECT_PX:
        return False
    reach = math.ceil(side / 2) + 2
    period = len(frame.cfa)
    margin = 2 * period
    rows, columns = (
        slice(max(round(at) - reach - margin, 0), min(round(at) + reach + margin + 1, length))
        for at, length in ((candidate.y, frame.height), (candidate.x, frame.width))
    )
    samples = frame.mosaic[rows, columns].astype(np.float64)
    ys, xs = np.mgrid[rows, columns]
    colours = np.array(frame.cfa)[ys % period, xs % period]
    black = np.asarray(frame.black, float)[ys % len(frame.black), xs % len(frame.black[0])]
    samples = samples - black
    inside = (np.abs(ys - candidate.y) <= reach) & (np.abs(xs - candidate.x) <= reach)
    residual = np.zeros_like(samples)
    level = np.zeros_like(samples)
    for colour in np.unique(colours):
        here = colours == colour
        middle = np.median(samples[here])
        level[here] = max(middle, 1.0)
        residual[here] = samples[here] - middle
    share = residual / level
    spread = 1.4826 * np.median(np.abs(share[~inside])) if (~inside).any() else 0.0
    off = inside & (np.abs(share) > max(OFF_SIGMAS * spread, OFF_SHARE))
    if not 1 <= off.sum() <= MOST_OFF:
        return False
    rest = share[inside & ~off]
    around = share[~inside]
    if rest.size == 0 or around.size == 0:
        return False
    core = (np.hypot(ys - candidate.y, xs - candidate.x) <= max(side / 4, 1.5)) & ~off
    depth = float(np.mean(around) - np.mean(share[core])) if core.any() else 0.0
    return depth < LEFT_SHARE * max(candidate.attenuation, 3 * spread / math.sqrt(max(core.sum(), 1)))
