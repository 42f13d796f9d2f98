"""Test process. The example in Chromium, as the people in front of it have it: press, wait, download, no reload."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest

from example.servers import Stack, healthy, listen, stop, wait_until
from integration.conftest import DEADLINE, eventually, require_beat

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(300)

SAMPLE = Path(__file__).parent.parent / "example/reports/sample/orders.csv"
OpenAs = Callable[..., "Page"]


@pytest.fixture
def open_as(browser: Browser, stack: Stack) -> Iterator[OpenAs]:
    """Opens the list of reports as a demo user, in a browser of their own; its console must stay free of errors.

    `noise` is a pattern of errors that belong to the test; the other options are the browser context's.
    """
    contexts = []
    errors: list[str] = []

    def note(error: str, noise: str | None) -> None:
        if not (noise and re.search(noise, error)):
            errors.append(error)

    def open_as(user: str, *, noise: str | None = None, **options: Any) -> Page:
        contexts.append(browser.new_context(base_url=stack.base_url, **options))
        contexts[-1].set_default_timeout(DEADLINE * 1000)
        page = contexts[-1].new_page()
        page.on("console", lambda told: note(told.text, noise) if told.type == "error" else None)
        page.on("pageerror", lambda error: note(str(error), noise))
        page.goto("/")
        page.get_by_role("button", name=user).click()
        page.get_by_role("heading", name="Your reports").wait_for()
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert errors == []


@contextmanager
def worker_paused(stack: Stack) -> Iterator[None]:
    """Holds the worker back, so that a report that is asked for meanwhile is not ready before the page is."""
    worker = stack.children["worker"].process.pid
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def reports(page: Page) -> list[str]:
    """Returns the ids of the reports on the page, the newest first."""
    ids: list[str] = page.locator("[data-report]").evaluate_all("rows => rows.map(row => row.dataset.report)")
    return ids


def press(page: Page, button: str) -> str:
    """Asks for a report with a button of the form; returns its id, once the page that shows it is live."""
    with asking(page) as asked:
        page.get_by_role("button", name=button, exact=True).click()
    return asked[0]


@contextmanager
def asking(page: Page) -> Iterator[list[str]]:
    """Fills the list with the id of the report that the block asks for, once the page that shows it is live."""
    before, asked = reports(page), list[str]()
    with page.expect_event("load"):
        yield asked
    eventually_live(page)
    (new,) = set(reports(page)) - set(before)
    asked.append(new)


def eventually_live(page: Page) -> None:
    page.locator("#connection[data-status=live]").wait_for()


def mark(page: Page) -> None:
    """Leaves a mark in the page that no reload survives."""
    page.evaluate("window.marked = true")


def is_marked(page: Page) -> bool:
    return bool(page.evaluate("window.marked === true"))


def row(page: Page, report: str) -> Any:
    return page.locator(f'[data-report="{report}"]')


def downloaded(page: Page, report: str) -> str:
    """Clicks the report's link and returns the file that came, named as one for people."""
    with page.expect_download() as waiting:
        row(page, report).get_by_role("link", name="Download").click()
    assert waiting.value.suggested_filename.endswith(".html")
    return Path(waiting.value.path()).read_text()


def test_two_users_at_once_each_see_their_own_report_arrive_without_a_reload(open_as: OpenAs, stack: Stack) -> None:
    ada, grace = open_as("Ada"), open_as("Grace")
    with worker_paused(stack):
        for_ada, for_grace = press(ada, "Build from the sample"), press(grace, "Build from the sample")
        mark(ada)
        mark(grace)
        assert row(ada, for_ada).get_by_role("link").count() == 0
    for page, own, others in ((ada, for_ada, for_grace), (grace, for_grace, for_ada)):
        row(page, own).get_by_role("link", name="Download").wait_for()
        assert row(page, own).get_attribute("data-state") == "ready"
        assert others not in reports(page)
        assert "<h2>By product</h2>" in downloaded(page, own)
        assert is_marked(page)


def test_a_file_of_ones_own_becomes_a_report(open_as: OpenAs) -> None:
    page = open_as("Ada")
    page.get_by_label("A CSV of orders").set_input_files(SAMPLE)
    assert "<h2>By month</h2>" in downloaded(page, press(page, "Build report"))


def test_the_reason_of_a_failure_arrives_without_a_reload(open_as: OpenAs, stack: Stack) -> None:
    page = open_as("Grace")
    with worker_paused(stack):
        report = press(page, "Build one that fails")
        mark(page)
        assert row(page, report).locator(".reason").is_hidden()
    row(page, report).locator(".reason").wait_for()
    assert row(page, report).get_attribute("data-state") == "failed"
    assert re.search(r"\w+", row(page, report).locator(".reason").inner_text())
    assert row(page, report).get_by_role("link").count() == 0
    assert is_marked(page)


def test_what_is_no_csv_is_refused_beside_the_field(open_as: OpenAs) -> None:
    page = open_as("Ada", noise="status of 422")
    before = reports(page)
    page.get_by_label("A CSV of orders").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": b"\0\1"})
    page.get_by_role("button", name="Build report", exact=True).click()
    page.get_by_role("alert").wait_for()
    assert reports(page) == before


def test_the_keyboard_alone_builds_and_downloads_a_report(open_as: OpenAs) -> None:
    page = open_as("Ada")
    tab_to(page, "Build from the sample")
    with asking(page) as asked:
        page.keyboard.press("Enter")
    row(page, asked[0]).get_by_role("link", name="Download").wait_for()
    tab_to(page, "Download")
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert "<h2>By month</h2>" in Path(waiting.value.path()).read_text()


def tab_to(page: Page, name: str) -> None:
    """Moves the focus with the Tab key until what has it begins with that text, and can be seen to have it."""
    for _ in range(20):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count() and focused.inner_text().startswith(name):
            assert focused.evaluate("element => getComputedStyle(element).outlineStyle") != "none"
            return
    raise AssertionError(f"20 times Tab did not reach {name!r}")


# --- what comes by the clock --------------------------------------------------------------------------------------


@pytest.fixture
def beat(stack: Stack) -> None:
    """Beat, running; on Django 6.1 there is none."""
    require_beat()


@pytest.mark.usefixtures("beat")
def test_the_digest_of_the_day_arrives_without_a_reload(open_as: OpenAs) -> None:
    page = open_as("Grace")
    before = digested(page)
    row(page, press(page, "Build from the sample")).get_by_role("link", name="Download").wait_for()
    mark(page)

    def has_grown() -> None:
        assert digested(page) > before

    eventually(has_grown)
    assert is_marked(page)


def digested(page: Page) -> int:
    """Returns how many reports the digest at the foot of the page counts."""
    found = re.search(r"Today so far (\d+) report", page.locator("footer").inner_text())
    return int(found[1]) if found else 0


# Far from the site's zone, which is UTC: a time that was read in the other one is hours away.
TOKYO = "Asia/Tokyo"


@pytest.mark.usefixtures("beat")
def test_a_reminder_rings_at_its_time_on_the_page_of_who_asked_and_is_put_away(open_as: OpenAs) -> None:
    ada, grace = open_as("Ada", timezone_id=TOKYO), open_as("Grace")
    text = "Call <b>the bank</b> & ask"
    reminder = remind_me(ada, text, after=timedelta(seconds=8))
    mark(ada)
    assert reminder.get_attribute("data-state") == "pending"
    ada.locator("#bell", has_text=f"Reminder: “{text}”").wait_for()
    assert reminder.get_attribute("data-state") == "due"
    assert is_marked(ada)
    assert grace.locator("#bell").inner_text() == ""
    reminder.get_by_role("button", name="Done").click()
    reminder.wait_for(state="detached")
    eventually_live(ada)


@pytest.mark.usefixtures("beat")
def test_a_reminder_that_was_taken_back_does_not_ring(open_as: OpenAs) -> None:
    page = open_as("Ada", timezone_id=TOKYO)
    taken_back = remind_me(page, "Taken back", after=timedelta(seconds=12))
    taken_back.get_by_role("button", name="Take back").click()
    taken_back.wait_for(state="detached")
    remind_me(page, "Later than that", after=timedelta(seconds=14))
    page.locator("#bell:not(:empty)").wait_for()
    assert page.locator("#bell").inner_text() == "Reminder: “Later than that”"
    with page.expect_event("load"):
        page.get_by_role("button", name="Done Later than that").click()


@pytest.mark.usefixtures("beat")
def test_a_reminder_for_a_time_that_has_passed_is_refused_beside_the_fields(open_as: OpenAs) -> None:
    page = open_as("Grace", noise="status of 422")
    ask_for_reminder(page, "Too late", after=-timedelta(hours=1))
    assert "This time has passed" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Remind me of").input_value() == "Too late"
    assert page.locator("[data-reminder]", has_text="Too late").count() == 0


def remind_me(page: Page, text: str, *, after: timedelta) -> Any:
    """Asks for a reminder, and returns its row once the page is live."""
    ask_for_reminder(page, text, after=after)
    reminder = page.locator("[data-reminder]", has_text=text)
    reminder.wait_for()
    eventually_live(page)
    return reminder


def ask_for_reminder(page: Page, text: str, *, after: timedelta) -> None:
    """Fills in the form with a time as the clock of the page's reader shows it, and sends it."""
    zone = ZoneInfo(page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone"))
    page.get_by_label("Remind me of").fill(text)
    page.get_by_label("At", exact=True).fill(f"{datetime.now(zone) + after:%Y-%m-%dT%H:%M:%S}")
    with page.expect_event("load"):
        page.get_by_role("button", name="Remind me").click()


# --- any page -----------------------------------------------------------------------------------------------------


def test_nothing_scrolls_sideways_on_a_phone(open_as: OpenAs, stack: Stack) -> None:
    page = open_as("Grace", viewport={"width": 360, "height": 740}, noise="status of 422")
    row(page, press(page, "Build from the sample")).get_by_role("link", name="Download").wait_for()
    row(page, press(page, "Build one that fails")).locator(".reason").wait_for()
    assert sideways(page) == 0
    page.get_by_role("button", name="Build report", exact=True).click()
    page.get_by_role("alert").wait_for()
    assert sideways(page) == 0
    page.goto("/")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Ada").wait_for()
    assert sideways(page) == 0


def sideways(page: Page) -> int:
    """Returns by how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def test_a_page_that_outlives_its_web_server_shows_what_it_missed(open_as: OpenAs, stack: Stack) -> None:
    page = open_as("Ada", noise="WebSocket connection to .* failed|ERR_CONNECTION_REFUSED|Failed to fetch")
    with worker_paused(stack):
        report = press(page, "Build from the sample")
        mark(page)
        before = built(stack)
        stop([stack.children["web"]])
        page.locator("#connection[data-status=waiting]").wait_for()

    def is_built() -> None:
        assert built(stack) - before

    eventually(is_built)
    start_web_again(stack)
    row(page, report).get_by_role("link", name="Download").wait_for()
    eventually_live(page)
    other_tab = page.context.new_page()
    other_tab.goto("/")
    another = press(other_tab, "Build from the sample")
    row(page, another).get_by_role("link", name="Download").wait_for()
    assert is_marked(page)


def built(stack: Stack) -> set[str]:
    """Returns the ids of the tasks whose reports the worker says to have built."""
    return set(re.findall(r"build_report\[([\w-]+)\] succeeded", "\n".join(stack.children["worker"].lines)))


def start_web_again(stack: Stack) -> None:
    """Starts the web server where it was: at its old port."""
    with listen(urlsplit(stack.base_url).port or 0) as listener:
        command = stack.python("daphne", "--fd", str(listener.fileno()), "example.asgi:application")
        web = stack.launch("web", command, pass_fds=[listener.fileno()])
    wait_until(lambda: healthy(stack.base_url), what="web", watch=[web])


def test_a_page_whose_session_is_gone_says_so_and_asks_no_more(open_as: OpenAs) -> None:
    page = open_as("Grace")
    eventually_live(page)
    page.context.clear_cookies()
    for moment in ("pagehide", "pageshow"):  # into the back/forward cache, and back
        page.evaluate(f"dispatchEvent(new PageTransitionEvent('{moment}', {{ persisted: true }}))")
    page.locator("#connection[data-status=closed]").wait_for()
    assert page.locator("#connection").inner_text() == "signed out"
