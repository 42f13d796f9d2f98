"""How often the store is asked for one task, counted by the server: what docs/guarantees.md states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import redis
from django.test import override_settings

from integration.test_stores import url  # noqa: F401  a fixture
from tasks_celery import results
from tasks_celery.compat import task_finished
from tasks_celery.stores.redis import RedisStore
from tests.shop import tasks
from tests.shop.running import a_worker, until

TASKS = 20
GREETINGS = ("ECHO", "HELLO", "CLIENT")  # ours, and what a new connection says once


@contextmanager
def counting(server: str) -> Iterator[Callable[[], int]]:
    """Count the commands that clients send to a server in this block; what a script does inside is no round trip."""
    client = redis.Redis.from_url(server, socket_timeout=None)
    with client.monitor() as monitor:
        client.echo("begin")

        def count() -> int:
            client.echo("end")
            sent = []
            for told in monitor.listen():
                sent.append(told)
                if told["command"].startswith("ECHO end"):
                    break
            named = [one["command"].split()[0] for one in sent if one["client_type"] != "lua"]
            return len([name for name in named if name not in GREETINGS])

        yield count
    client.close()


@pytest.fixture
def store(url: str) -> Iterator[None]:  # noqa: F811
    store = RedisStore(url, key_prefix="trips:", timeout=5)
    store.get("x")
    with override_settings(), mock.patch.object(results, "open_store", return_value=store):
        tasks.add.enqueue(1)  # a script is loaded as it is first used
        yield


def test_enqueueing_takes_one_round_trip(store: None, url: str) -> None:  # noqa: F811
    with counting(url) as count:
        for number in range(TASKS):
            tasks.add.enqueue(number)
        assert count() == TASKS


def test_reading_a_result_takes_one(store: None, url: str) -> None:  # noqa: F811
    result = tasks.add.enqueue(1)
    with counting(url) as count:
        for _ in range(TASKS):
            result.refresh()
        assert count() == TASKS


@pytest.mark.parametrize(("task", "argument"), [(tasks.add, 1), (tasks.fail, "no paper")], ids=["success", "failure"])
def test_running_a_task_takes_two(store: None, url: str, task: Any, argument: Any) -> None:  # noqa: F811
    with a_worker(), ends() as ended:
        task.enqueue(argument)
        until(lambda: len(ended) == 1)
        with counting(url) as count:
            for _ in range(TASKS):
                task.enqueue(argument)
            until(lambda: len(ended) == 1 + TASKS)
            assert count() == TASKS * (1 + 2)


@contextmanager
def ends() -> Iterator[list[str]]:
    """Yield the ids of the tasks that end in this block."""
    ended: list[str] = []

    def end(task_result: Any, **kwargs: Any) -> None:
        ended.append(task_result.id)

    task_finished.connect(end)
    try:
        yield ended
    finally:
        task_finished.disconnect(end)
