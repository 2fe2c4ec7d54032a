"""Let `python -m dustd` do what the `dustd` command does."""

import sys

from dustd.cli.main import main

sys.exit(main())
