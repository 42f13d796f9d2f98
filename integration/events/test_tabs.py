"""Several tabs of one user in Chromium, with the real server and worker: one socket, and every event in each tab, once, in order."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("channels_redis", reason="channels-redis is not installed; install the extra 'channels'")
pytest.importorskip("websockets", reason="websockets is not installed; sync the dependency group 'test'")

from integration.conftest import eventually, require
from integration.events.servers import Servers, servers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(180)

#: Tasks a second, and how many each tab hears of between two faults.
RATE, SOME = 20, 12


@pytest.fixture
def running() -> Iterator[Servers]:
    require(shutil.which("redis-server") or shutil.which("valkey-server"), "No redis-server is here.")
    with tempfile.TemporaryDirectory(prefix="tabs-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{directory}/db.sqlite3"}
        with servers(
            Path(directory), layer="core", log="redis", server="daphne", database=database, users=1, breaks=False
        ) as running:
            yield running


@pytest.fixture
def tabs(browser: Browser, running: Servers) -> Iterator[list[Page]]:
    """Three tabs of one window of the user."""
    context = browser.new_context(base_url=f"http://{running.web.place}")
    ((_, session),) = running.people
    context.add_cookies([{"name": "sessionid", "value": session, "url": f"http://{running.web.place}"}])
    tabs = [context.new_page() for _ in range(3)]
    for tab in tabs:
        tab.goto("/tab/")
    yield tabs
    context.close()


def heard(tab: Page) -> list[str]:
    ids: list[str] = tab.evaluate("heard")
    return ids


def one_socket(running: Servers, tabs: list[Page]) -> None:
    """Wait until all tabs are live over one socket of the server's."""

    def check() -> None:
        assert [tab.evaluate("client.status") for tab in tabs] == ["live"] * len(tabs)
        assert running.web.get("sockets/") == "1"

    eventually(check)


def leader(tabs: list[Page]) -> Page:
    """Return the tab that holds the lock: the first that asked for it."""
    locks = "navigator.locks.query().then(({ held }) => held.map((lock) => lock.clientId))"
    (holder,) = tabs[0].evaluate(locks)
    mine = "navigator.locks.request('mine', () => navigator.locks.query().then(({ held }) => held))"
    for tab in tabs:
        if holder in [lock["clientId"] for lock in tab.evaluate(mine) if lock["name"] == "mine"]:
            return tab
    raise AssertionError("No tab leads.")


def test_each_tab_hears_all_over_one_socket_though_its_leader_is_closed_and_the_server_restarts(
    running: Servers, tabs: list[Page]
) -> None:
    one_socket(running, tabs)
    over = threading.Event()

    def work() -> list[str]:
        asked: list[str] = []
        while not over.is_set():
            asked += [task for task, _ in running.producer.ask("work", RATE, RATE)]
        return asked

    def heard_of(count: int) -> None:
        assert min(len(heard(tab)) for tab in tabs) >= count, running.last_lines()

    def go_on() -> None:
        so_far = max(len(heard(tab)) for tab in tabs)
        eventually(lambda: heard_of(so_far + SOME))

    with ThreadPoolExecutor() as pool:
        working = pool.submit(work)
        try:
            go_on()
            leading = leader(tabs)
            tabs.remove(leading)
            leading.close()
            go_on()
            running.web.kill()
            running.web.launch()
            go_on()
        finally:
            over.set()
        asked = working.result()

    eventually(lambda: heard_of(len(asked)))
    one_socket(running, tabs)
    one, other = map(heard, tabs)
    assert sorted(one) == sorted(asked)
    assert one == other
