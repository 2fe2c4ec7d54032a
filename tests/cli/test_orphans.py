"""Cleaned files whose RAW is gone are listed, and removed only on demand, and only if they are as written."""

import hashlib
import os

import pytest

from dustd.cli import main
from dustd.output import sidecar
from dustd.output.sidecar import Output, Record, Source
from dustd.raw.frame import Camera


@pytest.fixture
def studio(tmp_path):
    """A watched folder with three frames, cleaned."""
    capture = tmp_path / "capture"
    (capture / "Cleaned" / "day").mkdir(parents=True)
    (capture / "day").mkdir()
    for name in ("a", "b", "c"):
        source = capture / "day" / f"{name}.CR3"
        source.write_bytes(name.encode())
        cleaned(capture / "Cleaned" / "day", source)
    (tmp_path / "config.yaml").write_text("folders: [{path: capture}]\nmap: {store: state/maps.sqlite}\n")
    return capture


def cleaned(out, source, name=None):
    """Write what a frame's cleaning leaves; *name*: of a sidecar that was set aside."""
    (out / f"{source.stem}.dng").write_bytes(b"cleaned " + source.stem.encode())
    sha256 = hashlib.sha256((out / f"{source.stem}.dng").read_bytes()).hexdigest()
    about = source.stat()
    record = Record(
        source=Source(name=source.name, size=about.st_size, sha256="1" * 64, mtime_ns=about.st_mtime_ns),
        camera=Camera(),
        status="cleaned",
        outputs=(Output(kind="dng", path=f"{source.stem}.dng", sha256=sha256),),
    )
    (out / (name or sidecar.sidecar_name(source.name))).write_bytes(sidecar.encode(record))


def dustd(studio, *words):
    return main.main([*words, "-c", str(studio.parent / "config.yaml")])


def left(studio):
    return sorted(path.name for path in (studio / "Cleaned").rglob("*") if path.is_file())


def test_what_has_its_raw_is_no_orphan(studio, capsys):
    assert dustd(studio, "status", "--orphans") == 0
    assert dustd(studio, "orphans", "--remove") == 0
    assert "0 RAW files gone." in capsys.readouterr().out and len(left(studio)) == 6


def test_what_lost_its_raw_is_listed_and_removed_on_demand(studio, capsys):
    (studio / "day" / "b.CR3").unlink()
    before = left(studio)
    assert dustd(studio, "status", "--orphans") == 0
    said = capsys.readouterr().out
    assert str(studio / "day" / "b.CR3") in said and str(studio / "Cleaned" / "day" / "b.dng") in said
    assert left(studio) == before
    assert dustd(studio, "orphans", "--remove") == 0
    assert left(studio) == [name for name in before if not name.startswith("b.")]


@pytest.mark.parametrize("touch", ["b.dng", "b.dng.xmp"])
def test_what_another_program_changed_or_uses_stays(studio, touch):
    (studio / "day" / "b.CR3").unlink()
    with (studio / "Cleaned" / "day" / touch).open("ab") as file:
        file.write(b"edited")
    before = left(studio)
    assert dustd(studio, "orphans", "--remove") == 1
    assert left(studio) == before


def test_a_sidecar_that_was_set_aside_has_lost_its_raw_to_another_exposure(studio, capsys):
    source = studio / "day" / "a.CR3"
    (studio / "Cleaned" / "day" / "a.CR3.dustd.json").unlink()
    cleaned(studio / "Cleaned" / "day", source, "a.CR3~11111111.dustd.json")
    source.write_bytes(b"another exposure")
    os.utime(source, ns=(1, 1))
    assert dustd(studio, "orphans") == 0
    assert "a.CR3~11111111.dustd.json" in capsys.readouterr().out


def test_nothing_is_an_orphan_while_the_whole_folder_is_away(studio, capsys):
    settings = studio.parent / "config.yaml"
    settings.write_text("folders: [{path: away}]\noutput: {folder: capture/Cleaned}\nmap: {store: state/maps.sqlite}\n")
    assert dustd(studio, "orphans", "--remove") == 0
    assert "is not there" in capsys.readouterr().out and len(left(studio)) == 6


def test_nothing_is_an_orphan_while_the_folder_is_an_empty_mount_point(studio, capsys):
    (studio.parent / "away").mkdir()
    test_nothing_is_an_orphan_while_the_whole_folder_is_away(studio, capsys)
