"""Both. The tables that schedules rest in: as the models of today, or as those that a migration has.

A migration's models have no `save()`, no signals and no managers of their own. So nothing here relies on those of
django-celery-beat: whoever changes a row says so to every beat with `mark_changed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.apps import apps as todays_apps
from django.apps.registry import Apps
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connections, transaction
from django.db.models import F, Model
from django.utils import timezone

from tasks_celery.beat.when import Kind
from tasks_celery.exceptions import ScheduleError

_KINDS: dict[Kind, str] = {
    "interval": "IntervalSchedule",
    "crontab": "CrontabSchedule",
    "solar": "SolarSchedule",
    "clocked": "ClockedSchedule",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The models of schedules, of what they have beyond django-celery-beat's, and of the times they tick at."""

    tasks: Any
    changes: Any
    kinds: dict[Kind, Any]
    options: Any
    ticks: Any

    def __iter__(self) -> Iterator[type[Model]]:
        return iter((self.tasks, self.changes, *self.kinds.values(), self.options, self.ticks))


def tables_of(apps: Apps) -> Tables:
    """Return the tables as `apps` has them: a migration's, or ``django.apps.apps``.

    Raise ScheduleError for one that is not there, naming the dependency that the migration lacks.
    """
    return Tables(
        tasks=_model(apps, "django_celery_beat", "PeriodicTask"),
        changes=_model(apps, "django_celery_beat", "PeriodicTasks"),
        kinds={kind: _model(apps, "django_celery_beat", name) for kind, name in _KINDS.items()},
        options=_model(apps, "tasks_celery_beat", "ScheduleOptions"),
        ticks=_model(apps, "tasks_celery_beat", "Tick"),
    )


def _model(apps: Apps, label: str, name: str) -> Any:
    if not isinstance(apps, Apps):
        raise ScheduleError(
            f"The first argument is {apps!r}; it has to be the `apps` that a migration's function is given, or "
            "django.apps.apps."
        )
    try:
        return apps.get_model(label, name)
    except LookupError as error:
        if not todays_apps.is_installed("tasks_celery.beat"):
            raise ScheduleError(
                f"There is no model {label}.{name}: add 'django_celery_beat' and 'tasks_celery.beat' to INSTALLED_APPS."
            ) from error
        raise ScheduleError(
            f"The migration that calls this sees no model {label}.{name}: it lacks "
            'dependencies = [("tasks_celery_beat", "0001_initial")].'
        ) from error


def refuse_missing(tables: Tables, using: str) -> None:
    """Raise ScheduleError where a database lacks a table or a column, because migrations wait."""
    if missing := next(missing_parts(tables, using), None):
        raise ScheduleError(f"The database {using!r} has no {missing}: run manage.py migrate first.")


def missing_parts(tables: Tables, using: str) -> Iterator[str]:
    """Yield what a database lacks of the tables, in words."""
    connection = connections[using]
    named = connection.introspection.identifier_converter  # Oracle's are in capitals
    with connection.cursor() as cursor:
        there = connection.introspection.table_names(cursor)
        for model in tables:
            table = model._meta.db_table
            if named(table) not in there:
                yield f"table {table}"
                continue
            # Not as Django asks for it: of SQLite it wants more, which takes it 30 ms a table.
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)} WHERE 1 = 0")  # noqa: S608 - no value
            columns = {named(column[0]) for column in cursor.description}
            wanted = {str(field.column) for field in model._meta.local_concrete_fields}
            yield from (f"column {table}.{column}" for column in sorted(wanted) if named(column) not in columns)


def lock(tables: Tables, using: str) -> None:
    """Wait until nobody else writes schedules; they wait until this transaction ends."""
    row = tables.changes._base_manager.using(using).filter(ident=1)
    # A write and no SELECT FOR UPDATE: SQLite has none, and of two who read first and then write it turns one away.
    if row.update(last_update=F("last_update")):
        return
    with suppress(IntegrityError), transaction.atomic(using=using):
        tables.changes._base_manager.using(using).bulk_create([tables.changes(ident=1, last_update=timezone.now())])
    row.update(last_update=F("last_update"))


def mark_changed(apps: Apps, using: str = "default") -> None:
    """Have every running beat read the schedules anew, once this transaction is committed."""
    mark(tables_of(apps), using)


def mark(tables: Tables, using: str) -> None:
    """Do as `mark_changed` does."""
    with transaction.atomic(using=using):
        lock(tables, using)
        row = tables.changes._base_manager.using(using).filter(ident=1)
        # Always later than before, whatever the clocks: a beat looks for a later one than it has seen.
        later = row.get().last_update + timedelta(microseconds=1)
        row.update(last_update=max(timezone.now(), later))


def id_of_user(tables: Tables, username: str | None, using: str) -> Any:
    """Return the primary key of a user; None for no name. Raise ScheduleError where there is none of that name."""
    return _id_of(tables, "notify_user", get_user_model().USERNAME_FIELD, username, using)


def id_of_group(tables: Tables, name: str | None, using: str) -> Any:
    """Return the primary key of a group; None for no name. Raise ScheduleError where there is none of that name."""
    return _id_of(tables, "notify_group", "name", name, using)


def _id_of(tables: Tables, option: str, field: str, value: str | None, using: str) -> Any:
    if value is None:
        return None
    model = tables.options._meta.get_field(option).related_model
    found = model._base_manager.using(using).filter(**{field: value}).values_list("pk", flat=True).first()
    if found is None:
        raise ScheduleError(
            f"{option}={value!r}: the database {using!r} has no {model._meta.verbose_name} whose {field} is that; "
            "make one first, or name another."
        )
    return found
