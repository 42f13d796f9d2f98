"""Django's own tasks, run by Celery, with every completion told to the user's browser."""

from __future__ import annotations

from tasks_celery.backend import CeleryBackend
from tasks_celery.exceptions import EnqueueError, OptionsError, StoreError, TaskNameClash, TasksCeleryError
from tasks_celery.task import CeleryTask, TaskOptions, task

__all__ = [
    "CeleryBackend",
    "CeleryTask",
    "EnqueueError",
    "OptionsError",
    "StoreError",
    "TaskNameClash",
    "TaskOptions",
    "TasksCeleryError",
    "task",
]
