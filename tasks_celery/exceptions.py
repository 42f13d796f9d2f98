"""Both. What goes wrong here, as one small tree.

TasksCeleryError
├── OptionsError          OPTIONS of a TASKS alias cannot be used (also Django's ImproperlyConfigured)
├── TaskNameClash         another Celery task already has the name of a Django task (also ImproperlyConfigured)
├── ScheduleError         a schedule cannot be: its times, its arguments, its task (also ValueError)
├── AppNotReady           the module of the project's Celery app is still being imported
├── EnqueueError          the broker did not take the message
│   ├── PartlyEnqueued    of several tasks, the broker did not take all
│   └── AlreadyEnqueued   a unique task has its like, and asked to be refused then
├── StoreError            the store of task results did not answer
├── TaskCancelled         what the error of a cancelled task says
└── TaskInterrupted       what a task's error says where its exception would have ended the worker

What Django defines, Django's class says: InvalidTask, TaskResultDoesNotExist and TaskResultMismatch
are raised as they are. The docstring of each class is its default message.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.core.exceptions import ImproperlyConfigured


class TasksCeleryError(Exception):
    """tasks_celery could not do what it was asked."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class OptionsError(TasksCeleryError, ImproperlyConfigured):
    """OPTIONS of a TASKS alias cannot be used."""


class TaskNameClash(TasksCeleryError, ImproperlyConfigured):
    """Another Celery task already has the name of a Django task."""


class ScheduleError(TasksCeleryError, ValueError):
    """A schedule cannot be."""


class AppNotReady(TasksCeleryError):
    """The module of the project's Celery app is still being imported."""


class EnqueueError(TasksCeleryError):
    """The task is not enqueued: the broker did not take its message, or it could not be made."""


class PartlyEnqueued(EnqueueError):
    """Of several tasks, the broker did not take all; it may have taken none.

    `sent` are the ids of those that it took, `not_sent` of those that are not enqueued, and `doubtful` of those that it may
    have taken without saying so.
    """

    def __init__(
        self, message: str = "", *, sent: Sequence[str] = (), not_sent: Sequence[str] = (), doubtful: Sequence[str] = ()
    ) -> None:
        super().__init__(message or "Of several tasks, the broker did not take all.")
        self.sent, self.not_sent, self.doubtful = list(sent), list(not_sent), list(doubtful)


class AlreadyEnqueued(EnqueueError):
    """A unique task has its like; `result_id` is the id of that one."""

    def __init__(self, message: str = "", *, result_id: str = "") -> None:
        super().__init__(message)
        self.result_id = result_id


class StoreError(TasksCeleryError):
    """The store of task results did not answer."""


class TaskCancelled(TasksCeleryError):
    """The task was cancelled."""


class TaskInterrupted(TasksCeleryError):
    """The task was ended by an exception that would have ended the worker too."""
