"""The door out, with nobody at the other end: what is kept, sent and announced, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from celery import Celery
from django.db import transaction
from django.test import override_settings
from django.utils import timezone, translation
from kombu.exceptions import OperationalError

from tasks_celery import EnqueueError, StoreError, publish
from tasks_celery.compat import InvalidTask, TaskResult, TaskResultDoesNotExist, TaskResultStatus, task_backends
from tasks_celery.context import Context, asking
from tasks_celery.message import HEADER
from tests.shop import tasks
from tests.shop.running import (
    apps_kept,
    configured,
    eagerly,
    empty_the_broker,
    listening,
    records_in_redis,
    the_app,
    waiting,
)

BACKEND = "tasks_celery.CeleryBackend"
NO_JSON = [
    {1, 2},
    object(),
    lambda: None,
    datetime(2026, 1, 1, tzinfo=UTC),
    date(2026, 1, 1),
    timedelta(1),
    uuid4(),
    Decimal("1.5"),
    1j,
    ValueError("x"),
]


@pytest.fixture(autouse=True)
def _an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


def the_store() -> Any:
    return task_backends["default"].results.store


def messages(queue: str = "default") -> list[Any]:
    """Take the messages out of a queue."""
    taken = []
    with the_app().connection_for_write() as connection, connection.SimpleQueue(queue) as waiting_there:
        while waiting_there.qsize():
            message = waiting_there.get(block=False)
            message.ack()
            taken.append(message)
    return taken


# --- refusals: nothing is stored, sent or announced


@pytest.mark.parametrize("value", NO_JSON, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("place", [lambda v: ((v,), {}), lambda v: ((), {"a": v}), lambda v: (([{"a": [v]}],), {})])
def test_an_argument_that_json_cannot_hold_is_refused_before_anything_happens(value: Any, place: Any) -> None:
    # contract 13
    args, kwargs = place(value)
    known = set(the_store()._records)
    with listening() as heard, pytest.raises(TypeError, match="Unsupported type"):
        tasks.echo.enqueue(*args, **kwargs)
    assert set(the_store()._records) == known
    assert heard == []
    assert waiting("default") == 0


def test_bytes_that_are_no_text_are_refused() -> None:  # contract 13
    with pytest.raises(ValueError, match="Unsupported value"):
        tasks.echo.enqueue(b"\xff")
    assert waiting("default") == 0


@pytest.mark.parametrize("how", ["the broker", "a router"])
def test_a_message_that_is_not_taken_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    # contract 3
    cause = OperationalError("nobody home") if how == "the broker" else KeyError("no route")

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise cause

    monkeypatch.setattr(the_app(), "send_task", refuse)
    known = set(the_store()._records)
    with listening() as heard, pytest.raises(EnqueueError, match=r"tests\.shop\.tasks\.add.*not enqueued") as caught:
        tasks.add.enqueue(1)
    assert caught.value.__cause__ is cause
    assert set(the_store()._records) == known
    assert heard == []


def test_a_broker_that_takes_nothing_is_an_enqueue_error_though_the_record_cannot_be_removed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise StoreError("away")

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("nobody home")

    monkeypatch.setattr(the_app(), "send_task", refuse)
    monkeypatch.setattr(the_store(), "discard", away)
    with pytest.raises(EnqueueError):
        tasks.add.enqueue(1)
    assert "could not be removed" in caplog.text


def test_interrupted_sending_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(the_app(), "send_task", interrupt)
    known = set(the_store()._records)
    with pytest.raises(KeyboardInterrupt):
        tasks.add.enqueue(1)
    assert set(the_store()._records) == known


def test_a_store_that_is_away_lets_nothing_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise StoreError("away")

    monkeypatch.setattr(the_store(), "create", away)
    with listening() as heard, pytest.raises(StoreError, match="away"):
        tasks.add.enqueue(1)
    assert heard == []
    assert waiting("default") == 0


@pytest.mark.parametrize("how", ["enqueue", "aenqueue"])
async def test_enqueueing_validates_again(how: str) -> None:  # contract 12
    late = tasks.add.using(queue_name="reports")
    enqueue = late.aenqueue if how == "aenqueue" else sync_to_async(late.enqueue)
    with (
        override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": ["default"]}}),
        pytest.raises(InvalidTask, match="Queue 'reports' is not valid for backend"),
    ):
        await enqueue(1)
    assert waiting("reports") == 0


# --- what is kept


def test_a_result_is_ready_and_can_be_read_before_any_worker_has_run() -> None:  # contract 2, 4, 6, 7
    enqueued = tasks.urgent.using(priority=-7, run_after=timezone.now() + timedelta(hours=3)).enqueue()
    assert type(enqueued) is TaskResult
    assert enqueued.status == TaskResultStatus.READY
    assert (enqueued.started_at, enqueued.finished_at, enqueued.last_attempted_at) == (None, None, None)
    assert (enqueued.errors, enqueued.worker_ids, enqueued.attempts) == ([], [], 0)
    assert not enqueued.is_finished
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = enqueued.return_value
    read = tasks.urgent.get_result(enqueued.id)
    assert read == enqueued
    assert type(read) is type(enqueued)
    assert type(read.task) is type(enqueued.task)
    for name in ("queue_name", "priority", "run_after", "backend", "func", "takes_context"):
        assert getattr(read.task, name) == getattr(enqueued.task, name)


def test_enqueued_at_is_now_to_the_microsecond_and_survives_a_refresh() -> None:  # contract 5
    before = timezone.now()
    result = tasks.add.enqueue(1)
    kept = result.enqueued_at
    assert before <= kept <= timezone.now()
    result.refresh()
    assert result.enqueued_at == kept


def test_ids_are_short_texts_of_their_own() -> None:  # contract 11
    ids = [tasks.add.enqueue(1).id for _ in range(20)]
    assert len(set(ids)) == 20
    assert all(isinstance(each, str) and 0 < len(each) < 64 for each in ids)


def test_the_record_is_there_before_the_message(monkeypatch: pytest.MonkeyPatch) -> None:  # contract 3
    seen: list[str] = []

    def fast_worker(name: str, args: Any, kwargs: Any, task_id: str, **options: Any) -> None:
        seen.append(the_store().get(task_id).status)

    monkeypatch.setattr(the_app(), "send_task", fast_worker)
    tasks.add.enqueue(1)
    assert seen == ["READY"]


def test_what_the_caller_does_to_his_arguments_later_changes_nothing() -> None:  # contract 23
    items = [1]
    result = tasks.echo.enqueue(items, also=items)
    items.append(2)
    assert result.args == [[1]]
    assert tasks.echo.get_result(result.id).args == [[1]]
    assert tasks.echo.get_result(result.id).kwargs == {"also": [1]}


def test_what_the_caller_does_to_a_result_stays_his() -> None:  # contract 23
    result = tasks.echo.enqueue([1])
    result.args[0].append(2)
    result.errors.append("x")
    tasks.echo.get_result(result.id).args.append(3)
    read = tasks.echo.get_result(result.id)
    assert (read.args, read.errors) == ([[1]], [])


@override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": []}})
def test_without_queues_any_name_goes() -> None:  # contract 45
    result = tasks.add.using(queue_name="some queue or other").enqueue(1)
    assert waiting("some queue or other") == 1
    assert tasks.add.get_result(result.id).task.queue_name == "some queue or other"


@pytest.mark.parametrize("keep", [nullcontext, records_in_redis], ids=["memory", "Redis"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "☃\ud800\0",
        10**30,
        -0.1,
        [],
        {},
        [[], {}],
        {"": [None]},
        {1: 2},
        {None: 1, True: 2},
        (1, (b"x",)),
        TaskResultStatus.READY,
        "x" * 100_000,
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_read_equals_what_enqueue_returned_in_every_field(value: Any, keep: Any) -> None:  # contract 4
    with keep():
        result = tasks.echo.using(run_after=timezone.now() + timedelta(days=2)).enqueue(value, key=value)
        read = tasks.echo.get_result(result.id)
    assert read == result
    args, kwargs, _ = messages("default")[0].decode()
    assert (args, kwargs) == (result.args, result.kwargs)  # contract 14


# --- what is sent


def test_a_message_is_celerys_with_the_normalised_arguments() -> None:  # contract 14, 44
    result = tasks.echo.enqueue((1, b"two"), key=("x",))
    (message,) = messages("default")
    args, kwargs, _ = json.loads(message.body)
    assert args == result.args == [[1, "two"]]
    assert kwargs == result.kwargs == {"key": ["x"]}
    assert (message.headers["id"], message.headers["task"]) == (result.id, "tests.shop.tasks.echo")
    assert message.content_type == "application/json"


def test_a_message_is_json_whatever_the_project_sends() -> None:  # contract 53
    with configured(the_app(), task_serializer="yaml"):
        tasks.echo.enqueue(1)
        tasks.echo.celery.delay(1)
    assert {message.content_type for message in messages("default")} == {"application/json"}


@pytest.mark.parametrize(
    "value",
    [
        {"__type__": "datetime", "__value__": "2026-01-01T00:00:00"},
        {"__type__": "bytes", "__value__": "x"},
        {"__type__": "no such type", "__value__": "x"},
    ],
    ids=lambda value: value["__type__"],
)
def test_a_dict_that_kombu_would_read_as_something_else_arrives_as_it_was_or_is_refused(value: Any) -> None:
    # contract 14. A message that kombu cannot read is acknowledged and dropped: READY for ever.
    try:
        result = tasks.echo.enqueue([value], key=value)
    except (TypeError, ValueError):
        assert waiting("default") == 0
        return
    (message,) = messages("default")
    args, kwargs, _ = message.decode()
    assert (args, kwargs) == (result.args, result.kwargs)


@pytest.mark.parametrize(
    "name", ["task_id", "queue", "countdown", "eta", "args", "kwargs", "headers", "name", "priority", "twin", "task"]
)
def test_keyword_arguments_are_the_tasks_own(name: str) -> None:  # contract 15
    result = tasks.echo.enqueue(**{name: "mine"})
    (message,) = messages("default")
    assert message.decode()[1] == {name: "mine"}
    assert message.headers["id"] == result.id
    assert message.headers["eta"] is None


def test_wrong_arguments_are_no_reason_to_refuse() -> None:  # contract 16
    assert tasks.add.enqueue("too", "many", "arguments", of="all kinds").status == TaskResultStatus.READY
    assert waiting("default") == 1


def test_a_task_goes_to_its_own_queue() -> None:  # contract 44
    tasks.urgent.enqueue()
    assert (waiting("reports"), waiting("default"), waiting("celery")) == (1, 0, 0)


def test_a_priority_is_always_sent() -> None:  # contract 39
    for priority in (-100, 0, 100):
        tasks.add.using(priority=priority).enqueue(1)
    assert [message.properties["priority"] for message in messages("default")] == [9, 5, 0]


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kathmandu"])
def test_a_naive_time_is_sent_as_the_local_one_it_is(zone: str) -> None:  # contract 41, 43
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        due = datetime.now() + timedelta(hours=1)  # noqa: DTZ005
        result = tasks.add.using(run_after=due).enqueue(1)
        assert timezone.is_naive(result.enqueued_at)
        assert tasks.add.get_result(result.id) == result
        assert tasks.add.get_result(result.id).task.run_after == due
    (message,) = messages("default")
    eta = datetime.fromisoformat(message.headers["eta"])
    assert eta.tzinfo is not None
    assert abs((eta - datetime.now(UTC)).total_seconds() - 3600) < 60


@pytest.mark.django_db
def test_a_task_is_sent_at_once_inside_a_transaction_that_rolls_back() -> None:  # contract 17
    with transaction.atomic():
        result = tasks.add.enqueue(1)
        assert waiting("default") == 1
        transaction.set_rollback(True)
    assert waiting("default") == 1
    assert tasks.add.get_result(result.id).status == TaskResultStatus.READY


def test_the_options_of_the_task_travel_with_it() -> None:
    tasks.add.enqueue(1)
    (message,) = messages("default")
    assert message.headers["ignore_result"] is False
    assert message.headers["timelimit"] == [None, None]
    assert message.headers["expires"] is None


@pytest.mark.parametrize(
    ("url", "spared"), [("redis://", True), ("rpc://", False), ("cache+memory://", False), ("disabled://", False)]
)
def test_celerys_subscription_to_the_result_is_spared_where_who_waits_for_it_subscribes(url: str, spared: bool) -> None:
    with apps_kept(), Celery("results", set_as_current=False, backend=url) as app:
        assert publish._subscribes(app) is spared


def test_a_task_whose_subscription_is_spared_still_stores_celerys_result(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(publish, "_subscribes", lambda app: True)
    monkeypatch.setattr(the_app().backend, "on_task_call", lambda producer, task_id: asked.append(task_id))
    tasks.add.enqueue(1)
    (message,) = messages("default")
    assert message.headers["ignore_result"] is False
    assert asked == []


def test_who_asked_travels_in_the_header_and_rests_in_the_record() -> None:
    with asking(lambda: Context(user="7", language="de")):
        result = tasks.add.enqueue(1)
    (message,) = messages("default")
    assert message.headers[HEADER]["context"] == {"user": "7", "language": "de"}
    assert the_store().get(result.id).context == {"user": "7", "language": "de"}


# --- what is announced


def test_enqueued_is_announced_once_with_a_result_that_can_be_read() -> None:  # contract 18
    with listening() as heard:
        result = tasks.add.enqueue(1)
    (one,) = heard
    assert (one.signal, one.id, one.status, one.stored) == ("task_enqueued", result.id, "READY", "READY")
    assert one.sender is type(task_backends["default"])


def test_a_receiver_that_raises_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:  # contract 36
    from tasks_celery.compat import task_enqueued

    def broken(**kwargs: Any) -> None:
        raise ValueError("deaf")

    task_enqueued.connect(broken)
    try:
        result = tasks.add.enqueue(1)
    finally:
        task_enqueued.disconnect(broken)
    assert tasks.add.get_result(result.id).status == TaskResultStatus.READY
    assert waiting("default") == 1
    assert result.id in caplog.text


# --- eager (contract 19-22)


def test_in_eager_mode_a_task_has_run_when_enqueue_returns() -> None:  # contract 19, 20
    with eagerly(), listening() as heard:
        result = tasks.add.enqueue(1, b=2)
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 3)
    assert waiting("default") == 0
    assert tasks.add.get_result(result.id) == result
    assert [(one.signal, one.status) for one in heard] == [
        ("task_enqueued", "READY"),
        ("task_started", "RUNNING"),
        ("task_finished", "SUCCESSFUL"),
    ]  # contract 18
    assert {one.id for one in heard} == {result.id}
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert result.attempts == 1


@pytest.mark.parametrize("propagates", [True, False])
@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (tasks.fail, "builtins.ValueError"),
        (tasks.leave, "builtins.SystemExit"),
        (tasks.raise_unheard, "tests.shop.tasks.Unheard"),
        (tasks.raise_awkward, "tests.shop.tasks.Awkward"),
        (tasks.run_out_of_memory, "builtins.MemoryError"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_in_eager_mode_a_failing_task_is_a_failed_result(task: Any, kind: str, propagates: bool) -> None:
    # contract 21, 24, 26
    with eagerly(task_eager_propagates=propagates), listening() as heard:
        result = task.enqueue()
    assert result.status == TaskResultStatus.FAILED
    (error,) = result.errors
    assert error.exception_class_path == kind
    assert error.exception_class.__name__ == kind.rpartition(".")[2]
    assert [one.signal for one in heard] == ["task_enqueued", "task_started", "task_finished"]
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


@pytest.mark.parametrize("propagates", [True, False])
def test_in_eager_mode_ctrl_c_leaves_enqueue(propagates: bool) -> None:  # contract 22
    with eagerly(task_eager_propagates=propagates), pytest.raises(KeyboardInterrupt):
        tasks.interrupt.enqueue()


def test_in_eager_mode_wrong_arguments_are_a_failed_result() -> None:  # contract 16
    with eagerly():
        result = tasks.add.enqueue("too", "many", "arguments")
    assert [error.exception_class_path for error in result.errors] == ["builtins.TypeError"]


def test_in_eager_mode_a_return_value_that_json_cannot_hold_is_a_failed_result() -> None:  # contract 25
    with eagerly():
        for task in (tasks.give_lambda, tasks.give_date):
            result = task.enqueue()
            assert result.status == TaskResultStatus.FAILED
            assert "Unsupported type" in result.errors[0].traceback
        assert tasks.give_tuple.enqueue().return_value == [1, "two"]


def test_in_eager_mode_retries_give_an_error_and_a_worker_each() -> None:  # contract 27
    with eagerly(), listening() as heard:
        result = tasks.stumble.enqueue()
    assert result.status == TaskResultStatus.FAILED
    assert (len(result.errors), len(result.worker_ids)) == (3, 3)
    assert [one.signal for one in heard].count("task_finished") == 1
    assert [one.signal for one in heard].count("task_enqueued") == 1


def test_in_eager_mode_run_after_does_not_hold_a_task_back() -> None:  # contract 20
    due = timezone.now() + timedelta(hours=1)
    with eagerly():
        result = tasks.add.using(run_after=due).enqueue(1)
    assert (result.return_value, result.task.run_after) == (1, due)


def test_in_eager_mode_what_a_task_does_to_its_arguments_is_not_what_was_enqueued() -> None:  # contract 23
    with eagerly():
        result = tasks.grow.enqueue([1], more=[2])
    assert result.return_value == 2
    assert (result.args, result.kwargs) == ([[1]], {"more": [2]})
    assert tasks.grow.get_result(result.id).args == [[1]]


def test_in_eager_mode_without_a_place_for_records_the_result_still_tells_how_it_went() -> None:  # contract 21
    with (
        eagerly(result_backend=None, broker_url="amqp://nobody@localhost:1//"),
        override_settings(TASKS={"default": {"BACKEND": BACKEND}}),
    ):
        good, bad = tasks.add.enqueue(1, b=1), tasks.fail.enqueue()
        assert (good.status, good.return_value) == (TaskResultStatus.SUCCESSFUL, 2)
        assert bad.status == TaskResultStatus.FAILED


def test_in_eager_mode_a_task_may_enqueue_another() -> None:
    with eagerly(), asking(lambda: Context(user="7")):
        result = tasks.enqueue_another.enqueue(1)
    assert tasks.look_around.get_result(result.return_value).return_value["user"] == "7"


def test_in_eager_mode_async_tasks_run_too() -> None:  # contract 31
    with eagerly():
        assert tasks.add_later.enqueue(1, 2).return_value == 3


async def test_in_eager_mode_async_tasks_run_inside_a_running_loop() -> None:  # contract 31, 51
    with eagerly():
        result = await tasks.add_later.aenqueue(1, 2)
        assert result.return_value == 3


# --- Celery's own callers


def test_delay_gets_a_record_as_enqueue_does() -> None:
    with listening() as heard:
        sent = tasks.echo.celery.delay(1, key=2)
    result = tasks.echo.get_result(sent.id)
    assert (result.status, result.args, result.kwargs) == (TaskResultStatus.READY, [1], {"key": 2})
    assert result.enqueued_at is not None
    assert [(one.signal, one.id) for one in heard] == [("task_enqueued", sent.id)]


def test_delay_refuses_wrong_arguments_as_it_always_did_and_leaves_nothing() -> None:
    known = set(the_store()._records)
    with listening() as heard, pytest.raises(TypeError):
        tasks.add.celery.delay("too", "many", "arguments")
    assert set(the_store()._records) == known
    assert heard == []


def test_a_delayed_message_that_is_not_taken_raises_what_celery_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("nobody home")

    monkeypatch.setattr(the_app().amqp, "send_task_message", refuse)
    known = set(the_store()._records)
    with pytest.raises(OperationalError):
        tasks.add.celery.apply_async((1,), retry=False)
    assert set(the_store()._records) == known


def test_delay_refuses_what_enqueue_refuses_because_the_worker_could_not_read_it() -> None:
    known = set(the_store()._records)
    with pytest.raises(ValueError, match="__type__"):
        tasks.echo.celery.delay({"__type__": "no such type", "__value__": 1})
    assert set(the_store()._records) == known
    assert waiting("default") == 0


def test_apply_async_keeps_its_own_id_queue_and_time() -> None:
    sent = tasks.add.celery.apply_async((1,), task_id="my-own-id", queue="reports", countdown=3600)
    assert (sent.id, waiting("reports")) == ("my-own-id", 1)
    result = tasks.add.get_result("my-own-id")
    assert result.task.queue_name == "reports"
    assert abs((result.task.run_after - timezone.now()).total_seconds() - 3600) < 60


def test_apply_async_takes_what_only_celery_can_carry() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    result = tasks.echo.get_result(tasks.echo.celery.delay(when, {"a": when}).id)
    assert result.args == [str(when), {"a": str(when)}]


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("aware", [True, False])
def test_a_time_of_apply_async_is_aware_exactly_if_use_tz(use_tz: bool, aware: bool) -> None:  # contract 43
    eta = datetime.now(UTC) + timedelta(hours=1)
    with override_settings(USE_TZ=use_tz):
        sent = tasks.add.celery.apply_async((1,), eta=eta if aware else eta.replace(tzinfo=None))
        due = tasks.add.get_result(sent.id).task.run_after
        assert timezone.is_aware(due) is use_tz


def test_a_delayed_task_says_the_queue_its_message_went_to() -> None:
    with configured(the_app(), task_routes={"tests.shop.tasks.add": {"queue": "routed"}}):
        the_app().amqp.router = the_app().amqp.Router()
        try:
            sent = tasks.add.celery.delay(1)
            assert waiting("routed") == 1
            assert tasks.add.get_result(sent.id).task.queue_name == "routed"
        finally:
            with configured(the_app(), task_routes=None):
                the_app().amqp.router = the_app().amqp.Router()


def test_a_delayed_task_has_the_queue_and_priority_of_its_task() -> None:
    # One path with `enqueue` (the design's decision 5): what the record says is what was sent.
    sent = tasks.urgent.celery.delay()
    task = tasks.urgent.get_result(sent.id).task
    assert (waiting("reports"), task.queue_name) == (1, "reports")
    (message,) = messages("reports")
    assert (message.properties.get("priority"), task.priority) == (0, 50)


def test_in_eager_mode_delay_runs_announces_and_keeps_a_record() -> None:
    with eagerly(), listening() as heard:
        sent = tasks.add.celery.delay(1, 2)
    assert sent.get() == 3
    assert tasks.add.get_result(sent.id).return_value == 3
    assert [one.signal for one in heard] == ["task_enqueued", "task_started", "task_finished"]


def test_an_id_that_nobody_sent_stays_unknown() -> None:
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result("nobody-sent-this")


def test_language_in_force_travels() -> None:
    with translation.override("de"):
        result = tasks.add.enqueue(1)
    assert the_store().get(result.id).context["language"] == "de"
