"""Worker process. What the sweeper's tests run: each run is counted outside of the records."""

from __future__ import annotations

import time
from typing import Any

from integration.endings.apps import notes
from tasks_celery import task


def count(result_id: str) -> None:
    client = notes()
    client.hincrby("runs", result_id, 1)
    client.close()


@task(takes_context=True, acks_late=True)
def step(context: Any, number: int) -> int:
    count(context.task_result.id)
    return number


@task(takes_context=True, acks_late=True)
def first_slow(context: Any, seconds: float) -> int:
    attempt = context.attempt
    count(context.task_result.id)
    if attempt == 1:
        time.sleep(seconds)
    return int(attempt)
