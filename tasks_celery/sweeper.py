"""Worker's main process, beat, or ``manage.py sweep_tasks``. Finds the endings that no hook of Celery sees.

A message that its broker lost or that expired in there, a worker that was killed: nobody is left to report them, but
the record of the task still says READY or RUNNING. What waits longer than its queue explains is sent again under
the same id, and the claim makes a late duplicate harmless. What runs on a worker whose lease has lapsed is run
again or ended, as the task's `acks_late` says. Several sweepers do no harm to each other: each change is the store's.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from billiard.exceptions import WorkerLostError
from celery.exceptions import TaskRevokedError
from django.utils import timezone

from tasks_celery import publish
from tasks_celery.aliases import backend_of, by_backend
from tasks_celery.celery_results import ended_in_celery
from tasks_celery.exceptions import EnqueueError, StoreError
from tasks_celery.results import Results, error_of
from tasks_celery.stores import Outcome, Record
from tasks_celery.twin import TwinBackend
from tasks_celery.worker import announce_finished

logger = logging.getLogger("tasks_celery")

#: How many tasks of a kind, and of a queue, one look deals with at most.
BATCH = 500

#: How often the time that a message is given doubles, each time it was sent again.
DOUBLINGS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one look found, as numbers of tasks.

    `resent` were sent again, of those that waited or whose worker is gone; `lost` ended with their worker, `expired`
    before they began. `suspected` are on a worker that seems gone, and left alone until the next look.
    """

    resent: int = 0
    lost: int = 0
    expired: int = 0
    suspected: int = 0

    def __add__(self, later: Found) -> Found:
        """Return what two looks found together; of the suspects, those of the later."""
        return Found(
            resent=self.resent + later.resent,
            lost=self.lost + later.lost,
            expired=self.expired + later.expired,
            suspected=later.suspected,
        )


class Sweeper:
    """Looks through the records of one store. It raises StoreError where the store does not answer.

    `backend` is an alias that keeps its records there: its GRACE and SWEEP_EVERY count.
    """

    def __init__(self, backend: TwinBackend, results: Results) -> None:
        self._backend = backend
        self._results = results
        self._me = uuid4().hex
        #: The attempts that the last look found on a worker that seems gone.
        self._suspects: frozenset[tuple[str, int]] = frozenset()

    def look_if_alone(self, *, seconds: float) -> Found | None:
        """Look, unless another sweeper has the lease for it; hold the lease for so many seconds."""
        return self.look() if self._results.store.hold("sweeper", self._me, seconds=seconds) else None

    def look(self) -> Found:
        """Find what nobody works on any more, and deal with it; a worker is taken for dead by the second look."""
        self._results.store.tidy()
        expired = sum(map(self._expire, self._results.store.expired(before=timezone.now(), limit=BATCH)))
        abandoned = self._results.store.abandoned(limit=BATCH)
        sure = [record for record in abandoned if (record.id, record.attempt) in self._suspects]
        self._suspects = frozenset((record.id, record.attempt) for record in abandoned if record not in sure)
        settled = [after for record in sure if (after := self._settle_abandoned(record)) is not None]
        again = [record for record in settled if record.status == "READY"]
        return Found(
            resent=self._send_again([*again, *self._lost_messages()]),
            lost=len(settled) - len(again),
            expired=expired,
            suspected=len(self._suspects),
        )

    # --- what expired

    def _expire(self, record: Record) -> bool:
        outcome = Outcome(
            status="FAILED",
            at=timezone.now(),
            token=uuid4().hex,
            worker_id=self._me,  # of no worker: counts only while the task waits
            retries=record.retries,
            error=error_of(TaskRevokedError("The task expired before it started.")),
        )
        return self._settle(record, outcome) is not None

    # --- what was abandoned

    def _settle_abandoned(self, record: Record) -> Record | None:
        retry = self._is_retried(record)
        gone = f"The worker {record.worker_ids[-1]} that ran the task is gone: it no longer renews its lease."
        outcome = Outcome(
            status="READY" if retry or self._is_acked_late(record) else "FAILED",
            at=timezone.now(),
            token=uuid4().hex,
            attempt=record.attempt,
            error=error_of(WorkerLostError(gone)),
            retry=retry,
        )
        settled = self._settle(record, outcome)
        if settled is not None:
            logger.error("Task id=%s: %s It is now %s.", record.id, gone, settled.status)
        return settled

    def _is_acked_late(self, record: Record) -> bool:
        """Whether Celery's own rule has the message delivered again once its worker is gone."""
        twin = self._twin(record)
        return bool(self._results.app.conf.task_acks_late if twin is None else twin.acks_late)

    def _is_retried(self, record: Record) -> bool:
        """Whether the task asks for a retry when its worker is lost: ``retry_on_worker_lost`` of Celery 5.7."""
        twin = self._twin(record)
        if twin is None or not getattr(twin, "retry_on_worker_lost", None):
            return False
        return twin.max_retries is None or record.retries < twin.max_retries

    def _twin(self, record: Record) -> Any:
        return self._results.app.tasks.get(record.name)

    # --- what was lost on its way

    def _lost_messages(self) -> Iterable[Record]:
        """Yield the tasks that wait for a message that is not there, as far as the length of the queue can tell.

        As many as wait in the broker are taken to be the last of those that wait in the records: a queue is served from
        its front. What a worker has fetched ahead is no longer in the queue, and comes again to be claimed once.
        """
        before = timezone.now() - timedelta(seconds=self._backend.settings.grace)
        for queue, count in self._results.store.waiting(before=before).items():
            missing = count - self._waiting_in_broker(queue, otherwise=count)
            if missing > 0:
                overdue = self._results.store.overdue(queue, before=before, limit=min(missing, BATCH))
                yield from self._not_ended(overdue)

    def _not_ended(self, overdue: Iterable[Record]) -> Iterable[Record]:
        """Yield the tasks that Celery's own results tell no end of; end the others as those tell.

        A worker that keeps no records has run them, one of the release before say.
        """
        for record in overdue:
            try:
                told = ended_in_celery(self._results.app, record, timeout=self._results.timeout)
            except StoreError:
                # Sent again without asking, it might be run twice.
                logger.warning("The sweeper leaves %s and what waits behind it for now", record.id, exc_info=True)
                return
            if told is None:
                yield record
            else:
                self._settle(record, self._as_told(record, told))

    def _as_told(self, record: Record, told: Record) -> Outcome:
        return Outcome(
            status=told.status,
            at=timezone.now(),
            token=uuid4().hex,
            worker_id=self._me,  # of none that has a lease: counts only while the task waits
            retries=record.retries,
            error=told.errors[-1] if told.errors else None,
            return_value=told.return_value,
        )

    def _waiting_in_broker(self, queue: str, *, otherwise: int) -> int:
        try:
            return publish.depth(self._backend, queue)
        except EnqueueError:
            logger.warning("The sweeper could not ask the broker for the length of %r", queue, exc_info=True)
            return otherwise

    def _send_again(self, records: Iterable[Record]) -> int:
        """Send the messages of tasks once more, and return how many of them the broker took."""
        noted = [record for record in records if self._note_resent(record)]
        # At the end, in any order, what did not go before: one that the broker never takes must not hold up the others.
        noted.sort(key=lambda record: random.random() if record.resent else -1)  # noqa: S311
        sent = {
            record.id
            for backend, theirs in by_backend(noted, otherwise=self._backend)
            for record in publish.send_kept(backend, theirs)
        }
        for record in noted:
            if record.id in sent:
                logger.warning("Task id=%s waited without a message, and was sent again", record.id)
            else:
                logger.error("Task id=%s could not be sent again, and will be tried once more", record.id)
        return len(sent)

    def _note_resent(self, record: Record) -> bool:
        grace = self._backend.settings.grace * 2 ** min(record.resent, DOUBLINGS)
        due = timezone.now() + timedelta(seconds=grace)
        return self._results.store.resend(record, due=due, lifetime=self._results.lifetime(record))

    # --- shared

    def _settle(self, record: Record, outcome: Outcome) -> Record | None:
        settled = self._results.store.settle(record, outcome, lifetime=self._results.lifetime(record))
        if settled is not None and settled.status != "READY":
            announce_finished(self._backend_of(record), settled)
        return settled

    def _backend_of(self, record: Record) -> TwinBackend:
        return backend_of(record.alias, otherwise=self._backend)
