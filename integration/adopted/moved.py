"""Both. Adopts the tasks, unless ADOPTED_NOT_YET is set. Nothing imports it: a worker finds it."""

from __future__ import annotations

import os

from integration.adopted import tasks
from tasks_celery import adopt, task
from tasks_celery.celery import find_app

NAMES = [
    "add",
    "total",
    "noted",
    "noted_failure",
    "asks_again",
    "is_tried_again",
    "breaks",
    "forgets",
    "gives_a_date",
    "tells_progress",
    "is_replaced",
    "sends_another",
    "is_killed",
    "takes_too_long",
]

if not os.environ.get("ADOPTED_NOT_YET"):
    adopted = {name: adopt(getattr(tasks, name)) for name in NAMES}
    adopted["by_its_class"] = adopt(find_app().register_task(tasks.ByItsClass()))


@task
def multiply(a: float, b: float) -> float:
    return a * b


@task
def total_of(numbers: list[float]) -> float:
    return sum(numbers)


@task
def note_error(failed_id: str) -> str:
    tasks.note("errors", failed_id)
    return failed_id
