"""The worker process: whatever LibRaw and strangers' files can do happens in here, and to one frame only.

Started by `dustd.pipeline.worker_client` as `python -m dustd.pipeline.worker FD FD FD`, it answers calls
(`dustd.pipeline.worker_protocol`) until the daemon hangs up. Its memory is limited. One frame at a time is held:
decoded, corrected, encoded. It holds no settings, no map and no model.
"""

import contextlib
import faulthandler
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np

from dustd import system
from dustd.config import OutputSettings
from dustd.errors import DustdError, FrameError
from dustd.output import mark, preview
from dustd.output.developed import cropped, encode_jpeg, encode_tiff, orient
from dustd.output.dng import compress, encode_dng, left_out
from dustd.pipeline.exhibit import Exhibit, crop, gain_for, show, whole
from dustd.pipeline.training_example import cut_out
from dustd.pipeline.worker_protocol import Failure, receive, send
from dustd.raw.copied_tags import read_source_metadata
from dustd.raw.frame import Camera, Frame, frame_identity
from dustd.raw.integrity import require_whole
from dustd.raw.libraw import OpenRaw, open_raw
from dustd.raw.metadata import read_camera
from dustd.raw.support import require_supported
from dustd.spots.candidates import candidates_in
from dustd.spots.correct import correct
from dustd.spots.heal import Healing, healing
from dustd.spots.measure import KnownShadow
from dustd.spots.outline import outlines_in
from dustd.spots.revise import revise
from dustd.spots.shape import Outline
from dustd.spots.spot import Candidate, Detection, Spot

# Of the machine's memory, what this process may take: beyond, all programs would be swapped out for one frame. And what
# is enough anywhere: developing takes 33 bytes a pixel (a DNG 9; measured, docs/outputs.md), so 16 GB do for 450
# megapixels, three times what the largest sensors have.
MEMORY_SHARE = 3 / 4
ENOUGH_MEMORY_BYTES = 16 << 30
_NO_SAMPLES = np.empty((0, 0), np.uint16)


class HeldFrame:
    """What the worker does, call by call; each method is one that `dustd.pipeline.worker_client.WorkerClient` has,
    too."""

    def __init__(self) -> None:
        self._frame = contextlib.ExitStack()
        self._source: Path
        self._opened: OpenRaw
        self._raw = _NO_SAMPLES  # the corrected ones, from `correct` or `recall` on
        self._gain = 1.0  # of pictures, from `hold` on

    def read_camera(self, source: Path) -> Camera:
        """See `dustd.raw.metadata.read_camera`."""
        return read_camera(source)

    def is_own_output(self, source: Path) -> bool:
        """See `dustd.output.mark.is_marked`."""
        return mark.is_marked(source)

    def decode(self, source: Path, camera: Camera) -> Frame:
        """Decode a frame and hold it, in place of the one before."""
        self._frame.close()
        require_whole(source)
        require_supported(source)
        self._opened = self._frame.enter_context(open_raw(source, camera))
        self._source = source
        return self._opened.frame

    def measure(self, boxes: Sequence[Detection]) -> tuple[Candidate, ...]:
        """Measure what lies in boxes of the frame at hand; see `dustd.spots.candidates.candidates_in`."""
        return candidates_in(self._opened.frame, boxes)

    def outlines(self, spots: Sequence[tuple[Spot, Detection]]) -> tuple[Outline | None, ...]:
        """Read the outlines of spots of the frame at hand; see `dustd.spots.outline.outlines_in`."""
        return outlines_in(self._opened.frame, spots)

    def correct(self, spots: Sequence[Spot], known: Mapping[int, KnownShadow]) -> tuple[Spot, ...]:
        """Correct the frame at hand; see `dustd.spots.correct.correct`."""
        corrected = correct(self._opened.frame, spots, known)
        self._raw = corrected.raw
        return corrected.spots

    def healing(self, spots: Sequence[Spot]) -> Healing:
        """Choose heals for the corrected spots of the frame at hand; see `dustd.spots.heal.healing`."""
        frame = replace(self._opened.frame, raw=self._raw)
        return healing(frame, spots, read_source_metadata(self._source).exif)

    def recall(self, cleaned: Path | None, spots: Sequence[Spot], known: Mapping[int, KnownShadow]) -> None:
        """Hold the corrected samples again: those of a *cleaned* DNG, else as *spots* were corrected."""
        frame = self._opened.frame
        if cleaned is None:
            self._raw = correct(frame, spots, known).raw
            return
        raw = frame.raw.copy()
        top, left, height, width = frame.visible
        with open_raw(cleaned, read_camera(cleaned)) as opened:
            if opened.frame.mosaic.shape != frame.mosaic.shape:
                raise FrameError("it holds another picture than the original", remedy="Clean it anew", path=cleaned)
            raw[top : top + height, left : left + width] = opened.frame.mosaic
        self._raw = raw

    def revise(
        self, spots: Sequence[Spot], known: Mapping[int, KnownShadow], asked: Collection[int]
    ) -> tuple[Spot, ...]:
        """Correct some spots of the recalled frame anew; see `dustd.spots.revise.revise`."""
        revised = revise(self._opened.frame, self._raw, spots, known, asked)
        self._raw = revised.raw
        return revised.spots

    def cut_out(self, spot: Spot) -> tuple[np.ndarray, int, int]:
        """Cut an example for training out of the uncorrected frame; see `dustd.pipeline.training_example.cut_out`."""
        return cut_out(self._opened.frame, spot)

    def show(self, spots: Sequence[Spot], room_bytes: int) -> Exhibit:
        """Picture the corrected frame; see `dustd.pipeline.exhibit.show`."""
        return show(self._opened.frame, self._raw, spots, room_bytes)

    def hold(
        self,
        source: Path,
        camera: Camera,
        cleaned: Path | None,
        spots: Sequence[Spot],
        known: Mapping[int, KnownShadow],
    ) -> None:
        """Decode a frame and hold it with its corrected samples, as `decode` and `recall` do."""
        self.decode(source, camera)
        self.recall(cleaned, spots, known)
        self._gain = gain_for(self._opened.frame, self._raw)

    def picture(self, before: bool, long_side_px: int | None) -> pickle.PickleBuffer:
        """Make a JPEG of the whole frame that is held, the original's (*before*) or the corrected samples'."""
        frame = self._opened.frame
        raw = frame.raw if before else self._raw
        if long_side_px is not None and max(frame.height, frame.width) > 2 * long_side_px:
            developed = preview.develop(frame, raw)
        else:
            developed = self._opened.develop(raw, half_size=False)
        return pickle.PickleBuffer(whole(developed, frame, self._gain, long_side_px))

    def crop(self, spot: Spot, before: bool) -> bytes:
        """Make a JPEG of a spot of the frame that is held; see `dustd.pipeline.exhibit.crop`."""
        frame = self._opened.frame
        return crop(frame if before else replace(frame, raw=self._raw), spot, self._gain)

    def identity(self) -> str:
        """Name the corrected samples as if they were an exposure's; see `dustd.raw.frame.frame_identity`."""
        return frame_identity(replace(self._opened.frame, raw=self._raw))

    def left_out(self) -> tuple[str, ...]:
        """Say what a DNG of the frame at hand lacks of its source's words; see `dustd.output.dng.left_out`."""
        return left_out(self._opened.frame, read_source_metadata(self._source))

    def encode(self, output: OutputSettings) -> pickle.PickleBuffer:
        """Serialise the corrected frame in the format of *output*."""
        return pickle.PickleBuffer(self._encode(output))

    def _encode(self, output: OutputSettings) -> bytes:
        opened, raw, camera = self._opened, self._raw, self._opened.frame.camera
        metadata = mark.marked(read_source_metadata(self._source), self._source.name)
        if output.format == "dng":
            with ThreadPoolExecutor(1) as beside:
                tiles = beside.submit(compress, opened.frame, raw)
                picture = preview.develop(opened.frame, raw, opened.embedded_preview())
                return encode_dng(
                    opened.frame,
                    raw,
                    metadata,
                    preview_rgb=picture,
                    original_name=self._source.name,
                    tiles=tiles.result(),
                )
        space, bits = output.profile, 16 if output.format == "tiff" else 8
        whole = opened.develop(raw, half_size=False, bits=bits, space=space)
        picture = orient(cropped(whole, opened.frame), camera.orientation)
        if output.format == "tiff":
            return encode_tiff(picture, camera, metadata, space=space)
        return encode_jpeg(picture, camera, metadata, quality=output.jpeg_quality, space=space)

    def clear(self) -> None:
        """Let go of the frame: its file is closed and its memory free."""
        self._frame.close()
        self._raw = _NO_SAMPLES


def serve(line: Connection, memory: int) -> None:
    """Answer calls until the other side hangs up."""
    held = HeldFrame()
    send(line, memory, None)  # ready
    while True:
        try:
            name, arguments = receive(line, memory)
        except (EOFError, OSError):
            return
        try:
            answer: object = getattr(held, name)(*arguments)
        except DustdError as error:
            answer = Failure(kind=type(error), problem=error.problem, remedy=error.remedy, path=error.path)
        except Exception as exc:  # noqa: BLE001 - the daemon says what becomes of it
            words = f"{type(exc).__name__}: {exc}"
            answer = Failure(kind=None, problem=words, remedy=traceback.format_exc(), path=None)
            answer = _too_large() if _is_out_of_memory(exc) else answer
        send(line, memory, answer)


def main() -> None:
    """Serve on the line, the lifeline and the memory whose file descriptors the command line names."""
    line, lifeline, memory = (int(fd) for fd in sys.argv[1:])
    # Whoever stops dustd, by Ctrl-C or systemd, means the daemon, which first ends its frame. It needs this process
    # for that, and hangs up when it is done.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    system.ignore_hangup()
    faulthandler.enable()
    system.limit_memory(MEMORY_SHARE, ENOUGH_MEMORY_BYTES)
    system.be_the_first_to_go()
    threading.Thread(target=_end_with, args=(Connection(lifeline),), daemon=True).start()
    serve(Connection(line), memory)


def _end_with(lifeline: Connection) -> None:
    """Wait for the daemon's death, even while LibRaw hangs, and follow it."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(0)


def _is_out_of_memory(exc: Exception) -> bool:
    return isinstance(exc, MemoryError) or (isinstance(exc, cv2.error) and exc.code == cv2.Error.StsNoMem)


def _too_large() -> Failure:
    limit = system.memory_limit()
    most = "" if limit is None else f" (one frame may take {limit / 1e9:.1f} GB here)"
    return Failure(
        kind=FrameError,
        problem=f"it asks for too much memory{most}",
        remedy="Left untouched; copy it again from the card. If it really is that large, choose output.format: dng, or "
        "clean it on a computer with more memory",
        path=None,
    )


if __name__ == "__main__":
    main()
