"""Stored results: how long they are kept, what Celery's own tell, and the one mapping to Django's TaskResult."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from django.test import override_settings
from django.utils import timezone

from tasks_celery import CeleryBackend
from tasks_celery.compat import TaskResultStatus, task_backends
from tasks_celery.exceptions import OptionsError, StoreError
from tasks_celery.options import Options
from tasks_celery.results import Results, error_of, find_store, store_url, to_result
from tasks_celery.stores.memory import MemoryStore
from tasks_celery.stores.nowhere import Nowhere
from tests.shop import tasks
from tests.stores.cases import NO_PAPER, WHEN, a_record


@pytest.fixture
def app() -> Iterator[Celery]:
    """A Celery app that nobody else sees."""
    with Celery("alone", set_as_current=False, broker="memory://", backend="cache+memory://") as app:
        yield app


# --- the place of records


@pytest.mark.parametrize(
    ("results", "backend", "broker", "found"),
    [
        ("redis://own/1", "redis://backend/1", "redis://broker/1", "redis://own/1"),
        (None, "redis://backend/1", "redis://broker/1", "redis://backend/1"),
        (None, "db+sqlite:///x", "redis+socket:///run/r.sock", "redis+socket:///run/r.sock"),
        (None, "rpc://", "amqp://", None),
        (None, None, "amqp://", None),
        (None, None, None, None),
        (None, "cache+memory://", "memory://", "memory://"),
        (None, "django-db", "sqs://", None),
        (None, None, ["redis://one/0", "redis://two/0"], "redis://one/0"),
        (None, None, "redis://one/0;redis://two/0", "redis://one/0"),
    ],
    ids=str,
)
def test_records_rest_where_the_project_has_redis(
    app: Celery, results: str | None, backend: Any, broker: Any, found: str | None
) -> None:
    app.conf.update(result_backend=backend, broker_url=broker)
    assert store_url(app, Options(results=results)) == found


def test_without_a_place_records_go_nowhere(app: Celery) -> None:
    app.conf.update(result_backend=None, broker_url="amqp://")
    assert isinstance(find_store(app, Options()), Nowhere)


@pytest.mark.parametrize("url", ["redis://host:no-port/0", "redis://host/0?socket_timeout=abc", "redis"])
def test_a_url_that_cannot_be_read_is_an_options_error(app: Celery, url: str) -> None:
    with pytest.raises(OptionsError, match="URL that cannot be read"):
        find_store(app, Options(results=url))


# --- how long


@pytest.mark.parametrize(
    ("expires", "seconds"), [(60, 60), (timedelta(minutes=2), 120), (None, None), (0, None), (1.5, 1.5)], ids=str
)
def test_a_record_is_kept_as_long_as_celery_keeps_results(app: Celery, expires: Any, seconds: float | None) -> None:
    app.conf.result_expires = expires
    assert Results(app=app, store=MemoryStore()).lifetime(a_record()) == seconds


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Kathmandu"])
@pytest.mark.parametrize("use_tz", [True, False])
def test_a_record_outlives_its_due_time(app: Celery, use_tz: bool, zone: str) -> None:  # contract 42
    app.conf.result_expires = 60
    with override_settings(USE_TZ=use_tz, TIME_ZONE=zone):
        due = timezone.now() + timedelta(days=3)
        lifetime = Results(app=app, store=MemoryStore()).lifetime(a_record(run_after=due))
    assert lifetime == pytest.approx(3 * 86400 + 60, abs=60)


def test_a_due_time_long_past_shortens_nothing(app: Celery) -> None:
    app.conf.result_expires = 60
    assert Results(app=app, store=MemoryStore()).lifetime(a_record(run_after=WHEN - timedelta(days=900))) == 60


# --- one mapping


def test_a_record_becomes_a_result_in_every_field() -> None:
    record = a_record(
        status="FAILED",
        started_at=WHEN,
        last_attempted_at=WHEN + timedelta(1),
        finished_at=WHEN + timedelta(2),
        worker_ids=("a", "b"),
        errors=(NO_PAPER, NO_PAPER),
        run_after=WHEN,
    )
    result = to_result(record, tasks.add)
    assert result.status is TaskResultStatus.FAILED
    assert (result.id, result.args, result.kwargs, result.backend) == (record.id, record.args, record.kwargs, "default")
    assert (result.enqueued_at, result.started_at) == (record.enqueued_at, record.started_at)
    assert (result.last_attempted_at, result.finished_at) == (record.last_attempted_at, record.finished_at)
    assert (result.worker_ids, result.attempts, len(result.errors)) == (["a", "b"], 2, 2)
    assert result.errors[0].exception_class is ValueError
    task = result.task
    assert (task.func, task.queue_name, task.priority, task.run_after) == (tasks.add.func, "reports", -7, WHEN)
    assert type(task) is type(tasks.add)
    assert task.options == tasks.add.options
    assert tasks.add.queue_name == "default"


def test_a_task_that_returned_nothing_is_not_one_that_has_no_value_yet() -> None:
    assert to_result(a_record(status="SUCCESSFUL"), tasks.add).return_value is None
    with pytest.raises(ValueError, match="not finished"):
        _ = to_result(a_record(status="RUNNING"), tasks.add).return_value


def test_a_result_of_a_queue_that_is_no_more_stays_readable() -> None:  # contract 46
    result = tasks.urgent.enqueue()
    with override_settings(TASKS={"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default"]}}):
        assert task_backends["default"].get_result(result.id).task.queue_name == "reports"


@pytest.mark.parametrize("path", ["tests.shop.gone.task", "tests.shop.tasks.gone", "os.getcwd"])
def test_a_result_whose_task_is_gone_stays_readable(path: str) -> None:
    record = a_record(path=path, name=path)
    task_backends["default"].results.store.create(record, lifetime=60)
    result = task_backends["default"].get_result(record.id)
    assert (result.args, result.task.module_path, result.task.queue_name) == (record.args, path, "reports")
    result.refresh()
    with pytest.raises(ImportError, match=path):
        result.task.call()


def test_a_result_whose_module_breaks_on_import_stays_readable(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_since.py").write_text("raise ValueError('broken since')")
    monkeypatch.syspath_prepend(tmp_path)
    record = a_record(path="broken_since.task", name="broken_since.task")
    task_backends["default"].results.store.create(record, lifetime=60)
    assert task_backends["default"].get_result(record.id).task.module_path == "broken_since.task"


# --- errors and values


class Outer:
    class Inner(Exception):
        pass


def test_an_error_says_where_its_class_lives_and_ends_in_its_message() -> None:  # contract 26
    with pytest.raises(Outer.Inner) as caught:
        raise Outer.Inner("no ☃ paper")
    kept = error_of(caught.value)
    assert kept.exception_class_path == "tests.test_results.Outer.Inner"
    assert kept.traceback.startswith("Traceback (most recent call last):\n")
    assert kept.traceback.endswith("Outer.Inner: no ☃ paper\n")


# --- what a worker reports never fails


class Away:
    """A store that never answers."""

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            raise StoreError("away")

        return call


def test_what_a_worker_reports_is_logged_and_goes_on(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    from tests.stores.cases import an_attempt, an_outcome

    results = Results(app=app, store=Away())
    record = a_record()
    started = results.start(record, an_attempt("one"))
    assert started is not None
    assert (started.status, started.worker_ids) == ("RUNNING", ("one",))
    ended = results.settle(started, an_outcome(attempt=1, return_value=4))
    assert ended is not None
    assert (ended.status, ended.return_value) == ("SUCCESSFUL", 4)
    results.undo(record)
    assert caplog.text.count(record.id) == 3


def test_what_a_caller_asks_raises(app: Celery) -> None:
    results = Results(app=app, store=Away())
    with pytest.raises(StoreError):
        results.ready(a_record())
    with pytest.raises(StoreError):
        results.get("x")


# --- cancelling


@pytest.mark.parametrize("read", [False, True], ids=["enqueued", "read"])
@pytest.mark.parametrize("terminate", [False, True])
async def test_a_result_is_cancelled_by_the_backend_that_it_was_enqueued_on(
    read: bool, terminate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = {alias: {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default"]} for alias in ("default", "other")}
    asked: list[Any] = []

    def cancel(self: Any, result: Any, *, terminate: bool = False) -> bool:
        asked.append((self.alias, result, terminate))
        return len(asked) == 1

    async def acancel(self: Any, result: Any, *, terminate: bool = False) -> bool:
        return cancel(self, result, terminate=terminate)

    with override_settings(TASKS=two):
        result = await tasks.add.using(backend="other").aenqueue(1)
        if read:
            result = await tasks.add.aget_result(result.id)
        monkeypatch.setattr(CeleryBackend, "cancel", cancel)
        monkeypatch.setattr(CeleryBackend, "acancel", acancel)
        assert result.cancel(terminate=terminate) is True
        assert await result.acancel(terminate=terminate) is False
    assert asked == [("other", result, terminate)] * 2


def test_a_task_that_is_cancelled_before_it_is_begun_is_failed_and_never_runs() -> None:
    result = tasks.add.enqueue(1)
    assert result.cancel() is True
    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    assert result.errors[0].exception_class_path == "tasks_celery.exceptions.TaskCancelled"
    assert result.cancel() is False


async def test_it_is_the_same_for_who_awaits() -> None:
    result = await tasks.add.aenqueue(1)
    assert await result.acancel() is True
    await result.arefresh()
    assert result.status == TaskResultStatus.FAILED
