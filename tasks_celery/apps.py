"""Both. Registers the checks and connects the receivers of worker and beat. Nothing else."""

from __future__ import annotations

from django.apps import AppConfig


class TasksCeleryConfig(AppConfig):
    """The app ``tasks_celery``."""

    name = "tasks_celery"
    verbose_name = "Tasks on Celery"

    def ready(self) -> None:
        from django.core.checks import register

        from tasks_celery import checks, heartbeat, parent

        register(checks.check_project)
        parent.connect()
        heartbeat.connect()
