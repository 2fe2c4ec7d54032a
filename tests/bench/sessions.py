"""Generated sessions with known truth for `bench_map.py`: what was in front of the lens, and what lay on the sensor.

A session is a tuple of takes; a take says all that a frame depends on, so that its samples, and what a detector makes
of them, can be kept from run to run.
"""

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from dustd.demo import scenes, virtual
from dustd.demo.scenes import SESSION
from dustd.demo.verdict import is_visible
from dustd.demo.virtual import Exposure, Lens, Shadow, VirtualBody, dusted, expose, frame_of, make_body, wiped
from dustd.detector.detect import Detector
from dustd.pipeline.look import Look, look
from dustd.raw.frame import Camera, frame_identity
from dustd.train.testset import PlacedSpot, Twins, measure_spots
from tests.framing import framed, specked

WIDTH, HEIGHT = 1800, 1370  # 16 tiles of 512 px at both scales
WIDE = Lens(name="Virtual 28mm F2.8", focal_length_mm=28, exit_pupil_mm=45)
TELE = Lens(name="Virtual 70mm F2.8", focal_length_mm=70, exit_pupil_mm=100)
OUTDOORS = ("sky_over_hills", "clouds_over_sea")
DAY_F_NUMBERS = (8, 9, 10, 11, 13, 14, 16)
FIVE_F_NUMBERS = (5.6, 8, 11, 16, 22)
REMOVED = 0.85  # by a cleaning
SET = 1.3  # a scene that the camera moves in is so much larger than the frame
GRAINS_OF_A_DAY, GRAINS_ON_TRIPOD, SPECKS, NEW_GRAINS = 30, 10, 25, 3
BEFORE, AFTER, FIXED, MOVED = 10, 8, 30, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """All that a frame depends on.

    *aim* is where in a larger scene the camera points: across and down, 0 to 1 from edge to edge, and the zoom, frame
    px per px of the scene; None: the scene is the frame.
    """

    session: str
    number: int
    scene: str
    scene_seed: int
    body: VirtualBody
    lens: Lens
    f_number: float
    aim: tuple[float, float, float] | None = None
    specks_seed: int | None = None
    gain: float = 1.0

    @property
    def key(self) -> str:
        """A name for this frame's samples: by what it shows, what lies on the sensor, and the code that draws."""
        recipe = (self.session, self.number, self.scene, self.scene_seed, self.lens, self.f_number, self.aim)
        dust = [(grain.number, grain.x_mm, grain.y_mm, grain.opacity) for grain in self.body.grains]
        more = (self.specks_seed, self.gain, self.body.width, self.body.height, _drawing_code())
        return hashlib.sha256(repr((recipe, dust, more)).encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A take and its exposure.

    *visible* are the numbers of the grains that a person could see in it (`dustd.demo.verdict`), *counted* those that
    count where a detector is judged: at least 1 % of the light and 5 times the noise of a matched filter (design §10).
    """

    take: Take
    exposure: Exposure
    visible: frozenset[int]
    counted: frozenset[int]


def day(seed: int) -> tuple[Take, ...]:
    """Ten frames of different scenes at f/8 to f/16; then the sensor is cleaned, and eight more, new dust settling.

    A scene that comes again is another subject seen from elsewhere.
    """
    rng = np.random.default_rng([1, seed])
    body = make_body(f"DAY-{seed}", seed=seed, grains=GRAINS_OF_A_DAY, width=WIDTH, height=HEIGHT)
    clean = wiped(body, REMOVED, seed=seed)
    later = dusted(clean, NEW_GRAINS, seed=seed + 100)
    takes = []
    for number in range(BEFORE + AFTER):
        scene = SESSION[(number + 2 * seed) % len(SESSION)].__name__
        takes.append(
            Take(
                session=f"day-{seed}",
                number=number,
                scene=scene,
                scene_seed=1000 * seed + number,
                body=body if number < BEFORE else clean if number < BEFORE + 3 else later,
                lens=WIDE if scene in OUTDOORS else TELE,
                f_number=float(rng.choice(DAY_F_NUMBERS)),
                aim=(float(rng.random()), float(rng.random()), float(rng.uniform(0.8, 1.0))),
            )
        )
    return tuple(takes)


def tripod(seed: int, f_numbers: tuple[float, ...]) -> tuple[Take, ...]:
    """Thirty frames of one set with specks on it, at *f_numbers* in turn under a flickering lamp; then three moved."""
    rng = np.random.default_rng([2, seed])
    body = make_body(f"TRIPOD-{seed}", seed=seed, grains=GRAINS_ON_TRIPOD, width=WIDTH, height=HEIGHT)
    aims = [(0.5, 0.5, 1.0)] * FIXED + [(0.1, 0.2, 1.0), (0.9, 0.7, 0.9), (0.3, 0.9, 0.95)][:MOVED]
    return tuple(
        Take(
            session=f"tripod-{seed}",
            number=number,
            scene="bottle_on_seamless",
            scene_seed=seed,
            body=body,
            lens=TELE,
            f_number=f_numbers[number % len(f_numbers)],
            aim=aim,
            specks_seed=seed,
            gain=float(rng.uniform(0.96, 1.04)),
        )
        for number, aim in enumerate(aims)
    )


def two_lenses(seed: int) -> tuple[Take, ...]:
    """Two lenses with different exit pupils, five apertures each, twelve different scenes."""
    rng = np.random.default_rng([3, seed])
    body = make_body(f"LENSES-{seed}", seed=seed, grains=GRAINS_OF_A_DAY, width=WIDTH, height=HEIGHT)
    mixed = [(lens, f_number) for lens in (WIDE, TELE) for f_number in FIVE_F_NUMBERS]
    mixed = [mixed[i] for i in rng.permutation(len(mixed))] + [(WIDE, 11.0), (TELE, 16.0)]
    return tuple(
        Take(
            session=f"lenses-{seed}",
            number=number,
            scene=SESSION[(number + seed) % len(SESSION)].__name__,
            scene_seed=5000 * seed + number,
            body=body,
            lens=lens,
            f_number=float(f_number),
        )
        for number, (lens, f_number) in enumerate(mixed)
    )


def sessions() -> dict[str, tuple[Take, ...]]:
    """All sessions by name, those first that tell most."""
    found = [day(1), two_lenses(1), tripod(1, (11.0,)), day(2), tripod(2, (11.0, 16.0, 8.0)), day(3), two_lenses(2)]
    return {takes[0].session: takes for takes in [*found, *(day(seed) for seed in range(4, 9))]}


def specks_of(take: Take) -> np.ndarray:
    """Say where the specks of the take's scene show in its frame: (n, 2) x and y in px; (0, 2) if there are none."""
    if take.specks_seed is None:
        return np.empty((0, 2))
    centre, zoom = _aimed(take)
    return (_specks(take.specks_seed)[0] - centre) * zoom + ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)


def taken(take: Take, cache: Path) -> Shot:
    """Take the picture, or fetch it from *cache*."""
    folder = cache / "frames" / take.session
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{take.number:03d}-{take.key}"
    truth = stem.with_suffix(".json")
    if not truth.exists():
        exposure = _expose(take)
        for name, samples in (("dusty", exposure.mosaic), ("clean", exposure.clean)):
            cv2.imwrite(f"{stem}.{name}.png", samples, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        told = {
            "camera": asdict(exposure.camera),
            "shadows": [asdict(shadow) for shadow in exposure.shadows],
            "visible": [shadow.grain for shadow in exposure.shadows if is_visible(shadow, exposure.clean)],
            "counted": counted(exposure),
        }
        truth.write_text(json.dumps(told), encoding="utf-8")
    told = json.loads(truth.read_text(encoding="utf-8"))
    dusty, clean = (cv2.imread(f"{stem}.{name}.png", cv2.IMREAD_UNCHANGED) for name in ("dusty", "clean"))
    exposure = Exposure(
        mosaic=dusty, clean=clean, shadows=tuple(Shadow(**s) for s in told["shadows"]), camera=Camera(**told["camera"])
    )
    return Shot(take=take, exposure=exposure, visible=frozenset(told["visible"]), counted=frozenset(told["counted"]))


def counted(exposure: Exposure) -> list[int]:
    """Number the grains whose shadows stand far enough above noise and texture to count (design §10)."""
    within = [s for s in exposure.shadows if 0 <= s.x < WIDTH and 0 <= s.y < HEIGHT]
    clean = frame_of(replace(exposure, mosaic=exposure.clean))
    spots = (PlacedSpot(x=s.x, y=s.y, diameter_px=s.diameter_px, attenuation=s.attenuation) for s in within)
    twins = Twins(clean=clean, dusty=frame_of(exposure), noiseless=clean, spots=tuple(spots))
    return [s.grain for s, spot in zip(within, measure_spots(twins), strict=True) if not spot.truth().ignore]


def looked_at(shot: Shot, detector_sha256: str, detector: Callable[[], Detector], cache: Path) -> Look:
    """Let the detector look at a shot, or fetch what it saw from *cache*."""
    frame = frame_of(shot.exposure)
    path = cache / "looks" / detector_sha256[:16] / f"{frame_identity(frame)}.pickle"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(look(frame, detector(), blur_constant=None)))
        partial.replace(path)
    return pickle.loads(path.read_bytes())


def clock(take: Take) -> str:
    """The camera's clock at a take, ISO 8601."""
    return (datetime(2026, 11, 2, 9) + timedelta(minutes=2 * take.number)).isoformat()


def _expose(take: Take) -> Exposure:
    if take.aim is None:
        light = getattr(scenes, take.scene)(np.random.default_rng(take.scene_seed), HEIGHT, WIDTH)
    else:
        (x, y), zoom = _aimed(take)
        light = framed(_set(take.scene, take.scene_seed, take.specks_seed), HEIGHT, WIDTH, centre=(x, y), zoom=zoom)
    return expose(
        take.body,
        light * np.float32(take.gain),
        f_number=take.f_number,
        lens=take.lens,
        seed=int(take.key[:8], 16),
        taken_at=clock(take),
        exposure_s=1 / 125,
    )


def _aimed(take: Take) -> tuple[np.ndarray, float]:
    """Where a take's camera points, (2,) x and y in px of the scene, so that its frame lies within; and its zoom."""
    assert take.aim is not None, "only in a larger scene can a camera be aimed"
    *shares, zoom = take.aim
    half = np.array([WIDTH, HEIGHT]) / 2 / zoom
    return half - 0.5 + np.array(shares) * (np.round(SET * np.array([WIDTH, HEIGHT])) - 2 * half), zoom


@lru_cache(maxsize=1)
def _set(scene: str, seed: int, specks_seed: int | None) -> np.ndarray:
    """Render a scene larger than the frame, with its specks if it has any."""
    light = getattr(scenes, scene)(np.random.default_rng(seed), round(SET * HEIGHT), round(SET * WIDTH))
    return light if specks_seed is None else specked(light, *_specks(specks_seed))


@lru_cache(maxsize=8)
def _specks(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw the specks of a set, as wide, deep and soft as dust: places (n, 2) in set px, diameters, depths, softness.

    They keep clear of each other, and of the dust in the frames of the tripod, so that each counts by itself.
    """
    rng = np.random.default_rng([4, seed])
    fixed = tripod(seed, (11.0,))[0]
    corner = _aimed(fixed)[0] - ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    keep = [np.array(virtual.place_px(fixed.body, grain, fixed.lens)) + corner for grain in fixed.body.grains]
    places: list[np.ndarray] = []
    while len(places) < SPECKS:
        place = corner + rng.uniform((60, 60), (WIDTH - 60, HEIGHT - 60))
        if all(np.hypot(*(place - other)) > 90 for other in [*keep, *places]):
            places.append(place)
    diameters = rng.uniform(16, 40, SPECKS)
    depths = np.exp(rng.uniform(np.log(0.05), np.log(0.6), SPECKS))
    return np.array(places), diameters, depths, rng.uniform(0.2, 0.7, SPECKS)


@lru_cache(maxsize=1)
def _drawing_code() -> str:
    """A fingerprint of the code that draws frames: when it changes, kept frames are stale."""
    return hashlib.sha256(b"".join(Path(m.__file__).read_bytes() for m in (virtual, scenes))).hexdigest()
