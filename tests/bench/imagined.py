"""Long sessions without light: real surroundings and limits, and a detector that is played by dice.

Real detections of thousands of frames would take hours. So a scene is rendered at an eighth of the size, which is what
`dustd.dustmap.evidence` looks at anyway, and each shadow is found with the chance that the real detector had at its
clearness (`detectability`); a shadow that is missed in a scene is missed whenever the scene repeats, as with the real
one. Lone false spots repeat with their scene, too. The map and its test for cleanings are the real ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from detectability import Curve
from sessions import HEIGHT, TELE, WIDE, WIDTH

from dustd.demo import scenes
from dustd.demo.scenes import SESSION
from dustd.demo.virtual import Grain, Lens, VirtualBody, dusted, make_body, place_px, shadow_of
from dustd.dustmap import evidence, update
from dustd.dustmap.evidence import Evidence, visible_from
from dustd.dustmap.match import State
from dustd.dustmap.particle import View
from dustd.spots.spot import Spot

STEP_PX = 8
NOISE = 0.002  # of a block's mean light
SCENES_DRAWN = 24  # each also mirrored both ways: 96 surroundings
PLACE_ERROR_PX, DEPTH_ERROR, WIDTH_ERROR = 1.5, 0.15, 0.12  # of measured spots; see table 5's remarks
WIDE_OPEN = (1.8, 2.8)
F_NUMBERS = (1.8, 2.8, 4.0, 5.6, 8.0, 8.0, 11.0, 11.0, 13.0, 16.0)
SERIES_FRAMES = 60  # wide open, in the middle of the session
LONGEST_BURST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A body's dust, the last frame of it, and the map after that frame."""

    body: VirtualBody
    lens: Lens
    view: View
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed:
    """One frame of a long session: which surroundings, at which aperture, through which lens."""

    scene: int
    f_number: float
    lens: Lens


def plan(frames: int, rng: np.random.Generator) -> Iterator[Framed]:
    """Plan *frames* frames: bursts before one scene at one aperture, and one long series wide open."""
    done = 0
    while done < frames:
        series = frames // 2 <= done < frames // 2 + SERIES_FRAMES
        burst = Framed(
            scene=int(rng.integers(4 * SCENES_DRAWN)),
            f_number=float(rng.choice(WIDE_OPEN if series else F_NUMBERS)),
            lens=(WIDE, TELE)[int(rng.integers(2))],
        )
        for _ in range(min(int(rng.integers(1, LONGEST_BURST + 1)), frames - done)):
            yield burst
            done += 1


def live(frames: int, seed: int, curves: Mapping[float, Curve], false_per_mp: float) -> Iterator[Moment]:
    """Play a long session of one body that is never cleaned and slowly gathers dust, frame by frame.

    *curves* give the chance of at least a score, by that score; *false_per_mp* counts false spots of at least the
    lowest of them.
    """
    rng = np.random.default_rng([5, seed])
    body = make_body(f"LONG-{seed}", seed=seed, grains=30, width=WIDTH, height=HEIGHT)
    state, shadows = State(), {}
    for number, framed in enumerate(plan(frames, rng)):
        if number and number % 100 == 0:
            body = dusted(body, 1, seed=seed + number)
        view = View(
            frame_id=f"{seed}-{number}",
            width=WIDTH,
            height=HEIGHT,
            f_number=framed.f_number,
            focal_length_mm=framed.lens.focal_length_mm,
            lens=framed.lens.name,
            pixel_pitch_um=body.pitch_um,
            taken_at=f"2026-{1 + number // 600:02d}-{1 + number // 24 % 25:02d}T{number % 24:02d}:00:00",
            evidence=_proof(framed.scene, int(rng.integers(4))),
            evidence_score=sorted(curves)[-2],
        )
        spots = _spots(body, framed, view, curves, false_per_mp, shadows, rng)
        state = update.observe(state, view, spots)
        yield Moment(body=body, lens=framed.lens, view=view, state=state)


def _spots(
    body: VirtualBody,
    framed: Framed,
    view: View,
    curves: Mapping[float, Curve],
    false_per_mp: float,
    shadows: dict[tuple[int, float], tuple[float, float]],
    rng: np.random.Generator,
) -> tuple[Spot, ...]:
    """Throw the dice for what a detector finds in a frame; *shadows* remembers sizes by grain and f-number."""
    scores = sorted(curves)
    spots = []

    def add(x: float, y: float, diameter_px: float, attenuation: float, score: float) -> None:
        spots.append(
            Spot(
                id=len(spots) + 1,
                x=x + rng.normal(0, PLACE_ERROR_PX),
                y=y + rng.normal(0, PLACE_ERROR_PX),
                diameter_px=diameter_px * np.exp(rng.normal(0, WIDTH_ERROR)),
                edge_px=0.3 * diameter_px,
                attenuation=min(attenuation * np.exp(rng.normal(0, DEPTH_ERROR)), 0.97),
                score=score,
            )
        )

    for grain in body.grains:
        x, y = place_px(body, grain, framed.lens)
        if not (0 <= x < WIDTH and 0 <= y < HEIGHT):
            continue
        if (key := (grain.number, framed.f_number)) not in shadows:
            shadows[key] = _size(body, grain, framed)
        diameter_px, attenuation = shadows[key]
        clearness = np.array([attenuation / visible_from(view.evidence, x, y)])
        die = np.random.default_rng([7, framed.scene, grain.number]).random()
        reached = [score for score in scores if die < curves[score](clearness)[0]]
        if reached:
            top = max(reached)
            above = [score for score in scores if score > top]
            add(x, y, diameter_px, attenuation, float(rng.uniform(top, min(above, default=0.99))))
    lone = np.random.default_rng([8, framed.scene])
    for _ in range(lone.poisson(false_per_mp * WIDTH * HEIGHT / 1e6)):
        x, y = lone.uniform(20, (WIDTH - 20, HEIGHT - 20))
        low = scores[0]
        # As many false spots per octave of score, as on photographs without dust.
        add(x, y, lone.uniform(15, 45), lone.uniform(0.03, 0.4), float(low ** lone.random()))
    return tuple(spots)


def _size(body: VirtualBody, grain: Grain, framed: Framed) -> tuple[float, float]:
    """Width at half depth in px and green light lost at the centre."""
    covered, _, _ = shadow_of(body, grain, f_number=framed.f_number, lens=framed.lens)
    return float(2 * np.sqrt((covered > covered.max() / 2).sum() / np.pi)), float(covered.max() * grain.opacity[1])


@cache
def _proof(scene: int, noise: int) -> Evidence:
    """Look at one of the surroundings, with one of a few draws of noise and flicker."""
    drawn, mirrored = divmod(scene, 4)
    light = _overview(drawn)[:: -1 if mirrored & 1 else 1, :: -1 if mirrored & 2 else 1]
    rng = np.random.default_rng([9, scene, noise])
    light = light * (1 + rng.normal(0, NOISE, light.shape)) * rng.uniform(0.97, 1.03)
    return evidence.look(np.ascontiguousarray(light, np.float32), STEP_PX)


@cache
def _overview(drawn: int) -> np.ndarray:
    """Mean light of blocks of a scene: (HEIGHT, WIDTH) / STEP_PX, rendered at twice that and averaged."""
    rows, columns = HEIGHT // STEP_PX, WIDTH // STEP_PX
    scene = getattr(scenes, SESSION[drawn % len(SESSION)].__name__)
    light = scene(np.random.default_rng([10, drawn]), 2 * rows, 2 * columns).mean(axis=-1)
    return cv2.resize(light, (columns, rows), interpolation=cv2.INTER_AREA)
