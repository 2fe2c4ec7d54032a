"""The page's addresses: its five pages, pictures, the API's JSON and events. What each says is `dustd.web.site`'s."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dustd.errors import DustdError, without_folders
from dustd.report.templates import render
from dustd.web import reader
from dustd.web.answers import Answer, Json, not_yet, problem
from dustd.web.asked import Asked
from dustd.web.bodies import sensor_png
from dustd.web.doors import Doors
from dustd.web.guard import Guard, too_large
from dustd.web.index import Wanted
from dustd.web.pictures import BusyError, Size
from dustd.web.rows import Row, frame_json, row_json
from dustd.web.site import Site

log = structlog.get_logger()

MOST_LISTED, USUALLY_LISTED = 500, 60
_DESCRIPTION = Path(__file__).with_name("openapi.yaml")
_STATIC = Path(__file__).with_name("static")
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # the address has a version
_SIZES: Mapping[str, Size] = {"fit": "fit", "full": "full"}
_STATUSES = ("waiting", "working", "cleaned", "clean", "failed", "improved", "vanished", "kept")


class _Static(StaticFiles):
    """Files that may change with the next version: a browser asks each time whether they have."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


class Pages:
    """Answers requests for *site*."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def page(self, request: Request) -> Response:
        """Give one of the five pages."""
        view = request.url.path.strip("/").split("/")[0] or "shoot"
        if view == "frames" and self._site.index.get(request.path_params["frame"]) is None:
            return HTMLResponse(render("missing.html", room="dustd.web"), status_code=404)
        return HTMLResponse(render("page.html", room="dustd.web", view="frame" if view == "frames" else view))

    async def state(self, _request: Request) -> Response:
        """GET state."""
        return Json(self._site.state()) if self._site.now else not_yet()

    async def frames(self, request: Request) -> Response:
        """GET frames."""
        asked = request.query_params
        status, order, limit = (
            asked.get("status"),
            asked.get("order", "latest"),
            asked.get("limit", str(USUALLY_LISTED)),
        )
        if status is not None and status not in _STATUSES:
            return problem(400, "there is no such status", f"Choose one of {', '.join(_STATUSES)}")
        if order not in ("latest", "risk"):
            return problem(400, "there is no such order", "Choose latest or risk")
        if not (limit.isascii() and limit.isdecimal() and 0 < int(limit[:6]) <= MOST_LISTED):
            return problem(400, "the limit is no number of frames", f"Choose 1 to {MOST_LISTED}")
        wanted = Wanted(body=asked.get("body"), folder=asked.get("folder"), status=status, by_risk=order == "risk")
        try:
            rows, cursor, total = self._site.index.page(wanted, int(limit), asked.get("before"))
        except ValueError:
            return problem(400, "before is no cursor", "Give the next of the answer before, or leave it out")
        return Json({"frames": [row_json(row) for row in rows], "next": cursor, "total": total})

    async def frame(self, request: Request) -> Response:
        """GET frames/{id}."""
        row = self._row(request)
        before, after = self._site.index.neighbours(row)
        record = await reader.in_thread(row)
        if record is None:
            bare = {**row_json(row), "about": "", "sensitivity": None, "spots": [], "candidates_kept": False}
            nothing = dict.fromkeys(("before", "after", "overview_before", "overview_after"))
            return Json({**bare, "pictures": nothing, "previous": before, "next": after})
        return Json({**frame_json(row, record), "previous": before, "next": after})

    async def thumbnail(self, request: Request) -> Response:
        """GET frames/{id}/thumbnail.jpg."""
        row = self._row(request)
        return await picture(lambda: self._site.pictures.thumbnail(row))

    async def whole(self, request: Request) -> Response:
        """GET frames/{id}/picture/{before|after}.jpg."""
        row, which = self._row(request), request.path_params["which"]
        size: Size | None = _SIZES.get(request.query_params.get("size", "fit"))
        if which not in ("before", "after"):
            raise HTTPException(404)
        if size is None:
            return problem(400, "there is no such size", "Choose fit or full")
        return await picture(lambda: self._site.pictures.whole(row, which, size))

    async def crop(self, request: Request) -> Response:
        """GET frames/{id}/spots/{spot}/{before|after}.jpg."""
        row, which = self._row(request), request.path_params["which"]
        if which not in ("before", "after"):
            raise HTTPException(404)
        return await picture(lambda: self._site.pictures.crop(row, request.path_params["spot"], which))

    async def decision(self, request: Request) -> Response:
        """GET frames/{id}/decision."""
        row = self._row(request)
        try:
            sensitivity = float(request.query_params.get("sensitivity", ""))
        except ValueError:
            sensitivity = math.nan
        if not 0 <= sensitivity <= 100:
            return problem(400, "the sensitivity is no number from 0 to 100", "Give one, as in ?sensitivity=60")
        decided = await self._site.decision(row, sensitivity)
        if decided is None:
            remedy = "Have it cleaned anew: delete its sidecar, or retry it"
            return problem(409, "its sidecar does not keep what was seen", remedy)
        return Json(decided)

    async def bodies(self, _request: Request) -> Response:
        """GET bodies."""
        return Json(self._site.body_reports)

    async def sensor(self, request: Request) -> Response:
        """GET bodies/{id}/sensor.png."""
        body = self._site.body(request.path_params["body"])
        if body is None:
            raise HTTPException(404)
        return Response(await asyncio.to_thread(sensor_png, body), media_type="image/png")

    async def description(self, _request: Request) -> Response:
        """GET openapi.yaml."""
        return FileResponse(_DESCRIPTION, media_type="application/yaml")

    async def trouble(self, _request: Request) -> Response:
        """GET trouble."""
        return Json(await self._site.trouble()) if self._site.now else not_yet()

    async def settings(self, _request: Request) -> Response:
        """GET settings."""
        return Json(await self._site.settings())

    async def events(self, _request: Request) -> Response:
        """GET events."""
        if self._site.now is None:
            return not_yet()
        if self._site.hub.is_full:
            return problem(503, "too many pages are open", "Close some", {"Retry-After": "10"})
        return StreamingResponse(
            self._site.hub.listen(self._site.state()),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    async def command(self, request: Request) -> Response:
        """GET commands/{id}."""
        result = self._site.result(request.path_params["command"])
        return Json(result) if result else problem(404, "there is no such command", "It may have been long ago")

    def _row(self, request: Request) -> Row:
        row = self._site.index.get(request.path_params["frame"])
        if row is None:
            raise HTTPException(404)
        return row


async def picture(make: Callable[[], Awaitable[bytes | None]]) -> Response:
    """Answer with a JPEG that *make* gives, or say why there is none."""
    try:
        data = await make()
    except DustdError as error:
        return problem(409, without_folders(error.problem), without_folders(error.remedy))
    except RuntimeError as exc:  # of the worker, which has logged it
        return problem(409, f"the picture cannot be made ({exc})", "Look at the original in your RAW developer")
    except BusyError:
        return problem(503, "the picture is still being made", "Ask again in a moment", {"Retry-After": "1"})
    if data is None:
        return problem(404, "there is no picture of this", "Look at the original in your RAW developer")
    return Response(data, media_type="image/jpeg", headers=_FOR_EVER)


def application(site: Site) -> Guard:
    """Put the page together, with its guard before it."""
    pages, doors = Pages(site), Doors(lambda: site.setup.access)
    api: dict[str, Answer] = {
        "state": pages.state,
        "frames": pages.frames,
        "frames/{frame}": pages.frame,
        "frames/{frame}/thumbnail.jpg": pages.thumbnail,
        "frames/{frame}/picture/{which}.jpg": pages.whole,
        "frames/{frame}/spots/{spot:int}/{which}.jpg": pages.crop,
        "frames/{frame}/decision": pages.decision,
        "bodies": pages.bodies,
        "bodies/{body}/sensor.png": pages.sensor,
        "trouble": pages.trouble,
        "settings": pages.settings,
        "events": pages.events,
        "commands/{command}": pages.command,
        "openapi.yaml": pages.description,
    }
    shells = ("/", "/frames/{frame}", "/bodies", "/trouble", "/settings")
    routes = [
        *(Route(path, pages.page) for path in shells),
        *(Route(f"/api/v1/{path}", answer) for path, answer in api.items()),
        *(Route(f"/api/v1/{path}", answer, methods=["POST"]) for path, answer in Asked(site).routes().items()),
        Route("/open", doors.open),
        Route("/login", doors.login, methods=["POST"]),
        Route("/favicon.ico", _favicon),
        Mount("/static", _Static(directory=_STATIC)),
    ]
    handlers: dict[Any, Any] = {HTTPException: _refused, Exception: _failed}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), lambda: site.setup.access)


async def _favicon(_request: Request) -> Response:
    return FileResponse(_STATIC / "icon-idle.svg")


async def _refused(request: Request, exc: HTTPException) -> Response:
    """Say in the API's words what Starlette refuses."""
    if exc.status_code == 413:
        return too_large()
    known = {404: ("there is nothing at this address", "Go back to the page"), 405: ("not like this", "See the API")}
    what, remedy = known.get(exc.status_code, (exc.detail, "See the API's description"))
    if exc.status_code == 404 and not request.url.path.startswith(("/api/", "/static/")):
        return HTMLResponse(render("missing.html", room="dustd.web"), status_code=404)
    return problem(exc.status_code, what, remedy, dict(exc.headers or {}))


async def _failed(_request: Request, exc: Exception) -> Response:
    log.error("page_failed", problem=f"{type(exc).__name__}: {exc}", exc_info=exc)
    return problem(500, "dustd's page met an error it does not know", "Please report it with the log")
