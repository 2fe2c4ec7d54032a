"""Generated frames for `bench_correct.py`: dust of known depth over known light, and a map that has met it before.

Every body has one lens, its own filter distance, and grains that take 5 to 40 % of the light at the aperture at which
it is judged. Its map is learnt by dustd's own measuring and reconciling from four frames at other apertures; only what
the detector finds is drawn, from its measured probability (`dustd.dustmap.particle`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from dustd.demo import scenes, virtual
from dustd.demo.virtual import BLACK, WHITE, Exposure, Grain, Lens, VirtualBody, expose, frame_of
from dustd.dustmap import evidence
from dustd.dustmap.decide import Thresholds, reconcile
from dustd.dustmap.match import State
from dustd.dustmap.particle import View, view_of, visibility
from dustd.dustmap.update import observe
from dustd.raw.frame import Frame
from dustd.raw.light import overview
from dustd.spots.candidates import measure
from dustd.spots.spot import Detection, Spot

HEIGHT, WIDTH, PITCH_UM = 900, 1200, 4.4
LENS = Lens(name="Virtual 50mm F2.8", focal_length_mm=50, exit_pupil_mm=70)
F_NUMBERS = (8.0, 11.0, 16.0, 22.0)
GRAINS = 14
DEPTHS = (0.05, 0.45)  # aimed at; what a shadow takes in truth is measured
LEARNT_FROM = ("smooth", "soft", "smooth", "hard")
ANYTHING = Thresholds(lone=0.01, known=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A dusty frame, the same without dust, and what the spots are.

    *light* (h, w) is the noise-free light of the clean mosaic, *clean* (h, w) its samples with the dusty frame's own
    noise draws, *transmission* (h, w) what the dust lets through; *spots* are measured, and wanted; *state* is the map
    before this frame. *truth* gives each spot's shadow by its id.
    """

    kind: str
    f_number: float
    frame: Frame
    light: np.ndarray
    clean: np.ndarray
    transmission: np.ndarray
    spots: tuple[Spot, ...]
    truth: dict[int, virtual.Shadow]
    state: State
    view: View


def judged_frames(bodies: int, first: int = 0) -> Iterator[Judged]:
    """Make the bodies, let each one's map learn, and take a frame of each kind of scene."""
    for seed in range(first, first + bodies):
        f_number = F_NUMBERS[seed % len(F_NUMBERS)]
        body = body_for(seed, f_number)
        state = _learnt(body, seed, f_number)
        for number, kind in enumerate(SCENES):
            yield _judged(body, kind, f_number, state, seed=1000 * seed + 100 + number)


def body_for(seed: int, f_number: float) -> VirtualBody:
    """Make a body whose grains take DEPTHS of the light at *f_number*, log-uniform; wider than 8 µm, as dust is."""
    rng = np.random.default_rng([seed, 1])
    distance_um = float(np.clip(rng.lognormal(np.log(1800), 0.25), 1000, 3000))
    plain = VirtualBody(
        serial=f"FIX-{seed}", width=WIDTH, height=HEIGHT, pitch_um=PITCH_UM, filter_distance_um=distance_um
    )
    half_mm = np.array([WIDTH, HEIGHT]) * PITCH_UM / 2000
    apart_mm = 2.2 * (distance_um / f_number) / 1000 + 0.15
    places: list[np.ndarray] = []
    for _ in range(3000):
        place = rng.uniform(-0.86, 0.86, 2) * half_mm
        if len(places) < GRAINS and all(np.hypot(*(place - other)) > apart_mm for other in places):
            places.append(place)
    grains = [_sized(virtual.draw_grain(rng, i, *place), rng, distance_um / f_number) for i, place in enumerate(places)]
    return replace(plain, grains=tuple(grains), grains_ever=len(grains))


def _sized(grain: Grain, rng: np.random.Generator, blur_um: float) -> Grain:
    """Scale a grain so that it takes the wanted share of the light where the blur is *blur_um* wide."""
    depth = float(np.exp(rng.uniform(*np.log(DEPTHS))))
    area = cv2.contourArea((grain.outline_um * 16).astype(np.float32)) / 256
    wanted = depth / grain.opacity[1] * np.pi / 4 * blur_um**2
    return replace(grain, outline_um=grain.outline_um * max(np.sqrt(wanted / area), 8 / np.sqrt(area * 4 / np.pi)))


def _learnt(body: VirtualBody, seed: int, judged_at: float) -> State:
    """Let a map meet the dust in four frames of other scenes, at apertures up to a stop and a half from the judged."""
    rng = np.random.default_rng([seed, 2])
    state = State()
    for number, kind in enumerate(LEARNT_FROM):
        f_number = float(np.clip(judged_at * 2 ** rng.uniform(-0.75, 0.5), 8, 22))
        exposure, _ = _shot(body, kind, f_number, seed=1000 * seed + number)
        frame = frame_of(exposure)
        view = _view(frame)
        seen = [s for s in exposure.shadows if rng.random() < visibility(s.attenuation, view, s.x, s.y)]
        spots = [_measured(frame, shadow, k, rng) for k, shadow in enumerate(seen)]
        state = observe(state, view, reconcile(spots, state, view, ANYTHING))
    return state


def _judged(body: VirtualBody, kind: str, f_number: float, state: State, seed: int) -> Judged:
    exposure, light = _shot(body, kind, f_number, seed)
    frame = frame_of(exposure)
    rng = np.random.default_rng([seed, 3])
    view = _view(frame)
    spots = [_measured(frame, shadow, k, rng) for k, shadow in enumerate(exposure.shadows)]
    spots = [replace(spot, wanted=True, reason="known") for spot in reconcile(spots, state, view, ANYTHING)]
    transmission = np.ones_like(light)
    for grain in body.grains:
        virtual.cast_shadow(body, grain, transmission, f_number, LENS)
    return Judged(
        kind=kind,
        f_number=f_number,
        frame=frame,
        light=light,
        clean=exposure.clean,
        transmission=transmission,
        spots=tuple(spots),
        truth=dict(enumerate(exposure.shadows)),
        state=state,
        view=view,
    )


def _shot(body: VirtualBody, kind: str, f_number: float, seed: int) -> tuple[Exposure, np.ndarray]:
    """Expose a scene of this *kind*; return the exposure and the noise-free light of its clean mosaic."""
    rng = np.random.default_rng(seed)
    makers = SCENES[kind]
    scene = np.clip(makers[seed // 1000 % len(makers)](rng), 0.003, 0.97).astype(np.float32)
    taken_at = f"2026-11-{1 + seed // 1000 % 28:02d}T10:{seed % 60:02d}:00"
    shot = expose(body, scene, f_number=f_number, lens=LENS, seed=seed, taken_at=taken_at, exposure_s=1 / 125)
    return shot, virtual.light_of(scene)


def _measured(frame: Frame, shadow: virtual.Shadow, number: int, rng: np.random.Generator) -> Spot:
    """Measure a spot in a box such as the detector gives: some 5 % off its place, 10 % off its size."""
    size = 1.3 * shadow.diameter_px * np.exp(rng.normal(0, 0.1))
    dx, dy = rng.normal(0, 0.05 * shadow.diameter_px, 2)
    box = Detection(x=shadow.x + dx, y=shadow.y + dy, width_px=size, height_px=size, score=0.9)
    return measure(frame, box, number)


def _view(frame: Frame) -> View:
    seen = evidence.look(overview(frame, 8), 8)
    return view_of(
        frame.camera,
        frame_id=f"{frame.camera.serial} {frame.camera.taken_at}",
        width=WIDTH,
        height=HEIGHT,
        evidence=seen,
        score=None,
    )


def _sky(rng: np.random.Generator) -> np.ndarray:
    """Sky without the land below it."""
    return scenes.sky_over_hills(rng, 2 * HEIGHT, WIDTH)[100 : 100 + HEIGHT]


def _backdrop(rng: np.random.Generator) -> np.ndarray:
    """Paper, lit from one side."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32) / HEIGHT
    x, y, width = rng.uniform(0.2, 1.1), rng.uniform(0.2, 0.8), rng.uniform(0.4, 1.0)
    glow = 0.35 + 0.65 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / width)
    tooth = 1 + 0.003 * rng.standard_normal((HEIGHT, WIDTH))
    return (rng.uniform(0.2, 0.8) * glow * tooth)[..., None] * rng.uniform(0.8, 1, 3)


def _pink(rng: np.random.Generator) -> np.ndarray:
    """1/f texture of 6 to 15 % contrast, its colour varying a little: foliage out of focus, rough walls, cloud."""
    power = rng.uniform(1.0, 1.3)
    texture, colour = _field(rng, power) * rng.uniform(0.06, 0.15), _field(rng, 1.0) * 0.02
    light = rng.uniform(0.15, 0.5) * np.exp(texture)[..., None] * rng.uniform(0.7, 1, 3)
    return light * np.exp(colour[..., None] * np.array([1, 0, -1]))


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Clouds, the sea below them, without the rocks."""
    return scenes.clouds_over_sea(rng, 1200, WIDTH)[50 : 50 + HEIGHT]


def _leaves(rng: np.random.Generator) -> np.ndarray:
    """Dead leaves: opaque discs and squares of all sizes, each of one colour."""
    image = np.full((HEIGHT, WIDTH, 3), 0.3, np.float32)
    for _ in range(6000):
        r = min(int(6 * (1 - rng.random()) ** -0.7), HEIGHT // 5)
        centre = rng.uniform(0, 1, 2) * (WIDTH, HEIGHT)
        colour = [float(v) for v in np.exp(rng.normal(np.log(0.2), 0.6)) * np.exp(rng.normal(0, 0.15, 3))]
        n = 40 if rng.random() < 0.5 else 4
        a = rng.uniform(0, np.pi) + np.arange(n) * 2 * np.pi / n
        cv2.fillPoly(image, [np.round(np.stack([np.cos(a), np.sin(a)], 1) * r + centre).astype(np.int32)], colour)
    return cv2.GaussianBlur(image, (0, 0), 0.7)


def _field(rng: np.random.Generator, power: float) -> np.ndarray:
    f = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    f[0, 0] = 1
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(HEIGHT, WIDTH))) / f**power, s=(HEIGHT, WIDTH))
    return field / field.std()


SCENES: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], ...]] = {
    "smooth": (_sky, _backdrop),
    "soft": (_pink, _clouds, _pink),
    "hard": (
        _leaves,
        lambda rng: scenes.shirt_with_buttons(rng, HEIGHT, WIDTH),
        lambda rng: scenes.printed_page(rng, HEIGHT, WIDTH),
    ),
}


def psnr(samples: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """PSNR of *samples* (raw) against *truth* (light, 1 = white) in dB, peak = white."""
    error = (samples[where].astype(np.float64) - BLACK) / (WHITE - BLACK) - truth[where]
    return float(-10 * np.log10(np.mean(error**2)))
