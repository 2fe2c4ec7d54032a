"""The synthetic validation set: held-out photographs as a camera would record them, without dust and with it.

A photograph becomes linear light, then the mosaic of a Bayer sensor with photon and read noise, once through clean
glass and once through dust, with the same draw of noise: outside the shadows the twins are the same samples, and the
detector sees both through its real light path. Every photograph is drawn from its own seed (SEED and its name), so
that the set does not depend on which photographs are in the folder or on their order.

What counts (design §10): spots that take at least LEAST_ATTENUATION of the light and stand LEAST_SNR above their
surroundings; the others are neither hits nor misses. The signal-to-noise ratio is that of a matched filter which knows
place and width: mean log luminance of a disc of the spot's width less that of the ring around it. Signal is what
the dust changes in that difference (so clipping hides dust here as it does in a picture). Noise is the difference's
robust deviation over the dust-free surroundings, so texture hides dust as well as photons do (*snr*), or, the
stricter reading, its deviation by sensor noise alone (*snr_sensor*), by which dust hidden in texture counts, too.

There are two such sets over the same photographs. In the first each spot has a lens of its own and the file names no
aperture, so that one photograph asks for every width. In the second, as in use, one lens made all dust of a photograph
and the file says so (`draw_lens`).
"""

import functools
import math
import zlib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from dustd.raw.frame import Camera, Frame
from dustd.raw.light import Window, linear_rgb
from dustd.train.froc import Truth
from dustd.train.grain_draws import draw_lenses, draw_spots_through
from dustd.train.grains import Lenses
from dustd.train.outlines import OUTLINE_PX, OUTLINE_STEP
from dustd.train.pictures import read_picture, to_light
from dustd.train.shadows import cast_shadows
from dustd.train.synth import draw_shadows

SEED = 77
# So many that enough of them count, so few that no spot is another's surroundings. Bodies have 0.4 (facts §4).
SPOTS_PER_MP = 22.0
WIDE_SHARE = 1 / 3  # of spots are drawn at twice the size: shadows of 6 to 120 px (facts §7), not only what a tile sees
APART_DIAMETERS = 1.5
LEAST_ATTENUATION = 0.01
LEAST_SNR = 5.0
# Ground counts as smooth if the scene itself, before noise, varies less than this in the band of TEXTURE_BAND_PX.
SMOOTH_BELOW = 0.01
TEXTURE_BAND_PX = (2.0, 12.0)
# A strong edge: light changes by this much (ln; a fifth at least) over EDGE_PX. Near is what lies so many widths away.
EDGE_STEP, EDGE_PX, NEAR_WIDTHS = OUTLINE_STEP, OUTLINE_PX, 3.0
# Surroundings: so many diameters to each side, and at least so many pixels.
SURROUNDINGS_DIAMETERS = 3.0
SURROUNDINGS_PX = 160
# Of a shadow, what takes or adds less than this is not laid over the light: a quarter of 14 bits' last step.
NOTHING = 1.5e-5
# Light (share of white) that keeps the log finite in black corners, and the least deviation of a difference of logs
# that 14 bits can show.
LIGHT_FLOOR = 0.001
LEAST_DEVIATION = 1e-4
BLACK, WHITE = 512, 16383


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedSpot:
    """One synthetic spot: centre of its box (frame px), width at half depth, attenuation at the peak (green).

    *snr* counts texture and sensor noise as noise, *snr_sensor* sensor noise alone; *texture* is the scene's own robust
    deviation around it, as a share of light; *edge_px* the way from its centre to the next strong edge. *shadow* and
    *corner* are `Truth`'s.
    """

    x: float
    y: float
    diameter_px: float
    attenuation: float
    snr: float = 0.0
    snr_sensor: float = 0.0
    texture: float = 0.0
    edge_px: float = math.inf
    shadow: np.ndarray | None = field(default=None, compare=False, repr=False)
    corner: tuple[int, int] = field(default=(0, 0), compare=False, repr=False)

    @property
    def near_edge(self) -> bool:
        """Whether a strong edge of the scene lies within NEAR_WIDTHS of it."""
        return self.edge_px < NEAR_WIDTHS * self.diameter_px

    @property
    def smooth(self) -> bool:
        """Whether it lies on smooth ground."""
        return self.texture < SMOOTH_BELOW

    @property
    def numbers(self) -> dict[str, float]:
        """All that is a number of it, by name: everything but the shadow."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.compare}

    def truth(self, *, sensor_noise_only: bool = False) -> Truth:
        """Turn it into a label; *sensor_noise_only* is the stricter reading of what can be seen."""
        snr = self.snr_sensor if sensor_noise_only else self.snr
        return Truth(
            x=self.x,
            y=self.y,
            diameter_px=self.diameter_px,
            attenuation=self.attenuation,
            ignore=self.attenuation < LEAST_ATTENUATION or snr < LEAST_SNR,
            shadow=self.shadow,
            corner=self.corner,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """One photograph of the set: the frame without dust, with dust, and without noise; *spots* are not yet measured."""

    clean: Frame
    dusty: Frame
    noiseless: Frame
    spots: tuple[PlacedSpot, ...]

    @property
    def megapixels(self) -> float:
        """Size of each frame."""
        return self.clean.width * self.clean.height / 1e6


def draw_lens(path: Path) -> Lenses:
    """Draw the one lens through which the dust on the picture *path* is seen, by its own seed, as training draws them;
    `pitch_um` is of the pixels it is looked at with, `scale` times as wide as the sensor's."""
    return draw_lenses(1, torch.Generator().manual_seed(SEED + _number(path)))


def draw_twins(path: Path, lens: Lenses | None = None) -> Twins:
    """Photograph the picture *path* without and with dust, by its own seed; through one *lens*, which the frames'
    metadata then tell, or each spot through its own."""
    light = to_light(read_picture(path))
    height, width = light.shape[:2]
    name = _number(path)
    rng = np.random.default_rng((SEED, name))
    # White balance and noise as in training, a modest ISO: 2,500 to 40,000 electrons at clipping is ISO 1600 to 100 of
    # a full-frame sensor.
    gains = (float(rng.uniform(1.2, 2.6)), 1.0, float(rng.uniform(1.2, 2.6)))
    electrons = float(np.exp(rng.uniform(np.log(2500), np.log(40_000))))
    read = float(rng.uniform(1.5, 4.0)) / electrons
    exposure = float(np.exp2(rng.uniform(-1.0, 0.0)))
    clean = np.empty((height, width), np.float32)
    for row, column, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        clean[row::2, column::2] = light[row::2, column::2, colour] * (exposure / gains[colour])
    dusty = clean.copy()
    count = max(1, round(SPOTS_PER_MP * height * width / 1e6))
    shadows = _shadows(count, SEED + name) if lens is None else _shadows_through(lens, count, SEED + name)
    spots = lay_dust(dusty, shadows, rng)
    noise = rng.standard_normal((height, width), np.float32)

    camera = functools.partial(record, electrons=electrons, read=read, gains=gains, camera=_camera(lens))
    return Twins(
        clean=camera(clean, noise),
        dusty=camera(dusty, noise),
        noiseless=camera(clean, np.zeros_like(noise)),
        spots=spots,
    )


def _number(path: Path) -> int:
    """Make a photograph's own seed of its name."""
    return zlib.crc32(path.stem.encode())


def _camera(lens: Lenses | None) -> Camera:
    """Say what the file of a photograph through *lens* says."""
    if lens is None:
        return Camera()
    return Camera(f_number=float(lens.f_number), pixel_pitch_um=float(lens.pitch_um / lens.scale))


def record(
    signal: np.ndarray,
    noise: np.ndarray,
    *,
    electrons: float,
    read: float,
    gains: tuple[float, float, float],
    camera: Camera | None = None,
) -> Frame:
    """Record a mosaic of light (H, W), 1 = white, as an RGGB frame of 14 bits, its metadata being *camera* (none).

    *noise* (H, W) is standard normal; photons give it the deviation of *electrons* at white, the electronics add *read*
    (share of white). *gains* are the white balance that undoes the mosaic's colours.
    """
    samples = signal + noise * np.sqrt(signal / electrons + read**2)
    return Frame(
        raw=np.round(BLACK + (WHITE - BLACK) * np.minimum(samples, 1.0)).clip(0, WHITE).astype(np.uint16),
        visible=(0, 0, *signal.shape),
        kind="bayer",
        cfa=((0, 1), (1, 2)),
        black=np.full((2, 2), BLACK, np.float32),
        white=WHITE,
        wb=gains,
        xyz_to_camera=None,
        camera=camera or Camera(),
    )


def lay_dust(signal: np.ndarray, shadows: list[np.ndarray], rng: np.random.Generator) -> tuple[PlacedSpot, ...]:
    """Multiply *shadows*, each (3, side, side) share of light lost, into an RGGB mosaic (H, W), in place.

    They lie well apart; one that finds no room is left out.
    """
    height, width = signal.shape
    placed: list[PlacedSpot] = []
    for shadow in sorted(shadows, key=lambda s: -s.shape[-1]):
        side = shadow.shape[-1]
        if side >= min(height, width):
            continue
        dx, dy, diameter = _outline(shadow[1])
        for _ in range(50):
            left, top = int(rng.integers(width - side)), int(rng.integers(height - side))
            x, y = left + dx, top + dy
            if all(np.hypot(x - s.x, y - s.y) >= APART_DIAMETERS * max(diameter, s.diameter_px) for s in placed):
                break
        else:
            continue
        part = signal[top : top + side, left : left + side]
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            colour = (top + row) % 2 + (left + column) % 2
            part[row::2, column::2] *= 1 - shadow[colour, row::2, column::2]
        placed.append(
            PlacedSpot(
                x=x,
                y=y,
                diameter_px=diameter,
                attenuation=float(shadow[1].max()),
                shadow=_deep(shadow[1]),
                corner=(left, top),
            )
        )
    return tuple(placed)


def measure_spots(twins: Twins) -> tuple[PlacedSpot, ...]:
    """Measure for each spot of *twins* how far it stands out of its surroundings, and how smooth these are."""
    clean, dusty, noiseless = (log_luminance(frame) for frame in (twins.clean, twins.dusty, twins.noiseless))
    low, high = (cv2.GaussianBlur(noiseless, (0, 0), sigma) for sigma in TEXTURE_BAND_PX)
    band = low - high
    away = _way_to_edges(noiseless)
    measured = []
    for spot in twins.spots:
        reach = max(SURROUNDINGS_PX, round(SURROUNDINGS_DIAMETERS * spot.diameter_px))
        # Wide discs are looked for on a smaller copy, which averages what they average anyway.
        step = max(1, int(spot.diameter_px / 12))
        kernel = disc_less_ring(spot.diameter_px / step)
        place = _around(spot, reach, clean.shape)
        before, after, still = (_shrunk(image[place], step) for image in (clean, dusty, noiseless))
        response = cv2.filter2D(before, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
        by_noise = cv2.filter2D(before - still, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
        by_dust = cv2.filter2D(before - after, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
        row, column = (spot.y - place[0].start) / step, (spot.x - place[1].start) / step
        signal = float(by_dust[min(int(row), len(by_dust) - 1), min(int(column), by_dust.shape[1] - 1)])
        measured.append(
            replace(
                spot,
                snr=signal / max(_robust_deviation(response), LEAST_DEVIATION),
                snr_sensor=signal / max(float(by_noise.std()), LEAST_DEVIATION),
                texture=_robust_deviation(band[place]),
                edge_px=float(away[round(spot.y), round(spot.x)]),
            )
        )
    return tuple(measured)


def _way_to_edges(log_light: np.ndarray) -> np.ndarray:
    """Say how far each pixel of noiseless log light (H, W) is from the next strong edge, px."""
    soft = cv2.GaussianBlur(log_light, (0, 0), EDGE_PX / 4)
    across, down = (soft - np.roll(soft, EDGE_PX, axis) for axis in (1, 0))
    across[:, :EDGE_PX], down[:EDGE_PX] = 0, 0
    plain = np.maximum(np.abs(across), np.abs(down)) < EDGE_STEP
    return (
        cv2.distanceTransform(plain.astype(np.uint8), cv2.DIST_L2, 5) if not plain.all() else np.full_like(soft, np.inf)
    )


def log_luminance(frame: Frame) -> np.ndarray:
    """Log of linear light, R/4 + G/2 + B/4 after white balance, of a whole frame: (height, width) float32."""
    side = 1024
    logs = np.empty((frame.height, frame.width), np.float32)
    for top in range(0, frame.height, side):
        for left in range(0, frame.width, side):
            block = logs[top : top + side, left : left + side]
            light = linear_rgb(frame, Window(left=left, top=top, side_px=side))[: block.shape[0], : block.shape[1]]
            luminance = light @ np.array([0.25, 0.5, 0.25], np.float32)
            block[:] = np.log(np.maximum(luminance, 0) + LIGHT_FLOOR)
    return logs


def disc_less_ring(diameter_px: float) -> np.ndarray:
    """Template that gives the mean over a disc less the mean over the ring around it, (k, k) float32 of zero sum.

    The ring is 1.3 to 2 diameters across; edges are one pixel soft.
    """
    radius = diameter_px / 2
    half = int(np.ceil(2 * radius)) + 1
    ys, xs = np.mgrid[-half : half + 1, -half : half + 1]
    away = np.hypot(xs, ys)
    disc = np.clip(radius - away + 0.5, 0, 1)
    ring = np.clip(2 * radius - away + 0.5, 0, 1) * np.clip(away - 1.3 * radius + 0.5, 0, 1)
    return (disc / disc.sum() - ring / ring.sum()).astype(np.float32)


def _shadows(count: int, seed: int) -> list[np.ndarray]:
    """Draw *count* shadows, each (3, side, side) float32 share of light lost; WIDE_SHARE of them twice as large."""
    drawn = draw_shadows(count, torch.Generator().manual_seed(seed)).numpy()
    wide = round(WIDE_SHARE * count)
    return [*(_enlarged(shadow, 2) for shadow in drawn[:wide]), *drawn[wide:]]


def _shadows_through(lens: Lenses, count: int, seed: int) -> list[np.ndarray]:
    """Draw *count* shadows of grains seen through one *lens*, each (3, side, side) share of light lost, px of the
    sensor, cut to where there is any."""
    generator = torch.Generator().manual_seed(seed)
    spots = draw_spots_through(lens.of(torch.zeros(count, dtype=torch.long)), generator)
    return [_enlarged(_trimmed(shadow), int(lens.scale)) for shadow in cast_shadows(spots).numpy()]


def _trimmed(shadow: np.ndarray) -> np.ndarray:
    """Cut a shadow (3, side, side) to the square about its middle that holds all of it; a shadow of nothing to 2 px."""
    middle = shadow.shape[-1] // 2
    rows, columns = np.nonzero(np.abs(shadow).max(0) > NOTHING)
    reach = 1 + int(np.abs(np.concatenate([rows, columns]) + 0.5 - middle).max(initial=0.0))
    return shadow[:, middle - reach : middle + reach, middle - reach : middle + reach]


def _enlarged(shadow: np.ndarray, times: int) -> np.ndarray:
    """Enlarge a shadow (3, side, side)."""
    planes = shadow.transpose(1, 2, 0)
    return cv2.resize(planes, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)


def _outline(depth: np.ndarray) -> tuple[float, float, float]:
    """Find the middle x and y of the box where a shadow is deeper than 0.3 of its peak, as training labels it, and the
    diameter of a disc as large as the part deeper than half the peak."""
    deep = _deep(depth)
    rows, columns = np.flatnonzero(deep.any(1)), np.flatnonzero(deep.any(0))
    area = float((depth > 0.5 * depth.max()).sum())
    return (columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2, 2 * float(np.sqrt(area / np.pi))


def _deep(depth: np.ndarray) -> np.ndarray:
    """Tell where a shadow is plainly one: deeper than 0.3 of its peak."""
    return depth > 0.3 * depth.max()


def _around(spot: PlacedSpot, reach: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    x, y = round(spot.x), round(spot.y)
    return slice(max(y - reach, 0), min(y + reach + 1, shape[0])), slice(
        max(x - reach, 0), min(x + reach + 1, shape[1])
    )


def _shrunk(image: np.ndarray, step: int) -> np.ndarray:
    if step == 1:
        return image
    rows, columns = image.shape[0] // step * step, image.shape[1] // step * step
    return cv2.resize(image[:rows, :columns], None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)


def _robust_deviation(values: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
