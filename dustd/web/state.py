"""What the page says of the shoot as a whole, of troubles and of settings, as the API's JSON. Values in, values out."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dustd import __version__
from dustd.codec import Json
from dustd.config_reader import Url
from dustd.errors import without_folders
from dustd.text import printable
from dustd.web.index import Index
from dustd.web.messages import FolderNow, Matter, Setup, Snapshot
from dustd.web.rows import key_of

BACKLOG_NOTICE_FRAMES = 20  # our choice: so many waiting are worth a word
_STATUSES = ("cleaned", "clean", "failed", "improved", "kept", "vanished")


def state_json(setup: Setup, now: Snapshot, index: Index, bodies: list[Json]) -> dict[str, Json]:
    """Lay out `GET state`. *bodies* are ids, names and advice."""
    counts = index.counts()
    return {
        "version": __version__,
        "doing": without_folders(now.doing),
        "paused": now.paused,
        "order": now.order,
        "waiting": now.waiting,
        "in_hand": Path(now.in_hand).name if now.in_hand else None,
        "seconds_per_frame": now.seconds_per_frame,
        "backlog_s": now.backlog_s,
        "counts": {status: counts.get(status, 0) for status in _STATUSES},
        "trouble_count": _trouble_count(now),
        "needs_look_count": index.needs_look(),
        "folders": [_folder(each) for each in now.folders],
        "bodies": bodies,
        "sensitivity": setup.config.sensitivity,
        "limits": {"backlog_notice_frames": BACKLOG_NOTICE_FRAMES},
    }


def trouble_json(now: Snapshot, index: Index, disk: list[Json]) -> dict[str, Json]:
    """Lay out `GET trouble`."""
    by_source = {row.source: row.id for row in index.failed()}
    waiting = [_matter(each) for folder in now.folders for each in (*folder.put_off, *folder.held)]
    waiting += [{**_matter(each.paused), "what": _name(each.path)} for each in now.folders if each.paused]
    away = [_away(each) for each in now.folders if not each.present]
    unreadable = [_unreadable(path) for each in now.folders for path in each.unreadable]
    problem = now.config_problem
    return {
        "failed": [
            {
                "frame": by_source.get(each.path),
                "path_name": _name(each.path),
                "problem": without_folders(each.problem),
                "remedy": without_folders(each.remedy),
                "can_retry": each.path in by_source,
            }
            for each in now.failed
        ],
        "waiting": waiting,
        "surroundings": [*away, *unreadable, *map(_matter, now.troubles)],
        "configuration": _said(problem) if problem else None,
        "disk": disk,
    }


def settings_json(setup: Setup, lines: Mapping[str, int]) -> dict[str, Json]:
    """Lay out `GET settings`; *lines* says in which line of the file a key is set."""
    return {
        "file": str(setup.file) if setup.file else None,
        "loaded_at": setup.loaded_at,
        "entries": [
            {"key": key, "value": value, "from": "file" if key in lines else "default", "line": lines.get(key)}
            for key, value in _entries(setup.config, "")
        ]
        + [{"key": key, "value": value, "from": "page", "line": None} for key, value in setup.said],
    }


def _trouble_count(now: Snapshot) -> int:
    per_folder = sum(
        bool(each.paused) + (not each.present) + len(each.put_off) + len(each.held) for each in now.folders
    )
    return len(now.failed) + per_folder + len(now.troubles) + (now.config_problem is not None)


def _folder(each: FolderNow) -> dict[str, Json]:
    return {
        "id": key_of(each.path),
        "name": _name(each.path),
        "present": each.present,
        "waiting": each.waiting,
        "paused": _matter(each.paused) if each.paused else None,
    }


def _matter(each: Matter) -> dict[str, Json]:
    return {"what": _name(each.path), **_said(each), "retry_at": each.retry_at}


def _said(each: Matter) -> dict[str, Json]:
    return {"problem": without_folders(each.problem), "remedy": without_folders(each.remedy)}


def _away(each: FolderNow) -> dict[str, Json]:
    return {
        "what": _name(each.path),
        "problem": "the folder is not there",
        "remedy": "Connect or create it; dustd waits for it",
        "retry_at": None,
    }


def _unreadable(path: str) -> dict[str, Json]:
    remedy = "Give dustd's user read permission"
    return {"what": _name(path), "problem": "the folder cannot be read", "remedy": remedy, "retry_at": None}


def _name(path: str) -> str:
    return printable(os.path.basename(path) or path)  # noqa: PTH119 - a path's text


def _entries(value: Any, key: str) -> Iterator[tuple[str, Json]]:
    """Give each key with its value; what may be a secret in an address is left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _entries(getattr(value, field.name), f"{key}.{field.name}" if key else field.name)
    elif isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _entries(each, f"{key}.{name}")
    elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        for number, each in enumerate(value):
            yield from _entries(each, f"{key}[{number}]")
    elif isinstance(value, Url):
        yield key, f"{value.partition('://')[0]}://…@{value.rpartition('@')[2]}"
    elif key == "reminders.webhook" and value:
        yield key, f"{urlsplit(value).scheme}://{urlsplit(value).hostname}/…"
    else:
        yield key, str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
