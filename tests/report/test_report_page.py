"""The report's page stands alone, says what the report says, and a real browser shows it."""

import re
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from dustd.config import AdviceRules
from dustd.report.report import ranked
from dustd.report.report_page import html_report
from dustd.report.sensor_picture import Crop
from tests.programs import CHROMIUM, installed

HOSTILE = "<script>document.title='got you'</script>\"'>&<img src=x onerror=alert(1)>"
VOID = {"meta", "img", "br", "hr", "link", "input"}


@pytest.fixture
def page(dust, particle):
    """A page of a dirty body with a hostile name and a clean one."""
    dirty = [
        particle(n, at_16=0.12 + n / 40, mx=-2800.0 + 280 * n, my=1900.0 - 190 * n, first_seen=f"2026-11-{n + 1:02}")
        for n in range(20)
    ]
    return html_report(ranked([dust(), dust(*dirty, body_id=HOSTILE)], AdviceRules()))


class Reader(HTMLParser):
    """Reads a page as a browser would: its text, what it refers to, and whether every element is closed."""

    def __init__(self, page):
        super().__init__()
        self.text, self.sources, self.tags, self.open = "", [], [], []
        self.feed(page)
        assert self.open == []

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.sources += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_the_page_says_what_the_report_says_the_most_urgent_first(page):
    text = " ".join(Reader(page).text.split())
    assert text.index(HOSTILE) < text.index("Nikon Z 8 #123")
    for words in ("Which bodies need the swab", "clean now", "particles show at f/11", "top of the camera", "f/5.6"):
        assert words in text


def test_the_page_needs_no_other_file(page):
    sources = Reader(page).sources
    assert len(sources) > 10
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert not re.search(r"url\(|@import|https?://", page)


def test_the_links_lead_somewhere(page):
    reader = Reader(page)
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {source[1:] for source in reader.sources if source.startswith("#")} <= set(ids)
    assert {attrs["aria-labelledby"] for _, attrs in reader.tags if "aria-labelledby" in attrs} <= set(ids)


def test_a_hostile_name_stays_text(page):
    reader = Reader(page)
    assert not reader.all("script")
    assert not [attrs for _, attrs in reader.tags if any(name.startswith("on") for name in attrs)]
    assert HOSTILE in reader.text


def test_every_picture_is_told_in_words_and_every_table_has_heads(page):
    reader = Reader(page)
    assert all(attrs["alt"] for attrs in reader.all("img"))
    assert all(attrs.get("aria-label") or attrs["aria-labelledby"] for attrs in reader.all("svg"))
    assert all(attrs["scope"] in ("col", "row") for attrs in reader.all("th"))


def test_a_page_without_bodies_says_so():
    assert "No body" in Reader(html_report(())).text


def test_a_page_about_one_body_has_no_overview(dust):
    assert "Which bodies" not in html_report(ranked([dust()], AdviceRules()))


def test_a_crop_from_a_frame_is_shown_in_place_of_a_drawing(dust, particle):
    cut = Crop(picture=np.zeros((8, 8, 3), np.uint8), caption="DSC_1.NEF <1>, f/11")
    summaries = ranked([dust(particle(1), particle(2))], AdviceRules())
    text = Reader(html_report(summaries, {summaries[0].confirmed[0].id: cut})).text
    assert "1: DSC_1.NEF <1>, f/11" in text and "2: drawn as it prints at f/16" in text


def test_a_browser_shows_it(page, tmp_path):
    """Chromium lays the page out, runs no script of a stranger, and loads nothing."""
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    shown = subprocess.run(
        [
            installed(*CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "<title>dustd: sensor dust</title>" in shown.stdout
    reader = Reader(re.sub(r"<!DOCTYPE html>", "", shown.stdout))
    assert len(reader.all("section")) == 2 and len(reader.all("circle")) == 20
    assert not reader.all("script")
    complaints = [line for line in shown.stderr.splitlines() if "CONSOLE" in line or "Refused to" in line]
    assert complaints == []
