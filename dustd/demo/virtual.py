"""A virtual camera body with dust on its sensor: exposures whose every shadow is known.

The optics are those of design §6 and `facts/optics-and-evidence.md` §1: a grain at air-equivalent distance t in front
of the photodiodes throws the image of the lens's pupil, width t/N, convolved with its own silhouette; light is
multiplied, then counted. An exposure comes with its clean twin, the same light and the same noise without the dust, so
that a correction can be judged. Nothing here knows how dustd finds or corrects dust.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dustd.output.tiffwrite import rational, short
from dustd.raw.body_id import body_id
from dustd.raw.frame import Camera, Frame
from dustd.raw.tiff import Entry

MAKE, MODEL = "dustd", "Virtual 6"
CFA = ((0, 1), (1, 2))
BLACK, WHITE = 512, 15871
# An invented daylight matrix (XYZ at D65 to camera) of the usual kind: a strong green, some crosstalk.
XYZ_TO_CAMERA = np.array([[0.85, -0.25, -0.08], [-0.42, 1.21, 0.23], [-0.07, 0.18, 0.60]], np.float32)
# IEC 61966-2-1.
SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
FULL_WELL_E = 42_000  # at ISO 100
READ_NOISE_E = 3.5
FINE = 4  # samples per pixel when a shadow is drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """A lens; *exit_pupil_mm* is the distance of its exit pupil from the sensor."""

    name: str
    focal_length_mm: float
    exit_pupil_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grain:
    """A dust grain on the filter: place in mm from the optical axis, *outline* (n, 2) µm around it, light it stops.

    *number* is its name for life, whatever else settles or is wiped off. *opacity* is the share of light stopped in
    red, green and blue.
    """

    number: int
    x_mm: float
    y_mm: float
    outline_um: np.ndarray
    opacity: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualBody:
    """A body: serial number, sensor of *width* × *height* px, filter distance (air-equivalent) and its dust.

    *grains_ever* counts the grains that ever settled on it, so that no number is given twice.
    """

    serial: str
    width: int
    height: int
    pitch_um: float
    filter_distance_um: float
    grains: tuple[Grain, ...] = ()
    grains_ever: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """What a grain did to one exposure: place and width at half depth in frame px, green light lost at its centre.

    *grain* is the grain's number.
    """

    grain: int
    x: float
    y: float
    diameter_px: float
    attenuation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One exposure: *mosaic* with dust, its twin *clean* without, both (height, width) uint16 RGGB, and the truth."""

    mosaic: np.ndarray
    clean: np.ndarray
    shadows: tuple[Shadow, ...]
    camera: Camera


def make_body(
    serial: str, *, seed: int, grains: int = 25, width: int = 3000, height: int = 2000, pitch_um: float = 6.0
) -> VirtualBody:
    """Make a body whose sensor was last cleaned a while ago.

    Grain sizes are log-normal, median 32 µm (`facts/optics-and-evidence.md` §7); centres keep 1 mm apart where there
    is room for it, so that each shadow can be judged by itself.
    """
    clean = VirtualBody(serial=serial, width=width, height=height, pitch_um=pitch_um, filter_distance_um=1800.0)
    return dusted(clean, grains, seed=seed)


def dusted(body: VirtualBody, grains: int, *, seed: int) -> VirtualBody:
    """Let *grains* more settle on the sensor, as far as there is room."""
    rng = np.random.default_rng(seed)
    half = np.array([body.width, body.height]) * body.pitch_um / 2000
    places = [np.array([grain.x_mm, grain.y_mm]) for grain in body.grains]
    room = len(places) + grains
    for _ in range(100 * grains):
        place = rng.uniform(-0.96, 0.96, 2) * half
        if len(places) < room and all(np.hypot(*(place - other)) > 1.0 for other in places):
            places.append(place)
    settled = tuple(draw_grain(rng, body.grains_ever + i, *place) for i, place in enumerate(places[len(body.grains) :]))
    return replace(body, grains=body.grains + settled, grains_ever=body.grains_ever + len(settled))


def wiped(body: VirtualBody, share: float, *, seed: int) -> VirtualBody:
    """Clean the sensor: *share* of its grains, 0 to 1, go."""
    stay = np.random.default_rng(seed).permutation(len(body.grains))[round(share * len(body.grains)) :]
    return replace(body, grains=tuple(body.grains[i] for i in sorted(stay)))


def expose(
    body: VirtualBody, scene: np.ndarray, *, f_number: float, lens: Lens, seed: int, taken_at: str, exposure_s: float
) -> Exposure:
    """Take a picture of *scene*, (height, width, 3) float32 linear sRGB light with 1.0 = white level.

    The clean twin shares the noise: each sample is light plus one normal draw scaled by that light's own shot and
    read noise, so the two are equal wherever no shadow falls.
    """
    rng = np.random.default_rng(seed)
    light = light_of(scene)
    dusty = light.copy()
    shadows = tuple(cast_shadow(body, grain, dusty, f_number, lens) for grain in body.grains)
    draw = rng.standard_normal(light.shape, dtype=np.float32)
    camera = Camera(
        make=MAKE,
        model=MODEL,
        body_id=body_id(MAKE, MODEL, body.serial),
        serial=body.serial,
        serial_source="Exif.Photo.BodySerialNumber",
        lens=lens.name,
        focal_length_mm=lens.focal_length_mm,
        f_number=f_number,
        iso=100,
        exposure_s=exposure_s,
        taken_at=taken_at,
        pixel_pitch_um=body.pitch_um,
    )
    return Exposure(mosaic=_count(dusty, draw), clean=_count(light, draw), shadows=shadows, camera=camera)


def frame_of(exposure: Exposure) -> Frame:
    """Return the exposure as a decoded RAW, the way `dustd.raw.libraw` would read it from a camera's file."""
    height, width = exposure.mosaic.shape
    red, green, blue = _neutral()
    return Frame(
        raw=exposure.mosaic,
        visible=(0, 0, height, width),
        kind="bayer",
        cfa=CFA,
        black=np.full((2, 2), BLACK, np.float32),
        white=WHITE,
        wb=(green / red, 1.0, green / blue),
        xyz_to_camera=XYZ_TO_CAMERA,
        camera=exposure.camera,
    )


def shadow_of(body: VirtualBody, grain: Grain, *, f_number: float, lens: Lens) -> tuple[np.ndarray, int, int]:
    """Return the share of the light that *grain* takes (before its opacity), with its top and left pixel.

    The shadow is the pupil's image, a disc with the corners of nine blades and diameter t/N, convolved with the
    silhouette, drawn at FINE samples per pixel and averaged over each pixel; (n, n) float32, 0 to 1. Its place is the
    grain's, moved outwards by the lens: r = ρ(1 + t/P).
    """
    x, y = place_px(body, grain, lens)
    fine_um = body.pitch_um / FINE
    pupil_um = body.filter_distance_um / f_number
    reach = int(np.ceil((pupil_um / 2 + np.abs(grain.outline_um).max()) / body.pitch_um)) + 2
    left, top = round(x) - reach, round(y) - reach
    size = FINE * (2 * reach + 1)
    centre = (np.array([x - left, y - top]) + 0.5) * FINE
    pupil = _fill(_blades() * (pupil_um / 2 / fine_um) + centre, size)
    span = 2 * int(np.ceil(np.abs(grain.outline_um).max() / fine_um)) + 3
    silhouette = _fill(grain.outline_um / fine_um + span / 2, span)
    covered = cv2.filter2D(pupil / pupil.sum(), -1, silhouette[::-1, ::-1].copy(), borderType=cv2.BORDER_CONSTANT)
    return cv2.resize(covered, (2 * reach + 1,) * 2, interpolation=cv2.INTER_AREA).clip(0, 1), top, left


def place_px(body: VirtualBody, grain: Grain, lens: Lens) -> tuple[float, float]:
    """Return where a grain's shadow falls through a lens, in frame px."""
    outwards = 1 + body.filter_distance_um / 1000 / lens.exit_pupil_mm
    return (
        (body.width - 1) / 2 + outwards * grain.x_mm * 1000 / body.pitch_um,
        (body.height - 1) / 2 + outwards * grain.y_mm * 1000 / body.pitch_um,
    )


def cast_shadow(body: VirtualBody, grain: Grain, light: np.ndarray, f_number: float, lens: Lens) -> Shadow:
    """Multiply a grain's shadow into the mosaic *light* and say what it did."""
    covered, top, left = shadow_of(body, grain, f_number=f_number, lens=lens)
    y0, x0 = max(top, 0), max(left, 0)
    window = light[y0 : top + covered.shape[0], x0 : left + covered.shape[1]]
    inside = covered[y0 - top :, x0 - left :][: window.shape[0], : window.shape[1]]
    rows, cols = np.ogrid[y0 : y0 + window.shape[0], x0 : x0 + window.shape[1]]
    colour = np.array(CFA)[rows % 2, cols % 2]
    window *= 1 - inside * np.array(grain.opacity, np.float32)[colour]
    x, y = place_px(body, grain, lens)
    return Shadow(
        grain=grain.number,
        x=x,
        y=y,
        diameter_px=float(2 * np.sqrt((covered > covered.max() / 2).sum() / np.pi)),
        attenuation=float(covered.max() * grain.opacity[1]),
    )


def draw_grain(rng: np.random.Generator, number: int, x_mm: float, y_mm: float) -> Grain:
    """Draw a grain: irregular outline, nearly grey."""
    diameter_um = float(np.clip(rng.lognormal(np.log(32), 0.6), 8, 150))
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    radius = np.ones_like(angle)
    for wave in range(2, 8):
        radius += rng.normal(0, 0.28 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.3)
    stretch, turn = rng.lognormal(np.log(1.14), 0.2), rng.uniform(0, 2 * np.pi)
    x, y = radius * np.cos(angle) * stretch, radius * np.sin(angle)
    outline = np.stack((x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)), axis=1)
    moments = cv2.moments(outline.astype(np.float32))
    area, outline = moments["m00"], outline - (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"])
    opacity = rng.uniform(0.85, 1.0)
    red, blue = 1 + rng.normal(0.01, 0.04), 1 + rng.normal(-0.01, 0.06)
    return Grain(
        number=number,
        x_mm=float(x_mm),
        y_mm=float(y_mm),
        outline_um=outline * diameter_um / 2 * np.sqrt(np.pi / area),
        opacity=(float(min(opacity * red, 1)), float(opacity), float(min(opacity * blue, 1))),
    )


def _blades() -> np.ndarray:
    """Outline of a nine-bladed iris with rounded blades, mean radius 1, (n, 2)."""
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    straight = np.cos(np.pi / 9) / np.cos((angle + 0.2) % (2 * np.pi / 9) - np.pi / 9)
    radius = 0.5 + 0.5 * straight
    radius /= np.sqrt((radius**2).mean())
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)


def _fill(points: np.ndarray, size: int, finer: int = 4) -> np.ndarray:
    """Fill a polygon given in samples (sample i spans i to i+1) into a (size, size) float32 cover of 0 to 1."""
    outwards = points - points.mean(axis=0)
    outwards /= np.hypot(*outwards.T)[:, None]
    points = points - outwards * 0.5 / finer  # OpenCV fills the pixels on the outline as well
    canvas = np.zeros((size * finer, size * finer), np.uint8)
    cv2.fillPoly(canvas, [np.round((points * finer - 0.5) * 16).astype(np.int32)], 255, shift=4)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _neutral() -> np.ndarray:
    """The camera's answer to the scene's white, (3,)."""
    return XYZ_TO_CAMERA @ SRGB_TO_XYZ.sum(axis=1)


def light_of(scene: np.ndarray) -> np.ndarray:
    """Turn scene light into the mosaic's light: lens blur, vignetting, colour filters; (height, width) float32."""
    height, width, _ = scene.shape
    camera = cv2.transform(scene, XYZ_TO_CAMERA @ SRGB_TO_XYZ / _neutral()[1])
    camera = cv2.GaussianBlur(camera, (0, 0), 0.7)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    light = np.empty((height, width), np.float32)
    for row, col in np.ndindex(2, 2):
        light[row::2, col::2] = camera[row::2, col::2, CFA[row][col]]
    return np.clip(light * (1 - 0.11 * (x**2 + y**2)), 0, None)


def _count(light: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Count *light* (1.0 = white level) into 14-bit samples; *draw* is standard normal noise."""
    electrons = light * FULL_WELL_E
    electrons += draw * np.sqrt(electrons + READ_NOISE_E**2)
    samples = BLACK + electrons * ((WHITE - BLACK) / FULL_WELL_E)
    return np.clip(np.rint(samples), 0, WHITE).astype(np.uint16)


def focal_plane(body: VirtualBody) -> tuple[Entry, ...]:
    """Tell the pixel pitch as cameras do: FocalPlaneXResolution, YResolution and Unit (Exif 2.32), here per cm."""
    per_cm = 10_000 / body.pitch_um
    return rational(0xA20E, per_cm), rational(0xA20F, per_cm), short(0xA210, 3)
