"""What happens to one frame, top to bottom: read, look, decide, correct, deliver.

Each act is a plain function with a value for the next (`look`, `decide`, `deliver`); here they are joined with the
store, the worker process and the settings. What an earlier run left beside the frame is used as far as it still holds:
a frame that is as it should be is only told to the map again, and one that the same weights have seen is not looked at
again.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from dustd import files
from dustd.config import OutputSettings
from dustd.detector.detect import Detector
from dustd.dustmap import evidence, stack_cache
from dustd.dustmap.lenses import BodyOptics
from dustd.dustmap.particle import View
from dustd.dustmap.places import Reading
from dustd.dustmap.stack import Stack, add
from dustd.dustmap.store import Store
from dustd.errors import DustdError, FrameError, without_folders
from dustd.output import ledger, life, sidecar
from dustd.output.sidecar import Problem, Record, Source
from dustd.output.tree import OutputTree
from dustd.pipeline import standing
from dustd.pipeline.decide import Decision, Scale, decide, view_in
from dustd.pipeline.deliver import Results, deliver
from dustd.pipeline.exhibit import Exhibit, in_order
from dustd.pipeline.frame_record import are_corrected, log_done, now, own_output, record_of
from dustd.pipeline.look import OVERVIEW_STEP_PX, Look, look, look_of
from dustd.pipeline.revisit import CHANGED, DECIDED_WITH, Visit, at_sensitivity, difference, marked, what_matters
from dustd.pipeline.shared_work import share
from dustd.pipeline.stamp import settled, stamp_or_name, time_of
from dustd.pipeline.stamp import stamp as stamp_of
from dustd.pipeline.timer import Timer
from dustd.pipeline.worker_client import WorkerClient
from dustd.raw.frame import Camera, Frame, frame_identity
from dustd.raw.light import overview
from dustd.spots.candidates import candidates_in
from dustd.spots.outline import outlines_in
from dustd.spots.revise import known_from_dict
from dustd.spots.shape import Outline
from dustd.spots.spot import Candidate, Detection, Spot

log = structlog.get_logger()


class Reviewer(Protocol):
    """Takes frames for a page on which a person checks them; *room_bytes* is how large the pictures of one may be."""

    room_bytes: int

    def add(self, out_folder: Path, record: Record, exhibit: Exhibit | None) -> None:
        """Take a frame whose sidecar is in *out_folder*; without *exhibit* it failed, or nothing was found."""


class Pipeline:
    """Detector, map and settings, joined; `process` and `fail` are all that daemon and command line need."""

    def __init__(
        self,
        *,
        detector: Detector,
        store: Store,
        worker: WorkerClient,
        output: OutputSettings,
        sensitivity_of: Callable[[str, Path], float],
        stacks: Path | None = None,
        reviewer: Reviewer | None = None,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        """*stacks* is the folder for averages of frames, which reveal faint dust (`dustd.dustmap.stack`).

        *heartbeat* is called from long work, for whoever watches that it goes on.
        """
        self.detector = detector
        self.store = store
        self.worker = worker
        self.output = output
        self.sensitivity_of = sensitivity_of
        self.stacks = stacks
        self.reviewer = reviewer
        self.heartbeat = heartbeat
        self.tree = OutputTree()  # where outputs may lie of frames that were moved
        self.progress: Callable[[float], object] = lambda _share: None  # hears how much of a frame has been looked at

    def process(self, source: Path, out_folder: Path) -> Record:
        """Clean the frame at *source* into *out_folder*, which exists; write image and sidecar, tell the map.

        Raises OwnOutputError for a cleaned file that came back, FrameError if the frame is broken or its name is taken
        or too long, SurroundingsError if disk or folder is in the way.
        """
        path = out_folder / sidecar.sidecar_name(source.name)
        with structlog.contextvars.bound_contextvars(frame=source.name):
            files.refuse_long_name(path, source)  # before all the work
            if self.worker.is_own_output(source):
                raise own_output(source)
            camera = self.worker.read_camera(source)
            with structlog.contextvars.bound_contextvars(body=camera.body_id):
                sensitivity = self.sensitivity_of(camera.body_id, source)
                before = life.read(path)
                if before is not None and standing.stands(
                    before, source, path, self.output, sha256=self.detector.sha256, sensitivity=sensitivity
                ):
                    return self._tell_again(before, source, path)
                record = self._clean(source, path, camera, sensitivity)
                assert record is not None, "a frame that was not visited again is delivered"
                log_done(record)
                return record

    def revisit(self, source: Path, out_folder: Path, *, write: bool = True, always: bool = True) -> Visit:
        """Decide anew on a frame that is done, without the network; deliver it if other spots are corrected now.

        With *write* False it is only told what would change; with *always* False the frame is read only if the map, the
        sensitivity or a verdict has changed where it matters. What another program has changed stays. Raises as
        `process` does.
        """
        path = out_folder / sidecar.sidecar_name(source.name)
        ours, before = ledger.vouched(path), life.read(path)
        why = standing.why_not_again(before, source, path, self.output, self.detector.sha256)
        seen = look_of(before) if before is not None else None
        if before is None or before.evidence is None or seen is None or why:
            return Visit(record=before, left_alone=why or standing.NOT_SEEN, undone=why != standing.NOT_SEEN)
        if not self.store.knows(before.camera.body_id, seen.frame_id):  # a map that has lost much takes nothing back
            return Visit(record=before, left_alone=standing.NOT_KNOWN)
        with structlog.contextvars.bound_contextvars(frame=source.name, body=before.camera.body_id):
            camera = self.worker.read_camera(source)
            sensitivity = self.sensitivity_of(camera.body_id, source)
            matters = self._what_matters(seen, before.source, sensitivity)
            if not always and before.evidence.get(DECIDED_WITH) == matters:
                return Visit(record=before)
            visit = Visit(record=before)

            def worth(spots: Sequence[Spot]) -> bool:
                nonlocal visit
                more, fewer = difference(before.spots, spots)
                changed = (more or fewer) and not standing.is_as_written(before, path.parent)
                visit = replace(visit, more=more, fewer=fewer, left_alone=CHANGED if changed else "")
                return write and visit.differs and not changed

            record = self._clean(source, path, camera, sensitivity, worth)
            told = {"path": str(source), "more": visit.more, "fewer": visit.fewer}
            if record is not None:
                log.info("frame_improved", **told)
            elif visit.left_alone:
                log.info("changed_output_left_alone", problem=visit.left_alone, **told)
            kept = before if visit.left_alone else at_sensitivity(before, sensitivity, self.scale)
            if record is None and write:  # so that it is not read for this again
                with contextlib.suppress(FrameError):  # a verdict came meanwhile, and is in it
                    files.publish(path, sidecar.encode(marked(kept, matters)), ours=ours)
            return replace(visit, record=record or kept)

    def fail(self, source: Path, out_folder: Path, error: DustdError) -> Record:
        """Write the sidecar that says why a frame failed.

        Raises SurroundingsError if disk or folder is in the way, FrameError if a sidecar of that name cannot be.
        """
        record = Record(
            source=stamp_or_name(source),
            camera=self._camera_or_none(source),
            status="failed",
            error=Problem(problem=without_folders(error.problem), remedy=without_folders(error.remedy)),
        )
        path = out_folder / sidecar.sidecar_name(source.name)
        life.set_aside(path, renounce_edits=False)  # what was cleaned once may be all that is left of it
        files.publish(path, sidecar.encode(record), ours=ledger.vouched(path))
        files.release(path)
        if self.reviewer is not None:
            self.reviewer.add(out_folder, record, None)
        return record

    def _clean(
        self,
        source: Path,
        path: Path,
        camera: Camera,
        sensitivity: float,
        worth: Callable[[Sequence[Spot]], bool] | None = None,
    ) -> Record | None:
        """Take one frame through all acts; what an earlier run saw of it is not looked at again.

        Unless *worth* says that its spots are, nothing is written, and None returned.
        """
        timer = Timer()
        with timer("read"):
            stamp, frame, frame_id = self._read(source, camera)
            camera = frame.camera
        others = self.tree.others(path.parent)
        earlier = life.find(source, path, sha256=stamp.sha256, frame_id=frame_id, elsewhere=others)
        before = self._known_before(source, path, earlier)
        try:
            seen = self._look(frame, frame_id, before, stamp, timer)
            with timer("reconcile"):
                # Known by its samples, it may be in another file now; when it came is when that one was read.
                stamp = replace(stamp, read_at=before.source.read_at if before else now())
                matters = self._what_matters(seen, stamp, sensitivity)  # before the decision: a verdict may come now
                decision, stack = self.decide(seen, sensitivity, frame, before, stamp, stacking=worth is None)
            with timer("correct"):
                spots = self.worker.correct(decision.spots, decision.known)
            if worth is not None and not worth(spots):
                return None
            exhibit = self._exhibit(spots, seen, timer)
            with timer("write"):
                results = self._results(spots, frame_id)
        finally:
            self.worker.clear()
        stamp = settled(stamp, source, path)
        record = marked(record_of(stamp, camera, seen, decision, spots), matters)
        with timer("write"):
            took = timer.timings_ms
            record, _ = deliver(
                record, results, source=source, path=path, tell=self.store.observe, earlier=earlier, timings_ms=took
            )
        if self.stacks is not None and stack is not None:
            stack_cache.save(self.stacks, camera.body_id, stack)
        if self.reviewer is not None:
            self.reviewer.add(path.parent, record, exhibit)
        return record

    def _read(self, source: Path, camera: Camera) -> tuple[Source, Frame, str]:
        """Decode a frame; its camera names the map that it belongs to. Also returns its file's stamp and its identity.

        Raises OwnOutputError for the samples of a cleaned file, else what `WorkerClient.decode` does.
        """
        stamp = stamp_of(source)
        frame = self.worker.decode(source, camera)
        camera = replace(camera, body_id=self.store.map_for(camera, frame.width, frame.height))
        frame_id = frame_identity(frame)
        if self.store.is_cleaned(camera.body_id, frame_id):
            self.worker.clear()
            raise own_output(source)
        return stamp, replace(frame, camera=camera), frame_id

    def _look(self, frame: Frame, frame_id: str, earlier: Record | None, stamp: Source, timer: Timer) -> Look:
        """Give what the same weights saw of the frame in an earlier run, else look."""
        camera = frame.camera
        seen = self._seen_before(earlier, stamp)
        if seen is None:
            with timer("detect"):
                known = self.store.state(camera.body_id).optics.blur_constant
                seen = look(
                    frame,
                    self.detector,
                    frame_id=frame_id,
                    blur_constant=known,
                    progress=self._looking,
                    measure=self._measure,
                )
        return replace(seen, camera=camera)  # a kept one may name another map

    def _measure(self, frame: Frame, boxes: Sequence[Detection]) -> list[Candidate]:
        there = self.worker.measure if self.worker.holds(frame) else None
        return share(boxes, partial(candidates_in, frame), there)

    def _outlines(self, frame: Frame, spots: Sequence[tuple[Spot, Detection]]) -> list[Outline | None]:
        there = self.worker.outlines if self.worker.holds(frame) else None
        return share(spots, partial(outlines_in, frame), there)

    def _exhibit(self, spots: Sequence[Spot], seen: Look, timer: Timer) -> Exhibit | None:
        """Picture what was corrected, where somebody wants to see it."""
        if self.reviewer is None or not spots:
            return None
        with timer("review"):
            return self.worker.show(in_order(spots, seen.scene), self.reviewer.room_bytes)

    def _results(self, spots: Sequence[Spot], frame_id: str) -> Results:
        """Make what is to be written of the frame that the worker has corrected."""
        changed = are_corrected(spots)
        wanted = changed or self.output.when_clean == "write"
        is_dng = wanted and self.output.format == "dng"
        samples = self.worker.identity() if is_dng and changed else frame_id
        return Results(
            image=self.worker.encode(self.output) if wanted else None,
            settings=self.output,
            healing=self.worker.healing(spots) if self.output.edits else None,
            programs=self.output.edits,
            samples=samples if is_dng else None,
            left_out=self.worker.left_out() if is_dng else (),
        )

    def decide(
        self,
        seen: Look,
        sensitivity: float,
        frame: Frame | None = None,
        earlier: Record | None = None,
        source: Source | None = None,
        *,
        stacking: bool = True,
    ) -> tuple[Decision, Stack | None]:
        """Decide on a frame with what the map and a person say now; *frame* is its light, *earlier* its last sidecar.

        *source* tells when it came, for the case that its clock is wrong. Also returns the body's average of
        frames with this one in it, None where none is kept; without *stacking* it is not put into it.
        """
        body_id = seen.camera.body_id
        scale, at = self.scale, time_of(seen.camera, source)
        state = self.store.state(body_id, at)
        view = view_in(seen, scale)
        stack = self._stacked(frame, view, body_id, state.optics, at) if frame is not None and stacking else None
        decision = decide(
            seen,
            state,
            scale=scale,
            sensitivity=sensitivity,
            verdicts=(*self.store.rejections(body_id), *standing.rejected_before(earlier, view)),
            asked=standing.asked_before(earlier, seen.frame_id),
            frame=frame,
            stack=stack,
            outlines=self._outlines,
        )
        return decision, stack

    @property
    def scale(self) -> Scale:
        """What the scores of the model in force mean."""
        detector = self.detector
        return Scale(calibration=detector.calibration, false_positive_scores=detector.false_positive_scores)

    def _what_matters(self, seen: Look, source: Source, sensitivity: float) -> str:
        body_id = seen.camera.body_id
        state, verdicts = self.store.state(body_id, time_of(seen.camera, source)), self.store.rejections(body_id)
        return what_matters(state, view_in(seen, self.scale), verdicts, sensitivity)

    def _looking(self, share: float) -> None:
        self.heartbeat()
        self.progress(share)

    def _known_before(self, _source: Path, _path: Path, earlier: life.Earlier | None) -> Record | None:
        """Give what is known of a frame already: when it came, what was seen, what a person said."""
        return earlier.record if earlier else None

    def _seen_before(self, earlier: Record | None, stamp: Source) -> Look | None:
        """Give the look that an earlier run kept, if it was of this very file and by these very weights."""
        if earlier is None or earlier.source.sha256 != stamp.sha256:
            return None
        seen = look_of(earlier)
        return seen if seen is not None and seen.sha256 == self.detector.sha256 else None

    def _stacked(
        self, frame: Frame, view: View, body_id: str, optics: BodyOptics, at: str | Reading | None
    ) -> Stack | None:
        """Average this frame into those of its body since the last cleaning; None if it is older than that."""
        if self.stacks is None:
            return None
        epoch = self.store.epoch(body_id)
        if at is not None and self.store.epoch(body_id, at) != epoch:
            return None
        kept = stack_cache.load(self.stacks, body_id)
        kept = kept if kept.epoch == epoch else Stack(epoch=epoch)
        step = OVERVIEW_STEP_PX[frame.kind]
        return add(kept, overview(frame, step), step, view, optics)

    def _tell_again(self, record: Record, source: Path, path: Path) -> Record:
        """Report a frame that is done to the map, which may not know it, and to the reviewer."""
        self.store.observe(record)
        if files.is_claimed(path):  # a kill may have come before what it had under another name was retired
            elsewhere, keep = self.tree.others(path.parent), [path.parent / each.path for each in record.outputs]
            for other in ledger.left_behind(source, path, sha256=record.source.sha256, elsewhere=elsewhere):
                left = life.read(other)
                earlier = life.Earlier(other, left) if left is not None else None
                if earlier is not None and life.goes_along(earlier, path, self.output.follow):
                    life.retire_sidecar(earlier, keep)
        files.release(path)
        if self.reviewer is not None:
            self.reviewer.add(path.parent, record, self._shown_again(record, source, path.parent))
        return record

    def _shown_again(self, record: Record, source: Path, out_folder: Path) -> Exhibit | None:
        """Picture a frame that was cleaned earlier."""
        if self.reviewer is None or not record.spots or record.evidence is None:
            return None
        cleaned = next((out_folder / output.path for output in record.outputs if output.kind == "dng"), None)
        self.worker.decode(source, record.camera)
        try:
            self.worker.recall(cleaned, record.spots, known_from_dict(record.evidence.get("known", {})))
            in_turn = in_order(record.spots, evidence.from_dict(record.evidence))
            return self.worker.show(in_turn, self.reviewer.room_bytes)
        finally:
            self.worker.clear()

    def _camera_or_none(self, source: Path) -> Camera:
        """Read the camera for a failed frame's sidecar, as far as the file still tells."""
        try:
            return self.worker.read_camera(source)
        except (FrameError, RuntimeError):
            return Camera()
