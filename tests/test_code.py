"""What the linters do not see to: code is short enough to be read at once, and tests know public names only."""

import ast
from pathlib import Path

import pytest

import dustd

MODULE_LINES, FUNCTION_LINES = 400, 50
MODULES = sorted(Path(dustd.__file__).parent.rglob("*.py"))
TESTS = sorted(Path(__file__).parent.rglob("*.py"))


def name_of(path):
    return "/".join(path.parts[-2:])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_are_short_or_say_why_not(path):
    """A longer one says in its docstring: "Long because …"."""
    source = path.read_text()
    tree = ast.parse(source)
    long = [path.name] if len(source.splitlines()) > MODULE_LINES and not says_why(tree) else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= FUNCTION_LINES and not says_why(node):
            long.append(f"{node.name} in line {node.lineno}")
    assert long == []


def says_why(node):
    return "Long because" in (ast.get_docstring(node) or "")


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_use_no_private_name_of_a_module(path):
    tree = ast.parse(path.read_text())
    imports = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dustd")
    ]
    names = {alias.asname or alias.name for node in imports for alias in node.names}
    private = {name for name in names if name.startswith("_") and not name.startswith("__")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names - {"Store"}:
            private |= {f"{node.value.id}.{node.attr}"} if node.attr.startswith("_") and node.attr[1] != "_" else set()
    assert private == set()
