"""What the service managers are told, judged by systemd itself where it is here."""

import configparser
import os
import plistlib
import shutil
import subprocess
from pathlib import Path

import pytest

from dustd.cli import service, units

TEMPLATE = service.template("dustd.service").decode()
EXTRA = service.template("system.conf").decode()
AGENT = service.template("net.dustd.plist")
ODD = "a b%h $HOME \"q\" 'r' \\x é;#"  # all that systemd could misread in a path
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")


def parsed(text):
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    return parser


def test_the_unit_waits_for_readiness_and_watches_progress():
    unit = parsed(TEMPLATE)
    assert unit["Service"]["Type"] == "notify"
    assert "WatchdogSec" in unit["Service"]


def test_a_wrong_configuration_is_not_retried():
    unit = parsed(TEMPLATE)
    assert unit["Service"]["Restart"] == "on-failure"
    assert unit["Service"]["RestartPreventExitStatus"] == "78"


@pytest.mark.parametrize(
    "block", [TEMPLATE[TEMPLATE.index("# Hardening.") : TEMPLATE.index("[Install]")], EXTRA], ids=["user", "system"]
)
def test_every_hardening_line_has_its_reason(block):
    reasoned = False
    for line in block.splitlines():
        assert not line or line.startswith(("#", "[")) or reasoned, line
        reasoned = line.startswith("#") or (reasoned and bool(line))


def verify(tmp_path, text, *, user):
    (tmp_path / "dustd.service").write_bytes(text)
    ran = subprocess.run(
        ["systemd-analyze", "--user" if user else "--system", "verify", tmp_path / "dustd.service"],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "LC_ALL": "C"},
        check=False,
    )
    assert (ran.returncode, [line for line in ran.stderr.splitlines() if "dustd" in line]) == (0, [])


@pytest.fixture
def program(tmp_path):
    path = tmp_path / ODD.translate({ord(each): None for each in "\"'\\"}) / "dustd"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@needs_systemd
def test_systemd_accepts_the_shipped_unit(tmp_path):
    verify(tmp_path, TEMPLATE.replace("%h/.local/bin/dustd", "/bin/true").encode(), user=True)


@needs_systemd
def test_systemd_accepts_a_users_unit_whatever_the_paths_hold(tmp_path, program):
    text = units.systemd_unit(TEMPLATE, [program, "run", "-c", f"/etc/{ODD}"], environment={"XDG_STATE_HOME": ODD})
    verify(tmp_path, text, user=True)


@needs_systemd
def test_systemd_accepts_the_systems_unit(tmp_path, program):
    text = units.systemd_unit(TEMPLATE, [program, "run"], environment={}, extra=EXTRA, user="daemon")
    assert text.count(b"\nUser=daemon\n") == 1
    verify(tmp_path, text, user=False)


@pytest.mark.parametrize(
    "command", [["/bin/dustd", "-c", "/a\nUser=root"], ['/o"p/dustd'], ["/o'p/dustd"], ["/o\\p/d"]]
)
def test_a_path_that_systemd_does_not_take_is_refused(command):
    with pytest.raises(ValueError, match=r"line break|quotes"):
        units.systemd_unit(TEMPLATE, command, environment={})


@pytest.mark.parametrize(
    "text",
    [
        units.systemd_unit(TEMPLATE, ["/bin/dustd", "run"], environment={}),
        units.launchd_plist(AGENT, ["/bin/dustd", "run"], log=Path("/tmp/log")),
    ],
    ids=["unit", "agent"],
)
def test_a_change_by_hand_is_known(text):
    assert units.is_untouched(text)
    for changed in (text + b"\n", text.replace(b"run", b"ran"), b"# mine\n" + text, b"", b"dustd service install"):
        assert not units.is_untouched(changed)


def test_the_launch_agent_runs_the_daemon_and_restarts_it_after_a_crash():
    command = [f"/opt/{ODD}/dustd", "run", "-c", f"/Users/x/{ODD}"]
    agent = plistlib.loads(units.launchd_plist(AGENT, command, log=Path("/tmp/dustd.log")))
    assert agent["ProgramArguments"] == command
    assert agent["StandardErrorPath"] == "/tmp/dustd.log"
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["RunAtLoad"] is True
    assert "UserName" not in agent
    assert plistlib.loads(units.launchd_plist(AGENT, command, log=Path("/l"), user="studio"))["UserName"] == "studio"


def test_the_shipped_agent_runs_the_same_verb_as_the_unit():
    assert plistlib.loads(AGENT)["ProgramArguments"][2].startswith('exec "$HOME/.local/bin/dustd" run ')
    assert parsed(TEMPLATE)["Service"]["ExecStart"] == "%h/.local/bin/dustd run"
