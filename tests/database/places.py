"""Test process. Databases beside the project's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.db import connections


@contextmanager
def known_as(alias: str, **database: Any) -> Iterator[None]:
    """Let this process know a database under an alias, for this block."""
    connections.settings[alias] = {**connections.settings["default"], **database}
    try:
        yield
    finally:
        for each in connections.all(initialized_only=True):
            if each.alias == alias:
                each.close()
                del connections[alias]
        del connections.settings[alias]


@contextmanager
def migrated_as(alias: str, **database: Any) -> Iterator[None]:
    """Let this process know a database that has the tables of the store, and those that point at them."""
    with known_as(alias, **database):
        for app in ("tasks_celery_database", "database"):
            call_command("migrate", app, database=alias, verbosity=0)
        yield
