"""Helpers of the fast suite: a worker in a thread, eager mode, and waiting for what is on its way."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest import mock
from uuid import uuid4

import fakeredis
import redis
from celery import Celery, _state
from celery import Task as CeleryTask
from celery.contrib.testing.worker import start_worker
from django.test import override_settings

from tasks_celery import compat, results
from tasks_celery.stores.redis import RedisStore
from tasks_celery.twin import _tasks

T = TypeVar("T")


def the_app() -> Celery:
    """Return the Celery app of the default alias."""
    return compat.task_backends["default"].app


def until(ask: Callable[[], T], *, seconds: float = 20) -> T:
    """Ask again and again until the answer is true, and return it; fail at the deadline."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(0.01)
    return answer


def finished(result: Any) -> Any:
    """Return the result, refreshed until it is finished."""

    def ask() -> Any:
        result.refresh()
        return result.is_finished

    until(ask)
    return result


@contextmanager
def configured(app: Celery, **changes: Any) -> Iterator[None]:
    """Change Celery's configuration for this block."""
    before = {name: app.conf[name] for name in changes}
    _configure(app, changes)
    try:
        yield
    finally:
        _configure(app, before)


def _configure(app: Celery, changes: dict[str, Any]) -> None:
    # Before 5.7, Celery reads CELERY_BROKER_URL of the settings before a changed broker_url
    # (utils/collections.py, ConfigurationView), and hears of new routes by keyword only (app/amqp.py).
    namespaced = {f"{app.conf.prefix or ''}{name}".upper(): value for name, value in changes.items()}
    app.conf.update(**changes, **(namespaced if app.conf.prefix else {}))


@contextmanager
def eagerly(**changes: Any) -> Iterator[None]:
    """Let Celery run tasks where they are enqueued, for this block."""
    with configured(the_app(), task_always_eager=True, **changes):
        yield


@contextmanager
def records_in_redis() -> Iterator[None]:
    """Keep records in a Redis of this process, for this block."""
    with mock.patch.object(redis, "Redis", fakeredis.FakeRedis):
        store = RedisStore(f"redis://{uuid4().hex}:1/0", key_prefix="test:", timeout=1)
    # Other settings, if only by name: which store is the project's is remembered for as long as they stay.
    with override_settings(), mock.patch.object(results, "open_store", return_value=store):
        yield


@contextmanager
def apps_kept() -> Iterator[None]:
    """Put Celery's idea of the current and the default app back at the end of this block."""
    current, default = _state._tls.current_app, _state.default_app
    try:
        yield
    finally:
        _state._tls.current_app = current
        _state.default_app = default
        _state._set_task_join_will_block(False)


@contextmanager
def registry_kept() -> Iterator[None]:
    """Forget the tasks that are defined in this block, and the apps that are made."""
    known, finalizers, apps = dict(_tasks), set(_state._on_app_finalizers), set(_state._get_active_apps())
    try:
        with apps_kept():
            yield
    finally:
        for name in set(_tasks) - set(known):
            the_app()._tasks.pop(name, None)
        _tasks.clear()
        _tasks.update(known)
        _state._on_app_finalizers.clear()
        _state._on_app_finalizers.update(finalizers)
        for app in set(_state._get_active_apps()) - apps:
            app.close()


def a_foreign_task(app: Celery, name: str) -> CeleryTask:
    """Register a Celery task that is nobody's twin."""

    class Foreign(CeleryTask):
        def run(self) -> str:
            return "foreign"

    Foreign.name = name
    return app.register_task(Foreign())


@contextmanager
def logging_kept() -> Iterator[None]:
    """Put the root logger back at the end of this block: a worker sets logging up its own way."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def empty_the_broker() -> None:
    """Drop what earlier tests left in the queues."""
    with the_app().connection_for_write() as connection:
        channel = connection.default_channel
        for queue in list(channel.queues):
            channel._purge(queue)


def waiting(queue: str) -> int:
    """Return how many messages wait in a queue."""
    with the_app().connection_for_write() as connection:
        channel = connection.default_channel
        return channel._size(queue) if queue in channel.queues else 0


@contextmanager
def a_worker(**options: Any) -> Iterator[Any]:
    """Run a solo worker in a thread of this process, on empty queues, for this block."""
    empty_the_broker()
    # A memory broker is asked once a second by default.
    with (
        configured(the_app(), broker_transport_options={"polling_interval": 0.01}),
        apps_kept(),
        logging_kept(),
        start_worker(the_app(), pool="solo", perform_ping_check=False, shutdown_timeout=20, **options) as worker,
    ):
        # Left alone, the loop looks whether it should stop only every two seconds.
        connection = worker.consumer.connection
        connection.drain_events = lambda timeout: type(connection).drain_events(connection, timeout=0.05)
        yield worker


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One task signal as it was when it was sent: a result that is refreshed later would tell otherwise."""

    signal: str
    sender: type
    id: str
    status: str
    stored: str | None
    raised: type[BaseException] | None
    result: Any


@contextmanager
def listening() -> Iterator[list[Heard]]:
    """Yield the task signals that are sent in this block, in order."""
    heard: list[Heard] = []
    receivers = {}
    for name in ("task_enqueued", "task_started", "task_finished"):

        def receiver(sender: type, task_result: Any, name: str = name, **kwargs: Any) -> None:
            record = compat.task_backends[task_result.backend].results.store.get(task_result.id)
            heard.append(
                Heard(
                    signal=name,
                    sender=sender,
                    id=task_result.id,
                    status=str(task_result.status),
                    stored=record.status if record else None,
                    raised=sys.exc_info()[0],
                    result=task_result,
                )
            )

        receivers[name] = receiver
        getattr(compat, name).connect(receiver, weak=False)
    try:
        yield heard
    finally:
        for name, receiver in receivers.items():
            getattr(compat, name).disconnect(receiver)


def the_store() -> Any:
    return compat.task_backends["default"].results.store


def signals_of(heard: list[Any], result: Any) -> list[tuple[str, str]]:
    """Return the signals about a task, once it is finished and has been announced.

    Its enqueueing first: this thread announces it, and the worker's may be faster.
    """
    until(lambda: any(one.signal == "task_finished" and one.id == result.id for one in list(heard)))
    ours = [(one.signal, one.status) for one in heard if one.id == result.id]
    return sorted(ours, key=lambda told: told[0] != "task_enqueued")
