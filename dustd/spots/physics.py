"""What no shadow of dust can be, whatever the network says of it: too narrow, too sharp, or one defective pixel.

The aperture sets the least width (`optics.narrowest_px`). A grain of diameter d, blurred by b, takes A = κ(d/b)² of
the light and has an edge as wide as itself (facts/optics-and-evidence.md §1.1): a shallow shadow is a soft one. A
defective pixel is one or two samples off while their neighbours, of other colours too, are not; a shadow takes them
all (§1.5).
"""

import math

import numpy as np

from dustd.raw.frame import Frame
from dustd.spots.spot import Candidate

# Our choice: an edge (10 to 90 %) this much narrower than d = b·√A is measured sharp by texture now and then; .61 of d
# would be a disc's whole edge. What is nearer to that is weighed with the frame's other marks (`marks.Marks.sharp`).
SHARPEST_EDGE = 0.15
# What lens, low-pass filter and demosaicing blur anyway (10 to 90 % of a Gaussian of .5 px, §7), px.
LEAST_EDGE_PX = 1.3
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
        return "a defective pixel"
    if narrowest_px is None:
        return None
    if candidate.diameter_px < narrowest_px:
        return f"{candidate.diameter_px:.0f} px wide; no shadow is below {narrowest_px:.0f} px at this aperture"
    grain_px = candidate.diameter_px * math.sqrt(max(candidate.attenuation, 0.0))
    if candidate.gain > 0 and LEAST_EDGE_PX < candidate.edge_px < SHARPEST_EDGE * grain_px:
        return f"its edge of {candidate.edge_px:.1f} px is too sharp for its depth"
    return None


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
