"""A call becomes its result and its record, and nothing else happens: what is refused, what is kept, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from tasks_celery.compat import TaskResult, TaskResultStatus, task_backends
from tasks_celery.context import Context, asking
from tasks_celery.moments import to_aware
from tasks_celery.publish.prepare import Prepared, expiry, prepare, ready_result
from tasks_celery.results import CeleryTaskResult, to_result
from tests.shop import tasks
from tests.shop.brokers import a_broker_that
from tests.shop.running import configured, eagerly, listening, the_app, the_store

BACKEND = "tasks_celery.CeleryBackend"
NOWHERE = {"result_backend": None, "broker_url": "amqp://nobody@localhost:1//"}


@pytest.fixture(autouse=True)
def _nothing_else_happens() -> Iterator[None]:
    known = set(the_store()._records)
    with listening() as heard, a_broker_that(lambda record: None) as tried:
        yield
    assert (set(the_store()._records), heard, tried) == (known, [], [])


def prepared(task: Any, *args: Any, **kwargs: Any) -> Prepared:
    return prepare(task_backends["default"], task, args, kwargs)


# --- refusals


def test_arguments_that_json_cannot_hold_are_refused() -> None:  # contract 13
    with pytest.raises(TypeError, match="Unsupported type"):
        prepared(tasks.echo, {1})
    with pytest.raises(ValueError, match="Unsupported value"):
        prepared(tasks.echo, key=b"\xff")
    with pytest.raises(ValueError, match="__type__"):
        prepared(tasks.echo, [{"a": {"__type__": "x", "__value__": 1}}])


def test_a_time_beyond_the_last_year_is_refused() -> None:
    with pytest.raises(ValueError, match="9999"):
        prepared(tasks.echo.using(run_after=timedelta(days=365 * 9_000)))


# --- the result and its record


def test_the_result_is_what_is_read_from_the_record() -> None:  # contract 4
    made = prepared(tasks.urgent.using(priority=3), 1, key=(b"x",))
    assert to_result(made.record, tasks.urgent) == made.result
    assert isinstance(made.result, CeleryTaskResult | TaskResult)
    assert type(made.result) is CeleryTaskResult
    assert (made.result.status, made.result.args, made.result.kwargs) == (TaskResultStatus.READY, [1], {"key": ["x"]})
    assert made.twin is tasks.urgent.celery


def test_the_record_says_what_was_asked() -> None:
    with asking(lambda: Context(user="7", language="de")):
        record = prepared(tasks.urgent).record
    assert (record.name, record.path, record.alias) == ("tests.shop.tasks.urgent", "tests.shop.tasks.urgent", "default")
    assert (record.queue_name, record.priority, record.status, record.resent) == ("reports", 50, "READY", 0)
    assert record.context == {"user": "7", "language": "de"}
    assert (record.run_after, record.due, record.held, record.expires) == (None, record.enqueued_at, False, None)
    assert (dict(record.sending), record.unique) == ({}, "")
    assert prepared(tasks.renamed).record.name == "shop.renamed"


def test_ids_are_32_hexadecimal_digits_of_their_own() -> None:  # contract 11
    ids = {prepared(tasks.add, 1).record.id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(bytes.fromhex(each)) == 16 for each in ids)
    assert ready_result(tasks.add, [], {}, alias="default", result_id="my own").id == "my own"


def test_what_the_caller_does_to_his_arguments_later_changes_nothing() -> None:  # contract 23
    items, options = [1], {"a": [2]}
    made = prepared(tasks.echo, items, **options)
    items.append(9)
    options["a"].append(9)
    assert (made.record.args, made.record.kwargs) == ([[1]], {"a": [2]})
    assert (made.result.args, made.result.kwargs) == ([[1]], {"a": [2]})


def test_what_a_call_asks_of_its_message_is_kept_for_who_sends_it() -> None:
    task = tasks.echo.using(time_limit=9, soft_time_limit=7, compression="gzip", ignore_result=True)
    assert dict(prepared(task).record.sending) == {
        "time_limit": 9,
        "soft_time_limit": 7,
        "compression": "gzip",
        "ignore_result": True,
    }


def test_the_key_of_a_unique_task_is_made_once_for_all() -> None:
    task = tasks.add.using(unique=True)
    one, same, other = (prepared(task, number).record for number in (1, 1, 2))
    assert one.unique == same.unique != other.unique
    assert (one.unique_until, one.unique_expires) == ("finish", None)


# --- until when


@pytest.mark.parametrize("use_tz", [True, False], ids=["aware", "naive"])
@pytest.mark.parametrize(
    "asked",
    [60, 60.0, timedelta(seconds=60), lambda: datetime.now(UTC) + timedelta(seconds=60)],
    ids=["int", "float", "timedelta", "datetime"],
)
def test_it_expires_counted_from_now(asked: Any, use_tz: bool) -> None:
    with override_settings(USE_TZ=use_tz, TIME_ZONE="Asia/Kathmandu"):
        made = prepared(tasks.echo.using(expires=asked() if callable(asked) else asked)).record
        assert timezone.is_aware(made.expires) is use_tz
        assert abs((to_aware(made.expires) - datetime.now(UTC)).total_seconds() - 60) < 5
        assert "expires" not in made.sending


def test_what_the_task_says_of_expiry_holds_where_the_call_says_nothing() -> None:
    task = tasks.fleeting
    for asked, seconds in ((task, 1), (task.using(expires=60), 60)):
        record = prepared(asked).record
        assert (record.expires - record.enqueued_at).total_seconds() == pytest.approx(seconds, abs=0.5)
    assert expiry(None, prepared(task).result) is None


# --- when


@pytest.mark.parametrize("use_tz", [True, False], ids=["aware", "naive"])
@pytest.mark.parametrize("zone", ["America/Chicago", "Asia/Kathmandu"])
def test_a_task_of_the_future_is_held_until_then(zone: str, use_tz: bool) -> None:  # contract 41, 43
    with override_settings(USE_TZ=use_tz, TIME_ZONE=zone):
        due = timezone.now() + timedelta(hours=1)
        made = prepared(tasks.add.using(run_after=due))
        assert (made.record.held, made.record.run_after, made.record.due) == (True, due, due)
        assert made.result.task.run_after == due
        assert to_result(made.record, tasks.add) == made.result


@pytest.mark.parametrize("use_tz", [True, False], ids=["aware", "naive"])
def test_a_timedelta_is_a_moment_from_now(use_tz: bool) -> None:
    with override_settings(USE_TZ=use_tz, TIME_ZONE="America/Chicago"):
        task = tasks.add.using(run_after=timedelta(minutes=5))
        for _ in range(2):  # the task itself stays as it is, for the next call
            before = timezone.now()
            made = prepared(task)
            assert before <= made.record.run_after - timedelta(minutes=5) <= timezone.now()
            assert made.result.task.run_after == made.record.run_after
            assert made.record.held
        assert task.run_after == timedelta(minutes=5)


@pytest.mark.parametrize("past", [timedelta(0), timedelta(seconds=-1), timedelta(days=-900)], ids=str)
def test_what_is_due_already_is_not_held(past: timedelta) -> None:
    for asked in (timezone.now() + past, past):
        record = prepared(tasks.add.using(run_after=asked)).record
        assert (record.held, record.due) == (False, record.run_after)


@contextmanager
def nowhere() -> Iterator[None]:
    with configured(the_app(), **NOWHERE), override_settings(TASKS={"default": {"BACKEND": BACKEND}}):
        yield


@pytest.mark.parametrize("where", [eagerly, nowhere])
def test_where_it_runs_at_once_or_is_kept_nowhere_it_is_not_held(where: Any) -> None:  # contract 20
    with where():
        assert not prepared(tasks.add.using(run_after=timedelta(hours=1))).record.held
