"""A strict reader from plain values (as YAML gives them) to dataclasses, which notes every problem it meets.

Fields are the allowed keys, annotations the allowed types, `Annotated[float, Between(0, 100)]` a range. It knows no
files and no YAML. A `Note` is called as note(key path, problem, remedy).
"""

import dataclasses
import difflib
import os
import re
import reprlib
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Note = Callable[[str, str, str], None]
BAD = object()  # stands for a value that was noted as a problem


class Url(str):
    """The address of a database: what has a :// in it, where a path may stand as well (`Path | Url`)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Between:
    """The range of a number, both ends included."""

    low: float
    high: float


def read_group(cls: type[T], data: Any, key: str, note: Note) -> T | None:
    """Build dataclass *cls*. A bad or empty value leaves its field at the default, so that reading can go on.

    Return None where a required field is missing or bad, or *data* is no group at all.
    """
    if not isinstance(data, dict):
        note(key, f"{_shown(data)} is not a group of keys", _grouped(cls, data))
        return None
    hints = get_type_hints(cls, include_extras=True)
    for name in data:
        if name not in hints:
            note(_join(key, name), "unknown key", _closest(name, hints))
    values = {
        name: _value(hint, data[name], _join(key, name), note)
        for name, hint in hints.items()
        if data.get(name) is not None
    }
    for required in (f.name for f in dataclasses.fields(cls) if _is_required(f)):
        if required not in values:
            note(_join(key, required), "missing", "add it")
        if values.get(required, BAD) is BAD:
            return None
    return cls(**{name: value for name, value in values.items() if value is not BAD})


def _grouped(cls: type, data: Any) -> str:
    """Say how to write what stands where a group of keys should: a folder's path by itself, say."""
    required = [f.name for f in dataclasses.fields(cls) if _is_required(f)]
    if isinstance(data, str) and len(required) == 1:
        return f"write it as {required[0]}: {data}"
    return "indent its keys below it, as in config.example.yaml"


def _value(hint: Any, value: Any, key: str, note: Note) -> Any:
    """Read *value* as *hint*, or note what is wrong and return BAD."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _number(args[0], value, args[1], key, note)
    if origin in (Union, types.UnionType):  # only X | None and Path | Url occur, and empty values never come here
        url = Url in args and isinstance(value, str) and "://" in value
        return _value(Url if url else args[0], value, key, note)
    if origin is Literal:
        return value if value in args else _refuse(note, key, value, "is not a choice", _choices(value, args))
    if origin is tuple:
        if not isinstance(value, list):
            return _refuse(note, key, value, "is not a list", "begin each item with a dash")
        items = [_value(args[0], item, f"{key}[{index}]", note) for index, item in enumerate(value)]
        return tuple(item for item in items if item is not BAD)
    if origin is dict:
        return _mapping(args[1], value, key, note)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        group = read_group(hint, value, key, note)
        return BAD if group is None else group
    if hint is Path:
        return _path(value, key, note)
    if hint is Url:
        expanded = _expanded(value, key, note)
        return expanded if expanded is BAD else Url(expanded)
    if not isinstance(value, str) or "\0" in value:
        return _refuse(note, key, value, "is not text", "put it in quotes")
    return value


def _number(kind: type, value: Any, limits: Between, key: str, note: Note) -> Any:
    words = "a number" if kind is float else "a whole number"
    remedy = f"choose {words} from {limits.low:g} to {limits.high:g}"
    if type(value) not in (int, kind):  # a bool is no number here
        return _refuse(note, key, value, f"is not {words}", remedy)
    if not limits.low <= value <= limits.high:  # also refuses .nan
        return _refuse(note, key, value, "is out of range", remedy)
    return kind(value)


def _mapping(hint: Any, data: Any, key: str, note: Note) -> Any:
    if not isinstance(data, dict):
        return _refuse(note, key, data, "is not a group of keys", "indent its keys below it")
    for name in data:
        if not isinstance(name, str):
            note(_join(key, name), "the name is not text", f'put it in quotes: "{name}"')
    read = {
        name: _value(hint, {} if value is None else value, _join(key, name), note)
        for name, value in data.items()
        if isinstance(name, str)
    }
    return {name: value for name, value in read.items() if value is not BAD}


def _shown(value: Any) -> str:
    """Quote a value in a message, cut short where it is long: YAML's aliases make a page endless in a few lines."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 120
    return short.repr(value)


def _can_be_a_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _path(value: Any, key: str, note: Note) -> Any:
    """Read a path, with `~` and `$NAME` put in."""
    if not isinstance(value, str) or not value.strip() or not _can_be_a_name(value):
        return _refuse(note, key, value, "is not a path", "put it in quotes")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value):
        remedy = "connect the share and name the folder where it appears, e.g. under /mnt or /Volumes"
        return _refuse(note, key, value, "is an address, not a path", remedy)
    expanded = _expanded(value, key, note)
    try:
        return BAD if expanded is BAD else Path(expanded).expanduser()
    except RuntimeError:
        return _refuse(note, key, value, "names an unknown user", "write the path in full")


def _expanded(value: str, key: str, note: Note) -> Any:
    """Put environment variables in, once: what they hold stays as it is. $$ is a plain $."""
    unset = [name for name in map(_name_of, _VARIABLE.finditer(value)) if name and name not in os.environ]
    if unset:
        remedy = f"set it, or write $${unset[0]} for a plain $"
        return _refuse(note, key, value, f"needs the environment variable {unset[0]}", remedy)
    return _VARIABLE.sub(lambda found: os.environ[_name_of(found)] if _name_of(found) else "$", value)


_VARIABLE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)


def _name_of(found: "re.Match[str]") -> str:
    """Name the variable that was found; empty for $$."""
    return found[1] or found[2] or ""


def _refuse(note: Note, key: str, value: Any, problem: str, remedy: str) -> Any:
    note(key, f"{_shown(value)} {problem}", remedy)
    return BAD


def _choices(value: Any, choices: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(str(value).lower(), choices, n=1)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(choices)}"


def _closest(name: Any, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"remove it; known here: {', '.join(known)}"


def _join(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)


def _is_required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
