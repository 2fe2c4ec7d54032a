"""What a service manager is told about dustd: the systemd unit and the launchd agent, as text. Knows no files.

The shipped files in `systemd/` are the templates. What is written carries its own SHA-256, so that a file that
somebody has changed by hand is known, and never replaced.
"""

import hashlib
import plistlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

NAME = "dustd"
LABEL = "net.dustd"
_MARK = re.compile(rb"^[^\n]*dustd service install, SHA-256 ([0-9a-f]{64})[^\n]*\n", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")


def systemd_unit(
    template: str, command: Sequence[str], *, environment: Mapping[str, str], extra: str = "", user: str | None = None
) -> bytes:
    """Fill in the unit: *command* with the program's absolute path first.

    *extra* is what a system unit says beyond a user's, which runs as *user*. Raises ValueError for a path that systemd
    does not take: quotes and backslashes in the program's, line breaks in any.
    """
    if re.search(r"[\"'\\]", command[0]):
        raise ValueError(f"systemd starts no program with quotes or backslashes in its path ({command[0]})")
    start = "ExecStart=" + " ".join([_quote(command[0]), *(_quote(each).replace("$", "$$") for each in command[1:])])
    lines = [start, *(f"Environment={_quote(f'{name}={value}')}" for name, value in environment.items())]
    text = re.sub(r"^ExecStart=.*$", lambda _: "\n".join(lines), template, flags=re.MULTILINE)
    if user is not None:
        text += "\n" + extra.replace("User=USER", f"User={_quote(user)}")
    return _marked(text.encode(errors="surrogateescape"), b"# %s\n", after=0)


def launchd_plist(template: bytes, command: Sequence[str], *, log: Path, user: str | None = None) -> bytes:
    """Fill in the agent, or with *user* the daemon; what it says goes to *log*."""
    settings = plistlib.loads(template)
    settings["ProgramArguments"] = list(command)
    settings["StandardOutPath"] = settings["StandardErrorPath"] = str(log)
    if user is not None:
        settings["UserName"] = user
    data = plistlib.dumps(settings, sort_keys=False)
    return _marked(data, b"<!-- %s -->\n", after=data.index(b"\n") + 1)


def is_untouched(data: bytes) -> bool:
    """Tell whether *data* is as one of the functions above made it."""
    mark = _MARK.search(data)
    if mark is None:
        return False
    return hashlib.sha256(data[: mark.start()] + data[mark.end() :]).hexdigest().encode() == mark[1]


def _marked(data: bytes, comment: bytes, *, after: int) -> bytes:
    words = b"Written by dustd service install, SHA-256 %s; it is not replaced once it is changed"
    mark = comment % (words % hashlib.sha256(data).hexdigest().encode())
    return data[:after] + mark + data[after:]


def _quote(word: str) -> str:
    """Write a word so that systemd reads it as it is (systemd.syntax(7), specifiers in systemd.unit(5))."""
    if "\n" in word or "\r" in word:
        raise ValueError("a unit cannot hold a path with a line break")
    word = word.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
