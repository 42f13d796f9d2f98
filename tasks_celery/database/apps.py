"""Both. Names the app and its label. Nothing else."""

from __future__ import annotations

from django.apps import AppConfig


class TasksCeleryDatabaseConfig(AppConfig):
    """``"tasks_celery.database"`` in INSTALLED_APPS."""

    name = "tasks_celery.database"
    label = "tasks_celery_database"
    verbose_name = "Task records"
