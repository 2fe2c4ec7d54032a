"""`dustd status`: how the daemon does."""

import argparse
import datetime
import json

from dustd import config
from dustd.cli.common import FINE, SOME_FAILED
from dustd.daemon import lock, status
from dustd.errors import ConfigError


def run(args: argparse.Namespace) -> int:
    """Say how the daemon does."""
    if args.config and not args.config.exists():
        remedy = "Name the configuration that the daemon runs with"
        raise ConfigError("there is no such file", remedy=remedy, path=args.config)
    state_folder = config.state_folder_of(args.config or config.default_path())
    pid = lock.holder(state_folder)
    try:
        state = status.decode((state_folder / status.FILE_NAME).read_bytes())
    except (OSError, ValueError):
        state = None
    if args.json:
        print(json.dumps({"running": pid is not None, **(status.to_dict(state) if state else {})}, indent=2))
    else:
        print(status.words(state, pid, datetime.datetime.now().astimezone()), end="")
    return FINE if pid is not None else SOME_FAILED
