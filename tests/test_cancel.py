"""A cancelled task: one that waits never runs, one that runs is told and not run again, and each is announced once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from celery.app.task import Context as CeleryRequest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from kombu import Queue

from tasks_celery import EnqueueError, StoreError
from tasks_celery.cancel import cancel
from tasks_celery.compat import TaskResultDoesNotExist, task_backends
from tasks_celery.context import Context, asking, current
from tasks_celery.stores.memory import MemoryStore
from tests.shop import gate, tasks
from tests.shop.running import a_worker, configured, finished, listening, signals_of, the_app, the_store, until
from tests.stores.making import HOUR, a_record, an_attempt, an_outcome

CANCELLED = "tasks_celery.exceptions.TaskCancelled"


def the_backend() -> Any:
    return task_backends["default"]


def a_running_record(**changes: Any) -> Any:
    """Return the record of a task that the worker w1@host has begun, in the store."""
    record = a_record(id=uuid4().hex, alias="default", **changes)
    return the_store().claim(record, an_attempt("w1@host"), lifetime=HOUR)


# --- what cannot be cancelled


def test_an_unknown_id_has_no_task_to_cancel() -> None:
    with pytest.raises(TaskResultDoesNotExist, match="nobody"):
        cancel(the_backend(), "nobody")


@pytest.mark.parametrize("status", ["SUCCESSFUL", "FAILED"])
@pytest.mark.parametrize("terminate", [False, True])
def test_a_task_that_has_ended_stays_as_it_is(status: str, terminate: bool) -> None:
    record = a_running_record()
    the_store().settle(record, an_outcome(status, attempt=1), lifetime=HOUR)
    before = the_store().get(record.id)
    with listening() as heard, told_to_workers() as told:
        assert cancel(the_backend(), record.id, terminate=terminate) is False
    assert the_store().get(record.id) == before
    assert (heard, told()) == ([], [])


def test_without_records_nothing_can_be_cancelled() -> None:
    with (
        configured(the_app(), result_backend=None, broker_url="amqp://"),
        pytest.raises(NotImplementedError, match="W001"),
    ):
        cancel(the_backend(), "any")


def test_a_store_that_is_away_says_so() -> None:
    away = mock.patch.object(MemoryStore, "cancel", side_effect=StoreError)
    with away, pytest.raises(StoreError):
        cancel(the_backend(), "any")


# --- a task that waits


def test_a_task_that_waits_has_failed_and_says_why() -> None:
    before = timezone.now()
    result = tasks.echo.enqueue("now")
    assert cancel(the_backend(), result.id) is True
    result.refresh()
    assert (result.status, result.attempts, result.started_at) == ("FAILED", 0, None)
    assert before <= result.finished_at <= timezone.now()
    (error,) = result.errors
    assert error.exception_class_path == CANCELLED
    assert error.traceback == f"{CANCELLED}: The task was cancelled before it could run.\n"


def test_its_end_is_announced_once_in_the_context_of_who_asked_for_it() -> None:
    with asking(lambda: Context(user="7")):
        result = tasks.echo.enqueue()
    users = []

    def note(task_result: Any, **kwargs: Any) -> None:
        users.append(current().user)

    from tasks_celery.compat import task_finished

    task_finished.connect(note)
    try:
        with listening() as heard:
            assert [cancel(the_backend(), result.id) for _ in range(2)] == [True, False]
    finally:
        task_finished.disconnect(note)
    (finished_event,) = heard
    assert (finished_event.signal, finished_event.status, finished_event.stored) == (
        "task_finished",
        "FAILED",
        "FAILED",
    )
    assert finished_event.sender is type(the_backend())
    assert finished_event.result.task.func is tasks.echo.func
    assert users == ["7"]


def test_nobody_is_told_of_a_task_that_waits() -> None:
    result = tasks.echo.enqueue()
    with told_to_workers() as told:
        cancel(the_backend(), result.id, terminate=True)
    assert told() == []


def test_its_message_is_not_run() -> None:
    with a_worker():
        gate.close()
        blocker = tasks.wait_at_gate.enqueue()
        assert gate.at_the_gate.wait(20)
        result = tasks.echo.enqueue()
        cancel(the_backend(), result.id)
        gate.opened.set()
        finished(blocker)
        with listening() as heard:
            last = tasks.echo.enqueue()
            signals_of(heard, last)
        assert [one for one in heard if one.id == result.id] == []
        result.refresh()
        assert (result.status, result.attempts) == ("FAILED", 0)


def test_a_task_that_waits_for_its_time_is_cancelled_too() -> None:
    result = tasks.echo.using(run_after=timezone.now() + timedelta(hours=1)).enqueue()
    assert cancel(the_backend(), result.id) is True
    result.refresh()
    assert (result.status, result.errors[0].exception_class_path) == ("FAILED", CANCELLED)


def test_a_task_that_waits_for_a_retry_is_cancelled_too() -> None:
    record = a_running_record()
    the_store().settle(record, an_outcome("READY", attempt=1, retry=True), lifetime=HOUR)
    assert cancel(the_backend(), record.id) is True
    ended = the_store().get(record.id)
    assert (ended.status, ended.errors[-1].exception_class_path) == ("FAILED", CANCELLED)
    assert the_store().claim(ended, an_attempt("w2@host", retries=1), lifetime=HOUR) is None


@pytest.mark.django_db(transaction=True)
def test_in_a_transaction_of_the_records_database_its_end_counts_and_is_announced_with_the_commit() -> None:
    options = {"RESULTS": "database://"}
    with override_settings(TASKS={"default": {"BACKEND": "tasks_celery.CeleryBackend", "OPTIONS": options}}):
        result = tasks.echo.enqueue()
        with listening() as heard:
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                assert cancel(the_backend(), result.id) is True
                raise ZeroDivisionError
            assert (the_store().get(result.id).status, heard) == ("READY", [])
            with transaction.atomic():
                assert cancel(the_backend(), result.id) is True
                assert heard == []
            assert [(one.signal, one.stored) for one in heard] == [("task_finished", "FAILED")]


def test_a_result_cancels_its_task() -> None:
    result = tasks.echo.enqueue()
    assert [result.cancel(), result.cancel(terminate=True)] == [True, False]
    result.refresh()
    assert result.status == "FAILED"


async def test_a_result_cancels_its_task_from_an_event_loop() -> None:
    result = await tasks.echo.aenqueue()
    assert [await result.acancel(), await result.acancel(terminate=True)] == [True, False]
    await result.arefresh()
    assert result.status == "FAILED"


# --- a task that runs


def test_a_task_that_runs_is_marked_and_runs_on() -> None:
    record = a_running_record()
    with listening() as heard, told_to_workers() as told:
        assert [cancel(the_backend(), record.id) for _ in range(2)] == [True, True]
    marked = the_store().get(record.id)
    assert (marked.status, marked.cancelled) == ("RUNNING", True)
    assert (heard, told()) == ([], [])
    assert the_store().settle(record, an_outcome(attempt=1), lifetime=HOUR).status == "SUCCESSFUL"


def test_a_task_that_was_cancelled_while_it_ran_is_not_run_again() -> None:
    record = a_running_record()
    cancel(the_backend(), record.id)
    ended = the_store().settle(record, an_outcome("READY", attempt=1, retry=True), lifetime=HOUR)
    assert (ended.status, ended.errors[-1].exception_class_path) == ("FAILED", CANCELLED)


def test_its_worker_is_told_to_end_it_as_celery_would_tell() -> None:
    record = a_running_record()
    with told_to_workers() as told:
        assert cancel(the_backend(), record.id, terminate=True) is True
        (ours,) = told()
        the_app().control.revoke(record.id, terminate=True, destination=["w1@host"])
        (celerys,) = told()
    assert the_store().get(record.id).cancelled
    assert celerys["arguments"].pop("signal") == "SIGTERM"  # which is what a worker takes where none is said
    assert ours == celerys


def test_the_worker_of_the_last_attempt_is_the_one_that_is_told() -> None:
    record = a_running_record()
    the_store().settle(record, an_outcome("READY", attempt=1, retry=True), lifetime=HOUR)
    the_store().claim(record, an_attempt("w2@host", retries=1), lifetime=HOUR)
    with told_to_workers() as told:
        cancel(the_backend(), record.id, terminate=True)
        assert [message["destination"] for message in told()] == [["w2@host"]]


def test_a_broker_that_is_away_is_said_in_time_after_the_task_was_marked() -> None:
    with records_in_memory(TIMEOUT=1), configured(the_app(), broker_url="amqp://127.0.0.1:1//"):
        record, began = a_running_record(), time.monotonic()
        with pytest.raises(EnqueueError, match="marked as cancelled") as caught:
            cancel(the_backend(), record.id, terminate=True)
        assert time.monotonic() - began < 3
        assert caught.value.__cause__ is not None
        assert the_store().get(record.id).cancelled


def test_a_broker_that_is_away_keeps_nobody_from_cancelling_without_terminate() -> None:
    with records_in_memory(), configured(the_app(), broker_url="amqp://127.0.0.1:1//"):
        record = a_running_record()
        assert cancel(the_backend(), record.id) is True
        assert the_store().get(record.id).cancelled


@contextmanager
def records_in_memory(**options: Any) -> Iterator[None]:
    """Keep records in memory for this block, whatever the broker is."""
    options |= {"RESULTS": "memory://"}
    with override_settings(TASKS={"default": {"BACKEND": "tasks_celery.CeleryBackend", "OPTIONS": options}}):
        yield


# --- a task that only Celery knows


def known_to_celery(state: str) -> str:
    """Store a result as a worker without tasks_celery does, and return its id."""
    request = CeleryRequest(id=uuid4().hex, task="legacy.build", args=[], kwargs={}, hostname="old@host")
    with configured(the_app(), result_extended=True):
        the_app().backend.store_result(request.id, None, state, request=request)
    return str(request.id)


@pytest.mark.parametrize(("state", "destination"), [("STARTED", ["old@host"]), ("RETRY", None)])
@pytest.mark.parametrize("terminate", [False, True])
def test_celery_is_told_of_a_task_that_only_it_knows(state: str, destination: Any, terminate: bool) -> None:
    result_id = known_to_celery(state)
    with told_to_workers() as told:
        assert cancel(the_backend(), result_id, terminate=terminate) is True
        (message,) = told()
    assert message["destination"] == destination
    assert message["arguments"] == {"task_id": result_id, "terminate": terminate}


def test_a_task_that_only_celery_knows_and_that_has_ended_stays_as_it_is() -> None:
    result_id = known_to_celery("SUCCESS")
    with told_to_workers() as told:
        assert cancel(the_backend(), result_id) is False
        assert told() == []


def test_a_record_that_is_kept_just_then_is_the_one_that_counts() -> None:
    record = a_record(id=uuid4().hex, alias="default")
    asked = MemoryStore.get

    def late(store: Any, result_id: str) -> Any:
        store.create(record, lifetime=HOUR)
        return asked(store, result_id)

    with mock.patch.object(MemoryStore, "get", late), told_to_workers() as told:
        assert cancel(the_backend(), record.id) is True
        assert told() == []
    assert the_store().get(record.id).status == "FAILED"


@contextmanager
def told_to_workers() -> Iterator[Any]:
    """Yield a function that returns what workers were told since it was last called, as the messages say it."""
    with the_app().connection_for_read() as connection, connection.channel() as channel:
        inbox = Queue(f"inbox-{uuid4().hex}", exchange=the_app().control.mailbox.exchange, auto_delete=True)(channel)
        inbox.declare()

        def told() -> list[Any]:
            return [message.decode() for message in iter(lambda: inbox.get(no_ack=True), None)]

        try:
            yield told
        finally:
            inbox.delete()


def test_what_workers_are_told_is_seen_here() -> None:
    with told_to_workers() as told:
        the_app().control.revoke("one")
        assert until(told)[0]["method"] == "revoke"
