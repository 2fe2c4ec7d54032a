"""What is learnt about one body's optics: how thick its filter stack is, and how far each lens moves the dust outwards.

Dust is seen at r = ρ·(1 + t/P) from the optical axis, where P is the distance of the lens's exit pupil
(facts/optics-and-evidence.md §1.1). Only ratios of such scales can be seen, so one lens, the first that the body had,
is the reference: places on the map are where that lens shows them, and every other lens and focal length has one scale
relative to it. The optical axis is taken to pass through the sensor's centre. Lengths are full-resolution pixels from
there. Values and functions of them; knows nothing of particles.
"""

import math
from dataclasses import dataclass

from dustd import optics

# Spread of ln(1 + t/P) between lenses: t .8 to 3.5 mm, P 35 mm to telecentric (§1.2) give .005 to .1; facts §4 takes
# .02 before a scale is fitted. Between two lenses there are two such spreads.
LENS_SPREAD = 0.02 * math.sqrt(2)
# Our choice: an octave of zoom moves the exit pupil by about half of what another lens does.
ZOOM_SPREAD_PER_OCTAVE = 0.015
# What focusing leaves in it: facts §4 takes .002 once a scale is fitted.
FOCUS_SPREAD = 0.002
FOCAL_BINS_PER_OCTAVE = 12  # 6 %: within one bin t/P changes by some .001
# How far apart two measurements of one place lie, px rms along one axis, for spots 20 to 60 px wide.
PLACE_ERROR_PX = 2.0
ENOUGH = 3  # matched particles from which a scale is fitted (facts §1.2)
BLUR_SPREAD = 0.35  # of ln k before anything is measured: stacks of .8 to 3.5 mm around 1.8 (§1.2)
BLUR_ERROR = 0.2  # of ln k from one spot's width
BLUR_SCATTER = 0.1  # between the particles of one body, grains that are not small against their blur
HUBER = 1.5  # standard deviations from which a measurement pulls no harder


@dataclass(frozen=True, slots=True, kw_only=True)
class LensScale:
    """How far outwards one lens at one focal length (bin) shows dust, relative to the reference: ln scale ± sigma.

    *particles* is the number that the fit rests on, 0 for the reference itself, whose scale is 0 ± 0.
    """

    lens: str
    focal_mm: float | None
    log_scale: float = 0.0
    sigma: float = 0.0
    particles: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyOptics:
    """A body's optics as far as they are known; `BodyOptics()` knows nothing.

    *blur_constant* is k = t/p in px·f-number (None: `dustd.optics` has a prior), *blur_sigma* the uncertainty of its
    logarithm. *lenses* begins with the reference.
    """

    blur_constant: float | None = None
    blur_sigma: float = BLUR_SPREAD
    lenses: tuple[LensScale, ...] = ()

    def scale(self, lens: str | None, focal_length_mm: float | None) -> tuple[float, float]:
        """Give ln(scale) of a lens at a focal length and its standard deviation, from its fit or from a prior."""
        if lens is None:
            return 0.0, LENS_SPREAD if self.lenses else 0.0
        focal_mm = focal_bin_mm(focal_length_mm)
        same = [fitted for fitted in self.lenses if fitted.lens == lens]
        for fitted in same:
            if fitted.focal_mm == focal_mm:
                return fitted.log_scale, fitted.sigma
        zooms = [
            (abs(math.log2(focal_mm / fitted.focal_mm)), fitted) for fitted in same if focal_mm and fitted.focal_mm
        ]
        if zooms:
            octaves, nearest = min(zooms, key=lambda pair: (pair[0], pair[1].focal_mm))
            return nearest.log_scale, min(math.hypot(nearest.sigma, ZOOM_SPREAD_PER_OCTAVE * octaves), LENS_SPREAD)
        return 0.0, LENS_SPREAD if self.lenses else 0.0

    def place(
        self, mx: float, my: float, lens: str | None, focal_length_mm: float | None
    ) -> tuple[float, float, float]:
        """Say where a lens shows a place of the map: x and y from the centre, and σ of that distance; px."""
        log_scale, sigma = self.scale(lens, focal_length_mm)
        scale = math.exp(log_scale)
        return mx * scale, my * scale, sigma * math.hypot(mx, my) * scale

    def blur(self, pixel_pitch_um: float | None = None) -> float:
        """Give the body's k in px·f-number: fitted, or the prior for a pixel pitch in µm."""
        return self.blur_constant or optics.blur_constant_px(pixel_pitch_um)


def focal_bin_mm(focal_length_mm: float | None) -> float | None:
    """Name the bin of a focal length by its middle, in mm; None where it is unknown."""
    if not focal_length_mm or focal_length_mm <= 0:
        return None
    return round(2 ** (round(FOCAL_BINS_PER_OCTAVE * math.log2(focal_length_mm)) / FOCAL_BINS_PER_OCTAVE), 3)
