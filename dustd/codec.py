"""The one way between values and JSON: a dataclass is an object with its fields' names as keys, a tuple is a list.

Reading is lenient, so that any dustd reads what another one wrote: keys that it does not know are passed over, those
that are missing take the field's default, and a word outside a `Literal` stays as it is. It is not gullible: a value of
another kind than the field's is refused. Knows bytes and values, no files.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_origin

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

T = TypeVar("T")
Json = Any  # what `json.loads` gives: dict, list, str, int, float, bool or None
_NO_NAMES: Mapping[type, Mapping[str, str]] = MappingProxyType({})


class Codec:
    """Lays dataclasses out for JSON and reads them back.

    *names* gives for a class the keys of fields that are called otherwise in JSON, *told_as* what stands in JSON for a
    value of a class that is kept elsewhere; whoever reads puts the value itself back in its place. A class that has a
    method `check_read` is asked after reading: it raises ValueError if its values cannot be.
    """

    def __init__(
        self,
        names: Mapping[type, Mapping[str, str]] = _NO_NAMES,
        told_as: Mapping[type, Callable[[Any], Json]] = MappingProxyType({}),
    ) -> None:
        self._converter = cattrs.Converter(detailed_validation=False, unstruct_collection_overrides={tuple: list})
        self._names = names
        converter = self._converter
        converter.register_structure_hook_factory(dataclasses.is_dataclass, self._reader)
        converter.register_unstructure_hook_factory(dataclasses.is_dataclass, self._writer)
        converter.register_structure_hook_factory(lambda kind: _origin(kind) is tuple, self._tuple_reader)
        converter.register_structure_hook_func(lambda kind: _origin(kind) is Literal, _str)
        hooks: dict[type, Callable[[Json, Any], Any]] = {float: _float, int: _int, str: _str, bool: _bool}
        for plain, hook in hooks.items():
            converter.register_structure_hook(plain, hook)
        for kind, tell in told_as.items():
            converter.register_unstructure_hook(kind, tell)

    def plain(self, value: object) -> Json:
        """Lay *value* out as what JSON has."""
        return self._converter.unstructure(value)

    def read(self, kind: type[T], data: Json) -> T:
        """Read a value of *kind*. What is one already stays as it is. Raise ValueError on anything else."""
        try:
            return self._converter.structure(data, kind)
        except (KeyError, TypeError, AttributeError, OverflowError) as exc:
            raise ValueError(f"{getattr(kind, '__name__', kind)} lacks or garbles a field: {exc}") from exc

    def _overrides(self, kind: type) -> dict[str, Any]:
        return {field: override(rename=key) for field, key in self._names.get(kind, {}).items()}

    def _writer(self, kind: type) -> Callable[[Any], dict[str, Any]]:
        return make_dict_unstructure_fn(kind, self._converter, **self._overrides(kind))

    def _reader(self, kind: type[T]) -> Callable[[Json, Any], T]:
        from_dict = make_dict_structure_fn(kind, self._converter, **self._overrides(kind))
        check: Callable[[T], None] | None = getattr(kind, "check_read", None)

        def read(data: Json, _: Any) -> T:
            if isinstance(data, kind):
                return data
            if not isinstance(data, dict):
                raise ValueError(f"{data!r:.40} is no {kind.__name__}")  # noqa: TRY004 - one kind of error
            value = from_dict(data, kind)
            if check is not None:
                check(value)
            return value

        return read

    def _tuple_reader(self, kind: Any) -> Callable[[Json, Any], tuple[Any, ...]]:
        parts = get_args(kind)
        hooks = [(self._converter.get_structure_hook(part), part) for part in parts if part is not Ellipsis]

        def read(data: Json, _: Any) -> tuple[Any, ...]:
            if not isinstance(data, list | tuple):
                raise ValueError(f"{data!r:.40} is no list")  # noqa: TRY004
            if parts[-1] is Ellipsis:
                return tuple(hooks[0][0](item, parts[0]) for item in data)
            if len(data) != len(parts):
                raise ValueError(f"{data!r:.40} has not {len(parts)} items")
            return tuple(hook(item, part) for item, (hook, part) in zip(data, hooks, strict=True))

        return read


def parse(data: bytes) -> Json:
    """Parse JSON. Raise ValueError on anything else."""
    try:
        return json.loads(data)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def to_bytes(value: Json, indent: int | None = None) -> bytes:
    """Write JSON: UTF-8 with a final newline. Numbers that JSON cannot say become null.

    A name that is not Unicode (`os.fsdecode`) becomes JSON's \\udcxx, and is read back as it was.
    """
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode(errors="backslashreplace")


def require(data: Json, schema: str, version: str) -> dict[str, Json]:
    """Return the object *data* if it says that it is of *schema* and of *version*'s major. Raise ValueError if not."""
    if not isinstance(data, dict) or data.get("schema") != schema:
        raise ValueError(f"not a {schema} file")
    if str(data.get("schema_version", "")).partition(".")[0] != version.partition(".")[0]:
        raise ValueError(f"{schema} of version {data.get('schema_version')!r}; this dustd reads {version}")
    return data


def _origin(kind: Any) -> Any:
    return get_origin(kind)


def _finite(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _float(data: Json, _: Any) -> float:
    """Read a number; null is one that JSON could not say."""
    if data is None:
        return math.nan
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise ValueError(f"{data!r:.40} is no number")  # noqa: TRY004
    return float(data)


def _int(data: Json, _: Any) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise ValueError(f"{data!r:.40} is no whole number")  # noqa: TRY004
    return data


def _str(data: Json, _: Any) -> str:
    if not isinstance(data, str):
        raise ValueError(f"{data!r:.40} is no text")  # noqa: TRY004
    return data


def _bool(data: Json, _: Any) -> bool:
    if not isinstance(data, bool):
        raise ValueError(f"{data!r:.40} is neither true nor false")  # noqa: TRY004
    return data


DEFAULT = Codec()
