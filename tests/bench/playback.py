"""A session through dustd's own parts: the pipeline's judgement and correction, the store's map, frame after frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sessions import TELE, WIDE, Shot, Take, looked_at, specks_of, taken

from dustd.config import OutputSettings
from dustd.demo.verdict import MAP_SLACK_PX
from dustd.demo.virtual import Lens, VirtualBody, frame_of, place_px
from dustd.detector.model import find_model, load_detector
from dustd.dustmap import stack_cache
from dustd.dustmap.match import State
from dustd.dustmap.particle import Particle, View, predict
from dustd.dustmap.store import Store
from dustd.output.sidecar import Source
from dustd.pipeline.decide import Scale, view_in
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.pipeline.frame_record import record_of
from dustd.pipeline.look import Look
from dustd.pipeline.worker_client import WorkerClient
from dustd.spots.correct import correct
from dustd.spots.spot import Spot

SENSITIVITY = 50.0


class Looker:
    """The shipped detector as far as the pipeline asks about it; its answers come from the cache where they are."""

    device = "cpu"

    def __init__(self, cache: Path) -> None:
        card = find_model("default")
        self.model_id, self.sha256 = card.id, card.sha256
        self.calibration, self.false_positive_scores = card.calibration, card.false_positive_scores
        self._cache = cache
        self._loaded = lru_cache(1)(lambda: load_detector(device="cpu"))

    def shot(self, take: Take) -> Shot:
        """Take the picture."""
        return taken(take, self._cache)

    def seen(self, shot: Shot) -> Look:
        """Say what the detector sees in it; loads the network for what it has not yet seen."""
        return looked_at(shot, self.sha256, self._loaded, self._cache)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One frame of a session: what became of its spots, and the map before and after; *cleanings* noticed so far."""

    shot: Shot
    view: View
    spots: tuple[Spot, ...]
    before: State
    after: State
    cleanings: int

    @property
    def corrected(self) -> tuple[Spot, ...]:
        """The spots that were taken out."""
        return tuple(spot for spot in self.spots if spot.action != "left")


def play(takes: Sequence[Take], looker: Looker) -> Iterator[Step]:
    """Play a session, in capture order, into an empty map."""
    with Store.open(":memory:") as store, TemporaryDirectory() as folder:
        stacks = Path(folder)
        pipeline = Pipeline(
            detector=looker,
            store=store,
            worker=WorkerClient(),
            output=OutputSettings(),
            sensitivity_of=lambda *_: SENSITIVITY,
            stacks=stacks,
        )
        for take in takes:
            shot = looker.shot(take)
            frame = frame_of(shot.exposure)
            body_id = frame.camera.body_id
            before = store.state(body_id, frame.camera.taken_at)
            seen = looker.seen(shot)
            decision, stack = pipeline.decide(seen, SENSITIVITY, frame)
            spots = correct(frame, decision.spots, decision.known).spots
            stamp = Source(name=f"{take.session}-{take.number:03d}", size=0, sha256="", mtime_ns=0)
            record = record_of(stamp, frame.camera, seen, decision, spots)
            store.observe(record)
            assert stack is not None, "every frame is of the present epoch"
            stack_cache.save(stacks, body_id, stack)
            view = view_in(
                seen, Scale(calibration=looker.calibration, false_positive_scores=looker.false_positive_scores)
            )
            body = store.body(body_id)
            assert body is not None, "it has just been observed"
            yield Step(
                shot=shot,
                view=view,
                spots=spots,
                before=before,
                after=store.state(body_id),
                cleanings=len(body.cleanings),
            )


def alone(shot: Shot, looker: Looker) -> tuple[Spot, ...]:
    """What the detector without a map sees in a frame, each spot corrected as if it were wanted."""
    frame = frame_of(shot.exposure)
    with Store.open(":memory:") as empty:
        pipeline = Pipeline(
            detector=looker,
            store=empty,
            worker=WorkerClient(),
            output=OutputSettings(),
            sensitivity_of=lambda *_: SENSITIVITY,
        )
        spots = pipeline.decide(looker.seen(shot), SENSITIVITY, frame)[0].spots
    return correct(frame, tuple(replace(spot, wanted=True) for spot in spots)).spots


def place_of(particle: Particle, step: Step, *, lens: Lens | None = None) -> tuple[float, float]:
    """Where the map says that a particle shows in a step's frame, or would through another *lens*; frame px."""
    view = step.view
    if lens is not None:
        view = replace(view, lens=lens.name, focal_length_mm=lens.focal_length_mm)
    at = predict(particle, view, step.after.optics)
    return at.x, at.y


def grain_of(particle: Particle, step: Step, bodies: Sequence[VirtualBody]) -> int | None:
    """Name the grain that a particle is, of all that *bodies* ever bore; None if it is none of them.

    It is judged by where a lens shows it that has shown it before: where another would is not its identity.
    """
    names = {place.lens for place in particle.places}
    lens = next((lens for lens in (step.shot.take.lens, WIDE, TELE) if lens.name in names), step.shot.take.lens)
    return grain_at(place_of(particle, step, lens=lens), lens, bodies)


def grain_at(place: tuple[float, float], lens: Lens, bodies: Sequence[VirtualBody]) -> int | None:
    """Name the grain that a lens shows at a place, frame px; None if it is none that *bodies* ever bore."""
    away = {
        grain.number: float(np.hypot(*np.subtract(place_px(body, grain, lens), place)))
        for body in bodies
        for grain in body.grains
    }
    nearest = min(away, key=away.__getitem__, default=None)
    return nearest if nearest is not None and away[nearest] <= MAP_SLACK_PX else None


def speck_of(particle: Particle, step: Step) -> int | None:
    """Name the speck of the scene that a particle lies on in a step's frame, None if it lies on none."""
    specks = specks_of(step.shot.take)
    if not len(specks):
        return None
    away = np.hypot(*(specks - place_of(particle, step)).T)
    return int(away.argmin()) if away.min() <= MAP_SLACK_PX else None
