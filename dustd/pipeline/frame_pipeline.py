"""What happens to one frame, top to bottom: read, detect, reconcile, correct, write, observe.

The order of writing is the crash guarantee: cleaned file, then sidecar (its presence means "done"), then the map, in
one transaction keyed by the frame's identity. A note beside the sidecar (`files.claim`) lasts until the map knows, so
that a restart finishes what a kill interrupted and counts nothing twice.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import structlog

from dustd import files
from dustd.config import OutputSettings
from dustd.detector.detect import Detector, Seen, detect, threshold
from dustd.dustmap import evidence, stack_cache
from dustd.dustmap.decide import Thresholds, reconcile
from dustd.dustmap.lenses import BodyOptics
from dustd.dustmap.particle import View, is_told, view_of
from dustd.dustmap.rejection import Rejection, rejections_of, settled
from dustd.dustmap.second_look import look_again, shadows
from dustd.dustmap.stack import Stack, add, reveal
from dustd.dustmap.store import Store
from dustd.errors import DustdError, FrameError, cannot_be_read, without_folders
from dustd.output import edits, ledger, sidecar
from dustd.output.sidecar import DetectorInfo, Output, Problem, Record, Source
from dustd.pipeline.exhibit import Exhibit, in_order
from dustd.pipeline.worker_client import Darkroom
from dustd.raw.frame import Camera, Frame, frame_identity
from dustd.raw.light import overview
from dustd.spots.heal import Healing
from dustd.spots.measure import KnownShadow, measure
from dustd.spots.outline import outline_in
from dustd.spots.revise import known_from_dict, known_to_dict
from dustd.spots.spot import Spot

log = structlog.get_logger()

SUFFIXES = {"dng": ".dng", "tiff": ".tif", "jpeg": ".jpg"}
# Where a confirmed particle is predicted, a false detection would have to fall into that small place by chance; 50
# points of sensitivity (25 times the false positives, design §5) are still far on the safe side there.
KNOWN_BONUS = 50.0
# Detections below this are not worth a line in the sidecar (false positives per megapixel of the model's scale).
LISTED_FALSE_PER_MP = 0.5
# False positives per megapixel from which a detection speaks to the map (facts §4).
EVIDENCE_FALSE_PER_MP = 0.1
# Blocks of the overview; a multiple of the 2 px and 6 px colour patterns.
OVERVIEW_STEP_PX = {"bayer": 8, "xtrans": 6, "mono": 8, "linear": 8}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What detector and map made of a frame: spots with their reasons, and the record's account of the looking.

    *known* is what the map knows of their shadows, by spot id. *stack* is the body's average of frames with this one
    in it, None where none is kept.
    """

    spots: tuple[Spot, ...]
    known: Mapping[int, KnownShadow]
    detector: DetectorInfo
    evidence: dict
    stack: Stack | None


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
        darkroom: Darkroom,
        output: OutputSettings,
        sensitivity_of: Callable[[str, Path], float],
        stacks: Path | None = None,
        reviewer: Reviewer | None = None,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        """*stacks* is the folder for averages of frames: dust too faint for one shows there (`dustd.dustmap.stack`).

        *heartbeat* is called now and then while a frame takes its time.
        """
        self.detector = detector
        self.store = store
        self.darkroom = darkroom
        self.output = output
        self.sensitivity_of = sensitivity_of
        self.stacks = stacks
        self.reviewer = reviewer
        self.heartbeat = heartbeat

    def process(self, source: Path, out_folder: Path) -> Record:
        """Clean the frame at *source* into *out_folder*, which exists; write image and sidecar, tell the map.

        A frame that was already cleaned, as it is now and with these settings, is only reported to the map again.
        Raises FrameError if the frame is broken or its name is taken or too long, SurroundingsError if disk or folder
        is in the way.
        """
        with structlog.contextvars.bound_contextvars(frame=source.name):
            files.refuse_long_name(out_folder / sidecar.sidecar_name(source.name), source)  # before all the work
            camera = self.darkroom.read_camera(source)
            with structlog.contextvars.bound_contextvars(body=camera.body_id):
                sensitivity = self.sensitivity_of(camera.body_id, source)
                finished = self._finished(source, out_folder, sensitivity)
                if finished is not None:
                    self.store.observe(finished)
                    files.release(out_folder / sidecar.sidecar_name(source.name))
                    if self.reviewer is not None:
                        self.reviewer.add(out_folder, finished, self._shown_again(finished, source, out_folder))
                    return finished
                record = self._clean(source, out_folder, camera, sensitivity)
                log.info(
                    "frame_" + record.status,
                    spots=len(record.spots),
                    corrected=sum(spot.action != "left" for spot in record.spots),
                    total_ms=round(record.timings_ms["total"]),
                )
                return record

    def fail(self, source: Path, out_folder: Path, error: DustdError) -> Record:
        """Write the sidecar that says why a frame failed.

        Raises SurroundingsError if disk or folder is in the way, FrameError if a sidecar of that name cannot be.
        """
        record = Record(
            source=_stamp_or_name(source),
            camera=self._camera_or_none(source),
            status="failed",
            error=Problem(problem=without_folders(error.problem), remedy=without_folders(error.remedy)),
        )
        path = out_folder / sidecar.sidecar_name(source.name)
        files.publish(path, sidecar.encode(record), ours=ledger.vouched(path))
        files.release(path)
        if self.reviewer is not None:
            self.reviewer.add(out_folder, record, None)
        return record

    def _camera_or_none(self, source: Path) -> Camera:
        """Read the camera for a failed frame's sidecar, as far as the file still tells."""
        try:
            return self.darkroom.read_camera(source)
        except (FrameError, RuntimeError):
            return Camera()

    def _clean(self, source: Path, out_folder: Path, camera: Camera, sensitivity: float) -> Record:
        """Read, detect, reconcile, correct and write one frame."""
        timer = Timer()
        with timer("read"):
            stamp = _stamp(source)
            frame = self.darkroom.decode(source, camera)
        try:
            with timer("detect"):
                seen = detect(frame, self.detector, between_batches=self.heartbeat)
            with timer("reconcile"):
                judged = self._judge(frame, seen, sensitivity, out_folder / sidecar.sidecar_name(source.name))
            with timer("correct"):
                spots = self.darkroom.correct(judged.spots, judged.known)
            changed = any(spot.action != "left" for spot in spots)
            exhibit = None
            if self.reviewer is not None and spots:
                with timer("review"):
                    exhibit = self._shown(spots, judged.evidence)
            with timer("write"):
                wanted = changed or self.output.when_clean == "write"
                image = self.darkroom.encode(self.output) if wanted else None
                healing = self.darkroom.healing(spots) if self.output.edits else None
        finally:
            self.darkroom.clear()
        if _stamp(source) != stamp:
            raise FrameError("it changed while it was read", remedy="dustd tries again when it rests", path=source)
        record = Record(
            source=replace(stamp, folder=_way_to(source.parent, out_folder)),
            camera=camera,
            width=frame.width,
            height=frame.height,
            detector=judged.detector,
            spots=spots,
            status="cleaned" if changed else "clean",
            evidence=judged.evidence,
        )
        record = self._write(record, image, healing, source, out_folder, timer)
        if self.stacks is not None and judged.stack is not None:
            stack_cache.save(self.stacks, camera.body_id, judged.stack)
        if self.reviewer is not None:
            self.reviewer.add(out_folder, record, exhibit)
        return record

    def _shown(self, spots: tuple[Spot, ...], proof: dict) -> Exhibit:
        """Picture the corrected frame in the darkroom, the worst spots first."""
        return self.darkroom.show(in_order(spots, evidence.from_dict(proof)), self.reviewer.room_bytes)

    def _shown_again(self, record: Record, source: Path, out_folder: Path) -> Exhibit | None:
        """Picture a frame that was cleaned earlier."""
        if not record.spots or record.evidence is None:
            return None
        cleaned = next((out_folder / output.path for output in record.outputs if output.kind == "dng"), None)
        self.darkroom.decode(source, record.camera)
        try:
            self.darkroom.recall(cleaned, record.spots, known_from_dict(record.evidence.get("known", {})))
            return self._shown(record.spots, record.evidence)
        finally:
            self.darkroom.clear()

    def _judge(self, frame: Frame, seen: Seen, sensitivity: float, sidecar_path: Path) -> Judgement:
        """Measure what was detected and decide with the dust map, and with a person's verdicts, what to correct."""
        scores = self.detector.false_positive_scores
        limits = Thresholds(
            lone=threshold(sensitivity, scores), known=threshold(min(100.0, sensitivity + KNOWN_BONUS), scores)
        )
        evidence_score = _score_at(EVIDENCE_FALSE_PER_MP, scores)
        listed = min(limits.lone, limits.known, _score_at(LISTED_FALSE_PER_MP, scores))
        calibration = self.detector.calibration
        worthy = [d for d in seen.detections if d.score >= calibration.measured_from]
        measured = ((measure(frame, detection, 0, calibration), detection) for detection in worthy)
        likely = sorted((pair for pair in measured if pair[0].score >= listed), key=lambda pair: -pair[0].score)
        spots = [replace(spot, id=number) for number, (spot, _) in enumerate(likely, start=1)]
        boxes = {number: box for number, (_, box) in enumerate(likely, start=1)}
        step = OVERVIEW_STEP_PX[frame.kind]
        light = overview(frame, step)
        proof = evidence.look(light, step)
        frame_id = frame_identity(frame)
        view = view_of(
            frame.camera,
            frame_id=frame_id,
            width=frame.width,
            height=frame.height,
            evidence=proof,
            score=evidence_score,
        )
        state = self.store.state(frame.camera.body_id, frame.camera.taken_at)
        known = reconcile(spots, state, view, limits)
        known += look_again(frame, known, state, view, limits.lone)
        stack = self._stacked(light, step, view, state.optics, frame.camera.body_id)
        if stack is not None:
            known += reveal(stack, known, state, view, state.optics)
        verdicts = self.store.rejections(frame.camera.body_id) + _rejected_before(sidecar_path, view)
        known = settled(known, view, verdicts) if verdicts else known
        named = {particle.id for particle in state.particles if is_told(particle, view)}
        known = tuple(
            replace(spot, outline=outline_in(frame, spot, boxes[spot.id]))
            if spot.wanted and spot.id in boxes and spot.particle_id not in named
            else spot
            for spot in known
        )
        expected = shadows(known, state, view)
        return Judgement(
            spots=known,
            known=expected,
            stack=stack,
            detector=DetectorInfo(
                model_id=self.detector.model_id,
                sha256=self.detector.sha256,
                device=self.detector.device,
                sensitivity=sensitivity,
                threshold=limits.lone,
                tiles=seen.tiles,
                skipped_tiles=seen.skipped_tiles,
            ),
            evidence={
                "frame_id": frame_id,
                "evidence_score": evidence_score,
                "known": known_to_dict(expected, known),
                **evidence.to_dict(proof),
            },
        )

    def _stacked(self, light: np.ndarray, step: int, view: View, body: BodyOptics, body_id: str) -> Stack | None:
        """Average this frame into those of its body since the last cleaning; None if it is older than that."""
        if self.stacks is None:
            return None
        epoch = self.store.epoch(body_id)
        if view.taken_at is not None and self.store.epoch(body_id, view.taken_at) != epoch:
            return None
        kept = stack_cache.load(self.stacks, body_id)
        return add(kept if kept.epoch == epoch else Stack(epoch=epoch), light, step, view, body)

    def _write(
        self,
        record: Record,
        image: bytes | None,
        healing: Healing | None,
        source: Path,
        out_folder: Path,
        timer: "Timer",
    ) -> Record:
        """Publish image, edits and sidecar and tell the map, under a claim that ends when the map knows."""
        path = out_folder / sidecar.sidecar_name(source.name)
        drafts = edits.draft(source, healing, self.output.edits) if healing is not None else ()
        with files.claim(path, image or b"", *(each.data for each in drafts if each.data)) as claimed:
            ours = ledger.vouched(path) | claimed
            outputs: tuple[Output, ...] = ()
            with timer("write"):
                if image is not None:
                    target = self._target(source, out_folder, ours)
                    files.publish(target, image, ours=ours)
                    digest = hashlib.sha256(image).hexdigest()
                    kind, profile, quality = _look(self.output)
                    outputs = (Output(kind=kind, path=target.name, sha256=digest, profile=profile, quality=quality),)
                edited, own = edits.publish(drafts, healing, self.output, out_folder, ours)
            record = replace(record, outputs=outputs + own, edits=edited, timings_ms=timer.timings_ms())
            files.publish(path, sidecar.encode(record), ours=ours)
            self.store.observe(record)
        return record

    def _target(self, source: Path, out_folder: Path, ours: frozenset[str]) -> Path:
        """Name the cleaned file: <stem>.dng, or <source name>.dng where another file has that name already."""
        suffix = SUFFIXES[self.output.format]
        short = out_folder / (source.stem + suffix)
        if short.exists() and files.sha256_file(short) not in ours:
            return out_folder / (source.name + suffix)
        return short

    def _finished(self, source: Path, out_folder: Path, sensitivity: float) -> Record | None:
        """Give the record of an earlier run, if it is of this very file and these very settings."""
        path = out_folder / sidecar.sidecar_name(source.name)
        if not ledger.is_done(source, path):
            return None
        try:
            record = sidecar.decode(path.read_bytes())
        except (OSError, ValueError):
            return None
        info = record.detector
        if record.status == "failed" or info is None:
            return None
        same = (info.sha256, info.sensitivity) == (self.detector.sha256, sensitivity)
        whole = all((out_folder / output.path).exists() for output in record.outputs)
        if whole and files.is_claimed(path):  # `dustd reject` may have been killed between cleaned file and sidecar
            whole = all(files.sha256_file(out_folder / output.path) == output.sha256 for output in record.outputs)
        pictures = [(each.kind, each.profile, each.quality) for each in record.outputs if each.kind in SUFFIXES]
        right = pictures == [_look(self.output)] or (
            not pictures and record.status == "clean" and self.output.when_clean == "skip"
        )
        return record if same and whole and right and edits.are_done(record.edits, self.output) else None


def _look(output: OutputSettings) -> tuple[str, str | None, int | None]:
    """Say which settings show in a cleaned file: its kind, the colour space unless it is raw, the quality of a JPEG."""
    profile = None if output.format == "dng" else output.profile
    return output.format, profile, output.jpeg_quality if output.format == "jpeg" else None


class Timer:
    """Adds up wall time by step, in milliseconds."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Count the time that the block takes towards *step*."""
        began = time.perf_counter()
        yield
        self._ms[step] = self._ms.get(step, 0.0) + (time.perf_counter() - began) * 1000

    def timings_ms(self) -> dict[str, float]:
        """All steps so far and the total."""
        total = (time.perf_counter() - self._began) * 1000
        return {step: round(ms, 1) for step, ms in self._ms.items()} | {"total": round(total, 1)}


def _way_to(folder: Path, start: Path) -> str | None:
    """Say how to get from *start* to a folder, None if that told a stranger where the user keeps things."""
    folder, start = folder.absolute(), start.absolute()
    shared = Path(os.path.commonpath((folder, start)))
    return None if shared in (Path(shared.anchor), *Path.home().parents) else os.path.relpath(folder, start)


def _rejected_before(path: Path, view: View) -> tuple[Rejection, ...]:
    """Read a person's verdicts about this frame from an earlier sidecar: the map may have been forgotten since."""
    try:
        record = sidecar.decode(path.read_bytes())
    except (OSError, ValueError):
        return ()
    if (record.evidence or {}).get("frame_id") != view.frame_id:
        return ()
    return rejections_of(record.spots, view, record.source.name)


def _score_at(false_per_mp: float, scores) -> float:
    """Score threshold at a rate of false positives per megapixel, nearest calibrated rate."""
    return scores[min(scores, key=lambda rate: abs(rate - false_per_mp))]


def _stamp(source: Path) -> Source:
    """Take size, time and hash of a source file. Raises FrameError if it is gone or cannot be read."""
    try:
        before = source.stat()
    except OSError as exc:
        raise cannot_be_read(exc, source) from exc
    return Source(name=source.name, size=before.st_size, sha256=files.sha256_file(source), mtime_ns=before.st_mtime_ns)


def _stamp_or_name(source: Path) -> Source:
    """Take the stamp of a failed frame's file, or its name alone where nothing more can be had."""
    try:
        return _stamp(source)
    except FrameError:
        return Source(name=source.name, size=0, sha256="", mtime_ns=0)
