from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.models.signals import post_migrate
from django_celery_beat.models import PeriodicTask

from tasks_celery.beat import sync as module
from tasks_celery.beat.declare import Declaration, _declared
from tasks_celery.beat.models import ScheduleOptions
from tasks_celery.beat.rows import write
from tasks_celery.beat.when import every
from tasks_celery.exceptions import ScheduleError
from tests.beat.migrated import a_declaration, as_rows_are, last_update, the_row

pytestmark = pytest.mark.django_db

Declare = Callable[..., None]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Have the code declare these alone."""

    def declare(*declarations: Declaration) -> None:
        monkeypatch.setattr(module, "find_declared", lambda: list(declarations))

    declare()
    return declare


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A module with tasks that cannot be imported."""
    (tmp_path / "shop_broken.py").write_text("import nowhere_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "modules_with_tasks", lambda: iter(["shop_broken"]))


def ran(*args: str) -> str:
    out = io.StringIO()
    call_command("sync_schedules", *args, stdout=out, no_color=True)
    return out.getvalue()


def migrated(*args: Any, **options: Any) -> str:
    """What the receiver says after a migrate of which nothing was left to do."""
    out = io.StringIO()
    options = {"using": "default", "verbosity": 1, "plan": [], "stdout": out} | options
    module.after_migrate(None, **options)
    return out.getvalue()


@pytest.fixture
def asked_for(settings: Any) -> None:
    settings.TASK_SCHEDULES = {"SYNC_AFTER_MIGRATE": True}


def test_a_module_that_cannot_be_imported_is_an_error_and_nothing_is_written(broken: None) -> None:
    write(apps, a_declaration(), options={"declared": True})
    before = as_rows_are()
    with pytest.raises(
        CommandError, match=r"shop_broken cannot be imported.*No module named 'nowhere_at_all'\nNothing"
    ):
        ran()
    assert as_rows_are() == before
    assert "shop_broken" not in sys.modules


def test_a_row_of_that_name_that_a_person_made_is_an_error_and_nothing_is_written(declare: Declare) -> None:
    write(apps, a_declaration())
    declare(a_declaration(), a_declaration(name="New"))
    before = as_rows_are()
    with pytest.raises(CommandError, match=r"A person or a migration made(.|\n)*Digest(.|\n)*Nothing was written\."):
        ran()
    assert as_rows_are() == before


def test_all_who_are_not_there_are_told_before_anything_is_written(declare: Declare) -> None:
    declare(
        a_declaration(), a_declaration(name="A", notify_user="ada"), a_declaration(name="B", notify_group="Editors")
    )
    before = as_rows_are()
    with pytest.raises(CommandError) as refused:
        ran()
    first, second, last = str(refused.value).splitlines()
    assert first.startswith("The schedule 'A': notify_user='ada': the database 'default' has no user")
    assert second.startswith("The schedule 'B': notify_group='Editors': the database 'default' has no group")
    assert last == "Nothing was written."
    assert as_rows_are() == before


def test_migrations_that_wait_are_an_error_with_the_cure(declare: Declare) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE tasks_celery_beat_scheduleoptions")
    with pytest.raises(CommandError, match=r"no table tasks_celery_beat_scheduleoptions: run manage\.py migrate first"):
        ran()


def test_what_the_database_says_is_told_and_nothing_is_half_written(declare: Declare) -> None:
    declare(a_declaration(name="A"), a_declaration(name="B"))

    def failing(execute: Any, sql: str, params: Any, *rest: Any) -> Any:
        if sql.startswith("INSERT") and params and "B" in params:
            raise DatabaseError("disk full")
        return execute(sql, params, *rest)

    before = as_rows_are()
    with (
        connection.execute_wrapper(failing),
        pytest.raises(CommandError, match="did not take the schedules: disk full"),
    ):
        ran()
    assert as_rows_are() == before


def test_what_is_declared_is_written_as_its_own_and_beats_notice(declare: Declare) -> None:
    declare(a_declaration(), a_declaration(name="Another"))
    assert ran() == (
        "+ Another: tests.shop.tasks.add, every hour\n+ Digest: tests.shop.tasks.add, every hour\n2 schedules written.\n"
    )
    assert the_row().enabled
    assert ScheduleOptions.objects.filter(declared=True, dropped=False).count() == 2
    assert last_update() is not None


def test_twice_in_a_row_writes_nothing_and_says_so(declare: Declare) -> None:
    User.objects.create(username="ada")
    declare(a_declaration(notify_user="ada", kwargs={"a": 1}, priority=2))
    ran()
    before = as_rows_are()
    assert ran() == "Nothing to do: the schedules are as the code declares them.\n"
    assert as_rows_are() == before


def test_a_change_is_written_and_told(declare: Declare) -> None:
    declare(a_declaration())
    ran()
    before = last_update()
    declare(a_declaration(every(minutes=5), task="another"))
    assert ran().endswith("    when: every hour -> every 5 minutes\n1 schedule written.\n")
    assert (str(the_row().interval), the_row().task) == ("every 5 minutes", "another")
    assert last_update() > before


def test_dropped_disabled_and_back_again(declare: Declare) -> None:
    declare(a_declaration())
    ran()
    PeriodicTask.objects.update(last_run_at=the_row().date_changed)
    declare()
    before = last_update()
    assert ran() == "- Digest: disabled, for the code no longer declares it\n1 schedule written.\n"
    row = the_row()
    assert (row.enabled, row.last_run_at) == (False, None)
    assert last_update() > before
    assert "Nothing to do" in ran()
    declare(a_declaration())
    assert "enabled: no -> yes" in ran()
    assert the_row().enabled
    assert "Nothing to do" in ran()


def test_what_an_operator_disabled_stays_so(declare: Declare) -> None:
    declare(a_declaration())
    ran()
    PeriodicTask.objects.update(enabled=False)
    declare(a_declaration(every(minutes=5)))
    assert "! Digest: somebody disabled it, and it stays so\n" in ran()
    assert not the_row().enabled
    declare()
    assert "Nothing to do" in ran()
    declare(a_declaration(every(minutes=5)))
    assert "Nothing to do" in ran()
    assert not the_row().enabled


def test_prune_deletes_what_the_code_dropped_and_nothing_else(declare: Declare) -> None:
    declare(a_declaration(), a_declaration(name="Dropped before"), a_declaration(name="Kept"))
    ran()
    write(apps, a_declaration(name="A person's"))
    declare(a_declaration(), a_declaration(name="Kept"))
    ran()
    declare(a_declaration(name="Kept"))
    before = last_update()
    assert ran("--prune").splitlines()[:2] == [
        "- Digest: deleted, for the code no longer declares it",
        "- Dropped before: deleted, for the code no longer declares it",
    ]
    assert set(PeriodicTask.objects.values_list("name", flat=True)) == {"Kept", "A person's"}
    assert last_update() > before


@pytest.mark.parametrize("prune", [(), ("--prune",)])
def test_check_writes_nothing_and_fails_where_something_would_change(declare: Declare, prune: tuple[str, ...]) -> None:
    declare(a_declaration(), a_declaration(name="Old"))
    ran()
    declare(a_declaration(every(minutes=5)))
    before = as_rows_are()
    out = io.StringIO()
    with pytest.raises(CommandError, match=r"^2 schedules would change: run manage\.py sync_schedules\.$") as failed:
        call_command("sync_schedules", "--check", *prune, stdout=out)
    assert failed.value.returncode == 1
    assert "~ Digest\n    when: every hour -> every 5 minutes\n- Old" in out.getvalue()
    assert as_rows_are() == before


def test_check_is_content_where_nothing_would_change(declare: Declare) -> None:
    declare(a_declaration())
    ran()
    assert "Nothing to do" in ran("--check")


def test_check_is_content_with_what_an_operator_disabled(declare: Declare) -> None:
    declare(a_declaration())
    ran()
    PeriodicTask.objects.update(enabled=False)
    assert ran("--check").splitlines()[0] == "! Digest: somebody disabled it, and it stays so"


def test_what_another_sync_wrote_meanwhile_is_not_written_again(
    declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(a_declaration())
    seen = []

    def waiting(tables: Any, using: str) -> None:
        # While this one waits for the lock, the other writes.
        write(apps, a_declaration(), options={"declared": True})
        seen.append(as_rows_are())
        real(tables, using)

    real = module.lock
    monkeypatch.setattr(module, "lock", waiting)
    assert "Nothing to do" in ran()
    assert [as_rows_are()] == seen


@pytest.fixture
def declaring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry: None) -> Iterator[str]:
    """The name of a module that declares a schedule and is imported by nobody so far."""
    (tmp_path / "shop_declares.py").write_text(
        "from tasks_celery import task\nfrom tasks_celery.beat import every, schedule\n"
        "@schedule(every(minutes=1), name='From a module')\n@task\ndef tick(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "shop_declares"
    del sys.modules["shop_declares"], _declared["From a module"]


@pytest.mark.parametrize("by", ["its decorators", "Celery's imports"])
def test_all_modules_with_tasks_are_imported_first(monkeypatch: pytest.MonkeyPatch, declaring: str, by: str) -> None:
    monkeypatch.setattr(module, "modules_with_tasks", lambda: iter([declaring] if by == "its decorators" else []))
    imports = [declaring] if by == "Celery's imports" else []
    monkeypatch.setattr(module, "find_app", lambda: Celery(set_as_current=False, imports=imports))
    assert "From a module" in [found.name for found in module.find_declared()]


def test_what_celery_imports_and_cannot_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "modules_with_tasks", lambda: iter([]))
    monkeypatch.setattr(module, "find_app", lambda: Celery(set_as_current=False, imports=["nowhere_at_all"]))
    with pytest.raises(CommandError, match=r"What Celery imports cannot be imported(.|\n)*nowhere_at_all"):
        ran()


def test_migrate_leaves_schedules_alone_unless_asked(declare: Declare) -> None:
    declare(a_declaration())
    assert migrated() == ""
    assert not PeriodicTask.objects.exists()


def test_migrate_writes_them_where_asked_and_prints_the_diff(declare: Declare, asked_for: None) -> None:
    declare(a_declaration())
    assert migrated() == "Schedules that the code declares:\n  + Digest: tests.shop.tasks.add, every hour\n"
    assert the_row().enabled
    assert migrated() == ""


def test_a_quiet_migrate_writes_them_too(declare: Declare, asked_for: None) -> None:
    declare(a_declaration())
    assert migrated(verbosity=0) == ""
    assert the_row().enabled


def test_a_flush_is_no_migrate(declare: Declare, asked_for: None) -> None:
    declare(a_declaration())
    module.after_migrate(None, using="default", verbosity=1)
    assert not PeriodicTask.objects.exists()


def test_a_migrate_before_the_tables_are_there_says_nothing(declare: Declare, asked_for: None) -> None:
    declare(a_declaration())
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE tasks_celery_beat_tick")
    assert migrated() == ""


def test_a_migrate_of_another_database_says_nothing(declare: Declare, asked_for: None) -> None:
    declare(a_declaration())
    assert migrated(using="elsewhere") == ""
    assert not PeriodicTask.objects.exists()


def test_what_goes_wrong_after_migrate_is_told(declare: Declare, asked_for: None) -> None:
    declare(a_declaration(notify_group="Editors"))
    with pytest.raises(CommandError, match=r"The migrations are applied, the schedules are not written\. .*'Editors'"):
        migrated()


def test_migrate_writes_them_once_and_after_all_apps(
    declare: Declare, asked_for: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(a_declaration(notify_group="Editors"))
    calls = []

    def make_group(**kwargs: Any) -> None:
        calls.append("group")
        Group.objects.get_or_create(name="Editors")

    def syncing(*args: Any, **kwargs: Any) -> Any:
        calls.append("sync")
        return real(*args, **kwargs)

    real = module.sync
    monkeypatch.setattr(module, "sync", syncing)
    module.connect()
    module.connect()
    other_apps = [config for config in apps.get_app_configs() if config.models_module][:-1]
    for config in other_apps:
        post_migrate.connect(make_group, sender=config, weak=False, dispatch_uid=f"test.{config.label}")
    out = io.StringIO()
    try:
        call_command("migrate", stdout=out)
    finally:
        for config in other_apps:
            post_migrate.disconnect(sender=config, dispatch_uid=f"test.{config.label}")
    assert calls == ["group"] * len(other_apps) + ["sync"]
    assert out.getvalue().count("+ Digest") == 1


def test_the_database_is_where_django_celery_beat_writes(declare: Declare, settings: Any) -> None:
    class Router:
        def db_for_write(self, model: Any, **hints: Any) -> str | None:
            return "elsewhere" if model is PeriodicTask else None

    settings.DATABASE_ROUTERS = [Router()]
    with pytest.raises(Exception, match="elsewhere"):
        module.sync()
    assert module.sync(using="default").changes == ()


def test_the_error_is_ours(declare: Declare) -> None:
    declare(a_declaration(notify_user="ada"))
    with pytest.raises(ScheduleError):
        module.sync()
