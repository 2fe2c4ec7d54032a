"""Pages from the Jinja2 templates in `pages/`: whatever is put in is escaped, a name that is missing an error."""

import base64
import functools

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, *, room: str = "dustd.report", **values: object) -> str:
    """Fill in a template from the `pages/` of *room*. Text that is not Unicode appears as \\udcxx."""
    return _environment(room).get_template(template).render(**values)


def data_uri(kind: str, data: bytes) -> str:
    """Pack a picture, *kind* "png" or "jpeg", into an address that needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


@functools.cache
def _environment(room: str) -> Environment:
    return Environment(
        loader=PackageLoader(room, "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_readable,
    )


def _readable(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return value.encode(errors="backslashreplace").decode()
    return value
