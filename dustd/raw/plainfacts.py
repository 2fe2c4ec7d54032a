"""Camera facts of the formats that have no Exif: Canon's CRW (CIFF) and the first Sigma X3F, written as Exif entries.

Records and units as ExifTool's CanonRaw, Canon and SigmaRaw tables have them. Pure; what is absent or absurd is not
there.
"""

import math
import re
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from dustd.raw.tiff import Entry, clean, text_entry

# Exif 2.32.
_MAKE, _MODEL, _ORIENTATION, _DATE_TIME_ORIGINAL = 0x010F, 0x0110, 0x0112, 0x9003
_EXPOSURE_TIME, _F_NUMBER, _ISO, _FOCAL_LENGTH = 0x829A, 0x829D, 0x8827, 0x920A
_FOCAL_PLANE_X, _FOCAL_PLANE_UNIT, _LENS_SPECIFICATION = 0xA20E, 0xA210, 0xA432
# CIFF records.
_FOCAL, _SHOT, _SETTINGS, _IMAGE, _TIME, _NAMES, SERIAL = 0x1029, 0x102A, 0x102D, 0x1810, 0x180E, 0x080A, 0x180B
_INCHES = 2
_TURNED = {90: 6, 180: 3, 270: 8}  # degrees: Exif orientation
_LARGEST = 4_000_000  # that a fraction in thousandths can say
_MOST_STOPS = 20  # from a second, either way
_STEPS = 32  # of Canon's APEX values per stop


def image_of_ciff(records: Mapping[int, bytes], order: str) -> dict[int, Entry]:
    """Give make, model and orientation of a CRW; *order* is "<" or ">"."""
    names = records.get(_NAMES, b"").split(b"\0")
    said = ((tag, clean(name)) for tag, name in zip((_MAKE, _MODEL), names, strict=False))
    found = {tag: text_entry(tag, name) for tag, name in said if name}
    image = _longs(records.get(_IMAGE), order)
    if len(image) > 3 and image[3] in _TURNED:
        found[_ORIENTATION] = _short(_ORIENTATION, _TURNED[image[3]])
    return found


def exif_of_ciff(records: Mapping[int, bytes], order: str) -> dict[int, Entry]:
    """Give what a CRW says of the exposure and the lens."""
    shot, settings = _shorts(records.get(_SHOT), order), _shorts(records.get(_SETTINGS), order)
    focal, image = _shorts(records.get(_FOCAL), order), _longs(records.get(_IMAGE), order)
    units_per_mm = settings[25] if len(settings) > 25 and settings[25] > 0 else 1
    found: dict[int, Entry | None] = {}
    if len(shot) > 22:
        found[_F_NUMBER] = _rational(_F_NUMBER, 2 ** (_stops(shot[21]) / 2) if shot[21] > 0 else 0)
        known = 0 < abs(shot[22]) <= _MOST_STOPS * _STEPS
        found[_EXPOSURE_TIME] = _rational(_EXPOSURE_TIME, 2 ** -_stops(shot[22]) if known else 0)
        # Two factors, of which the second is that of the sensor.
        iso = 100 * 2 ** (shot[1] / _STEPS) * 2 ** (shot[2] / _STEPS) / 32
        found[_ISO] = _short(_ISO, round(iso)) if 1 <= iso < 65535 else None
    if len(focal) > 2:
        found[_FOCAL_LENGTH] = _rational(_FOCAL_LENGTH, focal[1] / units_per_mm)
        if image and focal[2] > 0:  # the sensor's width is in thousandths of an inch
            found[_FOCAL_PLANE_X] = _rational(_FOCAL_PLANE_X, image[0] * 1000 / focal[2])
            found[_FOCAL_PLANE_UNIT] = _short(_FOCAL_PLANE_UNIT, _INCHES)
    if len(settings) > 25 and settings[24] > 0 and settings[23] > 0:
        lens = (settings[24] / units_per_mm, settings[23] / units_per_mm, 0, 0)
        found[_LENS_SPECIFICATION] = _rationals(_LENS_SPECIFICATION, lens)
    seconds = _longs(records.get(_TIME), order)
    found[_DATE_TIME_ORIGINAL] = _time(seconds[0]) if seconds else None
    return {tag: entry for tag, entry in found.items() if entry is not None}


def exif_of_properties(found: Mapping[str, str | None]) -> dict[int, Entry]:
    """Give what the property list of an X3F says of the exposure and the lens."""
    iso, lengths = _number(found.get("ISO")), _range(found.get("LENSFRANGE"))
    entries = {
        _EXPOSURE_TIME: _rational(_EXPOSURE_TIME, _number(found.get("SHUTTER"))),
        _F_NUMBER: _rational(_F_NUMBER, _number(found.get("APERTURE"))),
        _FOCAL_LENGTH: _rational(_FOCAL_LENGTH, _number(found.get("FLENGTH"))),
        _ISO: _short(_ISO, round(iso)) if 1 <= iso < 65535 else None,
        _LENS_SPECIFICATION: _rationals(_LENS_SPECIFICATION, (*lengths, 0, 0)) if any(lengths) else None,
        _DATE_TIME_ORIGINAL: _time(int(_number(found.get("TIME")))),
    }
    return {tag: entry for tag, entry in entries.items() if entry is not None}


def _stops(value: int) -> float:
    """Read Canon's APEX value: 32 steps a stop, where 12 and 20 stand for a third and two thirds."""
    whole, part = divmod(abs(value), _STEPS)
    thirds = {12: 1 / 3, 20: 2 / 3}
    return math.copysign(whole + thirds.get(part, part / _STEPS), value)


def _shorts(data: bytes | None, order: str) -> tuple[int, ...]:
    data = data or b""
    return struct.unpack(f"{order}{len(data) // 2}h", data[: len(data) // 2 * 2])


def _longs(data: bytes | None, order: str) -> tuple[int, ...]:
    data = data or b""
    return struct.unpack(f"{order}{len(data) // 4}i", data[: len(data) // 4 * 4])


def _short(tag: int, value: int) -> Entry:
    return Entry(tag=tag, type=3, count=1, data=struct.pack("<H", value))


def _rational(tag: int, value: float) -> Entry | None:
    return _rationals(tag, (value,)) if 0 < value < _LARGEST else None


def _rationals(tag: int, values: Sequence[float]) -> Entry:
    """Write fractions; what is unknown, 0 or absurd is 0/0, as Exif has it."""
    data = b""
    for value in values:
        unit = 1_000_000 if value < 4000 else 1000
        data += struct.pack("<II", *((round(value * unit), unit) if 0 < value < _LARGEST else (0, 0)))
    return Entry(tag=tag, type=5, count=len(values), data=data)


def _time(seconds: int) -> Entry | None:
    """Turn camera-clock seconds since 1970 into Exif's way to write a time."""
    if not 0 < seconds < 1 << 32:
        return None
    return text_entry(_DATE_TIME_ORIGINAL, datetime.fromtimestamp(seconds, UTC).strftime("%Y:%m:%d %H:%M:%S"))


def _number(text: str | None) -> float:
    return float(text) if text and re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text, re.ASCII) else 0.0


def _range(text: str | None) -> tuple[float, float]:
    """Read "18 to 50" or "18"; zeros where there is nothing."""
    numbers = [float(each) for each in re.findall(r"\d{1,6}(?:\.\d{1,6})?", text or "", re.ASCII)]
    return (numbers[0], numbers[-1]) if numbers else (0.0, 0.0)
