"""The API of the page's real process: what it says of frames, what it passes on, and that its description holds."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
import yaml

import dustd
from dustd.output.sidecar import Problem
from dustd.web.messages import FrameNews, Matter, Result
from tests.web.conftest import record, snapshot, spot

DESCRIPTION = yaml.safe_load((Path(dustd.__file__).parent / "web" / "openapi.yaml").read_text(encoding="utf-8"))


def routes():
    """Give the API's routes as they are: path and method."""
    from dustd.web.app import application

    class Nothing:
        def __getattr__(self, name):
            return Nothing()

        def __call__(self, *args):
            return Nothing()

    guard = application(Nothing())
    found = set()
    for route in guard.app.routes:
        path = getattr(route, "path", "")
        if path.startswith("/api/"):
            found |= {(re.sub(r":\w+}", "}", path), method.lower()) for method in route.methods - {"HEAD"}}
    return found


def test_the_description_has_the_routes_that_there_are():
    assert routes() == {(path, method) for path, each in DESCRIPTION["paths"].items() for method in each}


def test_frames_come_latest_first_with_their_spots(page):
    status, listed = page.get("/api/v1/frames?limit=2")
    assert (status, listed["total"]) == (200, 5)
    assert [each["name"] for each in listed["frames"]] == ["F0004.NEF", "F0003.NEF"]
    _, following = page.get(f"/api/v1/frames?limit=9&before={listed['next']}")
    assert [each["name"] for each in following["frames"]] == ["F0002.NEF", "F0001.NEF", "F0000.NEF"]
    assert following["next"] is None
    _, frame = page.get(f"/api/v1/frames/{listed['frames'][1]['id']}")
    assert (frame["previous"], frame["next"]) == (listed["frames"][0]["id"], following["frames"][0]["id"])
    assert {each["id"] for each in frame["spots"]} == {1, 2}
    assert (frame["width"], frame["height"], frame["corrected"]) == (300, 200, 2)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=%D9%A1", "before=x", "status=x", "order=x"])
def test_a_list_that_cannot_be_is_refused_in_words(page, query):
    status, said = page.get(f"/api/v1/frames?{query}")
    assert (status, set(said)) == (400, {"problem", "remedy"})


def test_the_picture_of_a_turned_frame_is_upright_and_so_are_its_places(own_page):
    page = own_page(0)
    page.write(record("T.NEF", at="2026-11-23T10:00:00+00:00", orientation=6, spots=(spot(1, x=10.0, y=20.0),)))
    page.client.tell(
        FrameNews(
            source=page.watched.path / "T.NEF",
            sidecar=page.watched.output / "T.NEF.dustd.json",
            status="cleaned",
            at="2026-11-23T10:00:00+00:00",
        )
    )
    page.wait(lambda: page.get("/api/v1/frames")[1]["total"] == 1)
    (row,) = page.get("/api/v1/frames")[1]["frames"]
    assert (row["width"], row["height"]) == (200, 300)
    (only,) = page.get(f"/api/v1/frames/{row['id']}")[1]["spots"]
    assert (only["x"], only["y"]) == (179.0, 10.0)
    page.post(f"/api/v1/frames/{row['id']}/correct", '{"x": 179, "y": 10}')
    command = page.asked.get(timeout=10)
    assert (command.kind, command.x, command.y) == ("correct", 10.0, 20.0)


def test_commands_are_passed_on_and_their_results_told(own_page):
    page = own_page(1)
    (row,) = page.get("/api/v1/frames")[1]["frames"]
    asked = [
        ("pause", "{}"),
        ("order", '{"order": "newest"}'),
        (f"frames/{row['id']}/reject", '{"spots": [1, 2]}'),
        (f"frames/{row['id']}/sensitivity", '{"value": 70, "scope": "from_here"}'),
        (f"frames/{row['id']}/retry", ""),
    ]
    for path, body in asked:
        status, said = page.post(f"/api/v1/{path}", body)
        assert status == 202
        command = page.asked.get(timeout=10)
        assert command.id == said["command"] and command.kind == path.rpartition("/")[2]
        assert page.get(f"/api/v1/commands/{command.id}")[1]["state"] == "waiting"
    assert command.frame == str(page.watched.path / "F0000.NEF")
    page.client.tell(
        Result(id=command.id, kind="retry", state="refused", problem="it has not failed", remedy="Nothing")
    )
    page.wait(lambda: page.get(f"/api/v1/commands/{command.id}")[1]["state"] == "refused")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("reject", "{}"),
        ("reject", '{"spots": []}'),
        ("reject", '{"spots": ["1"]}'),
        ("reject", '{"spots": [1.5]}'),
        ("reject", "[" * 10_000),
        ("undo", "x"),
        ("correct", '{"x": 1e999, "y": 0}'),
        ("correct", '{"x": NaN, "y": 0}'),
        ("correct", '{"x": -1, "y": 0}'),
        ("sensitivity", '{"value": 101, "scope": "frame"}'),
        ("sensitivity", '{"value": 50, "scope": "all"}'),
        ("retry", "[]"),
    ],
)
def test_what_is_no_command_is_refused_and_not_passed_on(page, path, body):
    frame = page.get("/api/v1/frames?limit=1")[1]["frames"][0]["id"]
    status, said = page.post(f"/api/v1/frames/{frame}/{path}", body)
    assert status == 400 and set(said) == {"problem", "remedy"}
    assert page.asked.empty()


def test_failed_frames_are_listed_with_what_to_do(own_page):
    page = own_page(0)
    page.write(
        record("X.NEF", at=None, status="failed", error=Problem(problem="it is cut short", remedy="Copy it again"))
    )
    source = page.watched.path / "X.NEF"
    page.client.tell(
        FrameNews(
            source=source, sidecar=page.watched.output / "X.NEF.dustd.json", status="failed", at="2026-11-23T10:00:00"
        )
    )
    failed = Matter(path=str(source), problem="it is cut short", remedy="Copy it again")
    page.client.tell(snapshot([page.watched], failed=(failed,)))
    page.wait(lambda: page.get("/api/v1/trouble")[1]["failed"] and page.get("/api/v1/frames")[1]["total"] == 1)
    (row,) = page.get("/api/v1/frames?status=failed")[1]["frames"]
    (told,) = page.get("/api/v1/trouble")[1]["failed"]
    assert (told["frame"], told["path_name"], told["can_retry"]) == (row["id"], "X.NEF", True)
    assert row["problem"] == {"problem": "it is cut short", "remedy": "Copy it again"}


def test_a_sidecar_that_nobody_told_of_is_found_and_one_that_is_gone_is_forgotten(own_page, monkeypatch):
    page = own_page(2)
    kept = page.get("/api/v1/frames")[1]["frames"][0]
    (page.watched.output / "F0000.NEF.dustd.json").unlink()
    page.write(record("NEW.NEF", at="2026-11-23T11:00:00+00:00"))
    page.wait(lambda: {each["name"] for each in page.get("/api/v1/frames")[1]["frames"]} == {kept["name"], "NEW.NEF"})


def test_a_process_that_is_killed_comes_back_and_knows_it_all(own_page):
    page = own_page(2)
    page.client.tell(snapshot([page.watched], doing="cleaning A.NEF", paused=True))
    page.wait(lambda: page.get("/api/v1/state")[1]["paused"])
    first = page.client.pid
    os.kill(first, signal.SIGKILL)
    page.wait(lambda: page.client.pid not in (None, first) and page.get("/api/v1/state")[1]["paused"])
    assert page.get("/api/v1/frames")[0] == 200
    page.wait(lambda: page.get("/api/v1/frames")[1]["total"] == 2)


def test_telling_news_never_waits_for_a_page_that_hangs(own_page):
    page = own_page(1)
    os.kill(page.client.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        news = FrameNews(
            source=page.watched.path / "a.nef",
            sidecar=page.watched.output / "a.nef.dustd.json",
            status="cleaned",
            at="2026-11-23T10:00:00+00:00",
            change="x" * 1000,
        )
        for _ in range(20_000):  # far more than its line holds
            page.client.tell(news)
        assert time.monotonic() - began < 10
    finally:
        os.kill(page.client.pid, signal.SIGCONT)
    page.wait(lambda: page.get("/api/v1/state")[0] == 200)
