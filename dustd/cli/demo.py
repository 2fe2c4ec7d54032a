"""`dustd demo`: a simulated tethered session, cleaned by the real program and judged."""

import argparse

from dustd.demo import session


def run(args: argparse.Namespace) -> int:
    """Run the simulated session."""
    return session.run(args.folder)
