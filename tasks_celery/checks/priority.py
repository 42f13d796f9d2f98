"""Both. What `checks` says of priorities: what a broker cannot do, and what plain Celery tasks do to the order."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.checks import CheckMessage, Error, Warning

from tasks_celery.compat import DEFAULT_TASK_PRIORITY
from tasks_celery.priority import (
    declared_queues,
    largest_in,
    max_priority_of,
    queue_type,
    transport_of,
)
from tasks_celery.results import first_url
from tasks_celery.twin import Twin, TwinBackend, registered

#: What the largest priority of a queue on RabbitMQ should be: more than 10 cost it memory and time.
#: https://www.rabbitmq.com/docs/priority#definition
LARGEST = 10


def priorities_are_refused(backend: TwinBackend) -> CheckMessage | None:
    """Find tasks with a priority that was not refused as they were defined, and will be as they are enqueued.

    Their backend could not tell then: the project's app was still being made, or was configured later.
    """
    asked = [
        task
        for task in registered().values()
        if task.backend == backend.alias and task.priority != DEFAULT_TASK_PRIORITY
    ]
    if not asked or backend.scale_of(None).order != "none":
        return None
    return Warning(
        f"The task {asked[0].module_path} has the priority {asked[0].priority}, and the broker behind "
        f"TASKS[{backend.alias!r}] has no order: such tasks are refused when they are enqueued.",
        hint=cure(backend),
        id="tasks_celery.W003",
    )


def cure(backend: TwinBackend) -> str:
    """Return what gives the queues of an alias an order, as a sentence."""
    conf = backend.app.conf
    if _transport(backend) != "amqp":
        return "Leave the priorities out, or use Redis or RabbitMQ as the broker."
    for name in _queues(backend):
        if queue_type(conf, name) != "classic":
            return (
                f"The queue {name!r} is a {queue_type(conf, name)} queue, which has no priorities: make it a classic queue of "
                "another name, with x-max-priority, in CELERY_TASK_QUEUES."
            )
    missing = [name for name in _queues(backend) if not largest_in(conf, name)]
    return (
        f"Set CELERY_TASK_QUEUE_MAX_PRIORITY = {LARGEST}, or x-max-priority in CELERY_TASK_QUEUES, before the queues "
        f"({', '.join(missing) or 'of any name'}) are made: RabbitMQ refuses to change one that is there (406 PRECONDITION_FAILED). Delete it "
        "once it is empty, or use another name."
    )


def plain_tasks_go_first_or_last(backend: TwinBackend) -> CheckMessage | None:
    """Find plain Celery tasks that are sent without a priority, beside Django's, which are sent with the middle one."""
    conf, scale = backend.app.conf, backend.scale_of(None)
    if conf.task_default_priority is not None or scale.order == "none" or not _meet(backend):
        return None
    plain = sorted(name for name, task in backend.app.tasks.items() if _is_plain(name, task))
    if not plain:
        return None
    place = "before" if scale.order == "lowest first" else "after"
    return Warning(
        f"Plain Celery tasks ({plain[0]}{' and others' if plain[1:] else ''}) are sent with the priority 0, and so are run "
        f"{place} all Django tasks that wait, which have {scale.middle} unless they say otherwise.",
        hint=f"Set CELERY_TASK_DEFAULT_PRIORITY = {scale.middle}.",
        id="tasks_celery.W004",
    )


def _is_plain(name: str, task: object) -> bool:
    """Whether a task is the project's, is sent as Celery has it, and has no priority of its own."""
    is_djangos = isinstance(task, Twin) and not task.is_adopted
    return not (name.startswith("celery.") or is_djangos) and getattr(task, "priority", None) is None


def _meet(backend: TwinBackend) -> bool:
    """Whether plain tasks wait where Django's do: on Redis a line of one queue goes before the next line of all queues."""
    if _transport(backend) == "amqp":
        return not backend.queues or backend.app.conf.task_default_queue in backend.queues
    return _transport(backend) == "redis"


def quorum_queues_have_a_largest_priority(backend: TwinBackend) -> CheckMessage | None:
    """Find queues that RabbitMQ refuses to make, and so whatever is sent to them."""
    conf = backend.app.conf
    if _transport(backend) != "amqp":
        return None
    declared = declared_queues(conf)
    refused = [
        name
        for name in _queues(backend)
        if queue_type(conf, name) != "classic" and (conf.task_queue_max_priority or max_priority_of(declared.get(name)))
    ]
    if not refused:
        return None
    return Error(
        f"The {queue_type(conf, refused[0])} queue {refused[0]!r} is declared with x-max-priority, which RabbitMQ refuses "
        "(406 PRECONDITION_FAILED).",
        hint="Take CELERY_TASK_QUEUE_MAX_PRIORITY out and give x-max-priority to classic queues alone, in "
        "CELERY_TASK_QUEUES.",
        id="tasks_celery.E010",
    )


def _queues(backend: TwinBackend) -> Iterable[str]:
    """Return the queues that the tasks of an alias can go to, as far as they have names."""
    conf = backend.app.conf
    return sorted(backend.queues or {conf.task_default_queue, *declared_queues(conf)})


def _transport(backend: TwinBackend) -> str:
    return transport_of(first_url(backend.app.conf.broker_write_url))
