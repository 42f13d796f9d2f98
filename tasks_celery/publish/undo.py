"""Web process. What becomes of a record whose message was not sent: `publish` leaves nothing half done.

A server that did not answer may still do what it was asked: one that was frozen reads its socket when it wakes up,
though nobody is there any more. So a message that may yet arrive finds a record that forbids to run it, and a record that
may yet be kept is discarded as soon as its store answers again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import uuid4

from django.utils import timezone

from tasks_celery.exceptions import EnqueueError, StoreError
from tasks_celery.publish.broker import Unanswered, timed_out
from tasks_celery.results import Results, error_of
from tasks_celery.stores import Outcome, Record, Store
from tasks_celery.stores.base import AnswerMissing
from tasks_celery.stores.nowhere import NOWHERE

logger = logging.getLogger("tasks_celery")

#: Seconds that a record which forbids a late message is kept, where it was refused long before.
LIFETIME = 86_400.0


class _Doubt(NamedTuple):
    """A record that nobody must find READY: it is to be discarded, or settled by `outcome` where its message may be there."""

    store: Store
    result_id: str
    outcome: Outcome | None = None


#: The newest of what this process could not bring in order yet.
_doubtful: deque[_Doubt] = deque(maxlen=1_000)


def keep(results: Results, record: Record) -> str | None:
    """Keep the record of a task that is about to be sent, and return who has its unique key; raise StoreError."""
    try:
        return results.ready(record)
    except StoreError as error:
        if timed_out(error):
            _doubtful.append(_Doubt(results.store, record.id))
        raise


def keep_many(results: Results, records: Sequence[Record]) -> list[str | None]:
    """Keep the records of tasks that are about to be sent, and return who has their unique keys; raise StoreError."""
    try:
        return results.store.create_many(records, lifetimes=[results.lifetime(record) for record in records])
    except StoreError:
        # Some may have been kept, and none is sent.
        for record in records:
            if not _discard(results.store, record.id):
                _doubtful.extend(_Doubt(results.store, each.id) for each in records)
                break
        raise


def settle_doubts(store: Store) -> None:
    """Bring in order what a store that answers again may have kept of tasks that were refused."""
    for _ in range(len(_doubtful)):
        try:
            doubt = _doubtful.popleft()
        except IndexError:  # another thread was faster
            return
        if doubt.store is not store:
            _doubtful.append(doubt)
        elif not _settle(doubt):
            return


def _settle(doubt: _Doubt) -> bool:
    try:
        record = doubt.store.get(doubt.result_id) if doubt.outcome else None
        if record is None:
            doubt.store.discard(doubt.result_id)
        elif doubt.outcome:
            doubt.store.settle(record, doubt.outcome, lifetime=LIFETIME)
    except StoreError:
        logger.warning("Task id=%s was refused, and its record is still to be removed", doubt.result_id, exc_info=True)
        _doubtful.append(doubt)
        return False
    return True


def take_back(results: Results, record: Record, error: Exception) -> EnqueueError | None:
    """Take back the record of a task that was not sent, and return what its caller is told.

    None where it was sent after all: a worker has begun it.
    """
    if not isinstance(error, Unanswered | AnswerMissing):
        gone = _discard(results.store, record.id)
        return refusal(
            record, error, "Nothing was stored." if gone else "Its record could not be removed: it may still be run."
        )
    if results.store is NOWHERE:
        return refusal(record, error, "It may have the message all the same: the task may still be run.")
    return _forbid(results, record, error)


@dataclass(slots=True)
class Left:
    """What is left of several tasks that were taken back, by their ids: what a worker has `begun`, and what may yet be run."""

    begun: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


def take_back_many(results: Results, kept: Sequence[Record], doubtful: Sequence[Record], error: Exception) -> Left:
    """Take back the records of tasks that were not sent, and forbid to run those whose messages may yet arrive.

    A store that does not answer is asked once, not for each of them.
    """
    left = Left(unknown={record.id for record in (*kept, *doubtful)})
    for number, record in enumerate(kept, 1):
        if not _discard(results.store, record.id):
            _doubt_all(results.store, kept[number:], doubtful, error)
            return left
        left.unknown.discard(record.id)
    for number, record in enumerate(doubtful if results.store is not NOWHERE else (), 1):
        refused = _forbid(results, record, error)
        if refused is not None and refused.__cause__ is not error:
            _doubt_all(results.store, (), doubtful[number:], error)
            return left
        left.unknown.discard(record.id)
        if refused is None:
            left.begun.add(record.id)
    return left


def _doubt_all(store: Store, kept: Sequence[Record], doubtful: Sequence[Record], error: Exception) -> None:
    _doubtful.extend(_Doubt(store, record.id) for record in kept)
    _doubtful.extend(_Doubt(store, record.id, _ended(_forbidden(record, error))) for record in doubtful)


def _forbidden(record: Record, error: Exception) -> EnqueueError:
    refused = refusal(record, error, "Should it deliver the message after all, it is not run: its record is FAILED.")
    refused.__cause__ = error
    return refused


def _ended(refused: EnqueueError) -> Outcome:
    return Outcome(
        status="FAILED",
        at=timezone.now(),
        token=uuid4().hex,
        worker_id=uuid4().hex,  # nobody's: a task that a worker has begun is the worker's to end
        error=error_of(refused),
    )


def _forbid(results: Results, record: Record, error: Exception) -> EnqueueError | None:
    refused = _forbidden(record, error)
    outcome = _ended(refused)
    try:
        ended = results.store.settle(record, outcome, lifetime=results.lifetime(record))
    except StoreError:
        logger.exception("Task id=%s may have been sent, and its record could not be changed", record.id)
        _doubtful.append(_Doubt(results.store, record.id, outcome))
        return refusal(record, error, "Its record could not be changed: it may still be run.")
    return refused if ended is not None else None


def _discard(store: Store, result_id: str) -> bool:
    return _settle(_Doubt(store, result_id))


def refusal(record: Record, error: Exception, left: str) -> EnqueueError:
    """Return what the caller of `enqueue` is told; `left` says what may be left of the task."""
    return EnqueueError(
        f"The task {record.name} was not enqueued: the broker did not take its message ({error}). "
        f"{left} Check CELERY_BROKER_URL and that the broker runs, then enqueue again."
    )
