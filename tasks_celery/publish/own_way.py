"""Web process. An adopted task whose class has an `apply_async` of its own: that sends it, whatever it adds or leaves out.

The record is kept where Celery's own `apply_async` is reached (`calls`), with what is really sent.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from django.db import transaction

from tasks_celery.compat import AnyResult
from tasks_celery.exceptions import EnqueueError, TasksCeleryError
from tasks_celery.publish.commit import alias_to_wait_for
from tasks_celery.publish.prepare import Prepared
from tasks_celery.remembered import is_eager
from tasks_celery.results import to_result
from tasks_celery.stores.base import FINISHED
from tasks_celery.task import CeleryTask
from tasks_celery.twin import TwinBackend


def enqueue(
    backend: TwinBackend, task: CeleryTask[..., Any], prepared: Prepared, *, sending: Mapping[str, Any] | None = None
) -> AnyResult:
    """Have a task sent by its own `apply_async`, now or on commit, and return its result.

    Raise InvalidTask for what only `publish` itself can do (a unique task), else what `publish.enqueue` raises.
    """
    options = task.celery_options() | dict(sending or {})
    send = functools.partial(_send, backend, prepared, options)
    alias = alias_to_wait_for(backend, task)
    if alias is None:
        return send()
    transaction.on_commit(send, using=alias)
    return replace(prepared.result, enqueued_at=None)


def _send(backend: TwinBackend, prepared: Prepared, options: Mapping[str, Any]) -> AnyResult:
    result, store = prepared.result, backend.results.store
    try:
        sent = cast("Any", prepared.twin).apply_async(tuple(result.args), result.kwargs, task_id=result.id, **options)
    except Exception as error:
        ended = store.get(result.id) if is_eager(backend.app) else None
        if ended is not None and ended.status in FINISHED:  # with task_eager_propagates
            return to_result(ended, result.task)
        if isinstance(error, TasksCeleryError | TypeError | ValueError):
            raise
        raise EnqueueError(
            f"The task {prepared.record.name} was not enqueued by its own apply_async: {error!r}"
        ) from error
    # Another task's, where it takes a call for one that it has sent before.
    result_id = str(getattr(sent, "id", None) or result.id)
    record = store.get(result_id)
    return replace(result, id=result_id) if record is None else to_result(record, result.task)
