"""Make the pictures of docs/session-page.md: python -m tests.web.screenshots [FOLDER]

The real daemon cleans a small shoot of the virtual body; Debian's Chromium looks at each view, dark, light and as wide
as a phone.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dustd.demo.scenes import SESSION
from tests.programs import CHROMIUM, installed
from tests.web.session import Shoot, free_port, studio_body, take, until

WIDTH_PX, HEIGHT_PX, FRAMES = 1920, 1280, 9
F_NUMBERS = (11, 16, 16, 11, 16)
LOOKED_AT, CUT_SHORT = "DSC_0004.DNG", "DSC_0010.DNG"
QUALITY = 68
LIMIT_MS = 180_000
SEEN = """[...document.images].every((each) => {
  const { top, bottom } = each.getBoundingClientRect();
  return !each.hasAttribute('src') || bottom < 0 || top > innerHeight || (each.complete && each.naturalWidth);
})"""
SCREENS = {
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "phone": {"color_scheme": "dark", "viewport": {"width": 390, "height": 780}, "has_touch": True},
}


def main(folder: Path) -> None:
    """Shoot, look, keep."""
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=LIMIT_MS)
    with tempfile.TemporaryDirectory() as home, Shoot(Path(home) / "shoot", free_port()) as shoot:
        body = studio_body(WIDTH_PX, HEIGHT_PX, grains=22)
        for number in range(1, FRAMES + 1):
            scene, f_number = SESSION[number % len(SESSION)], F_NUMBERS[number % len(F_NUMBERS)]
            _, data = take(body, number, scene, f_number)
            shoot.land(f"DSC_{number:04d}.DNG", data)
            print("shot", number, flush=True)
        shoot.land(CUT_SHORT, data[: len(data) // 2])
        shoot.wait_for(CUT_SHORT, "failed", 900)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=installed(*CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
            )
            for screen, options in SCREENS.items():
                look(browser, shoot, folder, screen, options)
            browser.close()
    print(sum(each.stat().st_size for each in folder.glob("*.webp")), "bytes")


def look(browser: Browser, shoot: Shoot, folder: Path, screen: str, options: dict[str, object]) -> None:
    """Keep a picture of each view."""
    context = browser.new_context(locale="en-GB", reduced_motion="reduce", **options)
    context.set_default_timeout(LIMIT_MS)
    page = context.new_page()
    page.goto(shoot.invitation)
    expect(page.locator(".cell img.there").nth(FRAMES - 1)).to_be_attached()
    keep(page, folder / f"shoot-{screen}.webp")
    page.locator(".cell", has=page.get_by_text(LOOKED_AT, exact=True)).click()
    expect(page.locator(".pane.after img.small")).to_be_attached()
    page.keyboard.press("y")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".pane.before img.small")).to_be_attached()
    keep(page, folder / f"frame-{screen}.webp")
    if screen == "dark":
        page.keyboard.press("b")
        for _ in range(7):
            page.keyboard.press("+")
        expect(page.locator(".sensitivity .said")).not_to_be_empty()
        page.keyboard.press("v")
        keep(page, folder / "visualise-dark.webp")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.locator("dialog.keys")).to_be_visible()
        keep(page, folder / "keys-dark.webp")
        page.keyboard.press("Escape")
    for view in ("bodies", "trouble", "settings"):
        page.locator(f"#top nav a[data-view={view}]").click()
        expect(page.locator(".body, .report .table, .entry").first).to_be_visible()
        keep(page, folder / f"{view}-{screen}.webp")
    context.close()


def keep(page: Page, path: Path) -> None:
    """Keep what is on the screen, once all pictures on it are there."""
    until(page, SEEN)
    page.wait_for_timeout(400)
    Image.open(io.BytesIO(page.screenshot())).save(path, "WEBP", quality=QUALITY, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/session-page"))
