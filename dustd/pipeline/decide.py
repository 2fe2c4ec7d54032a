"""The second act: decide. What was seen, what the map knows and what a person said become spots with reasons.

No network is needed. Where the light of the frame is at hand, places where the map expects dust are looked at again in
it, and shapes are told; without it the candidates alone are judged, which takes milliseconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dustd.detector.detect import threshold
from dustd.dustmap import evidence
from dustd.dustmap.decide import Thresholds, reconcile
from dustd.dustmap.match import Expected, State, crowd_of, expect, match
from dustd.dustmap.particle import View, is_told, view_of
from dustd.dustmap.rejection import Rejection, of_this_scene, settled
from dustd.dustmap.second_look import look_again, shadows
from dustd.dustmap.stack import Stack, reveal
from dustd.output.sidecar import DetectorInfo, Evidence
from dustd.pipeline.look import Look
from dustd.raw.frame import Frame
from dustd.spots import company, likeness, marks
from dustd.spots.asked import insisted
from dustd.spots.calibration import Calibration
from dustd.spots.candidates import as_spot
from dustd.spots.measure import MEASURED_FROM, KnownShadow
from dustd.spots.outline import outlines_in
from dustd.spots.revise import known_to_dict
from dustd.spots.shape import Outline
from dustd.spots.spot import Candidate, Detection, Refused, Spot

# Where a confirmed particle is predicted, a false detection would have to fall into that small place by chance; 50
# points of sensitivity (25 times the false positives, design §5) are still far on the safe side there.
KNOWN_BONUS = 50.0
# Detections below this are not worth a line in the sidecar (false positives per megapixel of the model's scale).
LISTED_FALSE_PER_MP = 0.5
# False positives per megapixel from which a detection speaks to the map (facts §4).
EVIDENCE_FALSE_PER_MP = 0.1
# False positives per megapixel at which a mark counts as standing by itself: sensitivity 50 (design §5).
SURE_FALSE_PER_MP = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a model's scores mean: probabilities (*calibration*), and by them false positives per megapixel."""

    calibration: Calibration
    false_positive_scores: Mapping[float, float]

    def score_at(self, false_per_mp: float) -> float:
        """Give the score at a rate of false positives, that of the nearest calibrated rate."""
        nearest = min(self.false_positive_scores, key=lambda rate: abs(rate - false_per_mp))
        return self.false_positive_scores[nearest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Spots with their reasons, and what the map knows of their shadows, by spot id (*known*).

    *sensitivity* came to the score *threshold*; what scores *evidence_score* or more speaks to the map.
    """

    spots: tuple[Spot, ...]
    known: Mapping[int, KnownShadow]
    sensitivity: float
    threshold: float
    evidence_score: float

    def detector_info(self, look: Look) -> DetectorInfo:
        """Say for a sidecar which model looked, and how."""
        return DetectorInfo(
            model_id=look.model_id,
            sha256=look.sha256,
            device=look.device,
            sensitivity=self.sensitivity,
            threshold=self.threshold,
            tiles=look.tiles,
            skipped_tiles=look.skipped_tiles,
        )

    def evidence(self, look: Look) -> Evidence:
        """Lay out for a sidecar what the map needs beyond the spots."""
        return {
            "frame_id": look.frame_id,
            "evidence_score": self.evidence_score,
            "known": known_to_dict(self.known, self.spots),
            **evidence.to_dict(look.scene),
        }


def view_in(look: Look, scale: Scale) -> View:
    """Gather what the map asks of a frame."""
    return view_of(
        look.camera,
        frame_id=look.frame_id,
        width=look.width,
        height=look.height,
        evidence=look.scene,
        score=scale.score_at(EVIDENCE_FALSE_PER_MP),
    )


def limits_for(sensitivity: float, false_positive_scores: Mapping[float, float]) -> Thresholds:
    """Give the limits that a sensitivity of 0 to 100 means: 0 corrects only what the map has confirmed, from 50 on the
    mark's own score counts more and more against what its company says."""
    return Thresholds(
        lone=threshold(sensitivity, false_positive_scores),
        known=threshold(min(100.0, sensitivity + KNOWN_BONUS), false_positive_scores),
        trust_alone=max(0.0, sensitivity / 50 - 1),
        only_known=sensitivity <= 0,
    )


def decide(
    look: Look,
    state: State,
    *,
    scale: Scale,
    sensitivity: float,
    verdicts: Sequence[Rejection] = (),
    asked: Sequence[Spot] = (),
    frame: Frame | None = None,
    stack: Stack | None = None,
    outlines: Callable[[Frame, Sequence[tuple[Spot, Detection]]], Sequence[Outline | None]] = outlines_in,
) -> Decision:
    """Decide what to correct in a frame that was looked at, and say why.

    *state* is what the map of the body knows, *verdicts* what a person rejected, *asked* what one asked to have
    corrected in this frame. With *frame*, the light of it is looked at again where dust is known, and *outlines* reads
    shapes off it; with *stack*, the body's average with this frame in it, what only that shows is listed too.
    """
    scores = scale.false_positive_scores
    limits = limits_for(sensitivity, scores)
    view = view_in(look, scale)
    listed = min(limits.lone, limits.known, scale.score_at(LISTED_FALSE_PER_MP))
    rated = [(as_spot(each, 0, scale.calibration), each) for each in look.candidates]
    likely = sorted((pair for pair in rated if pair[0].score >= listed), key=lambda pair: -pair[0].score)
    candidates = {number: candidate for number, (_, candidate) in enumerate(likely, start=1)}
    spots = [replace(spot, id=number) for number, (spot, _) in enumerate(likely, start=1)]
    expected = expect(spots, state, view)
    spots = _in_company(spots, [each for _, each in likely], look.refused, state, view, expected, scale, verdicts)
    expected = replace(expected, crowd=crowd_of(spots, view))
    decided = reconcile(spots, state, view, limits, expected)
    if frame is not None:
        decided += look_again(frame, decided, state, view, limits.lone, expected)
    if stack is not None:
        decided += reveal(stack, decided, state, view, state.optics)
    decided = insisted(settled(decided, view, verdicts), asked)
    if frame is not None:
        told = {particle.id for particle in state.particles if is_told(particle, view)}
        untold = [each for each in decided if each.wanted and each.id in candidates and each.particle_id not in told]
        read = outlines(frame, [(spot, candidates[spot.id].box) for spot in untold])
        outline_of = {spot.id: outline for spot, outline in zip(untold, read, strict=True)}
        decided = tuple(replace(spot, outline=outline_of.get(spot.id, spot.outline)) for spot in decided)
    return Decision(
        spots=decided,
        known=shadows([spot for spot in decided if spot.wanted or not spot.asked], state, view, expected),
        sensitivity=sensitivity,
        threshold=limits.lone,
        evidence_score=view.evidence_score,
    )


def _in_company(
    spots: Sequence[Spot],
    candidates: Sequence[Candidate],
    refused_there: Sequence[Refused],
    state: State,
    view: View,
    expected: Expected,
    scale: Scale,
    verdicts: Sequence[Rejection],
) -> list[Spot]:
    """Give the spots that no confirmed particle vouches for the scores that they have together (`spots.company`)."""
    vouched = {
        index
        for index, particle in match(spots, state.particles, expected.predictions, view).items()
        if particle.confirmed
    }
    lone = [index for index in range(len(spots)) if index not in vouched]
    told = [_look_of(each) for each in of_this_scene(verdicts, view)]
    refused = [
        (marks.look_of_refused(each), scale.calibration.probability(each.score, each.gain, each.second_score))
        for each in refused_there
        if each.score > 0
    ]
    judged_together = company.judge(
        [candidates[index] for index in lone],
        [spots[index].score for index in lone],
        likeness.Blur(
            f_number=view.f_number,
            pixel_pitch_um=view.pixel_pitch_um,
            constant=state.optics.blur_constant,
            sigma=state.optics.blur_sigma,
        ),
        megapixels=view.width * view.height / 1e6,
        sure_from=scale.score_at(SURE_FALSE_PER_MP),
        witnesses=len(vouched),
        rejected=told,
        refused=refused,
    )
    judged = list(spots)
    for index, verdict in zip(lone, judged_together, strict=True):
        if verdict.probability != spots[index].score:
            judged[index] = replace(
                spots[index],
                score=verdict.probability,
                score_alone=spots[index].score,
                company=verdict.why,
            )
    return judged


def _look_of(rejected: Rejection) -> marks.Look:
    return marks.Look(
        diameter_px=rejected.diameter_px,
        edge_px=rejected.edge_px,
        attenuation=rejected.attenuation,
        gain=MEASURED_FROM,
        box_px=rejected.diameter_px,
    )
