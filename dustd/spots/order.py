"""Order among places: rows, grids and strings, which a subject's marks make and grains of dust do not.

Grains fall where they fall. Dots of a cloth, holes, rivets and beads lie one step from each other: either the step is
one displacement, as in a grid or a row, or one distance in any direction, as along a string. Each step that two
neighbours suggest is tried, and the other marks say how much likelier their places are with it. Pure geometry.
"""

import math

import numpy as np

# A pattern's mark lies one step from another one, as often as this (the others are hidden, at its rim or not found), to
# within this share of the step (sd): cloth folds, lenses distort, and a mark's place is measured to a fraction of it.
PARTNERED, STEP_ERROR, LEAST_ERROR_PX = 0.7, 0.08, 1.5
# Steps are suggested by so many marks and each one's nearest neighbours; so many of the best are given.
MOST_ASKED, NEIGHBOURS, BEST = 40, 3, 3
# What the marks cover is at least this share as wide as it is long: a single row covers a strip, not nothing.
STRIP = 0.25
FEWEST = 4


def orders(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Try what order the *places* (n, 2), px, may have.

    Return for each of up to BEST steps by how much likelier (a ratio) each place is as one of its pattern's than strewn
    over the area that all cover, (n, steps), and ln of each step's share among all that were tried, (steps,). Places
    that are not a number have a ratio of 1; below FEWEST places there are no steps.
    """
    placed = np.flatnonzero(np.isfinite(places).all(1))
    if len(placed) < FEWEST:
        return np.ones((len(places), 0)), np.zeros(0)
    at = places[placed].astype(np.float32)
    apart = at[None, :] - at[:, None]  # (n, n, 2): from the first to the second
    away = np.hypot(apart[..., 0], apart[..., 1])
    np.fill_diagonal(away, np.inf)
    first, second = _neighbours(away)
    # (steps, n, 2): the density, per px², of partners on either side of each mark.
    chances = np.concatenate([_along(apart, first, second), _around(away, first[::NEIGHBOURS], second[::NEIGHBOURS])])
    # A mark between two others is in order twice. Two by themselves are one chance for both of them: half for each.
    ratio = np.sqrt(1 - PARTNERED + PARTNERED * _covered_px2(at) / (len(at) - 1) * chances).prod(2)
    # Half of the marks need not belong to it.
    best = np.argsort(-np.log(0.5 + 0.5 * ratio).sum(1), kind="stable")[:BEST]
    out = np.ones((len(places), len(best)))
    out[placed] = ratio[best].T
    return out, np.full(len(best), -math.log(len(chances)))


def _neighbours(away: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Name the pairs of neighbours that suggest a step: each asked mark's NEIGHBOURS nearest, the nearest first."""
    asked = min(len(away), MOST_ASKED)
    nearest = np.argsort(away[:asked], axis=1, kind="stable")[:, :NEIGHBOURS]
    return np.repeat(np.arange(asked), nearest.shape[1]), nearest.ravel()


def _along(apart: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Say how near partners lie to one displacement, forth and back, for each pair's: (pairs, n, 2), per px².

    The pair itself says nothing of its own displacement.
    """
    chances = np.empty((len(first), len(apart), 2), np.float32)
    for row, (one, other) in enumerate(zip(first, second, strict=True)):
        step = apart[one, other]
        error = max(STEP_ERROR * float(np.hypot(*step)), LEAST_ERROR_PX)
        near = np.exp(-0.5 * np.square(apart - step).sum(-1) / error**2)
        np.fill_diagonal(near, 0)
        near[one, other] = 0
        chances[row] = np.stack([near.sum(1), near.sum(0)], 1) / (2 * math.pi * error**2)
    return chances


def _around(away: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Say how near the distances of two partners lie to one distance, for each pair's: (pairs, n, 2), per px²."""
    chances = np.empty((len(first), len(away), 2), np.float32)
    for row, (one, other) in enumerate(zip(first, second, strict=True)):
        step = away[one, other]
        error = max(STEP_ERROR * float(step), LEAST_ERROR_PX)
        near = np.exp(-0.5 * np.square((away - step) / error))
        near[one, other] = near[other, one] = 0
        nearest = np.partition(near, -2, axis=1)[:, -2:]
        chances[row] = nearest / (math.sqrt(2 * math.pi) * error * 2 * math.pi * max(float(step), 1.0))
    return chances


def _covered_px2(at: np.ndarray) -> float:
    """Say what area the places cover: that of the rectangle, along their longest extent, that has their spread."""
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(at.T)), 0.0)) * math.sqrt(12)
    return float(spread[1] * max(spread[0], STRIP * spread[1]))
