"""Worker process. Tasks that note when they began."""

from __future__ import annotations

import time
from typing import Any

from integration.endings.apps import notes
from tasks_celery import task


def note(which: str) -> None:
    client = notes()
    client.rpush("began", which)
    client.close()


@task(priority=100, takes_context=True)
def first(context: Any) -> None:
    note(context.task_result.id)


@task(priority=50, takes_context=True)
def second(context: Any) -> None:
    note(context.task_result.id)


@task(takes_context=True)
def third(context: Any) -> None:
    note(context.task_result.id)


@task(priority=-50, takes_context=True)
def fourth(context: Any) -> None:
    note(context.task_result.id)


@task(priority=-100, takes_context=True)
def fifth(context: Any) -> None:
    note(context.task_result.id)


@task(priority=-50)
def take(seconds: float) -> None:
    note("low")
    time.sleep(seconds)


@task(priority=100)
def overtake() -> None:
    note("high")


FIVE = (first, second, third, fourth, fifth)
