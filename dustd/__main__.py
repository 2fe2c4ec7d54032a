"""Let `python -m dustd` do what the `dustd` command does."""

import sys

from dustd.cli import main

sys.exit(main())
