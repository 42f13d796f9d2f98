"""Execution: what a solo worker, and eager mode, make of a task. Prefork's own endings are in integration/."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery.signals import task_retry
from celery.worker import state as worker_state
from django.utils import timezone

from tasks_celery.compat import (
    API_MODULE,
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from tests.contract import jobs
from tests.shop import gate, tasks
from tests.shop.running import eagerly, finished, listening, signals_of, until

pytestmark = pytest.mark.usefixtures("quiet_worker")

WAYS = pytest.mark.parametrize("way", ["worker", "eager"])


def run(way: str, task: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the result of a task that a worker has run, or that eager mode has."""
    if way == "worker":
        return finished(task.enqueue(*args, **kwargs))
    with eagerly():
        return task.enqueue(*args, **kwargs)


@contextmanager
def hearing(signal: Any, receiver: Any) -> Iterator[None]:
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


# --- 24, 25, 26


@WAYS
@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (jobs.leave, SystemExit),
        (jobs.call_exit, SystemExit),
        (jobs.close_generator, GeneratorExit),
        (jobs.cancel, asyncio.CancelledError),
        (tasks.raise_unheard, tasks.Unheard),
        (jobs.raise_unspeakable, jobs.Unspeakable),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_24_a_base_exception_is_a_failed_result(task: Any, kind: type[BaseException], way: str) -> None:
    result = run(way, task)
    assert (result.status, result.is_finished) == (TaskResultStatus.FAILED, True)
    assert [error.exception_class for error in result.errors] == [kind]
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    assert finished(jobs.note.enqueue(1)).return_value == [[1], {}]  # the worker lives


def test_24_in_a_worker_ctrl_c_of_the_tasks_own_is_one_too() -> None:
    result = run("worker", jobs.interrupt)
    assert [error.exception_class for error in result.errors] == [KeyboardInterrupt]
    assert finished(jobs.note.enqueue()).status == TaskResultStatus.SUCCESSFUL


@WAYS
@pytest.mark.parametrize("kind", ["lambda", "set"])
def test_25_a_return_value_that_json_cannot_hold_fails(kind: str, way: str) -> None:
    with listening() as heard:
        result = run(way, jobs.give, kind)
        assert signals_of(heard, result)[-1] == ("task_finished", "FAILED")
    assert result.status == TaskResultStatus.FAILED
    assert result._return_value is None
    (error,) = result.errors
    assert error.exception_class is TypeError
    assert "Unsupported type" in error.traceback


@WAYS
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("tuple", [1, [2]]),
        ("bytes", "two"),
        ("nothing", None),
        # Celery's own JSON would read a date in it.
        ("marked", {"__type__": "datetime", "__value__": "2026-01-01T00:00:00"}),
    ],
)
def test_25_a_return_value_is_normalised(kind: str, value: Any, way: str) -> None:
    result = run(way, jobs.give, kind)
    assert result.return_value == value
    assert type(result.return_value) is type(value)
    assert jobs.give.get_result(result.id).return_value == value


@WAYS
@pytest.mark.parametrize(
    ("task", "path", "last_line"),
    [
        (jobs.fail, "builtins.ValueError", "ValueError: no paper"),
        (jobs.leave, "builtins.SystemExit", "SystemExit: gone"),
        (jobs.fail_twice_over, "builtins.ValueError", "ValueError: no paper"),
        (jobs.fail_without_words, "tests.contract.jobs.Unprintable", "Unprintable: <exception str() failed>"),
        (tasks.raise_awkward, "tests.shop.tasks.Awkward", "Awkward: 1 and 2"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_26_an_error_is_the_real_class_and_the_real_traceback(task: Any, path: str, last_line: str, way: str) -> None:
    (error,) = run(way, task).errors
    assert error.exception_class_path == path
    assert f"{error.exception_class.__module__}.{error.exception_class.__qualname__}" == path
    lines = error.traceback.splitlines()
    assert error.traceback.endswith(f"{last_line}\n")
    assert lines[0] == "Traceback (most recent call last):"
    assert f"in {task.name}" in error.traceback
    assert lines.count(lines[0]) == 1  # no exception of ours around it


# --- 27, 28, 29, 30


@WAYS
def test_27_each_attempt_leaves_a_worker_and_each_failed_one_an_error(way: str) -> None:
    result = run(way, jobs.succeed_on, 3)
    assert (result.status, result.return_value, result.attempts) == (TaskResultStatus.SUCCESSFUL, 3, 3)
    said = [error.traceback.splitlines()[-1] for error in result.errors]
    assert said == ["LookupError: attempt 1", "LookupError: attempt 2"]
    assert len(result.worker_ids) == 3
    assert all(isinstance(each, str) and each for each in result.worker_ids)


@WAYS
def test_27_started_is_the_first_attempt_and_last_attempted_the_last(way: str) -> None:
    starts: list[Any] = []

    def note(task_result: Any, **kwargs: Any) -> None:
        starts.append(task_result.last_attempted_at)

    with hearing(task_started, note):
        result = run(way, jobs.succeed_on, 9)
    assert result.status == TaskResultStatus.FAILED
    assert len(result.errors) == len(starts) == 3
    assert (result.started_at, result.last_attempted_at) == (starts[0], starts[-1])
    assert starts[0] < starts[-1] <= result.finished_at


def test_27_a_task_that_waits_for_its_retry_is_ready_again() -> None:
    seen: list[tuple[str, int, Any]] = []

    def look(request: Any, **kwargs: Any) -> None:
        read = jobs.succeed_on.get_result(request.id)
        seen.append((str(read.status), len(read.errors), read.finished_at))

    with hearing(task_retry, look):
        finished(jobs.succeed_on.enqueue(2))
    assert seen == [("READY", 1, None)]


@WAYS
def test_28_it_is_running_on_its_worker_before_the_function_begins(way: str) -> None:
    told = run(way, jobs.describe).return_value
    assert (told["attempt"], told["status"], told["workers"]) == (1, "RUNNING", 1)
    assert told["stored"] == ["RUNNING", 1]


def test_28_somebody_else_sees_it_run() -> None:
    gate.close()
    result = tasks.wait_at_gate.enqueue()
    assert gate.at_the_gate.wait(20)
    try:
        read = tasks.wait_at_gate.get_result(result.id)
        assert (read.status, read.attempts, read.finished_at) == (TaskResultStatus.RUNNING, 1, None)
        assert read.started_at == read.last_attempted_at <= timezone.now()
    finally:
        gate.opened.set()
    finished(result)


@WAYS
def test_29_the_context_has_the_result(way: str) -> None:
    result = run(way, jobs.describe.using(queue_name="reports", priority=7), 1, two=3)
    told = result.return_value
    assert (told["id"], told["args"], told["kwargs"]) == (result.id, [1], {"two": 3})
    assert (told["queue"], told["priority"], told["backend"]) == ("reports", 7, ["default", "default"])
    assert told["enqueued_at"] == result.enqueued_at.isoformat()
    assert told["started_at"] == result.started_at.isoformat()


@WAYS
def test_30_the_context_comes_first_and_is_no_argument(way: str) -> None:
    result = run(way, jobs.describe, 1, two=3)
    assert result.return_value["received"] == [[1], {"two": 3}]
    assert (result.args, result.kwargs) == ([1], {"two": 3})


# --- 31


@WAYS
def test_31_coroutines_run(way: str) -> None:
    assert run(way, jobs.note_later, 1, two=3).return_value == [[1], {"two": 3}]


async def test_31_coroutines_run_where_a_loop_runs_already() -> None:
    with eagerly():
        assert (await jobs.note_later.aenqueue(1)).return_value == [[1], {}]
    assert await jobs.note_later.acall(1) == [[1], {}]


# --- 32, 33, 34, 35, 36


@WAYS
@pytest.mark.parametrize(("task", "end"), [(jobs.note, "SUCCESSFUL"), (jobs.fail, "FAILED")], ids=["good", "bad"])
def test_32_started_and_finished_are_sent_once_by_the_class_with_their_states_and_times(
    task: Any, end: str, way: str
) -> None:
    with listening() as heard:
        result = run(way, task)
        signals_of(heard, result)
    started, ended = [one for one in heard if one.signal != "task_enqueued"]
    assert (started.signal, started.status) == ("task_started", "RUNNING")
    assert (ended.signal, ended.status) == ("task_finished", end)
    assert {one.sender for one in heard} == {type(task_backends["default"])}
    assert started.result.started_at == started.result.last_attempted_at == result.started_at
    assert started.result.finished_at is None
    assert ended.result.finished_at == result.finished_at
    assert ended.result.errors == result.errors


@WAYS
@pytest.mark.parametrize(
    ("task", "words"),
    [(jobs.fail, "ValueError: no paper"), (jobs.leave, "SystemExit: gone"), (jobs.cancel, "CancelledError")],
    ids=lambda value: getattr(value, "name", None),
)
def test_33_the_exception_is_at_hand_where_a_failure_is_announced(task: Any, words: str, way: str) -> None:
    said: list[str] = []

    def listen(**kwargs: Any) -> None:
        said.append(traceback.format_exc())

    with hearing(task_finished, listen):
        run(way, task)
        until(lambda: said)
    (text,) = said
    assert words in text
    assert f"in {task.name}" in text


@WAYS
def test_33_one_error_is_logged_with_its_traceback(way: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, API_MODULE), listening() as heard:
        result = run(way, jobs.fail)
        signals_of(heard, result)
    entries = [entry for entry in caplog.records if entry.name == API_MODULE and result.id in entry.getMessage()]
    (error,) = [entry for entry in entries if entry.levelno >= logging.ERROR]
    assert "state=FAILED" in error.getMessage()
    if API_MODULE == "django.tasks":  # the backport's line has none
        assert error.exc_info is not None
        assert error.exc_info[0] is ValueError


@WAYS
def test_34_nothing_is_at_hand_where_a_success_is_announced(way: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, API_MODULE), listening() as heard:
        result = run(way, jobs.note)
        signals_of(heard, result)
    assert [one.raised for one in heard] == [None] * 3
    lines = [entry for entry in caplog.records if entry.name == API_MODULE and result.id in entry.getMessage()]
    assert len(lines) == 3
    assert "None" not in "".join(logging.Formatter().format(line) for line in lines)


@WAYS
def test_35_who_hears_of_the_end_can_read_it(way: str) -> None:
    seen: list[tuple[Any, ...]] = []

    def look(task_result: Any, **kwargs: Any) -> None:
        told = (task_result.status, task_result._return_value, task_result.finished_at, len(task_result.errors))
        task_result.refresh()
        read = (task_result.status, task_result._return_value, task_result.finished_at, len(task_result.errors))
        seen.append((told == read, str(read[0])))

    with hearing(task_finished, look):
        for task in (jobs.note, jobs.fail):
            run(way, task)
        until(lambda: len(seen) == 2)
    assert seen == [(True, "SUCCESSFUL"), (True, "FAILED")]


@WAYS
@pytest.mark.parametrize(
    "signal", [task_enqueued, task_started, task_finished], ids=["enqueued", "started", "finished"]
)
def test_36_a_receiver_that_raises_is_logged_and_hurts_nobody(
    signal: Any, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    # The choice: not even in eager mode does it come out of enqueue(), as it does of Django's ImmediateBackend.
    def broken(**kwargs: Any) -> None:
        raise ValueError("deaf")

    with hearing(signal, broken), listening() as heard:
        result = run(way, jobs.note, 1)
        told = signals_of(heard, result)
    assert (result.status, result.return_value, result.attempts) == (TaskResultStatus.SUCCESSFUL, [[1], {}], 1)
    assert [name for name, _ in told] == ["task_enqueued", "task_started", "task_finished"]
    until(lambda: f"Task id={result.id}: the signal receiver" in caplog.text)


# --- 37, 38


def test_37_a_failed_task_stops_neither_the_worker_nor_the_next_task() -> None:
    tasks_in_line = [jobs.fail, jobs.leave, jobs.cancel, jobs.fail_without_words, jobs.note]
    results = [finished(result) for result in [task.enqueue() for task in tasks_in_line]]
    assert [str(result.status) for result in results] == ["FAILED"] * 4 + ["SUCCESSFUL"]


def test_38_a_task_that_was_revoked_before_it_began_is_failed() -> None:
    gate.close()
    first = tasks.wait_at_gate.enqueue()
    assert gate.at_the_gate.wait(20)
    with listening() as heard:
        result = jobs.note.enqueue()
        worker_state.revoked.add(result.id)
        gate.opened.set()
        finished(first)
        assert finished(result).status == TaskResultStatus.FAILED
        assert signals_of(heard, result) == [("task_enqueued", "READY"), ("task_finished", "FAILED")]
    assert (result.attempts, result.started_at) == (0, None)
    assert result.finished_at >= result.enqueued_at
    assert "revoked" in result.errors[0].traceback


def test_38_a_task_that_expired_is_failed() -> None:
    sent = jobs.note.celery.apply_async((1,), expires=-1)
    result = finished(jobs.note.get_result(sent.id))
    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 0)
    assert "expired" in result.errors[0].traceback


@pytest.mark.parametrize("task", [tasks.turn_down, tasks.send_back], ids=lambda task: task.name)
def test_38_a_task_that_celery_drops_is_failed(task: Any) -> None:
    with listening() as heard:
        result = finished(task.enqueue())
        assert signals_of(heard, result)[-1] == ("task_finished", "FAILED")
    assert (result.status, result.attempts, len(result.errors)) == (TaskResultStatus.FAILED, 1, 1)
