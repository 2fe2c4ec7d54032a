"""The first act: look. The network goes over the frame, and the light of what it saw is measured.

It is the only act that needs the network, and the slow one, so what it gives is kept in the sidecar: `look_of` reads it
back, and no frame is looked at twice with the same weights.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dustd.detector.detect import Detector, detect
from dustd.dustmap import evidence
from dustd.dustmap.evidence import Evidence
from dustd.output.sidecar import Record
from dustd.raw.frame import Camera, Frame, frame_identity
from dustd.raw.light import overview
from dustd.spots import optics
from dustd.spots.candidates import candidates_in
from dustd.spots.physics import DEFECT, impossible
from dustd.spots.spot import Candidate, Detection, Refused

# A sidecar holds no more candidates, and a fabric full of dots holds nobody up. Real bodies show 5 to 15 per megapixel
# at worst, most of which no network sees.
MOST_CANDIDATES = 400
# Blocks of the overview; a multiple of the 2 px and 6 px colour patterns.
OVERVIEW_STEP_PX = {"bayer": 8, "xtrans": 6, "mono": 8, "linear": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen in one frame: *candidates* best first, what physics *refused*, what the scene proves besides
    (*scene*).

    *frame_id* names the exposure by its samples (`raw.frame.frame_identity`); *width* and *height* are px of the
    visible area. *tiles* were run by the model with the weights *sha256* on *device*, *skipped_tiles* could show no
    dust.
    """

    camera: Camera
    frame_id: str
    width: int
    height: int
    candidates: tuple[Candidate, ...]
    refused: tuple[Refused, ...]
    scene: Evidence
    model_id: str
    sha256: str
    device: str
    tiles: int
    skipped_tiles: int


def look(
    frame: Frame,
    detector: Detector,
    *,
    frame_id: str | None = None,
    blur_constant: float | None = None,
    progress: Callable[[float], None] = lambda _share: None,
    measure: Callable[[Frame, Sequence[Detection]], Sequence[Candidate]] = candidates_in,
) -> Look:
    """Let *detector* look at *frame* and measure what it saw, as far as it can be dust at all.

    *frame_id* is the frame's identity, if it is known already. *blur_constant* (px·f-number) is what is known of
    the body's distance from dust to sensor, None if nothing is. *progress* is called while looking takes time, with
    the share that is done.
    """
    camera = frame.camera
    known = camera.f_number, camera.pixel_pitch_um, max(frame.width, frame.height), blur_constant
    seen = detect(frame, detector, typical_px=optics.typical_px(*known), between_batches=progress)
    narrowest_px = optics.narrowest_px(*known)
    calibration = detector.calibration
    worthy = [each for each in seen.detections if each.score >= calibration.measured_from][:MOST_CANDIDATES]
    candidates: list[Candidate] = []
    refused: list[Refused] = []
    for each in measure(frame, worthy):
        why = impossible(each, frame, narrowest_px)
        if why is None:
            candidates.append(each)
        else:
            refused.append(_refused(each, why))
    step = OVERVIEW_STEP_PX[frame.kind]
    return Look(
        camera=frame.camera,
        frame_id=frame_id or frame_identity(frame),
        width=frame.width,
        height=frame.height,
        candidates=tuple(
            sorted(candidates, key=lambda each: -calibration.probability(each.score, each.gain, each.second_score))
        ),
        refused=tuple(refused),
        scene=evidence.look(overview(frame, step), step, frame.camera),
        model_id=detector.model_id,
        sha256=detector.sha256,
        device=detector.device,
        tiles=seen.tiles,
        skipped_tiles=seen.skipped_tiles,
    )


def _refused(candidate: Candidate, why: str) -> Refused:
    """Keep of a candidate what counts among the frame's marks; of a defective pixel, which is no mark, its place."""
    place = {"x": candidate.shadow_x, "y": candidate.shadow_y, "diameter_px": candidate.diameter_px}
    if why == DEFECT:
        return Refused(**place, reason=why)
    return Refused(
        **place,
        reason=why,
        edge_px=candidate.edge_px,
        attenuation=candidate.attenuation,
        gain=candidate.gain,
        box_px=float(f"{math.sqrt(candidate.width_px * candidate.height_px):.6g}"),
        score=candidate.score,
        second_score=candidate.second_score,
    )


def look_of(record: Record) -> Look | None:
    """Read the look back that a sidecar kept; None if it holds none, as those of dustd before 0.2 do."""
    if record.candidates is None or record.detector is None or record.evidence is None:
        return None
    try:
        scene = evidence.from_dict(record.evidence)
        frame_id = str(record.evidence["frame_id"])
    except (ValueError, KeyError):
        return None
    return Look(
        camera=record.camera,
        frame_id=frame_id,
        width=record.width,
        height=record.height,
        candidates=record.candidates,
        refused=record.refused,
        scene=scene,
        model_id=record.detector.model_id,
        sha256=record.detector.sha256,
        device=record.detector.device,
        tiles=record.detector.tiles,
        skipped_tiles=record.detector.skipped_tiles,
    )
