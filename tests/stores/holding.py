"""What every store promises the mover: tasks that are held until they are due, each for one mover at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tasks_celery.stores import Record, Store
from tests.shop.running import until
from tests.stores.making import HOUR, NO_PAPER, WHEN, a_record, an_attempt, an_outcome

SOON = WHEN + timedelta(minutes=1)
LATER = WHEN + timedelta(hours=2)
FAR = datetime(9000, 1, 1, tzinfo=UTC)


def taken(store: Store, *, before: datetime = LATER, until: datetime = FAR, limit: int = 1000) -> list[Record]:
    """Return the held tasks that are due, which nobody else gets any more."""
    return store.take_due(before=before, until=until, limit=limit)


def send_all(store: Store) -> None:
    """Let no task be held that an earlier test has left."""
    while held := taken(store, before=FAR + timedelta(days=1)):
        store.sent([record.id for record in held], at=WHEN)


class HoldingContract:
    """The promises; `store` is a fixture of the subclass."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def mover(self, store: Store) -> Store:
        """The store, with nothing that is held."""
        send_all(store)
        return store

    # refusals

    def test_no_task_is_due_where_none_is_held(self, mover: Store) -> None:
        mover.create(a_record(due=WHEN), lifetime=HOUR)
        assert mover.next_due() is None
        assert taken(mover) == []

    def test_a_task_is_not_taken_before_it_is_due(self, mover: Store) -> None:
        record = self._held(mover)
        assert taken(mover, before=WHEN - timedelta(microseconds=1)) == []
        assert [each.id for each in taken(mover, before=WHEN)] == [record.id]

    def test_a_task_that_was_taken_is_not_taken_again_until_then(self, mover: Store) -> None:
        record = self._held(mover)
        assert taken(mover, until=SOON) == [replace(record, due=SOON)]
        assert mover.get(record.id) == replace(record, due=SOON)
        assert taken(mover, before=SOON - timedelta(microseconds=1)) == []
        assert [each.id for each in taken(mover, before=SOON)] == [record.id]

    @pytest.mark.parametrize("status", ["READY", "FAILED", "SUCCESSFUL"])
    def test_a_task_that_began_is_held_no_more(self, mover: Store, status: str) -> None:
        # Its message may have been sent, and `sent` not been called.
        record = self._held(mover)
        claimed = mover.claim(record, an_attempt(), lifetime=HOUR)
        assert claimed is not None
        assert (claimed.status, claimed.held) == ("RUNNING", False)
        assert mover.get(record.id) == claimed
        self._is_not_held(mover)
        settled = mover.settle(record, an_outcome(status, attempt=1), lifetime=HOUR)
        assert settled is not None
        assert not settled.held
        self._is_not_held(mover)

    @pytest.mark.parametrize("status", ["READY", "FAILED"])
    def test_a_task_that_was_settled_is_held_no_more(self, mover: Store, status: str) -> None:
        record = self._held(mover)
        settled = mover.settle(record, an_outcome(status), lifetime=HOUR)
        assert settled is not None
        assert (settled.status, settled.held) == (status, False)
        assert mover.get(record.id) == settled
        self._is_not_held(mover)

    def test_a_discarded_task_is_held_no_more(self, mover: Store) -> None:
        record = self._held(mover)
        mover.discard(record.id)
        assert mover.get(record.id) is None
        self._is_not_held(mover)

    @pytest.mark.parametrize("asked", ["next", "taken"])
    def test_a_task_whose_lifetime_is_over_never_comes_out(self, mover: Store, asked: str) -> None:
        gone = [self._held(mover, due=WHEN - timedelta(seconds=9 - each), lifetime=0.01) for each in range(9)]
        kept = self._held(mover)
        until(lambda: all(mover.get(each.id) is None for each in gone))
        if asked == "next":
            assert mover.next_due() == WHEN
        else:
            assert [each.id for each in taken(mover, limit=1)] == [kept.id]
            assert [mover.get(each.id) for each in gone] == [None] * 9

    # what is due

    def test_the_first_that_is_due_is_told_to_the_microsecond(self, mover: Store) -> None:
        first = WHEN.replace(microsecond=999_999)
        for seconds in (3, 0, 1):
            self._held(mover, due=first + timedelta(seconds=seconds))
        assert mover.next_due() == first
        taken(mover, before=first, until=FAR)
        assert mover.next_due() == first + timedelta(seconds=1)

    def test_the_longest_waiting_comes_first_and_no_more_than_asked_for(self, mover: Store) -> None:
        late, early, middle = (self._held(mover, due=WHEN + timedelta(seconds=each)) for each in (9, 1, 5))
        assert [each.id for each in taken(mover, limit=2)] == [early.id, middle.id]
        assert [each.id for each in taken(mover, limit=2)] == [late.id]
        assert taken(mover, limit=2) == []

    def test_what_is_taken_until_a_moment_that_is_past_comes_once_a_call(self, mover: Store) -> None:
        ids = {self._held(mover).id for _ in range(3)}
        found = taken(mover, until=WHEN)
        assert len(found) == 3
        assert {each.id for each in found} == ids

    def test_many_are_taken_a_part_at_a_time(self, mover: Store) -> None:
        records = [a_record(due=WHEN + timedelta(seconds=each), held=True) for each in range(520)]
        mover.create_many(records, lifetimes=[HOUR] * len(records))
        parts = [taken(mover, limit=220) for _ in range(4)]
        assert [len(part) for part in parts] == [220, 220, 80, 0]
        assert [each.id for part in parts for each in part] == [record.id for record in records]
        mover.sent([record.id for record in records], at=LATER)
        assert mover.next_due() is None

    def test_a_task_that_is_held_for_no_moment_is_never_due(self, mover: Store) -> None:
        record = self._held(mover, due=None)
        assert mover.get(record.id) == record
        assert mover.next_due() is None
        assert taken(mover, before=FAR) == []
        self._held(mover, due=SOON)
        assert mover.next_due() == SOON
        mover.sent([record.id], at=LATER)
        assert mover.get(record.id) == replace(record, held=False, due=LATER)

    # what was sent

    def test_a_task_that_was_sent_is_due_and_held_no_more(self, mover: Store) -> None:
        record = self._held(mover)
        mover.sent([record.id], at=LATER)
        assert mover.get(record.id) == replace(record, held=False, due=LATER)
        self._is_not_held(mover)

    def test_a_task_that_was_held_before_it_was_enqueued_is_enqueued_when_it_is_sent(self, mover: Store) -> None:
        record = self._held(mover, enqueued_at=None)
        mover.sent([record.id], at=LATER)
        assert mover.get(record.id) == replace(record, held=False, due=LATER, enqueued_at=LATER)
        claimed = mover.claim(record, an_attempt(), lifetime=HOUR)
        assert claimed is not None
        assert claimed.enqueued_at == LATER

    def test_what_began_or_ended_meanwhile_or_is_gone_is_left_alone(self, mover: Store) -> None:
        began, ended, waits, unknown = self._held(mover), self._held(mover), a_record(due=WHEN), a_record()
        mover.create(waits, lifetime=HOUR)
        mover.claim(began, an_attempt(), lifetime=HOUR)
        mover.settle(ended, an_outcome("FAILED"), lifetime=HOUR)
        before = [mover.get(record.id) for record in (began, ended, waits)]
        mover.sent([each.id for each in (began, ended, waits, unknown)], at=LATER)
        mover.sent([], at=LATER)
        assert [mover.get(record.id) for record in (began, ended, waits)] == before
        assert mover.get(unknown.id) is None

    # what the sweeper sees of them

    def test_a_held_task_is_not_overdue_before_it_is_sent(self, mover: Store) -> None:
        queue = f"queue-{uuid4().hex}"
        record = self._held(mover, queue_name=queue)
        taken(mover, until=SOON)
        assert not mover.waiting(before=LATER).get(queue)
        assert mover.overdue(queue, before=LATER, limit=10) == []
        mover.sent([record.id], at=SOON)
        assert mover.waiting(before=LATER).get(queue) == 1
        assert [each.id for each in mover.overdue(queue, before=LATER, limit=10)] == [record.id]
        assert mover.overdue(queue, before=SOON, limit=10) == []

    def test_a_held_task_that_expires_before_it_is_due_is_found(self, mover: Store) -> None:
        record = self._held(mover, due=LATER, expires=SOON)
        assert record in mover.expired(before=LATER, limit=1000)

    def test_a_task_that_is_tried_again_waits_and_is_not_held(self, mover: Store) -> None:
        queue = f"queue-{uuid4().hex}"
        record = self._held(mover, queue_name=queue)
        mover.claim(record, an_attempt(), lifetime=HOUR)
        mover.settle(record, an_outcome("READY", attempt=1, error=NO_PAPER), lifetime=HOUR)
        self._is_not_held(mover)
        assert mover.waiting(before=LATER).get(queue) == 1

    def test_a_task_that_is_sent_again_is_held_no_more(self, mover: Store) -> None:
        record = self._held(mover)
        assert mover.resend(record, due=LATER, lifetime=HOUR)
        assert mover.get(record.id) == replace(record, held=False, due=LATER, resent=1)
        self._is_not_held(mover)

    @staticmethod
    def _held(store: Store, *, lifetime: float = HOUR, **changes: Any) -> Record:
        record = a_record(**{"due": WHEN, "held": True} | changes)
        assert store.create(record, lifetime=lifetime) is None
        return record

    @staticmethod
    def _is_not_held(store: Store) -> None:
        assert store.next_due() is None
        assert taken(store, before=FAR) == []
