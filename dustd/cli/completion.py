"""`dustd completion`: print what makes a shell complete dustd's verbs, options and files."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import shtab

from dustd.cli import parser
from dustd.cli.common import FINE


def run(args: argparse.Namespace) -> int:
    """Print the completion of a shell."""
    print(script(args.shell))
    return FINE


def script(shell: str) -> str:
    """Give the completion script for *shell*, one of "bash", "zsh" and "tcsh"."""
    whole = parser.build_parser()
    for action in _actions(whole):
        if action.type is Path:
            folders = action.metavar in ("DIR", "FOLDER")
            action.complete = shtab.DIRECTORY if folders else shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(whole, shell=shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # as shtab does: argparse tells it in no other way
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _actions(sub)
