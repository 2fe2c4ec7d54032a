"""Decoding, correcting and encoding behind a wall: in a worker process that is replaced when it dies or hangs.

A file that brings LibRaw down costs that frame, not the daemon, and the model stays warm. The worker is started when
it is first needed and serves frame after frame. What LibRaw prints goes to the log, as do a worker's last words.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from dustd import system
from dustd.config import OutputSettings
from dustd.errors import FrameError, SurroundingsError, UnreadableError
from dustd.pipeline.exhibit import Exhibit
from dustd.pipeline.worker_output import WorkerOutput
from dustd.pipeline.worker_protocol import Failure, receive, send
from dustd.raw.frame import Camera, Frame
from dustd.spots.heal import Healing
from dustd.spots.measure import KnownShadow
from dustd.spots.shape import Outline
from dustd.spots.spot import Candidate, Detection, Spot

log = structlog.get_logger()

# For one step with one frame. A 100-megapixel file from a slow share takes a minute or two.
LIMIT_S = 300.0
START_S = 60.0  # a cold disk
HEARTBEAT_S = 5.0


class WorkerClient:
    """One frame at a time: `decode` holds it there, `correct` and `encode` work on it. A context manager.

    All methods raise what the function of their name does, UnreadableError if the worker dies over a frame, FrameError
    if it does so again, takes longer than *limit_s* or more memory than a worker may (`dustd.pipeline.worker`), and
    SurroundingsError if no worker can be started.
    """

    def __init__(self, limit_s: float = LIMIT_S, heartbeat: Callable[[], None] = lambda: None) -> None:
        """*heartbeat* is called every few seconds while an answer is awaited."""
        self.limit_s = limit_s
        self._heartbeat = heartbeat
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection
        self._lifeline: Connection
        self._memory: int
        self._output: WorkerOutput
        self._source: Path | None = None
        self._samples: np.ndarray | None = None  # of the decoded frame, while the worker holds it
        self._suspects: set[Path | None] = set()  # brought the worker down once

    def __enter__(self) -> "WorkerClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._process.pid if self._process is not None else None

    def read_camera(self, source: Path) -> Camera:
        """Read a frame's metadata; see `dustd.raw.metadata.read_camera`."""
        self._source = source
        return self._call("read_camera", source)

    def is_own_output(self, source: Path) -> bool:
        """Tell whether a file bears dustd's mark (`dustd.output.mark.is_marked`)."""
        self._source = source
        return self._call("is_own_output", source)

    def decode(self, source: Path, camera: Camera) -> Frame:
        """Check and decode a frame and keep it at hand; see `dustd.raw.integrity` and `dustd.raw.libraw`."""
        self._source, self._samples = source, None
        frame = self._call("decode", source, camera)
        frame.raw.setflags(write=False)
        self._samples = frame.raw
        return frame

    def holds(self, frame: Frame) -> bool:
        """Tell whether a frame is the one that was decoded last, and at hand."""
        return self._samples is frame.raw

    def measure(self, boxes: Sequence[Detection]) -> tuple[Candidate, ...]:
        """Measure what lies in boxes of the decoded frame; see `dustd.spots.candidates.candidates_in`."""
        return self._call("measure", tuple(boxes))

    def outlines(self, spots: Sequence[tuple[Spot, Detection]]) -> tuple[Outline | None, ...]:
        """Read the outlines of spots of the decoded frame; see `dustd.spots.outline.outlines_in`."""
        return self._call("outlines", tuple(spots))

    def correct(self, spots: Sequence[Spot], known: Mapping[int, KnownShadow]) -> tuple[Spot, ...]:
        """Correct the decoded frame; the spots come back with action and reason (`dustd.spots.correct`)."""
        return self._call("correct", tuple(spots), dict(known))

    def healing(self, spots: Sequence[Spot]) -> Healing:
        """Choose heals for the corrected spots of the frame (`dustd.spots.heal`)."""
        return self._call("healing", tuple(spots))

    def recall(self, cleaned: Path | None, spots: Sequence[Spot], known: Mapping[int, KnownShadow]) -> None:
        """Bring back the decoded frame as it was corrected: from its *cleaned* DNG, else by correcting it again."""
        self._call("recall", cleaned, tuple(spots), dict(known))

    def revise(
        self, spots: Sequence[Spot], known: Mapping[int, KnownShadow], asked: Collection[int]
    ) -> tuple[Spot, ...]:
        """Correct the spots *asked* for of the recalled frame anew, and nothing else (`dustd.spots.revise.revise`)."""
        return self._call("revise", tuple(spots), dict(known), set(asked))

    def cut_out(self, spot: Spot) -> tuple[np.ndarray, int, int]:
        """Cut an example for training out of the uncorrected frame (`dustd.pipeline.training_example.cut_out`)."""
        return self._call("cut_out", spot)

    def show(self, spots: Sequence[Spot], room_bytes: int) -> Exhibit:
        """Picture the corrected frame for a person to check (`dustd.pipeline.exhibit.show`)."""
        return self._call("show", tuple(spots), room_bytes)

    def hold(
        self,
        source: Path,
        camera: Camera,
        cleaned: Path | None,
        spots: Sequence[Spot],
        known: Mapping[int, KnownShadow],
    ) -> None:
        """Decode a frame for `picture` and `crop`; *cleaned*, *spots* and *known* are as for `recall`."""
        self._source, self._samples = source, None
        self._call("hold", source, camera, cleaned, tuple(spots), dict(known))

    def picture(self, *, before: bool, long_side_px: int | None) -> bytes:
        """Make a JPEG of the held frame, upright: the original, or as corrected; None: as large as its visible area."""
        return bytes(self._call("picture", before, long_side_px))

    def crop(self, spot: Spot, *, before: bool) -> bytes:
        """Make a JPEG of a spot of the held frame, at the same development (`dustd.pipeline.exhibit.crop`)."""
        return self._call("crop", spot, before)

    def identity(self) -> str:
        """Name the corrected samples as `dustd.raw.frame.frame_identity` names an exposure's."""
        return self._call("identity")

    def left_out(self) -> tuple[str, ...]:
        """Say what a DNG of the frame lacks of its source's words (`dustd.output.dng.left_out`)."""
        return self._call("left_out")

    def encode(self, output: OutputSettings) -> bytes:
        """Serialise the corrected frame in the format of *output*."""
        return bytes(self._call("encode", output))

    def clear(self) -> None:
        """Let go of the frame: a worker at rest holds no file open and little memory."""
        self._samples = None
        if self._process is not None:
            self._call("clear")

    def close(self) -> None:
        """End the worker."""
        if self._process is not None:
            self._hang_up()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            self._process.kill()
            self._process.wait()
            self._log_output()
            self._output.close()
            self._process = None

    def _call(self, name: str, *arguments: object) -> Any:
        if self._process is None:
            self._start()
        try:
            send(self._line, self._memory, (name, arguments))
            answer = self._answer(self.limit_s)
        except TimeoutError as exc:
            self._replace()
            problem = f"it took longer than {self.limit_s:g} s to {_WORDS[name]}"
            remedy = "Left untouched; if other frames of this camera work, copy it again from the card"
            raise FrameError(problem, remedy=remedy, path=self._source) from exc
        except (EOFError, OSError) as exc:
            raise self._blame(f"it brought down the process that was to {_WORDS[name]} ({self._replace()})") from exc
        if not isinstance(answer, Failure):
            return answer
        if answer.kind is None:
            log.error("worker_met_an_unknown_error", traceback=answer.remedy)
            raise RuntimeError(answer.problem)
        raise answer.kind(answer.problem, remedy=answer.remedy, path=answer.path or self._source)

    def _blame(self, problem: str) -> FrameError:
        """Give the frame a second chance: where memory is short, the system ends the process, whatever it works on."""
        if self._source not in self._suspects:
            self._suspects.add(self._source)
            remedy = "Left untouched; if memory is short, close other programs"
            return UnreadableError(problem, remedy=remedy, path=self._source)
        self._suspects.discard(self._source)
        remedy = "Left untouched; copy it again from the card, and if that does not help, please report it"
        return FrameError(problem, remedy=remedy, path=self._source)

    def _answer(self, limit_s: float) -> object:
        """Wait for an answer, alive to the service manager meanwhile. Raises TimeoutError after *limit_s*."""
        now = time.monotonic()
        until, beat_at = now + limit_s, now + HEARTBEAT_S
        while self._line not in wait([self._line, self._output.read_end], max(0.0, min(until, beat_at) - now)):
            self._output.read()  # or the worker would wait for us in the end
            now = time.monotonic()
            if now >= beat_at:
                self._heartbeat()
                beat_at = now + HEARTBEAT_S
            if now >= until:
                raise TimeoutError
        answer = receive(self._line, self._memory)
        self._log_output()
        return answer

    def _start(self) -> None:
        self._line, line = Pipe()
        self._lifeline, lifeline = Pipe()
        self._memory = system.shared_memory()
        self._output = WorkerOutput()
        with line, lifeline:
            fds = (line.fileno(), lifeline.fileno(), self._memory)
            command = [sys.executable, "-m", "dustd.pipeline.worker", *map(str, fds)]
            spoken = self._output.write_end
            try:
                self._process = subprocess.Popen(
                    command, pass_fds=fds, stdin=subprocess.DEVNULL, stdout=spoken, stderr=spoken
                )
            except OSError as exc:
                self._hang_up()
                self._output.close()
                problem = f"the process that decodes frames cannot be started ({exc.strerror})"
                remedy = "If memory or processes are short, close other programs; dustd goes on by itself"
                raise SurroundingsError(problem, remedy=remedy) from exc
            finally:
                os.close(spoken)
        try:
            self._answer(START_S)
        except (TimeoutError, EOFError, OSError) as exc:
            end = self._replace()
            raise SurroundingsError(
                f"the process that decodes frames does not start ({end})",
                remedy="Its own words are in the log above; if memory is short, close other programs",
            ) from exc

    def _log_output(self) -> None:
        """Log what LibRaw and its like have printed."""
        while self._output.read():
            pass
        said, more = self._output.first()
        for message in said:
            log.warning("library_message", library="worker", message=message, frame=self._frame)
        if more:
            log.warning("library_messages_left_out", library="worker", lines=more, frame=self._frame)

    @property
    def _frame(self) -> str | None:
        return self._source.name if self._source else None

    def _hang_up(self) -> None:
        self._line.close()
        self._lifeline.close()
        os.close(self._memory)

    def _replace(self) -> str:
        """Take the worker away and say how it ended; the next call starts another."""
        assert self._process is not None
        self._samples = None
        self._process.kill()  # it may have closed the line without ending
        code = self._process.wait()
        self._hang_up()
        said = self._output.last()
        self._output.close()
        self._process = None
        end = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        log.warning("worker_ended", how=end, said=said, frame=self._frame)
        return end


_WORDS = {
    "read_camera": "read its metadata",
    "is_own_output": "read its metadata",
    "decode": "decode it",
    "measure": "measure its spots",
    "outlines": "measure its spots",
    "correct": "correct it",
    "healing": "choose heals for it",
    "recall": "bring back what was corrected in it",
    "revise": "correct it anew",
    "cut_out": "cut an example out of it",
    "show": "picture it",
    "hold": "decode it",
    "picture": "picture it",
    "crop": "picture it",
    "identity": "hash its samples",
    "left_out": "read its metadata",
    "encode": "write it",
    "clear": "let it go",
}
