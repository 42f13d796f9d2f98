"""Both. What goes wrong here, as one small tree.

TasksCeleryError
├── OptionsError          OPTIONS of a TASKS alias cannot be used (also Django's ImproperlyConfigured)
├── TaskNameClash         another Celery task already has the name of a Django task (also ImproperlyConfigured)
├── AppNotReady           the module of the project's Celery app is still being imported
├── EnqueueError          the broker did not take the message
├── StoreError            the store of task results did not answer
└── TaskInterrupted       what a task's error says where its exception would have ended the worker

What Django defines, Django's class says: InvalidTask, TaskResultDoesNotExist and TaskResultMismatch
are raised as they are. The docstring of each class is its default message.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class TasksCeleryError(Exception):
    """tasks_celery could not do what it was asked."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class OptionsError(TasksCeleryError, ImproperlyConfigured):
    """OPTIONS of a TASKS alias cannot be used."""


class TaskNameClash(TasksCeleryError, ImproperlyConfigured):
    """Another Celery task already has the name of a Django task."""


class AppNotReady(TasksCeleryError):
    """The module of the project's Celery app is still being imported."""


class EnqueueError(TasksCeleryError):
    """The broker did not take the message, so the task is not enqueued."""


class StoreError(TasksCeleryError):
    """The store of task results did not answer."""


class TaskInterrupted(TasksCeleryError):
    """The task was ended by an exception that would have ended the worker too."""
