"""Both. Checks of the schedules that code declares, among those whose modules have been imported."""

from __future__ import annotations

from django.core.checks import Error

from tasks_celery.beat.checks.reading import Messages, backends
from tasks_celery.beat.declare import declared
from tasks_celery.twin import registered


def queues_are_refused() -> Messages:
    aliases = {backend.alias: backend for backend in backends()}
    for schedule in declared():
        task = registered().get(schedule.task)
        backend = aliases.get(task.backend) if task else None
        if backend and schedule.queue and backend.queues and schedule.queue not in backend.queues:
            yield Error(
                f"The schedule {schedule.name!r} sends its task to the queue {schedule.queue!r}, which QUEUES of "
                f"TASKS[{backend.alias!r}] does not have.",
                hint=f"Add the queue there, or name one of: {', '.join(map(repr, sorted(backend.queues)))}.",
                id="tasks_celery.E204",
            )
