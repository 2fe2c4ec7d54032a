"""`dustd train`: teach a detector to see dust."""

import argparse

from dustd.cli.common import FINE, need_training_libraries


def run(args: argparse.Namespace) -> int:
    """Train, or draw what would be learnt."""
    need_training_libraries("dustd train")
    from dustd.train import trainer

    trainer.run(args)
    return FINE
