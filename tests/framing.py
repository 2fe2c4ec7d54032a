"""A camera pointed at a part of a generated scene, and what lies on the scene itself that looks like dust."""

import cv2
import numpy as np

from dustd.spots.measure import soft_disc


def framed(scene: np.ndarray, height: int, width: int, *, centre: tuple[float, float], zoom: float = 1.0) -> np.ndarray:
    """Point a camera at a part of a larger *scene*: (height, width, 3) about *centre*, x and y in scene px.

    *zoom* is frame px per scene px. The part must lie within the scene; what lies outside repeats its edge.
    """
    x, y = centre
    to_scene = np.array(
        [[1 / zoom, 0, x - (width - 1) / 2 / zoom], [0, 1 / zoom, y - (height - 1) / 2 / zoom]], np.float32
    )
    return cv2.warpAffine(
        scene, to_scene, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )


def specked(
    scene: np.ndarray, places: np.ndarray, diameters_px: np.ndarray, depths: np.ndarray, softness: np.ndarray
) -> np.ndarray:
    """Lay dark specks on what is photographed: lint, moles, stains, as like dust as they can be.

    Soft-edged discs at *places* (n, 2), x and y in scene px, that take a share *depths* of the light, 0 to 1; the edge
    is *softness* of the diameter wide. Returns a new scene.
    """
    scene = scene.copy()
    for (x, y), diameter, depth, soft in zip(places, diameters_px, depths, softness, strict=True):
        reach = int(np.ceil(diameter * (0.5 + soft))) + 1
        left, top = max(round(x) - reach, 0), max(round(y) - reach, 0)
        window = scene[top : round(y) + reach + 1, left : round(x) + reach + 1]
        rows, columns = np.mgrid[top : top + window.shape[0], left : left + window.shape[1]]
        away = np.hypot(columns - x, rows - y)
        light = 1 - depth * soft_disc(away, diameter, soft * diameter)
        window *= light.astype(np.float32)[..., None]
    return scene
