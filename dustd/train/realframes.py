"""Real dust with labels: frames that nobody trained or tuned for, and dust that photographs brought along.

A folder of either holds `dust_labels.csv` with the columns `file` (relative to the folder, or absolute), `x`, `y`, and
either the box `x0`, `y0`, `x1`, `y1` or a `diameter`, all in px of the unrotated frame; `depth` (share of light lost)
may follow.
"""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import IFD, Base

from dustd.errors import FrameError, UsageError
from dustd.raw.frame import Camera, Frame
from dustd.raw.libraw import open_raw
from dustd.raw.metadata import read_camera
from dustd.train.froc import Truth
from dustd.train.pictures import PHOTO_SUFFIXES, read_picture, to_light

LABELS = "dust_labels.csv"
# A picture whose sides are to each other as they were when it was taken, to within this share, was shrunk, not cut.
SAME_ASPECT = 0.01


def labelled_frames(folder: Path) -> Iterator[tuple[str, Frame, tuple[Truth, ...]]]:
    """Read each labelled frame below *folder* with its labels: (name, frame, truths).

    Raises UsageError if the labels are missing or lack a column, FrameError for a RAW file that cannot be decoded.
    """
    for name, truths in _labels(folder / LABELS).items():
        yield Path(name).name, read_frame(folder / name), tuple(truths)


def dust_in_photographs(folder: Path) -> dict[str, tuple[Truth, ...]]:
    """Tell where the photographs in *folder* show dust of their own, by file name; nothing if nobody labelled any.

    Such places are neither clean ground nor labelled dust: they are left out of training and of judging. Raises
    UsageError if the labels lack a column.
    """
    path = folder / LABELS
    return {name: tuple(truths) for name, truths in _labels(path).items()} if path.exists() else {}


def read_frame(path: Path) -> Frame:
    """Read a RAW file, or a photograph as if it were a linear one of 16 bits."""
    if path.suffix.lower() not in PHOTO_SUFFIXES:
        with open_raw(path, read_camera(path)) as opened:
            return opened.frame
    light = to_light(read_picture(path))
    height, width = light.shape[:2]
    return Frame(
        raw=(light * 65535).round().astype(np.uint16),
        visible=(0, 0, height, width),
        kind="linear",
        cfa=((1,),),
        black=np.zeros(3, np.float32),
        white=65535,
        wb=(1.0, 1.0, 1.0),
        xyz_to_camera=None,
        camera=_camera(path, width, height),
    )


def _camera(path: Path, width: int, height: int) -> Camera:
    """Read what a picture's file says of the camera; where it was shrunk since, its pixels are as much wider."""
    try:
        camera = read_camera(path)
    except FrameError:  # a picture without Exif
        return Camera()
    with Image.open(path) as picture:
        exif = picture.getexif().get_ifd(IFD.Exif)
    taken = exif.get(Base.ExifImageWidth, width), exif.get(Base.ExifImageHeight, height)
    across, down = (before / now for before, now in zip(taken, (width, height), strict=True))
    if camera.pixel_pitch_um is None or across <= 1 or abs(across / down - 1) > SAME_ASPECT:
        return camera
    return replace(camera, pixel_pitch_um=camera.pixel_pitch_um * across)


def _labels(path: Path) -> dict[str, list[Truth]]:
    labels: dict[str, list[Truth]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                labels.setdefault(row["file"], []).append(_truth(row))
    except (OSError, KeyError, ValueError) as exc:
        remedy = "It needs the columns file, x, y and x0, y0, x1, y1 (or diameter)"
        raise UsageError(f"the labels cannot be read ({exc!r})", remedy=remedy, path=path) from exc
    return labels


def _truth(row: dict[str, str]) -> Truth:
    if row.get("diameter"):
        diameter = float(row["diameter"])
    else:
        diameter = max(float(row["x1"]) - float(row["x0"]), float(row["y1"]) - float(row["y0"]))
    return Truth(x=float(row["x"]), y=float(row["y"]), diameter_px=diameter, attenuation=float(row.get("depth") or 0.0))
