"""Noticing that a sensor was cleaned: many confirmed particles vanish at once (facts/optics-and-evidence.md §4).

A running log-likelihood ratio between "cleaned since the run began" and "not cleaned"; it falls back to nothing when
the dust is still there. Pure values; what a cleaning does to a map is `dustd.dustmap.decide.after_cleaning`.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from dustd.dustmap.lenses import focal_bin_mm
from dustd.dustmap.particle import Particle, Prediction, Scene, View
from dustd.dustmap.places import utc
from dustd.dustmap.scene import independences

# Facts §4 unless said otherwise.
REMOVED = 0.85  # share of the dust that a cleaning takes
PLAINLY_VISIBLE = 0.5  # Pd from which a particle is asked
ENOUGH = 3  # particles that must be asked in a frame
FIRES = 6.9  # log-likelihood ratio: a cleaning before one frame in a thousand
# Our choice: the share of frames that show less than is predicted for a reason that no prediction knows, a wrong
# f-number above all. So no frame alone is worth much, and it takes three in which nothing shows.
BLIND = 0.15
ODD_SHARES = np.linspace(0.05, 0.95, 10)  # of what is predicted, that such frames show, all equally likely
# A lens through which no known dust was ever seen may be blind for good (no coupling, so a made-up f-number): all its
# frames together are worth one.
PAUSE, PAUSE_WORTH = timedelta(hours=6), math.log(10)  # sensors are cleaned in pauses; facts say × 50, we dare × 10
SCENES_KEPT = 6
PLACES_COMPARED = 16  # at least, where there are so many, to see whether a scene is new


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """How far the latest frames speak for a cleaning.

    *log_ratio* is that of the run of frames that began at *since*, (frame id, time taken); *scenes* are the latest
    surroundings that spoke in it, *doubted* what lenses without a record of their own have added, by name.
    *after_pause* says that the run began with the first frame after some hours. *noticed_at* is *since* once the test
    has fired, None before. *last_at* is when the last frame was taken.
    """

    log_ratio: float = 0.0
    since: tuple[str, str | None] | None = None
    scenes: tuple[Scene, ...] = ()
    doubted: tuple[tuple[str, float], ...] = ()
    after_pause: bool = False
    last_at: str | None = None
    noticed_at: tuple[str, str | None] | None = None


def step(
    cleaning: Cleaning,
    particles: Sequence[Particle],
    predictions: Mapping[str, Prediction],
    seen: Collection[str],
    view: View,
) -> Cleaning:
    """Fold one frame into the test; *seen* are the ids of the particles that have a spot in it, however faint.

    Only confirmed particles are asked that this frame should show plainly, and only as far as its surroundings are
    others than those that spoke before. Once it has fired, nothing changes any more.
    """
    if cleaning.noticed_at is not None:
        return cleaning
    pause = _pause(cleaning.last_at, view.taken_at)
    cleaning = replace(cleaning, last_at=view.taken_at or cleaning.last_at)
    asked = [(p, _chance(p, predictions[p.id])) for p in particles if p.confirmed]
    asked = [(particle, chance) for particle, chance in asked if chance > PLAINLY_VISIBLE]
    if len(asked) < ENOUGH:
        return replace(cleaning, after_pause=cleaning.after_pause or pause) if cleaning.since is None else cleaning
    found = np.array([particle.id in seen for particle, _ in asked])
    ratio = cleaned_log_ratio(found, np.array([chance for _, chance in asked]))
    if ratio > 0:
        ratio *= _newness(cleaning.scenes, [predictions[p.id] for p, _ in asked], view)
        ratio, doubted = _trusted(ratio, asked, cleaning.doubted, view)
        cleaning = replace(cleaning, doubted=doubted)
    total = cleaning.log_ratio + ratio
    if total <= 0:
        return Cleaning(last_at=cleaning.last_at)
    since = cleaning.since or (view.frame_id, view.taken_at)
    after_pause = cleaning.after_pause or (pause and cleaning.since is None)
    scenes = (*cleaning.scenes, Scene(frame_id=view.frame_id, evidence=view.evidence))[-SCENES_KEPT:]
    fires = total > FIRES - (PAUSE_WORTH if after_pause else 0.0)
    return replace(
        cleaning,
        log_ratio=total,
        since=since,
        scenes=scenes if ratio > 0 else cleaning.scenes,
        after_pause=after_pause,
        noticed_at=since if fires else None,
    )


def _chance(particle: Particle, at: Prediction) -> float:
    """Give the probability that this frame shows a particle: what is predicted, but no more than its record."""
    if at.attenuation is None:
        return 0.0
    return min(at.p_visible, (particle.frames_seen + 1) / (particle.frames_eligible + 1))


def cleaned_log_ratio(found: np.ndarray, chance: np.ndarray) -> float:
    """Say how much likelier it is after a cleaning than without one that just these particles are *found* (n,) bool.

    Either the frame shows each with its *chance* (n,), or it is one of the odd ones that show only a share of that.
    """

    def likelihood(left: float) -> float:
        each = left * np.append(1.0, ODD_SHARES)[:, None] * chance
        frames = np.prod(np.where(found, each, 1 - each), axis=1)
        return max(float((1 - BLIND) * frames[0] + BLIND * frames[1:].mean()), 1e-300)

    return math.log(likelihood(1 - REMOVED) / likelihood(1.0))


def _newness(scenes: Sequence[Scene], places: Sequence[Prediction], view: View) -> float:
    """Weigh a frame by how far the places asked look different from the frames that spoke before."""
    if not scenes:
        return 1.0
    earlier = [scene.evidence for scene in scenes]
    some = places[:: max(1, len(places) // PLACES_COMPARED)]
    weights = [independences(view.evidence, earlier, at.x, at.y, at.diameter_px) for at in some]
    return float(np.median(weights, axis=0).min())


def _trusted(
    ratio: float, asked: Sequence[tuple[Particle, float]], doubted: tuple[tuple[str, float], ...], view: View
) -> tuple[float, tuple[tuple[str, float], ...]]:
    """Cut what a lens may add that has never shown any of the particles; and note what it has added."""
    key = (view.lens, focal_bin_mm(view.focal_length_mm))
    if any((place.lens, place.focal_mm) == key for particle, _ in asked for place in particle.places):
        return ratio, doubted
    name = f"{view.lens} {key[1]}"
    before = dict(doubted).get(name, 0.0)
    ratio = min(ratio, max(-math.log(BLIND) - before, 0.0))
    return ratio, tuple(sorted({**dict(doubted), name: before + ratio}.items()))


def _pause(last: str | None, now: str | None) -> bool:
    """Ask whether some hours lie between two times (ISO 8601)."""
    try:
        pause = datetime.fromisoformat(utc(now or "")) - datetime.fromisoformat(utc(last or ""))
    except ValueError:
        return False
    return pause > PAUSE
