"""Giving the light back: divide by what the dust let through, or paint over what it hid, or leave it and say why.

Only spots that the evidence or a person wants corrected are touched, and of them only those whose light loss can be
told from the scene. Where the dust map knows a shadow, the fit weighs what it expects against the light of this frame,
each by how sure it is: in a sky the light decides, on foliage the map. Samples outside the spots stay bit-identical.

This module decides; `dustd.spots.divide` and `dustd.spots.paint` do it. It knows arrays and values, not files or the
dust map.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from dustd.raw.frame import Frame
from dustd.spots import optics
from dustd.spots.divide import bend_of, divide, log_transmission
from dustd.spots.measure import (
    EDGE_SHARE,
    MARGIN_PX,
    OVERSURE,
    KnownShadow,
    Shadow,
    filtered,
    fit,
    hole,
    whitener,
)
from dustd.spots.paint import all_clipped, paint, whiten
from dustd.spots.physics import sharpest_edge_px
from dustd.spots.samples import SKIRT, circles
from dustd.spots.spot import Action, Spot
from dustd.spots.surroundings import Patch, cut, fill
from dustd.spots.tint import nearly_grey, tints_of

OPAQUE = 0.5  # above this share of light lost, little is left to give back: facts §5, policy
UNSURE = 0.35  # largest standard error of the attenuation, as a share of it, for a division
# For shadows that the map does not know: how much likelier (natural log) the data must be with the shadow than without,
# and by how many times its squared relative error a depth found so is too large, as dark-looking places are chosen.
CLEAR, FLATTERED = 6.0, 4.0
SHAPELESS = 0.03  # what a soft disc is wrong by at best, as a share of the depth: grains are irregular
PLACED = 0.05  # how far off a spot is measured at worst, in diameters
DISAGREE = 2.5  # by how many standard deviations the light may ask for less than the map expects
TINT = 0.25  # how much the depth may differ between colours, as a share of it: dust is nearly grey
MISFIT = 1.6  # how much odder the corrected place may look than its surroundings (mean Huber cost, as a ratio)
SMOOTH = 0.2  # paint only where the texture's contrast is at most this share of the depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """*raw* is a new array like the frame's, *spots* the same spots in the same order with action and reason."""

    raw: np.ndarray
    spots: tuple[Spot, ...]


def correct(frame: Frame, spots: Sequence[Spot], known: Mapping[int, KnownShadow] = MappingProxyType({})) -> Corrected:
    """Correct the *spots* that are due of a frame, deepest first; the frame itself is never modified.

    *known* is what the dust map knows of their shadows, by spot id.

    Overlapping spots are fitted one after the other on what the earlier ones left, so that nothing is divided twice.
    The result is deterministic.
    """
    work = replace(frame, raw=frame.raw.copy())
    done = {spot.id: spot for spot in spots}
    order = sorted((spot for spot in spots if spot.due), key=lambda spot: -spot.attenuation)
    for k, spot in enumerate(order):
        others = [*order[k + 1 :], *(s for s in spots if not s.due)]
        action, words = _treat(work, spot, known.get(spot.id), others)
        reason = f"{spot.reason}; {words}" if spot.reason else words
        done[spot.id] = replace(spot, action=action, reason=reason)
    return Corrected(raw=work.raw, spots=tuple(done[spot.id] for spot in spots))


def _treat(work: Frame, spot: Spot, known: KnownShadow | None, others: Sequence[Spot]) -> tuple[Action, str]:
    """Correct one spot in *work*; return what was done and why."""
    start = _start(spot, known)
    half = max(2.4 * start.reach_px, start.reach_px + MARGIN_PX)
    patch = cut(work, start.x, start.y, half, avoid=circles(spot, others))
    if all_clipped(work, start):
        whiten(work, start)
        return "inpainted", "its surroundings are clipped: filled with white"
    if patch is None:
        return "left", "left alone: too little of its surroundings is usable to judge it"
    weights = whitener(patch.log, patch.known & ~hole(patch, start, SKIRT))
    slack = (start.diameter_px / 4, start.diameter_px / 4)
    shadow = fit(patch, start, weights, slack_px=slack, known=known)
    if shadow is None:
        return "left", "left alone: no loss of light can be measured here"
    contrast = float(patch.log[patch.known & ~hole(patch, shadow, SKIRT)].std())
    doubt = _doubt(shadow, known, _narrowest_blur_px(work))
    if doubt:
        return "left", f"left alone: {doubt}"
    if known is None:
        shadow = replace(
            shadow, attenuation=shadow.attenuation / (1 + FLATTERED * (shadow.error / shadow.attenuation) ** 2)
        )
    share = f"{shadow.attenuation:.0%} of the light"
    tints, tint_errors = tints_of(patch, shadow)
    if (np.abs(tints) > TINT + 2 * tint_errors).any():
        return "left", "left alone: it is coloured, and dust is grey"
    bend = bend_of(patch, shadow, weights)
    log_t = log_transmission(shadow, patch.xs, patch.ys, bend)
    before, after = _oddness(patch, shadow, 0.0, weights), _oddness(patch, shadow, log_t, weights)
    # Texture may look odd by itself, under dust as anywhere; where the map knows dust, it is enough that it gets less.
    fits = after < MISFIT or (known is not None and contrast >= SMOOTH * shadow.attenuation and after < before)
    if fits and shadow.attenuation <= OPAQUE:
        divide(work, patch, shadow, bend, nearly_grey(tints, tint_errors))
        return "divided", f"{share} given back"
    if contrast < SMOOTH * shadow.attenuation and paint(work, shadow, others):
        why = "too dense to see through" if fits else "its outline is too irregular to give light back"
        return "inpainted", f"{why} ({share} lost): filled from its surroundings"
    if fits:
        return "left", f"left alone: too dense to see through ({share} lost) and its surroundings too detailed to fill"
    return "left", "left alone: its shape is not that of dust on the sensor"


def _start(spot: Spot, known: KnownShadow | None) -> Shadow:
    """Begin with the spot as it was measured, or as the map knows it, between where it is expected and was measured."""
    if known is None:
        return Shadow(
            x=spot.x,
            y=spot.y,
            diameter_px=max(3.0, spot.diameter_px),
            ramp_px=float(np.clip(spot.edge_px / EDGE_SHARE, 0.15 * spot.diameter_px, spot.diameter_px)),
            attenuation=float(np.clip(spot.attenuation, 0.01, 0.95)),
        )
    expected = known.shadow
    share = 1 / (1 + (PLACED * expected.diameter_px / known.place_error_px) ** 2)
    return replace(expected, x=expected.x + share * (spot.x - expected.x), y=expected.y + share * (spot.y - expected.y))


def _narrowest_blur_px(frame: Frame) -> float:
    """Say how narrow the blur can be at this frame's aperture, behind the thinnest stack; 0 where that is not known."""
    camera = frame.camera
    if not camera.f_number:
        return 0.0
    return optics.STACK_RANGE[0] * optics.blur_px(camera.f_number, optics.blur_constant_px(camera.pixel_pitch_um))


def _doubt(shadow: Shadow, known: KnownShadow | None, narrowest_blur_px: float) -> str | None:
    """Say why the fitted shadow is not to be trusted, None if it is."""
    hidden = "the picture's own structure hides how much light was lost"
    error = math.hypot((OVERSURE if known else 1) * shadow.error, SHAPELESS * shadow.attenuation)
    unsure = error > UNSURE * shadow.attenuation
    if known is not None:
        expected = known.shadow.attenuation
        if shadow.pull < -DISAGREE or (unsure and shadow.attenuation < expected / 2):
            return f"the map expects {expected:.0%} of the light to be lost, here it is less"
        return hidden if unsure else None
    if unsure or shadow.gain < CLEAR:
        return hidden
    sharpest_px = sharpest_edge_px(shadow.diameter_px, shadow.attenuation, shadow.gain, narrowest_blur_px)
    if EDGE_SHARE * shadow.ramp_px < sharpest_px:
        return "its edge is too sharp for dust on the sensor"
    return None


def _oddness(patch: Patch, shadow: Shadow, log_t: np.ndarray | float, weights: np.ndarray) -> float:
    """Compare how odd the shadow's place looks with its surroundings, less *log_t*: about 1 where all is well."""
    size = np.abs(filtered(fill(patch.log, patch.known) - log_t, weights))
    odd = np.where(size < 2, 0.5 * size**2, 2 * size - 2)
    inside = hole(patch, shadow, 1.0)
    return float(odd[inside & patch.known].mean() / odd[~inside & patch.known].mean())
