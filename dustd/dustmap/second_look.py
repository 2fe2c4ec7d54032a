"""Looking again where dust is known: the light itself at a predicted place, where the detector saw nothing.

The shape of the shadow is known there, its place nearly, so one number is left to find: how deep it is. The predicted
shadow is laid over the whitened log light around its place (`dustd.spots.measure`), and the answer is held against the
answers that the same shadow gives all around, where no dust is known. That ratio, the signal-to-noise, says how much
likelier the light is with the dust than without; with what the map believes, it decides.

`look` knows light alone, `look_again` goes through the map, `shadows` tells the correction what the map knows. None
changes what the map believes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from dustd.dustmap.match import SPOTS_PER_PX2, UNBELIEVABLE, Expected, State, expect
from dustd.dustmap.particle import RADIUS_SIGMAS, Particle, Prediction, View
from dustd.dustmap.update import confirms
from dustd.raw.frame import Frame
from dustd.spots.measure import (
    DIAMETER_LIMITS_PX,
    EDGE_OF_SPECK,
    EDGE_SHARE,
    KnownShadow,
    Shadow,
    filtered,
    hole,
    whitener,
)
from dustd.spots.spot import Spot
from dustd.spots.surroundings import Patch, cut, fill

AROUND = 2.25  # how far to look for comparison, in diameters beyond the place's uncertainty; 3 sees more edges
ENOUGH = 16  # cells to compare with
OUTLIER = 3.0  # standard deviations of the whitened light at which edges are cut off
SOFTEST_EDGE = 0.25  # least width of the edge, as a share of the diameter: irises are no circles, pixels no points
LEAST_SNR = 3.0
TOO_DEEP = 2.0  # our choice: times the depth foretold, and LEAST_SNR errors more: then it is something else, an edge
# Bound of the log ratio. On generated frames (six kinds of scenes, f/8 to f/16) none of 396 looks at places without
# dust came above 3, and of 81 at dust that the map would say shows 66. Below, the ratio is what it says or less than
# the truth. Of 28 places where a person sees dust and the coarse limits leave little hope, 23 came above LEAST_SNR.
SUREST = 7.0
# Share of places where the scene does what its surroundings do not, and how much more it does there; our choice, tried
# on generated frames.
STRANGE, WIDER = 0.1, 2.5
# Of ln A as the map foretells it: one sighting's measurement, and what no number of them takes away.
SIGHTING_ERROR, FORETOLD_ERROR = 0.2, 0.05
WIDTH_ERROR = 0.05  # of ln diameter as the map foretells it
UNSURE_DEPTH = 0.5  # how far the predicted depth may be off, as a share of it: texture, wave optics (facts §1.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the light says at a predicted place.

    *shadow* is the predicted one at its best place and depth, *snr* its depth against what the surroundings do
    themselves, *log_ratio* the natural log of how much likelier this light is with the dust than without.
    """

    shadow: Shadow
    snr: float
    log_ratio: float


def look(
    frame: Frame,
    expected: Shadow,
    *,
    radius_px: float,
    radial_px: tuple[float, float] = (0.0, 0.0),
    avoid: np.ndarray | None = None,
) -> Look | None:
    """Look for the *expected* shadow within *radius_px* of its place, and farther by *radial_px* (x, y) either way.

    Those are RADIUS_SIGMAS and two standard deviations of where it may be: near the place it is likelier.
    *avoid* (n, 3) are x, y, radius of other spots. Returns None where the light says nothing: clipped, black, or hardly
    in the frame.
    """
    farther_px = math.hypot(*radial_px)
    patch = cut(frame, expected.x, expected.y, radius_px + farther_px + AROUND * expected.diameter_px, avoid=avoid)
    if patch is None:
        return None
    inside = hole(patch, expected, 1.0)
    if not inside.any() or patch.known[inside].mean() < 0.7:
        return None
    reach_px = max(radius_px, 0.75 * patch.step)
    ux, uy = (radial_px[0] / farther_px, radial_px[1] / farther_px) if farther_px else (1.0, 0.0)
    dx, dy = patch.xs - expected.x, patch.ys - expected.y
    along, aside = np.abs(dx * ux + dy * uy), np.abs(dx * uy - dy * ux)
    here = np.hypot(along / (reach_px + farther_px), aside / reach_px) <= 1
    around = np.hypot(np.maximum(along - farther_px, 0), aside) > reach_px + expected.diameter_px
    weights, light = _whitened(patch, patch.known & around)
    depths, least_error = _depths(patch, expected, weights, np.clip(light, -OUTLIER, OUTLIER))
    compared = depths[around & patch.known & _whole(patch, expected)]
    if not here.any() or compared.size < ENOUGH:
        return None
    error = max(1.4826 * float(np.median(np.abs(compared - np.median(compared)))), least_error)
    sigma_px = max(reach_px / RADIUS_SIGMAS, 0.5 * patch.step)
    apart = (along / max(sigma_px, farther_px / 2)) ** 2 + (aside / sigma_px) ** 2
    placed = np.where(here, -0.5 * apart, -np.inf)
    at = np.unravel_index(np.argmax(placed + 0.5 * np.maximum(depths / error, 0) ** 2), depths.shape)
    depth = float(_depths(patch, expected, weights, light)[0][at])  # cutting off edges makes deep shadows shallow
    best = replace(
        expected,
        x=float(patch.xs[0, at[1]]),
        y=float(patch.ys[at[0], 0]),
        attenuation=float(np.clip(1 - math.exp(-depth), 0.0, 0.97)),
        error=error,
    )
    ratio = _log_ratio(depths[here] / error, -math.log1p(-expected.attenuation) / error)
    return Look(shadow=best, snr=float(depths[at]) / error, log_ratio=float(np.clip(ratio, -SUREST, SUREST)))


def _whitened(patch: Patch, plain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whiten the light by what is *plain*, (h, w) bool: weights and whitened light, (h, w) both."""
    weights = whitener(patch.log, plain)
    light = filtered(fill(patch.log, patch.known), weights)
    # An edge somewhere around makes the whitener expect as much everywhere.
    usual = max(1.4826 * float(np.median(np.abs(light[plain]))), 0.1)
    return weights / usual, light / usual


def _depths(patch: Patch, expected: Shadow, weights: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit the log depth of the shadow, were it at this cell, to the whitened *light*, by least squares: (h, w).

    Also returns the depth's standard error if the whitening were perfect.
    """
    reach = math.ceil(expected.reach_px / patch.step)
    span = np.arange(-reach, reach + 1) * patch.step
    kernel = expected.depth(expected.x + span[None, :], expected.y + span[:, None]).astype(np.float32)
    middle = replace(expected, x=float(patch.xs.mean()), y=float(patch.ys.mean())).depth(patch.xs, patch.ys)
    power = float((filtered(middle, weights) ** 2).sum())
    fitted = -cv2.filter2D(filtered(light, weights), -1, kernel, borderType=cv2.BORDER_CONSTANT) / power
    return fitted, power**-0.5


def _whole(patch: Patch, expected: Shadow) -> np.ndarray:
    """Tell the cells around which half the shadow's width lies in the patch: (h, w) bool."""
    margin = math.ceil(expected.diameter_px / 2 / patch.step)
    whole = np.zeros(patch.log.shape, bool)
    whole[margin:-margin, margin:-margin] = True
    return whole


def _log_ratio(snrs: np.ndarray, wanted: float) -> float:
    """Compare the light with and without a shadow of *wanted* SNR somewhere among the places of *snrs*.

    Without it an SNR is normal, now and then (STRANGE) a wider one; with it, normal around *wanted*, which itself is
    UNSURE_DEPTH uncertain. A place brighter than its surroundings says no more than one that is as bright.
    """
    dark = np.maximum(snrs.astype(np.float64), 0.0)
    spread = math.hypot(1.0, UNSURE_DEPTH * wanted)
    plain = np.log((1 - STRANGE) * np.exp(-0.5 * dark**2) + STRANGE / WIDER * np.exp(-0.5 * (dark / WIDER) ** 2))
    ratios = -0.5 * ((dark - wanted) / spread) ** 2 - math.log(spread) - plain
    top = float(ratios.max())
    return top + math.log(float(np.exp(ratios - top).mean()))


def look_again(
    frame: Frame, spots: Sequence[Spot], state: State, view: View, limit: float, expected: Expected | None = None
) -> tuple[Spot, ...]:
    """Look where particles may show but none of the *spots* is theirs; return what is there, as spots.

    The detector may well have missed them: the limits of what it could see are coarse, the light here says more.
    The map's confidence is the prior, less what the detector's silence says; the light is the evidence. A place
    counts from a probability of *limit* (the score that a lone spot needs) and from LEAST_SNR, below which there is
    nothing to give back whatever is believed; only confirmed dust is to be corrected, a suspicion just followed. The
    spot's score is what the same light says without the map, at SPOTS_PER_PX2, as a detection's. *expected* is
    `match.expect` of these arguments.
    """
    expected = expected or expect(spots, state, view)
    found = {spot.particle_id for spot in spots}
    circles = np.array([(s.x, s.y, s.diameter_px / 2 + s.edge_px) for s in spots], np.float32).reshape(-1, 3)
    first_id = max((spot.id for spot in spots), default=0) + 1
    seen_again: list[Spot] = []
    for particle in state.particles:
        if particle.id in found:
            continue
        at = expected.predictions[particle.id]
        if at.attenuation is None or at.p_visible <= 0:
            continue
        if at.p_visible < UNBELIEVABLE and at.radial_px > at.radius_px:  # busy ground and a lens not yet known
            continue
        radial_px = (at.radial_px * at.outwards[0], at.radial_px * at.outwards[1])
        apart = _apart(circles, at)
        seen = look(frame, expected_shadow(at), radius_px=at.radius_px, radial_px=radial_px, avoid=apart)
        if seen is None or seen.snr < LEAST_SNR or _probability(_prior(particle, at) + seen.log_ratio) < limit:
            continue
        if not 0 < seen.shadow.attenuation <= TOO_DEEP * at.attenuation + LEAST_SNR * seen.shadow.error:
            continue
        spot = _spot(first_id + len(seen_again), particle, at, seen)
        seen_again.append(_decided(spot, particle, at, view, expected))
    return tuple(seen_again)


def shadows(
    spots: Sequence[Spot], state: State, view: View, expected: Expected | None = None
) -> dict[int, KnownShadow]:
    """Say what the map knows of the shadows of *spots* in this frame, by spot id; nothing of those it does not know.

    *expected* is `match.expect` of these arguments.
    """
    expected = expected or expect(spots, state, view)
    particles = {particle.id: particle for particle in state.particles}
    found = {}
    for spot in spots:
        if (particle := particles.get(spot.particle_id or "")) is None:
            continue
        at = expected.predictions[particle.id]
        if at.attenuation is None:
            continue
        found[spot.id] = KnownShadow(
            shadow=expected_shadow(at),
            place_error_px=max(at.radius_px / RADIUS_SIGMAS, at.radial_px / 2),
            width_error=WIDTH_ERROR,
            depth_error=math.hypot(FORETOLD_ERROR, SIGHTING_ERROR / math.sqrt(max(1, len(particle.sightings)))),
        )
    return found


def _prior(particle: Particle, at: Prediction) -> float:
    """Give the log-odds that the particle is here although the detector missed it: it may be gone since."""
    return particle.log_odds + math.log(1 - at.p_visible)


def expected_shadow(at: Prediction) -> Shadow:
    """Draw the shadow that a prediction means: its edge follows the speck's size, d = b·√A while d < b (facts §1.1)."""
    diameter_px = float(np.clip(at.diameter_px, *DIAMETER_LIMITS_PX))
    attenuation = float(np.clip(at.attenuation or 0.0, 0.001, 0.97))
    ramp = min(max(EDGE_OF_SPECK * math.sqrt(attenuation), SOFTEST_EDGE), 1.0) * diameter_px
    return Shadow(x=at.x, y=at.y, diameter_px=diameter_px, ramp_px=ramp, attenuation=attenuation)


def _apart(circles: np.ndarray, at: Prediction) -> np.ndarray:
    """Leave out of *circles* those that reach into the place itself."""
    away = np.hypot(circles[:, 0] - at.x, circles[:, 1] - at.y)
    return circles[away > circles[:, 2] + at.diameter_px / 2]


def _spot(spot_id: int, particle: Particle, at: Prediction, seen: Look) -> Spot:
    """Turn what was seen at a particle's place into a spot."""
    frames = f"{particle.frames_seen} frame{'s' if particle.frames_seen != 1 else ''}"
    return Spot(
        id=spot_id,
        x=seen.shadow.x,
        y=seen.shadow.y,
        diameter_px=seen.shadow.diameter_px,
        edge_px=EDGE_SHARE * seen.shadow.ramp_px,
        attenuation=seen.shadow.attenuation,
        score=_probability(math.log(SPOTS_PER_PX2 * at.area_px2) + seen.log_ratio),
        particle_id=particle.id,
        confidence=particle.confidence,
        frames_seen=particle.frames_seen,
        reason=f"seen in {frames}; known here; faint signal {seen.snr:.1f}σ",
    )


def _decided(spot: Spot, particle: Particle, at: Prediction, view: View, expected: Expected) -> Spot:
    """Want what is confirmed, or is by this."""
    if particle.confirmed:
        return replace(spot, wanted=True)
    if confirms(particle, at, spot, view, expected.body, expected.crowd):
        return replace(spot, wanted=True, reason=f"{spot.reason}, which confirms it")
    return replace(spot, reason=f"{spot.reason}, not yet confirmed: left alone")


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
