"""Both. Checks of the rows: what is scheduled and cannot be sent, and what is not as the code declares it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.checks import CheckMessage, Warning
from django.db import Error as DatabaseTrouble

from tasks_celery.beat.checks.reading import Messages, celery_apps, has_partner
from tasks_celery.beat.options import schedule_settings
from tasks_celery.discovery import discover, why_missing
from tasks_celery.exceptions import OptionsError, ScheduleError
from tasks_celery.signatures import misfit
from tasks_celery.twin import Twin, backend_of

if TYPE_CHECKING:
    from django_celery_beat.models import PeriodicTask

logger = logging.getLogger("tasks_celery")


def found_in(alias: str) -> list[CheckMessage]:
    """Return what is wrong with the rows in a database; nothing where it has no such tables or cannot be read."""
    if not has_partner():
        return []
    try:
        return [*_found_in(alias)]
    except DatabaseTrouble as error:
        logger.debug("The schedules in the database %r cannot be read: %s", alias, error)
        return []


def _found_in(alias: str) -> Messages:
    from tasks_celery.beat.rows import all_rows
    from tasks_celery.beat.rows.tables import missing_parts, tables_of

    tables = tables_of(apps)
    if any(missing_parts(tables, alias)):
        return
    rows = {row.name: row for row in all_rows(tables, alias).order_by("name")}
    if tasks := _known_tasks():
        for row in rows.values():
            if row.enabled:
                yield from _said_of(row, tasks)
    if not _is_synced_by_migrate():
        yield from _not_synced(rows)


def _known_tasks() -> dict[str, Any]:
    """Return the Celery tasks of this project by name, its own and those beside Django Tasks, after a look for all of them."""
    discover()
    tasks: dict[str, Any] = {}
    for app in celery_apps():
        try:
            app.loader.import_default_modules()
        except Exception as error:  # noqa: BLE001 - a module of the project's, which may raise what it likes
            logger.warning("The tasks of %s cannot all be imported here: %s", app.main, error)
        tasks |= app.tasks
    return tasks


def _said_of(row: PeriodicTask, tasks: Mapping[str, Any]) -> Messages:
    task = tasks.get(row.task)
    if task is None:
        yield _task_is_missing(row)
        return
    if isinstance(task, Twin):
        yield from queue_is_refused(row, task)
    yield from arguments_are_refused(row, task)


def _task_is_missing(row: PeriodicTask) -> CheckMessage:
    why = why_missing(row.task)
    return Warning(
        f"The schedule {row.name!r} sends {row.task!r}, and this project has no task of that name"
        + (f": its module cannot be imported ({why})." if why else "."),
        hint=f"Name another task, or disable or delete the schedule. In a migration: unschedule_task(apps, {row.name!r}).",
        id="tasks_celery.W206",
    )


def queue_is_refused(row: PeriodicTask, twin: Twin) -> Messages:
    backend = backend_of(twin.django_task)
    if row.queue and backend.queues and row.queue not in backend.queues:
        yield Warning(
            f"The schedule {row.name!r} sends its task to the queue {row.queue!r}, which QUEUES of "
            f"TASKS[{backend.alias!r}] does not have.",
            hint=f"Add the queue there, or give the schedule one of: {', '.join(map(repr, sorted(backend.queues)))}.",
            id="tasks_celery.W207",
        )


def arguments_are_refused(row: PeriodicTask, task: Any) -> Messages:
    if why := _why_refused(row, task):
        yield Warning(
            f"The schedule {row.name!r} sends {row.task!r} with arguments that cannot be its: {why}.",
            hint="Correct the arguments of the schedule; as it is, each of its ticks is refused.",
            id="tasks_celery.W208",
        )


def _why_refused(row: PeriodicTask, task: Any) -> str | None:
    try:
        args, kwargs = json.loads(row.args or "[]"), json.loads(row.kwargs or "{}")
    except ValueError as error:
        return f"{error}; they have to be JSON"
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        return f"args={row.args} and kwargs={row.kwargs}; they have to be a list and an object"
    if isinstance(task, Twin):
        return misfit(task.django_task.func, task.django_task.takes_context, args, kwargs)
    return _why_plain_refuses(task, args, kwargs)


def _why_plain_refuses(task: Any, args: list[Any], kwargs: dict[str, Any]) -> str | None:
    # As Celery's own apply_async looks at them.
    header = getattr(task, "__header__", None) if task.typing else None
    try:
        header and header(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return None


def _not_synced(rows: Mapping[str, PeriodicTask]) -> Messages:
    from tasks_celery.beat import sync

    try:
        changes = sync.plan(sync.find_declared(), rows).changes
    except ScheduleError as error:
        yield _unsynced(f"cannot be made so. {error}", "Mend that, and run: manage.py sync_schedules")
        return
    if changes:
        named = ", ".join(f"{change.name!r} (to {change.what})" for change in changes)
        yield _unsynced(f"are not so: {named}.", "Run: manage.py sync_schedules")


def _unsynced(said: str, hint: str) -> CheckMessage:
    return Warning(f"Schedules that the code declares {said}", hint=hint, id="tasks_celery.W209")


def _is_synced_by_migrate() -> bool:
    try:
        return schedule_settings().sync_after_migrate
    except OptionsError:
        return False
