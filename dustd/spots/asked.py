"""What a person asked to have corrected: how it stands among the spots of a frame, now and when they are decided anew.

A spot that the evidence wants, too, is as the evidence has it. Any other is as it was measured when the person asked.
Pure.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dustd.spots import optics
from dustd.spots.candidates import AS_IT_IS, as_spot
from dustd.spots.spot import Candidate, Spot

ASKED = "corrected: a person asked for it"


def ask(spot: Spot) -> Spot:
    """Have a spot corrected; the reason that it had stays in front."""
    if spot.wanted:
        return replace(spot, asked=True)
    return replace(spot, asked=True, reason=f"{spot.reason}; {ASKED}" if spot.reason else ASKED)


def unask(spot: Spot) -> Spot | None:
    """Take back what was asked; None for a spot that is there for that alone."""
    if spot.wanted:
        return replace(spot, asked=False)
    before = spot.reason.partition(ASKED)[0].removesuffix("; ")
    return replace(spot, asked=False, reason=before) if before else None


def spot_of(candidate: Candidate, spot_id: int) -> Spot:
    """Make a spot of what was measured where a person pointed."""
    return ask(as_spot(candidate, spot_id, AS_IT_IS))


def insisted(spots: Sequence[Spot], asked: Iterable[Spot]) -> tuple[Spot, ...]:
    """Put what was *asked* for in a frame among the *spots* that were decided on anew, where they hold it already or
    behind them."""
    found = list(spots)
    for each in asked:
        away_px = [math.hypot(spot.x - each.x, spot.y - each.y) for spot in spots]
        nearest = min(range(len(spots)), key=away_px.__getitem__, default=None)
        if nearest is None or away_px[nearest] > max(optics.match_radius_px(each.diameter_px), each.diameter_px / 2):
            number = 1 + max((spot.id for spot in found), default=0)
            found.append(ask(_bare(each, number)))
        elif spots[nearest].wanted:
            found[nearest] = ask(spots[nearest])
        else:
            found[nearest] = ask(_looking_as(spots[nearest], each))
    return tuple(found)


def _bare(asked: Spot, number: int) -> Spot:
    """Leave of a spot what was measured, and give it a number."""
    spot = Spot(id=number, x=0, y=0, diameter_px=0, attenuation=0, score=asked.score)
    return _looking_as(spot, asked)


def _looking_as(spot: Spot, other: Spot) -> Spot:
    """Give a spot the place and looks of another one."""
    return replace(
        spot,
        x=other.x,
        y=other.y,
        diameter_px=other.diameter_px,
        edge_px=other.edge_px,
        attenuation=other.attenuation,
    )
