"""Both. The one door to the database: what fails there leaves as a StoreError, and what may go better is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionDoesNotExist

from tasks_celery.exceptions import StoreError

# Beside Django's database errors: an alias or an engine that is not there, a call in an event loop, and what drivers
# raise of a value before they send it (a text that is no UTF-8, a number that is too long).
FOREIGN = (Error, ConnectionDoesNotExist, ImproperlyConfigured, SynchronousOnlyOperation, ValueError, OverflowError)

P = ParamSpec("P")
T = TypeVar("T")


class Housed(Protocol):
    """What has a database, and a time in which a locked one is asked again."""

    alias: str
    timeout: float


S = TypeVar("S", bound=Housed)


def through_the_door(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Let a method raise nothing of the database's but StoreError.

    Outside of a transaction it is called again where SQLite was locked, until the timeout is over, and once where the
    server had closed a connection that was idle: so it has to bear being repeated.
    """

    @wraps(method)
    def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        deadline = time.monotonic() + self.timeout
        while True:
            connection, was_open = None, False
            try:
                connection = connections[self.alias]
                was_open = connection.connection is not None
                return method(self, *args, **kwargs)
            except FOREIGN as error:
                if connection is None or not _may_go_better(connection, error, was_open, deadline):
                    raise StoreError(_message(self.alias, error)) from error

    return guarded


def _may_go_better(connection: BaseDatabaseWrapper, error: Exception, was_open: bool, deadline: float) -> bool:
    if connection.in_atomic_block or not isinstance(error, Error):
        return False
    if _is_locked(error):
        time.sleep(random.uniform(0.005, 0.05))  # noqa: S311  so that those who were locked out do not meet again
        return time.monotonic() < deadline
    connection.close_if_unusable_or_obsolete()
    return was_open and connection.connection is None


def _is_locked(error: Exception) -> bool:
    # Of sqlite3's own error, from Python 3.11 on.
    return getattr(error.__cause__, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _message(alias: str, error: Exception) -> str:
    if isinstance(error, SynchronousOnlyOperation):
        return (
            "The store of task results is a database, which Django does not ask from an event loop. "
            "Use the async twins there: aenqueue, aget_result, arefresh."
        )
    # PostgreSQL's further lines may quote the statement, arguments and all.
    said = str(error).partition("\n")[0]
    migrate = "manage.py migrate" + ("" if alias == DEFAULT_DB_ALIAS else f" --database={alias}")
    return (
        f"The store of task results (database {alias!r}) did not do what was asked: {type(error).__name__}: {said}. "
        f"Check DATABASES and OPTIONS['RESULTS'], that the database runs, and that `{migrate}` has been run."
    )
