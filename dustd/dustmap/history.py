"""A body's history: one line of frames in capture order, cut into epochs by cleanings, and the map as a fold along it.

Where a frame lies on that line is `dustd.dustmap.places`'. Frames may arrive in any order, and twice: what they mean
depends on their places alone. A cleaning lies before the first frame that it changed. Pure; what is kept where is
`dustd.dustmap.store`'s.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dustd.codec import Codec
from dustd.dustmap import evidence
from dustd.dustmap.evidence import Evidence
from dustd.dustmap.match import State
from dustd.dustmap.particle import View, view_of
from dustd.dustmap.places import place_of
from dustd.dustmap.rejection import A_PERSON_IS_RIGHT, Rejection, against, refuted
from dustd.dustmap.update import after_cleaning, observe
from dustd.output.sidecar import Record
from dustd.spots.spot import Spot

Verdicts = Sequence[tuple[str, Rejection]]  # by the place from which each counts
# No camera and no dustd wrote more: px of a picture's side, and any number that counts here.
WIDEST_PX, LARGEST = 10**6, 1e9
Score = float | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A frame on the line: what it shows, and where it belongs."""

    place: str
    view: View
    spots: tuple[Spot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is believed after all up to *place*, which lies in the epoch that begins at *epoch*.

    *n* frames have been folded. *seen* and *missed* give the log-odds after it of each particle for and against which
    the frame at *place* spoke; both empty where a cleaning is.
    """

    place: str
    epoch: str
    n: int
    state: State
    seen: dict[str, float] = dataclasses.field(default_factory=dict)
    missed: dict[str, float] = dataclasses.field(default_factory=dict)


def counted(record: Record) -> Counted | None:
    """Take from a record what the map needs; None if it failed, has not got it, or is garbled: that costs itself."""
    data, camera = record.evidence or {}, record.camera
    frame_id, score = data.get("frame_id"), data.get("evidence_score")
    if record.status == "failed" or not (frame_id and isinstance(frame_id, str) and isinstance(score, Score)):
        return None
    try:
        seen = evidence.from_dict(data)
    except ValueError:
        return None
    view = view_of(camera, frame_id=frame_id, width=record.width, height=record.height, evidence=seen, score=score)
    texts = (frame_id, camera.body_id, camera.make, camera.model, camera.lens, camera.taken_at, *_samples_of(record))
    sizes = (view.width, view.height, seen.width, seen.height)
    if not (all(map(_is_plain, texts)) and all(0 < size <= WIDEST_PX for size in sizes)):
        return None
    frame = Counted(place=place_of(record), view=view, spots=tuple(map(_vouched, record.spots)))
    return frame if all(-LARGEST < number < LARGEST for number in _numbers(frame) if number is not None) else None


def _samples_of(record: Record) -> Iterator[str | None]:
    return (output.samples for output in record.outputs)


def _is_plain(text: str | None) -> bool:
    """Tell whether a database can keep a text: Unicode, and without a null."""
    return text is None or ("\0" not in text and text.encode(errors="ignore").decode() == text)


def _numbers(frame: Counted) -> Iterator[float | None]:
    view = frame.view
    yield from (view.evidence_score, *view.evidence.exposures)
    for none_below_0 in (view.f_number, view.focal_length_mm, view.pixel_pitch_um):
        yield none_below_0 if none_below_0 is None or none_below_0 >= 0 else -math.inf
    for spot in frame.spots:
        yield from (spot.x, spot.y, spot.diameter_px, spot.edge_px, spot.attenuation, spot.score, spot.score_alone)


def _vouched(spot: Spot) -> Spot:
    """Give a spot that a person asked for the score that a person's word is worth."""
    return dataclasses.replace(spot, score=max(spot.score, A_PERSON_IS_RIGHT)) if spot.asked else spot


def to_dict(frame: Counted) -> dict[str, Any]:
    """Lay out what a frame brings to the map for JSON, without its evidence and the words about its spots."""
    view, spots = _CODEC.plain(frame.view), _CODEC.plain(frame.spots)
    del view["evidence"]
    for spot in spots:
        del spot["reason"]
    return {"view": view, "spots": spots}


def from_dict(data: dict[str, Any], place: str, seen: Evidence) -> Counted:
    """Read back what a frame brought; unknown keys are ignored. Raise ValueError on anything else."""
    try:
        parts = {"view": {**data["view"], "evidence": seen}, "spots": data["spots"]}
    except (KeyError, TypeError) as exc:
        raise ValueError(f"not what a frame brings to the map: {exc}") from exc
    return _CODEC.read(Counted, {**parts, "place": place})


def fold(
    start: Step,
    frames: Iterable[Counted],
    cleanings: Sequence[str],
    dismissed: Sequence[tuple[str, str]],
    verdicts: Verdicts = (),
) -> Iterator[Step]:
    """Walk on from *start* along *frames* and *cleanings* (places), both in order and all after it.

    *verdicts* are all that were given about the body, those before *start* too. Inside *dismissed* (first and last
    place) no cleaning is noticed. Elsewhere `Step.state.cleaning.noticed_at` tells of one; whoever walks then begins
    again from before that frame, with its place among the cleanings.
    """
    step, left = start, list(cleanings)
    for frame in frames:
        while left and left[0] < frame.place:
            step = cleaned(step, left.pop(0))
            yield step
        step = after(step, frame, verdicts)
        if any(since <= frame.place <= until for since, until in dismissed):
            step = dataclasses.replace(step, state=undecided(step.state))
        yield step
    for place in left:
        step = cleaned(step, place)
        yield step


def after(step: Step, frame: Counted, verdicts: Verdicts = ()) -> Step:
    """Fold one frame, and note for and against whom it spoke.

    What a person has rejected does not speak; a verdict weighs against its particle once, where it begins to count.
    """
    before = {particle.id: particle for particle in step.state.particles}
    told = [rejection for place, rejection in verdicts if place <= frame.place]
    spots = [spot for spot in frame.spots if not (told and refuted(spot, frame.view, told))]
    state = observe(step.state, frame.view, spots)
    for place, rejection in verdicts:
        if step.place < place <= frame.place:
            state = against(state, rejection)
    seen, missed = {}, {}
    for particle in state.particles:
        old = before.get(particle.id)
        if old is None or particle.frames_seen > old.frames_seen:
            seen[particle.id] = round(particle.log_odds, 3)
        elif particle.frames_eligible > old.frames_eligible:
            missed[particle.id] = round(particle.log_odds, 3)
    return Step(place=frame.place, epoch=step.epoch, n=step.n + 1, state=state, seen=seen, missed=missed)


def undecided(state: State) -> State:
    """Take back what speaks for a cleaning so far."""
    return dataclasses.replace(state, cleaning=State().cleaning)


def cleaned(step: Step, place: str) -> Step:
    """Begin an epoch."""
    return Step(place=place, epoch=place, n=step.n, state=after_cleaning(step.state))


_CODEC = Codec(told_as={Evidence: lambda _: None})  # it is kept beside
