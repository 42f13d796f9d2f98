"""Time, queues, priority: when a task runs, where it waits and what goes before it."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from django.test import override_settings
from django.utils import timezone

from tasks_celery import publish
from tasks_celery.compat import InvalidTask, TaskResultDoesNotExist, TaskResultStatus, task_backends
from tests.contract import jobs
from tests.shop.brokers import a_heartbeat
from tests.shop.running import (
    a_worker,
    configured,
    eagerly,
    empty_the_broker,
    finished,
    listening,
    records_in_redis,
    signals_of,
    the_app,
    until,
    waiting,
)

BACKEND = "tasks_celery.CeleryBackend"
RANGE = range(-100, 101)
MEMORY_AND_REDIS = pytest.mark.parametrize("keep", [nullcontext, records_in_redis], ids=["memory", "Redis"])
#: Whatever the broker is called.
RECORDS_IN_MEMORY = override_settings(
    TASKS={"default": {"BACKEND": BACKEND, "QUEUES": ["default", "reports"], "OPTIONS": {"RESULTS": "memory://"}}}
)
EAST_AND_WEST = pytest.mark.parametrize("zone", ["America/Chicago", "Asia/Kathmandu"])


@pytest.fixture(autouse=True)
def _an_empty_broker() -> Any:
    empty_the_broker()
    yield
    empty_the_broker()


# --- 39, 40


def numbers_sent(monkeypatch: pytest.MonkeyPatch, **conf: Any) -> dict[int, Any]:
    """Return the broker's number for each priority of Django's, as enqueueing sends them."""
    sent: list[Any] = []
    with configured(the_app(), **conf), monkeypatch.context() as patched:
        # Nobody is there to connect to.
        connection = mock.Mock(_reraise_as_library_errors=nullcontext)
        patched.setattr(publish, "sending", lambda app, *, within: nullcontext(mock.Mock(connection=connection)))
        patched.setattr(the_app().amqp, "send_task_message", lambda *args, priority, **options: sent.append(priority))
        for priority in RANGE:
            result = jobs.note.using(priority=priority).enqueue()
            assert jobs.note.get_result(result.id).task.priority == priority
    assert {type(number) for number in sent} == {int}
    return dict(zip(RANGE, sent, strict=True))


@RECORDS_IN_MEMORY
def test_39_on_redis_larger_priorities_are_sent_as_smaller_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    # kombu's transport clamps to 0..9 and serves the smallest first.
    steps = {"broker_transport_options": {"priority_steps": list(range(10))}}
    for options in ({}, steps):
        sent = numbers_sent(monkeypatch, broker_url="redis://x", **options)
        ordered = [sent[priority] for priority in RANGE]
        assert ordered == sorted(ordered, reverse=True)
        assert (sent[100], sent[-100]) == (0, 9)
        assert sent[1] < sent[0] < sent[-1]


@RECORDS_IN_MEMORY
def test_39_on_rabbitmq_larger_priorities_are_sent_as_larger_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = numbers_sent(monkeypatch, broker_url="amqp://x", task_queue_max_priority=10)
    ordered = [sent[priority] for priority in RANGE]
    assert ordered == sorted(ordered)
    assert (sent[100], sent[-100]) == (10, 0)
    assert sent[-1] < sent[0] < sent[1]


def test_39_a_priority_is_sent_where_none_is_asked_for() -> None:
    # Without one a message counts as 0, which Redis serves before all others.
    jobs.note.enqueue()
    with the_app().connection_for_write() as connection, connection.SimpleQueue("default") as there:
        message = there.get(block=False)
        message.ack()
    assert message.properties["priority"] == 5


@RECORDS_IN_MEMORY
@pytest.mark.parametrize("broker", ["amqp://x", "sqs://x", "filesystem://x"])
async def test_40_where_a_broker_has_no_priorities_none_can_be_asked_for(broker: str) -> None:
    early = jobs.note.using(priority=1)
    with configured(the_app(), broker_url=broker):
        assert task_backends["default"].supports_priority is False
        for ask in (lambda: jobs.note.using(priority=1), early.enqueue):
            with pytest.raises(InvalidTask, match="does not support setting priority"):
                ask()
        with pytest.raises(InvalidTask, match="does not support setting priority"):
            await early.aenqueue()
        assert jobs.note.using(priority=0).priority == 0


@RECORDS_IN_MEMORY
@pytest.mark.parametrize(
    "conf", [{"broker_url": "redis://x"}, {"broker_url": "amqp://x", "task_queue_max_priority": 5}]
)
def test_40_where_it_has_them_the_backend_says_so(conf: dict[str, Any]) -> None:
    with configured(the_app(), **conf):
        assert task_backends["default"].supports_priority is True


# --- 41, 42, 43


@pytest.mark.parametrize(
    ("zone", "use_tz"), [("America/Chicago", True), ("America/Chicago", False), ("Asia/Kathmandu", False)]
)
def test_41_a_task_is_not_early(zone: str, use_tz: bool) -> None:
    with override_settings(USE_TZ=use_tz, TIME_ZONE=zone), a_worker(), a_heartbeat():
        due = timezone.now() + timedelta(seconds=0.5)
        result = jobs.note.using(run_after=due).enqueue()
        # Behind it in the queue, and done before it.
        assert finished(jobs.note.enqueue()).finished_at < due
        result.refresh()
        assert result.status == TaskResultStatus.READY
        assert due <= finished(result).started_at < due + timedelta(seconds=15)


@pytest.mark.parametrize("use_tz", [True, False], ids=["aware", "naive"])
def test_41_a_time_that_is_none_is_refused(use_tz: bool) -> None:
    with override_settings(USE_TZ=use_tz):
        for odd in ("2100-01-01T00:00:00+00:00", 3600):
            with pytest.raises(InvalidTask, match="run_after"):
                jobs.note.using(run_after=odd)


@pytest.mark.parametrize("use_tz", [True, False], ids=["aware", "naive"])
@MEMORY_AND_REDIS
def test_41_a_timedelta_counts_from_enqueue_on(keep: Any, use_tz: bool) -> None:
    # docs/ref/tasks.txt allows one, where Django's own validation breaks.
    with override_settings(USE_TZ=use_tz), keep():
        task = jobs.note.using(run_after=timedelta(hours=1))
        before = timezone.now()
        result = task.enqueue()
        assert before <= result.task.run_after - timedelta(hours=1) <= timezone.now()
        assert timezone.is_aware(result.task.run_after) is use_tz
        assert jobs.note.get_result(result.id) == result


@MEMORY_AND_REDIS
def test_42_a_record_that_waits_for_its_time_outlives_result_expires(keep: Any) -> None:
    with keep(), configured(the_app(), result_expires=0.2):
        late = jobs.note.using(run_after=timezone.now() + timedelta(days=2)).enqueue()
        soon = jobs.note.enqueue()  # after it, so that what is gone first would be the other

        def has_expired() -> bool:
            try:
                soon.refresh()
            except TaskResultDoesNotExist:
                return True
            return False

        until(has_expired)
        late.refresh()
        assert late.status == TaskResultStatus.READY


@MEMORY_AND_REDIS
def test_42_a_task_that_waits_for_its_time_is_no_message(keep: Any) -> None:
    with keep():
        result = jobs.note.using(run_after=timezone.now() + timedelta(days=2)).enqueue()
        assert waiting("default") == 0
        assert result.status == TaskResultStatus.READY
        record = task_backends["default"].results.store.get(result.id)
        assert (record.held, record.due) == (True, result.task.run_after)


def test_42_a_message_that_is_delivered_again_does_not_run_again() -> None:
    # What Redis does to a message that waits for longer than the visibility timeout.
    with a_worker(), a_heartbeat(), listening() as heard:
        result = jobs.note.using(run_after=timezone.now() + timedelta(seconds=0.3)).enqueue()
        for _ in range(3):
            the_app().send_task(
                "tests.contract.jobs.note", task_id=result.id, queue="default", eta=result.task.run_after
            )
        finished(result)
        last = jobs.note.using(run_after=timezone.now() + timedelta(seconds=0.3)).enqueue()
        signals_of(heard, finished(last))
    assert [one.signal for one in heard if one.id == result.id].count("task_started") == 1
    assert jobs.note.get_result(result.id).attempts == 1


@pytest.mark.parametrize("use_tz", [True, False], ids=["aware", "naive"])
@MEMORY_AND_REDIS
@EAST_AND_WEST
def test_43_times_are_aware_exactly_if_use_tz_and_never_hours_off(zone: str, keep: Any, use_tz: bool) -> None:
    with override_settings(USE_TZ=use_tz, TIME_ZONE=zone), keep(), eagerly():
        result = jobs.note.using(run_after=timezone.now()).enqueue()
        read = jobs.note.get_result(result.id)
        assert read == result
        names = ("enqueued_at", "started_at", "last_attempted_at", "finished_at")
        for moment in [getattr(read, name) for name in names] + [read.task.run_after]:
            assert timezone.is_aware(moment) is use_tz
            assert abs((timezone.now() - moment).total_seconds()) < 5


@MEMORY_AND_REDIS
@EAST_AND_WEST
def test_43_an_aware_run_after_is_the_projects_local_time_without_use_tz(zone: str, keep: Any) -> None:
    due = datetime(2100, 1, 1, 12, tzinfo=UTC)
    with override_settings(USE_TZ=False, TIME_ZONE=zone), keep():
        result = jobs.note.using(run_after=due).enqueue()
        assert timezone.is_naive(result.task.run_after)
        assert timezone.make_aware(result.task.run_after, timezone.get_default_timezone()) == due
        assert jobs.note.get_result(result.id) == result
        held = task_backends["default"].results.store.get(result.id).due
        assert timezone.make_aware(held, timezone.get_default_timezone()) == due


# --- 44, 45, 46


@pytest.mark.parametrize("celerys", ["celery", "other"])
def test_44_default_is_a_queue_named_default_whatever_celerys_own_is_called(celerys: str) -> None:
    with configured(the_app(), task_default_queue=celerys):
        result = jobs.note.enqueue()
        assert (waiting("default"), waiting(celerys)) == (1, 0)
        assert jobs.note.get_result(result.id).task.queue_name == "default"


def test_44_a_worker_that_was_told_no_queues_listens_to_those_in_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(the_app().amqp.queues, "_consume_from", None)
    with a_worker():
        assert [finished(task.enqueue()).is_finished for task in (jobs.note, jobs.report)] == [True, True]


def test_45_without_queues_any_name_goes() -> None:
    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": []}}):
        result = jobs.note.using(queue_name="whatever I like").enqueue()
        assert waiting("whatever I like") == 1
        assert jobs.note.get_result(result.id).task.queue_name == "whatever I like"
    with pytest.raises(InvalidTask, match="Queue 'whatever I like' is not valid for backend"):
        jobs.note.using(queue_name="whatever I like")


def test_45_without_queues_a_worker_listens_to_those_that_its_tasks_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # It was told none, and Celery's own is called celery: the tasks would wait for ever.
    monkeypatch.setattr(the_app().amqp.queues, "_consume_from", None)
    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": []}}), a_worker():
        assert [finished(task.enqueue()).is_finished for task in (jobs.note, jobs.report)] == [True, True]


@MEMORY_AND_REDIS
async def test_46_a_result_stays_readable_after_its_queue_has_gone_from_queues(keep: Any) -> None:
    # The choice: what was asked for is told as it was. A result is no task that is to be run again.
    with keep():
        result = jobs.report.enqueue()
        with override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": ["default"]}}):
            read = jobs.report.get_result(result.id)
            assert (read, read.task.queue_name) == (result, "reports")
            read.refresh()
            await read.arefresh()
            assert await jobs.report.aget_result(result.id) == result
            with pytest.raises(InvalidTask, match="Queue 'reports' is not valid"):
                read.task.enqueue()
