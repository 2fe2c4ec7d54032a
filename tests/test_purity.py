"""The core stays pure: importing it brings in no heavy library and has no effects."""

import subprocess
import sys
from pathlib import Path

import pytest

import dustd

PACKAGE = Path(dustd.__file__).parent
# fmt: off
HEAVY = (
    "torch", "torchvision", "rfdetr", "rawpy", "watchdog", "structlog", "yaml", "matplotlib", "PIL", "tqdm",
    "sqlalchemy",
)
CORE = (
    "advice", "body", "cleaning", "containers", "correct", "detect", "dustmap", "errors", "evidence", "exif",
    "frame", "history", "known", "lenses", "light", "ljpeg", "makernotes", "mapjson", "measure", "optics",
    "outline", "page", "particle", "patch", "picture", "rejection", "report", "report_text", "review",
    "review_page", "revise", "scenes", "settle", "shape", "sidecar", "spot", "stack", "status",
    "adobe_xmp", "darktable_xmp", "heal", "rawtherapee_pp3", "xmpedit",
    "strict", "tiff", "tiffwrite", "tiles", "units", "verdict", "virtual", "dng", "icc", "preview", "xmp",
)
# fmt: on
# One importer each (style §3.3); rfdetr's network needs torch around it.
IMPORTERS = {
    "rawpy": {"raw", "check"},  # check tells its version
    "watchdog": {"watch"},
    "yaml": {"config", "model"},
    "sqlalchemy": {"store", "schema", "migrations"},
    "sqlite3": {"check"},
    "torch": {"model", "network", "encoding"},
    "rfdetr": {"network", "model"},
    "tqdm": {"verbs", "demo"},
}


def imported_by(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    *output, modules = done.stdout.splitlines()
    assert output == []
    return {name.partition(".")[0] for name in modules.split()}


@pytest.mark.parametrize("module", [name for name in CORE if (PACKAGE / f"{name}.py").exists()])
def test_a_core_module_imports_nothing_heavy(module):
    assert imported_by(f"import dustd.{module}").isdisjoint(HEAVY)


def test_the_command_line_imports_nothing_heavy_before_a_verb_runs():
    heavy = {*HEAVY, "numpy", "cv2", "sqlite3"}
    assert imported_by("import dustd.cli.main; dustd.cli.main.build_parser().format_help()").isdisjoint(heavy)


@pytest.mark.parametrize(("library", "allowed"), IMPORTERS.items())
def test_a_heavy_library_is_imported_in_its_own_modules_only(library, allowed):
    def imports(path):
        lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
        return any(words[:1] in (["import"], ["from"]) and words[1].split(".")[0] == library for words in lines)

    assert {path.stem for path in PACKAGE.glob("*.py") if imports(path)} <= allowed
