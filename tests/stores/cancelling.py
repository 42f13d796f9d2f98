"""What every store promises who cancels a task: one that waits never runs, one that runs does not run again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tasks_celery.exceptions import TaskCancelled
from tasks_celery.stores import Error, Record, Store
from tasks_celery.stores.base import CANCELLED
from tests.stores.making import HOUR, NO_PAPER, WHEN, a_record, an_attempt, an_outcome

STOPPED = Error(exception_class_path="tasks_celery.exceptions.TaskCancelled", traceback="…TaskCancelled: Stop.\n")


class CancellingContract:
    """The promises; `store` is a fixture of the subclass."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    # refusals

    def test_an_unknown_task_is_not_cancelled(self, store: Store) -> None:
        unknown = a_record()
        assert store.cancel(unknown.id, an_outcome("FAILED")) is None
        assert store.get(unknown.id) is None

    @pytest.mark.parametrize("status", ["SUCCESSFUL", "FAILED"])
    def test_a_finished_task_is_not_cancelled(self, store: Store, status: str) -> None:
        record = a_record()
        store.claim(record, an_attempt(), lifetime=HOUR)
        ended = store.settle(record, an_outcome(status, attempt=1), lifetime=HOUR)
        assert store.cancel(record.id, an_outcome("FAILED", error=STOPPED)) is None
        assert store.get(record.id) == ended

    @pytest.mark.parametrize("again", [{"redelivered": True}, {"retries": 1}, {}], ids=str)
    def test_a_cancelled_task_that_runs_does_not_run_again(self, store: Store, again: dict[str, Any]) -> None:
        record = self._running(store)
        store.cancel(record.id, an_outcome("FAILED", error=STOPPED))
        before = store.get(record.id)
        assert store.claim(record, an_attempt("two", **again), lifetime=HOUR) is None
        assert store.get(record.id) == before

    def test_a_cancelled_task_never_begins(self, store: Store) -> None:
        record = a_record()
        store.create(record, lifetime=HOUR)
        store.cancel(record.id, an_outcome("FAILED", error=STOPPED))
        assert store.claim(record, an_attempt(), lifetime=HOUR) is None

    # one that waits

    @pytest.mark.parametrize("held", [True, False])
    def test_a_task_that_waits_is_settled(self, store: Store, held: bool) -> None:
        record = a_record(due=WHEN, expires=WHEN + timedelta(days=1), held=held)
        store.create(record, lifetime=HOUR)
        cancelled = store.cancel(record.id, an_outcome("FAILED", error=STOPPED))
        assert cancelled == store.get(record.id)
        assert cancelled == replace(
            record, status="FAILED", held=False, finished_at=WHEN + timedelta(seconds=9), errors=(STOPPED,)
        )
        assert [error.attempt for error in cancelled.errors] == [1]
        later = WHEN + timedelta(days=9)
        assert record.id not in [each.id for each in store.overdue(record.queue_name, before=later, limit=10_000)]
        assert record.id not in [each.id for each in store.expired(before=later, limit=10_000)]
        assert record.id not in [each.id for each in store.take_due(before=later, until=later, limit=10_000)]

    def test_a_task_that_waits_to_be_tried_again_is_settled(self, store: Store) -> None:
        # Whatever the cancelling process knows of its retries.
        record = self._running(store, retries=3)
        store.settle(record, an_outcome("READY", attempt=1, error=NO_PAPER, retry=True), lifetime=HOUR)
        cancelled = store.cancel(record.id, an_outcome("FAILED", error=STOPPED))
        assert cancelled is not None
        assert cancelled == store.get(record.id)
        assert (cancelled.status, cancelled.errors, cancelled.retries) == ("FAILED", (NO_PAPER, STOPPED), 4)
        assert [error.attempt for error in cancelled.errors] == [1, 2]

    def test_a_cancellation_repeated_after_a_lost_answer_is_the_same(self, store: Store) -> None:
        record, outcome = a_record(), an_outcome("FAILED", error=STOPPED)
        store.create(record, lifetime=HOUR)
        first = store.cancel(record.id, outcome)
        assert first is not None
        assert store.cancel(record.id, outcome) == first

    # one that runs

    def test_a_task_that_runs_is_marked_and_runs_on(self, store: Store) -> None:
        record = self._running(store)
        before = store.get(record.id)
        assert before is not None
        for _ in range(2):
            cancelled = store.cancel(record.id, an_outcome("FAILED", error=STOPPED))
            assert cancelled == replace(before, cancelled=True)
            assert store.get(record.id) == cancelled

    def test_a_claim_repeated_after_a_lost_answer_is_the_same_though_it_was_cancelled(self, store: Store) -> None:
        record, attempt = a_record(), an_attempt()
        store.claim(record, attempt, lifetime=HOUR)
        cancelled = store.cancel(record.id, an_outcome("FAILED", error=STOPPED))
        assert store.claim(record, attempt, lifetime=HOUR) == cancelled

    def test_a_cancelled_task_ends_as_it_ends(self, store: Store) -> None:
        for status, errors in (("SUCCESSFUL", ()), ("FAILED", (NO_PAPER,))):
            record = self._running(store)
            store.cancel(record.id, an_outcome("FAILED", error=STOPPED))
            settled = store.settle(record, an_outcome(status, attempt=1), lifetime=HOUR)
            assert settled is not None
            assert settled == store.get(record.id)
            assert (settled.status, settled.errors, settled.cancelled) == (status, errors, True)

    @pytest.mark.parametrize("report", [{"attempt": 1}, {"worker_id": "one"}], ids=str)
    @pytest.mark.parametrize("error", [NO_PAPER, None], ids=["error", "none"])
    def test_a_cancelled_task_that_would_run_again_has_failed(
        self, store: Store, report: dict[str, Any], error: Error | None
    ) -> None:
        record = self._running(store)
        store.cancel(record.id, an_outcome("FAILED", error=STOPPED))
        outcome = an_outcome("READY", error=error, retry=True, due=WHEN + timedelta(days=1), **report)
        settled = store.settle(record, outcome, lifetime=HOUR)
        assert settled is not None
        assert settled == store.get(record.id)
        assert (settled.status, settled.errors, settled.retries) == ("FAILED", (CANCELLED,), 0)
        assert settled.finished_at == WHEN + timedelta(seconds=9)
        assert settled.due == record.due

    def test_what_is_said_of_it_names_our_exception(self, store: Store) -> None:
        path = f"{TaskCancelled.__module__}.{TaskCancelled.__qualname__}"
        assert CANCELLED.exception_class_path == path
        assert CANCELLED.traceback.startswith(f"{path}: ")

    @staticmethod
    def _running(store: Store, **attempt: Any) -> Record:
        record = a_record(due=WHEN)
        store.create(record, lifetime=HOUR)
        assert store.claim(record, an_attempt("one", **attempt), lifetime=HOUR) is not None
        return record
