"""Sensitivities that a person asked for on the session page: the last word counts, and outlives a restart."""

import os

import pytest

from dustd.config import Config, FolderSettings
from dustd.daemon.wishes import FILE_NAME, Wish, Wishes


@pytest.fixture
def shoot(tmp_path):
    folder = tmp_path / "shoot"
    folder.mkdir()
    for number in range(1, 5):
        (folder / f"{number}.nef").touch()
        os.utime(folder / f"{number}.nef", ns=(number, number))
    return folder


def wish(shoot, value, *, frame=None, since=None):
    name = None if frame is None else str(shoot / f"{frame}.nef")
    return Wish(folder=str(shoot), value=value, frame=name, since_ns=since)


def values(shoot, wishes, settings):
    return [wishes.sensitivity_of("body", shoot / f"{number}.nef", settings) for number in range(1, 5)]


def test_a_later_word_goes_before_an_earlier_one_where_both_hold(tmp_path, shoot):
    settings, wishes = Config(folders=(FolderSettings(path=shoot),)), Wishes(tmp_path)
    wishes.add(wish(shoot, 80, frame=2), settings)
    assert values(shoot, wishes, settings) == [50, 80, 50, 50]
    wishes.add(wish(shoot, 30, since=3), settings)
    assert values(shoot, wishes, settings) == [50, 80, 30, 30]
    wishes.add(wish(shoot, 60, frame=4), settings)
    assert values(shoot, wishes, settings) == [50, 80, 30, 60]
    wishes.add(wish(shoot, 10), settings)
    assert values(shoot, wishes, settings) == [10] * 4


def test_wishes_outlive_a_restart_and_only_those_are_kept_that_still_matter(tmp_path, shoot):
    settings, wishes = Config(folders=(FolderSettings(path=shoot),)), Wishes(tmp_path)
    for value in range(50):
        wishes.add(wish(shoot, value, since=3), settings)
    wishes.order_now("newest")
    again = Wishes(tmp_path)
    assert values(shoot, again, settings) == [50, 50, 49, 49] and again.order == "newest"
    assert (tmp_path / FILE_NAME).read_text().count('"value"') == 1


def test_a_sensitivity_that_changes_in_the_configuration_goes_before_all_wishes(tmp_path, shoot):
    settings, wishes = Config(folders=(FolderSettings(path=shoot),)), Wishes(tmp_path)
    wishes.add(wish(shoot, 10), settings)
    changed = Config(folders=(FolderSettings(path=shoot, sensitivity=70),))
    assert values(shoot, wishes, changed) == [70] * 4


def test_a_file_that_cannot_be_read_counts_as_nothing(tmp_path, shoot):
    settings = Config(folders=(FolderSettings(path=shoot),))
    (tmp_path / FILE_NAME).write_text("{")
    assert values(shoot, Wishes(tmp_path), settings) == [50] * 4
