"""Both. Registers the checks, and connects what listens for beat and for migrations. Nothing else."""

from __future__ import annotations

from django.apps import AppConfig


class TasksCeleryBeatConfig(AppConfig):
    """``"tasks_celery.beat"`` in INSTALLED_APPS, beside ``"django_celery_beat"``."""

    name = "tasks_celery.beat"
    label = "tasks_celery_beat"
    verbose_name = "Schedules of tasks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks and connect to the signals. Asks no database and imports no task."""
        from tasks_celery.beat import checks, sync, takeover

        checks.register()
        sync.connect()
        takeover.connect()
