"""The report's page stands alone and shows what the report says."""

from html.parser import HTMLParser

from dustd.page import html_report
from dustd.particle import DustMap
from dustd.report import text_report


def dust(body_id):
    return DustMap(
        body_id=body_id,
        make=None,
        model=None,
        width=600,
        height=400,
        frames=0,
        frames_stopped_down=0,
        first_frame_at=None,
        last_frame_at=None,
        cleanings=(),
        particles=(),
    )


class Reader(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.text, self.sources = "", []
        self.feed(page)

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]


def test_the_page_says_what_the_report_says_body_after_body():
    maps = [dust("Canon 1"), dust("Nikon 2")]
    page = Reader(html_report(maps))
    assert all(text_report([each]) in page.text for each in maps)
    assert page.text.index("Canon 1") < page.text.index("Nikon 2")


def test_the_page_needs_no_other_file():
    sources = Reader(html_report([dust("Canon 1")])).sources
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)


def test_a_hostile_name_stays_text():
    page = html_report([dust('<script>alert("x")</script>')])
    assert "<script>" not in page and '<script>alert("x")</script>' in Reader(page).text


def test_a_page_without_bodies_says_so():
    assert "No body" in Reader(html_report(())).text
