"""What every store promises the sweeper: leases, and lists of the tasks that nobody works on any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tasks_celery.stores import Record, Store
from tasks_celery.stores.base import TAKEN_OVER
from tests.shop.running import until
from tests.stores.making import HOUR, NO_PAPER, WHEN, a_record, an_attempt, an_outcome

LATER = WHEN + timedelta(hours=2)


def a_queue() -> str:
    """Return the name of a queue that no other test has."""
    return f"queue-{uuid4().hex}"


class SweepingContract:
    """The promises; `store` is a fixture of the subclass."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    # leases

    def test_a_lease_is_one_holders(self, store: Store) -> None:
        name = uuid4().hex
        assert store.hold(name, "one", seconds=HOUR)
        assert not store.hold(name, "two", seconds=HOUR)
        assert store.hold(name, "one", seconds=HOUR)

    def test_a_lease_given_back_is_free(self, store: Store) -> None:
        name = uuid4().hex
        store.hold(name, "one", seconds=HOUR)
        store.release(name, "one")
        store.release(name, "one")
        assert store.hold(name, "two", seconds=HOUR)

    def test_nobody_gives_back_the_lease_of_another(self, store: Store) -> None:
        name = uuid4().hex
        store.hold(name, "one", seconds=HOUR)
        store.release(name, "two")
        assert not store.hold(name, "two", seconds=HOUR)

    def test_a_lease_that_is_not_renewed_lapses(self, store: Store) -> None:
        name = uuid4().hex
        store.hold(name, "one", seconds=0.05)
        until(lambda: store.hold(name, "two", seconds=HOUR))

    def test_a_renewed_lease_lasts_from_then(self, store: Store) -> None:
        name, other = uuid4().hex, uuid4().hex
        for lease in (name, other):
            store.hold(lease, "one", seconds=0.05)
        store.hold(name, "one", seconds=HOUR)
        until(lambda: store.hold(other, "two", seconds=HOUR))
        assert not store.hold(name, "two", seconds=HOUR)

    # redeliveries

    def test_a_redelivery_waits_for_the_lease_of_the_worker_that_runs_the_task(self, store: Store) -> None:
        record, lease = a_record(), uuid4().hex
        store.hold(lease, lease, seconds=HOUR)
        store.claim(record, an_attempt("one", lease=lease), lifetime=HOUR)
        assert store.claim(record, an_attempt("two", redelivered=True), lifetime=HOUR) is None
        store.release(lease, lease)
        again = store.claim(record, an_attempt("two", redelivered=True), lifetime=HOUR)
        assert again is not None
        assert again.worker_ids == ("one", "two")
        assert again.errors == (TAKEN_OVER,)

    def test_a_retry_does_not_wait_for_a_lease(self, store: Store) -> None:
        record, lease = a_record(), uuid4().hex
        store.hold(lease, lease, seconds=HOUR)
        store.claim(record, an_attempt("one", lease=lease), lifetime=HOUR)
        again = store.claim(record, an_attempt("two", retries=1, lease=lease), lifetime=HOUR)
        assert again is not None
        assert again.errors == ()  # the first attempt has an error of its own to tell

    # what waits

    def test_what_is_due_is_counted_by_queue(self, store: Store) -> None:
        one, two = a_queue(), a_queue()
        for queue in (one, one, two):
            self._ready(store, queue, due=WHEN)
        self._ready(store, one, due=LATER)
        counts = store.waiting(before=WHEN + timedelta(seconds=1))
        assert (counts.get(one), counts.get(two)) == (2, 1)

    def test_the_longest_waiting_comes_first_and_no_more_than_asked_for(self, store: Store) -> None:
        queue = a_queue()
        late, early, middle = (
            self._ready(store, queue, due=WHEN + timedelta(seconds=seconds)) for seconds in (9, 1, 5)
        )
        assert self._overdue(store, queue) == [early.id, middle.id, late.id]
        assert self._overdue(store, queue, limit=2) == [early.id, middle.id]
        assert self._overdue(store, queue, before=WHEN + timedelta(seconds=5)) == [early.id]
        assert store.overdue(queue, before=LATER, limit=1) == [early]

    def test_a_task_that_began_waits_no_more(self, store: Store) -> None:
        queue = a_queue()
        record = self._ready(store, queue, due=WHEN)
        store.claim(record, an_attempt(), lifetime=HOUR)
        assert self._overdue(store, queue) == []
        assert not store.waiting(before=LATER).get(queue)

    @pytest.mark.parametrize("status", ["SUCCESSFUL", "FAILED"])
    def test_a_task_that_ended_waits_no_more(self, store: Store, status: str) -> None:
        queue = a_queue()
        record = self._ready(store, queue, due=WHEN)
        store.claim(record, an_attempt(), lifetime=HOUR)
        store.settle(record, an_outcome(status, attempt=1), lifetime=HOUR)
        assert self._overdue(store, queue) == []

    def test_a_task_revoked_before_it_began_waits_no_more(self, store: Store) -> None:
        queue = a_queue()
        record = self._ready(store, queue, due=WHEN, expires=WHEN)
        store.settle(record, an_outcome("FAILED"), lifetime=HOUR)
        assert self._overdue(store, queue) == []
        assert record.id not in self._expired(store)

    def test_a_discarded_task_waits_no_more(self, store: Store) -> None:
        queue = a_queue()
        record = self._ready(store, queue, due=WHEN, expires=WHEN)
        store.discard(record.id)
        assert self._overdue(store, queue) == []
        assert not store.waiting(before=LATER).get(queue)
        assert record.id not in self._expired(store)

    def test_a_task_that_is_retried_waits_from_when_the_retry_is_due(self, store: Store) -> None:
        queue = a_queue()
        record = self._ready(store, queue, due=WHEN)
        store.claim(record, an_attempt(), lifetime=HOUR)
        outcome = an_outcome("READY", attempt=1, error=NO_PAPER, due=WHEN + timedelta(minutes=30))
        settled = store.settle(record, outcome, lifetime=HOUR)
        assert settled is not None
        assert settled.due == outcome.due
        assert self._overdue(store, queue, before=WHEN + timedelta(minutes=29)) == []
        assert self._overdue(store, queue, before=WHEN + timedelta(minutes=31)) == [record.id]

    def test_a_task_that_goes_back_waits_from_then(self, store: Store) -> None:
        queue = a_queue()
        record = self._ready(store, queue, due=WHEN)
        store.claim(record, an_attempt(), lifetime=HOUR)
        store.settle(record, an_outcome("READY", attempt=1, after=60), lifetime=HOUR)
        assert self._overdue(store, queue, before=WHEN + timedelta(seconds=59)) == []
        assert self._overdue(store, queue, before=WHEN + timedelta(seconds=61)) == [record.id]

    def test_a_forgotten_task_waits_no_more(self, store: Store) -> None:
        queue = a_queue()
        record = self._ready(store, queue, due=WHEN, expires=WHEN, lifetime=0.01)
        until(lambda: store.get(record.id) is None)
        store.tidy()
        assert self._overdue(store, queue) == []
        assert not store.waiting(before=LATER).get(queue)
        assert record.id not in self._expired(store)

    # what is sent again

    def test_sending_again_puts_the_task_off_and_is_counted(self, store: Store) -> None:
        queue = a_queue()
        record = self._ready(store, queue, due=WHEN)
        assert store.resend(record, due=LATER, lifetime=HOUR)
        assert self._overdue(store, queue, before=LATER) == []
        assert store.get(record.id) == replace(record, due=LATER, resent=1)
        assert self._overdue(store, queue, before=LATER + timedelta(seconds=1)) == [record.id]

    def test_two_sweepers_send_again_once(self, store: Store) -> None:
        record = self._ready(store, a_queue(), due=WHEN)
        assert store.resend(record, due=LATER, lifetime=HOUR)
        assert not store.resend(record, due=LATER, lifetime=HOUR)

    def test_what_began_or_is_gone_is_not_sent_again(self, store: Store) -> None:
        record = self._ready(store, a_queue(), due=WHEN)
        store.claim(record, an_attempt(), lifetime=HOUR)
        assert not store.resend(record, due=LATER, lifetime=HOUR)
        unknown = a_record()
        assert not store.resend(unknown, due=LATER, lifetime=HOUR)
        assert store.get(unknown.id) is None

    # what expired

    def test_a_task_that_waits_past_its_expiry_is_found(self, store: Store) -> None:
        record = self._ready(store, a_queue(), due=WHEN, expires=WHEN + timedelta(seconds=5))
        assert store.get(record.id) == record
        assert record.id not in self._expired(store, before=WHEN + timedelta(seconds=5))
        assert record.id in self._expired(store, before=WHEN + timedelta(seconds=6))

    def test_a_task_that_runs_or_has_ended_does_not_expire(self, store: Store) -> None:
        record = self._ready(store, a_queue(), due=WHEN, expires=WHEN)
        store.claim(record, an_attempt(), lifetime=HOUR)
        assert record.id not in self._expired(store)
        store.settle(record, an_outcome(attempt=1), lifetime=HOUR)
        assert record.id not in self._expired(store)

    def test_a_task_that_waits_again_may_expire(self, store: Store) -> None:
        record = self._ready(store, a_queue(), due=WHEN, expires=WHEN)
        store.claim(record, an_attempt(), lifetime=HOUR)
        store.settle(record, an_outcome("READY", attempt=1), lifetime=HOUR)
        assert record.id in self._expired(store)

    # what was abandoned

    def test_a_task_whose_worker_let_its_lease_lapse_is_found(self, store: Store) -> None:
        record, lease = a_record(), uuid4().hex
        store.hold(lease, lease, seconds=HOUR)
        claimed = store.claim(record, an_attempt(lease=lease), lifetime=HOUR)
        assert record.id not in self._abandoned(store)
        store.release(lease, lease)
        assert claimed in store.abandoned(limit=1000)
        store.hold(lease, lease, seconds=HOUR)
        assert record.id not in self._abandoned(store)

    def test_a_task_under_no_lease_is_not_abandoned(self, store: Store) -> None:
        record = a_record()
        store.claim(record, an_attempt(), lifetime=HOUR)
        assert record.id not in self._abandoned(store)

    @pytest.mark.parametrize("status", ["SUCCESSFUL", "FAILED", "READY"])
    def test_what_does_not_run_is_not_abandoned(self, store: Store, status: str) -> None:
        record = a_record()
        store.claim(record, an_attempt(lease=uuid4().hex), lifetime=HOUR)
        assert record.id in self._abandoned(store)
        store.settle(record, an_outcome(status, attempt=1), lifetime=HOUR)
        assert record.id not in self._abandoned(store)

    def test_a_forgotten_task_is_not_abandoned(self, store: Store) -> None:
        record = a_record()
        store.claim(record, an_attempt(lease=uuid4().hex), lifetime=0.01)
        until(lambda: store.get(record.id) is None)
        assert record.id not in self._abandoned(store)
        store.tidy()

    def test_no_more_abandoned_tasks_than_asked_for(self, store: Store) -> None:
        for _ in range(3):
            store.claim(a_record(), an_attempt(lease=uuid4().hex), lifetime=HOUR)
        assert len(store.abandoned(limit=2)) == 2

    @staticmethod
    def _ready(store: Store, queue: str, *, lifetime: float = HOUR, **changes: Any) -> Record:
        record = a_record(queue_name=queue, **changes)
        store.create(record, lifetime=lifetime)
        return record

    @staticmethod
    def _overdue(store: Store, queue: str, *, before: datetime = LATER, limit: int = 10) -> list[str]:
        return [record.id for record in store.overdue(queue, before=before, limit=limit)]

    @staticmethod
    def _expired(store: Store, *, before: datetime = LATER) -> list[str]:
        return [record.id for record in store.expired(before=before, limit=1000)]

    @staticmethod
    def _abandoned(store: Store) -> list[str]:
        return [record.id for record in store.abandoned(limit=1000)]
