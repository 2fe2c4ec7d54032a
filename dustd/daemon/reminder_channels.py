"""The two ways in which a reminder leaves dustd: a command that is run, a webhook that is posted to. Nothing else does.

Both block, so a thread of their own is the place for them; both give up after a time limit.
"""

import errno
import http.client
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from dustd import __version__, codec, system
from dustd.config import ReminderSettings
from dustd.text import printable

COMMAND_LIMIT_S, WEBHOOK_LIMIT_S = 30.0, 10.0

Facts = dict[str, str | int | float | None]
Channel = Callable[[Facts], None]


class UndeliveredError(Exception):
    """A reminder did not arrive; says why."""


def configured(settings: ReminderSettings) -> dict[str, Channel]:
    """Make the ways out that are configured, named after their keys."""
    ways: dict[str, Channel] = {}
    if settings.command:
        ways["command"] = lambda facts: run_command(settings.command, facts)
    if settings.webhook:
        url = settings.webhook
        ways["webhook"] = lambda facts: post(url, facts)
    return ways


def run_command(argv: Sequence[str], facts: Facts, *, limit_s: float = COMMAND_LIMIT_S) -> None:
    """Run a command without a shell: the facts as JSON on its standard input, and as DUSTD_… in its environment.

    Raises UndeliveredError if it cannot be run, fails, or takes too long; then it is stopped with its children.
    """
    given = {f"DUSTD_{name.upper()}": "" if value is None else _clean(str(value)) for name, value in facts.items()}
    inherited = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}  # the daemon's own
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:  # files: no pipe can fill or break
        stdin.write(codec.to_bytes(facts))
        stdin.seek(0)
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**inherited, **given},
                start_new_session=True,
            )
        except OSError as exc:
            raise UndeliveredError(f"{argv[0]} cannot be run ({exc.strerror})") from exc
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            system.kill_family(process)
            process.wait()
            raise UndeliveredError(f"{argv[0]} took longer than {limit_s:g} s and was stopped") from None
        if code:
            stderr.seek(0)
            said = printable(stderr.read(4000).decode(errors="replace").strip().rpartition("\n")[2])
            raise UndeliveredError(f"{argv[0]} ended with exit code {code}" + (f": {said}" if said else ""))


def post(url: str, facts: Facts, *, limit_s: float = WEBHOOK_LIMIT_S) -> None:
    """Post the facts as JSON. Raises UndeliveredError unless the server accepts them (2xx); follows no redirection.

    What is raised never names more of *url* than its host: the rest is often a secret.
    """
    host = urlsplit(url).hostname
    headers = {"Content-Type": "application/json", "User-Agent": f"dustd/{__version__}"}
    request = urllib.request.Request(url, data=codec.to_bytes(facts), headers=headers, method="POST")
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=limit_s):
            pass
    except urllib.error.HTTPError as exc:
        exc.close()
        raise UndeliveredError(f"{host} answered {exc.code} {exc.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
        hint = ""
        if isinstance(reason, OSError) and reason.errno in (errno.EAFNOSUPPORT, errno.EPERM):
            hint = "; the service unit forbids it: see IPAddressAllow in dustd.service"
        raise UndeliveredError(f"{host} cannot be reached ({reason}{hint})") from None


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follow no redirection: what is configured is where the facts may go."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _clean(value: str) -> str:
    """Make a value fit for an environment variable: no null bytes, no broken Unicode, not too long for the kernel."""
    return value.replace("\0", "").encode(errors="replace").decode()[:1000]
