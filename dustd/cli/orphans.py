"""`dustd orphans`: cleaned files whose RAW is gone are listed, and removed when a person says so."""

import argparse
from collections.abc import Iterator

from dustd import config
from dustd.cli.common import FINE, SOME_FAILED
from dustd.config import Config
from dustd.output import orphans
from dustd.output.orphans import Orphan
from dustd.text import counted


def run(args: argparse.Namespace) -> int:
    """List the orphans of the watched folders, or remove them."""
    settings = config.load(args.config or config.default_path())
    return _remove(settings) if args.remove else tell(settings)


def tell(settings: Config) -> int:
    """List the orphans, and say what removes them."""
    found = 0
    for orphan in _orphans(settings):
        found += 1
        print(f"{orphan.source} is gone; there are still {', '.join(map(str, (*orphan.outputs, orphan.sidecar)))}")
    print(
        f"{counted(found, 'RAW file')} gone."
        + (" dustd orphans --remove removes what is left of them." if found else "")
    )
    return FINE


def _remove(settings: Config) -> int:
    removed = kept = 0
    for orphan in _orphans(settings):
        if orphans.remove(orphan):
            removed += 1
        else:
            kept += 1
            print(f"{orphan.sidecar}: kept; another program has changed what it lists, or uses it.")
    print(f"The outputs of {counted(removed, 'RAW file')} that are gone were removed, those of {kept} kept.")
    return SOME_FAILED if kept else FINE


def _orphans(settings: Config) -> Iterator[Orphan]:
    for folder in settings.folders:
        if orphans.is_away(folder.path):
            print(f"{folder.path} is not there or empty, so nothing is said of its outputs.")
        yield from orphans.find(folder.path, settings.output_folder(folder))
