"""Pictures for the page: made on demand, at low priority, and kept on disk.

A thumbnail comes from the picture that the cleaned file carries. All else is developed anew by a worker process of the
page's own (`dustd.pipeline.worker`), from the original and the cleaned samples alike.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from dustd.output.developed import orient
from dustd.raw.tiff import Source, numbers, read_tree
from dustd.web.cache import Cache
from dustd.web.rows import Row

THUMBNAIL_PX = 320
PATIENCE_S = 8.0  # after which a browser is told to ask again
_COMPRESSION, _OFFSETS, _LENGTHS, _JPEG = 259, 273, 279, 7
_LARGE_BYTES = 2 << 20


class BusyError(Exception):
    """The picture is still being made; ask again."""


class Pictures:
    """Makes pictures and keeps them in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._cache = Cache(folder)
        self._quick = ThreadPoolExecutor(2, "thumbnails")
        self._made: dict[str, Future[bytes | None]] = {}

    async def thumbnail(self, row: Row) -> bytes | None:
        """Give the cleaned frame upright, 320 px long, as JPEG; None if there is nothing to show. Raises BusyError."""
        return await self._get(f"{row.id}-{row.version}-thumbnail.jpg", lambda: thumbnail(row), self._quick)

    async def _get(self, name: str, make: Callable[[], bytes | None], by: ThreadPoolExecutor) -> bytes | None:
        """Give a picture that is kept, else have it made once, whoever asks meanwhile."""
        future = self._made.get(name)
        if future is None:
            future = self._made[name] = by.submit(self._kept_or_made, name, make)
            future.add_done_callback(lambda _: self._made.pop(name, None))
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), PATIENCE_S)
        except TimeoutError as exc:
            raise BusyError from exc

    def _kept_or_made(self, name: str, make: Callable[[], bytes | None]) -> bytes | None:
        data = self._cache.get(name)
        if data is None:
            data = make()
            if data is not None:
                self._cache.put(name, data)
        return data


def thumbnail(row: Row) -> bytes | None:
    """Make the thumbnail of a frame from its cleaned file; None if that carries no picture."""
    path = Path(row.cleaned)
    try:
        data = dng_preview(path) if path.suffix == ".dng" else path.read_bytes() if path.suffix == ".jpg" else None
    except OSError:
        return None
    if data is None:
        return None
    size = cv2.IMREAD_REDUCED_COLOR_8 if len(data) > _LARGE_BYTES else cv2.IMREAD_REDUCED_COLOR_2
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), size | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        return None
    return jpeg(fitted(orient(picture, row.orientation if path.suffix == ".dng" else 1), THUMBNAIL_PX), 82)


def dng_preview(path: Path) -> bytes | None:
    """Read the JPEG preview that a DNG of dustd's carries; None if there is none. Raises OSError."""
    with path.open("rb") as file:
        source = Source(file)
        for ifd in read_tree(source):
            if numbers(ifd.get(_COMPRESSION)) == (_JPEG,) and numbers(ifd.get(254)) == (1,):
                offset, length = numbers(ifd.get(_OFFSETS)), numbers(ifd.get(_LENGTHS))
                if len(offset) == len(length) == 1:
                    return source.read(int(offset[0]), int(length[0]))
    return None


def fitted(picture: np.ndarray, side_px: int) -> np.ndarray:
    """Reduce a picture, (h, w, 3) uint8, so that its long side is *side_px* at most."""
    scale = min(1.0, side_px / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)


def jpeg(bgr: np.ndarray, quality: int) -> bytes:
    """Pack a picture, (h, w, 3) uint8 blue first, as JPEG."""
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
