"""Test process. Messages as they lie on a broker: ours, and Celery's own for the same call."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from django.test import override_settings
from kombu import Consumer

from tasks_celery import task
from tasks_celery.compat import task_backends
from tests.shop.running import apps_kept, logging_kept, registry_kept

OURS, THEIRS = "messages.django", "messages.celery"
WITHIN = 20.0  # seconds for messages to arrive


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where messages go: a broker's URL, what a project has to set for it, and where its records are."""

    url: str
    records: str | None = "memory://"
    results: str | None = "cache+memory://"
    conf: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A message as a worker gets it; the name of its task is left out, for the two that are compared differ in it."""

    body: Any
    content: tuple[str, str]
    headers: dict[str, Any]
    properties: dict[str, Any]
    route: dict[str, Any]
    name: str = field(compare=False)
    #: The header that ours has and Celery's has not.
    facts: Any = field(compare=False)


def seen(message: Any) -> Seen:
    """Return what is compared of a message."""
    headers, properties = dict(message.headers), dict(message.properties)
    body = message.payload
    name = (body if isinstance(body, dict) else headers).pop("task")  # protocol 1 has no headers of Celery's own
    route = properties.pop("delivery_info", None) or dict(message.delivery_info)
    # What a transport makes anew for each message, or for each consumer.
    for made in ("delivery_tag", "consumer_tag", "redelivered"):
        route.pop(made, None)
    for again in ("delivery_tag", "application_headers"):
        properties.pop(again, None)
    return Seen(
        body=body,
        content=(message.content_type, message.content_encoding),
        headers=headers,
        properties=properties,
        route=route,
        name=name,
        facts=headers.pop("tasks_celery", None),
    )


class Project:
    """A project with a Celery app of its own: two tasks of one definition, one Django's and one Celery's."""

    def __init__(self, app: Celery, queue: str) -> None:
        self.app, self.queue = app, queue
        self.ours: Any = None
        self.theirs: Any = None

    def define(self, function: Callable[..., Any], **options: Any) -> None:
        """Define both tasks; their messages go to the project's queue."""
        self.ours = task(name=OURS, queue_name=self.queue, **options)(function)
        self.theirs = self.app.task(name=THEIRS, **options)(function)

    def enqueue(self, *args: Any, **kwargs: Any) -> str:
        """Enqueue ours and return its id."""
        return str(self.ours.enqueue(*args, **kwargs).id)

    def apply_async(self, *args: Any, options: Mapping[str, Any] | None = None, **kwargs: Any) -> str:
        """Call Celery's the same way: with the queue and the priority that ours has from its definition."""
        asked = {"queue": self.ours.queue_name, "priority": self.place(), **(options or {})}
        return str(self.theirs.apply_async(args, kwargs, **asked).id)

    def place(self) -> int:
        """Return the broker's number for the priority of ours."""
        backend: Any = task_backends["default"]
        return int(backend.scale_of(self.ours.queue_name).place(self.ours.priority))

    def both(self, *args: Any, options: Mapping[str, Any] | None = None, **kwargs: Any) -> str:
        """Send both messages, under one id, and return it."""
        task_id = self.enqueue(*args, **kwargs)
        self.apply_async(*args, options={"task_id": task_id, **(options or {})}, **kwargs)
        return task_id

    def compare(self, *args: Any, options: Mapping[str, Any] | None = None, **kwargs: Any) -> tuple[Seen, Seen]:
        """Send both messages and return them as they arrived: ours, and Celery's."""
        self.both(*args, options=options, **kwargs)
        return self.arrived()

    def arrived(self, queue: str = "") -> tuple[Seen, Seen]:
        """Return the two messages in a queue: ours, and Celery's."""
        with listening(self.app, queue or self.queue) as take:
            return in_order(take(2))


def in_order(messages: list[Seen]) -> tuple[Seen, Seen]:
    """Return ours and Celery's of two messages."""
    by_name = {each.name: each for each in messages}
    return by_name[OURS], by_name[THEIRS]


@contextlib.contextmanager
def project(broker: Broker, monkeypatch: pytest.MonkeyPatch, *, queue: str = "", **conf: Any) -> Iterator[Project]:
    """Let a project with this broker, and these settings of Celery's, be the one that this process serves."""
    options = {"APP": "messages_of_tests.app"} | ({"RESULTS": broker.records} if broker.records else {})
    settings = {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": [], "OPTIONS": options}
    with registry_kept(), apps_kept(), logging_kept():
        app = Celery("messages", set_as_current=False, broker=broker.url, backend=broker.results)
        app.conf.update({**broker.conf, **conf})
        module = ModuleType("messages_of_tests")
        module.app = app  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "messages_of_tests", module)
        with override_settings(TASKS={"default": settings}):
            yield Project(app, queue or f"q{uuid4().hex}")


@contextlib.contextmanager
def listening(app: Celery, queue: str) -> Iterator[Callable[[int], list[Seen]]]:
    """Consume a queue for this block; yield what returns the next so many messages of it, and fails for one more."""
    taken: list[Any] = []
    with (
        app.connection_for_read() as connection,
        connection.channel() as channel,
        Consumer(channel, [app.amqp.queues[queue]], on_message=taken.append, no_ack=True),
    ):

        def take(count: int) -> list[Seen]:
            deadline = time.monotonic() + WITHIN
            while len(taken) < count and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=0.5)
            assert len(taken) == count, f"{len(taken)} messages of {count} after {WITHIN:g} s"
            found = [seen(message) for message in taken]
            taken.clear()
            return found

        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=0.1)  # kombu subscribes to a fanout of Redis only now
        yield take
