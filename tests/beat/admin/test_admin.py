"""The schedules in the admin, as people of different rights drive it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from django_celery_beat.admin import PeriodicTaskAdmin as TheirAdmin
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

from tasks_celery import task
from tasks_celery.beat import known
from tasks_celery.beat.admin import PeriodicTaskAdmin, _take_place
from tasks_celery.beat.models import ScheduleOptions, Tick
from tasks_celery.compat import task_backends
from tasks_celery.exceptions import EnqueueError, StoreError
from tests.shop import tasks
from tests.shop.running import a_foreign_task, eagerly, records_in_redis, the_app

urlpatterns = [path("admin/", admin.site.urls)]
pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

LIST = "/admin/django_celery_beat/periodictask/"
ADD = f"{LIST}add/"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def page_of(row: Any, what: str = "change") -> str:
    return f"{LIST}{row.pk}/{what}/"


@pytest.fixture
def boss(client: Client) -> Client:
    """The browser of a superuser."""
    client.force_login(User.objects.create_superuser("boss"))
    return client


def staff(*rights: str) -> Client:
    """The browser of one who may do just that with schedules."""
    user = User.objects.create_user("staff", is_staff=True)
    names = [f"{right}_periodictask" for right in rights]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    assert user.user_permissions.count() == len(rights)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def hourly(db: None) -> Any:
    return IntervalSchedule.objects.create(every=1, period="hours")


@pytest.fixture
def row(hourly: Any) -> Any:
    """A schedule of a Django task, made by a person."""
    return PeriodicTask.objects.create(name="Sum", task="tests.shop.tasks.add", args="[1]", interval=hourly)


@pytest.fixture
def declared_row(row: Any) -> Any:
    """A schedule that code declares, with a call that fits no longer."""
    ScheduleOptions.objects.create(periodic_task=row, declared=True, priority=5)
    PeriodicTask.objects.filter(pk=row.pk).update(args="[1, 2, 3]")
    row.refresh_from_db()
    return row


Fill = Callable[..., dict[str, Any]]


@pytest.fixture
def filled(hourly: Any) -> Fill:
    """What the form of a new schedule sends, with some of it changed."""

    def fill(**changes: Any) -> dict[str, Any]:
        blank = dict.fromkeys(("regtask", "task", "description", "queue", "exchange", "routing_key", "priority"), "")
        options = {"TOTAL_FORMS": 1, "INITIAL_FORMS": 0, "MIN_NUM_FORMS": 1, "MAX_NUM_FORMS": 1, "0-catch_up": "once"}
        return {
            **blank,
            "name": "New",
            "regtask": "tests.shop.tasks.add",
            "enabled": "on",
            "interval": hourly.pk,
            "args": "[1]",
            "kwargs": "{}",
            "headers": "{}",
            **{f"tasks_celery_options-{name}": value for name, value in options.items()},
            **changes,
        }

    return fill


def errors_of(response: Any) -> dict[str, list[str]]:
    """What a form that was refused says, by its fields."""
    assert response.status_code == 200
    return {name: list(said) for name, said in response.context["adminform"].form.errors.items()}


def said_in(response: Any) -> list[str]:
    """The messages that a page would show next."""
    return [str(message) for message in get_messages(response.wsgi_request)]


# --- what the form refuses; see test_forms for each thing


def test_what_is_refused_is_shown_on_its_field_and_nothing_is_written(boss: Client, filled: Fill) -> None:
    errors = errors_of(boss.post(ADD, filled(args="[1, 2, 3]", queue="elsewhere")))
    assert list(errors) == ["args", "queue"]
    assert not PeriodicTask.objects.exists()
    assert not ScheduleOptions.objects.exists()


def test_wrong_options_keep_the_row_from_being_written(boss: Client, filled: Fill) -> None:
    response = boss.post(ADD, filled(**{"tasks_celery_options-0-priority": 101}))
    [inline] = response.context["inline_admin_formsets"]
    assert list(inline.formset.errors[0]) == ["priority"]
    assert not PeriodicTask.objects.exists()


# --- what the form writes


def test_a_saved_form_is_a_row_with_its_options_and_beats_notice(boss: Client, filled: Fill) -> None:
    user, group = User.objects.create_user("ann"), Group.objects.create(name="office")
    before = PeriodicTasks.last_change()
    wanted = {
        "priority": "7",
        "catch_up": "skip",
        "skip_while_active": "on",
        "notify_user": user.pk,
        "notify_group": group.pk,
    }
    options = {f"tasks_celery_options-0-{name}": value for name, value in wanted.items()}
    with mock.patch.object(task_backends["default"], "supports_priority", True, create=True):
        response = boss.post(ADD, filled(kwargs='{"b": 2}', queue="reports", headers='{"a": "b"}', **options))
    assert response.status_code == 302
    row = PeriodicTask.objects.get()
    assert (row.task, row.args, row.kwargs, row.queue, row.headers) == (
        "tests.shop.tasks.add",
        "[1]",
        '{"b": 2}',
        "reports",
        '{"a": "b"}',
    )
    made = row.tasks_celery_options
    assert (made.priority, made.catch_up, made.skip_while_active) == (7, "skip", True)
    assert (made.notify_user, made.notify_group, made.declared) == (user, group, False)
    after = PeriodicTasks.last_change()
    assert after is not None
    assert before is None or after > before


def test_empty_arguments_and_headers_are_none(boss: Client, filled: Fill) -> None:
    assert boss.post(ADD, filled(regtask="tests.shop.tasks.echo", args="", kwargs=" ", headers="")).status_code == 302
    row = PeriodicTask.objects.get()
    assert (row.args, row.kwargs, row.headers) == ("[]", "{}", "{}")


def test_options_of_a_row_that_has_none_can_be_set_later(boss: Client, row: Any, filled: Fill) -> None:
    sent = filled(name="Sum", regtask="", task=row.task, **{"tasks_celery_options-0-skip_while_active": "on"})
    assert boss.post(page_of(row), sent).status_code == 302
    assert ScheduleOptions.objects.get().skip_while_active
    sent |= {
        "tasks_celery_options-INITIAL_FORMS": 1,
        "tasks_celery_options-0-periodic_task": row.pk,
        "tasks_celery_options-0-catch_up": "skip",
    }
    assert boss.post(page_of(row), sent).status_code == 302
    assert ScheduleOptions.objects.get().catch_up == "skip"


def test_saving_leaves_alone_what_a_beat_has_written_meanwhile(boss: Client, row: Any, filled: Fill) -> None:
    taken = timezone.now()
    get_object = PeriodicTaskAdmin.get_object

    def read_and_tick(*args: Any, **kwargs: Any) -> Any:
        found = get_object(*args, **kwargs)
        PeriodicTask.objects.filter(pk=row.pk).update(last_run_at=taken, total_run_count=9)
        return found

    with mock.patch.object(PeriodicTaskAdmin, "get_object", read_and_tick):
        response = boss.post(page_of(row), filled(name="Renamed", regtask="", task=row.task))
    assert response.status_code == 302
    before = PeriodicTasks.last_change()
    row.refresh_from_db()
    assert (row.name, row.last_run_at, row.total_run_count) == ("Renamed", taken, 9)
    assert before is not None


def test_another_task_chosen_from_the_list_is_written(boss: Client, row: Any, filled: Fill) -> None:
    sent = filled(name="Sum", task=row.task, regtask="shop.renamed", args="[]")
    assert boss.post(page_of(row), sent).status_code == 302
    row.refresh_from_db()
    assert (row.task, row.args) == ("shop.renamed", "[]")


def test_a_row_with_other_times_on_the_clock_counts_from_then_on(boss: Client, row: Any, filled: Fill) -> None:
    PeriodicTask.objects.filter(pk=row.pk).update(last_run_at=LONG_AGO)
    at_three = CrontabSchedule.objects.create(minute="0", hour="3")
    sent = filled(name="Sum", regtask="", task=row.task, interval="", crontab=at_three.pk)
    assert boss.post(page_of(row), sent).status_code == 302
    row.refresh_from_db()
    assert (row.crontab, row.last_run_at) == (at_three, None)


def test_what_is_deleted_takes_its_ticks_along(boss: Client, row: Any, hourly: Any) -> None:
    another = PeriodicTask.objects.create(name="Another", task=row.task, interval=hourly)
    for each in (row, another):
        a_tick(each, str(each.pk))
    assert boss.post(page_of(row, "delete"), {"post": "yes"}).status_code == 302
    assert [tick.periodic_task for tick in Tick.objects.all()] == [another]
    chosen = {"action": "delete_selected", "_selected_action": [another.pk], "post": "yes"}
    assert boss.post(LIST, chosen).status_code == 302
    assert not PeriodicTask.objects.exists()
    assert not Tick.objects.exists()


def test_a_row_that_is_enabled_again_counts_from_then_on(boss: Client, row: Any, filled: Fill) -> None:
    PeriodicTask.objects.filter(pk=row.pk).update(enabled=False, last_run_at=LONG_AGO, date_changed=LONG_AGO)
    boss.post(page_of(row), filled(name="Sum", regtask="", task=row.task))
    row.refresh_from_db()
    assert (row.enabled, row.last_run_at) == (True, None)
    assert row.date_changed > LONG_AGO


def test_a_task_that_nobody_here_knows_is_saved_with_a_warning(boss: Client, filled: Fill) -> None:
    response = boss.post(ADD, filled(regtask="", task="another.project", args="[1, 2, 3]", queue="elsewhere"))
    assert response.status_code == 302
    assert "knows no task 'another.project'" in " ".join(said_in(response))
    assert PeriodicTask.objects.get().queue == "elsewhere"


def test_a_task_that_is_known_is_saved_without_a_warning(boss: Client, filled: Fill) -> None:
    assert "knows no task" not in " ".join(said_in(boss.post(ADD, filled())))


def test_a_row_with_an_alias_shows_and_validates(boss: Client, row: Any, filled: Fill, registry: None) -> None:
    aliased = task(name="shop.new_name", aliases=["shop.old_name"])(_aliased)
    assert aliased.name == "_aliased"
    sent = filled(name="Sum", regtask="", task="shop.old_name")
    assert "too many positional" in errors_of(boss.post(page_of(row), sent))["args"][0]
    response = boss.post(page_of(row), sent | {"args": "[]"})
    assert response.status_code == 302
    assert "knows no task" not in " ".join(said_in(response))
    assert b"shop.old_name" in boss.get(page_of(row)).content


def _aliased() -> None: ...


# --- the list of tasks


def choices_on(response: Any) -> dict[str, list[str]]:
    choices = response.context["adminform"].form.fields["regtask"].widget.choices
    return {str(label): [name for name, _ in names] for label, names in choices if label}


def test_django_tasks_stand_under_their_own_names_before_celerys(boss: Client, registry: None) -> None:
    task(name="shop.new_name", aliases=["shop.old_name"])(_aliased)
    a_foreign_task(the_app(), "shop.foreign")
    try:
        choices = choices_on(boss.get(ADD))
    finally:
        the_app()._tasks.pop("shop.foreign")
    assert list(choices) == ["Django tasks", "Celery tasks"]
    assert {"tests.shop.tasks.add", "shop.renamed", "shop.new_name"} <= set(choices["Django tasks"])
    assert choices["Django tasks"].count("shop.new_name") == 1
    assert "shop.foreign" in choices["Celery tasks"]
    assert not {"shop.old_name", "tests.shop.tasks.renamed"} & {*choices["Django tasks"], *choices["Celery tasks"]}
    assert not [name for name in choices["Celery tasks"] if name.startswith("celery.")]


def test_tasks_outside_of_tasks_modules_are_found_once(boss: Client) -> None:
    known._import_tasks.cache_clear()
    with (
        mock.patch.object(known, "discover", wraps=known.discover) as discover,
        mock.patch.object(the_app().loader, "import_default_modules") as import_default_modules,
    ):
        choices = choices_on(boss.get(ADD))
        boss.get(ADD)
    assert discover.call_count == import_default_modules.call_count == 1
    assert "tests.shop.attempts.pick" in choices["Django tasks"]


def test_a_module_that_breaks_does_not_break_the_page(boss: Client, caplog: pytest.LogCaptureFixture) -> None:
    known._import_tasks.cache_clear()
    with mock.patch.object(the_app().loader, "import_default_modules", side_effect=RuntimeError("broken")):
        assert "tests.shop.tasks.add" in choices_on(boss.get(ADD))["Django tasks"]
    assert "cannot be imported" in caplog.text


# --- what code declares


def test_a_declared_row_says_so_and_only_enabled_can_be_changed(boss: Client, declared_row: Any) -> None:
    response = boss.get(page_of(declared_row))
    assert "Code declares this schedule" in response.content.decode()
    assert list(response.context["adminform"].form.fields) == ["enabled"]
    [inline] = response.context["inline_admin_formsets"]
    assert not inline.has_change_permission


def test_a_declared_row_can_be_disabled_although_its_task_has_changed(boss: Client, declared_row: Any) -> None:
    management = {"TOTAL_FORMS": 1, "INITIAL_FORMS": 1, "MIN_NUM_FORMS": 1, "MAX_NUM_FORMS": 1}
    options = management | {"0-periodic_task": declared_row.pk, "0-priority": 9, "0-catch_up": "skip"}
    sent = {"name": "Mine", "task": "other", "regtask": "shop.renamed", "args": "[]"}
    sent |= {f"tasks_celery_options-{name}": value for name, value in options.items()}
    with mock.patch.object(task_backends["default"], "supports_priority", False, create=True):
        assert boss.post(page_of(declared_row), sent).status_code == 302
    declared_row.refresh_from_db()
    assert (declared_row.enabled, declared_row.name) == (False, "Sum")
    assert (declared_row.task, declared_row.args) == ("tests.shop.tasks.add", "[1, 2, 3]")
    assert ScheduleOptions.objects.get().priority == 5
    assert PeriodicTasks.last_change() is not None


def test_a_row_that_code_no_longer_declares_says_so(boss: Client, declared_row: Any) -> None:
    ScheduleOptions.objects.update(dropped=True)
    assert "no longer does" in boss.get(page_of(declared_row)).content.decode()


def test_a_row_of_a_person_says_nothing_of_code(boss: Client, row: Any) -> None:
    content = boss.get(page_of(row)).content.decode()
    assert "Code declare" not in content
    assert "readable-crontabs" in content  # django-celery-beat's own form is beneath


# --- the list of schedules


def test_the_list_tells_who_declared_a_row_and_what_became_of_its_last_tick(boss: Client, declared_row: Any) -> None:
    hand_made = PeriodicTask.objects.create(name="Other", task="x", interval=declared_row.interval)
    Tick.objects.create(periodic_task=declared_row, at=LONG_AGO, result_id="old", outcome="refused")
    Tick.objects.create(periodic_task=declared_row, at=timezone.now(), result_id="new", outcome="sent")
    content = boss.get(LIST).content.decode()
    assert f'<a href="{page_of(declared_row, "runs")}">sent</a>' in content
    assert page_of(hand_made, "runs") not in content
    assert "refused" not in content
    assert content.count("icon-yes.svg") == 3  # both are enabled, one is declared


def test_the_list_asks_no_more_for_more_rows(boss: Client, row: Any) -> None:
    with CaptureQueriesContext(connection) as few:
        boss.get(LIST)
    for number in range(5):
        more = PeriodicTask.objects.create(name=f"More {number}", task=row.task, interval=row.interval)
        a_tick(more, str(number))
    with CaptureQueriesContext(connection) as many:
        boss.get(LIST)
    assert len(many) == len(few)


@pytest.mark.parametrize(
    ("scheduler", "is_wrong"),
    [
        ("tasks_celery.beat.scheduler:DatabaseScheduler", False),
        ("django_celery_beat.schedulers:DatabaseScheduler", False),
        ("django", False),
        ("celery.beat:PersistentScheduler", True),
        (None, True),
    ],
)
def test_the_list_tells_a_scheduler_that_reads_no_rows(boss: Client, scheduler: str | None, is_wrong: bool) -> None:
    with override_settings(CELERY_BEAT_SCHEDULER=scheduler):
        assert boss.get(LIST).context["wrong_scheduler"] is is_wrong


def test_the_list_shows_where_no_scheduler_is_named(boss: Client) -> None:
    assert boss.get(LIST).status_code == 200


# --- the last runs


def a_tick(row: Any, result_id: str, **facts: Any) -> Tick:
    facts = {"at": timezone.now(), "outcome": "sent"} | facts
    return Tick.objects.create(periodic_task=row, result_id=result_id, **facts)


def runs_on(response: Any) -> list[tuple[str, str]]:
    assert response.status_code == 200
    return [(run.tick.result_id, run.status) for run in response.context["runs"]]


def test_the_runs_of_no_row_are_not_found(boss: Client) -> None:
    assert boss.get(f"{LIST}99/runs/").status_code == 404
    assert boss.get(f"{LIST}none/runs/").status_code == 404


def test_the_runs_tell_what_became_of_each_tick(boss: Client, row: Any) -> None:
    with eagerly():
        done, failed = tasks.echo.enqueue("a secret"), tasks.fail.enqueue("no paper")
        a_tick(row, done.id)
        a_tick(row, failed.id, by_hand=True)
        a_tick(row, "unknown-id")
        a_tick(row, "never-sent", outcome="refused", reason="the queue is not in QUEUES")
        response = boss.get(page_of(row, "runs"))
    assert runs_on(response) == [
        ("never-sent", ""),
        ("unknown-id", "gone"),
        (failed.id, "FAILED"),
        (done.id, "SUCCESSFUL"),
    ]
    content = response.content.decode()
    assert "FAILED: builtins.ValueError" in content
    assert "refused: the queue is not in QUEUES" in content
    assert content.count("(by hand)") == 1
    assert "a secret" not in content
    assert "no paper" not in content


def test_a_store_that_is_away_is_said_and_asked_once(boss: Client, row: Any) -> None:
    a_tick(row, "one")
    a_tick(row, "two")
    away = mock.Mock(side_effect=StoreError("The store does not answer."))
    with eagerly(), mock.patch.object(task_backends["default"], "get_result", away):
        response = boss.get(page_of(row, "runs"))
    assert runs_on(response) == [("two", "unknown"), ("one", "unknown")]
    assert response.content.decode().count("The store does not answer.") == 2
    assert away.call_count == 1


def test_results_that_are_not_kept_are_said_to_be_unknown(boss: Client, row: Any) -> None:
    a_tick(row, "one")
    with mock.patch.object(type(task_backends["default"]), "supports_get_result", False):
        response = boss.get(page_of(row, "runs"))
    assert runs_on(response) == [("one", "unknown")]
    assert "Results are not kept." in response.content.decode()


def test_no_more_runs_are_looked_up_than_are_kept(boss: Client, row: Any) -> None:
    for number in range(4):
        a_tick(row, str(number))
    with eagerly(), override_settings(TASK_SCHEDULES={"KEEP": 2}):
        assert runs_on(boss.get(page_of(row, "runs"))) == [("3", "gone"), ("2", "gone")]


def test_the_runs_of_another_celery_task_are_looked_up_too(boss: Client, row: Any) -> None:
    PeriodicTask.objects.filter(pk=row.pk).update(task="another.project")
    with eagerly():
        a_tick(row, tasks.add.enqueue(1).id)
        [(_, status)] = runs_on(boss.get(page_of(row, "runs")))
    assert status == "SUCCESSFUL"


def test_the_form_leads_to_the_runs(boss: Client, row: Any) -> None:
    assert f'href="{page_of(row, "runs")}"' in boss.get(page_of(row)).content.decode()
    assert "No tick of this schedule was taken yet." in boss.get(page_of(row, "runs")).content.decode()


# --- who may what


def test_who_may_nothing_sees_nothing(row: Any) -> None:
    client = staff()
    assert client.get(LIST).status_code == 403
    assert client.get(page_of(row)).status_code == 403
    assert client.get(page_of(row, "runs")).status_code == 403
    assert Client().get(page_of(row, "runs")).status_code == 302  # to sign in


def test_who_may_view_sees_all_and_changes_nothing(row: Any, filled: Fill) -> None:
    client = staff("view")
    ScheduleOptions.objects.create(periodic_task=row, skip_while_active=True)
    page = client.get(page_of(row))
    [inline] = page.context["inline_admin_formsets"]
    assert not inline.has_change_permission
    assert "Skip while active" in page.content.decode()
    assert client.get(page_of(row, "runs")).status_code == 200
    assert client.post(page_of(row), filled()).status_code == 403
    assert not client.get(LIST).context["cl"].model_admin.get_actions(page.wsgi_request)


def test_who_may_view_starts_and_disables_nothing(row: Any) -> None:
    client = staff("view")
    for action in ("run_tasks", "disable_tasks", "toggle_tasks"):
        act(client, action, row)
    row.refresh_from_db()
    assert row.enabled
    assert not Tick.objects.exists()


def test_who_may_change_schedules_may_change_their_options(row: Any, filled: Fill) -> None:
    client = staff("change")
    sent = filled(name="Sum", regtask="", task=row.task, **{"tasks_celery_options-0-catch_up": "skip"})
    assert client.post(page_of(row), sent).status_code == 302
    assert ScheduleOptions.objects.get().catch_up == "skip"
    assert client.get(page_of(row, "runs")).status_code == 200
    assert client.post(ADD, sent).status_code == 403


def test_who_may_add_schedules_may_set_their_options(filled: Fill) -> None:
    client = staff("add")
    assert client.post(ADD, filled(**{"tasks_celery_options-0-catch_up": "skip"})).status_code == 302
    assert ScheduleOptions.objects.get().catch_up == "skip"


# --- the actions


def act(client: Client, action: str, *rows: Any) -> Any:
    return client.post(LIST, {"action": action, "_selected_action": [row.pk for row in rows]})


def test_a_row_is_run_by_hand_even_if_it_is_disabled(boss: Client, row: Any) -> None:
    PeriodicTask.objects.filter(pk=row.pk).update(enabled=False)
    with eagerly():
        response = act(boss, "run_tasks", row)
        [(result_id, status)] = runs_on(boss.get(page_of(row, "runs")))
        result = task_backends["default"].get_result(result_id)
    assert said_in(response) == [f'Started: <a href="{page_of(row, "runs")}">Sum</a>.']
    assert (status, result.return_value) == ("SUCCESSFUL", 1)
    tick = Tick.objects.get()
    assert (tick.by_hand, tick.outcome) == (True, "sent")
    row.refresh_from_db()
    assert (row.enabled, row.last_run_at, row.total_run_count) == (False, None, 0)


def test_a_row_that_cannot_be_sent_keeps_no_other_from_it(boss: Client, row: Any) -> None:
    other = PeriodicTask.objects.create(name="<Other>", task=row.task, args="[1]", interval=row.interval)
    PeriodicTask.objects.filter(pk=row.pk).update(args="[1, 2, 3]")
    with eagerly():
        response = act(boss, "run_tasks", row, other)
    refused, started = sorted(said_in(response), reverse=True)
    assert refused.startswith("Sum was not started: ")
    assert "too many positional arguments" in refused
    assert started == f'Started: <a href="{page_of(other, "runs")}">&lt;Other&gt;</a>.'


def test_a_broker_that_is_away_is_said(boss: Client, row: Any) -> None:
    with mock.patch("tasks_celery.beat.admin.actions.run_now", side_effect=EnqueueError("The broker is away.")):
        assert said_in(act(boss, "run_tasks", row)) == ["Sum was not started: The broker is away."]


def test_a_unique_task_that_has_its_like_is_not_said_to_have_started(boss: Client, row: Any, registry: None) -> None:
    task(name="shop.alone", unique=True)(_aliased)
    PeriodicTask.objects.filter(pk=row.pk).update(task="shop.alone", args="[]")
    with records_in_redis():
        first, second = said_in(act(boss, "run_tasks", row)), said_in(act(boss, "run_tasks", row))
    assert first[0].startswith("Started")
    assert second[-1].startswith("Sum was not started: Its task is unique")


def test_rows_that_are_enabled_again_count_from_then_on(boss: Client, row: Any) -> None:
    for action in ("enable_tasks", "toggle_tasks"):
        PeriodicTask.objects.update(enabled=False, last_run_at=LONG_AGO, date_changed=LONG_AGO)
        PeriodicTasks.objects.update_or_create(ident=1, defaults={"last_update": LONG_AGO})
        act(boss, action, row)
        row.refresh_from_db()
        assert (row.enabled, row.last_run_at) == (True, None)
        assert row.date_changed > LONG_AGO
        assert PeriodicTasks.last_change() > LONG_AGO


def test_enabling_a_row_that_is_enabled_leaves_its_ticks_as_they_are(boss: Client, row: Any) -> None:
    PeriodicTask.objects.update(last_run_at=LONG_AGO)
    act(boss, "enable_tasks", row)
    row.refresh_from_db()
    assert row.last_run_at == LONG_AGO


# --- whose page it is


@pytest.fixture
def registered_as() -> Iterator[Callable[[Any], Any]]:
    """Register another page for schedules, let ours take its place if it may, and tell which it then is."""

    def register(kind: Any) -> Any:
        if admin.site.is_registered(PeriodicTask):
            admin.site.unregister(PeriodicTask)
        if kind:
            admin.site.register(PeriodicTask, kind)
        _take_place()
        return type(admin.site._registry.get(PeriodicTask))

    before = type(admin.site.get_model_admin(PeriodicTask))
    assert before is PeriodicTaskAdmin
    yield register
    register(before)


def test_the_page_of_django_celery_beat_is_replaced(registered_as: Callable[[Any], Any]) -> None:
    assert registered_as(TheirAdmin) is PeriodicTaskAdmin


def test_a_page_of_the_project_stays(registered_as: Callable[[Any], Any]) -> None:
    class Own(TheirAdmin):  # type: ignore[misc]
        pass

    class OwnOfOurs(PeriodicTaskAdmin):
        pass

    assert registered_as(Own) is Own
    assert registered_as(OwnOfOurs) is OwnOfOurs


def test_a_page_that_the_project_took_away_does_not_come_back(registered_as: Callable[[Any], Any]) -> None:
    assert registered_as(None) is type(None)
