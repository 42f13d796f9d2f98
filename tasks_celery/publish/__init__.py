"""Web process. The one door out: the READY record is kept, the message is sent, the task is announced.

A call is prepared, waits for a commit if it is to, and is dispatched. What waited goes by `send_kept`. All of it ends within
OPTIONS["TIMEOUT"].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from tasks_celery.compat import AnyResult, AnyTask, Task
from tasks_celery.exceptions import EnqueueError
from tasks_celery.message import in_json
from tasks_celery.publish import commit, own_way
from tasks_celery.publish.broker import sending
from tasks_celery.publish.bulk import send_kept as send_kept
from tasks_celery.publish.prepare import Prepared, prepare
from tasks_celery.twin import TwinBackend


def enqueue(backend: TwinBackend, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> AnyResult:
    """Enqueue a task and return its result, READY (or finished, where Celery runs tasks eagerly).

    Raise TypeError or ValueError for arguments that JSON cannot hold, StoreError where the record cannot be
    kept, EnqueueError where the broker does not take the message, both within OPTIONS["TIMEOUT"]. In each case nothing
    stays behind that could still be run, unless the error says so.
    """
    prepared = prepare(backend, task, args, kwargs)
    if prepared.twin.has_own_apply_async:
        return own_way.enqueue(backend, cast("Any", task), prepared)
    return commit.enqueue(backend, [prepared])[0]


def enqueue_as(
    backend: TwinBackend,
    task: AnyTask,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    result_id: str,
    sending: Mapping[str, Any],
) -> AnyResult:
    """Enqueue a task as `enqueue` does, under an id that was settled before: twice under one id, it runs once.

    `sending` is what else its message has, as JSON can hold it: headers, an exchange and a routing key, or the broker's own
    number for its priority. The result has another id where a unique task has its like.
    """
    backend.validate_task(task)
    prepared = prepare(backend, task, args, kwargs, result_id=result_id, sending=in_json(dict(sending)))
    if prepared.twin.has_own_apply_async:
        return own_way.enqueue(backend, cast("Any", task), prepared, sending=sending)
    return commit.enqueue(backend, [prepared])[0]


def enqueue_many(
    backend: TwinBackend, calls: Sequence[tuple[AnyTask, Sequence[Any], Mapping[str, Any]]]
) -> list[AnyResult]:
    """Enqueue several tasks and return their results in order.

    All are validated before any is stored or sent. Raise what `enqueue` raises of one, with a note that tells which it was;
    PartlyEnqueued where the broker does not take all of them.
    """
    valid: set[int] = set()
    prepared = [_prepare_one_of_many(backend, number, call, valid) for number, call in enumerate(calls)]
    if any(each.twin.has_own_apply_async for each in prepared):
        return [enqueue(backend, *call) for call in calls]
    return commit.enqueue(backend, prepared) if prepared else []


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
