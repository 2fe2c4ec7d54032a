"""What can be said on the command line: every verb with its arguments and their help.

A verb's module is imported when the verb is said, so that no verb pays for a library that another one needs.
"""

import argparse
import importlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dustd import __version__

Verb = Callable[[argparse.Namespace], int]


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; shell completion, the man page and the tests walk it, too."""
    parser = argparse.ArgumentParser(
        prog="dustd",
        description="Takes sensor dust out of RAW files while the shoot goes on. The originals are never touched.",
        epilog="Exit codes: 0 fine, 1 some frames failed, 2 wrong usage, 78 wrong configuration.",
    )
    parser.add_argument("--version", action="version", version=f"dustd {__version__}")
    commands = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    init = _verb(commands, "init", _in("init"), "write a configuration for your folders; asks only on a terminal")
    init.add_argument("folders", metavar="FOLDER", nargs="*", type=Path, help="where your RAW files land")
    _add_config(init)
    run = _verb(commands, "run", _in("run"), "watch folders and clean what lands, until told to stop")
    _add_config(run)
    _add_loudness(run)
    opened = _verb(commands, "open", _in("open"), "open the session page in the browser, and print its address")
    opened.add_argument("--print", action="store_true", help="only print it; it lets a browser in within 10 minutes")
    _add_config(opened)
    _add_clean(commands)
    _add_reject(commands)
    _add_correct(commands)
    _add_map(commands)
    _add_report(commands)
    text = "look at configuration, folders, model, device, limits; say what to fix"
    _add_config(_verb(commands, "check", _in("check"), text))
    demo = _verb(commands, "demo", _in("demo"), "clean a simulated tethered session and judge the result")
    demo.add_argument("folder", metavar="DIR", nargs="?", type=Path, default=Path("demo-out"), help="default: demo-out")
    demo.add_argument("--short", action="store_true", help="four small frames, to see that everything works")
    status = _verb(commands, "status", _in("status"), "say how the daemon does: backlog, last frames, what failed")
    how = status.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON for programs")
    how.add_argument("--watch", action="store_true", help="say it again every second, until Ctrl-C")
    how.add_argument("--orphans", action="store_true", help="list the cleaned files whose RAW is gone")
    _add_config(status)
    orphans = _verb(commands, "orphans", _in("orphans"), "list the cleaned files whose RAW is gone, or remove them")
    orphans.add_argument("--remove", action="store_true", help="remove those that no other program changed or uses")
    _add_config(orphans)
    _add_service(commands)
    retry = _verb(commands, "retry", _in("retry"), "have failed frames tried again, once their cause is put right")
    retry.add_argument(
        "paths", metavar="PATH", nargs="*", type=Path, help="RAW file, or folder of them; default: all that failed"
    )
    _add_config(retry)
    completion = _verb(commands, "completion", _in("completion"), "print what makes your shell complete dustd's words")
    completion.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="where you type")
    _add_train(commands)
    _add_evaluate(commands)
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
    how = clean.add_mutually_exclusive_group()
    how.add_argument("--again", action="store_true", help="decide anew on every frame with what the maps know by now")
    how.add_argument("--one-pass", action="store_true", help="leave the first frames as the maps knew them then")
    clean.add_argument("--dry-run", action="store_true", help="with --again: only say what would change")
    clean.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="spread the work over a Dask cluster: tcp://scheduler:8786, or local for this machine's cores",
    )
    clean.add_argument(
        "--map-path",
        metavar="LOCAL=REMOTE",
        action="append",
        default=[],
        help="with --cluster: what is LOCAL here is REMOTE on the workers; may be given again",
    )
    clean.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], help="what the model runs on")
    clean.add_argument("--model", metavar="ID", help="shipped model, or path of a model folder")
    _add_store(clean)
    _add_config(clean)
    _add_loudness(clean)


def _add_reject(commands: Any) -> None:
    reject = _verb(commands, "reject", _in("reject"), "take corrections back that removed something real")
    reject.add_argument("frame", metavar="FRAME", type=Path, help="cleaned file, its sidecar, or the original")
    reject.add_argument("spots", metavar="SPOT", nargs="+", type=int, help="number of a spot, as in review or sidecar")
    reject.add_argument("--undo", action="store_true", help="correct them after all")
    reject.add_argument("--source", metavar="PATH", type=Path, help="the original or its folder, if it was moved")
    _add_store(reject)
    _add_config(reject)


def _add_correct(commands: Any) -> None:
    correct = _verb(commands, "correct", _in("correct"), "have dust corrected that was left, where you point at it")
    correct.add_argument("frame", metavar="FRAME", type=Path, help="cleaned file, its sidecar, or the original")
    correct.add_argument("place", metavar="X,Y", type=_place, help="pixels of the unrotated frame, as in the sidecar")
    correct.add_argument("--undo", action="store_true", help="take back what you asked for there")
    correct.add_argument("--source", metavar="PATH", type=Path, help="the original or its folder, if it was moved")
    _add_store(correct)
    _add_config(correct)


def _add_map(commands: Any) -> None:
    maps = _verb(commands, "map", None, "look at the dust maps of your bodies and tell them about cleanings")
    map_verbs = maps.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, function, text in (
        ("list", "list_bodies", "list the bodies that have a map"),
        ("show", "show", "draw a body's sensor and list the particles on it"),
        ("cleaned", "cleaned", "note that the sensor was cleaned just now; the old map is kept as history"),
        ("forget", "forget", "delete all that is known about a body; rebuild brings it back"),
        ("rebuild", "rebuild", "add what the sidecars below a folder know to the maps"),
        ("repair", "repair", "look for maps that cannot be read, and learn these again from sidecars"),
        ("export", "export", "write a body's map with its history into a file, for another computer"),
        ("import", "import_", "take in a map that export wrote"),
    ):
        sub = _verb(map_verbs, name, _in("maps", function), text)
        if name == "rebuild":
            sub.add_argument("folder", metavar="FOLDER", type=Path, help="output folder with sidecars")
            sub.add_argument("--replace", action="store_true", help="forget the bodies' other frames; says how many")
        elif name == "repair":
            sub.add_argument(
                "folders",
                metavar="FOLDER",
                type=Path,
                nargs="*",
                help="all stations' output folders; none: only look",
            )
            sub.add_argument(
                "--replace", action="store_true", help="also where frames have no sidecar in these folders"
            )
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
            sub.set_defaults(json=False, watch=False, orphans=False)


def _add_train(commands: Any) -> None:
    train = _verb(commands, "train", _in("train"), "train a detector (needs dustd[train], and photographs)")
    train.add_argument("--photos", type=Path, metavar="FOLDER", help="dust-free photographs to lay dust over")
    train.add_argument("--preview", type=Path, metavar="SHEET.png", help="only draw the dust, with or without photos")
    train.add_argument("--labelled", type=Path, metavar="FOLDER", help="real dusty pictures with COCO labels")
    train.add_argument("--model", metavar="ID", default="dust-small", help="dust-small (default) or dust-medium")
    train.add_argument(
        "--stage", choices=["dense", "set"], default="dense", help="default: dense; set continues a dense run"
    )
    train.add_argument("--from", dest="start", type=Path, metavar="WEIGHTS", help="begin with these, not at random")
    train.add_argument("--run", type=Path, metavar="FOLDER", help="for checkpoints and curves; default: runs/MODEL")
    train.add_argument("--hours", type=float, metavar="H", default=2.0, help="training time; default: 2")
    train.add_argument("--device", choices=["cpu", "cuda", "mps"], help="default: cuda if there is one, else cpu")
    train.add_argument("--batch", type=int, metavar="N", help="crops per step; default: 8 on a CPU, 32 elsewhere")
    train.add_argument("--crop", type=int, metavar="PX", help="crop side; default: 256 on a CPU, 512 elsewhere")
    train.add_argument("--rate", type=float, metavar="R", default=4e-4, help="peak learning rate; default: 0.0004")
    train.add_argument("--workers", type=int, metavar="N", help="data workers; default: 1 on a CPU, else cores - 1")
    train.add_argument(
        "--threads", type=int, metavar="N", default=os.cpu_count() or 1, help="CPU threads; default: all cores"
    )
    train.add_argument("--seed", type=int, metavar="N", default=1, help="of all that is drawn; default: 1")
    train.add_argument("--steps", type=int, metavar="N", help="stop after so many steps even if time is left")
    train.add_argument("--validation-crops", type=int, metavar="N", help="default: as many as make 31.5 megapixels")
    train.add_argument(
        "--evaluate-every", type=float, metavar="MINUTES", default=12.0, help="between validations; default: 12"
    )
    train.add_argument("--compile", action="store_true", help="torch.compile the network: 90 s at first, then faster")


def _add_evaluate(commands: Any) -> None:
    text = "judge, calibrate and pack a detector (needs dustd[train], and photographs)"
    evaluate = _verb(commands, "evaluate", _in("evaluate"), text)
    evaluate.add_argument(
        "--photos", type=Path, metavar="FOLDER", required=True, help="what training used; held-out ones count"
    )
    evaluate.add_argument(
        "--dusty",
        type=Path,
        metavar="FOLDER",
        nargs="+",
        default=[],
        help="real dusty frames, each folder with a dust_labels.csv",
    )
    evaluate.add_argument("--model", default="default", metavar="ID", help="id or folder of the model to judge")
    makes = evaluate.add_mutually_exclusive_group()
    makes.add_argument("--pack", type=Path, metavar="RUN", help="first pack RUN/best.pt into the --model folder")
    makes.add_argument("--calibrate", action="store_true", help="write what is measured into the --model folder's card")
    evaluate.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        default=Path("runs/evaluation"),
        help="for figures and pictures; default: runs/evaluation",
    )
    evaluate.add_argument(
        "--frames", type=int, metavar="N", default=12, help="held-out photographs to judge, at most; default: 12"
    )
    evaluate.add_argument(
        "--tune-baseline", action="store_true", help="only tune the classical filters; writes baseline.csv"
    )


def _in(module: str, function: str = "run") -> Verb:
    """Give a verb that lives in a module of this package, which is imported when it is said."""

    def verb(args: argparse.Namespace) -> int:
        return getattr(importlib.import_module(f"dustd.cli.{module}"), function)(args)

    return verb


def _verb(commands: Any, name: str, verb: Verb | None, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(verb=verb)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", dest="config", metavar="FILE", type=Path, help="default: ~/.config/dustd/config.yaml")


def _add_loudness(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "-v", dest="level", action="store_const", const="debug", help="say everything; goes before log.level"
    )
    how.add_argument("-q", dest="level", action="store_const", const="warning", help="say only what goes wrong")


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", metavar="PATH", help="dust maps to use, file or URL; :memory: keeps none. Default: as configured"
    )


def _place(text: str) -> tuple[float, float]:
    x, comma, y = text.partition(",")
    try:
        place = float(x), float(y)
    except ValueError:
        place = math.nan, math.nan
    if not comma or not all(map(math.isfinite, place)):
        raise argparse.ArgumentTypeError(f"{text} is not a place; say it like 1204,877")
    return place


def _sensitivity(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 100")
    return value
