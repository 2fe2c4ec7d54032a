"""What a person is shown of a cleaned frame, to check it: which spots first, and pictures of them before and after.

Worst first: the correction that would do most harm if it were wrong. That is the product of three things: how unlikely
the spot is to be dust, how much was changed (the light given back times the width; all of it where it was painted
over), and how much detail there is around it. Values in, values out; the page is `dustd.report.review_page`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from dustd.dustmap.evidence import Evidence, visible_from
from dustd.output import preview
from dustd.output.developed import orient
from dustd.raw.frame import Frame
from dustd.raw.light import Window, linear_rgb
from dustd.spots.spot import Spot

CROP_PX = 240  # of the screen, for each picture of a spot
ZOOMS = {120: 200, 240: 100, 480: 50}  # percent, by the side of what a crop shows, px of the sensor
AROUND = 3.0  # a crop is at least so many diameters wide
CROP_QUALITY = 95  # of JPEG: below, its blocks show where the contrast is raised
OVERVIEW_PX = 960
LEAST_DOUBT = 0.02  # our choice: nobody is surer than that
WHITE_SHARE = 0.99  # of the overview is darker than what becomes nearly white on the page
NEARLY_WHITE = 0.8  # linear light
MOST_GAIN = 4.0  # dark frames are shown brighter, up to two stops
# What `grayscale` in a browser weighs red, green and blue by (Filter Effects 1, 9.6).
LUMA = np.array([0.2126, 0.7152, 0.0722])
LEAST_TONE = 0.02  # darker ground is not brightened any further
DEVIATION = 0.12  # of the tones of a crop with its contrast raised
MOST_CONTRAST = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One spot before and after, upright, as JPEG of CROP_PX or less each way, *zoom_percent* of the sensor's pixels.

    *tone* is the luma around the spot, as a browser's `grayscale` has it, 0 to 1; *contrast* what raises the crop's
    contrast so far that a shadow shows.
    """

    spot_id: int
    before: bytes
    after: bytes
    zoom_percent: int
    tone: float
    contrast: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """The whole frame as corrected, a small upright JPEG, and the spots that there was room for, worst first."""

    overview: bytes
    pairs: tuple[Pair, ...]


def in_order(spots: Sequence[Spot], seen: Evidence) -> tuple[Spot, ...]:
    """Sort spots worst first: the corrected by `risk`, then those that were wanted but left, then all others."""

    def key(spot: Spot) -> tuple[float, ...]:
        if spot.action != "left":
            return (0, -risk(spot, seen), spot.id)
        return (1 if spot.due else 2, -spot.score * spot.attenuation, spot.id)

    return tuple(sorted(spots, key=key))


def risk(spot: Spot, seen: Evidence) -> float:
    """Say how much harm the correction of a spot does if it is wrong; no unit, 0 if it was left."""
    if spot.action == "left":
        return 0.0
    doubt = LEAST_DOUBT if spot.asked else 1 - max(spot.score, spot.confidence or 0.0) + LEAST_DOUBT
    change = (1.0 if spot.action == "inpainted" else spot.attenuation) * spot.diameter_px
    return doubt * change * min(visible_from(seen, spot.x, spot.y), 1.0)


def show(frame: Frame, corrected: np.ndarray, spots: Sequence[Spot], room_bytes: int) -> Exhibit:
    """Picture a frame and its *spots* (worst first) before and after, as many as *room_bytes* hold, at least one.

    *corrected* is like frame.raw.
    """
    after = replace(frame, raw=corrected)
    picture = preview.develop(after, corrected)
    gain = _gain(picture)
    scale = min(1.0, OVERVIEW_PX / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    overview = _jpeg(orient(_brightened(small, gain), frame.camera.orientation), 80)
    if len(overview) > room_bytes // 3:
        tiny = cv2.resize(small, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        overview = _jpeg(orient(_brightened(tiny, gain), frame.camera.orientation), 70)
    pairs: list[Pair] = []
    left = room_bytes - len(overview)
    for spot in spots:
        pair = _pair(frame, after, spot, gain)
        left -= len(pair.before) + len(pair.after)
        if left < 0 and pairs:
            break
        pairs.append(pair)
    return Exhibit(overview=overview, pairs=tuple(pairs))


def gain_for(frame: Frame, corrected: np.ndarray) -> float:
    """Choose by how much all pictures of a frame are brightened, as `show` does; in linear light, 1 or more."""
    return _gain(preview.develop(replace(frame, raw=corrected), corrected))


def whole(picture: np.ndarray, frame: Frame, gain: float, long_side_px: int | None) -> bytes:
    """Make a JPEG of a developed *picture* of a frame, (h, w, 3) uint8, unrotated: upright, reduced to *long_side_px*,
    or as large as the visible area."""
    height, width = frame.height, frame.width
    scale = min(1.0, long_side_px / max(height, width)) if long_side_px else 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (picture.shape[1], picture.shape[0]):
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return _jpeg(orient(_brightened(picture, gain), frame.camera.orientation), 90)


def crop(frame: Frame, spot: Spot, gain: float) -> bytes:
    """Make a JPEG of what is around a spot, as `show` does."""
    return _jpeg(_crop(frame, _window(frame, spot), gain), CROP_QUALITY)


def _window(frame: Frame, spot: Spot) -> Window:
    side = next((side for side in ZOOMS if side >= AROUND * spot.diameter_px), max(ZOOMS))
    return Window(left=_start(spot.x, side, frame.width), top=_start(spot.y, side, frame.height), side_px=side)


def _pair(before: Frame, after: Frame, spot: Spot, gain: float) -> Pair:
    window = _window(before, spot)
    pictures = [_crop(frame, window, gain) for frame in (before, after)]
    tones = cv2.GaussianBlur(pictures[0] @ LUMA / 255, (0, 0), 1.5)
    tone = max(float(np.median(tones)), LEAST_TONE)
    # On the page the ground becomes a middle grey first, and dark grounds are stretched as much as they are brightened.
    deviation = max(float(tones.std()) * 0.5 / tone, 1e-3)
    return Pair(
        spot_id=spot.id,
        before=_jpeg(pictures[0], CROP_QUALITY),
        after=_jpeg(pictures[1], CROP_QUALITY),
        zoom_percent=ZOOMS[window.side_px],
        tone=tone,
        contrast=float(np.clip(DEVIATION / deviation, 1.5, MOST_CONTRAST)),
    )


def _start(middle: float, side: int, length: int) -> int:
    """Put a window around a place, inside the frame where the frame is as large."""
    return max(0, min(round(middle) - side // 2, length - side))


def _crop(frame: Frame, window: Window, gain: float) -> np.ndarray:
    """Develop a window, upright: (side, side, 3) uint8, at most CROP_PX."""
    light = linear_rgb(frame, window)
    if frame.kind != "mono":
        light /= np.asarray(frame.wb, np.float32)
    picture = preview.to_srgb(frame, light)
    if window.side_px > CROP_PX:
        picture = cv2.resize(picture, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA)
    return orient(_brightened(picture, gain), frame.camera.orientation)


def _gain(picture: np.ndarray) -> float:
    """Choose by how much a developed picture must be brightened to be looked at; in linear light, 1 or more."""
    bright = float(np.quantile(picture, WHITE_SHARE)) / 255
    return float(np.clip(NEARLY_WHITE / max(bright**2.2, 1e-3), 1.0, MOST_GAIN))


def _brightened(picture: np.ndarray, gain: float) -> np.ndarray:
    levels = 255 * np.minimum((np.arange(256) / 255) * gain ** (1 / 2.2), 1.0)
    return np.round(levels).astype(np.uint8)[picture]


def _jpeg(picture: np.ndarray, quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)
    return data.tobytes()
