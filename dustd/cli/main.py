"""The command line: parse, dispatch, turn errors into messages and exit codes. What a verb does is in
`dustd.cli.common`.

Exit codes: 0 fine, 1 some frames failed (or the surroundings were in the way), 2 wrong usage, 78 wrong configuration
or model, 130 interrupted.
"""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dustd import __version__
from dustd.cli.common import CONFIG, FINE, INTERRUPTED, SOME_FAILED, USAGE
from dustd.errors import ConfigError, DustdError, ModelError, UsageError

Verb = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a problem is one clear message on standard error."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names need not be Unicode
            stream.reconfigure(errors="backslashreplace")
    try:
        if argv and argv[0] in ("train", "evaluate"):  # they parse for themselves, options and all
            module = {"train": "trainer", "evaluate": "evaluate"}[argv[0]]
            return importlib.import_module(f"dustd.train.{module}").main(argv[1:])
        args = build_parser().parse_args(argv)
        exit_code = args.verb(args)
        sys.stdout.flush()
    except DustdError as error:
        _complain(error)
        return _exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough, as in: dustd map list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        print(f"dustd: {where}{exc.strerror or exc}", file=sys.stderr)
        return SOME_FAILED
    return exit_code


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; `test_docs` walks it, too."""
    parser = argparse.ArgumentParser(
        prog="dustd",
        description="Takes sensor dust out of RAW files while the shoot goes on. The originals are never touched.",
        epilog="Exit codes: 0 fine, 1 some frames failed, 2 wrong usage, 78 wrong configuration.",
    )
    parser.add_argument("--version", action="version", version=f"dustd {__version__}")
    commands = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_config(_verb(commands, "run", _in("run"), "watch folders and clean what lands, until told to stop"))
    _add_clean(commands)
    _add_reject(commands)
    _add_map(commands)
    _add_report(commands)
    text = "look at configuration, folders, model, device, limits; say what to fix"
    _add_config(_verb(commands, "check", _in("check"), text))
    demo = _verb(commands, "demo", _in("demo"), "clean a simulated tethered session and judge the result")
    demo.add_argument("folder", metavar="DIR", nargs="?", type=Path, default=Path("demo-out"), help="default: demo-out")
    status = _verb(commands, "status", _in("status"), "say how the daemon does: backlog, last frames, what failed")
    status.add_argument("--json", action="store_true", help="print JSON for programs")
    _add_config(status)
    _add_service(commands)
    retry = _verb(commands, "retry", _in("retry"), "have failed frames tried again, once their cause is put right")
    retry.add_argument(
        "paths", metavar="PATH", nargs="*", type=Path, help="RAW file, or folder of them; default: all that failed"
    )
    _add_config(retry)
    # Listed here for the help only; see `main`.
    _verb(commands, "train", None, "train a detector (needs training data; see train --help)")
    _verb(commands, "evaluate", None, "judge a detector against frames with known dust (see evaluate --help)")
    return parser


def _add_clean(commands: Any) -> None:
    clean = _verb(commands, "clean", _in("clean"), "clean files or folders once")
    clean.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="RAW file, or folder to search for them")
    clean.add_argument("-o", dest="output", metavar="DIR", type=Path, required=True, help="folder for cleaned files")
    clean.add_argument("--sensitivity", metavar="N", type=_sensitivity, help="0 to 100; default: as configured, or 50")
    clean.add_argument("--format", choices=["dng", "tiff", "jpeg"], help="kind of cleaned file; default: dng")
    clean.add_argument(
        "--edits",
        choices=["darktable", "rawtherapee", "adobe", "none"],
        action="append",
        help="heal the spots in an edit beside the RAW, too, or in none; may be given again for another program",
    )
    clean.add_argument("--review", metavar="FILE", type=Path, help="write a page with every spot before and after")
    clean.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], help="what the model runs on")
    clean.add_argument("--model", metavar="ID", help="shipped model, or path of a model folder")
    _add_store(clean)
    _add_config(clean)


def _add_reject(commands: Any) -> None:
    reject = _verb(commands, "reject", _in("reject"), "take corrections back that removed something real")
    reject.add_argument("frame", metavar="FRAME", type=Path, help="cleaned file, its sidecar, or the original")
    reject.add_argument("spots", metavar="SPOT", nargs="+", type=int, help="number of a spot, as in review or sidecar")
    reject.add_argument("--undo", action="store_true", help="correct them after all")
    reject.add_argument("--source", metavar="PATH", type=Path, help="the original or its folder, if it was moved")
    _add_store(reject)
    _add_config(reject)


def _add_map(commands: Any) -> None:
    maps = _verb(commands, "map", None, "look at the dust maps of your bodies and tell them about cleanings")
    map_verbs = maps.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, function, text in (
        ("list", "list_bodies", "list the bodies that have a map"),
        ("show", "show", "draw a body's sensor and list the particles on it"),
        ("cleaned", "cleaned", "note that the sensor was cleaned just now; the old map is kept as history"),
        ("forget", "forget", "delete all that is known about a body; rebuild brings it back"),
        ("rebuild", "rebuild", "add what the sidecars below a folder know to the maps"),
        ("export", "export", "write a body's map with its history into a file, for another computer"),
        ("import", "import_", "take in a map that export wrote"),
    ):
        sub = _verb(map_verbs, name, _in("maps", function), text)
        if name == "rebuild":
            sub.add_argument("folder", metavar="FOLDER", type=Path, help="output folder with sidecars")
            sub.add_argument("--replace", action="store_true", help="forget the bodies' other frames; says how many")
        elif name == "import":
            sub.add_argument("file", metavar="FILE", type=Path, help="file that dustd map export wrote")
            sub.add_argument("--replace", action="store_true", help="in place of the map that the body has already")
        elif name != "list":
            sub.add_argument("body", metavar="BODY", help="body as in map list, or an unmistakable part of it")
        if name == "show":
            sub.add_argument("--png", metavar="FILE", type=Path, help="paint the sensor at f/16 into a file instead")
        elif name == "cleaned":
            sub.add_argument("--undo", action="store_true", help="take the last cleaning back, noted or noticed")
        elif name == "export":
            sub.add_argument("-o", dest="output", metavar="FILE", type=Path, required=True, help="JSON file to write")
        _add_store(sub)
        _add_config(sub)


def _add_report(commands: Any) -> None:
    report = _verb(
        commands, "report", _in("report"), "say how dusty each sensor is, since when, and whether to clean it"
    )
    report.add_argument("body", metavar="BODY", nargs="?", help="this body only; default: all")
    report.add_argument("--html", metavar="FILE", type=Path, help="write a page with pictures of the dust")
    report.add_argument(
        "--frames",
        metavar="FOLDER",
        type=Path,
        action="append",
        help="where to look for frames to cut the pictures from; default: the watched folders",
    )
    report.add_argument("--json", action="store_true", help="print JSON for programs")
    _add_store(report)
    _add_config(report)


def _add_service(commands: Any) -> None:
    service = _verb(commands, "service", None, "have systemd or launchd start dustd, now and always")
    service_verbs = service.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, text in (
        ("install", "write the unit with this installation's path, enable and start it"),
        ("uninstall", "stop it and remove the unit; configuration, maps and outputs stay"),
        ("status", "say how the service manager sees it, then what dustd status says"),
    ):
        sub = _verb(service_verbs, name, _in("service", f"run_{name}"), text)
        sub.add_argument("--system", action="store_true", help="for the whole machine, from boot on; needs sudo")
        if name == "install":
            sub.add_argument("--user", metavar="NAME", help="with --system: who it runs as; default: who calls sudo")
        if name != "uninstall":
            _add_config(sub)
        if name == "status":
            sub.set_defaults(json=False)


def _in(module: str, function: str = "run") -> Verb:
    """Give a verb that lives in a module of this package and is imported when it is said."""

    def verb(args: argparse.Namespace) -> int:
        return getattr(importlib.import_module(f"dustd.cli.{module}"), function)(args)

    return verb


def _verb(commands: Any, name: str, verb: Verb | None, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(verb=verb)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", dest="config", metavar="FILE", type=Path, help="default: ~/.config/dustd/config.yaml")


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", metavar="PATH", help="dust maps to use, file or URL; :memory: keeps none. Default: as configured"
    )


def _sensitivity(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 100")
    return value


def _complain(error: DustdError) -> None:
    where = f"{error.path}: " if error.path else ""
    if "\n" in error.problem:
        print(f"dustd: several problems:\n{where}{error.problem}\n{error.remedy}", file=sys.stderr)
    else:
        print(f"dustd: {where}{error.problem}. {error.remedy}", file=sys.stderr)


def _exit_code(error: DustdError) -> int:
    if isinstance(error, ConfigError | ModelError):
        return CONFIG
    return USAGE if isinstance(error, UsageError) else SOME_FAILED
