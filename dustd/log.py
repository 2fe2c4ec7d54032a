"""Logging, set up once by the command line: in words on a terminal, one JSON object per line otherwise.

A person reads local time with its offset, as in `dustd status`; programs read UTC.

Shell modules log with `structlog.get_logger()`: constant event names, data in keys, frame and body bound once per
frame with `structlog.contextvars.bound_contextvars`. What libraries log or warn goes the same way. Standard error
only; standard output belongs to results.
"""

import datetime
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from dustd import log_words


def setup(form: str = "auto", level: str = "info") -> None:
    """Send log events to standard error from now on.

    *form* is "console", "json" or "auto" (console on a terminal). *level* is "debug", "info", "warning" or "error";
    what was said to `insist_on` goes before it. Libraries are heard from "warning" upwards.
    """
    level = _insisted or level
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _local_time if console else structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _name_library_event],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(console, level)],
        )
    )
    threshold = getattr(logging, level.upper())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))
    logging.getLogger("dustd").setLevel(threshold)
    logging.captureWarnings(True)
    take_over_libraries()
    structlog.configure(
        processors=[
            *([_drop_quiet] if console and level != "debug" else []),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: logging.getLogger("dustd"),
        cache_logger_on_first_use=False,
    )


def setup_as_guest(level: str) -> None:
    """Send our own events to standard error from *level* upwards; whose process it is, logs as it did before."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def insist_on(level: str | None) -> None:
    """Let *level* go before that of every `setup` to come: the command line's before the configuration's."""
    global _insisted
    _insisted = level


_insisted: str | None = None


def take_over_libraries() -> None:
    """Let what libraries log come out as ours does, where they attached handlers of their own when imported."""
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger) and logger.handlers:
            logger.handlers.clear()
            logger.propagate = True


def _renderers(console: bool, level: str) -> list[Any]:
    if console:

        def say(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
            return f"{event['timestamp']}  {log_words.sentence(event, detailed=level == 'debug')}"

        return [structlog.processors.format_exc_info, say]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def _local_time(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    return {**event, "timestamp": datetime.datetime.now().astimezone().isoformat(timespec="seconds")[11:]}


def _drop_quiet(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave out what another event says better a moment later."""
    if event["event"] in log_words.QUIET:
        raise structlog.DropEvent
    return event


def _name_library_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Give what a library says a constant event name; its sentence becomes data."""
    record = event.get("_record")
    return {**event, "event": "library_message", "library": record.name if record else "", "message": event["event"]}
