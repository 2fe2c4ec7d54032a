"""`dustd evaluate`: judge, calibrate and pack a detector."""

import argparse

from dustd.cli.common import FINE, need_training_libraries


def run(args: argparse.Namespace) -> int:
    """Judge a detector against frames with known dust."""
    need_training_libraries("dustd evaluate")
    from dustd.train import evaluate

    evaluate.run(args)
    return FINE
