"""Web process, and beat. The calls of Celery's own callers: `.delay()`, canvas, beat. They get a record like `enqueue`'s."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from tasks_celery.compat import AnyResult, task_enqueued
from tasks_celery.context import announce, current
from tasks_celery.message import HEADER, facts_of, kept_arguments, kept_options, refuse_marked
from tasks_celery.moments import from_celery
from tasks_celery.publish import conflict
from tasks_celery.publish.prepare import Prepared, expiry, ready_result
from tasks_celery.remembered import is_eager
from tasks_celery.results import record_of, to_result
from tasks_celery.stores import Record
from tasks_celery.twin import Sent, Twin, TwinBackend
from tasks_celery.unique import fields_of
from tasks_celery.values import jsonable


def send(
    backend: TwinBackend,
    twin: Twin,
    send: Callable[..., Sent],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    task_id: str | None,
    options: dict[str, Any],
) -> Sent:
    """Send a message for Celery's own callers (`.delay()`, canvas, beat), with a record like `enqueue`'s.

    Where neither the call nor a route of the project says otherwise, it goes to the queue of the Django Task, with its
    priority. A retry is the same task again and has its record already.
    """
    if options.get("retries"):
        return send(task_id=task_id, **options)
    refuse_marked([*args, dict(kwargs)])
    options = {"priority": backend.scale_of(None).place(twin.django_task.priority), **options}
    if not {"queue", "exchange", "routing_key"} & set(options) and not _is_routed(backend, twin, args, kwargs):
        options["queue"] = twin.django_task.queue_name
    record = _record_of_call(backend, twin, args, kwargs, task_id, options)
    options["headers"] = {**(options.get("headers") or {}), HEADER: facts_of(record)}
    result = to_result(record, twin.django_task)
    first = conflict.keep(backend.results, Prepared(result=result, record=record, twin=twin))
    if first is not None:
        return twin.AsyncResult(first.id)
    if is_eager(backend.app):
        announce(task_enqueued, type(backend), result)
        return send(task_id=record.id, **options)
    try:
        sent = send(task_id=record.id, **options)
    except BaseException:
        # Raised on as it is: these callers know Celery's exceptions.
        backend.results.undo(record)
        raise
    announce(task_enqueued, type(backend), result)
    return sent


def _is_routed(backend: TwinBackend, twin: Twin, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    return _queue_of(backend, twin, args, kwargs, {}) != str(backend.app.conf.task_default_queue)


def _queue_of(
    backend: TwinBackend, twin: Twin, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> str:
    """Return the queue that Celery's router sends a call to; the routing key where it names an exchange alone."""
    router: Any = backend.app.amqp.router  # its stub knows neither lists nor tasks
    routed = router.route(dict(options), str(twin.name), args, kwargs, twin)
    queue = routed.get("queue")
    return str(getattr(queue, "name", None) or queue or routed.get("routing_key"))


def _record_of_call(
    backend: TwinBackend,
    twin: Twin,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    task_id: str | None,
    options: Mapping[str, Any],
) -> Record:
    context, due = current().as_dict(), _due(options)
    result = ready_result(
        twin.django_task, jsonable(list(args)), jsonable(dict(kwargs)), alias=backend.alias, result_id=task_id
    )
    plain = result.args == list(args) and result.kwargs == dict(kwargs)
    return replace(
        record_of(result, name=str(twin.name), context=context),
        queue_name=_queue_of(backend, twin, args, kwargs, options),
        run_after=due,
        due=due or result.enqueued_at,
        expires=expiry(options.get("expires") or twin.expires, result),
        **_unique_fields(twin, result, task_id, options),
        sending=kept_options(options) | ({} if plain else kept_arguments(args, kwargs)),
    )


#: What is done with the result of a call that is part of something else.
_ANSWERED_TO = {"link", "link_error", "chord", "group_id", "chain"}


def _unique_fields(twin: Twin, result: AnyResult, task_id: str | None, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the record of a call says of its being unique.

    Nothing where somebody waits for this very id, as canvas does: what is not sent would never answer.
    """
    if task_id or any(options.get(name) for name in _ANSWERED_TO):
        return {}
    return fields_of(twin.django_task, name=str(twin.name), args=result.args, kwargs=result.kwargs)


def _due(options: Mapping[str, Any]) -> datetime | None:
    if options.get("countdown"):
        return timezone.now() + timedelta(seconds=options["countdown"])
    return from_celery(options.get("eta"))
