"""What many tests need: the shared data, where there are any."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real RAW files and photographs; tests that need it skip in a user's clone."""
    if not SHARED_DATA.is_dir():
        pytest.skip("shared/data is not here")
    return SHARED_DATA
