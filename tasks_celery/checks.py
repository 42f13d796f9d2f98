"""Both. What ``manage.py check`` says of a project's set-up: one function per message, with the fix as its hint.

A check connects nowhere and never raises. Django runs `check_backend` for each alias of TASKS through
`CeleryBackend.check`, and `check_project` through the app config.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from celery.local import Proxy
from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning

from tasks_celery.compat import API_MODULE
from tasks_celery.exceptions import OptionsError, TaskNameClash
from tasks_celery.results import find_store, store_url
from tasks_celery.task import registered

if TYPE_CHECKING:
    from tasks_celery.backend import CeleryBackend

Check = Callable[["CeleryBackend"], "CheckMessage | None"]


def check_backend(backend: CeleryBackend) -> list[CheckMessage]:
    """Return the messages about one alias; the first error about OPTIONS hides what would follow from it."""
    broken = options_are_wrong(backend) or app_is_missing(backend) or store_is_unusable(backend)
    if broken:
        return [broken]
    checks: tuple[Check, ...] = (
        records_have_no_place,
        records_stay_in_one_process,
        queues_are_unknown_to_celery,
        app_is_not_installed,
    )
    return [message for check in checks if (message := check(backend)) is not None]


def options_are_wrong(backend: CeleryBackend) -> CheckMessage | None:
    try:
        _ = backend.settings
    except OptionsError as error:
        return Error(str(error), hint="Correct the OPTIONS of this alias.", id="tasks_celery.E001")
    return None


def app_is_missing(backend: CeleryBackend) -> CheckMessage | None:
    try:
        _ = backend.app.tasks
    except OptionsError as error:
        hint = "Name the project's Celery app, as in 'proj.celery.app', or leave APP out to have it found."
        return Error(str(error), hint=hint, id="tasks_celery.E002")
    except TaskNameClash as error:
        return Error(str(error), hint="Two tasks of one name cannot both run.", id="tasks_celery.E003")
    return None


def store_is_unusable(backend: CeleryBackend) -> CheckMessage | None:
    try:
        find_store(backend.app, backend.settings)
    except OptionsError as error:
        hint = "Install the extra 'redis', or correct the URL in OPTIONS['RESULTS']."
        return Error(str(error), hint=hint, id="tasks_celery.E004")
    return None


def records_have_no_place(backend: CeleryBackend) -> CheckMessage | None:
    if store_url(backend.app, backend.settings) is not None:
        return None
    return Warning(
        f"TASKS[{backend.alias!r}] has no place for the records of tasks: results cannot be read, and a duplicate "
        "of a message is run twice.",
        hint="Set OPTIONS['RESULTS'] to a Redis URL, or use Redis as Celery's result backend or broker.",
        id="tasks_celery.W001",
    )


def records_stay_in_one_process(backend: CeleryBackend) -> CheckMessage | None:
    conf = backend.app.conf
    url = store_url(backend.app, backend.settings) or ""
    separate_worker = not conf.task_always_eager and not (conf.broker_write_url or "").startswith("memory:")
    if not (url.startswith("memory:") and separate_worker):
        return None
    return Error(
        f"TASKS[{backend.alias!r}] keeps its records in memory, and its worker is another process: neither sees "
        "what the other writes.",
        hint="Set OPTIONS['RESULTS'] to a Redis URL; memory:// is for tests.",
        id="tasks_celery.E005",
    )


def queues_are_unknown_to_celery(backend: CeleryBackend) -> CheckMessage | None:
    conf = backend.app.conf
    unknown = sorted(backend.queues - set(backend.app.amqp.queues))
    if conf.task_create_missing_queues or not unknown:
        return None
    return Error(
        f"QUEUES of TASKS[{backend.alias!r}] names {', '.join(map(repr, unknown))}, which CELERY_TASK_QUEUES does not.",
        hint="Add the queues to CELERY_TASK_QUEUES, or let Celery make them: CELERY_TASK_CREATE_MISSING_QUEUES = True.",
        id="tasks_celery.E006",
    )


def app_is_not_installed(backend: CeleryBackend) -> CheckMessage | None:
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
    return list(hidden_celery_tasks())


def hidden_celery_tasks() -> Iterator[CheckMessage]:
    """Find Celery tasks that a Django Task of the same name hides: Celery keeps the first of a name.

    A `shared_task` looks its name up when it is used, so what is left of a hidden one answers as the twin.
    """
    for name, task in registered().items():
        module = sys.modules.get(task.func.__module__)
        for attribute, value in list(vars(module).items()) if module else ():
            if issubclass(type(value), Proxy) and getattr(value, "name", None) == name:
                yield Error(
                    f"{task.func.__module__}.{attribute} is a Celery task with the name {name!r}, which the Django "
                    f"task {task.module_path} has too: calls of either run the Django task.",
                    hint=f"Remove one of them, or rename the Django task: @task(name='…') (from {API_MODULE}).",
                    id="tasks_celery.E007",
                )
