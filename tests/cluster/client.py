"""A client of the tests' cluster, to be killed: python -m tests.cluster.client SCHEDULER_FILE SHOOT OUT STORE."""

import sys
from pathlib import Path

from distributed import Client

from dustd.errors import DustdError
from tests.cluster.studio import clean, crew_with, jobs_of


def main() -> int:
    scheduler_file, *paths = sys.argv[1:]
    shoot, out, store = map(Path, paths)
    try:
        with Client(scheduler_file=scheduler_file, timeout=30) as client, crew_with(out, store, client) as crew:
            return 1 if clean(crew, jobs_of(shoot, out)) else 0
    except DustdError as error:
        print(error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
