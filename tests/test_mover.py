"""What is due is sent, once it is and not before, whoever else looks; what is not sent comes again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any
from unittest import mock

import pytest
from django.test import override_settings

from tasks_celery import mover, publish
from tasks_celery.compat import task_backends
from tasks_celery.exceptions import StoreError
from tasks_celery.mover import LEAST, Mover
from tasks_celery.stores import Record
from tasks_celery.stores.memory import MemoryStore
from tests.shop import tasks
from tests.shop.running import a_worker, empty_the_broker, finished, listening, waiting
from tests.stores.making import a_record

CELERY = "tasks_celery.CeleryBackend"
HOUR = 3600.0


@pytest.fixture(autouse=True)
def store() -> Iterator[MemoryStore]:
    """Nothing in the broker, and records of these tests alone."""
    empty_the_broker()
    store = MemoryStore()
    with override_settings(), mock.patch("tasks_celery.results.open_store", return_value=store):
        yield store
    empty_the_broker()


@pytest.fixture
def a_mover(store: MemoryStore) -> Mover:
    return Mover(task_backends["default"], store)


def ahead(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def held(store: MemoryStore, *, due: datetime, **changes: Any) -> Record:
    """Keep a task whose message is still to be sent."""
    facts = {"name": tasks.add.celery.name, "path": tasks.add.module_path, "args": [1], "kwargs": {"b": 2}}
    record = a_record(**(facts | {"held": True, "due": due, "run_after": due, "queue_name": "default"} | changes))
    store.create(record, lifetime=HOUR)
    return record


# --- what is not sent


def test_nothing_due_is_one_call_and_no_more(a_mover: Mover, store: MemoryStore) -> None:
    held(store, due=ahead(60))
    with (
        mock.patch.object(publish, "send_kept") as send,
        mock.patch.object(store, "take_due", wraps=store.take_due) as take,
    ):
        assert a_mover.look(datetime.now(UTC)) == 0
    assert take.call_count == 1
    send.assert_not_called()


def test_a_task_is_not_sent_before_it_is_due(a_mover: Mover, store: MemoryStore) -> None:
    due = held(store, due=ahead(60)).due
    assert due is not None
    assert a_mover.look(due - timedelta(microseconds=1)) == 0
    assert waiting("default") == 0
    assert a_mover.look(due) == 1
    assert waiting("default") == 1


def test_a_moment_that_a_store_has_rounded_down_is_not_early(a_mover: Mover, store: MemoryStore) -> None:
    # Stores that know milliseconds say of a task that it is due up to one before it is.
    with (
        mock.patch.object(store, "next_due", side_effect=lambda: datetime.now(UTC)),
        mock.patch.object(Mover, "look") as look,
    ):
        assert a_mover.look_when_due(every=0.5) >= LEAST
    look.assert_not_called()


def test_what_another_mover_has_taken_is_left_to_it(a_mover: Mover, store: MemoryStore) -> None:
    held(store, due=ahead(-1))
    assert store.take_due(before=ahead(0), until=ahead(5), limit=1)
    assert a_mover.look(ahead(0)) == 0
    assert waiting("default") == 0


def test_a_task_that_was_cancelled_or_has_expired_is_not_sent(a_mover: Mover, store: MemoryStore) -> None:
    record = held(store, due=ahead(-1))
    store._records[record.id] = replace(record, status="FAILED")
    assert a_mover.look(ahead(60)) == 0


# --- what is sent


def test_a_task_that_was_sent_is_not_sent_again(a_mover: Mover, store: MemoryStore) -> None:
    record = held(store, due=ahead(-1))
    assert [a_mover.look(ahead(0)), a_mover.look(ahead(600))] == [1, 0]
    known = store.get(record.id)
    assert known is not None
    assert (known.held, known.status, known.resent) == (False, "READY", 0)
    assert waiting("default") == 1


def test_it_runs_once_with_its_arguments(a_mover: Mover, store: MemoryStore) -> None:
    record = held(store, due=ahead(-1))
    with a_worker(), listening() as heard:
        assert a_mover.look(ahead(0)) == 1
        result = finished(task_backends["default"].get_result(record.id))
    assert (result.return_value, result.attempts) == (3, 1)
    assert result.task.run_after == record.run_after
    assert "task_enqueued" not in [one.signal for one in heard]


def test_a_task_that_two_have_sent_runs_once(a_mover: Mover, store: MemoryStore) -> None:
    record = held(store, due=ahead(-1))
    with a_worker():
        with mock.patch.object(store, "sent", side_effect=StoreError("away")), pytest.raises(StoreError):
            a_mover.look(ahead(0))
        assert a_mover.look(ahead(60)) == 1
        result = finished(task_backends["default"].get_result(record.id))
        last = tasks.echo.enqueue()
        finished(last)
    assert result.attempts == 1


def test_all_that_is_due_is_sent_by_the_batch_and_the_longest_waiting_first(
    a_mover: Mover, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mover, "BATCH", 4)
    due = [held(store, due=ahead(-4 + number / 10)).id for number in range(10)]
    sent: list[list[str]] = []

    def send(backend: Any, records: Sequence[Record]) -> Sequence[Record]:
        sent.append([record.id for record in records])
        return records

    with mock.patch.object(publish, "send_kept", side_effect=send):
        assert a_mover.look(ahead(0)) == 10
    assert sent == [due[:4], due[4:8], due[8:]]


@override_settings(TASKS={"default": {"BACKEND": CELERY, "QUEUES": []}, "other": {"BACKEND": CELERY, "QUEUES": []}})
def test_each_is_sent_by_its_own_alias_and_that_of_one_that_is_gone_all_the_same(store: MemoryStore) -> None:
    ids = {alias: held(store, due=ahead(-1), alias=alias).id for alias in ("default", "other", "gone")}
    sent: list[tuple[str, str]] = []

    def send(backend: Any, records: Sequence[Record]) -> Sequence[Record]:
        sent.extend((backend.alias, record.id) for record in records)
        return records

    with mock.patch.object(publish, "send_kept", side_effect=send):
        assert Mover(task_backends["default"], store).look(ahead(0)) == 3
    assert sorted(sent) == sorted([("default", ids["default"]), ("other", ids["other"]), ("default", ids["gone"])])


def test_many_movers_send_each_task_once(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover, "BATCH", 7)
    ids = [held(store, due=ahead(-1)).id for _ in range(200)]
    sent: list[str] = []

    def send(backend: Any, records: Sequence[Record]) -> Sequence[Record]:
        sent.extend(record.id for record in records)
        return records

    backend = task_backends["default"]
    with mock.patch.object(publish, "send_kept", side_effect=send):
        threads = [Thread(target=Mover(backend, store).look, args=(ahead(0),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(sent) == sorted(ids)


# --- what the broker does not take


def test_what_the_broker_does_not_take_comes_again_after_some_seconds(a_mover: Mover, store: MemoryStore) -> None:
    record = held(store, due=ahead(-1))
    with mock.patch.object(publish, "send_kept", return_value=[]):
        assert a_mover.look(ahead(0)) == 0
    known = store.get(record.id)
    assert known is not None
    assert known.held
    assert a_mover.look(ahead(4)) == 0
    assert a_mover.look(ahead(6)) == 1
    assert waiting("default") == 1


def test_of_a_batch_what_was_taken_is_confirmed(a_mover: Mover, store: MemoryStore) -> None:
    first, second = held(store, due=ahead(-2)), held(store, due=ahead(-1))
    with mock.patch.object(publish, "send_kept", side_effect=lambda backend, records: records[:1]):
        assert a_mover.look(ahead(0)) == 1
    assert [store.get(record.id).held for record in (first, second)] == [False, True]


def test_a_broker_that_takes_nothing_is_not_asked_for_the_rest(
    a_mover: Mover, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mover, "BATCH", 2)
    for _ in range(6):
        held(store, due=ahead(-1))
    with mock.patch.object(publish, "send_kept", return_value=[]) as send:
        assert a_mover.look(ahead(0)) == 0
    assert send.call_count == 1


def test_some_that_it_never_takes_do_not_hold_up_the_rest(
    a_mover: Mover, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mover, "BATCH", 2)
    for number in range(6):
        held(store, due=ahead(-60 + number))
    with mock.patch.object(publish, "send_kept", side_effect=lambda backend, records: records[1:]):
        assert a_mover.look(ahead(0)) == 3


def test_one_that_it_never_takes_does_not_hold_up_those_behind_it_for_ever(a_mover: Mover, store: MemoryStore) -> None:
    never = held(store, due=ahead(-3)).id
    behind = [held(store, due=ahead(-2)).id for _ in range(3)]

    def send(backend: Any, records: Sequence[Record]) -> Sequence[Record]:
        """Take them in order, up to the first that it does not take: as `send_kept` does."""
        return list(itertools.takewhile(lambda record: record.id != never, records))

    with mock.patch.object(publish, "send_kept", side_effect=send):
        assert a_mover.look(ahead(0)) == 0
        fresh = held(store, due=ahead(-1)).id
        for number in range(1, 60):  # of 4 in any order, one is the first each time with a chance of 1 in 4
            a_mover.look(ahead(10 * number))
    assert {each for each in (never, *behind, fresh) if store.get(each).held} == {never}


def test_what_is_late_already_comes_after_what_has_just_become_due(a_mover: Mover, store: MemoryStore) -> None:
    late = held(store, due=ahead(-60)).id
    fresh = held(store, due=ahead(-1)).id
    with mock.patch.object(publish, "send_kept", side_effect=lambda backend, records: records) as send:
        a_mover.look(ahead(0))
    assert [record.id for record in send.call_args.args[1]] == [fresh, late]


@override_settings(TASKS={"default": {"BACKEND": CELERY, "OPTIONS": {"TIMEOUT": 20}}})
def test_who_may_take_longer_to_send_is_left_alone_for_longer(store: MemoryStore) -> None:
    record = held(store, due=ahead(-1))
    with mock.patch.object(publish, "send_kept", return_value=[]):
        Mover(task_backends["default"], store).look(ahead(0))
    known = store.get(record.id)
    assert known is not None
    assert known.due is not None
    assert known.due > ahead(19)


# --- when to look


def test_with_nothing_held_it_waits_as_long_as_it_may(a_mover: Mover, store: MemoryStore) -> None:
    with mock.patch.object(store, "take_due") as take:
        assert 0.5 <= a_mover.look_when_due(every=0.5) <= 0.56
    take.assert_not_called()


def test_many_do_not_ask_in_step(a_mover: Mover) -> None:
    assert len({a_mover.look_when_due(every=0.5) for _ in range(20)}) > 10


def test_it_waits_until_the_next_task_is_due(a_mover: Mover, store: MemoryStore) -> None:
    held(store, due=ahead(0.3))
    assert 0.25 < a_mover.look_when_due(every=5) <= 0.34


def test_it_waits_no_longer_for_a_task_that_is_far_off(a_mover: Mover, store: MemoryStore) -> None:
    # One that is enqueued meanwhile may be due before that.
    held(store, due=ahead(600))
    assert a_mover.look_when_due(every=0.5) <= 0.56


def test_after_a_task_that_was_due_it_looks_again_at_once(a_mover: Mover, store: MemoryStore) -> None:
    held(store, due=ahead(-1))
    assert a_mover.look_when_due(every=0.5) == LEAST
    assert waiting("default") == 1


def test_it_is_not_busy_while_it_can_send_nothing(a_mover: Mover, store: MemoryStore) -> None:
    with mock.patch.object(store, "next_due", return_value=ahead(-1)):
        assert a_mover.look_when_due(every=0.5) >= 0.5


@override_settings(TIME_ZONE="America/Los_Angeles", USE_TZ=False)
def test_naive_times_of_a_project_are_local(a_mover: Mover, store: MemoryStore) -> None:  # contract 41
    from tasks_celery.moments import as_project

    soon = as_project(ahead(30))
    assert soon is not None
    held(store, due=soon)
    assert 20 < a_mover.look_when_due(every=60) < 34
    assert waiting("default") == 0
