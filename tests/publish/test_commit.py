"""Tasks that wait for a transaction: what is seen before it commits, after it has, and after it has not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone, translation
from kombu.exceptions import OperationalError

from tasks_celery import EnqueueError, OptionsError, StoreError, task
from tasks_celery.compat import TaskResultDoesNotExist, TaskResultStatus, task_backends
from tasks_celery.context import Context, asking
from tasks_celery.mover import Mover
from tasks_celery.stores.nowhere import NOWHERE
from tests.database.places import known_as, migrated_as
from tests.shop import tasks
from tests.shop.running import eagerly, empty_the_broker, listening, the_app, the_store, waiting

with_commits = pytest.mark.django_db(transaction=True)


@contextmanager
def records_in(results: str, *, on_commit: bool | str = True, **options: Any) -> Iterator[None]:
    """Keep records there, and enqueue on commit, for this block."""
    alias = {
        "BACKEND": "tasks_celery.CeleryBackend",
        "QUEUES": ["default", "reports"],
        "OPTIONS": {"RESULTS": results, "ENQUEUE_ON_COMMIT": on_commit, **options},
    }
    with override_settings(TASKS={"default": alias}):
        yield


@pytest.fixture(autouse=True)
def _an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


@pytest.fixture(params=["memory://", "database://"])
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where records are kept: elsewhere than the transaction, or in its database."""
    with records_in(request.param):
        yield request.param


@pytest.fixture
def elsewhere() -> Iterator[None]:
    with records_in("memory://"):
        yield


@pytest.fixture
def outbox() -> Iterator[None]:
    with records_in("database://"):
        yield


@pytest.fixture
def broker_away(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the broker take nothing until it is undone."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("nobody home")

    monkeypatch.setattr(the_app().amqp, "send_task_message", refuse)
    return monkeypatch


def away(*args: Any, **kwargs: Any) -> Any:
    raise StoreError("away")


def sent(queue: str = "default") -> list[str]:
    """Take the messages out of a queue: the ids, in order."""
    taken = []
    with the_app().connection_for_write() as broker, broker.SimpleQueue(queue) as there:
        while there.qsize():
            message = there.get(block=False)
            message.ack()
            taken.append(message.headers["id"])
    return taken


def move(*, seconds: float) -> int:
    """Do what a mover does so many seconds from now."""
    return Mover(task_backends["default"], the_store()).look(datetime.now(UTC) + timedelta(seconds=seconds))


def kept(result: Any) -> Any:
    return the_store().get(result.id)


# --- refusals


@with_commits
def test_with_autocommit_off_nobody_tells_of_the_commit_and_nothing_is_enqueued(place: str) -> None:
    connection.set_autocommit(False)
    try:
        with listening() as heard, pytest.raises(EnqueueError, match=r"tests\.shop\.tasks\.add.*autocommit off"):
            tasks.add.enqueue(1)
    finally:
        connection.rollback()
        connection.set_autocommit(True)
    assert (heard, sent()) == ([], [])


@pytest.mark.usefixtures("registry")
def test_a_database_that_is_not_there_any_more_is_an_error_that_names_it() -> None:
    with known_as("gone"):
        made = task(enqueue_on_commit="gone")(tasks.add.func)
    with pytest.raises(OptionsError, match="'gone'"):
        made.enqueue(1)


@with_commits
def test_what_json_cannot_hold_is_refused_inside_the_transaction(place: str) -> None:
    with transaction.atomic():
        with pytest.raises(TypeError):
            tasks.add.enqueue({1})
        assert connection.run_on_commit == []


# --- commit and rollback


@with_commits
def test_a_task_is_sent_as_the_transaction_commits(place: str) -> None:
    with listening() as heard, transaction.atomic():
        result = tasks.add.enqueue(1, b=2)
        assert (result.status, result.enqueued_at, result.args) == (TaskResultStatus.READY, None, [1])
        assert (waiting("default"), heard) == (0, [])
        before = timezone.now()
    assert sent() == [result.id]
    assert [(one.signal, one.id, one.stored) for one in heard] == [("task_enqueued", result.id, "READY")]
    told = tasks.add.get_result(result.id)
    assert (told.status, told.kwargs, kept(result).held) == (TaskResultStatus.READY, {"b": 2}, False)
    assert before <= told.enqueued_at == heard[0].result.enqueued_at <= timezone.now()
    assert result.enqueued_at is None
    result.refresh()
    assert result == told  # contract 4


@with_commits
def test_a_rollback_leaves_nothing(place: str) -> None:
    with listening() as heard, transaction.atomic():
        result = tasks.add.enqueue(1)
        transaction.set_rollback(True)
    assert (heard, sent()) == ([], [])
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result(result.id)
    assert move(seconds=3600) == 0


@with_commits
def test_an_exception_leaves_nothing(place: str) -> None:
    results = []

    def fail_after_it() -> None:
        with transaction.atomic():
            results.append(tasks.add.enqueue(1))
            raise LookupError

    with pytest.raises(LookupError):
        fail_after_it()
    assert (sent(), kept(results[0])) == ([], None)


@with_commits
def test_a_savepoint_that_is_rolled_back_takes_its_own_tasks_along(place: str) -> None:
    with listening() as heard, transaction.atomic():
        first = tasks.add.enqueue(1)
        with transaction.atomic():
            lost = tasks.add.enqueue(2)
            transaction.set_rollback(True)
        last = tasks.add.enqueue(3)
    assert sent() == [one.id for one in heard] == [first.id, last.id]
    assert kept(lost) is None


@with_commits
def test_a_savepoint_that_is_released_waits_for_the_commit(place: str) -> None:
    with transaction.atomic():
        with transaction.atomic(), transaction.atomic(savepoint=False):
            result = tasks.add.enqueue(1)
        assert waiting("default") == 0
    assert sent() == [result.id]


@with_commits
def test_several_are_sent_in_their_order(place: str) -> None:
    with transaction.atomic():
        results = [tasks.add.enqueue(number) for number in range(5)]
    assert sent() == [result.id for result in results]


@with_commits
def test_a_callback_of_the_projects_has_its_turn(place: str) -> None:
    seen: list[int] = []
    with transaction.atomic():
        tasks.add.enqueue(1)
        transaction.on_commit(lambda: seen.append(waiting("default")))
        tasks.add.enqueue(2)
    assert (seen, waiting("default")) == ([1], 2)


@with_commits
def test_a_durable_transaction_is_one_like_others(place: str) -> None:
    with transaction.atomic(durable=True):
        result = tasks.add.enqueue(1)
        assert waiting("default") == 0
    assert sent() == [result.id]


@with_commits
def test_with_autocommit_off_a_block_waits_for_the_commit_by_hand(place: str) -> None:
    connection.set_autocommit(False)
    try:
        with transaction.atomic():
            result = tasks.add.enqueue(1)
        connection.commit()
    finally:
        connection.set_autocommit(True)  # here Django calls what waits for the commit
    assert sent() == [result.id]


@with_commits
def test_outside_of_a_transaction_a_task_is_sent_at_once(place: str) -> None:
    result = tasks.add.enqueue(1)
    assert result.enqueued_at is not None
    assert tasks.add.get_result(result.id) == result
    assert sent() == [result.id]


@with_commits
def test_aenqueue_waits_too(place: str) -> None:
    @async_to_sync
    async def in_a_view() -> Any:
        return await sync_to_async(in_a_transaction)()

    def in_a_transaction() -> Any:
        with transaction.atomic():
            result = async_to_sync(tasks.add.aenqueue)(1)
            assert (result.enqueued_at, waiting("default")) == (None, 0)
        return result

    assert in_a_view().id in sent()


# --- who says that a task waits


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("of_backend", "of_task", "waits"),
    [
        (False, None, False),
        (False, True, True),
        (False, "default", True),
        (True, None, True),
        (True, False, False),
        ("default", None, True),
        ("default", False, False),
    ],
)
@with_commits
def test_the_task_says_it_before_the_backend(of_backend: Any, of_task: Any, waits: bool) -> None:
    with records_in("memory://", on_commit=of_backend):
        made = task(enqueue_on_commit=of_task)(tasks.add.func)
        with transaction.atomic():
            result = made.enqueue(1)
            assert (waiting("default"), result.enqueued_at is None) == (int(not waits), waits)
    assert sent() == [result.id]


@with_commits
def test_what_celerys_own_callers_send_waits_for_nothing(place: str) -> None:
    with transaction.atomic():
        tasks.add.celery.delay(1)
        assert waiting("default") == 1


@pytest.fixture
def other(django_db_blocker: Any, tmp_path: Any) -> Iterator[str]:
    """Another database, with the tables of the store."""
    with django_db_blocker.unblock(), migrated_as("other", NAME=str(tmp_path / "other.sqlite3")):
        yield "other"


@pytest.mark.parametrize("results", ["memory://", "database://", "database://other"])
@with_commits
def test_a_task_waits_for_the_database_that_is_named_and_for_no_other(other: str, results: str) -> None:
    with records_in(results, on_commit=other):
        with transaction.atomic():
            at_once = tasks.add.enqueue(1)
        assert sent() == [at_once.id]
        with transaction.atomic(using=other):
            waits = tasks.add.enqueue(2)
            assert waiting("default") == 0
        assert sent() == [waits.id]
        with transaction.atomic(using=other):
            gone = tasks.add.enqueue(3)
            transaction.set_rollback(True, using=other)
        assert (sent(), kept(gone)) == ([], None)


@pytest.mark.usefixtures("registry")
@with_commits
def test_true_of_a_task_means_the_database_that_the_backend_names(other: str) -> None:
    with records_in("memory://", on_commit=other):
        made = task(enqueue_on_commit=True)(tasks.add.func)
        with transaction.atomic():
            made.enqueue(1)
            assert waiting("default") == 1
        with transaction.atomic(using=other):
            made.enqueue(1)
            assert waiting("default") == 1
        assert waiting("default") == 2


# --- what is seen inside the transaction


@with_commits
def test_in_the_database_of_the_transaction_the_result_can_be_read_before_the_commit(outbox: None) -> None:
    with transaction.atomic():
        result = tasks.add.enqueue(1)
        assert tasks.add.get_result(result.id) == result
        assert kept(result).held


@with_commits
def test_elsewhere_nothing_is_kept_before_the_commit(elsewhere: None) -> None:
    with transaction.atomic():
        result = tasks.add.enqueue(1)
        with pytest.raises(TaskResultDoesNotExist):
            result.refresh()


# --- who asked


def _enqueued_by_another() -> Any:
    with asking(lambda: Context(user="7", request_id="r", language="de")), translation.override("de"):
        return tasks.add.enqueue(1)


@with_commits
def test_a_task_is_announced_in_the_context_that_it_was_enqueued_in(place: str) -> None:
    from tasks_celery import compat
    from tasks_celery.context import current

    seen = []

    def receiver(**kwargs: Any) -> None:
        seen.append((current().user, current().request_id, translation.get_language()))

    compat.task_enqueued.connect(receiver)
    try:
        with transaction.atomic():
            result = _enqueued_by_another()
    finally:
        compat.task_enqueued.disconnect(receiver)
    assert seen == [("7", "r", "de")]
    assert kept(result).context == {"user": "7", "request_id": "r", "language": "de"}


# --- many, later, eagerly


@with_commits
def test_a_bulk_waits_as_a_whole(place: str) -> None:
    backend = task_backends["default"]
    with listening() as heard, transaction.atomic():
        results = backend.enqueue_many([(tasks.add, (number,), {}) for number in range(3)])
        assert [(result.args, result.enqueued_at) for result in results] == [([0], None), ([1], None), ([2], None)]
        assert (waiting("default"), heard) == (0, [])
    assert sent() == [one.id for one in heard] == [result.id for result in results]
    with transaction.atomic():
        backend.enqueue_many([(tasks.add, (number,), {}) for number in range(3)])
        transaction.set_rollback(True)
    assert sent() == []


@pytest.mark.usefixtures("registry")
@with_commits
def test_of_a_bulk_each_waits_as_its_task_says(place: str) -> None:
    at_once = task(enqueue_on_commit=False, name="at once")(tasks.add.func)
    with transaction.atomic():
        results = task_backends["default"].enqueue_many([(tasks.urgent, (), {}), (at_once, (1,), {})])
        assert (waiting("reports"), waiting("default")) == (0, 1)
    assert (sent("reports"), sent()) == ([results[0].id], [results[1].id])


@pytest.mark.usefixtures("registry", "outbox")
@with_commits
def test_of_a_bulk_nothing_is_sent_where_what_waits_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = task(enqueue_on_commit=False, name="at once")(tasks.add.func)
    monkeypatch.setattr(type(the_store()), "create_many", away)
    with transaction.atomic(), pytest.raises(StoreError):
        task_backends["default"].enqueue_many([(at_once, (1,), {}), (tasks.urgent, (), {})])
    assert sent() == []


@with_commits
def test_a_task_that_may_run_later_is_enqueued_by_the_commit_and_sent_when_it_is_due(place: str) -> None:
    due = timezone.now() + timedelta(hours=1)
    with listening() as heard, transaction.atomic():
        result = tasks.add.using(run_after=due).enqueue(1)
        assert (heard, result.enqueued_at) == ([], None)
    assert [one.id for one in heard] == [result.id]
    record = kept(result)
    assert (record.held, record.due, sent()) == (True, due, [])
    assert record.enqueued_at == heard[0].result.enqueued_at < due
    assert (move(seconds=3500), move(seconds=3700)) == (0, 1)
    assert sent() == [result.id]
    assert len(heard) == 1
    assert kept(result).enqueued_at == record.enqueued_at


@with_commits
def test_a_task_whose_time_has_come_before_the_commit_is_sent_by_it(place: str) -> None:
    with transaction.atomic():
        result = tasks.add.using(run_after=timezone.now() - timedelta(seconds=1)).enqueue(1)
    assert sent() == [result.id]


@with_commits
def test_in_eager_mode_a_task_runs_as_the_transaction_commits(place: str) -> None:
    with eagerly(), listening() as heard:
        with transaction.atomic():
            result = tasks.add.enqueue(1, 2)
            assert (result.status, heard) == (TaskResultStatus.READY, [])
        assert [one.signal for one in heard] == ["task_enqueued", "task_started", "task_finished"]  # contract 18
        result.refresh()
        assert (result.return_value, result.enqueued_at is not None) == (3, True)
        with transaction.atomic():
            gone = tasks.add.enqueue(1, 2)
            transaction.set_rollback(True)
        assert (kept(gone), len(heard)) == (None, 3)


@with_commits
def test_in_eager_mode_a_task_that_fails_does_not_leave_the_block(place: str) -> None:  # contract 21
    with eagerly(task_eager_propagates=True):
        with transaction.atomic():
            result = tasks.fail.enqueue()
        result.refresh()
    assert result.status == TaskResultStatus.FAILED


@with_commits
def test_without_a_place_for_records_a_task_is_sent_on_commit_all_the_same() -> None:
    with mock.patch("tasks_celery.backend.find_store", return_value=NOWHERE), records_in("memory://"):
        with transaction.atomic():
            result = tasks.add.enqueue(1)
            assert waiting("default") == 0
        assert sent() == [result.id]
        with transaction.atomic():
            tasks.add.enqueue(1)
            transaction.set_rollback(True)
        assert sent() == []


@with_commits
def test_without_a_place_for_records_what_the_broker_does_not_take_is_raised_out_of_the_block(
    broker_away: pytest.MonkeyPatch,
) -> None:
    nowhere = mock.patch("tasks_celery.backend.find_store", return_value=NOWHERE)
    with nowhere, records_in("memory://"), pytest.raises(EnqueueError), transaction.atomic():
        tasks.add.enqueue(1)


# --- trouble after the commit


@with_commits
def test_what_the_broker_does_not_take_on_commit_is_sent_by_the_mover_and_nothing_is_raised(
    place: str, broker_away: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with listening() as heard:
        with transaction.atomic():
            result = tasks.add.enqueue(1)
        assert f"tests.shop.tasks.add id={result.id}" in caplog.text
        assert [one.id for one in heard] == [result.id]
        assert tasks.add.get_result(result.id).status == TaskResultStatus.READY
        broker_away.undo()
        assert move(seconds=5) == 0
        assert move(seconds=60) == 1
        assert (sent(), move(seconds=3600)) == ([result.id], 0)
        assert len(heard) == 1


@with_commits
def test_a_callback_of_the_projects_is_called_though_the_broker_is_away(
    place: str, broker_away: pytest.MonkeyPatch
) -> None:
    seen = []
    with transaction.atomic():
        tasks.add.enqueue(1)
        transaction.on_commit(lambda: seen.append("called"))
    assert seen == ["called"]


@with_commits
def test_what_can_be_neither_kept_nor_sent_is_raised_out_of_the_block_with_its_id(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(the_store(), "create_many", away)
    results = []
    with listening() as heard, pytest.raises(StoreError, match="has been committed") as caught, transaction.atomic():
        results.append(tasks.add.enqueue(1))
    assert f"tests.shop.tasks.add id={results[0].id}" in str(caught.value)
    assert (heard, sent()) == ([], [])


@with_commits
def test_a_message_that_cannot_be_noted_is_no_error_for_the_caller(
    place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(the_store()), "sent", away)
    with listening() as heard, transaction.atomic():
        result = tasks.add.enqueue(1)
    assert (sent(), [one.id for one in heard]) == ([result.id], [result.id])
    assert result.id in caplog.text


# --- the outbox: what the transaction has kept is sent, whoever dies


@with_commits
def test_what_a_process_did_not_live_to_send_is_sent_by_the_mover_and_announced_once(outbox: None) -> None:
    with listening() as heard:
        with transaction.atomic():
            result = tasks.add.enqueue(1)
            connection.run_on_commit.clear()  # the process dies with what it was about to call
        assert (heard, sent()) == ([], [])
        assert tasks.add.get_result(result.id).enqueued_at is None
        assert move(seconds=5) == 0
        assert move(seconds=60) == 1
    assert sent() == [one.id for one in heard] == [result.id]
    told = tasks.add.get_result(result.id)
    assert told.enqueued_at is not None
    assert abs((told.enqueued_at - timezone.now()).total_seconds()) < 30


@with_commits
def test_what_the_mover_was_faster_to_send_is_not_sent_or_announced_again(outbox: None) -> None:
    with listening() as heard:
        with transaction.atomic():
            result = tasks.add.enqueue(1)
            # What waits for the commit comes after the mover's look, as after a long transaction.
            connection.run_on_commit.insert(0, (set(), lambda: move(seconds=60), False))
        assert sent() == [one.id for one in heard] == [result.id]


@pytest.mark.parametrize("runs_eagerly", [False, True])
@with_commits
def test_what_is_cancelled_in_its_transaction_is_never_sent(outbox: None, runs_eagerly: bool) -> None:
    with eagerly() if runs_eagerly else nullcontext(), listening() as heard, transaction.atomic():
        result = tasks.add.enqueue(1)
        assert result.cancel()
    assert sent() == []
    assert [(one.signal, one.id, one.status) for one in heard] == [("task_finished", result.id, "FAILED")]


@with_commits
def test_a_row_that_cannot_be_noted_is_left_to_the_mover(
    outbox: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with listening() as heard:
        with monkeypatch.context() as patch, transaction.atomic():
            patch.setattr(type(the_store()), "enqueued", away)
            result = tasks.add.enqueue(1)
            connection.run_on_commit.append((set(), patch.undo, False))
        assert (sent(), heard) == ([], [])
        assert result.id in caplog.text
        assert move(seconds=60) == 1
        assert sent() == [one.id for one in heard] == [result.id]


# --- Django's own test cases


class TestInATestCase(TestCase):
    """Whose transaction never commits."""

    def setUp(self) -> None:
        settings = records_in("memory://")
        settings.__enter__()
        self.addCleanup(settings.__exit__, None, None, None)

    def test_without_more_nothing_is_sent(self) -> None:
        result = tasks.add.enqueue(1)
        assert (result.enqueued_at, waiting("default")) == (None, 0)

    def test_captured_callbacks_can_be_executed(self) -> None:
        before = tasks.add.enqueue(0)
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            result = tasks.add.enqueue(1)
            assert waiting("default") == 0
        assert (len(callbacks), sent()) == (1, [result.id])
        assert kept(before) is None
        result.refresh()
        assert result.enqueued_at is not None

    def test_captured_callbacks_can_be_executed_by_hand(self) -> None:
        with self.captureOnCommitCallbacks() as callbacks:
            results = [tasks.add.enqueue(number) for number in range(2)]
        assert sent() == []
        for each in callbacks:
            each()
        assert sent() == [result.id for result in results]

    def test_what_is_enqueued_in_a_block_is_captured_too(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            with transaction.atomic():
                result = tasks.add.enqueue(1)
            with transaction.atomic():
                tasks.add.enqueue(2)
                transaction.set_rollback(True)
        assert sent() == [result.id]

    def test_a_durable_block_is_captured_too(self) -> None:
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic(durable=True):
            result = tasks.add.enqueue(1)
        assert sent() == [result.id]


class TestInATestCaseWithRows(TestInATestCase):
    """The same, with records in the database of the transaction."""

    def setUp(self) -> None:
        settings = records_in("database://")
        settings.__enter__()
        self.addCleanup(settings.__exit__, None, None, None)

    def test_captured_callbacks_can_be_executed(self) -> None:
        before = tasks.add.enqueue(0)
        with self.captureOnCommitCallbacks(execute=True):
            result = tasks.add.enqueue(1)
        assert sent() == [result.id]
        assert kept(before).held


class TestInATransactionTestCase(TransactionTestCase):
    def test_a_block_commits(self) -> None:
        with records_in("memory://"):
            with transaction.atomic():
                result = tasks.add.enqueue(1)
                assert waiting("default") == 0
            assert sent() == [result.id]


# --- nothing is asked of a database that nobody uses


def test_a_project_that_does_not_ask_for_it_asks_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks_celery.publish import commit

    monkeypatch.setattr(commit, "connections", None)
    assert tasks.add.enqueue(1).enqueued_at is not None


def test_where_nothing_is_connected_nothing_is_opened(place: str) -> None:
    # No transaction is open there. The database is off limits here: connecting would be an error.
    if place == "memory://":
        assert not connections["default"].in_atomic_block
        assert tasks.add.enqueue(1).enqueued_at is not None


# --- values


def test_what_was_prepared_is_not_changed(elsewhere: None) -> None:
    from tasks_celery.publish.commit import _unsent
    from tasks_celery.publish.prepare import prepare

    prepared = prepare(task_backends["default"], tasks.add, (1,), {})
    unsent = _unsent(task_backends["default"], prepared)
    assert (prepared.result.enqueued_at is None, prepared.record.held) == (False, False)
    assert (unsent.result.enqueued_at, unsent.record.enqueued_at, unsent.record.held) == (None, None, True)
    assert replace(unsent.record, enqueued_at=prepared.record.enqueued_at, held=False, due=prepared.record.due) == (
        prepared.record
    )
