"""Worker process. What is cancelled: each run is counted outside of the records."""

from __future__ import annotations

import time
from typing import Any

from integration.endings.apps import notes
from tasks_celery import task
from tasks_celery.exceptions import TaskCancelled

WITHIN = 60.0  # seconds that a task waits to be cancelled


def count(context: Any) -> None:
    client = notes()
    client.hincrby("runs", context.task_result.id, 1)
    client.close()


def wait_until_cancelled(context: Any) -> None:
    deadline = time.monotonic() + WITHIN
    while not context.is_cancelled():
        assert time.monotonic() < deadline, "nobody cancelled this"
        time.sleep(0.05)


@task(takes_context=True)
def step(context: Any) -> str:
    count(context)
    return "ran"


@task(takes_context=True)
def give_up(context: Any) -> None:
    """End as a task does that looks whether it is still wanted."""
    count(context)
    wait_until_cancelled(context)
    raise TaskCancelled("I have seen it.")


@task(takes_context=True)
def end_well(context: Any) -> str:
    count(context)
    wait_until_cancelled(context)
    return "ended all the same"


@task(takes_context=True, autoretry_for=(KeyError,), default_retry_delay=0)
def try_again(context: Any) -> None:
    count(context)
    wait_until_cancelled(context)
    raise KeyError("again")


@task(takes_context=True, autoretry_for=(KeyError,), default_retry_delay=3600)
def try_later(context: Any) -> None:
    count(context)
    raise KeyError("in an hour")


@task(takes_context=True)
def take(context: Any, seconds: float) -> str:
    count(context)
    time.sleep(seconds)
    return "ran on"
