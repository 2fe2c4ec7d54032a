"""`dustd reject`: take corrections back, or that back."""

import argparse
from functools import partial

from dustd.cli.verdict import carry_out
from dustd.pipeline.reject import reject


def run(args: argparse.Namespace) -> int:
    """Take corrections back, or that back."""
    return carry_out(args, partial(reject, args.frame, set(args.spots), source=args.source, undo=args.undo))
