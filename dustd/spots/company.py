"""Judging the marks of a frame together: do they look like grains on one sensor, or like things in the scene?

What one spot looks like a scene can copy; what all of them have in common it rarely does (facts/optics-and-evidence.md
§1.1). Grains lie at one distance t from the photodiodes, so in one frame all shadows have one blur b = t/(N·pitch):

* a grain smaller than b throws a shadow as wide as b, however deep; only what is wider than b may be wider;
* its depth is A = κ(d/b)², so a shadow's edge, as wide as the grain, is b·√(A/κ): shallow shadows are soft ones;
* depths differ over a factor of several, since sizes do;
* places have no order, and all is grey;
* there are rarely more than some per megapixel.

The marks of a subject (moles, seeds, birds, discs of bokeh) have widths of their own and one softness, or are alike in
width and depth at once (dots, buttons), or lie in rows and grids (holes, rivets), and may be coloured. Each mark is
weighed under both, with the blur, the scene's own marks, and how many of each there are per megapixel unknown and
summed over: the marks are those of two Poisson processes. The sums are plain ones over grids. Pure; knows neither
frames nor the dust map.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from dustd.spots.calibration import SPOTS_PER_MP
from dustd.spots.likeness import BLURS, Blur, as_dust, as_scene, log_blurs, log_odds_of_colour
from dustd.spots.marks import Look, Marks, look_of
from dustd.spots.spot import Candidate

# Probability left to a mark that a person said is no dust, and how many of the latest are asked.
NO_DUST, MOST_TOLD = 1e-4, 20
# Dust found per megapixel is log-normal about SPOTS_PER_MP, with this sd of ln: dirty bodies have 5 to 15, and 55 the
# Canon 6D of shared/data/dusty, shown off at f/22.
DUST_SPREAD = 1.8
# The share of scenes with look-alikes that deceive the network as well as dust does, and between which rates per
# megapixel theirs may be anything, on a scale of logarithms (our choice; docs/restraint.md says what others change).
LOOKALIKE_SHARE, LOOKALIKES_PER_MP = 0.15, (0.05, 100.0)
# Rates are tried down from that of all marks, by this factor, so often.
RATE_STEP, RATES = 3.0, 5
# So many grains expected among the marks that are sure by themselves and in company, from which on the company may
# raise others, and the least probability by itself of one that is raised: below, what the network is sure is no dust
# comes up too often (of 19 such marks in generated frames that looked like the dust about them three were none).
WITNESSES, RAISED_FROM = 3, 0.1
# Where this share of what looks like dust is expected to be the scene's, and at least so many marks, by the rate of
# look-alikes or as their scores overrated them, the company is suspect: even what fits waits for the map, with an even
# chance and half the odds of what is sure at most, as some of many marks fit any blur. From .2 to .5 verdicts are
# nearly the same (docs/restraint.md).
SUSPECT_SHARE, SUSPECT_FROM, EVEN, OF_SURE = 1 / 3, 3, 0.5, 0.5
# The judgement is that of so many marks, the likeliest; more tell nothing new.
MOST_MARKS = 150
LEAST_BLUR = 1e-7  # blurs less likely than this share of the likeliest, before any mark is seen, are not tried
LEAST_CHANGE = 0.005  # of a probability; less is not worth telling
COLOURED = "it is coloured, and dust is grey"
SHARP = "its edge is too sharp for its depth"
LEAST_WEIGHT = 1e-7  # of the likeliest, below which a hypothesis does not count in the end
_TINY = 1e-37


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
    megapixels: float,
    sure_from: float,
    witnesses: int = 0,
    rejected: Sequence[Look] = (),
    refused: Sequence[tuple[Look, float]] = (),
) -> tuple[Verdict, ...]:
    """Judge the candidates of a frame of so many *megapixels* together, each having the probability *alone* of being
    dust by its own score and light, at SPOTS_PER_MP.

    *sure_from* is the probability from which one is taken for dust alone, *witnesses* how many confirmed particles the
    frame shows besides, *rejected* what marks of the scene look like that a person said are no dust, *refused* those
    that physics rules out, with the probability that each had alone: where such are frequent, what is but a little
    wider than dust has to be may be one more. The company may lower any; it raises some only where WITNESSES stand
    without its help.
    """
    order = sorted(range(len(candidates)), key=lambda index: -alone[index])[:MOST_MARKS]
    verdicts = [Verdict(probability=value) for value in alone]
    if not order:
        return ()
    told = list(rejected)[-MOST_TOLD:]
    witnessed = sorted(refused, key=lambda pair: -pair[1])[: MOST_MARKS - len(order)]
    looks = [*told, *(look_of(candidates[index]) for index in order), *(look for look, _ in witnessed)]
    marks = Marks.of(looks)
    before = np.array([NO_DUST] * len(told) + [alone[index] for index in order] + [value for _, value in witnessed])
    judged = slice(len(told), len(told) + len(order))
    own = np.where(marks.sharp, NO_DUST, _probability(_logit(before) + log_odds_of_colour(marks)))
    if len(before) + witnesses < 2:
        after, words = own, [_own_words(sharp) for sharp in marks.sharp]
    else:
        weighed = _weigh(marks, before, blur, megapixels, judged)
        marks, before, own = marks.part(judged), before[judged], own[judged]
        after, words = _in_company(marks, before, own, weighed, sure_from=sure_from, witnesses=witnesses)
    for place, index in enumerate(order):
        if abs(after[place] - alone[index]) >= LEAST_CHANGE:
            # Six digits: what comes after them depends on how many threads a sum was shared among.
            verdicts[index] = Verdict(probability=float(f"{after[place]:.6g}"), why=words[place])
    return tuple(verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    """The probabilities that marks are dust *together* and *apart* from each other, (n,) each.

    *likeliest_px* is the likeliest blur; *in_order* tells whether the scene's marks are taken to lie in order, and
    *lookalikes* how many of the frame's marks are expected to deceive the network, and which *share* that is of
    them and the grains.
    """

    together: np.ndarray
    apart: np.ndarray
    likeliest_px: float
    in_order: bool
    lookalikes: float
    share: float


def _in_company(
    marks: Marks, before: np.ndarray, own: np.ndarray, weighed: _Weighed, *, sure_from: float, witnesses: int
) -> tuple[np.ndarray, list[str]]:
    """Give the probabilities in company of the marks that were *weighed*, and why: *before* by score and light, *own*
    by colour, too."""
    together, apart = weighed.together, weighed.apart
    standing = float(before[(before >= sure_from) & (together >= sure_from)].sum()) + witnesses
    lowered = _probability(_logit(own) + np.minimum(0.0, _logit(together) - _logit(apart)))
    # What width and depth say of one alone is the gate's affair and the map's: only company counts here.
    after = np.where(together < own, np.maximum(np.minimum(lowered, own), together), own)
    if standing >= WITNESSES:
        after = np.where(before >= RAISED_FROM, np.maximum(after, together), after)
    overrated = float(before @ (1 - together))
    suspected = (weighed.lookalikes, weighed.share), (overrated, overrated / max(before.sum(), _TINY))
    if any(number >= SUSPECT_FROM and share >= SUSPECT_SHARE for number, share in suspected):
        after = np.minimum(after, min(EVEN, float(_probability(_logit(np.array(sure_from)) + math.log(OF_SURE)))))
    words = _words(marks, before, after, weighed, sure_from)
    by_itself = (before >= sure_from) & (own < sure_from) & (after < sure_from)
    return after, [
        _own_words(sharp) if own_look else why
        for own_look, sharp, why in zip(by_itself, marks.sharp, words, strict=True)
    ]


def _own_words(sharp: bool) -> str:
    """Say what of its own look lowered a mark."""
    return SHARP if sharp else COLOURED


def _weigh(marks: Marks, before: np.ndarray, blur: Blur, megapixels: float, judged: slice) -> _Weighed:
    """Sum over blurs, scenes, and rates of dust and of look-alikes, for the *judged* marks. Those before them are known
    to be the scene's, those after them were refused.

    A mark of odds o by itself, at a rate r₀ of dust, is one of r·dust + (r₀/o + l)·scene that are found per megapixel
    and look so, r being the dust's rate and l that of look-alikes that the network cannot tell from dust.
    """
    log_prior = log_blurs(blur)
    possible = log_prior > log_prior.max() + math.log(LEAST_BLUR)
    dust = as_dust(marks, blur)[:, possible]
    told = judged.start
    scene, log_scene, in_order = as_scene(marks, told)
    rates, lookalikes, log_rates = _rates((len(before) - told) / megapixels, megapixels)
    rivals = SPOTS_PER_MP * np.exp(-_logit(before))[:, None] + lookalikes  # (n, pairs)
    # Single precision is enough, and some two and a half times as fast: of 25 and of 150 marks no probability was off
    # by 1e-6.
    dust, scene, rates32, rivals32 = (each.astype(np.float32) for each in (dust, scene, rates, rivals))
    total = (log_prior[possible, None, None] + log_rates[:, None] + log_scene).astype(np.float32)
    for mine, rival, its in zip(dust, rivals32, scene, strict=True):
        whole = (mine[:, None] * rates32)[:, :, None] + rival[:, None] * its
        total += np.log(whole + _TINY, out=whole)
    weight = np.exp(total - total.max(), dtype=np.float64)
    weight /= weight.sum()
    likely = np.nonzero(weight > LEAST_WEIGHT * weight.max())
    at_blur, at_pair, at_scene = likely
    taken = dust[:, at_blur] * rates32[at_pair]
    left = rivals32[:, at_pair] * scene[:, at_scene]
    together = (taken / (taken + left + _TINY)) @ weight[likely] / weight[likely].sum()
    by_pair = weight.sum((0, 2))
    # Apart, a mark is weighed at the frame's rate of dust, as if nothing else were known of blur and scene and no
    # look-alike deceived the network: what is left of the difference is the company's.
    as_grain = (dust @ _shares(log_prior[possible])) * (rates @ by_pair)
    as_thing = (scene @ _shares(log_scene)) * SPOTS_PER_MP * np.exp(-_logit(before))
    apart = as_grain / (as_grain + as_thing + _TINY)
    return _Weighed(
        together=np.clip(together[judged], 1e-6, 1 - 1e-6),
        apart=np.clip(apart[judged], 1e-6, 1 - 1e-6),
        likeliest_px=math.exp(BLURS[possible][int(weight.sum((1, 2)).argmax())]),
        in_order=float(weight[..., in_order].sum()) > EVEN,
        lookalikes=megapixels * float(by_pair @ lookalikes),
        share=float(by_pair @ lookalikes / (by_pair @ (lookalikes + rates))),
    )


def _rates(most_per_mp: float, megapixels: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give pairs of rates of dust and of look-alikes, up to *most_per_mp*, and ln of how likely each pair is by what is
    known of bodies and scenes, and by *megapixels* that show no mark: (pairs,) each. The least rate of dust stands for
    all below it, as does no look-alike."""
    tried = most_per_mp * RATE_STEP ** -np.arange(RATES, dtype=float)
    to = np.log(tried) + math.log(RATE_STEP) / 2  # each stands for what lies about it
    of_dust = [NormalDist(math.log(SPOTS_PER_MP), DUST_SPREAD).cdf(z) for z in to]
    least, most = np.log(LOOKALIKES_PER_MP)
    of_lookalikes = np.clip((np.append(to, to[-1] - math.log(RATE_STEP)) - least) / (most - least), 0, 1)
    of_lookalikes = 1 - LOOKALIKE_SHARE * (1 - of_lookalikes)
    dust, lookalikes = np.meshgrid(tried, [*tried, 0.0], indexing="ij")
    shares = np.outer(-np.diff([*of_dust, 0.0]), -np.diff([*of_lookalikes, 0.0]))
    return dust.ravel(), lookalikes.ravel(), np.log(shares.ravel() + _TINY) - (dust + lookalikes).ravel() * megapixels


def _shares(log: np.ndarray) -> np.ndarray:
    shares = np.exp(log - log.max())
    return shares / shares.sum()


def _words(marks: Marks, before: np.ndarray, after: np.ndarray, weighed: _Weighed, sure_from: float) -> list[str]:
    """Say for a person why a mark's probability changed so that it matters, empty where it did not."""
    lowered = (before >= sure_from) & (after < sure_from)
    width_px = np.exp(marks.log_width)
    kept = after >= sure_from
    why_lowered = ""
    if lowered.any():
        low, high = float(width_px[lowered].min()), float(width_px[lowered].max())
        number = int(lowered.sum())
        if weighed.in_order and number > 1:
            why_lowered = f"{number} marks in rows, as a subject's are"
        elif kept.sum() >= WITNESSES:
            why_lowered = f"dust is {weighed.likeliest_px:.0f} px wide in this frame"
        elif number == 1:
            why_lowered = "the other marks of this frame are not dust"
        elif high > 1.3 * low:
            why_lowered = f"{number} marks here, {low:.0f} to {high:.0f} px wide: shadows of one lens would be alike"
        else:
            why_lowered = f"{number} marks alike in width and depth, as a subject's are"
    why_raised = f"as wide as the dust of this frame, {weighed.likeliest_px:.0f} px"
    raised = (before < sure_from) & kept
    return [why_lowered if low else why_raised if up else "" for low, up in zip(lowered, raised, strict=True)]


def _logit(probability: np.ndarray) -> np.ndarray:
    bounded = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(bounded / (1 - bounded))


def _probability(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))
