"""A whole shoot in three acts: all its frames are looked at, the maps fold over them in capture order, and then each is
decided on with what the shoot as a whole proves, and delivered.

What was seen of a frame is kept until it is delivered: a hidden note beside the sidecar to come, of the same form. So a
run that is cut off goes on where it was, and a sidecar still means that its frame is done. The acts on frames need not
happen on one machine (`dustd.cluster`); the fold does.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from dustd import files
from dustd.dustmap.match import State
from dustd.dustmap.pixels import body_of
from dustd.dustmap.places import Reading
from dustd.errors import FrameError
from dustd.output import ledger, life, sidecar
from dustd.output.life import Earlier
from dustd.output.sidecar import Record
from dustd.pipeline import standing
from dustd.pipeline.decide import decide
from dustd.pipeline.frame_pipeline import Pipeline
from dustd.pipeline.frame_record import log_done, now, own_output, record_of
from dustd.pipeline.look import Look, look_of
from dustd.pipeline.revisit import Visit
from dustd.pipeline.stamp import settled, time_of
from dustd.pipeline.timer import Timer
from dustd.raw.frame import Camera

# Frames of each body that are looked at and folded first: most bodies have then told how far their dust is from the
# sensor, and frames are looked at only as closely as that asks for (`dustd.spots.optics.typical_px`).
SCOUTS = 16
_SEEN = "seen"  # the kind of hidden note that keeps what was seen of a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A frame to clean and the folder that its outputs go into; both absolute.

    *body_id* is what its metadata say, as far as they were read.
    """

    source: Path
    out_folder: Path
    body_id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """On which map a frame lies, and where on its line."""

    body_id: str
    at: str | Reading | None


def waves(jobs: Iterable[Job]) -> tuple[tuple[Job, ...], tuple[Job, ...]]:
    """Part jobs, which are in capture order, into the first SCOUTS of each body, and the others."""
    counts: dict[str, int] = {}
    first: list[Job] = []
    others: list[Job] = []
    for job in jobs:
        counts[job.body_id] = counts.get(job.body_id, 0) + 1
        (first if counts[job.body_id] <= SCOUTS else others).append(job)
    return tuple(first), tuple(others)


class Shoot(Pipeline):
    """The pipeline, one act at a time: `see` every frame, `fold` them in capture order, then `finish` each.

    All raise as `Pipeline.process` does.
    """

    def see(self, source: Path, out_folder: Path) -> None:
        """Look at a frame, unless it is as it should be or was seen before; keep what was seen."""
        path = out_folder / sidecar.sidecar_name(source.name)
        with structlog.contextvars.bound_contextvars(frame=source.name):
            files.refuse_long_name(path, source)
            if self.worker.is_own_output(source):
                raise own_output(source)
            camera = self.worker.read_camera(source)
            sensitivity, sha256 = self.sensitivity_of(camera.body_id, source), self.detector.sha256
            before = life.read(path)
            if before is not None and standing.stands(
                before, source, path, self.output, sha256=sha256, sensitivity=sensitivity
            ):
                files.drop(path, _SEEN)
            elif self._noted(source, path) is None:
                noted = self._look_at(source, path, camera, sensitivity)
                files.keep(path, _SEEN, sidecar.encode(noted))

    def fold(self, source: Path, out_folder: Path) -> Place:
        """Tell the map of a frame that was seen, or is done. Where its own light would say more, it is not asked."""
        path = out_folder / sidecar.sidecar_name(source.name)
        noted = self._noted(source, path)
        if noted is None:
            return self._fold_done(source, path)
        seen = _look_in(noted)
        body_id = self.store.map_for(noted.camera, noted.width, noted.height)
        if self.store.is_cleaned(body_id, seen.frame_id):
            files.drop(path, _SEEN)
            raise own_output(source)
        seen = replace(seen, camera=replace(noted.camera, body_id=body_id))
        sensitivity = self.sensitivity_of(body_of(body_id), source)
        decision, _ = self.decide(seen, sensitivity, None, noted, noted.source)
        self.store.observe(record_of(noted.source, seen.camera, seen, decision, decision.spots))
        return Place(body_id=body_id, at=time_of(seen.camera, noted.source))

    def finish(self, source: Path, out_folder: Path, *, always: bool = False) -> Visit:
        """Decide on a frame that was seen, with its light, and deliver it; one that is done is revisited."""
        path = out_folder / sidecar.sidecar_name(source.name)
        if self._noted(source, path) is None:
            return self.revisit(source, out_folder, always=always)
        with structlog.contextvars.bound_contextvars(frame=source.name):
            camera = self.worker.read_camera(source)
            record = self._clean(source, path, camera, self.sensitivity_of(camera.body_id, source))
            assert record is not None, "a frame that was not visited again is delivered"
            files.drop(path, _SEEN)
            log_done(record)
            return Visit(record=record)

    def is_seen(self, source: Path, out_folder: Path) -> bool:
        """Tell whether a frame waits to be delivered."""
        return self._noted(source, out_folder / sidecar.sidecar_name(source.name)) is not None

    def _look_at(self, source: Path, path: Path, camera: Camera, sensitivity: float) -> Record:
        """Look at a frame; what a person said of it earlier is kept with it."""
        try:
            stamp, frame, frame_id = self._read(source, camera)
            others = self.tree.others(path.parent)
            earlier = life.find(source, path, sha256=stamp.sha256, frame_id=frame_id, elsewhere=others)
            before = earlier.record if earlier else None
            seen = self._look(frame, frame_id, before, stamp, Timer())
        finally:
            self.worker.clear()
        stamp = replace(settled(stamp, source, path), read_at=before.source.read_at if before else now())
        undecided = decide(seen, State(), scale=self.scale, sensitivity=sensitivity)
        told = tuple(spot for spot in before.spots if spot.rejected or spot.asked) if before else ()
        return record_of(stamp, seen.camera, seen, undecided, told)

    def _fold_done(self, source: Path, path: Path) -> Place:
        record = life.read(path)
        if record is None or record.status == "failed":
            raise FrameError("what was seen of it is gone", remedy="Run the same command again", path=source)
        self._tell_again(record, source, path)
        return Place(body_id=record.camera.body_id, at=time_of(record.camera, record.source))

    def _noted(self, source: Path, path: Path) -> Record | None:
        """Give what these weights saw of this very file and was not delivered yet."""
        note = files.hidden(path, _SEEN)
        record = life.read(note) if ledger.is_done(source, note) else None
        seen = look_of(record) if record is not None else None
        return record if seen is not None and seen.sha256 == self.detector.sha256 else None

    def _known_before(self, source: Path, path: Path, earlier: Earlier | None) -> Record | None:
        """Go by what was seen in the first act."""
        return self._noted(source, path) or super()._known_before(source, path, earlier)


def _look_in(noted: Record) -> Look:
    seen = look_of(noted)
    assert seen is not None, "what was noted has been looked at"
    return seen
