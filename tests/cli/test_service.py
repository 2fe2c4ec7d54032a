"""Installing the service: what stays, what is refused, and once with a real service manager of a real user."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dustd.cli import main, service, units
from dustd.daemon.lock import only_one

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux only")
SYSTEMD = Path("/usr/lib/systemd/systemd")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's home with a configuration, on a computer without systemctl."""
    (tmp_path / "captures").mkdir()
    (tmp_path / ".config/dustd").mkdir(parents=True)
    (tmp_path / ".config/dustd/config.yaml").write_text(f"folders: [{{path: {tmp_path}/captures}}]\n")
    (tmp_path / "bin").mkdir()
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("os.geteuid", lambda: 4242)
    return tmp_path


def unit(home):
    return home / ".config/systemd/user/dustd.service"


def test_without_a_service_manager_the_unit_is_written_and_the_rest_told(home, capsys):
    assert main.main(["service", "install"]) == 1
    said = capsys.readouterr().out
    assert "There is no systemctl here" in said and "dustd run" in said
    text = unit(home).read_text()
    assert f"ExecStart={service.program()[0]}" in text
    assert f"-c {home}/.config/dustd/config.yaml\n" in text
    assert units.is_untouched(text.encode())


def test_installing_twice_changes_nothing(home, capsys):
    main.main(["service", "install"])
    before = unit(home).stat()
    assert main.main(["service", "install"]) == 1
    assert (unit(home).stat().st_ino, unit(home).stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert "As it should be" in capsys.readouterr().out


def test_another_configuration_takes_the_place_of_the_first(home):
    main.main(["service", "install"])
    shutil.copy(home / ".config/dustd/config.yaml", home / "other.yaml")
    main.main(["service", "install", "-c", str(home / "other.yaml")])
    assert f"-c {home}/other.yaml\n" in unit(home).read_text()


def test_a_unit_that_was_changed_by_hand_is_neither_replaced_nor_removed(home, capsys):
    main.main(["service", "install"])
    changed = unit(home).read_text().replace("Nice=5", "Nice=19")
    unit(home).write_text(changed)
    assert main.main(["service", "install"]) == 2
    assert "changed by hand" in capsys.readouterr().err
    assert main.main(["service", "uninstall"]) == 0
    assert unit(home).read_text() == changed


def test_a_shipped_unit_that_was_copied_is_replaced(home):
    unit(home).parent.mkdir(parents=True)
    unit(home).write_bytes(service.template("dustd.service"))
    main.main(["service", "install"])
    assert "%h/.local/bin" not in unit(home).read_text()


def test_uninstalling_leaves_everything_else_and_may_be_repeated(home, capsys):
    main.main(["service", "install"])
    assert main.main(["service", "uninstall"]) == 0
    assert not unit(home).exists()
    assert (home / ".config/dustd/config.yaml").exists()
    assert main.main(["service", "uninstall"]) == 0
    assert "There is no service" in capsys.readouterr().out


def test_a_wrong_configuration_installs_nothing(home):
    (home / ".config/dustd/config.yaml").write_text("sensitivity: 500\n")
    assert main.main(["service", "install"]) == 78
    assert not unit(home).exists()


def test_a_dustd_that_runs_already_is_in_the_way(home, capsys):
    with only_one(home / ".local/state/dustd"):
        assert main.main(["service", "install"]) == 2
    assert f"process {os.getpid()}" in capsys.readouterr().err


@pytest.fixture
def shooter(home, monkeypatch):
    """Root's view of a computer whose user "shooter" has the home of these tests; root's own is another."""
    entry = pwd.struct_passwd(("shooter", "x", 4242, 4242, "", str(home), "/bin/sh"))
    monkeypatch.setattr("pwd.getpwnam", lambda name: {"shooter": entry}[name])
    monkeypatch.setattr(
        service,
        "place",
        lambda system: service.Place(path=home / "dustd.service", manager=("systemctl",), system=system),
    )
    (home / "root").mkdir()
    monkeypatch.setenv("HOME", str(home / "root"))
    return home


def test_a_service_for_the_machine_takes_configuration_and_state_of_its_user(shooter, capsys):
    (shooter / ".config/dustd/config.yaml").write_text("folders: [{path: ~/captures}]\n")
    with only_one(shooter / ".local/state/dustd"):  # what the user started by hand
        assert main.main(["service", "install", "--system", "--user", "shooter"]) == 2
        assert f"process {os.getpid()}" in capsys.readouterr().err
    main.main(["service", "install", "--system", "--user", "shooter"])
    text = (shooter / "dustd.service").read_text()
    assert f"-c {shooter}/.config/dustd/config.yaml\n" in text and "User=shooter" in text
    with only_one(shooter / ".local/state/dustd"):
        assert main.main(["service", "status", "--system"]) == 0
    assert "dustd is running" in capsys.readouterr().out
    assert os.environ["HOME"] == str(shooter / "root")


def test_nothing_is_run_as_root(home, monkeypatch, capsys):
    assert main.main(["service", "install", "--system"]) == 2
    assert main.main(["service", "install", "--system", "--user", "root"]) == 2
    assert main.main(["service", "install", "--system", "--user", "nobody-of-that-name"]) == 2
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert main.main(["service", "install"]) == 2
    assert capsys.readouterr().err.count("must not run as root") == 3


def test_status_says_that_there_is_none(home, capsys):
    assert main.main(["service", "status"]) == 1
    assert capsys.readouterr().out == "Service: not installed (dustd service install).\ndustd is not running.\n"


# A user session of its own, seen by nobody else: own mounts for /run, home and the list of users, own cgroup.
SESSION = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/4242
mount -t tmpfs tmpfs /home
mkdir /home/studio
(cat /etc/passwd; echo 'studio:x:4242:4242::/home/studio:/bin/sh') >/run/passwd
mount --bind /run/passwd /etc/passwd
chown 4242:4242 /home/studio /run/user/4242
chmod 700 /run/user/4242
for tree in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    if [ -e $tree/cgroup.procs ] && mkdir -p $tree/dustd-test/session; then
        chown -R 4242:4242 $tree/dustd-test
        echo $$ >$tree/dustd-test/session/cgroup.procs
    fi
done
exec timeout --signal=KILL 120 setpriv --reuid 4242 --regid 4242 --clear-groups env -i HOME=/home/studio \
    PATH=/usr/bin:/bin XDG_RUNTIME_DIR=/run/user/4242 LC_ALL=C.UTF-8 sh -c "$1"
"""
STEPS = """
/usr/lib/systemd/systemd --user >/dev/null 2>&1 &
manager=$!
for _ in $(seq 300); do systemctl --user show >/dev/null 2>&1 && break; sleep 0.1; done
systemctl --user show >/dev/null || { echo no session; exit 0; }
mkdir -p ~/.config/systemd/user/dustd.service.d "$(dirname "$PROGRAM")"
printf '[Service]\nNotifyAccess=all\n' >~/.config/systemd/user/dustd.service.d/script.conf  # a script's child speaks
cat >"$PROGRAM" <<'END'
#!/bin/sh
for word in "$XDG_STATE_HOME" "$@"; do printf '%s\\n' "$word"; done >~/heard
systemd-notify --ready
trap 'systemd-notify RELOADING=1; echo again >>~/heard; systemd-notify --ready' HUP
while :; do sleep 0.1; done
END
chmod +x "$PROGRAM"
printf '%s' "$UNIT" >~/.config/systemd/user/dustd.service
systemctl --user daemon-reload
systemctl --user start dustd && systemctl --user reload dustd
# The reload is done for systemd when the signal is sent; what the script answers comes when it gets its turn.
for _ in $(seq 300); do
    grep -q again ~/heard && [ "$(systemctl --user is-active dustd)" = active ] && break
    sleep 0.1
done
systemctl --user is-active dustd
cat ~/heard
systemctl --user stop dustd
kill $manager
"""


@pytest.mark.skipif(os.geteuid() != 0 or not SYSTEMD.exists(), reason="needs root and systemd to make a session")
def test_a_real_service_manager_starts_what_was_meant_and_reloads_it():
    odd = "a b%h $HOME \"q\" 'r' \\x é;#"
    command = ["/home/studio/a b%h $HOME é;#/dustd", "run", "-c", f"/{odd}"]
    text = units.systemd_unit(service.template("dustd.service").decode(), command, environment={"XDG_STATE_HOME": odd})
    steps = f"PROGRAM={quoted(command[0])}\nUNIT={quoted(text.decode())}\n{STEPS}"
    ran = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SESSION, "sh", steps],
        capture_output=True,
        text=True,
        check=False,
    )
    for group in (
        "/sys/fs/cgroup/systemd/dustd-test",
        "/sys/fs/cgroup/unified/dustd-test",
        "/sys/fs/cgroup/dustd-test",
    ):
        subprocess.run(["find", group, "-depth", "-type", "d", "-delete"], capture_output=True, check=False)
    if ran.returncode or "no session" in ran.stdout:
        pytest.skip(f"no session can be made here: {ran.stderr[-300:]}")
    assert ran.stdout.splitlines() == ["active", odd, "run", "-c", f"/{odd}", "again"]


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"
