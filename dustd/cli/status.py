"""`dustd status`: how the daemon does."""

import argparse
import contextlib
import datetime
import os
import sys
import time
from pathlib import Path

from dustd import codec, config
from dustd.cli import orphans
from dustd.cli.common import FINE, SOME_FAILED
from dustd.daemon import lock, status
from dustd.errors import ConfigError, UsageError

EVERY_S = 1.0
_CLEAR = "\x1b[H\x1b[J"  # ECMA-48: to the top left corner, erase from there on


def run(args: argparse.Namespace) -> int:
    """Say how the daemon does, once or until Ctrl-C."""
    if args.orphans:
        return orphans.tell(config.load(args.config or config.default_path()))
    if not args.watch:
        return _say(args)
    if not sys.stdout.isatty():
        raise UsageError("--watch needs a terminal", remedy="Leave it out; --json is for programs")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            _say(args, before=_CLEAR)
            sys.stdout.flush()
            time.sleep(EVERY_S)
    return FINE


def _say(args: argparse.Namespace, before: str = "") -> int:
    if args.config and not args.config.exists():
        remedy = "Name the configuration that the daemon runs with"
        raise ConfigError("there is no such file", remedy=remedy, path=args.config)
    state_folder = config.state_folder_of(args.config or config.default_path())
    pid = lock.holder(state_folder)
    try:
        state = status.decode((state_folder / status.FILE_NAME).read_bytes())
    except (OSError, ValueError):
        state = None
    if args.config and state is not None and state.config and not _same(args.config, state.config):
        raise ConfigError(
            "no dustd runs with this configuration",
            remedy=f"The one that uses the same maps was started with {state.config}",
            path=args.config,
        )
    if args.json:
        said = {"running": pid is not None, **(status.to_dict(state) if state else {})}
        print(codec.to_bytes(said, indent=2).decode(), end="")
    else:
        print(before + status.words(state, pid, datetime.datetime.now().astimezone()), end="")
    return FINE if pid is not None else SOME_FAILED


def _same(one: Path, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
