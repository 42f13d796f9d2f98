"""Web process. The one door out: the READY record is kept, the message is sent, the task is announced.

In that order: a fast worker always finds the record, and who hears of the task can read its result. Where broker and
store are one Redis, the first two are one step. A message that could not be sent takes its record along, and all of it ends within
OPTIONS["TIMEOUT"].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from tasks_celery.compat import AnyResult, AnyTask, Task, task_enqueued
from tasks_celery.context import announce
from tasks_celery.exceptions import EnqueueError, StoreError
from tasks_celery.message import HEADER, facts_of
from tasks_celery.publish import bulk, commit, conflict, express, sender, undo
from tasks_celery.publish.broker import Shortcut, sending
from tasks_celery.publish.bulk import send_kept as send_kept
from tasks_celery.publish.prepare import Prepared, announce_enqueued, prepare
from tasks_celery.remembered import is_eager
from tasks_celery.results import Results, to_result
from tasks_celery.stores import Record
from tasks_celery.stores.base import AnswerMissing
from tasks_celery.twin import TwinBackend


def enqueue(backend: TwinBackend, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> AnyResult:
    """Enqueue a task and return its result, READY (or finished, where Celery runs tasks eagerly).

    Raise TypeError or ValueError for arguments that JSON cannot hold, StoreError where the record cannot be
    kept, EnqueueError where the broker does not take the message, both within OPTIONS["TIMEOUT"]. In each case nothing
    stays behind that could still be run, unless the error says so.
    """
    prepared = prepare(backend, task, args, kwargs)
    return commit.enqueue(backend, [prepared], dispatch=dispatch, send_kept=send_kept)[0]


def enqueue_many(
    backend: TwinBackend, calls: Sequence[tuple[AnyTask, Sequence[Any], Mapping[str, Any]]]
) -> list[AnyResult]:
    """Enqueue several tasks and return their results in order.

    All are validated before any is stored or sent. Raise what `enqueue` raises of one, with a note that tells which it was;
    PartlyEnqueued where the broker does not take all of them.
    """
    valid: set[int] = set()
    prepared = [_prepare_one_of_many(backend, number, call, valid) for number, call in enumerate(calls)]
    return commit.enqueue(backend, prepared, dispatch=dispatch, send_kept=send_kept) if prepared else []


def _prepare_one_of_many(backend: TwinBackend, number: int, call: Any, valid: set[int]) -> Prepared:
    try:
        task, args, kwargs = _read_call(call)
        if id(task) not in valid:  # most calls are of one task
            backend.validate_task(task)
            valid.add(id(task))
        return prepare(backend, task, args, kwargs)
    except Exception as error:
        error.add_note(f"It was call number {number}, from 0; none of the calls was enqueued.")
        raise


def _read_call(call: Any) -> tuple[AnyTask, Sequence[Any], Mapping[str, Any]]:
    match call:
        case Task() as task, [*args], {**kwargs}:
            return task, args, cast("dict[str, Any]", kwargs)
    raise TypeError(f"A call is (task, args, kwargs): a task, a list or tuple, and a dict; not {call!r}.")


def dispatch(backend: TwinBackend, prepared: Sequence[Prepared]) -> list[AnyResult]:
    """Keep the records of tasks, send their messages and announce them; return their results in order."""
    if is_eager(backend.app):
        return [_run_eagerly(backend, each) for each in prepared]
    for each in prepared:
        conflict.refuse_without_store(each.record, backend.results.store)
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
        answer = _keep(results, prepared)
        if answer is not None:
            return answer
        if not record.held:
            _send(backend, results, record)
    undo.settle_doubts(results.store)
    return None


def _keep(results: Results, prepared: Prepared) -> AnyResult | None:
    holder = undo.keep(results, prepared.record)
    if holder is None or holder == prepared.record.id:
        return None
    return conflict.answer(results, prepared, holder, again=lambda: undo.keep(results, prepared.record))


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
    answer = _keep(backend.results, prepared)
    if answer is not None:
        return answer
    announce(task_enqueued, type(backend), result)
    headers: dict[str, Any] = {HEADER: facts_of(record)}
    prepared.twin.apply(tuple(record.args), record.kwargs, task_id=record.id, headers=headers, throw=False)
    ended = backend.results.store.get(record.id)
    return to_result(ended, result.task) if ended is not None else result


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
