"""Both. Hangs the announcements on Django's task signals, and registers the checks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.apps import AppConfig


class TasksCeleryChannelsConfig(AppConfig):
    """``"tasks_celery.channels"`` in INSTALLED_APPS."""

    name = "tasks_celery.channels"
    label = "tasks_celery_channels"
    verbose_name = "Task events"

    def ready(self) -> None:
        """Connect to the signals and register the checks. Opens no connection and starts no thread."""
        from celery.signals import import_modules

        from tasks_celery.channels import checks, receivers
        from tasks_celery.channels.push import publisher

        receivers.connect()
        publisher.connect()
        checks.register()
        import_modules.connect(_import_tasks)


def _import_tasks(**kwargs: Any) -> None:
    """Let a worker know the task that events for workers of Channels become."""
    import_module("tasks_celery.channels.workers.tasks")
