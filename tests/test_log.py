"""What dustd logs can be read by people on a terminal and by programs elsewhere."""

import datetime
import json
import logging
import re
import time
import warnings

import pytest
import structlog

from dustd import log


@pytest.fixture(autouse=True)
def untouched_logging():
    root, own = logging.getLogger(), logging.getLogger("dustd")
    before = root.handlers[:], root.level, own.level
    yield
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:], root.level, own.level = before


def events(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_away_from_a_terminal_each_event_is_one_json_line_on_standard_error(capsys):
    log.setup("auto")
    structlog.get_logger().info("frame_cleaned", spots=7)
    (event,) = events(capsys)
    assert event["event"] == "frame_cleaned" and event["spots"] == 7 and event["level"] == "info"
    assert event["timestamp"].endswith("Z")


def test_a_person_on_a_terminal_reads_local_time_with_its_offset(capsys, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        log.setup("console")
        structlog.get_logger().info("idle")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "+05:45" in capsys.readouterr().err


def test_frame_and_body_are_on_every_line_while_bound(capsys):
    log.setup("json")
    with structlog.contextvars.bound_contextvars(frame="a.CR3", body="Canon 1"):
        structlog.get_logger().info("frame_cleaned")
        logging.getLogger("watchdog").warning("queue at %d", 3)
    structlog.get_logger().info("idle")
    cleaned, library, idle = events(capsys)
    assert (cleaned["frame"], cleaned["body"]) == (library["frame"], library["body"]) == ("a.CR3", "Canon 1")
    assert "frame" not in idle


def test_what_libraries_say_keeps_a_constant_event_name(capsys):
    log.setup("json")
    logging.getLogger("somelib").info("chatter")
    logging.getLogger("somelib").error("no kernel")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old call", stacklevel=1)
    no_kernel, old_call = events(capsys)
    assert no_kernel["event"] == old_call["event"] == "library_message"
    assert no_kernel["library"] == "somelib" and no_kernel["message"] == "no kernel"
    assert "old call" in old_call["message"]


def test_libraries_with_handlers_of_their_own_are_taken_over(capsys):
    own = logging.getLogger("chatterbox")
    own.addHandler(logging.StreamHandler())
    own.propagate = False
    log.setup("json")
    own.error("no kernel")
    assert [event["library"] for event in events(capsys)] == ["chatterbox"]


def test_events_below_the_level_are_not_written(capsys):
    log.setup("json", "warning")
    structlog.get_logger().info("frame_cleaned")
    structlog.get_logger().warning("disk_low")
    assert [event["event"] for event in events(capsys)] == ["disk_low"]


def test_a_traceback_is_one_field_of_a_json_line(capsys):
    log.setup("json")
    try:
        [][1]
    except IndexError:
        structlog.get_logger().exception("frame_broke")
    (event,) = events(capsys)
    assert "IndexError: list index" in event["exception"]


def test_values_that_json_does_not_know_are_written_as_text(capsys, tmp_path):
    log.setup("json")
    structlog.get_logger().info("frame_queued", path=tmp_path)
    assert events(capsys)[0]["path"] == str(tmp_path)


CLEANED = {"frame": "a.CR3", "spots": 7, "corrected": 5, "total_ms": 3210}


def test_people_get_a_plain_line_with_their_own_time(capsys):
    log.setup("console")
    structlog.get_logger().info("frame_cleaned", **CLEANED)
    line = capsys.readouterr().err
    assert re.fullmatch(r"\d\d:\d\d:\d\d[+-]\d\d:\d\d  a.CR3: 5 spots corrected, 2 left alone, 3.2 s.\n", line)
    told = datetime.datetime.combine(datetime.date.today(), datetime.time.fromisoformat(line[:8]))
    assert abs((datetime.datetime.now() - told).total_seconds()) % 86400 < 60


def test_what_the_next_line_says_better_is_left_out_unless_asked_for(capsys):
    log.setup("console")
    structlog.get_logger().info("frame_ready", path="a.CR3", waiting=0)
    assert capsys.readouterr().err == ""
    log.setup("console", "debug")
    structlog.get_logger().info("frame_ready", path="a.CR3", waiting=0)
    assert "waiting=0" in capsys.readouterr().err


def test_what_the_command_line_insists_on_goes_before_the_configuration(capsys):
    log.insist_on("warning")
    try:
        log.setup("json", "debug")
        structlog.get_logger().info("frame_cleaned", **CLEANED)
        assert events(capsys) == []
    finally:
        log.insist_on(None)


def test_a_traceback_follows_its_line(capsys):
    log.setup("console")
    try:
        [][1]
    except IndexError:
        structlog.get_logger().exception("frame_crashed", path="/in/a.CR3")
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("Frame crashed: /in/a.CR3.") and "IndexError: list index" in rest[-1]
