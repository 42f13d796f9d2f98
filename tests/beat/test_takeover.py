"""Which schedulers ours takes the place of."""

from __future__ import annotations

from typing import Any

import pytest
from celery import beat, signals
from django_celery_beat.schedulers import DatabaseScheduler as TheirScheduler
from django_celery_beat.utils import is_database_scheduler

from tasks_celery.beat import takeover
from tasks_celery.beat.scheduler import DatabaseScheduler
from tests.shop.running import the_app


class Their(TheirScheduler):  # type: ignore[misc]
    """A project's own."""


def a_service(scheduler: Any, **options: Any) -> Any:
    service = beat.Service(the_app(), scheduler_cls=scheduler, **options)
    service.scheduler = service.get_scheduler(lazy=True)
    return service


def started(service: Any) -> Any:
    takeover._on_beat_init(sender=service)
    return service.scheduler


@pytest.mark.parametrize("scheduler", [Their, beat.Scheduler, DatabaseScheduler])
def test_a_scheduler_that_is_not_exactly_theirs_stays(scheduler: Any) -> None:
    service = a_service(scheduler)
    before = service.scheduler
    assert started(service) is before


def test_theirs_is_replaced_by_ours_which_goes_by_the_same_options() -> None:
    scheduler = started(a_service("django", max_interval=3))
    assert (type(scheduler), scheduler.max_interval, scheduler.app) == (DatabaseScheduler, 3, the_app())


def test_ours_is_a_database_scheduler_to_the_admin_of_theirs() -> None:
    assert is_database_scheduler("tasks_celery.beat.scheduler:DatabaseScheduler")


def test_the_change_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "tasks_celery"):
        started(a_service("django"))
    assert "takes the place" in caplog.text


@pytest.mark.parametrize(("scheduler", "is_said"), [(beat.Scheduler, True), (Their, False), ("django", False)])
def test_a_scheduler_that_sends_no_schedule_is_said(
    scheduler: Any, is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    started(a_service(scheduler))
    assert ("none of the schedules is sent" in caplog.text) is is_said


def test_connecting_twice_connects_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(signals.beat_init.receivers)
    try:
        takeover.connect()
        once = len(signals.beat_init.receivers)
        takeover.connect()
        assert len(signals.beat_init.receivers) == once
    finally:
        signals.beat_init.receivers[:] = before
