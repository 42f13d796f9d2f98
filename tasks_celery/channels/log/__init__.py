"""Both. Where a user's events are kept, so that one who was away is told what came meanwhile.

The push through the channel layer is a hint, which may be lost, doubled or late; the log is the truth.
"""

from __future__ import annotations

from functools import lru_cache

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from tasks_celery import results
from tasks_celery.backend import CeleryBackend
from tasks_celery.channels.layer import is_in_memory
from tasks_celery.channels.log.base import Cursor, Entry, EventLogError, Log, Position, Slice
from tasks_celery.channels.options import EventOptions, event_options
from tasks_celery.compat import InvalidTaskBackend, task_backends
from tasks_celery.exceptions import OptionsError

__all__ = ["Cursor", "Entry", "EventLogError", "Log", "Position", "Slice", "find_log", "log_url", "open_log"]


def find_log(*, owner: str = "") -> Log:
    """Return the project's log of events, one per process and owner; nothing is connected yet.

    A thread that outlives a fork, or that is no greenlet where others are, names itself as the `owner` and gets a log apart.
    Raise OptionsError where it cannot be opened.
    """
    project, log = _found.get(owner, (None, None))
    if log is None or project is not getattr(settings, "_wrapped", None):
        options = event_options()
        log = open_log(log_url(options), options, owner=owner)
        _found[owner] = getattr(settings, "_wrapped", None), log
    return log


#: By owner, with the settings that it was found by: another object within ``override_settings``.
_found: dict[str, tuple[object, Log]] = {}


def log_url(options: EventOptions) -> str:
    """Return where events are kept: the option, else where the records of tasks are.

    ``memory://`` only where the channel layer is in this process too, and else ``none://``: several processes that number
    one user's events each for itself would do harm.
    """
    if options.log:
        return options.log
    url = _records_url() or ""
    if url and not url.startswith("memory:"):
        return url
    return "memory://" if options.layer and is_in_memory(options.layer) else "none://"


def _records_url() -> str | None:
    for alias in task_backends.settings:
        try:
            backend = task_backends[alias]
        except (InvalidTaskBackend, ImportError):
            continue  # its own check says why
        if isinstance(backend, CeleryBackend):
            return results.store_url(backend.app, backend.settings)
    return "database://" if results.keeps_rows() else None


@lru_cache(maxsize=16)
def open_log(url: str, options: EventOptions, *, owner: str = "") -> Log:
    """Return the log behind `url`, one per process, options and owner; nothing is connected yet.

    Raise OptionsError where the client library or the app of the log is not installed.
    """
    if url.startswith("memory:"):
        return _memory_log(options)
    if url.startswith("database:"):
        return _database_log(url, options)
    if url.startswith("none:"):
        from tasks_celery.channels.log.nowhere import NoLog

        return NoLog()
    return _redis_log(url, options)


def _database_log(url: str, options: EventOptions) -> Log:
    if not apps.is_installed("tasks_celery.database"):
        raise OptionsError(
            "Events are to be kept in the database, but its app is not installed. Add 'tasks_celery.database' to INSTALLED_APPS "
            "and run `manage.py migrate`, or say another place in TASK_EVENTS['LOG']."
        )
    from tasks_celery.channels.log.database import DatabaseLog

    return DatabaseLog(
        url.removeprefix("database:").strip("/") or DEFAULT_DB_ALIAS,
        keep=options.keep,
        keep_for=options.keep_for,
        timeout=options.deadline,
        # Without a channel layer, PostgreSQL's NOTIFY is the hint.
        notifies=options.layer is None,
    )


def _redis_log(url: str, options: EventOptions) -> Log:
    try:
        from tasks_celery.channels.log.redis import RedisLog
    except ModuleNotFoundError as error:
        raise OptionsError(
            f"Events are to be kept in Redis, but its client is not installed ({error}). "
            "Install it with: pip install 'tasks-celery[redis]'"
        ) from error
    try:
        return RedisLog(
            url, key_prefix=options.key_prefix, keep=options.keep, keep_for=options.keep_for, timeout=options.deadline
        )
    except ValueError as error:
        raise OptionsError(f"The log of events has a URL that cannot be read: {error}") from error


@lru_cache(maxsize=4)
def _memory_log(options: EventOptions) -> Log:
    # One for all owners: it has nothing but what all share.
    from tasks_celery.channels.log.memory import MemoryLog

    return MemoryLog(keep=options.keep, keep_for=options.keep_for)
