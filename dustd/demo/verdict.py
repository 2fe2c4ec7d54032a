"""Judging a cleaned frame whose dust is known: found, missed, wrongly touched, and how close to the light that was.

Plain arrays and values; it knows neither files nor how the demo's session was shot.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dustd.demo.virtual import BLACK, WHITE, Exposure, Shadow
from dustd.output.sidecar import Record
from dustd.spots.spot import Spot

FAINT = 0.02  # below this share of light lost, nobody sees a spot
MAP_SLACK_PX = 12.0  # lenses shift dust; the map keeps a place between
HIDDEN = 3.0  # a spot shows if it is this many times deeper than what the scene itself does at its size


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one frame.

    Of the spots that could be *visible*, some were *removed*, some *left* on purpose (seen, not corrected), the rest
    *missed*. *faint_removed* counts those removed although hardly visible. *wrong* lists corrected places without
    dust. *outside_px* counts samples changed where the sidecar claims no correction. The errors are root mean squares
    inside visible spots, as PSNR in dB against the clean twin; None where nothing is visible.
    """

    name: str
    f_number: float
    visible: tuple[Shadow, ...]
    removed: tuple[Shadow, ...]
    left: tuple[Shadow, ...]
    faint_removed: int
    wrong: tuple[Spot, ...]
    outside_px: int
    psnr_before_db: float | None
    psnr_after_db: float | None
    seconds: float

    @property
    def missed(self) -> int:
        """Count visible spots that dustd did not see."""
        return len(self.visible) - len(self.removed) - len(self.left)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapVerdict:
    """How many grains the map has *confirmed*, how many *could be* (visible in two frames), how many are *wrong*."""

    confirmed: int
    could_be: int
    wrong: int


def judge(exposure: Exposure, cleaned: np.ndarray, record: Record) -> Verdict:
    """Compare a frame's sidecar and *cleaned* mosaic, (height, width) uint16, with the truth."""
    visible = tuple(shadow for shadow in exposure.shadows if is_visible(shadow, exposure.clean))
    corrected = [spot for spot in record.spots if spot.action != "left"]
    by_spot = match(exposure.shadows, corrected)
    removed = {shadow.grain for shadow in by_spot.values()}
    seen = {shadow.grain for shadow in match(exposure.shadows, record.spots).values()} - removed
    return Verdict(
        name=record.source.name,
        f_number=exposure.camera.f_number or 0.0,
        visible=visible,
        removed=tuple(shadow for shadow in visible if shadow.grain in removed),
        left=tuple(shadow for shadow in visible if shadow.grain in seen),
        faint_removed=len(removed - {shadow.grain for shadow in visible}),
        wrong=tuple(spot for spot in corrected if not any(is_near(shadow, spot) for shadow in exposure.shadows)),
        outside_px=changed_outside(exposure.mosaic, cleaned, corrected),
        psnr_before_db=psnr_db(exposure.mosaic, exposure.clean, visible),
        psnr_after_db=psnr_db(cleaned, exposure.clean, visible),
        seconds=record.timings_ms.get("total", 0.0) / 1000,
    )


def judge_map(
    places: Sequence[tuple[float, float]], verdicts: Sequence[Verdict], truth: Sequence[Shadow]
) -> MapVerdict:
    """Compare the *places* (frame px) of a map's confirmed particles with the shadows of all frames."""
    often = Counter(shadow.grain for verdict in verdicts for shadow in verdict.visible)
    right: set[int] = set()
    wrong = 0
    for x, y in places:
        away = min(truth, key=lambda shadow: np.hypot(shadow.x - x, shadow.y - y))
        if np.hypot(away.x - x, away.y - y) <= max(away.diameter_px / 2, MAP_SLACK_PX):
            right.add(away.grain)
        else:
            wrong += 1
    return MapVerdict(confirmed=len(right), could_be=sum(count >= 2 for count in often.values()), wrong=wrong)


def is_visible(shadow: Shadow, clean: np.ndarray) -> bool:
    """Tell whether a person could see the shadow in this scene.

    It must take at least FAINT of the light, lie in the frame, on neither clipped nor black ground, and be HIDDEN
    times deeper than the contrast that the clean scene has by itself at the spot's size: disc against surroundings,
    robust deviation over five diameters.
    """
    if shadow.attenuation < FAINT:
        return False
    reach = int(np.ceil(2.5 * shadow.diameter_px)) // 2 * 2
    top, left = (round(v) // 2 * 2 - reach for v in (shadow.y, shadow.x))
    window = clean[max(top, 0) : top + 2 * reach, max(left, 0) : left + 2 * reach]
    inside = 0 <= shadow.x < clean.shape[1] and 0 <= shadow.y < clean.shape[0]
    if not inside or min(window.shape) < 4:
        return False
    light = np.clip((window.astype(np.float32) - BLACK) / (WHITE - BLACK), 1e-4, None)
    cells = (light[0::2, 1::2] + light[1::2, 0::2]) / 2  # green
    disc = max(int(shadow.diameter_px / 4) * 2 + 1, 3)
    contrast = cv2.blur(cells, (disc, disc)) / cv2.blur(cells, (2 * disc + 1,) * 2) - 1
    own = 1.4826 * float(np.median(np.abs(contrast - np.median(contrast))))
    level = float(np.median(cells))
    return 0.01 < level < 0.95 and shadow.attenuation > HIDDEN * own


def match(shadows: Sequence[Shadow], spots: Sequence[Spot]) -> dict[int, Shadow]:
    """Pair spots with shadows one to one, nearest first, within max(d/2, 4 px) (design §10); spot id to shadow."""
    pairs = sorted(
        (np.hypot(shadow.x - spot.x, shadow.y - spot.y), spot.id, shadow.grain, shadow)
        for shadow in shadows
        for spot in spots
        if is_near(shadow, spot)
    )
    found: dict[int, Shadow] = {}
    taken: set[int] = set()
    for _, spot_id, grain, shadow in pairs:
        if spot_id not in found and grain not in taken:
            found[spot_id] = shadow
            taken.add(grain)
    return found


def changed_outside(before: np.ndarray, after: np.ndarray, corrected: Sequence[Spot]) -> int:
    """Count samples that differ beyond the reach of every corrected spot."""
    allowed = np.zeros(before.shape, np.uint8)
    for spot in corrected:
        reach = 1.5 * spot.diameter_px + 1.5 * spot.edge_px + 8
        cv2.circle(allowed, (round(spot.x), round(spot.y)), int(np.ceil(reach)), 1, -1)
    return int(((before != after) & (allowed == 0)).sum())


def psnr_db(picture: np.ndarray, clean: np.ndarray, shadows: Sequence[Shadow]) -> float | None:
    """Return the peak signal-to-noise ratio inside *shadows*, peak = white level; None without shadows."""
    mask = np.zeros(clean.shape, np.uint8)
    for shadow in shadows:
        cv2.circle(mask, (round(shadow.x), round(shadow.y)), round(0.75 * shadow.diameter_px), 1, -1)
    if not mask.any():
        return None
    error = picture[mask > 0].astype(np.float64) - clean[mask > 0]
    return float(20 * np.log10((WHITE - BLACK) / np.sqrt(max((error**2).mean(), 1e-3))))


def is_near(shadow: Shadow, spot: Spot) -> bool:
    """Tell whether a spot lies on a shadow: within its radius, or 4 px."""
    return np.hypot(shadow.x - spot.x, shadow.y - spot.y) <= max(shadow.diameter_px / 2, 4.0)


def table(verdicts: Sequence[Verdict]) -> str:
    """Lay the verdicts out for a terminal, one line per frame, the sum below, and what changed from first to last."""
    head = "frame          f/   visible removed  left missed  wrong   PSNR in spots, dB   seconds"
    lines = [head, "-" * len(head)]
    for v in verdicts:
        counts = (len(v.visible), len(v.removed), len(v.left), v.missed, len(v.wrong))
        lines.append(_row(v.name, f"{v.f_number:g}", counts, _decibels(v), v.seconds))
    lines.append("-" * len(head))
    sums = [
        sum(group)
        for group in zip(
            *((len(v.visible), len(v.removed), len(v.left), v.missed, len(v.wrong)) for v in verdicts), strict=True
        )
    ] or [0] * 5
    lines.append(_row("all", "", tuple(sums), "", sum(v.seconds for v in verdicts) / max(len(verdicts), 1)))
    third = max(len(verdicts) // 3, 1)
    first, last = _share(verdicts[:third]), _share(verdicts[-third:])
    lines += [
        "",
        "visible: takes at least 2 % of the light and stands out from the scene. left: seen, not corrected; the",
        "sidecar says why. missed: not seen. wrong: corrected where there was no dust. all: sums, mean time.",
        f"Removed of the visible dust: first {third} frames {first}, last {third} frames {last}. "
        f"Hardly visible dust removed as well: {sum(v.faint_removed for v in verdicts)}.",
    ]
    return "\n".join(lines)


def _row(name: str, f_number: str, counts: Sequence[int], decibels: str, seconds: float) -> str:
    visible, removed, left, missed, wrong = counts
    return (
        f"{name:<14} {f_number:<4} {visible:>7} {removed:>7} {left:>5} {missed:>6} {wrong:>6}   "
        f"{decibels:<18} {seconds:>8.1f}"
    )


def _decibels(verdict: Verdict) -> str:
    before, after = verdict.psnr_before_db, verdict.psnr_after_db
    return "" if before is None or after is None else f"{before:5.1f} → {after:5.1f}"


def _share(verdicts: Sequence[Verdict]) -> str:
    visible = sum(len(v.visible) for v in verdicts)
    return f"{sum(len(v.removed) for v in verdicts) / visible:.0%}" if visible else "none visible"
