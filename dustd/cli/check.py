"""`dustd check`: is everything there that a shoot needs, and if not, what to do about it.

Looks, and changes nothing. `check` gives findings as values, `run` prints them.
"""

import argparse
import contextlib
import dataclasses
import difflib
import errno
import importlib.metadata
import os
import platform
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from dustd import __version__, config, config_lines, system
from dustd.cli.common import CONFIG, FINE, SOME_FAILED
from dustd.config import Config, FolderSettings, ReminderSettings
from dustd.config_reader import Url
from dustd.daemon import lock, metrics, scan, status
from dustd.dustmap.pixels import body_of
from dustd.errors import ConfigError, DustdError
from dustd.text import counted
from dustd.web import access
from dustd.web.access import read_password
from dustd.web.client import cannot_be_served

LOW_SPACE_BYTES = 10 << 30  # 100 to 200 cleaned frames of 45 megapixels
NAME_BYTES = system.NAME_LIMIT_BYTES  # encrypted home folders (eCryptfs) allow 143
_INOTIFY = Path("/proc/sys/fs/inotify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at, how it is, and what to do if that is not well."""

    level: Literal["ok", "warn", "fail"]
    about: str
    detail: str
    remedy: str = ""


def check(path: Path) -> tuple[Finding, ...]:
    """Look at the configuration at *path* and at all it names. Problems become findings, never exceptions."""
    try:
        settings, findings = config.load(path), [Finding(level="ok", about="configuration", detail=str(path))]
    except ConfigError as error:
        settings, findings = Config(), list(config_findings(error))
    findings += _comments(path)
    for index, folder in enumerate(settings.folders):
        findings += folder_findings(f"folders[{index}]", folder)
        findings += output_findings(f"output of folders[{index}]", settings.output_folder(folder))
    if settings.folders:
        findings += inotify_findings([folder.path for folder in settings.folders])
    findings += [
        *store_findings(settings.map.store, settings.bodies),
        *_model(settings),
        *reminder_findings(settings.reminders),
    ]
    findings += [*_metrics(settings), *page_findings(settings), *user_findings(), versions()]
    return tuple(findings)


def config_findings(error: ConfigError) -> Iterator[Finding]:
    """Tell every mistake in the configuration, one finding each."""
    if error.path:  # the file as a whole
        yield _failure("configuration", error)
        return
    for line in error.problem.splitlines():
        problem, _, remedy = line.rpartition("; ")
        yield Finding(level="fail", about="configuration", detail=problem, remedy=remedy)


def _comments(path: Path) -> Iterator[Finding]:
    """Warn of a # that may belong to a name."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # told already
        return
    for number, cut_off in config_lines.comments_in_values(text):
        detail = f"{path}: line {number}: {cut_off!r} is read as a comment"
        remedy = "If it belongs to the name before it, put the whole in quotes; else put a space after the #"
        yield Finding(level="warn", about="configuration", detail=detail, remedy=remedy)


def folder_findings(about: str, folder: FolderSettings) -> Iterator[Finding]:
    """Ask whether a watched folder is there and can be read."""
    path = folder.path
    if not path.is_dir():
        problem = "is not a folder" if path.exists() else "is not there"
        remedy = "Create or connect it, or correct folders[].path; the daemon waits for it"
        yield Finding(level="fail", about=about, detail=f"{path} {problem}", remedy=remedy)
    elif not os.access(path, os.R_OK | os.X_OK):
        remedy = "Give the user that runs dustd permission to read and enter it"
        yield Finding(level="fail", about=about, detail=f"{path} cannot be read", remedy=remedy)
    elif scan.is_network(path.resolve()):
        detail = f"{path} is a network share; it sends no events and is searched every few seconds instead"
        yield Finding(level="ok", about=about, detail=detail)
    else:
        yield Finding(level="ok", about=about, detail=str(path))


def output_findings(about: str, path: Path) -> Iterator[Finding]:
    """Ask whether cleaned files can be written to a folder, and whether there is room."""
    place = path if path.exists() else path.parent  # the daemon creates the last folder, not the ones above
    if problem := write_problem(place):
        yield Finding(level="fail", about=about, detail=f"{place} {problem[0]}", remedy=problem[1])
        return
    free = shutil.disk_usage(place).free
    limit = system.name_limit_bytes(place)
    if free < LOW_SPACE_BYTES:
        detail = f"{place} has {free / 1e9:.1f} GB left"
        yield Finding(level="warn", about=about, detail=detail, remedy="Free some space; when full, dustd waits for it")
    if limit < NAME_BYTES:
        detail = f"{place} allows names of {limit} bytes only"
        remedy = f"Keep names of RAW files below {limit - 20} bytes: a sidecar's name is longer than its file's"
        yield Finding(level="warn", about=about, detail=detail, remedy=remedy)
    if free >= LOW_SPACE_BYTES and limit >= NAME_BYTES:
        yield Finding(level="ok", about=about, detail=f"{path}, {free / 1e9:.0f} GB free")


def store_findings(path: Path | Url, named: Iterable[str]) -> Iterator[Finding]:
    """Look at the maps, and whether they know the bodies that are *named* in the configuration."""
    if isinstance(path, Url):
        yield from _database(path, named)
        return
    place = next(parent for parent in path.parents if parent.exists())
    if problem := write_problem(place):
        yield Finding(level="fail", about="dust maps", detail=f"{place} {problem[0]}", remedy=problem[1])
        return
    if scan.is_network(place.resolve()):
        remedy = "Set map.store to a local disk: SQLite's locks are not reliable on shares"
        yield Finding(level="warn", about="dust maps", detail=f"{path} is on a network share", remedy=remedy)
    if not path.exists():
        yield Finding(level="ok", about="dust maps", detail=f"{path} will be created")
        yield from _unknown_bodies(named, ())
        return
    try:  # read-only, where the store itself would put a damaged file aside
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as maps:
            bodies = [body_id for (body_id,) in maps.execute("SELECT body_id FROM bodies")]
    except sqlite3.Error as exc:
        remedy = "If it is damaged, dustd puts it aside at the next start; then: dustd map rebuild FOLDER"
        yield Finding(level="fail", about="dust maps", detail=f"{path} cannot be used ({exc})", remedy=remedy)
    else:
        yield Finding(level="ok", about="dust maps", detail=f"{path}, {counted(len(bodies), 'body', 'bodies')}")
        yield from _unknown_bodies(named, bodies)


def _unknown_bodies(named: Iterable[str], known: Collection[str]) -> Iterator[Finding]:
    """Warn of settings for bodies of which the maps have never heard: most often the name is spelt another way."""
    known = {body_of(name) for name in known}
    for name in named:
        if name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1)
        remedy = f"Did you mean {close[0]}?" if close else "Once it took a frame, dustd map list shows how it is spelt"
        detail = f"bodies: {name} is not known to the dust maps, so its settings are not in use"
        yield Finding(level="warn", about="configuration", detail=detail, remedy=remedy)


def _database(url: Url, named: Iterable[str]) -> Iterator[Finding]:
    """Open a database that stations share; its name is told without the password."""
    from dustd.dustmap.store import Store

    try:
        with Store.open(url) as maps:
            bodies = maps.body_ids()
    except DustdError as error:
        yield _failure("dust maps", error)
        return
    detail = f"{url.rpartition('@')[2]}, {counted(len(bodies), 'body', 'bodies')}"
    yield Finding(level="ok", about="dust maps", detail=detail)
    yield from _unknown_bodies(named, bodies)


def _model(settings: Config) -> Iterator[Finding]:
    from dustd.detector import engines, model

    wanted = settings.model
    try:
        card = model.find_model(wanted.id)
        model.verify(card)
        preview = ", a preview: expect missed dust" if card.preview else ""
        yield Finding(level="ok", about="model", detail=f"{card.id}, weights as published{preview}")
    except DustdError as error:
        yield _failure("model", error)
        return
    try:
        engine, device = engines.choose_engine(wanted.engine, wanted.device, card)
        how = f"model.device: {wanted.device}, model.engine: {wanted.engine}"
        detail = f"{device}, {engine} ({how})"
        if wanted.device == "auto" and not engines.has_torch():
            yield device_without_torch(detail, engines.gpu_here())
        else:
            yield Finding(level="ok", about="device", detail=detail)
    except DustdError as error:
        yield _failure("device", error)


def device_without_torch(detail: str, gpu: str | None) -> Finding:
    """Say what the extra for GPUs would bring on this machine."""
    from dustd.detector.engines import GPU_EXTRA

    if gpu is None:
        detail += "; no GPU of NVIDIA or Apple was found, which is what dustd[gpu] is for"
        return Finding(level="ok", about="device", detail=detail)
    remedy = f"To run the model there: {GPU_EXTRA} (several GB)"
    return Finding(level="ok", about="device", detail=f"{detail}; the {gpu} GPU here is not used", remedy=remedy)


def reminder_findings(settings: ReminderSettings) -> Iterator[Finding]:
    """Look for the command; a webhook is not tried, it would tell somebody."""
    if settings.command:
        program = settings.command[0]
        found = shutil.which(program)
        if found:
            yield Finding(level="ok", about="reminders", detail=f"they run {found}")
        else:
            remedy = "Install it or correct reminders.command; a script needs a #! line and chmod +x"
            yield Finding(level="fail", about="reminders", detail=f"{program} is no program here", remedy=remedy)
    if settings.webhook:
        yield Finding(level="ok", about="reminders", detail=f"they are posted to {urlsplit(settings.webhook).hostname}")


def _metrics(settings: Config) -> Iterator[Finding]:
    """See whether the port is free, or in the hands of the daemon that runs with these maps."""
    port = settings.metrics.port
    if not port:
        return
    try:
        _try_port(metrics.HOST, port)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE or not _is_served(settings, "metrics"):
            yield _failure("metrics", metrics.cannot_be_served(port, exc))
            return
    yield Finding(level="ok", about="metrics", detail=f"http://{metrics.HOST}:{port}/metrics")


def page_findings(settings: Config) -> Iterator[Finding]:
    """See whether the session page can be served, and who could listen in on the way."""
    about, web = "session page", settings.web
    if not web.port:
        return
    try:
        _try_port(web.listen, web.port)
        read_password(web.password_file)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE or not _is_served(settings, about):
            yield _warning(about, cannot_be_served(web.listen, web.port, exc))
            return
    except ConfigError as error:
        yield _warning(about, error)
        return
    yield Finding(level="ok", about=about, detail=f"{access.address(web.listen, web.port)}: dustd open")
    if not access.is_loopback(web.listen):
        detail = f"{web.listen} lets other machines in without TLS: who listens in on the LAN reads the password"
        remedy = "Leave web.listen at 127.0.0.1 and put a proxy with TLS in front: see docs/session-page.md"
        yield Finding(level="warn", about=about, detail=detail, remedy=remedy)
    if web.password_file is not None and system.is_read_by_others(web.password_file):
        remedy = f"chmod 600 {web.password_file}"
        detail = f"{web.password_file}, web.password_file, can be read by other users"
        yield Finding(level="warn", about=about, detail=detail, remedy=remedy)


def _try_port(address: str, port: int) -> None:
    """Listen where a server would. Raises OSError."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        trial.bind((address, port))


def _is_served(settings: Config, what: str) -> bool:
    """Ask whether a daemon runs that says nothing against its metrics, or its page."""
    if lock.holder(settings.map.state_folder) is None:
        return False
    try:
        state = status.decode((settings.map.state_folder / status.FILE_NAME).read_bytes())
    except (OSError, ValueError):
        return False
    return not any(each.path == what for each in state.troubles)


def inotify_findings(folders: Iterable[Path], limits: Path = _INOTIFY) -> Iterator[Finding]:
    """Compare what watching needs (Linux: one watch per subfolder, one instance per folder) with the limits."""
    local = [folder for folder in folders if folder.is_dir() and not scan.is_network(folder.resolve())]
    needed = {
        "max_user_watches": sum(1 for folder in local for _ in os.walk(folder)),
        "max_user_instances": len(local),
    }
    for name, count in needed.items():
        try:
            limit = int((limits / name).read_text())
        except (OSError, ValueError):  # not Linux
            continue
        if 2 * count <= limit:  # other programs of this user need some, too
            yield Finding(level="ok", about="inotify", detail=f"{name}: {count} of {limit} needed")
        else:
            raised = 1 << (4 * count - 1).bit_length()
            remedy = f"sudo sysctl fs.inotify.{name}={raised}; to keep it, put that line in /etc/sysctl.d/60-dustd.conf"
            detail = f"{name}: {count} of {limit} needed; beyond the limit, dustd can only search folders"
            yield Finding(level="warn", about="inotify", detail=detail, remedy=remedy)


def _failure(about: str, error: DustdError) -> Finding:
    where = f"{error.path}: " if error.path else ""
    return Finding(level="fail", about=about, detail=f"{where}{error.problem}", remedy=error.remedy)


def _warning(about: str, error: DustdError) -> Finding:
    """Tell what is wrong and costs no frame."""
    return dataclasses.replace(_failure(about, error), level="warn")


def user_findings() -> Iterator[Finding]:
    """Warn of running as root."""
    if system.user_id() == 0:
        remedy = "Run it as the user who shoots: it decodes files of strangers and needs no special rights"
        yield Finding(level="warn", about="user", detail="dustd runs as root", remedy=remedy)


def versions() -> Finding:
    """Tell the versions of dustd and of what it stands on."""
    import rawpy

    libraries = []
    for name in ("rawpy", "openvino", "torch", "rfdetr"):  # the last two are extras
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            libraries.append(f"{name} {importlib.metadata.version(name)}")
    libraw = ".".join(str(part) for part in rawpy.libraw_version)
    python = platform.python_version()
    detail = f"dustd {__version__}, Python {python}, LibRaw {libraw}, {', '.join(libraries)}"
    return Finding(level="ok", about="versions", detail=detail)


def write_problem(folder: Path) -> tuple[str, str] | None:
    """Try to write into *folder*, leaving nothing behind; return problem and remedy if that fails."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".dustd-") as file:
            file.write(b"\0")
    except FileNotFoundError:
        return "is not there", "Create or connect it"
    except OSError as exc:
        remedy = "Free some space" if exc.errno == errno.ENOSPC else "Give the user that runs dustd write permission"
        return f"cannot be written to ({exc.strerror})", remedy
    return None


def run(args: argparse.Namespace) -> int:
    """Tell what would get in the way of a shoot."""
    path = args.config or config.default_path()
    findings = check(path)
    for finding in findings:
        print(f"{_MARKS[finding.level]}  {finding.about}: {finding.detail}")
        if finding.remedy:
            print(f"      -> {finding.remedy}")
    failed = [finding for finding in findings if finding.level == "fail"]
    if any(finding.about == "configuration" for finding in failed):
        return CONFIG
    return SOME_FAILED if failed else FINE


_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
