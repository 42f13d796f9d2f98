"""What every store of records promises, as one class of tests: a subclass says which `store` is tried."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tasks_celery.stores import Attempt, Error, Outcome, Record, Store
from tasks_celery.stores.memory import MemoryStore
from tests.stores.cancelling import STOPPED, CancellingContract
from tests.stores.holding import HoldingContract, send_all
from tests.stores.making import HOUR, NO_PAPER, WHEN, a_record, an_attempt, an_outcome
from tests.stores.sweeping import SweepingContract
from tests.stores.uniqueness import UniqueContract


class StoreContract(SweepingContract, HoldingContract, UniqueContract, CancellingContract):
    """The promises; `store` is a fixture of the subclass."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    # refusals

    def test_an_unknown_id_has_no_record(self, store: Store) -> None:  # contract 1
        assert store.get("nobody") is None

    @pytest.mark.parametrize(
        "odd", ["", " ", "a" * 5000, "../x", "a:b*c?[d]", "a\nb", "a\0b", "☃", "{x}", "%s", "\ud800"], ids=ascii
    )
    def test_an_odd_id_has_no_record_and_no_exception(self, store: Store, odd: str) -> None:  # contract 11
        assert store.get(odd) is None

    def test_a_second_delivery_of_a_running_task_is_refused(self, store: Store) -> None:
        record = a_record()
        assert store.claim(record, an_attempt("one"), lifetime=HOUR) is not None
        assert store.claim(record, an_attempt("two"), lifetime=HOUR) is None
        assert self._known(store, record).worker_ids == ("one",)

    @pytest.mark.parametrize("again", [{}, {"redelivered": True}, {"retries": 5}], ids=str)
    @pytest.mark.parametrize("status", ["SUCCESSFUL", "FAILED"])
    def test_a_finished_task_is_never_claimed_again(self, store: Store, status: str, again: dict[str, Any]) -> None:
        record = a_record()
        store.claim(record, an_attempt(), lifetime=HOUR)
        store.settle(record, an_outcome(status, attempt=1), lifetime=HOUR)
        before = store.get(record.id)
        assert store.claim(record, an_attempt(**again), lifetime=HOUR) is None
        assert store.get(record.id) == before

    def test_the_first_outcome_stays(self, store: Store) -> None:
        record = a_record()
        store.claim(record, an_attempt(), lifetime=HOUR)
        first = store.settle(record, an_outcome(attempt=1, return_value=3), lifetime=HOUR)
        assert first is not None
        for late in (
            an_outcome("FAILED", attempt=1),
            an_outcome("FAILED", worker_id="one"),
            an_outcome("FAILED"),
            an_outcome(attempt=1, return_value=4),
            an_outcome("READY", attempt=1),
        ):
            assert store.settle(record, late, lifetime=HOUR) is None
        assert store.get(record.id) == first

    def test_an_older_attempt_does_not_end_a_newer_one(self, store: Store) -> None:
        record = a_record()
        store.claim(record, an_attempt("one"), lifetime=HOUR)
        store.claim(record, an_attempt("two", redelivered=True), lifetime=HOUR)
        assert store.settle(record, an_outcome(attempt=1, return_value=1), lifetime=HOUR) is None
        assert self._known(store, record).status == "RUNNING"
        assert store.settle(record, an_outcome(attempt=2, return_value=2), lifetime=HOUR) is not None
        assert self._known(store, record).return_value == 2

    def test_a_report_about_another_worker_does_not_end_the_attempt(self, store: Store) -> None:
        record = a_record()
        store.claim(record, an_attempt("one"), lifetime=HOUR)
        assert store.settle(record, an_outcome("FAILED", worker_id="two"), lifetime=HOUR) is None
        assert self._known(store, record).status == "RUNNING"

    def test_a_report_about_an_earlier_retry_does_not_end_a_later_one(self, store: Store) -> None:
        record = a_record()
        store.claim(record, an_attempt("one"), lifetime=HOUR)
        store.claim(record, an_attempt("one", retries=1), lifetime=HOUR)
        assert store.settle(record, an_outcome("FAILED", worker_id="one", retries=0), lifetime=HOUR) is None
        assert self._known(store, record).status == "RUNNING"

    # existence

    def test_a_record_comes_back_in_every_field(self, store: Store) -> None:  # contract 4
        record = a_record(
            run_after=WHEN + timedelta(days=400),
            due=WHEN + timedelta(days=400),
            expires=WHEN + timedelta(days=401),
            sending={"link": [{"task": "shop.sum", "args": []}], "group": None},
        )
        store.create(record, lifetime=HOUR)
        assert store.get(record.id) == record

    def test_a_record_with_nothing_in_it_comes_back_too(self, store: Store) -> None:
        record = a_record(args=[], kwargs={}, context={}, enqueued_at=None, priority=0)
        store.create(record, lifetime=None)
        assert store.get(record.id) == record

    def test_creating_again_changes_nothing(self, store: Store) -> None:  # contract 3
        record = a_record()
        store.create(record, lifetime=HOUR)
        running = store.claim(record, an_attempt(), lifetime=HOUR)
        store.create(replace(record, args=["other"]), lifetime=HOUR)
        assert store.get(record.id) == running

    def test_many_are_kept_as_one_is(self, store: Store) -> None:
        there = a_record()
        store.create(there, lifetime=HOUR)
        running = store.claim(there, an_attempt(), lifetime=HOUR)
        records = [a_record(args=[each], due=WHEN, run_after=WHEN) for each in range(520)]
        again = replace(records[0], args=["again"])
        found = store.create_many([there, *records, again], lifetimes=[HOUR, *[None] * 260, *[HOUR] * 261])
        assert found == [None] * 522
        assert store.get(there.id) == running
        for each in (0, 1, 498, 499, 500, 501, 519):
            assert store.get(records[each].id) == records[each]

    def test_each_of_many_has_a_lifetime_of_its_own(self, store: Store) -> None:
        gone, kept = a_record(), a_record()
        store.create_many([gone, kept], lifetimes=[0.01, None])
        self._wait_until_gone(store, gone)
        assert store.get(kept.id) == kept

    def test_none_of_many_is_none(self, store: Store) -> None:
        assert store.create_many([], lifetimes=[]) == []

    def test_a_discarded_record_is_gone(self, store: Store) -> None:
        record = a_record()
        store.create(record, lifetime=HOUR)
        store.discard(record.id)
        store.discard(record.id)
        assert store.get(record.id) is None

    def test_a_claimed_record_is_not_discarded(self, store: Store) -> None:
        record = a_record()
        store.create(record, lifetime=HOUR)
        store.claim(record, an_attempt(), lifetime=HOUR)
        store.discard(record.id)
        assert self._known(store, record).status == "RUNNING"
        store.settle(record, an_outcome("READY", attempt=1), lifetime=HOUR)
        store.discard(record.id)
        assert self._known(store, record).status == "READY"

    def test_records_do_not_meet(self, store: Store) -> None:
        one, two = a_record(), a_record()
        store.create(one, lifetime=HOUR)
        store.create(two, lifetime=HOUR)
        store.claim(one, an_attempt(), lifetime=HOUR)
        assert store.get(two.id) == two

    def test_what_a_caller_does_to_a_record_stays_his(self, store: Store) -> None:  # contract 23
        record = a_record(args=[[1]], kwargs={"list": [1]})
        store.create(record, lifetime=HOUR)
        record.args[0].append(2)
        read = self._known(store, record)
        read.kwargs["list"].append(2)
        assert self._known(store, record).args == [[1]]
        assert self._known(store, record).kwargs == {"list": [1]}

    # attempts

    def test_a_claim_says_running_and_numbers_the_attempt(self, store: Store) -> None:  # contract 28
        record = a_record()
        store.create(record, lifetime=HOUR)
        attempt = an_attempt("one@host")
        claimed = store.claim(record, attempt, lifetime=HOUR)
        expected = replace(
            record, status="RUNNING", started_at=attempt.at, last_attempted_at=attempt.at, worker_ids=("one@host",)
        )
        assert claimed == store.get(record.id) == expected

    def test_a_claim_keeps_what_was_enqueued_and_not_what_the_message_says(self, store: Store) -> None:
        record = a_record()
        store.create(record, lifetime=HOUR)
        claimed = store.claim(replace(record, args=["seed"], enqueued_at=None), an_attempt(), lifetime=HOUR)
        assert claimed is not None
        assert (claimed.args, claimed.enqueued_at) == (record.args, record.enqueued_at)

    def test_a_claim_without_a_record_makes_one_of_the_seed(self, store: Store) -> None:
        seed = a_record()
        claimed = store.claim(seed, an_attempt(), lifetime=HOUR)
        assert claimed is not None
        assert claimed.args == seed.args
        assert store.get(seed.id) == claimed

    def test_a_claim_repeated_after_a_lost_answer_is_the_same_claim(self, store: Store) -> None:
        record, attempt = a_record(), an_attempt()
        first = store.claim(record, attempt, lifetime=HOUR)
        assert store.claim(record, attempt, lifetime=HOUR) == first

    def test_an_outcome_repeated_after_a_lost_answer_is_the_same_outcome(self, store: Store) -> None:
        record, outcome = a_record(), an_outcome(attempt=1, return_value="x")
        store.claim(record, an_attempt(), lifetime=HOUR)
        first = store.settle(record, outcome, lifetime=HOUR)
        assert first is not None
        assert store.settle(record, outcome, lifetime=HOUR) == first

    def test_a_retry_outcome_repeated_after_a_lost_answer_changes_nothing_more(self, store: Store) -> None:
        record, outcome = a_record(), an_outcome("READY", attempt=1, error=NO_PAPER)
        store.claim(record, an_attempt(), lifetime=HOUR)
        first = store.settle(record, outcome, lifetime=HOUR)
        store.settle(record, outcome, lifetime=HOUR)
        assert store.get(record.id) == first

    def test_started_is_the_first_attempt_and_last_attempted_the_last(self, store: Store) -> None:  # contract 27
        record = a_record()
        store.claim(record, an_attempt("one", after=1), lifetime=HOUR)
        store.settle(record, an_outcome("READY", attempt=1, error=NO_PAPER), lifetime=HOUR)
        claimed = store.claim(record, an_attempt("two", after=50, retries=1), lifetime=HOUR)
        assert claimed is not None
        assert claimed.started_at == WHEN + timedelta(seconds=1)
        assert claimed.last_attempted_at == WHEN + timedelta(seconds=50)
        assert claimed.worker_ids == ("one", "two")
        assert claimed.errors == (NO_PAPER,)
        assert claimed.attempt == 2

    def test_errors_add_up_and_end_in_the_order_of_the_attempts(self, store: Store) -> None:  # contract 27
        record = a_record()
        for number in range(12):
            store.claim(record, an_attempt(str(number), retries=number), lifetime=HOUR)
            status = "READY" if number < 11 else "FAILED"
            error = Error(exception_class_path="x.E", traceback=str(number))
            store.settle(record, an_outcome(status, attempt=number + 1, error=error), lifetime=HOUR)
        known = self._known(store, record)
        assert known.status == "FAILED"
        assert [error.traceback for error in known.errors] == [str(number) for number in range(12)]
        assert known.worker_ids == tuple(str(number) for number in range(12))

    def test_the_error_of_an_attempt_that_was_overtaken_is_kept(self, store: Store) -> None:
        # Celery sends a retry before the attempt that asks for it has ended.
        record = a_record()
        store.claim(record, an_attempt("one"), lifetime=HOUR)
        store.claim(record, an_attempt("two", retries=1), lifetime=HOUR)
        assert store.settle(record, an_outcome("READY", attempt=1, error=NO_PAPER), lifetime=HOUR) is None
        known = self._known(store, record)
        assert (known.status, known.errors) == ("RUNNING", (NO_PAPER,))

    def test_an_attempt_that_two_report_has_one_error(self, store: Store) -> None:  # contract 27
        record = a_record()
        store.claim(record, an_attempt("one"), lifetime=HOUR)
        store.settle(record, an_outcome("READY", worker_id="one", error=NO_PAPER), lifetime=HOUR)
        store.settle(record, an_outcome("FAILED", attempt=1), lifetime=HOUR)
        assert self._known(store, record).errors == (NO_PAPER,)

    def test_the_error_of_an_attempt_that_was_overtaken_is_kept_when_the_task_has_ended(self, store: Store) -> None:
        record = a_record()
        store.claim(record, an_attempt("one"), lifetime=HOUR)
        store.claim(record, an_attempt("two", retries=1), lifetime=HOUR)
        store.settle(record, an_outcome(attempt=2, return_value=1), lifetime=HOUR)
        assert store.settle(record, an_outcome("READY", attempt=1, error=NO_PAPER), lifetime=HOUR) is None
        known = self._known(store, record)
        assert (known.status, known.errors) == ("SUCCESSFUL", (NO_PAPER,))

    # outcomes

    @pytest.mark.parametrize("value", [None, 0, "", [], {}, [[], {}], {"a": []}, 2**70, 0.1, "☃\ud800\0"], ids=ascii)
    def test_a_return_value_comes_back(self, store: Store, value: Any) -> None:
        record = a_record()
        store.claim(record, an_attempt(), lifetime=HOUR)
        settled = store.settle(record, an_outcome(attempt=1, return_value=value), lifetime=HOUR)
        assert settled is not None
        assert settled.return_value == value
        assert self._known(store, record).return_value == value
        assert self._known(store, record).finished_at == WHEN + timedelta(seconds=9)

    def test_a_failure_has_its_error_and_its_time(self, store: Store) -> None:
        record = a_record()
        store.claim(record, an_attempt(), lifetime=HOUR)
        store.settle(record, an_outcome("FAILED", attempt=1), lifetime=HOUR)
        known = self._known(store, record)
        assert (known.status, known.errors) == ("FAILED", (NO_PAPER,))
        assert known.finished_at == WHEN + timedelta(seconds=9)

    def test_a_retry_counts_one_more_and_what_else_goes_back_does_not(self, store: Store) -> None:
        for retry, retries in ((True, 3), (False, 2)):
            record = a_record()
            store.claim(record, an_attempt(retries=2), lifetime=HOUR)
            outcome = an_outcome("READY", attempt=1, error=NO_PAPER, retry=retry)
            settled = store.settle(record, outcome, lifetime=HOUR)
            assert settled is not None
            assert settled.retries == retries

    def test_a_task_that_goes_back_is_ready_and_not_finished(self, store: Store) -> None:
        record = a_record()
        store.claim(record, an_attempt(), lifetime=HOUR)
        store.settle(record, an_outcome("READY", attempt=1), lifetime=HOUR)
        known = self._known(store, record)
        assert (known.status, known.finished_at, known.errors) == ("READY", None, ())
        assert store.claim(record, an_attempt("two"), lifetime=HOUR) is not None

    def test_a_task_that_could_not_start_fails_without_an_attempt(self, store: Store) -> None:  # contract 38
        record = a_record()
        store.create(record, lifetime=HOUR)
        assert store.settle(record, an_outcome("FAILED", worker_id="one"), lifetime=HOUR) is not None
        known = self._known(store, record)
        assert (known.status, known.worker_ids, known.errors) == ("FAILED", (), (NO_PAPER,))

    def test_what_the_main_process_saw_of_its_child_counts(self, store: Store) -> None:
        record = a_record()
        store.claim(record, an_attempt("one"), lifetime=HOUR)
        settled = store.settle(record, an_outcome("FAILED", worker_id="one"), lifetime=HOUR)
        assert settled is not None
        assert settled.status == "FAILED"

    def test_an_outcome_without_a_record_makes_one_of_the_seed(self, store: Store) -> None:
        seed = a_record()
        assert store.settle(seed, an_outcome("FAILED"), lifetime=HOUR) is not None
        known = self._known(store, seed)
        assert (known.status, known.args) == ("FAILED", seed.args)

    def test_an_outcome_finds_its_attempt_in_the_seed_when_the_record_is_lost(self, store: Store) -> None:
        claimed = store.claim(a_record(), an_attempt(), lifetime=0.001)
        assert claimed is not None
        self._wait_until_gone(store, claimed)
        settled = store.settle(claimed, an_outcome(attempt=1, return_value=5), lifetime=HOUR)
        assert settled is not None
        assert (settled.status, settled.return_value, settled.worker_ids) == ("SUCCESSFUL", 5, ("one",))

    # lifetime

    def test_a_record_is_forgotten_after_its_lifetime(self, store: Store) -> None:
        record = a_record()
        store.create(record, lifetime=0.01)
        self._wait_until_gone(store, record)

    def test_each_change_renews_the_lifetime(self, store: Store) -> None:
        record, other = a_record(), a_record()
        for each in (record, other):
            store.create(each, lifetime=0.05)
        store.claim(record, an_attempt(), lifetime=None)
        self._wait_until_gone(store, other)
        assert self._known(store, record).status == "RUNNING"

    # one contract

    @pytest.mark.parametrize("seed", range(25))
    def test_any_story_goes_on_as_it_does_in_memory(self, store: Store, seed: int) -> None:
        model, story = MemoryStore(), Story(seed)
        record = a_record(held=seed % 3 == 0, due=WHEN, expires=WHEN, unique=f"story {a_record().id}")
        send_all(store)
        for step in range(25):
            call = story.next_step(record, model.get(record.id), step)
            assert call(model) == call(store), (seed, step)
            assert model.get(record.id) == store.get(record.id), (seed, step)

    @staticmethod
    def _known(store: Store, record: Record) -> Record:
        known = store.get(record.id)
        assert known is not None
        return known

    @staticmethod
    def _wait_until_gone(store: Store, record: Record) -> None:
        from tests.shop.running import until

        until(lambda: store.get(record.id) is None)


class Story:
    """What might happen to one task, by chance: deliveries, and reports of how attempts ended.

    An attempt tells its own end once; what others saw of it may be told at any time.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._untold: list[int] = []
        self._attempts = 0

    def next_step(self, record: Record, known: Record | None, step: int) -> Callable[[Store], Any]:
        """Return one call, the same for every store; `known` is the record as it is before."""
        if known is not None and known.attempt > self._attempts:
            self._attempts = known.attempt
            self._untold.append(known.attempt)
        chance = self._chance.random()
        if chance < 0.1:
            return lambda store: store.create(record, lifetime=HOUR)
        if chance < 0.15 and not self._attempts:
            return lambda store: store.discard(record.id)
        if chance < 0.2:
            return self._by_others(record, step)
        if chance < 0.6 or not self._untold:
            attempt = self._delivery(step)
            return lambda store: store.claim(record, attempt, lifetime=HOUR)
        outcome = self._report(step)
        return lambda store: store.settle(record, outcome, lifetime=HOUR)

    def _by_others(self, record: Record, step: int) -> Callable[[Store], Any]:
        at, outcome, other = WHEN + timedelta(seconds=step), an_outcome("FAILED", after=step, error=STOPPED), a_record()
        return self._chance.choice(
            [
                lambda store: store.cancel(record.id, outcome),
                lambda store: store.take_due(before=at, until=at, limit=10),
                lambda store: store.sent([record.id], at=at),
                lambda store: store.next_due(),
                lambda store: store.create(replace(record, id=other.id, held=False), lifetime=HOUR),
            ]
        )

    def _delivery(self, step: int) -> Attempt:
        worker_id = self._chance.choice(["one", "two"])
        redelivered = self._chance.random() < 0.3
        return an_attempt(worker_id, after=step, retries=self._chance.randrange(6), redelivered=redelivered)

    def _report(self, step: int) -> Outcome:
        error = Error(exception_class_path="x.E", traceback=str(step))
        if self._chance.random() < 0.3:
            seen = {"worker_id": self._chance.choice([None, "one", "two"]), "retries": self._chance.randrange(6)}
            return an_outcome(
                self._chance.choice(["READY", "FAILED"]), after=step, error=error, **self._again(), **seen
            )
        attempt = self._untold.pop(self._chance.randrange(len(self._untold)))
        status = self._chance.choice(["READY", "READY", "READY", "FAILED", "SUCCESSFUL"])
        if status == "SUCCESSFUL":
            return an_outcome(status, after=step, attempt=attempt, return_value=step)
        kept = error if status == "FAILED" or self._chance.random() < 0.7 else None
        return an_outcome(status, after=step, attempt=attempt, error=kept, **self._again())

    def _again(self) -> dict[str, Any]:
        return {"retry": self._chance.random() < 0.7, "due": WHEN + timedelta(seconds=self._chance.randrange(99))}
