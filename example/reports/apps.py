"""Both. Connects what the app listens to. Nothing else."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ReportsConfig(AppConfig):
    """The example's one app."""

    name = "example.reports"
    label = "reports"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen for the end of tasks and of migrations."""
        from example.reports.receivers import close_report
        from example.reports.schedule import schedule_digests
        from tasks_celery.compat import task_finished

        task_finished.connect(close_report)
        post_migrate.connect(schedule_digests, sender=self)
