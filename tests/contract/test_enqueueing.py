"""Enqueueing: what is refused before anything happens, what is sent, and the policy of eager mode."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from tasks_celery.compat import (
    API_MODULE,
    InvalidTask,
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from tests.contract import jobs
from tests.shop import tasks
from tests.shop.brokers import messages
from tests.shop.running import (
    a_worker,
    configured,
    eagerly,
    empty_the_broker,
    finished,
    listening,
    the_app,
    waiting,
)

BACKEND = "tasks_celery.CeleryBackend"
WAYS = pytest.mark.parametrize("way", ["enqueue", "aenqueue"])


class Paper(Enum):
    A4 = "a4"


@pytest.fixture(autouse=True)
def _an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


async def enqueued(way: str, task: Any, *args: Any, **kwargs: Any) -> Any:
    """Enqueue a task in either way: the sync one in a thread of its own, as a view does."""
    if way == "aenqueue":
        return await task.aenqueue(*args, **kwargs)
    return await sync_to_async(task.enqueue)(*args, **kwargs)


# --- 12


@WAYS
async def test_12_enqueueing_validates_again(way: str) -> None:
    late = jobs.report.using(priority=1)
    narrower = {"default": {"BACKEND": BACKEND, "QUEUES": ["default"]}}
    with (
        override_settings(TASKS=narrower),
        listening() as heard,
        pytest.raises(InvalidTask, match="Queue 'reports' is not valid for backend"),
    ):
        await enqueued(way, late)
    assert (waiting("reports"), heard) == (0, [])


# --- 13, 14, 15, 16


@WAYS
@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 1, tzinfo=UTC),
        date(2026, 1, 1),
        time(1),
        timedelta(1),
        UUID(int=0),
        Decimal(1),
        {1},
        Paper.A4,
        object(),
        1j,
        len,
    ],
    ids=lambda value: type(value).__name__,
)
async def test_13_what_json_cannot_hold_is_refused_before_anything_is_sent_or_signalled(value: Any, way: str) -> None:
    with listening() as heard:
        for args, kwargs in [([value], {}), ([], {"a": value}), ([{"a": [(value,)]}], {})]:
            with pytest.raises(TypeError, match="Unsupported type"):
                await enqueued(way, jobs.note, *args, **kwargs)
    assert (waiting("default"), heard) == (0, [])


def test_13_nothing_is_stored_either(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[Any] = []
    store = task_backends["default"].results.store
    monkeypatch.setattr(store, "create", lambda record, **options: stored.append(record))
    with pytest.raises(TypeError):
        jobs.note.enqueue({1})
    assert stored == []
    jobs.note.enqueue(1)
    assert len(stored) == 1


def test_14_the_normalised_arguments_go_to_the_broker_and_to_the_task() -> None:
    normal = ([[1, ["two"]], {"3": None}], {"four": ["five"]})
    result = jobs.note.enqueue((1, (b"two",)), {3: None}, four=(b"five",))
    assert (result.args, result.kwargs) == normal
    args, kwargs, _ = messages()[0].decode()
    assert (args, kwargs) == normal
    with a_worker():
        assert finished(jobs.note.enqueue((1, (b"two",)), {3: None}, four=(b"five",))).return_value == list(normal)


def test_14_in_eager_mode_too() -> None:
    with eagerly():
        result = jobs.note.enqueue((1, b"two"), three=(4,))
    assert result.return_value == [[[1, "two"]], {"three": [4]}]


CELERYS = [
    "app", "args", "chord", "connection", "countdown", "delivery_mode", "eta", "exchange", "expires", "group_id",
    "headers", "ignore_result", "kwargs", "link", "link_error", "name", "options", "priority", "producer", "queue",
    "retries", "retry", "routing_key", "serializer", "shadow", "task", "task_id", "task_type", "throw", "time_limit",
]  # fmt: skip


@pytest.mark.parametrize("eager", [False, True], ids=["sent", "eager"])
def test_15_a_tasks_keyword_arguments_are_its_own(eager: bool) -> None:
    mine = dict.fromkeys(CELERYS, "mine")
    if eager:
        with eagerly():
            result = jobs.note.enqueue(**mine)
        assert result.return_value == [[], mine]
        return
    result = jobs.note.enqueue(**mine)
    (message,) = messages()
    assert message.decode()[1] == result.kwargs == mine
    assert (message.headers["id"], message.headers["task"]) == (result.id, "tests.contract.jobs.note")
    assert [message.headers[name] for name in ("eta", "expires", "shadow", "group")] == [None] * 4


@WAYS
async def test_16_wrong_arguments_are_taken(way: str) -> None:
    result = await enqueued(way, jobs.report, "too", many="arguments")
    assert (result.status, waiting("reports")) == (TaskResultStatus.READY, 1)


def test_16_and_make_a_failed_task() -> None:
    with eagerly():
        eager = jobs.report.enqueue("too", many="arguments")
    with a_worker():
        for result in (eager, finished(jobs.report.enqueue("too", many="arguments"))):
            assert result.status == TaskResultStatus.FAILED
            assert [error.exception_class for error in result.errors] == [TypeError]


# --- 17


@pytest.mark.django_db
@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_17_a_task_is_sent_at_once_whatever_happens_to_the_transaction(ends: str) -> None:
    with transaction.atomic(), listening() as heard:
        result = jobs.note.enqueue()
        assert (waiting("default"), len(heard)) == (1, 1)
        assert jobs.note.get_result(result.id).status == TaskResultStatus.READY
        transaction.set_rollback(ends == "rollback")
    assert waiting("default") == 1
    assert jobs.note.get_result(result.id) == result


# --- 18


@WAYS
async def test_18_enqueued_is_announced_once_by_the_class(way: str) -> None:
    with listening() as heard:
        result = await enqueued(way, jobs.note)
    (one,) = heard
    assert (one.signal, one.id, one.status) == ("task_enqueued", result.id, "READY")
    assert one.sender is type(task_backends["default"])
    assert one.result.enqueued_at == result.enqueued_at


def test_18_in_eager_mode_before_the_task_runs(caplog: pytest.LogCaptureFixture) -> None:
    with eagerly(), caplog.at_level(logging.DEBUG, API_MODULE):
        result = jobs.note.enqueue()
    lines = [entry.getMessage() for entry in caplog.records if entry.name == API_MODULE]
    assert all(result.id in line for line in lines)
    words = ["enqueued", "state=RUNNING", "state=SUCCESSFUL"]
    assert [word for line, word in zip(lines, words, strict=True) if word in line] == words


# --- 19, 20, 21, 22: eager mode


@pytest.mark.filterwarnings("error")
@WAYS
async def test_19_in_eager_mode_a_task_runs_here_and_nothing_is_sent(way: str) -> None:
    with eagerly():
        result = await enqueued(way, jobs.note_later, 1)
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, [[1], {}])
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert (result.attempts, waiting("default")) == (1, 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("stored", [False, True])
def test_20_in_eager_mode_a_result_can_be_read_whether_celery_stores_its_own_or_not(stored: bool) -> None:
    # The policy: eager or not, the record is kept.
    with eagerly(task_store_eager_result=stored):
        for result in (jobs.note.enqueue(1), jobs.fail.enqueue()):
            assert result.is_finished
            assert result.task.get_result(result.id) == result


def test_20_in_eager_mode_run_after_does_not_hold_a_task_back_and_is_kept() -> None:
    # The policy: as Celery has it, for a test must not wait.
    due = timezone.now() + timedelta(days=1)
    with eagerly():
        result = jobs.note.using(run_after=due).enqueue()
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.started_at < due
    assert jobs.note.get_result(result.id).task.run_after == due


@pytest.mark.parametrize("propagates", [True, False])
@pytest.mark.parametrize("task", [jobs.fail, jobs.leave, jobs.fail_without_words, jobs.cancel], ids=lambda t: t.name)
def test_21_enqueue_raises_nothing_of_the_task_whatever_celery_propagates(task: Any, propagates: bool) -> None:
    with eagerly(task_eager_propagates=propagates):
        result = task.enqueue()
    assert result.status == TaskResultStatus.FAILED
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


@pytest.mark.parametrize("propagates", [True, False])
def test_22_ctrl_c_leaves_enqueue_and_is_no_error_of_the_task(
    propagates: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        eagerly(task_eager_propagates=propagates),
        caplog.at_level(logging.ERROR, API_MODULE),
        pytest.raises(KeyboardInterrupt),
    ):
        jobs.interrupt.enqueue()
    assert [entry for entry in caplog.records if entry.name == API_MODULE] == []


def test_22_the_record_does_not_say_for_ever_that_the_task_runs() -> None:
    with eagerly(), listening() as heard, pytest.raises(KeyboardInterrupt):
        jobs.interrupt.enqueue()
    assert jobs.interrupt.get_result(heard[0].id).status == TaskResultStatus.FAILED


# --- 23


@pytest.mark.parametrize("eager", [False, True], ids=["sent", "eager"])
def test_23_later_changes_of_the_arguments_change_nothing(eager: bool) -> None:
    items: list[Any] = [1, {"two": []}]
    with eagerly() if eager else configured(the_app()):
        result = tasks.grow.enqueue(items, more=items)
    items[1]["two"].append(3)
    items.append(4)
    was = ([[1, {"two": []}]], {"more": [1, {"two": []}]})
    assert (result.args, result.kwargs) == was
    read = tasks.grow.get_result(result.id)
    assert (read.args, read.kwargs) == was


def test_23_a_returned_result_is_the_callers() -> None:
    result = jobs.note.enqueue([1])
    result.args[0].append(2)
    result.kwargs["three"] = 4
    result.worker_ids.append("nobody")
    read = jobs.note.get_result(result.id)
    assert (read.args, read.kwargs, read.worker_ids) == ([[1]], {}, [])
    assert messages()[0].decode()[:2] == [[[1]], {}]


def test_23_what_a_receiver_does_to_a_result_does_not_reach_the_task() -> None:
    def meddle(task_result: Any, **kwargs: Any) -> None:
        task_result.args.append("meddled")

    signals = (task_enqueued, task_started, task_finished)
    for signal in signals:
        signal.connect(meddle)
    try:
        with a_worker():
            result = finished(jobs.note.enqueue(1))
    finally:
        for signal in signals:
            signal.disconnect(meddle)
    assert result.return_value == [[1], {}]
    assert jobs.note.get_result(result.id).args == [1]
