"""Web process, and beat. The calls of Celery's own callers: `.delay()`, canvas, beat. They get a record like `enqueue`'s."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from tasks_celery.adopt import kept_call, or_untold
from tasks_celery.compat import AnyResult, task_enqueued
from tasks_celery.context import announce, current
from tasks_celery.exceptions import StoreError
from tasks_celery.message import HEADER, facts_of, kept_arguments, kept_options, refuse_marked
from tasks_celery.moments import from_celery
from tasks_celery.publish import conflict
from tasks_celery.publish.prepare import Prepared, expiry, ready_result
from tasks_celery.publish.routing import own_place, queue_of
from tasks_celery.remembered import is_eager
from tasks_celery.results import record_of, to_result
from tasks_celery.stores import Record
from tasks_celery.twin import Sent, Twin, TwinBackend
from tasks_celery.unique import fields_of
from tasks_celery.values import as_json, jsonable

logger = logging.getLogger("tasks_celery")


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
    priority; a task that was adopted, wherever Celery has it go. A retry is the same task again and has its record already.
    """
    if options.get("retries"):
        return send(task_id=task_id, **options)
    if not twin.is_adopted:
        refuse_marked([*args, dict(kwargs)])
        options = _as_asked(backend, twin, args, kwargs, options)
    record = _record_of_call(backend, twin, args, kwargs, task_id, options)
    options["headers"] = {**(options.get("headers") or {}), HEADER: facts_of(record)}
    result = to_result(record, twin.django_task)
    first = _keep(backend, Prepared(result=result, record=record, twin=twin))
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


def _as_asked(
    backend: TwinBackend, twin: Twin, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    options = {"priority": backend.scale_of(None).place(twin.django_task.priority), **options}
    if not {"queue", "exchange", "routing_key"} & set(options) and not _is_routed(backend, twin, args, kwargs):
        options["queue"] = twin.django_task.queue_name
    return options


def _is_routed(backend: TwinBackend, twin: Twin, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    return queue_of(backend, twin, args, kwargs, {}) != str(backend.app.conf.task_default_queue)


def _keep(backend: TwinBackend, prepared: Prepared) -> AnyResult | None:
    try:
        return conflict.keep(backend.results, prepared)
    except StoreError:
        if not prepared.twin.is_adopted:
            raise
        # Its callers know nothing of records: it is sent as ever.
        logger.exception("Task id=%s is sent without its record", prepared.record.id)
        return None


def _record_of_call(
    backend: TwinBackend,
    twin: Twin,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    task_id: str | None,
    options: Mapping[str, Any],
) -> Record:
    context, due = current().as_dict(), _due(options)
    given, named, is_plain = _as_kept(twin, args, kwargs)
    result = ready_result(twin.django_task, given, named, alias=backend.alias, result_id=task_id)
    return replace(
        record_of(result, name=str(twin.name), context=context),
        queue_name=queue_of(backend, twin, args, kwargs, {**own_place(twin), **options}),
        run_after=due,
        due=due or result.enqueued_at,
        expires=expiry(options.get("expires") or twin.expires, result),
        **_unique_fields(twin, result, task_id, options),
        sending=_sending(twin, args, kwargs, options, is_plain=is_plain),
    )


def _as_kept(twin: Twin, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any], bool]:
    """Return the arguments as a record has them, and whether these are the arguments themselves."""
    if twin.is_adopted:
        return kept_call(args, kwargs)
    given, named = as_json([jsonable(list(args)), jsonable(dict(kwargs))])
    return given, named, given == list(args) and named == dict(kwargs)


def _sending(
    twin: Twin, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any], *, is_plain: bool
) -> dict[str, Any]:
    def keep() -> dict[str, Any]:
        return kept_options(options) | ({} if is_plain else kept_arguments(args, kwargs))

    return or_untold(keep) if twin.is_adopted else keep()


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
