"""Both. Checks of TASK_EVENTS, and of the log of events."""

from __future__ import annotations

from importlib import import_module
from inspect import iscoroutinefunction

from django.apps import apps
from django.conf import settings
from django.core.checks import Error, Warning
from django.db import DEFAULT_DB_ALIAS

from tasks_celery.channels.checks.reading import (
    Messages,
    celery_configurations,
    has_separate_worker,
    imported,
    known_options,
    url_of_log,
)
from tasks_celery.channels.options import event_options
from tasks_celery.exceptions import OptionsError

DATABASE_APP = "tasks_celery.database"
#: By pool: the module and its functions by which a real thread is had within it.
GREEN = {
    "gevent": ("gevent.monkey", ("get_original", "is_module_patched")),
    "eventlet": ("eventlet.patcher", ("original", "is_monkey_patched")),
}


def options_are_wrong() -> Messages:
    try:
        event_options()
    except OptionsError as error:
        yield Error(str(error), hint="Correct TASK_EVENTS in the settings.", id="tasks_celery.E105")


def functions_are_missing() -> Messages:
    known = known_options()
    for name in ("tenant", "old_message"):
        path = getattr(known, name, None)
        found = imported(path)
        if path and (not callable(found) or iscoroutinefunction(found)):
            yield Error(
                f"TASK_EVENTS[{name.upper()!r}] is {path!r}, and there is no plain function (not async) of this name that "
                f"can be imported.",
                hint="Name a function by its dotted path, such as 'shop.events.tenant'.",
                id="tasks_celery.E108",
            )


def nothing_brings_events() -> Messages:
    if (known := known_options()) and known.layer is None and url_of_log().startswith("none:"):
        yield Error(
            "TASK_EVENTS['LAYER'] is None, so pages are served from the log of events; and there is no log.",
            hint="Set TASK_EVENTS['LOG'] to 'database://', with 'tasks_celery.database' in INSTALLED_APPS, or to a "
            "'redis://…' URL.",
            id="tasks_celery.E111",
        )


def nothing_keeps_events() -> Messages:
    # Who has said none:// has said that it is meant.
    if (known := known_options()) and known.log is None and known.layer and url_of_log().startswith("none:"):
        yield Warning(
            "There is no place for the log of events: a page that is away for a moment misses what comes meanwhile.",
            hint="Set TASK_EVENTS['LOG'] to 'redis://…', or to 'database://' with 'tasks_celery.database' in "
            "INSTALLED_APPS; to 'none://' if that is what you want.",
            id="tasks_celery.W104",
        )


def log_stays_in_one_process() -> Messages:
    if (known := known_options()) and (known.log or "").startswith("memory:") and has_separate_worker():
        yield Error(
            "TASK_EVENTS['LOG'] keeps events in memory, and Celery's worker is another process: each would number a user's "
            "events for itself, and pages would miss them.",
            hint="Set TASK_EVENTS['LOG'] to 'redis://…' or 'database://'; memory:// is for tests.",
            id="tasks_celery.E110",
        )


def tables_are_missing() -> Messages:
    if url_of_log().startswith("database:") and not apps.is_installed(DATABASE_APP):
        yield Error(
            "Events are kept in the database, and the app with their tables is not installed.",
            hint="Add 'tasks_celery.database' to INSTALLED_APPS, and run: manage.py migrate",
            id="tasks_celery.E106",
        )


def database_is_unknown() -> Messages:
    scheme, _, rest = url_of_log().partition(":")
    alias = rest.strip("/") or DEFAULT_DB_ALIAS
    if scheme == "database" and alias not in settings.DATABASES:
        yield Error(
            f"Events are kept in the database {alias!r}, which DATABASES does not have.",
            hint=f"Name one of its aliases: {', '.join(map(repr, settings.DATABASES)) or 'none yet'}.",
            id="tasks_celery.E112",
        )


def green_pool_has_no_threads() -> Messages:
    for pool in sorted({str(conf.worker_pool) for conf in celery_configurations()} & set(GREEN)):
        module, names = GREEN[pool]
        try:
            patcher = import_module(module)
        except ImportError:
            continue  # Celery says that the pool is not installed
        if missing := [name for name in names if not hasattr(patcher, name)]:
            yield Error(
                f"CELERY_WORKER_POOL is {pool!r}, and the installed {pool} has no {module}.{missing[0]}, without which "
                f"events cannot be sent from a real thread: in a green one, they would make the ORM fail in all others.",
                hint=f"Install another release of {pool}, or use the prefork or threads pool.",
                id="tasks_celery.E107",
            )
