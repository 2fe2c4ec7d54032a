"""Changing what was corrected in a frame for some spots, and for nothing else.

The frame is corrected anew with the verdicts in, and from that only the places of those spots are taken; all other
samples stay as they were written. A place is what their correction touches, with what touches it in turn: where two
corrected spots overlap, the one that stays is corrected afresh, alone. Pure; files are `dustd.pipeline.rewrite`'s.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from dustd import codec
from dustd.raw.frame import Frame
from dustd.spots.correct import Corrected, correct
from dustd.spots.measure import KnownShadow
from dustd.spots.spot import Spot

GAP_PX = 9  # changed samples this near belong together: dither leaves some samples under a faint shadow as they were


def revise(
    frame: Frame,
    cleaned: np.ndarray,
    spots: Sequence[Spot],
    known: Mapping[int, KnownShadow],
    asked: Collection[int],
) -> Corrected:
    """Correct the spots *asked* for (ids) as they are due now.

    *cleaned* is like frame.raw; *spots* carry the actions that made it. The spots come back with the new actions, their
    reasons added to only where something changed.
    """
    fresh = correct(frame, [replace(spot, action="left", reason="") for spot in spots], known)
    old, new, original = (_visible(frame, raw) for raw in (cleaned, fresh.raw, frame.raw))
    touched = (old != original) | (new != original)
    if touched.ndim == 3:
        touched = touched.any(-1)
    labels, owners = _places(touched, [s for s, f in zip(spots, fresh.spots, strict=True) if _is_done(s, f)])
    chosen = {label for spot_id in asked for label in owners.get(spot_id, ())}
    here = np.isin(labels, list(chosen))
    raw = cleaned.copy()
    _visible(frame, raw)[here] = new[here]
    revised = tuple(
        _revised(spot, after) if spot.id in asked or chosen.intersection(owners.get(spot.id, ())) else spot
        for spot, after in zip(spots, fresh.spots, strict=True)
    )
    return Corrected(raw=raw, spots=revised)


def known_to_dict(known: Mapping[int, KnownShadow], spots: Sequence[Spot]) -> dict[str, Any]:
    """Lay out for a sidecar what the map knew of the shadows of the *spots* to be corrected."""
    wanted = {spot.id for spot in spots if spot.wanted}
    return {
        str(spot_id): {**codec.DEFAULT.plain(each), "shadow": _finite(codec.DEFAULT.plain(each.shadow))}
        for spot_id, each in known.items()
        if spot_id in wanted
    }


def known_from_dict(data: Mapping[str, Any]) -> dict[int, KnownShadow]:
    """Read it back; unknown keys are ignored. Raise ValueError on anything else."""
    try:
        return {int(spot_id): codec.DEFAULT.read(KnownShadow, each) for spot_id, each in data.items()}
    except (TypeError, AttributeError) as exc:
        raise ValueError(f"not what a map knows of shadows: {exc}") from exc


def _finite(data: dict[str, float]) -> dict[str, float]:
    """Leave out what JSON cannot say; it is the default."""
    return {key: value for key, value in data.items() if math.isfinite(value)}


def _visible(frame: Frame, raw: np.ndarray) -> np.ndarray:
    top, left, height, width = frame.visible
    return raw[top : top + height, left : left + width]


def _is_done(before: Spot, after: Spot) -> bool:
    return before.action != "left" or after.action != "left"


def _places(touched: np.ndarray, spots: Sequence[Spot]) -> tuple[np.ndarray, dict[int, set[int]]]:
    """Number the places where samples changed, (h, w) int32, and say for each spot which are its own.

    What lies under a spot is its own; a fringe under none is the nearest's.
    """
    near = cv2.dilate(touched.view(np.uint8), np.ones((GAP_PX, GAP_PX), np.uint8))
    count, labels, _, centres = cv2.connectedComponentsWithStats(near, connectivity=8)
    owners: dict[int, set[int]] = {spot.id: set() for spot in spots}
    for spot in spots:
        radius = spot.diameter_px / 2 + 1
        rows = slice(max(0, int(spot.y - radius)), int(spot.y + radius) + 2)
        columns = slice(max(0, int(spot.x - radius)), int(spot.x + radius) + 2)
        ys, xs = np.ogrid[rows, columns]
        part = labels[rows, columns]
        under = np.hypot(xs[:, : part.shape[1]] - spot.x, ys[: part.shape[0]] - spot.y) <= radius
        owners[spot.id] = set(np.unique(part[under]).tolist()) - {0}
    owned = set().union(*owners.values())
    for label in range(1, count):
        if label not in owned and spots:
            x, y = centres[label]
            nearest = min(spots, key=lambda spot: np.hypot(spot.x - x, spot.y - y) / max(spot.diameter_px, 1))
            owners[nearest.id].add(label)
    return labels, owners


def _revised(before: Spot, after: Spot) -> Spot:
    """Give a spot its new action; say why where that is another one, or the spot was corrected afresh."""
    if not before.due or after.action == before.action or before.reason.endswith(after.reason):
        return replace(before, action=after.action)
    return replace(before, action=after.action, reason=f"{before.reason}; {after.reason}")
