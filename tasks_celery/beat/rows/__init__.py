"""Both. Writes the row of a schedule, and what it has beyond django-celery-beat's; reads it back.

A row of times (a crontab, an interval) is shared by whoever needs the same: it is never changed, the schedule is pointed
to another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.apps.registry import Apps
from django.db import IntegrityError, transaction
from django.utils import timezone

from tasks_celery.beat.declare import Declaration
from tasks_celery.beat.rows.diff import KINDS, changed_texts, differences, is_one_off, options_of
from tasks_celery.beat.rows.tables import Tables, id_of_group, id_of_user, lock, mark, mark_changed, tables_of
from tasks_celery.beat.when import When
from tasks_celery.exceptions import ScheduleError
from tasks_celery.moments import as_project, to_aware

__all__ = [
    "all_rows",
    "change",
    "differences",
    "find",
    "has_other_times",
    "hold",
    "is_done",
    "mark_changed",
    "put",
    "remove",
    "write",
]


def write(
    apps: Apps,
    declaration: Declaration,
    *,
    using: str = "default",
    enabled: bool | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Have a row say what is declared, and return it; one that does stays untouched.

    `enabled` None leaves that as it is, and has a new row on; a row that ticks once and has done so stays off until its
    times are others. `options` are more columns of `ScheduleOptions`. Running beats notice once the transaction is
    committed. Raise ScheduleError for a row that runs another task, and for a user or a group that is not there.
    """
    tables, options = tables_of(apps), options or {}
    row = find(tables, declaration.name, using)
    if says_so(row, declaration, enabled, options):
        return row
    with transaction.atomic(using=using):
        lock(tables, using)
        row = find(tables, declaration.name, using)
        _refuse_another_task(row, declaration)
        put(tables, row, declaration, using=using, enabled=enabled, options=options)
        mark(tables, using)
    return find(tables, declaration.name, using)


def find(tables: Tables, name: str, using: str) -> Any:
    """Return the row of a schedule with its times and options; None where there is none."""
    return all_rows(tables, using).filter(name=name).first()


def all_rows(tables: Tables, using: str) -> Any:
    """Return the rows of all schedules, each with its times and options."""
    options = [f"tasks_celery_options__{name}" for name in ("notify_user", "notify_group")]
    return tables.tasks._base_manager.using(using).select_related(*KINDS, *options)


def says_so(row: Any, declaration: Declaration, enabled: bool | None, options: Mapping[str, Any]) -> bool:
    """Return whether a row says what is declared already."""
    if row is None or _turned(row, declaration, enabled) or changed_texts(row, declaration):
        return False
    known = options_of(row)
    return all(known and getattr(known, name) == value for name, value in options.items())


def is_done(row: Any) -> bool:
    """Return whether a row is off because it was to tick once, and has."""
    if row.enabled or not row.one_off:
        return False
    at = to_aware(row.clocked.clocked_time) if row.clocked else None
    return row.last_run_at is not None or (at is not None and at <= datetime.now(UTC))


def has_other_times(row: Any, declaration: Declaration) -> bool:
    """Return whether a row ticks at other times than is declared."""
    return not {"when", "start_time"}.isdisjoint(changed_texts(row, declaration))


def put(
    tables: Tables,
    row: Any,
    declaration: Declaration,
    *,
    using: str,
    enabled: bool | None,
    options: Mapping[str, Any],
) -> None:
    """Write a row, which is None for a new one; under the lock, and beats are to be told by the caller."""
    beyond = {**_beyond(tables, declaration, using), **options}
    columns = _columns(tables, declaration, using)
    if row is None:
        columns["enabled"] = enabled is not False
        tables.tasks._base_manager.using(using).bulk_create([tables.tasks(name=declaration.name, **columns)])
        # Read again, for not every database tells the key of what was written so.
        row = tables.tasks._base_manager.using(using).get(name=declaration.name)
    else:
        columns |= _begun_anew(row, declaration) | _turned(row, declaration, enabled)
        change(tables, row, using, **columns, **_counted_anew(row, declaration))
    _put_beyond(tables, row, beyond, using)


def change(tables: Tables, row: Any, using: str, **columns: Any) -> None:
    """Write these columns of a row, and that it was changed now."""
    # Those alone: between reading and writing, a beat may have taken a tick.
    rows = tables.tasks._base_manager.using(using).filter(pk=row.pk)
    rows.update(**columns, date_changed=timezone.now())


def remove(tables: Tables, names: Iterable[str], using: str) -> None:
    """Delete rows with their options and ticks; under the lock, and beats are to be told by the caller."""
    rows = tables.tasks._base_manager.using(using).filter(name__in=list(names))
    hold(rows)
    rows.delete()


def hold(rows: Any) -> None:
    """Let no beat take a tick of rows that are about to be deleted: the tick would point at nothing. In a transaction."""
    list(rows.select_related(None).prefetch_related(None).order_by().select_for_update().values_list("pk"))


def _refuse_another_task(row: Any, declaration: Declaration) -> None:
    if row is not None and row.task != declaration.task:
        raise ScheduleError(
            f"The schedule {declaration.name!r} is there already and runs {row.task!r}, not {declaration.task!r}: give this one "
            f"another name, or remove that one first, in a migration with unschedule_task(apps, {declaration.name!r})."
        )


def _turned(row: Any, declaration: Declaration, enabled: bool | None) -> dict[str, Any]:
    """Return what is written to turn a schedule on or off; nothing where it is so."""
    if enabled in (None, row.enabled):
        return {}
    if is_done(row) and not has_other_times(row, declaration):
        return {}
    # As django-celery-beat has it: what would have ticked while it was off was not missed.
    return {"enabled": enabled, "last_run_at": None}


def _begun_anew(row: Any, declaration: Declaration) -> dict[str, Any]:
    # Else a time that has passed since the last run would count as missed, though nobody had said it then.
    is_on_clock = declaration.when.kind in ("crontab", "solar")
    return {"last_run_at": None} if is_on_clock and "when" in changed_texts(row, declaration) else {}


def _counted_anew(row: Any, declaration: Declaration) -> dict[str, Any]:
    # django-celery-beat takes a one-off that has a count for one that is done.
    becomes_one = is_one_off(declaration) and not (row.one_off and row.enabled)
    return {"total_run_count": 0} if becomes_one else {}


def _columns(tables: Tables, declaration: Declaration, using: str) -> dict[str, Any]:
    when, expires = declaration.when, declaration.expires
    ends = expires if isinstance(expires, datetime) else None
    columns: dict[str, Any] = {f"{kind}_id": None for kind in KINDS} | {
        f"{when.kind}_id": _row_of_times(tables, when, using).pk,
        "task": declaration.task,
        "args": json.dumps(declaration.args),
        "kwargs": json.dumps(declaration.kwargs),
        "queue": declaration.queue,
        "expires": as_project(to_aware(ends)),
        "expire_seconds": None if ends else expires,
        "start_time": as_project(to_aware(declaration.start_time)),
        "one_off": is_one_off(declaration),
        "description": declaration.description,
    }
    # A row's own number is the broker's, set by a person; it would win over the declared one.
    return columns if declaration.priority is None else {**columns, "priority": None}


def _row_of_times(tables: Tables, when: When, using: str) -> Any:
    """Return the first row of these times: of most kinds there may be many equal ones."""
    model, fields = tables.kinds[when.kind], when.fields()
    equal = model._base_manager.using(using).filter(**fields).order_by("pk")
    if (found := equal.first()) is not None:
        return found
    # Solar ones are unique: a form in the admin, say, may have been faster.
    with suppress(IntegrityError), transaction.atomic(using=using):
        model._base_manager.using(using).bulk_create([model(**fields)])
    return equal[0]


def _beyond(tables: Tables, declaration: Declaration, using: str) -> dict[str, Any]:
    return {
        "priority": declaration.priority,
        "catch_up": declaration.catch_up,
        "skip_while_active": declaration.skip_while_active,
        "notify_user_id": id_of_user(tables, declaration.notify_user, using),
        "notify_group_id": id_of_group(tables, declaration.notify_group, using),
    }


def _put_beyond(tables: Tables, row: Any, columns: dict[str, Any], using: str) -> None:
    options = tables.options._base_manager.using(using)
    if not options.filter(periodic_task_id=row.pk).update(**columns):
        options.bulk_create([tables.options(periodic_task_id=row.pk, **columns)])
