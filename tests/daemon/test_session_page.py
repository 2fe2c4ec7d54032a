"""The session page of a running daemon: what is asked for in the browser is done, and its process costs no frame."""

import http.client
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from dustd import codec
from dustd.daemon import lock
from dustd.web import access
from tests.daemon.test_application import LIMIT_S, Pipeline, Running, counted


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Browser:
    """Asks the page that serves *home*'s daemon."""

    def __init__(self, home):
        self.state_folder = home / "state"

    def ask(self, method, path, body=None):
        door = access.read(self.state_folder)
        host = door.address.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=LIMIT_S)
        cookie = f"dustd={access.ticket(bytes.fromhex(door.secret), 'stay')}"
        headers = {"Cookie": cookie, "Origin": door.address}
        try:
            connection.request(method, f"/api/v1/{path}", body, headers)
            answer = connection.getresponse()
            return answer.status, codec.parse(answer.read())
        finally:
            connection.close()

    def get(self, path):
        return wait_for(lambda: (lambda status, said: said if status == 200 else None)(*self.ask("GET", path)))

    def do(self, path, body="{}"):
        """Ask for something and wait for what becomes of it."""
        status, said = self.ask("POST", path, body)
        assert status == 202, said
        told = f"commands/{said['command']}"
        return wait_for(lambda: next((each for each in [self.get(told)] if each["state"] != "waiting"), None))

    def frame(self, name):
        return wait_for(lambda: next((each for each in self.get("frames")["frames"] if each["name"] == name), None))


def wait_for(look):
    until = time.monotonic() + LIMIT_S
    while True:
        try:
            if (found := look()) is not None:
                return found
        except (OSError, AttributeError, http.client.HTTPException):
            pass
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def running(tmp_path, monkeypatch):
    monkeypatch.setattr("dustd.daemon.reload.REST_S", 0.2)
    monkeypatch.setattr("dustd.daemon.loop.TICK_S", 0.1)
    (tmp_path / "shoot").mkdir()
    it = Running(tmp_path)
    it.port = free_port()
    configure(it, "sensitivity: 50\n")
    return it


def configure(running, text):
    temp = running.yaml.with_suffix(".new")
    temp.write_text(
        "watch: {quiet_s: 0.1, give_up_s: 1, rescan_s: 1}\nmap: {store: state/maps.sqlite}\n"
        f"folders: [{{path: shoot}}]\nweb: {{port: {running.port}}}\n{text}"
    )
    temp.replace(running.yaml)


def test_a_pause_holds_frames_back_until_it_ends(running):
    browser = Browser(running.home)

    def steps():
        assert browser.do("pause")["state"] == "done"
        running.shoot("a.nef")
        running.wait(lambda state: state.progress.waiting == 1 and state.progress.doing == "paused")
        assert browser.frame("a.nef")["status"] == "waiting"
        assert running.pipeline.seen == []
        browser.do("resume")
        running.wait(counted("clean", 1))
        wait_for(lambda: browser.frame("a.nef")["status"] == "clean" or None)

    running.run(steps)


def test_frames_are_cleaned_though_the_page_is_killed_and_it_comes_back(running):
    browser = Browser(running.home)

    def steps():
        browser.get("state")
        for number in range(20):
            running.shoot(f"{number}.nef")
            if number in (5, 12):
                for pid in pages_of(os.getpid()):
                    os.kill(pid, signal.SIGKILL)
        running.wait(counted("clean", 20))
        wait_for(lambda: browser.get("frames?limit=100")["total"] == 20 or None)

    running.run(steps)
    assert lock.holder(running.home / "state") is None


def pages_of(parent):
    """Find the page's process among the children of a process."""
    for each in Path("/proc").glob("[0-9]*"):
        try:
            its_parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            if its_parent == parent and "dustd.web.server" in (each / "cmdline").read_text():
                yield int(each.name)
        except OSError:
            continue


def test_a_failed_frame_is_tried_again(running, monkeypatch):
    browser, cause = Browser(running.home), running.home / "cause"
    cause.touch()
    process = Pipeline.process

    def sometimes(self, source, out_folder):
        if cause.exists():
            source = source.with_name("empty.nef")
            source.touch()
            try:
                return process(self, source, out_folder)
            finally:
                source.unlink()
        return process(self, source, out_folder)

    monkeypatch.setattr(Pipeline, "process", sometimes)

    def steps():
        running.shoot("a.nef")
        running.wait(counted("failed", 1))
        row = wait_for(lambda: (lambda each: each if each["status"] == "failed" else None)(browser.frame("a.nef")))
        assert row["problem"]["remedy"] == "Copy it again from the card"
        cause.unlink()
        assert browser.do(f"frames/{row['id']}/retry")["state"] == "done"
        running.wait(counted("clean", 1))
        assert browser.do(f"frames/{row['id']}/retry")["state"] == "refused"

    running.run(steps)


def test_a_sensitivity_holds_from_a_frame_on_over_a_restart_until_the_configuration_says_another(running):
    browser = Browser(running.home)

    def shoot(name, at):
        running.shoot(name)
        os.utime(running.home / "shoot" / name, (at, at))

    def ask():
        shoot("a.nef", 1000)
        running.wait(counted("clean", 1))
        row = browser.frame("a.nef")
        told = browser.do(f"frames/{row['id']}/sensitivity", '{"value": 70, "scope": "from_here"}')
        assert told["state"] == "done", told
        said = wait_for(lambda: [e for e in browser.get("settings")["entries"] if e["from"] == "page"] or None)
        assert [each["key"] for each in said] == ["sensitivity"] and said[0]["value"].startswith("70 for ")
        shoot("before.nef", 900)
        shoot("b.nef", 1100)
        running.wait(counted("clean", 3))

    running.run(ask)
    seen = {name: sensitivity for name, sensitivity, _ in running.pipeline.seen}
    assert seen == {"a.nef": 50, "before.nef": 50, "b.nef": 70}

    def again():
        shoot("c.nef", 1200)
        running.wait(counted("clean", 1))
        configure(running, "sensitivity: 40\n")
        wait_for(lambda: browser.get("settings")["entries"][0]["value"] == 40 or None)
        shoot("d.nef", 1300)
        running.wait(counted("clean", 2))

    running.run(again)
    assert [(name, sensitivity) for name, sensitivity, _ in running.pipeline.seen] == [("c.nef", 70), ("d.nef", 40)]


def test_what_the_page_cannot_mean_is_refused_and_the_daemon_goes_on(running):
    browser = Browser(running.home)

    def steps():
        running.shoot("a.nef")
        running.wait(counted("clean", 1))
        row = browser.frame("a.nef")
        told = browser.do(f"frames/{row['id']}/reject", '{"spots": [7]}')
        assert told["state"] == "refused" and told["problem"] and told["remedy"]
        assert str(running.home) not in told["problem"] + told["remedy"]
        assert browser.ask("POST", "bodies/0123456789abcdef/cleaned", "{}")[0] == 404
        browser.do("order", '{"order": "newest"}')
        wait_for(lambda: browser.get("state")["order"] == "newest" or None)
        running.shoot("b.nef")
        running.wait(counted("clean", 2))

    running.run(steps)


def test_a_port_that_is_taken_is_told_and_costs_no_frame(running):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", running.port))
        taken.listen()

        def steps():
            running.shoot("a.nef")
            state = running.wait(counted("clean", 1))
            (trouble,) = state.troubles
            assert str(running.port) in trouble.problem and "web.port" in trouble.remedy and state.page == ""

        running.run(steps)
    assert access.read(running.home / "state").address is None
