from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.apps.registry import Apps
from django.contrib.auth.models import Group, User
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from tasks_celery.beat.models import ScheduleOptions
from tasks_celery.beat.rows import differences, find, put, write
from tasks_celery.beat.rows.tables import tables_of
from tasks_celery.beat.when import clocked, crontab, every, solar
from tasks_celery.exceptions import ScheduleError
from tests.beat.migrated import APPS, a_declaration, as_rows_are, last_update, the_row

pytestmark = pytest.mark.django_db

NOON = datetime(2040, 5, 1, 12, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(params=APPS)
def models(request: pytest.FixtureRequest) -> Apps:
    found: Apps = APPS[request.param]()
    return found


def ran(name: str = "Digest", **columns: Any) -> PeriodicTask:
    """The row as a beat leaves it, long ago."""
    columns = {"last_run_at": LONG_AGO, "total_run_count": 5, "date_changed": LONG_AGO} | columns
    PeriodicTask.objects.filter(name=name).update(**columns)
    return the_row(name)


@pytest.mark.parametrize("option", [{"notify_user": "ada"}, {"notify_group": "Editors"}])
def test_who_is_not_there_is_refused_and_nothing_is_written(models: Apps, option: dict[str, str]) -> None:
    ((name, value),) = option.items()
    before = as_rows_are()
    with pytest.raises(ScheduleError, match=rf"{name}='{value}': the database 'default' has no "):
        write(models, a_declaration(**option))
    assert as_rows_are() == before


def test_a_row_of_that_name_that_runs_another_task_is_refused_and_stays(models: Apps) -> None:
    write(models, a_declaration())
    before = as_rows_are()
    with pytest.raises(
        ScheduleError, match=r"'Digest' is there already and runs 'tests\.shop\.tasks\.add', not 'another'"
    ):
        write(models, a_declaration(task="another"))
    assert as_rows_are() == before


def test_a_new_row_says_all_that_is_declared(models: Apps) -> None:
    ada, editors = User.objects.create(username="ada"), Group.objects.create(name="Editors")
    written = write(
        models,
        a_declaration(
            crontab("0 3 * * 1", timezone="Europe/Berlin"),
            args=[1, "ü"],
            kwargs={"b": {"deep": [None]}},
            queue="reports",
            priority=-7,
            expires=90,
            start_time=NOON,
            one_off=True,
            description="each week",
            catch_up="skip",
            skip_while_active=True,
            notify_user="ada",
            notify_group="Editors",
        ),
    )
    row = PeriodicTask.objects.get()
    assert written.pk == row.pk
    assert (row.name, row.task, row.enabled) == ("Digest", "tests.shop.tasks.add", True)
    assert str(row.crontab) == "0 3 * * 1 (m/h/dM/MY/d) Europe/Berlin"
    assert (row.args, row.kwargs) == ('[1, "\\u00fc"]', '{"b": {"deep": [null]}}')
    assert (row.queue, row.expire_seconds, row.expires, row.start_time) == ("reports", 90, None, NOON)
    assert (row.one_off, row.description, row.priority, row.headers) == (True, "each week", None, "{}")
    assert (row.last_run_at, row.total_run_count) == (None, 0)
    options = ScheduleOptions.objects.get(periodic_task=row)
    assert (options.priority, options.catch_up, options.skip_while_active) == (-7, "skip", True)
    assert (options.notify_user, options.notify_group) == (ada, editors)
    assert not options.declared


@pytest.mark.parametrize(
    ("when", "field", "text"),
    [
        (every(minutes=5), "interval", "every 5 minutes"),
        (crontab("*/5 * * * *", timezone="UTC"), "crontab", "*/5 * * * * (m/h/dM/MY/d) UTC"),
        (solar("sunset", 52.52, -13.4), "solar", "Sunset (52.520000, -13.400000)"),
        (clocked(NOON), "clocked", "2040-05-01 12:00:00+00:00"),
    ],
    ids=str,
)
def test_each_kind_is_a_row_of_its_own_table_that_django_celery_beat_accepts(
    models: Apps, settings: Any, when: Any, field: str, text: str
) -> None:
    settings.TIME_ZONE = "UTC"
    write(models, a_declaration(when))
    row = the_row()
    assert str(getattr(row, field)) == text
    row.full_clean()
    row.save()
    assert not differences(find(tables_of(apps), "Digest", "default"), a_declaration(when))


def test_the_rows_that_a_moment_makes_tick_once(models: Apps) -> None:
    write(models, a_declaration(clocked(NOON)))
    assert the_row().one_off


def test_the_same_again_writes_nothing(models: Apps) -> None:
    User.objects.create(username="ada")
    same = a_declaration(
        crontab("5 4 * * *"), kwargs={"a": 1, "b": 2.5}, expires=NOON, start_time=NOON, notify_user="ada"
    )
    write(models, same, options={"declared": True})
    before = as_rows_are()
    write(models, same, options={"declared": True})
    write(models, same, enabled=True)
    assert as_rows_are() == before


def test_the_same_in_another_layout_of_json_is_the_same(models: Apps) -> None:
    same = a_declaration(args=["ü"], kwargs={"a": 1, "b": 2})
    write(models, same)
    PeriodicTask.objects.update(args='[ "ü" ]', kwargs='{"b":2,\n"a":1}')
    before = as_rows_are()
    write(models, same)
    assert as_rows_are() == before


@pytest.mark.parametrize("other", [{"args": [True]}, {"args": [1.0]}, {"args": ["1"]}])
def test_values_that_python_takes_for_equal_are_not(models: Apps, other: dict[str, Any]) -> None:
    write(models, a_declaration(args=[1]))
    write(models, a_declaration(**other))
    assert find(tables_of(apps), "Digest", "default").args == str(other["args"]).replace("'", '"').replace("T", "t")


def test_arguments_that_are_no_json_are_written_anew(models: Apps) -> None:
    write(models, a_declaration())
    PeriodicTask.objects.update(args="[1, ")
    write(models, a_declaration(args=[1]))
    assert the_row().args == "[1]"


def test_a_change_is_marked_and_keeps_what_beats_know(models: Apps) -> None:
    write(models, a_declaration())
    ran()
    seen = last_update()
    write(models, a_declaration(every(minutes=5)))
    row = the_row()
    assert str(row.interval) == "every 5 minutes"
    assert (row.last_run_at, row.total_run_count) == (LONG_AGO, 5)
    assert row.date_changed > timezone.now() - timedelta(minutes=1)
    assert last_update() > seen


@pytest.mark.parametrize("when", [crontab("0 3 * * *"), solar("sunset", 1, 2)], ids=str)
def test_other_times_on_the_clock_count_from_now_on(models: Apps, when: Any) -> None:
    write(models, a_declaration())
    ran()
    write(models, a_declaration(when))
    assert the_row().last_run_at is None
    ran()
    write(models, a_declaration(when, kwargs={"b": 3}))
    assert the_row().last_run_at == LONG_AGO


def test_a_tick_that_is_taken_meanwhile_stays_taken(models: Apps) -> None:
    write(models, a_declaration())
    tables = tables_of(models)
    stale = find(tables, "Digest", "default")
    ran(last_run_at=NOON, total_run_count=6)
    put(tables, stale, a_declaration(queue="reports"), using="default", enabled=None, options={})
    row = the_row()
    assert (row.queue, row.last_run_at, row.total_run_count) == ("reports", NOON, 6)


def test_a_schedule_of_another_kind_has_that_alone(models: Apps) -> None:
    write(models, a_declaration(crontab("5 4 * * *")))
    write(models, a_declaration(every(minutes=5)))
    row = the_row()
    assert (row.crontab, str(row.interval)) == (None, "every 5 minutes")


def test_times_are_shared_with_the_first_row_that_has_them(models: Apps) -> None:
    first = IntervalSchedule.objects.create(every=5, period="minutes")
    IntervalSchedule.objects.create(every=5, period="minutes")
    write(models, a_declaration(every(minutes=5)))
    write(models, a_declaration(every(minutes=5), name="Another"))
    assert {the_row().interval, the_row("Another").interval} == {first}
    assert IntervalSchedule.objects.count() == 2


@pytest.mark.parametrize(
    ("when", "table", "fields"),
    [
        (
            crontab("0 3 * * *", timezone="Asia/Tokyo"),
            CrontabSchedule,
            {"minute": "0", "hour": "3", "timezone": "Asia/Tokyo"},
        ),
        (
            solar("dawn_civil", 1, 2),
            SolarSchedule,
            {"event": "dawn_civil", "latitude": Decimal(1), "longitude": Decimal(2)},
        ),
        (clocked(NOON), ClockedSchedule, {"clocked_time": NOON}),
    ],
    ids=str,
)
def test_an_equal_row_of_times_is_found(models: Apps, when: Any, table: Any, fields: dict[str, Any]) -> None:
    table.objects.create(**fields)
    write(models, a_declaration(when))
    assert table.objects.count() == 1


def test_the_same_crontab_in_another_zone_is_another() -> None:
    write(apps, a_declaration(crontab("0 3 * * *", timezone="Asia/Tokyo")))
    write(apps, a_declaration(crontab("0 3 * * *", timezone="Europe/Berlin")))
    assert str(the_row().crontab.timezone) == "Europe/Berlin"  # type: ignore[union-attr]


def test_times_that_others_share_are_not_changed_for_them(models: Apps) -> None:
    write(models, a_declaration())
    write(models, a_declaration(name="Another"))
    write(models, a_declaration(every(minutes=5)))
    assert str(the_row("Another").interval) == "every hour"


def test_a_solar_row_that_somebody_else_makes_first_is_shared(models: Apps) -> None:
    made = []

    def faster(execute: Any, sql: str, *rest: Any) -> Any:
        found = execute(sql, *rest)
        if (
            not made
            and sql.startswith("SELECT")
            and "django_celery_beat_solarschedule" in sql
            and "periodic" not in sql
        ):
            made.append("now")
            SolarSchedule.objects.create(event="sunset", latitude=1, longitude=2)
        return found

    with connection.execute_wrapper(faster):
        write(models, a_declaration(solar("sunset", 1, 2)))
    assert made
    assert the_row().solar == SolarSchedule.objects.get()


def test_who_disabled_a_schedule_finds_it_disabled(models: Apps) -> None:
    write(models, a_declaration())
    PeriodicTask.objects.update(enabled=False)
    write(models, a_declaration(every(minutes=5)))
    assert not the_row().enabled


@pytest.mark.parametrize("enabled", [True, False])
def test_turned_on_or_off_it_has_missed_nothing(models: Apps, enabled: bool) -> None:
    write(models, a_declaration())
    ran(enabled=not enabled)
    write(models, a_declaration(), enabled=enabled)
    row = the_row()
    assert (row.enabled, row.last_run_at) == (enabled, None)
    assert row.date_changed > LONG_AGO


def test_a_new_row_can_be_off(models: Apps) -> None:
    write(models, a_declaration(), enabled=False)
    assert not the_row().enabled


@pytest.mark.parametrize("when", [every(hours=1), clocked(LONG_AGO)], ids=str)
def test_what_ticked_once_stays_done(models: Apps, when: Any) -> None:
    once = a_declaration(when, one_off=True)
    write(models, once)
    ran(enabled=False, total_run_count=0)
    before = as_rows_are()
    write(models, once, enabled=True)
    assert as_rows_are() == before


def test_a_moment_that_is_over_stays_so_where_nobody_noted_its_run(models: Apps) -> None:
    write(models, a_declaration(clocked(LONG_AGO)))
    ran(enabled=False, last_run_at=None)
    write(models, a_declaration(clocked(LONG_AGO)), enabled=True)
    assert not the_row().enabled


def test_what_ticked_once_stays_done_when_only_its_words_change(models: Apps) -> None:
    write(models, a_declaration(clocked(LONG_AGO)))
    ran(enabled=False)
    write(models, a_declaration(clocked(LONG_AGO), description="soon"), enabled=True)
    row = the_row()
    assert (row.enabled, row.description) == (False, "soon")


def test_what_ticked_once_ticks_again_at_a_new_time(models: Apps) -> None:
    write(models, a_declaration(clocked(LONG_AGO)))
    ran(enabled=False)
    write(models, a_declaration(clocked(NOON)), enabled=True)
    row = the_row()
    assert (row.enabled, row.last_run_at, row.total_run_count) == (True, None, 0)


def test_a_moment_to_come_that_somebody_disabled_is_turned_on_when_asked(models: Apps) -> None:
    write(models, a_declaration(clocked(NOON)))
    ran(enabled=False, last_run_at=None)
    write(models, a_declaration(clocked(NOON)), enabled=True)
    assert the_row().enabled


def test_what_is_to_tick_once_from_now_on_was_not_counted_before(models: Apps) -> None:
    write(models, a_declaration())
    ran()
    write(models, a_declaration(one_off=True))
    assert the_row().total_run_count == 0


def test_a_one_off_that_waits_keeps_its_count(models: Apps) -> None:
    write(models, a_declaration(one_off=True))
    ran()
    write(models, a_declaration(one_off=True, queue="reports"))
    assert the_row().total_run_count == 5


def test_seconds_give_way_to_a_moment_that_ends_it_and_back(models: Apps) -> None:
    for expires, columns in [(90, (90, None)), (NOON, (None, NOON)), (90, (90, None)), (None, (None, None))]:
        write(models, a_declaration(expires=expires))
        row = the_row()
        assert (row.expire_seconds, row.expires) == columns


def test_the_brokers_own_number_gives_way_to_a_declared_priority_alone(models: Apps) -> None:
    write(models, a_declaration())
    PeriodicTask.objects.update(priority=3)
    write(models, a_declaration(queue="reports"))
    assert the_row().priority == 3
    write(models, a_declaration(queue="reports", priority=10))
    assert the_row().priority is None


def test_what_cannot_be_declared_stays_as_a_person_set_it(models: Apps) -> None:
    write(models, a_declaration())
    theirs = {"headers": '{"x": 1}', "exchange": "e", "routing_key": "r"}
    PeriodicTask.objects.update(**theirs)
    write(models, a_declaration(queue="reports"))
    assert PeriodicTask.objects.values(*theirs).get() == theirs


def test_options_come_to_a_row_that_had_none(models: Apps) -> None:
    row = PeriodicTask.objects.create(
        name="Digest", task="tests.shop.tasks.add", interval=IntervalSchedule.objects.create(every=1, period="hours")
    )
    write(models, a_declaration(skip_while_active=True))
    assert ScheduleOptions.objects.get(periodic_task=row).skip_while_active


def test_a_row_without_options_has_the_usual_ones(models: Apps) -> None:
    PeriodicTask.objects.create(
        name="Digest", task="tests.shop.tasks.add", interval=IntervalSchedule.objects.create(every=1, period="hours")
    )
    assert differences(find(tables_of(models), "Digest", "default"), a_declaration()) == []


def test_naive_times_are_the_projects(models: Apps, settings: Any) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "America/Chicago"
    same = a_declaration(clocked(NOON), start_time=NOON - timedelta(hours=1), expires=NOON + timedelta(hours=2))
    write(models, same)
    row = the_row()
    there = datetime(2040, 5, 1, 7)  # noqa: DTZ001
    assert row.clocked is not None
    assert row.clocked.clocked_time == there
    assert (row.start_time, row.expires) == (there - timedelta(hours=1), there + timedelta(hours=2))
    before = as_rows_are()
    write(models, same)
    assert as_rows_are() == before


def test_differences_name_the_field_the_old_and_the_new() -> None:
    User.objects.create(username="ada")
    write(apps, a_declaration(crontab("0 3 * * *", timezone="UTC"), kwargs={"a": 1}))
    new = a_declaration(
        every(minutes=5),
        kwargs={"a": 2},
        queue="reports",
        priority=5,
        expires=60,
        start_time=NOON,
        one_off=True,
        description="new",
        catch_up="skip",
        skip_while_active=True,
        notify_user="ada",
    )
    assert differences(find(tables_of(apps), "Digest", "default"), new) == [
        "when: crontab 0 3 * * * UTC -> every 5 minutes",
        'kwargs: {"a": 1} -> {"a": 2}',
        "queue: nothing -> reports",
        "expires: nothing -> after 60 s",
        "start_time: nothing -> 2040-05-01T12:00:00+00:00",
        "one_off: no -> yes",
        "description: nothing -> new",
        "priority: nothing -> 5",
        "catch_up: once -> skip",
        "skip_while_active: no -> yes",
        "notify_user: nothing -> ada",
    ]
    assert differences(None, new) == []


def test_a_row_with_two_kinds_of_times_is_told_and_mended() -> None:
    write(apps, a_declaration())
    PeriodicTask.objects.update(crontab=CrontabSchedule.objects.create(minute="1", timezone="UTC"))
    row = find(tables_of(apps), "Digest", "default")
    assert differences(row, a_declaration()) == ["when: every hour and crontab 1 * * * * UTC -> every hour"]
    write(apps, a_declaration())
    assert the_row().crontab is None


def test_rows_are_read_with_all_that_is_compared_in_one_query(django_assert_num_queries: Any) -> None:
    write(apps, a_declaration())
    tables = tables_of(apps)
    with django_assert_num_queries(1):
        row = find(tables, "Digest", "default")
        differences(row, a_declaration())
