"""The colour of a shadow: how its depth differs between colours, which grains of dust do by a few percent only."""

import numpy as np

from dustd.spots.measure import HUBER, OVERSURE, Shadow, filtered, hole, whitener
from dustd.spots.samples import SKIRT
from dustd.spots.surroundings import Patch, fill

ROUNDS = 3  # of weighing down what does not fit
TINT_SPREAD = 0.05  # of one colour's depth, as a share of it: grains are nearly grey (facts §7)


def tints_of(patch: Patch, shadow: Shadow) -> tuple[np.ndarray, np.ndarray]:
    """Tell how much deeper the shadow is in each colour than in all, as a share, and the standard errors: (planes,).

    Each plane's log light less the pooled one is matched with the shadow. A colour that says nothing has an infinite
    error.
    """
    tints, errors = np.zeros(len(patch.planes)), np.full(len(patch.planes), np.inf)
    if len(patch.planes) == 1:
        return tints, errors
    outside = ~hole(patch, shadow, SKIRT)
    template = np.log1p(-shadow.attenuation * shadow.depth(patch.xs, patch.ys))
    for k, (plane, base, share) in enumerate(zip(patch.planes, patch.bases, patch.shares, strict=True)):
        known = (share > 0) & patch.known
        if not known[~outside].any():
            continue
        own = np.log(np.maximum(plane, 1e-7) / np.maximum(base, 1e-7))
        rest = fill(np.where(known, own - patch.log, 0).astype(np.float32), known)
        weights = whitener(rest, outside, rounds=8)  # hardly any texture: a rough bridge does
        t, e = filtered(template, weights), filtered(rest, weights)
        power = float((t * t).sum())
        tints[k] = float((t * e).sum()) / power
        for _ in range(ROUNDS):  # what is odd about the place itself counts less, how strong its colour is does not
            weight = np.minimum(1, HUBER / np.maximum(np.abs(e - tints[k] * t), 1e-9))
            tints[k] = float((weight * t * e).sum() / (weight * t * t).sum())
        errors[k] = OVERSURE * power**-0.5
    return tints, errors


def nearly_grey(tints: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Shrink measured tints towards the grey that dust is, as far as they are unsure."""
    return tints / (1 + (errors / TINT_SPREAD) ** 2)
