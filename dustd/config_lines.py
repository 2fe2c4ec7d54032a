"""Where in a configuration file things stand: in which line a key is set, and what was cut off as a comment."""

import re
from pathlib import Path

import yaml


def lines_of(path: Path) -> dict[str, int]:
    """Say in which line (from 1) of a configuration file each key that holds a value is set: "folders[0].path": 11.

    Empty where the file cannot be read.
    """
    found: dict[str, int] = {}

    def walk(node: yaml.Node, key: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                walk(value, f"{key}.{name.value}" if key else str(name.value))
                if isinstance(value, yaml.SequenceNode):
                    found[f"{key}.{name.value}" if key else str(name.value)] = name.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode):
            for number, each in enumerate(node.value):
                walk(each, f"{key}[{number}]")
        elif node.value:
            found[key] = node.start_mark.line + 1

    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if root is not None:
        walk(root, "")
    return found


def comments_in_values(text: str) -> list[tuple[int, str]]:
    """Find what may have been meant as part of an unquoted value and is read as a comment: (line, what is cut off).

    A person's comments begin with a space after the #; names like "Client #12" go on at once.
    """
    lines = enumerate(text.splitlines(), start=1)
    return [(number, found[1]) for number, line in lines if (found := _CUT_OFF.match(line))]


_CUT_OFF = re.compile(r"""\s*(?:-\s+)?\w+:\s+[^\s'"#\[{][^#]*\s(#[^\s#].*)$""")
