"""The door out, with nobody at the other end: what is kept, sent and announced, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.test import override_settings
from django.utils import timezone, translation
from kombu.exceptions import OperationalError

from tasks_celery import EnqueueError, StoreError, publish
from tasks_celery.compat import InvalidTask, TaskResult, TaskResultDoesNotExist, TaskResultStatus, task_backends
from tasks_celery.context import Context, asking
from tasks_celery.message import HEADER
from tests.shop import tasks
from tests.shop.brokers import a_broker_that, a_broker_that_raises, messages
from tests.shop.running import (
    a_worker,
    configured,
    eagerly,
    empty_the_broker,
    listening,
    records_in_redis,
    signals_of,
    the_app,
    the_store,
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
    refuse = mock.Mock(side_effect=cause)
    if how == "the broker":
        monkeypatch.setattr(the_app().amqp, "send_task_message", refuse)
    else:
        monkeypatch.setattr(type(the_app().amqp.router), "route", refuse)
    known = set(the_store()._records)
    with listening() as heard, pytest.raises(EnqueueError, match=r"tests\.shop\.tasks\.add.*not enqueued") as caught:
        tasks.add.enqueue(1)
    assert caught.value.__cause__ is cause
    assert refuse.call_count == 1
    assert set(the_store()._records) == known
    assert heard == []


def test_a_broker_that_takes_nothing_is_an_enqueue_error_though_the_record_cannot_be_removed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise StoreError("away")

    monkeypatch.setattr(the_store(), "discard", away)
    with a_broker_that_raises(OperationalError("nobody home")) as tried, pytest.raises(EnqueueError):
        tasks.add.enqueue(1)
    assert f"Task id={tried[0].id} was refused, and its record is still to be removed" in caplog.text


def test_interrupted_sending_leaves_nothing_behind() -> None:
    known = set(the_store()._records)
    with a_broker_that_raises(KeyboardInterrupt()) as tried, pytest.raises(KeyboardInterrupt):
        tasks.add.enqueue(1)
    assert len(tried) == 1
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
    assert isinstance(enqueued, TaskResult)
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


def test_the_record_is_there_before_the_message() -> None:  # contract 3
    seen: list[str] = []
    with a_broker_that(lambda record: seen.append(the_store().get(record.id).status)):
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
        result = tasks.echo.enqueue(value, key=value)
        late = tasks.echo.using(run_after=timezone.now() + timedelta(days=2)).enqueue(value, key=value)
        for each in (result, late):
            assert tasks.echo.get_result(each.id) == each
    (message,) = messages("default")
    args, kwargs, _ = message.decode()
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


@pytest.mark.django_db
def test_a_task_is_sent_at_once_inside_a_transaction_that_rolls_back() -> None:  # contract 17
    with transaction.atomic():
        result = tasks.add.enqueue(1)
        assert waiting("default") == 1
        transaction.set_rollback(True)
    assert waiting("default") == 1
    assert tasks.add.get_result(result.id).status == TaskResultStatus.READY


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


def test_an_id_that_nobody_sent_stays_unknown() -> None:
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result("nobody-sent-this")


def test_language_in_force_travels() -> None:
    with translation.override("de"):
        result = tasks.add.enqueue(1)
    assert the_store().get(result.id).context["language"] == "de"


# --- under an id that was settled before


def enqueue_as(task: Any, *args: Any, result_id: str, **sending: Any) -> Any:
    return publish.enqueue_as(task_backends["default"], task, args, {}, result_id=result_id, sending=sending)


def test_what_the_backend_cannot_do_is_refused_under_a_settled_id_too() -> None:
    late = tasks.add.using(queue_name="reports")
    with (
        override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": ["default"]}}),
        pytest.raises(InvalidTask, match="Queue 'reports' is not valid for backend"),
    ):
        enqueue_as(late, 1, result_id=uuid4().hex)
    assert waiting("reports") == 0


@pytest.mark.parametrize("where", [nullcontext, records_in_redis])
def test_it_has_that_id_and_what_else_it_is_sent_with(where: Any) -> None:
    with where():
        headers = {"periodic_task_name": "Nightly", "x": "y"}
        result = enqueue_as(tasks.echo, 1, result_id=(asked := uuid4().hex), headers=headers, priority=2)
        (message,) = messages("default")
        assert result.id == message.headers["id"] == asked
        assert result.periodic_task_name == tasks.echo.get_result(asked).periodic_task_name == "Nightly"
        assert tasks.echo.get_result(asked) == result
    assert (message.headers["periodic_task_name"], message.headers["x"]) == ("Nightly", "y")
    assert message.headers[HEADER]["alias"] == "default"
    assert message.properties["priority"] == 2


def test_a_task_that_nobody_scheduled_names_no_schedule() -> None:
    result = tasks.echo.enqueue(1)
    assert result.periodic_task_name is None
    assert "periodic_task_name" not in messages("default")[0].headers


def test_a_call_of_celerys_own_keeps_the_name_of_its_schedule() -> None:
    sent = tasks.echo.celery.apply_async((1,), headers={"periodic_task_name": "Nightly"})
    assert tasks.echo.get_result(sent.id).periodic_task_name == "Nightly"


def test_a_message_from_elsewhere_brings_the_name_of_its_schedule() -> None:
    with a_worker(), listening() as heard:
        sent = the_app().send_task("tests.shop.tasks.echo", headers={"periodic_task_name": "Nightly"})
        signals_of(heard, sent)
    assert tasks.echo.get_result(sent.id).periodic_task_name == "Nightly"


def test_twice_under_one_id_it_runs_once() -> None:
    with a_worker(), listening() as heard:
        first, second = (enqueue_as(tasks.echo, 1, result_id="one" + "0" * 29) for _ in range(2))
        last = tasks.add.enqueue(1)
        signals_of(heard, last)
    assert first.id == second.id
    assert [one.signal for one in heard if one.id == first.id and one.signal != "task_enqueued"] == [
        "task_started",
        "task_finished",
    ]
