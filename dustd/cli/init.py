"""`dustd init`: write a small configuration for the folders that frames land in, and say what to do next.

It never replaces a file, and asks only on a terminal.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dustd import config, files
from dustd.cli import check
from dustd.cli.common import FINE
from dustd.cli.layouts import Layout, recognise
from dustd.errors import ConfigError, DustdError, UsageError


def run(args: argparse.Namespace) -> int:
    """Write a configuration, look it over, name the next two commands."""
    path = (args.config or config.default_path()).absolute()
    if path.exists():
        raise UsageError("there is a configuration already", remedy="Edit it, or name another file with -c", path=path)
    layouts = [_looked_at(folder) for folder in args.folders or _asked_for()]
    for layout in layouts:
        print(f"{layout.watch}: {layout.why}.")
    _write(path, text(layouts))
    print(f"Wrote {path}; every key, with its default and reason: {config.EXAMPLE}\n", flush=True)
    option = "" if path == config.default_path() else f" -c {shlex.quote(str(path))}"
    exit_code = check.run(argparse.Namespace(config=path))
    if exit_code == FINE:
        print(
            f"\nNext, one of these two:\n  dustd run{option}\n      cleans in this terminal, until Ctrl-C\n"
            f"  dustd service install{option}\n      cleans from now on, and again at every login"
        )
    else:
        print(f"\nPut right what is marked FAIL above, then:\n  dustd check{option}\n  dustd run{option}")
    return exit_code


def text(layouts: Sequence[Layout]) -> str:
    """Compose the configuration that *layouts* ask for. Raises UsageError for a name that YAML cannot hold."""
    newest = any(layout.order == "newest" for layout in layouts)
    quiet_s = max((layout.quiet_s for layout in layouts if layout.quiet_s), default=None)
    why = "the frame on the screen goes first" if newest else "as they were shot; newest: the one on the screen first"
    lines = [
        "# Written by dustd init. Check changes with: dustd check. They take effect while dustd runs.",
        "",
        "folders:",
        *(line for layout in layouts for line in _folder(layout)),
        "",
        "sensitivity: 50    # 0: touch nothing real … 100: catch every speck; lower for jewellery, fabric, sand",
        "",
        "output:",
        "  folder: Cleaned  # inside each watched folder, where none is named above",
        "  format: dng      # stays raw; or tiff, jpeg",
        "",
        "watch:",
        f"  order: {'newest' if newest else 'oldest'}    # {why}",
    ]
    if quiet_s:
        lines.append(
            f"  quiet_s: {quiet_s:g}       # seconds without a change after which a file has landed; usual: 1.5"
        )
    return "\n".join(lines) + "\n"


def _folder(layout: Layout) -> Iterator[str]:
    if layout.program:
        yield f"  # {layout.program}: {layout.why.replace(chr(10), ' ')}."
    yield f"  - path: {_quoted(layout.watch)}"
    if layout.output:
        yield f"    output: {_quoted(layout.output)}"


def _quoted(path: Path) -> str:
    """Write a path as a YAML string; JSON's are some."""
    return json.dumps(str(path), ensure_ascii=False)


def _looked_at(folder: Path) -> Layout:
    """Recognise the layout of a folder that must be there."""
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        kind = "it is not a folder" if folder.exists() else "there is no such folder"
        raise UsageError(kind, remedy="Create it, or correct the path", path=folder)
    try:
        str(folder).encode()
        return recognise(folder)
    except UnicodeEncodeError as exc:
        remedy = "Rename it, or watch the folder above it"
        raise UsageError("its name is not UTF-8, which a configuration is", remedy=remedy, path=folder) from exc
    except OSError as exc:
        raise UsageError(f"it cannot be read ({exc.strerror})", remedy="Check its permissions", path=folder) from exc


def _asked_for() -> list[Path]:
    """Ask for folders, on a terminal. Raises UsageError if there is nobody to ask, or no answer."""
    remedy = "Name the folders that your RAW files land in: dustd init FOLDER"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("no folder is named", remedy=remedy)
    folders: list[Path] = []
    question = "Which folder do your RAW files land in? "
    try:
        while answer := input(question).strip():
            folder = Path(answer).expanduser()
            if folder.is_dir():
                folders.append(folder)
                question = "Another one? (Enter: no) "
            else:
                print(f"There is no folder {folder}.")
    except EOFError:
        print()
    if not folders:
        raise UsageError("no folder is named", remedy=remedy)
    return folders


def _write(path: Path, content: str) -> None:
    """Write the configuration if it can be used; leave nothing behind otherwise."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.publish(path, content.encode())
    except OSError as exc:
        raise UsageError(
            f"it cannot be written ({exc.strerror})", remedy="Name another file with -c", path=path
        ) from exc
    except DustdError as error:
        raise UsageError(error.problem, remedy="Name another file with -c", path=path) from error
    try:
        config.load(path)
    except ConfigError as error:
        path.unlink()  # it was made just now, and holds nothing that is not in the command
        problem = error.problem.replace(f"{path}: ", "")
        raise UsageError(f"these folders cannot be watched together: {problem}", remedy="Name others") from error
