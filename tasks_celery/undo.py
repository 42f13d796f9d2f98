"""Web process. What becomes of a record whose message was not sent: `publish` leaves nothing half done.

A server that did not answer may still do what it was asked: one that was frozen reads its socket when it wakes up,
though nobody is there any more. So a message that may yet arrive finds a record that forbids to run it, and a record that
may yet be kept is discarded as soon as its store answers again.
"""

from __future__ import annotations

import logging
from collections import deque
from uuid import uuid4

from django.utils import timezone

from tasks_celery.broker import Unanswered, timed_out
from tasks_celery.exceptions import EnqueueError, StoreError
from tasks_celery.results import Results, error_of
from tasks_celery.stores import Outcome, Record, Store
from tasks_celery.stores.nowhere import NOWHERE

logger = logging.getLogger("tasks_celery")

#: Records that nobody must find, by their stores: the newest of those that this process could not discard.
_doubtful: deque[tuple[Store, str]] = deque(maxlen=1_000)


def keep(results: Results, record: Record) -> None:
    """Keep the record of a task that is about to be sent; raise StoreError."""
    try:
        results.ready(record)
    except StoreError as error:
        if timed_out(error):
            _doubtful.append((results.store, record.id))
        raise


def discard_doubtful(store: Store) -> None:
    """Discard what a store that answers again may have kept of tasks that were refused."""
    for _ in range(len(_doubtful)):
        try:
            which, result_id = _doubtful.popleft()
        except IndexError:  # another thread was faster
            return
        if which is not store:
            _doubtful.append((which, result_id))
        elif not _discard(store, result_id):
            return


def take_back(results: Results, record: Record, error: Exception) -> EnqueueError | None:
    """Take back the record of a task that was not sent, and return what its caller is told.

    None where it was sent after all: a worker has begun it.
    """
    if not isinstance(error, Unanswered):
        gone = _discard(results.store, record.id)
        return _refusal(
            record, error, "Nothing was stored." if gone else "Its record could not be removed: it may still be run."
        )
    if results.store is NOWHERE:
        return _refusal(record, error, "It may have the message all the same: the task may still be run.")
    return _forbid(results, record, error)


def _forbid(results: Results, record: Record, error: Exception) -> EnqueueError | None:
    refusal = _refusal(record, error, "Should it deliver the message after all, it is not run: its record is FAILED.")
    refusal.__cause__ = error
    outcome = Outcome(
        status="FAILED",
        at=timezone.now(),
        token=uuid4().hex,
        worker_id=uuid4().hex,  # nobody's: a task that a worker has begun is the worker's to end
        error=error_of(refusal),
    )
    try:
        ended = results.store.settle(record, outcome, lifetime=results.lifetime(record))
    except StoreError:
        logger.exception("Task id=%s may have been sent, and its record could not be changed", record.id)
        _doubtful.append((results.store, record.id))
        return _refusal(record, error, "Its record could not be changed: it may still be run.")
    return refusal if ended is not None else None


def _discard(store: Store, result_id: str) -> bool:
    try:
        store.discard(result_id)
    except StoreError:
        logger.exception("Task id=%s was not sent, and its record could not be removed", result_id)
        _doubtful.append((store, result_id))
        return False
    return True


def _refusal(record: Record, error: Exception, left: str) -> EnqueueError:
    return EnqueueError(
        f"The task {record.name} was not enqueued: the broker did not take its message ({error}). "
        f"{left} Check CELERY_BROKER_URL and that the broker runs, then enqueue again."
    )
