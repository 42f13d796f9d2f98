"""Celery's own results, read for tasks that have no record: old producers', other apps'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.app.task import Context as CeleryRequest
from django.test import override_settings
from django.utils import timezone

from tasks_celery.celery_results import from_celery
from tasks_celery.compat import TaskResultDoesNotExist
from tasks_celery.exceptions import StoreError
from tests.shop import tasks
from tests.shop.running import configured, the_app


@pytest.fixture
def app() -> Iterator[Celery]:
    """A Celery app that nobody else sees."""
    with Celery("alone", set_as_current=False, broker="memory://", backend="cache+memory://") as app:
        yield app


# --- Celery's own results


def stored_by_celery(state: str, value: Any, **facts: Any) -> str:
    """Store a result as a worker without tasks_celery does, and return its id."""
    result_id = uuid4().hex
    named = {"task": "tests.shop.tasks.add", "args": [1], "kwargs": {"b": 2}, "hostname": "old@host"}
    request = CeleryRequest(id=result_id, delivery_info={"routing_key": "reports"}, retries=1, **(named | facts))
    traceback = "Traceback…\nValueError: no paper\n" if isinstance(value, BaseException) else None
    with configured(the_app(), result_extended=True):
        the_app().backend.store_result(result_id, value, state, traceback=traceback, request=request)
    return result_id


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("RECEIVED", "READY"),
        ("RETRY", "READY"),
        ("STARTED", "RUNNING"),
        ("PROGRESS", "RUNNING"),
        ("SUCCESS", "SUCCESSFUL"),
        ("FAILURE", "FAILED"),
        ("REVOKED", "FAILED"),
    ],
)
def test_a_result_that_only_celery_has_is_told_in_djangos_words(state: str, status: str) -> None:
    value = ValueError("no paper") if state in ("FAILURE", "REVOKED", "RETRY") else 3
    result = tasks.add.get_result(stored_by_celery(state, value))
    assert result.status == status
    assert (result.args, result.kwargs, result.worker_ids) == ([1], {"b": 2}, ["old@host"])
    assert (result.enqueued_at, result.task.queue_name) == (None, "reports")
    assert (result.finished_at is not None) is (status in ("SUCCESSFUL", "FAILED"))
    if status == "SUCCESSFUL":
        assert result.return_value == 3
    if status == "FAILED":
        assert result.errors[0].exception_class is ValueError
        assert result.errors[0].traceback.endswith("ValueError: no paper\n")


def test_a_result_that_only_celery_has_can_be_refreshed() -> None:  # contract 7, 55
    result_id = stored_by_celery("STARTED", None)
    result = tasks.add.get_result(result_id)
    assert result.backend == result.task.backend == "default"
    request = CeleryRequest(id=result_id, task="tests.shop.tasks.add", args=[], kwargs={})
    with configured(the_app(), result_extended=True):
        the_app().backend.store_result(result_id, 3, "SUCCESS", request=request)
        result.refresh()


def test_a_result_that_celery_forgot_is_not_told_from_memory() -> None:  # contract 55
    result_id, backend = stored_by_celery("SUCCESS", 3), the_app().backend
    assert tasks.add.get_result(result_id).return_value == 3
    backend.delete(backend.get_key_for_task(result_id))
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result(result_id)


def test_pending_is_no_knowledge() -> None:  # contract 1
    the_app().AsyncResult("nobody")
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result(stored_by_celery("PENDING", None))


@pytest.mark.parametrize("use_tz", [True, False])
def test_the_time_of_a_celery_result_is_aware_exactly_if_use_tz(use_tz: bool) -> None:  # contract 43
    with override_settings(USE_TZ=use_tz, TIME_ZONE="Asia/Kathmandu"):
        record = from_celery(the_app(), stored_by_celery("SUCCESS", 1), timeout=5)
        assert record is not None
        assert record.finished_at is not None
        assert timezone.is_aware(record.finished_at) is use_tz
        assert abs((timezone.now() - record.finished_at).total_seconds()) < 60


def test_a_result_backend_that_is_away_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(the_app().backend, "get_task_meta", away)
    with pytest.raises(StoreError, match=r"'some-id'.*away") as caught:
        from_celery(the_app(), "some-id", timeout=5)
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.parametrize("backend", [None, "rpc://", "disabled://"])
def test_a_result_backend_that_cannot_be_read_is_not_asked(app: Celery, backend: str | None) -> None:  # contract 47
    app.conf.result_backend = backend
    assert from_celery(app, "some-id", timeout=5) is None
