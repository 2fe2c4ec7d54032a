"""ICC profiles of the colour spaces that developed pictures come in: what a number in the file looks like.

Version 4.3 matrix profiles (ICC.1:2010 §8.4.3, §10), a few hundred bytes, always the same ones.
"""

import struct
from functools import cache

import numpy as np

from dustd.raw.colour import ColourSpace

# Chromaticities of red, green, blue and white, and the tone curve as a parametric one: gamma, or gamma, a, b, c, d of
# ICC.1 §10.16. IEC 61966-2-1; Adobe RGB (1998) §4.3; ISO 22028-2, with the pure power that everybody uses for it.
_D65, _D50 = (0.3127, 0.3290), (0.34567, 0.35850)
_SPACES: dict[ColourSpace, tuple[str, tuple[tuple[float, float], ...], tuple[float, ...]]] = {
    "srgb": (
        "sRGB",
        ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65),
        (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    ),
    "adobe-rgb": ("Compatible with Adobe RGB (1998)", ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65), (563 / 256,)),
    "prophoto-rgb": ("ProPhoto RGB", ((0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105), _D50), (1.8,)),
}
# Bradford's cone responses: ICC.1 Annex E.
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_PCS_WHITE = np.array([0.9642, 1.0, 0.8249])
_CREATED = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)


@cache
def profile(space: ColourSpace) -> bytes:
    """Serialise the profile of *space*."""
    name, corners, curve = _SPACES[space]
    red, green, blue, white = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in corners)
    primaries = np.stack((red, green, blue), axis=1)
    to_xyz = primaries * np.linalg.solve(primaries, white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _PCS_WHITE / (_BRADFORD @ white)) @ _BRADFORD
    colorants = adapted @ to_xyz
    tone = b"para" + struct.pack(">IHH", 0, 0 if len(curve) == 1 else 3, 0) + _fixed(*curve)
    tags = {
        b"desc": _text(name),
        b"cprt": _text("CC0"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_PCS_WHITE),
        b"chad": b"sf32\0\0\0\0" + _fixed(*adapted.ravel()),
        **{b"%cXYZ" % channel: b"XYZ \0\0\0\0" + _fixed(*colorants[:, i]) for i, channel in enumerate(b"rgb")},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), tone),
    }
    offset = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}  # the three curves share one place
    table, content = struct.pack(">I", len(tags)), b""
    for key, value in tags.items():
        if value not in places:
            places[value] = offset + len(content)
            content += value + bytes(-len(value) % 4)
        table += key + struct.pack(">II", places[value], len(value))
    size = struct.pack(">I", 128 + len(table) + len(content))
    head = size + bytes(4) + b"\4\x30\0\0" + b"mntrRGB XYZ " + _CREATED + b"acsp" + bytes(28) + _fixed(*_PCS_WHITE)
    return head.ljust(128, b"\0") + table + content


def _fixed(*values: float) -> bytes:
    """Write s15Fixed16 numbers."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _text(value: str) -> bytes:
    """Write a text in English: multiLocalizedUnicodeType with one record."""
    encoded = value.encode("utf-16-be")
    return b"mluc" + struct.pack(">III", 0, 1, 12) + b"enUS" + struct.pack(">II", len(encoded), 28) + encoded
