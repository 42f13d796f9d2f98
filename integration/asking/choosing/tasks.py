"""Worker process. Tasks whose options the tests look at: what they did is noted in files under SCRATCH."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group

from tasks_celery import task

WITHIN = 60.0  # seconds that a task waits for the test


class Busy(Exception):
    """Says for how long."""

    seconds = 0.5


def noted(name: str) -> Path:
    return Path(os.environ["SCRATCH"], name)


def is_passing(error: Exception) -> bool:
    return "passing" in str(error)


def as_told(error: BaseException, retries: int) -> float | None:
    return error.seconds * (retries + 1) ** 2 if isinstance(error, Busy) else None


@task(autoretry_for=(is_passing, KeyError), max_retries=2, default_retry_delay=0)
def stumble(message: str) -> None:
    raise ValueError(message)


@task(autoretry_for=(KeyError,), max_retries=2, default_retry_delay=0)
def stumble_as_celery_has_it() -> None:
    raise KeyError("passing")


@task(takes_context=True, autoretry_for=(Exception,), retry_backoff=as_told, max_retries=3)
def back_off(context: Any) -> None:
    with noted(f"runs-{context.task_result.id}").open("a") as runs:
        runs.write(f"{time.time()}\n")
    raise Busy


@task(autoretry_for=(Exception,), retry_backoff=as_told, max_retries=3)
def give_up() -> None:
    raise ValueError("says nothing of a time")


@task(takes_context=True, max_retries=2)
def ask_again(context: Any, runs: int) -> int:
    if context.attempt < runs:
        context.retry(countdown=timedelta(seconds=0.2))
    return int(context.attempt)


@task(takes_context=True, max_retries=2)
async def ask_again_later(context: Any, runs: int) -> int:
    if context.attempt < runs:
        context.retry(countdown=0)
    return int(context.attempt)


@task(atomic=True, takes_context=True)
def add_and_wait(context: Any, name: str) -> str:
    Group.objects.create(name=name)
    deadline = time.monotonic() + WITHIN
    while not noted(f"go-{name}").exists():
        assert time.monotonic() < deadline, "nobody let this go on"
        time.sleep(0.05)
    return name


@task(atomic=True)
def add_and_fail(name: str) -> None:
    Group.objects.create(name=name)
    raise ValueError("after the row")


@task(atomic="default", takes_context=True, max_retries=1)
def add_and_ask_again(context: Any, name: str) -> str:
    Group.objects.create(name=f"{name} {context.attempt}")
    if context.attempt == 1:
        context.retry(countdown=0)
    return name


@task(atomic=True)
def add_and_be_killed(name: str) -> None:
    Group.objects.create(name=name)
    time.sleep(WITHIN)


@task(name="choosing.new", aliases=("choosing.old", "choosing.older"))
def rename(value: str) -> str:
    return value


@task
def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@task(time_limit=30, soft_time_limit=20)
def sleep_within(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@task(queue_name="reports")
def report(text: str = "") -> str:
    return f"{len(text)} letters"
