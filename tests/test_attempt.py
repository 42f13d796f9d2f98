"""One attempt of a task: when it is tried again, what its context can do, and its transaction."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from celery.exceptions import MaxRetriesExceededError, Retry
from celery.utils.nodenames import gethostname
from django.contrib.auth.models import Group
from django.db import connection
from django.test import override_settings

from tasks_celery import StoreError, TaskOptions, attempt
from tasks_celery.attempt import CeleryTaskContext
from tasks_celery.compat import TaskContext, TaskResultStatus
from tasks_celery.stores import Record
from tests.shop import attempts, tasks
from tests.shop.running import eagerly, finished, listening, signals_of, the_store, until
from tests.stores.making import a_record

worked = pytest.mark.usefixtures("quiet_worker")
SUCCESSFUL, FAILED = TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED


def errors_of(result: Any) -> list[str]:
    return [error.exception_class_path.rpartition(".")[2] for error in result.errors]


def a_context(store: Any = None) -> CeleryTaskContext:
    result = mock.Mock(id="an-id", attempts=1)
    return CeleryTaskContext(task_result=result, store=store or mock.Mock())


# --- refusals


@pytest.mark.parametrize("countdown", [-1, float("nan"), float("inf"), timedelta(seconds=-1)])
def test_a_countdown_that_is_no_time_to_wait_is_refused(countdown: Any) -> None:
    with pytest.raises(
        ValueError, match=r"context\.retry\(countdown=…\) is .*; it has to be a number of seconds from 0 on"
    ):
        a_context().retry(countdown=countdown)


@pytest.mark.parametrize(("option", "value"), [("countdown", "5"), ("countdown", True), ("eta", 5), ("eta", "noon")])
def test_a_time_of_the_wrong_kind_is_refused(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"{option}=.*it has to be a"):
        a_context().retry(**{option: value})


def test_a_countdown_and_an_eta_are_refused_together() -> None:
    with pytest.raises(ValueError, match="a countdown or an eta, not both"):
        a_context().retry(countdown=1, eta=datetime.now(UTC))


@worked
def test_a_task_that_asks_badly_fails_with_what_is_wrong_and_is_not_run_again() -> None:
    result = finished(attempts.ask_badly.enqueue(countdown=-5))
    assert (result.status, errors_of(result), result.attempts) == (FAILED, ["ValueError"], 1)


@worked
def test_a_backoff_that_returns_no_seconds_fails_the_task_and_says_so() -> None:
    result = finished(attempts.wait_nonsense.enqueue())
    assert (result.status, errors_of(result)) == (FAILED, ["TypeError"])
    assert "ValueError: again" in result.errors[0].traceback
    assert "returned is 'soon'; it has to be a number of seconds" in result.errors[0].traceback


@worked
def test_a_function_that_breaks_down_fails_the_task_and_keeps_the_error_before_it() -> None:
    result = finished(attempts.pick_badly.enqueue())
    assert (result.status, errors_of(result)) == (FAILED, ["RuntimeError"])
    assert "ValueError: as it was" in result.errors[0].traceback


# --- what is tried again


@worked
@pytest.mark.parametrize(
    ("kind", "message", "runs"),
    [
        ("ValueError", "the row is locked", 3),
        ("KeyError", "whatever", 3),
        ("ValueError", "something else", 1),
        ("ValueError", "locked and forbidden", 1),
        ("KeyError", "forbidden", 1),
    ],
)
def test_a_function_tells_by_the_exception_whether_it_is_tried_again(kind: str, message: str, runs: int) -> None:
    with listening() as heard:
        result = finished(attempts.pick.enqueue(kind, message))
        told = signals_of(heard, result)
    assert (result.status, errors_of(result)) == (FAILED, [kind] * runs)
    assert result.worker_ids == [gethostname()] * runs
    assert the_store().get(result.id).retries == runs - 1
    assert told == [
        ("task_enqueued", "READY"),
        *[("task_started", "RUNNING")] * runs,
        ("task_finished", "FAILED"),
    ]


@worked
def test_what_is_recorded_is_what_celerys_own_retry_leaves() -> None:
    ours, celerys = finished(attempts.pick.enqueue("KeyError", "again")), finished(tasks.stumble.enqueue())
    mine, theirs = the_store().get(ours.id), the_store().get(celerys.id)
    for name in ("status", "retries", "worker_ids", "held", "resent", "return_value"):
        assert getattr(mine, name) == getattr(theirs, name), name
    assert [(error.exception_class_path, error.attempt) for error in mine.errors] == [
        (error.exception_class_path, error.attempt) for error in theirs.errors
    ]
    assert ours.errors[2].traceback.endswith("KeyError: 'again'\n")


@worked
def test_what_a_task_rejects_is_not_tried_again() -> None:
    result = finished(attempts.turn_down.enqueue())
    assert (result.status, errors_of(result), result.attempts) == (FAILED, ["Reject"], 1)


@worked
def test_a_coroutine_is_tried_again_too() -> None:
    result = finished(attempts.pick_later.enqueue())
    assert errors_of(result) == ["ValueError"] * 4


@worked
def test_a_backoff_of_none_ends_the_task() -> None:
    result = finished(attempts.wait_as_told.enqueue(None))
    assert (result.status, errors_of(result)) == (FAILED, ["ValueError"])


@worked
def test_a_backoff_tells_by_the_exception_and_the_retries_how_long_to_wait() -> None:
    asked = attempt._asked_backoff
    with mock.patch.object(attempt, "_asked_backoff", side_effect=asked) as seen:
        result = finished(attempts.wait_squares.enqueue())
    assert errors_of(result) == ["ValueError"] * 4
    assert [call.args[2] for call in seen.call_args_list] == [0, 1, 2, 3]
    assert result.finished_at - result.started_at >= timedelta(seconds=0.01 + 0.04 + 0.09)


@worked
def test_between_two_attempts_a_task_is_ready_and_due_when_it_is_tried_again() -> None:
    result = attempts.wait_as_told.enqueue(30)
    record = until_retried(result)
    assert (record.status, record.retries, errors_of(result)) == ("READY", 1, ["Busy"])
    assert timedelta(seconds=25) < record.due - record.last_attempted_at <= timedelta(seconds=31)
    assert record.finished_at is None


def until_retried(result: Any) -> Record:
    until(lambda: the_store().get(result.id).errors)
    result.refresh()
    record: Record = the_store().get(result.id)
    return record


@pytest.mark.parametrize(
    ("options", "retries", "expected"),
    [
        ({}, 5, {None}),
        ({"retry_backoff": False}, 5, {None}),
        ({"retry_backoff": True, "retry_jitter": False}, 3, {8}),
        ({"retry_backoff": 5, "retry_jitter": False}, 3, {40}),
        ({"retry_backoff": 5, "retry_jitter": False}, 30, {600}),
        ({"retry_backoff": 5, "retry_jitter": False, "retry_backoff_max": 60}, 30, {60}),
        ({"retry_backoff": True}, 1, {0, 1, 2}),
    ],
)
def test_a_backoff_in_numbers_is_celerys_beside_functions_too(options: Any, retries: int, expected: set[Any]) -> None:
    parsed = TaskOptions(autoretry_for=(attempts.is_locked,), **options)
    assert parsed.retries_by_function
    assert {attempt._backoff(parsed, retries) for _ in range(200)} == expected


def test_a_function_is_not_asked_about_what_is_no_exception() -> None:
    def never(error: BaseException) -> bool:
        raise AssertionError(error)

    assert not attempt._is_meant(SystemExit(), (never,))
    assert attempt._is_meant(SystemExit(), (never, SystemExit))


# --- the context


@worked
def test_a_task_is_given_a_context_of_ours_that_is_djangos() -> None:
    assert isinstance(a_context(), TaskContext)
    assert finished(tasks.tell.enqueue("hello")).return_value["attempt"] == 1


@worked
@pytest.mark.parametrize("made", [attempts.ask_again, attempts.ask_again_later], ids=["function", "coroutine"])
def test_a_task_that_asks_for_it_is_run_again(made: Any) -> None:
    with listening() as heard:
        result = finished(made.enqueue())
        told = signals_of(heard, result)
    assert (result.return_value, result.attempts, errors_of(result)) == (3, 3, ["Retry"] * 2)
    assert the_store().get(result.id).retries == 2
    assert told == [
        ("task_enqueued", "READY"),
        *[("task_started", "RUNNING")] * 3,
        ("task_finished", "SUCCESSFUL"),
    ]


@worked
def test_a_task_that_asks_too_often_has_failed() -> None:
    result = finished(attempts.ask_again.enqueue(until=9))
    assert (result.status, result.attempts) == (FAILED, 3)
    assert errors_of(result) == ["Retry", "Retry", MaxRetriesExceededError.__name__]
    assert result.errors[2].traceback.endswith("asked to be run again, and its 2 retries are used up.\n")


@worked
def test_what_was_being_handled_is_the_error_of_the_attempt_and_keeps_its_cause() -> None:
    result = finished(attempts.ask_again_for_good_reason.enqueue())
    assert (result.status, errors_of(result)) == (FAILED, ["Busy", "Busy"])
    for error in result.errors:
        assert "KeyError: 'the cause'" in error.traceback
        assert "direct cause" in error.traceback
        assert "RetryAsked" not in error.traceback
        assert error.traceback.endswith("Busy: busy for 1 s\n")


@worked
def test_a_task_that_catches_its_own_retry_is_not_run_again() -> None:
    result = finished(attempts.ask_and_catch.enqueue())
    assert (result.return_value, result.attempts) == ("caught", 1)
    assert finished(tasks.add.enqueue(1)).return_value == 1
    assert attempts.ask_and_catch.get_result(result.id).attempts == 1


@worked
def test_a_retry_is_due_when_the_task_says() -> None:
    result = attempts.ask_again.enqueue(countdown=40)
    record = until_retried(result)
    assert timedelta(seconds=35) < record.due - record.last_attempted_at <= timedelta(seconds=41)


@pytest.mark.parametrize("use_tz", [True, False])
def test_an_eta_is_in_the_projects_time(use_tz: bool) -> None:
    # Celery would read a naive one as UTC.
    with override_settings(USE_TZ=use_tz, TIME_ZONE="America/Lima"), pytest.raises(Retry) as caught:
        a_context().retry(eta=datetime(2030, 1, 1, 12, tzinfo=None if not use_tz else UTC))
    assert caught.value.eta == datetime(2030, 1, 1, 12 if use_tz else 17, tzinfo=UTC)
    assert caught.value.when == caught.value.eta


def test_a_timedelta_is_a_countdown() -> None:
    with pytest.raises(Retry) as caught:
        a_context().retry(countdown=timedelta(minutes=2))
    assert (caught.value.countdown, caught.value.when) == (120, 120)


def test_the_given_exception_is_the_error() -> None:
    error = KeyError("x")
    with pytest.raises(Retry) as caught:
        a_context().retry(exc=error)
    assert caught.value.exc is error


def test_a_context_reads_once_each_time_whether_the_task_is_cancelled() -> None:
    store = mock.Mock()
    store.get.side_effect = [a_record(cancelled=False), a_record(cancelled=True), None]
    context = a_context(store)
    assert [context.is_cancelled() for _ in range(3)] == [False, True, False]
    assert store.mock_calls == [mock.call.get("an-id")] * 3


@worked
@pytest.mark.parametrize(
    "made", [attempts.look_for_cancel, attempts.look_for_cancel_later], ids=["function", "coroutine"]
)
def test_a_running_task_learns_that_it_is_cancelled(made: Any) -> None:
    assert finished(made.enqueue()).return_value in (False, [False, False])
    store = the_store()
    real = store.get
    with mock.patch.object(type(store), "get", lambda self, id_: replace(real(id_), cancelled=True)):
        result = finished(made.enqueue())
    assert result.return_value in (True, [True, True])


def test_a_store_that_does_not_answer_is_logged_and_the_task_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    store = mock.Mock()
    store.get.side_effect = StoreError("away")
    with caplog.at_level(logging.WARNING, "tasks_celery"):
        assert a_context(store).is_cancelled() is False
    assert "an-id cannot learn whether it is cancelled: away" in caplog.text


# --- transactions


outside_a_transaction = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["memory", "database"])
def eager(request: pytest.FixtureRequest) -> Any:
    options = {"RESULTS": "database://"} if request.param == "database" else {}
    tasks_setting = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "OPTIONS": options}}
    with override_settings(TASKS=tasks_setting), eagerly():
        yield


def groups() -> list[str]:
    return sorted(Group.objects.values_list("name", flat=True))


@outside_a_transaction
@pytest.mark.usefixtures("eager")
def test_a_task_that_fails_in_its_transaction_leaves_its_record_and_nothing_else() -> None:
    result = attempts.add_group.enqueue("gone", fails=True)
    assert (result.status, errors_of(result), groups()) == (FAILED, ["ValueError"], [])
    assert attempts.add_group.get_result(result.id).status == FAILED
    assert attempts.add_group.enqueue("kept").status == SUCCESSFUL
    assert groups() == ["kept"]


@outside_a_transaction
@pytest.mark.usefixtures("eager")
def test_a_retry_takes_back_what_the_attempt_wrote() -> None:
    result = attempts.add_group_again.enqueue("attempt")
    assert (result.status, result.attempts, errors_of(result)) == (SUCCESSFUL, 2, ["Retry"])
    assert groups() == ["attempt 2"]
    result = attempts.add_group_and_fail.enqueue("never")
    assert (result.status, errors_of(result)) == (FAILED, ["ValueError"] * 2)
    assert groups() == ["attempt 2"]


@outside_a_transaction
@pytest.mark.usefixtures("eager")
def test_without_atomic_what_was_written_stays() -> None:
    assert attempts.add_group_plainly.enqueue("stays").status == FAILED
    assert groups() == ["stays"]


@outside_a_transaction
def test_the_next_message_is_sent_when_the_transaction_is_over() -> None:
    seen: list[bool] = []
    twin = attempts.add_group_again.celery
    real = twin.retry

    def look(**options: Any) -> Any:
        seen.append(connection.in_atomic_block)
        return real(**options)

    with eagerly(), mock.patch.object(type(twin), "retry", side_effect=look):
        attempts.add_group_again.enqueue("attempt")
    assert seen == [False]
