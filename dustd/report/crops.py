"""Real pixels for the report: the worst particles, cut from frames in which they were seen, where those still exist.

The store knows frames by the hash of their samples and by their file's name, not by folder (files move). So files of
that name are looked for below given folders, and one counts only if its samples have that hash. Frames are opened
read-only; whatever cannot be had is left out, never an error.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from dustd.dustmap.particle import Particle, Sighting
from dustd.errors import DustdError
from dustd.raw.frame import Frame, frame_identity, from_centre
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera
from dustd.report.report import Summary
from dustd.report.report_text import WORST_SHOWN
from dustd.report.sensor_picture import CROP_PX, Crop, crop_span_px
from dustd.text import printable

FRAMES_PER_BODY = 2  # mostly one frame shows nearly all of the worst
FRAMES_OPENED = 16  # in all; a second or two each


def cut(summaries: Iterable[Summary], folders: Sequence[Path]) -> dict[str, Crop]:
    """Cut the worst particles of bodies, the first ones first, out of frames below *folders*: crops by particle id."""
    wanted = [(s.confirmed[:WORST_SHOWN], s.dust.frame_names) for s in summaries]
    files = _find({name for _, names in wanted for name in names.values()}, folders)
    crops: dict[str, Crop] = {}
    left = FRAMES_OPENED
    for particles, names in wanted:
        waiting = {p.id: p for p in particles}
        at_hand = {frame_id: files[name] for frame_id, name in names.items() if name in files}
        for _ in range(min(FRAMES_PER_BODY, left)):
            frame_id, seen = _best(waiting.values(), at_hand)
            if not seen:
                break
            left -= 1
            found = _cut_frame(frame_id, at_hand.pop(frame_id), seen)
            crops |= found
            waiting = {id_: p for id_, p in waiting.items() if id_ not in found}
    return crops


def _find(names: set[str], folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Find files by name, anywhere below *folders*."""
    found: dict[str, list[Path]] = {}
    for folder in folders if names else ():
        for parent, _, files in os.walk(folder):
            for name in names.intersection(files):
                found.setdefault(name, []).append(Path(parent, name))
    return found


def _best(
    particles: Iterable[Particle], at_hand: Mapping[str, list[Path]]
) -> tuple[str, list[tuple[Particle, Sighting]]]:
    """Choose the frame that shows most of the particles, the latest of equals."""
    shown: dict[str, list[tuple[Particle, Sighting]]] = {}
    for particle in particles:
        for sighting in reversed(particle.sightings):
            if sighting.scene.frame_id in at_hand:
                shown.setdefault(sighting.scene.frame_id, []).append((particle, sighting))
    return max(shown.items(), key=lambda item: len(item[1]), default=("", []))


def _cut_frame(frame_id: str, paths: Sequence[Path], seen: Sequence[tuple[Particle, Sighting]]) -> dict[str, Crop]:
    """Cut particles out of the frame, if one of the files is it."""
    for path in paths:
        try:
            with open_raw(path, read_camera(path)) as opened:
                if frame_identity(opened.frame) == frame_id:
                    picture = opened.develop(opened.frame.raw, half_size=True)
                    return {p.id: _crop(picture, opened.frame, path.name, p, sighting) for p, sighting in seen}
        except (DustdError, OSError):
            continue
    return {}


def _crop(picture: np.ndarray, frame: Frame, name: str, particle: Particle, sighting: Sighting) -> Crop:
    """Cut one particle out of a picture of half the frame's size, (h, w, 3) uint8, shifted inwards at its edges."""
    f_number = sighting.f_number or 16.0
    span = min(crop_span_px(particle, f_number) // 2, *picture.shape[:2])
    x, y = from_centre(sighting.mx, sighting.my, width=frame.width, height=frame.height)
    left = min(max(round(x / 2) - span // 2, 0), picture.shape[1] - span)
    top = min(max(round(y / 2) - span // 2, 0), picture.shape[0] - span)
    cut_out = np.ascontiguousarray(picture[top : top + span, left : left + span])
    aperture = f", f/{sighting.f_number:.3g}" if sighting.f_number else ""
    return Crop(
        picture=cv2.resize(cut_out, (CROP_PX, CROP_PX), interpolation=cv2.INTER_CUBIC),
        caption=f"{printable(name)}{aperture}",
    )
