"""How one speck of dust looks at any aperture: blur, strength, attenuation, where to look for it.

Dust lies a fraction of a millimetre above the photodiodes, so its shadow is an image of the exit pupil: wide and faint
when the lens is open, small and dark when it is stopped down. What does not change is the light it takes in total, its
strength E = attenuation × area (facts/optics-and-evidence.md §1.1: equal to within 1-8 % from f/4 to f/22). All
lengths are full-resolution pixels. Knows nothing of maps or frames.
"""

import math

# Air-equivalent distance from dust to photodiodes. §1.2: 0.8 to 3.5 mm over cameras, most 1.5 to 2; §7 takes 1.8.
STACK_UM = 1800.0
# Pixel pitch of a 45-megapixel full-frame sensor (§1.2), for files that do not say. 1800 / 4.4 = 409 px·f-number.
PITCH_UM = 4.4
# The thinnest stack of any camera (§1.5), and the widest pixels that a camera without a known pitch may have: those of
# its picture on the widest sensor with interchangeable lenses (53.9 × 40.4 mm), but none wider than a D3's.
THINNEST_STACK_UM, WIDEST_PITCH_UM, WIDEST_SENSOR_UM = 600.0, 8.5, 53_900.0
# What real dust on five bodies says of stacks (§1.5): log-normal, median and sd of ln, up to the thickest.
STACK_MEDIAN_UM, STACK_SPREAD, THICKEST_STACK_UM = 2400.0, 0.45, 4800.0
# Where a body's own distance is known, a shadow may still be this much narrower than its blur: measured widths scatter.
LEAST_OF_BLUR = 0.5
# Thinnest stack over largest pixels and thickest over smallest, relative to the prior: (.8/6.5, 3.5/3.2) / (1.8/4.4).
STACK_RANGE = (0.3, 2.7)


def blur_constant_px(pixel_pitch_um: float | None = None) -> float:
    """Give the prior of k = t/p, in px·f-number: the blur at f/1. Pitch in µm, None where unknown."""
    return STACK_UM / (pixel_pitch_um or PITCH_UM)


def blur_px(f_number: float, blur_constant: float) -> float:
    """Predict the diameter of the pupil's image, b = k/N (§1.1); the width at half depth of a small speck."""
    return blur_constant / f_number


def strength_px2(attenuation: float, diameter_px: float) -> float:
    """Measure the light a spot takes, E = A·π·w²/4 in px²: attenuation at its centre × area at half depth (§1.1)."""
    return attenuation * math.pi * diameter_px**2 / 4


def equivalent_diameter_px(strength: float, opacity: float = 1.0) -> float:
    """Give the diameter of the disc of this opacity that takes as much light, d = √(4E/πκ) (§1.1)."""
    return math.sqrt(4 * strength / (math.pi * opacity))


def observed_opacity(attenuation: float, diameter_px: float, f_number: float, prior: float) -> float:
    """Read the opacity κ off a spot wider than any stack can blur: it shows its own size, so A = κ; else 1."""
    return attenuation if diameter_px > STACK_RANGE[1] * blur_px(f_number, prior) else 1.0


def narrowest_px(
    f_number: float | None,
    pixel_pitch_um: float | None,
    long_side_px: int,
    blur_constant: float | None = None,
) -> float | None:
    """Give the width of the narrowest shadow that dust can throw, full-resolution px, None without an f-number.

    It is the blur of the thinnest stack there is, or that of the body's own distance where *blur_constant*
    (px·f-number) has been learnt (§1.5). Where the pitch is unknown, the picture's long side bounds it.
    """
    if not f_number:
        return None
    if blur_constant is not None:
        return LEAST_OF_BLUR * blur_px(f_number, blur_constant)
    widest_um = pixel_pitch_um or min(WIDEST_PITCH_UM, WIDEST_SENSOR_UM / long_side_px)
    return THINNEST_STACK_UM / (widest_um * f_number)


def typical_px(
    f_number: float | None,
    pixel_pitch_um: float | None,
    long_side_px: int,
    blur_constant: float | None = None,
) -> float | None:
    """Give how wide most shadows are, full-resolution px, None without an f-number; the arguments are `narrowest_px`'s.

    It is the blur of the body's own distance where that is known, else that of a usual stack over the widest pixels
    that the camera may have.
    """
    narrowest = narrowest_px(f_number, pixel_pitch_um, long_side_px)
    if narrowest is None or f_number is None:
        return None
    return STACK_UM / THINNEST_STACK_UM * narrowest if blur_constant is None else blur_px(f_number, blur_constant)


def predict_attenuation(strength: float, blur: float, opacity: float = 1.0) -> float:
    """Predict A = κ·min(1, (d/b)²) at the centre of a spot blurred by *blur* px (§1.1)."""
    return opacity * min(1.0, (equivalent_diameter_px(strength, opacity) / blur) ** 2)


def predict_diameter_px(strength: float, blur: float, opacity: float = 1.0) -> float:
    """Predict the width at half depth, the larger of speck and blur (§1.1)."""
    return max(equivalent_diameter_px(strength, opacity), blur)


def match_radius_px(diameter_px: float) -> float:
    """Say how far from its predicted place a particle may appear, besides what the lens does to it (§4)."""
    return 4.0 + 0.25 * diameter_px
