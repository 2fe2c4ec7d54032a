import dataclasses
import errno
import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dustd.daemon import lock, metrics
from dustd.daemon.status import (
    BodyState,
    FolderState,
    FrameState,
    Progress,
    Status,
    Trouble,
    decode,
    duration,
    encode,
    words,
)
from tests.later import with_news

AT = datetime.fromisoformat("2026-11-23T12:00:00+01:00")
SHARE = Trouble(path="/nas", problem="the disk is full", remedy="Free some space", retry_at="2026-11-23T12:00:30+01:00")
BROKEN = Trouble(path="/in/a.nef", problem="it cannot be decoded", remedy="Copy it again")
STATUS = Status(
    pid=17,
    started_at="2026-11-20T08:00:00+01:00",
    written_at="2026-11-23T11:59:58+01:00",
    config="/home/jo/config.yaml",
    config_loaded_at="2026-11-20T08:00:00+01:00",
    config_problem=None,
    model_id="dust-small",
    device="cuda",
    progress=Progress(
        doing="cleaning b.nef",
        folders=(
            FolderState(path="/in", output="/in/Cleaned", present=True, events=True, waiting=300),
            FolderState(path="/nas", output="/out", present=True, events=False, waiting=4, paused=SHARE),
            FolderState(path="/usb", output="/out2", present=False, events=False, waiting=0),
        ),
        seconds_per_frame=1.5,
    ),
    frames={"cleaned": 12, "failed": 1},
    last_frames=(
        FrameState(
            name="\x1b[31m.nef",
            body_id="Nikon Z 8 #1",
            status="cleaned",
            at=AT.isoformat(),
            seconds=1.4,
            spots=5,
            corrected=3,
        ),
    ),
    bodies=(BodyState(body_id="Nikon Z 8 #1", frames=13, last_at=AT.isoformat()),),
    reminders="clean now: Nikon Z 8 #1",
    failed=(BROKEN,),
    failed_total=1,
)


def test_what_is_written_reads_back():
    assert decode(encode(STATUS)) == STATUS


def test_what_a_later_dustd_wrote_reads_back():
    later = {**with_news(json.loads(encode(STATUS))), "frames": STATUS.frames, "schema_version": "1.9"}
    assert decode(json.dumps(later).encode()) == STATUS


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"schema": "dustd.status"}', b"\xff", b'{"schema": "dustd.sidecar"}']
)
def test_anything_else_is_no_status(data):
    with pytest.raises(ValueError):
        decode(data)


def test_a_person_learns_all_of_it():
    told = words(STATUS, 17, AT)
    for part in (
        "runs (process 17), since 2026-11-20 08:00:00",
        "dust-small on cuda",
        "cleaning b.nef; 304 waiting, about 8 min",
        "/in: 300 waiting",
        "/nas: 4 waiting, searched every few seconds",
        "paused (next try 12:00:30): /nas: the disk is full",
        "-> Free some space",
        "/usb: not there",
        "12 cleaned, 1 failed",
        "3 of 5 spots corrected, 1.4 s",
        "Nikon Z 8 #1: 13",
        "Reminders: clean now: Nikon Z 8 #1",
        "1 frame failed and could not be cleaned since (dustd retry",
        "/in/a.nef: it cannot be decoded",
    ):
        assert part in told
    assert "\x1b" not in told


def test_whether_the_daemon_lives_is_said_first():
    def first(status, pid, now=AT):
        return words(status, pid, now).splitlines()[0]

    assert "ended without saying so" in first(STATUS, None)
    assert "was stopped at 2026-11-23 11:59:58" in first(dataclasses.replace(STATUS, stopped=True), None)
    assert "has not said how it does yet" in first(STATUS, 18)
    assert "no progress for 15 min" in first(STATUS, 17, AT + timedelta(minutes=15))
    assert first(None, None) == "dustd is not running."
    assert "has not said" in first(None, 17)


def test_a_configuration_that_is_not_in_force_is_told():
    problem = Trouble(path="c.yaml", problem="c.yaml: sensitivty: unknown key", remedy="Correct this")
    told = words(dataclasses.replace(STATUS, config_problem=problem), 17, AT)
    assert "not in force: c.yaml: sensitivty: unknown key" in told and "-> Correct this" in told


def test_what_is_not_whole_yet_and_what_vanished_is_told_in_so_many_words():
    empty = Trouble(path="/in/e.nef", problem="it is empty so far", remedy="Copy it again", retry_at=SHARE.retry_at)
    folder = dataclasses.replace(STATUS.progress.folders[0], held=(empty,))
    gone = dataclasses.replace(STATUS.last_frames[0], name="v.nef", status="vanished")
    told = words(
        dataclasses.replace(
            STATUS,
            progress=dataclasses.replace(STATUS.progress, folders=(folder,)),
            frames={"cleaned": 12, "vanished": 1},
            last_frames=(gone,),
        ),
        17,
        AT,
    )
    assert "1 file is not whole yet:\n  /in/e.nef: it is empty so far (next try 12:00:30)" in told
    assert "12 cleaned, 1 vanished" in told and "v.nef: gone before it was cleaned" in told


def test_many_failures_are_counted_and_not_all_listed():
    told = words(dataclasses.replace(STATUS, failed=(BROKEN,) * 100, failed_total=2000), 17, AT)
    assert "… and 1990 more" in told and told.count("Copy it again") == 10


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (480, "8 min"), (9000, "2.5 h")])
def test_how_long(seconds, said):
    assert duration(seconds) == said


def test_json_tells_the_backlog_in_frames_and_seconds():
    assert json.loads(encode(STATUS))["backlog"] == {"frames": 304, "seconds": 456.0}


def test_metrics_are_text_that_prometheus_reads():
    lines = metrics.text(STATUS).splitlines()
    assert "dustd_backlog_frames 304" in lines
    assert 'dustd_frames_total{status="cleaned"} 12' in lines
    assert "dustd_folders_missing 1" in lines and "dustd_folders_paused 1" in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert all(
        line.startswith("#") or (len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) >= 0) for line in lines
    )


def test_the_lock_says_who_lives(tmp_path):
    assert lock.holder(tmp_path / "nowhere") is None
    with lock.only_one(tmp_path / "state"):
        assert lock.holder(tmp_path / "state") == os.getpid()
    assert lock.holder(tmp_path / "state") is None


def test_a_full_state_disk_costs_no_start_but_the_process_id(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with lock.only_one(tmp_path):
        assert lock.holder(tmp_path) == 0
    assert "process unknown" in words(STATUS, 0, AT)
