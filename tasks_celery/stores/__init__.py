"""Both. Where records of tasks rest, behind one interface; `open_store` picks by URL.

A record changes only by the four calls of `Store`, each atomic in itself. A task is run under a claim:
`claim` numbers the attempt, and what an older attempt says of the outcome no longer counts.
"""

from __future__ import annotations

from functools import lru_cache

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS

from tasks_celery.exceptions import OptionsError
from tasks_celery.stores.base import AnswerMissing, Attempt, Error, Outcome, Record, Status, Store

__all__ = ["AnswerMissing", "Attempt", "Error", "Outcome", "Record", "Status", "Store", "open_store"]


def open_store(url: str, *, key_prefix: str, timeout: float, owner: str = "") -> Store:
    """Return the store behind `url`, one per process and owner; nothing is connected yet.

    ``database://`` is the project's default database, ``database://alias`` another of its DATABASES.
    A thread that outlives a fork names itself as the `owner` and gets a store apart, whose locks no child can
    inherit while they are held. Raise OptionsError where the client library or the app of the store is not installed.
    """
    # A store in memory has nothing but what all share.
    return _make_store(url, key_prefix, timeout, "" if url.startswith("memory:") else owner)


@lru_cache(maxsize=32)
def _make_store(url: str, key_prefix: str, timeout: float, owner: str) -> Store:
    if url.startswith("memory:"):
        from tasks_celery.stores.memory import MemoryStore

        return MemoryStore()
    if url.startswith("database:"):
        return _open_database(url.removeprefix("database:").strip("/"), timeout=timeout)
    try:
        from tasks_celery.stores.redis import RedisStore
    except ModuleNotFoundError as error:
        raise OptionsError(
            f"Task results are to be kept in Redis, but its client is not installed ({error}). "
            "Install it with: pip install 'tasks-celery[redis]'"
        ) from error
    return RedisStore(url, key_prefix=key_prefix, timeout=timeout)


def _open_database(alias: str, *, timeout: float) -> Store:
    if not apps.is_installed("tasks_celery.database"):
        raise OptionsError(
            "Task results are to be kept in the database, but its app is not installed. "
            "Add 'tasks_celery.database' to INSTALLED_APPS and run `manage.py migrate`."
        )
    from tasks_celery.database.store import DatabaseStore

    return DatabaseStore(alias or DEFAULT_DB_ALIAS, timeout=timeout)
