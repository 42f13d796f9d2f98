"""Web process. The one door out: the READY record is kept, the message is sent, the task is announced.

In that order: a fast worker always finds the record, and who hears of the task can read its result. A
message that could not be sent takes its record along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.crypto import get_random_string

from tasks_celery.compat import AnyResult, AnyTask, TaskResult, TaskResultStatus, task_enqueued
from tasks_celery.context import announce, current
from tasks_celery.exceptions import EnqueueError
from tasks_celery.message import HEADER, Message, facts_of, refuse_marked, to_message
from tasks_celery.moments import from_celery
from tasks_celery.results import as_enqueued, as_json, jsonable, record_of, to_result
from tasks_celery.stores import Record
from tasks_celery.task import name_of
from tasks_celery.twin import Sent, Twin, TwinBackend, twin_of


def enqueue(backend: TwinBackend, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> AnyResult:
    """Enqueue a task and return its result, READY (or finished, where Celery runs tasks eagerly).

    Raise TypeError or ValueError for arguments that JSON cannot hold, StoreError where the record cannot be
    kept, EnqueueError where the broker does not take the message. In each case nothing stays behind.
    """
    result = ready_result(task, list(args), dict(kwargs), alias=backend.alias)
    refuse_marked([result.args, result.kwargs])
    context = current().as_dict()
    twin = twin_of(task, backend.app)
    message = to_message(result, name=name_of(task), scale=backend.scale_of(task.queue_name), context=context)
    record = record_of(result, name=message.name, context=context)
    backend.results.ready(record)
    if backend.app.conf.task_always_eager:
        return _run_eagerly(backend, twin, message, result)
    try:
        _send(backend, twin, message)
    except Exception as error:  # kombu, its transports and the project's routers raise what they like
        backend.results.undo(record)
        raise EnqueueError(
            f"The task {message.name} was not enqueued: the broker did not take its message ({error}). "
            "Nothing was stored. Check CELERY_BROKER_URL and that the broker runs, then enqueue again."
        ) from error
    except BaseException:
        backend.results.undo(record)
        raise
    announce(task_enqueued, type(backend), result)
    return result


def ready_result(
    task: AnyTask, args: list[Any], kwargs: dict[str, Any], *, alias: str, result_id: str | None = None
) -> AnyResult:
    """Return the result of a task that is about to be enqueued, its arguments normalised by Django."""
    return TaskResult(
        task=task,
        id=result_id or get_random_string(32),
        status=TaskResultStatus.READY,
        enqueued_at=timezone.now(),
        started_at=None,
        last_attempted_at=None,
        finished_at=None,
        args=as_json(args),
        kwargs=as_json(kwargs),
        backend=alias,
        errors=[],
        worker_ids=[],
    )


def _send(backend: TwinBackend, twin: Twin, message: Message) -> None:
    backend.app.send_task(
        message.name,
        message.args,
        message.kwargs,
        task_id=message.id,
        queue=message.queue,
        priority=message.priority,
        eta=message.eta,
        headers=message.headers,
        serializer="json",
        compression=getattr(twin, "compression", None),
        expires=twin.expires,
        time_limit=twin.time_limit,
        soft_time_limit=twin.soft_time_limit,
        ignore_result=twin.ignore_result,
        task_type=twin,
    )


def _run_eagerly(backend: TwinBackend, twin: Twin, message: Message, result: AnyResult) -> AnyResult:
    """Run the task here and now, as ``task_always_eager`` has it; `run_after` does not hold it back.

    A task that fails gives a FAILED result, with ``task_eager_propagates`` too: that is Django's contract.
    """
    announce(task_enqueued, type(backend), result)
    twin.apply(tuple(message.args), message.kwargs, task_id=message.id, headers=message.headers, throw=False)
    record = backend.results.store.get(message.id)
    return to_result(record, result.task) if record is not None else result


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
    record, facts = _record_of_call(backend, twin, args, kwargs, task_id, options)
    options["headers"] = {**(options.get("headers") or {}), HEADER: facts}
    backend.results.ready(record)
    result = to_result(record, twin.django_task)
    if backend.app.conf.task_always_eager:
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
) -> tuple[Record, dict[str, Any]]:
    context = current().as_dict()
    result = ready_result(
        twin.django_task, jsonable(list(args)), jsonable(dict(kwargs)), alias=backend.alias, result_id=task_id
    )
    record = replace(
        record_of(result, name=str(twin.name), context=context),
        queue_name=_queue_of(backend, twin, args, kwargs, options),
        run_after=_due(options),
    )
    told = replace(result, task=as_enqueued(twin.django_task, record))
    return record, facts_of(told, context)


def _due(options: Mapping[str, Any]) -> datetime | None:
    if options.get("countdown"):
        return timezone.now() + timedelta(seconds=options["countdown"])
    return from_celery(options.get("eta"))
