"""Real dusty pictures with their labels, mixed in among the synthetic ones.

A folder holds pictures (photographs or RAW files) and beside them COCO JSON files, as labelling tools write them:
`images` with `file_name`, `annotations` with `bbox` (x, y, width, height in px of the unrotated picture). A picture
without annotations is one without dust. Every spot in it must be labelled: what is not teaches that it is no dust.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

import numpy as np
import structlog
import torch
from torch import Tensor
from tqdm import tqdm

from dustd.errors import UsageError
from dustd.train.pictures import read_picture, to_light

SHARE = 0.1  # of crops come from labelled pictures, if there are any

_SIDECAR = ".dustd.json"
_FORM = "Export the labels as COCO detection JSON: images with id and file_name, annotations with image_id and bbox"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A picture as `read_picture` gives it, and where its dust is: *boxes* (n, 4) float32, centre and size px, from the
    picture's top-left corner."""

    picture: np.ndarray
    boxes: np.ndarray


def read_labelled(folder: Path, *, least_side_px: int) -> tuple[Labelled, ...]:
    """Read all labelled pictures below *folder*; those smaller than *least_side_px* are left out, with a warning.

    Raises UsageError if there are no labels or some make no sense, FrameError if a picture cannot be read.
    """
    files = sorted(p for p in folder.rglob("*.json") if not p.name.endswith(_SIDECAR))
    if not files:
        raise UsageError("there are no labels in this folder", remedy=_FORM, path=folder)
    found = []
    boxes_by_picture = [pair for file in files for pair in _read_coco(file)]
    for path, boxes, file in tqdm(boxes_by_picture, desc="labelled pictures", unit="picture", disable=None):
        picture = read_picture(path)
        height, width = picture.shape[:2]
        _require_inside(boxes, width, height, file, path)
        if min(height, width) < least_side_px:
            log.warning(
                "labelled_skipped",
                file=str(path),
                problem=f"it has only {width}×{height} pixels, and a crop takes {least_side_px} each way",
                remedy="Label a larger part of the frame, or train with smaller crops",
            )
            continue
        found.append(Labelled(picture=picture, boxes=boxes))
    log.info(
        "labelled_ready",
        pictures=len(found),
        spots=sum(len(one.boxes) for one in found),
        memory_mb=round(sum(one.picture.nbytes for one in found) / 1e6),
    )
    return tuple(found)


def mix_in(
    labelled: Sequence[Labelled], light: Tensor, cells: Tensor, generator: torch.Generator
) -> list[Tensor | None]:
    """Replace some crops of *light* (B, 3, S, S) and their *cells* (B,), in place, by pieces of labelled pictures.

    Returns for each crop the boxes (n, 4) of the dust that is in it, None where the crop was left as it was.
    """
    real: list[Tensor | None] = [None] * len(light)
    for index in range(len(light) if labelled else 0):
        if torch.rand((), generator=generator) < SHARE:
            rng = np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator)))
            crop, boxes = draw_crop(labelled[int(rng.integers(len(labelled)))], light.shape[-1], rng)
            light[index], cells[index] = torch.from_numpy(crop), -1
            real[index] = torch.from_numpy(boxes)
    return real


def draw_crop(one: Labelled, size_px: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut (3, size_px, size_px) float32 light from a picture, turned and dimmed at random, and the boxes (n, 4) in it.

    Half of the crops hold a spot for certain, if the picture has any. The scale stays: dust has its size.
    """
    height, width = one.picture.shape[:2]
    left, top = rng.integers(width - size_px + 1), rng.integers(height - size_px + 1)
    if len(one.boxes) and rng.random() < 0.5:
        middle = one.boxes[rng.integers(len(one.boxes)), :2] - rng.uniform(0.1, 0.9, 2) * size_px
        left, top = (int(np.clip(v, 0, side - size_px)) for v, side in zip(middle, (width, height), strict=True))
    crop = one.picture[top : top + size_px, left : left + size_px]
    x, y, w, h = (one.boxes - np.array([left, top, 0, 0], np.float32)).T
    for _ in range(rng.integers(4)):
        crop = np.rot90(crop)
        x, y, w, h = y, size_px - x, h, w
    if rng.random() < 0.5:
        crop, x = crop[:, ::-1], size_px - x
    boxes = np.stack([x, y, w, h], 1).astype(np.float32)
    seen = (np.abs(boxes[:, :2] - size_px / 2) < size_px / 2 + boxes[:, 2:] / 2).all(1)
    light = to_light(crop).transpose(2, 0, 1) * np.float32(2 ** rng.uniform(-1.5, 0))
    return np.ascontiguousarray(light), boxes[seen]


def _read_coco(file: Path) -> Iterator[tuple[Path, np.ndarray, Path]]:
    """Give each picture that *file* names, its boxes, and *file* again. Raises UsageError where it is malformed."""

    def refuse(problem: str, remedy: str = _FORM) -> NoReturn:
        raise UsageError(problem, remedy=remedy, path=file)

    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as exc:  # bad JSON or bad UTF-8
        raise UsageError(f"this is not JSON ({exc})", remedy=_FORM, path=file) from exc
    if not isinstance(data, dict):
        refuse("it is not a JSON object with images and annotations")
    images, annotations, categories = (_records(data, key, refuse) for key in ("images", "annotations", "categories"))
    if len(categories) > 1:
        dust = [c.get("id") for c in categories if str(c.get("name")).lower() == "dust"]
        if not dust:
            refuse("none of its categories is called dust", "Call the category of the dust boxes dust")
        annotations = [a for a in annotations if a.get("category_id") in dust]
    if "images" not in data or "annotations" not in data:
        refuse("images or annotations are missing")
    boxes: dict[Any, list[list[float]]] = {}
    for image in images:
        if not isinstance(image.get("id"), int | str) or not isinstance(image.get("file_name"), str):
            refuse(f"an image has no id or no file_name: {image}")
        boxes[image["id"]] = []
    for annotation in annotations:
        name, bbox = f"annotation {annotation.get('id')}", annotation.get("bbox")
        if annotation.get("image_id") not in boxes:
            refuse(f"{name} belongs to image {annotation.get('image_id')!r}, which is not listed")
        if not _is_bbox(bbox):
            refuse(f"{name} has the bbox {bbox!r}", "Give x, y, width and height in px, width and height above zero")
        x, y, w, h = bbox
        boxes[annotation["image_id"]].append([x + w / 2, y + h / 2, w, h])
    for image in images:
        path = file.parent / image["file_name"]
        if not path.is_file():
            refuse(f"there is no picture {image['file_name']} beside it", "Put the pictures beside their labels")
        yield path, np.array(boxes[image["id"]], np.float32).reshape(-1, 4), file


def _records(data: dict[str, Any], key: str, refuse: Any) -> list[dict[str, Any]]:
    records = data.get(key, [])
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        refuse(f"its {key} are not a list of objects")
    return records


def _is_bbox(bbox: object) -> TypeGuard[list[float]]:
    return (
        isinstance(bbox, list)
        and len(bbox) == 4
        and all(isinstance(v, int | float) and math.isfinite(v) for v in bbox)
        and min(bbox[2:]) > 0
    )


def _require_inside(boxes: np.ndarray, width: int, height: int, file: Path, path: Path) -> None:
    """Refuse boxes that reach beyond the picture: they were drawn on another version of it."""
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    if len(boxes) and (low.min() < -1 or (high > np.array([width, height]) + 1).any()):
        raise UsageError(
            f"some of its boxes reach beyond {path.name}, which has {width}×{height} pixels",
            remedy="Label the picture at full size and unrotated",
            path=file,
        )
