import configparser
import os
import plistlib
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[1] / "systemd"


@pytest.fixture
def unit():
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str
    parser.read(UNITS / "dustd.service")
    return parser


def test_the_unit_waits_for_readiness_and_watches_progress(unit):
    assert unit["Service"]["Type"] == "notify"
    assert "WatchdogSec" in unit["Service"]


def test_a_wrong_configuration_is_not_retried(unit):
    assert unit["Service"]["Restart"] == "on-failure"
    assert unit["Service"]["RestartPreventExitStatus"] == "78"


def test_every_hardening_line_has_its_reason():
    block = (UNITS / "dustd.service").read_text().split("# Hardening.")[1].split("[Install]")[0]
    lines = block.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("SystemCallArchitectures"):  # shares the reason of the line above
            continue
        assert "=" not in line or line.startswith("#") or lines[number - 1].startswith("#"), line


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_accepts_the_unit(tmp_path):
    text = (UNITS / "dustd.service").read_text().replace("%h/.local/bin/dustd", "/bin/true")
    (tmp_path / "dustd.service").write_text(text)
    ran = subprocess.run(
        ["systemd-analyze", "--user", "verify", tmp_path / "dustd.service"],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "LC_ALL": "C"},
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_launch_agent_runs_the_daemon_and_restarts_it_after_a_crash():
    agent = plistlib.loads((UNITS / "net.dustd.plist").read_bytes())
    assert agent["ProgramArguments"][:2] == ["/bin/sh", "-c"]
    assert agent["ProgramArguments"][2].startswith('exec "$HOME/.local/bin/dustd" run ')
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["RunAtLoad"] is True


def test_both_run_the_same_verb(unit):
    assert unit["Service"]["ExecStart"] == "%h/.local/bin/dustd run"
