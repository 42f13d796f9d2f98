"""What is left of a task that was not sent: what its caller is told, and what its record is then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from tasks_celery import EnqueueError, StoreError
from tasks_celery.compat import TaskResultStatus, task_backends
from tasks_celery.exceptions import PartlyEnqueued
from tasks_celery.publish import undo
from tasks_celery.publish.broker import Unanswered
from tasks_celery.stores import Record
from tasks_celery.stores.nowhere import NOWHERE
from tests.shop import tasks
from tests.shop.brokers import a_broker_that, a_broker_that_raises
from tests.shop.running import empty_the_broker, listening, the_store
from tests.stores.making import an_attempt


@pytest.fixture(autouse=True)
def _nothing_in_doubt() -> Iterator[None]:
    undo._doubtful.clear()
    yield
    undo._doubtful.clear()
    empty_the_broker()


@pytest.fixture
def unanswered() -> Iterator[list[Record]]:
    """Let no broker answer; yield the records whose messages it was given."""
    with a_broker_that_raises(TimeoutError("no answer")) as tried:
        yield tried


def away(*args: Any, **kwargs: Any) -> None:
    raise StoreError("away")


def late(*args: Any, **kwargs: Any) -> None:
    raise StoreError("no answer") from TimeoutError()


def test_a_message_without_an_answer_has_a_record_that_no_worker_runs(unanswered: list[Record]) -> None:
    with listening() as heard, pytest.raises(EnqueueError, match="not run: its record is FAILED") as caught:
        tasks.add.enqueue(1)
    assert isinstance(caught.value.__cause__, Unanswered)
    told = tasks.add.get_result(unanswered[0].id)
    assert (told.status, told.attempts) == (TaskResultStatus.FAILED, 0)
    assert told.errors[0].exception_class_path == "tasks_celery.exceptions.EnqueueError"
    assert "no answer" in told.errors[0].traceback
    record = the_store().get(unanswered[0].id)
    assert the_store().claim(record, an_attempt(redelivered=True), lifetime=60) is None
    assert heard == []


def test_a_message_that_a_worker_has_begun_without_an_answer_was_sent() -> None:
    def begin(record: Record) -> None:
        the_store().claim(the_store().get(record.id), an_attempt("fast"), lifetime=60)
        raise TimeoutError("no answer")

    with a_broker_that(begin), listening() as heard:
        result = tasks.add.enqueue(1)
    assert [one.signal for one in heard] == ["task_enqueued"]
    assert tasks.add.get_result(result.id).status == TaskResultStatus.RUNNING


def test_where_the_record_cannot_be_changed_the_error_says_that_the_task_may_run(
    monkeypatch: pytest.MonkeyPatch, unanswered: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(the_store(), "settle", away)
    with pytest.raises(EnqueueError, match="may still be run"):
        tasks.add.enqueue(1)
    assert unanswered[0].id in caplog.text


def test_where_the_record_cannot_be_removed_the_error_says_that_the_task_may_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(the_store(), "discard", away)
    with a_broker_that_raises(OSError("refused")), pytest.raises(EnqueueError, match="may still be run"):
        tasks.add.enqueue(1)
    assert "still to be removed" in caplog.text


def test_without_records_the_error_says_that_the_task_may_run(unanswered: list[Record]) -> None:
    results = task_backends["default"].results
    with (
        mock.patch.object(type(task_backends["default"]), "results", mock.Mock(store=NOWHERE, ready=results.ready)),
        pytest.raises(EnqueueError, match="may still be run"),
    ):
        tasks.add.enqueue(1)


def test_what_is_refused_leaves_nothing() -> None:
    known = set(the_store()._records)
    with a_broker_that_raises(OSError("refused")), pytest.raises(EnqueueError, match="Nothing was stored"):
        tasks.add.enqueue(1)
    assert set(the_store()._records) == known


def test_a_record_that_a_store_may_have_kept_is_discarded_once_it_answers_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, create = set(the_store()._records), the_store().create

    def keep(record: Any, **options: Any) -> None:
        create(record, **options)
        late()

    with monkeypatch.context() as patch:
        patch.setattr(the_store(), "create", keep)
        with pytest.raises(StoreError):
            tasks.add.enqueue(1)
    assert len(set(the_store()._records) - known) == 1
    again = tasks.add.enqueue(2)
    assert set(the_store()._records) - known == {again.id}
    assert not undo._doubtful


def test_a_record_that_a_store_refused_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(the_store(), "create", away)
    with pytest.raises(StoreError):
        tasks.add.enqueue(1)
    assert not undo._doubtful


def test_what_cannot_be_discarded_yet_holds_up_nobody_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = {"one": the_store(), "two": the_store(), "another store's": NOWHERE}
    undo._doubtful.extend(undo._Doubt(store, result_id) for result_id, store in stores.items())
    tried: list[str] = []

    def discard(result_id: str) -> None:
        tried.append(result_id)
        away()

    with monkeypatch.context() as patch:
        patch.setattr(the_store(), "discard", discard)
        tasks.add.enqueue(1)
    assert tried == ["one"]  # a store that is away costs one wait, not one for each record
    assert sorted(doubt.result_id for doubt in undo._doubtful) == ["another store's", "one", "two"]
    tasks.add.enqueue(2)
    assert [doubt.result_id for doubt in undo._doubtful] == ["another store's"]


@pytest.mark.parametrize(("error", "call"), [(OSError("gone"), "discard"), (TimeoutError("no answer"), "settle")])
def test_of_many_that_could_not_be_taken_back_none_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, error: Exception, call: str
) -> None:
    known = set(the_store()._records)
    with monkeypatch.context() as patch:
        for name in ("discard", "settle"):
            patch.setattr(the_store(), name, away)
        with a_broker_that_raises(error, at=1) as tried, pytest.raises(PartlyEnqueued) as caught:
            tasks.add.enqueue_many([((number,), {}) for number in range(4)])
    assert len(caught.value.doubtful) == 3
    again = tasks.add.enqueue("it answers again")
    left = {tried[0].id, again.id} | ({tried[1].id} if call == "settle" else set())
    assert set(the_store()._records) - known == left
    assert [record.status for each in left if (record := the_store().get(each))].count("FAILED") == len(left) - 2
    assert not undo._doubtful
