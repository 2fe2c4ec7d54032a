import dataclasses
import os

import pytest

from dustd.config import Config, MapSettings, ModelSettings
from dustd.daemon.reload import REST_S, ConfigFile, needs_restart
from dustd.errors import ConfigError

FIRST = "folders: [{path: in}]\nsensitivity: 40\n"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(tmp_path, clock):
    (tmp_path / "config.yaml").write_text(FIRST)
    return ConfigFile(tmp_path / "config.yaml", clock)


def read(file, clock, after_s=0.0, asked=False):
    clock.now += after_s
    return file.read_again(asked=asked)


def test_a_file_that_stays_as_it_is_is_not_read_again(file, clock):
    assert read(file, clock, 100.0) is None


def test_a_change_counts_once_it_has_rested_and_only_once(file, clock):
    file.path.write_text(FIRST.replace("40", "4"))  # an editor that writes in pieces
    assert read(file, clock) is None
    file.path.write_text(FIRST.replace("40", "45.5"))
    assert read(file, clock, 0.9 * REST_S) is None
    assert read(file, clock, 0.9 * REST_S) is None
    assert read(file, clock, 0.2 * REST_S).sensitivity == 45.5
    assert read(file, clock, 100.0) is None


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_noticed(file, clock, tmp_path):
    stat = file.path.stat()
    (tmp_path / "new").write_text(FIRST.replace("40", "50"))
    os.utime(tmp_path / "new", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (tmp_path / "new").replace(file.path)
    read(file, clock)
    assert read(file, clock, 1.1 * REST_S).sensitivity == 50


def test_whoever_asks_gets_it_at_once(file, clock):
    file.path.write_text(FIRST.replace("40", "50"))
    assert read(file, clock, asked=True).sensitivity == 50
    assert read(file, clock, asked=True).sensitivity == 50
    assert read(file, clock, 100.0) is None


def test_a_mistake_is_told_once_per_change(file, clock):
    file.path.write_text("sensitivity: 400\n")
    read(file, clock)
    with pytest.raises(ConfigError, match="out of range"):
        read(file, clock, 1.1 * REST_S)
    assert read(file, clock, 100.0) is None


def test_a_moment_without_the_file_is_how_some_editors_write(file, clock):
    file.path.unlink()
    assert read(file, clock) is None
    file.path.write_text(FIRST.replace("40", "50"))
    assert read(file, clock, 0.5) is None
    assert read(file, clock, 1.1 * REST_S).sensitivity == 50


def test_only_the_maps_need_a_restart(tmp_path):
    old = Config()
    assert needs_restart(old, dataclasses.replace(old, sensitivity=10, model=ModelSettings(id="x"))) == ()
    assert needs_restart(old, dataclasses.replace(old, map=MapSettings(store=tmp_path / "m"))) == ("map.store",)
