"""Many tasks at once: refused as a whole, sent in order, and each of them accounted for where the broker goes away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
import redis
from django.test import override_settings
from django.utils import timezone
from kombu import Exchange, Producer, Queue
from kombu.exceptions import OperationalError

from tasks_celery import EnqueueError, StoreError, publish
from tasks_celery.compat import InvalidTask, TaskResultStatus, task_backends
from tasks_celery.context import Context, asking
from tasks_celery.exceptions import AlreadyEnqueued, PartlyEnqueued
from tasks_celery.publish import bulk, undo
from tasks_celery.unique import Unique
from tests.shop import tasks
from tests.shop.brokers import BROKER, OneRedis, a_broker_that, a_broker_that_raises, messages, one_redis, round_trips
from tests.shop.running import configured, eagerly, empty_the_broker, listening, the_app, the_store, waiting
from tests.stores.making import a_record, an_attempt

BACKEND = "tasks_celery.CeleryBackend"
IN_MEMORY = {"default": {"BACKEND": BACKEND, "QUEUES": ["default", "reports"], "OPTIONS": {"RESULTS": "memory://"}}}
NOWHERE = {"result_backend": None, "broker_url": "amqp://nobody@localhost:1//"}


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    empty_the_broker()
    undo._doubtful.clear()
    yield
    undo._doubtful.clear()
    empty_the_broker()


def enqueue_many(*calls: Any) -> list[Any]:
    return task_backends["default"].enqueue_many(calls)


def numbers(count: int) -> list[Any]:
    return [((number,), {}) for number in range(count)]


@contextmanager
def nothing_done() -> Iterator[None]:
    """Expect that nothing is stored, sent or announced in this block."""
    known = set(the_store()._records)
    with listening() as heard, a_broker_that(lambda record: None) as tried:
        yield
    assert set(the_store()._records) == known
    assert (heard, tried, waiting("default"), waiting("reports")) == ([], [], 0, 0)


# --- refusals: nothing of it all is stored, sent or announced


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: (tasks.echo, ({1},), {}), TypeError),
        (lambda: (tasks.echo, (), {"a": b"\xff"}), ValueError),
        (lambda: (tasks.echo, ({"__type__": "x", "__value__": 1},), {}), ValueError),
        (lambda: (_of_another_queue(), (), {}), InvalidTask),
        (lambda: (tasks.echo.using(run_after=timedelta(days=365 * 9_000)), (), {}), ValueError),
        (lambda: (tasks.echo, (1,)), TypeError),
        (lambda: tasks.echo, TypeError),
    ],
    ids=["no JSON", "no text", "marked", "queue", "far off", "a pair", "a task"],
)
def test_one_that_is_wrong_keeps_all_of_them_out_and_it_is_told_which(place: int, wrong: Any, error: Any) -> None:
    calls: list[Any] = [(tasks.add, (1,), {}), (tasks.urgent, (), {})]
    calls.insert(place, wrong())
    with nothing_done(), pytest.raises(error) as caught:
        enqueue_many(*calls)
    assert f"number {place}" in "".join([*getattr(caught.value, "__notes__", []), str(caught.value)])


def _of_another_queue() -> Any:
    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": []}}):
        return tasks.add.using(queue_name="nowhere to be found")


def test_a_store_that_is_away_lets_nothing_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(the_store(), "create_many", mock.Mock(side_effect=StoreError("away")))
    with nothing_done(), pytest.raises(StoreError, match="away"):
        tasks.add.enqueue_many(numbers(3))


def test_what_a_store_has_kept_before_it_failed_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    create_many = the_store().create_many

    def keep_some(records: Any, *, lifetimes: Any) -> Any:
        create_many(records[:2], lifetimes=lifetimes[:2])
        raise StoreError("away")

    monkeypatch.setattr(the_store(), "create_many", keep_some)
    with nothing_done(), pytest.raises(StoreError, match="away"):
        tasks.add.enqueue_many(numbers(3))


def test_what_a_store_may_have_kept_is_discarded_once_it_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    create_many, known = the_store().create_many, set(the_store()._records)

    def keep_all(records: Any, *, lifetimes: Any) -> Any:
        create_many(records, lifetimes=lifetimes)
        raise StoreError("no answer") from TimeoutError()

    with monkeypatch.context() as patch:
        patch.setattr(the_store(), "create_many", keep_all)
        patch.setattr(the_store(), "discard", away := mock.Mock(side_effect=StoreError("away")))
        with pytest.raises(StoreError):
            tasks.add.enqueue_many(numbers(3))
    assert away.call_count == 1  # a store that is away costs one wait
    assert len(set(the_store()._records) - known) == 3
    again = tasks.add.enqueue(1)
    assert set(the_store()._records) - known == {again.id}


# --- what is enqueued


def test_no_calls_are_no_tasks() -> None:
    with nothing_done():
        assert enqueue_many() == tasks.add.enqueue_many([]) == []


def test_results_come_in_order_of_all_kinds_and_queues() -> None:
    with listening() as heard:
        results = enqueue_many(
            (tasks.add, (1,), {"b": 2}),
            (tasks.urgent, [], {}),
            (tasks.echo.using(priority=-7), ("x",), {"key": (b"y",)}),
            (tasks.add, (3,), {}),
        )
    assert [result.task.func for result in results] == [
        each.func for each in (tasks.add, tasks.urgent, tasks.echo, tasks.add)
    ]
    assert [(result.args, result.kwargs) for result in results] == [
        ([1], {"b": 2}),
        ([], {}),
        (["x"], {"key": ["y"]}),
        ([3], {}),
    ]
    for result in results:
        assert result.task.get_result(result.id) == result
        assert result.status == TaskResultStatus.READY
    assert [message.headers["id"] for message in messages("default")] == [results[at].id for at in (0, 2, 3)]
    assert [message.headers["id"] for message in messages("reports")] == [results[1].id]
    assert [(one.signal, one.id, one.stored) for one in heard] == [
        ("task_enqueued", result.id, "READY") for result in results
    ]


def test_each_is_enqueued_as_it_would_be_alone() -> None:
    with asking(lambda: Context(user="7")):
        one, (other, _) = tasks.urgent.enqueue(), enqueue_many((tasks.urgent, (), {}), (tasks.add, (1,), {}))
    first, second = (the_store().get(result.id) for result in (one, other))
    for name in ("path", "alias", "queue_name", "priority", "context", "sending", "held", "expires", "status"):
        assert getattr(first, name) == getattr(second, name)
    alone, together = messages("reports")
    for name in {*alone.headers, *together.headers} - {"id", "root_id", "tasks_celery"}:
        assert alone.headers[name] == together.headers[name]
    assert (alone.body, alone.properties["priority"]) == (together.body, together.properties["priority"])


async def test_the_awaited_twins_do_the_same() -> None:
    results = await tasks.add.aenqueue_many(numbers(2))
    results += await task_backends["default"].aenqueue_many([(tasks.add, (2,), {})])
    assert [result.args for result in results] == [[0], [1], [2]]
    assert waiting("default") == 3


def test_calls_may_come_from_a_generator() -> None:
    assert [result.args for result in tasks.add.enqueue_many((args, {}) for args in ((1,), (2,)))] == [[1], [2]]


def test_one_connection_is_enough_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    sending = mock.Mock(side_effect=bulk.sending)
    monkeypatch.setattr(bulk, "sending", sending)
    with mock.patch.object(the_store(), "create_many", side_effect=the_store().create_many) as keep:
        tasks.add.enqueue_many(numbers(bulk.CHUNK + 1))
    assert (sending.call_count, keep.call_count) == (1, 1)
    assert waiting("default") == bulk.CHUNK + 1


def test_those_that_wait_for_their_time_are_records_and_no_messages() -> None:
    late = tasks.add.using(run_after=timezone.now() + timedelta(hours=1))
    with listening() as heard:
        results = enqueue_many((late, (1,), {}), (tasks.add, (2,), {}), (late, (3,), {}))
    assert [the_store().get(result.id).held for result in results] == [True, False, True]
    assert [message.headers["id"] for message in messages()] == [results[1].id]
    assert [one.id for one in heard] == [result.id for result in results]
    assert [result.task.get_result(result.id) for result in results] == results


def test_in_eager_mode_all_have_run_when_it_returns() -> None:
    with eagerly(), listening() as heard:
        results = enqueue_many((tasks.add, (1, 2), {}), (tasks.fail, (), {}), (tasks.add, (3, 4), {}))
    assert [str(result.status) for result in results] == ["SUCCESSFUL", "FAILED", "SUCCESSFUL"]
    assert [results[0].return_value, results[2].return_value] == [3, 7]
    assert [one.signal for one in heard] == ["task_enqueued", "task_started", "task_finished"] * 3
    assert waiting("default") == 0


def test_without_a_place_for_records_all_are_sent() -> None:
    sent: list[str] = []
    with (
        configured(the_app(), **NOWHERE),
        override_settings(TASKS={"default": {"BACKEND": BACKEND}}),
        mock.patch(
            "tasks_celery.publish.sender.send", lambda backend, producer, record, **options: sent.append(record.id)
        ),
    ):
        results = tasks.add.enqueue_many(numbers(3))
    assert sent == [result.id for result in results]


# --- a broker that goes away in the middle


@pytest.mark.parametrize("error", [OperationalError("gone"), KeyError("no route"), OSError("broken pipe")], ids=repr)
@pytest.mark.parametrize("at", [0, 2, 4])
def test_it_is_told_which_were_sent_and_nothing_is_left_of_the_others(error: Exception, at: int) -> None:
    known = set(the_store()._records)
    with (
        listening() as heard,
        a_broker_that_raises(error, at=at) as tried,
        pytest.raises(PartlyEnqueued, match=rf"Of 5 tasks, {at} were enqueued, {5 - at} were not:.*") as caught,
    ):
        tasks.add.enqueue_many(numbers(5))
    told = caught.value
    assert told.__cause__ is error
    assert (len(told.sent), len(told.not_sent), told.doubtful) == (at, 5 - at, [])
    assert [*told.sent, told.not_sent[0]] == [record.id for record in tried]
    assert set(the_store()._records) - known == set(told.sent)
    assert [tasks.add.get_result(each).args for each in told.sent] == [[number] for number in range(at)]
    assert [message.headers["id"] for message in messages()] == told.sent
    assert [(one.signal, one.id) for one in heard] == [("task_enqueued", each) for each in told.sent]


def test_those_that_wait_for_their_time_are_enqueued_whatever_becomes_of_the_others() -> None:
    late = tasks.add.using(run_after=timezone.now() + timedelta(hours=1))
    with listening() as heard, a_broker_that_raises(OperationalError("gone")), pytest.raises(PartlyEnqueued) as caught:
        enqueue_many((tasks.add, (1,), {}), (late, (2,), {}))
    told = caught.value
    assert [tasks.add.get_result(each).args for each in told.sent] == [[2]]
    assert (len(told.not_sent), [one.id for one in heard]) == (1, told.sent)


def test_one_without_an_answer_has_a_record_that_no_worker_runs() -> None:
    known = set(the_store()._records)
    with a_broker_that_raises(TimeoutError("no answer"), at=2) as tried, pytest.raises(PartlyEnqueued) as caught:
        tasks.add.enqueue_many(numbers(5))
    told = caught.value
    assert (len(told.sent), len(told.not_sent), told.doubtful) == (2, 3, [])
    doubtful = the_store().get(tried[2].id)
    assert doubtful.status == "FAILED"
    assert the_store().claim(doubtful, an_attempt(redelivered=True), lifetime=60) is None
    assert set(the_store()._records) - known == {*told.sent, doubtful.id}


def test_one_without_an_answer_that_a_worker_has_begun_was_sent() -> None:
    def begin(record: Any) -> None:
        if record.args == [2]:
            the_store().claim(the_store().get(record.id), an_attempt("fast"), lifetime=60)
            raise TimeoutError("no answer")

    with listening() as heard, a_broker_that(begin) as tried, pytest.raises(PartlyEnqueued) as caught:
        tasks.add.enqueue_many(numbers(5))
    assert caught.value.sent == [record.id for record in tried] == [one.id for one in heard]
    assert len(caught.value.not_sent) == 2


def test_where_that_was_the_last_all_were_enqueued() -> None:
    def begin(record: Any) -> None:
        if record.args == [2]:
            the_store().claim(the_store().get(record.id), an_attempt("fast"), lifetime=60)
            raise TimeoutError("no answer")

    with a_broker_that(begin):
        assert [result.args for result in tasks.add.enqueue_many(numbers(3))] == [[0], [1], [2]]


@pytest.mark.parametrize(("error", "call"), [(OSError("gone"), "discard"), (TimeoutError("no answer"), "settle")])
def test_where_a_record_cannot_be_changed_the_error_says_that_the_task_may_run(
    monkeypatch: pytest.MonkeyPatch, error: Exception, call: str
) -> None:
    monkeypatch.setattr(the_store(), call, away := mock.Mock(side_effect=StoreError("away")))
    with a_broker_that_raises(error, at=2), pytest.raises(PartlyEnqueued, match="may yet be run") as caught:
        tasks.add.enqueue_many(numbers(5))
    told = caught.value
    # Those behind the one without an answer have been discarded before.
    assert (len(told.sent), len(told.not_sent), len(told.doubtful)) == ((2, 0, 3) if call == "discard" else (2, 2, 1))
    assert away.call_count == 1


def test_without_records_nothing_can_be_forbidden() -> None:
    with (
        configured(the_app(), **NOWHERE),
        override_settings(TASKS={"default": {"BACKEND": BACKEND}}),
        a_broker_that_raises(TimeoutError("no answer")) as tried,
        pytest.raises(PartlyEnqueued, match="1 may yet be run") as caught,
    ):
        tasks.add.enqueue_many(numbers(3))
    assert caught.value.doubtful == [tried[0].id]
    assert len(caught.value.not_sent) == 2


def test_interrupted_it_leaves_the_records_of_what_was_sent() -> None:
    known = set(the_store()._records)
    with a_broker_that_raises(KeyboardInterrupt(), at=2) as tried, pytest.raises(KeyboardInterrupt):
        tasks.add.enqueue_many(numbers(5))
    sent = [message.headers["id"] for message in messages()]
    assert sent == [record.id for record in tried[:2]]
    assert set(the_store()._records) - known == set(sent)


def test_a_store_that_goes_away_as_it_tells_of_a_unique_task_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = tasks.add.using(unique=True).enqueue("one of a kind")
    known = set(the_store()._records)
    monkeypatch.setattr(the_store(), "get", mock.Mock(side_effect=StoreError("away")))
    with pytest.raises(StoreError, match="away"):
        enqueue_many((tasks.echo, (1,), {}), (first.task, ("one of a kind",), {}), (tasks.echo, (2,), {}))
    assert set(the_store()._records) == known
    assert waiting("default") == 1
    the_store().discard(first.id)


def test_one_that_is_refused_for_its_like_leaves_nothing() -> None:
    task = tasks.add.using(unique=Unique(on_conflict="raise"))
    first = task.enqueue("another kind")
    known = set(the_store()._records)
    with listening() as heard, pytest.raises(AlreadyEnqueued) as caught:
        enqueue_many((tasks.echo, (1,), {}), (task, ("another kind",), {}))
    assert caught.value.result_id == first.id
    assert (set(the_store()._records), heard, waiting("default")) == (known, [], 1)
    the_store().discard(first.id)


# --- kombu's batches, where the broker is a Redis and the records are elsewhere


pytestmark_batched = pytest.mark.skipif(not hasattr(Producer, "batch"), reason="kombu has batches since 5.7")


@pytest.fixture
def a_redis_broker() -> Iterator[OneRedis]:
    with one_redis() as here, override_settings(TASKS=IN_MEMORY):
        tasks.add.enqueue("the first declares the queue")
        with here.database(BROKER) as client:
            client.delete("default\x06\x163")
        yield here


@pytestmark_batched
def test_many_messages_take_one_round_trip(a_redis_broker: OneRedis) -> None:
    with round_trips() as trips:
        results = tasks.add.enqueue_many(numbers(20))
    assert len(trips) <= 2  # one asks whether a connection still stands
    assert [message["headers"]["id"] for message in a_redis_broker.sent()] == [result.id for result in results]


def test_with_or_without_batches_all_are_sent_in_order(a_redis_broker: OneRedis) -> None:
    with mock.patch.object(bulk, "CHUNK", 4):
        results = tasks.add.enqueue_many(numbers(10))
    assert [message["headers"]["id"] for message in a_redis_broker.sent()] == [result.id for result in results]


@pytestmark_batched
def test_of_a_batch_that_failed_nobody_knows_and_none_of_it_is_run(a_redis_broker: OneRedis) -> None:
    from kombu.transport.redis import PublishBatch

    flushed: list[Any] = []
    flush = PublishBatch.flush

    def fail(batch: Any) -> None:
        flushed.append(batch)
        if len(flushed) == 2:
            batch.pipeline.execute = mock.Mock(side_effect=redis.ConnectionError("reset by peer"))
        flush(batch)

    with (
        mock.patch.object(bulk, "CHUNK", 4),
        mock.patch.object(PublishBatch, "flush", fail),
        listening() as heard,
        pytest.raises(PartlyEnqueued) as caught,
    ):
        tasks.add.enqueue_many(numbers(10))
    told = caught.value
    assert [tasks.add.get_result(each).args for each in told.sent] == [[0], [1], [2], [3]]
    assert (len(told.not_sent), told.doubtful) == (6, [])
    assert [one.id for one in heard] == told.sent
    statuses = [record.status if (record := the_store().get(each)) else None for each in told.not_sent]
    assert statuses == ["FAILED"] * 4 + [None] * 2


@pytest.mark.parametrize(
    "queue", [Queue("default"), Queue("default", Exchange("default"), "default", expires=60)], ids=str
)
def test_of_a_batch_that_was_not_finished_what_is_told_is_what_was_sent(a_redis_broker: OneRedis, queue: Queue) -> None:
    known = set(the_store()._records)
    with (
        mock.patch.object(bulk, "CHUNK", 10),
        mock.patch.dict(the_app().amqp.queues, {"default": queue}),
        a_broker_that_raises(KeyError("no route"), at=8),
        pytest.raises(PartlyEnqueued) as caught,
    ):
        tasks.add.enqueue_many(numbers(10))
    told = caught.value
    assert [message["headers"]["id"] for message in a_redis_broker.sent()] == told.sent
    assert set(the_store()._records) - known == set(told.sent)
    assert (len(told.sent) + len(told.not_sent), told.doubtful) == (10, [])


# --- what waited


def test_what_waited_is_sent_and_nothing_is_stored_or_announced() -> None:
    records = [
        a_record(name="tests.shop.tasks.add", queue_name="default", args=[number], kwargs={}) for number in range(3)
    ]
    known = set(the_store()._records)
    with listening() as heard:
        assert publish.send_kept(task_backends["default"], records) == records
    assert [message.headers["id"] for message in messages()] == [record.id for record in records]
    assert (set(the_store()._records), heard) == (known, [])


def test_what_waited_and_is_not_taken_is_logged_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    records = [
        a_record(name="tests.shop.tasks.add", queue_name="default", args=[number], kwargs={}) for number in range(3)
    ]
    with a_broker_that_raises(OperationalError("nobody home"), at=2):
        assert publish.send_kept(task_backends["default"], records) == records[:2]
    assert "nobody home" in caplog.text
    assert publish.send_kept(task_backends["default"], []) == []


def test_partly_enqueued_is_an_enqueue_error_and_no_less() -> None:
    error = PartlyEnqueued(sent=["a"], not_sent=("b",), doubtful=iter("c"))  # type: ignore[arg-type]
    assert isinstance(error, EnqueueError)
    assert (error.sent, error.not_sent, error.doubtful) == (["a"], ["b"], ["c"])
