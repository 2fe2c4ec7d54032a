"""Pictures for the page: made on demand, at low priority, and kept on disk.

A thumbnail comes from the picture that the cleaned file carries. All else is developed anew by a worker process of the
page's own (`dustd.pipeline.worker`), which holds one frame at a time: the original's samples and the cleaned ones, in
the same way.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from dustd.errors import FrameError
from dustd.output.developed import orient
from dustd.output.sidecar import Record
from dustd.pipeline.rewrite import find_source
from dustd.pipeline.worker_client import WorkerClient
from dustd.raw.tiff import Source, numbers, read_tree
from dustd.spots.revise import known_from_dict
from dustd.web.cache import Cache
from dustd.web.reader import read_record
from dustd.web.rows import Row

THUMBNAIL_PX, FIT_PX = 320, 2048
PATIENCE_S = 8.0  # after which a browser is told to ask again
HELD_S = 30.0  # a frame stays decoded for so long after the last picture of it
LIMIT_S = 120.0  # for one picture
_COMPRESSION, _KIND, _OFFSETS, _LENGTHS, _JPEG = 259, 254, 273, 279, 7
_LARGE_BYTES = 2 << 20

Which = Literal["before", "after"]
Size = Literal["fit", "full"]


class BusyError(Exception):
    """The picture is still being made; ask again."""


class Pictures:
    """Makes pictures and keeps them in *folder*. What cannot be made raises DustdError, what takes long BusyError."""

    def __init__(self, folder: Path) -> None:
        self._cache = Cache(folder)
        self._quick, self._slow = ThreadPoolExecutor(2, "thumbnails"), ThreadPoolExecutor(1, "pictures")
        self._worker = WorkerClient(LIMIT_S)
        self._held: tuple[str, str] | None = None
        self._made: dict[str, Future[bytes | None]] = {}
        self._letting_go: asyncio.TimerHandle | None = None

    async def thumbnail(self, row: Row) -> bytes | None:
        """Give the cleaned frame upright, 320 px long, as JPEG; None if there is nothing to show."""
        return await self._get(f"{row.id}-{row.version}-thumbnail.jpg", lambda: self._thumbnail(row), self._quick)

    async def whole(self, row: Row, which: Which, size: Size) -> bytes | None:
        """Give the whole frame, upright, before or after: 2048 px long, or as large as it is."""

        def make() -> bytes:
            self._hold(row)
            return self._worker.picture(before=which == "before", long_side_px=FIT_PX if size == "fit" else None)

        return await self._get(f"{row.id}-{row.version}-{which}-{size}.jpg", make, self._slow)

    async def crop(self, row: Row, spot_id: int, which: Which) -> bytes | None:
        """Give what is around a spot, before or after; None if there is no such spot."""

        def make() -> bytes | None:
            spot = next((each for each in self._hold(row).spots if each.id == spot_id), None)
            return None if spot is None else self._worker.crop(spot, before=which == "before")

        return await self._get(f"{row.id}-{row.version}-{spot_id}-{which}.jpg", make, self._slow)

    async def _get(self, name: str, make: Callable[[], bytes | None], by: ThreadPoolExecutor) -> bytes | None:
        """Give a picture that is kept, else have it made once, whoever asks meanwhile."""
        future = self._made.get(name)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._made[name] = by.submit(self._kept_or_made, name, make)
            future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._made.pop, name, None))
        self._let_go_later()
        made = asyncio.wrap_future(future)
        made.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, even if nobody waits
        try:
            return await asyncio.wait_for(asyncio.shield(made), PATIENCE_S)
        except TimeoutError as exc:
            raise BusyError from exc

    def _kept_or_made(self, name: str, make: Callable[[], bytes | None]) -> bytes | None:
        data = self._cache.get(name)
        if data is None:
            data = make()
            if data is not None:
                self._cache.put(name, data)
        return data

    def _thumbnail(self, row: Row) -> bytes | None:
        """Make the thumbnail from the cleaned file, or where that carries no picture, by developing."""
        made = thumbnail(row)
        if made is not None:
            return made
        whole = self._slow.submit(self._developed, row).result()
        picture = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
        return jpeg(fitted(picture, THUMBNAIL_PX)) if picture is not None else None

    def _developed(self, row: Row) -> bytes:
        self._hold(row)
        return self._worker.picture(before=False, long_side_px=FIT_PX)

    def _hold(self, row: Row) -> Record:
        """Have the worker hold the frame of a row; in the thread of the slow ones alone."""
        record = read_record(row)
        if record is None or record.status == "failed":
            raise FrameError("there is no cleaned frame to show", remedy="Read the list of frames anew")
        if self._held != (row.id, row.version):
            self._held = None
            original = find_source(record, Path(row.sidecar), Path(row.source))
            cleaned = next(
                (Path(row.sidecar).parent / each.path for each in record.outputs if each.kind == "dng"), None
            )
            known = known_from_dict((record.evidence or {}).get("known", {}))
            self._worker.hold(original, self._worker.read_camera(original), cleaned, record.spots, known)
            self._held = (row.id, row.version)
        return record

    def _let_go_later(self) -> None:
        """Free the memory of a frame that nobody looks at any more."""
        if self._letting_go is not None:
            self._letting_go.cancel()
        self._letting_go = asyncio.get_running_loop().call_later(HELD_S, lambda: self._slow.submit(self._let_go))

    def _let_go(self) -> None:
        self._held = None
        self._worker.clear()


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
    return jpeg(fitted(orient(picture, row.orientation if path.suffix == ".dng" else 1), THUMBNAIL_PX))


def dng_preview(path: Path) -> bytes | None:
    """Read the JPEG preview that a DNG of dustd's carries; None if there is none. Raises OSError."""
    with path.open("rb") as file:
        source = Source(file)
        for ifd in read_tree(source):
            if numbers(ifd.get(_COMPRESSION)) == (_JPEG,) and numbers(ifd.get(_KIND)) == (1,):
                offset, length = numbers(ifd.get(_OFFSETS)), numbers(ifd.get(_LENGTHS))
                if len(offset) == len(length) == 1:
                    return source.read(int(offset[0]), int(length[0]))
    return None


def fitted(picture: np.ndarray, side_px: int) -> np.ndarray:
    """Reduce a picture, (h, w, 3) uint8, so that its long side is *side_px* at most."""
    scale = min(1.0, side_px / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)


def jpeg(bgr: np.ndarray) -> bytes:
    """Pack a picture, (h, w, 3) uint8 blue first, as JPEG."""
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()
