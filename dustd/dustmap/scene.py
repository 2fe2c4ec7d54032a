"""Whether two frames show the same scene around a place: what tells a repeated speck from repeated dust.

The tripod rule: a coincidence counts only as far as its own surroundings changed. Compared are the thumbnails that
`dustd.dustmap.evidence` keeps of each frame. Knows nothing of particles.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np

from dustd.dustmap.evidence import STOPS, Evidence, squares

BLOCK = 8  # thumbnail pixels
CORNERED = 0.03  # slope of ln(light) per pixel from which a block has structure in two directions
TEXTURED = (0.06, 0.12)  # standard deviations in ln(light) between which a patch gets structure of its own
REPEATS = 0.8  # correlation from which a block shows the same thing in the same place
PATCH = 4  # half width in thumbnail pixels of the surroundings compared
# A camera is shown to have moved by detail (rms of ln light) found again elsewhere in at least this share of the frame,
# from which correlation on, and reaching how far over what both frames show.
OVERLAP, DETAIL, MATCHED, REACHING = 0.2, 0.02, (0.8, 0.95), (0.5, 0.7)
# Our choice: cells so near a spot's edge lie right around it (thumbnail pixels); those whose ln(light) changed by less
# have kept their light (a code is .033); shares of them from which the place is untouched.
RIGHT_THERE, SAME_LIGHT, UNTOUCHED = 2.0, 0.04, (0.2, 0.4)
LASTS = 0.5  # share from which a scene counts as the same one
STAYING = (0.1, 0.4)  # share of the blocks with structure that repeat in place, from which on the camera stood still
KEPT = 256  # frames of which what was worked out is kept: some 80 MB
INDEPENDENCE_FLOOR = 0.05  # facts §4: w in [.05, 1]


class _Grid(NamedTuple):
    """The pixels of a thumbnail: squares of *scene_px* of a frame of *width* × *height* px, *shape* of them."""

    width: int
    height: int
    scene_px: int
    shape: tuple[int, int]


def independence(new: Evidence, earlier: Evidence, x: float, y: float, spot_px: float) -> float:
    """Weigh a second sighting at (x, y) of *new*: 1 if its surroundings are new, .05 if nothing changed since."""
    return float(independences(new, (earlier,), x, y, spot_px)[0])


def independences(
    new: Evidence, earlier: Sequence[Evidence], x: float, y: float, spot_px: float, *, elsewhere_tells: bool = False
) -> np.ndarray:
    """Weigh a sighting at (x, y) of *new* after each of *earlier*: `independence`, (n,)."""
    alike = similarities(new, earlier, x, y, spot_px, elsewhere_tells=elsewhere_tells)
    return np.clip(1.0 - alike, INDEPENDENCE_FLOOR, 1.0)


def similarities(
    a: Evidence, others: Sequence[Evidence], x: float, y: float, spot_px: float, *, elsewhere_tells: bool = False
) -> np.ndarray:
    """Say how far each of *others* shows the same as *a* around (x, y) of *a*, (n,) of 0..1, looking past the spot.

    Structure decides where there is some: its correlation in place. Where both are plain but for their shading, which
    the lens alone makes alike, they are the same if they are equally bright, whatever changed elsewhere: a plain
    backdrop is not new because the product before it is. Only where the frame's structure is found again elsewhere has
    the camera moved. If the rest of the frame shows that the camera stood still, a change of light alone does not make
    them different. Structure in one direction only, such as a horizon, looks the
    same to a camera that moved along it: there the rest of the frame is asked.
    With *elsewhere_tells* a frame in which all else is new counts as one of a moved camera, for what is no proof yet:
    among many frames some plain place is always as bright as before.
    When in doubt the answer is "the same": a frame too few costs one more sighting, a frame too many a real detail.
    """
    place = (x / a.scene_px - 0.5, y / a.scene_px - 0.5, spot_px / a.scene_px)
    rows, columns, keep, near = _surroundings(a.scene_shape, *place)
    if keep.sum() < PATCH or not others:  # the spot covers all there is
        return np.ones(len(others))
    grid = _grid(a)
    # Of each frame, *a* first: ln(light) and its detail; (n + 1, 2, pixels).
    patches = np.stack([_pictures(each, grid)[:, rows, columns] for each in (a, *others)])[..., keep]
    means = patches.sum(axis=-1) / patches.shape[-1]
    right_there = patches[:, 0, near[keep]]
    patches -= means[..., None]
    squares = np.einsum("fpi,fpi->fp", patches, patches)
    # Structure varies, and does so without the shading as well; a plain patch beside an edge has "detail" from there.
    varies = np.sqrt(squares.min(axis=-1) / patches.shape[-1])
    structure = np.maximum(varies[0], varies[1:])
    # A correlation that asks for the same contrast, too, and with and without the shading: neither a hill nor another
    # paper sweep is the fall-off of a lamp that runs like it.
    power = (squares[0] + squares[1:]) / 2
    products = np.einsum("pi,fpi->fp", patches[0], patches[1:])
    correlation = (products / np.where(power > 0, power, np.inf)).min(axis=-1)
    fixed, renewed, gone = np.array([_camera(a, b)[:3] for b in others]).T
    moved = np.array([_shown_to_move(a, b) if each < 1 else 0.0 for b, each in zip(others, fixed, strict=True)])
    moved = np.maximum(moved, renewed) if elsewhere_tells else moved
    may = [_camera(a, b)[3] for b in others]
    plain = _as_bright(means[0, 0] - means[1:, 0], may, fixed, gone) * (1.0 - moved)
    slopes = np.stack([_slopes(each, grid)[:, rows, columns] for each in (a, *others)])[..., keep]
    steep = _flatter(slopes.mean(axis=-1))
    straight = 1.0 - _ramp(np.maximum(steep[0], steep[1:]), CORNERED / 2, CORNERED)
    repeated = _ramp(correlation, 0.5, 0.9) * (1.0 - renewed * straight)
    textured = _ramp(structure, *TEXTURED)
    alike = textured * repeated + (1.0 - textured) * plain
    return np.maximum(alike, _untouched(right_there, may) * (1.0 - moved))


def _as_bright(
    changes: np.ndarray, allowed: Sequence[tuple[float, ...]], fixed: np.ndarray, gone: np.ndarray
) -> np.ndarray:
    """Say how far a place kept its light, (n,) of 0..1: light that changed as a whole is no change, nor is a backdrop
    that kept its light while all else changed.

    *changes* (n,) are those of ln(light), *allowed* what may be no change of the scene, *fixed* and *gone* what
    `_camera` says.
    """
    left = np.array([min(abs(each - no) for no in may) for each, may in zip(changes, allowed, strict=True)])
    # 15 % of light: more than the codes' rounding and flicker; 50 %: what moved lamps do but a new subject exceeds.
    # 5 %: where nothing else repeats, a place that is as bright as before to within the codes is likely the same.
    return np.asarray(np.exp(-((left / np.where(gone, 0.05, 0.15 + 0.35 * fixed)) ** 2)))


def _untouched(light: np.ndarray, allowed: Sequence[tuple[float, ...]]) -> np.ndarray:
    """Say how far what lies right around a place is untouched, (n,) of 0..1: as bright as before, cell by cell.

    *light* (n + 1, cells) is ln(light) there, that of the frame in question first; *allowed* how it may differ without
    a change of the scene, for each of the n others. What comes near a thing of the scene without hiding it says nothing
    about it.
    """
    untouched = np.zeros(len(allowed))
    if not light.shape[-1]:
        return untouched
    for index, (other, changes) in enumerate(zip(light[1:], allowed, strict=True)):
        for change in changes:
            kept = np.abs(light[0] - other - change) < SAME_LIGHT
            untouched[index] = max(untouched[index], _ramp(float(kept.mean()), *UNTOUCHED))
    return untouched


def same_scene(a: Evidence, b: Evidence) -> bool:
    """Ask whether two frames show one scene: the structure of one stays in the other, or is found again elsewhere."""
    return _camera(a, b)[0] >= LASTS or _shown_to_move(a, b) >= LASTS


@lru_cache(maxsize=KEPT)
def _scene(evidence: Evidence) -> np.ndarray:
    """Decode the thumbnail to ln(light), float32, up to a constant."""
    codes = np.frombuffer(evidence.scene, np.uint8).reshape(evidence.scene_shape)
    scene = codes.astype(np.float32) * np.float32(STOPS * math.log(2) / 255)
    scene.setflags(write=False)
    return scene


def _grid(evidence: Evidence) -> _Grid:
    return _Grid(evidence.width, evidence.height, evidence.scene_px, evidence.scene_shape)


def _aligned(evidence: Evidence, grid: _Grid) -> np.ndarray:
    """Decode the thumbnail on the grid of another frame of the body, centre on centre (crop modes)."""
    scene = _scene(evidence)
    if _grid(evidence)[:3] == grid[:3]:
        return scene
    scale = evidence.scene_px / grid.scene_px

    def shift(own: int, other: int) -> float:
        return (other - own) / 2 / grid.scene_px + scale / 2 - 0.5

    onto = np.array(
        [[scale, 0, shift(evidence.width, grid.width)], [0, scale, shift(evidence.height, grid.height)]], np.float32
    )
    rows, columns = grid.shape
    return cv2.warpAffine(scene, onto, (columns, rows), borderMode=cv2.BORDER_REPLICATE)


# What follows is asked again for every frame that comes after, hence by grid and kept.
@lru_cache(maxsize=KEPT)
def _pictures(evidence: Evidence, grid: _Grid) -> np.ndarray:
    """Give a thumbnail on a grid, ln(light), and the same without shading: (2, rows, columns) float32.

    Shading (vignetting, lamps) repeats whatever the camera sees.
    """
    scene = _aligned(evidence, grid)
    return np.stack((scene, scene - cv2.GaussianBlur(scene, (0, 0), 4.0)))


@lru_cache(maxsize=KEPT)
def _slopes(evidence: Evidence, grid: _Grid) -> np.ndarray:
    """Give the products of the slopes of the detail, across², down², across·down: (3, rows, columns) float32."""
    down, right = np.gradient(_pictures(evidence, grid)[1])
    return np.stack((right * right, down * down, right * down))


@lru_cache(maxsize=KEPT)
def _cornered(evidence: Evidence, grid: _Grid) -> np.ndarray:
    """Measure per block how steep ln(light) is in its flatter direction, rms per thumbnail pixel: (rows, columns).

    Along a straight edge, such as a horizon, a moved camera sees the same; only structure in two directions tells.
    """
    means = np.stack([squares(product, BLOCK).mean(axis=-1) for product in _slopes(evidence, grid)], axis=-1)
    return _flatter(means)


def _flatter(means: np.ndarray) -> np.ndarray:
    """Give the rms slope in the flatter direction from the means of `_slopes`, (…, 3)."""
    xx, yy, xy = np.moveaxis(means, -1, 0)
    return np.sqrt(np.maximum((xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2), 0.0))


@lru_cache(maxsize=KEPT)
def _blocks(evidence: Evidence, grid: _Grid) -> np.ndarray:
    """Give the detail in blocks, each with mean 0 and norm 1 (0 where nothing varies): (rows, columns, BLOCK²)."""
    blocks = squares(_pictures(evidence, grid)[1], BLOCK)
    blocks = blocks - blocks.mean(axis=-1, keepdims=True)
    norm = np.sqrt((blocks * blocks).sum(axis=-1, keepdims=True))
    return blocks / np.where(norm > 0, norm, np.inf)


@lru_cache(maxsize=KEPT)
def _camera(a: Evidence, b: Evidence) -> tuple[float, float, bool, tuple[float, ...]]:
    """Say whether the camera stood still or all is new between two frames, each 0..1, whether all structure is gone,
    and by what ln(light) may differ without a change of the scene.

    Structure that repeats in place, in a tenth to four tenths of the blocks that have some, means a fixed camera;
    structure all over the frame of which nothing repeats that all is new. With little structure neither is known.
    Light may change as the camera's settings did, or not at all; unless none of the structure repeats, it may also
    have changed as a whole, by the frame's median.
    """
    grid = _grid(a)
    changes = (0.0, *(one - other for one, other in zip(a.exposures, b.exposures, strict=False)))
    median = float(np.median(_scene(a) - _pictures(b, grid)[0]))
    telling = np.maximum(_cornered(a, grid), _cornered(b, grid)) > CORNERED
    if telling.sum() < 4:
        return 0.0, 0.0, False, (*changes, median)
    repeats = (_blocks(a, grid)[telling] * _blocks(b, grid)[telling]).sum(axis=-1) > REPEATS
    staying = float(repeats.mean())
    fixed = float(_ramp(staying, *STAYING))
    renewed = float(_ramp(float(telling.mean()), 0.2, 0.5) * (1.0 - _ramp(staying, 0.0, 0.2)))
    gone = staying < STAYING[0]
    return fixed, renewed, gone, changes if gone else (*changes, median)


@lru_cache(maxsize=KEPT)
def _shown_to_move(a: Evidence, b: Evidence) -> float:
    """Say whether the structure of one frame is found again elsewhere in another: that the camera moved, 0..1.

    The shift is the one at which the details of both correlate best, contrast included, over at least OVERLAP of the
    frame. What is found again must reach over most of what both frames show: a product that is moved before a backdrop
    moves no camera.
    """
    grid = _grid(a)
    one, other = _pictures(a, grid)[1], _pictures(b, grid)[1]
    down, right, overlap = _shifts(*one.shape)
    correlated = np.fft.irfft2(_spectrum(a, grid) * _spectrum(b, grid).conj(), overlap.shape)
    shared = (_power(one, down, right) + _power(other, -down, -right)) / 2
    usable = (overlap >= OVERLAP * one.size) & (shared > DETAIL**2 * overlap)
    likeness = np.where(usable, correlated / np.where(usable, shared, 1.0), 0.0)
    row, column = np.unravel_index(int(likeness.argmax()), likeness.shape)
    shift = (int(down[row]), int(right[column]))
    matched = float(_ramp(float(likeness[row, column]), *MATCHED))
    if max(map(abs, shift)) <= 1 or not matched:  # less than a thumbnail's pixel or two may be anything
        return 0.0
    here = tuple(slice(max(by, 0), length + min(by, 0)) for by, length in zip(shift, one.shape, strict=True))
    there = tuple(slice(max(-by, 0), length - max(by, 0)) for by, length in zip(shift, one.shape, strict=True))
    reach = _reach_of_likeness(one[here], other[there])
    return matched * float(_ramp(reach, *REACHING))


@lru_cache(maxsize=8)
def _shifts(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the shifts that a correlation over twice the size of a picture tells of, down (2 rows,) and right
    (2 columns,), and how many pixels two pictures share at each: (2 rows, 2 columns)."""
    down, right = (np.rint(np.fft.fftfreq(2 * n, 1 / (2 * n))).astype(int) for n in (rows, columns))
    return down, right, np.maximum(rows - np.abs(down), 0)[:, None] * np.maximum(columns - np.abs(right), 0)


@lru_cache(maxsize=KEPT)
def _spectrum(evidence: Evidence, grid: _Grid) -> np.ndarray:
    """Give the spectrum of the detail, padded with zeros to twice its size: what correlations are made of."""
    detail = _pictures(evidence, grid)[1]
    return np.fft.rfft2(detail, [2 * n for n in detail.shape])


def _power(picture: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sum the squares of a picture over what it shares with one that is shifted by each of *down* and *right*:
    (len(down), len(right)) float64."""
    sums = np.zeros([n + 1 for n in picture.shape])
    np.cumsum(np.cumsum(np.square(picture, dtype=np.float64), axis=0), axis=1, out=sums[1:, 1:])
    rows, columns = picture.shape
    bands = sums[rows + np.minimum(down, 0)] - sums[np.maximum(down, 0)]
    return bands[:, columns + np.minimum(right, 0)] - bands[:, np.maximum(right, 0)]


def _reach_of_likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Say how far the blocks in which two pictures have the same detail reach, as a share of the picture: the lesser of
    across and down."""
    a, b = squares(one, BLOCK), squares(other, BLOCK)
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    power = ((a * a).sum(-1) + (b * b).sum(-1)) / 2
    alike = (power > BLOCK**2 * DETAIL**2) & ((a * b).sum(-1) > REPEATS * power)
    if not alike.any():
        return 0.0
    spans = [np.ptp(np.flatnonzero(alike.any(axis))) + 1 for axis in (1, 0)]
    return float(min(span / length for span, length in zip(spans, alike.shape, strict=True)))


def _surroundings(
    shape: tuple[int, int], column: float, row: float, spot: float
) -> tuple[slice, slice, np.ndarray, np.ndarray]:
    """Say where in a thumbnail the surroundings of a spot are: rows, columns, (h, w) bool false on the spot itself, and
    (h, w) bool true where they lie right around it."""
    height, width = shape
    reach = PATCH + math.ceil(spot / 2)
    column, row = min(max(column, 0.0), width - 1.0), min(max(row, 0.0), height - 1.0)
    rows = slice(max(0, round(row) - reach), min(height, round(row) + reach + 1))
    columns = slice(max(0, round(column) - reach), min(width, round(column) + reach + 1))
    across, down = np.arange(columns.start, columns.stop) - column, np.arange(rows.start, rows.stop) - row
    away = across**2 + down[:, None] ** 2
    keep = away > (spot / 2 + 1.0) ** 2
    return rows, columns, keep, keep & (away <= (spot / 2 + 1.0 + RIGHT_THERE) ** 2)


def _ramp(value: Any, low: float, high: float) -> Any:
    return np.clip((value - low) / (high - low), 0.0, 1.0)
