"""What `manage.py check` says of schedules: each message where it is due, with an id and a hint, and not elsewhere."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery, shared_task
from django.apps import apps
from django.core.checks import Tags, run_checks
from django.core.checks.registry import registry as checks_of_django
from django.db import connection
from django.db.utils import OperationalError
from django.test import modify_settings
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler as TheirScheduler

from tasks_celery import discovery, task
from tasks_celery.beat import checks, sync
from tasks_celery.beat.checks import rows as row_checks
from tasks_celery.beat.declare import Declaration
from tasks_celery.beat.rows import write
from tasks_celery.beat.ticks import facts_of
from tasks_celery.beat.when import Every
from tests.shop import tasks
from tests.shop.running import apps_kept, the_app

BACKEND = "tasks_celery.CeleryBackend"
FIVE = Every(every=5, period="minutes")


class DerivedScheduler(TheirScheduler):
    """A project's scheduler, on django-celery-beat's."""


def ids(messages: list[Any]) -> list[str]:
    """Return the ids of messages, each of which says what, and has a cure."""
    for message in messages:
        assert message.msg
        assert message.hint
    return [str(message.id).removeprefix("tasks_celery.") for message in messages]


def found() -> list[str]:
    return ids(checks.check_schedules())


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Celery]:
    """A Celery app that only these tests see, behind TASKS."""
    app = Celery("checked", set_as_current=False, broker="memory://", backend="cache+memory://")
    module = types.ModuleType("checked")
    module.app = app
    monkeypatch.setitem(sys.modules, "checked", module)
    settings.TASKS = {
        "default": {"BACKEND": BACKEND, "QUEUES": ["default", "reports"], "OPTIONS": {"APP": "checked.app"}}
    }
    with apps_kept():
        yield app
    app.close()


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> list[Declaration]:
    """What the code declares, as far as the checks can see."""
    schedules: list[Declaration] = []
    monkeypatch.setattr("tasks_celery.beat.checks.declared.declared", lambda: schedules)
    monkeypatch.setattr(sync, "find_declared", lambda: schedules)
    return schedules


# --- the settings -------------------------------------------------------------------------------------------------


def test_the_settings_of_these_tests_are_good() -> None:
    assert found() == []


@pytest.mark.parametrize("said", [None, 7, {"SYNC": True}, {"GRACE": "30"}, {"KEEP": 0}])
def test_what_task_schedules_may_not_say_is_e201(settings: Any, said: Any) -> None:
    settings.TASK_SCHEDULES = said
    assert found() == ["E201"]


def test_what_task_schedules_may_say_is_good(settings: Any) -> None:
    settings.TASK_SCHEDULES = {"SYNC_AFTER_MIGRATE": True, "GRACE": 5}
    assert found() == []


def test_the_app_without_its_partner_is_e202_and_nothing_follows_from_it(project: Celery) -> None:
    project.conf.beat_scheduler = f"{__name__}:DerivedScheduler"
    with modify_settings(INSTALLED_APPS={"remove": ["django_celery_beat", "tasks_celery.beat"]}):
        assert found() == ["E202"]
        assert checks.check_rows(databases=["default"]) == []


# --- the scheduler ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scheduler",
    [
        "celery.beat:PersistentScheduler",
        "celery.beat:Scheduler",
        "no.such:Scheduler",
        "tests.beat.test_checks:ids",
        "nothing like it",
        "",
    ],
)
def test_a_scheduler_that_knows_no_rows_is_w201(project: Celery, scheduler: str) -> None:
    project.conf.update(beat_scheduler=scheduler)
    assert found() == ["W201"]


def test_a_scheduler_that_is_named_in_djangos_settings_is_seen(settings: Any, project: Celery) -> None:
    settings.SCHEDULED_BEAT_SCHEDULER = "celery.beat:Scheduler"
    project.config_from_object("django.conf:settings", namespace="SCHEDULED")
    assert found() == ["W201"]


def test_a_scheduler_that_several_aliases_share_is_said_once(settings: Any, project: Celery) -> None:
    settings.TASKS = settings.TASKS | {"other": settings.TASKS["default"]}
    project.conf.beat_scheduler = "celery.beat:Scheduler"
    assert found() == ["W201"]


def test_a_scheduler_that_several_apps_name_is_said_once(settings: Any, project: Celery) -> None:
    other = Celery("other", set_as_current=False, broker="memory://", backend="cache+memory://")
    sys.modules["checked"].other = other  # type: ignore[attr-defined]
    settings.TASKS = settings.TASKS | {"other": {"BACKEND": BACKEND, "OPTIONS": {"APP": "checked.other"}}}
    other.conf.beat_scheduler = project.conf.beat_scheduler = "celery.beat:Scheduler"
    assert found() == ["W201"]
    other.close()


@pytest.mark.parametrize(
    "scheduler",
    [
        "django",
        "django_celery_beat.schedulers:DatabaseScheduler",
        "django_celery_beat.schedulers.DatabaseScheduler",
        "tasks_celery.beat.scheduler:DatabaseScheduler",
    ],
)
def test_a_scheduler_that_ours_takes_the_place_of_is_good(project: Celery, scheduler: str) -> None:
    project.conf.beat_scheduler = scheduler
    assert found() == []


def test_a_scheduler_that_only_the_command_line_names_is_left_alone(project: Celery) -> None:
    assert project.conf.beat_scheduler == "celery.beat:PersistentScheduler"
    assert found() == []


def test_a_scheduler_derived_from_theirs_is_w202(project: Celery) -> None:
    project.conf.beat_scheduler = f"{__name__}:DerivedScheduler"
    assert found() == ["W202"]


def test_a_scheduler_derived_from_ours_is_good(project: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks_celery.beat.scheduler import DatabaseScheduler

    monkeypatch.setattr(f"{__name__}.Mine", type("Mine", (DatabaseScheduler,), {}), raising=False)
    project.conf.beat_scheduler = f"{__name__}:Mine"
    assert found() == []


@pytest.mark.parametrize(
    "setting", [{"BACKEND": "no.such.Backend"}, {"BACKEND": BACKEND, "OPTIONS": {"APP": "no.app"}}]
)
def test_tasks_that_cannot_be_read_are_left_to_other_checks(settings: Any, setting: Any) -> None:
    settings.TASKS = {"default": setting}
    assert found() == []


# --- the zones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Europe/Berln", "../secret", 7])
def test_a_zone_of_celerys_that_is_unknown_is_e203(project: Celery, zone: Any) -> None:
    project.conf.timezone = zone
    assert found() == ["E203"]


@pytest.mark.parametrize("celery", [None, "UTC", "Europe/London", "Africa/Algiers"])
def test_zones_that_disagree_are_w203(settings: Any, project: Celery, celery: str | None) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    project.conf.timezone = celery
    (message,) = checks.check_schedules()
    assert ids([message]) == ["W203"]
    assert "'Europe/Berlin'" in message.msg
    assert repr(celery) in message.msg if celery else "UTC, as CELERY_TIMEZONE is not set" in message.msg


@pytest.mark.parametrize(
    ("django", "celery"),
    [("UTC", None), ("Etc/UTC", "UTC"), ("Europe/Berlin", "Europe/Berlin"), ("Europe/Berlin", "Europe/Paris")],
)
def test_zones_whose_clocks_show_the_same_agree(
    settings: Any, project: Celery, django: str, celery: str | None
) -> None:
    settings.TIME_ZONE = django
    project.conf.timezone = celery
    assert found() == []


def test_who_has_set_no_time_zone_has_not_chosen_djangos_default(project: Celery) -> None:
    project.conf.timezone = "Europe/Berlin"
    assert found() == []


def test_the_zone_of_the_machine_is_w204(settings: Any, project: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    project.conf.enable_utc = False
    assert found() == ["W204"]


def test_a_zone_that_is_named_is_no_machines(project: Celery) -> None:
    project.conf.update(enable_utc=False, timezone="Europe/Berlin")
    assert found() == []


@pytest.mark.parametrize("use_tz", [True, False])
def test_zones_of_rows_that_are_left_out_are_w205(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    assert found() == []
    settings.DJANGO_CELERY_BEAT_TZ_AWARE = True
    assert found() == []
    settings.DJANGO_CELERY_BEAT_TZ_AWARE = False
    assert found() == ["W205"]


def test_w205_is_right(settings: Any) -> None:
    row = CrontabSchedule(hour="3", timezone="Asia/Tokyo")
    for is_aware, zone in ((True, "Asia/Tokyo"), (False, str(the_app().timezone))):
        settings.DJANGO_CELERY_BEAT_TZ_AWARE = is_aware
        assert str(facts_of(PeriodicTask(crontab=row, date_changed=timezone.now())).schedule.tz) == zone


# --- what the code declares ---------------------------------------------------------------------------------------


def test_a_declared_queue_that_queues_no_longer_has_is_e204(settings: Any, declared: list[Declaration]) -> None:
    declared.append(Declaration(name="Sums", task="tests.shop.tasks.add", when=FIVE, queue="reports"))
    declared.append(Declaration(name="Plain", task="some.plain.task", when=FIVE, queue="anything"))
    assert found() == []
    settings.TASKS = {"default": {"BACKEND": BACKEND, "QUEUES": ["default"]}}
    (message,) = checks.check_schedules()
    assert ids([message]) == ["E204"]
    assert "'Sums'" in message.msg
    assert "'default'" in message.hint


def test_every_queue_is_good_where_queues_names_none(settings: Any, declared: list[Declaration]) -> None:
    declared.append(Declaration(name="Sums", task="tests.shop.tasks.add", when=FIVE, queue="reports"))
    settings.TASKS = {"default": {"BACKEND": BACKEND, "QUEUES": []}}
    assert found() == []


# --- the rows -----------------------------------------------------------------------------------------------------


@pytest.fixture
def undiscovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for no more tasks: those of this suite that cannot be imported are other tests' business."""
    monkeypatch.setattr(row_checks, "discover", lambda: None)


def in_rows(**databases: Any) -> list[str]:
    return ids(checks.check_rows(databases=["default"]))


def a_row(name: str = "Sums", task: str = "tests.shop.tasks.add", **fields: Any) -> PeriodicTask:
    interval, _ = IntervalSchedule.objects.get_or_create(every=5, period="minutes")
    fields = {"kwargs": json.dumps({"a": 1})} | fields
    return PeriodicTask.objects.create(name=name, task=task, interval=interval, **fields)


rows = pytest.mark.usefixtures("db", "undiscovered", "declared")


@rows
def test_rows_that_can_be_sent_are_good() -> None:
    a_row()
    a_row("Plain", "celery.backend_cleanup", kwargs="{}", queue="anything")
    a_row("By position", args="[1, 2]", kwargs="{}", queue="reports")
    assert in_rows() == []


@rows
def test_a_row_whose_task_is_no_longer_is_w206() -> None:
    a_row("Gone", "shop.tasks.renamed")
    (message,) = checks.check_rows(databases=["default"])
    assert ids([message]) == ["W206"]
    assert "'Gone'" in message.msg
    assert "'shop.tasks.renamed'" in message.msg
    assert "unschedule_task(apps, 'Gone')" in message.hint


@rows
def test_a_row_whose_module_is_broken_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(discovery._broken, "shop.broken", ImportError("No module named 'pdf'"))
    a_row("Broken", "shop.broken.build")
    (message,) = checks.check_rows(databases=["default"])
    assert "its module cannot be imported (No module named 'pdf')" in message.msg


@rows
def test_a_disabled_row_is_left_alone() -> None:
    a_row("Gone", "shop.tasks.renamed", enabled=False)
    assert in_rows() == []


@rows
def test_a_row_by_an_alias_of_its_task_is_good(registry: None) -> None:
    task(name="shop.new_name", aliases=["shop.old_name"])(tasks.add.func)
    a_row(task="shop.old_name")
    assert in_rows() == []


@rows
def test_a_row_whose_queue_queues_does_not_have_is_w207() -> None:
    a_row(queue="report")
    (message,) = checks.check_rows(databases=["default"])
    assert ids([message]) == ["W207"]
    assert "'report'" in message.msg
    assert "'default', 'reports'" in message.hint


@rows
def test_every_queue_of_a_row_is_good_where_queues_names_none(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": BACKEND, "QUEUES": []}}
    a_row(queue="anything")
    assert in_rows() == []


@rows
@pytest.mark.parametrize(
    "said",
    [
        {"kwargs": "{}"},
        {"kwargs": '{"a": 1, "c": 2}'},
        {"args": "[1]"},
        {"args": "[1, 2, 3]", "kwargs": "{}"},
        {"kwargs": "[1]"},
        {"args": '{"a": 1}', "kwargs": "{}"},
        {"args": '"ab"', "kwargs": "{}"},
        {"args": "[1", "kwargs": "{}"},
        {"kwargs": "a=1"},
    ],
)
def test_a_row_whose_arguments_do_not_fit_is_w208(said: dict[str, str]) -> None:
    a_row(**said)
    assert in_rows() == ["W208"]


@rows
def test_arguments_that_do_not_fit_are_told_with_the_signature() -> None:
    a_row(kwargs='{"c": 2}')
    (message,) = checks.check_rows(databases=["default"])
    assert "it takes (a: int, b: int = 0)" in message.msg.replace("'int'", "int")


@rows
@pytest.mark.parametrize("said", [{"args": '"ab"'}, {"kwargs": "[1]"}, {"kwargs": "null"}])
def test_arguments_of_another_kind_are_told_with_what_they_have_to_be(said: dict[str, str]) -> None:
    a_row(**said)
    (message,) = checks.check_rows(databases=["default"])
    assert "they have to be a list and an object" in message.msg


@rows
def test_arguments_of_a_plain_task_are_looked_at_as_celery_does(registry: None) -> None:
    @shared_task(name="shop.plain")
    def plain(number: int) -> None: ...

    @shared_task(name="shop.untyped", typing=False)
    def untyped(number: int) -> None: ...

    a_row("Fits", "shop.plain", kwargs='{"number": 1}')
    a_row("Untyped", "shop.untyped", kwargs="{}")
    assert in_rows() == []
    a_row("Does not", "shop.plain", kwargs="{}")
    assert in_rows() == ["W208"]


@rows
def test_each_row_is_said_by_its_name() -> None:
    for name in ("One", "Two"):
        a_row(name, "shop.tasks.renamed")
    one, two = checks.check_rows(databases=["default"])
    assert "'One'" in one.msg
    assert "'Two'" in two.msg


def synced(*schedules: Declaration) -> None:
    for schedule in schedules:
        write(apps, schedule, options={"declared": True})


SUMS = Declaration(name="Sums", task="tests.shop.tasks.add", when=FIVE, kwargs={"a": 1})
MORE = Declaration(name="More", task="tests.shop.tasks.add", when=FIVE, kwargs={"a": 2})


@rows
def test_what_is_declared_and_not_synced_is_w209_with_its_names(declared: list[Declaration]) -> None:
    declared += [SUMS, MORE]
    synced(SUMS, replace(MORE, name="Dropped"))
    PeriodicTask.objects.filter(name="Sums").update(kwargs='{"a": 3}')
    (message,) = checks.check_rows(databases=["default"])
    assert ids([message]) == ["W209"]
    assert "'Dropped' (to disable), 'More' (to create), 'Sums' (to update)" in message.msg


@rows
def test_what_is_declared_and_synced_is_good(declared: list[Declaration]) -> None:
    declared += [SUMS, MORE]
    synced(SUMS, MORE)
    assert in_rows() == []


@rows
def test_what_migrate_will_sync_is_not_said(declared: list[Declaration], settings: Any) -> None:
    declared.append(SUMS)
    settings.TASK_SCHEDULES = {"SYNC_AFTER_MIGRATE": True}
    assert in_rows() == []
    settings.TASK_SCHEDULES = {"SYNC_AFTER_MIGRATE": 7}
    assert in_rows() == ["W209"]


@rows
def test_what_sync_would_refuse_is_w209_with_the_reason(declared: list[Declaration]) -> None:
    declared.append(SUMS)
    a_row()
    (message,) = checks.check_rows(databases=["default"])
    assert ids([message]) == ["W209"]
    assert "A person or a migration made" in message.msg


@rows
@pytest.mark.parametrize("lacks", ["django_celery_beat_periodictask", "tasks_celery_beat_scheduleoptions"])
def test_a_database_without_the_tables_is_left_alone(lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a_row("Gone", "shop.tasks.renamed")
    there = connection.introspection.table_names()
    monkeypatch.setattr(
        connection.introspection, "table_names", lambda cursor: [name for name in there if name != lacks]
    )
    assert in_rows() == []


@rows
def test_a_database_that_is_away_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("connection refused")

    a_row("Gone", "shop.tasks.renamed")
    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", away)
        assert in_rows() == []
    assert in_rows() == ["W206"]


def test_no_row_is_read_unless_it_is_asked_for(undiscovered: None) -> None:
    # Without the db fixture, a query is an error.
    assert checks.check_rows() == checks.check_rows(databases=[]) == []


@pytest.mark.django_db
def test_tasks_are_looked_for_before_a_row_is_said_to_have_none(
    declared: list[Declaration], monkeypatch: pytest.MonkeyPatch, registry: None
) -> None:
    monkeypatch.setattr(row_checks, "discover", lambda: task(name="shop.found_late")(tasks.add.func))
    a_row(task="shop.found_late")
    assert in_rows() == []


@rows
def test_a_module_of_tasks_that_breaks_breaks_no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ValueError("broken")

    monkeypatch.setattr(the_app().loader, "import_default_modules", broken)
    a_row()
    assert in_rows() == []


# --- with Django --------------------------------------------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_of_django, "registered_checks", set())
    checks.register()


def test_the_settings_are_looked_at_by_every_check(registered: None, settings: Any) -> None:
    settings.TASK_SCHEDULES = 7
    assert ids(run_checks()) == ["E201"]


@rows
def test_the_rows_are_looked_at_where_a_database_is_named(registered: None) -> None:
    a_row("Gone", "shop.tasks.renamed")
    assert ids(run_checks()) == []
    assert ids(run_checks(tags=[Tags.database], databases=["default"])) == ["W206"]
