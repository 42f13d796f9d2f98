"""What happens in a worker: a solo one runs in a thread of this process and answers through results and signals."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from billiard.common import _shutdown_cleanup
from celery.exceptions import Ignore, Reject, Retry
from celery.utils.nodenames import gethostname
from django.test import override_settings
from django.utils import timezone

from tasks_celery import StoreError, results, worker
from tasks_celery.compat import API_MODULE, TaskResultStatus, task_backends, task_finished, task_started
from tasks_celery.context import Context, asking
from tasks_celery.heartbeat import Heartbeat
from tests.shop import gate, tasks, views
from tests.shop.running import finished, listening, records_in_redis, signals_of, the_app, the_store, until
from tests.stores.cases import a_record

BACKEND = "tasks_celery.CeleryBackend"

pytestmark = pytest.mark.usefixtures("quiet_worker")


# --- what must not end in anything but a FAILED result


@pytest.mark.parametrize(
    ("task", "kind", "last_line"),
    [
        (tasks.fail, "builtins.ValueError", "ValueError: no paper\n"),
        (tasks.leave, "builtins.SystemExit", "SystemExit: 3\n"),
        (tasks.interrupt, "builtins.KeyboardInterrupt", "KeyboardInterrupt\n"),
        (tasks.raise_unheard, "tests.shop.tasks.Unheard", "tests.shop.tasks.Unheard: of\n"),
        (tasks.raise_awkward, "tests.shop.tasks.Awkward", "tests.shop.tasks.Awkward: 1 and 2\n"),
        (tasks.run_out_of_memory, "builtins.MemoryError", "MemoryError: too much\n"),
        (tasks.turn_down, "celery.exceptions.Ignore", "not today\n"),
        (tasks.send_back, "celery.exceptions.Reject", "('not for me', False)\n"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_whatever_a_task_raises_is_a_failed_result_and_the_worker_lives(task: Any, kind: str, last_line: str) -> None:
    # contract 24, 26, 37
    with listening() as heard:
        result = finished(task.enqueue())
        assert signals_of(heard, result) == [
            ("task_enqueued", "READY"),
            ("task_started", "RUNNING"),
            ("task_finished", "FAILED"),
        ]
    assert result.status == TaskResultStatus.FAILED
    (error,) = result.errors
    assert error.exception_class_path == kind
    assert issubclass(error.exception_class, BaseException)
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert "tests/shop/tasks.py" in error.traceback
    assert error.traceback.endswith(last_line)
    assert finished(tasks.add.enqueue(1, 1)).return_value == 2


def test_wrong_arguments_are_a_failed_result() -> None:  # contract 16
    result = finished(tasks.add.enqueue("too", "many", "arguments"))
    assert [error.exception_class_path for error in result.errors] == ["builtins.TypeError"]


@pytest.mark.parametrize("task", [tasks.give_lambda, tasks.give_date], ids=lambda task: task.name)
def test_a_return_value_that_json_cannot_hold_is_a_failed_result(task: Any) -> None:  # contract 25
    result = finished(task.enqueue())
    assert result.status == TaskResultStatus.FAILED
    assert result.errors[0].exception_class is TypeError
    assert "Unsupported type" in result.errors[0].traceback


@pytest.mark.parametrize("value", ["no such type", "datetime"])
def test_a_dict_that_kombu_would_decode_reaches_the_task_as_it_is_or_is_refused(value: str) -> None:  # contract 14
    given = {"__type__": value, "__value__": "2026-01-01T00:00:00"}
    try:
        result = tasks.echo.enqueue(given)
    except (TypeError, ValueError):
        return
    assert finished(result).return_value == [[given], {}]


# --- what an attempt leaves behind


def test_a_task_runs_and_tells_its_value() -> None:
    with listening() as heard:
        result = finished(tasks.add.enqueue(1, b=2))
        assert signals_of(heard, result) == [
            ("task_enqueued", "READY"),
            ("task_started", "RUNNING"),
            ("task_finished", "SUCCESSFUL"),
        ]
        assert {one.sender for one in heard} == {type(task_backends["default"])}  # contract 32
    assert (result.status, result.return_value, result.errors) == (TaskResultStatus.SUCCESSFUL, 3, [])
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert result.attempts == 1


def test_a_return_value_is_normalised() -> None:  # contract 25
    assert finished(tasks.give_tuple.enqueue()).return_value == [1, "two"]
    assert finished(tasks.give_numbered.enqueue()).return_value == {"1": "one"}


def test_a_refreshed_result_is_the_stored_one_in_every_field() -> None:  # contract 4, 55
    result = finished(tasks.urgent.using(priority=-3).enqueue())
    read = tasks.urgent.get_result(result.id)
    assert read == result
    assert (read.task.priority, read.task.queue_name) == (-3, "reports")
    again = finished(tasks.urgent.enqueue())
    with listening():
        again.refresh()
    assert again == tasks.urgent.get_result(again.id)


def test_somebody_else_sees_that_a_task_runs() -> None:  # contract 28
    gate.close()
    result = tasks.wait_at_gate.enqueue()
    assert gate.at_the_gate.wait(20)
    result.refresh()
    try:
        assert (result.status, result.finished_at) == (TaskResultStatus.RUNNING, None)
        assert result.worker_ids == [gethostname()]
        assert result.started_at == result.last_attempted_at
        assert result.started_at is not None
    finally:
        gate.opened.set()
    assert finished(result).return_value == "through"


def test_the_context_tells_the_attempt_and_is_no_argument() -> None:  # contract 28, 29, 30
    result = finished(tasks.tell.enqueue("hello"))
    assert result.return_value == {
        "id": result.id,
        "attempt": 1,
        "status": "RUNNING",
        "note": "hello",
        "started": True,
    }
    assert (result.args, result.kwargs) == (["hello"], {})


def test_retries_are_attempts_with_an_error_and_a_worker_each() -> None:  # contract 27
    with listening() as heard:
        result = finished(tasks.stumble.enqueue())
        told = signals_of(heard, result)
    assert result.status == TaskResultStatus.FAILED
    assert [error.exception_class_path for error in result.errors] == ["builtins.KeyError"] * 3
    assert result.worker_ids == [gethostname()] * 3
    assert (result.attempts, result.started_at < result.last_attempted_at) == (3, True)
    assert the_store().get(result.id).retries == 2
    assert told == [
        ("task_enqueued", "READY"),
        ("task_started", "RUNNING"),
        ("task_started", "RUNNING"),
        ("task_started", "RUNNING"),
        ("task_finished", "FAILED"),
    ]


def test_a_task_that_succeeds_at_last_keeps_the_errors_on_the_way() -> None:  # contract 27
    result = finished(tasks.third_time_lucky.enqueue())
    assert result.return_value == [3, 2, 3, 2]
    assert ["attempt 1" in result.errors[0].traceback, "attempt 2" in result.errors[1].traceback] == [True, True]


def test_a_retried_task_keeps_who_asked_and_when() -> None:
    with asking(lambda: Context(user="7")):
        result = tasks.third_time_lucky.using(priority=9).enqueue()
    enqueued_at = result.enqueued_at
    finished(result)
    assert (result.enqueued_at, result.task.priority) == (enqueued_at, 9)
    assert the_store().get(result.id).context["user"] == "7"


def test_a_message_that_was_sent_back_to_its_queue_runs_again() -> None:
    gate.close()
    with listening() as heard:
        result = finished(tasks.send_back_once.enqueue())
        told = signals_of(heard, result)
    assert (result.return_value, result.errors, result.attempts) == ("taken", [], 2)
    assert [signal for signal, _ in told].count("task_finished") == 1


def test_a_second_delivery_does_not_run_a_second_time(caplog: pytest.LogCaptureFixture) -> None:
    gate.close()
    result = tasks.wait_at_gate.enqueue()
    twin = tasks.wait_at_gate.celery
    the_app().send_task(twin.name, task_id=result.id, queue="default")
    assert gate.at_the_gate.wait(20)
    gate.opened.set()
    finished(result)
    assert finished(tasks.add.enqueue(1)).return_value == 1  # the worker has seen the duplicate by now
    assert tasks.wait_at_gate.get_result(result.id).attempts == 1
    assert "raised unexpected" not in caplog.text


def test_the_whole_story_rests_in_redis_too() -> None:  # contract 4, 25, 26, 27
    with records_in_redis():
        good, bad = finished(tasks.third_time_lucky.enqueue()), finished(tasks.stumble.enqueue())
        assert good.return_value == [3, 2, 3, 2]
        assert (len(good.errors), len(good.worker_ids)) == (2, 3)
        assert (len(bad.errors), bad.worker_ids) == (3, [gethostname()] * 3)
        assert bad.errors[2].traceback.endswith("KeyError: 'again'\n")
        for result in (good, bad):
            assert result.task.get_result(result.id) == result
        assert finished(tasks.give_tuple.enqueue()).return_value == [1, "two"]
        gone = finished(tasks.leave.enqueue())
        assert gone.errors[0].exception_class is SystemExit


# --- signals (contract 32-36)


def test_a_finished_task_can_be_read_as_such_by_who_hears_of_it() -> None:  # contract 35
    with listening() as heard:
        for task in (tasks.add, tasks.fail):
            result = finished(task.enqueue(1))
            signals_of(heard, result)
    assert [one.stored for one in heard if one.signal != "task_enqueued"] == [
        "RUNNING",
        "SUCCESSFUL",
        "RUNNING",
        "FAILED",
    ]


def test_celerys_own_result_is_there_when_the_end_is_announced() -> None:
    seen: list[str] = []

    def look(sender: type, task_result: Any, **kwargs: Any) -> None:
        seen.append(the_app().backend.get_task_meta(task_result.id, cache=False)["status"])

    task_finished.connect(look)
    try:
        for task in (tasks.add, tasks.fail):
            finished(task.enqueue(1))
        until(lambda: len(seen) == 2)
    finally:
        task_finished.disconnect(look)
    assert seen == ["SUCCESS", "FAILURE"]


def test_the_exception_is_at_hand_where_a_failure_is_announced() -> None:  # contract 33, 34
    with listening() as heard:
        for task in (tasks.fail, tasks.add, tasks.leave):
            signals_of(heard, finished(task.enqueue(1)))
    raised = [one.raised for one in heard if one.signal == "task_finished"]
    assert raised[1] is None
    assert raised[0] is ValueError
    assert raised[2] is not None


def test_one_error_is_logged_for_a_failure_and_none_for_a_success(caplog: pytest.LogCaptureFixture) -> None:
    # contract 33, 34
    with caplog.at_level(logging.DEBUG, API_MODULE), listening() as heard:
        good, bad = finished(tasks.add.enqueue(1)), finished(tasks.fail.enqueue())
        signals_of(heard, good), signals_of(heard, bad)
    ours = [entry for entry in caplog.records if entry.name == API_MODULE]
    failures = [entry for entry in ours if entry.levelno == logging.ERROR]
    assert [bad.id in entry.getMessage() for entry in failures] == [True]
    about_success = [entry for entry in ours if good.id in entry.getMessage()]
    assert len(about_success) == 3
    assert all(not entry.exc_info or entry.exc_info[0] is None for entry in about_success)
    if failures[0].exc_info:  # Django's own logger adds it, the backport's need not
        assert failures[0].exc_info[0] is ValueError


@pytest.mark.parametrize("signal", [task_started, task_finished])
def test_a_receiver_that_raises_hurts_nobody(signal: Any, caplog: pytest.LogCaptureFixture) -> None:  # contract 36
    def broken(**kwargs: Any) -> None:
        raise ValueError("deaf")

    with listening() as heard:
        signal.connect(broken)
        try:
            result = finished(tasks.add.enqueue(1, 2))
            told = signals_of(heard, result)
        finally:
            signal.disconnect(broken)
    assert (result.return_value, result.attempts) == (3, 1)
    assert told[-1] == ("task_finished", "SUCCESSFUL")
    until(lambda: f"Task id={result.id}: the signal receiver" in caplog.text)


# --- what travels


def test_who_asked_and_the_language_are_in_force_in_the_worker() -> None:
    with asking(lambda: Context(user="7", request_id="r1", language="de")):
        result = tasks.look_around.enqueue()
    assert finished(result).return_value == {"user": "7", "request_id": "r1", "language": "de"}
    after = finished(tasks.look_around.enqueue())
    assert after.return_value["user"] is None


def test_a_task_that_a_task_enqueued_belongs_to_who_asked_first() -> None:
    with asking(lambda: Context(user="7")):
        result = tasks.enqueue_another.enqueue(1)
    inner = finished(tasks.look_around.get_result(finished(result).return_value))
    assert inner.return_value["user"] == "7"


def test_who_asked_is_known_to_who_hears_of_the_end() -> None:
    from tasks_celery.context import current

    seen: list[str | None] = []

    def look(**kwargs: Any) -> None:
        seen.append(current().user)

    task_finished.connect(look)
    try:
        with asking(lambda: Context(user="7")):
            finished(tasks.fail.enqueue())
        until(lambda: seen)
    finally:
        task_finished.disconnect(look)
    assert seen == ["7"]


def test_async_tasks_run() -> None:  # contract 31
    assert finished(tasks.add_later.enqueue(1, 2)).return_value == 3


def test_a_renamed_task_runs_under_its_name() -> None:
    result = tasks.renamed.enqueue()
    assert finished(result).return_value == "still here"
    assert tasks.renamed.get_result(result.id).task.module_path == "tests.shop.tasks.renamed"


def test_a_task_outside_a_tasks_module_runs() -> None:
    assert finished(views.from_a_view.enqueue()).return_value == "found"


# --- time


@pytest.fixture
def moving() -> Iterator[None]:
    """Send what is due: a worker in a thread of the tests has no main process that would."""
    heartbeat = Heartbeat(task_backends["default"])
    heartbeat.begin()
    yield
    heartbeat.stop()


@pytest.mark.usefixtures("moving")
@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kathmandu"])
def test_a_naive_time_is_not_early_and_the_times_come_back_naive(zone: str) -> None:  # contract 41, 43
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        due = datetime.now() + timedelta(seconds=0.5)  # noqa: DTZ005
        result = finished(tasks.add.using(run_after=due).enqueue(1))
        assert result.started_at >= due
        assert result.started_at - due < timedelta(seconds=15)
        for moment in (result.enqueued_at, result.started_at, result.last_attempted_at, result.finished_at):
            assert timezone.is_naive(moment)
        assert result.enqueued_at <= result.started_at <= result.finished_at
        assert tasks.add.get_result(result.id) == result


# --- messages from elsewhere


def test_delay_runs_and_both_sides_can_read_it() -> None:
    sent = tasks.add.celery.delay(1, b=2)
    assert sent.get(timeout=20, disable_sync_subtasks=False) == 3
    assert finished(tasks.add.get_result(sent.id)).return_value == 3


def test_a_message_by_name_gets_a_record_on_first_sight() -> None:
    sent = the_app().send_task("tests.shop.tasks.echo", [1], {"key": 2}, queue="reports")
    until(lambda: the_store().get(sent.id))
    result = finished(tasks.echo.get_result(sent.id))
    assert (result.return_value, result.args, result.kwargs) == ([[1], {"key": 2}], [1], {"key": 2})
    assert (result.enqueued_at, result.task.queue_name, result.backend) == (None, "reports", "default")


def test_a_record_that_was_lost_is_made_again_from_the_message() -> None:
    gate.close()
    first = tasks.wait_at_gate.enqueue()
    assert gate.at_the_gate.wait(20)
    result = tasks.urgent.using(priority=-3).enqueue()
    enqueued_at = result.enqueued_at
    the_store()._forget(result.id)
    gate.opened.set()
    finished(first)
    until(lambda: the_store().get(result.id))
    read = finished(tasks.urgent.get_result(result.id))
    assert (read.return_value, read.enqueued_at) == ("done", enqueued_at)
    assert (read.task.priority, read.task.queue_name) == (-3, "reports")


def test_a_chain_goes_through() -> None:
    chain = tasks.add.celery.s(1, 2) | tasks.add.celery.s(b=10)
    assert chain.apply_async().get(timeout=20, disable_sync_subtasks=False) == 13


# --- the store is away


def test_a_task_runs_and_is_announced_though_the_store_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise StoreError("away")

    monkeypatch.setattr(results, "PAUSES", (0.01,))
    with listening() as heard:
        gate.close()
        first = tasks.wait_at_gate.enqueue()
        assert gate.at_the_gate.wait(20)
        good, bad = tasks.add.enqueue(1, 2), tasks.fail.enqueue()
        monkeypatch.setattr(the_store(), "claim", away)
        monkeypatch.setattr(the_store(), "settle", away)
        gate.opened.set()
        assert signals_of(heard, good)[1:] == [("task_started", "RUNNING"), ("task_finished", "SUCCESSFUL")]
        assert signals_of(heard, bad)[1:] == [("task_started", "RUNNING"), ("task_finished", "FAILED")]
        monkeypatch.undo()
    told = next(one.result for one in heard if one.id == good.id and one.signal == "task_finished")
    assert (told.return_value, told.args, told.enqueued_at) == (3, [1, 2], good.enqueued_at)
    assert f"Task id={good.id} starts without its record" in caplog.text
    assert f"Task id={good.id} ended SUCCESSFUL, which could not be recorded" in caplog.text
    assert first.id


def test_a_worker_waits_for_a_store_that_comes_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = {"claim": 2, "settle": 2}

    def soon_back(name: str) -> Any:
        real = getattr(the_store(), name)

        def call(*args: Any, **kwargs: Any) -> Any:
            failing[name] -= 1
            if failing[name] >= 0:
                raise StoreError("away")
            return real(*args, **kwargs)

        return call

    caplog.set_level(logging.WARNING, logger="tasks_celery")
    monkeypatch.setattr(results, "PAUSES", (0.01, 0.01))
    for name in failing:
        monkeypatch.setattr(the_store(), name, soon_back(name))
    with listening() as heard:
        result = tasks.add.enqueue(1, 2)
        assert signals_of(heard, result)[1:] == [("task_started", "RUNNING"), ("task_finished", "SUCCESSFUL")]
    result.refresh()
    assert (result.status, result.attempts, result.return_value) == ("SUCCESSFUL", 1, 3)
    assert failing == {"claim": -1, "settle": -1}
    assert caplog.text.count("is asked again in 0.01 s: away") == 4


# --- two aliases (contract 7)


@pytest.mark.parametrize("other", [{}, {"KEY_PREFIX": "other:"}], ids=["one store", "a store of its own"])
def test_a_task_of_another_alias_is_that_aliass_in_the_worker_too(other: dict[str, str]) -> None:
    taken = {"BACKEND": BACKEND, "QUEUES": []}
    with override_settings(TASKS={"default": taken, "other": taken | {"OPTIONS": other}}), listening() as heard:
        result = tasks.tell.using(backend="other").enqueue()
        assert result.backend == "other"
        finished(result)
        assert signals_of(heard, result)[-1] == ("task_finished", "SUCCESSFUL")
        assert {one.result.backend for one in heard} == {"other"}
        assert {one.result.task.backend for one in heard} == {"other"}
        read = task_backends["other"].get_result(result.id)
        assert (read.backend, read.task.backend, read.return_value["id"]) == ("other", "other", result.id)


# --- judged as a value


def judged(error: BaseException, *, requeued: bool = False) -> Any:
    record = a_record(worker_ids=("one",), status="RUNNING")
    return worker.judge(error, record, token="t", requeued=requeued)


@pytest.mark.parametrize(
    ("error", "requeued", "status", "kind"),
    [
        (ValueError("x"), False, "FAILED", "builtins.ValueError"),
        (MemoryError(), False, "FAILED", "builtins.MemoryError"),
        (SystemExit(1), False, "FAILED", "builtins.SystemExit"),
        (KeyboardInterrupt(), False, "FAILED", "builtins.KeyboardInterrupt"),
        (GeneratorExit(), False, "FAILED", "builtins.GeneratorExit"),
        (Retry(exc=ValueError("x")), False, "READY", "builtins.ValueError"),
        (Retry("later"), False, "READY", "celery.exceptions.Retry"),
        (Reject("x", requeue=False), True, "FAILED", "celery.exceptions.Reject"),
        (Reject("x", requeue=True), False, "FAILED", "celery.exceptions.Reject"),
        (Reject("x", requeue=True), True, "READY", None),
        (Ignore("x"), True, "FAILED", "celery.exceptions.Ignore"),
        (Ignore("Replaced by new task"), False, "READY", None),
    ],
    ids=repr,
)
def test_each_ending_is_judged(error: BaseException, requeued: bool, status: str, kind: str | None) -> None:
    outcome = judged(error, requeued=requeued)
    assert (outcome.status, outcome.attempt) == (status, 1)
    assert (outcome.error and outcome.error.exception_class_path) == kind


def test_what_the_signal_that_ends_a_child_raises_is_for_the_parent_to_tell() -> None:
    # billiard's own handler: sys.exit(signum), wherever the task is just then.
    with pytest.raises(SystemExit) as ended:
        _shutdown_cleanup(15, None)
    assert judged(ended.value) is None
    assert judged(SystemExit(1)).status == "FAILED"
    assert judged(MemoryError()).status == "FAILED"


def test_no_exception_is_left_behind() -> None:
    assert sys.exc_info() == (None, None, None)
