"""The fast suite. TASKS_CELERY_WITHOUT names packages that it pretends are not installed."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest

WITHOUT = [name for name in os.environ.get("TASKS_CELERY_WITHOUT", "").split(",") if name]

# Before Django reads INSTALLED_APPS: None in sys.modules makes an import fail as if nothing were there.
for _name in WITHOUT:
    sys.modules[_name] = None  # type: ignore[assignment]

collect_ignore = ["channels", "example"] if "channels" in WITHOUT else []
# No release of it installs beside Django 6.1.
if "django_celery_beat" in WITHOUT or find_spec("django_celery_beat") is None:
    collect_ignore += ["beat"]


def pytest_collection_finish() -> None:
    """Let the garbage collector pass by what stays until the end: some tests have it look at everything."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def what_others_repeat_is_done_once() -> Iterator[None]:
    """Spare the tests what redis-py does for each client, and Django after each test outside of a transaction."""
    with pytest.MonkeyPatch.context() as patch:
        # redis-py looks its own version up on the disk.
        patch.setattr(importlib.metadata, "version", cache(importlib.metadata.version))
        # Django makes permissions and content types anew in the emptied database, and no test has a use for them.
        patch.setattr("django.core.management.commands.flush.emit_post_migrate_signal", lambda *args, **kwargs: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def records_are_no_rows() -> Iterator[None]:
    """Look for a store as if the database's app were not installed: it is, for its own tests."""
    from tasks_celery import results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "keeps_rows", lambda: False)
        yield


@pytest.fixture
def signals_seen() -> Iterator[list[tuple[str, Any]]]:
    """What the task signals said, in order: their names and the result as it then was."""
    from tasks_celery import compat

    seen: list[tuple[str, Any]] = []
    receivers = {}
    for name in ("task_enqueued", "task_started", "task_finished"):

        def receiver(sender: type, task_result: Any, name: str = name, **kwargs: Any) -> None:
            seen.append((name, task_result))

        receivers[name] = receiver
        getattr(compat, name).connect(receiver, weak=False)
    yield seen
    for name, receiver in receivers.items():
        getattr(compat, name).disconnect(receiver)


@pytest.fixture
def registry() -> Iterator[None]:
    """Forget the tasks that a test defines, and the apps it makes."""
    from tests.shop.running import registry_kept

    with registry_kept():
        yield


@pytest.fixture(scope="module")
def running_worker() -> Iterator[None]:
    """A solo worker in a thread of this process, for a module of tests."""
    from tests.shop.running import a_worker

    with a_worker():
        yield


@pytest.fixture
def quiet_worker(running_worker: None) -> Iterator[None]:
    """Let the worker finish with a task before the next test listens: its end is stored before it is announced."""
    from tests.shop import tasks
    from tests.shop.running import listening, signals_of

    yield
    with listening() as heard:
        last = tasks.echo.enqueue()
        signals_of(heard, last)
