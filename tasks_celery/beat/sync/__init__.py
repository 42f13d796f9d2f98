"""Both. Makes the database's schedules those that the code declares: by ``manage.py sync_schedules``, or after ``migrate``.

It writes its own rows alone: those whose options say `declared`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.db import DatabaseError, router, transaction
from django.db.models.signals import post_migrate

from tasks_celery.beat.declare import Declaration, declared
from tasks_celery.beat.options import schedule_settings
from tasks_celery.beat.rows import all_rows, change, put, remove
from tasks_celery.beat.rows.tables import (
    Tables,
    id_of_group,
    id_of_user,
    lock,
    mark,
    missing_parts,
    refuse_missing,
    tables_of,
)
from tasks_celery.beat.sync.plans import Change, Plan, plan
from tasks_celery.celery import find_app
from tasks_celery.discovery import modules_with_tasks
from tasks_celery.exceptions import ScheduleError, TasksCeleryError

__all__ = ["Change", "Plan", "after_migrate", "connect", "find_declared", "plan", "sync"]


def sync(*, using: str | None = None, prune: bool = False, check: bool = False) -> Plan:
    """Write what the code declares, all or nothing, and return what that changed; with `check` what it would.

    Without `using` the database is the one that django-celery-beat writes to. Raise ScheduleError, and write nothing, for a
    module that cannot be imported, a name that somebody else's schedule has, a user or a group that is not there, and
    migrations that wait.
    """
    declarations, tables = find_declared(), tables_of(apps)
    using = using or own_database(tables)
    try:
        refuse_missing(tables, using)
        found = look(tables, declarations, using, prune)
        return found if check or not found.changes else _apply(tables, declarations, using, prune)
    except DatabaseError as error:
        raise ScheduleError(f"The database {using!r} did not take the schedules: {error}") from error


def own_database(tables: Tables) -> str:
    """Return the database that django-celery-beat itself writes schedules to."""
    return str(router.db_for_write(tables.tasks))


def find_declared() -> list[Declaration]:
    """Import every module that defines tasks, and return the schedules that they declare.

    Raise ScheduleError for a module that cannot be imported: its schedules would seem dropped.
    """
    for name in modules_with_tasks():
        _import(f"The module {name}", partial(import_module, name))
    _import("What Celery imports", find_app().loader.import_default_modules)
    return declared()


def _import(what: str, imports: Callable[[], object]) -> None:
    try:
        imports()
    except Exception as error:
        raise ScheduleError(
            f"{what} cannot be imported, and its schedules would seem dropped: {type(error).__name__}: {error}"
        ) from error


def look(tables: Tables, declarations: Iterable[Declaration], using: str, prune: bool) -> Plan:
    """Return what has to change. Raise ScheduleError for what cannot be written."""
    found = plan(declarations, {row.name: row for row in all_rows(tables, using)}, prune=prune)
    if missing := list(_missing_people(tables, found, using)):
        raise ScheduleError("\n".join(missing))
    return found


def _missing_people(tables: Tables, found: Plan, using: str) -> Iterator[str]:
    for declaration in (each.declaration for each in found.changes if each.declaration):
        try:
            id_of_user(tables, declaration.notify_user, using)
            id_of_group(tables, declaration.notify_group, using)
        except ScheduleError as error:
            yield f"The schedule {declaration.name!r}: {error}"


def _apply(tables: Tables, declarations: Iterable[Declaration], using: str, prune: bool) -> Plan:
    with transaction.atomic(using=using):
        lock(tables, using)
        # Again: until the lock was had, another sync may have written the same.
        found = look(tables, declarations, using, prune)
        rows = {row.name: row for row in all_rows(tables, using)}
        for each in found.changes:
            _carry_out(tables, each, rows.get(each.name), using)
        if found.changes:
            mark(tables, using)
    return found


def _carry_out(tables: Tables, each: Change, row: Any, using: str) -> None:
    if each.declaration:
        ours = {"declared": True, "dropped": False}
        put(tables, row, each.declaration, using=using, enabled=each.enabled, options=ours)
    elif each.what == "delete":
        remove(tables, [each.name], using)
    else:
        # As django-celery-beat has it: what would tick from now on is not missed, should it come back.
        change(tables, row, using, enabled=False, last_run_at=None)
        tables.options._base_manager.using(using).filter(periodic_task_id=row.pk).update(dropped=True)


def connect() -> None:
    """Have what the code declares written after each ``migrate``, where TASK_SCHEDULES asks for it."""
    # The signal comes once for each app that has models. After the last all that others make then is there, such as groups.
    last = [config for config in apps.get_app_configs() if config.models_module is not None][-1]
    post_migrate.connect(after_migrate, sender=last, dispatch_uid="tasks_celery.beat.sync")


def after_migrate(sender: Any, *, using: str, verbosity: int = 1, **kwargs: Any) -> None:
    """Sync after ``migrate``, in the database of the schedules and once they have their tables. Raise CommandError."""
    # A flush, as after each test of some kinds, sends the signal too, and without a plan.
    if "plan" not in kwargs or not schedule_settings().sync_after_migrate:
        return
    tables = tables_of(apps)
    if using != own_database(tables) or any(missing_parts(tables, using)):
        return
    try:
        lines = sync(using=using).lines()
    except TasksCeleryError as error:
        raise CommandError(f"The migrations are applied, the schedules are not written. {error}") from error
    if lines and verbosity >= 1:
        out = kwargs.get("stdout") or sys.stdout
        out.write("\n".join(("Schedules that the code declares:", *(f"  {line}" for line in lines))) + "\n")
