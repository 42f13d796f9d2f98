"""Helpers of these tests: rows of schedules, and a beat that is driven by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from tasks_celery.beat import ticks
from tasks_celery.beat.models import ScheduleOptions
from tasks_celery.beat.scheduler import DatabaseScheduler
from tests.shop.running import the_app

ADD = "tests.shop.tasks.add"


class Clock:
    """A clock that stands still, so that a busy machine changes nothing."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.moment


#: What a beat goes by whose tests say so, and what rows are made by.
clock = Clock()


def ago(seconds: float) -> datetime:
    return clock() - timedelta(seconds=seconds)


def an_interval(
    *, ran: float | None = 61, seconds: int = 60, options: dict[str, Any] | None = None, **fields: Any
) -> Any:
    """Make a schedule that ran so many seconds ago; by default it is due since a second."""
    interval, _ = IntervalSchedule.objects.get_or_create(every=seconds, period="seconds")
    return _a_row(options, interval=interval, last_run_at=None if ran is None else ago(ran), **fields)


def a_crontab(options: dict[str, Any] | None = None, minute: str = "0", hour: str = "3", **fields: Any) -> Any:
    crontab = CrontabSchedule.objects.create(minute=minute, hour=hour, timezone="UTC")
    return _a_row(options, crontab=crontab, **fields)


def _a_row(options: dict[str, Any] | None, **fields: Any) -> Any:
    row = PeriodicTask.objects.create(**{"name": "Adding", "task": ADD, "args": "[1, 2]"} | fields)
    if options is not None:
        ScheduleOptions.objects.create(periodic_task=row, **options)
    return read(row)


def read(row: Any) -> Any:
    """Return a row as a beat reads it."""
    return ticks.rows().get(pk=row.pk)


def a_beat(**options: Any) -> DatabaseScheduler:
    """Return a scheduler as a beat has it, which has not looked yet."""
    return DatabaseScheduler(app=the_app(), lazy=True, **options)


def turn(beat: DatabaseScheduler, times: int = 20) -> float:
    """Have a beat do all that is to be done now, and return how long it would sleep then."""
    for _ in range(times):
        wait = beat.tick()
        if wait > 0.05:
            return wait
        clock.moment += timedelta(seconds=wait)
    raise AssertionError(f"the beat still has something to do after {times} turns")
