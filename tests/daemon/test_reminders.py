"""A reminder comes once per crossing, also across restarts, and nothing about it can hold up or end the daemon."""

import json
import os
import signal
import sys
import threading
import time
import types

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from dustd.config import AdviceRules, Config, FolderSettings, MapSettings, ReminderSettings, WebSettings
from dustd.daemon import application, systemd
from dustd.daemon.reminder_channels import UndeliveredError, configured
from dustd.daemon.reminders import LOOK_S, RETRY_S, Reminders, Told, decide
from dustd.dustmap import evidence
from dustd.dustmap.store import Store
from dustd.errors import SurroundingsError
from dustd.output.sidecar import Record, Source
from dustd.raw.frame import Camera
from dustd.report.advice import URGENCY
from dustd.spots.spot import Spot

BODY = "Nikon Z 8 #123"
FINE, SOON, NOW = 0, 10, 25  # particles that show


# --- the rule -----------------------------------------------------------------------------------------------------


def told_by(*course):
    """Fold (advice, relaxed advice, cleaning) frame by frame; give what was told."""
    told, said = None, []
    for advice, relaxed, cleaned_at in course:
        told, due = decide(told, advice, relaxed, cleaned_at)
        said += [advice] if due else []
    return said


def test_a_crossing_is_told_once():
    assert told_by(*[("clean soon", "clean soon", None)] * 9) == ["clean soon"]


def test_getting_worse_is_told_and_getting_better_is_not():
    course = ["clean soon", "clean now", "clean soon", "clean now"]
    assert told_by(*((advice, advice, None) for advice in course)) == ["clean soon", "clean now"]


def test_a_figure_that_wavers_around_its_limit_is_told_once():
    assert told_by(*[("clean soon", "clean soon", None), ("not needed", "clean soon", None)] * 5) == ["clean soon"]


def test_dust_that_has_clearly_gone_may_be_told_again():
    course = ["clean soon", "not needed", "clean soon"]
    assert told_by(*((advice, advice, None) for advice in course)) == ["clean soon", "clean soon"]


def test_after_a_cleaning_it_may_be_told_again():
    course = [("clean now", None), ("not known yet", "2026-11-01"), ("clean soon", "2026-11-01")]
    assert told_by(*((advice, advice, at) for advice, at in course)) == ["clean now", "clean soon"]


def test_a_cleaning_that_did_not_help_is_told_again():
    assert told_by(*(("clean now", "clean now", at) for at in (None, None, "2026-11-01", "2026-11-01"))) == [
        "clean now",
        "clean now",
    ]


@given(st.lists(st.tuples(st.sampled_from(URGENCY), st.sampled_from([None, "a", "b"])), max_size=30))
def test_only_urgent_advice_is_told_and_never_twice_running(course):
    said = told_by(*((advice, advice, at) for advice, at in sorted(course, key=lambda each: each[1] or "")))
    assert set(said) <= {"clean soon", "clean now"}
    told = None
    for advice, at in course:
        told, due = decide(told, advice, advice, at)
        assert decide(told, advice, advice, at) == (told, False)
        assert not due or told == Told(advice=advice, cleaned_at=at)


# --- the daemon's side --------------------------------------------------------------------------------------------


class Maps:
    """Stands in for the store: one body, with as many particles as a test wants."""

    def __init__(self, dust, particle):
        self.make = lambda count, **changes: dust(*(particle(n, at_16=0.2) for n in range(count)), **changes)
        self.problem = None
        self.shows(FINE)

    def shows(self, count, **changes):
        self.map = self.make(count, **changes)

    def body_ids(self):
        if self.problem:
            raise self.problem
        return (BODY,)

    def body(self, body_id):
        if self.problem:
            raise self.problem
        return self.map if body_id == BODY and self.map else None


@pytest.fixture
def maps(dust, particle):
    return Maps(dust, particle)


class Desk:
    """Reminders with a clock that tests turn, and a channel that keeps what it is told, or fails."""

    def __init__(self, maps, folder, channels=None):
        self.now, self.said, self.problem = 0.0, [], None
        self.maps, self.state = maps, folder / "reminders.json"
        channels = {"desk": self.tell} if channels is None else channels
        self.reminders = Reminders(maps, AdviceRules(), channels, self.state, clock=lambda: self.now)

    def tell(self, facts):
        if self.problem:
            raise self.problem
        self.said.append(facts["advice"])

    def frame(self, count=None, **changes):
        """Let a frame come in, and the time pass that reminders may take; return the status."""
        if count is not None:
            self.maps.shows(count, **changes)
        self.reminders.seen(BODY)
        self.wait(LOOK_S)
        return self.words

    def wait(self, seconds):
        self.now += seconds
        self.words = self.reminders.turn()
        self.reminders.close()


@pytest.fixture
def desk(maps, tmp_path):
    return Desk(maps, tmp_path)


def test_many_frames_of_a_dirty_body_make_one_reminder(desk):
    for count in (FINE, SOON, SOON, SOON, NOW, NOW, SOON, NOW):
        desk.frame(count)
    assert desk.said == ["clean soon", "clean now"]


def test_a_restart_reminds_of_nothing_again_and_forgets_nothing(desk, maps, tmp_path):
    desk.frame(SOON)
    again = Desk(maps, tmp_path)
    assert again.frame() == f"clean soon: {BODY}"
    again.frame(NOW)
    assert (desk.said, again.said) == (["clean soon"], ["clean now"])
    assert json.loads(desk.state.read_text())["told"] == {BODY: {"advice": "clean now", "cleaned_at": None}}


def test_what_was_crossed_while_no_daemon_ran_is_told_at_the_start(maps, tmp_path):
    maps.shows(NOW)
    desk = Desk(maps, tmp_path)
    desk.wait(0)
    assert desk.said == ["clean now"]


def test_a_daemon_killed_before_the_reminder_arrived_tells_it_after_the_restart(maps, tmp_path):
    maps.shows(NOW)
    hold = threading.Event()
    killed = Desk(maps, tmp_path, channels={"slow": lambda _: hold.wait(60)})
    killed.reminders.turn()
    after = Desk(maps, tmp_path)
    after.wait(0)
    assert after.said == ["clean now"]
    hold.set()


def test_a_declared_cleaning_is_noticed_without_a_frame(desk, maps):
    assert desk.frame(NOW) == f"clean now: {BODY}"
    maps.shows(FINE, cleanings=("2026-11-21T09:00:00",), frames_stopped_down=0)
    desk.wait(LOOK_S)
    assert desk.words == ""
    assert json.loads(desk.state.read_text())["told"] == {}
    desk.frame(NOW, cleanings=("2026-11-21T09:00:00",))
    assert desk.said == ["clean now", "clean now"]


def test_frames_in_quick_succession_load_the_map_once(desk, maps):
    loads = []
    body = maps.body
    maps.body = lambda body_id: loads.append(body_id) or body(body_id)
    for _ in range(50):
        desk.reminders.seen(BODY)
        desk.now += 1
        desk.reminders.turn()
    assert len(loads) == 1


def test_a_body_that_was_forgotten_is_forgotten(desk, maps):
    desk.frame(SOON)
    maps.map = None
    desk.wait(LOOK_S)
    assert desk.words == ""
    assert json.loads(desk.state.read_text())["told"] == {}


# --- trouble ------------------------------------------------------------------------------------------------------


def test_a_failure_is_logged_and_tried_again_later_not_with_every_frame(desk):
    desk.problem = UndeliveredError("no mail server")
    with capture_logs() as logs:
        desk.frame(SOON)
        for _ in range(5):
            desk.frame()
    failures = [each for each in logs if each["event"] == "reminder_failed"]
    assert [each["problem"] for each in failures] == ["no mail server"]
    assert "reminders.desk" in failures[0]["remedy"]
    assert [each["event"] for each in logs].count("sensor_needs_cleaning") == 1
    desk.problem = None
    desk.wait(RETRY_S)
    assert desk.said == ["clean soon"]
    desk.wait(RETRY_S)
    assert desk.said == ["clean soon"]


def test_only_the_way_that_failed_is_tried_again(maps, tmp_path):
    said = []
    desk = Desk(maps, tmp_path, channels={"good": lambda _: said.append("good"), "bad": lambda _: said[5]})
    desk.frame(SOON)
    desk.wait(RETRY_S)
    assert said == ["good"]


def test_a_channel_that_hangs_delays_nothing(maps, tmp_path):
    maps.shows(NOW)
    hold = threading.Event()
    reminders = Desk(maps, tmp_path, channels={"slow": lambda _: hold.wait(60)}).reminders
    assert reminders.turn() == f"clean now: {BODY}"
    assert reminders.turn() == f"clean now: {BODY}"
    hold.set()


def test_maps_that_are_away_at_the_start_are_asked_later(maps, tmp_path):
    maps.problem = SurroundingsError("the server is away", remedy="Start it")
    maps.shows(NOW)
    desk = Desk(maps, tmp_path)
    desk.wait(LOOK_S)
    maps.problem = None
    desk.wait(LOOK_S)
    assert desk.said == ["clean now"]


@pytest.mark.parametrize("problem", [SurroundingsError("the disk is full", remedy="Free some"), ZeroDivisionError()])
def test_a_map_that_cannot_be_read_ends_nothing_and_is_read_later(desk, maps, problem):
    maps.problem = problem
    with capture_logs() as logs:
        assert desk.frame(NOW) == ""
    assert [each["event"] for each in logs] in (["reminders_wait"], ["reminders_crashed"])
    maps.problem = None
    desk.wait(LOOK_S)
    assert desk.said == ["clean now"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"told": 5}', b'{"told": {"a": {}}}', b"\xff"])
def test_a_broken_state_file_costs_a_repetition_at_most(maps, tmp_path, content):
    (tmp_path / "reminders.json").write_bytes(content)
    with capture_logs() as logs:
        desk = Desk(maps, tmp_path)
    assert [each["event"] for each in logs] == ["reminders_unreadable"]
    desk.frame(SOON)
    assert desk.said == ["clean soon"]
    assert BODY in json.loads(desk.state.read_text())["told"]


def test_without_a_channel_the_log_and_the_status_say_it_once(maps, tmp_path):
    desk = Desk(maps, tmp_path, channels={})
    with capture_logs() as logs:
        for _ in range(3):
            assert desk.frame(SOON) == f"clean soon: {BODY}"
    assert [each["event"] for each in logs] == ["sensor_needs_cleaning"]
    assert logs[0]["body"] == BODY and "show at f/11" in logs[0]["why"]


def test_a_real_command_is_told_all_about_the_body(maps, tmp_path):
    told = tmp_path / "told.json"
    code = f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read())"
    channels = configured(ReminderSettings(command=(sys.executable, "-c", code)))
    desk = Desk(maps, tmp_path, channels=channels)
    desk.frame(NOW)
    for _ in range(20):  # on a busy machine the command may take longer than closing waits
        if not desk.state.exists():
            desk.wait(0)
    facts = json.loads(told.read_text())
    assert facts["text"].startswith(f"{BODY}: clean now. 25 particles show at f/11")
    assert facts["visible_at_f11"] == NOW
    assert json.loads(desk.state.read_text())["told"][BODY]["advice"] == "clean now"


# --- all together -------------------------------------------------------------------------------------------------


def dusty_record(number):
    """A frame at f/16 with 25 spots that also show at f/11, of a scene of its own."""
    rng = np.random.default_rng(number)
    light = 0.3 * np.exp(0.5 * cv2.resize(rng.normal(size=(20, 30)), (120, 80), interpolation=cv2.INTER_CUBIC))
    spots = tuple(
        Spot(
            id=n,
            x=100.0 + 300 * (n % 5),
            y=100.0 + 220 * (n // 5),
            diameter_px=28.0,
            edge_px=8.0,
            attenuation=0.3,
            score=0.9,
        )
        for n in range(NOW)
    )
    return Record(
        source=Source(name=f"{number}.NEF", size=1, sha256=f"{number:064d}", mtime_ns=1),
        camera=Camera(body_id=BODY, f_number=16.0, taken_at=f"2026-11-{number + 1:02}T10:00:00"),
        width=1920,
        height=1280,
        spots=spots,
        status="cleaned",
        evidence={**evidence.to_dict(evidence.look(light.astype(np.float32), 16)), "frame_id": f"frame{number}"},
    )


def stop_when(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_daemon_posts_to_a_real_server_once_and_shows_it_in_its_status(server, tmp_path, monkeypatch):
    (tmp_path / "capture").mkdir()
    settings = Config(
        folders=(FolderSettings(path=tmp_path / "capture"),),
        map=MapSettings(store=tmp_path / "maps.sqlite"),
        reminders=ReminderSettings(webhook=f"{server.url}/200"),
        web=WebSettings(port=0),
    )
    with Store.open(settings.map.store) as store:
        for number in range(6):
            store.observe(dusty_record(number))
        for _ in range(2):  # the second start is a restart
            said = []
            monkeypatch.setattr(systemd, "status", said.append)
            stopper = threading.Thread(
                target=stop_when, args=(lambda said=said: said and BODY in said[-1] and server.posted,)
            )
            stopper.start()
            detector = types.SimpleNamespace(model_id="none", device="cpu")
            application.serve(settings, types.SimpleNamespace(store=store, detector=detector))
            stopper.join()
    ((_, _, facts),) = server.posted
    assert (facts["body_id"], facts["advice"], facts["visible_at_f11"]) == (BODY, "clean now", NOW)
    assert f"idle, 0 waiting; clean now: {BODY}" in said
