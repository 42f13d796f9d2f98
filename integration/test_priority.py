"""Larger priorities run sooner, on real brokers that count in opposite directions (point 39 of the contract).

A solo worker in a thread of this process takes what waits: the order of the broker is the order it runs in.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from django.test import override_settings

from example.servers import Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import eventually, require
from integration.rabbitmq import find_rabbitmq, rabbitmq
from tasks_celery import task
from tasks_celery.compat import task_started
from tests.shop.running import apps_kept, logging_kept

#: Far enough apart for the four bands that a Redis broker has by default: one of them lies above 0, two below.
PRIORITIES = [0, -100, 100, -40, 0, 100, -100]


@task
def job() -> None: ...


@contextmanager
def redis_broker(environ: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as directory:
        plan = plan_redis(environ, Path(directory))
        require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
        url = str(plan.url)
        server = Child("redis", plan.command, env=environ)
        try:
            wait_until(lambda: redis_answers(url), what="Redis", watch=[server])
            yield url.replace("unix:", "redis+socket:"), {}
        finally:
            stop([server])


@contextmanager
def rabbitmq_broker(environ: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    require(find_rabbitmq(), "There is no RabbitMQ here; install rabbitmq-server.")
    with rabbitmq() as url:
        yield url, {"task_queue_max_priority": 10}


@pytest.mark.parametrize("broker", [redis_broker, rabbitmq_broker], ids=["Redis", "RabbitMQ"])
def test_larger_priorities_run_sooner_and_equal_ones_in_turn(
    broker: Any, clean_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def note(task_result: Any, **kwargs: Any) -> None:
        ran.append(task_result.id)

    with broker(clean_environ) as (url, conf), apps_kept(), logging_kept():
        app = Celery("priorities", set_as_current=False, broker=url, config_source=conf)
        module = ModuleType("priorities")
        module.app = app  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "priorities", module)
        options = {"APP": "priorities.app", "RESULTS": "memory://"}
        backend = {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default", "reports"], "OPTIONS": options}
        task_started.connect(note)
        try:
            with override_settings(TASKS={"default": backend}):
                with app.connection_for_write() as connection, connection.channel() as channel:
                    app.amqp.queues["default"].bind(channel).declare()  # RabbitMQ drops what has no queue
                waiting = [(priority, job.using(priority=priority).enqueue().id) for priority in PRIORITIES]
                with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20):
                    eventually(lambda: _equal(len(ran), len(waiting)))
        finally:
            task_started.disconnect(note)
            app.close()
    # Sorted is stable: equal priorities stay in the order they were enqueued in.
    assert ran == [result_id for _, result_id in sorted(waiting, key=lambda each: -each[0])]


def _equal(one: object, other: object) -> None:
    assert one == other
