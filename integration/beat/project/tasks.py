"""Worker process. What the schedules run: each run is written down as it begins."""

from __future__ import annotations

import time
from typing import Any

from celery import shared_task

from integration.beat.project.notes import note
from tasks_celery import task
from tasks_celery.beat import every, schedule
from tasks_celery.channels import notify


@schedule(every(seconds=2), name="From code", kwargs={"said": "in code"}, priority=40, queue="reports")
@task(takes_context=True)
def tell(context: Any, said: str, seconds: float = 0) -> str:
    """Say something, and take so many seconds for it."""
    result = context.task_result
    note("run", id=result.id, schedule=result.periodic_task_name, said=said)
    time.sleep(seconds)
    note("end", id=result.id, schedule=result.periodic_task_name)
    return said


@notify("announced")
@task
def announce(what: str) -> str:
    return what


@shared_task(bind=True)
def plain(self: Any, said: str) -> str:
    for kind in ("run", "end"):
        note(kind, id=self.request.id, schedule=self.request.periodic_task_name, said=said)
    return said
