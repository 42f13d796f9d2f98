"""Web process, and beat. Where Celery's router sends a call, and what of that has to be said of the message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks_celery.compat import InvalidTask
from tasks_celery.exceptions import EnqueueError
from tasks_celery.twin import Twin, TwinBackend

#: What a Celery task may say itself of where it goes.
_PLACE = ("queue", "exchange", "routing_key")


def queue_of(
    backend: TwinBackend, twin: Twin, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> str:
    """Return the queue that Celery's router sends a call to; the routing key where it names an exchange alone."""
    return _queue_in(_route(backend, twin, args, kwargs, options))


def as_celery_sends(
    backend: TwinBackend, twin: Twin, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the queue that `delay` of an adopted task sends a call to, and what else says so of its message.

    Raise EnqueueError where the project's routes fail.
    """
    try:
        routed = _route(backend, twin, args, kwargs, own_place(twin))
    except Exception as error:  # the project's routers raise what they like
        raise EnqueueError(
            f"The task {twin.name} was not enqueued: Celery's routes do not say where to ({error!r})."
        ) from error
    queue = _queue_in(routed)
    place = {name: _name_of(routed[name]) for name in ("exchange", "routing_key") if routed.get(name) is not None}
    return queue, {**place, "queue": queue} if place else {}


def own_place(twin: Twin) -> dict[str, Any]:
    """Return what a Celery task itself says of where it goes."""
    return {name: value for name in _PLACE if (value := getattr(twin, name, None)) is not None}


def refuse_unlisted(backend: TwinBackend, twin: Twin, queue: str) -> None:
    """Raise InvalidTask for a queue that QUEUES does not list."""
    if backend.queues and queue not in backend.queues:
        raise InvalidTask(
            f"Celery's options and routes send the task {twin.name} to the queue {queue!r}, which QUEUES of "
            f"TASKS[{backend.alias!r}] does not have. Add {queue!r} there, or name another queue: using(queue_name=…)."
        )


def _route(
    backend: TwinBackend, twin: Twin, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    router: Any = backend.app.amqp.router  # its stub knows neither lists nor tasks
    routed: dict[str, Any] = router.route(dict(options), str(twin.name), args, kwargs, twin)
    return routed


def _queue_in(routed: Mapping[str, Any]) -> str:
    queue = routed.get("queue")
    return str(_name_of(queue) or routed.get("routing_key"))


def _name_of(entity: Any) -> Any:
    return getattr(entity, "name", entity)
