"""How likely marks look as they do: as the shadows of grains on one sensor, and as things of a scene.

All is per unit of ln width, ln depth, ln edge and of both tints, so that the two can be held against each other
(`spots.company`). What is known of dust is facts/optics-and-evidence.md's.
"""

import math
from dataclasses import dataclass

import numpy as np

from dustd.spots.marks import WIDTHS_PX, Marks
from dustd.spots.optics import PITCH_UM, STACK_MEDIAN_UM, STACK_SPREAD, THICKEST_STACK_UM, THINNEST_STACK_UM
from dustd.spots.order import orders
from dustd.spots.physics import TRANSLUCENT_FROM

# ln of an edge's width over what depth and width foretell: .18 around -.2 in generated frames, .3 around +.1 in real
# ones, the lens's own blur of 4 px (10 to 90 %) taken in.
EDGE_SPREAD = 0.3
# Fibres, droplets, grains that touch each other: as frequent as facts §7 draws them, and of nearly any width.
ODD_SHARE, ODD_SPREAD = 0.1, 0.5
# Grains' diameters: log-normal, median and sd of ln (§7); the smallest share of the blur that shows at all, A = 1.5 %.
GRAIN_UM, GRAIN_SPREAD, LEAST_OF_BLUR = 32.0, 0.6, 0.12
# Depths that are found: ln A is broad, as sizes are (generated 1.2, real .9; a little more, as shallow is no proof).
DEPTH_MEDIAN, DEPTH_SPREAD = 0.075, 1.4
# κ (§7): seven in ten grains stop .85 to 1 of the light, the others .3 to .85.
OPAQUE_FROM, OPAQUE_SHARE = 0.85, 0.7
# Sizes of a scene's own marks: spreads of ln width looked for, and the share of its marks that are of that kind.
SCENE_SPREADS, SCENE_OWN = (0.2, 0.35, 0.6), 0.8
# ln of edge over what dust's would be: a scene has one softness of its own, somewhere here.
SCENE_EDGES, SCENE_EDGE_SPREAD = (-1.1, -0.8, -0.5, -0.2, 0.1), 0.28
# Marks made alike (dots, buttons, beads): sd of ln width, ln depth and ln edge; the share of scenes that have such.
ALIKE_WIDTH, ALIKE_DEPTH, ALIKE_EDGE, ALIKE_SCENES = 0.04, 0.12, 0.2, 0.03
# They are made to be seen: nothing shallower is taken for a pattern. Eight faint shadows of a Sony A57, all near the
# least depth that is found, were.
ALIKE_DEPTH_FROM = 0.03
MOST_ALIKE = 40  # marks that are tried as the pattern of the others
# The share of scenes whose marks have one width and any depth, and of these of those that lie in order (`spots.order`);
# the others are coloured, as grey ones in no order are what grains are.
AS_WIDE_SCENES, ORDERED = 0.03, 0.5
# Depth in red or blue over that in green, less one (sd): of grains (facts §7) and of the marks of a grey scene, and of
# coloured ones. In half of the scenes marks are grey, as paint and shadow are, in the others so many are coloured; of
# grains, and in grey scenes, hardly any.
GREY, COLOURED = 0.06, 0.4
COLOURED_SCENES, COLOURED_MARKS, COLOURED_GRAINS = 0.5, 0.7, 0.05
# A person said of some marks that they are no dust: then the scene has more of them as likely as not.
TOLD_SHARE = 0.5
NEVER = 1e-4  # how much rarer than others are grains whose edge is too sharp for their depth, or that were refused
_TINY = 1e-300
# Blurs tried: ln px.
BLURS = np.arange(math.log(4.0), math.log(WIDTHS_PX[1]), 0.08)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """What is known of the blur in a frame before its marks are seen: *f_number* (None unknown), *pixel_pitch_um* (None
    unknown), and where a map has learnt it, *constant* (px·f-number) with the sd *sigma* of its logarithm."""

    f_number: float | None = None
    pixel_pitch_um: float | None = None
    constant: float | None = None
    sigma: float = 0.1


def log_blurs(blur: Blur) -> np.ndarray:
    """Give ln of the prior of each of BLURS: what is learnt of the body, or what is known of sensors (§1.5)."""
    if not blur.f_number:
        return np.full(len(BLURS), -math.log(len(BLURS)))
    if blur.constant is not None:
        chance = _normal(BLURS, math.log(blur.constant / blur.f_number), math.hypot(blur.sigma, 0.1)) + 1e-4
    else:
        pitches = np.array([blur.pixel_pitch_um] if blur.pixel_pitch_um else np.geomspace(3.0, 8.5, 21))
        shares = np.ones(1) if blur.pixel_pitch_um else _normal(np.log(pitches), math.log(PITCH_UM), 0.3)
        stack_um = np.exp(BLURS)[:, None] * blur.f_number * pitches
        # A tenth of slack to either side: what is measured scatters.
        possible = (stack_um >= 0.9 * THINNEST_STACK_UM) & (stack_um <= 1.1 * THICKEST_STACK_UM)
        stacks = _normal(np.log(stack_um), math.log(STACK_MEDIAN_UM), STACK_SPREAD) * possible
        chance = (stacks * shares).sum(1) / shares.sum() + 1e-9
    return np.log(chance / chance.sum())


def as_dust(marks: Marks, blur: Blur) -> np.ndarray:
    """Give how likely each mark is as a grain's shadow, for each of BLURS: (n, blurs)."""
    blur_px = np.exp(BLURS)
    larger = _larger_share(blur_px * (blur.pixel_pitch_um or PITCH_UM))
    apart = marks.log_width[:, None] - BLURS
    # A translucent grain is larger than its depth says, and its edge is wider by as much: ln of 1/√κ.
    softness = 0.95 * (
        OPAQUE_SHARE * _normal(marks.softness, 0.0, EDGE_SPREAD)
        + (1 - OPAQUE_SHARE) * _normal(marks.softness, 0.35, 0.35)
    ) + 0.05 * _normal(marks.softness, 0.0, 1.0)
    depth = _normal(marks.log_depth, math.log(DEPTH_MEDIAN), DEPTH_SPREAD)
    narrow = _normal(apart, 0.0, marks.error[:, None]) * _if_measured(marks, softness * depth)[:, None]
    # A grain wider than its blur shows its own width, its depth is κ, and its edge is the blur.
    opaque = OPAQUE_SHARE / (1 - OPAQUE_FROM) * (marks.depth >= OPAQUE_FROM)
    translucent = (marks.depth >= TRANSLUCENT_FROM) & (marks.depth < OPAQUE_FROM)
    kappa = marks.depth * (opaque + (1 - OPAQUE_SHARE) / (OPAQUE_FROM - TRANSLUCENT_FROM) * translucent)
    edge = _normal(np.log(marks.edge_px)[:, None] - np.log(0.7 * blur_px), 0.0, 0.4)
    wide = np.where(apart > 0, 2 * np.exp(-2 * np.maximum(apart, 0)), 0.0)
    wide = wide * np.where(marks.measured[:, None], edge * kappa[:, None], 1.0)
    odd = _normal(apart, 0.1, ODD_SPREAD) * _if_measured(marks, _normal(marks.softness, -0.1, 0.6) * depth)[:, None]
    as_grain = (1 - ODD_SHARE) * ((1 - larger) * narrow + larger * wide) + ODD_SHARE * odd
    return as_grain * (_by_colour(marks)[0] * np.where(marks.impossible, NEVER, 1.0))[:, None]


def _by_colour(marks: Marks) -> tuple[np.ndarray, np.ndarray]:
    """Give how likely each mark's colour is as dust's, or in a scene of grey marks, and in one of coloured marks: (n,)
    each; 1 where the light does not tell."""
    known = np.isfinite(marks.tints).all(1)
    red, blue, error = np.where(known[:, None], marks.tints, 0.0).T

    def about(spread: float) -> np.ndarray:
        wide = np.hypot(spread, error)
        return _normal(red, 0.0, wide) * _normal(blue, 0.0, wide)

    grey, coloured = about(GREY), about(COLOURED)
    return (
        np.where(known, (1 - COLOURED_GRAINS) * grey + COLOURED_GRAINS * coloured, 1.0),
        np.where(known, (1 - COLOURED_MARKS) * grey + COLOURED_MARKS * coloured, 1.0),
    )


def log_odds_of_colour(marks: Marks) -> np.ndarray:
    """Say by how much (ln) a mark's colour by itself speaks against dust, never for it: (n,), 0 and less."""
    grey, coloured = _by_colour(marks)
    return np.minimum(0.0, np.log(grey) - np.log((1 - COLOURED_SCENES) * grey + COLOURED_SCENES * coloured))


def _larger_share(blur_um: np.ndarray) -> np.ndarray:
    """Say what share of the grains that show are wider than a blur of so many µm."""

    def beyond(size_um: np.ndarray) -> np.ndarray:
        z = np.log(size_um / GRAIN_UM) / GRAIN_SPREAD / math.sqrt(2)
        return 0.5 * np.array([math.erfc(each) for each in z])

    return np.clip(beyond(blur_um) / beyond(LEAST_OF_BLUR * blur_um), 0.0, 0.9)


def as_scene(marks: Marks, told: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give how likely each mark is as a thing of the scene, for each kind of scene, (n, scenes), ln of the scenes'
    shares, and which of them have marks in order, (scenes,) each.

    Copies of the first *told* marks are as likely as all else.
    """
    uniform = _if_measured(marks, 1 / 4.6)  # ln depth from 1 % to all
    anything = 0.25 * _if_measured(marks, _normal(marks.softness, -0.35, 0.6)) * uniform
    middles = np.arange(math.log(WIDTHS_PX[0]), math.log(WIDTHS_PX[1]), 0.25)
    spreads = np.hypot(np.array(SCENE_SPREADS), marks.error[:, None])
    widths = _normal(marks.log_width[:, None, None], middles[:, None], spreads[:, None, :]).reshape(len(uniform), -1)
    edges = _normal(marks.softness[:, None], np.array(SCENE_EDGES), SCENE_EDGE_SPREAD)
    edges = np.where(marks.measured[:, None], edges, 1.0)
    varied = (widths[:, :, None] * edges[:, None, :]).reshape(len(uniform), -1) * uniform[:, None]
    as_wide, log_as_wide, in_order = _as_wide(marks, anything)
    own = np.concatenate([varied, _alike(marks), as_wide], 1)
    kinds = SCENE_OWN * own + (1 - SCENE_OWN) * anything[:, None]
    patterns = np.where((marks.measured & (marks.depth >= ALIKE_DEPTH_FROM))[:MOST_ALIKE], 1.0, _TINY)
    # A pattern costs what finding it among all widths, depths and edges is worth.
    room = (np.log(WIDTHS_PX[1] / WIDTHS_PX[0]) / ALIKE_WIDTH / 5) * (4.6 / ALIKE_DEPTH / 2) * len(SCENE_EDGES)
    alike = patterns * ALIKE_SCENES / room
    alike[:told] = TOLD_SHARE / max(told, 1)
    others = (1 - TOLD_SHARE * (told > 0)) * (1 - ALIKE_SCENES - AS_WIDE_SCENES)
    log_varied = np.full(varied.shape[1], math.log(others / varied.shape[1]))
    log_shares = np.concatenate([log_varied, np.log(np.maximum(alike, _TINY)), log_as_wide])
    strewn = np.concatenate([np.zeros(len(log_shares) - len(in_order), bool), ~in_order])
    in_order = np.concatenate([np.zeros(len(log_shares) - len(in_order), bool), in_order])
    log_grey = np.where(strewn, math.log(_TINY), log_shares + math.log(1 - COLOURED_SCENES))
    grey, coloured = _by_colour(marks)
    return (
        np.concatenate([kinds * grey[:, None], kinds * coloured[:, None]], 1),
        np.concatenate([log_grey, log_shares + math.log(COLOURED_SCENES)]),
        np.tile(in_order, 2),
    )


def _as_wide(marks: Marks, anything: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give how likely each mark is in a scene of marks that are as wide as one of the first MOST_ALIKE, of any depth,
    anywhere or in each order that the places suggest, (n, scenes), ln of these scenes' shares, and which are in order.
    """
    ratios, log_steps = orders(marks.places)
    ratios = np.concatenate([np.ones((len(ratios), 1)), ratios], 1)
    # A step found among all that were tried costs what finding it is worth; so does a width.
    log_steps = np.concatenate([[math.log(1 - ORDERED)], math.log(ORDERED) + log_steps])
    apart = marks.log_width[:, None] - marks.log_width[None, :MOST_ALIKE]
    wide = _normal(apart, 0.0, np.hypot(ALIKE_WIDTH, marks.error)[:, None]) * 4 * anything[:, None]
    room = math.log(WIDTHS_PX[1] / WIDTHS_PX[0]) / ALIKE_WIDTH / 5
    own = (wide[:, :, None] * ratios[:, None, :]).reshape(len(ratios), -1)
    log_shares = np.tile(math.log(AS_WIDE_SCENES / room) + log_steps, wide.shape[1])
    return own, log_shares, np.tile(np.arange(len(log_steps)) > 0, wide.shape[1])


def _alike(marks: Marks) -> np.ndarray:
    """Give how likely each mark is as a copy of each of the first MOST_ALIKE, (n, patterns)."""

    def away(values: np.ndarray) -> np.ndarray:
        return values[:, None] - values[None, :MOST_ALIKE]

    width = _normal(away(marks.log_width), 0.0, np.hypot(ALIKE_WIDTH, marks.error)[:, None])
    rest = _normal(away(marks.log_depth), 0.0, ALIKE_DEPTH) * _normal(away(marks.softness), 0.0, ALIKE_EDGE)
    both = marks.measured[:, None] & marks.measured[None, :MOST_ALIKE]
    return width * np.where(both, rest, 1 / 4.6)


def _if_measured(marks: Marks, values: np.ndarray | float) -> np.ndarray:
    """Take *values* where the light was asked, 1 where only the width is known."""
    return np.where(marks.measured, values, 1.0)


def _normal(value: np.ndarray, mean: float | np.ndarray, spread: float | np.ndarray) -> np.ndarray:
    """Density of a normal distribution."""
    return np.exp(-0.5 * ((value - mean) / spread) ** 2) / (math.sqrt(2 * math.pi) * spread)
