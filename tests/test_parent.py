"""What only a worker's main process sees, as far as a solo one shows it; prefork has integration/test_endings.py."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state as worker_state
from django.utils import timezone

from tasks_celery import parent
from tasks_celery.compat import TaskResultStatus, task_backends
from tasks_celery.message import HEADER
from tests.shop import gate, tasks
from tests.shop.running import finished, listening, signals_of, the_app, the_store, until
from tests.stores.cases import a_record

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
