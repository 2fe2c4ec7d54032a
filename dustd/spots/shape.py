"""The shape of a grain of dust, as far as its shadow tells: a speck, a fibre, a droplet's ring, or nobody knows.

The pupil's image blurs every shadow, so that a fibre shorter than the blur looks round. What blur leaves alone are the
differences of second moments: those of grain and pupil add up, and a round pupil has none. The difference D of the
shadow's variance along and across it is the grain's own at any aperture, L²/12 for a straight thread of length L. Over
the light that the grain takes, E = κ·L·w (`dustd.spots.optics`), it is the slenderness 12·D/E = L/(κ·w): one number per
grain, told by each frame as surely as its blur and its scene allow. Frames stopped down are the surest.

`dustd.spots.outline` reads it off the light; here is what it means. Pure values.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal

Shape = Literal["speck", "fibre", "ring"]

# Our choice, by tests/bench/bench_shape.py (docs/dustmap.md): slenderness from which dust is a fibre. Grains up to
# twice as long as wide have less if they are opaque, threads as the facts have them (§1.2, §7) 3 to 70.
FIBRE = 3.0
HOLLOW = 0.5  # from which dust is a ring; dense specks have rims, too, but no more than .4 (§7)
SURE = 3.0  # standard deviations that a fibre or a ring must be beyond doubt; nine of ten grains are specks
ROUND = 1.5  # standard deviations within which a ring is round: a curled fibre is hollow, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What the light says of a grain's shape.

    *slenderness* is its length over its width, times more the more light comes through, and *angle_deg* the direction
    of its length, from x towards y, 0 to 180. *error* is the standard error of the slenderness along either diagonal,
    *feigned* what a pupil that is not round would make of a round grain. *hollow* is the share of its depth that its
    middle lacks, *hollow_error* the standard error.
    """

    slenderness: float
    angle_deg: float
    error: float
    feigned: float
    hollow: float
    hollow_error: float

    def check_read(self) -> None:
        """Raise ValueError if no light says this (`dustd.codec`)."""
        values = (getattr(self, f.name) for f in fields(self))
        if not all(map(math.isfinite, values)) or min(self.error, self.feigned) <= 0:
            raise ValueError("an outline that cannot be")


def shape_of(outline: Outline | None) -> Shape | None:
    """Name the shape, None where the light leaves it open; a clump is a speck."""
    if outline is None:
        return None
    error = math.hypot(outline.error, outline.feigned)
    slenderness = math.sqrt(max(outline.slenderness**2 - 2 * error**2, 0.0))  # noise alone has a length, too
    if slenderness - SURE * error >= FIBRE:
        return "fibre"
    if _surely_hollow(outline) >= HOLLOW:
        return "ring" if outline.slenderness <= ROUND * error else None
    if slenderness + error < FIBRE and outline.hollow + outline.hollow_error < HOLLOW:
        return "speck"
    return None


def pooled(a: Outline | None, b: Outline | None) -> Outline | None:
    """Join what two frames say of one grain, each as far as it is sure.

    Errors of the light average out; the pupil's do not, as the lens is mostly the same. A hollow is taken from the
    frame that shows it most surely, for blur can only fill it.
    """
    if a is None or b is None:
        return a or b
    shares = [1 / (each.error**2 + each.feigned**2) for each in (a, b)]
    share_a, share_b = (share / sum(shares) for share in shares)
    along, aslant = (share_a * u + share_b * v for u, v in zip(_diagonals(a), _diagonals(b), strict=True))
    hollow = max(a, b, key=_surely_hollow)
    return Outline(
        slenderness=math.hypot(along, aslant),
        angle_deg=math.degrees(math.atan2(aslant, along)) / 2 % 180,
        error=math.hypot(share_a * a.error, share_b * b.error),
        feigned=share_a * a.feigned + share_b * b.feigned,
        hollow=hollow.hollow,
        hollow_error=hollow.hollow_error,
    )


def _diagonals(outline: Outline) -> tuple[float, float]:
    """Give the slenderness along x rather than y, and along their bisector rather than across it: so it adds up."""
    turn = math.radians(2 * outline.angle_deg)
    return outline.slenderness * math.cos(turn), outline.slenderness * math.sin(turn)


def _surely_hollow(outline: Outline) -> float:
    return outline.hollow - SURE * outline.hollow_error
