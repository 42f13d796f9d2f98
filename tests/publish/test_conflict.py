"""The second of a kind: what its caller is answered, and that it leaves nothing; and when a key is free again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from celery import chord, group
from celery.result import AsyncResult
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from kombu.exceptions import OperationalError

from tasks_celery import EnqueueError, OptionsError, task
from tasks_celery.compat import TaskResultDoesNotExist, TaskResultStatus, task_backends
from tasks_celery.exceptions import AlreadyEnqueued
from tasks_celery.publish import conflict
from tasks_celery.stores.memory import MemoryStore
from tasks_celery.stores.nowhere import NOWHERE
from tasks_celery.unique import Unique
from tests.publish.test_commit import records_in, sent, with_commits
from tests.shop import tasks
from tests.shop.running import eagerly, empty_the_broker, listening, records_in_redis, the_app, the_store, waiting
from tests.stores.making import HOUR, an_attempt, an_outcome

pytestmark = pytest.mark.usefixtures("registry")


@pytest.fixture(autouse=True)
def _an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


@pytest.fixture(autouse=True, params=["memory", "redis"])
def _records_of_its_own(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the records of each test apart: keys are by name and arguments."""
    store = records_in_redis() if request.param == "redis" else kept_in(MemoryStore())
    # What is known of the settings is known anew within them.
    with store, override_settings():
        yield


def kept_in(store: Any) -> Any:
    return mock.patch("tasks_celery.results.open_store", return_value=store)


@contextmanager
def nowhere() -> Iterator[None]:
    """Let the project have no place for records, for this block."""
    with mock.patch("tasks_celery.backend.find_store", return_value=NOWHERE), override_settings():
        yield


def unique(how: bool | Unique = True, *, name: str = "shop.once") -> Any:
    """Return a task that is unique. Its twin is the first of that name."""
    return task(unique=how, name=name)(tasks.add.func)


def begin(result: Any) -> None:
    assert the_store().claim(the_store().get(result.id), an_attempt(), lifetime=HOUR)


def end(result: Any, status: str = "SUCCESSFUL") -> None:
    assert the_store().settle(the_store().get(result.id), an_outcome(status, attempt=1), lifetime=HOUR)


# --- refusals


def test_a_second_one_is_refused_where_the_task_says_so() -> None:
    refusing = unique(Unique(on_conflict="raise"))
    with listening() as heard:
        first = refusing.enqueue(1)
        with pytest.raises(AlreadyEnqueued, match=r"shop\.once.*until it has finished") as caught:
            refusing.enqueue(1)
    assert caught.value.result_id == first.id
    assert first.id in str(caught.value)
    assert isinstance(caught.value, EnqueueError)
    assert (sent(), [one.id for one in heard]) == ([first.id], [first.id])


@pytest.mark.parametrize(("until", "said"), [("start", "until it starts"), ("time", "for a time")])
def test_the_refusal_says_until_when(until: Any, said: str) -> None:
    refusing = unique(Unique(until=until, seconds=60, on_conflict="raise"))
    refusing.enqueue(1)
    with pytest.raises(AlreadyEnqueued, match=said):
        refusing.enqueue(1)


def test_a_unique_task_is_refused_where_nobody_could_know_of_the_first() -> None:
    with nowhere():
        with pytest.raises(OptionsError, match=r"shop\.once is unique"):
            unique().enqueue(1)
        tasks.echo.enqueue(1)
    assert waiting("default") == 1


def test_a_key_that_outlives_the_record_of_its_task_is_a_refusal() -> None:
    held = unique(Unique(until="time", seconds=60))
    ghost = mock.patch.object(type(the_store()), "create", return_value="ghost")
    with ghost, pytest.raises(AlreadyEnqueued) as caught:
        held.enqueue(1)
    assert (caught.value.result_id, sent()) == ("ghost", [])


# --- the first one's result


def test_a_second_one_is_answered_with_the_result_of_the_first_and_leaves_nothing() -> None:
    once = unique()
    with listening() as heard:
        first = once.enqueue(1, b=2)
        assert once.enqueue(b=2, a=1) == first
    assert sent() == [one.id for one in heard] == [first.id]


def test_it_is_told_as_it_is_by_now() -> None:
    once = unique()
    first = once.enqueue(1)
    begin(first)
    assert (once.enqueue(1).id, once.enqueue(1).status) == (first.id, TaskResultStatus.RUNNING)


def test_other_arguments_are_another_kind() -> None:
    once = unique()
    assert len({once.enqueue(number).id for number in range(3)}) == 3


def test_a_call_of_another_task_is_another_kind() -> None:
    assert unique().enqueue(1).id != unique(name="another").enqueue(1).id


def test_a_task_that_is_not_unique_is_in_nobodys_way() -> None:
    first = unique().enqueue(1)
    assert tasks.add.enqueue(1).id != first.id


def test_one_call_may_be_unique() -> None:
    once = unique(False).using(unique=True)
    assert once.enqueue(1).id == once.enqueue(1).id


async def test_aenqueue_answers_alike() -> None:
    once = unique()
    assert (await once.aenqueue(1)).id == (await once.aenqueue(1)).id


def test_a_task_that_waits_for_its_time_keeps_others_out() -> None:
    later = unique().using(run_after=timezone.now() + timedelta(hours=1))
    assert later.enqueue(1).id == later.enqueue(1).id
    assert sent() == []


# --- free again


@pytest.mark.parametrize("status", ["SUCCESSFUL", "FAILED"])
def test_the_key_is_free_once_the_task_has_finished(status: str) -> None:
    once = unique()
    first = once.enqueue(1)
    begin(first)
    end(first, status)
    assert once.enqueue(1).id != first.id


def test_a_key_until_start_is_free_once_the_task_runs() -> None:
    once = unique(Unique(until="start"))
    first = once.enqueue(1)
    assert once.enqueue(1).id == first.id
    begin(first)
    assert once.enqueue(1).id != first.id


def test_a_key_for_a_time_is_kept_though_the_task_has_finished() -> None:
    once = unique(Unique(until="time", seconds=60))
    first = once.enqueue(1)
    begin(first)
    end(first)
    assert once.enqueue(1).status == TaskResultStatus.SUCCESSFUL


def test_a_task_that_waits_for_its_retry_keeps_the_key() -> None:
    once = unique()
    first = once.enqueue(1)
    begin(first)
    end(first, "READY")
    assert once.enqueue(1).id == first.id


def test_a_task_that_could_not_be_sent_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("nobody home")

    once = unique()
    with monkeypatch.context() as patch:
        patch.setattr(the_app().amqp, "send_task_message", refuse)
        with pytest.raises(EnqueueError):
            once.enqueue(1)
    assert [once.enqueue(1).id] == sent()


def test_a_cancelled_task_keeps_nobody_out() -> None:
    once = unique()
    first = once.enqueue(1)
    assert the_store().cancel(first.id, an_outcome("FAILED"))
    assert once.enqueue(1).id != first.id


def test_where_the_first_has_gone_as_we_look_the_second_is_enqueued() -> None:
    once = unique()
    create, asked = type(the_store()).create, []

    def with_a_ghost(store: Any, record: Any, **options: Any) -> Any:
        asked.append(record.id)
        return "ghost" if len(asked) == 1 else create(store, record, **options)

    with mock.patch.object(type(the_store()), "create", with_a_ghost):
        result = once.enqueue(1)
    assert asked == [result.id] * 2
    assert sent() == [result.id]
    assert once.get_result(result.id) == result


def test_where_the_first_has_gone_and_another_is_faster_that_one_is_the_answer() -> None:
    once = unique()
    first, create, asked = once.enqueue(1), type(the_store()).create, []

    def with_a_ghost(store: Any, record: Any, **options: Any) -> Any:
        asked.append(record.id)
        return "ghost" if len(asked) == 1 else create(store, record, **options)

    with mock.patch.object(type(the_store()), "create", with_a_ghost):
        assert once.enqueue(1) == first
    assert (len(asked), sent()) == (2, [first.id])


# --- eagerly


def test_in_eager_mode_each_has_finished_before_the_next() -> None:
    once = unique()
    with eagerly():
        assert [once.enqueue(1, 2).return_value for _ in range(2)] == [3, 3]
        first, second = once.enqueue_many([((1, 2), {}), ((1, 2), {})])
        assert first.id != second.id


def test_in_eager_mode_a_key_for_a_time_is_kept() -> None:
    once = unique(Unique(until="time", seconds=60))
    with eagerly():
        first = once.enqueue(1, 2)
        assert once.enqueue(1, 2) == first


# --- many at once


def test_in_a_bulk_a_call_is_answered_as_if_each_came_alone() -> None:
    once = unique()
    before = once.enqueue(0)
    with listening() as heard:
        results = once.enqueue_many([((number,), {}) for number in (1, 0, 2, 1, 2, 0)])
    first, _, second, *_ = results
    assert [result.id for result in results] == [
        first.id, before.id, second.id, first.id, second.id, before.id
    ]  # fmt: skip
    assert sent() == [before.id, first.id, second.id]
    assert [one.id for one in heard] == [first.id, second.id]


@pytest.mark.parametrize("calls", [(1, 2, 0), (1, 2, 1)], ids=["one before", "one among them"])
def test_of_a_bulk_in_which_one_is_refused_nothing_is_enqueued(calls: tuple[int, ...]) -> None:
    refusing = unique(Unique(on_conflict="raise"))
    before = refusing.enqueue(0)
    with listening() as heard, pytest.raises(AlreadyEnqueued):
        refusing.enqueue_many([((number,), {}) for number in calls])
    assert (sent(), heard) == ([before.id], [])
    again = refusing.enqueue_many([((1,), {}), ((2,), {})])
    assert sent() == [result.id for result in again]


def test_of_a_bulk_one_whose_like_has_gone_is_enqueued() -> None:
    once = unique()
    create_many = type(the_store()).create_many

    def with_a_ghost(store: Any, records: Any, *, lifetimes: Any) -> Any:
        return ["ghost", *create_many(store, records[1:], lifetimes=lifetimes[1:])]

    with mock.patch.object(type(the_store()), "create_many", with_a_ghost):
        results = once.enqueue_many([((number,), {}) for number in (1, 2)])
    assert sent() == [result.id for result in results]
    assert [once.get_result(result.id).args for result in results] == [[1], [2]]


def test_of_a_bulk_in_which_one_is_refused_one_whose_like_has_gone_is_not_enqueued_either() -> None:
    refusing = unique(Unique(on_conflict="raise"))
    before = refusing.enqueue(0)

    def with_a_ghost(store: Any, records: Any, *, lifetimes: Any) -> Any:
        return ["ghost", before.id]

    calls = [((number,), {}) for number in (1, 0)]
    with mock.patch.object(type(the_store()), "create_many", with_a_ghost), pytest.raises(AlreadyEnqueued):
        refusing.enqueue_many(calls)
    assert [before.id, refusing.enqueue(1).id] == sent()


# --- Celery's own callers


def test_delay_is_answered_with_the_first_ones_id() -> None:
    once = unique()
    first = once.celery.delay(1)
    again = once.celery.apply_async((), {"a": 1})
    assert isinstance(again, AsyncResult)
    assert again.id == first.id == once.enqueue(1).id
    assert sent() == [first.id]


def test_delay_is_refused_where_the_task_says_so() -> None:
    refusing = unique(Unique(on_conflict="raise"))
    first = refusing.enqueue(1)
    with pytest.raises(AlreadyEnqueued) as caught:
        refusing.celery.delay(1)
    assert caught.value.result_id == first.id
    assert sent() == [first.id]


def test_what_somebody_waits_for_by_its_id_is_sent() -> None:
    # A chord whose member is not run would never end.
    once = unique()
    first = once.enqueue(1)
    once.celery.apply_async((1,), task_id="mine")
    group(once.celery.s(1), once.celery.s(1)).apply_async()
    chord([once.celery.s(1)], once.celery.si(1)).apply_async()
    once.celery.apply_async((1,), link=once.celery.si(1))
    ids = sent()
    assert (len(ids), len(set(ids))) == (6, 6)
    assert {first.id, "mine"} <= set(ids)


def test_delay_of_a_unique_task_is_refused_where_nobody_could_know_of_the_first() -> None:
    with nowhere(), pytest.raises(OptionsError):
        unique().celery.delay(1)


# --- in a transaction


@pytest.fixture
def on_commit() -> Iterator[None]:
    with records_in("memory://"):
        yield


@with_commits
def test_in_one_transaction_the_second_is_answered_with_the_first(on_commit: None) -> None:
    once = unique()
    with listening() as heard, transaction.atomic():
        first = once.enqueue(1)
        with transaction.atomic():
            assert once.enqueue(1) == first
        assert once.enqueue_many([((1,), {}), ((2,), {}), ((2,), {})])[0] == first
    ids = sent()
    assert ids == [one.id for one in heard]
    assert (ids[0], len(ids)) == (first.id, 2)


@with_commits
def test_in_one_transaction_the_second_is_refused_where_the_task_says_so(on_commit: None) -> None:
    refusing = unique(Unique(on_conflict="raise"))
    with transaction.atomic():
        first = refusing.enqueue(1)
        with pytest.raises(AlreadyEnqueued) as caught:
            refusing.enqueue(1)
    assert (caught.value.result_id, sent()) == (first.id, [first.id])


@with_commits
def test_one_that_was_rolled_back_keeps_nobody_out(on_commit: None) -> None:
    once = unique()
    with transaction.atomic():
        with transaction.atomic():
            lost = once.enqueue(1)
            transaction.set_rollback(True)
        result = once.enqueue(1)
        assert result.id != lost.id
    assert sent() == [result.id]
    with transaction.atomic():
        once.enqueue(2)
        transaction.set_rollback(True)
    assert [once.enqueue(2).id] == sent()


@pytest.mark.django_db
def test_one_that_a_test_has_let_commit_waits_no_more(on_commit: None, django_capture_on_commit_callbacks: Any) -> None:
    once = unique()
    with django_capture_on_commit_callbacks(execute=True):
        first = once.enqueue(1)
    begin(first)
    assert once.enqueue(1).status == TaskResultStatus.RUNNING
    end(first)
    assert once.enqueue(1).id != first.id


@with_commits
def test_one_that_was_enqueued_before_is_the_answer_at_once(on_commit: None) -> None:
    once, refusing = unique(), unique(Unique(on_conflict="raise"))
    first = once.enqueue(1)
    with transaction.atomic():
        assert once.enqueue(1) == first
        with pytest.raises(AlreadyEnqueued):
            refusing.enqueue(1)
    assert sent() == [first.id]


@pytest.mark.parametrize("how", ["return", "raise"])
@with_commits
def test_one_that_comes_between_wins_and_the_id_of_the_other_tells_so(
    on_commit: None, how: Any, caplog: pytest.LogCaptureFixture
) -> None:
    once = unique(Unique(on_conflict=how))
    with listening() as heard, transaction.atomic():
        mine, other = once.enqueue_many([((1,), {}), ((2,), {})])
        # What another process would do meanwhile.
        with override_settings(TASKS={"default": {"BACKEND": "tasks_celery.CeleryBackend"}}):
            first = once.enqueue(1)
    assert sent() == [first.id, other.id]
    told = once.get_result(mine.id)
    assert (told.status, told.attempts, told.args) == (TaskResultStatus.FAILED, 0, [1])
    (error,) = told.errors
    assert error.exception_class is AlreadyEnqueued
    assert first.id in error.traceback
    assert mine.id in caplog.text
    assert [(one.signal, one.id) for one in heard] == [
        ("task_enqueued", first.id),
        ("task_finished", mine.id),
        ("task_enqueued", other.id),
    ]
    begin(first)
    end(first)
    with transaction.atomic():
        again = once.enqueue(1)
    assert sent() == [again.id]  # what was not run has no key


@with_commits
def test_one_that_came_between_and_has_gone_since_is_in_nobodys_way(on_commit: None) -> None:
    once = unique()
    create_many = type(the_store()).create_many

    def with_a_ghost(store: Any, records: Any, *, lifetimes: Any) -> Any:
        return ["ghost", *create_many(store, records[1:], lifetimes=lifetimes[1:])]

    with mock.patch.object(type(the_store()), "create_many", with_a_ghost), transaction.atomic():
        result = once.enqueue(1)
    assert sent() == [result.id]
    assert once.get_result(result.id).status == TaskResultStatus.READY


@with_commits
def test_the_time_of_a_key_counts_from_the_commit(on_commit: None) -> None:
    once = unique(Unique(until="time", seconds=60))
    with transaction.atomic():
        result = once.enqueue(1)
        later = datetime.now(UTC) + timedelta(seconds=30)
        with mock.patch("tasks_celery.unique.datetime", mock.Mock(now=lambda zone: later)):
            transaction.get_connection().run_on_commit.pop()[1]()
    record = the_store().get(result.id)
    assert abs((record.unique_expires - later).total_seconds() - 60) < 5


# --- values


def test_what_is_not_unique_is_not_refused() -> None:
    assert not conflict.refuses(tasks.add)
    assert not conflict.refuses(unique())
    assert conflict.refuses(unique(Unique(on_conflict="raise")))


def test_an_id_that_was_never_enqueued_stays_unknown() -> None:
    once = unique()
    first = once.enqueue(1)
    second = task_backends["default"].enqueue(once, (1,), {})
    assert second.id == first.id
    with pytest.raises(TaskResultDoesNotExist):
        once.get_result("x" + first.id)
