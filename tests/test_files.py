import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dustd import files, system
from dustd.errors import FrameError, SurroundingsError


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_publishing_writes_the_file_and_nothing_else(tmp_path):
    files.publish(tmp_path / "a.dng", b"light")
    assert (tmp_path / "a.dng").read_bytes() == b"light"
    assert names(tmp_path) == ["a.dng"]


def test_a_strangers_file_is_never_replaced(tmp_path):
    target = tmp_path / "a.dng"
    target.write_bytes(b"precious")
    with pytest.raises(FrameError, match=r"a\.dng.*did not write"):
        files.publish(target, b"light", ours={sha(b"something else")})
    assert target.read_bytes() == b"precious"
    assert names(tmp_path) == ["a.dng"]


def test_our_own_file_is_replaced(tmp_path):
    target = tmp_path / "a.dng"
    target.write_bytes(b"old")
    files.publish(target, b"new", ours={sha(b"old")})
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["a.dng"]


def test_publishing_the_same_bytes_again_is_fine(tmp_path):
    files.publish(tmp_path / "a.dng", b"light")
    files.publish(tmp_path / "a.dng", b"light")
    assert names(tmp_path) == ["a.dng"]


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("elsewhere")], ids=["folder", "link"])
def test_a_folder_or_link_in_the_way_is_a_strangers_file(tmp_path, make):
    make(tmp_path / "a.dng")
    with pytest.raises(FrameError, match="did not write"):
        files.publish(tmp_path / "a.dng", b"light")
    assert names(tmp_path) == ["a.dng"]


def no_rename(temp, path):
    raise OSError(errno.EINVAL, "no such rename here")


def no_link(temp, path):
    raise OSError(errno.EPERM, "no links here")


@pytest.mark.parametrize("has_links", [True, False], ids=["NFS", "exFAT"])
def test_file_systems_that_lack_the_best_way_are_as_safe(tmp_path, monkeypatch, has_links):
    monkeypatch.setattr(system, "rename_exclusive", no_rename)
    if not has_links:
        monkeypatch.setattr(files, "_link_new", no_link)
    files.publish(tmp_path / "a.dng", b"light")
    (tmp_path / "b.dng").write_bytes(b"precious")
    with pytest.raises(FrameError):
        files.publish(tmp_path / "b.dng", b"light")
    assert (tmp_path / "a.dng").read_bytes() == b"light"
    assert (tmp_path / "b.dng").read_bytes() == b"precious"
    assert names(tmp_path) == ["a.dng", "b.dng"]


def test_a_name_that_is_too_long_costs_only_this_frame(tmp_path):
    with pytest.raises(FrameError, match="name of 256 bytes"):
        files.publish(tmp_path / ("é" * 126 + ".dng"), b"light")
    assert names(tmp_path) == []


def test_the_longest_legal_name_works(tmp_path):
    target = tmp_path / ("a" * 251 + ".dng")
    with files.claim(target, b"light") as ours:
        files.publish(target, b"light", ours=ours)
    assert names(tmp_path) == [target.name]


def test_a_folder_that_is_away_is_waited_for(tmp_path):
    with pytest.raises(SurroundingsError, match="away"):
        files.publish(tmp_path / "unplugged" / "a.dng", b"light")


def test_a_read_only_folder_is_waited_for(tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("root may write anywhere")
    with pytest.raises(SurroundingsError, match="cannot be written"):
        files.publish(tmp_path / "a.dng", b"light")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, SurroundingsError, "disk is full"),
        (errno.EDQUOT, SurroundingsError, "disk is full"),
        (errno.EROFS, SurroundingsError, "cannot be written"),
        (errno.EIO, SurroundingsError, "does not answer"),
        (errno.ESTALE, SurroundingsError, "does not answer"),
        (errno.EFBIG, FrameError, "larger"),
        (errno.EILSEQ, FrameError, "name"),
    ],
)
def test_each_fault_has_its_own_words_and_leaves_nothing(tmp_path, monkeypatch, number, kind, words):
    def fail(_fd):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(kind, match=words) as caught:
        files.publish(tmp_path / "a.dng", b"light")
    assert caught.value.path == tmp_path / "a.dng"
    assert names(tmp_path) == []


def test_a_full_disk_leaves_nothing_and_is_waited_out(tmp_path):
    """On a real file system of 64 KiB, in a mount namespace of its own."""
    script = (
        "import sys; from pathlib import Path; from dustd import files; from dustd.errors import SurroundingsError\n"
        "folder = Path(sys.argv[1])\n"
        "try: files.publish(folder / 'a.dng', bytes(10**6))\n"
        "except SurroundingsError as error: print(error.problem, sorted(folder.iterdir()))\n"
    )
    command = f'mount -t tmpfs -o size=64k none "{tmp_path}" && exec "{sys.executable}" -c "$0" "{tmp_path}"'
    ran = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    if "unshare" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip("no private mounts here")
    assert (ran.stdout.strip(), ran.stderr) == ("the disk is full []", "")


def child(code: str, *args: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )


STALL = """
import os, sys, time
from pathlib import Path
from dustd import files, system
files.os.fsync = lambda fd: (print("written", flush=True), time.sleep(300))
files.publish(Path(sys.argv[1]), b"light" * 1000)
"""


def test_a_kill_in_mid_write_leaves_no_target_and_one_stale_temp_which_goes_away(tmp_path):
    process = child(STALL, tmp_path / "a.dng")
    assert process.stdout.readline() == "written\n"
    assert files.remove_stale_temps(tmp_path) == 0  # its writer lives
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(names(tmp_path)) == 1
    assert files.remove_stale_temps(tmp_path) == 1
    assert names(tmp_path) == []


def test_stale_temps_are_found_below_the_folder_and_other_files_stay(tmp_path):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / ".dustd-1-0.tmp").touch()
    (tmp_path / "day" / "a.tmp").touch()
    assert files.remove_stale_temps(tmp_path) == 1
    assert names(tmp_path / "day") == ["a.tmp"]


def test_a_kill_between_file_and_sidecar_does_not_lock_dustd_out(tmp_path):
    target = tmp_path / "a.dng"

    class KilledError(Exception):
        pass

    def attempt(data, *, survive):
        with files.claim(target, data) as ours:
            files.publish(target, data, ours=ours)
            if not survive:
                raise KilledError

    for data in (b"first", b"second"):
        with pytest.raises(KilledError):
            attempt(data, survive=False)
    attempt(b"third", survive=True)
    assert target.read_bytes() == b"third"
    assert names(tmp_path) == ["a.dng"]


def test_a_claim_gives_no_right_to_a_strangers_file(tmp_path):
    target = tmp_path / "a.dng"
    target.write_bytes(b"precious")
    with pytest.raises(FrameError), files.claim(target, b"light") as ours:
        files.publish(target, b"light", ours=ours)
    assert target.read_bytes() == b"precious"


def test_a_claim_torn_by_a_power_cut_does_not_spoil_the_next(tmp_path):
    target = tmp_path / "a.dng"
    with pytest.raises(ZeroDivisionError), files.claim(target, b"light"):
        raise ZeroDivisionError
    (note,) = tmp_path.iterdir()
    note.write_bytes(note.read_bytes()[:-20])
    with files.claim(target, b"light") as ours:
        assert sha(b"light") in ours


@pytest.mark.parametrize(
    ("folder", "file"),
    [(0o700, 0o600), (0o750, 0o640), (0o2775, 0o664), (0o777, 0o666), (0o1777, 0o644), (0o500, 0o600)],
    ids=oct,
)
def test_who_may_use_the_folder_may_use_the_file_whatever_the_umask(tmp_path, folder, file):
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(folder)
    if folder == 0o500 and os.geteuid() != 0:
        pytest.skip("only root may write there")
    old = os.umask(0o077)
    try:
        files.publish(out / "a.dng", b"light")
    finally:
        os.umask(old)
    assert (out / "a.dng").stat().st_mode & 0o777 == file


def test_new_output_folders_are_for_those_who_may_use_the_one_they_are_in(tmp_path):
    tmp_path.chmod(0o2770)
    old = os.umask(0o022)
    try:
        files.make_output_folder(tmp_path / "out" / "day", tmp_path / "out")
        (tmp_path / "like tmp").mkdir()
        (tmp_path / "like tmp").chmod(0o1777)
        files.make_output_folder(tmp_path / "like tmp" / "out", tmp_path / "like tmp" / "out")
    finally:
        os.umask(old)
    assert (tmp_path / "out" / "day").stat().st_mode & 0o777 == 0o770
    assert (tmp_path / "like tmp" / "out").stat().st_mode & 0o777 == 0o755


def test_only_what_is_as_it_was_written_is_removed(tmp_path):
    path, link = tmp_path / "a.dng", tmp_path / "link.dng"
    path.write_bytes(b"ours")
    link.symlink_to(path)
    assert not files.remove(link, sha(b"ours")) and not files.remove(path, sha(b"something else"))
    assert path.read_bytes() == b"ours" and link.is_symlink()
    assert files.remove(path, sha(b"ours")) and not path.exists()
    assert files.remove(path, sha(b"ours"))  # gone is gone
    (tmp_path / "folder").mkdir()
    assert not files.remove(tmp_path / "folder", sha(b""))


def test_a_file_gets_another_name_only_if_that_is_free(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    assert not files.rename(tmp_path / "a", tmp_path / "b")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"one", b"two")
    assert files.rename(tmp_path / "a", tmp_path / "c") and (tmp_path / "c").read_bytes() == b"one"
    with pytest.raises(SurroundingsError):
        files.rename(tmp_path / "gone", tmp_path / "d")


def test_hashing_reads_the_whole_file(tmp_path):
    data = os.urandom(3 * (1 << 20) + 5)
    (tmp_path / "a.nef").write_bytes(data)
    assert files.sha256_file(tmp_path / "a.nef") == sha(data)


def test_hashing_a_missing_file_is_a_frame_error(tmp_path):
    with pytest.raises(FrameError, match="the file is gone"):
        files.sha256_file(tmp_path / "a.nef")


def test_the_output_tree_mirrors_the_watched_tree():
    source = Path("/shoot/day 1/cam b/IMG_1.CR3")
    assert files.output_folder_for(source, Path("/shoot"), Path("/out")) == Path("/out/day 1/cam b")
    assert files.output_folder_for(Path("/shoot/a.nef"), Path("/shoot"), Path("/out")) == Path("/out")


def test_output_folders_are_made_below_an_existing_place_only(tmp_path):
    files.make_output_folder(tmp_path / "out" / "day" / "cam", tmp_path / "out")
    assert (tmp_path / "out" / "day" / "cam").is_dir()
    with pytest.raises(SurroundingsError):
        files.make_output_folder(tmp_path / "usb" / "out" / "day", tmp_path / "usb" / "out")
    assert not (tmp_path / "usb").exists()


def test_a_file_where_the_output_folder_should_be_is_explained(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(SurroundingsError) as caught:
        files.make_output_folder(tmp_path / "out" / "day", tmp_path / "out")
    assert "file" in caught.value.problem and caught.value.remedy
