"""A worker renews its lease as long as it lives, moves, sweeps, and gives its lease back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from celery import signals
from django.test import override_settings

from tasks_celery import heartbeat
from tasks_celery.compat import task_backends
from tasks_celery.exceptions import StoreError
from tasks_celery.leases import begin_lease, current_lease, end_lease
from tasks_celery.mover import Mover
from tasks_celery.stores.memory import MemoryStore
from tasks_celery.stores.nowhere import NOWHERE
from tasks_celery.sweeper import Sweeper
from tests.shop import tasks
from tests.shop.running import a_worker, finished, the_store, until
from tests.test_mover import ahead, held

QUEUES = ["default", "reports"]
BACKEND = {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": QUEUES}
QUICK = {"default": BACKEND | {"OPTIONS": {"LEASE": 1.5, "GRACE": 0.1, "SWEEP_EVERY": 0.1, "MOVE_EVERY": 0.1}}}


@pytest.fixture(autouse=True)
def store() -> Iterator[MemoryStore]:
    """Records and leases of this test alone."""
    store = MemoryStore()
    end_lease()
    with override_settings(), mock.patch("tasks_celery.results.open_store", return_value=store):
        yield store
    end_lease()


@contextmanager
def a_ready_worker() -> Iterator[None]:
    """Run a worker that says when it is ready and when it ends, which Celery's own for tests leaves out."""
    with a_worker() as worker:
        signals.worker_ready.send(sender=worker.consumer)
        yield
    signals.worker_shutdown.send(sender=worker)


def is_held(store: MemoryStore, lease: str) -> bool:
    return store._is_held(lease)


def test_nothing_runs_under_a_lease_outside_a_worker() -> None:
    assert current_lease() == ""


def test_each_start_of_a_worker_has_a_lease_of_its_own() -> None:
    one = begin_lease()
    assert current_lease() == one
    assert begin_lease() != one


@override_settings(TASKS=QUICK)
def test_a_worker_holds_its_lease_from_before_its_first_task_until_it_ends(store: MemoryStore) -> None:
    with a_ready_worker():
        lease = current_lease()
        assert is_held(store, lease)
        result = finished(tasks.add.enqueue(1))
        assert store.get(result.id).lease == lease
        past = store._leases[lease][1]
        until(lambda: store._leases[lease][1] > past + 0.2)
        assert is_held(store, lease)
    assert not is_held(store, lease)
    assert current_lease() == ""


@override_settings(TASKS=QUICK)
def test_a_worker_finds_what_its_broker_lost() -> None:
    result = tasks.add.enqueue(1, b=1)
    with a_ready_worker():  # on an empty broker
        assert finished(result).return_value == 2


@override_settings(TASKS={"default": BACKEND | {"OPTIONS": {"LEASE": 1.5, "SWEEP_EVERY": None}}})
def test_a_worker_that_is_not_to_sweep_renews_its_lease_all_the_same(store: MemoryStore) -> None:
    with a_ready_worker(), mock.patch.object(Sweeper, "look") as look:
        lease = current_lease()
        past = store._leases[lease][1]
        until(lambda: store._leases[lease][1] > past + 0.2)
        look.assert_not_called()


@override_settings(TASKS=QUICK)
def test_a_worker_sends_what_is_due(store: MemoryStore) -> None:
    with a_ready_worker():
        record = held(store, due=ahead(0.3))
        until(lambda: store.get(record.id).status == "SUCCESSFUL")
        assert store.get(record.id).started_at >= record.due


@override_settings(TASKS={"default": BACKEND | {"OPTIONS": {"MOVE_EVERY": None, "SWEEP_EVERY": 0.1}}})
def test_a_worker_that_is_not_to_move_sends_nothing_of_the_kind(store: MemoryStore) -> None:
    with (
        a_ready_worker(),
        mock.patch.object(Sweeper, "look_if_alone") as look,
        mock.patch.object(Mover, "look") as move,
    ):
        held(store, due=ahead(-1))
        until(lambda: look.call_count > 5)
        move.assert_not_called()


def threads_of_beat() -> dict[str, Any]:
    """Return what beat would call again and again, by name."""
    threads: dict[str, Any] = {}
    with (
        mock.patch.object(heartbeat, "Repeated", side_effect=lambda step, *, name, **how: threads.update({name: step})),
        mock.patch.object(heartbeat, "discover") as discover,
    ):
        signals.beat_init.send(sender=None)
    discover.assert_called_once_with()
    return threads


@override_settings(TASKS=QUICK)
def test_beat_moves_and_sweeps_and_has_no_lease(store: MemoryStore) -> None:
    threads = threads_of_beat()
    assert sorted(threads) == ["tasks_celery.mover", "tasks_celery.sweeper"]
    with mock.patch.object(Sweeper, "look") as look:
        threads["tasks_celery.sweeper"]()
    look.assert_called_once_with()
    record = held(store, due=ahead(-1))
    threads["tasks_celery.mover"]()
    assert not store.get(record.id).held
    assert current_lease() == ""


def test_where_no_records_are_kept_nobody_looks() -> None:
    with mock.patch("tasks_celery.heartbeat.find_store", return_value=NOWHERE):
        assert threads_of_beat() == {}


def test_a_store_that_is_away_is_told_once_by_the_mover_and_asked_less_often(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    backend = task_backends["default"]
    beat, mover = heartbeat.Heartbeat(backend), Mover(backend, store)
    with mock.patch.object(MemoryStore, "next_due", side_effect=StoreError("away")):
        waits = [beat._move(mover, 0.1) for _ in range(3)]
    assert min(waits) >= 1
    assert [record.getMessage() for record in caplog.records] == [
        "The mover cannot look for tasks that are due, and tries again: away"
    ]
    assert beat._move(mover, 0.1) < 0.2
    with mock.patch.object(MemoryStore, "next_due", side_effect=StoreError("away again")):
        beat._move(mover, 0.1)
    assert "away again" in caplog.text


def test_a_mover_that_fails_goes_on(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    backend = task_backends["default"]
    beat, mover = heartbeat.Heartbeat(backend), Mover(backend, store)
    with mock.patch.object(MemoryStore, "next_due", side_effect=RuntimeError("unthought of")):
        assert beat._move(mover, 0.1) >= 1
    assert "unthought of" in caplog.text
    assert "will look again" in caplog.text


def test_a_store_that_is_away_is_told_once_and_tried_again(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    beat = heartbeat.Heartbeat(task_backends["default"])
    with caplog.at_level(logging.WARNING), mock.patch.object(MemoryStore, "hold", side_effect=StoreError("away")):
        beat.begin_lease("worker:x")
        beat._renew(store)
    assert [record.getMessage() for record in caplog.records] == [
        "The lease of this worker cannot be renewed, and is tried again: away"
    ]
    beat._renew(store)
    assert is_held(store, "worker:x")


@pytest.mark.parametrize("error", [StoreError("away"), RuntimeError("receiver of a signal")])
def test_a_look_that_fails_is_not_the_last(
    store: MemoryStore, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    backend = task_backends["default"]
    beat, sweeper = heartbeat.Heartbeat(backend), Sweeper(backend, backend.results)
    with mock.patch.object(Sweeper, "look", side_effect=error):
        beat._sweep(sweeper, 15)
    assert "will" in caplog.text
    assert "again" in caplog.text


@override_settings(
    TASKS={
        "default": {"BACKEND": "tasks_celery.CeleryBackend"},
        "same": {"BACKEND": "tasks_celery.CeleryBackend"},
        "other": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"},
    }
)
@pytest.mark.skipif("django_tasks" in str(task_backends.__class__.__module__), reason="the backport has its own dummy")
def test_aliases_with_one_store_are_swept_once() -> None:
    assert [backend.alias for backend in heartbeat.stores_apart()] == ["default"]


def test_a_lease_that_cannot_be_given_back_lapses(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    beat = heartbeat.Heartbeat(task_backends["default"])
    beat.begin_lease("worker:x")
    with mock.patch.object(MemoryStore, "release", side_effect=StoreError("away")):
        beat.stop()
    assert "lapses" in caplog.text
    assert the_store() is store
