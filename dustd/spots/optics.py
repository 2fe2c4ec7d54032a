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


def wide_enough(diameter_px: float, f_number: float, prior: float) -> bool:
    """Ask whether dust could throw so narrow a shadow: at least the blur of the thinnest stack."""
    return diameter_px >= STACK_RANGE[0] * blur_px(f_number, prior)


def predict_attenuation(strength: float, blur: float, opacity: float = 1.0) -> float:
    """Predict A = κ·min(1, (d/b)²) at the centre of a spot blurred by *blur* px (§1.1)."""
    return opacity * min(1.0, (equivalent_diameter_px(strength, opacity) / blur) ** 2)


def predict_diameter_px(strength: float, blur: float, opacity: float = 1.0) -> float:
    """Predict the width at half depth, the larger of speck and blur (§1.1)."""
    return max(equivalent_diameter_px(strength, opacity), blur)


def match_radius_px(diameter_px: float) -> float:
    """Say how far from its predicted place a particle may appear, besides what the lens does to it (§4)."""
    return 4.0 + 0.25 * diameter_px
