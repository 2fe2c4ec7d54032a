"""`dustd open`: the session page in a browser."""

import argparse
import webbrowser

from dustd import config
from dustd.cli.common import FINE
from dustd.daemon import lock
from dustd.errors import UsageError
from dustd.web import access


def run(args: argparse.Namespace) -> int:
    """Open the running daemon's page in the browser, or only print where it is."""
    state_folder = config.state_folder_of(args.config or config.default_path())
    if lock.holder(state_folder) is None:
        raise UsageError("dustd is not running", remedy="Start it: dustd run, or dustd service install")
    door = access.read(state_folder)
    if door is None or door.address is None:
        remedy = "Look at dustd status, and at web.port in the configuration (0: no page)"
        raise UsageError("the running dustd serves no page", remedy=remedy)
    page = f"{door.address}/open?token={access.ticket(bytes.fromhex(door.secret), 'open')}"
    print(page)
    if not args.print:
        webbrowser.open(page)
    return FINE
