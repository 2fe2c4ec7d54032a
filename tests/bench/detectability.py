"""How surely a detector finds a shadow that stands so far above its ground: the curve that the dust map's Pd needs.

A shadow's clearness is its attenuation over the smallest that could be seen where it lies (`dustd.dustmap.evidence`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from sessions import Shot, specks_of

from dustd.demo.verdict import is_near
from dustd.demo.virtual import Shadow, frame_of
from dustd.dustmap import evidence
from dustd.pipeline.frame_pipeline import OVERVIEW_STEP_PX
from dustd.raw.light import overview
from dustd.spots.spot import Spot

CLEARNESS_EDGES = (0.0, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """A shadow that a detector could have found: how clear it was, and the best score there, 0 where nothing was."""

    session: str
    frame: int
    scene: str
    f_number: float
    shadow: Shadow
    limit: float
    visible: bool
    score: float

    @property
    def clearness(self) -> float:
        """Attenuation over the smallest that could be seen there; 0 where nothing could."""
        return self.shadow.attenuation / self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Pd = best / (1 + (half / clearness)^slope)."""

    best: float
    slope: float
    half: float

    def __call__(self, clearness: np.ndarray) -> np.ndarray:
        """Give Pd at each clearness."""
        return self.best / (1 + (self.half / np.maximum(clearness, 1e-6)) ** self.slope)


def chances(shot: Shot, spots: Sequence[Spot]) -> list[Chance]:
    """List what there was to be found in a frame, and how it fared among the detector's measured *spots*."""
    frame = frame_of(shot.exposure)
    step = OVERVIEW_STEP_PX[frame.kind]
    proof = evidence.look(overview(frame, step), step)
    return [
        Chance(
            session=shot.take.session,
            frame=shot.take.number,
            scene=shot.take.scene,
            f_number=shot.take.f_number,
            shadow=shadow,
            limit=evidence.visible_from(proof, shadow.x, shadow.y),
            visible=shadow.grain in shot.visible,
            score=max((spot.score for spot in spots if is_near(shadow, spot)), default=0.0),
        )
        for shadow in shot.exposure.shadows
        if 0 <= shadow.x < frame.width and 0 <= shadow.y < frame.height
    ]


def false_scores(shot: Shot, spots: Sequence[Spot]) -> list[float]:
    """List the scores of spots where there is neither dust nor a speck laid out to be taken for it."""
    specks = specks_of(shot.take)
    return [
        spot.score
        for spot in spots
        if not any(is_near(shadow, spot) for shadow in shot.exposure.shadows)
        and not (len(specks) and np.hypot(*(specks - (spot.x, spot.y)).T).min() < 30)
    ]


def fit(found: Sequence[Chance], score: float) -> Curve:
    """Fit the curve of being found with at least *score*, by maximum likelihood."""
    clearness = np.array([c.clearness for c in found])
    hit = np.array([c.score >= score for c in found])

    def cost(p: np.ndarray) -> float:
        curve = Curve(best=1 / (1 + np.exp(-p[0])), slope=float(np.exp(p[1])), half=float(np.exp(p[2])))
        chance = np.clip(curve(clearness), 1e-4, 1 - 1e-4)
        return -float(np.where(hit, np.log(chance), np.log(1 - chance)).sum())

    p = minimize(cost, [2.0, 1.0, 0.0], method="Nelder-Mead", options={"maxiter": 2000}).x
    return Curve(best=float(1 / (1 + np.exp(-p[0]))), slope=float(np.exp(p[1])), half=float(np.exp(p[2])))
