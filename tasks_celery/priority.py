"""Both. How a broker orders messages, and where a Django priority lies on its scale. Pure: nothing is read, nothing sent."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from tasks_celery.compat import TASK_MAX_PRIORITY

Order = Literal["lowest first", "highest first", "none"]


#: The lists that kombu keeps for a queue on Redis, unless `priority_steps` says otherwise.
REDIS_STEPS = (0, 3, 6, 9)

#: What kombu calls the transports that have an order, by the scheme of the broker's URL (kombu/transport/__init__.py).
TRANSPORTS = {
    "redis": "redis",
    "rediss": "redis",
    "valkey": "redis",
    "sentinel": "redis",
    "amqp": "amqp",
    "amqps": "amqp",
    "pyamqp": "amqp",
    "librabbitmq": "amqp",
}


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


def scale_in(conf: Any, queue_names: Sequence[str], *, broker: str) -> Scale:
    """Return how the broker orders messages in these queues; without a name, in any queue.

    `conf` is Celery's configuration, and `broker` the URL in it: nobody is asked. So what a RabbitMQ decides
    by itself (a policy, the default type of queues of its virtual host) is not known. Several queues have the order that all
    have in common.
    """
    largest = [largest_in(conf, name) for name in queue_names or ("", *declared_queues(conf))]
    return scale_for(
        transport_of(broker),
        default=conf.task_default_priority,
        largest=min(number or 0 for number in largest) or None,
        steps=(conf.broker_transport_options or {}).get("priority_steps") or REDIS_STEPS,
    )


def transport_of(broker: str) -> str:
    """Return the name of the transport behind a broker's URL; without one Celery goes to RabbitMQ."""
    scheme = (broker or "amqp:").partition(":")[0].partition("+")[0]
    return TRANSPORTS.get(scheme, scheme)


def largest_in(conf: Any, queue_name: str) -> int | None:
    """Return the highest priority of a queue on RabbitMQ, None where it has none.

    Read from the settings: asking `app.amqp` while tasks are imported would settle the queues too early for a project
    that still configures its app.
    """
    if queue_type(conf, queue_name) != "classic":
        # A quorum queue refuses x-max-priority. RabbitMQ 4 gives it two levels, 3 none, and which one it will be is not known.
        return None
    return max_priority_of(declared_queues(conf).get(queue_name)) or conf.task_queue_max_priority or None


def queue_type(conf: Any, queue_name: str) -> str:
    """Return the type of a queue as Celery declares it on RabbitMQ: classic, quorum or stream."""
    declared = declared_queues(conf)
    if queue_name in declared:
        return str(arguments_of(declared[queue_name]).get("x-queue-type") or "classic")
    if not declared and queue_name == conf.task_default_queue:
        return str(conf.get("task_default_queue_type") or "classic")
    return str(conf.get("task_create_missing_queue_type") or "classic")  # since Celery 5.6


def declared_queues(conf: Any) -> Mapping[str, Any]:
    """Return what CELERY_TASK_QUEUES says of each queue: a kombu Queue, or a dict of its options."""
    declared = conf.task_queues or ()
    return declared if isinstance(declared, Mapping) else {str(getattr(each, "name", "")): each for each in declared}


def max_priority_of(queue: Any) -> int | None:
    """Return the ``x-max-priority`` of a queue in CELERY_TASK_QUEUES, None where it has none of its own."""
    return _options_of(queue).get("max_priority") or arguments_of(queue).get("x-max-priority")


def arguments_of(queue: Any) -> Mapping[str, Any]:
    """Return the arguments that a queue in CELERY_TASK_QUEUES is declared with."""
    return _options_of(queue).get("queue_arguments") or {}


def _options_of(queue: Any) -> Mapping[str, Any]:
    return queue if isinstance(queue, Mapping) else getattr(queue, "__dict__", {})
