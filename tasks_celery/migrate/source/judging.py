"""What has to be known of all tasks before anything is judged: which of them move, and what is scheduled of those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks_celery.migrate.source.names import Names
from tasks_celery.migrate.source.parsing import UnreadableError, decode

if TYPE_CHECKING:
    from tasks_celery.migrate.source.project import Project


def moving_of(project: Project, path: str) -> set[str]:
    """Return the origins of the tasks in a file whose decorators move."""
    from tasks_celery.migrate.things.definitions import moving_in

    names = _names(project, path)
    return moving_in(names) if names else set()


def scheduled_of(project: Project, path: str) -> dict[str, list[dict[str, Any]]]:
    """Return what a file schedules of tasks that move, by their origins."""
    from tasks_celery.migrate.things.schedules import scheduled_in

    names = _names(project, path)
    return scheduled_in(names) if names else {}


def _names(project: Project, path: str) -> Names | None:
    try:
        return Names.of(path, decode(project.data(path)), project)
    except (OSError, UnreadableError):
        # It is told of where things are looked for.
        return None
