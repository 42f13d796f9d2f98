"""Models as a migration has them, and what tests of rows look at."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.apps import apps
from django.apps.registry import Apps
from django.db.migrations.loader import MigrationLoader
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from tasks_celery.beat.declare import Declaration
from tasks_celery.beat.when import When, every


@cache
def apps_after(*migration: str) -> Apps:
    """The models that a migration sees which depends on this one alone: an app's label and the migration's name."""
    state: Any = MigrationLoader(None).project_state(migration)
    found: Apps = state.apps
    return found


def a_migrations() -> Apps:
    """What a migration sees that has the one dependency it needs."""
    return apps_after("tasks_celery_beat", "0001_initial")


#: Whose models: a migration's have no save(), no signals, no properties and no managers of their own.
APPS = {"a migration's": a_migrations, "today's": lambda: apps}


def a_declaration(when: When | None = None, **given: Any) -> Declaration:
    return Declaration(**{"name": "Digest", "task": "tests.shop.tasks.add", "when": when or every(hours=1), **given})


def the_row(name: str = "Digest") -> PeriodicTask:
    return PeriodicTask.objects.get(name=name)


def as_rows_are() -> list[tuple[Any, ...]]:
    """All that schedules consist of, and what beats look at: equal where nothing was written in between."""
    from django_celery_beat import models as theirs

    from tasks_celery.beat.models import ScheduleOptions, Tick

    models = [theirs.PeriodicTask, theirs.CrontabSchedule, theirs.IntervalSchedule, theirs.SolarSchedule]
    models += [theirs.ClockedSchedule, theirs.PeriodicTasks, ScheduleOptions, Tick]
    return [row for model in models for row in model._base_manager.order_by("pk").values_list()]


def last_update() -> Any:
    return PeriodicTasks.last_change()
