"""Giving light back by division: the shadow's true outline and colour, as far as the surroundings show them.

A soft disc is what dust on a sensor throws to within some 3 % of its depth (optics facts §1.1). Where the light allows,
the rest is read off this frame: how the grain's outline departs from the disc, and how its depth differs between
colours, which real grains do by a few percent. Where texture hides that, nothing is added to the disc, and grey is
what is taken off.
"""

import cv2
import numpy as np

from dustd.raw.frame import Frame
from dustd.spots.measure import Shadow, filtered, radial_frequency
from dustd.spots.samples import box, skirt, write
from dustd.spots.surroundings import Patch, colours, fill

# How far the true shadow leaves the soft disc: standard deviation, as a share of its depth (irregular grains: .03; .35
# would follow texture, 3 dB worse on it), and over what length, in widths of its edge.
BEND, BEND_LENGTH = 0.06, 0.25


def divide(work: Frame, patch: Patch, shadow: Shadow, bend: np.ndarray, tints: np.ndarray) -> None:
    """Divide the light under the shadow by its transmission, in place.

    *bend* (h, w) cells and *tints* (planes,) are what `bend_of` and `tint.tints_of` found.
    """
    rows, cols, xs, ys = box(work, shadow)
    big = np.pad(
        cv2.resize(bend, None, fx=patch.step, fy=patch.step, interpolation=cv2.INTER_LINEAR),
        ((0, 1), (0, 1)),
        mode="edge",
    )
    inner = big[
        np.clip(np.arange(rows.start, rows.stop) - patch.top, 0, big.shape[0] - 1)[:, None],
        np.clip(np.arange(cols.start, cols.stop) - patch.left, 0, big.shape[1] - 1)[None, :],
    ]
    deeper = 1 + np.asarray(tints, np.float32)
    if work.kind == "linear":
        lost = log_transmission(shadow, xs, ys, inner)[..., None] * deeper
    else:
        plane = np.searchsorted(np.unique(np.asarray(work.cfa)), colours(work, rows, cols))
        lost = log_transmission(shadow, xs, ys, inner) * deeper[plane]
    write(work, rows, cols, skirt(shadow, xs, ys) > 0, lambda light: light * np.exp(-lost))


def log_transmission(shadow: Shadow, xs: np.ndarray, ys: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Return the log of the transmission at (ys, xs), the *bend* there given; (h, w)."""
    return np.log1p(-shadow.attenuation * shadow.depth(xs, ys)) + skirt(shadow, xs, ys) * bend


def bend_of(patch: Patch, shadow: Shadow, weights: np.ndarray) -> np.ndarray:
    """Estimate how the log transmission departs from the soft disc, (h, w) cells, before its fading at the skirt.

    Most likely smooth Gaussian field of BEND x depth given the whitened residual; where texture drowns it, it stays
    zero. Conjugate gradients on (1 + Q M W H W M Q) u = Q M W H r, W the whitener, Q the field's root spectrum.
    """
    depth = -np.log1p(-shadow.attenuation)
    length = max(BEND_LENGTH * shadow.ramp_px, BEND_LENGTH / 4 * shadow.diameter_px, 2.0) / patch.step
    spectrum = np.exp(-((np.pi * length * radial_frequency(patch.log.shape)) ** 2))
    root = (BEND * depth * np.sqrt(spectrum / spectrum.mean())).astype(np.float32)
    window = skirt(shadow, patch.xs, patch.ys).astype(np.float32)
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
    for _ in range(15):
        ap = p + back(forth(p))
        step = norm / float((p * ap).sum())
        u, r = u + step * p, r - step * ap
        norm, old = float((r * r).sum()), norm
        if norm < 1e-4 * first:
            break
        p = r + norm / old * p
    return filtered(u, root)
