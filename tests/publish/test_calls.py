"""The calls of Celery's own callers, ``.delay()`` above all: they get a record like `enqueue`'s, and stay as they were."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import chain, group
from django.test import override_settings
from django.utils import timezone
from kombu.exceptions import OperationalError

from tasks_celery.compat import TaskResultStatus
from tasks_celery.message import HEADER
from tests.shop import tasks
from tests.shop.brokers import messages
from tests.shop.running import configured, eagerly, empty_the_broker, listening, the_app, the_store, waiting


@pytest.fixture(autouse=True)
def _an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


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


def test_a_time_of_apply_async_travels_with_the_message_and_holds_nothing() -> None:
    # Celery's own callers know what an ETA in the broker is, and cancel it by a revoke.
    sent = tasks.add.celery.apply_async((1,), countdown=3600)
    (message,) = messages("default")
    record = the_store().get(sent.id)
    assert (record.held, record.due) == (False, record.run_after)
    assert abs((datetime.fromisoformat(message.headers["eta"]) - record.due).total_seconds()) < 60


def test_the_header_of_a_call_says_what_that_of_enqueue_says() -> None:
    tasks.add.enqueue(1)
    tasks.add.celery.delay(1)
    one, other = ({**message.headers[HEADER], "enqueued_at": None} for message in messages("default"))
    assert one == other


def test_a_retry_is_the_same_task_again_and_has_its_record_already() -> None:
    known = set(the_store()._records)
    with listening() as heard:
        tasks.add.celery.apply_async((1,), task_id="a-retry", retries=1, queue="default")
    assert (set(the_store()._records), heard) == (known, [])
    (message,) = messages("default")
    assert (message.headers["id"], message.headers["retries"]) == ("a-retry", 1)


def test_a_canvas_gives_each_of_its_tasks_a_record_as_it_is_sent() -> None:
    twin = tasks.add.celery
    with listening() as heard:
        sent = group(twin.s(1), twin.s(2)).apply_async()
        linked = chain(twin.s(1), twin.s(2)).apply_async()
    first = linked.parent
    for each in (*sent.results, first):
        assert tasks.add.get_result(each.id).status == TaskResultStatus.READY
    assert [one.id for one in heard] == [*(each.id for each in sent.results), first.id]
    assert the_store().get(linked.id) is None  # it is sent by the worker of the first
