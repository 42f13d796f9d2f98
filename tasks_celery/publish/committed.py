"""Web process. What was enqueued in a transaction is sent, now that it has committed.

The record says first that its message is still to be sent (`held`), be it the row of the transaction or one that is kept
now. So what the broker does not take, or a process that dies does not send, is sent by the mover when it is due. What cannot
even be kept is raised out of the `atomic` block: the caller would else take it for enqueued.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import uuid4

from django.utils import timezone

from tasks_celery.compat import task_enqueued, task_finished
from tasks_celery.context import Context, announce, restored
from tasks_celery.exceptions import AlreadyEnqueued, StoreError
from tasks_celery.moments import as_project, to_aware
from tasks_celery.publish import conflict
from tasks_celery.publish.bulk import send_kept
from tasks_celery.publish.dispatch import dispatch
from tasks_celery.publish.prepare import Prepared
from tasks_celery.remembered import is_eager
from tasks_celery.results import error_of, to_result
from tasks_celery.stores import Outcome, Record, Store
from tasks_celery.stores.nowhere import NOWHERE
from tasks_celery.twin import TwinBackend, task_at
from tasks_celery.unique import expires_of, unique_of

logger = logging.getLogger("tasks_celery")


@dataclass(slots=True)
class Deferred:
    """What `on_commit` calls for the tasks of one call of enqueue: it sends them, in the context that they were enqueued in.

    `is_kept` is whether their records have been written in the transaction.
    """

    backend: TwinBackend
    store: Store
    prepared: Sequence[Prepared]
    is_kept: bool
    is_over: bool = False

    def __call__(self) -> None:
        self.is_over = True
        enqueued = [_enqueued_now(self.backend, each) for each in self.prepared]
        with restored(Context.from_dict(enqueued[0].record.context)):
            if is_eager(self.backend.app) or self.store is NOWHERE:
                self._dispatch(enqueued)
            else:
                # Not only what is sent now: what is kept will be.
                kept = self._note(enqueued) if self.is_kept else self._keep(enqueued)
                self._send([each for each in kept if not _waits(each.record)])
                for each in kept:
                    announce(task_enqueued, type(self.backend), each.result)

    def _dispatch(self, enqueued: Sequence[Prepared]) -> None:
        """Let tasks run here and now, or be sent where nothing is kept: as if they were enqueued outside of a transaction."""
        here = self._note(enqueued) if self.is_kept else enqueued
        if here:
            dispatch(self.backend, [replace(each, record=replace(each.record, held=False)) for each in here])

    def _note(self, enqueued: Sequence[Prepared]) -> list[Prepared]:
        """Note that tasks are enqueued whose rows have been committed, and return those that nobody else has seen to.

        Not those that the mover was faster to take, nor what was cancelled in the transaction.
        """
        ids = [each.record.id for each in enqueued]
        try:
            ours = set(self.store.enqueued(ids, at=cast("datetime", enqueued[0].record.enqueued_at)))
        except StoreError:
            logger.exception("Kept as the transaction committed, and sent when they are due: %s", _told(enqueued))
            return []
        return [each for each in enqueued if each.record.id in ours]

    def _keep(self, enqueued: Sequence[Prepared]) -> list[Prepared]:
        """Keep the records of tasks that are now enqueued, and return those that are; others have their like."""
        results, records = self.backend.results, [each.record for each in enqueued]
        try:
            holders = self.store.create_many(records, lifetimes=[results.lifetime(record) for record in records])
            pairs = zip(enqueued, holders, strict=True)
            return [each for each, holder in pairs if not holder or _is_first_after_all(self.backend, each, holder)]
        except StoreError as error:
            raise StoreError(
                f"The transaction has been committed, but what was to be enqueued then may not be: {_told(enqueued)}. "
                f"{error} Django does not call what else waits for this commit: what was enqueued later in the "
                "transaction is not sent either."
            ) from error

    def _send(self, kept: Sequence[Prepared]) -> None:
        """Send what can be sent; what the broker does not take is left to the mover."""
        if not kept:
            return
        sent = {record.id for record in send_kept(self.backend, [each.record for each in kept])}
        late = [each for each in kept if each.record.id not in sent]
        if late:
            logger.error("The broker did not take these on commit, and they are sent when it does: %s", _told(late))
        try:
            self.store.sent(sorted(sent), at=timezone.now())
        except StoreError:
            logger.exception("Sent on commit, and again when they are due, for it could not be noted: %s", _told(kept))


def adopted(backend: TwinBackend, store: Store, records: Sequence[Record]) -> list[Record]:
    """Return held records as they are once they are enqueued, for the mover to send.

    One that is not was left by a process that died as its transaction had committed: it is noted, and announced, here.
    """
    at = timezone.now()
    orphans = [record.id for record in records if record.enqueued_at is None]
    news = set(store.enqueued(orphans, at=at)) if orphans else set()
    told = [replace(record, enqueued_at=record.enqueued_at or at) for record in records]
    for record in told:
        if record.id in news:
            with restored(Context.from_dict(record.context)):
                announce(task_enqueued, type(backend), to_result(record, task_at(record.name, record.path)))
    return told


def _enqueued_now(backend: TwinBackend, waiting: Prepared) -> Prepared:
    at, unique = timezone.now(), unique_of(waiting.result.task)
    record = replace(
        waiting.record,
        enqueued_at=at,
        due=due_if_held(backend, waiting.record),
        unique_expires=expires_of(unique) if unique else None,
    )
    return replace(waiting, result=replace(waiting.result, enqueued_at=at), record=record)


def due_if_held(backend: TwinBackend, record: Record) -> datetime | None:
    """Return when a task is to be sent by the mover: when it may run, or when whoever is about to send it should have."""
    if _waits(record):
        return record.run_after
    # TIMEOUT bounds what is under way, and a transaction takes its time.
    return as_project(datetime.now(UTC) + timedelta(seconds=2 * backend.settings.timeout))


def _waits(record: Record) -> bool:
    run_after = to_aware(record.run_after)
    return run_after is not None and run_after > datetime.now(UTC)


def _is_first_after_all(backend: TwinBackend, second: Prepared, holder: str) -> bool:
    """Whether a task is kept after all, its like being gone; if not, its id, which its caller has, tells why it is not run."""
    refusal = _refusal(backend, second.record, holder)
    if refusal is not None:
        logger.warning("Task id=%s is not run. %s", second.record.id, refusal)
        _fail(backend, second, refusal)
    return refusal is None


def _refusal(backend: TwinBackend, record: Record, holder: str) -> AlreadyEnqueued | None:
    results = backend.results
    try:
        first = conflict.find_first(results, record, holder)
    except AlreadyEnqueued as refusal:
        return refusal
    return conflict.refusal(record, first.id) if first is not None else None


def _fail(backend: TwinBackend, second: Prepared, refusal: AlreadyEnqueued) -> None:
    results, record = backend.results, second.record
    outcome = Outcome(
        status="FAILED",
        at=timezone.now(),
        token=uuid4().hex,
        worker_id=uuid4().hex,  # nobody's: it never began
        error=error_of(refusal),
    )
    ended = results.store.settle(record, outcome, lifetime=results.lifetime(record))
    if ended is not None:
        announce(task_finished, type(backend), to_result(ended, second.result.task))


def _told(prepared: Sequence[Prepared]) -> str:
    return ", ".join(f"{each.record.name} id={each.record.id}" for each in prepared)
