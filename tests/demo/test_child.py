import pytest

from dustd.demo.child import Daemon
from dustd.errors import SurroundingsError


def test_a_daemon_that_does_not_start_is_explained_with_its_own_words(tmp_path):
    (tmp_path / "config.yaml").write_text("folder: capture\n")
    with Daemon(tmp_path / "config.yaml", tmp_path / "log") as daemon, pytest.raises(SurroundingsError) as caught:
        daemon.wait_until_ready()
    assert caught.value.problem == "dustd run ended by itself with exit code 78"
    assert "did you mean folders" in caught.value.remedy
