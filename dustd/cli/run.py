"""`dustd run`: the daemon, in the foreground; systemd and launchd start this."""

import argparse

import structlog

from dustd import config, log
from dustd.cli.common import FINE, detector_of, make_pipeline
from dustd.daemon import application, loop, systemd
from dustd.daemon.lock import only_one
from dustd.daemon.plan import plan_of
from dustd.daemon.reload import ConfigFile
from dustd.dustmap.recovery import open_store
from dustd.pipeline.worker_client import WorkerClient

logger = structlog.get_logger()


def run(args: argparse.Namespace) -> int:
    """Watch and clean until told to stop."""
    loop.ignore_hangup()
    file = ConfigFile(args.config or config.default_path())
    settings = config.load(file.path)
    log.insist_on(args.level)
    log.setup(settings.log.format, settings.log.level)
    logger.info("starting", config=str(file.path))
    outputs = [folder.output for folder in plan_of(settings).folders]
    with (
        only_one(settings.map.state_folder),
        open_store(settings.map.store, outputs, systemd.heartbeat) as store,
        WorkerClient(heartbeat=systemd.heartbeat) as worker,
    ):
        pipeline = make_pipeline(settings, store, worker, settings.sensitivity_of, systemd.heartbeat)
        application.serve(settings, pipeline, file=file, load_model=detector_of)
    return FINE
