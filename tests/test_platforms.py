"""Nothing but `dustd.system` needs what only some operating systems have.

They are hidden here from the programs that run. What cannot be hidden, and what was never tried: docs/platforms.md.
"""

import ast
import json
import time
from pathlib import Path

import pytest

import dustd
from dustd.demo.child import Daemon

MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
NAMES = {
    "os": ("fchmod", "geteuid", "getuid", "killpg", "memfd_create", "O_DIRECTORY", "O_CLOEXEC", "pathconf", "sysconf"),
    "signal": ("SIGHUP", "SIGUSR1", "SIGUSR2"),
    "time": ("clock_gettime_ns", "CLOCK_MONOTONIC"),
}
HIDING = f"""
import builtins, errno, io, sys
import subprocess, tempfile  # they take what they need

sys.modules.update(dict.fromkeys({MODULES!r}))  # importing them fails
for module, names in {NAMES!r}.items():
    for name in names:
        delattr(__import__(module), name)

def without_proc(file, *rest, open=io.open, **more):
    if str(file).startswith("/proc/"):
        raise FileNotFoundError(errno.ENOENT, "hidden", str(file))
    return open(file, *rest, **more)

builtins.open = io.open = without_proc

from watchdog.utils import platform
platform.is_linux = lambda: False  # so that it polls
"""
RUN = """
folders:
  - path: shots
watch: {quiet_s: 0.3}
map: {store: maps.sqlite}
web: {port: 0}
model: {threads: 1}
"""


def status_in(sidecar):
    return json.loads(sidecar.read_text())["status"]


def test_frames_are_cleaned_without_what_only_posix_has(handicapped, tmp_path):
    dustd = handicapped(HIDING)
    done = dustd("clean", "shots", "-o", "cleaned", "--store", "maps.sqlite")
    assert done.returncode == 0, done.stderr
    assert status_in(tmp_path / "cleaned" / "SHOT.DNG.dustd.json") == "cleaned"


def test_the_daemon_watches_by_polling_without_it(handicapped, tmp_path):
    handicapped(HIDING)
    (tmp_path / "config.yaml").write_text(RUN)
    sidecar = tmp_path / "shots" / "Cleaned" / "SHOT.DNG.dustd.json"
    with Daemon(tmp_path / "config.yaml", tmp_path / "log") as daemon:
        daemon.wait_until_ready()
        until = time.monotonic() + 60
        while not sidecar.exists() and time.monotonic() < until:
            daemon.hear()
        assert daemon.stop() == 0
    assert status_in(sidecar) == "cleaned"


SOURCES = sorted(path for path in Path(dustd.__file__).parent.rglob("*.py") if path.name != "system.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_other_module_names_it(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.attr not in NAMES.get(node.value.id, ()), f"line {node.lineno}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            assert not set(modules) & set(MODULES), f"line {node.lineno}"
