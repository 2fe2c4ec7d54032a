"""Modules and functions stay short enough to be read at once; a longer one says why ("Long because …")."""

import ast
from pathlib import Path

import pytest

import dustd

MODULE_LINES, FUNCTION_LINES = 400, 50
MODULES = sorted(Path(dustd.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(path.parts[-2:]))
def test_modules_and_functions_are_short_or_say_why_not(path):
    source = path.read_text()
    tree = ast.parse(source)
    long = [path.name] if len(source.splitlines()) > MODULE_LINES and not says_why(tree) else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= FUNCTION_LINES and not says_why(node):
            long.append(f"{node.name} in line {node.lineno}")
    assert long == []


def says_why(node):
    return "Long because" in (ast.get_docstring(node) or "")
