"""Heals: each corrected spot as an instruction to lay a clean place near by over it, for developers of the RAW.

This module chooses the places. How each program writes them down is in `dustd.output.darktable_xmp`,
`dustd.output.rawtherapee_pp3` and `dustd.output.adobe_xmp`, where the files go in `dustd.output.edits`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dustd.raw.frame import Frame, SensorKind
from dustd.raw.tiff import Entry, number
from dustd.spots.measure import EDGE_SHARE
from dustd.spots.spot import Spot

# How far a heal reaches beyond the measured shadow: grains are no discs, and the fit errs by a pixel or so.
WIDEN, WIDEN_PX = 1.1, 1.5
# The soft edge beyond that, as a share of the radius.
FEATHER = 0.3
# Sources are sought on rings of these radii, in reaches, so that the nearest does not touch the spot.
RINGS = (2.1, 2.5, 3.0, 3.7, 4.5, 5.5, 7.0, 9.0)
DIRECTIONS = 32
# Developers cut up to 7 px off the picture's edges (RawTherapee, X-Trans) before they look for a source.
EDGE_PX = 8
# What a longer way counts beside unlike light (natural log of it, per reach).
WAY = 0.0005
CELLS = 8  # a disc is compared in about this many cells from centre to rim


@dataclass(frozen=True, slots=True, kw_only=True)
class Heal:
    """Lay what is at the source over (*x*, *y*): wholly within *radius_px*, then fading out over *feather_px*.

    Places are in the frame coordinates of `dustd.raw.frame`; the offset between them is in whole pixels.
    """

    spot_id: int
    x: float
    y: float
    source_x: float
    source_y: float
    radius_px: float
    feather_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Healing:
    """The heals of one frame, deepest spot first, and the geometry that developers count their places by.

    *unhealed* are the ids of corrected spots for which there is no clean place near by. *visible* is (top, left,
    height, width) inside *raw_width* x *raw_height*; *picture* the width and height of the camera's own pictures,
    which show a little less; *orientation* the Exif value 1 to 8.
    """

    heals: tuple[Heal, ...]
    unhealed: tuple[int, ...] = ()
    kind: SensorKind
    raw_width: int
    raw_height: int
    visible: tuple[int, int, int, int]
    picture: tuple[int, int]
    orientation: int


def healing(frame: Frame, spots: Sequence[Spot], exif: Sequence[Entry] = ()) -> Healing:
    """Choose a heal for each spot of *spots* that was corrected. The result is deterministic.

    *frame* holds the corrected samples: of all clean places around, the source is the one that differs least from
    what the correction brought to light. Level and slope count as well as texture: darktable would match them, but
    RawTherapee clones. No source touches any spot, corrected or left, nor the frame's edge. *exif* are the source's
    Exif entries, which tell the size of the camera's own picture.
    """
    corrected = sorted((spot for spot in spots if spot.action != "left"), key=lambda spot: (-spot.attenuation, spot.id))
    found = {spot.id: _heal(frame, spot, [other for other in spots if other is not spot]) for spot in corrected}
    return Healing(
        heals=tuple(heal for heal in found.values() if heal is not None),
        unhealed=tuple(spot_id for spot_id, heal in found.items() if heal is None),
        kind=frame.kind,
        raw_width=frame.raw.shape[1],
        raw_height=frame.raw.shape[0],
        visible=frame.visible,
        picture=_picture(frame, exif),
        orientation=frame.camera.orientation,
    )


def not_at(heals: Sequence[Heal], places: Collection[tuple[float, float]]) -> tuple[Heal, ...]:
    """Leave out the heals of spots that an edit heals already, at *places* in frame coordinates."""
    return tuple(
        heal
        for heal in heals
        if all(np.hypot(heal.x - x, heal.y - y) > max(2.0, heal.radius_px / 2) for x, y in places)
    )


def _picture(frame: Frame, exif: Sequence[Entry]) -> tuple[int, int]:
    """Find the size of the camera's own picture (Exif PixelXDimension and -YDimension), else that of the frame."""
    width, height = (next((number(entry) for entry in exif if entry.tag == tag), None) for tag in (0xA002, 0xA003))
    if width and height and 0 <= frame.width - width <= 0.05 * width and 0 <= frame.height - height <= 0.05 * height:
        return int(width), int(height)
    return frame.width, frame.height


def _radius_px(spot: Spot) -> float:
    """The radius within which a spot takes light."""
    return WIDEN * (spot.diameter_px + spot.edge_px / EDGE_SHARE) / 2 + WIDEN_PX


def _heal(frame: Frame, spot: Spot, others: Sequence[Spot]) -> Heal | None:
    """Choose the source of one spot; None if there is no clean place."""
    radius = _radius_px(spot)
    reach = (1 + FEATHER) * radius
    period = len(frame.cfa)
    step = period * max(1, round(reach / CELLS / period))
    offsets = _free(_offsets(reach, step), spot, reach, max(EDGE_PX, step), frame, others)
    if not len(offsets):
        return None
    dx, dy = offsets[np.argmin(_unlikeness(frame, spot, reach, step, offsets))]
    return Heal(
        spot_id=spot.id,
        x=spot.x,
        y=spot.y,
        source_x=spot.x + float(dx),
        source_y=spot.y + float(dy),
        radius_px=radius,
        feather_px=reach - radius,
    )


def _offsets(reach: float, step: int) -> np.ndarray:
    """List the ways from spot to source, (n, 2) int px, nearest first: whole steps, so that colours meet their like."""
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    round_about = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    return np.concatenate([np.round(ring * reach * round_about / step).astype(int) * step for ring in RINGS])


def _free(
    offsets: np.ndarray, spot: Spot, reach: float, edge_px: int, frame: Frame, others: Sequence[Spot]
) -> np.ndarray:
    """Keep the offsets whose source disc lies well inside the frame and touches neither the spot nor any other."""
    xs, ys = spot.x + offsets[:, 0], spot.y + offsets[:, 1]
    margin = reach + edge_px
    free = (xs >= margin) & (xs <= frame.width - 1 - margin) & (ys >= margin) & (ys <= frame.height - 1 - margin)
    free &= np.hypot(*offsets.T) >= 2 * reach
    for other in others:
        free &= np.hypot(xs - other.x, ys - other.y) >= reach + _radius_px(other)
    return offsets[free]


def _unlikeness(frame: Frame, spot: Spot, reach: float, step: int, offsets: np.ndarray) -> np.ndarray:
    """Tell how much the disc at each offset differs from the one on the spot: (n,), natural log of light."""
    n = int(reach / step)
    v, u = (part.ravel() for part in np.mgrid[-n : n + 1, -n : n + 1])
    disc = np.hypot(u, v) * step <= reach
    u, v = u[disc], v[disc]
    light, left, top = _cells(frame, spot, step, np.abs(offsets).max() // step + n)
    column, row = (int(spot.x) - left) // step, (int(spot.y) - top) // step
    u, v = (part[_inside(light, row + v, column + u)] for part in (u, v))
    if not len(u):  # centred outside of the frame
        return np.hypot(*offsets.T)
    there = light[row + v + offsets[:, 1:] // step, column + u + offsets[:, :1] // step]
    difference = np.sqrt(((there - light[row + v, column + u]) ** 2).mean(axis=1))
    return difference + WAY * np.hypot(*offsets.T) / reach


def _inside(light: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return (rows >= 0) & (rows < light.shape[0]) & (columns >= 0) & (columns < light.shape[1])


def _cells(frame: Frame, spot: Spot, step: int, margin: int) -> tuple[np.ndarray, int, int]:
    """Average the light around a spot over cells of *step* px, *margin* cells to each side as far as the frame goes.

    Returns its natural log, (h, w), and the first cell's left and top px.
    """
    left, top = (max(0, int(place) // step - margin) * step for place in (spot.x, spot.y))
    samples = frame.mosaic[
        top : (int(spot.y) // step + margin + 1) * step, left : (int(spot.x) // step + margin + 1) * step
    ].astype(np.float32)
    if samples.ndim == 3:
        samples = samples.mean(axis=-1)
    rows, columns = samples.shape[0] // step, samples.shape[1] // step
    black = float(np.mean(frame.black))
    means = cv2.resize(samples[: rows * step, : columns * step], (columns, rows), interpolation=cv2.INTER_AREA)
    return np.log(np.maximum((means - black) / (frame.white - black), 1e-4)), left, top
