from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps as todays_apps
from django.apps.registry import Apps
from django_celery_beat.models import PeriodicTask

from tasks_celery.beat import clocked, crontab, every, schedule_task, unschedule_task
from tasks_celery.beat.models import ScheduleOptions, Tick
from tasks_celery.exceptions import ScheduleError
from tests.beat.migrated import APPS, apps_after, as_rows_are, last_update, the_row
from tests.shop.tasks import add, urgent

pytestmark = pytest.mark.django_db

NOON = datetime(2040, 5, 1, 12, tzinfo=UTC)
NAME = "tests.shop.tasks.add"


@pytest.fixture(params=APPS)
def apps(request: pytest.FixtureRequest) -> Apps:
    found: Apps = APPS[request.param]()
    return found


@pytest.mark.parametrize(
    ("task", "when", "given", "said"),
    [
        (urgent, every(hours=1), {"priority": 101}, "101"),
        (urgent, every(hours=1), {"notify_user": "ada"}, "notify_user='ada'"),
        (urgent, every(hours=1), {"name": ""}, "name is ''"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    apps: Apps, task: Any, when: Any, given: dict[str, Any], said: str
) -> None:
    before = as_rows_are()
    with pytest.raises(ScheduleError, match=said):
        schedule_task(apps, task, when, **given)
    assert as_rows_are() == before


#: What only today's code can say.
MISFITS: list[Any] = [
    (add, {}, "do not fit"),
    (add, {"args": [1, 2, 3]}, "do not fit"),
    (NAME, {"kwargs": {"c": 1}}, "do not fit"),
    (urgent, {"queue": "nowhere"}, "no queue 'nowhere'"),
]


@pytest.mark.parametrize(("task", "given", "said"), MISFITS)
def test_live_code_is_refused_what_does_not_fit_the_task(task: Any, given: dict[str, Any], said: str) -> None:
    before = as_rows_are()
    with pytest.raises(ScheduleError, match=said):
        schedule_task(todays_apps, task, every(hours=1), **given)
    assert as_rows_are() == before


@pytest.mark.parametrize(("task", "given", "said"), MISFITS)
def test_a_migration_older_than_the_code_still_runs_with_a_warning(
    task: Any, given: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    schedule_task(APPS["a migration's"](), task, every(hours=1), name="Digest", **given)
    assert the_row().name == "Digest"
    assert "The schedule 'Digest' of" in caplog.text
    assert said in caplog.text


def test_a_name_that_another_task_has_is_refused_with_the_cure(apps: Apps) -> None:
    schedule_task(apps, urgent, every(hours=1), name="Digest")
    with pytest.raises(ScheduleError, match=r"give this one another name, or .* unschedule_task\(apps, 'Digest'\)"):
        schedule_task(apps, add, every(hours=1), args=[1], name="Digest")
    assert the_row().task == "tests.shop.tasks.urgent"


@pytest.mark.parametrize(
    "call", [lambda apps: schedule_task(apps, urgent, every(hours=1)), lambda apps: unschedule_task(apps, "x")]
)
def test_a_migration_without_the_dependency_is_told_which(call: Any) -> None:
    with pytest.raises(ScheduleError, match=r'dependencies = \[\("tasks_celery_beat", "0001_initial"\)\]'):
        call(apps_after("django_celery_beat", "0019_alter_periodictasks_options"))


def test_it_is_named_as_its_task_where_no_name_is_given(apps: Apps) -> None:
    row = schedule_task(apps, add, crontab("0 3 * * *"), kwargs={"a": 1})
    assert (row.name, row.task, row.enabled) == (NAME, NAME, True)
    assert PeriodicTask.objects.get().pk == row.pk


def test_a_task_that_the_code_no_longer_has_is_scheduled_by_its_name(apps: Apps) -> None:
    schedule_task(apps, "gone.tasks.sweep", every(minutes=1), args=[1])
    assert the_row("gone.tasks.sweep").task == "gone.tasks.sweep"


def test_all_that_is_asked_for_is_written(apps: Apps) -> None:
    schedule_task(
        apps,
        urgent,
        every(minutes=1),
        name="Digest",
        queue="default",
        priority=3,
        expires=30,
        start_time=NOON,
        one_off=True,
        enabled=False,
        description="why",
        catch_up="skip",
        skip_while_active=True,
    )
    row, options = the_row(), ScheduleOptions.objects.get()
    assert (row.queue, row.expire_seconds, row.start_time) == ("default", 30, NOON)
    assert (row.one_off, row.enabled, row.description) == (True, False, "why")
    assert (options.priority, options.catch_up, options.skip_while_active) == (3, "skip", True)
    assert (options.declared, options.dropped) == (False, False)


@pytest.mark.parametrize("when", [every(minutes=1), crontab("0 3 * * *"), clocked(NOON)], ids=str)
def test_twice_in_a_row_changes_nothing(apps: Apps, when: Any) -> None:
    schedule_task(apps, urgent, when)
    before = as_rows_are()
    schedule_task(apps, urgent, when)
    assert as_rows_are() == before


def test_another_time_changes_the_row_and_beats_notice(apps: Apps) -> None:
    schedule_task(apps, urgent, every(minutes=1), name="Digest")
    before = last_update()
    schedule_task(apps, urgent, every(minutes=2), name="Digest")
    assert str(the_row().interval) == "every 2 minutes"
    assert PeriodicTask.objects.count() == 1
    assert last_update() > before


def test_one_that_was_disabled_is_enabled(apps: Apps) -> None:
    schedule_task(apps, urgent, every(minutes=1), name="Digest")
    PeriodicTask.objects.update(enabled=False)
    schedule_task(apps, urgent, every(minutes=1), name="Digest")
    assert the_row().enabled


def test_what_the_code_declared_before_is_the_migrations_now(apps: Apps) -> None:
    schedule_task(apps, urgent, every(minutes=1), name="Digest")
    ScheduleOptions.objects.update(declared=True, dropped=True)
    PeriodicTask.objects.update(enabled=False)
    schedule_task(apps, urgent, every(minutes=1), name="Digest")
    options = ScheduleOptions.objects.get()
    assert (options.declared, options.dropped, the_row().enabled) == (False, False, True)


def test_unscheduled_it_is_gone_with_its_options_and_ticks_and_beats_notice(apps: Apps) -> None:
    schedule_task(apps, urgent, every(minutes=1), name="Digest")
    schedule_task(apps, urgent, every(minutes=1), name="Another")
    for row in PeriodicTask.objects.all():
        Tick.objects.create(periodic_task=row, at=NOON, result_id=row.name)
    before = last_update()
    assert unschedule_task(apps, "Digest")
    assert list(PeriodicTask.objects.values_list("name", flat=True)) == ["Another"]
    assert ScheduleOptions.objects.count() == 1
    assert Tick.objects.get().result_id == "Another"
    assert the_row("Another").interval is not None
    assert last_update() > before


def test_unscheduling_what_is_not_there_does_nothing(apps: Apps) -> None:
    schedule_task(apps, urgent, every(minutes=1))
    before = as_rows_are()
    assert not unschedule_task(apps, "Digest")
    assert as_rows_are() == before


def test_a_reminder_is_moved_and_rings_at_its_new_time() -> None:
    schedule_task(todays_apps, urgent, clocked(NOON), name="Digest")
    PeriodicTask.objects.update(enabled=False, last_run_at=NOON)  # as a beat leaves it
    schedule_task(todays_apps, urgent, clocked(NOON), name="Digest")
    assert not the_row().enabled
    schedule_task(todays_apps, urgent, clocked(NOON.replace(hour=13)), name="Digest")
    row = the_row()
    assert row.enabled
    assert row.clocked is not None
    assert row.clocked.clocked_time.hour == 13
