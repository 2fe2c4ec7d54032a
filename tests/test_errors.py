import errno
import os
from pathlib import Path

import pytest

from dustd.errors import FrameError, UnreadableError, cannot_be_read, without_folders


@pytest.mark.parametrize("number", ["EACCES", "EIO", "ESTALE", "ETIMEDOUT", "EMFILE", "EBUSY", "ENODEV", "EHOSTDOWN"])
def test_what_can_pass_is_waited_for(number):
    exc = OSError(getattr(errno, number), os.strerror(getattr(errno, number)))
    error = cannot_be_read(exc, Path("/shoot/a.nef"))
    assert type(error) is UnreadableError
    assert exc.strerror in error.problem and "permissions" in error.remedy


@pytest.mark.parametrize(
    "exc", [OSError(errno.EINVAL, "no"), OSError("cannot identify it"), FileNotFoundError(2, "no")]
)
def test_what_cannot_pass_is_not(exc):
    assert type(cannot_be_read(exc, Path("/shoot/a.nef"))) is FrameError


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("[Errno 5] Input/output error: '/home/jo/My Shoots/a.nef'", "[Errno 5] Input/output error: '…/a.nef'"),
        ("/mnt/nas/day 1/b.nef: cut short", "…/b.nef: cut short"),
        ("see ~/.config/dustd/config.yaml", "see …/config.yaml"),
        ("RAW and/or JPEG, f/8 at 1/125 s", "RAW and/or JPEG, f/8 at 1/125 s"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("its 2×2 colour pattern", "its 2×2 colour pattern"),
    ],
)
def test_folders_are_cut_off_paths_and_nothing_else(text, clean):
    assert without_folders(text) == clean
