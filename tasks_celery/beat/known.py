"""Web process. The tasks that a person can choose for a schedule: Django's and Celery's, by their names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

from tasks_celery.celery import find_app
from tasks_celery.compat import AnyTask
from tasks_celery.discovery import discover
from tasks_celery.task import name_of
from tasks_celery.twin import Twin

logger = logging.getLogger("tasks_celery")


def known_tasks() -> Mapping[str, Any]:
    """Return the Celery tasks of the project by their names; the twins of Django tasks by their aliases too.

    What defines them is imported at the first call: a web process has perhaps imported only what its views need.
    """
    _import_tasks()
    return find_app().tasks


@cache
def _import_tasks() -> None:
    try:
        find_app().loader.import_default_modules()
    except Exception:  # the project's modules, which may raise what they like
        logger.exception("A module of tasks cannot be imported: the admin does not know its tasks")
    discover()


def django_task(name: str) -> AnyTask | None:
    """Return the Django task that messages call so, by its own name or an alias; None for any other task."""
    found = known_tasks().get(name)
    return found.django_task if isinstance(found, Twin) else None


def task_choices() -> list[tuple[str, Any]]:
    """Return the names to choose from, each task once: nothing first, then Django's tasks, then Celery's own."""
    tasks = known_tasks()
    djangos = {name_of(task.django_task) for task in tasks.values() if isinstance(task, Twin)}
    celerys = {name for name, task in tasks.items() if not isinstance(task, Twin) and not name.startswith("celery.")}
    groups = [("Django tasks", djangos), ("Celery tasks", celerys)]
    return [("", ""), *((label, [(name, name) for name in sorted(names)]) for label, names in groups if names)]
