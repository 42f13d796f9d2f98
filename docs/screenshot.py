"""Supervisor process. ``python docs/screenshot.py`` takes the README's picture, docs/example.png, of the running example.

It starts the example's servers on a database of their own, builds two reports and one that fails in a headless
Chromium, asks for a reminder, and stops everything. Needs the dependency groups demo and browser, and a Chromium on the machine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a file, Python knows this folder only

from example.servers import ServerFailed, Stack, end_by_exception  # noqa: E402
from integration.chromium import NoChromium, headless_chromium  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PICTURE = ROOT / "docs" / "example.png"
SAMPLE = ROOT / "example" / "reports" / "sample" / "orders.csv"
WIDTH = 1100
SHARPNESS = 2  # pixels of the picture for one of the page, as on most screens of today
LARGEST = 250_000  # bytes; a README is read on phones too


def main() -> None:
    """Take the picture, and say where it is; exit with the reason if that cannot be done."""
    end_by_exception()
    try:
        with headless_chromium() as browser, Stack(announce=print) as stack:
            take_picture(open_page(browser, stack.base_url))
    except (NoChromium, ServerFailed) as error:
        sys.exit(f"There is no new picture: {error}")
    size = PICTURE.stat().st_size
    print(f"{PICTURE.relative_to(ROOT)}: {size // 1000} kB")
    if size > LARGEST:
        sys.exit(f"That is more than {LARGEST // 1000} kB: take less of the page, or lower SHARPNESS.")


def open_page(browser: Browser, base_url: str) -> Page:
    """Sign in as ada in a browser window of the picture's width."""
    page = browser.new_page(
        base_url=base_url,
        viewport={"width": WIDTH, "height": 600},
        device_scale_factor=SHARPNESS,
        reduced_motion="reduce",  # else the picture may catch a colour that is about to fade
    )
    page.set_default_timeout(60_000)
    page.goto("/")
    page.get_by_role("button", name="Ada").click()
    return page


def take_picture(page: Page) -> None:
    """Build what the picture shows, wait until the page has heard of all of it, and store it."""
    page.get_by_label("A CSV of orders").set_input_files(
        {"name": "Garden shop.csv", "mimeType": "text/csv", "buffer": SAMPLE.read_bytes()}
    )
    build(page, "Build report", 'state="ready"')
    build(page, "Build one that fails", 'state="failed"')
    build(page, "Build from the sample", 'state="ready"')
    page.get_by_label("Remind me of").fill("Call the bank about October")
    page.get_by_role("button", name="Remind me").click()
    page.locator("[data-reminder]").wait_for()
    page.locator("#connection[data-status=live]").wait_for()
    page.screenshot(path=PICTURE, full_page=True)


def build(page: Page, button: str, state: str) -> None:
    """Press a button, and wait until the report on top has come to its end."""
    page.get_by_role("button", name=button, exact=True).click()
    page.locator(f".report[data-report]:first-child[data-{state}]").wait_for()


if __name__ == "__main__":
    main()
