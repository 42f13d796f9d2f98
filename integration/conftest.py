"""Test process. The example's servers for every integration test, started once, and what tests of them share."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

import django
import pytest

from example.servers import Stack, have_beat, plan_redis
from integration.chromium import NoChromium, headless_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DEADLINE = 60.0  # seconds; a busy machine of two cores needs 15 for what an idle one does in 3
DIGEST_EVERY = 5

# What a person's shell may hold for the example; the tests decide it themselves.
UNSET = ("REDIS_URL", "VAR_DIR", "PORT", "DIGEST_EVERY", "DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "TIME_ZONE")

# What is about brokers, stores, logs, Celery or the browser rather than about one Django, or takes long: once is enough.
ONCE = {
    "test_adopt.py",
    "test_channel_workers.py",
    "test_database.py",
    "test_elsewhere.py",
    "test_events_js.py",
    "test_logs.py",
    "test_migrate.py",
    "test_moving.py",
    "test_moving_doc.py",
    "test_no_store.py",
    "test_publisher.py",
    "test_result_backends.py",
    "test_schedules_doc.py",
    "test_soak.py",
    "test_sockets.py",
    "test_sweeper.py",
    "test_tabs.py",
    "test_time_zones.py",
    "test_trouble.py",
}

#: All in them is run once.
FOLDERS = [Path(__file__).parent / name for name in ("asking", "beat")]

# No release of django-celery-beat installs beside Django 6.1.
collect_ignore = ["beat"] if django.VERSION >= (6, 1) else []

T = TypeVar("T")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is needed once to the run that has every pool and broker, unless it is asked for by name."""
    if os.environ.get("TASKS_CELERY_ENDINGS") == "full":
        return
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args}
    skipped = pytest.mark.skip(reason="run by ./run test --full, or by its name")
    for item in items:
        folders = {folder for folder in FOLDERS if item.path.is_relative_to(folder)}
        if (folders or item.path.name in ONCE) and not named & {item.path, *folders}:
            item.add_marker(skipped)


def require(present: object, reason: str) -> None:
    """Skip the test if what it needs is missing; fail it where CI is true, which leaves out nothing."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} CI leaves out nothing.")
    pytest.skip(reason)


def require_beat() -> None:
    """Skip the test where there is no beat: on Django 6.1; elsewhere as `require` does."""
    if django.VERSION >= (6, 1):
        pytest.skip("No release of django-celery-beat installs beside Django 6.1.")
    require(have_beat(), "django-celery-beat is not installed here.")


def eventually(check: Callable[[], T], *, within: float = DEADLINE) -> T:
    """Return what the check returns once it raises no AssertionError; after the deadline, let it raise."""
    deadline = time.monotonic() + within
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


@pytest.fixture(scope="session")
def clean_environ() -> dict[str, str]:
    """The environment without anything that steers the example."""
    return {name: value for name, value in os.environ.items() if name not in UNSET}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; while it runs, its event loop occupies this thread."""
    try:
        with headless_chromium() as browser:
            yield browser
    except NoChromium as missing:
        require(None, str(missing))


@pytest.fixture(scope="session")
def stack(clean_environ: dict[str, str]) -> Iterator[Stack]:
    """The example, running: `base_url`, `redis_url`, `env` for processes of its own kind, `children` by name."""
    with tempfile.TemporaryDirectory() as scratch:
        plan = plan_redis(clean_environ, Path(scratch))
    require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
    signal.signal(signal.SIGTERM, _end_the_tests)
    with Stack(environ=clean_environ, digest_every=DIGEST_EVERY) as stack:
        yield stack


def _end_the_tests(number: int, frame: FrameType | None) -> None:
    # Else the test process ends at once, and its servers stay.
    pytest.exit(f"ended by signal {number}", returncode=128 + number)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the servers' last lines to the report of a test that failed."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(running, Stack):
        for name, child in running.children.items():
            report.sections.append((f"last lines of {name}", child.last_lines(40)))
    return report
