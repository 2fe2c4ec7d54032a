import hashlib
import json
import os

import pytest

from dustd.output import ledger, life
from dustd.output.sidecar import Output, Record, Source, encode
from dustd.raw.frame import Camera


def write_sidecar(raw, folder, outputs=()):
    stat = raw.stat()
    source = Source(
        name=raw.name,
        size=stat.st_size,
        sha256=hashlib.sha256(raw.read_bytes()).hexdigest(),
        mtime_ns=stat.st_mtime_ns,
        ctime_ns=stat.st_ctime_ns,
    )
    record = Record(source=source, camera=Camera(), outputs=tuple(outputs), status="clean")
    path = folder / f"{raw.name}.dustd.json"
    path.write_bytes(encode(record))
    return path


def raw_in(folder):
    raw = folder / "IMG_1.NEF"
    raw.write_bytes(b"raw")
    return raw


def test_a_frame_is_done_when_its_sidecar_speaks_of_it_as_it_is_now(tmp_path):
    raw = raw_in(tmp_path)
    assert not ledger.is_done(raw, tmp_path / "IMG_1.NEF.dustd.json")
    sidecar = write_sidecar(raw, tmp_path)
    assert ledger.is_done(raw, sidecar)


def test_a_frame_that_changed_is_not_done(tmp_path):
    raw = raw_in(tmp_path)
    sidecar = write_sidecar(raw, tmp_path)
    os.utime(raw, ns=(0, 1))
    assert not ledger.is_done(raw, sidecar)


def as_old_as(path, other):
    stat = other.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_another_exposure_of_the_same_name_size_and_time_is_not_done(tmp_path):
    raw = raw_in(tmp_path)
    sidecar = write_sidecar(raw, tmp_path)
    other = tmp_path / ".other"
    other.write_bytes(b"RAW")
    as_old_as(other, raw)
    other.replace(raw)
    assert not ledger.is_done(raw, sidecar)


def test_another_exposure_written_into_the_same_file_is_not_done(tmp_path):
    raw = raw_in(tmp_path)
    sidecar, before = write_sidecar(raw, tmp_path), raw.stat()
    raw.write_bytes(b"RAW")
    os.utime(raw, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not ledger.is_done(raw, sidecar)


def test_a_copy_of_the_same_exposure_and_other_rights_change_nothing(tmp_path):
    raw = raw_in(tmp_path)
    sidecar = write_sidecar(raw, tmp_path)
    raw.chmod(0o600)
    assert ledger.is_done(raw, sidecar)
    copy = tmp_path / ".copy"
    copy.write_bytes(raw.read_bytes())
    as_old_as(copy, raw)
    copy.replace(raw)
    assert ledger.is_done(raw, sidecar)


def test_a_sidecar_of_before_is_believed_by_size_and_time(tmp_path):
    raw = raw_in(tmp_path)
    sidecar = write_sidecar(raw, tmp_path)
    data = json.loads(sidecar.read_text())
    del data["source"]["ctime_ns"]
    sidecar.write_text(json.dumps(data))
    raw.chmod(0o600)
    assert ledger.is_done(raw, sidecar)


def test_a_sidecar_that_could_not_be_read_once_is_read_the_next_time(tmp_path, monkeypatch):
    raw = raw_in(tmp_path)
    sidecar = write_sidecar(raw, tmp_path)

    def fail(self):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(type(sidecar), "read_bytes", fail)
        assert not ledger.is_done(raw, sidecar) and ledger.vouched(sidecar) == frozenset()
    assert ledger.is_done(raw, sidecar)


def test_deleting_a_sidecar_asks_for_the_frame_again(tmp_path):
    raw = raw_in(tmp_path)
    sidecar = write_sidecar(raw, tmp_path)
    assert ledger.is_done(raw, sidecar)
    sidecar.unlink()
    assert not ledger.is_done(raw, sidecar)


def test_a_garbled_sidecar_proves_nothing(tmp_path):
    raw = raw_in(tmp_path)
    for text in ("", "{", "[]", "null", '{"schema": "dustd.sidecar"}', '{"schema": "other", "source": {}}'):
        sidecar = tmp_path / "IMG_1.NEF.dustd.json"
        sidecar.write_text(text)
        assert not ledger.is_done(raw, sidecar)
        assert ledger.vouched(sidecar) == ({hashlib.sha256(b"").hexdigest()} if not text else frozenset())


def test_a_sidecar_vouches_for_itself_and_its_outputs(tmp_path):
    sidecar = write_sidecar(raw_in(tmp_path), tmp_path, [Output(kind="dng", path="IMG_1.dng", sha256="a" * 64)])
    assert ledger.vouched(sidecar) == {"a" * 64, hashlib.sha256(sidecar.read_bytes()).hexdigest()}
    assert ledger.vouched(tmp_path / "none.dustd.json") == frozenset()


def test_dustds_own_dng_is_recognised_and_a_camera_dng_is_not(tmp_path):
    empty = hashlib.sha256(b"").hexdigest()
    write_sidecar(raw_in(tmp_path), tmp_path, [Output(kind="dng", path="IMG_1.dng", sha256=empty)])
    for name in ("IMG_1.dng", "IMG_2.dng", "IMG_1.jpg"):
        (tmp_path / name).touch()
    assert ledger.is_own_output(tmp_path / "IMG_1.dng")
    assert not ledger.is_own_output(tmp_path / "IMG_2.dng")
    assert not ledger.is_own_output(tmp_path / "IMG_1.jpg")
    assert not ledger.is_own_output(tmp_path / "gone" / "IMG_1.dng")
    (tmp_path / "IMG_1.dng").write_bytes(b"a camera's file that came under the same name")
    assert not ledger.is_own_output(tmp_path / "IMG_1.dng")


def test_a_sidecar_of_another_schema_is_not_ours(tmp_path):
    sidecar = write_sidecar(raw_in(tmp_path), tmp_path)
    parsed = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**parsed, "schema": "other"}))
    assert ledger.vouched(sidecar) == frozenset()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_in_a_sidecars_place_keeps_nobody_waiting(tmp_path):
    pipe = tmp_path / "a.NEF.dustd.json"
    os.mkfifo(pipe)
    assert life.read(pipe) is None and ledger.failure(pipe) is None
