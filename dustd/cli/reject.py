"""`dustd reject`: take corrections back, or that back."""

import argparse

from dustd import log
from dustd.cli.common import FINE, settings_of
from dustd.dustmap.schema import MEMORY
from dustd.dustmap.store import Store
from dustd.pipeline.reject import reject
from dustd.pipeline.worker_client import WorkerClient
from dustd.report.review_book import SessionPages


def run(args: argparse.Namespace) -> int:
    """Take corrections back, or that back."""
    settings = settings_of(args)
    log.setup(settings.log.format, "error")
    in_memory = str(args.store) == MEMORY
    with Store.open(args.store or settings.map.store) as store, WorkerClient() as worker:
        folder = store.path.parent if store.path else settings.map.state_folder
        if not in_memory:
            folder.mkdir(parents=True, exist_ok=True)  # a server's maps are elsewhere
        told = reject(
            args.frame,
            set(args.spots),
            worker=worker,
            store=store,
            settings=settings,
            labelled=None if in_memory else folder / "labelled",
            source=args.source,
            undo=args.undo,
        )
    outputs = [settings.output_folder(each) for each in settings.folders]
    SessionPages(outputs, settings.map.state_folder / "review").retell(told.sidecar.parent, told.record)
    name = told.record.source.name
    for spot in told.record.spots:
        if spot.id in args.spots:
            already = "" if spot.id in told.changed else "already "
            print(f"{name}, spot {spot.id}: {already}{spot.action}; {spot.reason}.")
    if not told.counted and in_memory:
        print("No dust map was told, as asked for; dustd map rebuild learns the verdict from the sidecar.")
    elif not told.counted:
        print("The dust map does not know this frame; dustd map rebuild learns it, and the verdict, from the sidecar.")
    return FINE
