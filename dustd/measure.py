"""Measuring one spot: where its shadow lies, how wide, how soft and how deep it is.

The shadow is a flat-topped disc with a soft edge (the picture of the aperture; optics facts §1.1), seen in the log of
linear light, where dust adds to whatever the scene does. The scene is taken as a random texture whose power spectrum
is read off the spot's surroundings: whitened by it, sky counts by its levels, texture only by what it cannot do
itself, and what is left of hard edges is weighed down (Huber). Cells of several pixels keep it fast.

This module knows arrays and values; it does not know whether a spot is dust (`dustd.dustmap`) or how to take it out
(`dustd.correct`).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dustd.frame import Frame
from dustd.spot import Detection, Spot

DIAMETER_LIMITS_PX = (3.0, 160.0)
EDGE_SHARE = 0.6084  # 10 to 90 % of a smoothstep, as a share of its whole width
MARGIN_PX = 16
CELLS = 36  # a patch is looked at in about this many cells across
HUBER = 2.0  # in standard deviations of the whitened surroundings
DARK_LIGHT = 1e-5  # below this share of white the log says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A soft disc: centre and sizes in px, *ramp_px* the whole width of its edge, *attenuation* 0 to 1.

    *error* is the standard error of the attenuation given the texture around it; *gain* by how much the data are
    likelier with this shadow than without (natural log).
    """

    x: float
    y: float
    diameter_px: float
    ramp_px: float
    attenuation: float
    error: float = np.inf
    gain: float = 0.0

    @property
    def reach_px(self) -> float:
        """The radius beyond which the shadow takes no light."""
        return (self.diameter_px + self.ramp_px) / 2

    def depth(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Return its share of the full depth, 0 to 1, at frame coordinates that broadcast to (h, w)."""
        inner = (self.diameter_px - self.ramp_px) / 2
        t = np.clip((np.hypot(xs - self.x, ys - self.y) - inner) / self.ramp_px, 0, 1)
        return 1 - t * t * (3 - 2 * t)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The surroundings of a spot, in cells of *step* x *step* px; its first pixel is (*left*, *top*).

    *planes* (n, h, w) is mean light per colour and cell, *shares* (n, h, w) the share of usable samples behind it,
    *bases* (n, h, w) the smooth background, *log* (h, w) the log of light over background, pooled over colours;
    *known* (h, w) tells the cells that have any sample. *xs* (1, w) and *ys* (h, 1) are the cells' centres.
    """

    left: int
    top: int
    step: int
    planes: np.ndarray
    shares: np.ndarray
    bases: np.ndarray
    log: np.ndarray
    known: np.ndarray
    xs: np.ndarray
    ys: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """The patch's rows and columns in the visible area."""
        h, w = self.log.shape
        return slice(self.top, self.top + h * self.step), slice(self.left, self.left + w * self.step)


def measure(frame: Frame, detection: Detection, spot_id: int) -> Spot:
    """Measure the spot inside a detector's box: centre, width at half depth, 10-90 % edge, attenuation.

    Where no shadow can be fitted (clipped, too dark, no room around it) the box gives position and size, and the
    mean light inside over the mean around it the attenuation.
    """
    half = max(detection.width_px, detection.height_px) / 2
    patch = cut(frame, detection.x, detection.y, max(2.5 * half, half + MARGIN_PX))
    size = float(np.clip((detection.width_px + detection.height_px) / 2, *DIAMETER_LIMITS_PX))
    start = Shadow(x=detection.x, y=detection.y, diameter_px=0.75 * size, ramp_px=0.4 * size, attenuation=0.05)
    shadow = None
    if patch is not None:
        slack = (detection.width_px / 2, detection.height_px / 2)
        shadow = fit(
            patch, start, whitener(patch.log, patch.known & ~hole(patch, start, 1.3)), slack_px=slack, search=True
        )
    if shadow is None:
        shadow = _from_box(patch, start, size)
    return Spot(
        id=spot_id,
        x=float(shadow.x),
        y=float(shadow.y),
        diameter_px=float(shadow.diameter_px),
        edge_px=float(EDGE_SHARE * shadow.ramp_px),
        attenuation=float(shadow.attenuation),
        score=detection.score,
    )


def colours(frame: Frame, rows: slice, cols: slice) -> np.ndarray:
    """Tell the plane (0, 1, 2) of each CFA or mono sample in a window of the visible area: (h, w)."""
    cfa = np.asarray(frame.cfa)
    ys, xs = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
    return cfa[np.ix_(ys % cfa.shape[0], xs % cfa.shape[1])]


def black_level(frame: Frame, rows: slice, cols: slice) -> np.ndarray:
    """Return the black level of each sample in a window of the visible area, shaped to subtract from it."""
    black = np.asarray(frame.black, np.float32)
    if frame.kind == "linear":
        return black.reshape(1, 1, 3)
    ys, xs = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
    return black[np.ix_(ys % black.shape[0], xs % black.shape[1])]


def cut(frame: Frame, x: float, y: float, half_px: float, avoid: np.ndarray | None = None) -> Patch | None:
    """Cut the patch of +-*half_px* around (x, y), as far as the frame goes, and find its background.

    *avoid* (n, 3) are x, y, radius of circles to keep out of it (other spots). Returns None if too little is left.
    """
    step = max(1, round(2 * half_px / CELLS))
    left, top = (max(0, round(v - half_px)) for v in (x, y))
    nx, ny = (
        min(round(2 * half_px), end - start) // (2 * step) * 2
        for start, end in ((left, min(frame.width, round(x + half_px))), (top, min(frame.height, round(y + half_px))))
    )
    if min(nx, ny) < 8:
        return None
    rows, cols = slice(top, top + ny * step), slice(left, left + nx * step)
    samples = frame.mosaic[rows, cols]
    light = (samples - black_level(frame, rows, cols)) / (frame.white - float(np.mean(frame.black)))
    usable = samples < frame.white
    if avoid is not None and len(avoid):
        ys, xs = np.ogrid[rows, cols]
        for ax, ay, radius in avoid:
            usable &= (np.hypot(xs - ax, ys - ay) > radius).reshape(light.shape[:2] + (1,) * (light.ndim - 2))
    if frame.kind == "linear":
        parts = [(light[..., c], usable[..., c]) for c in range(3)]
    else:
        plane = colours(frame, rows, cols)
        parts = [(light, usable & (plane == c)) for c in np.unique(np.asarray(frame.cfa))]
    shares = np.stack([_cells(mask.astype(np.float32), step) for _, mask in parts])
    planes = np.stack([_cells(np.where(mask, part, 0).astype(np.float32), step) for part, mask in parts])
    planes /= np.maximum(shares, 1e-9)
    xs = left + (np.arange(nx) * step + (step - 1) / 2)[None, :].astype(np.float32)
    ys = top + (np.arange(ny) * step + (step - 1) / 2)[:, None].astype(np.float32)
    away = np.hypot(xs - x, ys - y) > 0.5 * half_px
    return _flatten(left, top, step, planes, shares, xs, ys, away)


def hole(patch: Patch, shadow: Shadow, widen: float) -> np.ndarray:
    """Tell the cells within *widen* times the shadow's reach: (h, w) bool."""
    return np.hypot(patch.xs - shadow.x, patch.ys - shadow.y) < widen * shadow.reach_px


def fill(values: np.ndarray, known: np.ndarray, rounds: int = 60) -> np.ndarray:
    """Span a membrane over the unknown cells of (h, w) *values*: coarse to fine, then relaxed."""
    if known.all():
        return values
    if not known.any():
        return np.zeros_like(values)
    weight = known.astype(np.float32)
    if min(values.shape) > 2:
        small = (max(1, values.shape[1] // 2), max(1, values.shape[0] // 2))
        low_weight = cv2.resize(weight, small, interpolation=cv2.INTER_AREA)
        low = cv2.resize(values * weight, small, interpolation=cv2.INTER_AREA) / np.maximum(low_weight, 1e-9)
        guess = cv2.resize(fill(low, low_weight > 0, rounds // 2), values.shape[::-1], interpolation=cv2.INTER_LINEAR)
    else:
        guess = np.full_like(values, values[known].mean())
    filled = np.where(known, values, guess).astype(np.float32)
    for _ in range(rounds):
        filled = np.where(known, filled, cv2.blur(filled, (3, 3), borderType=cv2.BORDER_REFLECT))
    return filled


def whitener(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return the DCT weights (h, w) that turn texture and noise like that of *values* into unit white noise.

    The power spectrum is that of the *usable* cells, the others bridged by a membrane, averaged over half octaves.
    """
    power = cv2.dct(fill(values, usable)) ** 2 / max(0.2, usable.mean())
    frequency = radial_frequency(power.shape)
    octave = np.round(1.5 * np.log2(np.maximum(frequency, 1e-9) / frequency[frequency > 0].min())).astype(int)
    octave[0, 0] = -1
    centres, levels = [], []
    for k in range(octave.max() + 1):
        if (ring := octave == k).any():
            centres.append(np.log(frequency[ring]).mean())
            levels.append(np.log(power[ring].mean() * (1 + 2.0 / ring.sum() ** 0.5) + 1e-12))
    levels = np.maximum.accumulate(levels[::-1])[::-1]  # scenes have no preferred size
    spectrum = np.exp(np.interp(np.log(np.maximum(frequency, 1e-9)), centres, levels))
    weights = (1 / np.sqrt(spectrum)).astype(np.float32)
    weights[0, 0] = 0  # the mean level is free
    return weights


def radial_frequency(shape: tuple[int, int]) -> np.ndarray:
    """Return the spatial frequency of each DCT coefficient, in cycles per cell."""
    return np.hypot(np.arange(shape[0])[:, None] / shape[0], np.arange(shape[1])[None, :] / shape[1]) / 2


def filtered(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Multiply the DCT of (h, w) *values* by *weights*; a symmetric linear map."""
    return cv2.idct(cv2.dct(values.astype(np.float32)) * weights)


def fit(
    patch: Patch, start: Shadow, weights: np.ndarray, *, slack_px: tuple[float, float], search: bool
) -> Shadow | None:
    """Fit the shadow to the whitened log light, from *start*, its centre within *slack_px* of it.

    With *search*, several sizes are tried first. Levenberg-Marquardt with Huber weights on five parameters: x, y,
    diameter, ramp, attenuation. Returns None if the patch is mostly unknown or holds no darkening.
    """
    inside = hole(patch, start, 1.0)
    if patch.known.mean() < 0.5 or not inside.any() or patch.known[inside].mean() < 0.7:
        return None
    data = filtered(fill(patch.log, patch.known), weights)
    trusted = cv2.erode(patch.known.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    low = np.array([start.x - slack_px[0], start.y - slack_px[1], DIAMETER_LIMITS_PX[0], 0.15, 0.001])
    high = np.array([start.x + slack_px[0], start.y + slack_px[1], DIAMETER_LIMITS_PX[1], 1.0, 0.97])

    def residual(p: np.ndarray) -> np.ndarray:
        return data - filtered(np.log1p(-p[4] * _shadow(p).depth(patch.xs, patch.ys)), weights)

    p = np.array([start.x, start.y, start.diameter_px, start.ramp_px / start.diameter_px, start.attenuation])
    p = np.clip(p, low, high)
    if search:
        sizes = np.clip(p[2] * np.array([0.6, 0.8, 1.0, 1.25, 1.5]), *DIAMETER_LIMITS_PX)
        tries = [_with_gain(patch, p, size, data, weights, trusted) for size in sizes]
        p = np.clip(min(tries, key=lambda q: _cost(residual(q), trusted)), low, high)
    p, error = _descend(residual, p, low, high, trusted, _expectation(start))
    cost = _cost(residual(p), trusted)
    gain = _cost(data, trusted) - cost
    if not np.isfinite(gain) or gain <= 0 or p[4] <= 1.01 * low[4]:
        return None
    return _shadow(p, error=error, gain=float(gain))


def _shadow(p: np.ndarray, **more: float) -> Shadow:
    x, y, diameter, ramp, attenuation = (float(v) for v in p)
    return Shadow(x=x, y=y, diameter_px=diameter, ramp_px=ramp * diameter, attenuation=attenuation, **more)


def _with_gain(
    patch: Patch, p: np.ndarray, diameter: float, data: np.ndarray, weights: np.ndarray, trusted: np.ndarray
) -> np.ndarray:
    """Return *p* with another diameter and the attenuation that suits it best (least squares)."""
    p = np.array([p[0], p[1], diameter, p[3], p[4]])
    template = filtered(-_shadow(p).depth(patch.xs, patch.ys), weights)
    slope = (trusted * template * data).sum() / max(1e-9, (trusted * template**2).sum())
    p[4] = 1 - np.exp(-max(0.002, slope))
    return p


def _huber(e: np.ndarray) -> np.ndarray:
    return np.minimum(1, HUBER / np.maximum(np.abs(e), 1e-9))


def _cost(e: np.ndarray, trusted: np.ndarray) -> float:
    size = np.abs(e)
    return float((trusted * np.where(size < HUBER, 0.5 * e * e, HUBER * (size - HUBER / 2))).sum())


def _expectation(start: Shadow) -> tuple[np.ndarray, np.ndarray]:
    """Return what to expect of x, y, diameter and relative ramp before looking, and how firmly (1 / variance)."""
    size = start.diameter_px
    mean = np.array([start.x, start.y, size, 0.5, 0.0])
    return mean, np.array([(0.08 * size) ** -2, (0.08 * size) ** -2, (0.2 * size) ** -2, 0.3**-2, 0.0])


def _descend(residual, p, low, high, trusted, expected) -> tuple[np.ndarray, float]:
    """Minimise the Huber cost plus the pull of *expected*; return parameters and the last one's standard error."""
    nudge = np.array([0.1, 0.1, 0.1, 0.02, 0.002])
    mean, firm = expected

    def total(e: np.ndarray, q: np.ndarray) -> float:
        return _cost(e, trusted) + 0.5 * float((firm * (q - mean) ** 2).sum())

    e, damping = residual(p), 1e-2
    cost = total(e, p)
    for _ in range(8):
        moves = np.where(p + nudge <= high, nudge, -nudge)
        jacobian = np.stack([(residual(p + np.eye(5)[k] * moves[k]) - e).ravel() / moves[k] for k in range(5)], axis=1)
        weighted = jacobian * (trusted * _huber(e)).ravel()[:, None]
        normal = weighted.T @ jacobian + np.diag(firm)
        slope = weighted.T @ e.ravel() + firm * (p - mean)
        for _ in range(4):
            step = -np.linalg.lstsq(normal + damping * np.diag(np.diag(normal) + 1e-9), slope, rcond=None)[0]
            candidate = np.clip(p + step, low, high)
            new = residual(candidate)
            if (new_cost := total(new, candidate)) < cost:
                break
            damping *= 5
        else:
            break
        done = cost - new_cost < 0.02  # log-likelihood: no longer worth a step
        p, e, cost, damping = candidate, new, new_cost, damping / 5
        if done:
            break
    variance = np.linalg.pinv(normal)[4, 4]
    return p, float(np.sqrt(max(variance, 0)))


def _cells(values: np.ndarray, step: int) -> np.ndarray:
    """Average (h, w) values over step x step cells."""
    h, w = values.shape
    return values if step == 1 else values.reshape(h // step, step, w // step, step).mean(axis=(1, 3))


def _flatten(left, top, step, planes, shares, xs, ys, away) -> Patch | None:
    """Divide each colour by a smooth surface fitted to what lies *away* from the spot, and pool the colours."""
    u, v = np.broadcast_arrays((xs - xs.mean()) / np.ptp(xs), (ys - ys.mean()) / np.ptp(ys))
    terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1).astype(np.float32)
    bases = np.empty_like(planes)
    pooled = np.zeros_like(planes[0])
    total = np.zeros_like(pooled)
    for k, (plane, share) in enumerate(zip(planes, shares, strict=True)):
        here = away & (share > 0)
        if here.sum() < 24:  # clipped, most likely: this colour says nothing
            bases[k] = 1
            continue
        bases[k], spread = _surface(plane, terms, here)
        bright = bases[k] > DARK_LIGHT
        weight = share * bright / spread**2
        pooled += weight * np.where(bright, plane, 0) / np.maximum(bases[k], DARK_LIGHT)
        total += weight
    known = total > 0
    if known.mean() < 0.3:
        return None
    ratio = np.where(known, pooled / np.maximum(total, 1e-30), 1)
    log = np.log(np.maximum(ratio, 0.02)).astype(np.float32)
    return Patch(
        left=left, top=top, step=step, planes=planes, shares=shares, bases=bases, log=log, known=known, xs=xs, ys=ys
    )


def _surface(plane: np.ndarray, terms: np.ndarray, here: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit a quadratic robustly; return it everywhere and the relative spread of the data around it."""
    a, b = terms[here], plane[here]
    weight = np.ones_like(b)
    for _ in range(3):
        aw = a * weight[:, None]
        solution = np.linalg.lstsq(aw.T @ a, aw.T @ b, rcond=None)[0]
        rest = b - a @ solution
        spread = 1.4826 * float(np.median(np.abs(rest))) + 1e-7
        weight = np.minimum(1, 1.5 * spread / np.maximum(np.abs(rest), 1e-9)).astype(np.float32)
    base = terms @ solution
    return base, spread / max(float(np.median(b)), 1e-5)


def _from_box(patch: Patch | None, start: Shadow, size_px: float) -> Shadow:
    """Take position and size from the box, the attenuation from the mean light inside and around it."""
    attenuation = 0.0
    if patch is not None:
        inside, around = hole(patch, start, 0.6) & patch.known, ~hole(patch, start, 1.3) & patch.known
        if inside.any() and around.any():
            attenuation = float(np.clip(1 - np.exp(patch.log[inside].mean() - patch.log[around].mean()), 0, 0.99))
    return Shadow(x=start.x, y=start.y, diameter_px=0.75 * size_px, ramp_px=0.3 * size_px, attenuation=attenuation)
