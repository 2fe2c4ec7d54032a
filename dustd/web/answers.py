"""Answers in JSON, and refusals in words."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dustd import codec

Answer = Callable[[Request], Awaitable[Response]]


class Json(JSONResponse):
    """JSON as dustd writes it everywhere, whatever a file may be called."""

    def render(self, content: Any) -> bytes:
        """Lay out."""
        return codec.to_bytes(content)


def problem(status: int, what: str, remedy: str, headers: dict[str, str] | None = None) -> Response:
    """Refuse in words."""
    return Json({"problem": what, "remedy": remedy}, status_code=status, headers=headers)


def not_yet() -> Response:
    """Say that the daemon has not been heard yet."""
    return problem(503, "dustd is still starting", "Ask again in a moment", {"Retry-After": "1"})
