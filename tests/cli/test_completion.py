"""What `dustd completion` prints makes a real shell complete verbs and options."""

import shutil
import subprocess

import pytest

from dustd.cli.completion import script


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
@pytest.mark.parametrize(
    ("typed", "offered"), [("dustd st", "status"), ("dustd map sh", "show"), ("dustd clean --sens", "--sensitivity")]
)
def test_bash_completes_verbs_and_options(typed, offered):
    words = typed.split()
    asked = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _shtab_dustd; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", f"{script('bash')}\n{asked}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [offered]


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_are_served(shell):
    assert all(verb in script(shell) for verb in ("clean", "reject", "status"))
