"""What the sweeper leaves alone, and what it does with a task that nobody works on any more."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from django.test import override_settings
from django.utils import timezone

from tasks_celery.compat import task_backends
from tasks_celery.exceptions import EnqueueError, StoreError
from tasks_celery.mover import Mover
from tasks_celery.results import Results
from tasks_celery.stores import Attempt, Record
from tasks_celery.stores.memory import MemoryStore
from tasks_celery.sweeper import Found, Sweeper
from tests.shop import tasks
from tests.shop.running import a_worker, configured, empty_the_broker, finished, listening, the_app, the_store, waiting
from tests.test_mover import held

GRACE = 60.0


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Nothing in the broker, and records of these tests alone."""
    empty_the_broker()
    with override_settings(), mock.patch("tasks_celery.results.open_store", return_value=MemoryStore()):
        yield
    empty_the_broker()


def a_sweeper() -> Sweeper:
    backend = task_backends["default"]
    return Sweeper(backend, Results(app=backend.app, store=the_store()))


@contextmanager
def after(seconds: float) -> Iterator[None]:
    """Let this block happen so many seconds later."""
    now = timezone.now
    with mock.patch("tasks_celery.sweeper.timezone.now", side_effect=lambda: now() + timedelta(seconds=seconds)):
        yield


def looked_after(seconds: float, sweeper: Sweeper | None = None) -> Found:
    with after(seconds):
        return (sweeper or a_sweeper()).look()


def running_on_a_dead_worker(task: Any, **changes: Any) -> Any:
    """Return the result of a task that a worker took and that died with it: its lease is held by nobody."""
    result = task.enqueue()
    empty_the_broker()
    attempt = Attempt(
        **({"token": uuid4().hex, "worker_id": "dead@host", "at": timezone.now(), "lease": uuid4().hex} | changes)
    )
    assert the_store().claim(the_store().get(result.id), attempt, lifetime=3600)
    return result


def record_of(result: Any) -> Record:
    return the_store().get(result.id)


# --- what is left alone


def test_a_task_that_is_not_overdue_is_left_alone() -> None:
    tasks.add.enqueue(1)
    empty_the_broker()
    assert looked_after(GRACE - 5) == Found()


def test_a_task_whose_message_waits_in_a_long_queue_is_left_alone() -> None:
    for _ in range(3):
        tasks.add.enqueue(1)
    assert looked_after(3600) == Found()
    assert waiting("default") == 3


def test_a_call_of_celerys_own_is_left_alone_until_its_countdown_is_over() -> None:
    tasks.add.celery.apply_async((1,), countdown=7200)
    empty_the_broker()
    assert looked_after(7200) == Found()
    assert looked_after(7200 + GRACE + 5) == Found(resent=1)


def test_a_task_that_is_still_held_is_the_movers_however_late() -> None:
    held(the_store(), due=timezone.now())
    assert looked_after(3600) == Found()
    assert waiting("default") == 0


def test_a_message_that_the_mover_sent_and_the_broker_lost_is_sent_again() -> None:
    record = held(the_store(), due=timezone.now())
    assert Mover(task_backends["default"], the_store()).look(timezone.now()) == 1
    empty_the_broker()
    assert looked_after(GRACE - 5) == Found()
    assert looked_after(GRACE + 5) == Found(resent=1)
    assert the_store().get(record.id).resent == 1


def test_a_running_task_whose_worker_lives_is_left_alone() -> None:
    result = running_on_a_dead_worker(tasks.add, lease="worker:alive")
    the_store().hold("worker:alive", "worker:alive", seconds=3600)
    sweeper = a_sweeper()
    assert [sweeper.look(), sweeper.look()] == [Found(), Found()]
    assert record_of(result).status == "RUNNING"


def test_a_worker_that_is_late_once_is_not_taken_for_dead() -> None:
    result = running_on_a_dead_worker(tasks.add, lease="worker:late")
    sweeper = a_sweeper()
    assert sweeper.look() == Found(suspected=1)
    the_store().hold("worker:late", "worker:late", seconds=3600)
    assert sweeper.look() == Found()
    assert record_of(result).status == "RUNNING"


def test_a_later_attempt_is_suspected_anew() -> None:
    result = running_on_a_dead_worker(tasks.add)
    sweeper = a_sweeper()
    sweeper.look()
    again = Attempt(token="again", worker_id="two@host", at=timezone.now(), redelivered=True, lease=uuid4().hex)
    assert the_store().claim(record_of(result), again, lifetime=3600)
    assert sweeper.look() == Found(suspected=1)


def test_what_runs_under_no_lease_is_left_alone() -> None:
    running_on_a_dead_worker(tasks.add, lease="")
    sweeper = a_sweeper()
    assert [sweeper.look(), sweeper.look()] == [Found(), Found()]


def test_only_one_sweeper_looks_at_a_time_and_another_takes_over() -> None:
    one, two = a_sweeper(), a_sweeper()
    assert one.look_if_alone(seconds=0.2) is not None
    assert two.look_if_alone(seconds=0.2) is None
    assert one.look_if_alone(seconds=0.01) is not None
    from tests.shop.running import until

    until(lambda: two.look_if_alone(seconds=60) is not None)
    assert one.look_if_alone(seconds=60) is None


# --- a message that was lost


def test_a_lost_message_is_sent_again_under_the_same_id_and_runs() -> None:
    result = tasks.add.enqueue(1, b=2)
    empty_the_broker()
    with listening() as heard:
        assert looked_after(GRACE + 5) == Found(resent=1)
        assert heard == []  # it was enqueued before
    with a_worker_on_what_waits():
        assert finished(result).return_value == 3
    assert result.attempts == 1


@contextmanager
def a_worker_on_what_waits() -> Iterator[None]:
    with mock.patch("tests.shop.running.empty_the_broker"), a_worker():
        yield


def test_a_repeated_message_is_the_first_one_in_all_that_counts() -> None:
    tasks.urgent.enqueue()
    first = the_message("reports")
    looked_after(GRACE + 10)
    second = the_message("reports")
    assert_the_same(first, second)


def test_so_is_that_of_a_deferred_task_that_the_mover_has_sent() -> None:
    tasks.urgent.using(run_after=timezone.now() + timedelta(hours=1)).enqueue()
    later = timezone.now() + timedelta(hours=1, seconds=1)
    assert Mover(task_backends["default"], the_store()).look(later) == 1
    first = the_message("reports")
    looked_after(GRACE + 5)
    assert_the_same(first, the_message("reports"))


def assert_the_same(first: Any, second: Any) -> None:
    different = {name for name in first.headers if first.headers[name] != second.headers[name]}
    assert different <= {"origin"}
    assert second.body == first.body
    assert second.properties["priority"] == first.properties["priority"]


def the_message(queue: str) -> Any:
    with the_app().connection_for_read() as connection:
        message = connection.default_channel.basic_get(queue, no_ack=True)
        assert message is not None
        return message


def test_a_lost_call_of_celerys_own_keeps_its_link_and_its_dates() -> None:
    when = datetime(2026, 5, 1, tzinfo=UTC)
    sent = tasks.echo.celery.apply_async((when,), link=tasks.add.celery.s(5), expires=600)
    empty_the_broker()
    looked_after(GRACE + 5)
    message = the_message("default").decode()
    args, _, embed = message
    assert args == [when]
    assert [link["task"] for link in embed["callbacks"]] == ["tests.shop.tasks.add"]
    assert sent.id


def test_as_many_are_sent_again_as_the_queue_is_short_of_and_the_oldest_first() -> None:
    first, *_ = [tasks.add.enqueue(number) for number in range(3)]
    the_message("default")
    assert looked_after(GRACE + 5) == Found(resent=1)
    assert waiting("default") == 3
    assert record_of(first).resent == 1


def test_each_queue_is_counted_for_itself() -> None:
    tasks.add.enqueue(1)
    lost = tasks.urgent.enqueue()
    the_message("reports")
    tasks.add.enqueue(2)
    assert looked_after(GRACE + 5) == Found(resent=1)
    assert record_of(lost).resent == 1


def test_a_message_lost_again_is_given_twice_the_time() -> None:
    result = tasks.add.enqueue(1)
    for number, seconds in enumerate((GRACE, GRACE, 2 * GRACE, 4 * GRACE)):
        empty_the_broker()
        due = record_of(result).due
        assert due is not None
        wait = (due - timezone.now()).total_seconds() + GRACE
        assert looked_after(wait - 5) == Found(), number
        assert looked_after(wait + 5) == Found(resent=1), number
        later = record_of(result).due
        assert later is not None
        assert later - timezone.now() > timedelta(seconds=seconds)
    assert record_of(result).resent == 4


def test_a_task_that_begins_meanwhile_is_not_sent_again() -> None:
    result = tasks.add.enqueue(1)
    empty_the_broker()
    known = record_of(result)
    attempt = Attempt(token="t", worker_id="w", at=timezone.now())
    assert the_store().claim(known, attempt, lifetime=60)
    with (
        mock.patch.object(MemoryStore, "overdue", return_value=[known]),
        mock.patch.object(MemoryStore, "waiting", return_value={"default": 1}),
    ):
        assert looked_after(GRACE + 5) == Found()
    assert waiting("default") == 0


def test_a_broker_that_is_away_is_asked_again_later(caplog: pytest.LogCaptureFixture) -> None:
    result = tasks.add.enqueue(1)
    empty_the_broker()
    with mock.patch("tasks_celery.publish.depth", side_effect=EnqueueError("away")):
        assert looked_after(GRACE + 5) == Found()
    assert record_of(result).resent == 0
    with mock.patch("tasks_celery.publish.send_kept", return_value=[]):
        assert looked_after(GRACE + 5) == Found()
    assert result.id in caplog.text
    assert waiting("default") == 0


def test_a_message_that_it_never_takes_does_not_hold_up_the_others_for_ever() -> None:
    results = [tasks.add.enqueue(number) for number in range(3)]
    never = results[0].id
    sent: set[str] = set()

    def send(backend: Any, records: list[Record]) -> list[Record]:
        """Take them in order, up to the first that it does not take."""
        taken = list(itertools.takewhile(lambda record: record.id != never, records))
        sent.update(record.id for record in taken)
        return taken

    empty_the_broker()
    with mock.patch("tasks_celery.publish.send_kept", side_effect=send):
        for look in range(1, 40):
            looked_after(GRACE * 2000 * look)
    assert sent == {result.id for result in results[1:]}


def test_a_store_that_is_away_is_a_store_error() -> None:
    with mock.patch.object(MemoryStore, "waiting", side_effect=StoreError("away")), pytest.raises(StoreError):
        a_sweeper().look()


def test_a_task_of_an_alias_that_is_gone_is_sent_again_all_the_same() -> None:
    result = tasks.add.enqueue(1)
    empty_the_broker()
    the_store()._records[result.id] = replace(record_of(result), alias="gone")
    assert looked_after(GRACE + 5) == Found(resent=1)


def test_a_task_that_is_gone_from_the_code_is_sent_again_all_the_same() -> None:
    result = tasks.add.enqueue(1)
    empty_the_broker()
    the_store()._records[result.id] = replace(record_of(result), name="shop.gone", path="shop.gone")
    assert looked_after(GRACE + 5) == Found(resent=1)
    assert the_message("default").headers["task"] == "shop.gone"


# --- what expired


def test_a_task_that_expired_in_the_broker_fails_with_one_event() -> None:
    result = tasks.fleeting.enqueue()
    empty_the_broker()
    with listening() as heard:
        assert looked_after(5) == Found(expired=1)
        assert looked_after(5) == Found()
    result.refresh()
    assert result.status == "FAILED"
    assert result.errors[0].exception_class_path == "celery.exceptions.TaskRevokedError"
    assert [(one.signal, one.stored) for one in heard] == [("task_finished", "FAILED")]
    assert looked_after(GRACE + 5) == Found()


def test_a_task_that_began_before_it_expired_goes_on() -> None:
    result = tasks.fleeting.enqueue()
    known = record_of(result)
    attempt = Attempt(token="t", worker_id="w", at=timezone.now())
    assert the_store().claim(known, attempt, lifetime=60)
    with mock.patch.object(MemoryStore, "expired", return_value=[known]):
        assert looked_after(60) == Found()
    assert record_of(result).status == "RUNNING"


# --- what ran on a worker that is gone


def test_a_task_acknowledged_early_fails_with_its_worker() -> None:
    result = running_on_a_dead_worker(tasks.add)
    sweeper = a_sweeper()
    with listening() as heard:
        assert sweeper.look() == Found(suspected=1)
        assert sweeper.look() == Found(lost=1)
        assert sweeper.look() == Found()
    result.refresh()
    assert (result.status, result.attempts, len(result.errors)) == ("FAILED", 1, 1)
    assert result.errors[0].exception_class_path == "billiard.exceptions.WorkerLostError"
    assert "dead@host" in result.errors[0].traceback
    assert [(one.signal, one.stored) for one in heard] == [("task_finished", "FAILED")]


def test_a_task_acknowledged_late_is_run_again() -> None:
    result = running_on_a_dead_worker(tasks.late)
    sweeper = a_sweeper()
    with listening() as heard:
        sweeper.look()
        assert sweeper.look() == Found(resent=1)
    assert heard == []
    with a_worker_on_what_waits():
        finished(result)
    assert (result.status, result.attempts, len(result.errors)) == ("SUCCESSFUL", 2, 1)
    assert result.errors[0].exception_class_path == "billiard.exceptions.WorkerLostError"


def test_late_acknowledgement_may_be_the_projects() -> None:
    running_on_a_dead_worker(tasks.add)
    sweeper = a_sweeper()
    sweeper.look()
    with configured(the_app(), task_acks_late=True), mock.patch.object(tasks.add.celery, "acks_late", True):
        assert sweeper.look() == Found(resent=1)


@pytest.mark.parametrize(("retries", "found"), [(0, Found(resent=1)), (3, Found(lost=1))])
def test_a_task_that_asks_for_it_is_retried_as_often_as_it_says(retries: int, found: Found) -> None:
    result = running_on_a_dead_worker(tasks.add, retries=retries)
    sweeper = a_sweeper()
    sweeper.look()
    with mock.patch.object(tasks.add.celery, "retry_on_worker_lost", True, create=True):
        assert sweeper.look() == found
    if found.resent:
        assert the_message("default").headers["retries"] == retries + 1
        assert record_of(result).retries == retries + 1


def test_a_receiver_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    from tasks_celery.compat import task_finished

    results = [running_on_a_dead_worker(tasks.add) for _ in range(2)]

    def broken(sender: type, **kwargs: Any) -> None:
        raise RuntimeError("receiver")

    task_finished.connect(broken)
    try:
        sweeper = a_sweeper()
        sweeper.look()
        with caplog.at_level(logging.ERROR):
            assert sweeper.look() == Found(lost=2)
    finally:
        task_finished.disconnect(broken)
    assert all(result.id in caplog.text for result in results)


@override_settings(TASKS={"default": {"BACKEND": "tasks_celery.CeleryBackend", "OPTIONS": {"GRACE": 5}}})
def test_the_grace_is_an_option() -> None:
    tasks.add.enqueue(1)
    empty_the_broker()
    assert looked_after(4) == Found()
    assert looked_after(6) == Found(resent=1)


# --- a message that a worker without records has run


def test_what_celery_says_has_ended_is_not_sent_again_and_ends_so() -> None:
    result = tasks.add.enqueue(1, b=2)
    empty_the_broker()
    the_app().backend.store_result(result.id, 3, "SUCCESS")
    with listening() as heard:
        assert looked_after(GRACE + 5) == Found()
    assert finished(result).return_value == 3
    assert [(each.signal, each.status) for each in heard] == [("task_finished", "SUCCESSFUL")]
    assert waiting("default") == 0


def test_so_is_what_celery_says_has_failed() -> None:
    result = tasks.add.enqueue(1, b=2)
    empty_the_broker()
    the_app().backend.store_result(result.id, ValueError("no"), "FAILURE", traceback="where it was")
    with listening() as heard:
        assert looked_after(GRACE + 5) == Found()
    result.refresh()
    assert (result.status, result.errors[0].exception_class_path) == ("FAILED", "builtins.ValueError")
    assert [each.signal for each in heard] == ["task_finished"]


def test_what_celery_says_is_to_be_tried_again_is_sent_again() -> None:
    result = tasks.add.enqueue(1, b=2)
    empty_the_broker()
    the_app().backend.store_result(result.id, ValueError("not yet"), "RETRY", traceback="")
    assert looked_after(GRACE + 5) == Found(resent=1)


def test_while_celerys_results_cannot_be_read_nothing_is_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    result = tasks.add.enqueue(1, b=2)
    empty_the_broker()
    with mock.patch("tasks_celery.celery_results.read", side_effect=OSError("away")):
        assert looked_after(GRACE + 5) == Found()
    assert result.id in caplog.text
    assert looked_after(GRACE + 5) == Found(resent=1)
