"""The command line starts at once: what `dustd --help` needs brings in no heavy library. Doors: see pyproject.toml."""

import subprocess
import sys

HEAVY = {
    "torch", "torchvision", "rfdetr", "rawpy", "watchdog", "structlog", "yaml", "matplotlib", "PIL", "tqdm",
    "sqlalchemy", "numpy", "cv2", "sqlite3",
}  # fmt: skip


def test_the_command_line_imports_nothing_heavy_before_a_verb_runs():
    code = "import dustd.cli.main, sys; dustd.cli.main.build_parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    (modules,) = done.stdout.splitlines()
    assert {name.partition(".")[0] for name in modules.split()}.isdisjoint(HEAVY)
