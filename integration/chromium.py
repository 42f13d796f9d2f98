"""Test process. Finds the machine's Chromium and starts it through playwright; nothing is downloaded.

`docs/screenshot.py` takes its picture with the same browser.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Without a sandbox, since CI runs as root; without everything that would call its maker's servers.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class NoChromium(Exception):
    """No Chromium can be started; the message says what to install or to set."""


def find_chromium() -> str:
    """Returns the executable that CHROMIUM names, or else the first of the usual names on PATH."""
    named = os.environ.get("CHROMIUM")
    if named and not shutil.which(named):
        raise NoChromium(f"CHROMIUM={named!r} is no executable; set it to a Chromium's path or unset it.")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise NoChromium(f"None of {', '.join(NAMES)} is on PATH; install one or set CHROMIUM to its path.")
    return found


@contextmanager
def headless_chromium() -> Iterator[Browser]:
    """Runs one headless Chromium.

    While it runs, playwright's event loop occupies this thread: no async test and no ORM call beside it.
    """
    executable = find_chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise NoChromium("playwright is not installed; sync the dependency group 'browser'.") from error
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
