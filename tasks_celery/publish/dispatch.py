"""Web process. What is enqueued now: the record is kept, the message is sent, the task is announced.

In that order: a fast worker always finds the record, and who hears of the task can read its result. Where broker and
store are one Redis, the first two are one step. A message that could not be sent takes its record along.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks_celery.compat import AnyResult, task_enqueued
from tasks_celery.context import announce
from tasks_celery.exceptions import StoreError
from tasks_celery.message import HEADER, facts_of
from tasks_celery.publish import bulk, conflict, express, sender, undo
from tasks_celery.publish.broker import Shortcut, sending
from tasks_celery.publish.prepare import Prepared, announce_enqueued
from tasks_celery.remembered import is_eager
from tasks_celery.results import Results, to_result
from tasks_celery.stores import Record
from tasks_celery.stores.base import AnswerMissing
from tasks_celery.twin import TwinBackend


def dispatch(backend: TwinBackend, prepared: Sequence[Prepared]) -> list[AnyResult]:
    """Keep the records of tasks, send their messages and announce them; return their results in order."""
    if is_eager(backend.app):
        return [_run_eagerly(backend, each) for each in prepared]
    if len(prepared) > 1:
        return bulk.dispatch(backend, prepared)
    (each,) = prepared
    answer = _keep_and_send(backend, each)
    if answer is not None:
        return [answer]
    announce_enqueued(backend, each)
    return [each.result]


def _keep_and_send(backend: TwinBackend, prepared: Prepared) -> AnyResult | None:
    """Keep a record and send its message; return None, or what the second of a unique task is answered."""
    results, record = backend.results, prepared.record
    database = None if record.held or record.unique else express.broker_database(backend.app, results.store)
    if database is not None:
        _send(backend, results, record, express.shortcut(results, record, database))
    else:
        answer = conflict.keep(results, prepared)
        if answer is not None:
            return answer
        if not record.held:
            _send(backend, results, record)
    undo.settle_doubts(results.store)
    return None


def _send(backend: TwinBackend, results: Results, record: Record, shortcut: Shortcut | None = None) -> None:
    try:
        with sending(backend.app, within=backend.settings.timeout / 2) as producer:
            sender.send(backend, producer, record, shortcut=shortcut)
    except Exception as error:  # kombu, its transports and the project's routers raise what they like
        if shortcut is not None and not shortcut.reached:
            raise undo.refusal(record, error, "Nothing was stored.") from error
        if isinstance(error, StoreError) and not isinstance(error, AnswerMissing):
            raise  # the shortcut's, and nothing was done
        refusal = undo.take_back(results, record, error)
        if refusal is not None:
            raise refusal from error
    except BaseException:
        results.undo(record)
        raise


def _run_eagerly(backend: TwinBackend, prepared: Prepared) -> AnyResult:
    """Run a task here and now, as ``task_always_eager`` has it; `run_after` does not hold it back.

    A task that fails gives a FAILED result, with ``task_eager_propagates`` too: that is Django's contract.
    """
    record, result = prepared.record, prepared.result
    answer = conflict.keep(backend.results, prepared)
    if answer is not None:
        return answer
    announce(task_enqueued, type(backend), result)
    headers: dict[str, Any] = {HEADER: facts_of(record)}
    prepared.twin.apply(tuple(record.args), record.kwargs, task_id=record.id, headers=headers, throw=False)
    ended = backend.results.store.get(record.id)
    return to_result(ended, result.task) if ended is not None else result
