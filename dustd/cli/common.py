"""What several verbs need: exit codes, settings, the store, the pipeline."""

import argparse
import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dustd.errors import DustdError, UsageError

if TYPE_CHECKING:
    from dustd.config import Config, ModelSettings
    from dustd.detector.model import RfDetrDetector
    from dustd.dustmap.store import Store
    from dustd.pipeline.shoot import Shoot
    from dustd.pipeline.worker_client import WorkerClient


FINE, SOME_FAILED, USAGE, CONFIG, INTERRUPTED = 0, 1, 2, 78, 130  # exit codes; 78 is EX_CONFIG of sysexits.h


def settings_of(args: argparse.Namespace) -> "Config":
    """Read the configuration that was named, else the usual one if there is one, else take the defaults."""
    from dustd import config

    if args.config:
        return config.load(args.config, watching=False)
    usual = config.default_path()
    return config.load(usual, watching=False) if usual.exists() else config.Config()


def open_store(args: argparse.Namespace) -> "Store":
    """Open the store that was named, else that of the configuration."""
    from dustd.dustmap.store import Store

    return Store.open(args.store or settings_of(args).map.store)


def find_body(store: "Store", wanted: str) -> str:
    """Find the body that *wanted* names, in full or by an unmistakable part."""
    from dustd.dustmap.pixels import body_of

    known = store.body_ids()
    found = [body_id for body_id in known if body_id == wanted] or [
        body_id for body_id in known if wanted.casefold() in body_id.casefold()
    ]
    bodies = [body_id for body_id in found if body_of(body_id) == body_id]
    if len(bodies) == 1 and all(body_of(body_id) == bodies[0] for body_id in found):
        return bodies[0]  # the others are its maps for other sizes
    if len(found) != 1:
        problem = f"{wanted!r} may be any of {', '.join(found)}" if found else f"there is no map of {wanted!r}"
        raise UsageError(problem, remedy="dustd map list shows the bodies; name one of them")
    return found[0]


def publish(path: Path, data: bytes, *, ours: Callable[[bytes], bool]) -> None:
    """Write a file whole or not at all; over an earlier one only if it is of the same kind."""
    from dustd import files

    path = path.absolute()
    try:
        old = path.read_bytes() if path.is_file() else b""
        files.publish(path, data, ours=[hashlib.sha256(old).hexdigest()] if ours(old) else ())
    except OSError as exc:
        raise UsageError(f"cannot be written ({exc.strerror})", remedy="Name another file", path=path) from exc
    except DustdError as error:
        raise UsageError(error.problem, remedy="Name another file", path=path) from error


def make_pipeline(
    settings: "Config",
    store: "Store",
    worker: "WorkerClient",
    sensitivity_of: Callable[[str, Path], float],
    heartbeat: Callable[[], None] = lambda: None,
) -> "Shoot":
    """Load and warm the model, and join it with the maps."""
    from dustd import system
    from dustd.pipeline.shoot import Shoot

    system.keep_freed_memory()  # of one frame, for the next
    detector = detector_of(settings.model)
    stacks = store.path.parent / "stacks" if store.path else None
    return Shoot(
        detector=detector,
        store=store,
        worker=worker,
        output=settings.output,
        sensitivity_of=sensitivity_of,
        stacks=stacks,
        heartbeat=heartbeat,
    )


def need_training_libraries(what: str) -> None:
    """Raise UsageError, naming the remedy, if what *what* needs to train or judge a detector is not installed."""
    missing = [name for name in ("torch", "torchvision", "rfdetr", "matplotlib") if find_spec(name) is None]
    if missing:
        problem = f"{what} needs {', '.join(missing)}, which the light installation leaves out"
        raise UsageError(problem, remedy="Install what is missing: pip install 'dustd[train]'")


def detector_of(model: "ModelSettings") -> "RfDetrDetector":
    """Load and warm the model that the settings name. Raises ModelError if it cannot be used."""
    import structlog

    from dustd import log
    from dustd.detector.model import load_as_set

    detector = load_as_set(model)
    log.take_over_libraries()  # again: those just imported have brought handlers of their own
    structlog.get_logger().info(
        "model_ready", model=detector.model_id, device=detector.device, preview=detector.preview
    )
    return detector
