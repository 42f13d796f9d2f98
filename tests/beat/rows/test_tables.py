from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test import modify_settings
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import DatabaseScheduler

from tasks_celery.beat.rows.tables import lock, mark_changed, missing_parts, refuse_missing, tables_of
from tasks_celery.celery import find_app
from tasks_celery.exceptions import ScheduleError
from tests.beat.migrated import APPS, apps_after, last_update
from tests.shop.tasks import add


@pytest.mark.parametrize("label", ["django_celery_beat", "auth"])
def test_a_migration_without_the_dependency_is_told_which(label: str) -> None:
    migration = {
        "django_celery_beat": "0019_alter_periodictasks_options",
        "auth": "0012_alter_user_first_name_max_length",
    }
    with pytest.raises(ScheduleError, match=r'dependencies = \[\("tasks_celery_beat", "0001_initial"\)\]'):
        tables_of(apps_after(label, migration[label]))


def test_what_is_no_registry_of_models_is_refused() -> None:
    with pytest.raises(ScheduleError, match=r"The first argument is Task|The first argument is CeleryTask"):
        tables_of(add)  # type: ignore[arg-type]


def test_where_the_app_is_not_installed_it_says_so() -> None:
    with (
        modify_settings(INSTALLED_APPS={"remove": ["tasks_celery.beat"]}),
        pytest.raises(ScheduleError, match=r"no model tasks_celery_beat\.ScheduleOptions: add .* to INSTALLED_APPS"),
    ):
        tables_of(apps)


@pytest.mark.django_db
def test_nothing_is_missing_from_a_migrated_database() -> None:
    assert list(missing_parts(tables_of(apps), "default")) == []
    refuse_missing(tables_of(apps), "default")


@pytest.mark.django_db
def test_a_table_that_is_not_there_is_told_with_the_cure() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE tasks_celery_beat_tick")
    with pytest.raises(ScheduleError, match=r"'default' has no table tasks_celery_beat_tick: run manage.py migrate"):
        refuse_missing(tables_of(apps), "default")


@pytest.mark.django_db
def test_a_column_that_is_not_there_is_told_with_the_cure() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_celery_beat_periodictask DROP COLUMN expire_seconds")
    with pytest.raises(ScheduleError, match=r"no column django_celery_beat_periodictask\.expire_seconds"):
        refuse_missing(tables_of(apps), "default")


@pytest.mark.django_db
@pytest.mark.parametrize("whose", APPS)
def test_a_mark_is_now(whose: str) -> None:
    before = timezone.now()
    mark_changed(APPS[whose]())
    assert before <= last_update() <= timezone.now()


@pytest.mark.django_db
def test_a_mark_is_later_than_the_last_even_where_the_clock_was_put_back() -> None:
    ahead = timezone.now() + timedelta(hours=1)
    PeriodicTasks.objects.create(ident=1, last_update=ahead)
    mark_changed(apps)
    assert last_update() == ahead + timedelta(microseconds=1)


@pytest.mark.django_db
@pytest.mark.parametrize("whose", APPS)
def test_django_celery_beats_own_scheduler_sees_the_mark(whose: str) -> None:
    mark_changed(apps)
    scheduler = DatabaseScheduler(app=find_app(), lazy=True)
    scheduler.schedule_changed()
    assert not scheduler.schedule_changed()
    mark_changed(APPS[whose]())
    assert scheduler.schedule_changed()


@pytest.mark.django_db
@pytest.mark.parametrize("was_there", [True, False])
def test_the_lock_changes_nothing_that_beats_look_at(was_there: bool) -> None:
    if was_there:
        mark_changed(apps)
    before = last_update()
    with transaction.atomic():
        lock(tables_of(apps), "default")
    assert PeriodicTasks.objects.count() == 1
    assert not was_there or last_update() == before


def test_all_tables_are_known() -> None:
    tables = set(tables_of(apps))
    assert {PeriodicTask, PeriodicTasks, CrontabSchedule} < tables
    assert len(tables) == 8
