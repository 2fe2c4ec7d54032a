"""Programs that some tests need. Without them a user's run skips; CI, which installs them, fails."""

import os
import shutil
from typing import NoReturn

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
EVERY = "DUSTD_EVERY_PROGRAM"  # set by .ci/run: none may be missing


def installed(*names: str) -> str:
    """Return the path of the first program of these names that is installed; skip or fail where none is."""
    found = next(filter(None, map(shutil.which, names)), None)
    return found or absent(f"{names[0]} is not installed")


def absent(reason: str) -> NoReturn:
    """Skip the test, or fail it where every program must be there."""
    if os.environ.get(EVERY):
        pytest.fail(f"{reason}, and {EVERY} is set")
    pytest.skip(reason)
