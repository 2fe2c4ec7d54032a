import hashlib
import os
from pathlib import Path

import pytest

from dustd.daemon.scan import is_candidate, is_network, look_at, scan
from dustd.output.sidecar import Output, Record, Source, encode
from dustd.raw.frame import Camera

ROOT = Path("/shoot")
OUT = Path("/shoot/Cleaned")


@pytest.mark.parametrize(
    "name", ["IMG_1.CR3", "img.nef", "day 1/cam-b/DSCF1.RAF", "a.dng", "Outputs/a.arw", "CaptureOne.x/b.iiq", "c.d.ORF"]
)
def test_raw_files_are_candidates(name):
    assert is_candidate(ROOT / name, ROOT, [OUT])


@pytest.mark.parametrize(
    "name",
    [
        "IMG_1.JPG",
        "IMG_1",
        "._IMG_1.NEF",
        ".hidden/IMG_1.NEF",
        "tmpfileab12Cd",
        ".syncthing.IMG_1.NEF.tmp",
        "~syncthing~IMG_1.NEF.tmp",
        "~syncthing~IMG_1.NEF",
        "IMG_1.NEF.tmp",
        "IMG_1.NEF.part",
        "IMG_1.NEF.filepart",
        "IMG_1.NEF.crdownload",
        ".dustd-12-0.tmp",
        "CaptureOne/Cache/Proxies/IMG_1.NEF.cof",
        "CaptureOne/Settings161/IMG_1.NEF",
        "captureone/IMG_1.NEF",
        "Output/IMG_1.DNG",
        "NKSC_PARAM/IMG_1.NEF",
        "@eaDir/IMG_1.NEF/IMG_1.NEF",
        "#recycle/IMG_1.NEF",
        ".stfolder/IMG_1.NEF",
        "Catalog Previews.lrdata/IMG_1.dng",
        "Cleaned/IMG_1.dng",
        "Cleaned/day/IMG_1.dng",
        "IMG_1.NEF.dustd.json",
    ],
)
def test_files_of_others_and_our_own_are_not(name):
    assert not is_candidate(ROOT / name, ROOT, [OUT])


def test_the_rules_hold_below_the_watched_folder_not_above_it():
    root = Path("/home/.me/Output/CaptureOne")
    assert is_candidate(root / "IMG_1.NEF", root, [])


def found(root, outputs=()):
    return {str(item[0].relative_to(root)) for item in scan(root, root, outputs) if item is not None}


def test_a_scan_finds_frames_at_any_depth_and_skips_the_rest(tmp_path):
    for name in ("a.nef", "day/cam/b.CR3", "CaptureOne/c.nef", "out/a.dng", "d.txt", ".e.nef"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert found(tmp_path, [tmp_path / "out"]) == {"a.nef", "day/cam/b.CR3"}


def test_a_scan_may_start_below_the_watched_folder(tmp_path):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.nef").touch()
    assert [item[0].name for item in scan(tmp_path / "day", tmp_path, []) if item] == ["a.nef"]
    assert list(scan(tmp_path / "day", tmp_path, [tmp_path / "day"])) == []


def test_a_link_to_a_file_counts_as_that_file(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.nef").write_bytes(b"raw")
    (tmp_path / "b.nef").symlink_to(tmp_path / "real" / "a.nef")
    assert found(tmp_path) == {"real/a.nef", "b.nef"}
    assert look_at(tmp_path / "b.nef") == look_at(tmp_path / "real" / "a.nef")
    (tmp_path / "real" / "a.nef").unlink()
    assert found(tmp_path) == set() and look_at(tmp_path / "b.nef") is None


def test_links_to_folders_are_told_and_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.nef").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "Cleaned").symlink_to(tmp_path / "real")
    links = []
    items = [item for item in scan(tmp_path, tmp_path, [tmp_path / "Cleaned"], on_link=links.append) if item]
    assert [path.name for path, _ in items] == ["a.nef"] and links == [tmp_path / "loop"]


def test_a_missing_folder_is_reported_and_left_out(tmp_path):
    complaints = []
    assert list(scan(tmp_path / "gone", tmp_path, [], complaints.append)) == []
    assert isinstance(complaints[0], FileNotFoundError)


def test_an_unreadable_folder_does_not_hide_the_others(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    if os.access(tmp_path / "locked", os.R_OK):
        pytest.skip("root may read anywhere")
    (tmp_path / "a.nef").touch()
    assert found(tmp_path) == {"a.nef"}


def test_a_dng_that_dustd_wrote_is_left_out_wherever_it_lies(tmp_path):
    source = Source(name="a.nef", size=1, sha256="0" * 64, mtime_ns=1)
    outputs = tuple(
        Output(kind="dng", path=name, sha256=hashlib.sha256(content).hexdigest())
        for name, content in (("a.dng", b""), ("c.dng", b"as dustd wrote it"))
    )
    sidecar = encode(Record(source=source, camera=Camera(), outputs=outputs, status="cleaned"))
    (tmp_path / "a.nef.dustd.json").write_bytes(sidecar)
    for name in ("a.dng", "b.dng", "c.dng", "a.nef"):
        (tmp_path / name).touch()
    assert found(tmp_path) == {"a.nef", "b.dng", "c.dng"}  # c.dng: the name is ours, the content a camera's


MOUNTS = """\
/dev/vda / ext4 rw 0 0
nas:/pictures /mnt/my\\040nas nfs4 rw 0 0
/dev/sdb1 /mnt/my\\040nas/local exfat rw 0 0
//nas/x /mnt/x cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
/dev/sdc1 /mnt/usb fuseblk rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "network"),
    [
        ("/home/me", False),
        ("/mnt/my nas", True),
        ("/mnt/my nas/day", True),
        ("/mnt/my nas/local/day", False),
        ("/mnt/x/y", True),
        ("/mnt/xyz", False),
        ("/mnt/ssh/a", True),
        ("/mnt/usb", False),
    ],
)
def test_shares_are_told_from_disks(path, network):
    assert is_network(Path(path), MOUNTS) is network
