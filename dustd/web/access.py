"""Who may look: tickets signed with a secret that only this user can read, and where the page is.

`dustd open` makes a ticket that lets a browser in within minutes; the page gives it another one for a cookie. Both are
a time, how long they hold, signed (HMAC-SHA256, RFC 2104). The secret outlives restarts, so that open pages go on.
"""

import contextlib
import hashlib
import hmac
import ipaddress
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dustd import codec
from dustd.errors import ConfigError

FILE_NAME = "web.json"
OPEN_S, STAY_S = 600, 30 * 86400  # how long a ticket of `dustd open` holds, and a browser's cookie
SCHEMA, SCHEMA_VERSION = "dustd.web", "1.0"

Purpose = Literal["open", "stay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The secret in hexadecimal digits, and the page's address; None while it is not served."""

    secret: str
    address: str | None = None


def read(state_folder: Path) -> Door | None:
    """Read what the daemon left; None if there is nothing."""
    try:
        data = codec.require(codec.parse((state_folder / FILE_NAME).read_bytes()), SCHEMA, SCHEMA_VERSION)
        return codec.DEFAULT.read(Door, data)
    except (OSError, ValueError):
        return None


def keep(state_folder: Path, address: str | None) -> Door:
    """Write down where the page is, with the secret that was, or a new one; for this user's eyes only.

    Raises OSError.
    """
    before = read(state_folder)
    door = Door(secret=before.secret if before else secrets.token_hex(32), address=address)
    path = state_folder / FILE_NAME
    temp = path.with_name(f".{FILE_NAME}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temp.unlink()
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        said = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **codec.DEFAULT.plain(door)}
        file.write(codec.to_bytes(said))
    temp.replace(path)
    return door


def read_password(path: Path | None) -> str | None:
    """Read the password for a LAN, None if none is asked for. Raises ConfigError if there is none in its file."""
    if path is None:
        return None
    try:
        first = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, ValueError) as exc:
        raise ConfigError("web.password_file cannot be read", remedy="Correct it, or its rights", path=path) from exc
    if not first:
        remedy = "Write one in its first line"
        raise ConfigError("web.password_file begins with no password", remedy=remedy, path=path)
    return first


def ticket(secret: bytes, purpose: Purpose, *, now: float | None = None) -> str:
    """Make a ticket that holds from *now* (Unix time)."""
    until = int((time.time() if now is None else now) + (OPEN_S if purpose == "open" else STAY_S))
    return f"{until}.{_signature(secret, purpose, until)}"


def is_valid(secret: bytes, purpose: Purpose, given: str, *, now: float | None = None) -> bool:
    """Tell whether *given* is a ticket of ours for *purpose* that still holds."""
    until, _, signature = given.partition(".")
    if not (until.isascii() and until.isdecimal() and len(until) < 16 and signature.isascii()):
        return False
    genuine = hmac.compare_digest(signature, _signature(secret, purpose, int(until)))
    return genuine and int(until) > (time.time() if now is None else now)


def is_loopback(listen: str) -> bool:
    """Tell whether only this machine reaches an address."""
    return ipaddress.ip_address(listen).is_loopback


def address(listen: str, port: int) -> str:
    """Give the address for a browser on this machine."""
    host = "127.0.0.1" if listen == "0.0.0.0" else "::1" if listen == "::" else listen
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _signature(secret: bytes, purpose: Purpose, until: int) -> str:
    return hmac.new(secret, f"{purpose} {until}".encode(), hashlib.sha256).hexdigest()
