"""`dustd retry`: failed frames are tried again."""

import argparse

from dustd import config, system
from dustd.cli.common import FINE
from dustd.daemon import lock
from dustd.daemon.plan import plan_of
from dustd.daemon.retries import failed


def run(args: argparse.Namespace) -> int:
    """Have failed frames tried again, and what waits for disk or share at once."""
    settings = config.load(args.config or config.default_path())
    frames = 0
    for _, sidecar in failed(plan_of(settings).folders, args.paths):
        sidecar.unlink(missing_ok=True)
        frames += 1
    pid = lock.holder(settings.map.state_folder)
    when = (
        "now" if pid and system.hang_up(pid) else f"within {settings.watch.rescan_s:g} s" if pid else "when dustd runs"
    )
    print(f"{frames} failed {'frame is' if frames == 1 else 'frames are'} tried again {when}.")
    return FINE
