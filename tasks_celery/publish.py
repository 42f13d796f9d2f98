"""Web process. The one door out: the READY record is kept, the message is sent, the task is announced.

In that order: a fast worker always finds the record, and who hears of the task can read its result. A
message that could not be sent takes its record along, and all of it ends within OPTIONS["TIMEOUT"].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from numbers import Real
from typing import Any

from celery import Celery
from celery.backends.asynchronous import AsyncBackendMixin
from celery.backends.rpc import RPCBackend
from django.utils import timezone
from django.utils.crypto import get_random_string

from tasks_celery import undo
from tasks_celery.broker import RETRY_POLICY, sending
from tasks_celery.compat import AnyResult, AnyTask, TaskResult, TaskResultStatus, task_enqueued
from tasks_celery.context import announce, current
from tasks_celery.exceptions import EnqueueError
from tasks_celery.message import HEADER, Message, facts_of, kept_arguments, kept_options, refuse_marked, to_message
from tasks_celery.moments import as_project, from_celery, to_aware
from tasks_celery.results import as_enqueued, record_of, to_result
from tasks_celery.stores import Record
from tasks_celery.task import name_of
from tasks_celery.twin import Sent, Twin, TwinBackend, task_at, twin_of
from tasks_celery.values import as_json, jsonable


def enqueue(backend: TwinBackend, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> AnyResult:
    """Enqueue a task and return its result, READY (or finished, where Celery runs tasks eagerly).

    Raise TypeError or ValueError for arguments that JSON cannot hold, StoreError where the record cannot be
    kept, EnqueueError where the broker does not take the message, both within OPTIONS["TIMEOUT"]. In each case nothing
    stays behind that could still be run, unless the error says so.
    """
    result = ready_result(_in_project_time(task), list(args), dict(kwargs), alias=backend.alias)
    refuse_marked([result.args, result.kwargs])
    context = current().as_dict()
    twin = twin_of(task, backend.app)
    expires = expiry(twin.expires, result)
    message = to_message(
        result, name=name_of(task), scale=backend.scale_of(task.queue_name), context=context, expires=expires
    )
    record = record_of(result, name=message.name, context=context, expires=expires)
    undo.keep(backend.results, record)
    if backend.app.conf.task_always_eager:
        return _run_eagerly(backend, twin, message, result)
    try:
        _send(backend, twin, message)
    except Exception as error:  # kombu, its transports and the project's routers raise what they like
        refusal = undo.take_back(backend.results, record, error)
        if refusal is not None:
            raise refusal from error
    except BaseException:
        backend.results.undo(record)
        raise
    undo.discard_doubtful(backend.results.store)
    announce(task_enqueued, type(backend), result)
    return result


def _in_project_time(task: AnyTask) -> AnyTask:
    """Return the task with `run_after` as it will be read back: aware where USE_TZ is on, else naive."""
    due = as_project(to_aware(task.run_after))
    return task if due == task.run_after else replace(task, run_after=due)


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
    with sending(backend.app, within=backend.settings.timeout / 2) as producer:
        backend.app.send_task(
            message.name,
            message.args,
            message.kwargs,
            task_id=message.id,
            queue=message.queue,
            priority=message.priority,
            eta=message.eta,
            headers={**message.headers, "ignore_result": twin.ignore_result},
            serializer="json",
            compression=getattr(twin, "compression", None),
            expires=message.expires,
            time_limit=twin.time_limit,
            soft_time_limit=twin.soft_time_limit,
            ignore_result=twin.ignore_result or _subscribes(backend.app),
            task_type=twin,
            producer=producer,
            retry_policy=RETRY_POLICY,
        )


def _subscribes(app: Celery) -> bool:
    """Whether Celery would subscribe to the result as it sends the task, on a connection without a deadline, for nothing.

    Whoever waits for an AsyncResult subscribes then. Only ``rpc://`` needs its queue before the worker answers.
    """
    return isinstance(app.backend, AsyncBackendMixin) and not isinstance(app.backend, RPCBackend)


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
    plain = result.args == list(args) and result.kwargs == dict(kwargs)
    record = replace(
        record_of(result, name=str(twin.name), context=context),
        queue_name=_queue_of(backend, twin, args, kwargs, options),
        run_after=_due(options),
        due=_due(options) or result.enqueued_at,
        expires=expiry(options.get("expires") or twin.expires, result),
        sending=kept_options(options) | ({} if plain else kept_arguments(args, kwargs)),
    )
    told = replace(result, task=as_enqueued(twin.django_task, record))
    return record, facts_of(told, context)


def _due(options: Mapping[str, Any]) -> datetime | None:
    if options.get("countdown"):
        return timezone.now() + timedelta(seconds=options["countdown"])
    return from_celery(options.get("eta"))


def expiry(expires: Any, result: AnyResult) -> datetime | None:
    """Return when a task need not be run any more, from Celery's `expires`: seconds from now on, or a time."""
    if isinstance(expires, Real):
        return (result.enqueued_at or timezone.now()) + timedelta(seconds=float(expires))
    return from_celery(expires)


def send_again(backend: TwinBackend, record: Record) -> None:
    """Send the message of a READY task once more, under the same id. Raise EnqueueError where the broker does not take it.

    Nothing is stored or announced: the task has been enqueued before.
    """
    result = to_result(record, task_at(record.name, record.path))
    twin = backend.app.tasks.get(record.name)
    options = _options_again(record, twin)
    try:
        with sending(backend.app, within=backend.settings.timeout / 2) as producer:
            backend.app.send_task(
                record.name,
                options.pop("args", record.args),
                options.pop("kwargs", record.kwargs),
                task_id=record.id,
                priority=backend.scale_of(record.queue_name).place(record.priority),
                eta=_later(record.run_after),
                expires=to_aware(record.expires),
                retries=record.retries,
                headers={HEADER: facts_of(result, record.context), "ignore_result": options.pop("ignore_result")},
                serializer="json",
                ignore_result=True,  # here, for Celery would subscribe; to the worker the header says what it is
                task_type=twin,
                producer=producer,
                retry_policy=RETRY_POLICY,
                **options,
            )
    except Exception as error:  # kombu, its transports and the project's routers raise what they like
        raise EnqueueError(f"The broker did not take the message of the task {record.name} again: {error}") from error


def _options_again(record: Record, twin: Any) -> dict[str, Any]:
    of_task = ("compression", "time_limit", "soft_time_limit", "ignore_result")
    options = {name: getattr(twin, name, None) for name in of_task}
    if not {"exchange", "routing_key"} & set(record.sending):
        options["queue"] = record.queue_name
    return options | dict(record.sending)


def _later(moment: datetime | None) -> datetime | None:
    aware = to_aware(moment)
    return aware if aware is not None and aware > datetime.now(UTC) else None


def depth(backend: TwinBackend, queue_name: str) -> int:
    """Return how many messages wait in a queue of the broker, 0 where there is no such queue.

    Raise EnqueueError where the broker does not answer.
    """
    try:
        with sending(backend.app, within=backend.settings.timeout / 2) as producer:
            connection: Any = producer.connection
            try:
                return int(connection.default_channel.queue_declare(queue=queue_name, passive=True).message_count)
            except connection.channel_errors:
                return 0
    except Exception as error:  # kombu and its transports raise what they like
        raise EnqueueError(f"The broker did not tell the length of the queue {queue_name!r}: {error}") from error
