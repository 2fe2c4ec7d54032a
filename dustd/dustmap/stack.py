"""Faint dust from many frames: what one frame's light cannot show, the average of many can, as sky flats do.

Every frame is asked everywhere how much darker a disc as wide as dust's shadow at this aperture is than the ring around
it, in the log of linear light, so that shading falls out. That depth, put into terms of f/11 (A ∝ N², facts §1.1), is
averaged per place of the sensor, weighed by how well it could be seen there: texture, clipping, aperture, and how far
the surroundings differ from those of earlier frames. The scene goes away with the square root of the frames; dust does
not. What then stands out is no more than a suspicion.

Pure values. The average is a cache: lost, it is learnt again; what it reveals goes into the sidecar and so to the map.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np

from dustd import codec
from dustd.dustmap import evidence, scene
from dustd.dustmap.evidence import Evidence
from dustd.dustmap.lenses import BodyOptics, focal_bin_mm
from dustd.dustmap.match import UNBELIEVABLE, State
from dustd.dustmap.particle import View, predict, visibility
from dustd.raw.frame import centred, from_centre
from dustd.spots import optics
from dustd.spots.spot import Spot

REFERENCE_F_NUMBER = 11.0
WIDEST_F_NUMBER = 5.6  # below, shadows are too wide and faint to tell from the scene's own shading (facts §1.2)
RING = (0.75, 1.25)  # radii of the ring around the disc, in the shadow's widths
BORDER = 1.5  # widths of the shadow without a whole ring
SMOOTHEST = 0.002  # least deviation of a depth: smoother scenes still have shading of their own
ONE_FRAME = 2.5  # standard deviations that one frame may add at most, whatever is in it
MAPS = ("depth", "votes", "certainty", "spread")
SCENES_KEPT = 8
MEMORY_FRAMES = 200  # so many count in full: dust that settles later must show, too
IDS_KEPT = 1000
ASKED = (4, 6)  # rows and columns of places at which surroundings are compared
MOVED_PX = 8.0  # how far a lens may move dust unforeseeably before its frames are left out
# Two generated sessions of 30 frames (12 kinds of scenes, f/8 to f/16, 2 megapixels), 52 grains that take .5 to 2 % at
# f/11: 20 of these were revealed and nothing else; without the dust one false place. At 7 deviations 24, 2 and 3.
FAINTEST_SNR = 8.0
FRAMES = 3.0  # frames' worth of independent surroundings; smooth ones weigh most, so that it is seldom over five
REVEALED_SCORE = 0.7  # as few false ones among the revealed, and a little more caution


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The average over the frames of one body and epoch; `Stack()` has seen none.

    All maps are (h, w) float32 over blocks of *step* px of the sensor as the reference lens shows it: *depth* the sum
    of log depths at f/11 over their variances, *votes* the same with each frame held to ONE_FRAME, *certainty* the sum
    of one over the variances, *spread* that of one over the deviations; all weighed. *scenes* are the latest different
    surroundings, *frame_ids* of the latest frames in it.
    """

    epoch: str | None = None
    width: int = 0
    height: int = 0
    step: int = 0
    depth: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    votes: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    certainty: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    spread: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    scenes: tuple[Evidence, ...] = ()
    frame_ids: tuple[str, ...] = ()


def add(stack: Stack, overview: np.ndarray, step: int, view: View, body: BodyOptics) -> Stack:
    """Average one more frame in; *overview* is (h, w) float32 linear light in blocks of *step* px (`dustd.raw.light`).

    Frames that say nothing (counted already, wide open, aperture or lens's scale unknown, another size) change nothing.
    """
    log_scale, sigma = body.scale(view.lens, focal_bin_mm(view.focal_length_mm))
    unforeseen_px = sigma * math.hypot(view.width, view.height) / 2
    if view.frame_id in stack.frame_ids or not view.f_number or view.f_number < WIDEST_F_NUMBER:
        return stack
    if unforeseen_px > MOVED_PX or (stack.step and (view.width, view.height, step) != _size(stack)):
        return stack
    news = _news(stack.scenes, view)
    weight = cv2.resize(news, overview.shape[::-1], interpolation=cv2.INTER_LINEAR)
    depth, deviation = _depths(overview, body.blur(view.pixel_pitch_um) / view.f_number / step)
    to_reference = (view.f_number / REFERENCE_F_NUMBER) ** 2
    certain = np.where(np.isfinite(deviation), to_reference / deviation, 0).astype(np.float32)
    snr = depth / deviation
    votes = np.clip(snr, -ONE_FRAME, ONE_FRAME)
    maps = {
        "depth": weight * snr * certain,
        "votes": weight * votes * certain,
        "certainty": weight * certain**2,
        "spread": weight * certain,
    }
    if log_scale:
        maps = {name: _shrunk(each, log_scale) for name, each in maps.items()}
    if stack.step:
        maps = {name: (1 - 1 / MEMORY_FRAMES) * getattr(stack, name) + each for name, each in maps.items()}
    new = float(weight.mean()) >= 0.5 or not stack.scenes
    return replace(
        stack,
        width=view.width,
        height=view.height,
        step=step,
        **maps,
        scenes=(*stack.scenes, view.evidence)[-SCENES_KEPT:] if new else stack.scenes,
        frame_ids=(*stack.frame_ids, view.frame_id)[-IDS_KEPT:],
    )


def reveal(stack: Stack, spots: Sequence[Spot], state: State, view: View, body: BodyOptics) -> tuple[Spot, ...]:
    """Return what the average shows and neither this frame's *spots* nor the map know, as it should be in this frame.

    The spots are suspicions for the map to follow, not to be corrected. None in a frame whose lens's scale is unknown.
    """
    if view.frame_id not in stack.frame_ids or not view.f_number or not stack.certainty.any():
        return ()
    snr, frames = _significance(stack)
    shown = 2 * int(RING[1] * body.blur(view.pixel_pitch_um) / WIDEST_F_NUMBER / stack.step) + 1
    highest = cv2.dilate(snr, np.ones((shown, shown), np.uint8))
    rows, columns = np.nonzero((snr == highest) & (snr >= FAINTEST_SNR) & (frames >= FRAMES))
    known = [(at.x, at.y) for at in (predict(particle, view, body) for particle in state.particles)]
    known += [(spot.x, spot.y) for spot in spots]
    diameter_px = body.blur(view.pixel_pitch_um) / view.f_number
    first_id = max((spot.id for spot in spots), default=0) + 1
    found: list[Spot] = []
    for row, column in sorted(zip(rows.tolist(), columns.tolist(), strict=True), key=lambda at: -snr[at]):
        mx, my = centred(*((n + 0.5) * stack.step - 0.5 for n in (column, row)), width=view.width, height=view.height)
        mx, my, _ = body.place(mx, my, view.lens, view.focal_length_mm)
        x, y = from_centre(mx, my, width=view.width, height=view.height)
        depth = float(stack.depth[row, column] / stack.certainty[row, column])
        attenuation = 1 - math.exp(-depth * (view.f_number / REFERENCE_F_NUMBER) ** 2)
        if any(math.hypot(x - kx, y - ky) < max(diameter_px, 2 * stack.step) for kx, ky in known):
            continue
        if visibility(attenuation, view, x, y) < UNBELIEVABLE:  # the map would not take it up
            continue
        known.append((x, y))
        found.append(
            Spot(
                id=first_id + len(found),
                x=x,
                y=y,
                diameter_px=diameter_px,
                edge_px=diameter_px / 4,
                attenuation=attenuation,
                score=REVEALED_SCORE,
                reason=f"too faint in one frame; {frames[row, column]:.0f} frames together show it"
                f" ({snr[row, column]:.1f}σ): left alone until it is confirmed",
            )
        )
    return tuple(found)


def encode(stack: Stack) -> bytes:
    """Serialise a stack."""
    told = {
        "epoch": stack.epoch,
        "size": _size(stack),
        "scenes": [evidence.to_dict(scene) for scene in stack.scenes],
        "frame_ids": stack.frame_ids,
    }
    buffer = io.BytesIO()
    np.savez(buffer, told=np.array(codec.to_bytes(told).decode()), **{name: getattr(stack, name) for name in MAPS})
    return buffer.getvalue()


def decode(data: bytes) -> Stack:
    """Read a stack back. Raises ValueError on anything that is not one."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as parts:
            told = codec.parse(str(parts["told"]).encode())
            maps = {name: parts[name].astype(np.float32) for name in MAPS}
        width, height, step = told["size"]
        return Stack(
            epoch=told["epoch"],
            width=width,
            height=height,
            step=step,
            scenes=tuple(evidence.from_dict(scene) for scene in told["scenes"]),
            frame_ids=tuple(told["frame_ids"]),
            **maps,
        )
    except Exception as exc:  # zipfile, zlib, numpy and json each have errors of their own
        raise ValueError(f"not a stack of frames: {exc!r}") from exc


def _size(stack: Stack) -> tuple[int, int, int]:
    return stack.width, stack.height, stack.step


def _significance(stack: Stack) -> tuple[np.ndarray, np.ndarray]:
    """Return how many deviations of the whole map each place is darker, and how many frames' worth are behind it."""
    safe = np.maximum(stack.certainty, 1e-12)
    snr = stack.votes / np.sqrt(safe)
    seen = stack.certainty > 0
    frames = stack.spread**2 / safe
    deviation = 1.4826 * float(np.median(np.abs(snr[seen])))
    return np.where(seen, snr / max(deviation, 1e-6), 0).astype(np.float32), frames


def _depths(overview: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Measure at every block how much deeper a disc of *width* blocks is than the ring around it, in the log of light.

    Returns the depths and the deviation that they have around there, infinite where nothing can be seen; (h, w).
    """
    log_light = np.log(np.maximum(overview, evidence.DARK / 4)).astype(np.float32)
    disc = _disc(width / 2)
    ring = _disc(RING[1] * width).copy()
    hole = _disc(RING[0] * width)
    rim = (len(ring) - len(hole)) // 2
    ring[rim : rim + len(hole), rim : rim + len(hole)] -= hole
    depth = cv2.filter2D(log_light, -1, np.maximum(ring, 0) / np.maximum(ring, 0).sum())
    depth -= cv2.filter2D(log_light, -1, disc / disc.sum())
    side = 2 * round(4 * width) + 1
    size = np.abs(depth)
    deviation = 1.25 * cv2.blur(size, (side, side))
    for _ in range(2):  # what stands out, dust too, must not hide itself
        held = np.minimum(size, 2 * deviation)
        deviation = 1.14 * np.sqrt(cv2.blur(held * held, (side, side)))
    edge = math.ceil(BORDER * width)
    reach = np.ones((2 * edge + 1,) * 2, np.uint8)
    blind = cv2.dilate(((overview < evidence.DARK) | (overview > evidence.CLIPPED)).astype(np.uint8), reach) > 0
    blind[:edge] = blind[-edge:] = True
    blind[:, :edge] = blind[:, -edge:] = True
    return depth, np.where(blind, np.inf, np.hypot(deviation, SMOOTHEST)).astype(np.float32)


@lru_cache(maxsize=32)
def _disc(radius: float) -> np.ndarray:
    """Draw a disc of *radius* blocks with an edge one block soft."""
    reach = math.ceil(radius) + 1
    span = np.arange(-reach, reach + 1)
    return np.clip(radius + 0.5 - np.hypot(span[:, None], span[None, :]), 0, 1).astype(np.float32)


def _news(scenes: Sequence[Evidence], view: View) -> np.ndarray:
    """Weigh the places of a frame by how far their surroundings differ from those of earlier frames: a coarse grid.

    The tripod rule: what repeats adds nothing.
    """
    if not scenes:
        return np.ones((1, 1), np.float32)
    seen = view.evidence
    rows, columns = ASKED
    asked = [
        scene.independences(
            seen,
            scenes,
            (column + 0.5) * seen.width / columns,
            (row + 0.5) * seen.height / rows,
            optics.blur_px(REFERENCE_F_NUMBER, optics.blur_constant_px(view.pixel_pitch_um)),
            elsewhere_tells=True,  # what the stack reveals is a suspicion, which the map confirms by its own rule
        ).min()
        for row in range(rows)
        for column in range(columns)
    ]
    weights = np.array(asked, np.float32).reshape(rows, columns)
    return np.where(weights > scene.INDEPENDENCE_FLOOR, weights, 0)


def _shrunk(image: np.ndarray, log_scale: float) -> np.ndarray:
    """Show an image as the reference lens would, if this lens shows everything farther out by exp(*log_scale*)."""
    height, width = image.shape
    scale = math.exp(log_scale)
    x, y = (width - 1) / 2, (height - 1) / 2
    from_reference = np.array([[scale, 0, x - scale * x], [0, scale, y - scale * y]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, from_reference, (width, height), flags=flags, borderValue=0.0)
