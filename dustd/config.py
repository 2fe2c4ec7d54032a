"""The configuration: what it may say, its defaults, and a strict reader for the YAML file.

The dataclasses below are the only truth: fields are the keys, defaults the defaults,
annotations the types and ranges. `load` reports every problem of a file at once. It reads that one file and looks at no
folder it names: whether they exist is a matter for `dustd check` and the daemon.
"""

import dataclasses
import importlib.util
import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml

from dustd.config_reader import Between, Note, Url, read_group
from dustd.errors import ConfigError

EXAMPLE = Path(__file__).with_name("config.example.yaml")  # every key with its default and reason
Sensitivity = Annotated[float, Between(0, 100)]
EditProgram = Literal["darktable", "rawtherapee", "adobe"]
PictureFormat = Literal["dng", "tiff", "jpeg"]
ColourSpace = Literal["srgb", "adobe-rgb", "prophoto-rgb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoonLimits:
    """From where on the advice is "clean soon". 0: this figure never leads to it."""

    visible_at_f11: Annotated[int, Between(0, 10_000)] = 8
    light_lost_at_f11: Annotated[float, Between(0, 1)] = 0.25
    frames_touched: Annotated[float, Between(0, 1)] = 0.5
    new_per_week: Annotated[float, Between(0, 10_000)] = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NowLimits:
    """From where on the advice is "clean now". 0: this figure never leads to it."""

    visible_at_f11: Annotated[int, Between(0, 10_000)] = 20
    light_lost_at_f11: Annotated[float, Between(0, 1)] = 0.5
    frames_touched: Annotated[float, Between(0, 1)] = 0.0
    new_per_week: Annotated[float, Between(0, 10_000)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceRules:
    """The limits of both kinds of advice."""

    soon: SoonLimits = SoonLimits()
    now: NowLimits = NowLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """A watched folder. *output* replaces `output.folder` for it; None means the general settings hold."""

    path: Path
    sensitivity: Sensitivity | None = None
    output: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySettings:
    """What holds for one camera body; goes before its folder's settings."""

    sensitivity: Sensitivity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """Where cleaned files go, what they are, what they *follow*. A relative *folder* counts from the watched one."""

    folder: Path = Path("Cleaned")
    format: PictureFormat = "dng"
    when_clean: Literal["write", "skip"] = "write"
    follow: Literal["renames", "nothing"] = "renames"
    jpeg_quality: Annotated[int, Between(1, 100)] = 95
    edits: tuple[EditProgram, ...] = ()
    edits_existing: Literal["keep", "merge"] = "keep"
    profile: ColourSpace = "srgb"
    review: Literal["none", "page"] = "none"


def default_store() -> Path:
    """Name the dust maps' database in the user's state folder (XDG base directories)."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "dustd" / "maps.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSettings:
    """Where the dust maps of all bodies are kept: an SQLite file, or a PostgreSQL database that stations share."""

    store: Path | Url = field(default_factory=default_store)

    @property
    def state_folder(self) -> Path:
        """The folder for what this station remembers besides the maps."""
        return (self.store if isinstance(self.store, Path) else default_store()).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which detector, and what it runs on. *id* is a shipped model or a path; 0 lets dustd choose."""

    id: str = "default"
    engine: Literal["auto", "openvino", "torch"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    batch_tiles: Annotated[int, Between(0, 256)] = 0
    threads: Annotated[int, Between(0, 1024)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """When a file counts as landed (*quiet_s*) or hopeless (*give_up_s*), when folders are searched, the *order*."""

    quiet_s: Annotated[float, Between(0.1, 60)] = 1.5
    give_up_s: Annotated[float, Between(1, 86400)] = 120.0
    rescan_s: Annotated[float, Between(1, 86400)] = 60.0
    order: Literal["oldest", "newest"] = "oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisitSettings:
    """For how long frames are decided on anew while nothing waits, in hours since they came; 0: not at all."""

    hours: Annotated[float, Between(0, 8760)] = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReminderSettings:
    """What happens when a sensor wants cleaning: *command* (program and arguments) is run, *webhook* is posted to."""

    command: tuple[str, ...] = ()
    webhook: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """Figures for Prometheus on http://127.0.0.1:*port*/metrics; 0 serves none."""

    port: Annotated[int, Between(0, 65535)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The session page: on http://*listen*:*port*, 0 serves none. *password_file* holds a password for a LAN."""

    port: Annotated[int, Between(0, 65535)] = 8377
    listen: str = "127.0.0.1"
    password_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How much is logged, and for whom: people (console) or programs (json)."""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a person can set."""

    sensitivity: Sensitivity = 50.0
    folders: tuple[FolderSettings, ...] = ()
    bodies: dict[str, BodySettings] = field(default_factory=dict)
    output: OutputSettings = OutputSettings()
    map: MapSettings = field(default_factory=MapSettings)
    model: ModelSettings = ModelSettings()
    watch: WatchSettings = WatchSettings()
    revisit: RevisitSettings = RevisitSettings()
    report: AdviceRules = field(default_factory=AdviceRules)
    reminders: ReminderSettings = ReminderSettings()
    metrics: MetricsSettings = MetricsSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()

    def output_folder(self, folder: FolderSettings) -> Path:
        """Say where the cleaned files of a watched folder go."""
        return Path(os.path.normpath(folder.path / (folder.output or self.output.folder)))

    def folder_of(self, source: Path) -> FolderSettings | None:
        """Find the watched folder that *source* lies in, by whichever name: either may go through a link."""
        real = _real(source)
        return next((each for each in self.folders if source.is_relative_to(each.path)), None) or next(
            (each for each in self.folders if real.is_relative_to(_real(each.path))), None
        )

    def sensitivity_of(self, body_id: str, source: Path) -> float:
        """Choose the sensitivity (0 to 100) for a frame: its body's, else its folder's, else the general one."""
        body, folder = self.bodies.get(body_id), self.folder_of(source)
        chosen = [each.sensitivity for each in (body, folder) if each is not None]
        return next((value for value in chosen if value is not None), self.sensitivity)


def default_path() -> Path:
    """Name the configuration file that is read when none is given."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "dustd" / "config.yaml"


def load(path: Path, *, watching: bool = True) -> Config:
    """Read a configuration file.

    Relative paths in it count from its folder, except output folders. *watching*: at least one watched folder must
    be named. Raises ConfigError naming all problems, one per line as `file: key.path: problem; remedy`.
    """
    data = _parse(path)
    problems: list[str] = []

    def note(key: str, problem: str, remedy: str) -> None:
        problems.append(": ".join(filter(None, (str(path), key, f"{problem}; {remedy}"))))

    config = read_group(Config, {} if data is None else data, "", note)
    if isinstance(config, Config):
        config = _anchored(config, path.absolute().parent)
        _cross_check(config, note)
        given = data.get("folders") if isinstance(data, dict) else None
        if watching and not given:
            note("folders", "no folder to watch", "add one: - path: /path/to/captures")
        _check_folders(config, _numbers(given), note)
    if problems or config is None:
        raise ConfigError("\n".join(problems), remedy=f"Correct this, then try: dustd check -c {path}")
    return config


def state_folder_of(path: Path) -> Path:
    """Name the state folder that a configuration leads to, even if it has mistakes elsewhere, or is not there."""
    try:
        return load(path, watching=False).map.state_folder
    except ConfigError:
        pass
    try:
        store = read_group(MapSettings, {"store": _parse(path)["map"]["store"]}, "map", lambda *_: None)
    except (ConfigError, KeyError, TypeError):
        store = None
    if store is None:
        return MapSettings().state_folder
    return _anchored(Config(map=store), path.absolute().parent).map.state_folder


def _xdg(variable: str, fallback: str) -> Path:
    """Find a base directory; the XDG rules say that a relative one is to be ignored."""
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path.home() / fallback


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, where plain YAML readers silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # << brings keys along, which those given here replace
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", key_node.start_mark)
            seen.add(key if isinstance(key, str) else None)
        return super().construct_mapping(node, deep=deep)


def _parse(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError as exc:
        raise ConfigError(
            "there is no such file", remedy="Make one with dustd init FOLDER, or name another with -c", path=path
        ) from exc
    except OSError as exc:
        raise ConfigError(f"cannot be read ({exc.strerror})", remedy="Check its permissions", path=path) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError("is not UTF-8 text", remedy="Save it as UTF-8", path=path) from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:  # numbers without end, depths without end
        mark = getattr(exc, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = f"{where}{getattr(exc, 'problem', None) or 'not YAML'}"
        raise ConfigError(problem, remedy="Check indentation, colons and quotes there", path=path) from exc


def _anchored(config: Config, base: Path) -> Config:
    """Make the paths that count from the configuration's folder absolute."""

    def absolute(path: Path) -> Path:
        return Path(os.path.normpath(base / path))

    model = config.model
    if "/" in model.id or model.id.startswith("~"):
        model = dataclasses.replace(model, id=str(absolute(Path(os.path.expanduser(model.id)))))  # noqa: PTH111 - never raises
    return dataclasses.replace(
        config,
        folders=tuple(dataclasses.replace(folder, path=absolute(folder.path)) for folder in config.folders),
        map=MapSettings(store=config.map.store if isinstance(config.map.store, Url) else absolute(config.map.store)),
        model=model,
        web=dataclasses.replace(config.web, password_file=(file := config.web.password_file) and absolute(file)),
        reminders=dataclasses.replace(config.reminders, command=_command(config.reminders.command, absolute)),
    )


def _command(command: tuple[str, ...], absolute: Callable[[Path], Path]) -> tuple[str, ...]:
    """Make a program that is named by its path absolute; one named without is looked for in PATH when it is run."""
    if not command or not ("/" in command[0] or command[0].startswith("~")):
        return command
    return (str(absolute(Path(os.path.expanduser(command[0])))), *command[1:])  # noqa: PTH111 - never raises


def _cross_check(config: Config, note: Note) -> None:
    """Note settings that are fine one by one but not together, or not on this computer."""
    if isinstance(config.map.store, Url):
        _check_database(config.map.store, note)
    if config.watch.give_up_s <= config.watch.quiet_s:
        note("watch.give_up_s", "is not longer than watch.quiet_s", "make it at least ten times as long")
    for entry in dataclasses.fields(config.report.now):
        soon, now = getattr(config.report.soon, entry.name), getattr(config.report.now, entry.name)
        if 0 < now < soon:
            note(f"report.now.{entry.name}", f"is less than report.soon.{entry.name}", "make it the larger of the two")
    _check_web(config.web, note)
    if config.reminders.command and not config.reminders.command[0].strip():
        note("reminders.command", "its first item, the program, is empty", "begin with the program, then its arguments")
    if config.reminders.webhook is not None:
        _check_webhook(config.reminders.webhook, note)


def _check_database(url: Url, note: Note) -> None:
    if url.partition("://")[0] not in ("postgresql", "postgresql+psycopg"):
        remedy = "write a file's path, or postgresql+psycopg://user:password@host/database"
        note("map.store", "names a kind of database that dustd does not know", remedy)
    elif importlib.util.find_spec("psycopg") is None:
        remedy = 'install it: pip install "dustd[postgres]"'
        note("map.store", "needs the library psycopg to speak to PostgreSQL, which is not installed", remedy)


def _check_web(web: WebSettings, note: Note) -> None:
    try:
        is_open = not ipaddress.ip_address(web.listen).is_loopback and web.password_file is None
    except ValueError:
        note("web.listen", f"{web.listen!r} is no address of a machine", "write 127.0.0.1, or its address on the LAN")
    else:
        if is_open:
            note("web.listen", "lets other machines in without a password", "set web.password_file, or 127.0.0.1")


def _check_webhook(url: str, note: Note) -> None:
    key = "reminders.webhook"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        note(key, f"is not a web address ({exc})", "copy it again from the service that takes it")
        return
    if parts.scheme not in ("http", "https") or not host:
        note(key, "is not a web address", "begin it with https:// or http:// and a host")
    elif not url.isascii() or not url.isprintable() or " " in url:
        note(key, "holds characters that web addresses cannot hold", "write them as %XX, and the host in ASCII")
    elif parts.username is not None:
        note(key, "holds a user name, which dustd cannot log in with", "use an address that needs no login")


def _numbers(given: Any) -> list[int]:
    """Give the place in the file of each folder that could be read; the others are noted and left out."""
    items = given if isinstance(given, list) else []
    return [i for i, item in enumerate(items) if read_group(FolderSettings, item, "", lambda *_: None)]


def _check_folders(config: Config, numbers: list[int], note: Note) -> None:
    """Note folders that would get in each other's way, or in their own; *numbers* are their places in the file."""
    inputs = [_real(folder.path) for folder in config.folders]
    outputs = [_real(config.output_folder(folder)) for folder in config.folders]
    for i, (folder, output) in enumerate(zip(inputs, outputs, strict=True)):
        here = f"folders[{numbers[i]}]"
        _check_output(here, folder, output, inputs, note)
        for j in range(i):
            other = f"folders[{numbers[j]}]"
            if folder == inputs[j]:
                note(f"{here}.path", f"is the same folder as {other}.path", "remove one of them")
            elif folder.is_relative_to(inputs[j]) or inputs[j].is_relative_to(folder):
                note(f"{here}.path", f"one of it and {other}.path lies inside the other", "keep the outer")
            elif output == outputs[j]:
                problem = f"is the output folder of {other}, too, where files of one name would collide"
                note(f"{here}.output", problem, "give each an output folder of its own")


def _check_output(here: str, folder: Path, output: Path, inputs: list[Path], note: Note) -> None:
    key = f"{here}.output"
    if output == folder:
        note(key, "cleaned files would land among the originals", "name another folder, e.g. Cleaned")
    elif folder.is_relative_to(output):
        note(key, f"{output} contains the watched folder", "name a folder inside or beside it, e.g. Cleaned")
    elif any(output.is_relative_to(other) for other in inputs if other != folder):
        note(key, f"{output} lies inside another watched folder", "name a folder outside of it")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
