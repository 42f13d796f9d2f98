"""What only a worker's main process sees, as far as a solo one shows it; prefork has integration/test_endings.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.app.trace import build_tracer
from celery.exceptions import Ignore, Reject
from celery.worker import state as worker_state
from celery.worker.request import Request as CelerysRequest
from django.utils import timezone

from tasks_celery import parent
from tasks_celery.compat import TaskResultStatus, task_backends
from tasks_celery.message import HEADER
from tasks_celery.worker import Duplicate
from tests.shop import gate, tasks
from tests.shop.running import finished, listening, signals_of, the_app, the_store, until
from tests.stores.making import a_record, an_attempt

BACKEND = "tasks_celery.CeleryBackend"

pytestmark = pytest.mark.usefixtures("quiet_worker")


# --- what never starts


def test_a_task_that_the_worker_does_not_know_is_a_failed_result() -> None:  # contract 10, 38
    record = a_record(queue_name="default", path="tests.shop.gone.task", name="tests.shop.gone.task")
    the_store().create(record, lifetime=60)
    facts = {"alias": "default", "path": record.path, "queue": "default"}
    with listening() as heard:
        the_app().send_task(record.name, [1], {"b": 2}, task_id=record.id, queue="default", headers={HEADER: facts})
        result = finished(task_backends["default"].get_result(record.id))
        assert signals_of(heard, result) == [("task_finished", "FAILED")]
    assert "knows no task 'tests.shop.gone.task'" in result.errors[0].traceback
    assert (result.started_at, result.worker_ids) == (None, [])


def test_an_importable_thing_that_is_no_task_is_never_called() -> None:  # contract 9
    facts = {"alias": "default", "path": "os.getcwd", "queue": "default"}
    the_app().send_task("os.getcwd", task_id="an-attack", queue="default", headers={HEADER: facts})
    until(lambda: the_store().get("an-attack"))
    result = task_backends["default"].get_result("an-attack")
    assert result.status == TaskResultStatus.FAILED
    with pytest.raises(ImportError):
        result.task.call()


@pytest.mark.parametrize("alias", ["nobody", None, 7, ["default"]], ids=repr)
def test_a_message_of_others_that_is_refused_leaves_the_worker_alone(alias: Any) -> None:
    facts = {"alias": alias} if alias else {}
    the_app().send_task("somebody.elses", task_id="not-ours", queue="default", headers={HEADER: facts})
    assert finished(tasks.add.enqueue(1)).return_value == 1
    assert the_store().get("not-ours") is None


def test_a_revoked_task_is_a_failed_result_and_does_not_run() -> None:  # contract 38
    with listening() as heard:
        gate.close()
        first = tasks.wait_at_gate.enqueue()
        assert gate.at_the_gate.wait(20)
        result = tasks.add.enqueue(1)
        worker_state.revoked.add(result.id)
        gate.opened.set()
        finished(first)
        finished(result)
        assert signals_of(heard, result) == [("task_enqueued", "READY"), ("task_finished", "FAILED")]
    assert result.errors[0].exception_class_path == "celery.exceptions.TaskRevokedError"
    assert "revoked" in result.errors[0].traceback
    assert result.worker_ids == []


def test_a_task_that_expired_is_a_failed_result() -> None:  # contract 38
    sent = tasks.add.celery.apply_async((1,), expires=timezone.now() - timedelta(hours=1), queue="default")
    result = finished(tasks.add.get_result(sent.id))
    assert result.status == TaskResultStatus.FAILED
    assert "expired" in result.errors[0].traceback


@contextmanager
def asking_for(task: Any, **options: Any) -> Iterator[None]:
    """Have a task ask Celery for other options in this block, and not for what a worker runs after it."""
    with mock.patch.multiple(task.celery, create=True, **options):
        yield


@pytest.mark.parametrize(
    ("raised", "late", "status"),
    [
        (Ignore("not now"), False, "FAILED"),
        (Reject("not mine", requeue=False), True, "FAILED"),
        (Reject("not mine", requeue=True), False, "FAILED"),
    ],
    ids=repr,
)
def test_what_is_turned_down_before_the_function_is_called_is_a_failed_result(
    raised: Exception, late: bool, status: str
) -> None:
    def before_start(*args: Any) -> None:
        raise raised

    twin = tasks.echo.celery
    with mock.patch.object(type(twin), "before_start", before_start):
        trace = build_tracer(twin.name, twin, app=the_app())
    with asking_for(tasks.echo, acks_late=late, __trace__=trace), listening() as heard:
        result = finished(tasks.echo.enqueue())
        assert signals_of(heard, result) == [("task_enqueued", "READY"), ("task_finished", status)]
    assert [error.exception_class for error in result.errors] == [type(raised)]
    assert result.worker_ids == []


# --- what goes back to its queue, or ends with its process


class Told:
    """A request of the main process for a task that runs, and what the broker was told, with the status at that time."""

    def __init__(self, task: Any) -> None:
        self.record = a_record(queue_name="default", path=task.module_path, name=task.celery.name)
        the_store().claim(self.record, an_attempt(worker_id="one"), lifetime=60)
        self.broker: list[tuple[str, str]] = []
        message = SimpleNamespace(
            headers={"id": self.record.id, "task": task.celery.name, "retries": 0},
            body=b"",
            payload=([], {}, {}),
            delivery_info={"routing_key": "default"},
            properties={},
            content_type="application/json",
            content_encoding="utf-8",
        )
        self.request = parent.Request(
            message,
            app=the_app(),
            task=task.celery,
            hostname="one",
            on_ack=lambda *args: self.broker.append(("ack", self.now.status)),
            on_reject=lambda log, errors, requeue: self.broker.append((f"reject {requeue}", self.now.status)),
        )
        self.request.time_start = 1.0

    @property
    def now(self) -> Any:
        return the_store().get(self.record.id)

    @property
    def errors(self) -> list[tuple[str, int]]:
        return [(error.exception_class_path.rpartition(".")[2], error.attempt) for error in self.now.errors]

    def fail(self, error: BaseException) -> None:
        try:
            raise error  # noqa: TRY301
        except Exception:  # noqa: BLE001  the one it was given
            self.request.on_failure(ExceptionInfo())


def pool_that_ends(*, able: bool = True) -> Any:
    def terminate_job(pid: int, signal: int) -> None:
        if not able:
            raise NotImplementedError

    return SimpleNamespace(terminate_job=terminate_job, is_green=False)


@pytest.fixture
def late() -> Iterator[Any]:
    with asking_for(tasks.echo, acks_late=True):
        yield tasks.echo


@pytest.mark.parametrize(("raised", "status"), [(Duplicate(), "RUNNING"), (Ignore(), "FAILED")], ids=repr)
def test_a_delivery_that_is_ignored_as_a_duplicate_says_nothing_of_the_task(raised: Exception, status: str) -> None:
    told, twin = Told(tasks.echo), tasks.echo.celery
    twin.push_request(**told.request.request_dict)
    try:
        parent._on_postrun(twin, state="IGNORED", retval=raised)
    finally:
        twin.pop_request()
    assert told.now.status == status


def test_a_lost_child_fails_its_task_once() -> None:  # contract 38
    with listening() as heard:
        told = Told(tasks.echo)
        told.fail(WorkerLostError("killed"))
        told.fail(WorkerLostError("killed"))
    assert (told.now.status, told.errors) == ("FAILED", [("WorkerLostError", 1)])
    assert [one.signal for one in heard if one.id == told.record.id] == ["task_finished"]


def test_a_message_that_goes_back_is_ready_before_the_broker_has_it(late: Any) -> None:
    with asking_for(late, reject_on_worker_lost=True), listening() as heard:
        told = Told(late)
        told.fail(WorkerLostError("killed"))
    assert told.broker == [("reject True", "READY")]
    assert (told.errors, told.now.retries, told.now.worker_ids) == ([("WorkerLostError", 1)], 0, ("one",))
    assert not [one for one in heard if one.id == told.record.id]


def test_a_revoke_ends_what_went_back(late: Any) -> None:
    told = Told(late)
    with asking_for(late, reject_on_worker_lost=True):
        told.fail(WorkerLostError("killed"))
    parent._on_revoked(late.celery, told.request._context, terminated=False, expired=False)
    assert (told.now.status, told.errors) == ("FAILED", [("WorkerLostError", 1), ("TaskRevokedError", 2)])


def test_what_the_child_has_sent_back_is_left_to_it(late: Any) -> None:
    told = Told(late)
    told.fail(Reject("not yet", requeue=True))
    assert told.broker == [("reject True", "RUNNING")]


@pytest.mark.parametrize("first", ["failure", "timeout"])
def test_a_time_limit_that_is_not_acknowledged_runs_the_task_again(first: str, late: Any) -> None:
    told = Told(late)
    with asking_for(late, acks_on_timeout=False, acks_on_failure_or_timeout=False), listening() as heard:
        if first == "failure":
            told.fail(TimeLimitExceeded(1))
        told.request.on_timeout(False, 1)
        if first == "timeout":
            told.fail(TimeLimitExceeded(1))
    assert (told.now.status, told.errors) == ("READY", [("TimeLimitExceeded", 1)])
    assert told.broker == [("reject True", "READY")]
    assert not [one for one in heard if one.id == told.record.id]


def test_a_soft_time_limit_ends_nothing(late: Any) -> None:
    told = Told(late)
    with asking_for(late, acks_on_timeout=False, acks_on_failure_or_timeout=False):
        told.request.on_timeout(True, 1)
    assert told.now.status == "RUNNING"


def test_a_cold_shutdown_fails_a_task_that_was_acknowledged() -> None:
    with listening() as heard:
        told = Told(tasks.echo)
        told.request.cancel(pool_that_ends())
    assert (told.now.status, told.errors) == ("FAILED", [("TaskInterrupted", 1)])
    assert [one.signal for one in heard if one.id == told.record.id] == ["task_finished"]


def test_a_cold_shutdown_makes_a_task_ready_that_comes_again(late: Any) -> None:
    told = Told(late)
    told.request.cancel(pool_that_ends())
    assert (told.now.status, told.errors, told.now.retries) == ("READY", [("TaskInterrupted", 1)], 0)
    told.fail(WorkerLostError("ended by the shutdown"))
    assert (told.now.status, told.errors) == ("READY", [("TaskInterrupted", 1)])


def test_a_green_pool_is_left_to_cancel_where_it_can_wait(late: Any) -> None:
    told, spawned = Told(late), []
    pool = pool_that_ends()
    pool.is_green, pool.spawn_n = True, lambda *call: spawned.append(call)
    told.request.cancel(pool)
    assert told.now.status == "RUNNING"
    ((function, *args),) = spawned
    function(*args)
    told.request.acknowledge()  # as the pool does, for the greenlet came to an end
    assert (told.now.status, told.broker) == ("READY", [])


def test_a_shutdown_leaves_alone_what_its_pool_cannot_end(late: Any) -> None:
    told = Told(late)
    told.request.cancel(pool_that_ends(able=False))
    assert told.now.status == "RUNNING"
    told.request.acknowledge()
    assert told.broker == [("ack", "RUNNING")]


needs_57 = pytest.mark.skipif(
    not hasattr(CelerysRequest, "_retry_worker_lost"), reason="retry_on_worker_lost came with Celery 5.7"
)


@needs_57
def test_a_task_that_is_retried_on_worker_lost_runs_again() -> None:
    told = Told(tasks.echo)
    with asking_for(tasks.echo, retry_on_worker_lost=True, default_retry_delay=0):
        told.fail(WorkerLostError("killed"))
    until(lambda: told.now.status == "SUCCESSFUL")
    assert (told.errors, len(told.now.worker_ids)) == ([("WorkerLostError", 1)], 2)


@needs_57
def test_a_task_whose_retry_cannot_be_sent_has_failed() -> None:
    away = mock.Mock(side_effect=OSError("no broker"))
    told = Told(tasks.echo)
    with asking_for(tasks.echo, retry_on_worker_lost=True, signature_from_request=away), listening() as heard:
        told.fail(WorkerLostError("killed"))
    assert told.now.status == "FAILED"
    assert "WorkerLostError" in [name for name, _ in told.errors]
    assert [one.signal for one in heard if one.id == told.record.id] == ["task_finished"]


# --- the worker as a whole


def test_a_worker_without_q_listens_to_the_queues_of_its_backends() -> None:  # contract 44
    assert {"default", "reports"} <= set(the_app().amqp.queues.consume_from)


def test_a_worker_looks_for_tasks_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(parent, "discover", lambda: looked.append("everywhere"))
    parent._on_worker_init(SimpleNamespace(app=the_app()))
    assert looked == ["everywhere"]


def test_connecting_twice_announces_once() -> None:
    parent.connect()
    parent.connect()
    with listening() as heard:
        result = finished(tasks.fail.enqueue())
        assert [signal for signal, _ in signals_of(heard, result)].count("task_finished") == 1
