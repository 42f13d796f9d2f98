"""Existence and identity: what an id stands for, and that the task of a result is the task that was enqueued."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from tasks_celery.compat import (
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
)
from tasks_celery.message import HEADER
from tests.contract import jobs
from tests.shop.running import (
    a_worker,
    empty_the_broker,
    finished,
    listening,
    records_in_redis,
    registry_kept,
    signals_of,
    the_app,
    until,
)

TWO_ALIASES = {
    alias: {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default", "reports"]} for alias in ("default", "other")
}
MEMORY_AND_REDIS = pytest.mark.parametrize("keep", [nullcontext, records_in_redis], ids=["memory", "Redis"])


@pytest.fixture(autouse=True)
def _an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


def found(result_id: str) -> Any:
    """Return the result with that id, None where there is none yet."""
    try:
        return task_backends["default"].get_result(result_id)
    except TaskResultDoesNotExist:
        return None


def fields_of(result: Any) -> dict[str, Any]:
    """Return every field of a result: Django 6.1 and later compare fewer of them by `==`."""
    return {each.name: getattr(result, each.name) for each in dataclasses.fields(result)}


# --- 1


@MEMORY_AND_REDIS
async def test_01_an_unknown_id_does_not_exist(keep: Any) -> None:
    with keep():
        for ask in (jobs.note.get_result, task_backends["default"].get_result):
            with pytest.raises(TaskResultDoesNotExist):
                ask("123")
        for wait in (jobs.note.aget_result, task_backends["default"].aget_result):
            with pytest.raises(TaskResultDoesNotExist):
                await wait("123")


def test_01_an_id_that_celery_was_asked_about_exists_no_more_than_before() -> None:
    assert the_app().AsyncResult("123").state == "PENDING"
    with pytest.raises(TaskResultDoesNotExist):
        jobs.note.get_result("123")


# --- 2, 3


@MEMORY_AND_REDIS
def test_02_a_result_is_ready_before_any_worker_has_run(keep: Any) -> None:
    with keep():
        result = jobs.note.get_result(jobs.note.enqueue(1, two=3).id)
    assert (result.status, result.is_finished) == (TaskResultStatus.READY, False)
    assert (result.args, result.kwargs) == ([1], {"two": 3})
    assert (result.started_at, result.last_attempted_at, result.finished_at) == (None, None, None)
    assert (result.errors, result.worker_ids, result.attempts) == ([], [], 0)
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = result.return_value


def test_03_a_worker_that_is_faster_than_enqueue_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    # The whole task runs while its message is being sent.
    def send(producer: Any, name: str, message: Any, *, headers: Any, **options: Any) -> None:
        args, kwargs, _ = message.body
        the_app().tasks[name].apply(args, kwargs, task_id=message.headers["id"], headers=headers)

    monkeypatch.setattr(the_app().amqp, "send_task_message", send)
    with listening() as heard:
        result = jobs.note.enqueue(1)
    assert result.status == TaskResultStatus.READY
    assert jobs.note.get_result(result.id).return_value == [[1], {}]
    # Every signal's receiver could read a record that was at least as far.
    assert [(one.signal, one.stored) for one in heard] == [
        ("task_started", "RUNNING"),
        ("task_finished", "SUCCESSFUL"),
        ("task_enqueued", "SUCCESSFUL"),
    ]


def test_03_a_message_that_was_not_sent_leaves_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def refuse(producer: Any, name: str, message: Any, **options: Any) -> None:
        tried.append(jobs.note.get_result(message.headers["id"]).id)
        raise ConnectionError("nobody home")

    monkeypatch.setattr(the_app().amqp, "send_task_message", refuse)
    with pytest.raises(Exception, match="was not enqueued"):
        jobs.note.enqueue(1)
    with pytest.raises(TaskResultDoesNotExist):
        jobs.note.get_result(tried[0])


# --- 4, 5, 6, 7


@MEMORY_AND_REDIS
def test_04_get_result_equals_what_enqueue_returned_in_every_field(keep: Any) -> None:
    with keep():
        enqueued = jobs.note.enqueue(1, (2, b"three"), {4: None}, five=[])
        read = jobs.note.get_result(enqueued.id)
    assert read == enqueued
    assert fields_of(read) == fields_of(enqueued)
    assert type(read) is type(enqueued)
    assert isinstance(read, TaskResult)
    assert type(read.status) is TaskResultStatus


@MEMORY_AND_REDIS
async def test_04_the_awaited_twins_tell_the_same(keep: Any) -> None:
    with keep():
        enqueued = await jobs.note.aenqueue(1, two=3)
        assert fields_of(await jobs.note.aget_result(enqueued.id)) == fields_of(enqueued)


@MEMORY_AND_REDIS
async def test_05_enqueued_at_survives_get_result_and_refresh(keep: Any) -> None:
    before = timezone.now()
    with keep():
        result = jobs.note.enqueue()
        moment = result.enqueued_at
        assert before <= moment <= timezone.now()
        assert jobs.note.get_result(result.id).enqueued_at == moment
        result.refresh()
        assert result.enqueued_at == moment
        await result.arefresh()
        assert result.enqueued_at == moment


@MEMORY_AND_REDIS
def test_06_the_task_comes_back_with_its_queue_priority_time_and_alias(keep: Any) -> None:
    due = timezone.now() + timedelta(days=40, microseconds=7)
    with keep():
        asked = jobs.note.using(queue_name="reports", priority=-13, run_after=due)
        task = jobs.note.get_result(asked.enqueue().id).task
    assert task == asked
    assert type(task) is type(asked)
    assert (task.queue_name, task.priority, task.run_after, task.backend) == ("reports", -13, due, "default")


@MEMORY_AND_REDIS
def test_06_a_time_in_another_zone_is_the_same_moment(keep: Any) -> None:
    due = datetime(2100, 1, 1, 12, tzinfo=UTC) + timedelta(microseconds=1)
    there = due.astimezone(timezone.get_fixed_timezone(345))
    with keep():
        assert jobs.note.get_result(jobs.note.using(run_after=there).enqueue().id).task.run_after == due


def test_07_a_result_belongs_to_the_alias_it_was_enqueued_on() -> None:
    with override_settings(TASKS=TWO_ALIASES):
        for alias in ("default", "other"):
            enqueued = jobs.note.using(backend=alias).enqueue()
            # One store: either alias can read it, and neither claims it.
            for reader in ("default", "other"):
                read = task_backends[reader].get_result(enqueued.id)
                assert (read.backend, read.task.backend) == (alias, alias)


def test_07_inside_the_task_too() -> None:
    with override_settings(TASKS=TWO_ALIASES):
        with a_worker():
            results = [finished(jobs.describe.using(backend=alias).enqueue()) for alias in ("default", "other")]
        assert [result.return_value["backend"] for result in results] == [["default"] * 2, ["other"] * 2]


# --- 8


@MEMORY_AND_REDIS
async def test_08_a_result_of_another_function_is_a_mismatch(keep: Any) -> None:
    with keep():
        result = jobs.note.enqueue()
        with pytest.raises(TaskResultMismatch, match=r"Task does not match.*tests\.contract\.jobs\.note"):
            jobs.describe.get_result(result.id)
        with pytest.raises(TaskResultMismatch, match="Task does not match"):
            await jobs.describe.aget_result(result.id)


@MEMORY_AND_REDIS
def test_08_the_function_of_a_read_result_is_the_very_same_object(keep: Any) -> None:
    with keep():
        read = jobs.note.get_result(jobs.note.using(priority=5).enqueue().id)
    assert read.task.func is jobs.note.func


def test_08_a_result_whose_task_is_gone_is_a_mismatch_and_no_crash() -> None:
    with registry_kept():
        gone = import_module("tasks_celery").task(name="contract.gone")(jobs.give.func)
        result_id = gone.enqueue("nothing").id
    with pytest.raises(TaskResultMismatch):
        jobs.note.get_result(result_id)


# --- 9, 10


@contextmanager
def an_installed_app(folder: Path, **modules: str) -> Iterator[None]:
    """Install an app `stall` with these modules, and forget it at the end of this block."""
    package = folder / "stall"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, source in modules.items():
        (package / f"{name}.py").write_text(source)
    try:
        with registry_kept(), override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, "stall"]):
            yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "stall"]:
            del sys.modules[name]


def send(path: str) -> str:
    """Send a message for the task at `path`, as a process that has it does, and return its id."""
    facts = {"alias": "default", "path": path, "queue": "default"}
    sent = the_app().send_task(path, queue="default", headers={HEADER: facts})
    return str(sent.id)


@pytest.mark.parametrize("path", ["os.getcwd", "tests.contract.jobs.Unprintable", "tests.contract.jobs.note.call"])
def test_09_an_importable_thing_that_is_no_task_fails_and_is_never_called(path: str) -> None:
    with a_worker(), listening() as heard:
        result_id = send(path)
        result = finished(until(lambda: found(result_id)))
        assert signals_of(heard, result) == [("task_finished", "FAILED")]
    assert (result.status, result.attempts, result.started_at) == (TaskResultStatus.FAILED, 0, None)
    assert isinstance(result.task, Task)
    with pytest.raises(ImportError, match=path):
        result.task.call()


def test_09_a_message_does_not_make_a_worker_import_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "never_imported.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "never_imported", raising=False)
    # `listening` does not read the result: the process that reads one does import its task.
    with a_worker(), listening() as heard:
        result_id = send("never_imported.fire")
        until(lambda: [one for one in list(heard) if (one.signal, one.id) == ("task_finished", result_id)])
        assert "never_imported" not in sys.modules
        assert finished(jobs.note.enqueue()).status == TaskResultStatus.SUCCESSFUL


def test_10_a_task_that_the_worker_does_not_have_fails_and_the_worker_lives() -> None:
    with a_worker():
        result_id = send("stall.nowhere.fire")
        result = finished(until(lambda: found(result_id)))
        assert finished(jobs.note.enqueue(1)).return_value == [[1], {}]
    (error,) = result.errors
    assert "knows no task 'stall.nowhere.fire'" in error.traceback
    assert (result.started_at, result.worker_ids) == (None, [])
    assert result.finished_at is not None


def test_10_a_task_whose_module_cannot_be_imported_fails_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    broken = "from tasks_celery import task\nimport no_such_client\n\n@task\ndef fire(): ...\n"
    whole = "from tasks_celery import task\n\n@task\ndef fire(): return 'fired'\n"
    with an_installed_app(tmp_path, broken=broken, whole=whole), a_worker():
        failing, running = send("stall.broken.fire"), send("stall.whole.fire")
        failed, ran = finished(until(lambda: found(failing))), finished(until(lambda: found(running)))
        assert ran.return_value == "fired"
    (error,) = failed.errors
    assert error.exception_class is ModuleNotFoundError
    assert error.traceback.endswith("ModuleNotFoundError: No module named 'no_such_client'\n")
    assert failed.attempts == 0


# --- 11


def test_11_ids_are_texts_of_fewer_than_64_characters_and_never_the_same() -> None:
    ids = {jobs.note.enqueue().id for _ in range(50)}
    assert len(ids) == 50
    assert all(type(each) is str and 0 < len(each) < 64 for each in ids)


@MEMORY_AND_REDIS
@pytest.mark.parametrize(
    "odd", ["", " ", "%00", "\0", "../../x", "*", "a" * 10_000, "☃", "\ud800", "{id}", 123, 1.5, None, b"x"], ids=ascii
)
def test_11_an_odd_id_does_not_exist_either(odd: Any, keep: Any) -> None:
    with keep(), pytest.raises(TaskResultDoesNotExist):
        jobs.note.get_result(odd)
