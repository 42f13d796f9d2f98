"""Each function twice: as a Django task, and as a plain Celery task to compare with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import redis
from celery import shared_task

from tasks_celery import task


@task
def divide(a: float, b: float) -> float:
    return a / b


@task
def break_oddly() -> None:
    from integration.elsewhere.far import Odd

    raise Odd("this", "that")


@task
def break_within() -> None:
    from integration.elsewhere.far import Outer

    raise Outer.Inner("deep")


@task
def total(numbers: list[float], more: float = 0) -> float:
    return sum(numbers) + more


@task(ignore_result=True)
def forget(a: float) -> float:
    return a


@task
def leave_mark(path: str, text: str) -> None:
    Path(path).write_text(text)


@task(takes_context=True)
def tick(context: Any) -> None:
    with redis.Redis.from_url(os.environ["ELSEWHERE_REDIS"].replace("redis+socket:", "unix:")) as client:
        client.rpush("ticks", context.task_result.id)


@task(takes_context=True, autoretry_for=(KeyError,), max_retries=3, default_retry_delay=0)
def recover(context: Any, failures: int) -> int:
    if context.attempt <= failures:
        raise KeyError("again")
    return int(context.attempt)


plain_divide = shared_task(name="plain.divide")(divide.func)
plain_break_oddly = shared_task(name="plain.break_oddly")(break_oddly.func)
plain_break_within = shared_task(name="plain.break_within")(break_within.func)
plain_total = shared_task(name="plain.total")(total.func)
