"""What every request has to pass: the right Host, the right Origin, a cookie, a small body; and what every answer says.

A browser may be made to send requests here by any page of the web. The Host header is checked against names that rebind
to this machine (DNS rebinding), the Origin of each command against pages of others, and the cookie is SameSite=Strict.
"""

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, Response

from dustd.report.templates import render
from dustd.web import access
from dustd.web.answers import problem
from dustd.web.messages import Access

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "dustd"
MOST_BODY_BYTES = 64 << 10
POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_OPEN_TO_ALL = ("/open", "/login", "/static/")


class Guard:
    """Stands before the application *app*; *of* gives who may look."""

    def __init__(self, app: App, of: Callable[[], Access]) -> None:
        self.app, self._of = app, of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            return
        said = _Answer(send)
        refusal = self._refusal(HTTPConnection(scope))
        if refusal is not None:
            await refusal(scope, receive, said)
            return
        await self.app(scope, _limited(receive), said)

    def _refusal(self, request: HTTPConnection) -> Response | None:
        who, path, method = self._of(), request.url.path, request.scope["method"]
        host = request.headers.get("host", "")
        if not is_known_host(host, who):
            return problem(421, "this page has another address", "Open it with dustd open")
        if method not in ("GET", "HEAD"):
            origin = request.headers.get("origin", "")
            if urlsplit(origin).netloc != host or not origin.startswith(("http://", "https://")):
                return problem(403, "another page asked for this", "Ask for it on dustd's own page")
            length = request.headers.get("content-length", "0")
            if not (length.isascii() and length.isdecimal()) or int(length[:20]) > MOST_BODY_BYTES:
                return too_large()
        if any(path == each or (each.endswith("/") and path.startswith(each)) for each in _OPEN_TO_ALL):
            return None
        if access.is_valid(who.secret, "stay", request.cookies.get(COOKIE, "")):
            return None
        if path.startswith("/api/"):
            return problem(401, "nobody has let this browser in", "Open the page with dustd open")
        page = render("shut.html", room="dustd.web", with_password=who.password is not None, wrong=False)
        return HTMLResponse(page, status_code=401)


def is_known_host(host: str, who: Access) -> bool:
    """Tell whether a Host header names this page: an address, or "localhost", with the right port.

    On a LAN any address will do, for no name of somebody's stands there; names other than this one could be anybody's.
    """
    name, port = _parted(host)
    if port not in (who.port, None):
        return False
    if name == "localhost":
        return True
    try:
        at = ipaddress.ip_address(name)
    except ValueError:
        return False
    return at.is_loopback or not access.is_loopback(who.listen)


def _parted(host: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        return "", 0
    return name, port


def too_large() -> Response:
    """Refuse a body that is too large."""
    return problem(413, f"a request may hold {MOST_BODY_BYTES >> 10} KiB", "Send less at a time")


def _limited(receive: Receive) -> Receive:
    """Count what comes in, whatever its length was said to be."""
    left = MOST_BODY_BYTES

    async def receive_some() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413)
        return message

    return receive_some


class _Answer:
    """Adds to every answer what browsers are to keep to."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name for name, _ in message["headers"]}
            stored = () if b"cache-control" in given else ((b"cache-control", b"no-store"),)
            message = {**message, "headers": [*message["headers"], *_HEADERS, *stored]}
        await self._send(message)
