"""Celery's own results, read for tasks that have no record: old producers', other apps'."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.app.task import Context as CeleryRequest
from celery.backends.base import KeyValueStoreBackend
from celery.utils.serialization import UnpickleableExceptionWrapper
from django.test import override_settings
from django.utils import timezone

from tasks_celery.celery_results import from_celery
from tasks_celery.compat import TaskResultDoesNotExist, task_backends
from tasks_celery.exceptions import StoreError
from tests.shop import tasks
from tests.shop.running import configured, the_app


@pytest.fixture
def app() -> Iterator[Celery]:
    """A Celery app that nobody else sees."""
    with Celery("alone", set_as_current=False, broker="memory://", backend="cache+memory://") as app:
        yield app


# --- Celery's own results


def stored_by_celery(state: str, value: Any, *, app: Celery | None = None, **facts: Any) -> str:
    """Store a result as a worker without tasks_celery does, and return its id."""
    app = app or the_app()
    named = {"id": uuid4().hex, "task": "tests.shop.tasks.add", "args": [1], "kwargs": {"b": 2}, "hostname": "old@host"}
    request = CeleryRequest(delivery_info={"routing_key": "reports"}, retries=1, **(named | facts))
    traceback = "Traceback…\nValueError: no paper\n" if isinstance(value, ValueError) else None
    with configured(app, result_extended=True):
        app.backend.store_result(request.id, value, state, traceback=traceback, request=request)
    return str(request.id)


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


def test_a_result_that_does_not_say_whose_it_is_is_no_knowledge() -> None:
    with pytest.raises(TaskResultDoesNotExist):
        task_backends["default"].get_result(stored_by_celery("SUCCESS", 3, task=None))


@pytest.mark.parametrize("use_tz", [True, False])
def test_the_time_of_a_celery_result_is_aware_exactly_if_use_tz(use_tz: bool) -> None:  # contract 43
    with override_settings(USE_TZ=use_tz, TIME_ZONE="Asia/Kathmandu"):
        record = from_celery(the_app(), stored_by_celery("SUCCESS", 1), timeout=5)
        assert record is not None
        assert record.finished_at is not None
        assert timezone.is_aware(record.finished_at) is use_tz
        assert abs((timezone.now() - record.finished_at).total_seconds()) < 60


class Away(KeyValueStoreBackend):
    """A result backend whose server does not answer."""

    asked = 0

    def get(self, key: bytes) -> None:
        type(self).asked += 1
        raise ConnectionError("away")

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        return True


def test_a_result_backend_that_is_away_is_a_store_error_and_asked_once(app: Celery) -> None:
    app.conf.update(result_backend="tests.test_celery_results:Away", result_backend_always_retry=True)
    before = Away.asked
    with pytest.raises(StoreError, match=r"'some-id': away\. Check CELERY_RESULT_BACKEND") as caught:
        from_celery(app, "some-id", timeout=5)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert Away.asked == before + 1


@pytest.mark.parametrize("backend", ["file:///no/such/folder", "nowhere.to:BeFound", "no-scheme://x"])
def test_a_result_backend_that_cannot_be_made_is_a_store_error(app: Celery, backend: str) -> None:
    app.conf.result_backend = backend
    with pytest.raises(StoreError):
        from_celery(app, "some-id", timeout=5)


@pytest.mark.parametrize("backend", [None, "rpc://", "disabled://"])
def test_a_result_backend_that_cannot_be_read_is_not_asked(app: Celery, backend: str | None) -> None:  # contract 47
    app.conf.result_backend = backend
    assert from_celery(app, "some-id", timeout=5) is None


# --- ids that nothing is stored under

ODD = ["", " ", "a" * 5000, "../../etc/passwd", "x/../../secret", "/etc/passwd", "a\0b", "a\nb", "☃", "\ud800", "."]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_an_odd_id_has_no_result_in_a_folder(app: Celery, tmp_path: Path, odd: str) -> None:  # contract 1, 11
    (tmp_path / "results").mkdir()
    app.conf.result_backend = f"file://{tmp_path}/results"
    assert from_celery(app, odd, timeout=5) is None


def test_an_id_never_leads_out_of_the_folder_of_results(app: Celery, tmp_path: Path) -> None:  # contract 11
    folder = tmp_path / "results"
    (folder / "celery-task-meta-x").mkdir(parents=True)
    app.conf.result_backend = f"file://{folder}"
    inside = folder / f"celery-task-meta-{stored_by_celery('SUCCESS', 3, app=app)}"
    (tmp_path / "outside").write_bytes(inside.read_bytes())
    assert app.AsyncResult("x/../../outside").state == "SUCCESS"  # what Celery itself makes of it
    assert from_celery(app, "x/../../outside", timeout=5) is None


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_an_odd_id_has_no_result_in_a_table(app: Celery, tmp_path: Path, odd: str) -> None:  # contract 1, 11
    pytest.importorskip("sqlalchemy")
    app.conf.result_backend = f"db+sqlite:///{tmp_path}/results.sqlite3"
    assert from_celery(app, odd, timeout=5) is None


@pytest.mark.parametrize(
    "unfit", ["", "a" * 234, "☃", "a b", "a\tb", "a\nb", "a\x7fb", "a\u2003b", "\ud800", "a\0b"], ids=ascii
)
def test_memcached_is_not_asked_for_what_can_be_no_key(app: Celery, unfit: str) -> None:  # contract 1, 11
    pytest.importorskip("pymemcache")
    app.conf.result_backend = "cache+memcached://127.0.0.1:1/"  # nobody listens
    assert from_celery(app, unfit, timeout=5) is None
    with pytest.raises(StoreError):
        from_celery(app, "a" * 233, timeout=5)


# --- what failed, and when


class Outer:
    class Unreadable(Exception):
        """Cannot be made again from its arguments."""

        def __init__(self, one: str, two: str) -> None:
            super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("stored", "path", "said"),
    [
        ({"exc_type": "Weird", "exc_module": "not.imported", "exc_message": ["a", 1]}, "not.imported.Weird", "a, 1"),
        ({"exc_type": "Out.In", "exc_module": "not.imported", "exc_message": "a"}, "not.imported.Out.In", "a"),
        ({"exc_type": "system", "exc_module": "os", "exc_message": ["rm"]}, "os.system", "rm"),
        ({"exc_type": "KeyError", "exc_message": ["a"]}, "builtins.KeyError", "a"),
        ({"exc_type": "Gone", "exc_message": []}, "builtins.Exception", ""),
        ("no dict", "builtins.Exception", "no dict"),
        (None, "builtins.Exception", "None"),
        (Outer.Unreadable("this", "that"), "tests.test_celery_results.Outer.Unreadable", "this and that"),
        (UnpickleableExceptionWrapper("far.off", "Odd", ("a",), "Odd(a)"), "far.off.Odd", "Odd(a)"),
    ],
    ids=str,
)
def test_an_error_keeps_the_name_it_was_stored_under(stored: Any, path: str, said: str) -> None:  # contract 26
    record = from_celery(the_app(), stored_by_celery("FAILURE", stored), timeout=5)
    assert record is not None
    assert [error.exception_class_path for error in record.errors] == [path]
    assert record.errors[0].traceback == f"{path}: {said}\n"


@pytest.mark.parametrize(
    ("stored", "path"),
    [
        (ValueError("no paper"), "builtins.ValueError"),
        (UnpickleableExceptionWrapper("far.off", "Odd", ("a",), "Odd(a)"), "far.off.Odd"),
    ],
    ids=str,
)
def test_an_error_that_the_project_pickles_keeps_its_name(app: Celery, stored: Any, path: str) -> None:  # contract 26
    app.conf.update(result_serializer="pickle", accept_content=["json", "pickle"])
    record = from_celery(app, stored_by_celery("FAILURE", stored, app=app), timeout=5)
    assert record is not None
    assert record.errors[0].exception_class_path == path


def test_a_result_that_may_not_be_unpickled_is_a_store_error(app: Celery) -> None:
    app.conf.update(result_serializer="pickle", accept_content=["json"])
    result_id = stored_by_celery("SUCCESS", 3, app=app)
    with pytest.raises(StoreError):
        from_celery(app, result_id, timeout=5)


def test_celerys_own_reading_stays_as_it_was(app: Celery) -> None:
    result_id = stored_by_celery("FAILURE", ValueError("no paper"), app=app)
    assert from_celery(app, result_id, timeout=5) is not None
    assert isinstance(app.AsyncResult(result_id).result, ValueError)
    assert "meta_from_decoded" not in vars(app.backend)


ZONES = [{}, {"timezone": "Asia/Kathmandu"}, {"timezone": "America/Chicago", "enable_utc": False}]


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("backend", ["cache+memory://", "db+sqlite:///{}/results.sqlite3"])
def test_the_time_of_a_result_is_read_in_the_zone_that_celery_wrote_it_in(  # contract 43
    app: Celery, tmp_path: Path, backend: str, use_tz: bool, zone: dict[str, Any]
) -> None:
    if backend.startswith("db"):
        pytest.importorskip("sqlalchemy")
    app.conf.update(result_backend=backend.format(tmp_path), **zone)
    with override_settings(USE_TZ=use_tz, TIME_ZONE="Australia/Eucla"):
        record = from_celery(app, stored_by_celery("SUCCESS", 1, app=app), timeout=5)
        assert record is not None
        assert record.finished_at is not None
        assert timezone.is_aware(record.finished_at) is use_tz
        assert abs((timezone.now() - record.finished_at).total_seconds()) < 60


def test_arguments_that_only_a_log_would_show_are_read_or_left_out() -> None:
    shown = {
        ("(1, 'two')", "{'b': (2,)}"): ([1, "two"], {"b": [2]}),
        ("[1, ...]", "{'b': '...'}"): ([], {}),
        ("<hidden>", "{'b': <object>}"): ([], {}),
        ("7", "7"): ([], {}),
        (None, None): ([], {}),
    }
    for (args, kwargs), known in shown.items():
        record = from_celery(the_app(), stored_by_celery("SUCCESS", 1, args=args, kwargs=kwargs), timeout=5)
        assert record is not None
        assert (record.args, record.kwargs) == known
