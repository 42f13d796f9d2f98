"""Web process. A call of a task becomes its result and its record: validated and normalised, nothing stored or sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from numbers import Real
from secrets import token_hex
from typing import Any

from celery import Celery
from django.utils import timezone

from tasks_celery.compat import AnyResult, AnyTask, TaskResultStatus, task_enqueued
from tasks_celery.context import announce, current
from tasks_celery.message import refuse_marked, schedule_in
from tasks_celery.moments import due_at, from_celery, to_aware
from tasks_celery.publish.routing import as_celery_sends, refuse_unlisted
from tasks_celery.publish.sender import can_delay
from tasks_celery.remembered import is_eager
from tasks_celery.results import CeleryTaskResult, as_enqueued
from tasks_celery.stores import Record
from tasks_celery.stores.nowhere import NOWHERE
from tasks_celery.task import AS_ROUTED, CeleryTask, name_of
from tasks_celery.twin import Twin, TwinBackend, twin_of
from tasks_celery.unique import fields_of
from tasks_celery.values import as_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A task that is about to be enqueued: what its caller gets, what is kept of it, and what runs it."""

    result: AnyResult
    record: Record
    twin: Twin


def prepare(
    backend: TwinBackend,
    task: AnyTask,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    result_id: str | None = None,
    sending: Mapping[str, Any] | None = None,
) -> Prepared:
    """Return what is to be enqueued, under an id of its own if none is given; `sending` is what else its message has.

    Raise TypeError or ValueError for arguments that JSON cannot hold.

    Raise ValueError for a `run_after` beyond the year 9999, EnqueueError for the key of a unique task that cannot be made.
    """
    twin = twin_of(task, backend.app)
    result = ready_result(
        task, list(args), dict(kwargs), alias=backend.alias, result_id=result_id, schedule=schedule_in(sending)
    )
    refuse_marked([result.args, result.kwargs])
    run_after = due_at(task.run_after)
    options = task.sending_options() if isinstance(task, CeleryTask) else {}
    name, queue_name = name_of(task), task.queue_name
    if twin.is_adopted:
        if queue_name == AS_ROUTED:
            queue_name, place = as_celery_sends(backend, twin, result.args, result.kwargs)
            options |= place
            if result_id is None:
                refuse_unlisted(backend, twin, queue_name)
        if not task.priority:
            options["priority"] = twin.priority
    record = Record(
        id=result.id,
        name=name,
        path=task.module_path,
        alias=backend.alias,
        queue_name=queue_name,
        args=result.args,
        kwargs=result.kwargs,
        priority=task.priority,
        run_after=run_after,
        enqueued_at=result.enqueued_at,
        due=run_after or result.enqueued_at,
        expires=expiry(options.pop("expires", None) or twin.expires, result),
        context=current().as_dict(),
        sending={**options, **_parents(backend.app), **(sending or {})},
        **fields_of(task, name=name, args=result.args, kwargs=result.kwargs),
    )
    if twin.is_adopted:
        result = replace(result, task=as_enqueued(task, record))
    if run_after is not None:  # as it will be read back: aware where USE_TZ is on, else naive
        record = replace(record, held=_is_held(backend, record))
        result = replace(result, task=as_enqueued(task, record))
    return Prepared(result=result, record=record, twin=twin)


def ready_result(
    task: AnyTask,
    args: list[Any],
    kwargs: dict[str, Any],
    *,
    alias: str,
    result_id: str | None = None,
    schedule: str | None = None,
) -> AnyResult:
    """Return the result of a task that is about to be enqueued, its arguments normalised by Django."""
    given, named = as_json([args, kwargs])
    return CeleryTaskResult(
        task=task,
        id=result_id or token_hex(16),
        status=TaskResultStatus.READY,
        enqueued_at=timezone.now(),
        started_at=None,
        last_attempted_at=None,
        finished_at=None,
        args=given,
        kwargs=named,
        backend=alias,
        errors=[],
        worker_ids=[],
        periodic_task_name=schedule,
    )


def expiry(expires: Any, result: AnyResult) -> datetime | None:
    """Return when a task need not be run any more, from Celery's `expires`: seconds from now on, or a time."""
    if isinstance(expires, Real):
        return (result.enqueued_at or timezone.now()) + timedelta(seconds=float(expires))
    return from_celery(expires)


def _is_held(backend: TwinBackend, record: Record) -> bool:
    """Whether a task waits in its record until it is due: where there is one, and neither Celery nor RabbitMQ takes it now."""
    due = to_aware(record.run_after)
    if due is None or due <= datetime.now(UTC) or is_eager(backend.app) or backend.results.store is NOWHERE:
        return False
    return not (backend.settings.delayed_delivery and can_delay(backend.app, record))


def _parents(app: Celery) -> dict[str, Any]:
    """Return what Celery notes of the task that enqueues this one: its id, and that of the first of all."""
    parent = app.current_worker_task
    if not parent:
        return {}
    return {"root_id": parent.request.root_id or parent.request.id, "parent_id": parent.request.id}


def announce_enqueued(backend: TwinBackend, prepared: Prepared) -> None:
    """Send `task_enqueued`; a task that was enqueued by a task is one of its ``request.children``, as with `apply_async`."""
    parent: Any = backend.app.current_worker_task
    if parent:
        parent.add_trail(backend.app.AsyncResult(prepared.record.id))
    announce(task_enqueued, type(backend), prepared.result)
