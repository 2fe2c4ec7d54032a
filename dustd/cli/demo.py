"""`dustd demo`: a simulated tethered session, cleaned by the real program and judged."""

import argparse

from dustd.demo import session


def run(args: argparse.Namespace) -> int:
    """Run the simulated session."""
    if args.short:
        return session.run(args.folder, frames=4, width=1500, height=1000)
    return session.run(args.folder)
