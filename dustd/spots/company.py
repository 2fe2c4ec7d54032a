"""Judging the marks of a frame together: do they look like grains on one sensor, or like things in the scene?

What one spot looks like a scene can copy; what all of them have in common it rarely does (facts/optics-and-evidence.md
§1.1). Grains lie at one distance t from the photodiodes, so in one frame all shadows have one blur b = t/(N·pitch):

* a grain smaller than b throws a shadow as wide as b, however deep; only what is wider than b may be wider;
* its depth is A = κ(d/b)², so a shadow's edge, as wide as the grain, is b·√(A/κ): shallow shadows are soft ones;
* depths differ over a factor of several, since sizes do;
* places have no order, and all is grey.

The marks of a subject (moles, seeds, birds, discs of bokeh) have widths of their own and one softness, or are alike in
width and depth at once (dots, buttons), or lie in rows and grids (holes, rivets), and may be coloured. Each mark is
weighed under both, with the blur, the scene's own marks and the chance that the scene is full of look-alikes unknown
and summed over. The sums are plain ones over grids. Pure; knows neither frames nor the dust map.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dustd.spots.likeness import BLURS, Blur, as_dust, as_scene, log_blurs, log_odds_of_colour
from dustd.spots.marks import Look, Marks, look_of
from dustd.spots.spot import Candidate

# Probability left to a mark that a person said is no dust, and how many of the latest are asked.
NO_DUST, MOST_TOLD = 1e-4, 20
# By how much the odds of dust, taken from the mark alone, may have to fall because the scene is full of look-alikes,
# and how many frames are so (our choice: nearly half to twice as many change no verdict of docs/restraint.md's).
TRAPS, TRAP_SHARE = (0.0, 1.5, 4.0, 8.0), 0.15
# So many grains expected among the marks that are sure by themselves and in company, from which on the company may
# raise another one.
WITNESSES = 3
# Where so many marks that are dust as likely as not by themselves are the scene's, and this share of all that are, the
# company is suspect: even what fits waits for the map, with an even chance, as some of many marks fit any blur.
SUSPECT_FROM, SUSPECT_SHARE, EVEN = 3, 1 / 3, 0.5
# The judgement is that of so many marks, the likeliest; more tell nothing new.
MOST_MARKS = 150
LEAST_BLUR = 1e-7  # blurs less likely than this share of the likeliest, before any mark is seen, are not tried
LEAST_CHANGE = 0.005  # of a probability; less is not worth telling
COLOURED = "it is coloured, and dust is grey"
_TINY = 1e-300


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
    if not order:
        return ()
    told = list(rejected)[-MOST_TOLD:]
    marks = Marks.of([*told, *(look_of(candidates[index]) for index in order)])
    before = np.array([NO_DUST] * len(told) + [alone[index] for index in order])
    own = _probability(_logit(before) + log_odds_of_colour(marks))
    if len(before) + witnesses < 2:
        after, words = own, [COLOURED] * len(own)
    else:
        after, words = _in_company(marks, before, own, blur, sure_from=sure_from, witnesses=witnesses, told=len(told))
    for place, index in enumerate(order):
        if abs(after[place] - alone[index]) >= LEAST_CHANGE:
            verdicts[index] = Verdict(probability=float(after[place]), why=words[place])
    return tuple(verdicts)


def _in_company(
    marks: Marks, before: np.ndarray, own: np.ndarray, blur: Blur, *, sure_from: float, witnesses: int, told: int
) -> tuple[np.ndarray, list[str]]:
    """Give the probabilities in company of all but the first *told* marks, and why: *before* by score and light, *own*
    by colour, too."""
    together, apart, likeliest_px, in_order = _weigh(marks, before, blur, told)
    marks = marks.since(told)
    before, own, together, apart = (values[told:] for values in (before, own, together, apart))
    standing = float(before[(before >= sure_from) & (together >= sure_from)].sum()) + witnesses
    lowered = _probability(_logit(own) + np.minimum(0.0, _logit(together) - _logit(apart)))
    # What the marks' physics says of one alone is the gate's affair and the map's: only company counts here.
    after = np.where(together < own, np.maximum(np.minimum(lowered, own), together), own)
    if standing >= WITNESSES:
        after = np.maximum(after, together)
    scenes = int(((before >= EVEN) & (after < EVEN)).sum())
    if scenes >= max(SUSPECT_FROM, SUSPECT_SHARE * (scenes + int((after >= EVEN).sum()) + witnesses)):
        after = np.minimum(after, EVEN)
    words = _words(marks, before, after, likeliest_px, in_order, sure_from)
    coloured = (before >= sure_from) & (own < sure_from) & (after < sure_from)
    return after, [COLOURED if of_colour else why for of_colour, why in zip(coloured, words, strict=True)]


def _weigh(marks: Marks, before: np.ndarray, blur: Blur, told: int = 0) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """Sum over blurs, traps and scenes: the probabilities in company and apart, (n,) each, the likeliest blur, px, and
    whether the scene's marks are taken to lie in order.

    "Apart" is the same reckoning for each mark as if it were the only one. The first *told* marks are known to be the
    scene's.
    """
    log_prior = log_blurs(blur)
    possible = log_prior > log_prior.max() + math.log(LEAST_BLUR)
    dust = as_dust(marks, blur)[:, possible]
    scene, log_scene, in_order = as_scene(marks, told)
    traps = np.array(TRAPS)
    log_traps = np.log(np.where(traps > 0, TRAP_SHARE / (len(traps) - 1), 1 - TRAP_SHARE))
    prior = (log_prior[possible, None, None] + log_traps[None, :, None] + log_scene).astype(np.float32)
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
    likeliest_px = math.exp(BLURS[possible][int(weight.sum((1, 2)).argmax())])
    ordered = float(weight[..., in_order].sum())
    return np.clip(together, 1e-6, 1 - 1e-6), np.clip(apart, 1e-6, 1 - 1e-6), likeliest_px, ordered > EVEN


def _words(
    marks: Marks, before: np.ndarray, after: np.ndarray, likeliest_px: float, in_order: bool, sure_from: float
) -> list[str]:
    """Say for a person why a mark's probability changed so that it matters, empty where it did not."""
    lowered = (before >= sure_from) & (after < sure_from)
    width_px = np.exp(marks.log_width)
    kept = after >= sure_from
    why_lowered = ""
    if lowered.any():
        low, high = float(width_px[lowered].min()), float(width_px[lowered].max())
        number = int(lowered.sum())
        if in_order and number > 1:
            why_lowered = f"{number} marks in rows, as a subject's are"
        elif kept.sum() >= WITNESSES:
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


def _logit(probability: np.ndarray) -> np.ndarray:
    bounded = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(bounded / (1 - bounded))


def _probability(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))
