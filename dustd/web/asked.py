"""What a person asks for: requests of the API that become commands to the daemon, checked before they are passed on.

A request is read strictly: what is not asked for as the API says is refused in words, and the daemon hears nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dustd import codec
from dustd.raw.frame import unrotated
from dustd.web import reader
from dustd.web.answers import Answer, Json, problem
from dustd.web.messages import Command, Kind, Order, Scope
from dustd.web.rows import Row
from dustd.web.site import Site

T = TypeVar("T")
MOST_SPOTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nothing:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spots:
    spots: tuple[int, ...]

    def check_read(self) -> None:
        """Raise ValueError for numbers that no spot can have."""
        if not 0 < len(self.spots) <= MOST_SPOTS or not all(0 <= each < 1 << 31 for each in self.spots):
            raise ValueError("spots are no numbers of spots")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    order: Order

    def check_read(self) -> None:
        """Raise ValueError for another word."""
        if self.order not in ("oldest", "newest"):
            raise ValueError("order is neither oldest nor newest")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sensitivity:
    value: float
    scope: Scope

    def check_read(self) -> None:
        """Raise ValueError for what is no sensitivity, or another word."""
        if not 0 <= self.value <= 100:
            raise ValueError("value is not from 0 to 100")
        if self.scope not in ("frame", "from_here", "shoot"):
            raise ValueError("scope is none of frame, from_here and shoot")


class Asked:
    """Answers the API's POST requests for *site*."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> dict[str, Answer]:
        """Give the answer to each address below /api/v1/."""
        return {
            "frames/{frame}/reject": self._on_spots("reject"),
            "frames/{frame}/undo": self._on_spots("undo"),
            "frames/{frame}/correct": self.correct,
            "frames/{frame}/retry": self.retry,
            "frames/{frame}/sensitivity": self.sensitivity,
            "pause": self._plain("pause"),
            "resume": self._plain("resume"),
            "order": self.order,
            "bodies/{body}/cleaned": self._on_body("cleaned"),
            "bodies/{body}/cleaned/undo": self._on_body("cleaned_undo"),
        }

    async def correct(self, request: Request) -> Response:
        """POST frames/{id}/correct; the place is the upright picture's."""
        row, place = self._row(request), await _read(request, _Place)
        record = await reader.in_thread(row)
        inside = math.isfinite(place.x) and math.isfinite(place.y) and 0 <= place.x < row.width
        if record is None or not inside or not 0 <= place.y < row.height:
            return problem(400, "this place is not in the picture", "Give px of the upright picture")
        orientation = record.camera.orientation
        size = {"width": record.width, "height": record.height}
        x, y = unrotated(place.x, place.y, **size, orientation=orientation)
        return self._pass_on(lambda number: Command(id=number, kind="correct", frame=row.source, x=x, y=y))

    async def retry(self, request: Request) -> Response:
        """POST frames/{id}/retry."""
        row, _ = self._row(request), await _read(request, _Nothing)
        return self._pass_on(lambda number: Command(id=number, kind="retry", frame=row.source))

    async def sensitivity(self, request: Request) -> Response:
        """POST frames/{id}/sensitivity."""
        row, asked = self._row(request), await _read(request, _Sensitivity)
        return self._pass_on(
            lambda number: Command(
                id=number, kind="sensitivity", frame=row.source, value=asked.value, scope=asked.scope
            )
        )

    async def order(self, request: Request) -> Response:
        """POST order."""
        asked = await _read(request, _Order)
        return self._pass_on(lambda number: Command(id=number, kind="order", order=asked.order))

    def _plain(self, kind: Kind) -> Answer:
        async def answer(request: Request) -> Response:
            await _read(request, _Nothing)
            return self._pass_on(lambda number: Command(id=number, kind=kind))

        return answer

    def _on_spots(self, kind: Kind) -> Answer:
        async def answer(request: Request) -> Response:
            row, asked = self._row(request), await _read(request, _Spots)
            return self._pass_on(lambda number: Command(id=number, kind=kind, frame=row.source, spots=asked.spots))

        return answer

    def _on_body(self, kind: Kind) -> Answer:
        async def answer(request: Request) -> Response:
            body = self._site.body(request.path_params["body"])
            if body is None:
                raise HTTPException(404)
            await _read(request, _Nothing)
            return self._pass_on(lambda number: Command(id=number, kind=kind, body=body.dust.body_id))

        return answer

    def _row(self, request: Request) -> Row:
        row = self._site.index.get(request.path_params["frame"])
        if row is None:
            raise HTTPException(404)
        return row

    def _pass_on(self, make: Callable[[str], Command]) -> Response:
        return Json({"command": self._site.command(make)}, status_code=202)


async def _read(request: Request, kind: type[T]) -> T:
    """Read what a request asks for; nothing at all is an empty object. Raises HTTPException 400."""
    body = await request.body()
    try:
        return codec.DEFAULT.read(kind, codec.parse(body) if body.strip() else {})
    except ValueError as exc:
        raise HTTPException(400, f"this is not what the API asks for: {exc}") from exc
