"""What every store promises a unique task: none of its kind beside it, for as long as its key is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tasks_celery.stores import Record, Store
from tests.shop.running import until
from tests.stores.making import HOUR, NO_PAPER, a_record, an_attempt, an_outcome


def from_now(seconds: float) -> datetime:
    """Return a moment that lies so far ahead; keys go by the clock."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


class UniqueContract:
    """The promises; `store` is a fixture of the subclass."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    # refusals

    @pytest.mark.parametrize("kind", ["start", "finish", "time"])
    def test_a_second_task_of_a_key_is_told_of_the_first_and_not_kept(self, store: Store, kind: str) -> None:
        first = self._unique(store, unique_until=kind, unique_expires=from_now(HOUR))
        for _ in range(2):
            second = self._like(first)
            assert store.create(second, lifetime=HOUR) == first.id
            assert store.get(second.id) is None
        assert store.get(first.id) == first

    @pytest.mark.parametrize("kind", ["finish", "time"])
    def test_a_task_that_runs_keeps_others_out(self, store: Store, kind: str) -> None:
        first = self._unique(store, unique_until=kind, unique_expires=from_now(HOUR))
        store.claim(first, an_attempt(), lifetime=HOUR)
        self._keeps_out(store, first)

    def test_a_task_that_is_tried_again_keeps_others_out_until_it_ends(self, store: Store) -> None:
        first = self._unique(store)
        store.claim(first, an_attempt(), lifetime=HOUR)
        store.settle(first, an_outcome("READY", attempt=1, error=NO_PAPER, retry=True), lifetime=HOUR)
        self._keeps_out(store, first)
        store.claim(first, an_attempt(retries=1), lifetime=HOUR)
        self._keeps_out(store, first)
        store.settle(first, an_outcome(attempt=2), lifetime=HOUR)
        self._is_free(store, first)

    @pytest.mark.parametrize("end", ["settled", "cancelled"])
    def test_a_key_for_a_time_outlasts_the_end_of_its_task(self, store: Store, end: str) -> None:
        first = self._unique(store, unique_until="time", unique_expires=from_now(HOUR))
        if end == "cancelled":
            store.cancel(first.id, an_outcome("FAILED"))
        else:
            store.settle(first, an_outcome("FAILED"), lifetime=HOUR)
        self._keeps_out(store, first)

    def test_a_key_for_a_time_outlasts_the_record_of_its_task(self, store: Store) -> None:
        first = self._unique(store, unique_until="time", unique_expires=from_now(HOUR), lifetime=0.01)
        until(lambda: store.get(first.id) is None)
        store.tidy()
        self._keeps_out(store, first)

    def test_the_key_lasts_as_long_as_a_record_that_is_kept_for_longer(self, store: Store) -> None:
        first, other = self._unique(store, lifetime=1), self._unique(store, lifetime=1)
        store.claim(first, an_attempt(), lifetime=HOUR)
        until(lambda: store.get(other.id) is None)
        self._keeps_out(store, first)

    # what else is kept

    def test_a_unique_record_comes_back_in_every_field(self, store: Store) -> None:
        first = self._unique(store, unique_until="start", unique_expires=from_now(HOUR))
        assert store.get(first.id) == first
        settled = store.settle(first, an_outcome("FAILED"), lifetime=HOUR)
        assert settled is not None
        assert (settled.unique, settled.unique_until) == (first.unique, "start")
        assert settled == store.get(first.id)

    def test_creating_a_unique_task_again_is_no_conflict(self, store: Store) -> None:
        first = self._unique(store)
        assert store.create(first, lifetime=HOUR) is None
        assert store.create_many([first], lifetimes=[HOUR]) == [None]
        self._keeps_out(store, first)

    def test_a_task_whose_record_is_gone_is_not_kept_out_by_its_own_key(self, store: Store) -> None:
        first = self._unique(store, unique_until="time", unique_expires=from_now(HOUR), lifetime=0.01)
        until(lambda: store.get(first.id) is None)
        assert store.create(first, lifetime=HOUR) is None
        assert store.get(first.id) == first
        self._keeps_out(store, first)

    def test_keys_do_not_meet(self, store: Store) -> None:
        first = self._unique(store)
        assert store.create(self._like(first, unique=first.unique + "x"), lifetime=HOUR) is None
        assert store.create(self._like(first, unique=""), lifetime=HOUR) is None
        assert store.create(self._like(first, unique=""), lifetime=HOUR) is None

    @pytest.mark.parametrize("odd", ["a:b", "☃ %s ' \" \n", "k" * 400], ids=ascii)
    def test_any_text_is_a_key(self, store: Store, odd: str) -> None:
        first = self._unique(store, unique=f"{uuid4().hex}{odd}")
        assert store.get(first.id) == first
        self._keeps_out(store, first)
        store.settle(first, an_outcome("FAILED"), lifetime=HOUR)
        self._is_free(store, first)

    # when the key is free

    @pytest.mark.parametrize("kind", ["start", "finish"])
    @pytest.mark.parametrize(
        "end", ["success", "failure", "reported", "cancelled", "expired", "discarded", "forgotten"]
    )
    def test_the_key_is_free_when_the_task_ends_however_it_ends(self, store: Store, kind: str, end: str) -> None:
        first = self._unique(store, unique_until=kind, lifetime=0.01 if end == "forgotten" else HOUR)
        if end in ("success", "failure", "reported"):
            store.claim(first, an_attempt(), lifetime=HOUR)
        if end == "success":
            store.settle(first, an_outcome(attempt=1), lifetime=HOUR)
        elif end == "failure":
            store.settle(first, an_outcome("FAILED", attempt=1), lifetime=HOUR)
        elif end == "reported":
            store.settle(a_record(id=first.id), an_outcome("FAILED", worker_id="one"), lifetime=HOUR)
        elif end == "cancelled":
            store.cancel(first.id, an_outcome("FAILED"))
        elif end == "expired":
            store.settle(first, an_outcome("FAILED"), lifetime=HOUR)
        elif end == "discarded":
            store.discard(first.id)
        else:
            until(lambda: store.get(first.id) is None)
        self._is_free(store, first)

    def test_the_key_until_start_is_free_when_the_task_begins(self, store: Store) -> None:
        first = self._unique(store, unique_until="start")
        self._keeps_out(store, first)
        store.claim(first, an_attempt(), lifetime=HOUR)
        second = self._is_free(store, first)
        # What becomes of the first does not touch the key of the second.
        store.settle(first, an_outcome("READY", attempt=1), lifetime=HOUR)
        self._keeps_out(store, second)
        store.settle(first, an_outcome("FAILED"), lifetime=HOUR)
        self._keeps_out(store, second)

    def test_the_key_until_start_stays_free_when_the_task_is_to_be_tried_again(self, store: Store) -> None:
        first = self._unique(store, unique_until="start")
        store.claim(first, an_attempt(), lifetime=HOUR)
        store.settle(first, an_outcome("READY", attempt=1, error=NO_PAPER, retry=True), lifetime=HOUR)
        self._is_free(store, first)

    @pytest.mark.parametrize("kind", ["start", "finish", "time"])
    def test_the_key_is_free_when_its_time_is_over(self, store: Store, kind: str) -> None:
        first = self._unique(store, unique_until=kind, unique_expires=from_now(0.3))
        self._keeps_out(store, first)
        until(lambda: store.create(self._like(first), lifetime=HOUR) is None)
        assert store.get(first.id) == first

    @pytest.mark.parametrize("kind", ["finish", "time"])
    def test_a_task_whose_key_went_on_does_not_free_it(self, store: Store, kind: str) -> None:
        first = self._unique(store, unique_until=kind, unique_expires=from_now(-1))
        second = self._is_free(store, first)
        store.settle(first, an_outcome("FAILED"), lifetime=HOUR)
        self._keeps_out(store, second)

    def test_a_key_for_a_time_is_free_when_its_task_is_discarded(self, store: Store) -> None:
        first = self._unique(store, unique_until="time", unique_expires=from_now(HOUR))
        store.discard(first.id)
        self._is_free(store, first)

    # many

    def test_of_many_at_once_the_first_of_a_key_is_kept(self, store: Store) -> None:
        held = self._unique(store)
        first = a_record(unique=uuid4().hex)
        plain, second, third = a_record(), self._like(first), self._like(held)
        found = store.create_many([plain, first, second, third], lifetimes=[HOUR, None, HOUR, HOUR])
        assert found == [None, None, first.id, held.id]
        kept = [store.get(record.id) for record in (plain, first, second, third)]
        assert kept == [plain, first, None, None]

    @staticmethod
    def _unique(store: Store, *, lifetime: float = HOUR, **changes: Any) -> Record:
        record = a_record(**{"unique": uuid4().hex} | changes)
        assert store.create(record, lifetime=lifetime) is None
        return record

    @staticmethod
    def _like(record: Record, **changes: Any) -> Record:
        """Return another task of the same key."""
        expires = record.unique_expires and from_now(HOUR)
        return replace(record, **{"id": a_record().id, "unique_expires": expires} | changes)

    def _keeps_out(self, store: Store, record: Record) -> None:
        assert store.holder(record.unique) == record.id
        assert store.create(self._like(record), lifetime=HOUR) == record.id

    def _is_free(self, store: Store, record: Record) -> Record:
        second = self._like(record)
        assert store.holder(record.unique) is None
        assert store.create(second, lifetime=HOUR) is None
        assert store.get(second.id) == second
        self._keeps_out(store, second)
        return second
