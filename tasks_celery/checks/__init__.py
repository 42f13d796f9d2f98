"""Both. What ``manage.py check`` says of a project's set-up: one function per message, with the fix as its hint.

A check connects nowhere and never raises. Django runs `check_backend` for each alias of TASKS through
`CeleryBackend.check`, and `check_project` through the app config.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from celery import current_app, current_task
from celery.local import Proxy
from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning

from tasks_celery.checks.options import options_are_left_out
from tasks_celery.checks.priority import (
    plain_tasks_go_first_or_last,
    priorities_are_refused,
    quorum_queues_have_a_largest_priority,
)
from tasks_celery.compat import AnyTask
from tasks_celery.exceptions import OptionsError, TaskNameClash
from tasks_celery.plain import adopted_name
from tasks_celery.results import find_store, first_url, store_url
from tasks_celery.task import name_of
from tasks_celery.twin import TwinBackend, refuse_clashes, registered

Check = Callable[[TwinBackend], CheckMessage | None]


def check_backend(backend: TwinBackend) -> list[CheckMessage]:
    """Return the messages about one alias; the first error about OPTIONS hides what would follow from it."""
    broken = next(filter(None, (check(backend) for check in FIRST)), None)
    if broken:
        return [broken]
    checks: tuple[Check, ...] = (
        records_have_no_place,
        records_stay_in_one_process,
        queues_are_unknown_to_celery,
        json_is_refused,
        names_are_taken,
        app_is_not_installed,
        priorities_are_refused,
        plain_tasks_go_first_or_last,
        quorum_queues_have_a_largest_priority,
    )
    return [message for check in checks if (message := check(backend)) is not None]


def options_are_wrong(backend: TwinBackend) -> CheckMessage | None:
    try:
        _ = backend.settings
    except OptionsError as error:
        return Error(str(error), hint="Correct the OPTIONS of this alias.", id="tasks_celery.E001")
    return None


def app_is_missing(backend: TwinBackend) -> CheckMessage | None:
    try:
        _ = backend.app
    except OptionsError as error:
        hint = "Name the project's Celery app, as in 'proj.celery.app', or leave APP out to have it found."
        return Error(str(error), hint=hint, id="tasks_celery.E002")
    return None


def celery_is_misconfigured(backend: TwinBackend) -> CheckMessage | None:
    try:
        _ = backend.app.tasks, backend.app.amqp.queues
    except Exception as error:  # noqa: BLE001  Celery raises what a setting of the wrong kind leads to
        return Error(
            f"Celery cannot use its configuration: {type(error).__name__}: {error}",
            hint="Look at the CELERY_… settings, CELERY_TASK_QUEUES first.",
            id="tasks_celery.E008",
        )
    return None


def store_is_unusable(backend: TwinBackend) -> CheckMessage | None:
    try:
        find_store(backend.app, backend.settings)
    except OptionsError as error:
        hint = (
            "Install the extra 'redis', add 'tasks_celery.database' to INSTALLED_APPS, or correct the URL in "
            "OPTIONS['RESULTS']."
        )
        return Error(str(error), hint=hint, id="tasks_celery.E004")
    return None


def records_have_no_place(backend: TwinBackend) -> CheckMessage | None:
    if store_url(backend.app, backend.settings) is not None:
        return None
    return Warning(
        f"TASKS[{backend.alias!r}] has no place for the records of tasks: results cannot be read, and a duplicate "
        "of a message is run twice.",
        hint="Add 'tasks_celery.database' to INSTALLED_APPS, set OPTIONS['RESULTS'] to a Redis URL, or use Redis as "
        "Celery's result backend or broker.",
        id="tasks_celery.W001",
    )


def records_stay_in_one_process(backend: TwinBackend) -> CheckMessage | None:
    conf = backend.app.conf
    url = store_url(backend.app, backend.settings) or ""
    separate_worker = not conf.task_always_eager and not first_url(conf.broker_write_url).startswith("memory:")
    if not (url.startswith("memory:") and separate_worker):
        return None
    return Error(
        f"TASKS[{backend.alias!r}] keeps its records in memory, and its worker is another process: neither sees "
        "what the other writes.",
        hint="Add 'tasks_celery.database' to INSTALLED_APPS, or set OPTIONS['RESULTS'] to a Redis URL; memory:// is for "
        "tests.",
        id="tasks_celery.E005",
    )


def queues_are_unknown_to_celery(backend: TwinBackend) -> CheckMessage | None:
    conf = backend.app.conf
    unknown = sorted(backend.queues - set(backend.app.amqp.queues))
    if conf.task_create_missing_queues or not unknown:
        return None
    return Error(
        f"QUEUES of TASKS[{backend.alias!r}] names {', '.join(map(repr, unknown))}, which CELERY_TASK_QUEUES does not.",
        hint="Add the queues to CELERY_TASK_QUEUES, or let Celery make them: CELERY_TASK_CREATE_MISSING_QUEUES = True.",
        id="tasks_celery.E006",
    )


def json_is_refused(backend: TwinBackend) -> CheckMessage | None:
    accepted = backend.app.conf.accept_content
    if not isinstance(accepted, list | tuple | set) or {"json", "application/json"}.intersection(accepted):
        return None
    return Error(
        f"CELERY_ACCEPT_CONTENT is {accepted!r}: a worker drops the messages of Django tasks unread, which are JSON.",
        hint="Add 'json' to CELERY_ACCEPT_CONTENT.",
        id="tasks_celery.E009",
    )


def names_are_taken(backend: TwinBackend) -> CheckMessage | None:
    for task in registered().values():
        try:
            refuse_clashes(task, backend.app)
        except TaskNameClash as error:
            return Error(str(error), hint="Two tasks of one name cannot both run.", id="tasks_celery.E003")
    return None


def app_is_not_installed(backend: TwinBackend) -> CheckMessage | None:
    if apps.is_installed("tasks_celery"):
        return None
    return Warning(
        "'tasks_celery' is not in INSTALLED_APPS: a worker finds only the tasks in modules named tasks, and does not "
        "listen to the queues in QUEUES by itself.",
        hint="Add 'tasks_celery' to INSTALLED_APPS.",
        id="tasks_celery.W002",
    )


def check_project(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Return the messages about the project as a whole."""
    return [*hidden_celery_tasks(), *options_are_left_out()]


def hidden_celery_tasks() -> Iterator[CheckMessage]:
    """Find Celery tasks that a Django Task of the same name hides: Celery keeps the first of a name.

    A `shared_task` looks its name up when it is used, so what is left of a hidden one answers as the twin.
    """
    for module in list(sys.modules.values()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            task = _task_behind(value)
            if task is not None:
                yield Error(
                    f"{module.__name__}.{attribute} is a Celery task with the name {name_of(task)!r}, which the Django "
                    f"task {task.module_path} has too: calls of either run the Django task.",
                    hint="Remove one of them, or rename the Django task with `from tasks_celery import task` and "
                    "@task(name='…').",
                    id="tasks_celery.E007",
                )


def _task_behind(value: object) -> AnyTask | None:
    # The proxies of Celery itself are left alone: asking one for the current app may make an app.
    if not issubclass(type(value), Proxy) or value is current_app or value is current_task:
        return None
    name = getattr(value, "name", None)
    task = registered().get(name) if isinstance(name, str) else None
    return task if task is None or adopted_name(task) is None else None


#: What has to be right before the rest can be looked at.
FIRST: tuple[Check, ...] = (options_are_wrong, app_is_missing, celery_is_misconfigured, store_is_unusable)
