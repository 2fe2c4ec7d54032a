"""`dustd correct`: have dust corrected that was left, or take that back."""

import argparse
from functools import partial

from dustd.cli.verdict import carry_out
from dustd.pipeline.correct_place import correct_place


def run(args: argparse.Namespace) -> int:
    """Have dust corrected that was left, or take that back."""
    return carry_out(args, partial(correct_place, args.frame, *args.place, source=args.source, undo=args.undo))
