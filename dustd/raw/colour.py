"""Colour spaces: which there are, and how sRGB relates to CIE XYZ."""

from typing import Literal

import numpy as np

ColourSpace = Literal["srgb", "adobe-rgb", "prophoto-rgb"]

# IEC 61966-2-1, as LibRaw has it.
SRGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
