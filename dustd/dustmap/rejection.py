"""What a person said is no dust: where it holds, and what it means for the map.

A verdict is about one spot of one frame. It holds there for good, and wherever the same thing shows again: in the same
place before the same surroundings (the tripod rule, turned around). Other frames may still show dust in that place; but
they must say so anew, for the verdict weighs against the particle that was taken to be there. Pure values.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dustd.codec import Codec
from dustd.dustmap import evidence
from dustd.dustmap.evidence import Evidence
from dustd.dustmap.lenses import focal_bin_mm
from dustd.dustmap.match import State
from dustd.dustmap.particle import Particle, View, whereabouts
from dustd.dustmap.scene import independence, same_scene
from dustd.dustmap.update import INDEPENDENT, LOG_ODDS_MIN, RETIRE
from dustd.raw.frame import centred
from dustd.spots import optics
from dustd.spots.spot import Spot

# Our choice, in log-odds: a person is wrong about this once in 400 times. From the most that the map ever believes it
# leads to where a particle is confirmed no more, and can be again by independent frames.
WEIGHT = 6.0
A_PERSON_IS_RIGHT = 1 / (1 + math.exp(-WEIGHT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One verdict: in which frame, where in map coordinates (`dustd.raw.frame.centred`), and what it looks like.

    *attenuation* and *edge_px* are 0 in verdicts that were kept without.
    """

    frame_id: str
    name: str
    mx: float
    my: float
    diameter_px: float
    lens: str | None
    focal_length_mm: float | None
    evidence: Evidence
    attenuation: float = 0.0
    edge_px: float = 0.0

    @property
    def radius_px(self) -> float:
        """How far from its place the same thing may be measured."""
        return max(optics.match_radius_px(self.diameter_px), self.diameter_px / 2)


def rejections_of(spots: Iterable[Spot], view: View, name: str) -> tuple[Rejection, ...]:
    """Gather the verdicts among a frame's *spots*; *name* is its file's."""
    found = []
    for spot in spots:
        if spot.rejected:
            mx, my = centred(spot.x, spot.y, width=view.width, height=view.height)
            found.append(
                Rejection(
                    frame_id=view.frame_id,
                    name=name,
                    mx=mx,
                    my=my,
                    diameter_px=spot.diameter_px,
                    lens=view.lens,
                    focal_length_mm=view.focal_length_mm,
                    evidence=view.evidence,
                    attenuation=spot.attenuation,
                    edge_px=spot.edge_px,
                )
            )
    return tuple(found)


def of_this_scene(rejections: Iterable[Rejection], view: View) -> tuple[Rejection, ...]:
    """Choose the verdicts that tell what the marks of a frame's scene look like: those of frames that show it, too."""
    return tuple(
        each
        for each in rejections
        if each.attenuation > 0 and (each.frame_id == view.frame_id or same_scene(view.evidence, each.evidence))
    )


def same_place(a: Rejection, b: Rejection) -> bool:
    """Ask whether two verdicts of one frame are about one thing."""
    return math.hypot(a.mx - b.mx, a.my - b.my) <= min(a.radius_px, b.radius_px)


def refuted(spot: Spot, view: View, rejections: Iterable[Rejection]) -> Rejection | None:
    """Find the verdict that holds for a spot of a frame, None if there is none."""
    mx, my = centred(spot.x, spot.y, width=view.width, height=view.height)
    for each in rejections:
        if math.hypot(mx - each.mx, my - each.my) > each.radius_px:
            continue
        if each.frame_id == view.frame_id:
            return each
        if independence(view.evidence, each.evidence, spot.x, spot.y, spot.diameter_px) < INDEPENDENT:
            return each
    return None


def settled(spots: Iterable[Spot], view: View, rejections: Iterable[Rejection]) -> tuple[Spot, ...]:
    """Leave alone, before correction, those *spots* of a frame for which a verdict holds, and say so."""
    rejections = tuple(rejections)
    return tuple(_settled(spot, view, refuted(spot, view, rejections)) for spot in spots)


def against(state: State, rejection: Rejection) -> State:
    """Let a verdict weigh against the particle that was taken to be there: the nearest within reach."""
    lens = (rejection.lens, focal_bin_mm(rejection.focal_length_mm))
    near = []
    for particle in state.particles:
        mx, my, sigma_px = whereabouts(particle.places, state.optics, *lens)
        away_px = math.hypot(mx - rejection.mx, my - rejection.my)
        if away_px <= rejection.radius_px + 2 * sigma_px:
            near.append((away_px, particle.id))
    if not near:
        return state
    _, nearest = min(near)
    particles = tuple(_weighed(each) if each.id == nearest else each for each in state.particles)
    return dataclasses.replace(state, particles=particles)


def to_dict(rejection: Rejection) -> dict[str, Any]:
    """Lay a verdict out for JSON."""
    data: dict[str, Any] = _CODEC.plain(rejection)
    return data


def from_dict(data: Any) -> Rejection:
    """Read a verdict back; unknown keys are ignored. Raise ValueError on anything else."""
    try:
        parts = {**data, "evidence": evidence.from_dict(data["evidence"])}
    except (KeyError, TypeError) as exc:
        raise ValueError(f"not a verdict: {exc}") from exc
    return _CODEC.read(Rejection, parts)


def _weighed(particle: Particle) -> Particle:
    log_odds = max(particle.log_odds - WEIGHT, LOG_ODDS_MIN)
    return dataclasses.replace(particle, log_odds=log_odds, confirmed=particle.confirmed and log_odds > RETIRE)


def _settled(spot: Spot, view: View, verdict: Rejection | None) -> Spot:
    if verdict is None:
        return spot
    here = verdict.frame_id == view.frame_id
    why = "rejected by a person" if here else f"a person rejected the same thing here in {verdict.name}"
    reason = f"{why}: left alone (otherwise: {spot.reason})"
    return dataclasses.replace(spot, wanted=False, rejected=here, reason=reason)


_CODEC = Codec(told_as={Evidence: evidence.to_dict})
