"""Giving the light back: divide by what the dust let through, or paint over what it hid, or leave it and say why.

Only spots that the evidence wants corrected are touched, and of them only those whose light loss can be told from the
scene. Division works on the raw samples, alike for all colours, with the shadow fitted afresh in this frame and bent
to the grain's true outline where the surroundings are smooth enough to show it. Samples outside the spots stay
bit-identical.

This module knows arrays and values; it does not know files or the dust map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np

from dustd.frame import Frame
from dustd.measure import (
    EDGE_SHARE,
    MARGIN_PX,
    KnownShadow,
    Shadow,
    filtered,
    fit,
    hole,
    radial_frequency,
    whitener,
)
from dustd.patch import Patch, black_level, colours, cut, fill
from dustd.spot import Action, Spot

OPAQUE = 0.5  # above this share of light lost, little is left to give back: facts §5, policy
UNSURE = 0.25  # largest standard error of the attenuation, as a share of it, for a division
CLEAR = 8.0  # how much likelier (natural log) the data must be with the shadow than without
STANDOUT = 1.2  # the attenuation against the contrast of the surroundings
TINT = 0.25  # how much the depth may differ between colours, as a share of it: dust is nearly grey
MISFIT = 1.6  # how much odder the corrected place may look than its surroundings (mean Huber cost, as a ratio)
SMOOTH = 0.2  # paint only where the texture's contrast is at most this share of the depth
BEND = 0.35  # how far the true shadow may leave the soft disc: standard deviation, as a share of its depth
SKIRT = 1.25  # the correction fades out at this multiple of the shadow's reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """*raw* is a new array like the frame's, *spots* the same spots in the same order with action and reason."""

    raw: np.ndarray
    spots: tuple[Spot, ...]


def correct(frame: Frame, spots: Sequence[Spot], known: Mapping[int, KnownShadow] = MappingProxyType({})) -> Corrected:
    """Correct the wanted *spots* of a frame, deepest first; the frame itself is never modified.

    *known* is what the dust map knows of their shadows, by spot id.

    Overlapping spots are fitted one after the other on what the earlier ones left, so that nothing is divided twice.
    The result is deterministic.
    """
    work = replace(frame, raw=frame.raw.copy())
    done = {spot.id: spot for spot in spots}
    order = sorted((spot for spot in spots if spot.wanted), key=lambda spot: -spot.attenuation)
    for k, spot in enumerate(order):
        action, words = _treat(work, spot, known.get(spot.id), [*order[k + 1 :], *(s for s in spots if not s.wanted)])
        reason = f"{spot.reason}; {words}" if spot.reason else words
        done[spot.id] = replace(spot, action=action, reason=reason)
    return Corrected(raw=work.raw, spots=tuple(done[spot.id] for spot in spots))


def _treat(work: Frame, spot: Spot, known: KnownShadow | None, others: Sequence[Spot]) -> tuple[Action, str]:
    """Correct one spot in *work*; return what was done and why."""
    start = Shadow(
        x=spot.x,
        y=spot.y,
        diameter_px=max(3.0, spot.diameter_px),
        ramp_px=float(np.clip(spot.edge_px / EDGE_SHARE, 0.15 * spot.diameter_px, spot.diameter_px)),
        attenuation=float(np.clip(spot.attenuation, 0.01, 0.95)),
    )
    if known is not None:
        start = replace(known.shadow, x=spot.x, y=spot.y)
    half = max(2.4 * start.reach_px, start.reach_px + MARGIN_PX)
    patch = cut(work, spot.x, spot.y, half, avoid=_circles(spot, others))
    if _all_clipped(work, start):
        _whiten(work, start)
        return "inpainted", "its surroundings are clipped: filled with white"
    if patch is None:
        return "left", "left alone: too little of its surroundings is usable to judge it"
    weights = whitener(patch.log, patch.known & ~hole(patch, start, SKIRT))
    slack = (start.diameter_px / 4, start.diameter_px / 4)
    shadow = fit(patch, start, weights, slack_px=slack, search=known is None)
    if shadow is None:
        return "left", "left alone: no loss of light can be measured here"
    share = f"{shadow.attenuation:.0%} of the light"
    contrast = float(patch.log[patch.known & ~hole(patch, shadow, SKIRT)].std())
    unsure = shadow.error > UNSURE * shadow.attenuation or shadow.gain < CLEAR
    if unsure or shadow.attenuation < STANDOUT * contrast:
        return "left", "left alone: the picture's own structure hides how much light was lost"
    tint, tint_error = _tint(patch, shadow)
    if abs(tint) > TINT + 2 * tint_error:
        return "left", "left alone: it is coloured, and dust is grey"
    bend = _bend(patch, shadow, weights)
    fits = _misfit(patch, shadow, bend, weights) < MISFIT
    if fits and shadow.attenuation <= OPAQUE:
        _divide(work, patch, shadow, bend)
        return "divided", f"{share} given back"
    if contrast < SMOOTH * shadow.attenuation and _paint(work, shadow, others):
        why = "too dense to see through" if fits else "its outline is too irregular to give light back"
        return "inpainted", f"{why} ({share} lost): filled from its surroundings"
    if fits:
        return "left", f"left alone: too dense to see through ({share} lost) and its surroundings too detailed to fill"
    return "left", "left alone: its shape is not that of dust on the sensor"


def _misfit(patch: Patch, shadow: Shadow, bend: np.ndarray, weights: np.ndarray) -> float:
    """Compare the oddness of the corrected place with that of its surroundings: about 1 where all is well."""
    log_t = _log_transmission(shadow, patch.xs, patch.ys, bend)
    size = np.abs(filtered(fill(patch.log, patch.known) - log_t, weights))
    odd = np.where(size < 2, 0.5 * size**2, 2 * size - 2)
    inside = hole(patch, shadow, 1.0)
    return float(odd[inside & patch.known].mean() / odd[~inside & patch.known].mean())


def _log_transmission(shadow: Shadow, xs: np.ndarray, ys: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Return the log of the transmission at (ys, xs), the *bend* there given."""
    return np.log1p(-shadow.attenuation * shadow.depth(xs, ys)) + _skirt(shadow, xs, ys) * bend


def _tint(patch: Patch, shadow: Shadow) -> tuple[float, float]:
    """Tell how far the colours disagree about the depth, as a share of it, and the standard error of that.

    Dust is nearly grey, the scene seldom: each plane's log light less the pooled one is matched with the shadow.
    """
    outside = ~hole(patch, shadow, SKIRT)
    template = np.log1p(-shadow.attenuation * shadow.depth(patch.xs, patch.ys))
    worst = (0.0, 1e9)
    if len(patch.planes) == 1:
        return worst
    for plane, base, share in zip(patch.planes, patch.bases, patch.shares, strict=True):
        known = (share > 0) & patch.known
        own = np.log(np.maximum(plane, 1e-7) / np.maximum(base, 1e-7))
        rest = fill(np.where(known, own - patch.log, 0).astype(np.float32), known)
        weights = whitener(rest, outside)
        t, e = filtered(template, weights), filtered(rest, weights)
        e = e * np.minimum(1, 2 / np.maximum(np.abs(e), 1e-9))
        power = float((t * t).sum())
        tint, error = float((t * e).sum()) / power, power**-0.5
        if abs(tint) / (error + 0.1) > abs(worst[0]) / (worst[1] + 0.1):
            worst = (tint, error)
    return worst


def _all_clipped(work: Frame, shadow: Shadow) -> bool:
    """Tell whether practically every sample around the shadow is at white."""
    rows, cols, xs, ys = _box(work, replace(shadow, ramp_px=shadow.ramp_px + 8))
    ring = _skirt(shadow, xs, ys) == 0
    return bool(ring.any()) and float((work.mosaic[rows, cols][ring] >= work.white).mean()) > 0.98


def _whiten(work: Frame, shadow: Shadow) -> None:
    """Lift all samples under the shadow to white, in place."""
    rows, cols, xs, ys = _box(work, shadow)
    _write(work, rows, cols, _skirt(shadow, xs, ys) > 0, lambda light: np.full_like(light, work.white))


def _circles(spot: Spot, others: Sequence[Spot]) -> np.ndarray:
    """Return x, y, radius of the other spots that do not reach this one's centre."""
    circles = [(o.x, o.y, o.diameter_px / 2 + o.edge_px) for o in others]
    apart = [c for c in circles if np.hypot(c[0] - spot.x, c[1] - spot.y) > c[2] + spot.diameter_px / 2]
    return np.array(apart, np.float32).reshape(-1, 3)


def _skirt(shadow: Shadow, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Weigh places by how far the correction may act there: 1 under the shadow, falling to 0 outside it."""
    t = (np.hypot(xs - shadow.x, ys - shadow.y) / shadow.reach_px - 1) / (SKIRT - 1)
    t = np.clip(t, 0, 1)
    return 1 - t * t * (3 - 2 * t)


def _bend(patch: Patch, shadow: Shadow, weights: np.ndarray) -> np.ndarray:
    """Estimate how the log transmission departs from the soft disc, (h, w) cells, before its fading at the skirt.

    Most likely smooth Gaussian field of BEND x depth given the whitened residual; where texture drowns it, it stays
    zero. Conjugate gradients on (1 + Q M W H W M Q) u = Q M W H r, W the whitener, Q the field's root spectrum.
    """
    depth = -np.log1p(-shadow.attenuation)
    length = max(0.5 * shadow.ramp_px, shadow.diameter_px / 8, 2.0) / patch.step
    spectrum = np.exp(-((np.pi * length * radial_frequency(patch.log.shape)) ** 2))
    root = (BEND * depth * np.sqrt(spectrum / spectrum.mean())).astype(np.float32)
    window = _skirt(shadow, patch.xs, patch.ys).astype(np.float32)
    model = np.log1p(-shadow.attenuation * shadow.depth(patch.xs, patch.ys))
    rest = filtered(fill(patch.log, patch.known) - model, weights)
    trust = patch.known * np.minimum(1, 2 / np.maximum(np.abs(rest), 1e-9))

    def back(e: np.ndarray) -> np.ndarray:
        return filtered(window * filtered(trust * e, weights), root)

    def forth(u: np.ndarray) -> np.ndarray:
        return filtered(window * filtered(u, root), weights)

    u = np.zeros_like(rest)
    r = back(rest)
    p, norm = r, float((r * r).sum())
    first = norm
    for _ in range(25):
        ap = p + back(forth(p))
        step = norm / float((p * ap).sum())
        u, r = u + step * p, r - step * ap
        norm, old = float((r * r).sum()), norm
        if norm < 1e-5 * first:
            break
        p = r + norm / old * p
    return filtered(u, root)


def _divide(work: Frame, patch: Patch, shadow: Shadow, bend: np.ndarray) -> None:
    """Divide the light under the shadow by its transmission, in place; dithered, so that no levels comb."""
    rows, cols, xs, ys = _box(work, shadow)
    big = np.pad(
        cv2.resize(bend, None, fx=patch.step, fy=patch.step, interpolation=cv2.INTER_LINEAR),
        ((0, 1), (0, 1)),
        mode="edge",
    )
    inner = big[
        np.clip(np.arange(rows.start, rows.stop) - patch.top, 0, big.shape[0] - 1)[:, None],
        np.clip(np.arange(cols.start, cols.stop) - patch.left, 0, big.shape[1] - 1)[None, :],
    ]
    skirt = _skirt(shadow, xs, ys)
    log_t = _log_transmission(shadow, xs, ys, inner)
    _write(work, rows, cols, skirt > 0, lambda light: light * np.exp(-log_t).reshape(_like(light)))


def _like(light: np.ndarray) -> tuple[int, ...]:
    return light.shape[:2] + (1,) * (light.ndim - 2)


def _box(work: Frame, shadow: Shadow) -> tuple[slice, slice, np.ndarray, np.ndarray]:
    """Return the rows and columns the correction may touch, and their coordinates."""
    reach = SKIRT * shadow.reach_px
    rows = slice(max(0, int(shadow.y - reach)), min(work.height, int(shadow.y + reach) + 2))
    cols = slice(max(0, int(shadow.x - reach)), min(work.width, int(shadow.x + reach) + 2))
    ys, xs = np.ogrid[rows, cols]
    return rows, cols, xs, ys


def _write(work: Frame, rows: slice, cols: slice, where: np.ndarray, change) -> None:
    """Replace the samples *where* by *change* of their light above black, rounded by dither."""
    samples = work.mosaic[rows, cols]
    black = black_level(work, rows, cols)
    rng = np.random.default_rng([rows.start, cols.start])
    new = np.floor(change(samples - black) + black + rng.random(samples.shape))
    new = np.where(samples >= work.white, samples, np.clip(new, 0, work.white))
    samples[where] = new[where].astype(np.uint16)


def _paint(work: Frame, shadow: Shadow, others: Sequence[Spot]) -> bool:
    """Span each colour over the spot and lay the grain of the surroundings on it, in place.

    The grain is drawn at random from samples of the same colour around the spot. Returns False, and changes nothing,
    where the surroundings do not reach.
    """
    spot = Spot(id=0, x=shadow.x, y=shadow.y, diameter_px=shadow.diameter_px, edge_px=0, attenuation=0, score=0)
    half = max(2.4 * shadow.reach_px, shadow.reach_px + MARGIN_PX)
    patch = cut(work, shadow.x, shadow.y, half, avoid=_circles(spot, others))
    if patch is None:
        return False
    rows, cols = patch.window
    samples = work.mosaic[rows, cols]
    light = samples - black_level(work, rows, cols)
    scale = work.white - float(np.mean(work.black))
    ys, xs = np.ogrid[rows, cols]
    skirt = _skirt(shadow, xs, ys)
    around = skirt == 0
    rng = np.random.default_rng([rows.start, cols.start])
    target = skirt > rng.random(skirt.shape)  # a random seam keeps the grain whole where old meets new
    inside = hole(patch, shadow, SKIRT)
    new = light.copy()
    for k in range(len(patch.planes)):
        smooth = scale * _spanned(patch, k, inside)
        if work.kind == "linear":
            mine, value, out = np.ones_like(around), light[..., k], new[..., k]
        else:
            mine, value, out = colours(work, rows, cols) == np.unique(np.asarray(work.cfa))[k], light, new
        source = mine & around & (np.asarray(samples if samples.ndim == 2 else samples[..., k]) < work.white)
        grain = (value - smooth)[source] / np.sqrt(np.maximum(smooth[source], 1e-3))
        place = mine & target
        draw = np.random.default_rng([rows.start, cols.start, 0 if work.kind == "linear" else k])
        picked = grain[draw.integers(0, len(grain), int(place.sum()))]
        out[place] = smooth[place] + picked * np.sqrt(np.maximum(smooth[place], 1e-3))
    _write(work, rows, cols, target, lambda _: new)
    return True


def _spanned(patch: Patch, k: int, inside: np.ndarray) -> np.ndarray:
    """Return plane *k* smoothed, in light per sample, and spanned over *inside*."""
    known = ((patch.shares[k] > 0) & ~inside).astype(np.float32)
    ratio = patch.planes[k] / np.maximum(patch.bases[k], 1e-6)
    weight = cv2.GaussianBlur(known, (0, 0), 1.5)
    low = cv2.GaussianBlur(ratio * known, (0, 0), 1.5) / np.maximum(weight, 1e-6)
    spanned = fill(low.astype(np.float32), (known > 0) & (weight > 0.05)) * patch.bases[k]
    return cv2.resize(spanned, None, fx=patch.step, fy=patch.step, interpolation=cv2.INTER_LINEAR)
