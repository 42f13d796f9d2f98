"""Web process. A TaskResult becomes the Message that Celery sends. Pure: nothing is read, nothing is sent.

The facts that the worker needs also travel in one header, so that starting needs no read and a record
that was lost can be made again.
"""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any, Literal

from kombu.utils import json as kombu_json

from tasks_celery.compat import TASK_MAX_PRIORITY, AnyResult
from tasks_celery.moments import to_aware, to_text

HEADER = "tasks_celery"

Order = Literal["lowest first", "highest first", "none"]


#: The lists that kombu keeps for a queue on Redis, unless `priority_steps` says otherwise.
REDIS_STEPS = (0, 3, 6, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How a broker orders messages: the numbers that it tells apart, which end goes first, where 0 of Django lies.

    On Redis the lowest number goes first and a message without one counts as 0
    (https://docs.celeryq.dev/en/stable/userguide/routing.html#redis-message-priorities).
    """

    order: Order
    steps: Sequence[int]
    middle: int

    @property
    def largest(self) -> int:
        """The largest number that the broker tells apart."""
        return self.steps[-1] if self.steps else 0

    def place(self, priority: int) -> int:
        """Return the broker's number for a Django priority of -100 to 100.

        0 is the middle, and anything else at least one step away from it, where there is one.
        """
        if not priority or not self.steps:
            return self.middle
        last = len(self.steps) - 1
        here = max(bisect(self.steps, self.middle) - 1, 0)
        end = 0 if (priority > 0) == (self.order == "lowest first") else last
        away = ceil(abs(priority) * abs(end - here) / TASK_MAX_PRIORITY)
        return self.steps[here + away if end > here else here - away]


def scale_for(transport: str, *, default: int | None, largest: int | None, steps: Sequence[int] = REDIS_STEPS) -> Scale:
    """Return how the broker behind `transport` orders messages.

    `default` is ``task_default_priority`` (what plain Celery tasks of the project get), `largest` the
    ``x-max-priority`` of the queue, `steps` the ``priority_steps`` of Redis.
    """
    if transport in ("redis", "memory"):  # the memory of tests has one line, and takes the number all the same
        return Scale(
            order="lowest first", steps=sorted(steps), middle=5 if default is None else min(max(default, 0), 9)
        )
    if transport == "amqp" and largest:
        middle = largest // 2 if default is None else min(max(default, 0), largest)
        return Scale(order="highest first", steps=range(largest + 1), middle=middle)
    return Scale(order="none", steps=(), middle=default or 0)


def max_priority_of(queue: Any) -> int | None:
    """Return the ``x-max-priority`` of a queue in CELERY_TASK_QUEUES: a kombu Queue, or a dict of its options."""
    options = queue if isinstance(queue, Mapping) else getattr(queue, "__dict__", {})
    return options.get("max_priority") or (options.get("queue_arguments") or {}).get("x-max-priority")


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
    expires: datetime | None = None
    headers: dict[str, Any] = field(default_factory=dict)


def to_message(
    result: AnyResult, *, name: str, scale: Scale, context: Mapping[str, str], expires: datetime | None = None
) -> Message:
    """Return the message for a result that is about to be enqueued."""
    return Message(
        id=result.id,
        name=name,
        args=result.args,
        kwargs=result.kwargs,
        queue=result.task.queue_name,
        priority=scale.place(result.task.priority),
        eta=to_aware(result.task.run_after),
        expires=to_aware(expires),
        headers={HEADER: facts_of(result, context)},
    )


def refuse_marked(value: Any) -> None:
    """Raise ValueError for arguments that kombu would read as something else than they are.

    A dict of exactly the keys ``__type__`` and ``__value__`` is how kombu's JSON writes a date or bytes (kombu/utils/json.py):
    the worker would get another value, or drop the message unread.
    """
    if isinstance(value, Mapping):
        if set(value) == {"__type__", "__value__"}:
            raise ValueError(
                f"The argument {value!r} cannot be sent: a dict with just the keys '__type__' and '__value__' means "
                "something else to Celery's JSON. Give it another key, or rename one."
            )
        for item in value.values():
            refuse_marked(item)
    elif isinstance(value, list | tuple):
        for item in value:
            refuse_marked(item)


#: What of Celery's options for a call a message that is sent again has to carry.
_KEPT = (
    "link",
    "link_error",
    "chord",
    "group_id",
    "group_index",
    "root_id",
    "parent_id",
    "replaced_task_nesting",
    "reply_to",
    "shadow",
    "exchange",
    "routing_key",
    "time_limit",
    "soft_time_limit",
    "ignore_result",
)


def kept_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a call's options a message that is sent again has to carry, as JSON can hold it."""
    kept: dict[str, Any] = in_json({name: options[name] for name in _KEPT if options.get(name) not in (None, [], 0)})
    return kept


def kept_of_request(request: Any, *, is_plain: bool) -> dict[str, Any]:
    """Return the same of a message that has arrived; `is_plain` is whether its arguments are as the record has them."""
    options = {
        "link": request.callbacks,
        "link_error": request.errbacks,
        "chord": request.chord,
        "group_id": request.group,
        "group_index": request.group_index,
        "root_id": request.root_id if request.root_id != request.id else None,
        "parent_id": request.parent_id,
        "replaced_task_nesting": request.replaced_task_nesting,
        "shadow": request.shadow,
    }
    return kept_options(options) | ({} if is_plain else kept_arguments(request.args or (), request.kwargs or {}))


def kept_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call where a record has them only as texts: dates, bytes and the like."""
    return {"args": in_json(list(args)), "kwargs": in_json(dict(kwargs))}


def in_json(value: Any) -> Any:
    """Return what a value looks like in the JSON of a message, where a date is a dict of kombu's."""
    return json.loads(kombu_json.dumps(value))


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
