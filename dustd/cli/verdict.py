"""What `dustd reject` and `dustd correct` have in common: the maps, the session's page, and what is said at the end."""

import argparse
from pathlib import Path
from typing import Protocol

from dustd import log
from dustd.cli.common import FINE, settings_of
from dustd.config import Config
from dustd.dustmap.schema import MEMORY
from dustd.dustmap.store import Store
from dustd.pipeline.rewrite import Told
from dustd.pipeline.worker_client import WorkerClient
from dustd.report.review_book import SessionPages


class Verdict(Protocol):
    """Changes a frame by a person's word; the arguments are those of `dustd.pipeline.reject.reject`."""

    def __call__(self, *, worker: WorkerClient, store: Store, settings: Config, labelled: Path | None) -> Told:
        """Change it."""


def carry_out(args: argparse.Namespace, verdict: Verdict) -> int:
    """Carry a verdict out, tell the session's page, and say what became of each spot."""
    settings = settings_of(args)
    log.setup(settings.log.format, "error")
    in_memory = str(args.store) == MEMORY
    with Store.open(args.store or settings.map.store) as store, WorkerClient() as worker:
        folder = store.path.parent if store.path else settings.map.state_folder
        if not in_memory:
            folder.mkdir(parents=True, exist_ok=True)  # a server's maps are elsewhere
        labelled = None if in_memory else folder / "labelled"
        told = verdict(worker=worker, store=store, settings=settings, labelled=labelled)
    outputs = [settings.output_folder(each) for each in settings.folders]
    SessionPages(outputs, settings.map.state_folder / "review").retell(told.sidecar.parent, told.record)
    name = told.record.source.name
    for number in told.spots:
        already = "" if number in told.changed else "already "
        spot = next((spot for spot in told.record.spots if spot.id == number), None)
        if spot is None:
            print(f"{name}, spot {number}: as if nobody had asked for it.")
        else:
            print(f"{name}, spot {number}: {already}{spot.action}; {spot.reason}.")
    if not told.counted and in_memory:
        print("No dust map was told, as asked for; dustd map rebuild learns it from the sidecar.")
    elif not told.counted:
        print("The dust map does not know this frame; dustd map rebuild learns it, and this, from the sidecar.")
    return FINE
