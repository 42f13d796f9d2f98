"""What a project's source says, without running it: its files, and what each name in them refers to."""

from __future__ import annotations

from tasks_celery.migrate.source.names import Names, Place
from tasks_celery.migrate.source.parsing import UnreadableError
from tasks_celery.migrate.source.plain import NOT_PLAIN, is_plain
from tasks_celery.migrate.source.project import Project, Setting, Task, Use

__all__ = ["NOT_PLAIN", "Names", "Place", "Project", "Setting", "Task", "UnreadableError", "Use", "is_plain"]
