"""`dustd init` writes a configuration that works, for folders of the programs that it knows, and overwrites none."""

import os
import subprocess
import sys

import pytest

from dustd import config
from dustd.cli import main
from dustd.cli.layouts import recognise


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))
    monkeypatch.chdir(tmp_path)


def made(path, *names):
    """Make a folder with files and folders (names that end in /) in it."""
    path.mkdir(parents=True)
    for name in names:
        if name.endswith("/"):
            (path / name).mkdir()
        else:
            (path / name).touch()
    return path


def dustd(*words):
    return main.main([str(word) for word in words])


def written():
    return config.load(config.default_path())


# --- layouts ------------------------------------------------------------------------------------------------------


def test_a_capture_one_session_is_watched_where_it_captures_and_cleaned_beside_that(tmp_path):
    session = made(tmp_path / "Shoot", "Shoot.cosessiondb", "Capture/", "Output/", "Selects/", "Trash/")
    for named in (session, session / "Capture"):
        layout = recognise(named)
        assert layout.program == "Capture One"
        assert (layout.watch, layout.output, layout.order) == (session / "Capture", session / "Cleaned", "newest")


@pytest.mark.parametrize(
    ("program", "folder", "names", "order"),
    [
        ("gphoto2", "tether", ["capt0000.cr2"], "oldest"),
        ("gphoto2", "tether", ["tmpfileAb12Cd"], "oldest"),
        ("digiCamControl", "digiCamControl/Session1", ["DSC_0001.NEF"], "newest"),
        ("Lightroom", "Lightroom/2026", [], "newest"),
        ("Lightroom", "Studio Session", [], "newest"),
        ("", "Shoots/Shoot", ["DSC_0001.NEF", "notes.txt"], "oldest"),
    ],
)
def test_the_folders_of_other_programs_are_watched_themselves(tmp_path, program, folder, names, order):
    made(tmp_path / "Lightroom", "Lightroom Catalog.lrcat")
    layout = recognise(made(tmp_path / folder, *names))
    assert (layout.program, layout.order, layout.watch, layout.output) == (program, order, tmp_path / folder, None)


# --- the configuration ----------------------------------------------------------------------------------------------


def test_what_is_written_works_and_the_next_commands_are_named(tmp_path, capsys):
    folder = made(tmp_path / 'a "strange" name: #1', "capt0001.nef")
    assert dustd("init", folder) == 0
    assert [each.path for each in written().folders] == [folder]
    said = capsys.readouterr().out
    assert "ok    configuration" in said
    assert "dustd run\n" in said and "dustd service install\n" in said


def test_a_session_brings_its_output_and_its_order(tmp_path):
    session = made(tmp_path / "Shoot", "Shoot.cosessiondb", "Capture/")
    other = made(tmp_path / "plain")
    assert dustd("init", session, other) == 0
    settings = written()
    outputs = [settings.output_folder(folder) for folder in settings.folders]
    assert outputs == [session / "Cleaned", other / "Cleaned"]
    assert settings.watch.order == "newest"


def test_another_file_is_named_in_the_next_commands(tmp_path, capsys):
    assert dustd("init", made(tmp_path / "in"), "-c", "mine.yaml") == 0
    assert f"dustd run -c {tmp_path / 'mine.yaml'}\n" in capsys.readouterr().out
    assert not config.default_path().exists()


def test_a_configuration_that_is_there_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("folders: []  # mine\n")
    assert dustd("init", made(tmp_path / "in"), "-c", "mine.yaml") == 2
    assert (tmp_path / "mine.yaml").read_text() == "folders: []  # mine\n"
    assert "already" in capsys.readouterr().err


def test_folders_that_cannot_be_watched_together_leave_nothing_behind(tmp_path, capsys):
    outer = made(tmp_path / "outer", "inner/")
    assert dustd("init", outer, outer / "inner") == 2
    assert "inside the other" in capsys.readouterr().err
    assert not config.default_path().exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert dustd("init", tmp_path / "gone") == 2
    assert "no such folder" in capsys.readouterr().err


def test_nobody_is_asked_where_there_is_no_terminal(tmp_path):
    command = [sys.executable, "-m", "dustd", "init"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "dustd init FOLDER" in done.stderr and done.stdout == ""


def test_on_a_terminal_the_folder_is_asked_for(tmp_path):
    folder = made(tmp_path / "in")
    ours, theirs = os.openpty()
    child = subprocess.Popen([sys.executable, "-m", "dustd", "init"], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, f"{tmp_path / 'gone'}\n{folder}\n\n".encode())
    said = b""
    while chunk := read(ours):
        said += chunk
    os.close(ours)
    assert child.wait(60) == 0, said
    assert b"There is no folder" in said and b"Which folder" in said
    assert [each.path for each in written().folders] == [folder]


def read(terminal):
    """Read what a terminal shows; nothing once everybody has left it."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
