"""Tasks that the tests of schedules decorate: a task's function has to be at the top of a module."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from tasks_celery import task


@task
def count(amount: int, colour: str = "red") -> int:
    return amount


@task(queue_name="reports", name="shop.named", aliases=["shop.of-old"])
def named() -> None: ...


@task(takes_context=True)
def with_context(context: Any, amount: int) -> int:
    return amount


@shared_task
def of_celery() -> None: ...


def plain(amount: int = 1) -> int:
    return amount
