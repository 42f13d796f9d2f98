"""Web process. Cancels a task: one that waits never runs, one that runs is told, and ended where its worker can.

The record is what refuses to run a cancelled task, in whatever worker, after whatever restart: the list of revoked tasks
that Celery's workers keep is in their memory. So nobody is told of a task that waits. Whoever may ask for a task to
be cancelled is the caller's to know.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast
from uuid import uuid4

from django.db import connections
from django.utils import timezone

from tasks_celery.aliases import backend_of
from tasks_celery.compat import TaskResultDoesNotExist
from tasks_celery.exceptions import EnqueueError, TaskCancelled
from tasks_celery.publish.broker import RETRY_POLICY, sending
from tasks_celery.publish.commit import database_of
from tasks_celery.results import error_of, to_result
from tasks_celery.stores import Outcome, Record
from tasks_celery.stores.base import FINISHED
from tasks_celery.stores.nowhere import NOWHERE
from tasks_celery.twin import TwinBackend, task_at
from tasks_celery.worker import announce_finished


def cancel(backend: TwinBackend, result_id: str, *, terminate: bool = False) -> bool:
    """Cancel the task with that id, and return whether there was still something to cancel: False for one that has ended.

    A task that waits, for a worker, for its time or for a retry, is FAILED with TaskCancelled and never runs. One that
    runs is marked: ``context.is_cancelled()`` tells it, and it does not run again however this attempt ends. With
    `terminate` its worker is told to end it, too: prefork and gevent do; solo and threads cannot, and it runs on. True says
    that a running task was told, and its result says how it ended.

    Of a task without a record, sent by something else, Celery is told: its workers refuse it, or end it, while they live.
    In a transaction of the database that keeps the records, a task that waits is cancelled, and announced, as that commits.

    Raise TaskResultDoesNotExist for an unknown id, StoreError where the store does not answer; EnqueueError where the
    broker does not take the message to the worker, by when the task is marked. NotImplementedError where no records are
    kept. All of it ends within OPTIONS["TIMEOUT"].
    """
    if backend.results.store is NOWHERE:
        raise NotImplementedError("Without records no task can be cancelled; see the check tasks_celery.W001.")
    record = backend.results.store.cancel(result_id, _cancelled())
    if record is None:
        return _cancel_unrecorded(backend, result_id, terminate=terminate)
    owner = backend_of(record.alias, otherwise=backend)
    if record.status in FINISHED:
        _announce(owner, record, database_of(backend.results.store))
    elif terminate:
        _revoke(owner, record, terminate=True)
    return True


def _cancelled() -> Outcome:
    error = TaskCancelled("The task was cancelled before it could run.")
    return Outcome(status="FAILED", at=timezone.now(), token=uuid4().hex, error=error_of(error))


def _announce(backend: TwinBackend, record: Record, alias: str | None) -> None:
    """Announce the end of a task; as the transaction commits that its record was changed in, where there is one."""
    result = to_result(record, task_at(record.name, record.path))
    announced = partial(announce_finished, backend, record, result)
    if alias is not None and connections[alias].in_atomic_block:
        connections[alias].on_commit(announced)
    else:
        announced()


def _cancel_unrecorded(backend: TwinBackend, result_id: str, *, terminate: bool) -> bool:
    known = backend.results.get(result_id)
    if known is None:
        raise TaskResultDoesNotExist(f"There is no task result with the id {result_id!r}.")
    if known.status in FINISHED:
        return False
    if known.alias:
        # Ours after all: a worker, or who enqueued it, has kept its record just now.
        return cancel(backend, result_id, terminate=terminate)
    _revoke(backend, known, terminate=terminate)
    return True


def _revoke(backend: TwinBackend, record: Record, *, terminate: bool) -> None:
    """Tell the worker that runs a task, or all of them, what ``app.control.revoke`` would, but within OPTIONS["TIMEOUT"]."""
    mailbox = cast("Any", backend.app.control).mailbox  # its stub leaves it out
    message = {
        "method": "revoke",
        "arguments": {"task_id": record.id, "terminate": terminate},
        # By name, for each worker that is told writes down in Celery's result what it makes of it.
        "destination": [record.worker_ids[-1]] if record.status == "RUNNING" and record.worker_ids else None,
        "pattern": None,
        "matcher": None,
    }
    try:
        with sending(backend.app, within=backend.settings.timeout / 2) as producer:
            producer.publish(
                message,
                exchange=mailbox.exchange.name,
                declare=[mailbox.exchange],
                headers={"clock": mailbox.clock.forward(), "expires": 0},
                serializer="json",
                retry=True,
                retry_policy=dict(RETRY_POLICY),
            )
    except Exception as error:  # kombu and its transports raise what they like
        marked = "It is marked as cancelled, and will not run again. " if record.alias else ""
        raise EnqueueError(
            f"The worker was not told to end the task {record.name} (id={record.id}): the broker did not take the message "
            f"({error}). {marked}Check CELERY_BROKER_URL and that the broker runs, then cancel again."
        ) from error
