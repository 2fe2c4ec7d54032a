"""Examples for training, from a person's verdicts: a cut-out of the frame and the dust that is in it.

Each is a PNG and a COCO JSON beside it, as `dustd train --labelled` reads them (`dustd.train.labelled`), in one folder
on this computer; nothing is sent anywhere.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dustd import codec, files
from dustd.output.sidecar import Record
from dustd.raw.frame import Frame
from dustd.raw.light import Window, linear_rgb
from dustd.spots.spot import Spot

SIDE_PX = 640  # holds the largest training crop, 512 px and its margin, wherever the spot lies in it
SURE = 0.5  # score from which a spot that was left alone is taken for dust: what has no box teaches that it is none


def cut_out(frame: Frame, spot: Spot) -> tuple[np.ndarray, int, int]:
    """Cut the surroundings of a spot out of the uncorrected frame: (h, w, 3) uint8 sRGB camera colours, and left, top.

    Unrotated, at most SIDE_PX each way, inside the frame.
    """
    side = min(SIDE_PX, frame.width, frame.height)
    left, top = (
        max(0, min(round(at) - side // 2, length - side))
        for at, length in ((spot.x, frame.width), (spot.y, frame.height))
    )
    light = np.clip(linear_rgb(frame, Window(left=left, top=top, side_px=side)), 0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    return np.round(255 * encoded).astype(np.uint8), left, top


def boxes(spots: Sequence[Spot], left: int, top: int, shape: tuple[int, ...]) -> list[list[float]]:
    """Give the dust in a cut-out as x, y, width, height: what was corrected and not rejected, or surely is dust."""
    found = []
    for spot in spots:
        if spot.rejected or (spot.action == "left" and spot.score < SURE):
            continue
        radius = spot.diameter_px / 2
        x0, y0 = max(spot.x - radius - left, 0.0), max(spot.y - radius - top, 0.0)
        x1, y1 = min(spot.x + radius - left, shape[1]), min(spot.y + radius - top, shape[0])
        if x1 - x0 >= 1 and y1 - y0 >= 1:
            found.append([round(x0, 1), round(y0, 1), round(x1 - x0, 1), round(y1 - y0, 1)])
    return found


def name_of(frame_id: str, spot_id: int) -> str:
    """Name an example."""
    return f"{frame_id}-{spot_id}"


def keep(
    folder: Path, name: str, picture: np.ndarray, dust: Sequence[Sequence[float]], record: Record, spot: Spot
) -> None:
    """Write an example, the picture first. Raises SurroundingsError if disk or folder is in the way."""
    files.make_output_folder(folder, folder)
    height, width = picture.shape[:2]
    image = {"id": 1, "file_name": f"{name}.png", "width": width, "height": height}
    labels = {
        "info": {
            "description": "rejected by a person" if spot.rejected else "asked for by a person",
            "frame": record.source.name,
            "spot": spot.id,
            "score": spot.score,
        },
        "images": [image],
        "categories": [{"id": 1, "name": "dust"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
            for number, box in enumerate(dust, start=1)
        ],
    }
    _, png = cv2.imencode(".png", picture[..., ::-1])
    for suffix, data in ((".png", png.tobytes()), (".json", codec.to_bytes(labels))):
        path = folder / f"{name}{suffix}"
        path.unlink(missing_ok=True)
        files.publish(path, data)


def is_kept(folder: Path, name: str) -> bool:
    """Tell whether there is an example of this name, whole."""
    return (folder / f"{name}.json").exists()


def remove(folder: Path, name: str) -> None:
    """Delete an example, the labels first; none need be there."""
    for suffix in (".json", ".png"):
        with contextlib.suppress(FileNotFoundError):
            (folder / f"{name}{suffix}").unlink()
