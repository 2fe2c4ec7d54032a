"""Importing the command line is quick: no verb pays for a library that another one needs."""

import subprocess
import sys

HEAVY = {
    "torch",
    "torchvision",
    "rfdetr",
    "openvino",
    "rawpy",
    "watchdog",
    "structlog",
    "yaml",
    "matplotlib",
    "PIL",
    "tqdm",
    "sqlalchemy",
    "numpy",
    "cv2",
    "sqlite3",
    "dask",
    "distributed",
}


def imported_by(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    *output, modules = done.stdout.splitlines()
    assert output == []
    return {name.partition(".")[0] for name in modules.split()}


def test_the_command_line_imports_nothing_heavy_before_a_verb_runs():
    heavy = imported_by("import dustd.cli.main; dustd.cli.main.build_parser().format_help()") & HEAVY
    assert heavy == set()


def test_cleaning_without_a_cluster_imports_no_dask():
    imported = imported_by("import dustd.cli.clean, dustd.pipeline.crew, dustd.pipeline.shoot")
    assert not imported & {"dask", "distributed"}
