"""Judging the marks of a frame together: do they look like grains on one sensor, or like things in the scene?

What one spot looks like a scene can copy; what all of them have in common it rarely does (facts/optics-and-evidence.md
§1.1). Grains lie at one distance t from the photodiodes, so in one frame all shadows have one blur b = t/(N·pitch):

* a grain smaller than b throws a shadow as wide as b, however deep; only what is wider than b may be wider;
* its depth is A = κ(d/b)², so a shadow's edge, as wide as the grain, is b·√(A/κ): shallow shadows are soft ones;
* depths differ over a factor of several, since sizes do.

The marks of a subject (moles, seeds, birds, discs of bokeh) have widths of their own, one softness, or are alike in
width and depth at once (dots, buttons). Each mark is weighed under both, with the blur, the scene's own marks and the
chance that the scene is full of look-alikes unknown and summed over. The sums are plain ones over grids. Pure; knows
neither frames nor the dust map.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from dustd.spots.measure import EDGE_OF_SPECK, EDGE_SHARE
from dustd.spots.optics import PITCH_UM, STACK_MEDIAN_UM, STACK_SPREAD, THICKEST_STACK_UM, THINNEST_STACK_UM
from dustd.spots.spot import Candidate

# Shadows of one frame differ in width by so much (sd of ln): grains that are not small against the blur, pupils that
# change over the field. On four real bodies .04 to .055 (Sony A57, Pentax *ist DL, Canon 6D, Panasonic LX100).
WIDTH_SPREAD = 0.05
# A measured width errs by this over the root of the light's gain (sd of ln): 60 shadows of generated frames.
WIDTH_ERROR = 0.35
# From this gain on the light tells width, depth and edge; below, the network's box tells the width alone, to BOX_ERROR,
# and is so much wider than the shadow (285 shadows of generated frames, 121 of real ones).
MEASURED_FROM, BOX_ERROR, BOX_SHARE = 6.0, 0.15, 0.92
# ln of an edge's width over what depth and width foretell: .18 around -.2 in generated frames, .3 around +.1 in real
# ones, the lens's own blur of 4 px (10 to 90 %) taken in.
EDGE_SPREAD, LENS_EDGE_PX = 0.3, 4.0
# Fibres, droplets, grains that touch each other: as frequent as facts §7 draws them, and of nearly any width.
ODD_SHARE, ODD_SPREAD = 0.1, 0.5
# Grains' diameters: log-normal, median and sd of ln (§7); the smallest share of the blur that shows at all, A = 1.5 %.
GRAIN_UM, GRAIN_SPREAD, LEAST_OF_BLUR = 32.0, 0.6, 0.12
# Depths that are found: ln A is broad, as sizes are (generated 1.2, real .9; a little more, as shallow is no proof).
DEPTH_MEDIAN, DEPTH_SPREAD = 0.075, 1.4
# κ (§7): seven in ten grains stop .85 to 1 of the light, the others .3 to .85.
OPAQUE_FROM, TRANSLUCENT_FROM, OPAQUE_SHARE = 0.85, 0.3, 0.7
# What a frame's marks may be, px.
WIDTHS_PX = (3.0, 170.0)
# Sizes of a scene's own marks: spreads of ln width looked for, and the share of its marks that are of that kind.
SCENE_SPREADS, SCENE_OWN = (0.2, 0.35, 0.6), 0.8
# ln of edge over what dust's would be: a scene has one softness of its own, somewhere here.
SCENE_EDGES, SCENE_EDGE_SPREAD = (-1.1, -0.8, -0.5, -0.2, 0.1), 0.28
# Marks made alike (dots, buttons, beads): sd of ln width, ln depth and ln edge; the share of scenes that have such.
ALIKE_WIDTH, ALIKE_DEPTH, ALIKE_EDGE, ALIKE_SCENES = 0.04, 0.12, 0.2, 0.03
MOST_ALIKE = 40  # marks that are tried as the pattern of the others
# A person said of some marks that they are no dust: then the scene has more of them as likely as not. Probability left
# to such a mark, and how many of the latest are asked.
TOLD_SHARE, NO_DUST, MOST_TOLD = 0.5, 1e-4, 20
# By how much the odds of dust, taken from the mark alone, may have to fall because the scene is full of look-alikes,
# and how many frames are so (our choice: nearly half to twice as many change no verdict of docs/restraint.md's).
TRAPS, TRAP_SHARE = (0.0, 1.5, 4.0, 8.0), 0.15
# So many grains expected among the marks that are dust as likely as not by themselves and sure in company, from which
# on the company may raise another one.
WITNESSES = 3
# Where so many marks that are dust as likely as not by themselves are the scene's, and this share of all that are, the
# company is suspect: even what fits waits for the map, with an even chance, as some of many marks fit any blur.
SUSPECT_FROM, SUSPECT_SHARE, EVEN = 3, 1 / 3, 0.5
# The judgement is that of so many marks, the likeliest; more tell nothing new.
MOST_MARKS = 150
LEAST_CHANGE = 0.005  # of a probability; less is not worth telling
_TINY = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """What is known of the blur in a frame before its marks are seen: *f_number* (None unknown), *pixel_pitch_um* (None
    unknown), and where a map has learnt it, *constant* (px·f-number) with the sd *sigma* of its logarithm."""

    f_number: float | None = None
    pixel_pitch_um: float | None = None
    constant: float | None = None
    sigma: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a mark looks like, as far as it counts among others: width at half depth and soft edge (10 to 90 %), px,
    attenuation, and the light's *gain* (`spots.spot.Candidate`); *box_px* is the side of the network's box."""

    diameter_px: float
    edge_px: float
    attenuation: float
    gain: float
    box_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the company says of one mark: the *probability* that it is dust, and *why* it is another than that of the
    mark alone, in words, empty where it is not."""

    probability: float
    why: str = ""


def judge(
    candidates: Sequence[Candidate],
    alone: Sequence[float],
    blur: Blur,
    *,
    sure_from: float,
    witnesses: int = 0,
    rejected: Sequence[Look] = (),
) -> tuple[Verdict, ...]:
    """Judge candidates together, each having the probability *alone* of being dust by its own score and light.

    *sure_from* is the probability from which one is taken for dust alone, *witnesses* how many confirmed particles the
    frame shows besides, *rejected* what marks of the scene look like that a person said are no dust. The company may
    lower any; it raises some only where WITNESSES stand without its help.
    """
    order = sorted(range(len(candidates)), key=lambda index: -alone[index])[:MOST_MARKS]
    verdicts = [Verdict(probability=value) for value in alone]
    if not order or len(order) + witnesses + len(rejected) < 2:
        return tuple(verdicts)
    told = list(rejected)[-MOST_TOLD:]
    marks = _Marks.of([*told, *(_look_of(candidates[index]) for index in order)])
    before = np.array([NO_DUST] * len(told) + [alone[index] for index in order])
    together, apart, likeliest_px = _weigh(marks, before, blur, len(told))
    marks, before, together, apart = (
        marks.since(len(told)),
        before[len(told) :],
        together[len(told) :],
        apart[len(told) :],
    )
    standing = float(before[(before >= EVEN) & (together >= sure_from)].sum()) + witnesses
    lowered = _probability(_logit(before) + np.minimum(0.0, _logit(together) - _logit(apart)))
    # What the marks' physics says of one alone is the gate's affair and the map's: only company counts here.
    after = np.where(together < before, np.maximum(np.minimum(lowered, before), together), before)
    if standing >= WITNESSES:
        after = np.maximum(after, together)
    scenes = int(((before >= EVEN) & (after < EVEN)).sum())
    if scenes >= max(SUSPECT_FROM, SUSPECT_SHARE * (scenes + int((after >= EVEN).sum()) + witnesses)):
        after = np.minimum(after, EVEN)
    words = _words(marks, before, after, likeliest_px, sure_from)
    for place, index in enumerate(order):
        if abs(after[place] - before[place]) >= LEAST_CHANGE:
            verdicts[index] = Verdict(probability=float(after[place]), why=words[place])
    return tuple(verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marks:
    """n candidates as numbers, arrays (n,): ln width px and its error, ln depth, edge px, and ln of the edge over what
    a grain's would be; *measured* tells where light and not only the network's box was asked."""

    log_width: np.ndarray
    error: np.ndarray
    depth: np.ndarray
    edge_px: np.ndarray
    softness: np.ndarray
    measured: np.ndarray

    @classmethod
    def of(cls, candidates: Sequence[Look]) -> "_Marks":
        gain = np.array([max(each.gain, 0.01) for each in candidates])
        measured = gain >= MEASURED_FROM
        box_px = np.array([each.box_px for each in candidates])
        width_px = np.where(measured, [each.diameter_px for each in candidates], BOX_SHARE * box_px)
        width_px = np.clip(width_px, *WIDTHS_PX)
        depth = np.clip([each.attenuation for each in candidates], 0.003, 1.0)
        edge_px = np.maximum([each.edge_px for each in candidates], 0.5)
        grain_edge_px = EDGE_OF_SPECK * EDGE_SHARE * np.sqrt(depth) * width_px
        return cls(
            log_width=np.log(width_px),
            error=np.where(measured, np.hypot(WIDTH_SPREAD, WIDTH_ERROR / np.sqrt(gain)), BOX_ERROR),
            depth=depth,
            edge_px=edge_px,
            softness=np.log(edge_px / np.hypot(grain_edge_px, LENS_EDGE_PX)),
            measured=measured,
        )

    @property
    def log_depth(self) -> np.ndarray:
        return np.log(self.depth)

    def since(self, first: int) -> "_Marks":
        """Leave out the first few."""
        return _Marks(**{field.name: getattr(self, field.name)[first:] for field in fields(self)})


def _look_of(candidate: Candidate) -> Look:
    return Look(
        diameter_px=candidate.diameter_px,
        edge_px=candidate.edge_px,
        attenuation=candidate.attenuation,
        gain=candidate.gain,
        box_px=math.sqrt(candidate.width_px * candidate.height_px),
    )


# Blurs tried: ln px.
_BLURS = np.arange(math.log(4.0), math.log(WIDTHS_PX[1]), 0.08)


def _weigh(marks: _Marks, before: np.ndarray, blur: Blur, told: int = 0) -> tuple[np.ndarray, np.ndarray, float]:
    """Sum over blurs, traps and scenes: the probabilities in company and apart, (n,) each, and the likeliest blur, px.

    "Apart" is the same reckoning for each mark as if it were the only one. The first *told* marks are known to be the
    scene's.
    """
    dust = _as_dust(marks, blur)
    scene, log_scene = _as_scene(marks, told)
    traps = np.array(TRAPS)
    log_traps = np.log(np.where(traps > 0, TRAP_SHARE / (len(traps) - 1), 1 - TRAP_SHARE))
    prior = (_log_blurs(blur)[:, None, None] + log_traps[None, :, None] + log_scene).astype(np.float32)
    total = prior.astype(np.float64)
    shares, apart = [], np.empty(len(before))
    for index, odds in enumerate(_logit(before)):
        chance = _probability(odds - traps)
        mine = (dust[index][:, None] * chance)[:, :, None]
        whole = mine + (1 - chance)[None, :, None] * scene[index] + _TINY
        share, log = (mine / whole).astype(np.float32), np.log(whole)
        total += log
        own = np.exp(prior + log - (prior + log).max())
        apart[index] = (own * share).sum() / own.sum()
        shares.append(share)
    weight = np.exp(total - total.max())
    weight /= weight.sum()
    together = np.array([float((share * weight).sum()) for share in shares])
    likeliest_px = math.exp(_BLURS[int(weight.sum((1, 2)).argmax())])
    return np.clip(together, 1e-6, 1 - 1e-6), np.clip(apart, 1e-6, 1 - 1e-6), likeliest_px


def _log_blurs(blur: Blur) -> np.ndarray:
    """Give ln of the prior of each of _BLURS: what is learnt of the body, or what is known of sensors (§1.5)."""
    if not blur.f_number:
        return np.full(len(_BLURS), -math.log(len(_BLURS)))
    if blur.constant is not None:
        chance = _normal(_BLURS, math.log(blur.constant / blur.f_number), math.hypot(blur.sigma, 0.1)) + 1e-4
    else:
        pitches = np.array([blur.pixel_pitch_um] if blur.pixel_pitch_um else np.geomspace(3.0, 8.5, 21))
        shares = np.ones(1) if blur.pixel_pitch_um else _normal(np.log(pitches), math.log(PITCH_UM), 0.3)
        stack_um = np.exp(_BLURS)[:, None] * blur.f_number * pitches
        # A tenth of slack to either side: what is measured scatters.
        possible = (stack_um >= 0.9 * THINNEST_STACK_UM) & (stack_um <= 1.1 * THICKEST_STACK_UM)
        stacks = _normal(np.log(stack_um), math.log(STACK_MEDIAN_UM), STACK_SPREAD) * possible
        chance = (stacks * shares).sum(1) / shares.sum() + 1e-9
    return np.log(chance / chance.sum())


def _as_dust(marks: _Marks, blur: Blur) -> np.ndarray:
    """Give how likely each mark is as a grain's shadow, for each of _BLURS: (n, blurs), per unit of ln width, ln depth
    and ln edge."""
    blur_px = np.exp(_BLURS)
    larger = _larger_share(blur_px * (blur.pixel_pitch_um or PITCH_UM))
    apart = marks.log_width[:, None] - _BLURS
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
    return (1 - ODD_SHARE) * ((1 - larger) * narrow + larger * wide) + ODD_SHARE * odd


def _larger_share(blur_um: np.ndarray) -> np.ndarray:
    """Say what share of the grains that show are wider than a blur of so many µm."""

    def beyond(size_um: np.ndarray) -> np.ndarray:
        z = np.log(size_um / GRAIN_UM) / GRAIN_SPREAD / math.sqrt(2)
        return 0.5 * np.array([math.erfc(each) for each in z])

    return np.clip(beyond(blur_um) / beyond(LEAST_OF_BLUR * blur_um), 0.0, 0.9)


def _as_scene(marks: _Marks, told: int) -> tuple[np.ndarray, np.ndarray]:
    """Give how likely each mark is as a thing of the scene, for each kind of scene, (n, scenes), and ln of the scenes'
    shares; copies of the first *told* marks are as likely as all else."""
    uniform = _if_measured(marks, 1 / 4.6)  # ln depth from 1 % to all
    anything = 0.25 * _if_measured(marks, _normal(marks.softness, -0.35, 0.6)) * uniform
    middles = np.arange(math.log(WIDTHS_PX[0]), math.log(WIDTHS_PX[1]), 0.25)
    spreads = np.hypot(np.array(SCENE_SPREADS), marks.error[:, None])
    widths = _normal(marks.log_width[:, None, None], middles[:, None], spreads[:, None, :]).reshape(len(uniform), -1)
    edges = _normal(marks.softness[:, None], np.array(SCENE_EDGES), SCENE_EDGE_SPREAD)
    edges = np.where(marks.measured[:, None], edges, 1.0)
    own = (widths[:, :, None] * edges[:, None, :]).reshape(len(uniform), -1) * uniform[:, None]
    kinds = SCENE_OWN * own + (1 - SCENE_OWN) * anything[:, None]
    alike = SCENE_OWN * _alike(marks) + (1 - SCENE_OWN) * anything[:, None]
    patterns = np.where(marks.measured[:MOST_ALIKE], 1.0, _TINY)
    # A pattern costs what finding it among all widths, depths and edges is worth.
    room = (np.log(WIDTHS_PX[1] / WIDTHS_PX[0]) / ALIKE_WIDTH / 5) * (4.6 / ALIKE_DEPTH / 2) * len(SCENE_EDGES)
    shares = patterns * ALIKE_SCENES / room
    shares[:told] = TOLD_SHARE / max(told, 1)
    others = (1 - TOLD_SHARE * (told > 0)) * (1 - ALIKE_SCENES)
    log_shares = np.concatenate(
        [np.full(kinds.shape[1], math.log(others / kinds.shape[1])), np.log(np.maximum(shares, _TINY))]
    )
    return np.concatenate([kinds, alike], 1), log_shares


def _alike(marks: _Marks) -> np.ndarray:
    """Give how likely each mark is as a copy of each of the first MOST_ALIKE, (n, patterns)."""

    def away(values: np.ndarray) -> np.ndarray:
        return values[:, None] - values[None, :MOST_ALIKE]

    width = _normal(away(marks.log_width), 0.0, np.hypot(ALIKE_WIDTH, marks.error)[:, None])
    rest = _normal(away(marks.log_depth), 0.0, ALIKE_DEPTH) * _normal(away(marks.softness), 0.0, ALIKE_EDGE)
    both = marks.measured[:, None] & marks.measured[None, :MOST_ALIKE]
    return width * np.where(both, rest, 1 / 4.6)


def _words(marks: _Marks, before: np.ndarray, after: np.ndarray, likeliest_px: float, sure_from: float) -> list[str]:
    """Say for a person why a mark's probability changed so that it matters, empty where it did not."""
    lowered = (before >= sure_from) & (after < sure_from)
    width_px = np.exp(marks.log_width)
    kept = after >= sure_from
    why_lowered = ""
    if lowered.any():
        low, high = float(width_px[lowered].min()), float(width_px[lowered].max())
        number = int(lowered.sum())
        if kept.sum() >= WITNESSES:
            why_lowered = f"dust is {likeliest_px:.0f} px wide in this frame"
        elif number == 1:
            why_lowered = "the other marks of this frame are not dust"
        elif high > 1.3 * low:
            why_lowered = f"{number} marks here, {low:.0f} to {high:.0f} px wide: shadows of one lens would be alike"
        else:
            why_lowered = f"{number} marks alike in width and depth, as a subject's are"
    why_raised = f"as wide as the dust of this frame, {likeliest_px:.0f} px"
    raised = (before < sure_from) & kept
    return [why_lowered if low else why_raised if up else "" for low, up in zip(lowered, raised, strict=True)]


def _if_measured(marks: _Marks, values: np.ndarray | float) -> np.ndarray:
    """Take *values* where the light was asked, 1 where only the width is known."""
    return np.where(marks.measured, values, 1.0)


def _normal(value: np.ndarray, mean: float | np.ndarray, spread: float | np.ndarray) -> np.ndarray:
    """Density of a normal distribution."""
    return np.exp(-0.5 * ((value - mean) / spread) ** 2) / (math.sqrt(2 * math.pi) * spread)


def _logit(probability: np.ndarray) -> np.ndarray:
    bounded = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(bounded / (1 - bounded))


def _probability(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))
