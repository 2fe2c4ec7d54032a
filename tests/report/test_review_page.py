"""The page on which a person checks a cleaned frame, in words and in a real browser; and how pages are kept."""

import contextlib
import html.parser
import os
import re
import shlex
import subprocess
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

from dustd import codec
from dustd.config import Config, FolderSettings, MapSettings, OutputSettings
from dustd.daemon.application import Application
from dustd.dustmap import evidence
from dustd.dustmap.store import Store
from dustd.output.sidecar import Output, Problem, Record, Source
from dustd.pipeline.exhibit import Exhibit, Pair, show
from dustd.raw.frame import Camera, Frame
from dustd.report import review_book, review_page
from dustd.report.review_book import SESSION_NAME, Book, SessionPages
from dustd.report.review_page import Section
from dustd.spots.spot import Spot
from tests.later import with_news
from tests.programs import CHROMIUM, installed

PROOF = {"frame_id": "f", **evidence.to_dict(evidence.look(np.full((90, 125), 0.4, np.float32), 8))}
EVIL = """<script>document.title='gone'</script>"'><img src=x onerror=alert(1)>&.CR3"""


def jpeg(side, seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def spot(number, **changes):
    usual = {"x": 100.0 * number, "y": 300.0, "diameter_px": 25.0, "edge_px": 8.0, "attenuation": 0.1, "score": 0.9}
    return Spot(id=number, **{**usual, "wanted": True, "action": "divided", "reason": "score 0.90 ≥ 0.50", **changes})


def record(name="IMG_1.CR3", *spots, **changes):
    usual = {
        "source": Source(name=name, size=1, sha256="0" * 64, mtime_ns=0),
        "camera": Camera(make="Canon", model="EOS R5", f_number=16.0, exposure_s=1 / 125, iso=100.0),
        "width": 1000,
        "height": 720,
        "spots": spots,
        "status": "cleaned",
        "outputs": (Output(kind="dng", path=Path(name).stem + ".dng", sha256="0" * 64),),
        "evidence": PROOF,
    }
    return Record(**{**usual, **changes})


def exhibit(*spot_ids, side=120):
    pairs = (
        Pair(spot_id=n, before=jpeg(side, n), after=jpeg(side, -n % 97), zoom_percent=200, tone=0.4, contrast=3.0)
        for n in spot_ids
    )
    return Exhibit(overview=jpeg(200), pairs=tuple(pairs))


def one(*args, cleaned="IMG_1.dng", key="ab", **kwargs):
    shown = kwargs.pop("shown", exhibit(1, 2))
    each = review_page.section(key, record(*args, **kwargs), shown, cleaned)
    return review_page.page("A shoot", "1 frame.", [each])


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_each_spot_shows_before_and_after_why_and_how_to_take_it_back():
    text = Page(one("IMG_1.CR3", spot(1), spot(2))).text
    for words in ("IMG_1.CR3", "Canon EOS R5", "f/16", "1/125 s", "ISO 100", "2 corrected"):
        assert words in text
    assert text.count("before") == text.count("after") == 2
    assert text.count("score 0.90 ≥ 0.50") == 2
    assert "takes 10% of the light" in text
    assert "dustd reject IMG_1.dng 1" in text


def test_a_rejected_spot_shows_how_to_have_it_corrected_after_all():
    rejected = spot(1, action="left", wanted=False, rejected=True)
    assert "dustd reject --undo IMG_1.dng 1" in Page(one("IMG_1.CR3", rejected)).text


def test_a_spot_that_was_left_alone_has_no_command():
    assert "dustd reject" not in Page(one("IMG_1.CR3", spot(1, action="left"))).text


def test_spots_without_room_for_a_picture_are_listed():
    page = Page(one("IMG_1.CR3", *(spot(n) for n in range(1, 6))))
    assert "3 more without a picture, 3 of them corrected" in page.text
    assert "dustd reject IMG_1.dng 5" in page.text


def test_nothing_that_a_file_says_becomes_markup():
    names = {"make": EVIL, "model": EVIL, "taken_at": EVIL}
    camera = Camera(**names, f_number=16.0)
    page = Page(one(EVIL, spot(1, reason=EVIL), spot(2), camera=camera, cleaned=EVIL, shown=exhibit(1)))
    assert not page.all("script")
    assert all(attrs["src"].startswith("data:image/jpeg;base64,") for attrs in page.all("img"))
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert EVIL in page.text


def test_a_name_that_is_not_unicode_is_written_in_ascii():
    assert "\\udcff" in one("IMG_\udcff.CR3", spot(1), cleaned="IMG_\udcff.dng")
    one("IMG_\udcff.CR3", spot(1), cleaned="IMG_\udcff.dng").encode()


@pytest.mark.parametrize("name", ["IMG 1.dng", "a'b.dng", "$(reboot).dng", "-rf.dng", "Ünïcode.dng"])
def test_a_shell_takes_the_command_as_it_stands(name):
    command = re.search(r"dustd reject .*? 1(?=\n|$|[^ ]*$)", Page(one("IMG_1.CR3", spot(1), cleaned=name)).text)
    *_, path, number = shlex.split(command[0])
    assert number == "1"
    assert path.removeprefix("./") == name
    assert not path.startswith("-")


def test_the_page_refers_to_nothing_outside_itself():
    text = one("IMG_1.CR3", spot(1), spot(2))
    for _, attrs in Page(text).tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    assert "url(" not in text and "@import" not in text
    assert "default-src 'none'" in text


def test_rings_lead_to_the_spots_that_are_shown():
    page = Page(one("IMG_1.CR3", spot(1), spot(2), spot(3)))
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = [attrs["href"][1:] for attrs in page.all("a")]
    assert len(links) == 2 and set(links) <= ids
    assert len(page.all("circle")) == 3


def test_a_portrait_frame_stands_upright():
    camera = Camera(model="X", orientation=6)
    page = Page(one("IMG_1.CR3", spot(1), camera=camera, shown=exhibit(1)))
    assert page.all("svg")[0]["viewbox"] == "0 0 720 1000"
    circle = page.all("circle")[0]
    assert (float(circle["cx"]), float(circle["cy"])) == (720 - 1 - 300, 100)


def test_a_failed_frame_says_what_to_do():
    error = Problem(problem="it was cut short", remedy="Copy it again")
    text = Page(one("IMG_1.CR3", status="failed", error=error, evidence=None, outputs=(), shown=None)).text
    assert "it was cut short. Copy it again." in text


def test_a_frame_is_kept_as_data_and_read_by_any_later_dustd():
    made = review_page.section("ab", record("a.CR3", spot(1), spot(2), spot(3)), exhibit(1, 2), "a.dng")
    kept = codec.parse(codec.to_bytes(codec.DEFAULT.plain(made)))
    assert codec.DEFAULT.read(Section, kept) == codec.DEFAULT.read(Section, with_news(kept)) == made


def test_frames_stand_in_the_order_of_their_worst_spots(tmp_path):
    book = Book(tmp_path, 3)
    for name, score in (("a.CR3", 0.9), ("b.CR3", 0.2), ("c.CR3", 0.6)):
        book.add(tmp_path, record(name, spot(1, score=score)), exhibit(1))
    assert re.findall(r"<h2>(.)\.CR3", book.text()) == ["b", "c", "a"]


@pytest.mark.parametrize("frames", [1, 300, 1500])
def test_a_page_of_many_frames_stays_one_that_opens_at_once(tmp_path, frames):
    book = Book(tmp_path, frames)
    full = Exhibit(
        overview=bytes(book.room_bytes // 3),
        pairs=tuple(
            Pair(spot_id=n, before=bytes(book.room_bytes // 30), after=bytes(book.room_bytes // 30), zoom_percent=100,
                 tone=0.5, contrast=2.0)
            for n in range(1, 11)
        ),
    )  # fmt: skip
    for n in range(frames):
        book.add(tmp_path, record(f"{n}.CR3", *(spot(n) for n in range(1, 31))), full)
    assert len(book.text().encode()) < (20e6 if frames <= 300 else 60e6)


# --- the daemon's page ----------------------------------------------------------------------------------------------


def names(path):
    return re.findall(r"<h2>(.*?)</h2>", path.read_text())


def test_the_latest_frame_comes_first_and_a_restart_carries_the_page_on(tmp_path):
    for name in ("a.CR3", "b.CR3", "c.CR3"):
        SessionPages([tmp_path], tmp_path / "state").add(tmp_path, record(name, spot(1)), exhibit(1))
    assert names(tmp_path / SESSION_NAME) == ["c.CR3", "b.CR3", "a.CR3"]


def test_a_verdict_shows_on_the_page_and_stays_when_the_next_frame_lands(tmp_path):
    pages = SessionPages([tmp_path], tmp_path / "state")
    pages.add(tmp_path, record("a.CR3", spot(1), spot(2)), exhibit(1, 2))
    back = spot(1, action="left", wanted=False, rejected=True, reason="rejected by a person")
    SessionPages([tmp_path], tmp_path / "state").retell(tmp_path, record("a.CR3", back, spot(2)))
    for name in (None, "b.CR3"):
        if name:
            pages.add(tmp_path, record(name, spot(1)), exhibit(1))
        text = Page((tmp_path / SESSION_NAME).read_text()).text
        assert "rejected by a person" in text
        assert "dustd reject --undo a.dng 1" in text
        assert "dustd reject a.dng 2" in text
        assert "after, taken back" in text


def test_a_verdict_about_a_frame_that_is_on_no_page_makes_none(tmp_path):
    SessionPages([tmp_path], tmp_path / "state").retell(tmp_path, record("a.CR3", spot(1)))
    assert not (tmp_path / SESSION_NAME).exists()


def test_tab_goes_from_spot_to_spot_and_not_to_every_ring_as_well():
    page = Page(one("IMG_1.CR3", spot(1), spot(2)))
    stops = [attrs for tag, attrs in page.tags if tag in ("a", "code", "input") and attrs.get("tabindex") != "-1"]
    assert len(stops) == 3  # the switch, and one command for each spot


def test_a_page_that_was_deleted_begins_anew(tmp_path):
    pages = SessionPages([tmp_path], tmp_path / "state")
    pages.add(tmp_path, record("a.CR3", spot(1)), exhibit(1))
    (tmp_path / SESSION_NAME).unlink()
    pages.add(tmp_path, record("b.CR3", spot(1)), exhibit(1))
    assert names(tmp_path / SESSION_NAME) == ["b.CR3"]
    SessionPages([tmp_path], tmp_path / "state").add(tmp_path, record("c.CR3", spot(1)), exhibit(1))
    assert names(tmp_path / SESSION_NAME) == ["c.CR3", "b.CR3"]


def test_a_kept_frame_that_is_damaged_costs_itself(tmp_path):
    for name in ("a.CR3", "b.CR3"):
        SessionPages([tmp_path], tmp_path / "state").add(tmp_path, record(name, spot(1)), exhibit(1))
    oldest = min((tmp_path / "state").rglob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    oldest.write_bytes(b"{")
    SessionPages([tmp_path], tmp_path / "state").add(tmp_path, record("c.CR3", spot(1)), exhibit(1))
    assert names(tmp_path / SESSION_NAME) == ["c.CR3", "b.CR3"]


def test_a_frame_cleaned_again_takes_its_old_place_in(tmp_path):
    pages = SessionPages([tmp_path], tmp_path / "state")
    for name in ("a.CR3", "b.CR3", "a.CR3"):
        pages.add(tmp_path, record(name, spot(1)), exhibit(1))
    assert names(tmp_path / SESSION_NAME) == ["a.CR3", "b.CR3"]


def test_frames_of_one_name_in_two_folders_are_two(tmp_path):
    pages = SessionPages([tmp_path], tmp_path / "state")
    for folder in ("one", "two"):
        pages.add(tmp_path / folder, record("a.CR3", spot(1)), exhibit(1))
    assert names(tmp_path / SESSION_NAME) == ["a.CR3", "a.CR3"]
    assert "dustd reject two/a.dng 1" in (tmp_path / SESSION_NAME).read_text()


def test_old_frames_roll_off(tmp_path, monkeypatch):
    monkeypatch.setattr(review_book, "SESSION_PAGE_BYTES", 1_000_000)
    pages = SessionPages([tmp_path], tmp_path / "state")
    for n in range(20):
        pages.add(tmp_path, record(f"{n}.CR3", spot(1), spot(2)), exhibit(1, 2))
    path = tmp_path / SESSION_NAME
    assert path.stat().st_size < 1_020_000
    assert names(path)[:2] == ["19.CR3", "18.CR3"] and "0.CR3" not in names(path)


def test_a_strangers_file_of_that_name_is_left_alone(tmp_path):
    path = tmp_path / SESSION_NAME
    path.write_text("my own notes")
    SessionPages([tmp_path], tmp_path / "state").add(tmp_path, record("a.CR3", spot(1)), exhibit(1))
    assert path.read_text() == "my own notes"


def test_the_daemon_keeps_pages_when_it_is_told_to(tmp_path):
    def reviewer(choice):
        settings = Config(
            folders=(FolderSettings(path=tmp_path / "shoot"),),
            output=OutputSettings(review=choice),
            map=MapSettings(store=tmp_path / "maps.sqlite"),
        )
        with Store.open(":memory:") as store:
            pipeline = types.SimpleNamespace(store=store, detector=types.SimpleNamespace(model_id="m", device="cpu"))
            with contextlib.closing(Application(settings, pipeline)):
                return pipeline.reviewer

    assert reviewer("none") is None
    out = tmp_path / "shoot" / "Cleaned" / "day one"
    out.mkdir(parents=True)
    reviewer("page").add(out, record("a.CR3", spot(1)), exhibit(1))
    text = html.unescape((tmp_path / "shoot" / "Cleaned" / SESSION_NAME).read_text())
    assert "dustd reject 'day one/a.dng' 1" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_page_that_cannot_be_written_costs_no_frame(tmp_path):
    tmp_path.chmod(0o500)
    SessionPages([tmp_path], tmp_path / "state").add(tmp_path, record("a.CR3", spot(1)), exhibit(1))
    tmp_path.chmod(0o700)


# --- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture
def browse(tmp_path):
    """Open a page in headless Chromium without a network; return what it says (--dump-dom) or paints."""
    chromium = installed(*CHROMIUM)

    def run(path, *options):
        command = [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *("--enable-logging=stderr", "--window-size=1200,900", *options, path.as_uri()),
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    return run


def test_a_browser_loads_every_picture_and_breaks_no_rule(browse, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(one("IMG_1.CR3", spot(1), spot(2)))
    done = browse(path, "--dump-dom")
    assert "CONSOLE" not in done.stderr  # refused by the policy, or a picture that cannot be read
    assert Page(done.stdout).text.count("dustd reject IMG_1.dng") == 2


def test_a_browser_raises_the_contrast_of_the_spots_until_told_otherwise(browse, tmp_path):
    grey = np.full((120, 120, 3), 90, np.uint8)
    grey[40:80, 40:80] = 80
    data = cv2.imencode(".png", grey)[1].tobytes()
    pair = Pair(spot_id=1, before=data, after=data, zoom_percent=200, tone=90 / 255, contrast=6.0)
    white = cv2.imencode(".png", np.full((72, 100, 3), 255, np.uint8))[1].tobytes()
    text = one("IMG_1.CR3", spot(1), shown=Exhibit(overview=white, pairs=(pair,)))

    def painted(markup):
        path, picture = tmp_path / "page.html", tmp_path / "shot.png"
        path.write_text(markup)
        browse(path, f"--screenshot={picture}")
        levels = cv2.imread(str(picture)).mean(-1)
        return {level for level in (80, 90) if (np.abs(levels - level) < 4).sum() > 5000}

    assert painted(text.replace(" checked ", " ")) == {80, 90}
    assert painted(text) == set()


GROUNDS = {
    "white": (235, 235, 235),
    "black": (24, 24, 24),
    "red": (200, 20, 16),
    "blue": (16, 24, 190),
    "magenta": (190, 16, 180),
    "skin": (222, 178, 152),
}


@pytest.mark.parametrize("ground", GROUNDS)
def test_on_any_ground_a_browser_shows_the_shadow_and_a_ring_of_two_lines(browse, tmp_path, ground):
    light = (np.array(GROUNDS[ground], np.float32) / 255) ** 2.2
    height, width = 720, 1000
    mosaic = np.ones((height, width, 3), np.float32) * light
    ys, xs = np.mgrid[:height, :width]
    mosaic *= (1 - 0.12 * (np.hypot(xs - 500, ys - 300) < 14))[..., None]
    frame = Frame(
        raw=(mosaic * 65535).round().astype(np.uint16), visible=(0, 0, height, width), kind="linear", cfa=((1,),),
        black=np.zeros(3, np.float32), white=65535, wb=(1.0, 1.0, 1.0), xyz_to_camera=None, camera=Camera(),
    )  # fmt: skip
    dust = spot(5, diameter_px=28.0)
    shown = show(frame, frame.raw, [dust], 10**6)
    path, picture = tmp_path / "page.html", tmp_path / "shot.png"
    path.write_text(one("IMG_1.CR3", dust, shown=shown))
    browse(path, f"--screenshot={picture}")
    levels = cv2.imread(str(picture)).astype(float)
    grey = levels.max(-1) - levels.min(-1) < 6
    middle = grey & (np.abs(levels.mean(-1) - 128) < 45)
    assert middle.sum() > 20_000  # the ground of the crops is a middle grey, neither black nor white
    dark = grey & (levels.mean(-1) < 100) & (levels.mean(-1) > 8)
    assert dark.sum() > 300  # and the shadow is darker
    orange = (np.abs(levels - np.array([60, 146, 251])).max(-1) < 40).sum()
    assert orange > 40  # a light line ...
    near = cv2.dilate((np.abs(levels - np.array([60, 146, 251])).max(-1) < 40).astype(np.uint8), np.ones((7, 7))) > 0
    assert (levels.max(-1)[near] < 110).sum() > 40  # ... on a dark one
