from __future__ import annotations

from typing import Any

from django.apps import AppConfig


class FiringConfig(AppConfig):
    """Writes down what is enqueued, and in which process."""

    name = "integration.beat.project"
    label = "firing"

    def ready(self) -> None:
        from tasks_celery.compat import task_enqueued

        task_enqueued.connect(_on_enqueued, weak=False)


def _on_enqueued(sender: type, task_result: Any, **kwargs: Any) -> None:
    from integration.beat.project.notes import note

    note("enqueued", id=task_result.id, schedule=task_result.periodic_task_name, status=str(task_result.status.value))
