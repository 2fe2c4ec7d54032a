"""`dustd service`: make dustd start by itself, through systemd or launchd, and take it back.

Whatever a person has changed stays: a unit is replaced or removed only while it is as dustd wrote it. Configuration,
maps and outputs are never touched. What the service managers are told is made in `dustd.cli.units`.
"""

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dustd import config, files
from dustd import system as system_of
from dustd.cli import status, units
from dustd.daemon import lock
from dustd.errors import DustdError, SurroundingsError, UsageError

_ANSWER_S = 30.0
_START_S = 660.0  # a little longer than TimeoutStartSec in systemd/dustd.service
_HANDED_ON = ("XDG_STATE_HOME",)  # without it, the service would keep its maps elsewhere than the command line


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the service is described, and which manager runs it."""

    path: Path
    manager: tuple[str, ...]
    system: bool


def place(*, system: bool) -> Place:
    """Say where this computer keeps its services."""
    if sys.platform == "darwin":
        folder = Path("/Library/LaunchDaemons") if system else Path.home() / "Library/LaunchAgents"
        domain = "system" if system else f"gui/{system_of.user_id()}"
        return Place(path=folder / f"{units.LABEL}.plist", manager=("launchctl", domain), system=system)
    folder = Path("/etc/systemd/system") if system else config.default_path().parents[1] / "systemd/user"
    manager = ("systemctl", "--system" if system else "--user")
    return Place(path=folder / f"{units.NAME}.service", manager=manager, system=system)


def install(where: Place, configuration: Path | None, user: str | None = None) -> int:
    """Write the unit or agent, start it now and at every login or boot; give the exit code of `dustd service install`.

    *user* is who a system's service runs as. Raises ConfigError if the configuration cannot be used, UsageError if it
    would run as root, the unit was changed by hand or another dustd runs, SurroundingsError if something fails.
    """
    user = _runs_as(where, user)
    with _at_home_of(user):
        settings_path = (configuration or config.default_path()).absolute()
        settings = config.load(settings_path)
    _refuse_another(where, settings.map.state_folder)
    changed = _write(where, _text(where, settings_path, user))
    print(f"{'Wrote' if changed else 'As it should be:'} {where.path}")
    steps = _steps(where, changed)
    if problem := _unreachable(where):
        print(problem)
        if shutil.which(where.manager[0]):
            print("Then type:", *(_spoken(step) for step in steps), sep="\n  ")
        return 1
    print("Starting; the model is loaded and warmed, which takes up to a minute …", flush=True)
    for step in steps:
        _run(step, limit_s=_START_S)
    print("dustd runs, and starts again by itself. See: dustd status")
    if where.manager[0] == "systemctl" and not where.system:
        print("To keep it running while you are not logged in: loginctl enable-linger")
    return 0


def uninstall(where: Place) -> int:
    """Stop the service and remove its unit or agent; leave everything else."""
    if not where.path.exists():
        print(f"There is no service: {where.path} is not there.")
        return 0
    if not _unreachable(where):
        _run(_stop(where), limit_s=_START_S)
    if _is_ours(where):
        where.path.unlink()
        print(f"Stopped, and removed {where.path}. Configuration, dust maps and cleaned files stay.")
    else:
        print(f"Stopped. {where.path} was changed by hand and stays; it no longer starts by itself.")
    if where.manager[0] == "systemctl" and not _unreachable(where):
        _run((*where.manager, "daemon-reload"))
    return 0


def describe(where: Place) -> str:
    """Say in one line how the service manager sees it."""
    if not where.path.exists():
        return "Service: not installed (dustd service install)."
    if problem := _unreachable(where):
        return f"Service: {where.path}. {problem}"
    if where.manager[0] == "launchctl":
        told = _ask(("launchctl", "print", f"{where.manager[1]}/{units.LABEL}")).stdout
        state = next(
            (line.split("=")[1].strip() for line in told.splitlines() if line.strip().startswith("state =")), ""
        )
        return f"Service: {state or 'not loaded'} ({where.path})."
    names = ("ActiveState", "SubState", "UnitFileState", "NRestarts", "Result")
    told = _ask((*where.manager, "show", units.NAME, *(f"--property={name}" for name in names))).stdout
    is_ = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    result = "" if is_.get("Result") in ("success", None) else f", last result: {is_['Result']}"
    state = f"{is_.get('ActiveState')} ({is_.get('SubState')}), {is_.get('UnitFileState')}"
    return f"Service: {state}, restarts: {is_.get('NRestarts')}{result} ({where.path})."


def program() -> tuple[str, ...]:
    """Name this installation's dustd, as it is to be started."""
    script = Path(sysconfig.get_path("scripts"), "dustd")
    return (str(script),) if script.is_file() else (sys.executable, "-m", "dustd")


def template(name: str) -> bytes:
    """Read one of the shipped files of `systemd/`."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "systemd" / name, package.parent / "systemd" / name)
    return next(path for path in places if path.is_file()).read_bytes()


def _runs_as(where: Place, user: str | None) -> str | None:
    """Choose who the service runs as; None is the person who installs it. Nobody runs it as root."""
    if not where.system:
        if user is not None:
            raise UsageError("--user goes with --system only", remedy="Log in as that user, or add --system")
        if system_of.user_id() == 0:
            remedy = "Run it as the user who shoots, without sudo; or, for the whole machine, with --system"
            raise UsageError("the service must not run as root", remedy=remedy)
        return None
    user = user or os.environ.get("SUDO_USER", "root")
    remedy = "Name who owns the captures: sudo dustd service install --system --user NAME"
    known = system_of.user_named(user)
    if known is None:
        raise UsageError(f"there is no user {user!r}", remedy=remedy)
    if known[0] == 0:
        raise UsageError("the service must not run as root", remedy=remedy)
    return user


def _text(where: Place, configuration: Path, user: str | None) -> bytes:
    command = (*program(), "run", "-c", str(configuration))
    if where.manager[0] == "launchctl":
        log = Path("/Library/Logs/dustd.log") if user else Path.home() / "Library/Logs/dustd.log"
        return units.launchd_plist(template(f"{units.LABEL}.plist"), command, log=log, user=user)
    environment = {name: os.environ[name] for name in _HANDED_ON if not user and os.environ.get(name)}
    unit, extra = template(f"{units.NAME}.service").decode(), template("system.conf").decode()
    try:
        return units.systemd_unit(unit, command, environment=environment, extra=extra, user=user)
    except ValueError as exc:
        raise UsageError(str(exc), remedy="Rename that folder", path=configuration) from exc


def _write(where: Place, text: bytes) -> bool:
    """Put the unit in place; tell whether it is new or other than before."""
    before = _read(where.path)
    if before == text:
        return False
    if before is not None and not _is_ours(where):
        raise UsageError(
            "this service was changed by hand; it was not touched",
            remedy=f"Move it away and install again; to change it: {' '.join(where.manager)} edit {units.NAME}",
            path=where.path,
        )
    try:
        where.path.parent.mkdir(parents=True, exist_ok=True)
        files.publish(where.path, text, ours=[hashlib.sha256(before).hexdigest()] if before is not None else ())
    except OSError as exc:
        raise SurroundingsError(
            f"cannot be written ({exc.strerror})", remedy="With --system, use sudo", path=where.path
        ) from exc
    except DustdError as error:
        raise SurroundingsError(error.problem, remedy="With --system, use sudo", path=where.path) from error
    return True


def _is_ours(where: Place) -> bool:
    """Tell whether the unit is as dustd wrote or shipped it."""
    text = _read(where.path)
    return text is not None and (units.is_untouched(text) or text == template(where.path.name))


def _refuse_another(where: Place, state_folder: Path) -> None:
    """Refuse beside a dustd that was started by hand: the service could not get the maps, and would try for ever."""
    pid = lock.holder(state_folder)
    if pid and not (where.manager[0] == "systemctl" and _main_pid(where) == pid) and not where.path.exists():
        raise UsageError(f"dustd is running already (process {pid})", remedy="Stop that one first, then install again")


def _main_pid(where: Place) -> int:
    told = _ask((*where.manager, "show", units.NAME, "--property=MainPID", "--value")).stdout.strip()
    return int(told) if told.isdecimal() else 0


def _steps(where: Place, changed: bool) -> list[tuple[str, ...]]:
    """Give the commands that take a unit into service."""
    if where.manager[0] == "launchctl":
        domain = where.manager[1]
        if not changed and _is_loaded(where):
            return []
        again = [_stop(where)] if changed and _is_loaded(where) else []
        return [
            *again,
            ("launchctl", "enable", f"{domain}/{units.LABEL}"),
            ("launchctl", "bootstrap", domain, str(where.path)),
        ]
    start = "restart" if changed else "start"
    return [(*where.manager, *each) for each in (("daemon-reload",), ("enable", units.NAME), (start, units.NAME))]


def _stop(where: Place) -> tuple[str, ...]:
    if where.manager[0] == "launchctl":
        return ("launchctl", "bootout", f"{where.manager[1]}/{units.LABEL}")
    return (*where.manager, "disable", "--now", units.NAME)


def _is_loaded(where: Place) -> bool:
    return _ask(("launchctl", "print", f"{where.manager[1]}/{units.LABEL}")).returncode == 0


def _unreachable(where: Place) -> str:
    """Say why the service manager cannot be spoken to; empty if it can."""
    if shutil.which(where.manager[0]) is None:
        return (
            f"There is no {where.manager[0]} here, so nothing starts dustd: let your service manager start `dustd run`."
        )
    question = ("launchctl", "print", where.manager[1]) if where.manager[0] == "launchctl" else (*where.manager, "show")
    answer = _ask(question)
    if answer.returncode == 0:
        return ""
    said = (answer.stderr.strip().splitlines() or ["it says nothing"])[0]
    return f"The service manager does not answer ({said}). Log in as this user directly, not by su or sudo."


def _ask(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return subprocess.CompletedProcess(command, 1, stdout="", stderr=str(exc))


def _run(command: Sequence[str], *, limit_s: float = _ANSWER_S) -> None:
    """Run a step; raise SurroundingsError with what it said if it fails."""
    try:
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise SurroundingsError(f"{_spoken(command)} failed ({exc})", remedy="See its log, and: dustd check") from exc
    if ran.returncode:
        said = " ".join((ran.stderr or ran.stdout).split())
        unit = f"journalctl {command[1]} -u {units.NAME}" if command[0] == "systemctl" else "~/Library/Logs/dustd.log"
        raise SurroundingsError(f"{_spoken(command)} failed: {said}", remedy=f"See {unit}, and: dustd check")


def _spoken(command: Sequence[str]) -> str:
    return " ".join(command)


@contextlib.contextmanager
def _at_home_of(user: str | None) -> Iterator[None]:
    """Take ~ and the usual places of configuration and state for those of *user*, as the service will; None: ours."""
    known = system_of.user_named(user) if user else None
    if known is None:
        yield
        return
    kept = {name: os.environ.pop(name, None) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
    os.environ["HOME"] = str(known[1])
    try:
        yield
    finally:
        os.environ.pop("HOME")
        os.environ.update({name: value for name, value in kept.items() if value is not None})


def _configuration_of(where: Place) -> Path | None:
    """Find the configuration that an installed service was given; None if its unit does not say."""
    found = re.search(r"^ExecStart=.* run -c (.+)$", (_read(where.path) or b"").decode(errors="replace"), re.MULTILINE)
    path = Path(found[1].strip('"')) if found else None
    return path if path and path.exists() else None


def _user_of(where: Place) -> str | None:
    """Say as whom an installed service of the whole machine runs; None for one's own, or if it does not say."""
    text = (_read(where.path) or b"").decode(errors="replace") if where.system else ""
    found = re.search(r"^User=(.+)$", text, re.MULTILINE) or re.search(
        r"<key>UserName</key>\s*<string>([^<]+)</string>", text
    )
    return found[1].strip('"') if found else None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SurroundingsError(
            f"cannot be read ({exc.strerror})", remedy="With --system, use sudo", path=path
        ) from exc


def run_install(args: argparse.Namespace) -> int:
    """Make dustd start by itself."""
    return install(place(system=args.system), args.config, args.user)


def run_uninstall(args: argparse.Namespace) -> int:
    """Take that back."""
    return uninstall(place(system=args.system))


def run_status(args: argparse.Namespace) -> int:
    """Say how the service manager sees dustd, then how dustd does."""
    where = place(system=args.system)
    print(describe(where))
    with _at_home_of(_user_of(where)):
        args.config = args.config or _configuration_of(where)
        return status.run(args)
