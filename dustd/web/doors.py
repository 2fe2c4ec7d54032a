"""How a browser gets in: by a ticket of `dustd open`, or by a password where one is set; then it has a cookie."""

import asyncio
import collections
import hmac
import math
import time
from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from dustd.report.templates import render
from dustd.web import access
from dustd.web.answers import problem
from dustd.web.guard import COOKIE
from dustd.web.messages import Access

# Our choice: so many wrong passwords from one place and from all places, in so many seconds.
MOST_WRONG, MOST_WRONG_IN_ALL, WITHIN_S = 5, 30, 300.0
MOST_PLACES = 1000


class Doors:
    """Lets browsers in; *of* gives who may look."""

    def __init__(self, of: Callable[[], Access], clock: Callable[[], float] = time.monotonic) -> None:
        self._of, self._clock = of, clock
        self._wrong: collections.OrderedDict[str, list[float]] = collections.OrderedDict()

    async def open(self, request: Request) -> Response:
        """Exchange the ticket of `dustd open` for a cookie."""
        if not access.is_valid(self._of().secret, "open", request.query_params.get("token", "")):
            page = render("shut.html", room="dustd.web", with_password=self._of().password is not None, wrong=False)
            return HTMLResponse(page, status_code=401)
        return self._let_in(request)

    async def login(self, request: Request) -> Response:
        """Exchange the password for a cookie."""
        password = self._of().password
        if password is None:
            return problem(404, "no password is set", "Open the page with dustd open")
        place = request.client.host if request.client else ""
        wait_s = self._waits_s(place)
        if wait_s > 0:
            retry = {"Retry-After": str(math.ceil(wait_s))}
            return problem(429, "too many wrong passwords", f"Try again in {math.ceil(wait_s / 60)} min", retry)
        given = parse_qs((await request.body()).decode(errors="replace")).get("password", [""])[0]
        if not hmac.compare_digest(given.encode(errors="replace"), password.encode()):
            self._note_wrong(place)
            await asyncio.sleep(0.5)
            page = render("shut.html", room="dustd.web", with_password=True, wrong=True)
            return HTMLResponse(page, status_code=401)
        return self._let_in(request)

    def _let_in(self, request: Request) -> Response:
        # Not a redirect: a browser sends no SameSite=Strict cookie to where a link from elsewhere redirects it.
        answer = HTMLResponse(render("opened.html", room="dustd.web"))
        secure = request.headers.get("x-forwarded-proto") == "https"
        stay = access.ticket(self._of().secret, "stay")
        answer.set_cookie(COOKIE, stay, max_age=access.STAY_S, httponly=True, samesite="strict", secure=secure)
        return answer

    def _waits_s(self, place: str) -> float:
        """Say how long nobody at *place* may try again; 0 if at once."""
        now = self._clock()
        self._wrong = collections.OrderedDict(
            (each, kept) for each, times in self._wrong.items() if (kept := [at for at in times if now - at < WITHIN_S])
        )
        here = self._wrong.get(place, [])
        everywhere = sorted(at for times in self._wrong.values() for at in times)
        waits = [here[-MOST_WRONG]] if len(here) >= MOST_WRONG else []
        waits += [everywhere[-MOST_WRONG_IN_ALL]] if len(everywhere) >= MOST_WRONG_IN_ALL else []
        return max((at + WITHIN_S - now for at in waits), default=0.0)

    def _note_wrong(self, place: str) -> None:
        self._wrong.setdefault(place, []).append(self._clock())
        while len(self._wrong) > MOST_PLACES:
            self._wrong.popitem(last=False)
