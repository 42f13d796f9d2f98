"""Web process. A TaskResult becomes the Message that Celery sends. Pure: nothing is read, nothing is sent.

The facts that the worker needs also travel in one header, so that starting needs no read and a record
that was lost can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any, Literal

from tasks_celery.compat import TASK_MAX_PRIORITY, AnyResult
from tasks_celery.moments import to_aware, to_text

HEADER = "tasks_celery"

Order = Literal["lowest first", "highest first", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How a broker orders messages: which number goes first, the largest one, and where 0 of Django lies.

    On Redis the lowest number goes first and a message without one counts as 0
    (https://docs.celeryq.dev/en/stable/userguide/routing.html#redis-message-priorities).
    """

    order: Order
    largest: int = 9
    middle: int = 5

    def place(self, priority: int) -> int:
        """Return the broker's number for a Django priority of -100 to 100.

        Only 0 lands on the middle: a step up or down is never rounded away, unless the middle is the end.
        """
        first = 0 if self.order == "lowest first" else self.largest
        last = self.largest - first
        end = first if priority > 0 else last
        steps = ceil(abs(priority) * abs(end - self.middle) / TASK_MAX_PRIORITY)
        return self.middle + steps if end > self.middle else self.middle - steps


def scale_for(transport: str, *, default: int | None, largest: int | None) -> Scale:
    """Return how the broker behind `transport` orders messages.

    `default` is ``task_default_priority`` (what plain Celery tasks of the project get), `largest` the
    ``x-max-priority`` of the queue.
    """
    if transport in ("redis", "memory"):
        return Scale(order="lowest first", middle=5 if default is None else min(max(default, 0), 9))
    if transport == "amqp" and largest:
        middle = largest // 2 if default is None else min(max(default, 0), largest)
        return Scale(order="highest first", largest=largest, middle=middle)
    return Scale(order="none", largest=0, middle=default or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is handed to Celery for one task."""

    id: str
    name: str
    args: list[Any]
    kwargs: dict[str, Any]
    queue: str
    priority: int
    eta: datetime | None
    headers: dict[str, Any] = field(default_factory=dict)


def to_message(result: AnyResult, *, name: str, scale: Scale, context: Mapping[str, str]) -> Message:
    """Return the message for a result that is about to be enqueued."""
    return Message(
        id=result.id,
        name=name,
        args=result.args,
        kwargs=result.kwargs,
        queue=result.task.queue_name,
        priority=scale.place(result.task.priority),
        eta=to_aware(result.task.run_after),
        headers={HEADER: facts_of(result, context)},
    )


def facts_of(result: AnyResult, context: Mapping[str, str]) -> dict[str, Any]:
    """Return what the worker is told about a task beside its arguments, as JSON can carry it."""
    facts = {
        "alias": result.backend,
        "path": result.task.module_path,
        "queue": result.task.queue_name,
        "priority": result.task.priority,
        "run_after": to_text(result.task.run_after),
        "enqueued_at": to_text(result.enqueued_at),
        "context": dict(context),
    }
    return {name: value for name, value in facts.items() if value is not None}


def read_facts(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the facts in a message's headers; empty for a message that something else sent."""
    facts = (headers or {}).get(HEADER)
    return dict(facts) if isinstance(facts, Mapping) else {}
