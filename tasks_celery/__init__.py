"""Django's own tasks, run by Celery, with every completion told to the user's browser."""

from __future__ import annotations

from tasks_celery.adopt import adopt
from tasks_celery.attempt import CeleryTaskContext
from tasks_celery.backend import CeleryBackend
from tasks_celery.exceptions import (
    AlreadyEnqueued,
    EnqueueError,
    OptionsError,
    PartlyEnqueued,
    StoreError,
    TaskCancelled,
    TaskNameClash,
    TasksCeleryError,
)
from tasks_celery.results import CeleryTaskResult
from tasks_celery.task import CeleryTask, TaskOptions, task
from tasks_celery.unique import Unique

__all__ = [
    "AlreadyEnqueued",
    "CeleryBackend",
    "CeleryTask",
    "CeleryTaskContext",
    "CeleryTaskResult",
    "EnqueueError",
    "OptionsError",
    "PartlyEnqueued",
    "StoreError",
    "TaskCancelled",
    "TaskNameClash",
    "TaskOptions",
    "TasksCeleryError",
    "Unique",
    "adopt",
    "task",
]
