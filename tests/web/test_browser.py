"""The session page in a real browser, served by the real daemon, with frames that land meanwhile."""

import contextlib
import re
import signal
import time
from os import kill

import numpy as np
import pytest

from tests.programs import CHROMIUM, absent, installed
from tests.web.session import Shoot, free_port, samples, studio_body, take, until

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    sync_playwright = None

pytestmark = [pytest.mark.weights, pytest.mark.timeout(900)]
LIMIT_MS = 120_000  # for what takes a second where nothing else runs
VIEWS = ("/", "/frames/{frame}", "/bodies", "/trouble", "/settings")
FIRST, LANDING, PAUSED, CUT_SHORT = "DSC_0001.DNG", "DSC_0002.DNG", "DSC_0003.DNG", "DSC_0004.DNG"


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium without a window."""
    chromium = installed(*CHROMIUM)
    if sync_playwright is None:
        absent("Playwright is not installed")
    expect.set_options(timeout=LIMIT_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def frames():
    """The files that are shot, by name."""
    body = studio_body(900, 600)
    shot = {name: take(body, number)[1] for number, name in enumerate((FIRST, LANDING, PAUSED), start=1)}
    return {**shot, CUT_SHORT: shot[PAUSED][: len(shot[PAUSED]) // 2]}


@pytest.fixture(scope="module")
def shoot(browser, frames, tmp_path_factory):
    """A daemon that has cleaned the first frame."""
    with Shoot(tmp_path_factory.mktemp("shoot"), free_port()) as started:
        started.land(FIRST, frames[FIRST])
        started.wait_for(FIRST, "cleaned")
        yield started


@pytest.fixture
def visit(browser, shoot):
    """Open the page as `dustd open` does, in a browser of its own; nothing it does may break its rules or fail."""
    wrong, contexts = [], []

    def enter(**options):
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        context.set_default_timeout(LIMIT_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
        page.goto(shoot.invitation)
        expect(page.locator("button.pause")).to_be_enabled()  # it has heard how dustd does
        return page

    yield enter
    for context in contexts:
        context.close()
    assert wrong == []


def cell(page, name):
    """The frame *name* in the list."""
    return page.locator(".cell", has=page.get_by_text(name, exact=True))


def look_at(page, name):
    """Open the frame's own view; its picture is there."""
    cell(page, name).click()
    expect(page.locator(".pane.after img.small")).to_be_attached()


def decide_anew(page, shoot, sensitivity):
    """Apply a *sensitivity* of tens to the first frame, which is looked at, and to it alone."""
    now = int(page.locator(".sensitivity output").inner_text())
    for _ in range(abs(sensitivity - now) // 5):
        page.keyboard.press("+" if sensitivity > now else "-")
    expect(page.locator(".sensitivity .said")).not_to_be_empty()
    page.get_by_role("button", name="this frame").click()
    expect(page.locator(".sensitivity .hands")).to_be_hidden()
    assert shoot.record(FIRST).detector.sensitivity == sensitivity


def spot_row(page, number):
    return page.locator(f".spot[data-spot='{number}']")


def corrected(record):
    """How many spots are corrected."""
    return sum(spot.action != "left" for spot in record.spots)


def around(spot):
    """The samples that a correction of the spot changes surely."""
    x, y, r = round(spot.x), round(spot.y), max(2, round(spot.diameter_px / 4))
    return np.s_[max(0, y - r) : y + r, max(0, x - r) : x + r]


def test_a_frame_shows_as_it_lands_and_its_thumbnail_once_it_is_cleaned(visit, shoot, frames):
    page = visit()
    expect(cell(page, FIRST).locator("img.there")).to_be_visible()
    shoot.land(LANDING, frames[LANDING])
    expect(cell(page, LANDING)).to_be_visible()
    expect(cell(page, LANDING).locator("img.there")).to_be_visible()
    expect(cell(page, LANDING)).to_contain_text(f"{corrected(shoot.record(LANDING))} spot")
    assert page.locator(".cell .name").first.inner_text() == LANDING


def test_a_correction_taken_back_by_a_key_brings_the_originals_samples_back_and_another_key_corrects_again(
    visit, shoot
):
    page = visit()
    look_at(page, FIRST)
    page.keyboard.press("ArrowDown")
    number = int(page.locator(".spot[aria-current]").get_attribute("data-spot"))
    spot = next(spot for spot in shoot.record(FIRST).spots if spot.id == number)
    original, cleaned = shoot.capture / FIRST, shoot.capture / "Cleaned" / "DSC_0001.dng"
    assert (samples(cleaned)[around(spot)] != samples(original)[around(spot)]).any()

    page.keyboard.press("x")
    expect(spot_row(page, number)).to_have_attribute("data-kind", "rejected")
    assert next(spot for spot in shoot.record(FIRST).spots if spot.id == number).rejected
    assert (samples(cleaned)[around(spot)] == samples(original)[around(spot)]).all()

    page.keyboard.press("c")
    expect(spot_row(page, number)).to_have_attribute("data-kind", "corrected")
    assert not next(spot for spot in shoot.record(FIRST).spots if spot.id == number).rejected
    assert (samples(cleaned)[around(spot)] != samples(original)[around(spot)]).any()


def on_screen(page, x, y):
    """Where a place of the picture, px, is on the screen."""
    expect(page.locator(".pane.after img.small")).to_be_visible()  # a frame decided anew is drawn anew
    box = page.locator(".stage").bounding_box()
    left, top = map(float, re.findall(r"-?[\d.]+", page.locator(".rings > g").get_attribute("transform")))
    shown = page.locator(".pane.after img.small").bounding_box()["width"]
    scale = shown / float(page.locator(".pane.after img.small").evaluate("each => each.style.width.replace('px', '')"))
    return box["x"] + left + x * scale, box["y"] + top + y * scale


def test_a_place_that_is_pointed_at_is_corrected_and_one_without_dust_is_refused_in_words(visit, shoot):
    page = visit()
    look_at(page, FIRST)
    was_corrected = {spot.id for spot in shoot.record(FIRST).spots if spot.action != "left"}
    decide_anew(page, shoot, 0)
    spots = shoot.record(FIRST).spots
    left = next(spot for spot in spots if spot.action == "left" and spot.id in was_corrected)
    places = ((x, y) for x in range(100, 800, 50) for y in range(100, 500, 50))
    bare = next(at for at in places if all(np.hypot(spot.x - at[0], spot.y - at[1]) > 60 for spot in spots))

    page.get_by_role("button", name="Correct a place").click()
    expect(page.locator(".tools .hint")).not_to_be_empty()
    page.mouse.click(*on_screen(page, *bare))
    expect(page.locator("#said .bad")).to_be_visible()

    page.keyboard.press("c")
    page.mouse.click(*on_screen(page, left.x, left.y))
    expect(spot_row(page, left.id)).to_have_attribute("data-kind", "corrected")
    expect(spot_row(page, left.id)).to_have_attribute("aria-current", "true")
    now = next(spot for spot in shoot.record(FIRST).spots if spot.id == left.id)
    assert now.asked
    assert now.action != "left"
    decide_anew(page, shoot, 50)


def test_a_ring_that_is_clicked_chooses_its_spot(visit, shoot):
    page = visit()
    look_at(page, FIRST)
    spot = next(spot for spot in shoot.record(FIRST).spots if spot.action != "left")
    expect(page.locator(".ring").first).to_be_attached()
    page.mouse.click(*on_screen(page, spot.x, spot.y))
    expect(spot_row(page, spot.id)).to_have_attribute("aria-current", "true")


def test_the_slider_shows_the_original_on_its_left_and_the_hold_key_shows_it_everywhere(visit):
    page = visit()
    look_at(page, FIRST)
    stage = page.locator(".stage")
    page.keyboard.press("y")
    expect(stage).to_have_attribute("data-shown", "split")
    before = page.locator(".divider").get_attribute("aria-valuenow")
    page.keyboard.press(".")
    expect(page.locator(".divider")).to_have_attribute("aria-valuenow", str(int(before) + 5))
    page.keyboard.down("b")
    expect(stage).to_have_attribute("data-shown", "before")
    page.keyboard.up("b")
    expect(stage).to_have_attribute("data-shown", "split")


def test_at_100_percent_a_pixel_of_the_picture_is_one_of_the_screen_on_any_screen(visit):
    page = visit(device_scale_factor=2)
    look_at(page, FIRST)
    page.keyboard.press("1")
    expect(page.get_by_role("button", name="100 %")).to_have_attribute("aria-pressed", "true")
    until(page, "document.querySelector('.pane.after img.small').getBoundingClientRect().width === 450")


def test_visualise_makes_even_ground_grey(visit):
    page = visit()
    look_at(page, FIRST)
    page.keyboard.press("v")
    expect(page.locator(".visualised")).to_be_visible()
    levels = """() => {
      const canvas = document.querySelector('.visualised');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const counts = new Array(256).fill(0);
      for (let at = 0; at < data.length; at += 4) if (data[at + 3]) counts[data[at]] += 1;
      return counts;
    }"""
    until(page, f"({levels})().some((count) => count > 0)")
    counts = np.array(page.evaluate(levels))
    assert counts[112:144].sum() > counts.sum() / 2


def test_the_sensitivity_says_what_would_come_and_go_and_is_applied_when_told_to(visit, shoot):
    page = visit()
    look_at(page, FIRST)
    before = shoot.record(FIRST)
    page.keyboard.press("-")
    expect(page.locator(".sensitivity .said")).not_to_be_empty()
    page.keyboard.press("Escape")
    expect(page.locator(".sensitivity output")).to_have_text("50")
    assert shoot.record(FIRST) == before

    decide_anew(page, shoot, 0)
    assert corrected(shoot.record(FIRST)) < corrected(before)
    decide_anew(page, shoot, 50)
    assert corrected(shoot.record(FIRST)) == corrected(before)


def test_while_paused_frames_wait_and_the_tab_says_how_many(visit, shoot, frames):
    page = visit()
    expect(cell(page, FIRST)).to_be_visible()
    page.keyboard.press("p")
    expect(page.locator("button.pause")).to_have_attribute("data-sign", "resume")
    shoot.land(PAUSED, frames[PAUSED])
    expect(page).to_have_title(re.compile("Paused, 1 waiting"))
    expect(cell(page, PAUSED)).to_have_attribute("data-status", "waiting")
    assert not shoot.beside(PAUSED).exists()
    page.keyboard.press("p")
    expect(cell(page, PAUSED).locator("img.there")).to_be_visible()


def test_a_failed_frame_says_what_to_do_and_is_tried_again_by_a_button(visit, shoot, frames):
    page = visit()
    shoot.land(CUT_SHORT, frames[CUT_SHORT])
    expect(cell(page, CUT_SHORT)).to_have_attribute("data-status", "failed")
    expect(page.locator("#icon")).to_have_attribute("href", "/static/icon-failed.svg")
    page.get_by_role("link", name="Trouble").click()
    error = shoot.record(CUT_SHORT).error
    matter = page.locator(".matter", has=page.get_by_text(CUT_SHORT))
    expect(matter).to_contain_text(error.remedy)
    tried = shoot.beside(CUT_SHORT).stat().st_mtime_ns
    matter.get_by_role("button", name="Try again").click()
    until = time.monotonic() + LIMIT_MS / 1000
    while not shoot.beside(CUT_SHORT).exists() or shoot.beside(CUT_SHORT).stat().st_mtime_ns == tried:
        assert time.monotonic() < until
        page.wait_for_timeout(100)
    (shoot.capture / CUT_SHORT).unlink()


def test_a_keyboard_is_enough_and_a_key_shows_all_keys(visit):
    page = visit()
    expect(cell(page, FIRST)).to_be_visible()
    page.keyboard.press("ArrowRight")
    chosen = page.evaluate("document.activeElement.dataset.id")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/frames/{chosen}$"))
    page.keyboard.press("?")
    expect(page.locator("dialog.keys")).to_contain_text("take the correction back")
    page.keyboard.press("Escape")
    expect(page.locator("dialog.keys")).to_have_count(0)
    page.keyboard.press("Escape")
    until(page, f"document.activeElement.dataset.id === '{chosen}'")
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"


# Text whose contrast is too low (WCAG 2.2, 1.4.3), on the ground that it has; what is over the picture has its own.
POOR = """() => {
  const colour = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { c: [r, g, b], a }; };
  const over = (top, under) => top.c.map((v, i) => v * top.a + under[i] * (1 - top.a));
  const light = (c) => c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      layers.push(colour(getComputedStyle(each).backgroundColor));
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const poor = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest("svg, .stage, :disabled, .unseen")) continue;
    const under = ground(element);
    const [a, b] = [light(over(colour(getComputedStyle(element).color), under)), light(under)].sort((p, q) => q - p);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([node.data, (a + 0.05) / (b + 0.05)]);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_all_text_has_the_contrast_that_wcag_aa_asks_for_and_nothing_is_wider_than_a_phone(visit, shoot, scheme):
    page = visit(color_scheme=scheme, viewport={"width": 390, "height": 844}, has_touch=True)
    expect(cell(page, FIRST)).to_be_visible()
    frame = cell(page, FIRST).get_attribute("data-id")
    lightness = page.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    assert lightness < 64 if scheme == "dark" else lightness > 192
    for path in VIEWS:
        page.goto(shoot.address + path.format(frame=frame))
        expect(page.locator(".cell, .spot, .body, .report .table, .entry").first).to_be_visible()
        assert page.evaluate(POOR) == [], path
        wide = page.evaluate(
            "[document.documentElement, document.getElementById('view')].map((each) => each.scrollWidth)"
        )
        assert max(wide) <= 390, path


def test_words_and_numbers_are_those_of_the_browsers_user(visit):
    german, english = visit(locale="de-DE"), visit(locale="en-GB")
    expect(german.locator("button.pause")).to_have_text("Anhalten")
    expect(english.locator("button.pause")).to_have_text("Pause")
    assert german.evaluate("document.documentElement.lang") == "de"
    say = "async () => (await import('/static/words.js')).duration(3.21)"
    assert (german.evaluate(say), english.evaluate(say)) == ("3,2 s", "3.2 s")
    keys = "async () => Object.keys((await import('/static/words-LANGUAGE.js')).default)"
    assert set(german.evaluate(keys.replace("LANGUAGE", "de"))) == set(german.evaluate(keys.replace("LANGUAGE", "en")))


def test_a_notice_is_worth_a_failure_a_long_queue_and_new_advice(visit):
    page = visit()
    state = {"counts": {"failed": 0}, "waiting": 3, "limits": {"backlog_notice_frames": 20}, "bodies": []}
    worse = {**state, "counts": {"failed": 2}, "waiting": 21, "bodies": [{"id": "b", "name": "Z 8", "advice": "now"}]}
    tell = "async ([a, b]) => (await import('/static/notices.js')).worse(a, b).map(([tag]) => tag)"
    assert page.evaluate(tell, [state, worse]) == ["failed", "backlog", "body-b"]
    assert page.evaluate(tell, [worse, worse]) == []


def test_a_connection_that_is_lost_is_said_and_found_again(visit, shoot):
    page = visit()
    expect(cell(page, FIRST)).to_be_visible()
    lost, until = page.locator("#top .lost"), time.monotonic() + LIMIT_MS / 1000
    while not lost.is_visible():  # the page's server is soon back, and a short gap is not said
        assert time.monotonic() < until
        with contextlib.suppress(AssertionError, ProcessLookupError):
            kill(shoot.page_process(), signal.SIGKILL)
        page.wait_for_timeout(100)
    expect(lost).to_be_hidden()
    expect(cell(page, FIRST)).to_be_visible()


def test_a_browser_without_a_ticket_is_told_how_to_open_the_page(browser, shoot):
    page = browser.new_page()
    answer = page.goto(shoot.address)
    assert answer.status == 401
    expect(page.locator("main")).to_contain_text("dustd open")
    page.close()
