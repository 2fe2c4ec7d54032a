"""The command line: parse, dispatch, turn errors into messages and exit codes.

What can be said is in `dustd.cli.parser`, what a verb does in the module of its name.

Exit codes: 0 fine, 1 some frames failed (or the surroundings were in the way), 2 wrong usage, 78 wrong configuration
or model, 130 interrupted.
"""

import io
import os
import sys
from collections.abc import Sequence

from dustd.cli.common import CONFIG, FINE, INTERRUPTED, SOME_FAILED, USAGE
from dustd.cli.parser import build_parser
from dustd.errors import ConfigError, DustdError, ModelError, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a problem is one clear message on standard error."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names need not be Unicode
            stream.reconfigure(errors="backslashreplace")
    try:
        args = build_parser().parse_args(argv)
        exit_code = args.verb(args)
        sys.stdout.flush()
    except DustdError as error:
        _complain(error)
        return _exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough, as in: dustd map list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        print(f"dustd: {where}{exc.strerror or exc}", file=sys.stderr)
        return SOME_FAILED
    return exit_code


def _complain(error: DustdError) -> None:
    where = f"{error.path}: " if error.path else ""
    if "\n" in error.problem:
        print(f"dustd: several problems:\n{where}{error.problem}\n{error.remedy}", file=sys.stderr)
    else:
        print(f"dustd: {where}{error.problem}. {error.remedy}", file=sys.stderr)


def _exit_code(error: DustdError) -> int:
    if isinstance(error, ConfigError | ModelError):
        return CONFIG
    return USAGE if isinstance(error, UsageError) else SOME_FAILED
