"""Both. Connects what the app listens to. Nothing else."""

from __future__ import annotations

from django.apps import AppConfig


class ReportsConfig(AppConfig):
    """The example's one app."""

    name = "example.reports"
    label = "reports"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen for the end of tasks."""
        from example.reports.receivers import close_report
        from tasks_celery.compat import task_finished

        task_finished.connect(close_report)
