"""What the page's process knows, and what it does with news: keeps rows, tells open pages, passes commands on.

Everything here happens in the event loop's thread; what takes time (sidecars, pictures, disks) happens in others.
"""

import asyncio
import collections
import contextlib
import secrets
import shutil
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from dustd import config_lines
from dustd.codec import Json
from dustd.dustmap.match import State
from dustd.web import reader
from dustd.web.bodies import reports
from dustd.web.decision import decision_json
from dustd.web.events import Hub
from dustd.web.index import VANISHED, Index, sidecar_of
from dustd.web.messages import Bodies, BodyNow, Command, FrameNews, News, Result, Setup, Snapshot
from dustd.web.pictures import Pictures
from dustd.web.rows import Row, key_of, row_json, unix
from dustd.web.state import settings_json, state_json, trouble_json

log = structlog.get_logger()

SEARCH_S = 20.0  # between searches for sidecars that other programs of dustd's have written
READ_AT_ONCE = 25  # sidecars, before others get their turn
KEPT_RESULTS = 1000
TOLD_S = 0.25  # between states that pages are told

Send = Callable[[Command], None]


class Site:
    """The page behind its addresses, from the first `Setup` on; *send* passes a command to the daemon."""

    def __init__(self, setup: Setup, send: Send) -> None:
        self.setup = setup
        self.index = Index()
        self.hub = Hub()
        self.pictures = Pictures(setup.pictures)
        self.now: Snapshot | None = None
        self.body_reports: list[dict[str, Json]] = []
        self._bodies: Bodies | None = None
        self._send = send
        self._results: collections.OrderedDict[str, dict[str, Json]] = collections.OrderedDict()
        self._is_state_due = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._searched = False
        for work in (self._search(), self._tell_state()):
            self._begin(work)

    # --- news from the daemon ----------------------------------------------------------------------------------

    def take(self, news: News) -> None:
        """Take in what the daemon says."""
        if isinstance(news, Setup):
            self.setup = news
        elif isinstance(news, Snapshot):
            before, self.now = self.now, news
            self._tell_frames(self.index.take(news, self.setup.watched))
            if before is not None and _troubles(before) != _troubles(news):
                self.hub.tell("trouble")
        elif isinstance(news, FrameNews):
            self._begin(self._read(news))
        elif isinstance(news, Result):
            self._keep(news)
        else:
            self._begin(self._judge(news))
        self._is_state_due.set()

    async def _read(self, news: FrameNews) -> None:
        """Read the sidecar of a frame that something became of."""
        folder = next((each for each in self.setup.watched if news.source.is_relative_to(each.path)), None)
        if folder is None:
            return
        named = (str(news.source), str(news.sidecar), key_of(str(folder.path)))
        row = None if news.status == VANISHED else await asyncio.to_thread(reader.read_row, *named)
        if row is None:
            row = Row(
                id=key_of(named[1]),
                source=named[0],
                sidecar=named[1],
                folder=named[2],
                at=news.at,
                order=unix(news.at) or time.time(),
                status=news.status,
            )
        status = news.status if row.status != "failed" else "failed"
        row = replace(row, status=status, change=news.change, seconds=news.seconds or row.seconds)
        if self.index.put(row):
            self._tell_frames([row])

    def _tell_frames(self, rows: list[Row]) -> None:
        for row in rows:
            shown = self.index.get(row.id)
            if shown is not None:
                self.hub.tell("frame", row_json(shown))

    async def _judge(self, news: Bodies) -> None:
        self._bodies, self.body_reports = news, await asyncio.to_thread(reports, news)
        self.hub.tell("bodies")
        self._is_state_due.set()

    # --- what is shown -----------------------------------------------------------------------------------------

    def state(self) -> dict[str, Json]:
        """Give `GET state`; there is a snapshot."""
        assert self.now is not None
        bodies = [{key: each[key] for key in ("id", "name", "advice")} for each in self.body_reports]
        return state_json(self.setup, self.now, self.index, bodies)

    async def trouble(self) -> dict[str, Json]:
        """Give `GET trouble`; there is a snapshot."""
        assert self.now is not None
        return trouble_json(self.now, self.index, await asyncio.to_thread(self._disks))

    async def settings(self) -> dict[str, Json]:
        """Give `GET settings`."""
        file = self.setup.file
        lines = await asyncio.to_thread(config_lines.lines_of, file) if file is not None else {}
        return settings_json(self.setup, lines)

    def _disks(self) -> list[Json]:
        disks = []
        for each in self.setup.watched:
            with contextlib.suppress(OSError):
                place = each.output if each.output.exists() else each.path
                disks.append({"folder": each.path.name, "free_bytes": shutil.disk_usage(place).free})
        return disks

    def body(self, body_id: str) -> BodyNow | None:
        """Give what is known of the body of an id."""
        known = self._bodies.bodies if self._bodies is not None else ()
        return next((each for each in known if key_of(each.dust.body_id) == body_id), None)

    async def decision(self, row: Row, sensitivity: float) -> dict[str, Json] | None:
        """Give what another sensitivity would correct in a frame; None if its sidecar does not keep what was seen."""
        record, scale = await reader.in_thread(row), self.setup.scale
        body = self.body(key_of(row.body))
        if record is None or scale is None:
            return None
        state, verdicts = (body.state, body.verdicts) if body is not None else (State(), ())
        return await asyncio.to_thread(decision_json, record, state, verdicts, scale, sensitivity)

    async def _tell_state(self) -> None:
        """Tell pages how the daemon does, not more often than they can show."""
        while True:
            await self._is_state_due.wait()
            self._is_state_due.clear()
            if self.now is not None and self.hub.is_heard:
                self.hub.tell("state", self.state())
            await asyncio.sleep(TOLD_S)

    # --- commands ----------------------------------------------------------------------------------------------

    def command(self, make: Callable[[str], Command]) -> str:
        """Pass a command on to the daemon; return its id."""
        command = make(secrets.token_hex(8))
        waiting = {"id": command.id, "kind": command.kind, "state": "waiting", "said": "", "problem": None}
        self._remember({**waiting, "remedy": None, "frame": self._frame_of(command.frame)})
        self._send(command)
        return command.id

    def result(self, command_id: str) -> dict[str, Json] | None:
        """Give what became of a command; None if there was none of this id, or long ago."""
        return self._results.get(command_id)

    def _keep(self, news: Result) -> None:
        result = {
            "id": news.id,
            "kind": news.kind,
            "state": news.state,
            "said": news.said,
            "problem": news.problem,
            "remedy": news.remedy,
            "frame": self._frame_of(news.frame),
        }
        self._remember(result)
        self.hub.tell("command", result)

    def _remember(self, result: dict[str, Json]) -> None:
        self._results[result["id"]] = result
        while len(self._results) > KEPT_RESULTS:
            self._results.popitem(last=False)

    def _frame_of(self, source: str | None) -> str | None:
        """Give the id of the frame at a source."""
        place = Path(source) if source else None
        for each in self.setup.watched if place is not None else ():
            if place is not None and place.is_relative_to(each.path):
                return key_of(str(sidecar_of(place, each)))
        return None

    # --- sidecars ----------------------------------------------------------------------------------------------

    async def _search(self) -> None:
        """Look for sidecars again and again; what is new is read a few at a time."""
        while True:
            try:
                await self._search_once()
            except Exception:  # a folder that misbehaves costs the list, not the page
                log.exception("page_search_failed")
            self._searched = True
            self._is_state_due.set()
            await asyncio.sleep(SEARCH_S)

    async def _search_once(self) -> None:
        watched = self.setup.watched
        find = partial(reader.find, watched, self.index.is_known)
        found = await asyncio.to_thread(lambda: list(find()))
        for at in range(0, len(found), READ_AT_ONCE):
            some = found[at : at + READ_AT_ONCE]
            rows = await asyncio.to_thread(_read_rows, some)
            news = [row for row in rows if row is not None and self.index.put(row)]
            if self._searched:
                self._tell_frames(news)
        self.index.forget(await asyncio.to_thread(reader.gone, self.index.sidecars(), watched))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


def _read_rows(some: Sequence[tuple[str, str, str]]) -> list[Row | None]:
    return [reader.read_row(*each) for each in some]


def _troubles(now: Snapshot) -> tuple[object, ...]:
    folders = tuple((each.present, each.paused, each.put_off, each.held) for each in now.folders)
    return now.failed, folders, now.config_problem, now.troubles
